"""What is told of a run, each once."""

from __future__ import annotations

import math

import pytest

from syncd.service.run_events import (
    EventKind,
    Look,
    Seen,
    began,
    first_look,
    from_json,
    news,
    to_json,
    words_of,
)

MINUTES = 60.0
LIVE = Look(100, "live")


def told(*looks: tuple[float, Look], first: Seen | None = None) -> list[list[EventKind]]:
    seen, found = first or began(0.0), []
    for now, look in looks:
        seen, kinds = news(seen, look, now, 30 * MINUTES)
        found.append(list(kinds))
    return found


@pytest.mark.parametrize("status", ["finished", "failed", "interrupted"])
def test_an_end_is_told_once_and_again_when_the_run_went_on(status: str) -> None:
    end, more = Look(200, status), Look(300, "live")
    again = Look(400, status)
    assert told((0, LIVE), (1, end), (2, end), (3, more), (4, again), (5, again)) == [
        [], [EventKind.RUN_ENDED], [], [], [EventKind.RUN_ENDED], [],
    ]  # fmt: skip


def test_an_end_right_after_more_records_is_told_though_the_state_is_the_same() -> None:
    assert told((1, Look(1, "failed")), (2, Look(2, "failed")))[1] == [EventKind.RUN_ENDED]


def test_a_crash_is_told_once() -> None:
    crash = Look(100, "crashed")
    assert told((0, LIVE), (9, crash), (10, crash)) == [[], [EventKind.RUN_CRASHED], []]


def test_silence_is_told_once_until_the_run_speaks_again() -> None:
    more = Look(200, "live")
    looks = [(0, LIVE), (30, LIVE), (31, LIVE), (90, LIVE), (91, more), (121, more), (122, more)]
    kinds = told(*((minute * MINUTES, look) for minute, look in looks))
    assert [bool(found) for found in kinds] == [False, False, True, False, False, False, True]
    assert kinds[2] == [EventKind.RUN_SILENT]


def test_an_ended_run_is_never_silent() -> None:
    end = Look(200, "finished")
    assert told((0, LIVE), (1, end), (math.inf, end))[2] == []


def test_what_waits_for_a_person_is_told_once_per_reason() -> None:
    one, other = Look(100, "live", "deleted"), Look(100, "live", "refused")
    assert told((0, LIVE), (1, one), (2, one), (3, other), (4, LIVE), (5, one)) == [
        [], [EventKind.UPLOAD_BLOCKED], [], [EventKind.UPLOAD_BLOCKED], [],
        [EventKind.UPLOAD_BLOCKED],
    ]  # fmt: skip


def test_what_was_there_before_anybody_asked_is_no_news() -> None:
    old = Look(100, "crashed", "deleted")
    assert told((1, old), (2, old), first=first_look(old, 0.0)) == [[], []]


def test_what_was_seen_survives_a_restart_and_damage_is_told_from_it() -> None:
    seen = {"a": Seen(Look(7, "failed", "x"), 3.0), "b": Seen(LIVE, 1.0, silent=True)}
    assert from_json(to_json(seen), 9.0) == {"a": Seen(Look(7, "failed", "x"), 9.0),
                                             "b": Seen(LIVE, 9.0)}  # fmt: skip
    for damage in (None, [], {"a": 1}, {"a": [1]}, {"a": ["x", "live", ""]}):
        with pytest.raises((AttributeError, TypeError, ValueError)):
            from_json(damage, 0.0)


def test_each_kind_has_its_sentence() -> None:
    look = Look(1, "failed", "the run was deleted")
    said = {kind: words_of(kind, "take 1", look, 1900.0) for kind in EventKind}
    assert len(set(said.values())) == len(EventKind)
    assert said[EventKind.RUN_ENDED] == "take 1 has ended: failed"
    assert "32 minutes" in said[EventKind.RUN_SILENT]
