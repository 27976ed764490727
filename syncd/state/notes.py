"""Where a run's epoch summaries, pictures and sounds are in its file: noted as they are sent, so
that ending the run reads these lines alone.

A cache like the cursor, which says how many notes there have to be: with others, the lines are
looked for. A note is synced before the cursor that counts it, so a crash leaves too many, never too
few.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from karaoke_train.runlog.reader import Position


class Notes:
    """The notes of one run. Not thread-safe."""

    def __init__(self, folder: Path, run_id: str) -> None:
        self._path = folder / f"{run_id}.txt"
        self._before = 0  # the line where this session began
        self._base = 0  # notes of lines before that; -1: not known
        self._new: dict[int, Position] = {}

    def begin(self, before: int = 0, count: int = 0) -> None:
        """Go on behind line `before`; `count` of the lines up to it are noted, -1 if that isn't
        known. Raises OSError."""
        self._before, self._base, self._new = before, count, {}
        if not before:
            self._path.unlink(missing_ok=True)

    def add(self, places: Iterable[Position]) -> None:
        """Note these lines, those that aren't yet. Raises OSError: then they count as not known."""
        fresh = [at for at in places if at.ordinal >= self._before and at.ordinal not in self._new]
        if not fresh:
            return
        try:
            self._append(fresh)
        except OSError:
            self._base = -1
            raise
        self._new |= {at.ordinal: at for at in fresh}

    def count(self, before: int) -> int:
        """How many lines before line `before` are noted; -1: not known."""
        if self._base < 0:
            return -1
        return self._base + sum(ordinal < before for ordinal in self._new)

    def places(self, before: int) -> list[Position] | None:
        """The noted lines before line `before`, in order; None where notes were lost."""
        noted = [at for at in self._load() if at.ordinal < before]
        return noted if len(noted) == self.count(before) else None

    def _append(self, places: Sequence[Position]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        text = "".join(f"{at.ordinal} {at.offset}\n" for at in places)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, f"\n{text}".encode())  # a torn note before it spoils none of these
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _load(self) -> list[Position]:
        """All that were ever noted, each once, in order: also those that a crash took back."""
        try:
            lines = self._path.read_text("ascii").splitlines()
        except (OSError, ValueError):
            lines = []
        return sorted({*self._new.values(), *_places(lines)})


def _places(lines: Iterable[str]) -> Iterable[Position]:
    for line in lines:
        ordinal, _, offset = line.partition(" ")
        if ordinal.isdecimal() and offset.isdecimal():
            yield Position(int(ordinal), int(offset))
