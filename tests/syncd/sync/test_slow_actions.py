"""What may wait for room in the memory, for a count to stand still, or for a store of files, leaves
threads to what takes a moment: a live run's record does not wait behind other runs' backlogs."""

from __future__ import annotations

import pytest

from karaoke_train.runlog.reader import Position
from syncd.destination.base import Outcome
from syncd.settings import Limits
from syncd.sync.assemble import MOST_THREADS
from syncd.sync.scheduler import (
    Action,
    ActionKind,
    Phase,
    Run,
    Sent,
    start,
    transition,
)
from syncd.sync.turns import FILES_AT_ONCE, LARGE, LARGE_AT_ONCE, MOST_FILES, SLOW_AT_ONCE, actions

LIMITS = Limits(open_runs=512)
MUCH = 100 * LARGE
AHEAD = 100_000
LIVE = Run(Phase.OPEN, size=200, ahead=AHEAD)
BACKLOG = Run(Phase.OPEN, size=MUCH, ahead=AHEAD)
ENDS = Run(Phase.OPEN, size=9, scanned_to=9, outcome=Outcome("finished", 0))
NEW = Run(size=200)
WITH_FILES = Run(Phase.OPEN, size=200, scanned_to=200, files=1)


def begin(runs: dict[str, Run], now: float = 100.0) -> list[str]:
    """The runs for which something is done now; it is under way from then on."""
    found = actions(runs, online=True, now=now, limits=LIMITS)
    for action in found:
        runs[action.key] = start(runs[action.key], action)
    return [action.key for action in found]


def test_backlogs_leave_threads_to_a_live_runs_records() -> None:
    runs = {f"backlog{n}": BACKLOG for n in range(100)}
    assert len(begin(runs)) == LARGE_AT_ONCE
    assert begin(runs) == []
    runs |= {f"live{n}": LIVE for n in range(300)}
    assert set(begin(runs)) == {f"live{n}" for n in range(300)}


def test_what_opens_and_ends_runs_leaves_threads_to_a_live_runs_records() -> None:
    runs = {f"new{n}": NEW for n in range(100)} | {f"ends{n}": ENDS for n in range(100)}
    assert len(begin(runs)) == SLOW_AT_ONCE < MOST_THREADS
    runs["live"] = LIVE
    assert begin(runs) == ["live"]


def test_a_backlog_that_is_sent_and_not_counted_yet_makes_no_large_send_of_the_next_line() -> None:
    runs = {f"backlog{n}": BACKLOG for n in range(100)}
    begin(runs)
    sent = Position(9, MUCH)
    runs["sent"] = BACKLOG._replace(size=MUCH + 200, sent=sent, scanned_to=MUCH, confirm_at=1e9,
                                    progress_at=100.0)  # fmt: skip
    assert begin(runs) == ["sent"]


@pytest.mark.parametrize("other", [NEW, ENDS])
def test_backlogs_leave_threads_to_runs_that_begin_or_end(other: Run) -> None:
    runs = {f"backlog{n}": BACKLOG for n in range(100)}
    begin(runs)
    runs["other"] = other
    assert begin(runs) == ["other"]


def test_what_is_over_makes_room_for_what_waits() -> None:
    runs = {f"backlog{n}": BACKLOG for n in range(9)}
    (first, *_) = begin(runs)
    runs[first] = transition(runs[first], Sent(Position(9, LARGE), LARGE), 100.0, 0.5, LIMITS)
    assert len(begin(runs)) == 1


def test_backlogs_are_sent_in_turn() -> None:
    runs = {f"backlog{n}": BACKLOG for n in range(2 * LARGE_AT_ONCE)}
    order: list[str] = []
    for turn in range(1, 5):
        now = 100.0 + turn
        sending = begin(runs, now)
        order += sending
        for key in sending:
            at = Position(turn, turn * LARGE)
            runs[key] = transition(runs[key], Sent(at, at.offset), now, 0.5, LIMITS)
    assert all(order.count(key) == 2 for key in runs)


@pytest.mark.parametrize("other", [LIVE, BACKLOG, NEW])
def test_files_and_ends_leave_threads_to_lines_and_to_runs_that_begin(other: Run) -> None:
    runs = {f"files{n}": WITH_FILES for n in range(100)} | {f"ends{n}": ENDS for n in range(100)}
    assert len(begin(runs)) == FILES_AT_ONCE
    runs["other"] = other
    assert begin(runs) == ["other"]


def test_lines_go_before_files_that_wait_for_their_turn_but_for_those_of_many() -> None:
    runs = {f"files{n}": WITH_FILES for n in range(FILES_AT_ONCE)}
    begin(runs)
    runs |= {"few": LIVE._replace(files=1), "many": LIVE._replace(files=MOST_FILES)}
    assert actions(runs, online=True, now=100.0, limits=LIMITS) == [Action(ActionKind.SEND, "few")]


def test_a_session_is_not_parked_before_its_files_are_brought() -> None:
    limits = Limits(open_runs=1)
    quiet = WITH_FILES._replace(files=0)
    for files, kind in ((0, ActionKind.CLOSE), (1, ActionKind.BRING)):
        runs = {"open": quiet._replace(files=files), "new": NEW}
        found = actions(runs, online=True, now=100.0, limits=limits)
        assert found == [Action(kind, "open")]
