"""The fake destination holds the contract that the real ones hold."""

from __future__ import annotations

from typing import Any

import pytest

from syncd.destination.base import Target, Uploader
from syncd.errors import Unreachable
from tests.fakes.uploads import FakeServer
from tests.syncd.destination.contract import Bench, UploaderContract


class FakeBench(Bench):
    def __init__(self) -> None:
        self.server = FakeServer()

    def uploader(self, target: Target) -> Uploader:
        return self.server.uploader(target)

    def rows(self, run_id: str) -> list[dict[str, Any]]:
        return self.server.runs[run_id].rows

    def state(self, run_id: str) -> str:
        outcome = self.server.runs[run_id].outcome
        return outcome.status if outcome else "running"

    def break_down(self) -> None:
        self.server.down = Unreachable("down")

    def repair(self) -> None:
        self.server.down = None

    def settle(self) -> None:
        self.server.deliver()


class TestFake(UploaderContract):
    @pytest.fixture
    def bench(self) -> FakeBench:
        return FakeBench()
