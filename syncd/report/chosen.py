"""Run ids, names and files -> the logs that a person means."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, TypeGuard

from syncd.errors import ProblemCode, SyncError, UsageError
from syncd.settings import Settings
from syncd.source.folder_tree import folders
from syncd.source.scanner import FoundFile, LogFile, LogScanner, UnusableFile, resolve_parts
from syncd.state import cursor, decisions
from syncd.sync.run_once import collect_inputs

_NOT_OPENED: Final = (ProblemCode.UNREADABLE, ProblemCode.UNSAFE)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The logs that are meant, and what may be some, and can't be looked at: why."""

    files: Sequence[LogFile]
    unusable: Sequence[SyncError]


def chosen(wanted: Sequence[str], settings: Settings, state: Path) -> Chosen:
    """The runs that are meant, one file each; all in the log folders where nothing is wanted.

    wanted: run ids, names, globs over both, files. state: the folder of the destination whose
    run ids are meant. Raises UsageError for what names none.
    """
    aliases, cursors = decisions.aliases(state), state / "cursors"
    scanner = LogScanner(
        lambda: aliases,
        lambda run_id: cursor.project_of(cursors, run_id),
        settings.limits.largest_media,
    )
    found = resolve_parts(
        scanner.scan(folders(settings.log_dir, recursive=settings.recursive)),
        cursor.load_all(cursors),
    )
    here = {file.key: file for file in found if isinstance(file, LogFile)}
    if not wanted:
        return _parted(found)
    return _parted([file for name in wanted for file in _named(name, here, scanner, settings)])


def absent(settings: Settings) -> list[SyncError]:
    """The log folders that are not there."""
    missing = (folder for folder in settings.log_dir if not os.path.lexists(folder))
    return [SyncError("there is no such folder", where=str(folder)) for folder in missing]


def _parted(found: Sequence[FoundFile]) -> Chosen:
    files = {file.path: file for file in found if isinstance(file, LogFile)}
    closed = {one.path: one for one in found if _is_closed(one)}
    words = [SyncError(one.problem, where=str(path)) for path, one in closed.items()]
    return Chosen([*files.values()], words)


def _is_closed(found: FoundFile) -> TypeGuard[UnusableFile]:
    return isinstance(found, UnusableFile) and found.code in _NOT_OPENED


def _named(
    name: str, here: Mapping[str, LogFile], scanner: LogScanner, settings: Settings
) -> Sequence[FoundFile]:
    if meant := name and _meant(name, here, scanner, settings):
        return meant
    raise UsageError(
        f"{name!r} is no run that is known here, and no file with records",
        meaning="Nothing was done",
        remedy="`karaoke-syncd status` lists the runs; name their --log_dir",
    )


def _meant(
    name: str, here: Mapping[str, LogFile], scanner: LogScanner, settings: Settings
) -> Sequence[FoundFile]:
    if name in here:
        return [here[name]]
    inputs = collect_inputs([Path(name)], settings.state_dir, recursive=settings.recursive)
    found = [scanner.look(path, chosen=True) for path in inputs.files]
    files = [file for file in found if isinstance(file, LogFile) or _is_closed(file)]
    if files:
        return files
    # A name may have a glob's characters in it, and its run alone is meant then
    called = [file for file in here.values() if file.header.run_name == name]
    return called or [
        file
        for file in here.values()
        if fnmatchcase(file.key, name) or fnmatchcase(file.header.run_name, name)
    ]
