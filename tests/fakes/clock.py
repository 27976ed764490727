"""A clock that moves when it's told to."""

from __future__ import annotations


class FakeClock:
    """Seconds since nothing in particular, as `time.monotonic` gives them."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass."""
        self.now += seconds
