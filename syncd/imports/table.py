"""A wide table, one row per step, -> a run: CSV as Keras, Lightning, wandb and many scripts write
it, separated by comma, semicolon or tab."""

from __future__ import annotations

import csv
import os
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Self, TextIO

from karaoke_train.runlog.format import MAX_LINE, Record
from syncd.errors import SyncError
from syncd.imports.bounded import lines_of
from syncd.imports.fields import metrics_of, record_of, tag_of
from syncd.imports.foreign_run import ForeignRun

_SEPARATORS: Final = ",;\t|"
_COMMA_NUMBER: Final = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")
_ENDS: Final = ("\n", "\r")
_TORN: Final = "rows that are still being written, as the file has no newline there"
_WORDS: Final = {"true": True, "false": False}
_STILL: Final = 60.0  # seconds without a write after which a file is taken for whole
_MANY: Final = 10  # columns of one name
_TENSORBOARD: Final = ("wall time", "step", "value")  # what its page downloads: one metric


def header_of(path: Path) -> list[str]:
    """The names of the table's columns. Raises SyncError, OSError."""
    with path.open("rb") as file:
        try:
            line = file.readline(MAX_LINE).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise SyncError(
                "is no text in UTF-8",
                where=str(path),
                meaning="Nothing of it was imported",
                remedy="Save it as UTF-8",
            ) from None
    try:
        names = next(csv.reader([line], delimiter=_separator(line)), [])
    except csv.Error:
        raise SyncError(
            "its first row is none of a table: it is too long, or the file has carriage returns "
            "alone for ends of lines",
            where=str(path),
            meaning="Nothing of it was imported",
            remedy="Save it as CSV with a row per line",
        ) from None
    if all(isinstance(_value(name), float | int) for name in names if name.strip()):
        raise SyncError(
            "its first row does not name the columns",
            where=str(path),
            meaning="Nothing of it was imported",
            remedy="Put a row with their names before the others: step,loss,…",
        )
    return [name.strip() for name in names]


def read(path: Path, name: str) -> ForeignRun:
    """The table as a run. Raises SyncError, OSError."""
    header = _named(header_of(path), path)
    return ForeignRun(path, name, lambda run: _records(run, header))


def _named(header: Sequence[str], path: Path) -> list[str]:
    """The columns' names, each another one."""
    if tuple(name.lower() for name in header) == _TENSORBOARD:
        return [*header[:2], tag_of(path)]
    names: dict[str, None] = {}
    alike: Counter[str] = Counter()
    for name in header:
        base = free = name or "column"
        while free in names:
            alike[base] += 1
            # By a number where there are many, or the names would come to gigabytes
            free = base + ("_" * alike[base] if alike[base] < _MANY else f"_{alike[base]}")
        names[free] = None
    return list(names)


def _records(run: ForeignRun, header: Sequence[str]) -> Iterator[Record]:
    for row in _rows(run):
        if len(row) > len(header):
            run.left_out["rows' cells beyond the last column"] += 1
        cells = zip(header, row, strict=False)
        fields = {name: _value(cell) for name, cell in cells if cell.strip()}
        record = record_of(fields)
        if metrics_of(record):
            yield record
        elif fields:
            run.left_out["rows without a metric"] += 1


def _rows(run: ForeignRun) -> Iterator[list[str]]:
    """The rows behind the header, which a logger that is started again writes once more."""
    with run.path.open(encoding="utf-8-sig", errors="backslashreplace", newline="") as file:
        separator = _separator(file.readline(MAX_LINE))
        file.seek(0)
        lines = _WholeLines(file, run)
        rows = csv.reader(lines, delimiter=separator)
        first: list[str] = []
        while True:
            lines.of_row = 0
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error:  # a cell without end
                run.left_out["rows that are damaged"] += 1
                continue
            if not first:
                first = row
            elif row != first:
                yield row


class _WholeLines:
    """The lines, without a torn last one: half of a number is a number, too, and once it was
    imported the whole one would be another run's. Of a file that was written a while ago it is
    whole: many programs end their last line without a newline. of_row: characters of the lines
    that the row has so far, which a quoted cell may have many of."""

    def __init__(self, file: TextIO, run: ForeignRun) -> None:
        self._lines = lines_of(file, _ENDS)
        self._growing = time.time() - os.fstat(file.fileno()).st_mtime < _STILL
        self._run = run
        self.of_row = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.of_row += MAX_LINE + 1 if line is None else len(line)
        if line is None or self.of_row > MAX_LINE:
            raise csv.Error("too long")
        if self._growing and not line.endswith(_ENDS):
            self._run.left_out[_TORN] += 1
            raise StopIteration
        return line


def _separator(line: str) -> str:
    """Whatever there is most of; a comma in a semicolon's table is a decimal one."""
    return max(_SEPARATORS, key=lambda mark: (line.count(mark), mark == ","))


def _value(cell: str) -> Any:
    """A number where the cell is one, by the point or, as some countries have it, the comma."""
    text = cell.strip()
    if _COMMA_NUMBER.fullmatch(text):
        text = text.replace(",", ".")
    for kind in (int, float):
        try:
            return kind(text) if "_" not in text else cell
        except ValueError:
            continue
    return _WORDS.get(text.lower(), cell)
