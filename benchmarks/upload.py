"""What an upload takes: `karaoke-syncd sync` beside `wandb sync`, whole and after the run grew.

    python benchmarks/upload.py [--records 20000] [--more 200] [--rounds 3]

Both send the same metrics to the same W&B stand-in on 127.0.0.1, in turns within each round, each
as a whole process from start to exit. Times are medians over the rounds; the ratio is to syncd.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from karaoke_train.runlog import RunLog

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.fakes.wandb_process import WandbProcess  # noqa: E402  needs the path above

OFFLINE = """
import sys, wandb
first, last = int(sys.argv[1]), int(sys.argv[2])
run = wandb.init(project="offline", mode="offline", settings=wandb.Settings(
    silent=True, console="off", x_disable_stats=True))
for step in range(first, last):
    run.log({"train/loss": 1 / (step + 1), "train/accuracy": 0.5}, step=step, commit=True)
run.finish()
"""


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--more", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    times: dict[str, list[float]] = defaultdict(list)
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            with WandbProcess(folder / "server") as server:
                play(folder, server, options.records, options.more, times)
    base = {"whole": "syncd, whole", "grown": "syncd, grown"}
    for what, seconds in times.items():
        median = statistics.median(seconds)
        ratio = median / statistics.median(times[base[what.split(", ")[1]]])
        print(f"{what:<14} {median:7.2f} s   x {ratio:.2f}")


def play(
    folder: Path, server: WandbProcess, records: int, more: int, times: dict[str, list[float]]
) -> None:
    """One round: both upload a run; it grows; both upload again."""
    env = {
        **{key: value for key, value in os.environ.items() if not key.startswith("WANDB_")},
        "WANDB_BASE_URL": server.url,
        "WANDB_API_KEY": server.key,
        "XDG_STATE_HOME": str(folder / "state"),
        "XDG_CONFIG_HOME": str(folder / "config"),
    }

    def timed(what: str, *command: str) -> None:
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", *command], cwd=folder, env=env, check=True, capture_output=True
        )
        times[what].append(time.perf_counter() - began)

    path = write_log(folder, records)
    offline = write_offline(folder, env, 0, records)
    timed("syncd, whole", "syncd", "sync")
    timed("wandb, whole", "wandb", "sync", "--id", "grown", str(offline))
    with RunLog.resume(path) as log:
        write(log, records, records + more)
    # wandb has one file a run and no cursor: the grown run is sent again from its first row
    grown = write_offline(folder, env, 0, records + more)
    timed("syncd, grown", "syncd", "sync")
    timed("wandb, grown", "wandb", "sync", "--id", "grown", str(grown))


def write_log(folder: Path, records: int) -> Path:
    """A record log with so many train records."""
    with RunLog.create(folder / "logs", project="online") as log:
        write(log, 0, records)
    return log.path


def write(log: RunLog, first: int, last: int) -> None:
    """The same metrics that the offline run has."""
    for step in range(first, last):
        log.train(step, 0, {"train/loss": 1 / (step + 1), "train/accuracy": 0.5})


def write_offline(folder: Path, env: dict[str, str], first: int, last: int) -> Path:
    """wandb's own offline run of the same metrics."""
    before = set((folder / "wandb").glob("offline-run-*"))
    subprocess.run(
        [sys.executable, "-c", OFFLINE, str(first), str(last)], cwd=folder, env=env, check=True
    )
    (new,) = set((folder / "wandb").glob("offline-run-*")) - before
    return new


if __name__ == "__main__":
    main()
