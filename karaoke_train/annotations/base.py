"""What all annotation formats share: the error, text and pitches as others write them, and the
check that notes can be sung."""

from __future__ import annotations

import re
from enum import StrEnum
from itertools import zip_longest
from math import isfinite, log2
from typing import TYPE_CHECKING, NamedTuple

from karaoke_train.notes import Note

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

OVERLAP = 0.001  # s; less is rounding, not a second voice
# s; so far keys overlap that are played legato, and notes of transcribers, which are cut by frames
LEGATO = 0.05
SHOWN = 40  # characters of what stands in a file that a message has
HIGHEST_SUNG = 96  # MIDI number, C7 (2,093 Hz): few voices reach it, and none sings there for long
HIGHEST_HERTZ = 4_200.0  # Hz; a piano's highest key
_ENCODING = re.compile(rb"^#ENCODING:[ \t]*([\w-]+)", re.MULTILINE | re.IGNORECASE)


class AnnotationError(ValueError):
    """A label file cannot be used. The message names the file, the place, the fault, the remedy."""

    def __init__(self, path: Path, where: str, reason: str) -> None:
        super().__init__(f"{path}{', ' if where else ''}{where}: {reason}")
        self.path = path
        self.where = where
        self.reason = reason

    def __reduce__(self) -> tuple[type[AnnotationError], tuple[Path, str, str]]:
        return type(self), (self.path, self.where, self.reason)


class Unit(StrEnum):
    """What a file's pitches count; the value is the name of a column or key that says so."""

    MIDI = "midi"
    HERTZ = "hz"

    def midi(self, value: float) -> float:
        """The MIDI number of a pitch in this unit; NaN for a frequency that is none."""
        if self is Unit.MIDI:
            return value
        return 69 + 12 * log2(value / 440) if value > 0 else float("nan")


class Entry(NamedTuple):
    """A note as a file has it, not yet checked. `where` is for people: "line 3"."""

    where: str
    onset: float
    offset: float
    pitch: float


def unit_of(pitches: Iterable[float]) -> Unit | None:
    """What pitches of a column that does not say it must be, or None where they could be both.

    Sung MIDI numbers end where a bass's Hz begin: 110 is A2 in Hz and D8 as a number. Above 127
    no MIDI number is left; but when some are below and some above, one of them may be a slip.
    """
    values = [pitch for pitch in pitches if isfinite(pitch)]  # what is not is no matter of units
    if not values or max(values) <= HIGHEST_SUNG:
        return Unit.MIDI
    if min(values) > HIGHEST_SUNG and 127 < max(values) <= HIGHEST_HERTZ:
        return Unit.HERTZ
    return None


def pitch_name(notes: Sequence[Note]) -> str:
    """What to call the pitches of `notes` so that `unit_of` is not in doubt on reading."""
    return "pitch" if unit_of(n.pitch for n in notes) is Unit.MIDI else Unit.MIDI.value


def decoded(data: bytes) -> str:
    """Text as editors and games save it: UTF-8 or UTF-16 with their marks, or an old Windows one.

    The old one is what a line `#ENCODING:CP1250` names, as UltraStar files have it, or CP1252.
    """
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        named = _ENCODING.search(data)
        try:
            return data.decode(named[1].decode() if named else "cp1252", "replace")
        except (LookupError, ValueError):  # a codec that there is not, or not for text
            return data.decode("cp1252", "replace")


def lines_of(text: str) -> list[str]:
    """Lines by their ends on Unix, Windows and the old Mac, and by nothing else.

    `str.splitlines` splits at U+0085 and U+2028 as well, which stand inside of syllables.
    """
    return re.split(r"\r\n|\r|\n", text)


def checked(
    entries: Iterable[Entry],
    path: Path,
    overlap: float = OVERLAP,
    remarks: list[str] | None = None,
) -> tuple[Note, ...]:
    """Notes in order of onset, none overlapping.

    An overlap of up to `overlap` seconds shortens the earlier note; `remarks` gets how many that
    were, but for those of a rounding. Raises AnnotationError for a longer one, for a note of no or
    negative length, and for a pitch outside 0 to 127.
    """
    shortened: list[float] = []
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
            shortened.append(offset - after.onset)
            offset = after.onset
        notes.append(Note(entry.onset, offset, entry.pitch))
    more = [seconds for seconds in shortened if seconds > OVERLAP]
    if more and remarks is not None:
        which = "1 note ends" if len(more) == 1 else f"{len(more)} notes end"
        remarks.append(f"{which} where the next begins: up to {max(more):.3f} s shorter than told")
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
