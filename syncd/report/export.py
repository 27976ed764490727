"""A record log -> the older one-document JSON, or a table: CSV, Parquet."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from karaoke_train.runlog.format import BadRecord, Record, RunHeader
from karaoke_train.runlog.legacy import to_csv, to_document
from karaoke_train.runlog.record_types import RecordType
from karaoke_train.runlog.secrets import cut_config
from syncd.errors import SyncError, UsageError
from syncd.report.parquet import to_parquet
from syncd.source import tailer
from syncd.source.scanner import LogFile, LogScanner


def export(path: Path, form: str, allowed: Collection[str] = ()) -> tuple[str | bytes, int]:
    """The file in the form json, csv or parquet, and how many bad lines were left out of it.
    allowed: of the config, what is kept though it is named like a secret.

    Raises SyncError when it can't be read, or is no record log.
    """
    bad: list[int] = []
    try:
        records = list(map(partial(masked, allowed=allowed), _records(path, bad)))
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


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where to write what is to be in `path`, whose place it takes once it is whole: after an
    error, what was there before still is. Raises UsageError for a record log, which is nobody's
    copy; SyncError."""
    found = LogScanner().look(path.resolve(), chosen=True)  # where a link leads
    if isinstance(found, LogFile) and found.is_named:
        raise UsageError(
            f"{path} is a record log", meaning="Nothing was written", remedy="Name another file"
        )
    try:
        if path.exists() and not path.is_file():  # a pipe, say
            yield path
            return
        path = path.resolve()
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            yield part
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise SyncError(f"can't be written: {error.strerror}", where=str(path)) from None


def masked(record: Record, allowed: Collection[str] = ()) -> Record:
    """The record with `***` for the secrets in its config, as an upload has it: older and foreign
    writers leave them in. allowed: see `secrets.cut_config`."""
    config = record.get("config")
    if RecordType.of(record) is not RecordType.CONFIG or not isinstance(config, dict):
        return record
    with suppress(BadRecord):
        allowed = (*allowed, *RunHeader.of(record).allow_config_keys)
    return {**record, "config": cut_config(config, allowed)}


def _records(path: Path, bad: list[int]) -> Iterator[Record]:
    for line in tailer.each_line(path):
        if line.record is None:
            bad.append(line.at.ordinal)
        elif line.record:
            yield line.record
