"""The direct lane's contract in the world as it is described: counts and tails that lag, a line
cursor that goes back with an earlier post, the documented rate limits in force."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from syncd.destination.wandb.api import Api
from syncd.destination.wandb.credentials import Login
from syncd.destination.wandb.filestream import FileStream
from syncd.destination.wandb.lanes import Lanes
from syncd.destination.wandb.last_sessions import LastSessions
from syncd.destination.wandb.pace import Pace
from syncd.errors import RunTrouble, Unreachable
from tests.fakes.wandb_server import WandbServer
from tests.fakes.wandb_world import World
from tests.patience import until
from tests.syncd.destination.contract import Run, UploaderContract
from tests.syncd.destination.wandb.test_filestream import DirectBench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DirectBench]:
    folder = tmp_path_factory.mktemp("world")
    with WandbServer(folder, entity="team", world=World.DEFAULT) as server:
        yield DirectBench(server, Pace())
        assert [seen for seen in server.requests() if seen.status == 429] == []
        runs = server.dump()["team"]["songs"].values()
        assert [run["overwrites"] for run in runs if run["overwrites"]] == []


@pytest.mark.slow  # each test waits for counts that are seconds behind
class TestFileStream(UploaderContract):
    pass


def test_a_post_without_an_answer_is_waited_for_before_other_lines_follow(tmp_path: Path) -> None:
    """Done after lines of the next session it would set the line cursor back to 2, and the lines
    after those were then put at 2."""
    with WandbServer(tmp_path, entity="team", world=World.LINE_CURSOR) as server:
        api, last = Api(Login(server.url, "team", server.key, "test"), 1.0), LastSessions()
        lanes = Lanes("direct")
        run = Run(DirectBench(server, Pace()))

        def opened() -> FileStream:
            stream = FileStream(run.target, api, Pace(), lanes, last=last)
            assert stream.open() == len(server.history(run.run_id))
            return stream

        first = opened()
        server.fault("latency", endpoint="file_stream", seconds=1.8, times=1)
        with pytest.raises(Unreachable, match="does not answer"):
            first.send(run.lines.first(2))
        first.abandon()
        early = FileStream(run.target, api, Pace(), lanes, last=last)
        with pytest.raises(RunTrouble, match=r"lines before 2 .* may still arrive") as trouble:
            early.open()
        early.abandon()
        assert 0 < trouble.value.retry_after <= 2.0
        until(lambda: len(server.history(run.run_id)) == 2, "the lines arrive")
        second = opened()
        second.send(run.lines_from(2))
        found = server.run(run.run_id)
        assert (found["gaps"], found["overwrites"]) == ([], [])
        assert run.steps() == list(range(6))


def test_a_post_that_was_answered_with_a_time_to_come_again_is_not_waited_for(
    tmp_path: Path,
) -> None:
    with WandbServer(tmp_path, entity="team", world=World.PROMPT) as server:
        api, last = Api(Login(server.url, "team", server.key, "test")), LastSessions()
        run = Run(DirectBench(server, Pace()))
        first = FileStream(run.target, api, Pace(), Lanes("direct"), last=last)
        first.open()
        server.fault("status", endpoint="file_stream", status=429, retry_after=1.0, times=1)
        with pytest.raises(Unreachable):
            first.send(run.lines)
        first.abandon()
        second = FileStream(run.target, api, Pace(), Lanes("direct"), last=last)
        assert second.open() == 0
        second.abandon()
