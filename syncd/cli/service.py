"""`service install|uninstall|status|restart|reload|logs`: the daemon as a systemd user service."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
from typing import Any

from rich.console import Console

from syncd.cli.common import ALWAYS, add_command, exit_status
from syncd.errors import Exit, SyncError
from syncd.settings import Settings


def add(commands: Any) -> None:
    """Add the command and its own subcommands."""
    group = commands.add_parser(
        "service",
        help="run by systemd, after every login or boot",
        description="The daemon as a systemd user service.",
        epilog=exit_status({*ALWAYS, Exit.NOT_RUNNING}),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = group.add_subparsers(dest="kind", required=True, metavar="COMMAND")
    install = add_command(
        kinds, "install", _install, "write, enable and start the unit; again after an upgrade"
    )
    install.add_argument("--linger", action="store_true",
                         help="also keep it running while you are logged out")  # fmt: skip
    add_command(kinds, "uninstall", _uninstall, "stop and remove the unit; logs and state stay")
    add_command(
        kinds, "status", _status, "is it installed, enabled, running", exits=(Exit.NOT_RUNNING,)
    )
    for name, words in (
        ("restart", "stop and start it"),
        ("reload", "have it read config.toml and the environment file again"),
    ):
        add_command(kinds, name, _ask_manager, words)
    logs = add_command(kinds, "logs", _logs, "what the service has said")
    logs.add_argument("-f", "--follow", action="store_true", help="go on as more is said")
    logs.add_argument("-n", "--lines", type=int, default=100, help="how many (default: 100)")


def _install(arguments: argparse.Namespace, settings: Settings, console: Console) -> Exit:
    from syncd.destination.wandb.credentials import find_login
    from syncd.service import systemd, unit_file

    given = systemd.start_arguments(settings)
    systemd.require_manager(shlex.join(given))
    changed = systemd.install(settings, given)
    console.print(f"{'Wrote' if changed else 'Unchanged:'} {unit_file.path()}", highlight=False)
    for folder in settings.log_dir:
        missing = "" if folder.is_dir() else " (watched as soon as it exists)"
        console.print(f"Uploads from {folder}{missing}", highlight=False)
    if arguments.linger and not systemd.lingers() and (problem := systemd.enable_linger()):
        console.print(f"Lingering was refused: {problem}. Ask an administrator.", highlight=False)
    elif not systemd.lingers():
        console.print(systemd.LINGER_HINT, highlight=False)
    login = find_login(base_url=settings.base_url, entity=settings.entity)
    if not login.key or login.source == "WANDB_API_KEY":
        console.print(
            "The service has no API key: it does not see this shell's WANDB_API_KEY. "
            "Run `wandb login`, or see docs/service.md for other places.",
            highlight=False,
        )
    console.print("Running. See karaoke-syncd status, karaoke-syncd service logs -f")
    return Exit.OK


def _uninstall(arguments: argparse.Namespace, settings: Settings, console: Console) -> Exit:
    from syncd.service import systemd

    systemd.require_manager("")
    if systemd.uninstall():
        console.print("Stopped and removed. Logs and state stay; nothing of them is lost.")
    else:
        console.print("There is no service to remove.")
    return Exit.OK


def _status(arguments: argparse.Namespace, settings: Settings, console: Console) -> Exit:
    from syncd.service import systemd, unit_file

    state = systemd.state()
    if state.manager:
        systemd.require_manager(shlex.join(systemd.start_arguments(settings)))
    if not state.installed:
        console.print("Not installed: karaoke-syncd service install --log_dir DIR")
        return Exit.NOT_RUNNING
    console.print(f"Unit     {unit_file.path()}", highlight=False)
    console.print(f"Enabled  {'yes' if state.enabled else 'no: karaoke-syncd service install'}")
    process = f", process {state.pid}" if state.pid else ""
    restarts = f", restarted {state.restarts} times" if state.restarts else ""
    console.print(f"Active   {state.active}{process}{restarts}", highlight=False)
    if state.words:
        console.print(f"Says     {state.words}", highlight=False, markup=False)
    console.print(f"Linger   {'yes' if state.linger else 'no: ' + systemd.LINGER_HINT}")
    return Exit.OK if state.active in ("active", "reloading") else Exit.NOT_RUNNING


def _ask_manager(arguments: argparse.Namespace, settings: Settings, console: Console) -> Exit:
    from syncd.service import systemd

    systemd.require_manager(shlex.join(systemd.start_arguments(settings)))
    systemd.ask(arguments.kind)
    console.print(f"Asked to {arguments.kind}; see karaoke-syncd service logs")
    return Exit.OK


def _logs(arguments: argparse.Namespace, settings: Settings, console: Console) -> Exit:
    from syncd.service import unit_file

    journalctl = shutil.which("journalctl")
    if journalctl is None:
        raise SyncError(
            "this machine has no journal",
            remedy=f"A detached daemon's words are in {settings.state_dir}/daemon.log",
        )
    command = [
        journalctl,
        "--no-hostname",
        f"--user-unit={unit_file.NAME}",
        f"--lines={arguments.lines}",
    ]
    os.execv(journalctl, [*command, *(["--follow"] if arguments.follow else [])])
