"""A run's file whose writer is gone: its header, its lock, and the file opened for more lines."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from karaoke_train.runlog.format import MAX_LINE, BadRecord, RunHeader, RunLogError, decode
from karaoke_train.runlog.layout import lock_path
from karaoke_train.runlog.lock import LEASE, LOCK_WAIT, Held, Lock, LockKind
from karaoke_train.runlog.sink import Sink


class LogBusy(RunLogError):
    """Another process is writing to this run's file."""


def reopen_file(path: Path) -> tuple[Sink, LockKind]:
    """The file of a run whose writer is gone, its torn last line ended; and the kind of its lock.

    Raises LogBusy while somebody writes to it, RunLogError when it can't be written to.
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
    return sink, lock.kind


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


def _take_over(lock: Lock) -> None:
    """Take the lock of a writer that is thought dead. Raises Held when it is alive."""
    try:
        lock.acquire(timeout=LOCK_WAIT)
    except Held as held:
        if not lock.soft or (held.holder and held.holder.host == socket.gethostname()):
            raise
        # Another host's process can't be looked up from here, so its lease counts as alive until
        # it was not refreshed for its whole duration, which is seen only by waiting that long
        lock.acquire(timeout=LEASE * 1.2)


def _not_continued(path: Path, error: OSError) -> RunLogError:
    return RunLogError(
        f"{path} can't be continued: {error.strerror or error}. Its records are safe; "
        "make the file and its folder writable, or start a new run."
    )
