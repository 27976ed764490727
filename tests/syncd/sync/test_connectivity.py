"""Whether the destination can be reached, and when it is asked again: pure, but for who asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from syncd.errors import Connection, Refused, RunTrouble, Unreachable
from syncd.settings import Limits
from syncd.sync.connectivity import (
    Connectivity,
    Probed,
    Prober,
    failed,
    hurried,
    network_changed,
    succeeded,
    suspected,
)
from tests.fakes.executor import InlineExecutor
from tests.fakes.uploads import ENTITY, FakeServer

if TYPE_CHECKING:
    from syncd.errors import UploadError

LIMITS = Limits()
BUSY = Unreachable("busy", kind=Connection.TROUBLE, retry_after=40.0)
ONLINE = succeeded("team", 0.0, LIMITS)


def test_a_server_that_names_a_time_is_asked_then() -> None:
    assert failed(Connectivity(), BUSY, 100.0, 0.5, LIMITS).probe_at == 140.0


def test_a_time_that_a_runs_own_request_was_told_holds_for_everybody() -> None:
    assert suspected(ONLINE, BUSY, 100.0).probe_at == 140.0
    assert suspected(ONLINE, Unreachable("cut"), 100.0).probe_at == 100.0


def test_a_doubt_while_the_server_is_known_to_be_away_asks_no_sooner() -> None:
    away = failed(ONLINE, Unreachable("no"), 100.0, 1.0, LIMITS)
    assert suspected(away, Unreachable("no"), 100.5) == away


def test_a_doubt_is_over_once_the_server_is_known_to_be_away() -> None:
    doubted = suspected(ONLINE, Unreachable("no"), 100.0)
    assert doubted.in_doubt
    assert not failed(doubted, Unreachable("no"), 101.0, 1.0, LIMITS).in_doubt


def test_a_server_out_of_reach_is_asked_ever_less_often_until_it_answers() -> None:
    known = Connectivity()
    assert not known.online
    for _ in range(3):
        known = failed(known, Unreachable("no"), 100.0, 1.0, LIMITS)
    assert (known.online, known.failures, known.probe_at) == (False, 3, 108.0)
    again = succeeded("team", 200.0, LIMITS)
    assert (again.online, again.failures, again.probe_at) == (True, 0, 200.0 + LIMITS.probe_every)


@pytest.mark.parametrize("kind", [Connection.OFFLINE, Connection.CAPTIVE])
def test_another_network_has_a_server_out_of_reach_asked_now_and_soon_again(
    kind: Connection,
) -> None:
    away = ONLINE
    for _ in range(9):
        away = failed(away, Unreachable("no", kind=kind), 100.0, 1.0, LIMITS)
    assert away.probe_at > 300.0
    there = network_changed(away, 101.0)
    assert (there.probe_at, there.online) == (101.0, False)
    # names and routes come some moments after the address
    assert failed(there, Unreachable("no"), 101.0, 1.0, LIMITS).probe_at == 103.0


@pytest.mark.parametrize(
    "error",
    [BUSY, Refused("no", kind=Connection.NOT_LOGGED_IN, remedy=""), None],
)
def test_another_network_is_no_news_of_a_server_that_answered(error: UploadError | None) -> None:
    known = failed(ONLINE, error, 100.0, 1.0, LIMITS) if error else ONLINE
    assert network_changed(known, 101.0) == known


def test_a_runs_own_trouble_has_the_server_asked_now_but_not_later_than_planned() -> None:
    assert hurried(ONLINE, 5.0).probe_at == 5.0
    assert hurried(ONLINE, 1e9).probe_at == ONLINE.probe_at


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (None, Connection.ONLINE),
        (Unreachable("x"), Connection.OFFLINE),
        (Unreachable("x", kind=Connection.CAPTIVE), Connection.CAPTIVE),
        (Refused("x", kind=Connection.REFUSED, remedy=""), Connection.REFUSED),
        (RunTrouble("x"), Connection.UNKNOWN),
    ],
)
def test_it_has_one_word_for_status(error: UploadError | None, state: Connection) -> None:
    assert Connectivity(known=True, error=error).state is state
    assert Connectivity().state is Connection.UNKNOWN


@pytest.mark.parametrize("down", [None, Unreachable("no"), ZeroDivisionError("a bug of ours")])
def test_one_question_at_a_time_and_each_has_an_answer(down: Exception | None) -> None:
    server, threads, answers = FakeServer(), InlineExecutor(), list[Probed]()
    server.down = down  # type: ignore[assignment]
    prober = Prober(server, threads, answers.append)
    threads.held = True
    prober.ask_if_due(ONLINE, ONLINE.probe_at - 0.1)
    assert not prober.asking
    for _ in range(3):
        prober.ask_if_due(ONLINE, ONLINE.probe_at)
    threads.release()
    assert len(answers) == 1
    assert (answers[0].found == ENTITY) is (down is None)
    assert down is None or str(down).split()[0] in str(answers[0].found)
    prober.answered()
    prober.ask_if_due(ONLINE, ONLINE.probe_at)
    assert len(answers) == 2
