"""A resumed run's file -> its header, with what its last start said."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from karaoke_train.runlog.format import BadRecord, Record, RunHeader
from karaoke_train.runlog.reader import Position
from syncd.source import marked
from syncd.source.fingerprint import Log

# What the newest config record says, and a slim header lacks
_NEWEST: Final = ("config", "trainer", "tags", "group", "job_type", "notes", "allow_config_keys")


def newest_header(header: RunHeader, log: Log, config_at: int) -> RunHeader:
    """The run's header with what its newest config record says, or the first where that names no
    run; its names stay the first's. config_at: the byte offset of that record. Raises OSError."""
    # A run that was renamed while it was resumed keeps its first name: people look for it by that
    for offset in (config_at, 0):
        with suppress(BadRecord):
            newest = RunHeader.of(_record_at(log, offset))
            return header._replace(**{name: getattr(newest, name) for name in _NEWEST})
    return header


def _record_at(log: Log, offset: int) -> Record:
    # The ordinal is not known, and nobody asks for it here
    return next((line.record or {} for line in marked.lines_at(log, [Position(0, offset)])), {})
