"""A run's file and what the server has of it -> how they differ, for `verify`."""

from __future__ import annotations

from dataclasses import replace

from karaoke_train.runlog.reader import Position
from syncd.destination.base import Destination, RunRef
from syncd.destination.comparison import SHOWN, Comparison
from syncd.source.scanner import LogFile
from syncd.sync.content import Content
from syncd.sync.parts import base_of, may_have_parts


def verify(
    file: LogFile, project: str, entity: str, destination: Destination, *, ended: bool = False
) -> Comparison:
    """Compare a run's file with what the server has of it. ended: its end was told there, and so
    its pictures and sounds had come.

    Raises Unreachable, Refused, RunTrouble, OSError.
    """
    run = RunRef(entity, project, file.run_id)
    content = Content(file.path, file.media, file.header, run, destination, file.key)
    if may_have_parts(file.header) and (remote := destination.remote_run(run)):
        base = base_of(content, remote.count)
        # where none of it is there, all that is there is of other parts
        content = replace(content, start=Position(remote.count if base is None else base, 0))
    return content.compared(with_files=ended)


def with_lost(found: Comparison, confirmed: int, base: int = 0) -> Comparison:
    """What the server once confirmed, and lacks at the run's end: that is missing, and does not
    wait. confirmed: records of the file, by its cursor; base: the file's first line in the run."""
    there = found.records - found.waiting
    lost = min(max(0, confirmed - there), found.waiting)
    first = base + there
    return replace(
        found,
        waiting=found.waiting - lost,
        missing=found.missing + lost,
        missing_at=[*found.missing_at, *range(first, first + lost)][:SHOWN],
    )
