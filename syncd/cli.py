"""karaoke-syncd: the command line."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from syncd import settings as settings_module
from syncd.credentials import Login, find_login
from syncd.errors import EXIT_HELP, Exit, SyncError, UsageError
from syncd.settings import LEVELS, Settings

STOP_WAIT: Final = 20.0  # seconds until a daemon that was asked to stop is killed
START_WAIT: Final = 15.0  # until a detached daemon has taken its state folder


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; answers its exit code."""
    arguments = parser().parse_args(argv)
    console = Console(stderr=arguments.command not in _TO_STDOUT)
    try:
        settings = _settings(arguments)
        _set_up_logging(arguments.log_level or _LEVELS.get(arguments.command, settings.log_level))
        run: Callable[[argparse.Namespace, Settings, Console], Exit] = arguments.run
        return int(run(arguments, settings, console))
    except UsageError as error:
        return _complain(error, arguments, Exit.USAGE)
    except SyncError as error:
        return _complain(error, arguments, Exit.FAILED)
    except KeyboardInterrupt:
        return int(Exit.INTERRUPTED)
    except BrokenPipeError:  # `… | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(Exit.OK)


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="karaoke-syncd",
        description="Uploads record logs to wandb: every record once, none lost.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_daemon_commands(commands)
    _add_upload_commands(commands)
    return top


_EPILOG: Final = """examples:
  karaoke-syncd start --log_dir logs      keep uploading what training writes to logs/
  karaoke-syncd status                    is my data safe, what is left, what do I do
  karaoke-syncd sync                      upload once what is there, and stop

settings: $XDG_CONFIG_HOME/karaoke-syncd/config.toml, then KARAOKE_SYNCD_* in the environment,
then flags; the later wins. Server, account and key come from where wandb looks: WANDB_BASE_URL,
WANDB_ENTITY, WANDB_API_KEY, ~/.netrc (wandb login).

exit status:
""" + "\n".join(f"  {int(code):<4} {words}" for code, words in EXIT_HELP.items())
_LEVELS: Final = {"sync": "error"}  # it says itself what came of it
_TO_STDOUT: Final = frozenset({"status", "export", "watching"})


def _add_daemon_commands(commands: Any) -> None:
    start = _command(commands, "start", _start, "run the daemon, in the foreground")
    start.add_argument("--detach", action="store_true", help="in the background, without systemd")
    stop = _command(commands, "stop", _stop, "stop the daemon; nothing is lost")
    stop.add_argument("--timeout", type=float, default=STOP_WAIT, help="seconds, then it's killed")
    restart = _command(commands, "restart", _restart, "stop the daemon, start it detached")
    restart.add_argument("--timeout", type=float, default=STOP_WAIT, help="seconds to stop")
    status = _command(commands, "status", _status, "is my data safe, what is left, what do I do")
    status.add_argument("--json", action="store_true", help="a stable schema, for programs")
    _command(commands, "watching", _watching, "exit 0 if a daemon watches the log folders, else 3")


def _add_upload_commands(commands: Any) -> None:
    sync = _command(commands, "sync", _sync, "upload once what is there, with a progress bar")
    sync.add_argument("paths", nargs="*", type=Path, metavar="PATH",
                      help="files or folders instead of --log_dir; record logs (.jsonl) and older "
                      "documents (.json)")  # fmt: skip
    sync.add_argument("--run_name", help="the run's name on wandb; for a single file")
    sync.add_argument("--sync_wandb_offline", action="store_true",
                      help="also hand wandb's own offline-run-* to `wandb sync`")  # fmt: skip
    sync.add_argument("--as_new", action="store_true",
                      help="upload the files as runs of their own")  # fmt: skip
    sync.add_argument("--follow", action="store_true", help="go on until the runs have ended")
    export = _command(commands, "export", _export, "write a run in another format")
    export.add_argument("file", type=Path, metavar="FILE.jsonl")
    export.add_argument("--format", choices=("json", "csv"), default="json",
                        help="json: the older one-document format; csv: a table")  # fmt: skip
    export.add_argument("-o", "--output", type=Path, help="a file instead of standard output")
    for name, decide, words in (
        ("retry", _retry, "take a run as it is now, and try at once"),
        ("forget", _forget, "leave a run alone for good"),
    ):
        command = _command(commands, name, decide, words)
        command.add_argument("runs", nargs="+", metavar="RUN", help="run id, as in `status --json`")


def _command(
    commands: Any, name: str, run: Callable[..., Exit], words: str
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=words, description=words[0].upper() + words[1:] + "."
    )
    command.add_argument("--log_dir", action="append", type=Path, metavar="DIR",
                         help="log folder, repeatable (default: logs)")  # fmt: skip
    command.add_argument("--project", help="upload to this project, not to the one a run names")
    command.add_argument("--entity", help="upload to this wandb user or team")
    command.add_argument("--log_level", choices=LEVELS, help="of what is said on stderr")
    command.set_defaults(run=run)
    return command


def _settings(arguments: argparse.Namespace) -> Settings:
    given = {key: getattr(arguments, key) for key in ("log_dir", "project", "entity", "log_level")}
    return settings_module.load(given)


def _login(settings: Settings) -> Login:
    return find_login(base_url=settings.base_url, entity=settings.entity)


def _start(arguments: argparse.Namespace, settings: Settings, console: Console) -> Exit:
    from syncd.serve import DaemonRuns, serve

    if arguments.detach:
        return _detach(settings, console)
    try:
        return serve(settings, _login(settings))
    except DaemonRuns as error:
        console.print(str(error), highlight=False)
        return Exit.BUSY


def _detach(settings: Settings, console: Console) -> Exit:
    from karaoke_train.runlog.lock import holder_of
    from syncd.lease import state_lock

    lock = state_lock(settings.state_dir).path
    if holder := holder_of(lock):
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
        holder = holder_of(lock)
        if holder and holder.pid == process.pid:
            console.print(f"The daemon runs (process {process.pid}). Its words: {output}")
            return Exit.OK
        time.sleep(0.05)
    console.print(f"The daemon did not start; see {output}")
    return Exit.FAILED


def _stop(arguments: argparse.Namespace, settings: Settings, console: Console) -> Exit:
    import socket

    from karaoke_train.runlog.lock import holder_of
    from syncd.lease import state_lock

    lock = state_lock(settings.state_dir).path
    holder = holder_of(lock)
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
            if holder_of(lock) is None:
                console.print("The daemon has stopped. What is not uploaded is safe on disk.")
                return Exit.OK
            time.sleep(0.05)
    console.print(f"Process {holder.pid} does not stop.")
    return Exit.FAILED


def _restart(arguments: argparse.Namespace, settings: Settings, console: Console) -> Exit:
    stopped = _stop(arguments, settings, console)
    return _detach(settings, console) if stopped is Exit.OK else stopped


def _status(arguments: argparse.Namespace, settings: Settings, console: Console) -> Exit:
    from syncd.render import render
    from syncd.status import collect, exit_code, to_json

    status = collect(settings, _login(settings))
    if arguments.json:
        print(json.dumps(to_json(status), indent=2))
    else:
        render(status, console)
    return exit_code(status)


def _watching(arguments: argparse.Namespace, settings: Settings, console: Console) -> Exit:
    from karaoke_train.runlog.lock import holder_of
    from syncd import store
    from syncd.lease import state_lock

    holder = holder_of(state_lock(settings.state_dir).path)
    watched = (store.read(settings.state_dir / "daemon.json") or {}).get("log_dir", [])
    if holder and all(str(folder) in watched for folder in settings.log_dir):
        console.print(f"Watched by {holder}.", highlight=False)
        return Exit.OK
    return Exit.NOT_RUNNING


def _sync(arguments: argparse.Namespace, settings: Settings, console: Console) -> Exit:
    from syncd.oneshot import gather, sync

    if arguments.run_name and (len(arguments.paths) != 1 or arguments.paths[0].is_dir()):
        raise UsageError("--run_name names one run: give it with one file")
    login = _login(settings)
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
    from syncd import decisions
    from syncd.discover import alias_key, header_of
    from syncd.status import destination_folder
    from syncd.tail import first_line

    destination = destination_folder(settings.state_dir, login.base_url)
    for path in files:
        if line := first_line(path):
            decisions.make_new(destination, alias_key(path, line), header_of(line, path).run_id)


def _sync_offline(settings: Settings, console: Console) -> Exit:
    from syncd.offline_runs import offline_runs, sync

    runs = offline_runs([*settings.log_dir, *(folder.parent for folder in settings.log_dir)])
    console.print(f"{len(runs)} offline runs of wandb's own found")
    failed = 0
    for run, problem in sync(runs, project=settings.project, entity=settings.entity):
        console.print(f"  {run.name}: {problem or 'uploaded'}", highlight=False)
        failed += bool(problem)
    return Exit.FAILED if failed else Exit.OK


def _export(arguments: argparse.Namespace, settings: Settings, console: Console) -> Exit:
    from syncd.export import export

    text, skipped = export(arguments.file, arguments.format)
    if skipped:
        print(f"{arguments.file}: {skipped} bad lines left out", file=sys.stderr)
    if arguments.output:
        arguments.output.write_text(text, "utf-8")
    else:
        sys.stdout.write(text)
    return Exit.OK


def _retry(arguments: argparse.Namespace, settings: Settings, console: Console) -> Exit:
    return _decide(arguments, settings, console, "retry")


def _forget(arguments: argparse.Namespace, settings: Settings, console: Console) -> Exit:
    return _decide(arguments, settings, console, "forget")


def _decide(arguments: argparse.Namespace, settings: Settings, console: Console, what: str) -> Exit:
    from syncd import decisions, problems
    from syncd.status import collect, destination_folder

    login = _login(settings)
    destination = destination_folder(settings.state_dir, login.base_url)
    known = {run.run_id: run for run in collect(settings, login).runs}
    for run_id in arguments.runs:
        if run_id not in known:
            raise UsageError(
                f"no run {run_id!r} is known here",
                remedy="`karaoke-syncd status --json` lists the run ids; name its --log_dir",
            )
        problems.clear(destination, run_id)
        getattr(decisions, what)(destination, run_id)
        words = "is tried at once" if what == "retry" else "is left alone from now on"
        console.print(f"{known[run_id].name} ({run_id}) {words}", highlight=False)
    return Exit.OK


def _set_up_logging(level: str) -> None:
    logging.basicConfig(
        level=level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)-7s %(message)s"
    )
    for noisy in ("urllib3", "watchdog", "filelock"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _complain(error: SyncError, arguments: argparse.Namespace, code: Exit) -> int:
    if getattr(arguments, "json", False):
        print(json.dumps({"exit_code": int(code), "exit": code.name.lower(), "error": str(error)}))
    print(f"karaoke-syncd: {error}", file=sys.stderr)
    return int(code)
