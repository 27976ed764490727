"""A run's file and what the server has of it -> how they differ, for `verify`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from karaoke_train.runlog.reader import Position
from syncd.destination.base import Destination, RunRef
from syncd.destination.comparison import SHOWN, Comparison
from syncd.errors import Refused, SyncError, Unreachable, UploadError, unread
from syncd.source.scanner import LogFile
from syncd.state.cursor import Cursor
from syncd.sync.content import Content
from syncd.sync.outcome import outcome_before
from syncd.sync.parts import base_of, may_have_parts

_TRIES: Final = 3  # of one run, where the server says when to ask again
_MOST_WAITED: Final = 60.0  # seconds that it may name for that
_LONG: Final = 10.0  # seconds that a run costs which can't be compared
_MOST_LONG: Final = 3  # such runs in a row; a server that has hundreds of them is not waited for


@dataclass(slots=True)
class Looked:
    """What came of runs at one destination. failed: those that could not be compared, and why.
    left: those that were not come to, since of `error` nothing is to be had of them either."""

    compared: list[tuple[LogFile, Comparison]] = field(default_factory=list)
    failed: list[tuple[LogFile, SyncError]] = field(default_factory=list)
    left: Sequence[LogFile] = ()
    error: Unreachable | Refused | None = None


def each(
    files: Sequence[LogFile], look: Callable[[LogFile], Comparison], destination: Destination
) -> Looked:
    """Compare one after another: the trouble of one is no other's, unless the destination answers
    nothing else either, or has cost several in a row their whole time. look: compares one."""
    looked, in_vain = Looked(), 0
    for number, file in enumerate(files):
        begun = time.monotonic()
        try:
            looked.compared.append((file, _heeding(look, file, destination)))
            in_vain = 0
            continue
        except OSError as error:
            looked.failed.append((file, unread(error)))
            continue
        except (Unreachable, Refused) as error:
            if everybodys := everybodys_trouble(destination):
                looked.left, looked.error = files[number:], everybodys
                return looked
            looked.failed.append((file, error))
        except UploadError as error:
            looked.failed.append((file, error))
        in_vain += time.monotonic() - begun >= _LONG
        if in_vain == _MOST_LONG and number + 1 < len(files):
            what = f"{destination.identity.name} was waited for in vain for {in_vain} runs in a row"
            looked.left, looked.error = files[number + 1 :], Unreachable(what)
            return looked
    return looked


def _heeding(
    look: Callable[[LogFile], Comparison], file: LogFile, destination: Destination
) -> Comparison:
    """Look again when the server says that it may be asked, if that is soon."""
    for _ in range(_TRIES - 1):
        try:
            return look(file)
        except Unreachable as error:
            if not 0 < error.retry_after <= _MOST_WAITED:
                raise
            destination.pause(error.retry_after)
    return look(file)


def everybodys_trouble(destination: Destination) -> Unreachable | Refused | None:
    """What keeps the destination from answering anything at all."""
    try:
        destination.account()
    except (Unreachable, Refused) as error:
        return error
    return None


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


def shown_as(file: LogFile, known: Cursor, destination: Destination) -> str:
    """The destination's word for a run whose end it was told, by the cursor, where it shows no such
    end; empty where it does, or the run goes on. Raises Unreachable, Refused, RunTrouble."""
    outcome = outcome_before(file.path, known.confirmed.offset)
    if not (known.ended and outcome and file.size == known.confirmed.offset):
        return ""
    remote = destination.remote_run(RunRef(known.entity, known.project, file.run_id))
    if remote is None or remote.count != known.confirmed.ordinal:  # it goes on, in another file
        return ""
    return "" if remote.shows(outcome) else remote.state or "no state"


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
