"""Statuses one after the other -> how fast each run is uploaded, and how far behind; pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from syncd.report.status import RunStatus

WINDOW: Final = 30.0  # seconds that a rate is the mean of
_MOST: Final = 600  # times that are remembered of a run that does not get on


@dataclass(frozen=True, slots=True)
class Pace:
    """written, uploaded: records per second of late. behind: for how many seconds the oldest record
    that waits has been seen; 0 where none waits."""

    written: float = 0.0
    uploaded: float = 0.0
    behind: float = 0.0


@dataclass(slots=True)
class _Seen:
    """late: time, records and those uploaded, in the window. came: when there were so many records
    first, as long as not all of them are uploaded."""

    late: deque[tuple[float, int, int]] = field(default_factory=deque)
    came: list[tuple[float, int]] = field(default_factory=list)


class Rates:
    """What is seen of each run over the last while. Keyed by a run's file."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def observe(self, now: float, runs: Iterable[RunStatus]) -> dict[str, Pace]:
        """Take in how the runs are now, and say how they fare. now: seconds, of any clock that only
        goes forward."""
        before, self._seen = self._seen, {}
        paces = {}
        for run in runs:
            seen = self._seen[run.path] = before.get(run.path, _Seen())
            paces[run.path] = _pace(seen, now, run)
        return paces


def _pace(seen: _Seen, now: float, run: RunStatus) -> Pace:
    seen.late.append((now, run.records, run.uploaded))
    while seen.late[0][0] < now - WINDOW:
        seen.late.popleft()
    if not seen.came or seen.came[-1][1] < run.records:
        seen.came.append((now, run.records))
    seen.came = [one for one in seen.came if one[1] > run.uploaded]
    if len(seen.came) > _MOST:
        del seen.came[1::2]  # of the oldest it has to be exact
    then, records, uploaded = seen.late[0]
    seconds = now - then or 1.0
    return Pace(
        max(0, run.records - records) / seconds,
        max(0, run.uploaded - uploaded) / seconds,
        now - seen.came[0][0] if seen.came and run.waits else 0.0,
    )
