"""`start`, `stop`, `restart`, `status`, `watching`: the daemon without a service manager."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from typing import Any, Final

from rich.console import Console

from syncd import logging_setup
from syncd.cli.common import add_command, login_of
from syncd.destination.wandb.credentials import Login, leave_to_file
from syncd.errors import Exit
from syncd.settings import Settings

STOP_WAIT: Final = 20.0  # seconds until a daemon that was asked to stop is killed
START_WAIT: Final = 15.0  # until a detached daemon has taken its state folder


def add(commands: Any) -> None:
    """Add the commands."""
    start = add_command(
        commands, "start", _start, "run the daemon, in the foreground", exits=(Exit.BUSY,)
    )
    start.add_argument("--detach", action="store_true", help="in the background, without systemd")
    stop = add_command(commands, "stop", _stop, "stop the daemon; nothing is lost")
    stop.add_argument("--timeout", type=float, default=STOP_WAIT, help="seconds, then it's killed")
    restart = add_command(
        commands, "restart", _restart, "stop the daemon, start it detached", exits=(Exit.BUSY,)
    )
    restart.add_argument("--timeout", type=float, default=STOP_WAIT, help="seconds to stop")
    status = add_command(
        commands, "status", _status, "is my data safe, what is left, what do I do",
        exits=(Exit.NOT_RUNNING, Exit.OFFLINE, Exit.LOGIN, Exit.DECISION),
    )  # fmt: skip
    status.add_argument("--json", action="store_true", help="a stable schema, for programs")
    add_command(
        commands, "watching", _watching, "exit 0 if a daemon watches the log folders, else 3",
        exits=(Exit.NOT_RUNNING,),
    )  # fmt: skip


def _start(arguments: argparse.Namespace, settings: Settings, console: Console) -> Exit:
    from syncd.service.process import DaemonRuns, serve

    def reload() -> tuple[Settings, Login]:
        from syncd.cli import load_settings

        fresh = load_settings(arguments)
        logging_setup.set_up(fresh.log_level)
        return fresh, login_of(fresh)

    if arguments.detach:
        return _detach(settings, console)
    logging_setup.catch_threads()
    leave_to_file(os.environ)
    try:
        return serve(settings, login_of(settings), reload=reload)
    except DaemonRuns as error:
        logging_setup.complain(str(error))
        return Exit.BUSY


def _detach(settings: Settings, console: Console) -> Exit:
    from syncd.state.lease import daemon_of

    if holder := daemon_of(settings.state_dir):
        console.print(f"A daemon is running already: {holder}.", highlight=False)
        return Exit.BUSY
    settings.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    output = settings.state_dir / "daemon.log"
    command = [sys.executable, "-m", "syncd", "start"]
    command += [f"--log_dir={folder}" for folder in settings.log_dir]
    command += [
        f"--{key}={value}" for key in ("project", "entity") if (value := getattr(settings, key))
    ]
    with output.open("ab") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
        )
    deadline = time.monotonic() + START_WAIT
    while time.monotonic() < deadline and process.poll() is None:
        holder = daemon_of(settings.state_dir)
        if holder and holder.pid == process.pid:
            console.print(f"The daemon runs (process {process.pid}). Its words: {output}")
            return Exit.OK
        time.sleep(0.05)
    console.print(f"The daemon did not start; see {output}")
    return Exit.FAILED


def _stop(arguments: argparse.Namespace, settings: Settings, console: Console) -> Exit:
    import socket

    from syncd.state.lease import daemon_of

    holder = daemon_of(settings.state_dir)
    if holder is None:
        console.print("No daemon is running.")
        return Exit.OK
    if holder.host != socket.gethostname():
        console.print(f"The daemon is {holder}: stop it there.", highlight=False)
        return Exit.FAILED
    for number, seconds in ((signal.SIGTERM, arguments.timeout), (signal.SIGKILL, 5.0)):
        os.kill(holder.pid, number)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if daemon_of(settings.state_dir) is None:
                console.print("The daemon has stopped. What is not uploaded is safe on disk.")
                return Exit.OK
            time.sleep(0.05)
    console.print(f"Process {holder.pid} does not stop.")
    return Exit.FAILED


def _restart(arguments: argparse.Namespace, settings: Settings, console: Console) -> Exit:
    from syncd.service import systemd
    from syncd.state.lease import daemon_of

    holder = daemon_of(settings.state_dir)
    if holder and holder.pid == systemd.state().pid:  # its manager's to restart, with its flags
        systemd.ask("restart")
        console.print("The service was restarted. See karaoke-syncd service status")
        return Exit.OK
    stopped = _stop(arguments, settings, console)
    return _detach(settings, console) if stopped is Exit.OK else stopped


def _status(arguments: argparse.Namespace, settings: Settings, console: Console) -> Exit:
    from syncd.report.render import render
    from syncd.report.status import collect, exit_code, to_json

    status = collect(settings, login_of(settings))
    if arguments.json:
        print(json.dumps(to_json(status), indent=2))
    else:
        render(status, console)
    return exit_code(status)


def _watching(arguments: argparse.Namespace, settings: Settings, console: Console) -> Exit:
    from syncd.report.status import daemons_word
    from syncd.state.lease import daemon_of

    holder = daemon_of(settings.state_dir)
    watched = daemons_word(settings.state_dir).get("log_dir", [])
    if holder and all(str(folder) in watched for folder in settings.log_dir):
        console.print(f"Watched by {holder}.", highlight=False)
        return Exit.OK
    return Exit.NOT_RUNNING
