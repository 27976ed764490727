"""A path and a position -> the attempt that the line before it is of.

Rows say it (see `destination.rows.attempt_at`), so whoever begins in the middle of a file has to
know how often the run was started before.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from karaoke_train.runlog.format import MAX_LINE, BadRecord, Record, attempt_of, decode
from karaoke_train.runlog.reader import Position
from karaoke_train.runlog.record_types import RecordType

_CHUNK: Final = 4 << 20  # bytes per read
_MARK: Final = RecordType.CONFIG.value.encode()


def attempt_before(path: Path, at: Position) -> int:
    """The attempt of the line that ends at `at`; 1 at the file's start. Raises OSError."""
    attempt = 0
    for config in _configs(path, at.offset):
        attempt = attempt_of(config, attempt)
    return max(1, attempt)


def _configs(path: Path, end: int) -> Iterator[Record]:
    """The config records before byte `end`, which is a line's start. A million lines cost what
    reading their bytes costs: none is parsed that can't be one."""
    with path.open("rb") as file:
        rest = b""
        while end > 0 and (chunk := file.read(min(_CHUNK, end))):
            end -= len(chunk)
            whole, _, rest = (rest + chunk).rpartition(b"\n")
            rest = rest[: MAX_LINE + 1]  # a longer line is a bad one, whatever is in it
            # A newline belongs to its line, and counts for its limit
            lines = whole.split(b"\n") if _MARK in whole else []
            yield from (record for line in lines if (record := _config(line + b"\n")))


def _config(line: bytes) -> Record | None:
    if _MARK not in line:
        return None
    try:
        record = decode(line)
    except BadRecord:
        return None
    return record if RecordType.of(record) is RecordType.CONFIG else None
