"""A record log -> the older one-document JSON, or a table: CSV, Parquet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from karaoke_train.runlog.format import Record
from karaoke_train.runlog.legacy import to_csv, to_document
from syncd.errors import SyncError
from syncd.report.parquet import to_parquet
from syncd.source import tailer


def export(path: Path, form: str) -> tuple[str | bytes, int]:
    """The file in the form json, csv or parquet, and how many bad lines were left out of it.

    Raises SyncError when it can't be read, or is no record log.
    """
    bad: list[int] = []
    try:
        records = list(_records(path, bad))
    except OSError as error:
        raise SyncError(f"can't be read: {error.strerror}", where=str(path)) from None
    if not any(isinstance(record.get("type"), str) for record in records):
        raise SyncError(
            "this is no record log: none of its lines is a record",
            where=str(path),
            meaning="Nothing was written",
            remedy="Name a training_log_*.jsonl; karaoke-syncd status lists the runs",
        )
    if form == "csv":
        return to_csv(records), len(bad)
    if form == "parquet":
        return to_parquet(records), len(bad)
    return json.dumps(to_document(records), indent=2, ensure_ascii=False) + "\n", len(bad)


def _records(path: Path, bad: list[int]) -> Iterator[Record]:
    for line in tailer.each_line(path):
        if line.record is None:
            bad.append(line.at.ordinal)
        elif line.record:
            yield line.record
