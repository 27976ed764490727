"""What a run's `config` records say: of a new run, one that goes on, one whose config grew."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from karaoke_train.runlog.format import (
    BadRecord,
    Record,
    RunHeader,
    RunLogError,
    encode,
    plain,
    spelled,
)
from karaoke_train.runlog.objects import fields_of
from karaoke_train.runlog.record_types import SCHEMA, RecordType
from karaoke_train.runlog.timestamps import format_timestamp


def config_of(given: object) -> dict[str, Any]:
    """A config as a run keeps it, in JSON's own types: so nothing that is done to the given one
    later changes it, and no secret stays unseen in a value that has a text alone. Raises
    RunLogError for what is no config, and for values that can't be written."""
    try:
        return dict(plain(dict(config_items(given))))
    except BadRecord as error:
        raise _unwritable(error) from None


def config_items(given: object) -> Mapping[Any, Any]:
    """The names and values of what was given as a config. Raises RunLogError where it has none."""
    if given is None:
        return {}
    found = fields_of(given)
    if found is None:
        found = getattr(given, "__dict__", None)
    if found is None or callable(given):
        raise RunLogError(
            "a config has names with values: a mapping, or an object with fields such as an "
            f"argparse namespace. {given!r:.80} has none, and nothing was written."
        )
    return found


def config_record(header: RunHeader, began: datetime, **more: object) -> dict[str, Any]:
    """A run's `config` record, as this process writes it: of the labels those that are there, of
    config and command line what is no secret. The header's config is as `config_of` makes it."""
    # Here and below, what only a new run needs: a third of what importing RunLog took beside orjson
    from karaoke_train.runlog.provenance import provenance
    from karaoke_train.runlog.secrets import cut_config

    labels = {
        "part": header.part,
        "tags": header.tags,
        "group": header.group,
        "job_type": header.job_type,
        "notes": header.notes,
        "allow_config_keys": header.allow_config_keys,
    }
    return {
        "type": RecordType.CONFIG,
        "schema": SCHEMA,
        "run_id": header.run_id,
        **{name: value for name, value in labels.items() if value},
        "run_name": header.run_name,
        "project": header.project,
        "created": format_timestamp(began),
        "config": cut_config(header.config, header.allow_config_keys),
        "upload": header.upload,
        **provenance(sys.argv),
        **more,
    }


def further_record(header: RunHeader, **more: object) -> dict[str, Any]:
    """One more config record of a run that has one, from now."""
    return config_record(header, datetime.now().astimezone(), **more)


def line_of(record: Mapping[str, Any]) -> bytes:
    """A config record as a line. Raises RunLogError, which says why there is no run with it."""
    try:
        return encode(record)
    except BadRecord as error:
        raise _unwritable(error) from None


def relabelled(first: RunHeader, newest: Record, given: RunHeader | None) -> RunHeader:
    """The header of a run that goes on: the first record's names, and of each label what is
    `given`, else what the newest config record has, as wandb replaces those of a resumed run."""
    try:
        latest = RunHeader.of(newest)
    except BadRecord:  # a foreign record that names no run
        latest = first
    own = given or latest
    return first._replace(
        tags=own.tags or latest.tags,
        group=own.group or latest.group,
        job_type=own.job_type or latest.job_type,
        notes=own.notes or latest.notes,
        allow_config_keys=own.allow_config_keys or latest.allow_config_keys,
    )


class Grown(NamedTuple):
    """A run whose config was added to. line: its further config record; empty where that would say
    nothing new. left_out: names whose values no line can hold, each with its reason."""

    header: RunHeader
    line: bytes = b""
    left_out: tuple[str, ...] = ()


def with_added(
    header: RunHeader, added: Mapping[Any, Any], record_of: Callable[[RunHeader], Record]
) -> Grown:
    """The run with these in its config, equal names replaced; of too much for a line the longest
    values are left out. record_of: a header's further config record. Raises BadRecord where that
    is too long with none of them."""
    together, left_out = _that_can_be_written(added)
    if not left_out and _holds(header, together):
        return Grown(header)
    while True:
        grown = header._replace(config={**header.config, **together})
        try:
            line = encode(record_of(grown))
            return Grown(grown, line if together else b"", tuple(left_out))
        except BadRecord:
            if not together:
                raise
            longest = max(together, key=lambda key: _length(together[key]))
            left_out.append(f"{longest}: too much for a config")
            del together[longest]


def _that_can_be_written(added: Mapping[Any, Any]) -> tuple[dict[str, Any], list[str]]:
    """In JSON's own types; and the names of the others, each with its reason."""
    together: dict[str, Any] = {}
    left_out: list[str] = []
    for key, value in added.items():
        try:
            together |= plain({key: value})
        except BadRecord as error:
            left_out.append(f"{spelled(key)}: {error}")
    return together, left_out


def _holds(header: RunHeader, config: Mapping[str, Any]) -> bool:
    """Whether the run's config has all of that already, with the same values once written."""
    from karaoke_train.runlog.secrets import cut_config

    has, allowed = header.config, header.allow_config_keys
    if not config.keys() <= has.keys():
        return False
    written = {key: has[key] for key in config}
    try:
        return encode(cut_config(config, allowed)) == encode(cut_config(written, allowed))
    except BadRecord:
        return False


def _length(value: object) -> int:
    """Bytes that it takes in a line; of what no line can hold, more than any other."""
    try:
        return len(encode({"": value}))
    except BadRecord:
        return sys.maxsize


def _unwritable(error: BadRecord) -> RunLogError:
    return RunLogError(
        f"this config can't be written: {error}. No run was started; leave that out of the config."
    )
