"""A folder with many finished runs: what the daemon takes to be ready and to wait, and `status`.

    python -m benchmarks.many --runs 10000              # a daemon
    python -m benchmarks.many --runs 1000 --what status

The floors beside it are what any program would need: for being ready a bare Python that imports
nothing, lists the folders and reads each cursor and first line once; for waiting no time at all;
for `status` a bare Python that counts each file's lines.
"""

from __future__ import annotations

import argparse
import hashlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.measure import ROOT, Watched, command_of, cpu_seconds, resident_mib, run, table
from benchmarks.metrics import metrics
from benchmarks.server import Server
from karaoke_train.runlog import RunLog
from karaoke_train.runlog.format import encode
from karaoke_train.runlog.reader import Position
from syncd.paths import destination_folder
from syncd.source.fingerprint import PinnedLog, fingerprint
from syncd.source.scanner import head_of
from syncd.state import cursor
from syncd.state.cursor import Cursor

HEAD: Final = (
    "finished runs", "what", "CPU s", "floor, CPU s", "ratio", "of a core", "MiB", "command",
)  # fmt: skip
QUIET: Final = 10  # runs that live and log nothing
RECORDS: Final = 20  # of each finished run
SETTLED_S: Final = 15.0  # until the quiet runs' sessions are closed
WORDS: Final = (sys.executable, "-P", "-m", "syncd")

# What each is measured against. Argument: the folder with logs/ and, of the cursors, the folder
READ_ALL: Final = """
import os, sys
for folder in sys.argv[1:]:
    for entry in os.scandir(folder):
        if entry.is_file():
            descriptor = os.open(entry.path, os.O_RDONLY)
            os.read(descriptor, 4096)
            os.close(descriptor)
"""
COUNT_LINES: Final = """
import os, sys
for entry in os.scandir(sys.argv[1]):
    if entry.is_file():
        with open(entry.path, "rb") as file:
            file.read().count(b"\\n")
"""


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    runs: int = 10_000
    what: str = "daemon"
    seconds: int = 60  # of waiting
    rounds: int = 5  # of `status`

    @property
    def command(self) -> str:
        """What makes the row."""
        return command_of("benchmarks.many", self)


def rows(case: Case) -> Iterator[list[str]]:
    """The table's rows of a case."""
    with tempfile.TemporaryDirectory() as name, Server(Path(name, "server")) as server:
        home = Path(name, "home")
        logs = home / "logs"
        env = server.environment(home, KARAOKE_SYNCD_LOG_DIR=str(logs))
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        cursors = write(logs, home, server.url, case.runs)
        yield from (_daemon if case.what == "daemon" else _status)(case, env, home, cursors)


def write(logs: Path, home: Path, url: str, runs: int) -> Path:
    """So many finished runs with their cursors, as a daemon has left them; where those are."""
    logs.mkdir(parents=True)
    cursors = destination_folder(home / "state" / "karaoke-syncd", url) / "cursors"
    paths = [logs / f"training_log_{number:08d}.jsonl" for number in range(runs)]
    for number, path in enumerate(paths):
        path.write_bytes(b"".join(map(encode, _records(number))))
    time.sleep(1)  # a log's head is kept where the log has rested for a moment
    for number, path in enumerate(paths):
        end = Position(RECORDS + 2, path.stat().st_size)
        shown = fingerprint(path, end)
        known = Cursor(
            _run_id(number), "many", "tester", str(path), shown, end,
            ended=True, head=head_of(PinnedLog(path, shown.first), end.offset),
        )  # fmt: skip
        cursor.save(cursors, known, sync=False)
    return cursors


def _run_id(number: int) -> str:
    """As `RunLog` makes them: in an order of their own. The same each time."""
    return hashlib.sha256(str(number).encode()).hexdigest()[:12]


def _records(number: int) -> Iterator[dict[str, object]]:
    moment = "2026-01-15T12:00:00.000+00:00"
    config = {f"setting_{n}": n / 7 for n in range(40)}
    yield {
        "type": "config", "schema": 1, "run_id": _run_id(number), "part": f"part{number}",
        "run_name": f"many_{number}", "project": "many", "created": moment, "config": config,
        "upload": True, "host": "node", "pid": 1, "git": {"commit": "0" * 40}, "argv": ["train.py"],
    }  # fmt: skip
    for step in range(RECORDS):
        yield {"type": "train", "timestamp": moment, "step": step, "epoch": 0, **metrics(step)}
    yield {"type": "end", "timestamp": moment, "status": "finished", "exit_code": 0}


def _daemon(case: Case, env: dict[str, str], home: Path, cursors: Path) -> Iterator[list[str]]:
    logs = home / "logs"
    floor = [sys.executable, "-I", "-c", READ_ALL, str(logs), str(cursors)]
    run(floor, home, env)  # once for the page cache
    floors = [run(floor, home, env).cpu_s for _ in range(case.rounds)]
    least = statistics.median(floors)
    quiet = [RunLog.create(logs, project="many", run_id=f"quiet-{n}") for n in range(QUIET)]
    try:
        with _started(env, home) as daemon:  # once for the byte code, and the quiet runs' cursors
            _wait_until_settled(daemon)
        with _started(env, home) as daemon:
            ready = cpu_seconds(daemon.pid)
            yield _row(case, "ready", f"{ready:.2f}", f"{least:.2f}", f"{ready / least:.1f} ×")
            _wait_until_settled(daemon)
            with Watched(daemon.pid) as watched:
                time.sleep(case.seconds)
            core = f"{watched.cpu_s / watched.wall_s:.2%}"
            mib = f"{resident_mib([daemon.pid]):.0f}"
            yield _row(case, "waiting", f"{watched.cpu_s:.2f}", "0", "", core, mib)
    finally:
        for log in quiet:
            log.close()


def _status(case: Case, env: dict[str, str], home: Path, cursors: Path) -> Iterator[list[str]]:
    ours = [*WORDS, "status"]
    floor = [sys.executable, "-I", "-c", COUNT_LINES, str(home / "logs")]
    run(ours, home, env)
    both = [(run(ours, home, env), run(floor, home, env)) for _ in range(case.rounds)]
    seconds, least = (
        statistics.median(cost.cpu_s for cost in side) for side in zip(*both, strict=True)
    )
    mib = statistics.median(cost.peak_mib for cost, _ in both)
    yield _row(
        case, "status", f"{seconds:.2f}", f"{least:.2f}", f"{seconds / least:.1f} ×", "",
        f"{mib:.0f}",
    )  # fmt: skip


def _row(case: Case, what: str, *cells: str) -> list[str]:
    given = [*cells, *[""] * 5][:5]
    return [f"{case.runs:,}", what, *given, f"`{case.command}`"]


@contextmanager
def _started(env: dict[str, str], home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon that has said that it is ready."""
    place = home / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        place.unlink(missing_ok=True)
        told.bind(str(place))
        told.settimeout(120)
        command = [*WORDS, "start"]
        with subprocess.Popen(
            command, env={**env, "NOTIFY_SOCKET": str(place)}, cwd=ROOT, stderr=subprocess.DEVNULL
        ) as daemon:
            try:
                while b"READY=1" not in told.recv(4096):
                    if daemon.poll() is not None:
                        raise RuntimeError(f"the daemon ended with {daemon.returncode}")
                told.setblocking(False)
                yield daemon
            finally:
                daemon.terminate()
                daemon.wait(30)


def _wait_until_settled(daemon: subprocess.Popen[bytes]) -> None:
    """Until the live runs' sessions are closed, since nothing comes of them."""
    deadline = time.monotonic() + 300
    used = cpu_seconds(daemon.pid)
    while time.monotonic() < deadline:
        time.sleep(SETTLED_S)
        now = cpu_seconds(daemon.pid)
        if now - used < 0.02 * SETTLED_S:
            return
        used = now


def main() -> None:
    """Measure one case and print its table."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name in ("runs", "seconds", "rounds"):
        options.add_argument(f"--{name}", type=int, default=getattr(Case, name))
    options.add_argument("--what", choices=("daemon", "status"), default=Case.what)
    print(table(HEAD, rows(Case(**vars(options.parse_args())))), end="")


if __name__ == "__main__":
    main()
