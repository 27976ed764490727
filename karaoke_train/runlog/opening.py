"""How a run's file comes to be: a new one that nobody else has, or one whose writer is gone."""

from __future__ import annotations

import base64
import os
import socket
import sys
from collections.abc import Mapping
from datetime import datetime
from itertools import count, islice
from pathlib import Path
from typing import Any, Final

from karaoke_train.runlog.format import MAX_LINE, SCHEMA, BadRecord, RunHeader, RunLogError, decode
from karaoke_train.runlog.layout import lock_path, log_name
from karaoke_train.runlog.lock import LEASE, Held, Lock
from karaoke_train.runlog.notice import notice
from karaoke_train.runlog.origin import origin
from karaoke_train.runlog.sink import Sink, open_new

LOCK_WAIT: Final = 0.3  # seconds: who asks who holds a lock has it, too, for a moment


class LogBusy(RunLogError):
    """Another process is writing to this run's file."""


def new_file(folder: Path, started: datetime) -> tuple[Sink, str]:
    """A new file in `folder`, and what kind of lock there is on it: "flock", "lease" or "none".

    Where no lock can be had the run goes on without: the daemon then knows only by the silence
    that a writer has died. Raises OSError when no file can be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = (log_name(started, attempt) for attempt in count())
    path, descriptor = open_new(folder / name for name in islice(names, 10_000))
    lock = Lock(lock_path(path))
    try:
        lock.acquire(timeout=LOCK_WAIT)
    except (OSError, Held) as error:
        notice(f"{path} has no lock ({error}). Its records are kept all the same.")
        return Sink(path, descriptor, lock), "none"
    return Sink(path, descriptor, lock), "lease" if lock.soft else "flock"


def old_file(path: Path) -> tuple[Sink, str]:
    """The file of a run whose writer is gone, a torn last line ended; and its kind of lock.

    Raises LogBusy while it's written to, RunLogError when it can't be written to.
    """
    lock = Lock(lock_path(path))
    try:
        _take_over(lock)
    except Held as held:
        raise LogBusy(
            f"{path} is being written by {held.holder or 'another process'}. "
            "Its records are safe; stop that process first, or start a run of your own."
        ) from None
    except OSError as error:
        raise _not_continued(path, error) from None
    try:
        sink = Sink(path, os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC), lock)
        sink.end_torn_line()
    except OSError as error:
        lock.release()
        raise _not_continued(path, error) from None
    return sink, "lease" if lock.soft else "flock"


def read_header(path: Path) -> RunHeader:
    """The header in a run's first line. Raises RunLogError when there is none."""
    try:
        with path.open("rb") as file:
            first = file.readline(MAX_LINE + 1)
    except OSError as error:
        raise RunLogError(f"{path} can't be read: {error.strerror}") from None
    try:
        if not first:
            raise BadRecord("it's empty")
        return RunHeader.of(decode(first))
    except BadRecord as error:
        raise RunLogError(
            f"{path} doesn't begin with a run's config record: {error}. "
            "It names no run that could be continued, and was left as it is; start a new run."
        ) from None


def config_record(
    header: RunHeader, config: Mapping[str, Any], started: datetime, **more: object
) -> dict[str, Any]:
    """A run's `config` record, as this process writes it."""
    return {
        "type": "config",
        "schema": SCHEMA,
        "run_id": header.run_id,
        "run_name": header.run_name,
        "project": header.project,
        "created": started.isoformat(timespec="milliseconds"),
        "config": dict(config),
        "upload": header.upload,
        **origin(sys.argv),
        **more,
    }


def new_run_id() -> str:
    """12 characters, 60 random bits: no other run has them."""
    return base64.b32encode(os.urandom(10))[:12].decode().lower()


def _take_over(lock: Lock) -> None:
    """Take the lock of a writer that is thought dead. Raises Held when it lives."""
    try:
        lock.acquire(timeout=LOCK_WAIT)
    except Held as held:
        if not lock.soft or (held.holder and held.holder.host == socket.gethostname()):
            raise
        # another host's lease looks alive until it hasn't been refreshed for its whole time
        lock.acquire(timeout=LEASE * 1.2)


def _not_continued(path: Path, error: OSError) -> RunLogError:
    return RunLogError(
        f"{path} can't be continued: {error.strerror or error}. Its records are safe; "
        "make the file and its folder writable, or start a new run."
    )
