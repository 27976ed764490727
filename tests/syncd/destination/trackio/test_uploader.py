"""The local store holds the contract that every destination holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from syncd.destination.base import RunRef, Target, Uploader
from syncd.destination.trackio.destination import ENTITY, TrackioDestination
from tests.syncd.destination.contract import Bench, UploaderContract


class TrackioBench(Bench):
    entity = ENTITY

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.destination = TrackioDestination(folder)

    def _ref(self, run_id: str) -> RunRef:
        return RunRef(self.entity, self.project, run_id)

    def uploader(self, target: Target) -> Uploader:
        return self.destination.uploader(target)

    def rows(self, run_id: str) -> list[dict[str, Any]]:
        return [dict(row) for row in self.destination.history(self._ref(run_id))]

    def state(self, run_id: str) -> str:
        run = self.destination.remote_run(self._ref(run_id))
        return run.state if run else ""

    def break_down(self) -> None:
        """A folder stands where the database has to be."""
        if self._database.exists():
            self._database.rename(self._away)
        self._database.mkdir()

    def repair(self) -> None:
        self._database.rmdir()
        if self._away.exists():
            self._away.rename(self._database)

    @property
    def _away(self) -> Path:
        return self._database.with_suffix(".away")

    @property
    def _database(self) -> Path:
        return self._folder / f"{self.project}.db"

    def settle(self) -> None:
        """What was sent is there."""


class TestTrackio(UploaderContract):
    @pytest.fixture
    def bench(self, store_folder: Path) -> TrackioBench:
        return TrackioBench(store_folder)
