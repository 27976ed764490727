"""`service install|uninstall|status|restart|reload|logs`: the daemon as a systemd user service."""

from __future__ import annotations

import os
import shlex
import shutil
from typing import Final

import click

from syncd.cli.common import Group, Invocation, command
from syncd.destination.registry import connect_all
from syncd.errors import Exit, SyncError
from syncd.paths import daemon_log

service: Final = Group(
    name="service",
    help="Have systemd run the daemon, after every login or boot.",
    examples=(
        ("karaoke-syncd service install --log_dir logs", "once, and again after an upgrade"),
        ("karaoke-syncd service logs -f", "what it says"),
    ),
)

ANSWER: Final = 30.0  # seconds until a daemon that reads its settings again has said so

_REFUSED: Final = "there is no user manager here, or it refuses; the message says what to do"


@command(
    "install",
    daemon=True,
    to_stdout=True,
    exits={Exit.OK: "installed, enabled and running", Exit.FAILED: _REFUSED},
    examples=(
        ("karaoke-syncd service install --log_dir logs", "one log folder"),
        ("karaoke-syncd service install", "with the folders of config.toml"),
        ("karaoke-syncd service install --linger", "also while you are logged out"),
    ),
)
@click.option("--linger", is_flag=True, help="Also keep it running while you are logged out.")
def install(call: Invocation, linger: bool) -> Exit:
    """Write, enable and start the unit; again after an upgrade.

    Doing it again changes nothing; with other folders it replaces the unit and restarts it.
    """
    from syncd.service import systemd, unit_file
    from syncd.service.launch import start_arguments

    given = start_arguments(call.settings)
    systemd.require_manager(shlex.join(given))
    changed = systemd.install(call.settings, given)
    say = call.console.print
    say(f"{'Wrote' if changed else 'Unchanged:'} {unit_file.path()}")
    for folder in call.settings.log_dir:
        missing = "" if folder.is_dir() else " (watched as soon as it exists)"
        say(f"Uploads from {folder}{missing}")
    if linger and not systemd.lingers() and (problem := systemd.enable_linger()):
        say(f"Lingering was refused: {problem}. Ask an administrator.")
    elif not systemd.lingers():
        say(systemd.LINGER_HINT)
    identities = [destination.identity for _, destination in connect_all(call.settings)]
    if any(
        identity.needs_key and (not identity.key_source or identity.key_from_environment)
        for identity in identities
    ):
        say(
            "The service has no API key: it does not see this shell's WANDB_API_KEY. "
            "Run `wandb login`, or see docs/service.md for other places.",
        )
    say("Running. See karaoke-syncd status, karaoke-syncd service logs -f")
    return Exit.OK


@command(
    "uninstall",
    to_stdout=True,
    any_settings=True,
    exits={Exit.OK: "no service is installed any more", Exit.FAILED: _REFUSED},
    examples=(("karaoke-syncd service uninstall", "nothing of your data goes"),),
)
def uninstall(call: Invocation) -> Exit:
    """Stop and remove the unit; logs and state stay."""
    from syncd.service import systemd

    systemd.require_manager("")
    if systemd.uninstall():
        call.console.print("Stopped and removed. Logs and state stay; nothing of them is lost.")
    else:
        call.console.print("There is no service to remove.")
    return Exit.OK


@command(
    "status",
    to_stdout=True,
    any_settings=True,
    exits={
        Exit.OK: "the service is active",
        Exit.FAILED: "there is no user manager here; the message says what to do",
        Exit.NOT_RUNNING: "the service is not installed, or not active",
    },
    examples=(("karaoke-syncd service status", "`karaoke-syncd status` tells of your data"),),
)
def status(call: Invocation) -> Exit:
    """Is it installed, enabled, running."""
    from syncd.service import systemd, unit_file
    from syncd.service.launch import start_arguments

    state = systemd.state()
    if state.manager:
        systemd.require_manager(shlex.join(start_arguments(call.settings)))
    if not state.installed:
        call.console.print("Not installed: karaoke-syncd service install --log_dir DIR")
        return Exit.NOT_RUNNING
    say = call.console.print
    say(f"Unit     {unit_file.path()}")
    say(f"Enabled  {'yes' if state.enabled else 'no: karaoke-syncd service install'}")
    process = f", process {state.pid}" if state.pid else ""
    restarts = f", restarted {state.restarts} times" if state.restarts else ""
    say(f"Active   {state.active}{process}{restarts}")
    problem, remedy = systemd.program_problem()
    if problem:
        say(f"Program  {problem}. {remedy}", soft_wrap=True)
    if state.words:
        say(f"Says     {state.words}")
    say(f"Linger   {'yes' if state.linger else 'no: ' + systemd.LINGER_HINT}")
    return Exit.OK if state.runs else Exit.NOT_RUNNING


@command(
    "restart",
    to_stdout=True,
    exits={Exit.OK: "restarted, and running", Exit.FAILED: _REFUSED},
    examples=(("karaoke-syncd service restart", "after a change of the proxy, say"),),
)
def restart(call: Invocation) -> Exit:
    """Stop and start it."""
    return _ask_manager(call, "restart")


@command(
    "reload",
    to_stdout=True,
    exits={
        Exit.OK: "the settings were read, and are in force",
        Exit.FAILED: "they are not, or the service can't be asked; the message says why",
    },
    examples=(("karaoke-syncd service reload", "after a change of config.toml"),),
)
def reload(call: Invocation) -> Exit:
    """Have it read config.toml and the environment file again."""
    import time

    from syncd.state import daemon_report
    from syncd.state.lease import daemon_of

    state, asked_at = call.settings.state_dir, time.monotonic()
    holder, before = daemon_of(state), daemon_report.load(state)
    asked = _ask_manager(call, "reload")
    if not before.is_by(holder) or not before.settings_read:
        return asked  # of a version that does not tell, or its state folder is another one
    report = daemon_report.wait_for_reading(state, asked_at, ANSWER)
    if report is None:
        raise SyncError(
            f"it has not said within {ANSWER:g} s that it has read its settings",
            meaning="The old ones are in force until then",
            remedy="See karaoke-syncd service logs, and karaoke-syncd status",
        )
    if report.settings_problem:
        raise SyncError(report.settings_problem, meaning="What that is about stays as it was")
    call.console.print("The settings are read, and in force.")
    return Exit.OK


def _ask_manager(call: Invocation, what: str) -> Exit:
    from syncd.service import systemd, unit_file
    from syncd.service.launch import start_arguments

    systemd.require_manager(shlex.join(start_arguments(call.settings)))
    try:
        systemd.ask(what)
    except SyncError:
        if unit_file.path().exists():
            raise
        raise SyncError(
            "the service is not installed",
            remedy="karaoke-syncd service install --log_dir DIR",
        ) from None
    call.console.print(f"Asked to {what}; see karaoke-syncd service logs")
    return Exit.OK


@command(
    "logs",
    to_stdout=True,
    any_settings=True,
    exits={
        Exit.OK: "printed",
        Exit.FAILED: "this machine has no journal, or journalctl fails; its codes are ours",
    },
    examples=(
        ("karaoke-syncd service logs -n 20", "the last 20 lines"),
        ("karaoke-syncd service logs -f", "and what follows"),
    ),
)
@click.option("-f", "--follow", is_flag=True, help="Go on as more is said.")
@click.option("-n", "--lines", type=int, default=100, show_default=True, help="How many.")
def logs(call: Invocation, follow: bool, lines: int) -> Exit:
    """Print what the service has said."""
    from syncd.service import systemd, unit_file

    log = daemon_log(call.settings.state_dir)
    journalctl = shutil.which("journalctl")
    if journalctl is None or not systemd.BOOTED.is_dir():
        raise SyncError(
            "this machine has no journal",
            remedy=f"A detached daemon's log is {log}; see its end: "
            + shlex.join(["tail", *(["-f"] if follow else []), "-n", str(lines), str(log)]),
        )
    if not unit_file.path().exists() and log.exists():  # of a service that was, the journal has it
        call.console.print(f"No service is installed. A detached daemon's log is {log}")
    words = [journalctl, "--no-hostname", f"--user-unit={unit_file.NAME}", f"--lines={lines}"]
    os.execv(journalctl, [*words, *(["--follow"] if follow else [])])


for _command in (install, uninstall, status, restart, reload, logs):
    service.add_command(_command)
