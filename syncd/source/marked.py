"""Whole lines -> the few that may be records of some types, without parsing the others.

Looking through a million lines costs what reading their bytes costs: seconds of parsing less.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from karaoke_train.runlog.format import MAX_LINE
from karaoke_train.runlog.reader import Line, Position, parse_line
from karaoke_train.runlog.record_types import RecordType
from syncd.source import tailer
from syncd.source.fingerprint import Log, open_pinned
from syncd.source.lines import Lines


def mark_of(*types: RecordType) -> re.Pattern[bytes]:
    """What is in each line that is a record of one of these types."""
    # A type is a JSON text, so it stands in quotes; no writer spells its letters as escapes. The
    # quote stands before the names, as a pattern that begins with alternatives takes five times as
    # long
    names = b"|".join(re.escape(kind.encode()) for kind in types)
    return re.compile(b'"(?:' + names + b')"')


def marked_lines(
    log: Log, mark: re.Pattern[bytes], end: Position, start: Position = tailer.START
) -> Iterator[Line]:
    """The lines from `start` to `end` that have the mark in them, bad ones too. Raises OSError."""
    for lines in tailer.until(log, end.ordinal, start):
        yield from marked(lines, mark)


def marked(lines: Lines, mark: re.Pattern[bytes]) -> Iterator[Line]:
    """Those that have the mark in them; none of an over-long one, which is no record."""
    for raw, at in marked_bytes(lines, mark):
        yield parse_line(raw, at)


def marked_bytes(lines: Lines, mark: re.Pattern[bytes]) -> Iterator[tuple[bytes, Position]]:
    """The same as bytes, with their places: for who has to make room before they are parsed."""
    data, at, begin = lines.data, lines.start, 0
    while found := mark.search(data, begin):
        first = data.rfind(b"\n", 0, found.start()) + 1
        last = data.index(b"\n", found.start()) + 1
        place = Position(at.ordinal + data.count(b"\n", begin, first), at.offset + first - begin)
        yield data[first:last], place
        at, begin = Position(place.ordinal + 1, place.offset + last - first), last


def marked_or_odd(lines: Lines, mark: re.Pattern[bytes]) -> Iterable[Line]:
    """Those that have the mark in them; all of them where one does not even begin and end as an
    object does."""
    # What torn writes, disks and other programs leave is odd in this way, at next to no cost. A
    # line that is broken between its braces is seen by parsing alone
    return marked(lines, mark) if _all_in_braces(lines) else lines


def lines_at(log: Log, places: Iterable[Position]) -> Iterator[Line]:
    """The complete lines that begin there. Raises OSError."""
    with open_pinned(log) as file:
        for at in places:
            file.seek(at.offset)
            raw = file.readline(MAX_LINE + 1)
            if raw.endswith(b"\n"):
                yield parse_line(raw, at)


def length_at(log: Log, offset: int) -> int:
    """The bytes of the line that begins there, as far as a line may be long. Raises OSError."""
    with open_pinned(log) as file:
        file.seek(offset)
        return len(file.readline(MAX_LINE))


def _all_in_braces(lines: Lines) -> bool:
    data = lines.data
    inside = data.startswith(b"{") and data.endswith(b"}\n")
    return inside and data.count(b"}\n{") == len(lines) - 1
