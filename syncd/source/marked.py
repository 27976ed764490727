"""A path -> the few lines that hold one of some words, without parsing the others.

Reading a million lines costs what reading their bytes costs: seconds of parsing less.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from karaoke_train.runlog.format import MAX_LINE
from karaoke_train.runlog.reader import Line, Position, overlong, parse_line

CHUNK: Final = 4 << 20  # bytes per read


def marked_lines(path: Path, marks: Sequence[bytes], end: int) -> Iterator[Line]:
    """The complete lines before byte `end` that contain one of the marks, bad ones too. Raises
    OSError. An over-long line has no record, and may be left out."""
    wanted = re.compile(b"|".join(map(re.escape, marks)))
    at, rest = Position(), b""
    with path.open("rb") as file:
        while end > 0 and (chunk := file.read(min(CHUNK, end))):
            end -= len(chunk)
            whole, newline, rest = (rest + chunk).rpartition(b"\n")
            data = whole + newline
            yield from _marked(data, at, wanted)
            at = Position(at.ordinal + data.count(b"\n"), at.offset + len(data))
            if len(rest) > MAX_LINE:  # let go of, but for its length
                skipped = _skip_line(file, end)
                at = Position(at.ordinal + 1, at.offset + len(rest) + skipped)
                end, rest = end - skipped, b""


def lines_at(path: Path, places: Iterable[Position]) -> Iterator[Line]:
    """The complete lines that begin there. Raises OSError."""
    with path.open("rb") as file:
        for at in places:
            file.seek(at.offset)
            raw = file.readline(MAX_LINE + 1)
            if raw.endswith(b"\n"):
                yield parse_line(raw, at)


def _marked(data: bytes, start: Position, wanted: re.Pattern[bytes]) -> Iterator[Line]:
    at, begin = start, 0
    while found := wanted.search(data, begin):
        first = data.rfind(b"\n", 0, found.start()) + 1
        last = data.index(b"\n", found.start()) + 1
        place = Position(at.ordinal + data.count(b"\n", begin, first), start.offset + first)
        raw = data[first:last]
        yield parse_line(raw, place) if len(raw) <= MAX_LINE else overlong(place, len(raw), raw)
        at, begin = Position(place.ordinal + 1, start.offset + last), last


def _skip_line(file: BinaryIO, most: int) -> int:
    """Read to the end of a line; how many bytes that took."""
    skipped = 0
    while skipped < most and (piece := file.readline(min(CHUNK, most - skipped))):
        skipped += len(piece)
        if piece.endswith(b"\n"):
            break
    return skipped
