"""A path and a position -> complete lines.

The file itself is the buffer: nothing is carried between reads, so a read can be repeated at any
time, from any position that was once a line's end. A reader that keeps the torn half of a line in
memory has to persist it, or loses it in a crash (Fluent Bit's tail input keeps it in a database).
"""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

from karaoke_train.runlog.format import MAX_LINE
from karaoke_train.runlog.reader import HEAD, Line, Position, overlong
from syncd.source.fingerprint import Log, check_open, open_pinned
from syncd.source.lines import Lines
from syncd.source.safe_open import open_log
from syncd.state.cursor import Fingerprint

# Bytes per read. It has to be over MAX_LINE: then it holds a whole line, or shows by the lack of a
# newline that the line is over-long. With less, a long line would look like a torn one for ever.
CHUNK: Final = 2 << 20
SEARCH: Final = 64 << 20  # bytes that are looked through for the end of an over-long line at a time
MOST: Final = 20_000  # lines that are handed over at a time: a read may hold two million blank ones
START: Final = Position()  # where every file's first line begins


@dataclass(frozen=True, slots=True)
class Chunk:
    """What a read gave: whole lines, and how far the file was looked at."""

    lines: Lines  # bad ones, too: every line has an ordinal, or all behind it would move
    scanned_to: int  # the file's size at the read: news begins there
    before: bytes = b""  # of what was to be shown, the bytes before the lines


def read(
    log: Log,
    start: Position,
    limit: int = CHUNK,
    expect: Fingerprint | None = None,
    *,
    searched_to: int = 0,
    search: float = math.inf,
) -> Chunk:
    """The complete lines from `start` on, about `limit` bytes of them.

    expect: what the file has to show up to `start`. search: bytes that are looked through for the
    end of an over-long line, from `searched_to` on, before which an earlier read found none. Raises
    FileChanged when the file shows something else; OSError.
    """
    # Opened anew each time: a descriptor kept open would go on reading a file that was replaced or
    # deleted, as `tail -f` does, and 10,000 runs would need 10,000 of them
    with open_pinned(log) as file:
        # The size is taken once, before the read, and of the open file: what is written meanwhile
        # is the next read's, and a file that takes this one's name is another file
        size = os.fstat(file.fileno()).st_size
        before = check_open(file, size, start, expect) if expect else b""
        # No more than was there by then, which later ones follow: to make room for a whole chunk
        # takes longer than all else that the reading of a live run's line does
        file.seek(start.offset)
        data = file.read(min(max(limit, MAX_LINE + 1), max(0, size - start.offset)))
        lines = Lines.of(data, start)
        # No newline in so many bytes: a line over the limit, which the writer of ours refuses to
        # write and others do not. It is one bad line, not the end of the file
        if not lines and len(data) > MAX_LINE:
            begin = max(start.offset + len(data), searched_to if searched_to <= size else 0)
            newline, looked_to = _newline(file, begin, search)
            if newline < 0:
                # Until its newline is there it is no line at all: it may still be growing
                return Chunk(lines, looked_to if looked_to - begin >= search else max(size, begin))
            length = newline + 1 - start.offset
            lines = Lines.too_long(overlong(start, length, data[:HEAD]))
        # A torn tail counts as looked at: only its newline, which makes the file longer, is news.
        # Without this a trainer that died in mid-line would have its file read for ever
        read_all = start.offset + len(data) >= size
        end = lines.end.offset
        return Chunk(lines, max(size, end) if read_all or not lines else end, before)


def each_line(
    log: Log, start: Position = START, reaches: Callable[[], float] | None = None
) -> Iterator[Line]:
    """Every complete line of the file, from `start` to where it ended when the first was asked for.
    reaches: instead, says before each read up to which byte lines are wanted. Raises OSError."""
    # A training that writes as fast as its lines are taken would keep their end from coming: who
    # wants to know of later ones asks again
    if reaches is None:
        reaches = partial(int, size_of(log))
    at = start
    while at.offset < reaches() and (lines := read(log, at).lines):
        yield from lines
        at = lines.end


def lines_within(path: Path, size: int) -> Iterator[Line]:
    """The complete lines of the first `size` bytes: the same ones each time, also of a file that
    is being written. Raises OSError."""
    for line in each_line(path, reaches=lambda: size):
        if line.end.offset > size:
            return
        yield line


def size_of(log: Log) -> int:
    """Where the file ends by now. Raises OSError."""
    with open_pinned(log) as file:
        return os.fstat(file.fileno()).st_size


def until(log: Log, ordinal: int, start: Position = START) -> Iterator[Lines]:
    """The lines from `start` up to the line `ordinal`, a read's worth at a time; fewer where the
    file ends before. Raises OSError."""
    # Each with a new look at the file: the memory that this takes does not grow with it
    at = start
    while at.ordinal < ordinal and (
        lines := read(log, at).lines.first(min(MOST, ordinal - at.ordinal))
    ):
        yield lines
        at = lines.end


def place_of(log: Log, ordinal: int, start: Position = START) -> Position:
    """Where the line `ordinal` begins; the end of the lines where there are fewer. Raises
    OSError."""
    at = start
    for lines in until(log, ordinal, start):
        at = lines.end
    return at


def count_lines(path: Path, offset: int) -> tuple[int, int]:
    """How many complete lines there are from a line's start on, and where the last one ends; up to
    one of more than SEARCH bytes, which is not looked through for its end. Raises OSError."""
    count, end = 0, offset
    with open_log(path) as file:
        for at, data in _pieces(file, offset):
            if newlines := data.count(b"\n"):
                count += newlines
                end = at + data.rfind(b"\n") + 1
            elif at - end > SEARCH:
                break
    return count, end


class Counts:
    """The lines of files that are looked at again and again. Each is counted once: a file of
    gigabytes may grow with each look."""

    def __init__(self) -> None:
        self._known: dict[object, tuple[int, Position]] = {}

    def of(self, file: object, path: Path, size: int, at: Position) -> int:
        """The complete lines of a file that has this size; `at`: a line's start, up to which they
        are known. file: what tells it from another one at that path. Those behind are none where
        it can't be read, which is said elsewhere."""
        counted, end = self._known.get(file, (at.offset, at))
        if size < counted:
            counted, end = at.offset, at
        if size != counted:
            with suppress(OSError):
                lines, offset = count_lines(path, end.offset)
                end = Position(end.ordinal + lines, offset)
            self._known[file] = size, end
        return end.ordinal


def _newline(file: BinaryIO, begin: int, search: float) -> tuple[int, int]:
    """Where the next newline from `begin` on is, -1 for none; and how far was looked. Its bytes are
    let go: a line may be longer than the memory."""
    looked_to = begin
    for at, data in _pieces(file, begin):
        if (found := data.find(b"\n")) >= 0:
            return at + found, at + found + 1
        looked_to, search = at + len(data), search - len(data)
        if search <= 0:
            return -1, looked_to
    return -1, looked_to


def _pieces(file: BinaryIO, offset: int) -> Iterator[tuple[int, bytes]]:
    """What the file holds from `offset` on, with the places, without its holes: they take no disk,
    and may be a terabyte of zeros, among which no line ends."""
    while True:
        try:
            offset = os.lseek(file.fileno(), offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing more but a hole
                return
            # EINVAL: a file system that can't be asked
        data = os.pread(file.fileno(), CHUNK, offset)
        if not data:
            return
        yield offset, data
        offset += len(data)
