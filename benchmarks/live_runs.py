"""Many live runs at one record per second each: how many records reach the server while they live,
after how long, and what the daemon costs. Both lanes in turn, against the stand-in of the server on
this machine, which shares its cores.

    python benchmarks/live_runs.py --runs 64 --seconds 20
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from karaoke_train.runlog import RunLog

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.fakes.wandb_server import WandbServer  # noqa: E402  (the stand-in is no package)

START = 3.0  # seconds until the daemon watches
TAIL = 3.0  # seconds after the last record in which it may still arrive
LANES = ("direct", "sdk")
Place = tuple[str, int]  # run id, line


def main() -> None:
    """Print one row per lane."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=64)
    parser.add_argument("--seconds", type=int, default=20)
    options = parser.parse_args()
    print(f"{options.runs} runs, a record per second each, for {options.seconds} s")
    print("lane     arrived   median ms   p99 ms          MiB   CPU s (with workers)")
    for lane in LANES:
        with tempfile.TemporaryDirectory() as folder:
            print(row(lane, *measure(Path(folder), lane, options.runs, options.seconds)))


def row(lane: str, waits: list[float], written: int, mebibytes: float, cpu: float) -> str:
    """One lane's figures. waits: seconds from writing to arrival, of what arrived."""
    waits = sorted(waits)
    median = statistics.median(waits) * 1000 if waits else float("nan")
    p99 = waits[int(len(waits) * 0.99)] * 1000 if waits else float("nan")
    share = len(waits) / written
    return f"{lane:<8} {share:7.1%} {median:11.1f} {p99:8.1f} {mebibytes:12.1f} {cpu:7.1f}"


def measure(
    folder: Path, lane: str, runs: int, seconds: int
) -> tuple[list[float], int, float, float]:
    """Run a daemon beside so many writers."""
    with WandbServer(folder / "server") as server:
        arrived = noting_arrivals(server)
        process = start(folder, server, lane)
        try:
            time.sleep(START)
            logs = [
                RunLog.create(folder / "logs", project="live", run_id=f"run-{number}")
                for number in range(runs)
            ]
            written = write(logs, seconds)
            time.sleep(TAIL)
            waits = [arrived[place] - at for place, at in written.items() if place in arrived]
            mebibytes, cpu = memory(process.pid), sum(map(cpu_seconds, tree(process.pid)))
            for log in logs:
                log.close()
        finally:
            process.terminate()
            process.wait(30)
    return waits, len(written), mebibytes, cpu


def noting_arrivals(server: WandbServer) -> dict[Place, float]:
    """When each history line came to the server for the first time."""
    arrived: dict[Place, float] = {}
    record = server.store.record

    def noting(key: Any, operation: str, **values: Any) -> Any:
        if operation == "lines" and values["file"] == "wandb-history.jsonl":
            now = time.monotonic()
            for place in range(len(values["content"])):
                arrived.setdefault((key.run, values["offset"] + place), now)
        return record(key, operation, **values)

    server.store.record = noting  # type: ignore[method-assign]
    return arrived


def start(folder: Path, server: WandbServer, lane: str) -> subprocess.Popen[bytes]:
    """A daemon with folders of its own."""
    (folder / "logs").mkdir()
    environment = {
        **os.environ,
        "XDG_STATE_HOME": str(folder / "state"),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "WANDB_BASE_URL": server.url,
        "WANDB_API_KEY": server.key,
        "KARAOKE_SYNCD_LOG_DIR": str(folder / "logs"),
        "KARAOKE_SYNCD_LANE": lane,
    }
    with (folder / "daemon.log").open("wb") as words:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "syncd", "start"], env=environment, stderr=words
        )


def write(logs: list[RunLog], seconds: int) -> dict[Place, float]:
    """A record per run and second, spread over the second; when each was written."""
    written: dict[Place, float] = {}
    begun = time.monotonic()
    for second in range(seconds):
        for number, log in enumerate(logs):
            time.sleep(max(0.0, begun + second + number / len(logs) - time.monotonic()))
            log.train(second, 0, {"train/loss": 1 / (second + 1)})
            written[log.run_id, second + 1] = time.monotonic()
    return written


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")  # a thread's own: any may start one
    children = [int(word) for file in lists for word in file.read_text().split()]
    return [pid, *(found for child in children for found in tree(child))]


def cpu_seconds(pid: int) -> float:
    """User and system time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> float:
    """MiB of a process and all below it."""
    pages = sum(int(Path(f"/proc/{one}/statm").read_text().split()[1]) for one in tree(pid))
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


if __name__ == "__main__":
    main()
