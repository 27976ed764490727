"""A process and all below it, looked at again and again -> whether what it holds grows."""

from __future__ import annotations

import statistics
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, Self

from benchmarks.measure import resident_mib, table, tree

WARM_UP: Final = 0.1  # of the time, left out: it is still starting
SHARE: Final = 0.1  # that the second half's median may be above the first's, and so much beside it:
BESIDE: Final = {"memory, MiB": 6.0, "descriptors": 4.0, "threads": 3.0}
HEAD: Final = ("", "first half", "second half", "most", "least", "bound for the second half")

Sample = tuple[float, float, float]  # in the order of BESIDE


@dataclass(frozen=True)
class Held:
    """One of BESIDE: medians of the two halves, and the extremes."""

    name: str
    first: float
    second: float
    most: float
    least: float

    @property
    def bound(self) -> float:
        """What the second half may have."""
        return self.first * (1 + SHARE) + BESIDE[self.name]

    @property
    def flat(self) -> bool:
        """Whether the second half has no more."""
        return self.second <= self.bound

    def row(self) -> list[str]:
        """Of a table with HEAD."""
        numbers = (self.first, self.second, self.most, self.least)
        return [self.name, *(f"{number:.1f}" for number in numbers), f"{self.bound:.1f}"]


def held(samples: Sequence[Sample]) -> list[Held]:
    """What came of the samples. Raises StatisticsError where there are fewer than two."""
    settled = samples[int(len(samples) * WARM_UP) :]
    middle = len(settled) // 2
    found = []
    for name, values in zip(BESIDE, zip(*settled, strict=True), strict=True):
        first, second = statistics.median(values[:middle]), statistics.median(values[middle:])
        found.append(Held(name, first, second, max(values), min(values)))
    return found


def as_table(measured: Sequence[Held]) -> str:
    """In Markdown."""
    return table(HEAD, [item.row() for item in measured])


def memory_by_tenths(samples: Sequence[Sample]) -> list[float]:
    """MiB, the median of each tenth of the time: whether it still grows at the end. Raises
    StatisticsError where there are fewer than ten samples."""
    edges = [len(samples) * tenth // 10 for tenth in range(11)]
    return [
        statistics.median(mib for mib, _, _ in samples[start:end]) for start, end in pairwise(edges)
    ]


def sample(pid: int) -> Sample:
    """What the process and those below it hold now."""
    pids = tree(pid)
    return resident_mib(pids), _entries(pids, "fd"), _entries(pids, "task")


def _entries(pids: Sequence[int], folder: str) -> int:
    count = 0
    for pid in pids:
        try:
            count += sum(1 for _ in Path(f"/proc/{pid}/{folder}").iterdir())
        except OSError:
            continue
    return count


class Meter:
    """Takes a sample each so many seconds, from entering to leaving."""

    def __init__(self, pid: int, every: float) -> None:
        self.samples: list[Sample] = []
        self._pid = pid
        self._every = every
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(self._every):
            self.samples.append(sample(self._pid))
