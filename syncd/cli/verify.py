"""`verify`: is what the server has what the files have, record by record."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from syncd.cli.common import add_command, login_of
from syncd.destination.wandb.credentials import Login
from syncd.errors import Exit, Refused, SyncError, Unreachable, UsageError
from syncd.settings import Settings
from syncd.source.scanner import Found

if TYPE_CHECKING:  # it brings requests, which no other command has to wait for
    from syncd.report.verify import Comparison


def add(commands: Any) -> None:
    """Add the command."""
    command = add_command(
        commands,
        "verify",
        _verify,
        "compare what the server has with the files, record by record",
        exits=(Exit.OFFLINE, Exit.LOGIN, Exit.DIFFERENT),
    )
    command.add_argument("runs", nargs="*", metavar="RUN|FILE",
                         help="run ids and files (default: all runs in the log folders that are "
                         "to be uploaded)")  # fmt: skip
    command.add_argument("--json", action="store_true", help="a stable schema, for programs")


def _verify(arguments: argparse.Namespace, settings: Settings, console: Console) -> Exit:
    from syncd.destination.wandb.api import Server
    from syncd.report.verify import verify

    login = login_of(settings)
    server = Server(login, settings.limits.answer)
    chosen = _chosen(arguments.runs, settings, login)
    compared: list[tuple[Found, Comparison]] = []
    try:
        entity = server.viewer()
        for found in chosen:
            assert found.header is not None
            project = settings.project or found.header.project
            compared.append((found, verify(found, project, entity, server, login)))
    except (Unreachable, Refused) as error:
        console.print(str(error), style="red", highlight=False)
        return Exit.LOGIN if isinstance(error, Refused) else Exit.OFFLINE
    except OSError as error:
        raise SyncError(f"can't be read: {error.strerror}", where=str(error.filename)) from None
    code = Exit.OK if all(result.equal for _, result in compared) else Exit.DIFFERENT
    if arguments.json:
        print(json.dumps(_to_json(compared, code), indent=2))
    else:
        _render(compared, console)
    return code


def _chosen(wanted: Sequence[str], settings: Settings, login: Login) -> list[Found]:
    """The runs to verify, one file each. Raises UsageError for what names none."""
    from syncd.report.status import destination_folder
    from syncd.source.scanner import Roster, settle_claims
    from syncd.state import decisions
    from syncd.sync.run_once import gather

    aliases = decisions.aliases(destination_folder(settings.state_dir, login.base_url))
    roster = Roster(lambda: aliases)
    here = [found for found in settle_claims(roster.scan(settings.log_dir), {}) if found.header]
    if not wanted:
        return [found for found in here if found.header and found.header.upload and not found.code]
    known = {found.header.run_id: found for found in here if found.header and not found.code}
    chosen = []
    for name in wanted:
        if name in known:
            chosen.append(known[name])
            continue
        work = gather([Path(name)], settings.state_dir)
        found_here = [found for path in work.files if (found := roster.look(path)).header]
        if not found_here:
            raise UsageError(
                f"{name!r} is no run that is known here, and no file with records",
                remedy="`karaoke-syncd status --json` lists the run ids; name its --log_dir",
            )
        chosen += found_here
    return chosen


def _to_json(compared: Sequence[tuple[Found, Comparison]], code: Exit) -> dict[str, Any]:
    return {
        "schema": 1,
        "exit_code": int(code),
        "exit": code.name.lower(),
        "runs": [
            {"run_id": found.header.run_id, "path": str(found.path), **result.to_json()}
            for found, result in compared
            if found.header
        ],
    }


def _render(compared: Sequence[tuple[Found, Comparison]], console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("run")
    for heading in ("records", "server", "missing", "repeated", "foreign", "different", "waiting"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for found, result in compared:
        assert found.header is not None
        numbers = (
            result.records, result.rows, result.missing, result.repeated, result.foreign,
            result.different, result.waiting,
        )  # fmt: skip
        table.add_row(
            escape(found.header.run_name), *(f"{number:,}" for number in numbers), _verdict(result)
        )
    console.print(table, highlight=False)
    for found, result in compared:
        for words in _details(result):
            console.print(f"{found.path.name}: {words}", highlight=False, markup=False)
    equal = sum(result.equal for _, result in compared)
    records = sum(result.records for _, result in compared if result.equal)
    console.print(
        f"{equal} of {len(compared)} runs are on the server as they are here: {records:,} records",
        highlight=False,
    )


def _verdict(result: Comparison) -> str:
    if result.equal:
        return "[green]equal[/]"
    return "[yellow]equal so far[/]" if result.sound else "[red]different[/]"


def _details(result: Comparison) -> list[str]:
    words = [
        f"{what} {', '.join(map(str, places))}{' …' if count > len(places) else ''}"
        for what, count, places in (
            ("no row for record", result.missing, result.missing_at),
            ("more than one row for record", result.repeated, result.repeated_at),
            ("no record for row", result.foreign, result.foreign_at),
        )
        if count
    ]
    words += [
        f"record {one.ordinal}, {one.key}: {one.file} here, {one.server} at the server"
        for one in result.differences
    ]
    return words
