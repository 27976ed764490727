"""A new run: its id, its config record, and a file that nobody else has."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Mapping
from datetime import datetime
from itertools import count, islice
from pathlib import Path
from typing import Any

from karaoke_train.runlog.format import RunHeader
from karaoke_train.runlog.layout import lock_path, log_name
from karaoke_train.runlog.lock import LOCK_WAIT, Held, Lock, LockKind
from karaoke_train.runlog.provenance import provenance
from karaoke_train.runlog.record_types import SCHEMA, RecordType
from karaoke_train.runlog.sink import Sink, open_new
from karaoke_train.runlog.timestamps import format_timestamp
from karaoke_train.runlog.warn import warn


def create_file(folder: Path, started: datetime) -> tuple[Sink, LockKind]:
    """A new file in `folder`, and the kind of lock that is held on it.

    Where no lock can be had the run goes on without one: that its writer has died, the daemon can
    then tell only from the file's silence. Raises OSError when no file can be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = (log_name(started, attempt) for attempt in count())
    path, descriptor = open_new(folder / name for name in islice(names, 10_000))
    lock = Lock(lock_path(path))
    try:
        lock.acquire(timeout=LOCK_WAIT)
    except (OSError, Held) as error:
        warn(f"{path} has no lock ({error}). Its records are kept all the same.")
    return Sink(path, descriptor, lock), lock.kind


def config_record(
    header: RunHeader, config: Mapping[str, Any], started: datetime, **more: object
) -> dict[str, Any]:
    """A run's `config` record, as this process writes it."""
    return {
        "type": RecordType.CONFIG,
        "schema": SCHEMA,
        "run_id": header.run_id,
        "run_name": header.run_name,
        "project": header.project,
        "created": format_timestamp(started),
        "config": dict(config),
        "upload": header.upload,
        **provenance(sys.argv),
        **more,
    }


def new_run_id() -> str:
    """12 characters, 60 random bits: enough that no two runs ever get the same."""
    return base64.b32encode(os.urandom(10))[:12].decode().lower()
