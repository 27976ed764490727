"""The whole core on real files: Daemon and Sessions, with a destination, a clock and an executor
that a test holds in its hand; and the invariants that hold at every tick."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from karaoke_train.runlog.reader import Line, Position
from karaoke_train.runlog.timestamps import parse_timestamp
from syncd.destination.rows import row
from syncd.errors import RunTrouble
from syncd.paths import destination_folder
from syncd.report.collect import collect
from syncd.report.status import RunStatus, Status
from syncd.settings import Limits, Settings
from syncd.state import atomic_json, cursor, daemon_report, decisions
from syncd.sync.loop import Daemon
from syncd.sync.scheduler import Phase, needs_session
from tests.fakes.clock import FakeClock
from tests.fakes.executor import InlineExecutor
from tests.fakes.uploads import URL, FakeServer

CREATED = "2024-01-15T14:30:22.000+00:00"
NAME = "training_log_20240115_143022.jsonl"
OVERLONG = b'{"type":"train","pad":"' + b"x" * (5 << 19) + b'"}\n'  # more than one read


def config_line(run_id: str = "run-1", **more: Any) -> bytes:
    """A run's first line."""
    record = {"type": "config", "schema": 1, "run_id": run_id, "run_name": f"name of {run_id}",
              "project": "songs", "created": CREATED, "config": {"lr": 0.1}}  # fmt: skip
    return json.dumps(record | more).encode() + b"\n"


def train_line(step: int) -> bytes:
    """A record of one step."""
    record = {"type": "train", "timestamp": CREATED, "step": step, "epoch": 0.5,
              "train/loss": 1 / (step + 1)}  # fmt: skip
    return json.dumps(record).encode() + b"\n"


def end_line(status: str = "finished", code: int = 0) -> bytes:
    """A run's last line."""
    record = {"type": "end", "timestamp": CREATED, "status": status, "exit_code": code}
    return json.dumps(record).encode() + b"\n"


def let_hang(state: Path) -> None:
    """Have the report in a state folder be 90 s old."""
    path = state / daemon_report.NAME
    word = json.loads(path.read_bytes())
    atomic_json.write(path, {**word, "ticks": word["ticks"] - 90})


class World:
    """A folder with logs and state, a server, and a daemon over them."""

    def __init__(
        self,
        folder: Path,
        server: FakeServer | None = None,
        *,
        limits: Limits | None = None,
        recursive: bool = False,
        **daemon: Any,
    ) -> None:
        self.logs, self.elsewhere = folder / "logs", folder / "elsewhere"
        for place in (self.logs, self.elsewhere):
            place.mkdir(exist_ok=True)  # several worlds in one folder share its logs
        self.settings = Settings(
            log_dir=(self.logs, self.elsewhere),
            recursive=recursive,
            state_dir=folder / "state",
            limits=limits or Limits(),
        )
        self.server = server or FakeServer()
        address = self.server.identity.address
        self.destination = destination_folder(self.settings.state_dir, address)
        self.server.sessions_at_once = self.settings.limits.open_runs
        self.clock = FakeClock()
        self.pool = InlineExecutor()
        self.path = self.logs / NAME  # of run-1, also when it has moved
        self.steps = 0
        self.intact = True  # nobody has tampered with the file or the server's history
        self._how = daemon
        self.daemon = self._daemon()

    # --- the trainer ---

    def begin(self, run_id: str = "run-1", name: str = NAME, **more: Any) -> Path:
        """A new log with its first line."""
        path = self.logs / name
        path.write_bytes(config_line(run_id, **more))
        return path

    def append(self, data: bytes, path: Path | None = None) -> None:
        """Bytes as a writer adds them."""
        with (path or self.path).open("ab") as file:
            file.write(data)

    def train(self, lines: int, path: Path | None = None) -> None:
        """So many records more."""
        for _ in range(lines):
            self.append(train_line(self.steps), path)
            self.steps += 1

    # --- the daemon ---

    def _daemon(self) -> Daemon:
        return self.daemon_of(**self._how)

    def daemon_of(self, **how: Any) -> Daemon:
        """One over these folders, made so."""
        return Daemon(
            self.settings,
            self.destination,
            self.server,
            self.pool,
            clock=self.clock,
            jitter=lambda: 0.5,
            **how,
        )

    def restart(self) -> None:
        """The daemon dies, and a new one starts on its state."""
        self.pool.release()
        self.daemon.drop()
        self.daemon = self._daemon()

    def tick(self, seconds: float = 1.0) -> None:
        """Time passes, and the daemon looks around."""
        self.clock.advance(seconds)
        for _ in range(3):  # what a tick starts is folded, and leads on, at the next
            self.daemon.tick()
            self.check()

    def run_on(self, *, ticks: int = 400, seconds: float = 5.0) -> None:
        """Let time pass and lines arrive until nothing is left to do, in so many ticks at most."""
        for _ in range(ticks):
            self.tick(seconds)
            self.server.deliver()
            if self.settled():
                return
        raise AssertionError(f"not settled: {self.daemon.runs}")

    def settled(self) -> bool:
        """Whether each run has nothing to send or confirm, or waits for a decision."""
        runs = self.daemon.runs.values()
        return all(
            run.phase is Phase.BLOCKED
            or (run.phase in (Phase.IDLE, Phase.OPEN) and not needs_session(run)
                and run.sent == run.confirmed and run.size == self._size(key))
            for key, run in self.daemon.runs.items()
        ) and bool(runs or self.daemon.finished)  # fmt: skip

    def _size(self, key: str) -> int:
        path = self.daemon.sessions[key].path
        return path.stat().st_size if path.exists() else -1

    def status(self) -> Status:
        """What `karaoke-syncd status` would look at."""
        return collect(self.settings, self.server)

    def run_status(self, run_id: str = "run-1") -> RunStatus:
        """The one run's status."""
        found = [run for run in self.status().runs if run.run_id == run_id]
        assert len(found) == 1, found
        return found[0]

    def retry(self, run_id: str = "run-1") -> None:
        """`karaoke-syncd retry`."""
        decisions.retry(self.destination, run_id)

    # --- the invariants ---

    def check(self) -> None:
        """What holds at every tick (AESTHETICS: the four invariants)."""
        assert self.server.violations == []  # 3 and 4, gaps and overwritten lines
        for run_id, session in self.daemon.sessions.items() if self.intact else ():
            self._check_run(run_id, self.path if run_id == "run-1" else session.path)

    def _check_run(self, run_id: str, path: Path) -> None:
        data = path.read_bytes() if path.exists() else b""
        there = self.server.count(run_id)
        if there and data:
            rows = self.server.runs[run_id].rows
            assert rows == expected_rows(data)[:there], "1: a prefix of the file"
        known = cursor.load(self.destination / "cursors", run_id)
        if known is not None:
            assert known.confirmed.ordinal <= there, "2: the cursor says no more than the server"
            assert known.confirmed.offset == offset_of(data, known.confirmed.ordinal)

    def whole(self, run_id: str = "run-1") -> None:
        """At last the server has the file, and the cursor says so."""
        path = Path(self.daemon.finished.get(run_id) or self.daemon.sessions[run_id].path)
        assert run_id != "run-1" or path == self.path
        data = path.read_bytes()
        assert self.server.runs[run_id].rows == expected_rows(data)
        known = cursor.load(self.destination / "cursors", run_id)
        assert known is not None
        assert known.confirmed.ordinal == data.count(b"\n")


@lru_cache(maxsize=4)  # asked at every tick
def expected_rows(data: bytes) -> list[dict[str, Any]]:
    """The rows that a file has to become, split and read without the product's reader."""
    lines, rows, attempt = data.split(b"\n")[:-1], [], 0
    started = parse_timestamp((_record(lines[0]) or {}).get("created"), 0.0) if lines else 0.0
    for place, line in enumerate(lines):
        record = _record(line)
        attempt += record is not None and record.get("type") == "config"
        made = Line(Position(place), Position(place + 1), record)
        rows.append({"_step": place, **row(made, started, max(1, attempt))})
    return rows


def _record(line: bytes) -> dict[str, Any] | None:
    if len(line) >= 1 << 20:
        return None
    if not line.strip():
        return {}
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def offset_of(data: bytes, ordinal: int) -> int:
    """Where line `ordinal` begins."""
    return sum(len(line) + 1 for line in data.split(b"\n", ordinal)[:ordinal])


__all__ = ["NAME", "OVERLONG", "URL", "Line", "RunTrouble", "World"]
