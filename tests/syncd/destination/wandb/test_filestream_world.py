"""The direct lane's contract in the world as it is described: counts and tails that lag, a line
cursor that goes back with an earlier post, the documented rate limits in force."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from syncd.destination.wandb.pace import Pace
from tests.fakes.wandb_server import WandbServer
from tests.fakes.wandb_world import World
from tests.syncd.destination.contract import UploaderContract
from tests.syncd.destination.wandb.test_filestream import DirectBench

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DirectBench]:
    folder = tmp_path_factory.mktemp("world")
    with WandbServer(folder, entity="team", world=World.DEFAULT) as server:
        yield DirectBench(server, Pace())
        assert [seen for seen in server.requests() if seen.status == 429] == []
        runs = server.dump()["team"]["songs"].values()
        assert [run["overwrites"] for run in runs if run["overwrites"]] == []


class TestFileStream(UploaderContract):
    pass
