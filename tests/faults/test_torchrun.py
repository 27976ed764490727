"""Two compute nodes without a way out that train one model by torchrun, each by its own rendezvous:
the run is one log in the shared folder, through SIGTERM and requeueing; login nodes upload it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import torch

from tests.fakes.wandb_server import WandbServer
from tests.faults.nodes import Node, joined, why_not
from tests.faults.rig import ROOT, Rig, login_nodes, same_rows
from tests.karaoke_train.runlog.files import records_of, steps_of
from tests.measured import MEASURED
from tests.patience import WAIT, patience, until
from tests.processes import descendants

WHY_NOT = why_not("ip", "nsenter", "hostname")
pytestmark = [
    pytest.mark.skipif(bool(WHY_NOT), reason=f"no joined nodes can be made here: {WHY_NOT}"),
    pytest.mark.timeout(patience(300)),
]

RENDEZVOUS = 29500
# A model of five weights; told to stop, all ranks stop after the same step, and rank 0 saves it
TRAINING = """
import os, pathlib, signal, socket, sys, warnings
import torch, torch.distributed as dist
from karaoke_train.runlog import RunLog
logs, checkpoint, run_id, steps, host, port = sys.argv[1:]
try:
    socket.create_connection((host, int(port))).close()  # without a way out: refused at once
    sys.exit("a compute node has a way out")
except OSError:
    pass
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))  # torchrun's, beside the scheduler's
warnings.simplefilter("ignore")  # rank 1 is told that it keeps no log
dist.init_process_group("gloo")
saved = pathlib.Path(checkpoint)
torch.manual_seed(0)
model = torch.nn.Linear(4, 1)
first = 0
if saved.exists():
    state = torch.load(saved)
    first = state.pop("step")
    model.load_state_dict(state)
trained = torch.nn.parallel.DistributedDataParallel(model)
optimizer = torch.optim.SGD(trained.parameters(), lr=0.1)
torch.manual_seed(dist.get_rank())  # each has data of its own
with RunLog.create(logs, project="songs", run_id=run_id) as log:
    for step in range(first, int(steps)):
        given = torch.randn(8, 4)
        loss = (trained(given) - given.sum(1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        log.train(step, 0, {"train/loss": float(loss.detach())})
        stop = torch.tensor(len(asked))
        dist.all_reduce(stop)
        if stop:
            if dist.get_rank() == 0:
                torch.save(model.state_dict() | {"step": step + 1}, saved)
            dist.barrier()
            sys.exit(130)
dist.destroy_process_group()
"""


class Job:
    """One training on both nodes, as a scheduler starts and ends it."""

    def __init__(self, nodes: tuple[Node, Node], folder: Path, server: WandbServer) -> None:
        self.logs, self.checkpoint = folder / "logs", folder / "checkpoint"
        self._nodes = nodes
        self._folder = folder
        self._away = urlsplit(server.url)
        self._parts: list[subprocess.Popen[bytes]] = []
        self.words = folder / "job.out"
        (folder / "train.py").write_text(TRAINING)

    def start(self, run_id: str, steps: int) -> None:
        """Start its part on each node."""
        self._parts = [self._part(node, run_id, steps) for node in self._nodes]

    def _part(self, node: Node, run_id: str, steps: int) -> subprocess.Popen[bytes]:
        first = self._nodes[0]
        command = [
            sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1",
            "--rdzv-backend=c10d", f"--rdzv-endpoint={first.address}:{RENDEZVOUS}",
            f"--rdzv-id={run_id}", f"--local-addr={node.address}",
            f"--rdzv-conf=is_host={str(node is first).lower()}",  # nobody resolves names here
            f"{self._folder / 'train.py'}", f"{self.logs}", f"{self.checkpoint}", run_id,
            f"{steps}", f"{self._away.hostname}", f"{self._away.port}",
        ]  # fmt: skip
        with self.words.open("ab") as words:
            return subprocess.Popen(
                node.command(command),
                cwd=self._folder,
                env={
                    **MEASURED,
                    "PATH": "/usr/bin:/bin",
                    "PYTHONPATH": str(ROOT),
                    "GLOO_SOCKET_IFNAME": node.interface,
                    "OMP_NUM_THREADS": "1",
                },
                stdout=words,
                stderr=words,
                start_new_session=True,
            )

    def terminate(self) -> None:
        """SIGTERM to each of its processes, as Slurm does."""
        self._signal(signal.SIGTERM)

    def wait(self) -> list[int]:
        """How its parts ended."""
        try:
            return [part.wait(patience(120)) for part in self._parts]
        except subprocess.TimeoutExpired:
            raise AssertionError(self.said()) from None

    def said(self) -> str:
        return self.words.read_text()[-4000:] if self.words.exists() else ""

    def close(self) -> None:
        """End what is left of it."""
        self._signal(signal.SIGKILL)
        for part in self._parts:
            part.wait()

    def _signal(self, number: int) -> None:
        for part in self._parts:
            for pid in [*descendants(part.pid), part.pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)

    def log(self) -> Path | None:
        """The one log in the folder."""
        found = sorted(self.logs.glob("*.jsonl"))
        assert len(found) <= 1, found
        return found[0] if found else None


@pytest.fixture
def job(tmp_path: Path, server: WandbServer) -> Iterator[Job]:
    with ExitStack() as stack:
        try:
            nodes = stack.enter_context(joined())
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no joined nodes can be made here: {error.stderr.decode().strip()}")
        made = Job(nodes, tmp_path, server)
        stack.callback(made.close)
        yield made


@pytest.fixture
def logins(job: Job, server: WandbServer, tmp_path: Path) -> Iterator[list[Rig]]:
    with login_nodes(tmp_path, server, job.logs) as rigs:
        yield rigs


def test_two_nodes_train_by_torchrun_into_one_log_through_a_requeue_and_login_nodes_upload_it(
    job: Job, logins: list[Rig], server: WandbServer
) -> None:
    first, second = logins
    first.start()
    job.start("requeued", steps=1_000_000)
    path = until(job.log, "the training logs", 3 * WAIT)
    assert path is not None
    until(lambda: first.confirmed("requeued") > 20, f"login1 uploads: {job.said()}", 3 * WAIT)
    second.start()  # and waits for its turn
    job.terminate()
    assert job.wait() == [1, 1], job.said()  # torchrun's own, whatever the training's is
    reached = torch.load(job.checkpoint)["step"]
    assert steps_of(path) == list(range(reached))

    first.kill()
    job.start("requeued", steps=reached + 20)
    assert job.wait() == [0, 0], job.said()
    assert job.log() == path
    assert steps_of(path) == list(range(reached + 20))  # of two ranks, one has logged
    records = records_of(path)
    assert [record["host"] for record in records if record["type"] == "config"] == ["node1"] * 2
    until(lambda: second.ended("requeued"), f"login2 takes over: {second.said()}", 2 * WAIT)
    assert same_rows(path, server.run("requeued")) == len(records)
    assert server.run("requeued")["state"] == "finished"
