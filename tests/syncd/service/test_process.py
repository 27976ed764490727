"""The daemon as a process: signals, other settings in the middle, and what it leaves behind."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from syncd.errors import Exit, Unreachable, UsageError
from syncd.report.collect import collect
from syncd.service import file_watch, process
from syncd.service.network import AddressWatch
from syncd.service.process import DaemonRuns, run_forever
from syncd.settings import Settings
from syncd.state import daemon_report, lease
from syncd.state.daemon_report import DaemonReport
from syncd.sync import loop
from syncd.sync.loop import Daemon
from tests.fakes.uploads import FakeServer, PromptServer
from tests.patience import patience
from tests.syncd.world import config_line, end_line, let_hang

pytestmark = pytest.mark.timeout(patience(20))  # a script that does not end it waits for ever
Step = Callable[[Daemon], object]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "TICK", 0.01)
    monkeypatch.setattr(loop, "IDLE_TICK", 0.01)
    monkeypatch.setattr(file_watch, "EVERY", 0.01)
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)


@pytest.fixture(autouse=True)
def _handlers_as_they_were() -> Iterator[None]:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    assert [signal.getsignal(number) for number in numbers] == before


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "logs").mkdir()
    return Settings(log_dir=(tmp_path / "logs",), state_dir=tmp_path / "state", rescan=0.05)


class Script:
    """What happens after each tick, step by step; a step that returns False is repeated."""

    def __init__(self, *steps: Step) -> None:
        self.daemons: list[Daemon] = []
        self._steps = list(steps)

    def __call__(self, daemon: Daemon) -> None:
        if daemon not in self.daemons:
            self.daemons.append(daemon)
        if self._steps and self._steps[0](daemon) is not False:
            self._steps.pop(0)


def send(number: int) -> Step:
    """The process gets this signal."""
    return lambda daemon: signal.raise_signal(number)


def wait(daemon: Daemon) -> None:
    """One tick more."""


def in_force(settings: Settings, *destinations: FakeServer) -> process.InForce:
    return settings, [(settings, destination) for destination in destinations]


def run(settings: Settings, script: Script, **how: object) -> Exit:
    return run_forever(*in_force(settings, FakeServer()), script, **how)  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_and_the_state_folder_is_free(settings: Settings, number: int) -> None:
    def is_held(daemon: Daemon) -> None:
        assert (lease.daemon_of(settings.state_dir) or pytest.fail("no daemon")).pid == os.getpid()
        said = daemon_report.load(settings.state_dir)
        assert said.log_dir == tuple(map(str, settings.log_dir))

    assert run(settings, Script(is_held, send(number))) == Exit.OK
    assert lease.daemon_of(settings.state_dir) is None
    left = daemon_report.load(settings.state_dir)
    assert replace(left, pid=0, updated="", ticks=0.0) == DaemonReport()


def test_records_go_up_while_it_runs(settings: Settings) -> None:
    server = FakeServer()
    path = settings.log_dir[0] / "training_log_a.jsonl"
    path.write_bytes(config_line() + end_line())
    script = Script(lambda daemon: server.count("run-1") == 2, send(signal.SIGTERM))
    here = replace(settings, limits=replace(settings.limits, confirm_first=0.01))
    assert run_forever(here, [(here, PromptServer(server))], script) == Exit.OK  # type: ignore[arg-type]
    assert server.violations == []


def test_a_destination_that_is_down_holds_back_no_other(settings: Settings) -> None:
    down, well = FakeServer(), FakeServer(replace(FakeServer().identity, address="http://other"))
    down.down = Unreachable("no network")
    path = settings.log_dir[0] / "training_log_a.jsonl"
    path.write_bytes(config_line() + end_line())
    here = replace(settings, limits=replace(settings.limits, confirm_first=0.01))

    def is_told(daemon: Daemon) -> bool:
        first, second = (collect(here, server) for server in (down, well))
        assert first.running
        states = [status.runs[0].state for status in (first, second)]
        return [first.connectivity, second.connectivity, *states] == [
            "offline", "online", "waiting", "uploaded",
        ]  # fmt: skip

    script = Script(is_told, send(signal.SIGTERM))
    targets = [(here, down), (here, PromptServer(well))]
    assert run_forever(here, targets, script) == Exit.OK  # type: ignore[arg-type]
    assert (down.runs, well.violations) == ({}, [])


def test_a_second_one_is_refused_and_the_first_is_named(settings: Settings) -> None:
    lock = lease.state_lock(settings.state_dir)
    lock.acquire()
    try:
        with pytest.raises(DaemonRuns, match=f"running already: process {os.getpid()}"):
            run(settings, Script())
        daemon_report.save(settings.state_dir, DaemonReport())
        with pytest.raises(DaemonRuns, match="It goes on uploading"):
            run(settings, Script())
        let_hang(settings.state_dir)
        with pytest.raises(DaemonRuns, match=r"It has not reported for 9\d s"):
            run(settings, Script())
    finally:
        lock.release()


# --- SIGHUP


def test_other_settings_begin_a_new_daemon_in_the_same_process(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "more").mkdir()
    fresh = replace(settings, log_dir=(*settings.log_dir, tmp_path / "more"))
    reads = iter([in_force(fresh, FakeServer())])
    script = Script(send(signal.SIGHUP), lambda daemon: None, send(signal.SIGTERM))
    assert run(settings, script, reload=lambda: next(reads)) == Exit.OK
    assert [daemon.settings for daemon in script.daemons] == [settings, fresh]


@pytest.mark.parametrize("change", [{}, {"log_level": "debug"}])
def test_settings_that_change_nothing_for_the_loop_keep_the_daemon(
    settings: Settings, change: dict[str, str]
) -> None:
    reads = iter([in_force(replace(settings, **change), FakeServer())])  # type: ignore[arg-type]
    script = Script(send(signal.SIGHUP), lambda daemon: None, send(signal.SIGTERM))
    assert run(settings, script, reload=lambda: next(reads)) == Exit.OK
    assert len(script.daemons) == 1
    assert list(reads) == []


def test_another_account_begins_a_new_daemon(settings: Settings) -> None:
    there = FakeServer(replace(FakeServer().identity, entity="another"))
    script = Script(send(signal.SIGHUP), lambda daemon: None, send(signal.SIGTERM))
    assert run(settings, script, reload=lambda: in_force(settings, there)) == Exit.OK
    assert len(script.daemons) == 2


def test_of_a_destination_that_is_left_out_it_is_not_said_that_the_daemon_uploads_there(
    settings: Settings,
) -> None:
    """What was reported of it before would look like a daemon that hangs."""
    stays, goes = FakeServer(), FakeServer(replace(FakeServer().identity, address="http://other"))

    def both_are_uploaded_to(daemon: Daemon) -> None:
        assert [collect(settings, there).elsewhere for there in (stays, goes)] == ["", ""]

    def one_is(daemon: Daemon) -> None:
        assert collect(settings, stays).elsewhere == ""
        assert collect(settings, goes).elsewhere == stays.identity.address

    script = Script(
        wait, both_are_uploaded_to, send(signal.SIGHUP), wait, one_is, send(signal.SIGTERM)
    )
    reads = iter([in_force(settings, stays)])
    targets = in_force(settings, stays, goes)
    assert run_forever(*targets, script, reload=lambda: next(reads)) == Exit.OK


def test_settings_that_cannot_be_read_leave_the_old_ones_in_force(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    def reload() -> process.InForce:
        raise UsageError("rescan = 'often' is not usable")

    reports = []

    def report(daemon: Daemon) -> None:
        reports.append(daemon_report.load(settings.state_dir))

    script = Script(report, send(signal.SIGHUP), report, send(signal.SIGTERM))
    assert run(settings, script, reload=reload) == Exit.OK
    assert len(script.daemons) == 1
    assert reports[0].settings_read < reports[1].settings_read
    assert [one.settings_problem for one in reports] == ["", "rescan = 'often' is not usable."]
    assert "'often' is not usable" in caplog.text
    assert "the settings stay as they were" in caplog.text


def test_another_state_folder_takes_a_restart_and_the_rest_is_in_force(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fresh = replace(settings, state_dir=tmp_path / "elsewhere", rescan=0.5)
    script = Script(send(signal.SIGHUP), lambda daemon: None, send(signal.SIGTERM))
    assert run(settings, script, reload=lambda: in_force(fresh, FakeServer())) == Exit.OK
    assert [daemon.settings.state_dir for daemon in script.daemons] == [settings.state_dir] * 2
    assert script.daemons[1].settings.rescan == 0.5
    assert f"{settings.state_dir} stays" in caplog.text
    assert not (tmp_path / "elsewhere").exists()


# --- files that change


def test_a_file_that_has_changed_is_read_again_and_named_once(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    file, fresh = tmp_path / "netrc", replace(settings, project="elsewhere")
    reads: list[Settings] = []

    def reload() -> process.InForce:
        reads.append(fresh)
        return in_force(fresh, FakeServer())

    def is_written(daemon: Daemon) -> None:
        file.write_text("machine x login y password z\n")

    script = Script(is_written, lambda daemon: bool(reads), *[wait] * 20, send(signal.SIGTERM))
    assert run(settings, script, reload=reload, files=lambda: [file]) == Exit.OK
    assert [daemon.settings for daemon in script.daemons] == [settings, fresh]
    assert reads == [fresh]
    assert caplog.text.count(f"{file} changed: read again") == 1


def test_a_mistake_in_a_file_that_has_changed_is_said_once_and_leaves_the_daemon(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "config.toml"
    reads: list[int] = []

    def reload() -> process.InForce:
        reads.append(1)
        raise UsageError("rescan = 'often' is not usable")

    def is_written(daemon: Daemon) -> None:
        file.write_text("rescan = 'often'\n")

    script = Script(is_written, lambda daemon: bool(reads), *[wait] * 20, send(signal.SIGTERM))
    assert run(settings, script, reload=reload, files=lambda: [file]) == Exit.OK
    assert len(script.daemons) == len(reads) == 1
    assert "'often' is not usable" in caplog.text


@pytest.mark.parametrize("managed", [True, False])
def test_variables_that_take_a_restart_are_named_where_a_manager_hands_them_over(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    managed: bool,
) -> None:
    if managed:
        monkeypatch.setenv("NOTIFY_SOCKET", str(settings.log_dir[0] / "nobody-listens"))
    monkeypatch.setattr(process, "stale_variables", lambda: ["HTTPS_PROXY"])
    script = Script(send(signal.SIGHUP), wait, send(signal.SIGTERM))
    assert run(settings, script, reload=lambda: in_force(settings, FakeServer())) == Exit.OK
    assert ("HTTPS_PROXY in " in caplog.text) is managed


def test_another_network_has_the_server_asked(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The wait after a failure is longer than the test may take."""
    caplog.set_level("INFO")
    news: list[bool] = []
    monkeypatch.setattr(AddressWatch, "changed", lambda watch: bool(news and news.pop()))
    server = FakeServer()
    server.down = Unreachable("no route")

    def comes_back(daemon: Daemon) -> object:
        if daemon.connectivity.error is None:
            return False
        server.down = None
        news.append(True)
        return True

    limits = replace(settings.limits, backoff_first=1e6, backoff_most=1e6)
    script = Script(comes_back, lambda daemon: daemon.connectivity.online, send(signal.SIGTERM))
    assert run_forever(*in_force(replace(settings, limits=limits), server), script) == Exit.OK  # type: ignore[arg-type]
    assert caplog.text.count("network has changed") == 1


def test_a_terminal_that_closes_stops_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    script = Script(send(signal.SIGHUP))
    assert run(settings, script, reload=lambda: pytest.fail("it is no reload")) == Exit.OK


# --- folders


def test_a_report_that_cannot_be_written_stops_no_upload(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def save(state: Path, report: DaemonReport) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(daemon_report, "save", save)
    assert run(settings, Script(lambda daemon: None, send(signal.SIGTERM))) == Exit.OK
    assert "No space left on device" in caplog.text


def test_a_state_folder_that_takes_no_lock_is_said_in_words(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "state").write_text("a file in its place")
    with pytest.raises(process.SyncError, match="the state folder can't be written"):
        run(settings, Script())


def test_a_state_folder_is_made_for_its_owner_alone_whatever_the_umask(settings: Settings) -> None:
    before = os.umask(0)
    try:
        assert run(settings, Script(lambda daemon: None, send(signal.SIGTERM))) == Exit.OK
    finally:
        os.umask(before)
    assert settings.state_dir.stat().st_mode & 0o777 == 0o700
    assert (settings.state_dir / "servers").stat().st_mode & 0o777 == 0o700


def test_a_state_folder_that_is_removed_leaves_the_daemon_its_owner(settings: Settings) -> None:
    """Else `status` would say that none runs, `stop` would find none, and another could begin."""

    def is_removed(daemon: Daemon) -> None:
        shutil.rmtree(settings.state_dir)

    def is_owned(daemon: Daemon) -> None:
        found = collect(settings, FakeServer())
        assert found.running
        assert (found.connectivity, found.warnings) == ("online", ())
        with pytest.raises(DaemonRuns):
            run(settings, Script())

    script = Script(wait, wait, is_removed, is_owned, send(signal.SIGTERM))
    assert run(settings, script) == Exit.OK


def test_a_daemon_that_began_on_a_full_disk_is_known_once_there_is_room(settings: Settings) -> None:
    """By `status` and `stop`, which go by the name in its lock: the last one's is there else."""
    settings.state_dir.mkdir()
    before = lease.state_lock(settings.state_dir).path
    before.write_text('{"host": "here", "pid": 1, "since": "then"}')
    patch = pytest.MonkeyPatch()
    patch.setattr(os, "ftruncate", no_room)

    def is_named(daemon: Daemon) -> None:
        holder = lease.daemon_of(settings.state_dir)
        assert holder is not None
        assert holder.pid == os.getpid()

    script = Script(wait, lambda daemon: patch.undo(), wait, is_named, send(signal.SIGTERM))
    try:
        assert run(settings, script) == Exit.OK
    finally:
        patch.undo()


def no_room(descriptor: int, length: int) -> None:
    raise OSError(28, "No space left on device")


def test_a_daemon_that_began_in_a_removed_state_folders_place_has_it(settings: Settings) -> None:
    def is_taken(daemon: Daemon) -> None:
        shutil.rmtree(settings.state_dir)
        other.acquire()

    other = lease.state_lock(settings.state_dir)
    with pytest.raises(DaemonRuns):
        run(settings, Script(wait, is_taken))
    assert lease.daemon_of(settings.state_dir)
    other.release()


def test_a_log_folder_without_leases_is_warned_of(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(process, "read_only", lambda folder: True)
    assert run(settings, Script(send(signal.SIGTERM))) == Exit.OK
    assert f"{settings.log_dir[0]} is read-only here" in caplog.text


def test_a_log_folder_that_appears_read_only_in_a_service_has_it_started_anew(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    later = settings.log_dir[0] / "later"
    monkeypatch.setenv("NOTIFY_SOCKET", str(settings.log_dir[0] / "nobody-listens"))
    monkeypatch.setattr("syncd.service.supervision.read_only", lambda folder: folder == later)
    script = Script(lambda daemon: later.mkdir())
    assert run(replace(settings, log_dir=(later,)), script) == Exit.FAILED
    assert f"{later} has appeared; starting anew" in caplog.text


def test_a_log_folder_that_comes_is_looked_into_at_once(settings: Settings) -> None:
    later = settings.log_dir[0] / "later"

    def comes(daemon: Daemon) -> None:
        later.mkdir()
        (later / "training_log_a.jsonl").write_bytes(config_line())

    script = Script(comes, lambda daemon: "run-1" in daemon.runs, send(signal.SIGTERM))
    assert run(replace(settings, log_dir=(later,), rescan=3600.0), script) == Exit.OK
