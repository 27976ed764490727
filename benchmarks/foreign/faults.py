"""Reference and found notes -> how many of each kind of fault, to see what a model has to learn."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from karaoke_train.notes import Note

CLOSE, NEAR = 0.05, 0.15  # s; what begins within the first is found, within the second misplaced
SAME = 0.7  # semitones; a note as near to the one before it repeats it


def faults(reference: Sequence[Note], found: Sequence[Note]) -> Counter[str]:
    """Notes of the reference that are not found as they are, and found ones that are none."""
    matched = _matched(reference, found)
    free = [note for index, note in enumerate(found) if index not in matched.values()]
    kinds: Counter[str] = Counter()
    for index, note in enumerate(reference):
        if index in matched:
            kinds.update(_inexact(note, found[matched[index]]))
            continue
        shifts = [other.onset - note.onset for other in free]
        near = [shift for shift in shifts if abs(shift) <= NEAR]
        if near:
            kinds["early" if min(near, key=abs) < 0 else "late"] += 1
        elif any(n.onset < note.onset - CLOSE and n.offset > note.onset + CLOSE for n in found):
            repeats = index > 0 and abs(reference[index - 1].pitch - note.pitch) < SAME
            kinds["repeat merged" if repeats else "change not split"] += 1
        else:
            kinds["missed"] += 1
    missing = [note for index, note in enumerate(reference) if index not in matched]
    for other in free:
        if any(abs(other.onset - note.onset) <= NEAR for note in missing):
            continue
        inside = any(note.onset < other.onset < note.offset for note in reference)
        kinds["split inside" if inside else "none there"] += 1
    return kinds


def _matched(reference: Sequence[Note], found: Sequence[Note]) -> dict[int, int]:
    """Place in the reference -> place in `found`, by nearness of onsets."""
    pairs = sorted(
        (abs(note.onset - other.onset), i, j)
        for i, note in enumerate(reference)
        for j, other in enumerate(found)
        if abs(note.onset - other.onset) <= CLOSE
    )
    matched: dict[int, int] = {}
    for _, i, j in pairs:
        if i not in matched and j not in matched.values():
            matched[i] = j
    return matched


def _inexact(note: Note, other: Note) -> list[str]:
    """What is wrong with a note that was found."""
    away = abs(other.pitch - note.pitch)
    if away > 0.5:
        return ["octave" if abs(away - 12) < 1 else "pitch"]
    if abs(other.offset - note.offset) > max(0.05, 0.2 * (note.offset - note.onset)):
        return ["ends early" if other.offset < note.offset else "ends late"]
    return []
