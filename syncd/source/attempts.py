"""A path and a position -> the attempt that the line before it is of.

Rows say it (see `destination.rows.attempt_at`), so whoever begins in the middle of a file has to
know how often the run was started before.
"""

from __future__ import annotations

from typing import Final

from karaoke_train.runlog.format import attempt_of
from karaoke_train.runlog.reader import Position
from karaoke_train.runlog.record_types import RecordType
from syncd.source.fingerprint import Log
from syncd.source.marked import mark_of, marked_lines
from syncd.source.tailer import START

_MARK: Final = mark_of(RecordType.CONFIG)


def attempt_before(log: Log, at: Position, start: Position = START) -> int:
    """The attempt of the line that ends at `at`; 1 at the file's start. start: the position of the
    file's first line. Raises OSError."""
    attempt = 0
    for line in marked_lines(log, _MARK, at, start):
        if line.record and RecordType.of(line.record) is RecordType.CONFIG:
            attempt = attempt_of(line.record, attempt)
    return max(1, attempt)
