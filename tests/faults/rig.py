"""What the fault tests share: a real daemon as a process, its folders, and the comparison of what
the stand-in holds with what the file holds. Whatever is started here is ended here, by its pid."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import queue
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from karaoke_train.runlog import RunLog, provenance
from karaoke_train.runlog.reader import Line
from karaoke_train.runlog.timestamps import parse_timestamp
from syncd import settings
from syncd.destination.base import Destination
from syncd.destination.rows import attempt_at, row
from syncd.destination.trackio import names
from syncd.destination.trackio.destination import TrackioDestination
from syncd.destination.wandb.credentials import find_login
from syncd.destination.wandb.destination import WandbDestination
from syncd.failpoints import VARIABLE
from syncd.paths import destination_folder
from syncd.report.collect import collect
from syncd.report.status import RunStatus, Status
from syncd.state import cursor
from tests.fakes.wandb_process import WandbProcess
from tests.fakes.wandb_server import KEY, WandbServer
from tests.fakes.wandb_world import World
from tests.faults.store import run_in
from tests.karaoke_train.runlog.files import lines_of
from tests.measured import MEASURED
from tests.patience import patience, until
from tests.processes import children, descendants
from tests.syncd.viewer import needs_trackio

ROOT = Path(__file__).parents[2]
LANE = settings.PREFIX + "LANE"
LANES = ("auto", "sdk")  # to wandb: what users have, which is the direct one here; and the other
LOCAL = (
    "local"  # the local dashboard's store in wandb's place; the server beside it has no part then
)
ANYWHERE = (*LANES, pytest.param(LOCAL, marks=needs_trackio))
STORE = "TRACKIO_DIR"
_DESTINATIONS = settings.PREFIX + "DESTINATIONS"
FAST = {  # the daemon's times, in seconds
    "RESCAN": "0.5",
    "CONFIRM_FIRST": "0.2",
    "COUNT_STABLE_FOR": "0.2",
    "CONFIRM_LAZY": "0.5",
    "CONFIRM_MOST": "1",
    "STALL": str(patience(8)),  # a post over the rate limit comes 3 s later, its count 2.5 s more
    "HEARTBEAT_TIMEOUT": str(patience(4)),
    "WRITER_CHECK_AFTER": "2",
    "REQUEST_TIMEOUT": str(patience(5)),  # twice that is waited for a killed SDK's last request
    "BACKOFF_FIRST": "0.2",
    "BACKOFF_MOST": "1",
    "PROBE_EVERY": "1",
}
# Half of the scenarios are played beside a server that accepts gaps, and counts lines past them
WORLDS = (World.DEFAULT, replace(World.DEFAULT, offsets="gaps"))
Server = WandbServer | WandbProcess
WAV = (  # 8 kHz, mono, two silent samples
    b"RIFF\x28\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0"
    b"data\x04\0\0\0\0\0\0\0"
)


class Rig:
    """One daemon, which can be killed and started again, with a log folder and a state folder."""

    def __init__(
        self,
        folder: Path,
        server: Server,
        *,
        logs: Path | None = None,
        **environment: str,
    ) -> None:
        self.server = server
        self.folder = folder
        self.logs = logs or folder / "logs"
        self.order = folder / "failpoint"
        self.words = folder / "daemon.log"
        self.environment = {
            **MEASURED,
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),  # what is tested is this tree, whatever is installed
            "HOME": str(folder),
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "WANDB_BASE_URL": server.url,
            "WANDB_API_KEY": KEY,
            "KARAOKE_SYNCD_LOG_DIR": str(self.logs),
            VARIABLE: str(self.order),
            STORE: str(folder / "store"),
            **_of_lane("auto"),
            **{settings.PREFIX + name: value for name, value in FAST.items()},
            **environment,
        }
        folder.mkdir(parents=True, exist_ok=True)
        self.logs.mkdir(parents=True, exist_ok=True)
        self._process: subprocess.Popen[bytes] | None = None

    # --- the daemon

    def start(self) -> None:
        """Start the daemon, unless it runs."""
        if self.running:
            return
        with self.words.open("ab") as words:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "syncd", "start"],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=words,
            )

    def go_by(self, lane: str) -> None:
        """Upload by this lane from the next start on, or to the local store."""
        wanted = self.environment | _of_lane(lane)
        if self.environment != wanted:
            self.close()
            self.environment = wanted

    @property
    def lane(self) -> str:
        """As it is named in `go_by`."""
        return LOCAL if self.local else self.environment[LANE]

    @property
    def direct(self) -> bool:
        """Whether the direct lane is what is tried."""
        return self.environment[LANE] != "sdk" and not self.local

    @property
    def local(self) -> bool:
        """Whether records go to the local store."""
        return self.environment[_DESTINATIONS] == "trackio"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code; None while it runs."""
        assert self._process is not None
        return self._process.poll()

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, and nothing said before."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def dies(self) -> None:
        """Wait for the daemon to be killed, as it was ordered to."""
        until(lambda: not self.running, "the daemon dies where it was told to")
        assert self._process is not None
        assert self._process.returncode == -signal.SIGKILL, self.said()

    def close(self) -> None:
        """End the daemon, and whatever it leaves behind."""
        if self._process is None:
            return
        left = descendants(self.pid)
        self.kill()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def __enter__(self) -> Rig:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def workers(self) -> list[int]:
        """The processes in which the SDK runs."""
        return children(self.pid) if self.running else []

    def cores(self) -> list[int]:
        """The wandb-core processes."""
        return [pid for worker in self.workers() for pid in children(worker)]

    def said(self) -> str:
        """The last of the daemon's words."""
        return self.words.read_text()[-3000:] if self.words.exists() else ""

    # --- what is known of the runs

    @property
    def store(self) -> Path:
        """The local store's folder."""
        return Path(self.environment[STORE])

    def destination(self) -> Destination:
        if self.local:
            return TrackioDestination(self.store)
        login = find_login(self.environment)
        return WandbDestination(login, lane=self.environment[LANE], folder=self.state())

    def state(self) -> Path:
        """The state folder of this destination."""
        where = find_login(self.environment).base_url
        return destination_folder(
            self.settings().state_dir, names.address(self.store) if self.local else where
        )

    def run(self, run_id: str) -> dict[str, Any]:
        """The run at the destination. Raises KeyError when nothing of it is there."""
        return run_in(self.store, run_id) if self.local else dict(self.server.run(run_id))

    def settings(self) -> settings.Settings:
        return settings.load({}, self.environment)

    def status(self) -> Status:
        return collect(self.settings(), self.destination())

    def run_status(self, run_id: str) -> RunStatus:
        return next(run for run in self.status().runs if run.run_id == run_id)

    def confirmed(self, run_id: str) -> int:
        """The records that the cursor says are on the server."""
        known = cursor.load(self.state() / "cursors", run_id)
        return known.confirmed.ordinal if known else 0

    def ended(self, run_id: str) -> bool:
        known = cursor.load(self.state() / "cursors", run_id)
        return bool(known and known.ended)

    # --- what is asserted

    def await_all(self, *logs: RunLog) -> None:
        """Wait until the cursor says that all of the file is on the server."""
        for log in logs:
            count = len(lines_of(log.path))
            try:
                until(lambda log=log, count=count: self.confirmed(log.run_id) == count, "all is up")  # type: ignore[misc]
            except AssertionError:
                had = self.confirmed(log.run_id)
                raise AssertionError(f"{had} of {count} confirmed; {self.said()}") from None

    def await_end(self, log: RunLog) -> None:
        """Wait until the server was told the outcome."""
        try:
            until(lambda: self.ended(log.run_id), "the run has ended at the server")
        except AssertionError:
            raise AssertionError(f"the run did not end: {self.said()}") from None

    def assert_prefix(self, log: RunLog) -> None:
        """The server holds the beginning of the file, and at least what the cursor claims."""
        confirmed = self.confirmed(log.run_id)
        with contextlib.suppress(KeyError):  # nothing of it is there yet
            assert same_rows(log.path, self.run(log.run_id)) >= confirmed
            return
        assert confirmed == 0

    def assert_same(self, log: RunLog) -> int:
        """The server holds every record once, in order, with equal content. Answers how many."""
        count = same_rows(log.path, self.run(log.run_id))
        assert count == len(lines_of(log.path))
        return count


def _of_lane(lane: str) -> dict[str, str]:
    if lane == LOCAL:
        return {_DESTINATIONS: "trackio", LANE: "auto"}
    return {_DESTINATIONS: "wandb", LANE: lane}


def begun(rig: Rig, lines: int) -> RunLog:
    """A run that is being written, of which so many records are there, under its daemon."""
    rig.start()
    log = RunLog.create(rig.logs, project="songs")
    write(log, lines)
    rig.await_all(log)
    return log


@contextlib.contextmanager
def login_nodes(folder: Path, server: Server, logs: Path) -> Iterator[list[Rig]]:
    """Two login nodes of a cluster with a daemon each, which is yet to be started."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(Rig(folder / name, server, logs=logs, KARAOKE_SYNCD_TAKEOVER="0.5"))
            for name in ("login1", "login2")
        ]


def same_rows(path: Path, run: Mapping[str, Any]) -> int:
    """How many history rows the server has, each of which equals the file's line in its place."""
    assert run["errors"] == []
    assert run["overwrites"] == []
    assert run["gaps"] == []
    expected = expected_rows(lines_of(path))
    found = [comparable(item) for item in run["history"]]
    for ordinal, item in enumerate(found):
        assert item == expected[ordinal], f"line {ordinal}"
    return len(found)


def expected_rows(lines: list[Line]) -> list[dict[str, Any]]:
    """The history that a file's lines come to."""
    first = lines[0].record or {}
    started = parse_timestamp(first.get("created"), 0.0)
    rows, attempt = [], 1
    for line in lines:
        attempt = attempt_at(line, attempt)
        rows.append(comparable({**row(line, started, attempt), "_step": line.at.ordinal}))
    return rows


def comparable(item: Mapping[str, Any]) -> dict[str, Any]:
    """A row without what the SDK's clock put in, and with a NaN that equals itself."""
    return {key: _plain(value) for key, value in item.items() if key != "_runtime"}


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def write(log: RunLog, count: int, start: int = 0) -> None:
    """Append records of every kind that training writes."""
    for step in range(start, start + count):
        match step % 5:
            case 0:
                log.val(step, step / 10, {"val/loss": 1 / (step + 1), "val/note_accuracy": 0.5})
            case 1:
                log.epoch_summary(step, train_loss=0.1 * step, val_metrics={"val/loss": 0.25})
            case 2:
                log.append(
                    {"type": "note", "step": step, "words": "größer", "many": [1, 2.5, step]}
                )
            case _:
                log.train(step, step / 10, {"train/loss": math.nan if step % 10 == 3 else 0.1})


class Playing:
    """Scenarios, some at a time, each on one of a few rigs that they use one after another: most
    of a scenario is waiting. A rig that a scenario failed on is thrown away."""

    def __init__(
        self,
        scenarios: Mapping[str, Callable[[Rig], None]],
        make_rig: Callable[[Path], Rig],
        base: Path,
        width: int,
    ) -> None:
        self._make_rig = make_rig
        self._base = base
        self._made = 0
        self._idle: queue.LifoQueue[Rig | None] = queue.LifoQueue()
        for _ in range(width):
            self._idle.put(None)
        self._threads = ThreadPoolExecutor(width)
        self._results: dict[str, Future[None]] = {
            name: self._threads.submit(self._play, scenario) for name, scenario in scenarios.items()
        }

    def result(self, name: str) -> None:
        """Wait for the scenario; raises what it raised."""
        self._results[name].result()

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)
        while not self._idle.empty():
            if rig := self._idle.get():
                _close(rig)

    def _play(self, scenario: Callable[[Rig], None]) -> None:
        rig = self._idle.get()
        try:
            if rig is None:
                self._made += 1
                rig = self._make_rig(self._base / f"rig{self._made}")
            scenario(rig)
        except BaseException:
            if rig is not None:
                _close(rig)
            rig = None
            raise
        finally:
            self._idle.put(rig)


def _close(rig: Rig) -> None:
    rig.close()
    rig.server.close()


def played(
    scenarios: Mapping[str, Callable[[Rig], None]], *, width: int = 4, **environment: str
) -> Any:
    """A module's fixture `under_way`: those of its scenarios that its tests are to be run with,
    each named by the test's `case`. environment: of the daemons, by the settings' names."""
    made = {settings.PREFIX + name: value for name, value in environment.items()}

    def new_rig(folder: Path) -> Rig:
        return Rig(folder, WandbServer(folder / "server"), **made)

    @pytest.fixture(scope="module")
    def under_way(
        request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
    ) -> Iterator[Playing]:
        base = tmp_path_factory.mktemp("faults")
        with pytest.MonkeyPatch.context() as patch:  # three git processes a run
            here = {"host": "here", "pid": os.getpid()}
            patch.setattr(provenance, "provenance", lambda argv: here)
            worlds = dict(zip(scenarios, itertools.cycle(WORLDS), strict=False))
            chosen = {
                name: partial(in_world, worlds[name], scenarios[name])
                for name in _selected(request)
            }
            playing = Playing(chosen, new_rig, base, width)
            try:
                yield playing
            finally:
                playing.close()

    return under_way


def in_world(world: World, scenario: Callable[[Rig], None], rig: Rig) -> None:
    """The scenario, beside such a server, until it asks for another."""
    if isinstance(rig.server, WandbServer):
        rig.server.change_world(world)
    scenario(rig)


def cases(scenarios: Iterable[str]) -> list[Any]:
    """Their names, as a test's parameters: those that end with the local store's need it."""
    return [
        pytest.param(name, marks=needs_trackio) if name.endswith(LOCAL) else name
        for name in scenarios
    ]


def by_lane(lane: str, scenario: Callable[[Rig], None]) -> Callable[[Rig], None]:
    """The scenario, on that lane to wandb."""

    def play(rig: Rig) -> None:
        rig.go_by(lane)
        scenario(rig)
        if lane == "auto":
            lane_now = rig.destination().lane  # not left along the way; what tried it may be lost
            assert lane_now in ("direct", "direct, not yet tried here"), rig.said()

    return play


def _selected(request: pytest.FixtureRequest) -> list[str]:
    """The cases of this module's tests that are to be run."""
    specs = [
        getattr(item, "callspec", None)
        for item in request.session.items
        if item.path == request.path
    ]
    return [spec.params["case"] for spec in specs if spec and "case" in spec.params]
