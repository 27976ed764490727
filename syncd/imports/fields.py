"""A row of named values, as loggers write it, -> a record; pure.

What says the step, the epoch and the time is known by its name, and by what it holds. Everything
else is a metric, under its own name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from karaoke_train.runlog.format import Record
from karaoke_train.runlog.record_types import RecordType
from karaoke_train.runlog.timestamps import parse_timestamp
from syncd.imports.foreign_run import at

STEP_NAMES: Final = ("step", "global_step", "trainer/step", "_step", "iteration", "iter", "steps")
EPOCH_NAMES: Final = ("epoch",)
TIME_NAMES: Final = (
    *("timestamp", "_timestamp", "wall_time", "wall time", "datetime", "date", "time"),
)
# Numbers from these on are seconds, milliseconds, microseconds since 1970; less is no moment but a
# time that something took
_SCALES: Final = ((1e14, 1e6), (1e11, 1e3), (1e8, 1.0))
# A row of two fields beside its axes, which has the metric's name in the one and its value in the
# other
_LABELS: Final = ("tag", "metric", "name", "key")
_VALUES: Final = ("value", "scalar")
_TAG: Final = re.compile(r".*tag-(.+)")
_OWN: Final = frozenset({"type", "timestamp", "step", "epoch"})
_KINDS: Final = (RecordType.TRAIN, RecordType.VAL, RecordType.EPOCH_SUMMARY)
_OF_VALIDATION: Final = re.compile(r"(?i)(val|valid|validation|eval|test)(?![a-z])")


def has_an_axis(names: Collection[str]) -> bool:
    """Whether one of the names says a step, an epoch or a time: what a run's log has."""
    known = {*STEP_NAMES, *EPOCH_NAMES, *TIME_NAMES}
    return any(name.strip().lower() in known for name in names)


def record_of(fields: Mapping[str, Any]) -> Record:
    """The record of a row. A metric that is named like a field of records, and is not what that
    field holds, is `train/…`."""
    left = dict(fields)
    own: Record = {}
    if (step := _take(left, STEP_NAMES, _whole)) is not None:
        own["step"] = step
    if (epoch := _take(left, EPOCH_NAMES, _number)) is not None:
        own["epoch"] = epoch
    if (moment := _take(left, TIME_NAMES, _moment)) is not None:
        own["timestamp"] = at(moment)
    left = _named_by_label(left)
    kind = left.get("type")
    if isinstance(kind, str) and kind in tuple(_KINDS):
        del left["type"]
    else:
        kind = _kind_by_names(left)
    metrics = {f"train/{key}" if key in _OWN else key: value for key, value in left.items()}
    return {"type": kind, **own, **metrics}


def tag_of(path: Path) -> str:
    """The tag in the name of a file that TensorBoard's page gave out, run-NAME-tag-TAG.csv, as far
    as the name has it."""
    tag = _TAG.fullmatch(path.stem)
    return tag[1] if tag else path.stem


def _named_by_label(fields: dict[str, Any]) -> dict[str, Any]:
    """{"tag": "loss", "value": 0.5} -> {"loss": 0.5}; anything else as it is. Under one name the
    values of all tags would be one curve."""
    by_name = {key.strip().lower(): value for key, value in fields.items()}
    label = next((by_name[name] for name in _LABELS if name in by_name), None)
    value = next((by_name[name] for name in _VALUES if name in by_name), None)
    if len(fields) != 2 or not isinstance(label, str) or not label or value is None:
        return fields
    return {label: value}


def metrics_of(record: Record) -> dict[str, Any]:
    """What a record has beside the fields of every record."""
    return {key: value for key, value in record.items() if key not in _OWN}


def _take(fields: dict[str, Any], names: Collection[str], read: Any) -> Any:
    """The value of the first of the names that holds what it should, which leaves the fields."""
    by_name = {key.strip().lower(): key for key in reversed(fields)}
    for name in names:
        key = by_name.get(name)
        if key is not None and (value := read(fields[key])) is not None:
            del fields[key]
            return value
    return None


def _number(value: object) -> float | int | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _whole(value: object) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number == number // 1 else None


def _moment(value: object) -> float | None:
    if isinstance(value, str):
        # Python's logging has a comma before its milliseconds
        seconds = parse_timestamp(value.strip().replace(",", "."), -1.0)
        return seconds if seconds > 0 else None
    number = _number(value)
    if number is None:
        return None
    scales = (number / scale for least, scale in _SCALES if least <= number < 1e17)
    return next(scales, None)


def _kind_by_names(fields: Mapping[str, Any]) -> RecordType:
    val = bool(fields) and all(map(_OF_VALIDATION.match, fields))
    return RecordType.VAL if val else RecordType.TRAIN
