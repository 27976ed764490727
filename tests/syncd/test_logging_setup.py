"""What is said, how often, in which form, and that no key is in it."""

from __future__ import annotations

import logging
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd import logging_setup
from syncd.errors import RunTrouble
from tests.patience import patience
from tests.service.sandbox import ROOT


def record(message: str, *arguments: object, level: int = logging.WARNING) -> logging.LogRecord:
    return logging.LogRecord("syncd.sync.loop", level, "/x/daemon.py", 7, message, arguments, None)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_repeats_are_said_at_growing_distances_with_their_count(clock: Clock) -> None:
    repeats = logging_setup.RepeatFilter(clock)
    said = []
    for second in range(0, 1000, 10):
        clock.now = float(second)
        item = record("no route to %s", "host")
        if repeats.filter(item):
            said.append((second, getattr(item, "held_back", 0)))
    assert said == [(0, 0), (60, 5), (180, 11), (420, 23), (900, 47)]


def test_a_fault_that_was_away_is_news_again(clock: Clock) -> None:
    repeats = logging_setup.RepeatFilter(clock)
    assert repeats.filter(record("gone"))
    clock.now = logging_setup.FIRST_SILENCE + 1
    again = record("gone")
    assert repeats.filter(again)
    assert not hasattr(again, "held_back")


def test_another_run_level_or_cause_is_not_a_repeat_but_another_number_is(clock: Clock) -> None:
    repeats = logging_setup.RepeatFilter(clock)
    assert repeats.filter(record("%s", RunTrouble("stands at 5", where="log_20240115_1.jsonl")))
    assert not repeats.filter(record("%s", RunTrouble("stands at 6", where="log_20240115_1.jsonl")))
    assert repeats.filter(record("%s", RunTrouble("stands at 6", where="log_20240115_2.jsonl")))
    assert repeats.filter(record("%s", RunTrouble("fell at 6", where="log_20240115_1.jsonl")))
    assert repeats.filter(record("x", level=logging.ERROR))
    assert repeats.filter(record("x", level=logging.INFO))


def test_debug_is_never_held_back_and_memory_is_bounded(clock: Clock) -> None:
    repeats = logging_setup.RepeatFilter(clock)
    assert all(repeats.filter(record("x", level=logging.DEBUG)) for _ in range(3))
    for number in range(logging_setup.REMEMBERED * 2):
        repeats.filter(record(f"fault_{number}"))
    assert len(repeats._seen) == logging_setup.REMEMBERED


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "socket"))
        listening.settimeout(patience(5))
        yield listening


def test_journal_gets_the_parts_of_an_error_as_fields(
    journald: socket.socket, tmp_path: Path
) -> None:
    handler = logging_setup.Journal(str(tmp_path / "socket"))
    handler.emit(record("%s", RunTrouble("broken", where="a.jsonl", remedy="mend\nit")))
    handler.close()
    datagram = journald.recv(65536)
    assert b"MESSAGE=a.jsonl: broken. mend\\nit.\n" in datagram
    assert b"PRIORITY=4\n" in datagram
    assert b"SYNCD_WHERE=a.jsonl\n" in datagram
    assert b"SYNCD_REMEDY=mend\\nit\n" in datagram
    assert b"CODE_FILE=/x/daemon.py\nCODE_LINE=7\n" in datagram


def test_a_traceback_is_a_field_of_several_lines(journald: socket.socket, tmp_path: Path) -> None:
    handler = logging_setup.Journal(str(tmp_path / "socket"))
    item = record("oh")
    item.exc_info = (ValueError, ValueError("no"), None)
    handler.emit(item)
    handler.close()
    words = b"oh\nValueError: no"
    assert b"MESSAGE\n" + struct.pack("<Q", len(words)) + words + b"\n" in journald.recv(65536)


def test_without_journald_lines_have_the_level_that_it_would_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = logging_setup.Journal(str(tmp_path / "nobody"))
    item = record("one\nforged", level=logging.ERROR)
    item.exc_info = (ValueError, ValueError("two"), None)
    handler.emit(item)
    handler.close()
    assert capsys.readouterr().err == "<3>one\\nforged\n<3>ValueError: two\n"


def test_the_journal_is_told_by_device_and_inode(tmp_path: Path) -> None:
    with (tmp_path / "stream").open("w") as stream:
        stat = os.fstat(stream.fileno())
        assert logging_setup.is_journal(stream, {"JOURNAL_STREAM": f"{stat.st_dev}:{stat.st_ino}"})
        assert not logging_setup.is_journal(stream, {"JOURNAL_STREAM": f"{stat.st_dev}:1"})
        assert not logging_setup.is_journal(stream, {})
    assert not logging_setup.is_journal(stream, {})  # closed


@pytest.mark.process
def test_no_key_in_lines_fields_or_tracebacks_of_any_thread() -> None:
    code = """
import logging, threading
from karaoke_train.runlog import secrets
from syncd import logging_setup
from syncd.errors import RunTrouble
key = "5ec12e7" * 5
logging_setup.set_up("debug")
logging_setup.catch_threads()
secrets.hide(key)
logging.getLogger("syncd").warning("%s", RunTrouble(f"wandb says {key}"))
logging.getLogger("syncd").info("key=%s", key)
def fail(): raise ValueError(f"bad key {key}")
thread = threading.Thread(target=fail); thread.start(); thread.join()
try:
    fail()
except ValueError as error:
    logging_setup.unexpected(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True,
        timeout=patience(60), check=False,
    )  # fmt: skip
    assert done.stderr.count("bad key ***") == 2
    assert done.stderr.count("***") == 4
    assert "5ec12e7" not in done.stderr + done.stdout


@pytest.mark.process
def test_lines_have_time_with_offset_level_and_words() -> None:
    code = "import logging; from syncd import logging_setup as it; it.set_up('info');"
    code += "logging.error('oh')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True,
        timeout=patience(60), check=True,
    )  # fmt: skip
    time, level, words = done.stderr.split(maxsplit=2)
    assert time[10] == "T"
    assert time[-5] in "+-"
    assert (level, words) == ("ERROR", "oh\n")


def test_a_line_and_a_journals_fields_have_the_runs_id(
    journald: socket.socket, tmp_path: Path
) -> None:
    item = record("opened")
    item.run_id = "run-1"
    assert logging_setup.fields(item, "opened")["SYNCD_RUN_ID"] == "run-1"
    assert "SYNCD_RUN_ID" not in logging_setup.fields(record("offline"), "offline")
    line = logging_setup._stderr()
    assert line.format(item).endswith("WARNING opened run=run-1")
    assert line.format(record("offline")).endswith("WARNING offline")


def test_another_runs_equal_words_are_no_repeat_and_held_back_ones_are_counted(
    clock: Clock,
) -> None:
    repeats = logging_setup.RepeatFilter(clock)

    def passes(run_id: str) -> int:
        """The count of those held back before; -1 where it is held back."""
        item = record("opened")
        item.run_id = run_id
        return getattr(item, "held_back", 0) if repeats.filter(item) else -1

    assert [passes("7"), passes("8"), passes("7"), passes("7")] == [0, 0, -1, -1]
    clock.now = 10 * logging_setup.FIRST_SILENCE
    assert [passes("7"), passes("8")] == [2, 0]
