"""A run's table of metrics -> a Parquet file: the rows and columns of the CSV, with types."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from karaoke_train.runlog.legacy import to_table
from syncd.errors import SyncError

if TYPE_CHECKING:
    from arro3.core import Array

MOST: Final = 10_000  # columns
_LONGEST: Final = 63  # bits of an integer beside its sign


def to_parquet(records: Iterable[Mapping[str, Any]]) -> bytes:
    """The file's bytes. A column is of booleans, of integers, of numbers, or else of text; a value
    that a row lacks is null. Raises SyncError where what writes it is not installed."""
    try:
        from arro3.core import Table
        from arro3.io import write_parquet
    except ImportError:
        raise SyncError(
            "Parquet is written by arro3, which is not installed",
            meaning="Nothing was written",
            remedy="pip install 'karaoke-train[parquet]'",
        ) from None
    columns, rows = to_table(records)
    if len(columns) > MOST:  # each takes 20 KiB, however little it holds
        raise SyncError(
            f"has {len(columns):,} metrics, of which Parquet takes {MOST:,} here",
            meaning="Nothing was written",
            remedy="Export it with --format csv",
        )
    names = _names(columns)
    table = Table.from_pydict(
        {names[key]: _column([row.get(key) for row in rows]) for key in columns}
    )
    out = io.BytesIO()
    write_parquet(table, out)
    return out.getvalue()


def _names(columns: Iterable[str]) -> dict[str, str]:
    """What the columns are called in the file: C's texts end at a NUL, and arro3 aborts at one."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for key in columns:
        name = key.replace("\0", "\\0")
        while name in taken:
            name += "_"
        taken.add(name)
        names[key] = name
    return names


def _column(values: list[Any]) -> Array:
    from arro3.core import Array, DataType

    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return Array(values, DataType.bool())
    if kinds == {int} and all(v is None or v.bit_length() <= _LONGEST for v in values):
        return Array(values, DataType.int64())
    if kinds and kinds <= {int, float}:
        return Array([None if v is None else float(v) for v in values], DataType.float64())
    return Array([None if v is None else str(v) for v in values], DataType.string())
