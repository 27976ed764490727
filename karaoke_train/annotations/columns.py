"""What the columns of a table of notes mean: by the names in its header, or by their values.

Tools differ: our own tables have onset, offset and MIDI number; Tony and Sonic Visualiser write
onset, Hz and duration without a header (or TIME, VALUE, DURATION, LEVEL, LABEL with one);
basic-pitch start_time_s, end_time_s, pitch_midi; others milliseconds. What can't be told for
certain is asked about: a note read wrongly is worse than a file that isn't read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from karaoke_train.annotations.base import HIGHEST_HERTZ, HIGHEST_SUNG, SHOWN, Unit, unit_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_ONSETS = ("onset", "start", "begin", "onsettime", "starttime", "begintime", "time")
_OFFSETS = ("offset", "end", "stop", "offsettime", "endtime", "stoptime")
_DURATIONS = ("duration", "dur", "length", "noteduration")
_SCALES = {"": 1.0, "s": 1.0, "sec": 1.0, "secs": 1.0, "seconds": 1.0} | {
    "ms": 1e-3, "msec": 1e-3, "milliseconds": 1e-3,
}  # fmt: skip
_PITCHES = {
    Unit.MIDI: (
        "midi", "midipitch", "pitchmidi", "midinote", "notemidi", "midinumber", "midinotenumber",
        "notenumber",
    ),
    Unit.HERTZ: (
        "hz", "hertz", "frequency", "freq", "f0", "frequencyhz", "freqhz", "f0hz", "pitchhz",
        "frequencyinhz", "pitchinhz", "notehz",
    ),
    None: ("pitch", "note", "value"),
}  # fmt: skip

LOWEST_SUNG = 24  # MIDI number, C1 (33 Hz); what is lower is a count of seconds
_LOWEST_HERTZ = 30.0
HOW = "name them in a first line: onset; offset or duration; midi or hz"


@dataclass(frozen=True)
class Columns:
    """Where the onset, the end and the pitch of a note stand in a row, and what they count.

    end: the column of the offset, or of the duration where `lasts`. onset_scale, end_scale: s per
    unit. unit: of the pitch; None is for `unit_of` to say. named: whether the file says so itself.
    """

    onset: int = 0
    end: int = 1
    pitch: int = 2
    lasts: bool = False
    onset_scale: float = 1.0
    end_scale: float = 1.0
    unit: Unit | None = None
    named: bool = False
    sure: bool = True  # None as `unit` stands for MIDI numbers unless the values speak against it

    @property
    def last(self) -> int:
        """The last column that is needed."""
        return max(self.onset, self.end, self.pitch)

    def __str__(self) -> str:
        """The names of the three, in the file's order."""
        names = {
            self.onset: "onset",
            self.end: "duration" if self.lasts else "offset",
            self.pitch: "pitch" if self.unit is None else "MIDI number",
        }
        if self.unit is Unit.HERTZ:
            names[self.pitch] = "Hz"
        return ", ".join(name for _, name in sorted(names.items()))


class Unclear(ValueError):
    """The columns can't be told; the message says which, and how to say it.

    row: the one that shows it, counted from 0 after the header; None is the header itself.
    """

    def __init__(self, message: str, row: int | None = 0) -> None:
        super().__init__(message)
        self.row = row


def by_name(header: Sequence[str]) -> Columns:
    """The columns that a header names, in any order. Raises Unclear."""
    names = [re.sub(r"[^a-z0-9]", "", cell.lower()) for cell in header]
    onset, end = _time(names, _ONSETS), _time(names, _OFFSETS)
    lasts = end is None
    end = end or _time(names, _DURATIONS)
    found = next(
        ((names.index(n), unit) for unit, group in _PITCHES.items() for n in group if n in names),
        None,
    )
    if onset is None or end is None or found is None:
        fault = f"the header {','.join(header)[:SHOWN]!r} lacks one of onset,offset,pitch; {HOW}"
        if "frame" in names or "sample" in names:
            fault += ". Times in frames say no seconds: export them in seconds"
        raise Unclear(fault, row=None)
    pitch, unit = found
    # A Sonic Visualiser layer's VALUE is in Hz or a MIDI number as the user set the layer up.
    sure = names[pitch] != "value"
    return Columns(onset[0], end[0], pitch, lasts, onset[1], end[1], unit, named=True, sure=sure)


def by_shape(rows: Iterable[Sequence[float]]) -> Columns:
    """The meaning of the first three columns of a table without a header. Raises Unclear.

    Durations of sung notes are below 24 s and sung MIDI numbers from 24 up, so what stands third
    is one or the other.
    """
    rows = list(rows)
    second, third = [row[1] for row in rows], [row[2] for row in rows]
    hertz = min(second) >= _LOWEST_HERTZ and 127 < max(second) <= HIGHEST_HERTZ
    if max(third) < LOWEST_SUNG:
        if hertz:
            return Columns(pitch=1, end=2, lasts=True, unit=Unit.HERTZ)
        if min(second) >= LOWEST_SUNG:
            raise Unclear(
                f"the second column, {second[0]:g} and the like, may be MIDI numbers or Hz, and "
                f"the third, {third[0]:g}, seconds: {HOW}, such as onset,hz,duration"
            )
        raise Unclear(
            f"no column of {_row(rows[0])} looks like a sung pitch: {HOW}, such as "
            "onset,offset,midi or onset,hz,duration"
        )
    if min(third) < LOWEST_SUNG:
        low = next(i for i, pitch in enumerate(third) if pitch < LOWEST_SUNG)
        raise Unclear(
            f"the third column is {third[low]:g} here and {max(third):g} elsewhere, and so neither "
            f"a sung pitch nor a duration throughout: {HOW}, such as onset,offset,midi",
            low,
        )
    late = next((i for i, row in enumerate(rows) if row[1] <= row[0]), None)
    if late is not None:
        raise Unclear(
            f"the note ends at {second[late]:g} s, not after its onset at {rows[late][0]:g} s; "
            "correct or remove it, or if the second column is a duration, put the line "
            "onset,duration,pitch before the first",
            late,
        )
    return Columns()


def unit(columns: Columns, pitches: Sequence[float]) -> Unit:
    """What the pitches count: by the header, or by their values. Raises Unclear."""
    if columns.unit is not None or not pitches:
        return columns.unit or Unit.MIDI
    found = unit_of(pitches)
    if found is None or (found is Unit.MIDI and not columns.sure):
        high = next((i for i, pitch in enumerate(pitches) if pitch > HIGHEST_SUNG), 0)
        raise Unclear(
            f"the pitch {pitches[high]:g} may be a MIDI number or Hz; call its column midi or hz "
            "in a first line, such as onset,offset,hz, or correct it",
            high,
        )
    return found


def _time(names: Sequence[str], kinds: Sequence[str]) -> tuple[int, float] | None:
    """The column of the first of `kinds` that there is, with s per unit."""
    for kind in kinds:
        for suffix, scale in _SCALES.items():
            if kind + suffix in names:
                return names.index(kind + suffix), scale
    return None


def _row(values: Sequence[float]) -> str:
    return ",".join(f"{value:g}" for value in values)
