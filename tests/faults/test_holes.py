"""A count is no proof: records that are missing in a run's middle are found, and sent again from
there to the end, in order. What isn't the file's is left for a person to decide."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from karaoke_train.runlog import RunLog
from syncd.errors import Exit, ProblemCode
from syncd.report.status import exit_code
from syncd.state import cursor, decisions
from tests.fakes.faults import Fault, Request
from tests.fakes.wandb_server import WandbServer
from tests.fakes.wandb_state import HISTORY, HOLE, RunState
from tests.fakes.wandb_world import World
from tests.faults import store
from tests.faults.rig import LANES, LOCAL, Playing, Rig, cases, played, write
from tests.faults.test_verify import verify
from tests.patience import until

WORLDS = {
    "gaps": replace(World.PROMPT, offsets="gaps"),
    "cursor": replace(World.PROMPT, offsets="cursor"),
}


def at_server(rig: Rig, log: RunLog) -> RunState:
    """The run at the server, to be changed in place."""
    assert isinstance(rig.server, WandbServer)
    return next(run for key, run in rig.server.store.runs.items() if key.run == log.run_id)


def history(rig: Rig, log: RunLog) -> list[str]:
    """The run's lines there."""
    return at_server(rig, log).history


def lose(rig: Rig, log: RunLog) -> None:
    if rig.local:
        store.lose(rig.store, log.run_id, 5, 6)
        return
    lines = history(rig, log)
    lines[5] = lines[6] = HOLE


def lost(rig: Rig, log: RunLog) -> bool:
    return bool(rig.run(log.run_id)["gaps"]) if rig.local else HOLE in history(rig, log)


def is_whole(rig: Rig, log: RunLog) -> None:
    rig.await_end(log)
    if rig.lane == "sdk":
        # After a lost post a line cursor has the SDK's next ones go elsewhere than they said, and
        # what is there by then is written over: nothing that is in its place
        harmed = at_server(rig, log)
        in_place = [x for x in harmed.overwrites if json.loads(x["old"]).get("_step") == x["line"]]
        harmed.overwrites[:] = in_place
        harmed.gaps.clear()
    rig.assert_same(log)
    found = rig.run(log.run_id)
    assert found["state"] == "finished"
    code, out, _ = verify(rig, log.run_id, "--json")
    assert (code, json.loads(out)["runs"][0]["equal"]) == (Exit.OK, True)


def begin(rig: Rig, world: str, lane: str) -> RunLog:
    rig.go_by(lane)
    if not rig.local:
        assert isinstance(rig.server, WandbServer)
        rig.server.change_world(WORLDS[world])
    rig.start()
    return RunLog.create(rig.logs, project="songs")


def a_page_in_the_middle(rig: Rig, world: str, lane: str) -> None:
    """A portal's page answers one post of a backlog."""
    posts: list[Request] = []

    def portal(request: Request) -> Fault | None:
        if request.endpoint != "file_stream" or HISTORY not in request.body.get("files", {}):
            return None
        posts.append(request)
        return Fault("html") if len(posts) == 2 else None

    assert isinstance(rig.server, WandbServer)
    with begin(rig, world, lane) as log:
        write(log, 20)
        rig.await_all(log)
        rig.server.hook = portal
        posts.append((posts and posts[0]) or Request("", "", "other", "", "", None))
        write(log, 3000, start=20)
    is_whole(rig, log)
    assert len(posts) > 2
    rig.server.hook = None


def lost_while_it_was_open(rig: Rig, world: str, lane: str) -> None:
    """Before the run is ended its content is looked at. The local store has counted fewer by then:
    somebody took them out, and says whether they are to be there again."""
    with begin(rig, world, lane) as log:
        write(log, 30)
        rig.await_all(log)
        lose(rig, log)
    if rig.local:
        until(lambda: rig.status().decisions, f"status asks: {rig.said()}")
        assert rig.run_status(log.run_id).code == ProblemCode.LOST_AT_SERVER
        decisions.retry(rig.state(), log.run_id)
    is_whole(rig, log)


def lost_long_ago(rig: Rig, world: str, lane: str) -> None:
    """A run that has ended: `retry` compares, and sends what is missing."""
    with begin(rig, world, lane) as log:
        write(log, 30)
    rig.await_end(log)
    lose(rig, log)
    decisions.retry(rig.state(), log.run_id)
    until(lambda: not lost(rig, log), f"it is whole again: {rig.said()}")
    is_whole(rig, log)


def repaired_by_hand(rig: Rig, world: str, lane: str) -> None:
    """The same by `verify --repair`, without a daemon."""
    with begin(rig, world, lane) as log:
        write(log, 30)
    rig.await_end(log)
    rig.kill()
    lose(rig, log)
    code, out, err = verify(rig, log.run_id, "--repair")
    assert code == Exit.OK, out + err
    is_whole(rig, log)


def somebody_elses(rig: Rig, world: str, lane: str) -> None:
    """Nothing is written over rows that are not the file's."""
    with begin(rig, world, lane) as log:
        write(log, 30)
        rig.await_all(log)
        if rig.local:
            store.give_away(rig.store, log.run_id)
        else:
            lines = history(rig, log)
            lines[0] = json.dumps(json.loads(lines[0]) | {"syncd/part": "another"})
        before = rig.run(log.run_id)["history"]
    words = "are not the file's"
    until(lambda: words in rig.run_status(log.run_id).problem, f"status says so: {rig.said()}")
    assert exit_code(rig.status()) == Exit.DECISION
    assert rig.run(log.run_id)["history"][: len(before)] == before


def put_over_others(
    rig: Rig, world: str, lane: str, *, lines: int, killed: bool = False, stuck: bool = False
) -> None:
    """wandb's SDK is told by a cache where to put its lines: 5 too low. killed: the daemon, before
    it knows. stuck: an earlier version took the lines for some that the server does not count."""
    with begin(rig, world, lane) as log:
        write(log, 20)
        rig.await_all(log)
        rig.kill()
        assert isinstance(rig.server, WandbServer)
        rig.server.fault("stale", operation="UpsertBucket", lag=5)
        write(log, lines, start=20)
        rig.start()
        until(lambda: at_server(rig, log).overwrites, "lines are in the places of others")
        rig.server.clear()
        if killed or stuck:
            rig.kill()
        if stuck:
            folder = rig.state() / "cursors"
            known = cursor.load(folder, log.run_id)
            assert known
            cursor.save(folder, known._replace(uncounted=known.confirmed.ordinal + 1))
        if killed or stuck:
            rig.start()
        rig.await_all(log)
        write(log, 20, start=20 + lines)
    rig.await_end(log)
    at_server(rig, log).overwrites.clear()  # those of the SDK; all of them were made good
    is_whole(rig, log)


def set_back(rig: Rig, *, lines: int, killed: bool) -> None:
    """A post of a daemon that was killed arrives late, and sets the server's line cursor back: what
    comes next is in the places of earlier lines. killed: the daemon, before it knows; a cache then
    shows an old last step."""
    assert isinstance(rig.server, WandbServer)
    with begin(rig, "cursor", "auto") as log:
        write(log, 30)
        rig.await_all(log)
        at_server(rig, log).cursors[HISTORY] = 10
        write(log, lines, start=30)
        until(lambda: at_server(rig, log).overwrites, "lines are in the places of others")
        if killed:
            rig.kill()
            rig.server.change_world(replace(WORLDS["cursor"], tail_lag_s=3600.0))
            rig.start()
    rig.await_end(log)
    if killed:
        rig.server.change_world(WORLDS["cursor"])
    harmed = at_server(rig, log)
    harmed.overwrites.clear()  # by what came behind the late post; all of it was made good
    harmed.gaps.clear()
    is_whole(rig, log)


CASES = (
    a_page_in_the_middle, lost_while_it_was_open, lost_long_ago, repaired_by_hand, somebody_elses,
)  # fmt: skip
SCENARIOS: dict[str, Callable[[Rig], None]] = (
    {
        f"{case.__name__.replace('_', ' ')}, {world}, {lane}": partial(case, world=world, lane=lane)
        for lane in LANES
        for world in WORLDS
        for case in CASES
    }
    | {
        f"{case.__name__.replace('_', ' ')}, {LOCAL}": partial(case, world="", lane=LOCAL)
        for case in CASES
        if case is not a_page_in_the_middle  # nothing lies between the daemon and the store
    }
    | {
        f"put over others, {name}": partial(put_over_others, world="gaps", lane="sdk", **how)
        for name, how in {
            "past the last one": {"lines": 30},
            "before the last one": {"lines": 3},
            "past the last one, killed": {"lines": 30, "killed": True},
            "before the last one, killed": {"lines": 3, "killed": True},
            "before the last one, taken for not counted": {"lines": 3, "stuck": True},
        }.items()
    }
    | {
        f"set back, {name}": partial(set_back, lines=lines, killed=killed)
        for name, lines, killed in (
            ("a few lines", 3, False),
            ("a few lines, killed", 3, True),
            ("more than were there, killed", 30, True),
        )
    }
    | {
        "put over others, with a line cursor": partial(
            put_over_others, world="cursor", lane="sdk", lines=30
        )
    }
)
under_way = played(SCENARIOS, width=6)


@pytest.mark.parametrize("case", cases(SCENARIOS))
def test_what_is_missing_is_sent_again_and_what_is_not_ours_is_left(
    under_way: Playing, case: str
) -> None:
    under_way.result(case)
