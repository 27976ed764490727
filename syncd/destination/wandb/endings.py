"""A run's end is told once the server shows it: until then it counts as not told, in both lanes."""

from __future__ import annotations

from typing import Final

from syncd.destination.base import Outcome, RunRef
from syncd.destination.wandb.api import Api
from syncd.errors import RunTrouble

_WAITS: Final = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)  # seconds before each question


def await_end(api: Api, ref: RunRef, outcome: Outcome) -> None:
    """Return when the server shows how the run ended. Raises RunTrouble when it doesn't in time,
    Unreachable or Refused."""
    for wait in _WAITS:
        api.http.pause(wait)
        remote = api.remote_run(ref)
        if remote and remote.shows(outcome):
            return
    shown = remote.state if remote else "no run"
    raise RunTrouble(
        f"the server does not show how the run ended, but {shown or 'no state'}",
        meaning="All its records are there",
        by_itself="Its end is told again by itself",
    )
