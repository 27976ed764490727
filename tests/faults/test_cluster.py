"""A cluster on one machine: compute nodes, in network namespaces of their own, without a way out;
login nodes, which alone reach the server; one folder that all of them share."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.fakes.wandb_server import WandbServer
from tests.faults.nodes import ALONE, why_not
from tests.faults.rig import LOCAL, ROOT, STORE, Rig, login_nodes
from tests.karaoke_train.runlog.files import records_of
from tests.measured import MEASURED
from tests.patience import patience
from tests.syncd.viewer import needs_trackio

# Tries to reach the server, then logs so many steps, and goes on or waits for its end
TRAINING = """
import signal, socket, sys
from karaoke_train.runlog import RunLog
node, logs, run_id, first, count, host, port, stays = sys.argv[1:]
socket.sethostname(node)
try:
    socket.create_connection((host, int(port))).close()  # without a network: refused at once
    sys.exit("a compute node has a way out")
except OSError:
    pass
with RunLog.create(logs, project="songs", run_id=run_id) as log:
    for step in range(int(first), int(first) + int(count)):
        log.train(step, 0, {"train/loss": 1 / (step + 1)})
    print(log.path, flush=True)
    if stays == "yes":
        signal.pause()
"""


@dataclass(frozen=True)
class Written:
    """A run as its files say."""

    path: Path
    run_id: str


pytestmark = pytest.mark.skipif(
    bool(why_not()), reason=f"no network namespaces can be made here: {why_not()}"
)


class Cluster:
    """Trainings on nodes, with one folder for all."""

    def __init__(self, folder: Path, server: WandbServer) -> None:
        self.logs = folder / "logs"
        self.server = server
        self._started: list[subprocess.Popen[str]] = []

    def train(
        self, node: str, run_id: str, *, first: int = 0, steps: int = 20, stays: bool = False
    ) -> tuple[Written, subprocess.Popen[str]]:
        """A training on a node, once it has logged its steps. stays: and goes on living."""
        url = urlsplit(self.server.url)
        words = (node, self.logs, run_id, first, steps, url.hostname, url.port)
        command = [*ALONE, sys.executable, "-c", TRAINING, *map(str, words), "yes" if stays else ""]
        training = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**MEASURED, "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        self._started.append(training)
        assert training.stdout is not None
        path = training.stdout.readline().strip()
        assert path, "the training has failed"
        return Written(Path(path), run_id), training

    def close(self) -> None:
        """End what was started."""
        for training in self._started:
            training.kill()
            training.communicate()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WandbServer]:
    with WandbServer(tmp_path / "server") as server:
        yield server


@pytest.fixture
def cluster(tmp_path: Path, server: WandbServer) -> Iterator[Cluster]:
    made = Cluster(tmp_path, server)
    yield made
    made.close()


@pytest.fixture(params=["auto", pytest.param(LOCAL, marks=needs_trackio)])
def logins(
    request: pytest.FixtureRequest, cluster: Cluster, server: WandbServer, tmp_path: Path
) -> Iterator[list[Rig]]:
    with login_nodes(tmp_path, server, cluster.logs) as rigs:
        for rig in rigs:
            rig.environment[STORE] = str(tmp_path / "store")  # in the home that they share
            rig.go_by(request.param)
        yield rigs


def hosts(run: Written) -> list[Any]:
    return [record["host"] for record in records_of(run.path) if record["type"] == "config"]


def test_nodes_without_a_way_out_log_and_login_nodes_upload_every_record_once(
    cluster: Cluster, logins: list[Rig]
) -> None:
    first, second = logins
    first.start()
    finished, training = cluster.train("node1", "finished")
    assert training.wait(patience(30)) == 0
    requeued, training = cluster.train("node2", "requeued", stays=True)
    first.await_all(finished, requeued)

    training.terminate()  # as a scheduler does at the job's limit
    training.wait(patience(30))
    first.kill()
    again, training = cluster.train("node3", "requeued", first=15)
    assert training.wait(patience(30)) == 0
    assert again.path == requeued.path
    assert hosts(requeued) == ["node2", "node3"]

    second.start()
    for run in (finished, requeued):
        second.await_end(run)
        second.await_all(run)
        second.assert_same(run)
        assert second.run(run.run_id)["state"] == "finished"
    assert second.status().pending == 0
