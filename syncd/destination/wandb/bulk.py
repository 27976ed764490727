"""Bytes of a record log -> the texts of a run's history, in bulk; pure.

The quick way takes what a training writes most, a flat train or val record, without a Line in
between; all else goes the way of `rows.row`. There is one meaning: a test holds both ways equal.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import orjson

from karaoke_train.runlog.format import MAX_LINE
from karaoke_train.runlog.reader import Line, Position, parse_line
from karaoke_train.runlog.record_types import RecordType
from syncd.destination.rows import ATTEMPT, RUNTIME, Media, attempt_at, key_of, row
from syncd.source.lines import special_lines

MediaReference = Callable[[int, str, Media], Any]  # ordinal, key, media -> what the row holds

MAX_SUMMARY: Final = 256 << 10  # bytes, of some thousand metrics
_TOKEN: Final = secrets.token_hex(16)
_LOWEST, _PAST = -(1 << 63), 1 << 63  # wandb's integers have 64 bits with the sign
_PLAIN_TYPES: Final = frozenset({RecordType.TRAIN.value, RecordType.VAL.value})


@dataclass(frozen=True, slots=True)
class HistoryLines:
    """texts: one JSON object per line of the file. special: the lines that say more than a step's
    metrics. attempt: that of the last line."""

    texts: list[str]
    end: Position
    special: tuple[Line, ...]
    attempt: int


class Summary:
    """The last value of each key, nested ones leaf by leaf, as wandb-core keeps it. base: what the
    server has by now. Of what takes more than MAX_SUMMARY, which no training does, the first keys
    are kept: it is held for as long as a session is open, and sent with each post."""

    def __init__(self, base: Mapping[str, Any] | None = None) -> None:
        self._tree: dict[str, Any] = dict(base or {})
        self.cut = False  # whether something was left out

    @property
    def last_step(self) -> int | None:
        """The line of the newest row that it knows of, as far as it says."""
        step = self._tree.get("_step")
        return step if type(step) is int else None

    def update(self, values: Mapping[str, Any]) -> None:
        """A newer row, or a part of one."""
        _merge(self._tree, values)

    def text(self) -> str:
        """The summary as JSON, with the run's length in whole seconds."""
        runtime = self._tree.get("_runtime")
        seconds = int(runtime) if isinstance(runtime, (int, float)) else 0
        own = {"_wandb": {"runtime": seconds}}
        if len(written := text({**self._tree, **own})) <= MAX_SUMMARY:
            return written
        self.cut = True
        self._tree = _first(self._tree, MAX_SUMMARY)
        return text({**self._tree, **own})


def _merge(tree: dict[str, Any], values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if not _says_something(value):
            continue
        if isinstance(value, dict):
            inner = tree.get(key)
            if not isinstance(inner, dict):
                inner = tree[key] = {}
            _merge(inner, value)
        else:
            tree[key] = value


def _first(tree: Mapping[str, Any], most: int) -> dict[str, Any]:
    """The first of these that take no more than `most` bytes as JSON, wandb's own before all."""
    kept: dict[str, Any] = {}
    for key in sorted(tree, key=lambda key: not key.startswith("_")):
        size = len(text({key: tree[key]}))
        if size <= most:
            most -= size
            kept[key] = tree[key]
    return kept


def _says_something(value: Any) -> bool:
    """Whether the value has a leaf: null stays in a row, and says nothing about the run."""
    if isinstance(value, dict):
        return any(map(_says_something, value.values()))
    return value is not None


def history_lines(
    data: bytes,
    start: Position,
    started: float,
    summary: Summary,
    media: MediaReference,
    attempt: int = 1,
) -> HistoryLines:
    """Every whole line of `data`, which begins at `start`. started: the run's start, in seconds
    since 1970. summary: told of every row. attempt: that of the line before the first."""
    texts: list[str] = []
    special: list[Line] = []
    newest: dict[tuple[str, ...], dict[str, Any]] = {}  # the last flat row of each set of keys
    last: tuple[str, ...] = ()
    ordinal, offset = start.ordinal, start.offset
    for raw in data.split(b"\n")[:-1]:
        if found := _flat_row(raw, ordinal, started, attempt):
            keys, flat = found
            if keys != last:
                newest.pop(keys, None)  # to the end: the newest of all sets wins
                last = keys
            newest[keys] = flat
            texts.append(orjson.dumps(flat).decode())
        else:
            _tell(summary, newest)
            last = ()
            line = parse_line(raw + b"\n", Position(ordinal, offset))
            attempt = attempt_at(line, attempt)
            texts.append(line_text(line, started, summary, media, attempt))
            special += special_lines([line])
        ordinal += 1
        offset += len(raw) + 1
    _tell(summary, newest)
    return HistoryLines(texts, Position(ordinal, offset), tuple(special), attempt)


def line_text(
    line: Line, started: float, summary: Summary, media: MediaReference, attempt: int
) -> str:
    """The text of one line, whatever it is. attempt: its own."""
    values: dict[str, Any] = {}
    for key, value in row(line, started, attempt).items():
        kept = media(line.at.ordinal, key, value) if isinstance(value, Media) else plain(value)
        if kept != {} or not isinstance(kept, dict):  # wandb keeps no empty object in a row
            values[key] = kept
    values["_step"] = line.at.ordinal
    values["_runtime"] = max(0.0, values["_timestamp"] - started)
    summary.update(values)
    return text(values)


def _flat_row(
    raw: bytes, ordinal: int, started: float, attempt: int
) -> tuple[tuple[str, ...], dict[str, Any]] | None:
    """A flat train or val record's keys and its row; None for every line that needs more care.
    Whatever is not surely plain is refused here: values that are no numbers, odd times, keys that
    wandb takes otherwise, integers that it takes as floats. orjson itself refuses NaN and
    Infinity."""
    try:
        record = orjson.loads(raw)
        if record.pop("type") not in _PLAIN_TYPES or len(raw) >= MAX_LINE:
            return None
        at = _seconds(record.pop("timestamp"))
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError):
        return None
    for value in record.values():
        kind = type(value)
        if kind is not float and (kind is not int or not _LOWEST <= value < _PAST):
            return None
    keys = tuple(record)
    if not _plain_keys(keys):
        return None
    if "step" in record:
        record["trainer/step"] = record.pop("step")
    record["_timestamp"] = at
    record["_step"] = ordinal
    runtime = record["_runtime"] = at - started if at > started else 0.0
    record.setdefault(RUNTIME, runtime)
    record.setdefault(ATTEMPT, attempt)
    return keys, record


@lru_cache(maxsize=64)
def _plain_keys(keys: tuple[str, ...]) -> bool:
    return all(key_of(key) == key for key in keys)


def _seconds(timestamp: str) -> float:
    """Seconds since 1970, as datetime has them to the last bit; UTC where the text doesn't say.
    Raises TypeError and ValueError for anything else."""
    moment = datetime.fromisoformat(timestamp)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _tell(summary: Summary, newest: dict[tuple[str, ...], dict[str, Any]]) -> None:
    for flat in newest.values():
        summary.update(flat)
    newest.clear()


def text(values: Mapping[str, Any]) -> str:
    """JSON as the SDK writes it, byte by byte but for the order: NaN and the infinities are bare
    tokens."""
    try:
        written = orjson.dumps(values).decode()
        if "null" not in written:  # which is what orjson makes of them
            return written
        written = orjson.dumps(_spelled(values)).decode()
    except TypeError:  # a lone surrogate: JSON has an escape for it, UTF-8 has nothing
        return json.dumps(values)
    for word in ("NaN", "Infinity", "-Infinity"):
        written = written.replace(f'"{_TOKEN}{word}"', word)
    return written


def _spelled(value: Any) -> Any:
    """What JSON has no number for, as texts that nobody else has."""
    if isinstance(value, float) and value - value != 0.0:
        return _TOKEN + ("NaN" if value != value else "Infinity" if value > 0 else "-Infinity")
    if isinstance(value, Mapping):
        return {key: _spelled(item) for key, item in value.items()}
    return [_spelled(item) for item in value] if isinstance(value, list) else value


def plain(value: Any) -> Any:
    """The value as wandb-core keeps it: integers past 64 bits as floats, no empty objects. Within a
    list it keeps them, at any depth."""
    if isinstance(value, dict):
        kept = {key: plain(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item != {}}
    return _listed(value)


def _listed(value: Any) -> Any:
    if isinstance(value, list):
        return [_listed(item) for item in value]
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    if type(value) is int and not _LOWEST <= value < _PAST:
        return float(value)
    return value


def finite(value: Any) -> Any:
    """The value with null for what JSON has no number for: a server need not read other tokens in a
    config."""
    if isinstance(value, float):
        return value if value - value == 0.0 else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value
