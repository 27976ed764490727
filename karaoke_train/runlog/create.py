"""A new run: its id, its config record, and a file that nobody else has."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import count, islice
from pathlib import Path
from typing import Any

from karaoke_train.runlog.format import MAX_TAG, BadRecord, Record, RunHeader, RunLogError, plain
from karaoke_train.runlog.layout import lock_path, log_name
from karaoke_train.runlog.lock import LOCK_WAIT, Held, Lock, LockKind
from karaoke_train.runlog.objects import fields_of
from karaoke_train.runlog.record_types import SCHEMA, RecordType
from karaoke_train.runlog.sink import Sink, open_new
from karaoke_train.runlog.timestamps import format_timestamp
from karaoke_train.runlog.warn import warn


def create_file(folder: Path, started: datetime) -> tuple[Sink, LockKind]:
    """A new file in `folder`, and the kind of lock that is held on it.

    Where no lock can be had the run goes on without one: that its writer has died, the daemon can
    then tell only from the file's silence. Raises OSError when no file can be made.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    names = (log_name(started, attempt) for attempt in count())
    path, descriptor = open_new(folder / name for name in islice(names, 10_000))
    lock = Lock(lock_path(path))
    try:
        lock.acquire(timeout=LOCK_WAIT)
    except (OSError, Held) as error:
        warn(f"{path} has no lock ({error}). Its records are kept all the same.")
    unsynced = {folder, *(place.parent for place in made)}
    return Sink(path, descriptor, lock, unsynced=unsynced), lock.kind


def config_of(given: object) -> dict[str, Any]:
    """A config as a run keeps it, in JSON's own types: so nothing that is done to the given one
    later changes it, and no secret stays unseen in a value that has a text alone. Raises
    RunLogError for what is no config, and for values that can't be written."""
    try:
        return dict(plain(dict(config_items(given))))
    except BadRecord as error:
        raise unwritable(error) from None


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


def unwritable(error: BadRecord) -> RunLogError:
    """Why there is no run with this config."""
    return RunLogError(
        f"this config can't be written: {error}. No run was started; leave out what is too "
        "much for a config."
    )


def config_record(
    header: RunHeader, config: Mapping[str, Any], started: datetime, **more: object
) -> dict[str, Any]:
    """A run's `config` record, as this process writes it: of the labels those that are there, of
    config and command line what is no secret. config: as `config_of` makes it."""
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
        "created": format_timestamp(started),
        "config": cut_config(config, header.allow_config_keys),
        "upload": header.upload,
        **provenance(sys.argv),
        **more,
    }


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


def checked_tags(tags: Iterable[str] | None) -> tuple[str, ...]:
    """The tags, each once; a single text is one tag. Raises RunLogError for one that wandb refuses,
    which would otherwise be known only when the run is uploaded."""
    given = (tags,) if isinstance(tags, str) else tuple(map(str, tags or ()))
    for tag in given:
        if not 1 <= len(tag) <= MAX_TAG:
            raise RunLogError(
                f"the tag {tag[:80]!r} has {len(tag)} characters; wandb takes 1 to {MAX_TAG}. "
                "Nothing was started; give a shorter one."
            )
    return tuple(dict.fromkeys(given))


def new_run_id() -> str:
    """12 characters, 60 random bits: enough that no two runs, or parts, ever get the same."""
    import base64

    return base64.b32encode(os.urandom(10))[:12].decode().lower()
