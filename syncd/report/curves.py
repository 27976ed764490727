"""Lines of a record log -> its metrics as curves, named as at a server; pure."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final, NamedTuple

from karaoke_train.runlog.reader import Line
from syncd.destination.rows import AXIS_KEYS, RUNTIME, attempt_at, row

STEP: Final = "trainer/step"
# What rows have beside metrics: x axes, marks of our own, how the run ended
_NO_METRICS: Final = (*AXIS_KEYS, "attempt", "syncd/*", "end/*", "_*")


class XAxis(StrEnum):
    """What a curve is drawn over."""

    STEP = "step"  # the trainer's
    EPOCH = "epoch"
    TIME = "time"  # seconds since the run began


_COLUMNS: Final = {XAxis.STEP: STEP, XAxis.EPOCH: "epoch", XAxis.TIME: RUNTIME}


class Point(NamedTuple):
    """A value of a metric: at which step of the trainer's, and where on the x axis."""

    key: str
    step: float
    x: float
    y: float


class Back(NamedTuple):
    """A resumed run goes back to this step: what was logged from there on counts no more."""

    step: float


@dataclass(slots=True)
class Curve:
    """A metric of a run in the order of its file, finite values alone.

    steps: the trainer's, by which a resumed run's values replace those of its earlier attempt.
    lost: how many values were NaN or infinite; lost_at: the x of the first of these.
    """

    # A million records of eight metrics are 200 MB so, and more than a gigabyte as objects
    steps: array[float] = field(default_factory=lambda: array("d"))
    xs: array[float] = field(default_factory=lambda: array("d"))
    ys: array[float] = field(default_factory=lambda: array("d"))
    lost: int = 0
    lost_at: float = math.nan

    def add(self, step: float, x: float, y: float) -> None:
        """The next value."""
        if not math.isfinite(y):
            self.lost_at = self.lost_at if self.lost else x
            self.lost += 1
            return
        self.steps.append(step)
        self.xs.append(x)
        self.ys.append(y)

    def back_to(self, step: float) -> None:
        """Forget the values from a step on: they are logged again."""
        while self.steps and self.steps[-1] >= step:
            for column in (self.steps, self.xs, self.ys):
                column.pop()


def curves(lines: Iterable[Line], started: float, x: XAxis) -> dict[str, Curve]:
    """Every metric of a run. started: the run's start, seconds since 1970.

    A row without a step or epoch of its own, as an epoch's summary has none, stands where the row
    before it does. Steps that a resumed run logs again replace those of the earlier attempt.
    """
    found: dict[str, Curve] = {}
    for point in points(lines, started, x):
        if isinstance(point, Back):
            for curve in found.values():
                curve.back_to(point.step)
        else:
            found.setdefault(point.key, Curve()).add(point.step, point.x, point.y)
    return found


def points(lines: Iterable[Line], started: float, x: XAxis) -> Iterator[Point | Back]:
    """The values of all curves in the order of the file, and where a resumed run goes back."""
    here = {STEP: 0.0, "epoch": 0.0, RUNTIME: 0.0}
    attempt, seen = 1, 1
    for line in lines:
        attempt = attempt_at(line, attempt)
        values = row(line, started, attempt)
        here |= {
            key: value
            for key in here
            if (value := _number(values.get(key))) is not None and math.isfinite(value)
        }
        if attempt > seen and STEP in values:  # the first row after a resumption tells its step
            seen = attempt
            yield Back(here[STEP])
        for key, number in _metrics(values):
            yield Point(key, here[STEP], here[_COLUMNS[x]], number)


def matching(keys: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """The keys that one of the globs matches; `*` matches slashes as well."""
    return [key for key in keys if any(fnmatchcase(key, pattern) for pattern in patterns)]


def smoothed(values: Sequence[float], weight: float) -> list[float]:
    """An exponential moving average that is not drawn to 0 at its start, as TensorBoard's and
    wandb's sliders do it. weight: from 0, which changes nothing, to below 1."""
    out: list[float] = []
    average = 0.0
    for count, value in enumerate(values, 1):
        average = average * weight + (1 - weight) * value
        out.append(average / (1 - weight**count))
    return out


def thinned(points: Sequence[tuple[float, float]], most: int) -> Sequence[tuple[float, float]]:
    """At most so many points that look like all of them: of each stretch the lowest and highest."""
    if len(points) <= most:
        return points
    size = math.ceil(len(points) / max(1, most // 2))
    parts = (points[at : at + size] for at in range(0, len(points), size))
    return [end for part in parts for end in sorted({min(part, key=_y), max(part, key=_y)})]


_y: Final = itemgetter(1)


def _metrics(values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for key, value in values.items():
        if _is_metric(key) and (number := _number(value)) is not None:
            yield key, number


@lru_cache(maxsize=10_000)
def _is_metric(key: str) -> bool:
    return not any(fnmatchcase(key, pattern) for pattern in _NO_METRICS)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value)  # the record log's integers fit: larger ones are read as floats
