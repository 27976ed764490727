"""Rate limits as the W&B stand-in enforces them: token buckets, with the clock passed in."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.fakes.wandb_state import RunKey
    from tests.fakes.wandb_world import RateLimits

SCALE = 1000  # RateLimit-Remaining is a share of the quota, from 0 to this, in W&B's documentation


@dataclass(frozen=True)
class Quota:
    """What one request found: whether it may pass, and how the tightest of its limits stands."""

    limit: str
    remaining: int  # of 1000
    reset_s: float  # until all of it is there again
    wait_s: float  # until the request would pass; 0 where it does

    @property
    def passes(self) -> bool:
        return self.wait_s == 0

    def headers(self) -> dict[str, str]:
        """Whole numbers, as wandb-core reads them."""
        told = {
            "RateLimit-Remaining": str(self.remaining if self.passes else 0),
            "RateLimit-Reset": str(math.ceil(self.reset_s)),
        }
        return told if self.passes else {**told, "Retry-After": str(math.ceil(self.wait_s))}


class _Bucket:
    def __init__(self, rate: float, burst_s: float, now: float) -> None:
        self.rate = rate
        self.room = max(1.0, rate * burst_s)
        self.tokens = self.room
        self._at = now

    def refill(self, now: float) -> None:
        self.tokens = min(self.room, self.tokens + (now - self._at) * self.rate)
        self._at = now

    def wait(self, wanted: float) -> float:
        """Seconds until so much is there; what is more than fits in counts as all that does."""
        lacking = min(wanted, self.room) - self.tokens
        return lacking / self.rate if lacking > 1e-9 else 0.0  # a hair's breadth is rounding


class Limiter:
    """The buckets of all runs and projects. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[tuple[RateLimits, str, tuple[str, ...]], _Bucket] = {}

    def post(self, limits: RateLimits, key: RunKey, size: int) -> Quota:
        """A file stream request of `size` bytes as sent."""
        project = (key.entity, key.project)
        return self._take(
            limits,
            [
                ("posts_per_run", (*project, key.run), 1.0),
                ("posts_per_project", project, 1.0),
                ("bytes_per_project", project, float(size)),
            ],
        )

    def create(self, limits: RateLimits, key: RunKey) -> Quota:
        """A run that is made."""
        return self._take(limits, [("runs_per_project", (key.entity, key.project), 1.0)])

    def _take(
        self, limits: RateLimits, wanted: Sequence[tuple[str, tuple[str, ...], float]]
    ) -> Quota:
        with self._lock:
            now = self._clock()
            found = [(self._bucket(limits, name, scope, now), n) for name, scope, n in wanted]
            waits = [bucket.wait(tokens) for bucket, tokens in found]
            if not any(waits):
                for bucket, tokens in found:
                    bucket.tokens -= min(tokens, bucket.room)
            shares = [bucket.tokens / bucket.room for bucket, _ in found]
            place = waits.index(max(waits)) if any(waits) else shares.index(min(shares))
            bucket = found[place][0]
            return Quota(
                limit=wanted[place][0],
                remaining=int(shares[place] * SCALE),
                reset_s=(bucket.room - bucket.tokens) / bucket.rate,
                wait_s=max(waits),
            )

    def _bucket(self, limits: RateLimits, name: str, scope: tuple[str, ...], now: float) -> _Bucket:
        key = (limits, name, scope)
        if key not in self._buckets:
            self._buckets[key] = _Bucket(getattr(limits, name), limits.burst_s, now)
        bucket = self._buckets[key]
        bucket.refill(now)
        return bucket
