"""A foreign run -> a record log in a log folder. Importing it again adds what is new, and nothing
twice: the run's id is made of its name and its first metrics, and what the log has of it already is
compared, metric by metric.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO, Final

from karaoke_train.runlog.format import BadRecord, Record, decode, encode
from karaoke_train.runlog.layout import media_folder, media_name
from karaoke_train.runlog.record_types import SCHEMA, RecordType
from karaoke_train.runlog.secrets import cut_config
from syncd.errors import SyncError
from syncd.imports.fields import metrics_of
from syncd.imports.foreign_run import ForeignRun, MediaData, at
from syncd.source import tailer
from syncd.source.fingerprint import first_line
from syncd.state import atomic_json

_NOT_METRICS: Final = (RecordType.CONFIG, RecordType.END)
_PIECE: Final = 1 << 20  # bytes
_END: Final[Record] = {"type": RecordType.END, "status": "finished", "exit_code": 0}


class _Other(Exception):
    """The log has something else than the run."""


@dataclass(frozen=True, slots=True)
class Imported:
    """path: the record log. new: records that were written now."""

    path: Path
    new: int


def into_log(run: ForeignRun, folder: Path, project: str = "") -> Imported:
    """Write the run into its record log in `folder`, or add to it what is new. Raises SyncError,
    OSError."""
    first = next(_fitting(run), None)
    if first is None:
        raise SyncError(
            "has no metrics in it",
            where=str(run.path),
            meaning="Nothing of it was imported",
        )
    name, item = run.name.encode(errors="backslashreplace"), next(_items(first))
    target = folder / _log_name(name, item)
    try:
        return _into(run, target, first, project)
    except _Other:
        if _source_of(target) == str(run.path):
            raise _changed(run, target) from None
    # Another path's run, of the same name and with the same beginning: one seed, many trainings
    target = folder / _log_name(name, item, os.fsencode(run.path))
    try:
        return _into(run, target, first, project)
    except _Other:
        raise _changed(run, target) from None


def _into(run: ForeignRun, target: Path, first: Record, project: str) -> Imported:
    """Raises _Other where the log has something else, and changes nothing then."""
    lines = _Lines(run, target)
    # Kept in a file meanwhile: the config, which comes first, is known once all is read, and a run
    # may be longer than the memory
    with TemporaryFile() as kept:
        new, last = 0, dict[str, Any]()
        for record in _news(_there(target), _fitting(run)):
            kept.write(encode(lines.placed(record)))
            new += 1
            last = {key: record[key] for key in ("timestamp",) if key in record}
        if new:
            kept.write(encode(_END | last))
            kept.seek(0)
            _write(target, chain([lines.config_line(first, project)], _pieces(kept)))
    return Imported(target, new)


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while data := file.read(_PIECE):
        yield data


def _fitting(run: ForeignRun) -> Iterator[Record]:
    """The run's records that can be lines; the others are counted."""
    for record in run.read():
        try:
            encode({**record, "path": ""} if record.get("type") == RecordType.MEDIA else record)
        except BadRecord:
            run.left_out["records that are too long for a line"] += 1
        else:
            yield record


def _changed(run: ForeignRun, target: Path) -> SyncError:
    return SyncError(
        f"has other metrics than when it was imported into {target.name}",
        where=str(run.path),
        meaning="What was imported stays as it is; nothing was added to it",
        remedy="If it is another run by now, import it under a name of its own: --run_name",
    )


def _log_name(*parts: bytes) -> str:
    digest = hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
    return f"training_log_import-{digest}.jsonl"


def _run_id(target: Path) -> str:
    return target.stem.removeprefix("training_log_")


def _source_of(target: Path) -> str:
    """Where the log was imported from; empty without one."""
    try:
        return str(decode(first_line(target)).get("imported_from", ""))
    except (OSError, BadRecord):
        return ""


# --- what is new


def _there(target: Path) -> Iterator[bytes]:
    """The metrics that the log has, in order."""
    if not target.exists():
        return
    for line in tailer.each_line(target):
        if line.record and RecordType.of(line.record) not in _NOT_METRICS:
            yield from _items(line.record)


def _news(there: Iterator[bytes], records: Iterable[Record]) -> Iterator[Record]:
    """The records behind those metrics, and what is new of the one where they end. Raises _Other
    where they are none of the records'."""
    more = True
    for record in records:
        if not more:
            yield record
            continue
        fresh: Record = {}
        for item, (key, value) in zip(_items(record), _metrics(record), strict=True):
            known = next(there, None) if more else None
            more = known is not None
            if known is None:
                fresh[key] = value
            elif known != item:
                raise _Other
        if fresh and record.get("type") == RecordType.MEDIA:
            yield record
        elif fresh:
            metrics = metrics_of(record)
            own = {key: value for key, value in record.items() if key not in metrics}
            yield {**own, **fresh}


def _metrics(record: Record) -> list[tuple[str, Any]]:
    """A picture or sound is one thing, all else a metric each."""
    metrics = metrics_of(record)
    if record.get("type") == RecordType.MEDIA:
        return [(str(record.get("key")), metrics)]
    return list(metrics.items())


def _items(record: Record) -> Iterator[bytes]:
    """What tells each of a record's metrics from others, as bytes: NaN is no equal of itself."""
    step, epoch = record.get("step"), record.get("epoch")
    for key, value in _metrics(record):
        if record.get("type") == RecordType.MEDIA:
            value = None
        try:
            yield encode({"step": step, "epoch": epoch, "key": key, "value": value})
        except BadRecord:
            yield key.encode("utf-8", "backslashreplace")


# --- writing


class _Lines:
    """What stands in a run's log beside its metrics."""

    def __init__(self, run: ForeignRun, target: Path) -> None:
        self._run = run
        self._target = target
        self._media = media_folder(target, _run_id(target))

    def config_line(self, first: Record, project: str) -> bytes:
        """The log's first line; of a log that is there, once more, as for every run that goes on
        after its end."""
        try:
            return encode(self._config(first, project, cut_config(self._run.config)))
        except BadRecord:
            self._run.left_out["config, as it is too long or too deep for a line"] += 1
            return encode(self._config(first, project, {}))

    def _config(self, first: Record, project: str, values: dict[str, Any]) -> Record:
        config = {"config": values}
        if self._target.exists():
            return {**decode(first_line(self._target)), **config, "attempt": 1}
        created = first.get("timestamp") or at(self._run.path.stat().st_mtime)
        own = {"project": project} if project else {}
        return {
            "type": RecordType.CONFIG,
            "schema": SCHEMA,
            "run_id": _run_id(self._target),
            "part": _run_id(self._target),
            "run_name": self._run.name,
            **own,
            "created": created,
            **config,
            "imported_from": str(self._run.path),
        }

    def placed(self, record: Record) -> Record:
        """The record, with its picture or sound in the run's media folder. Raises OSError."""
        media = record.get("path")
        if not isinstance(media, MediaData):
            return record
        key, step = str(record.get("key")), record.get("step")
        name = f"{media_name(key)}_{step}{media.suffix}"
        atomic_json.write_bytes(self._media / name, media.data, mode=0o666)
        return {**record, "path": name}


def _write(target: Path, data: Iterable[bytes]) -> None:
    """The whole log at once, or its end: a daemon may be reading it."""
    if not target.exists():
        atomic_json.write_pieces(target, data, mode=0o666)
        return
    with target.open("a+b") as file:
        if file.seek(0, os.SEEK_END) and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n":
            file.write(b"\n")  # an import that was killed, or a full disk, cut its last line short
        file.writelines(data)
        file.flush()
        os.fsync(file.fileno())
