"""What an upload costs: `karaoke-syncd sync` beside `wandb sync`, each from start to exit.

    python -m benchmarks.upload                               # 20,000 records
    python -m benchmarks.upload --runs 8 --records 5000       # beside `wandb sync -n 8`
    python -m benchmarks.upload --records 1000000 --grown 100 --rounds 1

The contenders take turns within each round, each with a server of its own that has nothing yet.
wandb's offline run was made by wandb itself, with the same metrics. --grown: the run is there and
has grown by so many records; `wandb sync` has no cursor and sends the whole again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.measure import ROOT, Cost, command_of, median, run, table
from benchmarks.metrics import metrics
from benchmarks.server import Server
from karaoke_train.runlog import RunLog

HEAD: Final = (
    "records", "syncd CPU s", "wandb CPU s", "ratio", "syncd wall s", "syncd waits s",
    "wandb wall s", "wandb waits s", "syncd MiB", "wandb MiB", "command",
)  # fmt: skip
SYNC: Final = (sys.executable, "-P", "-m", "syncd", "sync")
WANDB: Final = str(Path(sys.executable).with_name("wandb"))

# Prints the folder of the offline run
OFFLINE: Final = """
import sys, wandb
from benchmarks.metrics import metrics
settings = wandb.Settings(silent=True, console="off", x_disable_stats=True)
run = wandb.init(project="bench", mode="offline", settings=settings)
for step in range(int(sys.argv[1])):
    run.log({"epoch": 0, **metrics(step)}, step=step, commit=True)
run.finish()
print(run.settings.sync_dir)
"""


@dataclass(frozen=True)
class Case:
    """One row of the table. grown: records that were added since the last upload; 0 uploads it
    whole."""

    runs: int = 1
    records: int = 20_000
    grown: int = 0
    rounds: int = 3

    @property
    def name(self) -> str:
        """What was uploaded."""
        many = f"{self.runs} × " if self.runs > 1 else ""
        more = f", grown by {self.grown:,}" if self.grown else ""
        return f"{many}{self.records:,}{more}"

    @property
    def command(self) -> str:
        """What makes the row."""
        return command_of("benchmarks.upload", self)


def row(case: Case) -> list[str]:
    """The table's row of a case."""
    ours, theirs = measure(case)
    return [
        case.name,
        f"{ours.cpu_s:.2f}",
        f"{theirs.cpu_s:.2f}",
        f"{theirs.cpu_s / ours.cpu_s:.1f} ×",
        *(f"{seconds:.1f}" for cost in (ours, theirs) for seconds in (cost.wall_s, cost.waits_s)),
        f"{ours.peak_mib:.0f}",
        f"{theirs.peak_mib:.0f}",
        f"`{case.command}`",
    ]


def measure(case: Case) -> tuple[Cost, Cost]:
    """The medians of syncd's costs and of wandb's."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        logs = [write_log(folder / "logs", case.records) for _ in range(case.runs)]
        whole = case.records + case.grown
        offline = [write_offline(folder, whole) for _ in range(case.runs)]
        theirs = [WANDB, "sync", "--include-synced", "-n", str(case.runs), *map(str, offline)]
        if case.grown:
            return grown(case, folder, logs), fresh(folder, theirs, case.runs, whole)
        ours = [*SYNC, *map(str, logs)]
        rounds = [
            [fresh(folder, command, case.runs, whole) for command in (ours, theirs)]
            for _ in range(case.rounds)
        ]
        first, second = zip(*rounds, strict=True)
        return median(first), median(second)


def fresh(folder: Path, command: Sequence[str], runs: int, lines: int) -> Cost:
    """A command's cost with a new server and no state of its own."""
    with tempfile.TemporaryDirectory(dir=folder) as name, Server(Path(name, "server")) as server:
        home = Path(name, "home")
        home.mkdir()
        cost = run(command, home, server.environment(home))
        server.check(runs, lines)
        return cost


def grown(case: Case, folder: Path, logs: Sequence[Path]) -> Cost:
    """What it costs to upload what was added, round after round."""
    with Server(folder / "server") as server:
        home = folder / "home"
        home.mkdir()
        env = server.environment(home)
        run([*SYNC, *map(str, logs)], home, env)
        costs = []
        for number in range(1, case.rounds + 1):
            for path in logs:
                with RunLog.resume(path) as log:
                    write(log, case.records, case.grown)
            costs.append(run([*SYNC, *map(str, logs)], home, env))
            server.check(case.runs, case.records + number * case.grown)
        return median(costs)


def write_log(folder: Path, records: int) -> Path:
    """A record log with so many train records."""
    with RunLog.create(folder, project="bench") as log:
        write(log, 0, records)
    return log.path


def write(log: RunLog, first: int, count: int) -> None:
    """Append so many records from a step on."""
    for step in range(first, first + count):
        log.train(step, 0, metrics(step))


def write_offline(folder: Path, records: int) -> Path:
    """wandb's own offline run of the same metrics."""
    env = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "WANDB_DIR": str(folder)}
    command = [sys.executable, "-c", OFFLINE, str(records)]
    told = subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, text=True)
    return Path(told.stdout.split()[-1])


def main() -> None:
    """Measure one case and print its table."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name in ("runs", "records", "grown", "rounds"):
        options.add_argument(f"--{name}", type=int, default=getattr(Case, name))
    print(table(HEAD, [row(Case(**vars(options.parse_args())))]), end="")


if __name__ == "__main__":
    main()
