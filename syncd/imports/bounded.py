"""Lines of text or bytes from a file that may hold anything: none is held that is too long."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, AnyStr, Final

from karaoke_train.runlog.format import MAX_LINE

SEARCH: Final = 64 << 20  # bytes or characters that are looked through for a long line's end


def lines_of(file: IO[AnyStr], ends: tuple[AnyStr, ...]) -> Iterator[AnyStr | None]:
    """The lines from where the file is read to its end, each with its end; None in the place of one
    of more than MAX_LINE. One without an end in SEARCH is the last: a hole in a file takes no disk,
    and may be a terabyte of zeros."""
    while line := file.readline(MAX_LINE + 1):
        if len(line) <= MAX_LINE:
            yield line
            continue
        yield None
        left = SEARCH
        while not line.endswith(ends) and (line := file.readline(MAX_LINE)):
            left -= len(line)
            if left <= 0:
                return
