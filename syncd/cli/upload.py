"""`sync` and `export`: upload once what is there; write a run in another format."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from karaoke_train.runlog.plain_text import one_line, several_lines
from syncd.cli.common import PATH, Invocation, command
from syncd.destination.base import Destination, Labels
from syncd.destination.registry import connect_all
from syncd.errors import Exit, SyncError, UsageError
from syncd.paths import destination_folder
from syncd.settings import Settings

if TYPE_CHECKING:
    from syncd.report.terminal import Terminal
    from syncd.sync.run_once import SyncInputs


@command(
    "sync",
    quiet=True,
    exits={
        Exit.OK: "the server has every record, or there was none to upload",
        Exit.FAILED: "records are left, or a file is unusable; the message says why",
        Exit.OFFLINE: "records are left: the server can't be reached",
        Exit.LOGIN: "records are left: nobody is logged in, or the server refuses the account",
        Exit.DECISION: "a run waits for a decision of yours; it is named with what you can do",
    },
    examples=(
        ("karaoke-syncd sync", "every run in ./logs that is to be uploaded"),
        ("karaoke-syncd sync logs/training_log_20240115_143022.jsonl", "one run"),
        ("karaoke-syncd sync --follow", "until all runs have ended"),
        ("karaoke-syncd sync --dry_run", "what would go where"),
        ("karaoke-syncd sync --sync_wandb_offline wandb", "offline runs of wandb's own"),
        ("karaoke-syncd sync --as_new copy.jsonl", "a copy as a run of its own"),
        ("karaoke-syncd sync --wandb_tags good,final run.jsonl", "tag it, also once it is there"),
    ),
)
@click.argument("paths", nargs=-1, type=PATH, metavar="[PATH]...")
@click.option("--run_name", help="The run's name on wandb; for a single file.")
@click.option("--wandb_tags", metavar="TAG[,TAG]", help="Replace the runs' tags on wandb.")
@click.option("--wandb_group", metavar="NAME", help="Put the runs into this group.")
@click.option(
    "--wandb_job_type", "--job_type", "wandb_job_type", metavar="NAME", help="Their job type."
)
@click.option("--wandb_notes", metavar="TEXT", help="The note on the runs' pages.")
@click.option(
    "--sync_wandb_offline", is_flag=True,
    help="Also hand wandb's own offline-run-* to `wandb sync`.",
)  # fmt: skip
@click.option("--as_new", is_flag=True, help="Upload the files as runs of their own.")
@click.option("--follow", is_flag=True, help="Go on until the runs have ended.")
@click.option("--dry_run", is_flag=True, help="Say what would go where; send nothing.")
def sync(
    call: Invocation,
    paths: Sequence[Path],
    run_name: str | None,
    sync_wandb_offline: bool,
    as_new: bool,
    follow: bool,
    dry_run: bool,
    **labels: str | None,
) -> Exit:
    """Upload once what is there, with a progress bar.

    PATH is a file or folder, instead of --log_dir: record logs (.jsonl) and older documents
    (.json).
    """
    from syncd.sync import run_once

    if run_name and (len(paths) != 1 or paths[0].is_dir()):
        raise UsageError("--run_name names one run: give it with one file")
    given = _labels(labels)
    targets = connect_all(call.settings)
    given_paths, settings = paths or call.settings.log_dir, call.settings
    inputs = run_once.collect_inputs(given_paths, settings.state_dir, recursive=settings.recursive)
    if dry_run:
        if as_new or sync_wandb_offline:
            raise UsageError("--dry_run is for record logs alone, as the runs that they are")
        codes = [_dry_run(call, *target, inputs, everything=not paths) for target in targets]
        return max(codes)
    if as_new:
        for settings, destination in targets:
            _assign_run_ids(inputs.files, settings, destination)
    code = run_once.sync(
        targets,
        inputs,
        call.console,
        run_name=run_name or "",
        follow=follow,
        everything=not paths,
        labels=given,
    )
    if sync_wandb_offline:
        return max(code, _sync_offline(call.settings, call.console, paths))
    return max(code, _left_offline(call.console, paths))


def _dry_run(
    call: Invocation,
    settings: Settings,
    destination: Destination,
    inputs: SyncInputs,
    *,
    everything: bool,
) -> Exit:
    from syncd.report.dry_run import plan
    from syncd.report.verdict import some

    console, waiting = call.console, 0
    for error in inputs.unusable:
        console.print(str(error), style="red")
    planned = list(plan(settings, destination, inputs, everything=everything))
    for one in planned:
        if one.stays:
            console.print(f"{one.path.name}: stays, as {one.stays}")
            continue
        waiting += one.pending
        place = one.url or f"{destination.identity.address}: {one.where}"
        console.print(f"{one.path.name} ({one.name}): {some(one.pending, 'record')} to {place}")
    console.print(
        f"Nothing was sent: {some(waiting, 'record')} of {some(len(planned), 'file')} would be"
    )
    return Exit.FAILED if inputs.unusable else Exit.OK


def _labels(given: Mapping[str, str | None]) -> Labels:
    """By the names of the options. Raises UsageError for a tag that wandb would refuse."""
    from karaoke_train.runlog.create import checked_tags
    from karaoke_train.runlog.format import RunLogError

    tags = [tag for part in (given["wandb_tags"] or "").split(",") if (tag := part.strip())]
    try:
        checked = checked_tags(tags)
    except RunLogError as error:
        raise UsageError(str(error)) from None
    rest = (given[f"wandb_{name}"] or "" for name in ("group", "job_type", "notes"))
    return Labels(checked, *rest)


def _assign_run_ids(files: Sequence[Path], settings: Settings, destination: Destination) -> None:
    from syncd.source.fingerprint import first_line
    from syncd.source.scanner import alias_key, header_of
    from syncd.state import decisions

    state = destination_folder(settings.state_dir, destination.identity.address)
    for path in files:
        if line := first_line(path):
            decisions.assign_run_id(state, alias_key(path, line), header_of(line, path).run_id)


def _left_offline(console: Terminal, paths: Sequence[Path]) -> Exit:
    """Say how wandb's own offline runs are uploaded that somebody names."""
    from syncd.destination.wandb.offline_runs import runs_in
    from syncd.report.verdict import some

    runs = runs_in(path for path in paths if path.is_dir())
    if not runs:
        return Exit.OK
    command = shlex.join(("karaoke-syncd", "sync", "--sync_wandb_offline", *map(str, paths)))
    words = f"{some(len(runs), 'offline run')} of wandb's own left. To hand them to `wandb sync`: "
    console.print(words + command, style="yellow", soft_wrap=True)
    return Exit.FAILED


def _sync_offline(settings: Settings, console: Terminal, paths: Sequence[Path]) -> Exit:
    from syncd.destination.wandb.credentials import find_login
    from syncd.destination.wandb.offline_runs import offline_runs, runs_in, sync
    from syncd.report.verdict import some

    if paths:
        runs = runs_in(path for path in paths if path.is_dir())
    else:
        runs = offline_runs([*settings.log_dir, *(folder.parent for folder in settings.log_dir)])
    console.print(f"{some(len(runs), 'offline run')} of wandb's own to be uploaded")
    failed = 0
    login = find_login(base_url=settings.base_url, entity=settings.entity)
    for run, problem in sync(runs, login, project=settings.project, entity=settings.entity):
        console.print(f"  {run.name}: {problem or 'uploaded'}")
        failed += bool(problem)
    return Exit.FAILED if failed else Exit.OK


@command(
    "export",
    to_stdout=True,
    exits={
        Exit.OK: "written; bad lines are left out, and counted on stderr",
        Exit.FAILED: "the file can't be read, or the output can't be written",
    },
    examples=(
        ("karaoke-syncd export run.jsonl > run.json", "the older one-document format"),
        ("karaoke-syncd export run.jsonl --format csv -o run.csv", "a table"),
        ("karaoke-syncd export run.jsonl --format parquet > run.parquet", "typed"),
        ("karaoke-syncd export run.jsonl --format tensorboard -o runs", "for `tensorboard`"),
    ),
)
@click.argument("file", type=PATH, metavar="FILE.jsonl")
@click.option(
    "--format", "form", type=click.Choice(("json", "csv", "parquet", "tensorboard")),
    default="json", show_default=True,
    help="json: the older one-document format; csv, parquet: a table; tensorboard: event files.",
)  # fmt: skip
@click.option(
    "-o", "--output", type=PATH,
    help="A file instead of standard output; for tensorboard, the log directory.",
)  # fmt: skip
def export(call: Invocation, file: Path, form: str, output: Path | None) -> Exit:
    """Write a run in another format."""
    from syncd.report import export as report

    if form == "tensorboard":
        return _export_events(file, output, call)
    if form == "parquet" and output is None and sys.stdout.isatty():
        raise UsageError("a Parquet file is nothing for a terminal", remedy="Name it with -o FILE")
    if output is None and sys.stdout is None:
        raise UsageError("standard output is closed", remedy="Name a file with -o FILE")
    pieces, skipped = report.export(file, form, call.settings.allow_config_keys)
    if skipped:
        print(one_line(f"{file}: {skipped} bad lines left out"), file=sys.stderr)
    if output:
        with report.replacing(output) as place, place.open("wb") as out:
            out.writelines(pieces)
    elif sys.stdout.isatty():
        for piece in pieces:  # a terminal would obey what a stranger wrote
            sys.stdout.write(several_lines(piece.decode("utf-8")))
    else:  # to a file or a program it goes as it is
        sys.stdout.buffer.writelines(pieces)
    return Exit.OK


def _export_events(path: Path, output: Path | None, call: Invocation) -> Exit:
    from syncd.report import tensorboard
    from syncd.source.scanner import LogFile, LogScanner

    if output is None:
        raise UsageError("event files need a folder", remedy="Name it with -o DIR")
    file = LogScanner(largest_media=call.settings.limits.largest_media).look(path, chosen=True)
    if not isinstance(file, LogFile):
        raise SyncError(file.problem or "it has no records yet", where=str(path))
    done = tensorboard.export(file, output, call.settings.allow_config_keys)
    for words in done.left_out:
        print(one_line(f"{path}: left out: {words}"), file=sys.stderr)
    words = f"Written: {done.folder}   (tensorboard --logdir {output})"
    call.console.print(words, soft_wrap=True)
    return Exit.OK
