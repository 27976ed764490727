"""A run's end counts as told when the server shows it, and not before."""

from __future__ import annotations

from typing import Any

import pytest

from syncd.destination.base import Outcome, RemoteRun, RunRef
from syncd.destination.wandb.endings import await_end
from syncd.errors import RunTrouble

REF = RunRef("team", "songs", "run")
FINISHED, FAILED, STOPPED = (
    Outcome("finished", 0),
    Outcome("failed", 1),
    Outcome("interrupted", 130),
)


class Server:
    """Shows one state after the other, the last one for ever."""

    def __init__(self, *states: str) -> None:
        self.states = list(states)
        self.asked = 0
        self.http: Any = self

    def pause(self, seconds: float) -> None:
        assert seconds <= 8

    def remote_run(self, ref: RunRef) -> RemoteRun | None:
        self.asked += 1
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return RemoteRun(3, 2, state) if state != "none" else None


@pytest.mark.parametrize(
    ("outcome", "state"),
    [(FINISHED, "finished"), (FAILED, "failed"), (FAILED, "killed"), (STOPPED, "failed")],
)
def test_an_end_that_is_shown_late_is_waited_for(outcome: Outcome, state: str) -> None:
    server = Server("running", "running", state)
    await_end(server, REF, outcome)  # type: ignore[arg-type]
    assert server.asked == 3


@pytest.mark.parametrize(
    ("outcome", "state"),
    [(FINISHED, "running"), (FINISHED, "crashed"), (FINISHED, "failed"), (FAILED, "finished"),
     (FAILED, "crashed"), (FINISHED, "none"), (FINISHED, "")],
)  # fmt: skip
def test_what_is_not_shown_is_not_told(outcome: Outcome, state: str) -> None:
    with pytest.raises(RunTrouble, match="does not show how the run ended"):
        await_end(Server(state), REF, outcome)  # type: ignore[arg-type]
