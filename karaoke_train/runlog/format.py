"""One record <-> one line of a record log: the only definition of the format.

A line is one JSON object in UTF-8, ended by a newline, at most MAX_LINE bytes long. JSON is strict
(RFC 8259): NaN and the infinities are written as the strings "NaN", "Infinity" and "-Infinity" and
read back as floats.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import orjson

from karaoke_train.runlog.objects import stands_for
from karaoke_train.runlog.record_types import RecordType

MAX_LINE: Final = 1 << 20  # bytes with the newline; wandb drops history rows over about 10 MB
MAX_DEPTH: Final = 64  # objects and lists in one another; orjson writes 254, Python recurses 1000
MAX_TAG: Final = 64  # characters, as wandb has it
RUN_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")  # within what wandb takes as a run id

Record = dict[str, Any]

# What orjson writes just as `_plain` would leave it, subclasses excluded. No None: see `encode`
_SCALARS: Final = frozenset({float, int, bool, str, RecordType})
_NON_FINITE: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_BACKSLASH, _N, _I, _BRACKET, _BRACE = b"\\NI[{"
NOTHING: Final[Mapping[str, Any]] = {}  # one for all
# Of a record that is too long for a line, what is kept: short by nature, where metrics may be long
KEPT_FIELDS: Final = ("type", "timestamp", "step", "epoch")
_ROOM_FOR_REASONS: Final = 16 << 10  # bytes
_MOST_REASONS: Final = 10
_LONGEST_NAME: Final = 512  # characters; wandb takes 128 of a project's
_BOM: Final = b"\xef\xbb\xbf"
_TOO_DEEP: Final = f"nested more than {MAX_DEPTH} deep"


class RunLogError(Exception):
    """Something is wrong with a record log; its text is for the user."""


class BadRecord(RunLogError, ValueError):
    """This record can't be a line, or this line isn't a record; the text says why."""


def encode(record: Mapping[str, object]) -> bytes:
    """The record as one line, newline included.

    Values that JSON lacks are written as what they stand for: tensors, numpy values and decimals as
    numbers or lists, dataclasses and namespaces as objects, integers past 64 bits as floats, lone
    surrogates as their escapes, anything else by its `str`. Raises BadRecord when the line would
    pass MAX_LINE or MAX_DEPTH, or when a value has no `str`.
    """
    # Nearly every record: scalars alone, whose line is the same either way and made in a third of
    # the time. orjson writes NaN and the infinities as null, so a line with null goes the long way,
    # and so does what it refuses: wide integers, lone surrogates, names that are no text.
    if type(record) is dict and _SCALARS.issuperset(map(type, record.values())):
        try:
            line = orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
            if b"null" not in line and len(line) <= MAX_LINE:
                return line
        except orjson.JSONEncodeError:
            pass
    return _encode_any(record)


def plain(value: object) -> Any:
    """The value of a record's field in JSON's own types, as `encode` writes it. Raises BadRecord
    where it can't be written; of its length, nothing is said."""
    try:
        return _plain(value, 1)
    except BadRecord:
        raise
    except Exception as error:  # a value's own tolist or __str__ may raise anything
        raise BadRecord(f"a value can't be written: {error!r:.200}") from None


def _encode_any(record: Mapping[str, object]) -> bytes:
    try:
        line = orjson.dumps({_text(key): plain(value) for key, value in record.items()}) + b"\n"
    except BadRecord:
        raise
    except Exception as error:  # a name's own __str__ may, too
        raise BadRecord(f"a name can't be written: {error!r:.200}") from None
    if len(line) > MAX_LINE:
        raise BadRecord(f"the record takes {len(line):,} bytes; a line holds at most {MAX_LINE:,}")
    return line


def encode_what_fits(record: Mapping[str, object]) -> tuple[bytes, str]:
    """The record as one line without what no line can hold, and what that is, with its reason. Of
    too much for a line, the longest are left out. `left_out` has that text, for who reads. Of a
    field with names of its own, such as an epoch's `train_metrics`, each is judged alone."""
    sizes: dict[_Path, int] = {}
    reasons: list[str] = []
    for path, value in _leaves(record):
        try:
            sizes[path] = _size_of(path, value)
        except BadRecord as error:
            reasons.append(f"{spelled(*path)}: {error}")
    outer = {path[0] for path in sizes if len(path) > 1}
    size = sum(sizes.values()) + sum(len(encode({name: {}})) for name in outer)
    longest = sorted((path for path in sizes if path[0] not in KEPT_FIELDS), key=sizes.__getitem__)
    while longest and size > MAX_LINE - _ROOM_FOR_REASONS:
        path = longest.pop()
        size -= sizes[path]
        reasons.append(f"{spelled(*path)}: of {sizes.pop(path):,} bytes, too much for one line")
    told = "; ".join(reasons[:_MOST_REASONS])
    if len(reasons) > _MOST_REASONS:
        told += f"; and {len(reasons) - _MOST_REASONS:,} more"
    try:
        return encode(_those(record, sizes) | {"left_out": told}), told
    except BadRecord as error:  # what a name or a value gives when it is asked again
        return encode({"left_out": str(error)}), str(error)


_Path = tuple[Any, ...]  # a field's name, and behind it one of those inside it


def _leaves(record: Mapping[Any, object]) -> Iterator[tuple[_Path, object]]:
    for key, value in record.items():
        if isinstance(value, dict) and value:
            yield from (((key, inner), item) for inner, item in value.items())
        else:
            yield (key,), value


def _size_of(path: _Path, value: object) -> int:
    """Bytes that it takes in a line, but for the field's name where it is inside one. Raises
    BadRecord."""
    if len(path) == 1:
        return len(encode({path[0]: value}))
    comma = 1
    return len(encode({path[0]: {path[1]: value}})) - len(encode({path[0]: {}})) + comma


def _those(record: Mapping[Any, Any], paths: Iterable[_Path]) -> Record:
    """The record's fields, and values inside them, that are at these paths."""
    kept: Record = {}
    for key, *inside in paths:
        if inside:
            kept.setdefault(key, {})[inside[0]] = record[key][inside[0]]
        else:
            kept[key] = record[key]
    return kept


def spelled(*names: object) -> str:
    """A name, or one inside another, for people."""
    try:
        return "/".join(f"{name!s:.80}" for name in names)
    except Exception:  # a name's own __str__ may raise anything
        return "a name that can't be written"


def decode(line: bytes) -> Record:
    """The record in a line, with or without its newline; a blank line is the empty record.

    Takes more than `encode` writes: a byte order mark, CRLF, bare NaN and Infinity, any type and
    any field. Raises BadRecord with the reason for everything that isn't a JSON object.
    """
    if len(line) > MAX_LINE:
        raise BadRecord(f"over-long: {len(line):,} bytes, at most {MAX_LINE:,}")
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        text = line.removeprefix(_BOM).strip(b" \t\r\n")
        if not text:
            return {}
        value = _parse(text)
    if not isinstance(value, dict):
        raise BadRecord(f"not a JSON object but {_kind(value)}")
    if not _worth_a_walk(line):
        return value
    revived = {key: _revive(item, 1) for key, item in value.items()}
    if value.get("type") != RecordType.CONFIG:
        return revived
    # A run, a project or a branch that is named NaN keeps its name
    return {key: revived[key] if key == "config" else value[key] for key in value}


class RunHeader(NamedTuple):
    """What a `config` record says of its run, typed.

    project: empty where the record names none. trainer: where and how the run was started. part:
    the id of the file, one of those that the run is in; empty in files of older writers.
    """

    run_id: str
    run_name: str
    project: str
    config: Mapping[str, Any] = NOTHING
    upload: bool = True
    created: str = ""
    trainer: Mapping[str, Any] = NOTHING  # host, pid, git, argv
    part: str = ""
    tags: tuple[str, ...] = ()
    group: str = ""
    job_type: str = ""
    notes: str = ""
    allow_config_keys: tuple[str, ...] = ()  # of the config, no secrets though named like some

    def slim(self) -> RunHeader:
        """What is needed of it while it is not uploaded: without its config, trainer and labels,
        its names and date cut. Those of 10,000 runs take tens of MiB else, and of 300 that a
        stranger makes, 300 MiB."""
        return RunHeader(
            self.run_id,
            self.run_name[:_LONGEST_NAME],
            self.project[:_LONGEST_NAME],
            NOTHING,
            self.upload,
            self.created[:_LONGEST_NAME],
            NOTHING,
            self.part,
        )

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> RunHeader:
        """The header in a `config` record. Raises BadRecord when it can't name a run."""
        run_id = record.get("run_id")
        if record.get("type") != RecordType.CONFIG:
            raise BadRecord(f"not a config record but {record.get('type')!r}")
        if not isinstance(run_id, str) or not RUN_ID.fullmatch(run_id):
            raise BadRecord(f"run_id {run_id!r:.80} is not 1 to 64 letters, digits, '-' or '_'")
        config, part = record.get("config"), record.get("part")
        return cls(
            run_id=run_id,
            run_name=str(record.get("run_name") or run_id),
            project=str(record.get("project") or ""),
            config=config if isinstance(config, dict) else {"config": config} if config else {},
            upload=record.get("upload") is not False,
            created=str(record.get("created") or ""),
            trainer={k: record[k] for k in ("host", "pid", "git", "argv") if record.get(k)},
            part=part if isinstance(part, str) and RUN_ID.fullmatch(part) else "",
            tags=_texts(record.get("tags")),
            group=str(record.get("group") or ""),
            job_type=str(record.get("job_type") or ""),
            notes=str(record.get("notes") or ""),
            allow_config_keys=_texts(record.get("allow_config_keys")),
        )


def attempt_of(config: Mapping[str, Any], before: int) -> int:
    """The attempt that begins with a config record: as it says, else one more than `before`."""
    own = config.get("attempt")
    # `type`, not isinstance: true is an int for Python
    return own if type(own) is int and own > 0 else before + 1


def _texts(value: object) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return tuple(text for text in texts if isinstance(text, str) and text)


def _plain(value: Any, depth: int) -> Any:
    """The value in JSON's own types, non-finite floats as their strings."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else _spell(value)
    if value is None or isinstance(value, int):
        return value if value is None or -(1 << 63) <= value < 1 << 64 else _wide(value)
    if depth > MAX_DEPTH:
        raise BadRecord(_TOO_DEEP)
    if isinstance(value, Mapping):
        return {_text(key): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item, depth + 1) for item in value]
    return _plain(stands_for(value), depth + 1)


def _text(value: object) -> str:
    """The value's text, which UTF-8 can hold: file names and argv may bring lone surrogates."""
    # Of an enum's member or numpy's text the letters alone: orjson takes no other kind as a name
    text = str.__str__(value) if isinstance(value, str) else str(value)
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _wide(value: int) -> float | str:
    """An integer past 64 bits as what every reader would make of its digits."""
    try:
        return float(value)
    except OverflowError:
        return _spell(math.inf if value > 0 else -math.inf)


def _spell(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _worth_a_walk(line: bytes) -> bool:
    """Whether the values of a line may have to be changed or refused: only where its bytes spell a
    number that is no JSON, as they are or by escapes, or have brackets enough to be too deep."""
    # A byte is looked for in a tenth of the time that a word takes, and few lines have these
    if (
        _BACKSLASH in line
        or (_N in line and b"NaN" in line)
        or (_I in line and b"Infinity" in line)
    ):
        return True
    nested = _BRACKET in line or line.find(_BRACE, 1) > 0
    return nested and line.count(b"{") + line.count(b"[") > MAX_DEPTH


def _revive(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return _NON_FINITE.get(value, value)
    if not isinstance(value, (dict, list)):
        return value
    if depth > MAX_DEPTH:
        raise BadRecord(_TOO_DEEP)
    if isinstance(value, dict):
        return {key: _revive(item, depth + 1) for key, item in value.items()}
    return [_revive(item, depth + 1) for item in value]


def _parse(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as strict:
        if b"NaN" not in text and b"Infinity" not in text:
            raise BadRecord(f"not JSON: {strict}") from None
    try:  # what Python's json.dumps writes by default, its numbers read as above
        value = json.loads(text.decode(), parse_int=orjson.loads, parse_float=orjson.loads)
        orjson.dumps(value)  # refuses lone surrogates, which no later stage could write
    except UnicodeDecodeError:
        raise BadRecord("not JSON: not valid UTF-8") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise BadRecord(f"not JSON: {error}") from None
    return value


def _kind(value: object) -> str:
    names = {"list": "an array", "str": "a string", "bool": "a boolean", "NoneType": "null"}
    return names.get(type(value).__name__, "a number")
