"""Consecutive whole lines of a file, as bytes with their places.

Between file and server they stay bytes: a lane that needs records makes them, and one that can make
its rows in bulk is spared 200,000 objects per backlog.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from karaoke_train.runlog.reader import Line, Position, each_line, parse_line
from karaoke_train.runlog.record_types import RecordType

# Of a record what is asked of it once its row is made
_LASTING: Final = ("type", "attempt", "status", "exit_code", "path", "key", "kind", "caption")


@dataclass(frozen=True, slots=True)
class Lines:
    """data: whole lines, each with its newline. start, end: where the first begins, and where the
    next one would. overlong: instead of data, the one line that is too long to be kept."""

    data: bytes
    start: Position
    end: Position
    overlong: Line | None = None

    @classmethod
    def of(cls, data: bytes, start: Position) -> Lines:
        """The whole lines of `data`, which begins at `start`; a torn tail is left alone."""
        whole = data.rfind(b"\n") + 1
        data = data[:whole] if whole != len(data) else data
        return cls(data, start, _after(data, start))

    @classmethod
    def too_long(cls, line: Line) -> Lines:
        """The one line whose bytes nobody keeps."""
        return cls(b"", line.at, line.end, line)

    def __len__(self) -> int:
        return self.end.ordinal - self.start.ordinal

    def __iter__(self) -> Iterator[Line]:
        """Each line with what it says, made when it is asked for."""
        return iter((self.overlong,)) if self.overlong else each_line(self.data, self.start)

    def whole(self, line: Line) -> Line:
        """One of these with all that it says; see `slim`."""
        begin = self.start.offset
        return parse_line(self.data[line.at.offset - begin : line.end.offset - begin], line.at)

    def first(self, most: int) -> Lines:
        """The first `most` of them."""
        if len(self) <= most:
            return self
        end = -1
        for _ in range(most):
            end = self.data.index(b"\n", end + 1)
        return Lines.of(self.data[: end + 1], self.start)

    def start_of(self, ordinal: int) -> Position:
        """Where the line `ordinal` begins, from `start` to `end`, both included."""
        if ordinal == self.end.ordinal:
            return self.end
        before = ordinal - self.start.ordinal
        return self.first(before).end if before > 0 else self.start


def special_lines(lines: Iterable[Line]) -> list[Line]:
    """Those that say more than a step's metrics, slim: bad and blank lines, and records that are
    neither train nor val."""
    return [
        slim(line)
        for line in lines
        if not line.record or line.record.get("type") not in (RecordType.TRAIN, RecordType.VAL)
    ]


def slim(line: Line) -> Line:
    """The line with what is asked of its record later: a config, or a read's worth of epoch
    summaries, takes ten times its bytes otherwise, in each thread that uploads."""
    record = line.record
    if not record:
        return line
    return replace(line, record={key: record[key] for key in _LASTING if key in record} or {"": 0})


def _after(data: bytes, start: Position) -> Position:
    return Position(start.ordinal + data.count(b"\n"), start.offset + len(data))
