"""Where a browser shows a run, whatever its project is called."""

from __future__ import annotations

from syncd.destination.base import RunRef
from syncd.destination.wandb.credentials import Login
from syncd.destination.wandb.destination import WandbDestination


def test_a_link_holds_together_whatever_the_project_is_called() -> None:
    destination = WandbDestination(Login("http://127.0.0.1:9", ""))
    url = destination.url(RunRef("a team", "sängers [2]/x", "run-1"))
    assert url == "http://127.0.0.1:9/a%20team/s%C3%A4ngers%20%5B2%5D%2Fx/runs/run-1"
