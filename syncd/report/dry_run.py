"""`sync --dry_run`: files in, what `sync` would send where out. Asks no server, changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from syncd.destination.base import Destination, RunRef
from syncd.paths import destination_folder
from syncd.report.collect import lines_from
from syncd.settings import Settings
from syncd.source.scanner import LogFile, LogScanner, resolve_parts
from syncd.state import cursor, decisions
from syncd.state.cursor import Cursor
from syncd.sync.run_once import SyncInputs


@dataclass(frozen=True, slots=True)
class Planned:
    """One file. where: entity/project/run_id; an entity that the server alone knows is `…`.
    url: the run's page, where it is known. pending: records that would be sent. stays: why none
    would be, where that is not because all are there."""

    path: Path
    name: str = ""
    where: str = ""
    url: str = ""
    pending: int = 0
    uploaded: int = 0
    stays: str = ""


def plan(
    settings: Settings, destination: Destination, inputs: SyncInputs, *, everything: bool
) -> Iterator[Planned]:
    """What would be done with each file. everything: as for `run_once.sync`."""
    state = destination_folder(settings.state_dir, destination.identity.address)
    cursors, aliases = cursor.load_all(state / "cursors"), decisions.aliases(state)
    scanner = LogScanner(
        lambda: aliases, lambda run_id: cursor.project_of(state / "cursors", run_id)
    )
    found = [scanner.look(path, chosen=not everything) for path in inputs.files]
    forgotten = decisions.forgotten(state)
    for file in resolve_parts(found, cursors):
        if not isinstance(file, LogFile):
            yield Planned(file.path, stays=file.problem or "it has no records yet")
        elif file.key in forgotten:
            yield Planned(file.path, file.label, stays="it is to be left alone (forget)")
        elif everything and not file.header.upload:
            yield Planned(file.path, file.label, stays="it is not to be uploaded")
        else:
            yield _planned(file, settings, destination, cursors)


def _planned(
    file: LogFile, settings: Settings, destination: Destination, cursors: Mapping[str, Cursor]
) -> Planned:
    project, known = settings.project or file.header.project, cursors.get(file.key)
    entity = destination.identity.entity or (known.entity if known else "")
    mine = known if known and (known.project, known.entity) == (project, entity) else None
    at = mine.confirmed if mine else None
    return Planned(
        file.path,
        file.label,
        f"{entity or '…'}/{project}/{file.run_id}",
        destination.url(RunRef(entity, project, file.run_id)) if entity else "",
        pending=lines_from(file.path, at.offset if at else 0),
        uploaded=mine.records if mine else 0,
    )
