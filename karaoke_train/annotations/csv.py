"""Notes as a table, one note per line, and back: `onset,offset,pitch`, or as other tools have it.

onset and offset are seconds from the start of the audio, pitch is a MIDI number with fractions
allowed. Cells are set apart by commas, semicolons, tabs or blanks; decimals have a point or a
comma. A header is optional; with one the columns may come in any order and under the names that
`columns` knows, among them durations, milliseconds and Hz, and further columns are ignored.
Without one, `columns` tells them by their values, or asks. Blank lines and lines that begin with
`#` are skipped.
"""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from math import isfinite, isnan
from typing import TYPE_CHECKING, NamedTuple

from karaoke_train.annotations import columns as meaning
from karaoke_train.annotations.base import (
    LEGATO,
    SHOWN,
    AnnotationError,
    Entry,
    Unit,
    checked,
    decoded,
    lines_of,
    pitch_name,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from karaoke_train.annotations.columns import Columns
    from karaoke_train.notes import Note

_NEEDED = 3  # columns: onset, end, pitch
_DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+")
_DECIMAL = re.compile(r"[-+]?\d*[.,]?\d+")
_SEPARATOR = re.compile(r"sep=(.)", re.IGNORECASE)  # what Excel puts first


class _Row(NamedTuple):
    number: int  # of its line
    cells: list[str]

    @property
    def where(self) -> str:
        return f"line {self.number}"


def parse(data: bytes, path: Path, remarks: list[str] | None = None) -> tuple[Note, ...]:
    """The notes of a table. `path` is for the messages.

    remarks: gets what was told by the values alone. Raises AnnotationError.
    """
    try:
        rows = _rows(decoded(data))
    except csv.Error as error:
        raise AnnotationError(path, "", f"is no table ({error})") from None
    if not rows:
        return ()
    header = None if _is_number(rows[0].cells[0]) else rows[0]
    rows = rows if header is None else rows[1:]
    try:
        if header is None:
            columns = meaning.by_shape([_numbers(row, (0, 1, 2), path) for row in rows])
        else:
            columns = meaning.by_name(header.cells)
        order = (columns.onset, columns.end, columns.pitch)
        values = [_numbers(row, order, path) for row in rows]
        unit = meaning.unit(columns, [pitch for _, _, pitch in values])
    except meaning.Unclear as error:
        row = header if error.row is None else rows[error.row]
        raise AnnotationError(path, row.where if row else "", str(error)) from error
    by_values = columns.lasts and not columns.named
    by_values |= columns.unit is None and unit is Unit.HERTZ
    if by_values and remarks is not None:
        told = replace(columns, unit=unit)
        remarks.append(f"its columns are read as {told}, as their values tell: no header does")
    entries = [
        _entry(row, value, columns, unit, path) for row, value in zip(rows, values, strict=True)
    ]
    return checked(entries, path, LEGATO, remarks)


def render(notes: Sequence[Note]) -> str:
    """The table of `notes`, times to the microsecond."""
    rows = [f"{n.onset:.6f},{n.offset:.6f},{n.pitch:.4f}\n" for n in notes]
    return f"onset,offset,{pitch_name(notes)}\n" + "".join(rows)


def looks_like(data: bytes) -> bool:
    """Whether this is a table without a header, whatever the file's suffix says."""
    try:
        rows = _rows(decoded(data))
    except csv.Error:
        return False
    return bool(rows) and len(rows[0].cells) >= _NEEDED and all(map(_is_number, rows[0].cells[:3]))


def _rows(text: str) -> list[_Row]:
    lines = [
        (number, line.strip())
        for number, line in enumerate(lines_of(text), start=1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if lines and (told := _SEPARATOR.fullmatch(lines[0][1])):
        separator, lines = told[1], lines[1:]
    elif lines:
        separator = _separator(lines[0][1])
    return [_Row(number, _cells(line, separator)) for number, line in lines]


def _separator(line: str) -> str:
    parts = line.split()
    if "," in line and len(parts) >= _NEEDED and all(map(_DECIMAL.fullmatch, parts)):
        return " "  # decimal commas
    return next((s for s in "\t;," if s in line), " ")


def _cells(line: str, separator: str) -> list[str]:
    if separator == " ":
        cells = line.split()
    else:
        cells = [cell.strip() for cell in next(csv.reader([line], delimiter=separator))]
    return [c.replace(",", ".") if _DECIMAL_COMMA.fullmatch(c) else c for c in cells]


def _numbers(row: _Row, order: Sequence[int], path: Path) -> list[float]:
    """The numbers of some columns of a row. Raises AnnotationError."""
    if len(row.cells) <= max(order):
        reason = f"{','.join(row.cells)[:SHOWN]!r} is not onset,offset,pitch separated by commas"
        if len(row.cells) == 2:
            reason += "; a time and a pitch alone are a pitch track: export the notes"
        raise AnnotationError(path, row.where, reason)
    for cell in (row.cells[column] for column in order):
        if not _is_number(cell):
            reason = f"{cell[:SHOWN]!r} is not a number; write it like 1.25"
            raise AnnotationError(path, row.where, reason)
    return [float(row.cells[column]) for column in order]


def _entry(row: _Row, values: Sequence[float], columns: Columns, unit: Unit, path: Path) -> Entry:
    onset, end, pitch = values
    onset *= columns.onset_scale
    end *= columns.end_scale
    number = unit.midi(pitch)
    if isnan(number):
        reason = f"{pitch:g} Hz is no frequency of a note; correct or remove it"
        raise AnnotationError(path, row.where, reason)
    return Entry(row.where, onset, onset + end if columns.lasts else end, number)


def _is_number(cell: str) -> bool:
    try:
        return isfinite(float(cell)) and "_" not in cell  # Python's own: 1_0 for ten
    except ValueError:
        return False
