"""Servers that are not wandb.ai: whatever they do with offsets, counts and answers, the records are
there once, or the server is named and nothing is sent to it a second time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import pytest

from karaoke_train.runlog import RunLog
from syncd.errors import Exit
from syncd.report.status import exit_code
from tests.fakes.faults import Request
from tests.fakes.wandb_server import WandbServer
from tests.fakes.wandb_state import HISTORY
from tests.fakes.wandb_world import World
from tests.faults.rig import LANES, Playing, Rig, played, write
from tests.patience import until


@dataclass(frozen=True)
class Case:
    """lane: what `status` says of it afterwards, where it was `auto`. words: the run's problem,
    when the records can't be confirmed; sdk: the same, on that lane alone."""

    world: World
    lane: str = "direct"
    words: str = ""
    sdk: str = ""


CASES = {
    "accepts gaps": Case(World.GAPS),
    "ignores offsets": Case(World.APPENDS),
    "has a line cursor": Case(World.LINE_CURSOR),
    "counts late": Case(World.COUNTS_LATE),
    "serves old tails": Case(World.STALE_TAILS),
    # wandb-core takes the answer for a failure, and opens nothing
    "knows no missingOk": Case(World.NO_MISSING_OK, sdk="does not take the run"),
    "counts nothing": Case(
        World.NEVER_COUNTS,
        lane="direct, but it does not count what it is sent",
        words="counts none of them",
    ),
}


def served(rig: Rig, name: str, lane: str) -> None:
    case = CASES[name]
    if lane == "sdk" and case.sdk:
        case = replace(case, words=case.sdk)
    assert isinstance(rig.server, WandbServer)
    posts: list[Request] = []  # that carry lines
    rig.server.hook = partial(note_lines, posts)
    rig.go_by(lane)
    rig.server.change_world(case.world)
    rig.start()
    with RunLog.create(rig.logs, project="songs") as log:
        write(log, 20)
        if not case.words:
            rig.await_all(log)
        write(log, 20, start=20)
    if case.words:
        is_named(rig, log, case, posts)
    else:
        rig.await_end(log)
        rig.assert_same(log)
    if lane == "auto":
        assert rig.destination().lane == case.lane


def is_named(rig: Rig, log: RunLog, case: Case, posts: list[Request]) -> None:
    until(lambda: case.words in rig.run_status(log.run_id).problem, f"{case.words}: {rig.said()}")
    assert exit_code(rig.status()) == Exit.DECISION
    posted = len(posts)
    said = rig.said().count(case.words)
    rig.kill()  # another daemon knows of it, too
    rig.start()
    until(lambda: rig.said().count(case.words) > said, "its count is looked at again")
    assert len(posts) == posted
    rows = rig.server.run(log.run_id)["history"] if posts else []
    assert [row["_step"] for row in rows] == list(range(len(rows)))  # none of it is there twice


def note_lines(posts: list[Request], request: Request) -> None:
    if request.endpoint == "file_stream" and HISTORY in request.body.get("files", {}):
        posts.append(request)


SCENARIOS: dict[str, Callable[[Rig], None]] = {
    f"{name}, {lane}": partial(served, name=name, lane=lane) for lane in LANES for name in CASES
}
under_way = played(SCENARIOS, width=6)


@pytest.mark.parametrize("case", SCENARIOS)
def test_records_are_there_once_or_the_server_is_named(under_way: Playing, case: str) -> None:
    under_way.result(case)
