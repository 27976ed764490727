"""Log records -> the journal with fields, or lines on stderr; repeats held back, keys cut out.

Under systemd, where stderr is the journal, a record goes there by the journal's own protocol: the
journal keeps time and level itself, and `journalctl -o json` shows SYNCD_RUN_ID, SYNCD_REMEDY and
the like as fields. Everywhere else a line has time, level, words and run=ID.
"""

from __future__ import annotations

import logging
import os
import re
import struct
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TextIO

from karaoke_train.runlog.plain_text import one_line, several_lines
from syncd.errors import SyncError

JOURNAL: Final = "/run/systemd/journal/socket"
NAME: Final = "karaoke-syncd"
FIRST_SILENCE: Final = 60.0  # seconds for which a repeated record is held back
LONGEST_SILENCE: Final = 3600.0
REMEMBERED: Final = 500  # different records at once

_PRIORITY: Final = {  # of syslog, RFC 5424 6.2.1
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}
_NUMBER: Final = re.compile(r"\b\d[\d,.]*\b")  # of its own, not the digits of a file's name
_NOISY: Final = ("urllib3", "watchdog", "filelock")


def set_up(level: str) -> None:
    """Send log records of `level` and above where they belong. May be called again."""
    root = logging.getLogger()
    handler: logging.Handler = Journal() if is_journal(sys.stderr) else _stderr()
    handler.addFilter(RepeatFilter())
    for old in root.handlers[:]:
        if isinstance(old, Journal | _Stderr):
            root.removeHandler(old)
            old.close()
    root.addHandler(handler)
    root.setLevel(level.upper())
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)


def catch_threads() -> None:
    """Log what ends a thread, as `unexpected` does."""
    threading.excepthook = lambda hook: unexpected(hook.exc_value or hook.exc_type())


def unexpected(error: BaseException) -> None:
    """Log a bug's traceback. It goes the way of all records, so that no key is in it."""
    logging.getLogger(NAME).critical("unexpected, please report it", exc_info=error)


def print_error(words: str) -> None:
    """Say why a command has failed; on a terminal without time and level."""
    if is_journal(sys.stderr):
        logging.getLogger(NAME).error("%s", words)
    else:
        print(f"{NAME}: {one_line(words)}", file=sys.stderr)


def lead_nowhere(stream: TextIO) -> None:
    """From here on nothing of it is written, nor what it holds: nobody reads it, or it takes no
    more. Python would try once more at exit, complain, and end with code 120."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def is_journal(stream: TextIO, env: Mapping[str, str] = os.environ) -> bool:
    """Whether the stream leads to the journal: systemd.exec(5), $JOURNAL_STREAM."""
    device, _, inode = env.get("JOURNAL_STREAM", "").partition(":")
    try:
        stat = os.fstat(stream.fileno())
    except (OSError, ValueError):  # closed, or not a file at all
        return False
    return (device, inode) == (str(stat.st_dev), str(stat.st_ino))


class RepeatFilter(logging.Filter):
    """Lets a record pass when it's new, and its repeats at growing intervals with their count.

    A repeat has the same logger, level, run, place and words, whatever the numbers in them. The
    interval doubles from FIRST_SILENCE to LONGEST_SILENCE, and starts anew when a record stayed
    away for as long as it would have been held back. Debug and critical records all pass.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._seen: OrderedDict[tuple[str, ...], _Seen] = OrderedDict()
        self._guard = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log the record; its `held_back` counts the repeats since the last one."""
        if record.levelno <= logging.DEBUG or record.levelno >= logging.CRITICAL:
            return True
        with self._guard:
            return self._passes(record, self._clock())

    def _passes(self, record: logging.LogRecord, now: float) -> bool:
        error = _error_of(record)
        words = _NUMBER.sub("#", error.what if error else record.getMessage())
        where = error.where if error else ""
        key = (record.name, record.levelname, run_id_of(record), where, words)
        seen = self._seen.get(key)
        if seen is None or now - seen.last > seen.silence:
            if seen and seen.held_back:
                record.held_back = seen.held_back
            self._seen[key] = _Seen(said=now, last=now)
            self._seen.move_to_end(key)
            while len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
            return True
        seen.last = now
        if now - seen.said < seen.silence:
            seen.held_back += 1
            return False
        record.held_back = seen.held_back
        seen.said, seen.held_back = now, 0
        seen.silence = min(seen.silence * 2, LONGEST_SILENCE)
        return True


@dataclass(slots=True)
class _Seen:
    said: float
    last: float
    silence: float = FIRST_SILENCE
    held_back: int = 0


def run_id_of(record: logging.LogRecord) -> str:
    """The run that the record tells of; empty for none."""
    return str(getattr(record, "run_id", ""))


class _Words(logging.Formatter):
    """A record's words on one line, with the count of its held-back repeats; then its traceback.
    Without keys, and without what a terminal would obey."""

    def format(self, record: logging.LogRecord) -> str:
        return several_lines(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        record.message = one_line(record.message)  # a file's name could forge a line of its own
        text = super().formatMessage(record)
        if held_back := getattr(record, "held_back", 0):
            text += f" ({held_back:,} times more since it was last said)"
        return text


class _Line(_Words):
    """The same, with what else a journal has as fields, as logfmt writes it: run=ID."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        run_id = one_line(run_id_of(record))
        return super().formatMessage(record) + (f" run={run_id}" if run_id else "")


class _Stderr(logging.StreamHandler):  # type: ignore[type-arg]
    """Lines on stderr."""


def _stderr() -> _Stderr:
    handler = _Stderr(sys.stderr)
    words = _Line("%(asctime)s %(levelname)-7s %(message)s", "%Y-%m-%dT%H:%M:%S%z")
    handler.setFormatter(words)
    return handler


class Journal(logging.Handler):
    """Records to journald by its native protocol; those that it can't take go to stderr, where
    journald reads the level from a leading <N>."""

    def __init__(self, address: str = JOURNAL) -> None:
        import socket  # a twentieth of a command's start

        super().__init__()
        self.setFormatter(_Words("%(message)s"))
        self._address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record. Never raises."""
        words = self.format(record)
        try:
            self._socket.sendto(datagram(fields(record, words)), self._address)
        except OSError:  # no journald behind the socket, or a record over its limit
            priority = _PRIORITY.get(record.levelno, 5)
            for line in words.splitlines():
                print(f"<{priority}>{line}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        super().close()


def fields(record: logging.LogRecord, words: str) -> dict[str, str]:
    """The journal's fields of a record; an error's four parts are fields of their own."""
    found = {
        "MESSAGE": words,
        "PRIORITY": str(_PRIORITY.get(record.levelno, 5)),
        "SYSLOG_IDENTIFIER": NAME,
        "LOGGER": record.name,
        "CODE_FILE": record.pathname,
        "CODE_LINE": str(record.lineno),
        "CODE_FUNC": record.funcName or "",
        "SYNCD_RUN_ID": one_line(run_id_of(record)),
    }
    if error := _error_of(record):
        found["SYNCD_ERROR"] = type(error).__name__
        for part in ("what", "where", "meaning", "remedy"):
            found[f"SYNCD_{part.upper()}"] = one_line(getattr(error, part))
    return {key: value for key, value in found.items() if value}


def datagram(fields: Mapping[str, str]) -> bytes:
    """The fields as journald takes them: https://systemd.io/JOURNAL_NATIVE_PROTOCOL/."""
    parts = []
    for key, value in fields.items():
        data = value.encode(errors="backslashreplace")
        if b"\n" in data:
            parts.append(key.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n")
        else:
            parts.append(key.encode() + b"=" + data + b"\n")
    return b"".join(parts)


def _error_of(record: logging.LogRecord) -> SyncError | None:
    arguments = record.args if isinstance(record.args, tuple) else ()
    return next((item for item in arguments if isinstance(item, SyncError)), None)
