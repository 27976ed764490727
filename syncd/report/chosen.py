"""Run ids, names and files -> the logs that a person means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from syncd.errors import UsageError
from syncd.settings import Settings
from syncd.source.folder_tree import folders
from syncd.source.scanner import LogFile, LogScanner, resolve_parts
from syncd.state import cursor, decisions
from syncd.sync.past import owners
from syncd.sync.run_once import collect_inputs


def chosen(wanted: Sequence[str], settings: Settings, state: Path) -> list[LogFile]:
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
        owners(cursor.each(cursors)),
    )
    here = {file.key: file for file in found if isinstance(file, LogFile)}
    if not wanted:
        return list(here.values())
    files = [file for name in wanted for file in _named(name, here, scanner, settings)]
    return list({file.path: file for file in files}.values())


def _named(
    name: str, here: Mapping[str, LogFile], scanner: LogScanner, settings: Settings
) -> list[LogFile]:
    if name in here:
        return [here[name]]
    inputs = collect_inputs([Path(name)], settings.state_dir, recursive=settings.recursive)
    found = [scanner.look(path, chosen=True) for path in inputs.files]
    files = [file for file in found if isinstance(file, LogFile)]
    if files:
        return files
    alike = [
        file
        for file in here.values()
        if fnmatchcase(file.key, name) or fnmatchcase(file.header.run_name, name)
    ]
    if alike:
        return alike
    raise UsageError(
        f"{name!r} is no run that is known here, and no file with records",
        meaning="Nothing was done",
        remedy="`karaoke-syncd status` lists the runs; name their --log_dir",
    )
