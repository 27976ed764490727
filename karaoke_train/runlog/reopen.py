"""A run's file whose writer is gone: its past, its lock, and the file opened for more lines."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from karaoke_train.runlog.format import (
    MAX_LINE,
    BadRecord,
    Record,
    RunHeader,
    RunLogError,
    attempt_of,
    decode,
)
from karaoke_train.runlog.layout import lock_path
from karaoke_train.runlog.lock import LEASE, LOCK_WAIT, Held, Lock, LockKind, this_host
from karaoke_train.runlog.parts import LogBusy, first_line
from karaoke_train.runlog.record_types import RecordType
from karaoke_train.runlog.sink import Sink

_CHUNK: Final = 1 << 20  # bytes per read of the search for config records
_CONFIG: Final = b'"config"'  # in each config record's line, and in few others


@dataclass(frozen=True, slots=True)
class Past:
    """What the config records of a file say together: the number of attempts so far, all their
    configs, later ones on top, and the newest record."""

    attempt: int = 0
    config: Mapping[str, Any] = field(default_factory=dict)
    newest: Record = field(default_factory=dict)


def reopen_file(path: Path, next_line: Callable[[Past, LockKind], bytes]) -> Sink:
    """The file of a run whose writer is gone, its torn last line ended and `next_line` behind it.

    next_line: makes the line from what the file has and the kind of the lock that was taken; what
    it raises leaves the file as it was. Raises LogBusy while somebody writes to the file,
    RunLogError when it can't be written to.
    """
    lock = Lock(lock_path(path))
    descriptor = -1
    try:
        _take_over(lock)
        # Read under the lock: another writer may have come and gone since the run was looked for
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        line = next_line(read_past(descriptor), lock.kind)
        sink = Sink(path, descriptor, lock)
        sink.end_torn_line()
    except BaseException as error:
        if descriptor >= 0:
            os.close(descriptor)
        lock.release()
        if isinstance(error, Held):
            raise LogBusy(
                f"{path} is being written by {error.holder or 'another process'}. "
                "Its records are safe; stop that process first, or start a run of your own."
            ) from None
        if isinstance(error, OSError):
            raise _not_continued(path, error) from None
        raise
    sink.write(line)
    return sink


def read_header(path: Path) -> RunHeader:
    """The header in a run's first line. Raises RunLogError when there is none."""
    try:
        first = first_line(
            path.resolve()
        )  # a link that the user names may be one to the newest log
    except OSError as error:
        raise RunLogError(
            f"{path} can't be read: {error.strerror}. It was left as it is; give the file of a "
            "run, or start a new run."
        ) from None
    try:
        if not first:
            raise BadRecord("it's empty")
        return RunHeader.of(decode(first))
    except BadRecord as error:
        raise RunLogError(
            f"{path} doesn't begin with a run's config record: {error}. "
            "It names no run that could be continued, and was left as it is; start a new run."
        ) from None


def read_past(descriptor: int) -> Past:
    """What the config records of an open file say. Raises OSError."""
    attempt = 0
    config: dict[str, Any] = {}
    newest: Record = {}
    for newest in _configs(descriptor):
        attempt = attempt_of(newest, attempt)
        own = newest.get("config")
        config |= own if isinstance(own, dict) else {"config": own} if own else {}
    return Past(attempt, config, newest)


def _configs(descriptor: int) -> Iterator[Record]:
    """The config records of a file, in its order. A million lines cost what reading their bytes
    costs: none is parsed that can't be one."""
    offset, rest = 0, b""
    while chunk := os.pread(descriptor, _CHUNK, offset):
        offset += len(chunk)
        whole, _, rest = (rest + chunk).rpartition(b"\n")
        rest = rest[: MAX_LINE + 1]  # of a longer line no more is needed to know that it is bad
        if _CONFIG in whole:
            yield from _configs_in(whole.split(b"\n"))
    # A last line that is torn between its bytes and its newline is whole once it is ended
    yield from _configs_in([rest])


def _configs_in(lines: list[bytes]) -> Iterator[Record]:
    for line in lines:
        if _CONFIG in line:
            try:
                record = decode(line + b"\n")  # which counts for the limit
            except BadRecord:
                continue
            if RecordType.of(record) is RecordType.CONFIG:
                yield record


def _take_over(lock: Lock) -> None:
    """Take the lock of a writer that is thought dead. Raises Held when it is alive."""
    try:
        lock.acquire(timeout=LOCK_WAIT)
    except Held as held:
        if not lock.soft or (held.holder and held.holder.host == this_host()):
            raise
        # Another host's process can't be looked up from here, so its lease counts as alive until
        # it was not refreshed for its whole duration, which is seen only by waiting that long
        lock.acquire(timeout=LEASE * 1.2)


def _not_continued(path: Path, error: OSError) -> RunLogError:
    return RunLogError(
        f"{path} can't be continued: {error.strerror or error}. Its records are safe; "
        "make the file and its folder writable, or start a new run."
    )
