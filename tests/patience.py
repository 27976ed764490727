"""How long the tests wait for what has to come true: seconds on a machine that has time for them.

KARAOKE_TEST_PATIENCE is the factor for all of it: 1 unless set, more on a machine that is busy or
slow. Every limit of a test goes through `patience`: waits, the time of a subprocess, pytest's own
limit per test (tests/conftest.py) and the limits of the product under test where a busy machine
would exceed them. Intervals don't: a longer one would only make the test slower.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

VARIABLE = "KARAOKE_TEST_PATIENCE"
WAIT = 45.0  # for anything that real processes have to bring about
T = TypeVar("T")


def factor() -> float:
    """The factor from the environment; ValueError where it is no number from 0.1 on."""
    given = os.environ.get(VARIABLE) or "1"
    try:
        found = float(given)
    except ValueError:
        found = 0.0
    if not 0.1 <= found < float("inf"):
        raise ValueError(f"{VARIABLE} has to be a number from 0.1 on, not {given!r}")
    return found


FACTOR = factor()


def patience(seconds: float) -> float:
    """So many seconds, times the factor."""
    return seconds * FACTOR


def eventually(condition: Callable[[], object], seconds: float = 10.0) -> bool:
    """Whether the condition came to hold within so many seconds (times the factor)."""
    return bool(_wait(condition, seconds, every=0.02))


def until(
    condition: Callable[[], T], what: str = "it holds", seconds: float = WAIT, every: float = 0.05
) -> T:
    """Wait until the condition holds, and return what it said; fails with `what` did not happen."""
    found = _wait(condition, seconds, every)
    assert found, f"not within {patience(seconds):.0f} s: {what}"
    return found


def _wait(condition: Callable[[], T], seconds: float, every: float) -> T:
    deadline = time.monotonic() + patience(seconds)
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(every)
    return found
