"""What a record costs the training thread: RunLog beside wandb offline and plain json.

    python -m benchmarks.log_overhead [--rounds 20] [--records 500] [--steps 40]

The contenders take turns within each round, in one process, so that other load on the machine slows
all alike. Times are the median over the rounds; the ratio is to RunLog.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from benchmarks.metrics import metrics
from karaoke_train.runlog import RunLog

Log = Callable[[int], object]
Metrics = dict[str, float]


def run_log(folder: Path, stack: ExitStack, fixed: Metrics | None = None) -> Log:
    """RunLog.train: one line, in the page cache when it returns. fixed: log these each time."""
    log = stack.enter_context(RunLog.create(folder, config={"lr": 3e-4}))
    return lambda step: log.train(step, step / 100, fixed or metrics(step))


def plain_json(folder: Path, stack: ExitStack, fixed: Metrics | None = None) -> Log:
    """json.dump and flush: the shortest way without a library."""
    file = stack.enter_context((folder / "plain.jsonl").open("w"))

    def log(step: int) -> None:
        record = {"type": "train", "time": time.time(), "step": step}
        json.dump(record | (fixed or metrics(step)), file)
        file.write("\n")
        file.flush()

    return log


def wandb_offline(folder: Path, stack: ExitStack, fixed: Metrics | None = None) -> Log:
    """wandb's run.log in mode="offline"; a service process does the writing."""
    import wandb

    settings = wandb.Settings(silent=True, console="off", x_disable_stats=True)
    run = wandb.init(mode="offline", project="bench", dir=str(folder), settings=settings)
    stack.callback(run.finish)
    return lambda step: run.log(fixed or metrics(step))


def nothing(folder: Path, stack: ExitStack) -> Log:
    """No logging at all."""
    return lambda step: None


def per_call(log: Log, work: Callable[[], object], first: int, count: int) -> float:
    """Microseconds of the logging thread for `work` and one record, averaged over `count`."""
    begin = time.perf_counter()
    for step in range(first, first + count):
        work()
        log(step)
    return (time.perf_counter() - begin) / count * 1e6


def compare(
    logs: dict[str, Log], work: Callable[[], object], rounds: int, count: int
) -> dict[str, float]:
    """The median of each contender in µs. Who begins changes from round to round."""
    times: dict[str, list[float]] = {name: [] for name in logs}
    names = list(logs)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            times[name].append(per_call(logs[name], work, turn * count, count))
    return {name: statistics.median(series) for name, series in times.items()}


def training_step() -> Callable[[], object]:
    """A small real step: forward, backward, update; about a millisecond."""
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = torch.nn.Sequential(torch.nn.Linear(80, 256), torch.nn.ReLU(), torch.nn.Linear(256, 90))
    optimizer = torch.optim.AdamW(model.parameters())
    frames, notes = torch.randn(128, 80), torch.randint(0, 90, (128,))

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(frames), notes).backward()
        optimizer.step()

    return step


def show(title: str, times: dict[str, float], base: str) -> None:
    """A table of times and their ratios to `base`."""
    print(f"\n{title}")
    for name, value in times.items():
        print(f"  {name:<16}{value:>10.1f} µs   {value / times[base]:>6.2f} x {base}")


def import_time(module: str) -> float:
    """Milliseconds to import `module` in a fresh interpreter: the best of seven."""
    command = [sys.executable, "-X", "importtime", "-c", f"import {module}"]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(7)]
    return min(int(run.stderr.splitlines()[-1].split("|")[1]) for run in runs) / 1000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--records", type=int, default=500, help="per contender and round")
    parser.add_argument("--steps", type=int, default=40, help="per contender and round")
    options = parser.parse_args()
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    makers = {"RunLog": run_log, "json + flush": plain_json, "wandb offline": wandb_offline}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        logs = {name: make(Path(folder), stack) for name, make in makers.items()}
        times = compare(logs, lambda: None, options.rounds, options.records)
        show("one record, on the thread that logs it", times, "RunLog")
        logs = {"no logging": nothing(Path(folder), stack)} | logs
        times = compare(logs, training_step(), options.rounds, options.steps)
        show("one training step with one record", times, "no logging")
    print(f"\nimport karaoke_train.runlog: {import_time('karaoke_train.runlog'):.0f} ms")


if __name__ == "__main__":
    main()
