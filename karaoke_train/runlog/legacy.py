"""The older format, one JSON document a run: in as records, out from records.

{"config": {…}, "train_metrics": [{…}, …], "val_metrics": [{…}, …], "epoch_summaries": [{…}, …]}
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import orjson

from karaoke_train.runlog.format import DEFAULT_PROJECT, SCHEMA, BadRecord, Record

_LISTS: Final = {  # list in the document -> type of its records
    "train_metrics": "train",
    "val_metrics": "val",
    "epoch_summaries": "epoch_summary",
}


def parse_document(data: bytes) -> dict[str, Any]:
    """The document in a file's bytes. Raises BadRecord when they aren't one."""
    try:
        document = json.loads(data.decode("utf-8-sig"))  # bare NaN is common in these
    except (ValueError, RecursionError) as error:
        raise BadRecord(f"not a JSON document: {error}") from None
    if not isinstance(document, dict) or not any(key in document for key in _LISTS):
        raise BadRecord(f"none of {', '.join(_LISTS)} is in it")
    for key in _LISTS:
        entries = document.get(key) or []
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise BadRecord(f"{key} is not a list of objects")
    return document


def document_records(document: Mapping[str, Any], *, name: str = "") -> Iterator[Record]:
    """The document as a record log would have it: a config record, then all else by time.

    The run_id comes from the config and the first entry, so that the document gives the same
    run again when it's read again, and when it has grown. Unnamed runs are `sync_<time>`.
    """
    entries = sorted(_entries(document), key=lambda entry: str(entry.get("timestamp", "")))
    created = str(entries[0].get("timestamp", "")) if entries else ""
    config = document.get("config") or {}
    run_name = config.get("run_name") if isinstance(config, dict) else None
    project = config.get("wandb_project") if isinstance(config, dict) else None
    yield {
        "type": "config",
        "schema": SCHEMA,
        "run_id": _stable_id(document),
        "run_name": run_name or name or f"sync_{created or 'document'}",
        "project": project or DEFAULT_PROJECT,
        "created": created,
        "config": config,
    }
    yield from entries


def to_document(records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The older document of a run's records. Later config records add to the first's config."""
    document: dict[str, Any] = {"config": {}, **{key: [] for key in _LISTS}}
    lists = {kind: document[key] for key, kind in _LISTS.items()}
    for record in records:
        kind = record.get("type")
        if kind == "config" and isinstance(record.get("config"), dict):
            document["config"].update(record["config"])
        elif kind in lists:
            lists[kind].append({key: value for key, value in record.items() if key != "type"})
    return document


def to_csv(records: Iterable[Mapping[str, Any]]) -> str:
    """The metrics of a run as a table: a row for each train, val and epoch_summary record, a
    column for each key, nested metrics with their path (`val_metrics/loss`)."""
    rows = [_flat(record) for record in records if record.get("type") in _LISTS.values()]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _entries(document: Mapping[str, Any]) -> Iterator[Record]:
    for key, kind in _LISTS.items():
        for entry in document.get(key) or []:
            yield {"type": kind, **entry}


def _stable_id(document: Mapping[str, Any]) -> str:
    metrics = document.get("train_metrics") or document.get("val_metrics") or [None]
    identity = json.dumps([document.get("config"), metrics[0]], sort_keys=True, default=str)
    return "doc-" + hashlib.sha256(identity.encode()).hexdigest()[:16]


def _flat(record: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    row: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, Mapping):
            row |= _flat(value, f"{prefix}{key}/")
        else:
            row[f"{prefix}{key}"] = orjson.dumps(value).decode() if _nested(value) else value
    return row


def _nested(value: object) -> bool:
    return isinstance(value, list)
