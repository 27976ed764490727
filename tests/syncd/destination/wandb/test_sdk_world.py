"""wandb's own SDK where the server is as bad as the world: no line is put over another one, and
what can't be mended by this lane is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from syncd.destination.base import Outcome, Target, Uploader
from syncd.destination.wandb.api import Api
from syncd.destination.wandb.credentials import Login
from syncd.destination.wandb.last_sessions import LastSessions
from syncd.destination.wandb.sdk import WandbSdk
from syncd.destination.wandb.worker_pool import WorkerPool
from syncd.errors import Contradiction
from tests.fakes.faults import Fault, Request
from tests.fakes.wandb_server import WandbServer
from tests.fakes.wandb_state import HISTORY
from tests.fakes.wandb_world import World
from tests.patience import patience, until
from tests.syncd.destination.contract import FINISHED, Bench, Run

pytestmark = pytest.mark.sdk

CRASHED = Outcome("crashed", 1)


class Place(Bench):
    """A server in one world. still: seconds that a count has to stand."""

    def __init__(self, folder: Path, pool: WorkerPool, world: World, still: float) -> None:
        self.server = WandbServer(folder / "server", entity="team", world=world)
        self.pool, self.still = pool, still
        self.last = LastSessions()
        self.asks = Api(Login(self.server.url, "team", self.server.key, "test"), patience(5.0))
        self.posts: list[tuple[int, int]] = []  # the lines of each post, as it came
        self.late: set[int] = set()  # posts that begin with these lines are answered late
        self.server.hook = self._meet

    def _meet(self, request: Request) -> Fault | None:
        files = request.body.get("files", {}) if request.endpoint == "file_stream" else {}
        if chunk := files.get(HISTORY):
            first = chunk["offset"]
            self.posts.append((first, first + len(chunk["content"])))
            if first in self.late:
                self.late.discard(first)
                return Fault("latency", seconds=2.0)
        return None

    def uploader(self, target: Target) -> WandbSdk:
        return WandbSdk(
            target,
            self.asks,
            self.pool,
            request_timeout=patience(2.5),
            count_stable_for=self.still,
            last=self.last,
        )

    def rows(self, run_id: str) -> list[dict[str, Any]]:
        return self.server.history(run_id)

    def state(self, run_id: str) -> str:
        return str(self.server.run(run_id)["state"])

    def break_down(self) -> None:
        self.server.fault("html", endpoint="file_stream")

    def repair(self) -> None:
        self.server.clear()

    def settle(self) -> None:
        """The SDK sends by itself."""


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    made = WorkerPool()
    yield made
    made.close()


@pytest.fixture
def place(tmp_path: Path, pool: WorkerPool) -> Iterator[Callable[..., Place]]:
    with ExitStack() as stack:

        def make(world: World, still: float = 0.05) -> Place:
            made = Place(tmp_path, pool, world, still)
            stack.callback(made.server.close)
            return made

        yield make


def unharmed(run: Run) -> list[int]:
    """The run's steps, none of which went elsewhere than to its place."""
    assert isinstance(run.bench, Place)
    found = run.bench.server.run(run.run_id)
    assert (found["gaps"], found["overwrites"], found["errors"]) == ([], [], [])
    return run.steps()


def test_a_request_of_a_killed_session_that_comes_late_is_waited_for(
    place: Callable[..., Place],
) -> None:
    """Coming after lines of the next session, it would set the line cursor back to 4: the lines
    after those were then put at 4, and the run had fewer lines than its last step says."""
    here = place(World.LINE_CURSOR)
    here.late = {2}
    run = Run(here)
    first = run.open()
    first.send(run.lines.first(2))
    assert run.confirmed(first, 2) == 2
    first.send(run.lines_from(2).first(2))
    until(lambda: (2, 4) in here.posts, "the lines are on their way")
    first.abandon()
    assert run.steps() == [0, 1]
    second = run.open()
    assert run.count == 4
    second.send(run.lines_from(4).first(1))
    assert run.confirmed(second, 5) == 5
    second.send(run.lines_from(5))
    assert run.confirmed(second, 6) == 6
    second.close(FINISHED, ())
    assert unharmed(run) == list(range(6))


def with_two_lines_swallowed(here: Place, run: Run) -> Uploader:
    """A session that has sent all six lines, of which the third and fourth met a portal."""
    uploader = run.open()
    uploader.send(run.lines.first(2))
    assert run.confirmed(uploader, 2) == 2
    here.break_down()
    uploader.send(run.lines_from(2).first(2))
    until(lambda: (2, 4) in here.posts, "a portal has swallowed two lines")
    here.repair()
    uploader.send(run.lines_from(4))
    return uploader


def test_lines_past_a_hole_are_not_confirmed_where_the_server_counts_it(
    place: Callable[..., Place],
) -> None:
    here = place(World.GAPS)
    run = Run(here)
    uploader = with_two_lines_swallowed(here, run)
    until(lambda: len(here.rows(run.run_id)) == 6, "the server counts past the hole")
    assert uploader.confirm() == 2
    trouble = uploader.stalled(2, 6)
    assert isinstance(trouble, Contradiction)
    assert "counts 6, and does not have line 2" in str(trouble)
    uploader.abandon()


def test_lines_that_took_the_places_of_lost_ones_are_named(place: Callable[..., Place]) -> None:
    """wandb's SDK can't go back to an earlier line: another lane has to."""
    here = place(World.LINE_CURSOR)
    run = Run(here)
    uploader = with_two_lines_swallowed(here, run)
    until(lambda: run.steps() == [0, 1, 4, 5], "the next two are in their places")
    assert uploader.confirm() == 2
    uploader.abandon()
    with pytest.raises(Contradiction, match="counts 4, its last step is 5"):
        here.uploader(run.target).open()


def test_a_worker_whose_run_crashed_or_was_parked_is_lent_again(
    place: Callable[..., Place], pool: WorkerPool
) -> None:
    here = place(World.PROMPT)
    pids = set()
    for outcome in (CRASHED, None, CRASHED):
        run = Run(here)
        uploader = run.open()
        assert isinstance(uploader, WandbSdk)
        assert uploader._worker
        pids.add(uploader._worker.pid)
        uploader.send(run.lines)
        assert run.confirmed(uploader, 6) == 6
        uploader.close(outcome, ())
        assert here.state(run.run_id) == "running"  # nobody said that it has ended
    assert len(pids) == 1
    again = run.open()  # nothing holds its name in there
    assert run.count == 6
    again.close(FINISHED, ())
    assert here.state(run.run_id) == "finished"
    assert unharmed(run) == list(range(6))


def test_a_worker_that_does_not_let_go_of_its_run_is_killed(
    place: Callable[..., Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = place(World.PROMPT)
    run = Run(here)
    uploader = run.open()
    assert isinstance(uploader, WandbSdk)
    worker = uploader._worker
    assert worker
    monkeypatch.setattr("syncd.destination.wandb.sdk.HAND_OVER", 0.0)
    uploader.close(CRASHED, ())
    until(lambda: not Path(f"/proc/{worker.pid}").exists(), "the worker is gone")


def test_a_session_in_the_world_as_it_is_goes_on_after_a_kill(place: Callable[..., Place]) -> None:
    """The count and the tail lag, each by its own time, and posts are limited."""
    here = place(World.DEFAULT, still=3.0)
    run = Run(here, lines=40)
    first = run.open()
    first.send(run.lines.first(20))
    assert run.confirmed(first, 20) == 20
    first.send(run.lines_from(20).first(10))
    until(lambda: (20, 30) in here.posts, "the lines are on their way")
    first.abandon()
    second = run.open()
    assert run.count == 30
    second.send(run.lines_from(30))
    assert run.confirmed(second, 40) == 40
    second.close(FINISHED, ())
    assert unharmed(run) == list(range(40))
    assert here.state(run.run_id) == "finished"


def test_a_step_from_a_newer_answer_than_the_count_opens_nothing(
    place: Callable[..., Place],
) -> None:
    """Two lines become known between the SDK's two questions: it would go on with the fifth line,
    at the place of the third. Asked again, the server's answers agree."""
    here = place(World.PROMPT)
    run = Run(here)
    first = run.open()
    first.send(run.lines.first(4))
    assert run.confirmed(first, 4) == 4
    first.abandon()
    here.server.fault("stale", operation="RunResumeStatus", lag=2, stale_tail=True, times=2)
    here.server.fault("stale", operation="UpsertBucket", lag=2)
    second = here.uploader(run.target)
    with pytest.raises(Contradiction, match="counts 2, but lets the run go on at 4"):
        second.open()
    second.abandon()
    here.server.clear()
    assert unharmed(run) == [0, 1, 2, 3]


def put_too_low(here: Place, run: Run, lines: int) -> Uploader:
    """A session that goes on at line 20, and whose next lines go to places from 15 on: the SDK was
    told the place by an answer from a cache. Returns it with so many lines sent."""
    first = run.open()
    first.send(run.lines.first(20))
    assert run.confirmed(first, 20) == 20
    first.abandon()
    here.server.fault("stale", operation="UpsertBucket", lag=5, times=1)
    second = run.open()
    assert run.count == 20
    here.posts.clear()
    second.send(run.lines_from(20).first(lines))
    until(lambda: (15, 15 + lines) in here.posts, "the lines are in the places of others")
    until(lambda: 20 in run.steps(), "and there")
    return second


def test_lines_that_were_put_too_low_are_not_confirmed(place: Callable[..., Place]) -> None:
    here = place(World.PROMPT)
    run = Run(here, lines=30)
    uploader = put_too_low(here, run, 10)
    assert len(run.steps()) == 25  # and line 20 is among them
    assert uploader.confirm() == 20
    trouble = uploader.stalled(20, 30)
    assert isinstance(trouble, Contradiction)
    assert "counts 25, and does not have line 19" in str(trouble)
    uploader.abandon()


def test_lines_that_were_put_too_low_and_change_no_count_are_found(
    place: Callable[..., Place],
) -> None:
    """Not taken for a server that does not count: nothing would be sent for good."""
    here = place(World.PROMPT)
    run = Run(here, lines=30)
    uploader = put_too_low(here, run, 3)
    assert uploader.confirm() == 20
    assert isinstance(uploader.stalled(20, 23), Contradiction)
    uploader.abandon()


def test_a_session_after_one_that_put_lines_too_low_does_not_open(
    place: Callable[..., Place],
) -> None:
    """It would send the same lines to their own places, and the numbers were right again. The SDK
    knows the last step by the run's summary, too."""
    here = place(World.PROMPT)
    run = Run(here, lines=30)
    put_too_low(here, run, 3).abandon()
    again = here.uploader(run.target)
    with pytest.raises(Contradiction, match="counts 20, but lets the run go on at 23"):
        again.open()
    again.abandon()
