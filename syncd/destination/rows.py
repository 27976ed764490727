"""A line -> its row of wandb history; pure, and the one place where rows are made."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from karaoke_train.runlog.format import Record
from karaoke_train.runlog.reader import Line

# metric pattern -> its x axis, both as wandb shows them
AXES: Final = {
    "train/*": "trainer/step",
    "val/*": "trainer/step",
    "epoch_summary/*": "epoch",
}
EPOCH_TABLE: Final = "epoch_summaries"

_OWN_FIELDS: Final = frozenset({"type", "timestamp", "step"})


@dataclass(frozen=True, slots=True)
class Media:
    """A picture or sound of a row, `path` as the record has it, inside the run's media folder."""

    path: str
    kind: str
    caption: str


def row(line: Line, started: float) -> dict[str, Any]:
    """The history row of a line: what is logged with step `line.at.ordinal`.

    Every line has a row, a bad one a placeholder. The row depends on the line and on the run's
    start alone (`started`, seconds since 1970, stands in for a missing timestamp), so that
    sending a line again replaces it by its equal.
    """
    record = line.record
    if record is None:
        return {"syncd/bad_record": 1, "_timestamp": started}
    if not record:
        return {"syncd/blank_line": 1, "_timestamp": started}
    fields = _FIELDS.get(str(record.get("type")), _other)(record)
    return {
        **fields,
        "_timestamp": seconds(record.get("timestamp") or record.get("created"), started),
    }


def epoch_table(epochs: Sequence[Record]) -> tuple[list[str], list[list[Any]]]:
    """The columns and rows of the run's epoch table. A resumed epoch's last summary stands."""
    by_epoch = {record.get("epoch"): dict(_flat(record, "")) for record in epochs}
    columns = list(dict.fromkeys(key for fields in by_epoch.values() for key in fields))
    return columns, [[fields.get(key) for key in columns] for fields in by_epoch.values()]


def seconds(timestamp: object, otherwise: float) -> float:
    """Seconds since 1970 of an ISO 8601 timestamp; local time is not assumed, UTC is."""
    if isinstance(timestamp, (int, float)) and not isinstance(timestamp, bool):
        return float(timestamp) if math.isfinite(timestamp) else otherwise
    try:
        moment = datetime.fromisoformat(str(timestamp))
    except ValueError:
        return otherwise
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _metrics(record: Record) -> dict[str, Any]:
    """A train or val record, or one of a type that we don't know: its fields, carried along."""
    row = {key_of(key): value for key, value in record.items() if key not in _OWN_FIELDS}
    if "step" in record:
        row["trainer/step"] = record["step"]
    return row


def _other(record: Record) -> dict[str, Any]:
    return {"syncd/record": str(record.get("type", "")), **_metrics(record)}


def _config(record: Record) -> dict[str, Any]:
    return {"syncd/record": "config"}


def _end(record: Record) -> dict[str, Any]:
    return {
        "syncd/record": "end",
        "end/status": str(record.get("status", "")),
        "end/exit_code": record.get("exit_code"),
    }


def _epoch_summary(record: Record) -> dict[str, Any]:
    return {"epoch": record.get("epoch"), **dict(_flat(record, "epoch_summary/", {"epoch"}))}


def _media(record: Record) -> dict[str, Any]:
    media = Media(
        str(record.get("path", "")),
        str(record.get("kind", "image")),
        str(record.get("caption", "")),
    )
    row: dict[str, Any] = {key_of(str(record.get("key") or "media")): media}
    if "step" in record:
        row["trainer/step"] = record["step"]
    return row


_FIELDS: Final = {
    "train": _metrics,
    "val": _metrics,
    "config": _config,
    "end": _end,
    "epoch_summary": _epoch_summary,
    "media": _media,
}


def key_of(key: str) -> str:
    """The key as wandb takes it: its own begin with an underscore, so ours may not."""
    return f"record/{key}" if not key or key.startswith("_") else key


def _flat(
    record: Mapping[str, Any], prefix: str, without: set[str] | None = None
) -> Iterator[tuple[str, Any]]:
    """Nested metrics by their path; `train_metrics: {train/loss: …}` gives `train/loss`."""
    for key, value in record.items():
        if key in _OWN_FIELDS or key in (without or ()):
            continue
        if isinstance(value, Mapping):
            inner = "" if key in ("train_metrics", "val_metrics") else f"{key}/"
            yield from _flat(value, f"{prefix}{inner}")
        else:
            yield f"{prefix}{key}", value
