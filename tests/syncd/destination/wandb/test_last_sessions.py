"""What may still be on its way when a run's next session begins."""

from __future__ import annotations

import time

import pytest

from syncd.destination.base import RunRef
from syncd.destination.wandb.last_sessions import LastSession, LastSessions

RUN = RunRef("team", "songs", "run")


def test_lines_without_an_answer_are_waited_for_while_they_are_not_counted() -> None:
    ended = LastSession(20, confirmed=False, orderly=False)
    assert 1990 < ended.may_still_arrive(19, 1000.0) <= 2000
    assert ended.may_still_arrive(20, 1000.0) == 0


def test_twice_the_time_for_an_answer_is_enough() -> None:
    ended = LastSession(20, confirmed=False, orderly=False, at=time.monotonic() - 31)
    assert ended.may_still_arrive(0, 15.0) == 0
    assert ended.may_still_arrive(0, 16.0) > 0


def test_nothing_is_waited_for_where_all_was_confirmed() -> None:
    assert LastSession(20, confirmed=True, orderly=False).may_still_arrive(0, 1000.0) == 0


@pytest.mark.parametrize("orderly", [True, False])
def test_a_session_is_remembered_until_the_next_one_begins(orderly: bool) -> None:
    sessions = LastSessions()
    assert sessions.of(RUN) is None
    ended = LastSession(3, confirmed=True, orderly=orderly)
    sessions.note(RUN, ended)
    assert sessions.of(RUN) is ended
    assert sessions.of(RunRef("team", "songs", "another")) is None
    sessions.begin(RUN)
    assert sessions.of(RUN) is None
