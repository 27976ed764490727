"""`sync` and `export`: upload once what is there; write a run in another format."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from syncd.cli.common import add_command, login_of
from syncd.destination.wandb.credentials import Login
from syncd.errors import Exit, UsageError
from syncd.settings import Settings


def add(commands: Any) -> None:
    """Add the commands."""
    sync = add_command(
        commands, "sync", _sync, "upload once what is there, with a progress bar",
        exits=(Exit.OFFLINE, Exit.LOGIN, Exit.DECISION),
    )  # fmt: skip
    sync.add_argument("paths", nargs="*", type=Path, metavar="PATH",
                      help="files or folders instead of --log_dir; record logs (.jsonl) and older "
                      "documents (.json)")  # fmt: skip
    sync.add_argument("--run_name", help="the run's name on wandb; for a single file")
    sync.add_argument("--sync_wandb_offline", action="store_true",
                      help="also hand wandb's own offline-run-* to `wandb sync`")  # fmt: skip
    sync.add_argument("--as_new", action="store_true",
                      help="upload the files as runs of their own")  # fmt: skip
    sync.add_argument("--follow", action="store_true", help="go on until the runs have ended")
    export = add_command(commands, "export", _export, "write a run in another format")
    export.add_argument("file", type=Path, metavar="FILE.jsonl")
    export.add_argument("--format", choices=("json", "csv"), default="json",
                        help="json: the older one-document format; csv: a table")  # fmt: skip
    export.add_argument("-o", "--output", type=Path, help="a file instead of standard output")


def _sync(arguments: argparse.Namespace, settings: Settings, console: Console) -> Exit:
    from syncd.sync.run_once import gather, sync

    if arguments.run_name and (len(arguments.paths) != 1 or arguments.paths[0].is_dir()):
        raise UsageError("--run_name names one run: give it with one file")
    login = login_of(settings)
    work = gather(arguments.paths or settings.log_dir, settings.state_dir)
    if arguments.as_new:
        _make_new(work.files, settings, login)
    code = sync(
        settings,
        login,
        work,
        console,
        run_name=arguments.run_name or "",
        follow=arguments.follow,
        everything=not arguments.paths,
    )
    if arguments.sync_wandb_offline:
        code = max(code, _sync_offline(settings, console))
    return code


def _make_new(files: Sequence[Path], settings: Settings, login: Login) -> None:
    from syncd.report.status import destination_folder
    from syncd.source.scanner import alias_key, header_of
    from syncd.source.tailer import first_line
    from syncd.state import decisions

    destination = destination_folder(settings.state_dir, login.base_url)
    for path in files:
        if line := first_line(path):
            decisions.make_new(destination, alias_key(path, line), header_of(line, path).run_id)


def _sync_offline(settings: Settings, console: Console) -> Exit:
    from syncd.destination.wandb.offline_runs import offline_runs, sync

    runs = offline_runs([*settings.log_dir, *(folder.parent for folder in settings.log_dir)])
    console.print(f"{len(runs)} offline runs of wandb's own found")
    failed = 0
    for run, problem in sync(runs, project=settings.project, entity=settings.entity):
        console.print(f"  {run.name}: {problem or 'uploaded'}", highlight=False)
        failed += bool(problem)
    return Exit.FAILED if failed else Exit.OK


def _export(arguments: argparse.Namespace, settings: Settings, console: Console) -> Exit:
    from syncd.report.export import export

    text, skipped = export(arguments.file, arguments.format)
    if skipped:
        print(f"{arguments.file}: {skipped} bad lines left out", file=sys.stderr)
    if arguments.output:
        arguments.output.write_text(text, "utf-8")
    else:
        sys.stdout.write(text)
    return Exit.OK
