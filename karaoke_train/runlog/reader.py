"""Bytes at a position -> complete lines; pure, and the one place where lines are split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from karaoke_train.runlog.format import MAX_LINE, BadRecord, Record, decode

HEAD: Final = 200  # bytes of a bad line that are kept, to be shown to a person


class Position(NamedTuple):
    """The start of a line: its ordinal (the number of complete lines before it) and byte offset."""

    ordinal: int = 0
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """One complete line. A bad one has no record but a problem, and still takes its ordinal.

    at, end: its start, and the next line's. head: of a bad line, its first HEAD bytes.
    """

    at: Position
    end: Position
    record: Record | None
    problem: str = ""
    head: bytes = b""


def each_line(data: bytes, start: Position) -> Iterator[Line]:
    """The complete lines of `data`, which begins at `start`, each made when it is asked for.

    A torn tail (no newline yet) is left alone: it may still be growing.
    """
    at, begin = start, 0
    # On bytes, before decoding: the byte 0x0A is a newline in UTF-8 and never part of another
    # character, so a line that is no UTF-8 spoils none but itself. And on that byte alone:
    # `splitlines` ends lines at a carriage return, too, and would give other ordinals.
    while (newline := data.find(b"\n", begin)) >= 0:
        line = parse_line(data[begin : newline + 1], at)
        yield line
        at, begin = line.end, newline + 1


def parse_line(raw: bytes, at: Position) -> Line:
    """One line with its newline; `at`: its start. An over-long one need not be given whole: see
    `overlong`."""
    end = Position(at.ordinal + 1, at.offset + len(raw))
    try:
        return Line(at, end, decode(raw))
    except BadRecord as error:
        return Line(at, end, None, str(error), raw[:HEAD])


def overlong(at: Position, length: int, head: bytes) -> Line:
    """The bad line of `length` bytes, newline included, that is too long to be held in memory."""
    end = Position(at.ordinal + 1, at.offset + length)
    return Line(at, end, None, f"over-long: {length:,} bytes, at most {MAX_LINE:,}", head[:HEAD])
