"""A run's file and what the server has of it -> how they differ, for `verify`."""

from __future__ import annotations

from syncd.destination.base import Destination, RunRef
from syncd.destination.comparison import Comparison
from syncd.source.scanner import LogFile
from syncd.sync.content import Content


def verify(file: LogFile, project: str, entity: str, destination: Destination) -> Comparison:
    """Compare a run's file with what the server has of it.

    Raises Unreachable, Refused, RunTrouble, OSError.
    """
    run = RunRef(entity, project, file.run_id)
    return Content(file.path, file.media, file.header.created, run, destination).compared()
