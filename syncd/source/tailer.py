"""A path and a position -> complete lines. The file itself is the buffer: nothing is carried
between reads, so a read can be repeated at any time."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, Final

from karaoke_train.runlog.format import MAX_LINE, Record
from karaoke_train.runlog.reader import HEAD, Line, Position, overlong, split_lines
from syncd.state.cursor import Fingerprint

CHUNK: Final = 2 << 20  # bytes a read; over MAX_LINE: it holds a line, or shows an over-long one
START: Final = Position()
BEFORE: Final = 256  # bytes before a position that its fingerprint covers


class FileChanged(Exception):
    """The file isn't what it was: truncated, replaced or rewritten, as `code` says."""

    def __init__(self, code: str, what: str) -> None:
        super().__init__(what)
        self.code = code


@dataclass(frozen=True, slots=True)
class Chunk:
    """What a read gave: whole lines, where the next begins, how far the file was looked at."""

    lines: list[Line]
    end: Position
    seen: int  # the file's size at the read: news begins there


@dataclass(frozen=True, slots=True)
class Survey:
    """A run's file seen as a whole: its end, its newest config record, its epochs."""

    end: Position = START
    at: Position | None = None  # where the asked ordinal begins; None when the file ends before
    config: Record = field(default_factory=dict)
    epochs: tuple[Record, ...] = ()
    media: tuple[Line, ...] = ()  # lines of pictures and sounds
    last: Record = field(default_factory=dict)  # the last line's record


def first_line(path: Path) -> bytes:
    """The first complete line with its newline, at most MAX_LINE bytes of it; empty when there's
    none yet. Raises OSError."""
    with path.open("rb") as file:
        line = file.readline(MAX_LINE)
    return line if line.endswith(b"\n") or len(line) == MAX_LINE else b""


def fingerprint(path: Path, at: Position) -> Fingerprint:
    """What the file shows up to `at`. Raises OSError."""
    with path.open("rb") as file:
        return _fingerprint(file, at)


def read(
    path: Path, start: Position, limit: int = CHUNK, expect: Fingerprint | None = None
) -> Chunk:
    """The complete lines from `start` on, about `limit` bytes of them.

    expect: what the file has to show up to `start`. Raises FileChanged when it doesn't; OSError.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if expect is not None:
            _check(file, size, start, expect)
        file.seek(start.offset)
        data = file.read(max(limit, MAX_LINE + 1))
        lines, end = split_lines(data, start)
        if not lines and len(data) > MAX_LINE and (line := _long_line(file, start, data)):
            lines, end = [line], line.end
        read_all = start.offset + len(data) >= size
        return Chunk(lines, end, max(size, end.offset) if read_all or not lines else end.offset)


def check(path: Path, at: Position, expect: Fingerprint) -> None:
    """See that the file shows what it showed. Raises FileChanged, OSError."""
    with path.open("rb") as file:
        _check(file, os.fstat(file.fileno()).st_size, at, expect)


def _check(file: BinaryIO, size: int, at: Position, expect: Fingerprint) -> None:
    shown = _fingerprint(file, at)
    if shown.first != expect.first:
        raise FileChanged("replaced", "the file begins otherwise than the uploaded one")
    if size < at.offset:
        raise FileChanged(
            "truncated", f"the file has {size:,} bytes; {at.offset:,} were read before"
        )
    if shown.before != expect.before:
        raise FileChanged("rewritten", "lines of the file that were read before are changed")


def _fingerprint(file: BinaryIO, at: Position) -> Fingerprint:
    file.seek(0)
    first = file.readline(MAX_LINE) if at.offset else b""
    start = max(0, at.offset - BEFORE)
    file.seek(start)
    return Fingerprint(digest(first), digest(file.read(at.offset - start)))


def survey(
    path: Path,
    ordinal: int = 0,
    on_lines: Callable[[Sequence[Line]], None] | None = None,
    start: Position = START,
) -> Survey:
    """Read the file once, from `start` to its end, looking for the line `ordinal`. `on_lines` is
    shown every line on the way. Raises OSError."""
    found = Survey(end=start, at=start if ordinal == start.ordinal else None)
    while True:
        chunk = read(path, found.end)
        if not chunk.lines:
            return found
        found = _surveyed(found, chunk, ordinal)
        if on_lines:
            on_lines(chunk.lines)


def _surveyed(found: Survey, chunk: Chunk, ordinal: int) -> Survey:
    at = found.at
    if at is None and ordinal <= chunk.end.ordinal:
        at = chunk.lines[ordinal - found.end.ordinal - 1].end
    records = [line.record for line in chunk.lines if line.record]
    configs = [record for record in records if record.get("type") == "config"]
    epochs = [record for record in records if record.get("type") == "epoch_summary"]
    media = [line for line in chunk.lines if line.record and line.record.get("type") == "media"]
    return replace(
        found,
        end=chunk.end,
        at=at,
        config=configs[-1] if configs else found.config,
        epochs=(*found.epochs, *epochs),
        media=(*found.media, *media),
        last=chunk.lines[-1].record or {},
    )


def _long_line(file: BinaryIO, start: Position, head: bytes) -> Line | None:
    """The over-long line at `start`, once its newline is there."""
    length = len(head)
    while data := file.read(CHUNK):
        newline = data.find(b"\n")
        if newline >= 0:
            return overlong(start, length + newline + 1, head[:HEAD])
        length += len(data)
    return None


def digest(data: bytes) -> str:
    """What tells these bytes from others."""
    return hashlib.sha256(data).hexdigest()[:32]
