"""JSON of other trainers -> a run: an object per line, or transformers' `trainer_state.json`."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final

from karaoke_train.runlog.format import MAX_LINE, BadRecord, Record, decode
from karaoke_train.runlog.legacy import parse_document
from karaoke_train.runlog.metric_names import MetricNames, transformers_names
from karaoke_train.runlog.record_types import RecordType
from syncd.errors import SyncError
from syncd.imports.bounded import lines_of
from syncd.imports.fields import has_an_axis, metrics_of, record_of, tag_of
from syncd.imports.foreign_run import ForeignRun

STATE: Final = "trainer_state.json"  # as transformers calls it, in each checkpoint
_CONFIGS: Final = ("config", "args", "hparams", "hyperparameters", "params")
_BEFORE_METRICS: Final = 10  # lines with configs, or blank ones, that are looked past
_MOST: Final = 256 << 20  # bytes of a document, which is read whole


def read(path: Path, name: str) -> ForeignRun:
    """The file as a run. Raises SyncError, OSError."""
    document = _document(path)
    if document is None:
        return read_lines(path, name)
    if isinstance(document, dict) and isinstance(document.get("log_history"), list):
        return _of_state(path, name, document)
    scalars = document if isinstance(document, dict) else {tag_of(path): document}
    if scalars and all(map(_are_scalars, scalars.values())):
        rows: list[object] = _rows_of_scalars(scalars)
    else:
        rows = document if isinstance(document, list) else _rows_of(document)
    if not rows:
        raise _no_run(path, document)
    return ForeignRun(path, name, lambda run: _records(run, iter(rows)))


def _are_scalars(found: object) -> bool:
    """Whether these are points as TensorBoard's page gives them out: time, step, value."""
    return (
        isinstance(found, list)
        and bool(found)
        and all(
            isinstance(point, list) and len(point) == 3 and not isinstance(point[1], (list, dict))
            for point in found
        )
    )


def _rows_of_scalars(scalars: Mapping[str, Any]) -> list[object]:
    """A row per point, by their steps."""
    rows: list[Any] = [
        {"wall_time": moment, "step": step, tag: value}
        for tag, points in scalars.items()
        for moment, step, value in points
    ]
    return sorted(rows, key=lambda row: row["step"] if isinstance(row["step"], (int, float)) else 0)


def _rows_of(document: object) -> list[object]:
    """The rows in an object: itself, where it says its step; one per epoch where each of its
    metrics is a list of the epochs' values, as Keras' `history.history` is."""
    if not isinstance(document, dict):
        return []
    columns = list(document.values())
    if columns and all(isinstance(values, list) and _are_values(values) for values in columns):
        most = max(map(len, columns))
        return [
            {"epoch": epoch}
            | {key: values[epoch] for key, values in document.items() if epoch < len(values)}
            for epoch in range(most)
        ]
    return [document] if has_an_axis(document) and "run_id" not in document else []


def _are_values(values: list[object]) -> bool:
    return bool(values) and not any(isinstance(value, (dict, list)) for value in values)


def read_lines(path: Path, name: str) -> ForeignRun:
    """An object per line. Raises SyncError, OSError."""
    with path.open("rb") as file:
        first = _first(file)
    if first.get("type") == RecordType.CONFIG and first.get("run_id"):
        raise SyncError(
            "is a record log already",
            where=str(path),
            meaning="It needs no import",
            remedy=f"karaoke-syncd sync {shlex.quote(str(path))}",
        )
    return ForeignRun(path, name, lambda run: _records(run, _lines(run)))


def first_fields(path: Path) -> Mapping[str, Any]:
    """What the first line behind the config holds; nothing where it is none. Raises OSError."""
    with path.open("rb") as file:
        for line in islice(lines_of(file, (b"\n",)), _BEFORE_METRICS):
            fields = (line and _decoded(line)) or {}
            if not (_config(fields) or (line is not None and not line.strip())):
                return fields
    return {}


def _first(file: BinaryIO) -> Mapping[str, Any]:
    return _decoded(file.readline(MAX_LINE + 1)) or {}


def _document(path: Path) -> Any:
    """The JSON document that the file is; None where it is none, or too large to be one."""
    if path.stat().st_size > _MOST:
        return None
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return None


def _no_run(path: Path, document: object) -> SyncError:
    try:
        parse_document(json.dumps(document).encode())
    except BadRecord:
        return SyncError(
            "holds no metrics in a form that is known here",
            where=str(path),
            meaning="Nothing of it was imported",
            remedy="An object per line with its step, such as "
            '{"step": 1, "loss": 0.5}, can be imported',
        )
    return SyncError(
        "is an older training log",
        where=str(path),
        meaning="It needs no import",
        remedy=f"karaoke-syncd sync {shlex.quote(str(path))}",
    )


def _lines(run: ForeignRun) -> Iterator[object]:
    with run.path.open("rb") as file:
        for line in lines_of(file, (b"\n",)):
            if line is None or line.strip():
                yield line and _decoded(line)


def _decoded(line: bytes) -> dict[str, Any] | None:
    try:
        return decode(line)
    except BadRecord:
        return None


def _records(run: ForeignRun, rows: Iterator[object]) -> Iterator[Record]:
    begun = False
    for fields in rows:
        if not isinstance(fields, dict):
            run.left_out["lines that are no JSON object"] += 1
        elif not begun and (config := _config(fields)):
            run.config = {**run.config, **config}
        else:
            record = record_of(fields)
            if not metrics_of(record):
                run.left_out["lines without a metric"] += 1
                continue
            begun = True
            yield record


def _config(fields: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Of a line before the first metrics, the config that it is, if it is one."""
    (key, value), *more = fields.items() or [("", None)]
    is_one = not more and key in _CONFIGS and isinstance(value, dict)
    return value if is_one else None


def _of_state(path: Path, name: str, state: Mapping[str, Any]) -> ForeignRun:
    own = {
        key: value
        for key, value in state.items()
        if isinstance(value, (str, int, float)) and key not in ("global_step", "epoch")
    }
    entries = state["log_history"]
    return ForeignRun(path, name, lambda run: _history(run, entries), {"trainer_state": own})


def _history(run: ForeignRun, entries: list[object]) -> Iterator[Record]:
    """As the Trainer's callback would have written them."""
    names = MetricNames()
    for entry in entries:
        if not isinstance(entry, dict):
            run.left_out["entries of log_history that are no object"] += 1
            continue
        own = {key: entry[key] for key in ("step", "epoch") if key in entry}
        metrics = {key: value for key, value in entry.items() if key not in own}
        found = transformers_names(names, metrics)
        named = {found[key]: value for key, value in metrics.items()}
        train = {key: value for key, value in named.items() if key.startswith("train/")}
        val = {key: value for key, value in named.items() if key not in train}
        if train:
            yield {"type": RecordType.TRAIN, **own, **train}
        if val:
            yield {"type": RecordType.VAL, **own, **val}
