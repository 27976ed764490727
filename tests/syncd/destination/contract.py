"""What every transport has to hold, the fake included: `syncd.destination.base`, as tests.

A transport's tests are a class that inherits from `UploaderContract`, and a fixture `bench` that
gives a `Bench` for it.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from karaoke_train.runlog.format import RunHeader
from karaoke_train.runlog.reader import Position
from syncd.destination.base import Outcome, Target, Uploader
from syncd.errors import UploadError
from syncd.source.lines import Lines
from syncd.source.media_folder import MediaFolder
from tests.patience import patience
from tests.syncd.world import CREATED, config_line, train_line

FINISHED = Outcome("finished", 0)
ARRIVAL = 20.0  # seconds until lines that were sent have to be there
_numbers = count()


class Bench(ABC):
    """A destination, as far as the contract looks at it."""

    entity = "team"
    project = "songs"

    @abstractmethod
    def uploader(self, target: Target) -> Uploader:
        """A new session for the run."""

    @abstractmethod
    def rows(self, run_id: str) -> list[dict[str, Any]]:
        """The run's history at the server, line by line, `_step` included."""

    @abstractmethod
    def state(self, run_id: str) -> str:
        """The run's state there."""

    @abstractmethod
    def break_down(self) -> None:
        """From now on the server answers nothing."""

    @abstractmethod
    def repair(self) -> None:
        """The server is well again."""

    @abstractmethod
    def settle(self) -> None:
        """Let what was sent arrive, where it needs a push."""


class Run:
    """A run to upload, under a name of its own."""

    def __init__(self, bench: Bench, lines: int = 6) -> None:
        self.bench = bench
        self.run_id = f"run-{next(_numbers)}"
        data = config_line(self.run_id) + b"".join(map(train_line, range(lines - 1)))
        self.lines = Lines.of(data, Position())
        header = RunHeader(self.run_id, "name", bench.project, {"lr": 0.1}, created=CREATED)
        self.target = Target(header, bench.entity, bench.project, MediaFolder(Path("/none")))

    def lines_from(self, ordinal: int) -> Lines:
        """Those from a line on."""
        start = self.lines.start_of(ordinal)
        return Lines.of(self.lines.data[start.offset :], start)

    def open(self) -> Uploader:
        uploader = self.bench.uploader(self.target)
        self.count = uploader.open()
        return uploader

    def confirmed(self, uploader: Uploader, lines: int) -> int:
        """The server's count, asked until it has so many lines."""
        deadline = time.monotonic() + patience(ARRIVAL)
        while (found := uploader.confirm()) < lines and time.monotonic() < deadline:
            self.bench.settle()
            time.sleep(0.05)
        return found

    def steps(self) -> list[int]:
        return [row["_step"] for row in self.bench.rows(self.run_id)]


class UploaderContract:
    """The suite."""

    @pytest.fixture
    def run(self, bench: Bench) -> Run:
        return Run(bench)

    def test_lines_arrive_once_in_order_and_are_counted_by_the_server(self, run: Run) -> None:
        uploader = run.open()
        assert run.count == 0
        uploader.send(run.lines.first(4))
        assert run.confirmed(uploader, 4) == 4
        uploader.send(run.lines_from(4))
        assert run.confirmed(uploader, 6) == 6
        uploader.close(FINISHED, ())
        assert run.steps() == list(range(6))
        assert run.bench.rows(run.run_id)[3]["train/loss"] == pytest.approx(1 / 3)
        assert run.bench.state(run.run_id) == "finished"

    def test_a_session_after_a_dropped_one_goes_on_at_the_servers_count(self, run: Run) -> None:
        first = run.open()
        first.send(run.lines.first(3))
        assert run.confirmed(first, 3) == 3
        first.abandon()
        assert run.bench.state(run.run_id) == "running"
        second = run.open()
        assert run.count == 3
        second.send(run.lines_from(3))
        assert run.confirmed(second, 6) == 6
        second.close(FINISHED, ())
        assert run.steps() == list(range(6))

    def test_a_parked_run_stays_open_and_a_finished_one_may_go_on(self, run: Run) -> None:
        first = run.open()
        first.send(run.lines.first(3))
        assert run.confirmed(first, 3) == 3
        first.close(None, ())
        assert run.bench.state(run.run_id) == "running"
        second = run.open()
        second.close(FINISHED, ())
        assert run.bench.state(run.run_id) == "finished"
        third = run.open()
        assert run.count == 3
        third.send(run.lines_from(3))
        assert run.confirmed(third, 6) == 6
        third.close(Outcome("failed", 2), ())
        assert run.steps() == list(range(6))
        assert run.bench.state(run.run_id) == "failed"

    def test_bad_and_blank_lines_hold_their_places(self, run: Run) -> None:
        data = config_line(run.run_id) + b"{bad\n\n" + train_line(7)
        uploader = run.open()
        uploader.send(Lines.of(data, Position()))
        assert run.confirmed(uploader, 4) == 4
        uploader.close(FINISHED, ())
        rows = run.bench.rows(run.run_id)
        assert run.steps() == [0, 1, 2, 3]
        assert (rows[1]["syncd/bad_record"], rows[2]["syncd/blank_line"]) == (1, 1)
        assert rows[3]["trainer/step"] == 7

    def test_an_error_is_one_of_ours_and_then_nothing_works_but_abandon(self, run: Run) -> None:
        uploader = run.open()
        run.bench.break_down()
        try:
            with pytest.raises(UploadError):
                uploader.confirm()
            uploader.abandon()
            uploader.abandon()
        finally:
            run.bench.repair()
        again = run.open()
        again.send(run.lines)
        assert run.confirmed(again, 6) == 6
        again.close(FINISHED, ())

    def test_a_server_that_is_down_opens_nothing(self, run: Run) -> None:
        run.bench.break_down()
        try:
            uploader = run.bench.uploader(run.target)
            with pytest.raises(UploadError):
                uploader.open()
            uploader.abandon()
        finally:
            run.bench.repair()
