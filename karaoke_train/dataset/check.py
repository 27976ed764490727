"""A folder of songs -> what is usable, what is not and why, as rows and as a table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from karaoke_train.audio.io import AudioError
from karaoke_train.audio.units import SILENT
from karaoke_train.dataset.songs import FileSong, Problem, Song
from karaoke_train.notes import semitone
from karaoke_train.runlog.plain_text import cells, one_line, padded

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_BLOCK = 60.0  # s read at once, so that a two-hour file needs no more memory than a short one
_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")


@dataclass(frozen=True)
class Row:
    """One song, or one file that is none.

    name: of the song, or the path. problem: why it cannot be used, empty when it can; the other
    fields are then of use. duration: s. lowest, highest: MIDI pitch. remarks: what in the label
    file was left out, mended or told by its values alone; that the recording is silent.
    """

    name: str
    problem: str = ""
    duration: float = 0.0
    notes: int = 0
    lowest: float = 0.0
    highest: float = 0.0
    remarks: tuple[str, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether training would use it."""
        return not self.problem


def check_songs(songs: Iterable[Song], problems: Iterable[Problem] = ()) -> list[Row]:
    """A row for each song, read whole, so that damage in the middle of a file shows, and for each
    problem already known; usable ones first."""
    rows = [_row(song) for song in songs]
    rows += [Row(str(problem.path), problem.reason) for problem in problems]
    return sorted(rows, key=lambda row: (not row.usable, row.name))


def render(rows: Sequence[Row]) -> str:
    """The rows as a text table with a line of totals."""
    rows = [replace(row, name=one_line(row.name), problem=one_line(row.problem)) for row in rows]
    usable = [row for row in rows if row.usable]
    lines = []
    if usable:
        width = max(4, *(cells(row.name) for row in usable))
        lines.append(f"{'song':{width}}  {'length':>8}  {'notes':>6}  range")
        lines += [
            f"{padded(row.name, width)}  {_clock(row.duration):>8}  {row.notes:>6}  {_range([row])}"
            for row in usable
        ]
        lines.append("")
    if remarks := [f"note: {row.name}: {remark}" for row in usable for remark in row.remarks]:
        lines += [*remarks, ""]
    lines += [f"not usable: {row.name}: {row.problem}" for row in rows if not row.usable]
    if len(usable) < len(rows):
        lines.append("")
    lines.append(_totals(usable, len(rows) - len(usable)))
    return "\n".join(lines)


def _row(song: Song) -> Row:
    start = loudest = 0.0
    try:
        while start < song.duration:
            samples = song.load(start, min(start + _BLOCK, song.duration))
            loudest = max(loudest, float(np.abs(samples).max(initial=0.0)))
            start += _BLOCK
    except AudioError as error:
        return Row(str(error.path), error.reason)
    pitches = [note.pitch for note in song.notes]
    remarks = song.remarks if isinstance(song, FileSong) else ()
    if loudest < SILENT:
        remarks += ("there is nothing to hear in the recording, and training would use it",)
    return Row(
        song.name,
        duration=song.duration,
        notes=len(pitches),
        lowest=min(pitches),
        highest=max(pitches),
        remarks=remarks,
    )


def _totals(usable: Sequence[Row], unusable: int) -> str:
    rest = f"{unusable} file{'s' if unusable != 1 else ''} not usable"
    if not usable:
        return f"no usable song, {rest}"
    length = _clock(sum(row.duration for row in usable))
    notes = sum(row.notes for row in usable)
    count = f"{len(usable)} usable song{'s' if len(usable) != 1 else ''}"
    return f"{count}: {length}, {notes} notes, {_range(usable)}; {rest}"


def _range(rows: Sequence[Row]) -> str:
    lowest, highest = min(row.lowest for row in rows), max(row.highest for row in rows)
    return f"{_name(lowest)} to {_name(highest)}"


def _name(pitch: float) -> str:
    """The name of a MIDI pitch, C4 being 60."""
    nearest = semitone(pitch)
    return f"{_NAMES[nearest % 12]}{nearest // 12 - 1}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
