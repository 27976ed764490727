"""Runs that are being written: which records reach the server, after how long, at what cost.

    python -m benchmarks.live --runs 64                        # a record per second each, for 30 s
    python -m benchmarks.live --runs 1 --rate 100
    python -m benchmarks.live --runs 4 --client wandb          # wandb online, a process per run
    python -m benchmarks.live --runs 4 --lane sdk

Latency is from before the call that logs to when the server has the record; a run's first seconds
are told apart, in which it is made and the server's first count is waited for. Arrived is what the
server has 5 s after the last record, the runs still open. Memory is what logging adds to a machine
that trains: the daemon's, or what a process of `wandb.init` has beyond a bare Python's.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from benchmarks.measure import ROOT, Watched, command_of, resident_mib, table
from benchmarks.metrics import metrics
from benchmarks.server import Server
from karaoke_train.runlog import RunLog

HEAD: Final = (
    "runs", "records/s each", "client", "arrived", "median ms", "p99 ms", "slowest at first, ms",
    "MiB", "of a core", "429", "command",
)  # fmt: skip
START_S: Final = 3.0  # until the daemon watches
FIRST_S: Final = 5.0  # of a run, from its first record on
TAIL_S: Final = 5.0  # after the last record, in which records may still arrive
CLIENTS: Final = ("syncd", "wandb")

# A run of wandb's own; waits for a line on stdin before it logs, and for another before it ends
ONLINE: Final = """
import json, sys, time, wandb
from benchmarks.metrics import metrics
rate, seconds = float(sys.argv[1]), float(sys.argv[2])
run = wandb.init(project="live", id=sys.argv[3], settings=wandb.Settings(
    silent=True, console="off", x_disable_stats=True))
print("ready", flush=True)
sys.stdin.readline()
written, begun = [], time.time()
for step in range(round(rate * seconds)):
    time.sleep(max(0.0, begun + step / rate - time.time()))
    written.append(time.time())
    run.log({"epoch": 0, **metrics(step)}, step=step, commit=True)
print(json.dumps(written), flush=True)
sys.stdin.readline()
run.finish()
"""
BARE: Final = "import sys; print('ready', flush=True); sys.stdin.readline()"


@dataclass(frozen=True)
class Case:
    """One row of the table: so many runs with so many records per second each."""

    runs: int = 4
    rate: int = 1
    seconds: int = 30
    client: str = "syncd"
    lane: str = "auto"

    @property
    def command(self) -> str:
        """What makes the row."""
        return command_of("benchmarks.live", self)


@dataclass(frozen=True)
class Seen:
    """What came of a case. first, waits: seconds from logging to arrival, of what arrived, in a
    run's first seconds and after them."""

    written: int
    first: Sequence[float]
    waits: Sequence[float]
    mib: float
    core: float  # share of one, while records were written
    refusals: int


def row(case: Case) -> list[str]:
    """The table's row of a case."""
    seen = measure(case)
    waits = sorted(seen.waits) or [math.nan]
    arrived = len(seen.first) + len(seen.waits)
    lane = f", {case.lane} lane" if case.lane != "auto" else ""
    return [
        f"{case.runs}",
        f"{case.rate}",
        f"{case.client}{lane}",
        f"{arrived / seen.written:.1%}",
        f"{statistics.median(waits) * 1000:.0f}",
        f"{waits[int(len(waits) * 0.99)] * 1000:.0f}",
        f"{max(seen.first, default=math.nan) * 1000:.0f}",
        f"{seen.mib:.0f}",
        f"{seen.core:.1%}",
        f"{seen.refusals}",
        f"`{case.command}`",
    ]


def measure(case: Case) -> Seen:
    """Write records, and see what arrives while the runs live."""
    with tempfile.TemporaryDirectory() as name, Server(Path(name, "server")) as server:
        home = Path(name, "home")
        (home / "logs").mkdir(parents=True)
        return (_daemon if case.client == "syncd" else _online)(case, server, home)


def _daemon(case: Case, server: Server, home: Path) -> Seen:
    logs_folder = str(home / "logs")
    env = server.environment(home, KARAOKE_SYNCD_LOG_DIR=logs_folder, KARAOKE_SYNCD_LANE=case.lane)
    words = (sys.executable, "-P", "-m", "syncd", "start")
    with ExitStack() as stack:
        (daemon,) = stack.enter_context(_processes([words], env))
        time.sleep(START_S)
        logs = [
            stack.enter_context(RunLog.create(home / "logs", project="live", run_id=f"run-{n}"))
            for n in range(case.runs)
        ]
        with Watched(daemon.pid) as watched:
            written = write(logs, case.rate, case.seconds)
        time.sleep(TAIL_S)
        return _seen(server, written, watched, lines_before=1)  # the config record is line 0


def _online(case: Case, server: Server, home: Path) -> Seen:
    env = server.environment(home, WANDB_DIR=str(home))
    numbers = str(case.rate), str(case.seconds)
    commands = [(sys.executable, "-c", ONLINE, *numbers, f"run-{n}") for n in range(case.runs)]
    with _processes([(sys.executable, "-c", BARE)], env) as (bare,):
        _said(bare)
        least = resident_mib([bare.pid])
        _say(bare)
    with _processes(commands, env) as trainers:
        for trainer in trainers:
            _said(trainer)
        for trainer in trainers:
            _say(trainer)
        with Watched(*(trainer.pid for trainer in trainers)) as watched:
            written = {f"run-{n}": json.loads(_said(one)) for n, one in enumerate(trainers)}
        time.sleep(TAIL_S)
        seen = _seen(server, written, watched)
        for trainer in trainers:
            _say(trainer)
            trainer.wait(60)
    return replace(seen, mib=seen.mib - case.runs * least)


@contextmanager
def _processes(
    commands: Sequence[Sequence[str]], env: dict[str, str]
) -> Iterator[list[subprocess.Popen[str]]]:
    """So many at once, ended on leaving."""
    pipe = subprocess.PIPE
    started = [
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=env,
            stdin=pipe,
            stdout=pipe,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for command in commands
    ]
    try:
        yield started
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.communicate(timeout=30)


def _said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def _say(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def write(logs: Sequence[RunLog], rate: int, seconds: int) -> dict[str, list[float]]:
    """Records of all runs, spread evenly over time. Run id -> when each was logged."""
    written: dict[str, list[float]] = {log.run_id: [] for log in logs}
    begun, gap = time.time(), 1 / (rate * len(logs))
    for number in range(rate * seconds * len(logs)):
        time.sleep(max(0.0, begun + number * gap - time.time()))
        step, place = divmod(number, len(logs))
        written[logs[place].run_id].append(time.time())
        logs[place].train(step, 0, metrics(step))
    return written


def _seen(
    server: Server, written: Mapping[str, list[float]], watched: Watched, lines_before: int = 0
) -> Seen:
    arrived = server.arrivals()
    first: list[float] = []
    waits: list[float] = []
    for run_id, times in written.items():
        came = arrived.get(run_id, [])[lines_before:]
        for logged, there in zip(times, came, strict=False):  # the last ones may not be there yet
            (first if logged - times[0] < FIRST_S else waits).append(there - logged)
    return Seen(
        written=sum(map(len, written.values())),
        first=first,
        waits=waits,
        mib=watched.peak_mib,
        core=watched.cpu_s / watched.wall_s,
        refusals=server.refusals(),
    )


def main() -> None:
    """Measure one case and print its table."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name in ("runs", "rate", "seconds"):
        options.add_argument(f"--{name}", type=int, default=getattr(Case, name))
    options.add_argument("--client", choices=CLIENTS, default=Case.client)
    options.add_argument("--lane", choices=("auto", "direct", "sdk"), default=Case.lane)
    print(table(HEAD, [row(Case(**vars(options.parse_args())))]), end="")


if __name__ == "__main__":
    main()
