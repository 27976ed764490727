"""What is true, and what `status` has to say of it: situations as data.

Each is played on real files: with a daemon over a server in memory where it takes one to come
about, else on the state that one leaves. docs/uploading.md has them as a table.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import orjson

from karaoke_train.runlog.layout import lock_path
from karaoke_train.runlog.lock import Holder, Lock
from syncd.destination.base import Identity
from syncd.destination.refusals import contradiction, not_counted
from syncd.destination.trackio.destination import TrackioDestination
from syncd.errors import Connection, Exit, RunRefused, RunTrouble
from syncd.report.collect import collect
from syncd.report.status import Status
from syncd.service import unit_file
from syncd.state import cursor, daemon_report, decisions, failures, lease
from syncd.state.daemon_report import DaemonReport
from syncd.sync.troubles import way_out
from tests.fakes.unreadable import unreadable
from tests.fakes.uploads import IDENTITY, FakeServer
from tests.syncd.world import NAME, URL, World, end_line, train_line

OTHER = "training_log_20240116_090000.jsonl"
SINCE = "2024-01-15T14:30:22+00:00"
STORE = replace(
    TrackioDestination(Path("/home/anna/trackio")).identity, entity=IDENTITY.entity, warning=""
)
NODE = Holder("node2", 7, SINCE)
NEVER = timedelta(0)
YEAR = timedelta(days=365)


class Scene:
    """A world in which something is true. Leaving it lets go of all that it holds."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder)
        self.world.settings = replace(self.world.settings, log_dir=(self.world.logs,))
        self.held = ExitStack()
        self.identity: Identity = IDENTITY

    def status(self) -> Status:
        """What `karaoke-syncd status` finds."""
        return collect(self.world.settings, FakeServer(self.identity))

    def local(self) -> None:
        """Records go to the local store."""
        self.identity = STORE
        self.world = World(self.world.logs.parent, FakeServer(STORE))
        self.world.settings = replace(self.world.settings, log_dir=(self.world.logs,))

    # --- what can be true ---

    def run(self, lines: int = 2, *, ended: bool = True, name: str = NAME, **more: Any) -> Path:
        """A log with its first line, so many records and an end."""
        path = self.world.begin(name=name, **more)
        self.world.append(b"".join(map(train_line, range(lines))), path)
        if ended:
            self.world.append(end_line(), path)
        return path

    def uploaded(self, **how: Any) -> Path:
        """The same, uploaded by a daemon."""
        path = self.run(**how)
        self.world.run_on()
        return path

    def daemon(self, *, age: float = 0.0, set_back: timedelta = NEVER, **said: Any) -> None:
        """A daemon runs, and said this so many seconds ago. set_back: what the clock was set back
        by since then."""
        self._hold(lease.state_lock(self.world.settings.state_dir))
        folders = tuple(map(str, self.world.settings.log_dir))
        usual = {"server": self.identity.address, "login": "netrc", "entity": "team",
                 "log_dir": folders, "connectivity": Connection.ONLINE}  # fmt: skip
        daemon_report.save(self.world.settings.state_dir, DaemonReport(**(usual | said)))
        file = self.world.settings.state_dir / daemon_report.NAME
        then = {
            "updated": str(datetime.now(UTC) - timedelta(seconds=age) + set_back),
            "ticks": time.monotonic() - age,
        }
        file.write_bytes(orjson.dumps(orjson.loads(file.read_bytes()) | then))

    def installed(self) -> None:
        """A service for the log folders, which does not run."""
        folder = self.world.logs.parent / "config"
        self.held.enter_context(patch.dict("os.environ", XDG_CONFIG_HOME=str(folder)))
        self.held.enter_context(patch("syncd.service.systemd.BOOTED", folder))
        unit_file.path().parent.mkdir(parents=True)
        unit_file.path().write_text(f"ExecStart=/bin/none start --log_dir={self.world.logs}\n")

    def writing(self, path: Path) -> None:
        """The log's writer lives."""
        self._hold(Lock(lock_path(path)))

    def leased(self, path: Path, holder: Holder, run_id: str = "run-1") -> None:
        """Somebody uploads the run."""
        lock = lease.run_lease(path, run_id, self.world.destination.name)
        self._hold(lock)
        lock.path.write_bytes(
            orjson.dumps({"host": holder.host, "pid": holder.pid, "since": holder.since})
        )

    def failed(
        self,
        error: RunTrouble | RunRefused,
        during: str = "",
        run_id: str = "run-1",
        ago: timedelta = NEVER,
    ) -> None:
        """The run's last upload failed, so long ago."""
        path = self.world.logs / NAME
        failures.save(self.world.destination, run_id, path, error, during)
        if ago:
            file = self.world.destination / "problems" / f"{run_id}.json"
            since = {"since": (datetime.now(UTC) - ago).isoformat()}
            file.write_bytes(orjson.dumps(orjson.loads(file.read_bytes()) | since))

    def unended(self) -> None:
        """Of what was uploaded, the server has not been told the end."""
        folder = self.world.destination / "cursors"
        known = cursor.load(folder, "run-1")
        assert known
        cursor.save(folder, known._replace(ended=False))

    def closed(self, path: Path) -> None:
        """The file or folder can't be read."""
        self.held.enter_context(unreadable(path))

    def _hold(self, lock: Lock) -> None:
        lock.acquire()
        self.held.callback(lock.release)


@dataclass(frozen=True, slots=True)
class Situation:
    """truth: what is so. play: makes it so. says, advice: how the first line and `Next` are, with
    {logs} for the log folder; tells: what else is on the page; json: of `--json`, `run` of its
    first run."""

    truth: str
    play: Callable[[Scene], object]
    says: str
    code: Exit
    advice: str
    tells: tuple[str, ...] = ()
    json: dict[str, Any] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)


NOTHING = "nothing to do"
UPLOADING = "nothing to do: the records are being uploaded"
UPLOAD = (
    "karaoke-syncd sync --log_dir {logs}   (once), or karaoke-syncd start --log_dir {logs}   "
    "(keeps at it)"
)
LATER = "nothing to do: the records go up as soon as the server can be reached"
WAIT = "4 records wait, safe on disk; 0 are on the server"
GO_ON = "nothing more, the daemon goes on by itself (or karaoke-syncd sync --log_dir {logs})"


def _service_stopped(scene: Scene) -> None:
    scene.run()
    scene.installed()


def _waits(scene: Scene, **said: Any) -> None:
    scene.run()
    scene.daemon(**said)


def _ending(scene: Scene) -> None:
    scene.uploaded()
    scene.unended()


def _refused_alone(scene: Scene) -> None:
    scene.run()
    scene.failed(
        RunTrouble("HTTP 403: permission denied", meaning="Its records are safe on disk",
                   remedy="Ask for write access to the project songs"),
        "opening",
    )  # fmt: skip
    scene.daemon()


def _failed_days_ago(scene: Scene) -> None:
    scene.run()
    error = RunTrouble("HTTP 403: permission denied", meaning="Its records are safe on disk")
    scene.failed(error, "opening", ago=timedelta(days=3, hours=1))


def _end_untold(scene: Scene) -> None:
    _ending(scene)
    scene.failed(RunTrouble("the server does not show how the run ended, but running"), "closing")
    scene.daemon()


def _leased(scene: Scene) -> None:
    scene.leased(scene.run(), NODE)
    scene.daemon()


def _synced_beside(scene: Scene) -> None:
    path = scene.uploaded(ended=False)
    scene.world.daemon.drop()
    scene.world.append(train_line(2), path)
    scene.leased(path, NODE)


def _folder_closed(scene: Scene) -> None:
    scene.uploaded(ended=False)
    scene.daemon()
    scene.closed(scene.world.logs)


def _file_closed(scene: Scene) -> None:
    scene.uploaded()
    scene.daemon()
    scene.closed(scene.run(name=OTHER, run_id="run-2"))


def _uploaded_file_closed(scene: Scene) -> None:
    path = scene.uploaded(ended=False)
    scene.daemon()
    scene.closed(path)


def _state_closed(scene: Scene) -> None:
    scene.uploaded()
    scene.closed(scene.world.settings.state_dir)


def _gone(scene: Scene) -> None:
    scene.uploaded(ended=False).unlink()
    scene.daemon()


def _emptied(scene: Scene) -> None:
    scene.uploaded(ended=False).write_bytes(b"")
    scene.daemon()


def _copied_local(scene: Scene) -> None:
    path = scene.run(upload=False)
    (scene.world.logs / OTHER).write_bytes(path.read_bytes())


def _named_and_cut_off(scene: Scene) -> None:
    """As `sync FILE` leaves it, when the server is lost before it was told the end."""
    path = scene.run(upload=False)
    scene.world.daemon = scene.world.daemon_of(files=[path])
    scene.world.run_on()
    scene.unended()
    scene.daemon()


def _copied(scene: Scene) -> None:
    path = scene.uploaded()
    (scene.world.logs / OTHER).write_bytes(path.read_bytes())
    scene.daemon()


def _truncated(scene: Scene) -> None:
    path = scene.uploaded(ended=False)
    path.write_bytes(path.read_bytes().split(b"\n")[0] + b"\n")
    scene.world.intact = False
    scene.world.restart()
    for _ in range(20):
        scene.world.daemon.tick()
        scene.world.clock.advance(100.0)
    scene.daemon()


def _cut_and_written_on(scene: Scene) -> None:
    path = scene.uploaded(ended=False)
    scene.world.daemon.drop()
    path.write_bytes(
        path.read_bytes().split(b"\n")[0] + b"\n" + b"".join(map(train_line, range(7, 11)))
    )


def _goes_on_without_a_cursor(scene: Scene) -> None:
    path = scene.uploaded(ended=False)
    scene.world.intact = False
    path.write_bytes(train_line(9))
    scene.world.restart()
    scene.world.tick()
    cursor.remove(scene.world.destination / "cursors", "run-1")
    scene.daemon()


def _cursor_damaged(scene: Scene) -> None:
    scene.uploaded()
    (scene.world.destination / "cursors" / "run-1.json").write_bytes(bytes(500))
    scene.daemon()


def _written_over(scene: Scene) -> None:
    path = scene.uploaded()
    path.write_bytes(path.read_bytes().replace(b"finished", b"FINISHED"))
    scene.daemon()


def _lost(scene: Scene) -> None:
    path = scene.uploaded(ended=False)
    scene.world.server.delete("run-1")
    scene.world.append(train_line(2), path)
    scene.world.intact = False
    scene.world.restart()
    for _ in range(100):
        scene.world.daemon.tick()
        scene.world.clock.advance(100.0)
    scene.daemon()


def _not_counted(scene: Scene) -> None:
    path = scene.run()
    error = not_counted(0, 4)
    error.where = NAME
    error.remedy = way_out(error, path, "run-1")
    scene.failed(error, "sending")
    scene.daemon()


def _in_places_of_others(scene: Scene) -> None:
    path = scene.run()
    error = contradiction("counts 3, and does not have line 1")
    error.remedy = way_out(error, path, "run-1")
    scene.failed(error, "confirming")
    scene.daemon()


def _bad_line(scene: Scene) -> None:
    path = scene.run(ended=False)
    scene.world.append(b"no record\n" + end_line(), path)
    scene.world.run_on()
    scene.daemon()


def _forgotten(scene: Scene) -> None:
    scene.run()
    decisions.forget(scene.world.destination, "run-1")
    scene.daemon()


def _two_kinds(scene: Scene) -> None:
    _refused_alone(scene)
    scene.run(name=OTHER, run_id="run-2")


def _many(scene: Scene) -> None:
    for number in range(300):
        scene.run(1, name=f"training_log_2024011{number:05}.jsonl", run_id=f"run-{number}")
    scene.daemon()


def _logged_out(scene: Scene) -> None:
    scene.run()
    scene.identity = replace(IDENTITY, key_source="")


def _other_account(scene: Scene) -> None:
    _waits(scene, entity="others")


def _stopped(scene: Scene) -> None:
    scene.world.server.stopped = True
    scene.uploaded(ended=False)
    scene.daemon()


def _store_full(scene: Scene) -> None:
    scene.local()
    _waits(scene, connectivity=Connection.TROUBLE, login="", remedy="Make room on its disk",
           words="the local store in /home/anna/trackio can't be used: disk full")  # fmt: skip


def _store_lost(scene: Scene) -> None:
    scene.local()
    _lost(scene)


SITUATIONS = (
    Situation(
        "no log folder yet", lambda scene: scene.world.logs.rmdir(),
        "No runs yet in {logs}", Exit.OK, NOTHING, ("does not exist yet",),
    ),
    Situation("no runs yet", lambda scene: None, "No runs yet in {logs}", Exit.OK, NOTHING),
    Situation(
        "there were runs, and their files were deleted once they were uploaded",
        lambda scene: scene.uploaded().unlink(),
        "No runs in {logs} any more; 1 run was uploaded from there to the end", Exit.OK, NOTHING,
    ),
    Situation(
        "everything is uploaded, ends included", lambda scene: scene.uploaded(),
        "All 4 records are on the server (1 run)", Exit.OK, NOTHING,
        json={"left": 0}, run={"state": "uploaded", "uploaded": 4, "left": 0},
    ),
    Situation(
        "a run goes on; all that it has is uploaded",
        lambda scene: (scene.writing(scene.uploaded(ended=False)), scene.daemon()),
        "All 3 records are on the server (1 run); 1 still being written", Exit.OK, NOTHING,
        run={"state": "uploaded", "live": True},
    ),
    Situation(
        "records wait, and a daemon uploads them", _waits, WAIT, Exit.OK, UPLOADING,
        json={"left": 4}, run={"state": "waiting", "uploaded": 0, "left": 4},
    ),
    Situation(
        "records wait, and no daemon runs", lambda scene: scene.run(), WAIT, Exit.NOT_RUNNING,
        UPLOAD, json={"left": 4, "running": False},
    ),
    Situation(
        "records wait, and the service that would upload them is stopped", _service_stopped, WAIT,
        Exit.NOT_RUNNING, "karaoke-syncd sync --log_dir {logs}   (once), or karaoke-syncd service "
        "restart   (keeps at it)", json={"left": 4, "running": False, "service": True},
    ),
    Situation(
        "records wait, and the daemon does not watch their folder",
        lambda scene: _waits(scene, log_dir=("/elsewhere",)), WAIT, Exit.NOT_RUNNING,
        "karaoke-syncd sync --log_dir {logs}   (once), or karaoke-syncd restart --log_dir {logs}   "
        "(with these folders)",
        ("{logs} is not watched by the daemon",),
    ),
    Situation(
        "records wait, and no daemon runs, but a `sync` uploads them", _synced_beside,
        "1 record waits, safe on disk; 3 are on the server", Exit.OK,
        "nothing to do: the records are being uploaded by process 7 on node2, since " + SINCE,
        run={"state": "waiting", "left": 1},
    ),
    Situation(
        "a daemon with another state folder uploads the run", _leased,
        "1 run is uploaded by another daemon (process 7 on node2, since " + SINCE + "): what is on "
        "the server isn't known here", Exit.OK, NOTHING, ("another daemon's", "?"),
        json={"left": 0}, run={"state": "elsewhere", "holder": str(NODE)},
    ),
    Situation(
        "records wait, and there is no network",
        lambda scene: _waits(scene, connectivity=Connection.OFFLINE, words="no network"), WAIT,
        Exit.OFFLINE, LATER, ("offline: no network",), json={"reach": "offline"},
    ),
    Situation(
        "records wait, and something else answers in the server's place",
        lambda scene: _waits(scene, connectivity=Connection.CAPTIVE), WAIT, Exit.OFFLINE, LATER,
        ("no W&B server answers",),
    ),
    Situation(
        "records wait, and the server is in trouble",
        lambda scene: _waits(scene, connectivity=Connection.TROUBLE), WAIT, Exit.OFFLINE, LATER,
        ("in trouble",),
    ),
    Situation(
        "records wait, and nobody is logged in", _logged_out, WAIT, Exit.LOGIN,
        "Run `wandb login`. Then: " + UPLOAD, ("nobody is logged in",),
    ),
    Situation(
        "records wait, and the server refuses the account",
        lambda scene: _waits(scene, connectivity=Connection.REFUSED, remedy="Run `wandb login`"),
        WAIT, Exit.LOGIN, "Run `wandb login`. Then: " + GO_ON, ("refused",),
    ),
    Situation(
        "the daemon hangs, or can't write its state", lambda scene: _waits(scene, age=90.0),
        "The daemon has not reported for 90 s: 4 records wait, safe on disk; 0 are on the server",
        Exit.SILENT,
        "it hangs or is stopped, or its state folder takes no writes (a full disk?): look at its "
        "log, then karaoke-syncd restart", ("online 90 s ago",),
    ),
    Situation(
        "the same, and the clock was set back by a year since it last reported",
        lambda scene: _waits(scene, age=90.0, set_back=YEAR),
        "The daemon has not reported for 90 s: 4 records wait, safe on disk; 0 are on the server",
        Exit.SILENT,
        "it hangs or is stopped, or its state folder takes no writes (a full disk?): look at its "
        "log, then karaoke-syncd restart",
    ),
    Situation(
        "records wait, a daemon uploads them, and the clock was set back by a year",
        lambda scene: _waits(scene, set_back=YEAR), WAIT, Exit.OK, UPLOADING,
    ),
    Situation(
        "records wait, and the daemon uploads to another server",
        lambda scene: _waits(scene, server="http://other"), WAIT, Exit.ELSEWHERE,
        "the daemon uploads to http://other: restart it from this shell (karaoke-syncd restart), "
        "or once: karaoke-syncd sync --log_dir {logs}",
    ),
    Situation(
        "records wait, and the daemon uploads to another account", _other_account, WAIT,
        Exit.ELSEWHERE,
        f"the daemon uploads to {URL} as others: restart it from this shell (karaoke-syncd "
        "restart), or once: karaoke-syncd sync --log_dir {logs}",
    ),
    Situation(
        "records wait, and the daemon uploads to another project",
        lambda scene: _waits(scene, project="others"), WAIT, Exit.ELSEWHERE,
        f"the daemon uploads to {URL}, project others: restart it from this shell (karaoke-syncd "
        "restart), or once: karaoke-syncd sync --log_dir {logs}",
        ("this shell would to " + URL,),
    ),
    Situation(
        "the server takes everything but one run", _refused_alone,
        WAIT + "; 1 run is in trouble", Exit.TROUBLE,
        "name of run-1: Ask for write access to the project songs",
        ("HTTP 403: permission denied. Its records are safe on disk.", "in trouble"),
        run={"state": "waiting", "code": "trouble", "problem": "HTTP 403: permission denied"},
    ),
    Situation(
        "one run is in trouble, and no daemon runs", (
            lambda scene: (_refused_alone(scene), scene.held.close())
        ),
        WAIT + "; 1 run is in trouble", Exit.NOT_RUNNING, UPLOAD,
    ),
    Situation(
        "one run was in trouble three days ago, and no daemon runs since", _failed_days_ago,
        WAIT + "; 1 run is in trouble", Exit.NOT_RUNNING, UPLOAD,
        ("HTTP 403: permission denied (first seen 3 days ago). Its records are safe on disk.",),
    ),
    Situation(
        "one run is in trouble, another is being uploaded", _two_kinds,
        "8 records wait, safe on disk; 0 are on the server; 1 run is in trouble", Exit.TROUBLE,
        "name of run-1: Ask for write access to the project songs",
    ),
    Situation(
        "all records are uploaded, and the daemon is yet to tell how the run ended",
        lambda scene: (_ending(scene), scene.daemon()),
        "1 run's end is yet to be told; 4 records are on the server", Exit.OK, UPLOADING,
        run={"state": "ending"},
    ),
    Situation(
        "the same, and no daemon runs", _ending,
        "1 run's end is yet to be told; 4 records are on the server", Exit.NOT_RUNNING, UPLOAD,
    ),
    Situation(
        "how a run ended could not be told", _end_untold,
        "1 run is in trouble; 1 run's end is yet to be told; 4 records are on the server",
        Exit.TROUBLE, "name of run-1: nothing to do, it is tried again by itself",
        ("the server does not show how the run ended, but running",), run={"state": "ending"},
    ),
    Situation(
        "the log folder can't be read", _folder_closed,
        "{logs} can't be read: what is in it isn't known", Exit.TROUBLE,
        "{logs}: Make the folder readable for this user; its runs are then uploaded by themselves",
        ("{logs}: can't be read: Permission denied.",), run={"state": "unreadable"},
    ),
    Situation(
        "a file can't be read", _file_closed,
        "{logs}/" + OTHER + " can't be read: what is in it isn't known; 4 records are on the "
        "server", Exit.TROUBLE,
        OTHER.removesuffix(".jsonl") + ": Make the file readable for this user; then it can be "
        "uploaded",
    ),
    Situation(
        "the file of a run that is uploaded can't be read any more",
        _uploaded_file_closed,
        "{logs}/" + NAME + " can't be read: what is in it isn't known; 3 records are on the server",
        Exit.TROUBLE,
        NAME.removesuffix(".jsonl")
        + ": Make the file readable for this user; then it can be uploaded",
        run={"state": "unreadable", "run_id": "run-1", "uploaded": 3},
    ),
    Situation(
        "the state folder can't be read", _state_closed,
        "{state} can't be read: what is on the server isn't known here", Exit.TROUBLE,
        "{state}: Make it readable for this user, or set XDG_STATE_HOME",
        ("records may be counted as waiting that are there",),
    ),
    Situation(
        "a file is gone before its run ended", _gone,
        "A decision of yours is needed; 3 records are on the server", Exit.DECISION,
        NAME.removesuffix(".jsonl") + ": Put the file back, or karaoke-syncd forget run-1",
        ("the file is gone before its run ended",), run={"state": "missing"},
    ),
    Situation(
        "a file was emptied before its run ended", _emptied,
        "A decision of yours is needed; 3 records are on the server", Exit.DECISION,
        NAME.removesuffix(".jsonl") + ": Put the file back, or karaoke-syncd forget run-1",
        ("the file was emptied before its run ended",), run={"state": "missing", "uploaded": 3},
    ),
    Situation(
        "two files hold the same run", _copied,
        "A decision of yours is needed; 4 records are on the server", Exit.DECISION,
        "name of run-1: Remove it if it has nothing of its own, or upload it as a run of its own: "
        "karaoke-syncd sync --as_new {logs}/" + OTHER,
    ),
    Situation(
        "a file lost lines that were uploaded", _truncated,
        "A decision of yours is needed; 3 records are on the server", Exit.DECISION,
        "name of run-1: Put the file back as it was and `karaoke-syncd retry run-1`",
        run={"state": "blocked", "code": "truncated"},
    ),
    Situation(
        "a file lost lines that were uploaded, and has others since, and nobody looked yet",
        _cut_and_written_on,
        "2 records wait, safe on disk; 3 are on the server; 1 run waits for your decision",
        Exit.DECISION, "name of run-1: Put the file back as it was and `karaoke-syncd retry run-1`",
        run={"state": "blocked", "code": "rewritten", "records": 5, "uploaded": 3},
    ),
    Situation(
        "a run that was uploaded to its end was written over", _written_over,
        "A decision of yours is needed; 4 records are on the server", Exit.DECISION,
        "name of run-1: Put the file back as it was and `karaoke-syncd retry run-1`",
        run={"state": "blocked", "code": "rewritten"},
    ),
    Situation(
        "a file was emptied and goes on in the middle, and its cursor is lost",
        _goes_on_without_a_cursor,
        "1 record waits, safe on disk; 0 are on the server; 1 run waits for your decision",
        Exit.DECISION,
        NAME.removesuffix(".jsonl")
        + ": Put the file back as it was and `karaoke-syncd retry run-1`",
        ("the file begins otherwise than the uploaded one",), json={"exit": "decision"},
    ),
    Situation(
        "the server lost records that it had, or the run", _lost,
        "1 record waits, safe on disk; 3 are on the server; 1 run waits for your decision",
        Exit.DECISION,
        "name of run-1: To send the missing ones again: karaoke-syncd retry run-1. To leave it so: "
        "karaoke-syncd forget run-1", run={"state": "blocked", "code": "lost_at_server"},
    ),
    Situation(
        "the server takes a run's records and counts none of them", _not_counted,
        WAIT + "; 1 run waits for your decision", Exit.DECISION,
        'name of run-1: If this server never counts, confirm = "answer" in config.toml takes its '
        "answers for it. To send again what is not counted: karaoke-syncd retry run-1",
        ("took 4 records, and counts none",), run={"state": "blocked", "code": "not_counted"},
    ),
    Situation(
        "records are in the places of others at the server", _in_places_of_others,
        WAIT + "; 1 run is in trouble", Exit.TROUBLE,
        "name of run-1: Nothing to do at first: it's looked at again, and lines that are missing "
        "are sent again",
        ("the server counts 3, and does not have line 1",), run={"state": "waiting"},
    ),
    Situation(
        "a run's cursor is damaged", _cursor_damaged,
        WAIT + "; 1 run is in trouble", Exit.TROUBLE,
        "name of run-1: Ask anew what is there: karaoke-syncd retry run-1",
        ("its cursor in the state folder is damaged",), run={"state": "waiting", "uploaded": 0},
    ),
    Situation(
        "a line is no record", _bad_line, "All 5 records are on the server (1 run)", Exit.OK,
        NOTHING, ("Bad",), run={"state": "uploaded", "bad": 1},
    ),
    Situation(
        "somebody pressed Stop on the run's page", _stopped,
        "All 3 records are on the server (1 run)", Exit.OK, NOTHING, ("pressed Stop on the page",),
        run={"stopped": True},
    ),
    Situation(
        "a run is never to be uploaded", lambda scene: scene.run(upload=False),
        "There is nothing to upload (1 kept local)", Exit.OK, NOTHING, ("kept local",),
        run={"state": "local", "left": 0},
    ),
    Situation(
        "two files hold a run that is never to be uploaded", _copied_local,
        "There is nothing to upload (2 kept local)", Exit.OK, NOTHING, ("kept local",),
        run={"state": "local", "left": 0},
    ),
    Situation(
        "such a run was uploaded by its name, but for its end", _named_and_cut_off,
        "There is nothing to upload (1 kept local)", Exit.OK, NOTHING, ("kept local",),
        run={"state": "local", "uploaded": 4, "left": 0},
    ),
    Situation(
        "a run was forgotten", _forgotten, "There is nothing to upload (1 forgotten)", Exit.OK,
        NOTHING, run={"state": "forgotten", "left": 0},
    ),
    Situation(
        "all is in the local dashboard, and no daemon runs",
        lambda scene: (scene.local(), scene.uploaded()),
        "All 4 records are in the local dashboard (1 run)", Exit.OK, NOTHING,
        ("Store    /home/anna/trackio  not in use: last used ",),
    ),
    Situation(
        "records wait for the local store, whose disk is full", _store_full,
        "4 records wait, safe on disk; 0 are in the local dashboard", Exit.OFFLINE,
        "Make room on its disk; the records then go up by themselves",
        ("Store    /home/anna/trackio  in trouble: the local store in /home/anna/trackio can't",),
    ),
    Situation(
        "the local store lost records that it had, or the run", _store_lost,
        "1 record waits, safe on disk; 3 are in the local dashboard; 1 run waits for your decision",
        Exit.DECISION,
        "name of run-1: To send the missing ones again: karaoke-syncd retry run-1. To leave it so: "
        "karaoke-syncd forget run-1",
        ("the local store holds 0 records; it had confirmed 3", "  in use"),
    ),
    Situation(
        "300 runs wait", _many, "900 records wait, safe on disk; 0 are on the server", Exit.OK,
        UPLOADING, ("and 280 more: 280 waiting",), json={"left": 900},
    ),
)  # fmt: skip
