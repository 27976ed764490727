"""`prune`: runs that are at the server, whole and ended, off this disk."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import click

from syncd.cli.common import Invocation, command
from syncd.destination.registry import connect
from syncd.errors import Exit, Refused, SyncError, Unreachable, UploadError, UsageError
from syncd.paths import destination_folder

if TYPE_CHECKING:
    from syncd.source.scanner import LogFile
    from syncd.sync.prune import Target

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
        Exit.FAILED: "a file could not be deleted or compressed",
        Exit.OFFLINE: "the server can't be reached, so nothing was deleted",
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
    nothing was written to them for AGE. Without --delete or --compress nothing is changed.
    """
    from syncd.report.chosen import chosen
    from syncd.sync.prune import Target

    if len(call.settings.destinations) > 1:
        raise UsageError(
            "records go to several destinations, and one has to be named whose copy is enough",
            meaning="Nothing was deleted",
            remedy="Give --destination wandb or --destination trackio",
        )
    destination = connect(call.settings)
    state = destination_folder(call.settings.state_dir, destination.identity.address)
    files = chosen(runs, call.settings, state)
    try:
        entity = destination.account().entity
        target = Target(destination, entity, call.settings.project, state, call.settings.lock_dir)
        return _prune(call, files, target, older_than, "" if dry_run else how or "")
    except (Unreachable, Refused) as error:
        call.console.print(str(error), style="red")
        return Exit.LOGIN if isinstance(error, Refused) else Exit.OFFLINE
    finally:
        destination.close()


def _prune(
    call: Invocation, files: Sequence[LogFile], target: Target, older_than: float, how: str
) -> Exit:
    from syncd.sync import prune as work

    does = {"delete": work.delete, "compress": work.compress}.get(how)
    gone = freed = 0
    code = Exit.OK
    for file in files:
        name = f"{file.header.run_name} ({file.path.name})"
        try:
            if why := work.why_kept(file, target, older_than, time.time()):
                call.console.print(f"stays  {name}: {why}")
                continue
            freed += does(file) if does else file.size
        except (Unreachable, Refused):
            raise
        except (SyncError, OSError) as error:
            words = error if isinstance(error, SyncError) else error.strerror
            call.console.print(f"stays  {name}: {words}", style="red")
            code = code if isinstance(error, UploadError) else Exit.FAILED
            continue
        gone += 1
        call.console.print(f"{_DONE[how]}  {name}")
    call.console.print(_summary(how, gone, len(files) - gone, freed))
    return code


_DONE: Final = {"": "could go", "delete": "deleted", "compress": "compressed"}


def _summary(how: str, gone: int, kept: int, freed: int) -> str:
    size = f"{freed / 1e6:,.1f} MB"
    runs = "1 run" if gone == 1 else f"{gone} runs"
    if how:
        return f"{_DONE[how].capitalize()}: {runs}, {size} freed; {kept} stay"
    more = ". Nothing was changed: --delete or --compress does it" if gone else ""
    return f"{runs} with {size} could go; {kept} stay{more}"
