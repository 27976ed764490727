"""What the process that reads a run's history says, and when it says no more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest

from syncd.destination.base import RunRef
from syncd.destination.wandb import history, http
from syncd.destination.wandb.credentials import Login
from syncd.destination.wandb.history import ANSWERS_WITHIN, Patience, _answers, _patient, _rows
from syncd.errors import Connection, Refused, RunTrouble, Unreachable


class Pipe:
    """The process's end of the line, in a test's hand."""

    def __init__(self) -> None:
        self.ours, self._theirs = os.pipe()
        self.closed = threading.Event()
        self.ask: Callable[[], object] = lambda: None
        self.patience = Patience()

    def says(self, *answers: Any) -> None:
        os.write(self._theirs, b"".join(json.dumps(one).encode() + b"\n" for one in answers))

    def says_half(self) -> None:
        os.write(self._theirs, b'["row", {"_st')

    def dies(self) -> None:
        if self._theirs >= 0:
            os.close(self._theirs)
        self._theirs = -1

    def rows(self) -> Iterator[dict[str, Any]]:
        answers = _answers(self.ours, self.closed, lambda: self.ask(), self.patience)
        return _patient(_rows(answers, "run-1", lambda: self.ask()), self.patience)


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipe]:
    monkeypatch.setattr(history, "_LOOK", 0.01)
    made = Pipe()
    yield made
    made.dies()
    os.close(made.ours)


def test_the_rows_are_those_before_the_end(pipe: Pipe) -> None:
    pipe.says(["begun", ""], ["row", {"_step": 0}], ["row", {"_step": 1}], ["end", ""])
    assert list(pipe.rows()) == [{"_step": 0}, {"_step": 1}]


def test_a_row_that_is_longer_than_a_read_is_whole(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "_READ", 7)
    pipe.says(["row", {"words": "x" * 1000}], ["end", ""])
    assert list(pipe.rows()) == [{"words": "x" * 1000}]


@pytest.mark.parametrize("limit", ["STARTS_WITHIN", "ANSWERS_WITHIN"])
def test_a_page_that_does_not_come_in_time_is_given_up(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    """The API itself waits for ever for a server that sends a byte now and then."""
    monkeypatch.setattr(history, limit, 0.05)
    if limit == "ANSWERS_WITHIN":
        pipe.says(["begun", ""], ["row", {"_step": 0}])
    with pytest.raises(RunTrouble, match="wandb's API did not answer within"):
        list(pipe.rows())


@pytest.mark.parametrize(("rate", "given_up"), [(0.001, False), (1e9, True)])
def test_a_history_of_few_rows_now_and_then_is_given_up(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch, rate: float, given_up: bool
) -> None:
    """Each of them comes long before a page has to."""
    monkeypatch.setattr(history, "LEAST_RATE", rate)
    monkeypatch.setattr(history, "ANSWERS_WITHIN", 0.2)
    monkeypatch.setattr(history, "_SOON", 60.0)
    pipe.patience.waited()
    pipe.says(["begun", ""])
    seen = 0
    with (
        pytest.raises(RunTrouble, match=r"gave no more than \d+ rows")
        if given_up
        else nullcontext()
    ):
        for row in trickled(pipe, 30):
            seen += bool(row)
    assert (seen < 30) is given_up


def trickled(pipe: Pipe, count: int) -> Iterator[dict[str, Any]]:
    """The pipe's rows, each of which comes a moment after the one before was read."""
    rows = pipe.rows()
    for step in range(count):
        threading.Timer(0.02, pipe.says, (["row", {"_step": step}],)).start()
        yield next(rows)
    pipe.says(["end", ""])
    yield from rows


def test_it_is_given_up_once_nobody_wants_to_know(pipe: Pipe) -> None:
    pipe.says(["begun", ""], ["row", {"_step": 0}])
    rows = pipe.rows()
    assert next(rows) == {"_step": 0}
    pipe.closed.set()
    with pytest.raises(Unreachable, match="the daemon is stopping"):
        next(rows)


def test_a_process_that_died_has_not_told_all(pipe: Pipe) -> None:
    pipe.says(["row", {"_step": 0}])
    pipe.says_half()
    pipe.dies()
    with pytest.raises(RunTrouble, match="has died"):
        list(pipe.rows())


def test_what_the_api_says_is_the_reason(pipe: Pipe) -> None:
    pipe.says(["error", "CommError: no"])
    with pytest.raises(RunTrouble, match="wandb's API: CommError: no"):
        list(pipe.rows())


def no_answer() -> None:
    raise Unreachable("127.0.0.1 does not answer")


def test_a_server_that_answers_nothing_any_more_is_unreachable(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API goes on trying for minutes, and its words at the end do not say so."""
    monkeypatch.setattr(history, "ASK_EACH", 0.02)
    pipe.says(["begun", ""], ["row", {"_step": 0}])
    pipe.ask = no_answer
    with pytest.raises(Unreachable, match="does not answer"):
        list(pipe.rows())


def test_a_server_that_answers_all_else_goes_on_being_waited_for(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "ASK_EACH", 0.02)
    pipe.says(["begun", ""])
    pipe.ask = lambda: pipe.says(["row", {"_step": 0}], ["end", ""])
    assert list(pipe.rows()) == [{"_step": 0}]


def test_a_login_that_ends_meanwhile_is_what_the_api_failed_for(pipe: Pipe) -> None:
    def refused() -> None:
        raise Refused("the key is not accepted", kind=Connection.NOT_LOGGED_IN, remedy="Log in")

    pipe.says(["begun", ""], ["error", "CommError: 401"])
    pipe.ask = refused
    with pytest.raises(Refused, match="not accepted"):
        list(pipe.rows())


def test_a_row_without_an_end_is_given_up_before_it_fills_the_memory(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "MAX_ANSWER", 5)
    pipe.says_half()
    with pytest.raises(RunTrouble, match="larger than any"):
        list(pipe.rows())


def test_a_row_that_would_fill_the_memory_once_it_is_parsed_is_given_up(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "MAX_VALUES", 20)
    pipe.says(["row", {"many": [[]] * 20}])
    with pytest.raises(RunTrouble, match="larger than any"):
        list(pipe.rows())


def test_a_server_that_answers_no_histories_costs_one_run_the_whole_time(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pipe.patience.seconds == ANSWERS_WITHIN
    for name in ("ANSWERS_WITHIN", "_SOON"):
        monkeypatch.setattr(history, name, 0.05)
    for _ in range(3):
        assert pipe.patience.seconds
        pipe.says(["begun", ""])
        with pytest.raises(RunTrouble, match="did not answer within"):
            list(pipe.rows())
    assert not pipe.patience.seconds
    asked = history.history(
        Login("http://127.0.0.1:9", ""), RunRef("e", "p", "r"), pipe.closed, no_answer,
        pipe.patience,
    )  # fmt: skip
    with pytest.raises(RunTrouble, match="for 3 other runs just now"):
        next(asked)


def test_the_words_that_the_api_has_after_minutes_are_no_answer(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "_SOON", 0.0)
    pipe.says(["begun", ""], ["error", "TimeoutError: the service is busy"])
    with pytest.raises(RunTrouble, match="busy"):
        list(pipe.rows())
    assert pipe.patience.seconds < ANSWERS_WITHIN


def test_a_server_that_answers_again_is_waited_for_as_at_first(pipe: Pipe) -> None:
    pipe.patience.waited()
    assert pipe.patience.seconds < ANSWERS_WITHIN
    rows = pipe.rows()
    pipe.says(["begun", ""])
    pipe.ask = lambda: pipe.says(["row", {"_step": 0}], ["end", ""])
    threading.Timer(0.05, pipe.ask).start()
    assert list(rows) == [{"_step": 0}]
    assert pipe.patience.seconds == ANSWERS_WITHIN


def test_a_server_that_was_silent_a_while_ago_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    patience = Patience()
    for _ in range(3):
        patience.waited()
    now = time.monotonic()
    monkeypatch.setattr(history.time, "monotonic", lambda: now + 301)
    assert patience.seconds == ANSWERS_WITHIN


@pytest.mark.process
def test_the_process_that_reads_a_history_has_no_more_memory_than_that() -> None:
    ask = "from syncd.destination.wandb.history import bound_memory; bound_memory(1 << 30)"
    then = "import os, sys; os.execl(sys.executable, sys.executable, '-c', 'bytearray(2 << 30)')"
    done = subprocess.run(
        [sys.executable, "-c", f"{ask}; {then}"], capture_output=True, text=True, check=False
    )
    assert done.stderr.rstrip().endswith("MemoryError")


@pytest.mark.process
@pytest.mark.parametrize(("limit", "after"), [(1 << 29, 1 << 29), (1 << 31, 1 << 30)])
def test_a_limit_of_memory_that_the_user_has_set_is_never_raised(limit: int, after: int) -> None:
    ask = (
        "import resource; from syncd.destination.wandb.history import bound_memory; "
        f"resource.setrlimit(resource.RLIMIT_DATA, ({limit}, resource.RLIM_INFINITY)); "
        "bound_memory(1 << 30); print(resource.getrlimit(resource.RLIMIT_DATA)[0])"
    )
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert int(done.stdout) == after
