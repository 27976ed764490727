"""A command or a running process -> what it cost, with all the processes that it started.

Linux only: it reads /proc. `run` puts a meter between: a small process that adopts and reaps
whatever the command leaves behind, as wandb's client does with its core, so that no CPU second is
lost to a child that nobody waited for.

    python -m benchmarks.measure RESULT COMMAND…    # is the meter
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

ROOT: Final = Path(__file__).parents[1]
MIB: Final = 1 << 20
SAMPLE_S: Final = 0.1  # between looks at the memory
ORPHANS_S: Final = 30.0  # for what a command leaves behind to end
SET_CHILD_SUBREAPER: Final = 36  # prctl(2)


@dataclass(frozen=True)
class Cost:
    """What a command took, with all below it.

    wall_s, cpu_s: seconds, user and system. peak_mib: the most that was resident at a time, summed
    over the processes; a page that two of them share counts twice.
    """

    wall_s: float
    cpu_s: float
    peak_mib: float

    @property
    def waits_s(self) -> float:
        """Seconds in which not even one core was busy for it: waits for the server or for a timer
        of its own."""
        return max(0.0, self.wall_s - self.cpu_s)


def run(command: Sequence[str], folder: Path, env: Mapping[str, str]) -> Cost:
    """Run a command in a folder. Raises RuntimeError with its last words when it fails."""
    with tempfile.TemporaryDirectory() as name:
        result, words = Path(name, "cost"), Path(name, "words")
        meter = [sys.executable, str(Path(__file__)), str(result), *command]
        with words.open("wb") as file:
            code = subprocess.run(meter, cwd=folder, env=env, stdout=file, stderr=file).returncode
        if code:
            last = words.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{' '.join(command[:6])} ended with {code}: {last}")
        return Cost(**json.loads(result.read_text()))


def median(costs: Iterable[Cost]) -> Cost:
    """Field by field. Raises StatisticsError where there is none."""
    rows = [asdict(cost) for cost in costs]
    return Cost(
        wall_s=statistics.median(row["wall_s"] for row in rows),
        cpu_s=statistics.median(row["cpu_s"] for row in rows),
        peak_mib=statistics.median(row["peak_mib"] for row in rows),
    )


class Watched:
    """Looks at running processes and all below them, from entering to leaving.

    cpu_s, wall_s: what passed in between. peak_mib: as in Cost.
    """

    def __init__(self, *pids: int) -> None:
        self.peak_mib = self.cpu_s = self.wall_s = 0.0
        self._pids = pids
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._before = self._now()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        wall, cpu = self._now()
        self.wall_s, self.cpu_s = wall - self._before[0], cpu - self._before[1]
        self._done.set()
        self._thread.join()

    def _now(self) -> tuple[float, float]:
        return time.monotonic(), sum(map(cpu_seconds, self._all()))

    def _all(self) -> list[int]:
        return [one for pid in self._pids for one in tree(pid)]

    def _look(self) -> None:
        while True:
            self.peak_mib = max(self.peak_mib, resident_mib(self._all()))
            if self._done.wait(SAMPLE_S):
                return


def tree(pid: int) -> list[int]:
    """A process and all below it; without those that end meanwhile."""
    found = [pid]
    try:
        lists = [file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:
        return found
    for child in (int(word) for text in lists for word in text.split()):
        found += tree(child)
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, and of its children that ended; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pids: Iterable[int]) -> float:
    """What these processes have in memory now, summed."""
    pages = 0
    for pid in pids:
        try:
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except OSError:
            continue
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


def command_of(module: str, case: Any) -> str:
    """The command line that measures a case: a dataclass whose fields are the module's flags."""
    given = [
        f" --{item.name} {getattr(case, item.name)}"
        for item in fields(case)
        if getattr(case, item.name) != item.default
    ]
    return f"python -m {module}{''.join(given)}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first and the last are numbers."""
    rule = ["---", *["---:"] * (len(head) - 2), "---"]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in [head, rule, *rows])


def meter(result: Path, command: Sequence[str]) -> int:
    """Run the command and write its Cost; returns its exit code."""
    ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    began = time.monotonic()
    child = subprocess.Popen(command)
    peak, code, wall, deadline = 0.0, None, 0.0, float("inf")
    while _children_left():
        peak = max(peak, resident_mib(tree(os.getpid())[1:]))
        if code is None and (code := child.poll()) is not None:
            wall = time.monotonic() - began
            deadline = time.monotonic() + ORPHANS_S
        if code is not None:
            _reap()
        if time.monotonic() > deadline:
            print(f"left behind: {tree(os.getpid())[1:]}", file=sys.stderr)
            return 1
        time.sleep(SAMPLE_S / 5)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    result.write_text(json.dumps(asdict(Cost(wall, used.ru_utime + used.ru_stime, peak))))
    return code or 0


def _children_left() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _reap() -> None:
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return
        except ChildProcessError:
            return


if __name__ == "__main__":
    sys.exit(meter(Path(sys.argv[1]), sys.argv[2:]))
