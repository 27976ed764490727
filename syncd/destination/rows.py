"""A line -> its row of wandb history; pure, and the one place where rows are made."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from karaoke_train.runlog.format import BadRecord, Record, RunHeader, attempt_of
from karaoke_train.runlog.reader import Line
from karaoke_train.runlog.record_types import RecordType
from karaoke_train.runlog.timestamps import parse_timestamp

RUNTIME: Final = "trainer/runtime"  # seconds since the run's start, as the record log tells it
# metric pattern -> its x axis, both as wandb shows them
AXES: Final = {
    "train/*": "trainer/step",
    "val/*": "trainer/step",
    "test/*": "trainer/step",  # in `val` records, of an evaluation on test data
    "epoch_summary/*": "epoch",
    "system/*": RUNTIME,
}
ATTEMPT: Final = "attempt"
PART: Final = "syncd/part"
AXIS_KEYS: Final = tuple(dict.fromkeys(AXES.values()))  # all x axes
EPOCH_TABLE: Final = "epoch_summaries"
# wandb's own client looks through all columns for each of them: 0.2 s of 1,000, minutes of 20,000
MAX_COLUMNS: Final = 1_000

_OWN_FIELDS: Final = frozenset({"type", "timestamp", "step"})


@dataclass(frozen=True, slots=True)
class Media:
    """A picture or sound of a row, `path` as the record has it, inside the run's media folder."""

    path: str
    kind: str
    caption: str


def row(line: Line, started: float, attempt: int = 1) -> dict[str, Any]:
    """The history row of a line: what is logged with step `line.at.ordinal`.

    Every line has a row, a bad one a placeholder. The row depends on the line, on the run's start
    (`started`, seconds since 1970, stands in for a missing timestamp) and on the line's attempt
    alone (see `attempt_at`), so that sending a line again replaces it by its equal. What a record
    itself calls `trainer/runtime` or `attempt` stays as it is.
    """
    record = line.record
    if record is None:
        return {"syncd/bad_record": 1, ATTEMPT: attempt, "_timestamp": started}
    if not record:
        return {"syncd/blank_line": 1, ATTEMPT: attempt, "_timestamp": started}
    record_type = RecordType.of(record)
    fields = _other(record) if record_type is None else _ROWS[record_type](record)
    if record_type is RecordType.CONFIG and not line.at.offset:
        fields |= _marker(record)
    logged = record.get("timestamp") or record.get("created")  # a config record has the latter
    at = parse_timestamp(logged, math.nan)
    if math.isnan(at):
        return {ATTEMPT: attempt, **fields, "_timestamp": started}
    own = {RUNTIME: max(0.0, at - started), ATTEMPT: attempt}
    return {**own, **fields, "_timestamp": at}


def attempt_at(line: Line, before: int) -> int:
    """The attempt that a line is of, which a config record raises for itself and what follows.
    before: that of the line before it; of no meaning to a file's first line."""
    if line.record is None or RecordType.of(line.record) is not RecordType.CONFIG:
        return before
    return attempt_of(line.record, before if line.at.offset else 0)


def epoch_fields(record: Record) -> dict[str, Any]:
    """An epoch's row of the table, by the names of its columns."""
    return dict(_flat(record, ""))


def epoch_table(epochs: Iterable[Record]) -> tuple[list[str], list[list[Any]]]:
    """The columns and rows of the run's epoch table. A resumed epoch's last summary stands. Of more
    than MAX_COLUMNS columns, the epoch's number and the first others are kept."""
    by_epoch = {epoch_key(record): epoch_fields(record) for record in epochs}
    names = dict.fromkeys(key for fields in by_epoch.values() for key in fields)
    columns = [*names]
    if len(columns) > MAX_COLUMNS:
        columns = sorted(names, key=lambda name: name != "epoch")[:MAX_COLUMNS]
    return columns, [[fields.get(key) for key in columns] for fields in by_epoch.values()]


def epoch_key(record: Record) -> object:
    """What tells the epoch of a summary from others; a foreign file may have a list there."""
    epoch = record.get("epoch")
    return str(epoch) if isinstance(epoch, (dict, list)) else epoch


def _metrics(record: Record) -> dict[str, Any]:
    """A train or val record, or one of a type that we don't know: its fields, carried along."""
    row = {key_of(key): value for key, value in record.items() if key not in _OWN_FIELDS}
    if "step" in record:
        row["trainer/step"] = record["step"]
    return row


def _other(record: Record) -> dict[str, Any]:
    return {"syncd/record": str(record.get("type", "")), **_metrics(record)}


def _config(record: Record) -> dict[str, Any]:
    return {"syncd/record": RecordType.CONFIG.value}


def _marker(record: Record) -> dict[str, Any]:
    """What tells the rows of this file from those of the run's other files."""
    try:
        part = RunHeader.of(record).part
    except BadRecord:
        return {}
    return {PART: part} if part else {}


def _end(record: Record) -> dict[str, Any]:
    return {
        "syncd/record": RecordType.END.value,
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


# Per type what its row has beside the time; a type that is missing here fails the tests.
_ROWS: Final[Mapping[RecordType, Callable[[Record], dict[str, Any]]]] = {
    RecordType.CONFIG: _config,
    RecordType.TRAIN: _metrics,
    RecordType.VAL: _metrics,
    RecordType.EPOCH_SUMMARY: _epoch_summary,
    RecordType.MEDIA: _media,
    RecordType.SYSTEM: _metrics,
    RecordType.END: _end,
}


def key_of(key: str) -> str:
    """The key as wandb takes it: keys of its own begin with an underscore, so ours may not. PART
    says that a file's rows begin; a log that was made of another run's history has it as well."""
    return f"record/{key}" if not key or key.startswith("_") or key == PART else key


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
