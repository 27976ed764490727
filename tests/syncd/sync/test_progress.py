"""How far an upload is, as a terminal and as a file show it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from syncd.source import tailer
from syncd.sync.progress import LAST_LINE, Lines, Totals, shown
from tests.fakes.clock import FakeClock
from tests.fakes.console import FakeConsole
from tests.syncd.world import World, train_line


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.daemon.drop()


def test_the_total_is_what_the_files_hold_before_anything_is_read(here: World) -> None:
    here.begin()
    here.append(train_line(1)[:-1] + b" " * 5000 + b"\n" + train_line(2) + b'{"torn')
    totals = Totals()
    here.daemon.tick()
    assert totals.of(here.daemon) == (0, 3)
    here.append(b"\n" + train_line(3))
    here.run_on()
    assert totals.of(here.daemon) == (5, 5)


def test_a_file_that_grows_with_each_look_is_read_once(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.begin()
    here.train(50)
    totals, read = Totals(), []
    count_lines = tailer.count_lines

    def counted(path: Path, offset: int) -> tuple[int, int]:
        read.append(here.path.stat().st_size - offset)
        return count_lines(path, offset)

    monkeypatch.setattr(tailer, "count_lines", counted)
    for _ in range(20):
        here.daemon.file_changed(here.path)
        here.daemon.tick()
        assert totals.of(here.daemon)[1] == here.path.read_bytes().count(b"\n")
        here.train(1)
    assert sum(read) < 2 * here.path.stat().st_size


def test_a_file_that_is_gone_counts_what_is_confirmed(here: World) -> None:
    here.begin()
    here.run_on()
    here.train(2)
    here.daemon.tick()
    here.path.unlink()
    here.intact = False
    assert Totals().of(here.daemon)[0] == 1


class Page:
    """What lines are printed, by a clock of its own."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.file = io.StringIO()
        self.lines = Lines(FakeConsole(self.file), self.clock)

    def after(self, seconds: float, confirmed: int, total: int = 1000) -> str:
        self.clock.advance(seconds)
        before = len(self.file.getvalue())
        self.lines.show("uploading", confirmed, total)
        return self.file.getvalue()[before:].rstrip("\n")


def test_without_a_terminal_there_is_a_line_now_and_then_with_what_is_left() -> None:
    page = Page()
    assert page.after(0, 0) == ""
    assert page.after(1, 100) == ""
    assert page.after(9, 500) == "uploading: 500 of 1,000 records, about 10 s left"
    assert page.after(9, 600) == ""
    assert page.after(1, 1000) == "uploading: 1,000 of 1,000 records"
    assert page.after(1e6, 1000) == ""  # no news
    assert page.after(0, 1001, 1001) == "uploading: 1,001 of 1,001 records"


def test_lines_come_ever_more_rarely() -> None:
    page = Page()
    said = [second for second in range(10_000) if page.after(1, second, 10_000)]
    gaps = [later - earlier for earlier, later in pairwise(said)]
    assert gaps[:3] == [10, 20, 40]
    assert gaps[-1] == LAST_LINE


def test_a_terminal_has_a_bar_with_the_total() -> None:
    file = io.StringIO()
    with shown(FakeConsole(file, width=80)) as show:
        show("uploading", 250, 1000)
    assert "250/1000" in file.getvalue()
