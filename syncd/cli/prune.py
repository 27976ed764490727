"""`prune`: runs that are at the server, whole and ended, off this disk."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import click

from syncd.cli.common import Invocation, command
from syncd.destination.registry import connect_all
from syncd.errors import Connection, Exit, Refused, SyncError, Unreachable, UsageError
from syncd.paths import destination_folder

if TYPE_CHECKING:
    from pathlib import Path

    from syncd.destination.base import Destination
    from syncd.settings import Settings
    from syncd.source.scanner import LogFile
    from syncd.sync.prune import Target

    # a log, with what it is at each destination; None where it is no run of its own there
    _Candidate = Sequence[tuple[Target, LogFile | None]]

_AGE: Final = re.compile(r"(\d+(?:\.\d+)?)([smhdw]?)")
_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0, "": 86_400.0}


def age(text: str) -> float:
    """A time such as 30d or 12h, in seconds."""
    found = _AGE.fullmatch(text.strip())
    if not found:
        raise click.BadParameter(f"{text!r} is no time such as 30d, 12h or 2w")
    return float(found[1]) * _UNITS[found[2]]


@command(
    "prune",
    to_stdout=True,
    quiet=True,
    exits={
        Exit.OK: "done, or told what would be; runs that stay are named with the reason",
        Exit.FAILED: "a run could not be read, compared, deleted or compressed; it is named",
        Exit.OFFLINE: "the server can't be reached, so nothing more is deleted",
        Exit.LOGIN: "nobody is logged in, or the server refuses the account",
    },
    examples=(
        ("karaoke-syncd prune", "what could go; nothing is changed"),
        ("karaoke-syncd prune --compress --older_than 2w", "compress by zstd; `zstd -d` undoes it"),
        ("karaoke-syncd prune --delete --older_than 90d", "logs, pictures and sounds"),
    ),
)
@click.argument("runs", nargs=-1, metavar="[RUN|FILE]...")
@click.option(
    "--older_than", type=age, default="30d", show_default=True, metavar="AGE",
    help="Runs that nothing was written to for so long: 30d, 12h, 2w.",
)  # fmt: skip
@click.option("--delete", "how", flag_value="delete", help="Delete their logs and media.")
@click.option("--compress", "how", flag_value="compress", help="Compress their logs by zstd.")
@click.option("--dry_run", is_flag=True, help="Change nothing, as without --delete or --compress.")
def prune(
    call: Invocation, runs: Sequence[str], older_than: float, how: str | None, dry_run: bool
) -> Exit:
    """Delete or compress runs that the server has.

    Of all runs in the log folders, or those named, the ones that can go: their records and their
    end are confirmed, what the server has was read back now and is equal, record by record, and
    nothing was written to them for AGE. Where records go to several destinations, each has to have
    them; --destination names the one whose copy is enough. Without --delete or --compress nothing
    is changed.
    """
    from syncd.service import folders

    # a daemon's are those that it was started with: each of them has to have what is deleted here
    wanted = replace(call.settings, destinations=folders.in_force(call.settings).destinations)
    targets = connect_all(wanted)
    done = _Done("" if dry_run else how or "")
    try:
        candidates, unusable = _candidates(runs, targets)
        for error in unusable:
            call.console.print(f"stays  {error}", style="red")
        went_well = [_prune(call, candidate, older_than, done) for candidate in candidates]
    except (Unreachable, Refused) as error:
        if done.gone:
            call.console.print(done.summary())
        call.console.print(error.without_daemon(_AGAIN), style="red")
        return Exit.LOGIN if isinstance(error, Refused) else Exit.OFFLINE
    finally:
        for _, destination in targets:
            destination.close()
    call.console.print(done.summary())
    return Exit.OK if all(went_well) and not unusable else Exit.FAILED


def _candidates(
    runs: Sequence[str], targets: Sequence[tuple[Settings, Destination]]
) -> tuple[list[_Candidate], list[SyncError]]:
    """The runs that are meant at any destination, each with what it is at each of them; and what
    can't be looked at. Raises UsageError for what names none, Unreachable, Refused."""
    from syncd.report.chosen import absent, chosen
    from syncd.sync.prune import Target

    found: dict[Path, dict[Target, LogFile]] = {}
    everywhere = []
    unusable = {} if runs else {error.where: error for error in absent(targets[0][0])}
    unknown: UsageError | None = None
    for settings, destination in targets:
        state = destination_folder(settings.state_dir, destination.identity.address)
        entity = destination.account().entity
        target = Target(destination, entity, settings.project, state, settings.lock_dir)
        everywhere.append(target)
        try:
            meant = chosen(runs, settings, state)
        except UsageError as error:  # an id that a file has at another destination alone
            unknown = error
            continue
        unusable |= {error.where: error for error in meant.unusable}
        for file in meant.files:
            found.setdefault(file.path, {})[target] = file
    if unknown and not found and not unusable:
        raise unknown
    at_each = ([(target, at.get(target)) for target in everywhere] for at in found.values())
    return [*at_each], [*unusable.values()]


def _prune(call: Invocation, candidate: _Candidate, older_than: float, done: _Done) -> bool:
    """See to one run, and say what came of it. Whether nothing went wrong. Raises Unreachable,
    Refused."""
    from syncd.sync import prune as work

    does = {"delete": work.delete, "compress": work.compress}.get(done.how)
    file = next(file for _, file in candidate if file)
    name = f"{file.header.run_name} ({file.path.name})"
    done.kept += 1
    try:
        compared = work.look_at(file)  # before, so that what comes meanwhile is seen
        if why := _why_kept(candidate, older_than, done.how):
            call.console.print(f"stays  {name}: {why}")
            return True
        freed = does(file, compared) if does else file.size
    except (Unreachable, Refused) as error:
        if _is_everybodys(error, candidate):
            raise
        call.console.print(f"stays  {name}: {error.without_daemon(_AGAIN)}", style="red")
        return False
    except (SyncError, OSError) as error:
        if isinstance(error, FileNotFoundError):  # another `prune` at once, say
            call.console.print(f"gone  {name}: somebody has moved or deleted it meanwhile")
            done.kept -= 1
            return True
        words = error if isinstance(error, SyncError) else error.strerror
        call.console.print(f"stays  {name}: {words}", style="red")
        return False
    done.kept, done.gone, done.freed = done.kept - 1, done.gone + 1, done.freed + freed
    call.console.print(f"{_DONE[done.how]}  {name}")
    return True


def _is_everybodys(error: Unreachable | Refused, candidate: _Candidate) -> bool:
    """Whether other runs have nothing to hope for. Where there was no answer they haven't: hundreds
    of runs would wait for theirs, one after another."""
    from syncd.report.verify import everybodys_trouble

    silent = isinstance(error, Unreachable) and error.kind is Connection.OFFLINE
    return silent or any(everybodys_trouble(target.destination) for target, _ in candidate)


def _why_kept(candidate: _Candidate, older_than: float, how: str) -> str:
    """What keeps the run here: all destinations have to have it. Raises UploadError, OSError."""
    from syncd.sync.prune import why_kept

    for target, file in candidate:
        why = "it is no run of its own there"
        if file:
            compressed = how == "compress"
            why = why_kept(file, target, older_than, time.time(), compressed=compressed)
        if why:
            kind = target.destination.identity.kind
            return f"{kind}: {why}" if len(candidate) > 1 else why
    return ""


_AGAIN: Final = "Run karaoke-syncd prune again: what is here stays until then"
_DONE: Final = {"": "could go", "delete": "deleted", "compress": "compressed"}


@dataclass(slots=True)
class _Done:
    """What came of the runs so far: how many are gone, how many stay, and the bytes that this
    freed. how: delete, compress, or empty to change nothing."""

    how: str
    gone: int = 0
    kept: int = 0
    freed: int = 0

    def summary(self) -> str:
        """In a line."""
        size = f"{self.freed / 1e6:,.1f} MB"
        runs = "1 run" if self.gone == 1 else f"{self.gone} runs"
        if self.how:
            return f"{_DONE[self.how].capitalize()}: {runs}, {size} freed; {self.kept} stay"
        more = ". Nothing was changed: --delete or --compress does it" if self.gone else ""
        return f"{runs} with {size} could go; {self.kept} stay{more}"
