"""What is killed in the random runs: trainers that write until then, the dashboard, a daemon and
all that is around it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from karaoke_train.runlog.format import RunHeader
from tests.fakes.wandb_process import WandbProcess
from tests.faults.rig import LOCAL, ROOT, Rig, same_rows
from tests.karaoke_train.runlog.files import lines_of, python
from tests.patience import patience
from tests.syncd.viewer import Viewer

OURS = {"daemon": 8, "trainer": 3, "run's end": 2}  # with what likelihood
VICTIMS = {  # by lane
    "auto": OURS | {"server": 1},
    "sdk": OURS | {"server": 1, "worker": 5, "wandb-core": 3},
    LOCAL: OURS | {"dashboard": 4},
}
WRITE = """
import signal
from karaoke_train.runlog import provenance
provenance.provenance = lambda argv: {"host": "here", "pid": os.getpid()}  # no git processes
place, step, ends = sys.argv[1], 0, []
signal.signal(signal.SIGTERM, lambda *_: ends.append(1))
log = RunLog.resume(place) if place.endswith(".jsonl") else RunLog.create(place, project="songs")
print(log.path, flush=True)
while not ends:
    step += 1
    log.train(step, step / 100, {"train/loss": 1 / step, "train/lr": float("nan")})
    if step % 10 == 0:
        log.val(step, step / 100, {"val/loss": 0.5, "val/words": "ü" * (step % 300)})
        log.epoch_summary(step, train_loss=0.25, val_metrics={"val/loss": 0.5})
    time.sleep(0.03)
log.close("interrupted")
"""


class Trainer:
    """A process that writes a run until it's killed, and is started again; or ends the run."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self.runs: list[Path] = []
        self._start(logs)

    def _start(self, place: Path) -> None:
        self._process = python(WRITE, place, cwd=ROOT)
        assert self._process.stdout
        path = Path(self._process.stdout.readline().strip())
        if path not in self.runs:
            self.runs.append(path)

    def kill(self) -> None:
        """SIGKILL; the run is continued by the next process."""
        self.stop(signal.SIGKILL)
        self._start(self.runs[-1])

    def end(self) -> None:
        """End the run; the next process starts another one."""
        self.stop(signal.SIGTERM)
        self._start(self._logs)

    def stop(self, number: int) -> None:
        self._process.send_signal(number)
        _, words = self._process.communicate(timeout=patience(20))
        assert words == ""


class Dashboard:
    """`view` beside the daemon, where there is a local store: whichever of the two holds a run's
    lease uploads it."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._viewer: Viewer | None = None

    def start(self) -> None:
        self._viewer = Viewer(self._rig.folder, **self._rig.environment)

    def kill(self) -> None:
        if self._viewer:
            self._viewer.kill()


class Chaos(NamedTuple):
    """Everything that can be killed."""

    rig: Rig
    server: WandbProcess
    trainer: Trainer
    dashboard: Dashboard

    def strike(self, victim: str) -> str:
        """Kill it, and start again what doesn't start by itself. Answers what was killed: where
        no worker comes to life, the daemon is."""
        find = {"worker": self.rig.workers, "wandb-core": self.rig.cores}.get(victim)
        if find and (pids := awaited(find)):
            for pid in pids:
                kill(pid)
            return victim
        if victim == "trainer":
            self.trainer.kill()
        elif victim == "run's end":
            self.trainer.end()
        elif victim == "dashboard":
            self.dashboard.kill()
            self.dashboard.start()
        elif victim == "server":
            self.server.kill()
            self.server.start()
        else:
            self.rig.kill()
            self.rig.start()
            return "daemon"
        return victim


def awaited(find: Callable[[], list[int]]) -> list[int]:
    """The processes, once there are some; none when they don't come in time."""
    deadline = time.monotonic() + patience(8)
    while not (pids := find()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return pids


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # it had just gone by itself


def run_id(path: Path) -> str:
    return RunHeader.of(lines_of(path)[0].record or {}).run_id


def assert_prefixes(rig: Rig, runs: Iterable[Path]) -> None:
    """At any moment, the server has beginnings of the files, and no less than the cursors say."""
    for path in runs:
        confirmed = rig.confirmed(run_id(path))
        if confirmed:
            assert same_rows(path, rig.run(run_id(path))) >= confirmed
