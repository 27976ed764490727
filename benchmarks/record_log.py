"""What the record log costs who trains and who reads: CPU seconds, beside a floor and a peer.

    python -m benchmarks.record_log                       # all rows
    python -m benchmarks.record_log --records 1000000     # more of them to append and to read

All take turns within each round, so that other load on the machine slows all alike; figures are
medians over the rounds. The floor is what the two calls cost that no such log can do without, for
an import orjson's own.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from benchmarks.log_overhead import Log, plain_json, run_log, wandb_offline
from benchmarks.measure import command_of, run, table
from karaoke_train.runlog import RunLog
from syncd.source import tailer

HEAD: Final = (
    "what", "ours", "floor", "to the floor", "json + flush", "wandb", "wandb to ours", "command",
)  # fmt: skip
PAUSE_S: Final = 0.002  # between paced records: what is in the processor's caches is another's
SCALARS: Final = {f"train/metric_{n}": 0.1234567 * (n + 1) for n in range(8)}


@dataclass(frozen=True)
class Case:
    """The rows. records: how many are appended and read; rounds: of each figure."""

    records: int = 100_000
    rounds: int = 15

    @property
    def command(self) -> str:
        """What makes the rows."""
        return command_of("benchmarks.record_log", self)


def rows(case: Case) -> Iterator[list[str]]:
    """The table's rows of a case."""
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        logs = {
            "ours": run_log(folder, stack, SCALARS),
            "floor": _floor(folder, stack),
            "json": plain_json(folder, stack, SCALARS),
            "wandb": wandb_offline(folder, stack, SCALARS),
        }
        for what, pause, count in (("at once", 0.0, 1000), ("paced", PAUSE_S, 50)):
            times = _turns({n: _calls(log, pause, count) for n, log in logs.items()}, case.rounds)
            yield _row(case, f"a record of 8 metrics, {what}, µs", times, ".1f")
    with tempfile.TemporaryDirectory() as name:
        yield _imports(case, Path(name))
        yield from _many(case, Path(name))


def _floor(folder: Path, stack: ExitStack) -> Log:
    """One orjson.dumps and one write, of a record that is there already."""
    descriptor = os.open(folder / "floor", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    stack.callback(os.close, descriptor)
    record = {"type": "train", "timestamp": "2026-01-15T12:00:00.000+00:00", "step": 1, **SCALARS}
    return lambda step: os.write(descriptor, orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))


def _calls(log: Log, pause: float, count: int) -> Callable[[], float]:
    """Microseconds of the logging thread's CPU for a call, averaged."""

    def measure() -> float:
        used = 0.0
        for step in range(count):
            if pause:
                time.sleep(pause)
            if pause or not step:
                begin = time.thread_time()
            log(step)
            if pause or step == count - 1:
                used += time.thread_time() - begin
        return used / count * 1e6

    return measure


def _turns(measures: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """The median of each. Who begins changes from round to round."""
    found: dict[str, list[float]] = {name: [] for name in measures}
    names = list(measures)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            found[name].append(measures[name]())
    return {name: statistics.median(series) for name, series in found.items()}


def _imports(case: Case, folder: Path) -> list[str]:
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    env["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")  # as an installation has it

    def cpu(code: str) -> float:
        return run([sys.executable, "-c", code], Path.cwd(), env).cpu_s * 1000

    codes = {
        "bare": "pass",
        "ours": "from karaoke_train import RunLog",
        "floor": "import orjson",
        "wandb": "import wandb",
    }
    for code in codes.values():
        subprocess.run([sys.executable, "-c", code], env=env, check=True)
    times = _turns({name: lambda code=code: cpu(code) for name, code in codes.items()}, case.rounds)
    bare = times.pop("bare")
    above = {name: value - bare for name, value in times.items()}
    return _row(case, "importing it, ms above a bare Python", above, ".0f")


def _many(case: Case, folder: Path) -> Iterator[list[str]]:
    log = RunLog.create(folder / "logs")
    begin = time.process_time()  # with the thread that calls fsync
    for step in range(case.records):
        log.train(step, 0, SCALARS)
    appended = time.process_time() - begin
    log.close()
    floor = os.open(folder / "floor", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    begin = time.process_time()
    for step in range(case.records):
        record = {"type": "train", "timestamp": "2026-01-15T12:00:00.000+00:00", "step": step}
        os.write(floor, orjson.dumps(record | SCALARS, option=orjson.OPT_APPEND_NEWLINE))
    floor_s = time.process_time() - begin
    os.close(floor)
    rates = {"ours": case.records / appended, "floor": case.records / floor_s}
    yield _row(case, "records appended per CPU s", rates, ",.0f", more_is_better=True)
    reads = {"ours": lambda: _cpu(lambda: sum(1 for _ in tailer.each_line(log.path)))}
    reads["floor"] = lambda: _cpu(lambda: sum(1 for _ in map(orjson.loads, log.path.open("rb"))))
    times = _turns(reads, 3)
    millions = case.records / 1e6
    each = {name: value / millions for name, value in times.items()}
    yield _row(case, "reading a million records, s", each, ".2f")


def _cpu(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def _row(
    case: Case, what: str, times: Mapping[str, float], how: str, *, more_is_better: bool = False
) -> list[str]:
    ours, floor = times["ours"], times["floor"]
    over = floor / ours if more_is_better else ours / floor
    wandb = times.get("wandb")
    return [
        what,
        format(ours, how),
        format(floor, how),
        f"{over:.1f} ×",
        format(times["json"], how) if "json" in times else "",
        format(wandb, how) if wandb else "",
        f"{wandb / ours:.1f} ×" if wandb else "",
        f"`{case.command}`",
    ]


def main() -> None:
    """Measure and print the table."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name in ("records", "rounds"):
        options.add_argument(f"--{name}", type=int, default=getattr(Case, name))
    print(table(HEAD, rows(Case(**vars(options.parse_args())))), end="")


if __name__ == "__main__":
    main()
