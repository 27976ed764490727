"""A record log -> the older one-document JSON, or a table: CSV, Parquet."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from karaoke_train.runlog.folder_sync import sync_folder
from karaoke_train.runlog.format import BadRecord, Record, RunHeader
from karaoke_train.runlog.legacy import (
    columns_of,
    csv_pieces,
    document_pieces,
    merged_config,
)
from karaoke_train.runlog.record_types import RecordType
from karaoke_train.runlog.secrets import cut_config
from syncd.errors import SyncError, UsageError, unreadable, unwritable
from syncd.report.parquet import to_parquet
from syncd.source import tailer
from syncd.source.scanner import LogFile, LogScanner


class Exported(NamedTuple):
    """pieces: the file's bytes, made as they are asked for. bad: lines that are left out."""

    pieces: Iterable[bytes]
    bad: int


def export(path: Path, form: str, allowed: Collection[str] = ()) -> Exported:
    """The file in the form json, csv or parquet. allowed: of the config, what is kept though it is
    named like a secret.

    It is read once for what a document or table begins with, and again for each of its lists: only
    Parquet is held in memory. Raises SyncError when it can't be read, or is no record log; so does
    asking for a piece.
    """
    log = _Log(path, allowed)
    if form == "parquet":
        pieces: Iterable[bytes] = [to_parquet(log.records())]
    elif form == "csv":
        pieces = _encoded(csv_pieces(columns_of(log.records()), log.records))
    else:
        pieces = _encoded(document_pieces(merged_config(log.records()), log.records))
    if not log.has_records:
        raise SyncError(
            "this is no record log: none of its lines is a record",
            where=str(path),
            meaning="Nothing was written",
            remedy="Name a training_log_*.jsonl; karaoke-syncd status lists the runs",
        )
    return Exported(pieces, log.bad)


class _Log:
    """A record log as it is now: what is written from here on is not seen. bad, has_records: of the
    last time that its records were gone through."""

    def __init__(self, path: Path, allowed: Collection[str]) -> None:
        self._path = path
        self._allowed = allowed
        self.bad = 0
        self.has_records = False
        with self._words():
            self._size = tailer.size_of(path)

    def records(self) -> Iterator[Record]:
        """All of them, with their secrets cut out."""
        self.bad, self.has_records = 0, False
        with self._words():
            for line in tailer.lines_within(self._path, self._size):
                self.bad += line.record is None
                if line.record:
                    self.has_records |= isinstance(line.record.get("type"), str)
                    yield masked(line.record, self._allowed)

    @contextmanager
    def _words(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise unreadable(error, self._path) from None


def _encoded(texts: Iterable[str]) -> Iterator[bytes]:
    return (text.encode("utf-8") for text in texts)


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
            _sync(part)  # a file system may keep the new name and lose the content
            part.replace(path)
            sync_folder(path.parent)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(error, path) from None


def _sync(file: Path) -> None:
    with file.open("rb") as written:
        os.fsync(written.fileno())


def masked(record: Record, allowed: Collection[str] = ()) -> Record:
    """The record with `***` for the secrets in its config, as an upload has it: older and foreign
    writers leave them in. allowed: see `secrets.cut_config`."""
    config = record.get("config")
    if RecordType.of(record) is not RecordType.CONFIG or not isinstance(config, dict):
        return record
    with suppress(BadRecord):
        allowed = (*allowed, *RunHeader.of(record).allow_config_keys)
    return {**record, "config": cut_config(config, allowed)}
