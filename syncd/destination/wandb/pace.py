"""How often and how much may be posted: W&B's documented limits, kept with some room; no I/O.

W&B documents 2 file stream requests per second and run, 500 per second and project, 120 MB per
second and project, and answers 429 beyond. A client that posts each record as it comes breaks the
first of them at once, and all runs of a project share the others.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

POSTS_PER_RUN: Final = 1.0  # per second, in bursts of 2; documented: 2
BURST: Final = 2.0
POSTS_PER_PROJECT: Final = 400.0  # per second; documented: 500
BYTES_PER_PROJECT: Final = 100e6  # per second; documented: 120 MB
_FORGET: Final = 60.0  # seconds after which a full bucket is let go


@dataclass(slots=True)
class _Bucket:
    """Tokens that come back at a rate, up to `most`. Below zero: promised to who waits."""

    rate: float
    most: float
    tokens: float
    at: float

    def delay(self, wanted: float, now: float) -> float:
        """Seconds until so many tokens are there; 0 where they are, or as many as ever will."""
        self.refill(now)
        return max(0.0, (min(wanted, self.most) - self.tokens) / self.rate)

    def take(self, wanted: float, now: float) -> None:
        """Take them, now or from what comes next."""
        self.refill(now)
        self.tokens -= wanted

    def refill(self, now: float) -> None:
        """Add what came since."""
        self.tokens = min(self.most, self.tokens + (now - self.at) * self.rate)
        self.at = now


class Pace:
    """The limits of one server. Thread-safe. clock: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._guard = threading.Lock()
        self._runs: dict[tuple[str, str], _Bucket] = {}
        self._posts: dict[str, _Bucket] = {}
        self._bytes: dict[str, _Bucket] = {}
        self._not_before: dict[str, float] = {}
        self._tidied_at = clock()

    def delay(self, project: str, run: str, size: int) -> float:
        """Seconds to wait before a post of `size` bytes. It counts as made then: whoever asks next
        waits behind it."""
        with self._guard:
            now = self._clock()
            self._tidy(now)
            parts = (
                (self._run(project, run, now), 1.0),
                (self._posts.setdefault(project, _full(POSTS_PER_PROJECT, now)), 1.0),
                (self._bytes.setdefault(project, _full(BYTES_PER_PROJECT, now)), float(size)),
            )
            wait = max(bucket.delay(wanted, now) for bucket, wanted in parts)
            for bucket, wanted in parts:
                bucket.take(wanted, now)
            return max(wait, self._not_before.get(project, 0.0) - now)

    def wait_for(self, project: str, run: str) -> float:
        """Seconds until a next post of the run would not have to wait. Takes nothing."""
        with self._guard:
            now = self._clock()
            wait = self._run(project, run, now).delay(1.0, now)
            return max(wait, self._not_before.get(project, 0.0) - now, 0.0)

    def slowed(self, project: str, seconds: float) -> None:
        """The server wants no post of the project for so long."""
        with self._guard:
            until = self._clock() + seconds
            self._not_before[project] = max(until, self._not_before.get(project, 0.0))

    def _run(self, project: str, run: str, now: float) -> _Bucket:
        key = (project, run)
        if key not in self._runs:
            self._runs[key] = _Bucket(POSTS_PER_RUN, BURST, BURST, now)
        return self._runs[key]

    def _tidy(self, now: float) -> None:
        """Let go of runs that have posted nothing for a while: their buckets are full again."""
        if now - self._tidied_at > _FORGET:
            self._tidied_at = now
            self._runs = {
                k: bucket for k, bucket in self._runs.items() if now - bucket.at < _FORGET
            }


def _full(rate: float, now: float) -> _Bucket:
    return _Bucket(rate, rate, rate, now)
