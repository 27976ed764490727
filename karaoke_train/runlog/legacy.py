"""The older format, one JSON document per run: in as records, out from records.

{"config": {…}, "train_metrics": [{…}, …], "val_metrics": [{…}, …], "epoch_summaries": [{…}, …]}
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

from karaoke_train.runlog.format import BadRecord, Record
from karaoke_train.runlog.layout import UNNAMED_PROJECT
from karaoke_train.runlog.record_types import SCHEMA, RecordType
from karaoke_train.runlog.timestamps import parse_timestamp

Records = Callable[[], Iterable[Mapping[str, Any]]]  # a run's, from the first one at each call
# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r")
_LISTS: Final = {  # list in the document -> type of its records
    "train_metrics": RecordType.TRAIN,
    "val_metrics": RecordType.VAL,
    "epoch_summaries": RecordType.EPOCH_SUMMARY,
}


def parse_document(data: bytes) -> dict[str, Any]:
    """The document in a file's bytes. Raises BadRecord when they aren't one, or hold no metrics:
    an empty one couldn't be told apart from what it grows into."""
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
    if not any(document.get(key) for key in _LISTS):
        raise BadRecord("no metrics are in it yet")
    return document


def document_records(
    document: Mapping[str, Any], *, name: str = "", project: str = UNNAMED_PROJECT
) -> Iterator[Record]:
    """The document as a record log would have it: a config record, then all else by time.

    The run_id comes from the config and the first record, so that the document gives the same run
    again when it is read again. When it has grown by entries later than those it had, the same run
    begins with the same records. Unnamed runs are `sync_<time>`. project: of a document that names
    none.
    """
    entries = _by_time(document)
    first = entries[0][1] if entries else None
    created = str(first.get("timestamp", "")) if first else ""
    config = document.get("config") or {}
    run_name = config.get("run_name") if isinstance(config, dict) else None
    own_project = config.get("wandb_project") if isinstance(config, dict) else None
    yield {
        "type": RecordType.CONFIG,
        "schema": SCHEMA,
        "run_id": _stable_id(config, first),
        "run_name": run_name or name or f"sync_{created or 'document'}",
        "project": own_project or project,
        "created": created,
        "config": config,
    }
    # One after the other: as records, all of them take as much again as the document does
    yield from ({"type": kind} | entry | {"type": kind} for kind, entry in entries)


def merged_config(records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The config of a run: later config records add to the first's."""
    config: dict[str, Any] = {}
    for record in records:
        its = record.get("config")
        if RecordType.of(record) is RecordType.CONFIG and isinstance(its, dict):
            config.update(its)
    return config


def document_pieces(config: Mapping[str, Any], records: Records) -> Iterator[str]:
    """The older document of a run, in pieces of a record at most: a run may be longer than the
    memory. config: `merged_config`."""
    yield f'{{\n  "config": {_indented(config, "  ")}'
    for key, kind in _LISTS.items():
        yield f',\n  "{key}": ['
        after = ""
        for record in records():
            if RecordType.of(record) is kind:
                entry = {name: value for name, value in record.items() if name != "type"}
                yield f"{after}\n    {_indented(entry, '    ')}"
                after = ","
        yield "\n  ]" if after else "]"
    yield "\n}\n"


def _indented(value: object, by: str) -> str:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return text.replace("\n", f"\n{by}")  # within a text, JSON spells a line's end as an escape


def to_table(records: Iterable[Mapping[str, Any]]) -> tuple[list[str], list[dict[str, Any]]]:
    """The metrics of a run as columns and rows: a row per train, val and epoch_summary record, a
    column per key, nested metrics with their path (`val_metrics/loss`), lists as JSON."""
    rows = list(_rows(records))
    return _columns(rows), rows


def columns_of(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """The columns of `to_table`."""
    return _columns(_rows(records))


def csv_pieces(columns: Sequence[str], records: Records) -> Iterator[str]:
    """The metrics of a run as `to_table` has them, row by row. columns: `columns_of` them. A text
    that a spreadsheet would take for a formula, and compute, has an apostrophe before it."""
    # Of both characters, for a text that has either in it is quoted: readers take each for a row's
    # end
    writer = csv.writer(_Row(), lineterminator=_Row.END)
    yield writer.writerow(map(_no_formula, columns))
    for row in _rows(records()):
        yield writer.writerow([_no_formula(row.get(key)) for key in columns])


class _Row:
    """What a row is written to: hands it back, ended by a newline alone."""

    END: Final = "\r\n"

    def write(self, row: str, /) -> str:
        return f"{row.removesuffix(self.END)}\n"


def _rows(records: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    return (_flat(record) for record in records if RecordType.of(record) in _LISTS.values())


def _columns(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for row in rows for key in row))


def _no_formula(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULAS) else value


def _by_time(document: Mapping[str, Any]) -> list[tuple[RecordType, Record]]:
    """The entries of all lists with their types, in the order in which training wrote them.

    Within a list that is the list's own order. Between lists it's by time, and at one time by
    step, training before validation before the epoch's summary. An entry whose time or step is
    missing, unreadable or behind that of the entry before it takes that one's.
    """
    placed: list[tuple[float, float, int, RecordType, Record]] = []
    for rank, (key, kind) in enumerate(_LISTS.items()):
        time = step = -math.inf
        for entry in document.get(key) or []:
            time = max(time, parse_timestamp(entry.get("timestamp"), -math.inf))
            step = max(step, _number(entry.get("step")))
            last = kind is RecordType.EPOCH_SUMMARY  # of all at its time: it sums them up
            placed.append((time, math.inf if last else step, rank, kind, entry))
    placed.sort(key=itemgetter(0, 1, 2))
    return [(kind, entry) for *_, kind, entry in placed]


def _number(value: object) -> float:
    """A finite number as a float; -inf for anything else."""
    try:
        number = float(value) if isinstance(value, (int, float)) else math.nan
    except OverflowError:
        number = math.nan
    return number if math.isfinite(number) else -math.inf


def _stable_id(config: object, entry: Record | None) -> str:
    first = {key: value for key, value in entry.items() if key != "type"} if entry else None
    identity = json.dumps([config, first], sort_keys=True, default=str)
    return "doc-" + hashlib.sha256(identity.encode()).hexdigest()[:16]


def _flat(record: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    row: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, Mapping):
            row |= _flat(value, f"{prefix}{key}/")
        else:
            row[f"{prefix}{key}"] = json.dumps(value) if isinstance(value, list) else value
    return row
