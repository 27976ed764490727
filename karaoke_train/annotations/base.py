"""What all annotation formats share: the error, and the check that notes can be sung."""

from __future__ import annotations

from itertools import zip_longest
from math import isfinite
from typing import TYPE_CHECKING, NamedTuple

from karaoke_train.notes import Note

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

OVERLAP = 0.001  # s; less is rounding, not a second voice


class AnnotationError(ValueError):
    """A label file cannot be used. The message names the file, the place, the fault, the remedy."""

    def __init__(self, path: Path, where: str, reason: str) -> None:
        super().__init__(f"{path}{', ' if where else ''}{where}: {reason}")
        self.path = path
        self.where = where
        self.reason = reason

    def __reduce__(self) -> tuple[type[AnnotationError], tuple[Path, str, str]]:
        return type(self), (self.path, self.where, self.reason)


class Entry(NamedTuple):
    """A note as a file has it, not yet checked. `where` is for people: "line 3"."""

    where: str
    onset: float
    offset: float
    pitch: float


def checked(entries: Iterable[Entry], path: Path, overlap: float = OVERLAP) -> tuple[Note, ...]:
    """Notes in order of onset, none overlapping.

    An overlap of up to `overlap` seconds shortens the earlier note. Raises AnnotationError for
    a longer one, for a note of no or negative length, and for a pitch outside 0 to 127.
    """
    ordered = sorted((_sound(entry, path) for entry in entries), key=lambda e: e.onset)
    notes: list[Note] = []
    for entry, after in zip_longest(ordered, ordered[1:]):
        offset = entry.offset
        if after is not None and offset > after.onset:
            if offset - after.onset > overlap or after.onset <= entry.onset:
                raise AnnotationError(
                    path,
                    after.where,
                    f"the note at {after.onset:g} s begins before the one of {entry.where} ends "
                    f"({offset:g} s); one voice sings one note at a time: shorten or remove one",
                )
            offset = after.onset
        notes.append(Note(entry.onset, offset, entry.pitch))
    return tuple(notes)


def _sound(entry: Entry, path: Path) -> Entry:
    if not all(isfinite(value) for value in entry[1:]):
        fault = "the note has a value that is not finite"
    elif entry.offset <= entry.onset:
        fault = f"the note ends at {entry.offset:g} s, not after its onset at {entry.onset:g} s"
    elif entry.onset < 0:
        fault = f"the note begins before the audio, at {entry.onset:g} s"
    elif not 0 <= entry.pitch <= 127:
        fault = f"the pitch {entry.pitch:g} is no MIDI number from 0 to 127 (A4 = 69)"
    else:
        return entry
    raise AnnotationError(path, entry.where, f"{fault}; correct or remove it")
