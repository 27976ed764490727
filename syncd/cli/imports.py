"""`import`: runs of other trainers, into record logs."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from syncd.cli.common import PATH, Invocation, command
from syncd.errors import Exit, SyncError, UsageError
from syncd.imports.foreign_run import ForeignRun

if TYPE_CHECKING:
    from syncd.report.terminal import Terminal


@command(
    "import",
    quiet=True,
    exits={
        Exit.OK: "the log folder has every run that was found, also if it had it before",
        Exit.FAILED: "a file is unusable; the others were imported",
    },
    examples=(
        ("karaoke-syncd import runs", "TensorBoard's event files, a run per folder"),
        ("karaoke-syncd import lightning_logs out/trainer_state.json", "tables and others"),
        ("karaoke-syncd import train.jsonl --run_name baseline", "under a name of its own"),
    ),
)
@click.argument("paths", nargs=-1, type=PATH, metavar="PATH...", required=True)
@click.option("--run_name", help="The run's name, where PATH holds one run.")
def import_(call: Invocation, paths: Sequence[Path], run_name: str | None) -> Exit:
    """Turn other trainers' logs into runs.

    PATH is a file or a folder with all below it: TensorBoard's event files, tables with a row per
    step (.csv, .tsv), lines of JSON objects (.jsonl), transformers' trainer_state.json. Each run
    becomes a record log in the log folder, which `sync` or the daemon uploads. Importing it again
    adds what is new.
    """
    from syncd.imports.find import find

    found = list(find(paths))
    if run_name:
        if len(found) != 1:
            raise UsageError(f"--run_name names one run, and there are {len(found)}")
        found = [
            replace(run, name=run_name) for run in found if isinstance(run, ForeignRun)
        ] or found
    done = [_import(call, run) for run in found]
    if any(done):
        flag = f"--log_dir {shlex.quote(str(call.settings.log_dir[0]))}"
        _say(call.console, f"Next: karaoke-syncd sync {flag}")
    return Exit.OK if all(done) else Exit.FAILED


def _import(call: Invocation, run: ForeignRun | SyncError) -> bool:
    """Whether the run is in the log folder now; says so."""
    from syncd.imports.into_log import into_log

    try:
        if isinstance(run, SyncError):
            raise run
        done = into_log(run, call.settings.log_dir[0], call.settings.project)
    except SyncError as error:
        _say(call.console, str(error))
        return False
    except OSError as error:
        _say(call.console, f"{error.filename or run}: {error.strerror}. It was not imported.")
        return False
    news = f"{done.new:,} records" if done.new else "nothing new"
    less = "".join(f"; left out: {count:,} {what}" for what, count in run.left_out.items())
    _say(call.console, f"{run.name}: {news}, in {done.path.name}{less}")
    return True


def _say(console: Terminal, words: str) -> None:
    console.print(words, soft_wrap=True)
