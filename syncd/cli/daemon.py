"""`start`, `stop`, `restart`, `status`, `watching`: the daemon without a service manager."""

from __future__ import annotations

import os
import shlex
import time
from typing import TYPE_CHECKING, Final

import click

from karaoke_train.runlog.plain_text import json_text
from syncd import logging_setup, without
from syncd.cli.common import Invocation, command, say
from syncd.destination.registry import connect_all, leave_to_env_file, login_files
from syncd.errors import Exit, UsageError
from syncd.settings import Settings

if TYPE_CHECKING:
    from syncd.report.status import Status
    from syncd.report.terminal import Terminal

STOP_WAIT: Final = 20.0  # seconds until a daemon that was asked to stop is killed

_timeout: Final = click.option(
    "--timeout", type=float, default=STOP_WAIT, show_default=True, metavar="SECONDS",
    help="How long it may take to stop; then it is killed.",
)  # fmt: skip


@command(
    "start",
    daemon=True,
    exits={
        Exit.OK: "it was stopped by a signal; with --detach: it runs",
        Exit.FAILED: "it ended, or with --detach did not start; the message says why",
        Exit.BUSY: "a daemon is running already",
    },
    examples=(
        ("karaoke-syncd start --log_dir logs", "until Ctrl-C"),
        ("karaoke-syncd start --detach --log_dir a/logs --log_dir b/logs", "two log folders"),
        ("karaoke-syncd start --detach --log_level debug", "with much to read in its log file"),
        ("karaoke-syncd start --on_event 'mail -s karaoke me@example.org'", "tell what happens"),
    ),
)
@click.option("--detach", is_flag=True, help="In the background, without systemd.")
def start(call: Invocation, detach: bool) -> Exit:
    """Run the daemon, in the foreground."""
    from syncd.paths import config_file

    with without.garbage_collection():
        from syncd.service.process import DaemonRuns, InForce, run_forever

    def reload() -> InForce:
        fresh = call.reload()
        return fresh, connect_all(fresh)

    if detach:
        return _start_detached(call.settings, call.console)
    logging_setup.catch_threads()
    leave_to_env_file()
    try:
        return run_forever(
            call.settings,
            connect_all(call.settings),
            reload=reload,
            files=lambda: (config_file(), *login_files()),
        )
    except DaemonRuns as error:
        logging_setup.print_error(str(error))
        return Exit.BUSY


def _start_detached(settings: Settings, console: Terminal) -> Exit:
    from syncd.paths import daemon_log
    from syncd.service.launch import start_in_background
    from syncd.state.lease import seen_daemon

    if holder := seen_daemon(settings.state_dir):
        console.print(f"A daemon is running already: {holder}.")
        return Exit.BUSY
    pid = start_in_background(settings)
    log = daemon_log(settings.state_dir)
    console.print(f"The daemon runs (process {pid}). Its log: {log}")
    return Exit.OK


@command(
    "stop",
    exits={
        Exit.OK: "no daemon is running any more",
        Exit.FAILED: "it does not stop, runs on another machine, or can't be seen",
    },
    examples=(("karaoke-syncd stop", "what is not uploaded stays safe on disk"),),
)
@_timeout
def stop(call: Invocation, timeout: float) -> Exit:
    """Stop the daemon; nothing is lost."""
    return _stop(call.settings, call.console, timeout)


def _stop(settings: Settings, console: Terminal, timeout: float) -> Exit:
    import signal
    import socket

    from syncd.state.lease import seen_daemon

    holder = seen_daemon(settings.state_dir)
    if holder is None:
        console.print("No daemon is running.")
        return Exit.OK
    # Asked before the host, which isn't known either where nobody has signed
    if not 0 < holder.pid < 1 << 22:  # a signal to 0 or -1 goes to many processes
        where = settings.state_dir / "daemon.lock"
        console.print(
            f"A daemon runs, and which process it is can't be read in {where}. If the disk is "
            "full, make room and ask again; else look for it yourself: pgrep -af 'syncd start'"
        )
        return Exit.FAILED
    if holder.host != socket.gethostname():
        console.print(f"The daemon is {holder}: stop it there.")
        return Exit.FAILED
    for number, seconds in ((signal.SIGTERM, timeout), (signal.SIGKILL, 5.0)):
        os.kill(holder.pid, number)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if seen_daemon(settings.state_dir) is None:
                console.print("The daemon has stopped. What is not uploaded is safe on disk.")
                return Exit.OK
            time.sleep(0.05)
    console.print(f"Process {holder.pid} does not stop.")
    return Exit.FAILED


@command(
    "restart",
    daemon=True,
    exits={
        Exit.OK: "a new daemon runs",
        Exit.FAILED: "the old one does not stop, or the new one does not start",
        Exit.BUSY: "another daemon was started in between",
    },
    examples=(("karaoke-syncd restart --log_dir logs", "with the flags that it shall have now"),),
)
@_timeout
def restart(call: Invocation, timeout: float) -> Exit:
    """Stop the daemon, start it detached.

    Folders, project and destinations that are not named stay the daemon's. A daemon that systemd
    runs, or would run if it were not stopped, is restarted by systemd, with its own flags.
    """
    from syncd.service import folders, systemd
    from syncd.service.launch import named_by_flags
    from syncd.state.lease import seen_daemon

    holder, named = seen_daemon(call.settings.state_dir), named_by_flags(call.settings)
    service = systemd.state()
    would_run = service.enabled and not (service.runs or named)
    if service.is_process(holder) if holder else would_run:
        systemd.ask("restart")
        call.console.print("The service was restarted. See karaoke-syncd service status")
        if named:
            call.console.print(
                "It has its own flags, not those given here. For these: karaoke-syncd service "
                f"install {shlex.join(named)}"
            )
        return Exit.OK
    settings = folders.in_force(call.settings) if holder else call.settings
    stopped = _stop(call.settings, call.console, timeout)
    return _start_detached(settings, call.console) if stopped is Exit.OK else stopped


@command(
    "status",
    to_stdout=True,
    at_once=True,
    exits={
        Exit.OK: "every record is on the server, or a daemon is uploading it",
        Exit.NOT_RUNNING: "records wait, and no daemon is running",
        Exit.OFFLINE: "records wait until the server can be reached; tried again without you",
        Exit.LOGIN: "records wait: nobody is logged in, or the server refuses the account",
        Exit.DECISION: "a run waits for a decision of yours; it is named with what you can do",
        Exit.SILENT: "the daemon has not reported for 30 s: it hangs, or can't write its state",
        Exit.ELSEWHERE: "records wait, and the daemon uploads to another server or account",
        Exit.TROUBLE: "a run, file or folder is in trouble; it is named, with what to do",
    },
    examples=(
        ("karaoke-syncd status", "for the daemon's log folders, or ./logs"),
        ("karaoke-syncd status --filter waiting --all", "every run of a state, or a name"),
        ("karaoke-syncd status --watch", "in place, with rates and a bar per run"),
        ("karaoke-syncd status --json --log_dir logs", "for a script"),
    ),
)
@click.option("--json", "as_json", is_flag=True, help="A stable schema, for programs.")
@click.option("--all", "everything", is_flag=True, help="Every run, however many there are.")
@click.option(
    "--limit", type=click.IntRange(min=0), metavar="N",
    help="At most so many runs (default: what fits, 20 at most).",
)  # fmt: skip
@click.option(
    "--filter", "wanted", multiple=True, metavar="STATE|NAME",
    help="Runs of a state (waiting, …), live or trouble; or a part of a name. Repeatable.",
)  # fmt: skip
@click.option("--watch", "in_place", is_flag=True, help="Refresh in place, until q or Ctrl-C.")
@click.option("--links", is_flag=True, help="The runs' addresses in full, to copy.")
def status(
    call: Invocation,
    as_json: bool,
    everything: bool,
    limit: int | None,
    wanted: tuple[str, ...],
    in_place: bool,
    links: bool,
) -> Exit:
    """Is my data safe, what is left, what do I do."""
    from syncd.report.collect import collect
    from syncd.report.status import exit_code_of
    from syncd.service import folders
    from syncd.source import tailer

    counts = tailer.Counts()

    def look() -> list[Status]:
        settings = folders.in_force(call.settings)
        with without.garbage_collection():
            return [collect(*target, counts) for target in connect_all(settings)]

    most = None if everything else limit
    if as_json:
        if in_place:
            raise UsageError("--watch is for people: give --json alone, again and again")
        from syncd.report.selection import select
        from syncd.report.status import to_json_of

        found = look()
        runs = [select(one.runs, wanted, most, in_order=False).shown for one in found]
        say(json_text(to_json_of(found, runs)))
        return exit_code_of(found)
    from syncd.report.page import page_of_stdout
    from syncd.report.render import View, fitting, render_all

    if in_place:
        import gc

        from syncd.report.watch import watch

        gc.enable()
        return exit_code_of(watch(look, call.console.drawing, View(wanted, most, links)))
    found, page = look(), page_of_stdout()
    fits = fitting(page) if limit is None else limit
    render_all(found, page, View(wanted, None if everything else fits, links))
    say(str(page))
    return exit_code_of(found)


@command(
    "watching",
    to_stdout=True,
    at_once=True,
    exits={
        Exit.OK: "a daemon watches all of the log folders",
        Exit.NOT_RUNNING: "no daemon is running, it leaves out one of them, or it hangs",
    },
    examples=(("karaoke-syncd watching --log_dir logs || karaoke-syncd sync", "in a script"),),
)
def watching(call: Invocation) -> Exit:
    """Exit 0 if a daemon watches the log folders and does not hang, else 3."""
    from syncd.service.folders import is_watched
    from syncd.state import daemon_report
    from syncd.state.lease import daemon_of

    holder = daemon_of(call.settings.state_dir)
    report = daemon_report.load(call.settings.state_dir)
    deep_enough = report.recursive or not call.settings.recursive
    named = call.settings.log_dir
    if holder is None or not report.is_by(holder) or daemon_report.hung_for(report, holder):
        return Exit.NOT_RUNNING
    if deep_enough and all(is_watched(folder, report) for folder in named):
        call.console.print(f"Watched by {holder}.")
        return Exit.OK
    return Exit.NOT_RUNNING
