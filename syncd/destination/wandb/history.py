"""A run's history as the server gives it, read through wandb's public API in a process of its
own: like `worker`, the only places where wandb is imported."""

from __future__ import annotations

import json
import os
import resource
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from karaoke_train.runlog.plain_text import one_line
from karaoke_train.runlog.secrets import hide
from syncd.destination.base import RunRef
from syncd.destination.wandb.credentials import Login
from syncd.destination.wandb.http import MAX_ANSWER, has_too_many_values
from syncd.destination.wandb.worker import STARTS_WITHIN, isolate_environment
from syncd.errors import RunTrouble, Unreachable

_MAIN: Final = "from syncd.destination.wandb.history import main; main()"
TIMEOUT: Final = 60  # seconds that the API waits for more of an answer
# Seconds until the next page's rows are there. The API has no deadline: a server that sends a byte
# now and then is waited for for ever
ANSWERS_WITHIN: Final = 120.0
# Rows per second of waiting, over all of a history: a thousand in a minute are enough, and three
# every few seconds would take for ever
LEAST_RATE: Final = 15.0
ASK_EACH: Final = 15.0  # seconds of silence, after each of which the server itself is asked
# Bytes that the process and wandb-core may have each: they read an answer to its end, and of one
# without an end a gigabyte in a minute. A page of long rows takes some hundred megabytes
MOST_MEMORY: Final = 2 << 30
_TOO_LARGE: Final = "wandb's API answered with a row that is larger than any"
_LOOK: Final = 0.25  # seconds between looks at whether anybody still wants to know
_READ: Final = 1 << 20  # bytes
_SOON: Final = 15.0  # seconds, once a history has had no answer
_MOST_SILENT: Final = 3  # histories in a row; then none is asked for
_AGAIN: Final = 300.0  # seconds after which histories are asked for as at first


class Patience:
    """How long a server's histories are waited for: one that answers all but these costs each run
    the whole time otherwise, and a daemon the threads that wait."""

    def __init__(self) -> None:
        self._silent = 0  # histories in a row that had no answer
        self._last = 0.0  # when the last of them had none

    @property
    def seconds(self) -> float:
        """Until the next rows are there; 0 for a server that is not asked."""
        if time.monotonic() - self._last > _AGAIN:
            self._silent = 0
        if self._silent >= _MOST_SILENT:
            return 0.0
        return _SOON if self._silent else ANSWERS_WITHIN

    def answered(self) -> None:
        """Rows have come."""
        self._silent = 0

    def waited(self) -> None:
        """None have."""
        self._silent, self._last = self._silent + 1, time.monotonic()


def history(
    login: Login,
    ref: RunRef,
    closed: threading.Event,
    ask: Callable[[], object],
    patience: Patience,
) -> Iterator[dict[str, Any]]:
    """The rows of a run, by step. closed: nobody wants to know any more. ask: asks the server
    something small, and raises what keeps it from answering.

    Raises what `ask` does where rows fail to come since the server answers nothing, or nothing to
    us; RunTrouble with the API's words when they alone can't be had to the last one. patience: with
    the server, over all of its runs."""
    if not patience.seconds:
        words = f"wandb's API did not answer for {_MOST_SILENT} other runs just now"
        raise RunTrouble(words, where=ref.run_id)
    question = {
        "base_url": login.base_url,
        "key": login.key,
        "path": f"{ref.entity}/{ref.project}/{ref.run_id}",
    }
    with tempfile.TemporaryDirectory(prefix="karaoke-syncd-") as scratch:
        try:
            process = subprocess.Popen(
                [sys.executable, "-c", _MAIN, scratch],
                stdin=subprocess.PIPE,  # a key in the arguments would be there for all to see
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=scratch,
            )
        except OSError as error:
            words = f"the process that reads the history can't be started: {error.strerror}"
            raise RunTrouble(words, where=ref.run_id) from None
        assert process.stdin
        assert process.stdout
        try:
            with process.stdin, process.stdout:
                # left open: its end is how the process learns of ours
                with suppress(BrokenPipeError):  # it died: there is no answer then
                    process.stdin.write(json.dumps(question).encode() + b"\n")
                    process.stdin.flush()
                answers = _answers(process.stdout.fileno(), closed, ask, patience)
                yield from _patient(_rows(answers, ref.run_id, ask), patience)
        finally:
            process.kill()
            process.wait()


def _patient(rows: Iterable[dict[str, Any]], patience: Patience) -> Iterator[dict[str, Any]]:
    """The rows, and how long the server's histories are waited for. Raises what `rows` does."""
    since = time.monotonic()
    try:
        for row in rows:
            patience.answered()
            yield row
            since = time.monotonic()
    except RunTrouble:  # perhaps the API's own words, which it says after minutes of trying
        if time.monotonic() - since >= min(_SOON, ANSWERS_WITHIN):
            patience.waited()
        raise
    patience.answered()


def _answers(
    pipe: int, closed: threading.Event, ask: Callable[[], object], patience: Patience
) -> Iterator[bytes]:
    """What the process writes, line by line, to its end. Raises what `ask` does; RunTrouble when
    there is no more in time."""
    ready = select.poll()
    ready.register(pipe, select.POLLIN)
    pieces, size = list[bytes](), 0  # of a line whose end is yet to come
    seconds = float(STARTS_WITHIN)
    rows, waited = 0, 0.0
    while True:
        begun = time.monotonic()
        asked = begun
        while not ready.poll(_LOOK * 1000):
            if closed.is_set():
                raise Unreachable("the daemon is stopping")
            if time.monotonic() > begun + seconds:
                raise RunTrouble(f"wandb's API did not answer within {seconds:.0f} s")
            if time.monotonic() > asked + ASK_EACH:
                ask()  # the API would go on trying, and at its end not say what it was
                asked = time.monotonic()
        waited += time.monotonic() - begun if rows else 0.0  # its process takes its time to start
        if waited > ANSWERS_WITHIN + rows / LEAST_RATE:
            raise RunTrouble(f"wandb's API gave no more than {rows:,} rows in {waited:.0f} s")
        data = os.read(pipe, _READ)
        if not data:
            return
        pieces.append(data)
        size += len(data)
        if b"\n" in data:
            *lines, rest = b"".join(pieces).split(b"\n")
            rows += len(lines)
            yield from lines
            pieces, size = [rest], len(rest)
        elif size > MAX_ANSWER:
            raise RunTrouble(_TOO_LARGE)
        seconds = patience.seconds or _SOON


def _rows(
    answers: Iterable[bytes], run_id: str, ask: Callable[[], object]
) -> Iterator[dict[str, Any]]:
    for line in answers:
        if has_too_many_values(line):
            raise RunTrouble(_TOO_LARGE)
        try:
            kind, value = json.loads(line)
        except (ValueError, TypeError, RecursionError):  # its libraries have printed something
            kind, value = "error", "its process answered what is none"
        if kind == "begun":
            continue
        if kind == "row" and isinstance(value, dict):
            yield value
        elif kind == "end":
            return
        else:
            ask()
            raise RunTrouble(f"wandb's API: {value}", where=run_id)
    raise RunTrouble("the process that reads the history has died", where=run_id)


def main() -> None:
    """Answer the question on standard input: a JSON pair per line, rows and then an end. Ends with
    its input."""
    question = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_input, daemon=True).start()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the API's own words are no answers
    isolate_environment(Path(sys.argv[1]))
    bound_memory(MOST_MEMORY)
    hide(question["key"])
    os.environ["WANDB_BASE_URL"] = question["base_url"]
    os.environ["WANDB_API_KEY"] = question["key"]
    os.environ["WANDB_SILENT"] = "true"
    import wandb

    try:
        wandb.setup()  # starts wandb-core, which needs no server
        answers.write(json.dumps(["begun", ""]) + "\n")
        answers.flush()
        run = wandb.Api(timeout=TIMEOUT).run(question["path"])
        for row in run.scan_history(use_cache=False):
            answers.write(json.dumps(["row", row]) + "\n")
        answers.write(json.dumps(["end", ""]) + "\n")
    except Exception as error:
        words = one_line(f"{type(error).__name__}: {error}", 500)
        answers.write(json.dumps(["error", words]) + "\n")
    answers.flush()
    os._exit(0)  # nothing of the SDK is worth waiting for


def bound_memory(most: int) -> None:
    """Have no more than so many bytes for this process, and for each that it starts. A lower limit
    that it has already stays."""
    with suppress(ValueError, OSError):  # the hard limit is lower, or the system knows none
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        if soft == resource.RLIM_INFINITY or soft > most:
            resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def _end_with_input() -> None:
    """Whoever asked is gone, and a server that never ends its answer would keep this process."""
    while os.read(0, _READ):
        pass
    os._exit(0)
