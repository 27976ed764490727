"""Where a run's epoch summaries, pictures and sounds are in its file: noted as they are sent, so
that ending the run reads these lines alone.

A cache like the cursor, which says how many notes there have to be: with others, the lines are
looked for. A note is synced before the cursor that counts it, so a crash leaves too many, never too
few.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from karaoke_train.runlog.reader import Position
from syncd.failpoints import failpoint
from syncd.paths import make_private

_NOTE: Final = re.compile(rb"(\d{1,18}) (\d{1,18})\n")  # ordinal and offset, which a seek takes


class Notes:
    """The notes of one run. Not thread-safe."""

    def __init__(self, folder: Path, run_id: str) -> None:
        self._path = folder / f"{run_id}.txt"
        self._next = 0  # lines before this one are noted, where they have to be
        self._count = 0  # notes of lines up to the last one asked for; -1: not known
        # Ordinals of the lines behind that one. Not those before: a run may have a million of them
        self._newer: deque[int] = deque()

    def begin(self, before: int = 0, count: int = 0) -> None:
        """Go on behind line `before`; `count` of the lines up to it are noted, -1 if that isn't
        known. Raises OSError."""
        self._next, self._count = before, count
        self._newer.clear()
        if not before:
            self._count = 0
            self._path.unlink(missing_ok=True)

    def add(self, places: Iterable[Position]) -> None:
        """Note these lines, in their order. Raises OSError: then they count as not known."""
        fresh = [at for at in places if at.ordinal >= self._next]
        if not fresh:
            return
        try:
            self._append(fresh)
        except OSError:
            self._count = -1
            raise
        self._next = fresh[-1].ordinal + 1
        self._newer.extend(at.ordinal for at in fresh)

    def count(self, before: int) -> int:
        """How many lines before line `before` are noted; -1: not known. To be asked with the same
        line or a later one than before."""
        while self._newer and self._newer[0] < before:
            self._newer.popleft()
            self._count += self._count >= 0
        return self._count

    def places(self, before: int) -> Iterable[Position] | None:
        """The `count` noted lines before line `before`, in order; None where notes were lost."""
        # Gone through twice rather than held: see `_newer`
        noted = sum(1 for _ in self._noted(before))
        return self._noted(before) if noted == self.count(before) else None

    def _append(self, places: Sequence[Position]) -> None:
        make_private(self._path.parent)
        text = "".join(f"{at.ordinal} {at.offset}\n" for at in places)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, f"\n{text}".encode())  # a torn note before it spoils none of these
            os.fsync(descriptor)
            failpoint("notes.after_write")
        finally:
            os.close(descriptor)

    def _noted(self, before: int) -> Iterator[Position]:
        # Each once: a session after a crash notes again, at the end, what it sends again
        least = 0
        try:
            with self._path.open("rb") as file:
                for at in _places(file):
                    if least <= at.ordinal < before:
                        yield at
                        least = at.ordinal + 1
        except OSError:
            return


def _places(lines: Iterable[bytes]) -> Iterator[Position]:
    for line in lines:
        if note := _NOTE.fullmatch(line):
            yield Position(int(note[1]), int(note[2]))
