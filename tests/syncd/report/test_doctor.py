"""Each thing that could keep records from arriving is found, with a remedy."""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections import namedtuple
from collections.abc import Callable
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import pytest

from karaoke_train.runlog.lock import Lock
from syncd.cli import main
from syncd.destination.base import Destination
from syncd.destination.wandb import checks
from syncd.destination.wandb.credentials import Login
from syncd.destination.wandb.destination import WandbDestination
from syncd.errors import Exit
from syncd.report import doctor
from syncd.report.doctor import Finding
from syncd.service import launch
from syncd.settings import Settings
from syncd.state import atomic_json, daemon_report, lease
from syncd.state.daemon_report import DaemonReport
from tests.fakes.user_manager import UserManager
from tests.fakes.wandb_server import WandbServer
from tests.syncd.world import let_hang

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "logs").mkdir()
    (tmp_path / "state").mkdir()
    return Settings(log_dir=(tmp_path / "logs",), state_dir=tmp_path / "state")


@pytest.fixture
def find(settings: Settings, server: WandbServer) -> Callable[..., dict[str, Finding]]:
    def examine(login: Login | None = None, given: Settings = settings) -> dict[str, Finding]:
        """The worst finding of each check."""
        login = login or Login(server.url, "", server.key, "netrc")
        found = list(doctor.examine(given, WandbDestination(login)))
        found.sort(key=lambda finding: doctor.LEVELS.index(finding.level))
        return {finding.check: finding for finding in found}

    return examine


Find = Callable[..., dict[str, Finding]]


def test_healthy_machine_has_no_error_and_every_check_speaks(find: Find) -> None:
    found = find()
    bad = {name: finding for name, finding in found.items() if finding.level == "error"}
    assert bad == {}
    wanted = {"python", "packages", "settings", "log_dir", "log_dir_lock", "log_dir_space",
              "inotify", "state_dir", "state_dir_lock", "state_dir_space", "credentials",
              "proxy", "network", "clock", "server", "service", "daemon"}  # fmt: skip
    assert wanted - found.keys() == set()


def test_it_leaves_nothing_behind(find: Find, settings: Settings) -> None:
    find()
    assert list(settings.log_dir[0].rglob("*")) == []
    assert list(settings.state_dir.rglob("*")) == []


def test_every_warning_and_error_has_a_remedy(find: Find, tmp_path: Path) -> None:
    nowhere = Settings(log_dir=(tmp_path / "none",), state_dir=tmp_path / "none" / "state")
    for finding in find(Login("http://127.0.0.1:9", ""), nowhere).values():
        assert finding.level == "ok" or finding.remedy, finding


def test_nobody_logged_in(find: Find, server: WandbServer) -> None:
    found = find(Login(server.url, ""))
    assert found["credentials"].level == "error"
    assert "wandb login" in found["credentials"].remedy


def test_key_that_the_server_does_not_know(find: Find, server: WandbServer) -> None:
    found = find(Login(server.url, "", "wrong", "netrc"))
    assert (found["server"].level, found["network"].level) == ("error", "ok")


def test_server_out_of_reach(find: Find, server: WandbServer) -> None:
    server.refuse()
    assert "refuses the connection" in find()["network"].what


def test_page_of_a_network_that_wants_a_login(find: Find, server: WandbServer) -> None:
    server.fault("html")
    assert "not a W&B server" in find()["server"].what


@pytest.mark.process
def test_certificate_that_nobody_vouches_for(find: Find, tmp_path: Path) -> None:
    with WandbServer(tmp_path / "tls", tls=True) as server:
        found = find(Login(server.url, "", server.key, "netrc"))
    assert found["tls"].level == "error"


def test_key_file_that_others_can_read(find: Find, server: WandbServer) -> None:
    warning = "/home/u/.netrc holds a key that others can read: chmod 600 /home/u/.netrc"
    found = find(Login(server.url, "", server.key, "netrc", warning))["credentials"]
    assert (found.level, found.remedy) == ("warning", "chmod 600 /home/u/.netrc")


def test_clock_that_goes_wrong() -> None:
    (ahead,) = checks._clock(formatdate(1000.0, usegmt=True), 2000.0, 0.1)
    assert (ahead.level, ahead.what) == (
        "warning", "this machine's clock is 1,000 s ahead of the server's",
    )  # fmt: skip
    (right,) = checks._clock(formatdate(2000.0, usegmt=True), 2000.0, 0.1)
    assert right.level == "ok"
    for none in ("", "soon", "Fri, 31 Dec 99999999999999 23:59:59 GMT"):
        assert list(checks._clock(none, 2000.0, 0.1)) == []


@pytest.mark.parametrize(
    ("free", "level"), [(10 << 30, "ok"), (500 << 20, "warning"), (0, "error")]
)
def test_disk_space(find: Find, monkeypatch: pytest.MonkeyPatch, free: int, level: str) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: Usage(0, 0, free))
    assert find()["log_dir_space"].level == level


def test_network_file_system_is_polled_and_says_why(
    find: Find, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor.watcher, "filesystem", lambda folder: "nfs4")
    found = find()
    assert found["log_dir"].what.endswith("watched by polling")
    assert found["state_dir"].level == "warning"


def test_folder_without_working_locks(find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lock, "acquire", lambda self, *args, **kwargs: None)
    assert "keep nobody out" in find()["log_dir_lock"].what


def test_folder_that_the_daemon_does_not_watch_and_lease_of_another(
    find: Find, settings: Settings
) -> None:
    ours = lease.state_lock(settings.state_dir)
    ours.acquire()
    atomic_json.write(settings.state_dir / "daemon.json", {"log_dir": ["/elsewhere"]})
    assert "does not watch" in find()["daemon"].what
    above = DaemonReport(log_dir=(str(settings.log_dir[0].parent),), recursive=True)
    daemon_report.save(settings.state_dir, above)
    assert "does not watch" not in find()["daemon"].what
    ours.release()
    other = lease.run_lease(settings.log_dir[0] / "x.jsonl", "run-1", "wandb.here")
    other.acquire()
    assert f"run-1 is uploaded to wandb.here by process {os.getpid()}" in find()["leases"].what
    other.release()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_lease_in_another_users_file_is_a_warning_with_the_way_out(
    find: Find, settings: Settings
) -> None:
    other = lease.run_lease(settings.log_dir[0] / "x.jsonl", "run-1", "wandb.here")
    other.acquire()
    os.chown(other.path, 12345, 12345)
    found = find()["leases"]
    assert found.level == "warning"
    assert "of user 12345" in found.what
    assert "lock_dir" in found.remedy
    assert "leases" not in find(given=replace(settings, lock_dir=settings.state_dir / "locks"))
    other.release()


def test_password_of_a_proxy_is_not_shown(find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://user:hunter2@127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    found = find()
    assert found["proxy"].what == "127.0.0.1:9 for 127.0.0.1"
    assert "proxy" in found["network"].what
    assert "hunter2" not in repr(found)


def test_package_that_is_missing_is_named(find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PACKAGES", ("click", "no-such-package"))
    found = find()["packages"]
    assert (found.level, found.what) == ("error", "missing: no-such-package")


def test_log_folder_that_is_not_there_yet_or_cannot_be_read(
    find: Find, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = replace(settings, log_dir=(settings.log_dir[0] / "later",))
    assert find(given=later)["log_dir"].level == "warning"
    deny(settings.log_dir[0], monkeypatch)
    found = find()["log_dir"]
    assert (found.level, found.remedy) == (
        "error", f"Make it readable: chmod u+rx {settings.log_dir[0]}",
    )  # fmt: skip


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
def test_log_folder_of_another_user_says_who_can_open_it(
    find: Find, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.chown(settings.log_dir[0], 12345, 12345)
    deny(settings.log_dir[0], monkeypatch)
    remedy = find()["log_dir"].remedy
    assert f"chmod o+rx {settings.log_dir[0]}" in remedy
    assert "user 12345" in remedy


def test_state_folder_that_cannot_be_written(
    find: Find, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    deny(settings.state_dir, monkeypatch)
    found = find()
    assert found["state_dir"].level == "error"
    assert "XDG_STATE_HOME" in found["state_dir"].remedy
    assert "state_dir_lock" not in found


def deny(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder's rights are taken from us; root, who may run this, would not notice chmod."""
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != folder and access(path, mode))


def test_way_of_watching_that_was_set_is_said_to_be(find: Find, settings: Settings) -> None:
    words = find(given=replace(settings, watcher="polling"))["log_dir"].what
    assert words.endswith("watched by polling (set)")


def test_few_watches_are_a_warning_with_the_command_for_more(
    find: Find, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "FEW_WATCHES", 1 << 62)
    found = find()["inotify"]
    assert found.level == "warning"
    assert found.remedy.startswith("sudo sysctl fs.inotify.max_user_watches=")


def test_folder_that_takes_no_lock_is_a_warning_with_its_reason(
    find: Find, monkeypatch: pytest.MonkeyPatch
) -> None:
    def acquire(lock: Lock, timeout: float = 0.0) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Lock, "acquire", acquire)
    found = find()["log_dir_lock"]
    assert found.level == "warning"
    assert "Read-only file system" in found.what


def test_file_system_without_locks_is_said_to_work_by_leases(
    find: Find, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    found = find()["log_dir_lock"]
    assert (found.level, "by leases" in found.what) == ("ok", True)


def test_daemon_that_has_not_reported_for_too_long_is_an_error(
    find: Find, settings: Settings
) -> None:
    ours = lease.state_lock(settings.state_dir)
    ours.acquire()
    try:
        daemon_report.save(settings.state_dir, DaemonReport(log_dir=(str(settings.log_dir[0]),)))
        assert find()["daemon"].level == "ok"
        let_hang(settings.state_dir)
        found = find()["daemon"]
    finally:
        ours.release()
    assert found.level == "error"
    assert re.match(
        rf"the daemon has not reported for 9\d s: process {os.getpid()} on ", found.what
    )
    assert found.remedy.startswith("it hangs or is stopped")
    assert found.remedy.endswith("karaoke-syncd restart")


def test_log_folder_that_the_service_may_not_write_in(
    find: Find, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor.supervision, "read_only", lambda folder: True)
    ours = lease.state_lock(settings.state_dir)
    ours.acquire()
    try:
        daemon_report.save(settings.state_dir, DaemonReport(log_dir=(str(settings.log_dir[0]),)))
        found = find()["daemon"]
    finally:
        ours.release()
    assert (found.level, "is mounted read-only" in found.what) == ("warning", True)


# --- the service


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UserManager:
    """A user manager with the service installed, enabled and running, and lingering."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    made = UserManager(tmp_path / "manager", monkeypatch)
    made.unit.parent.mkdir(parents=True)
    made.unit.touch()
    (made.place / "enabled").touch()
    (made.place / "linger" / "singer").touch()
    made.set(active="active", says="online; all uploaded")
    return made


def test_service_that_runs_and_stays_is_well(find: Find, manager: UserManager) -> None:
    found = find()
    assert (found["service"].level, found["service"].what) == (
        "ok", "active, process 4321: online; all uploaded",
    )  # fmt: skip
    assert found["linger"].level == "ok"


@pytest.mark.parametrize("unreachable", [True, False])
def test_a_service_is_no_remedy_where_there_can_be_none(
    find: Find, manager: UserManager, unreachable: bool
) -> None:
    if unreachable:
        (manager.place / "unreachable").touch()
    found = find()["daemon"]
    assert found.what == "no daemon is running"
    assert ("service install" in found.remedy) is not unreachable
    assert found.remedy.endswith("karaoke-syncd start --detach")


@pytest.mark.parametrize(
    ("harm", "check", "level", "what", "remedy"),
    [
        (lambda its: its.unit.unlink(), "service", "warning", "not installed", "service install"),
        (lambda its: (its.place / "enabled").unlink(), "service", "warning",
         "does not start by itself", "systemctl --user enable"),
        (lambda its: its.set(active="failed"), "service", "error", "the service is failed",
         "service restart"),
        (lambda its: its.set(restarts="3"), "service", "warning", "restarted 3 times",
         "service logs"),
        (lambda its: (its.place / "linger" / "singer").unlink(), "linger", "warning",
         "when you log out", "loginctl enable-linger"),
        (lambda its: (its.place / "unreachable").touch(), "service", "ok", "can't be reached",
         "start --detach"),
    ],
)  # fmt: skip
def test_service_that_is_not_as_it_should_be(
    find: Find, manager: UserManager, harm: Callable[[UserManager], object], check: str,
    level: str, what: str, remedy: str,
) -> None:  # fmt: skip
    harm(manager)
    found = find()[check]
    assert (found.level, what in found.what, remedy in found.remedy) == (level, True, True), found


@pytest.mark.process
@pytest.mark.parametrize(("active", "level"), [("activating", "error"), ("active", "warning")])
def test_service_whose_program_is_gone_says_how_it_is_mended(
    find: Find, tmp_path: Path, manager: UserManager, active: str, level: str
) -> None:
    """A virtual environment that was moved: what runs, runs on until its next start."""
    gone = tmp_path / "venv" / "karaoke-syncd"
    manager.unit.write_text(f'ExecStart={gone} start "--log_dir=/my logs" --project=songs\n')
    manager.set(active=active)
    found = find()["program"]
    assert (found.level, found.what) == (level, f"the service can't start: {gone} is gone")
    assert found.remedy.endswith("service install '--log_dir=/my logs' --project=songs")


def test_service_that_may_not_write_in_the_store_is_told(
    find: Find, settings: Settings, tmp_path: Path, manager: UserManager,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "store"))
    both = replace(settings, destinations=("wandb", "trackio"))
    sandbox = f"ProtectSystem=strict\nReadWritePaths=-{settings.log_dir[0]}\n"
    manager.unit.write_text(sandbox)
    found = find(given=both)["store"]
    assert found.level == "error"
    assert f"does not let it write in {tmp_path / 'store'}" in found.what
    assert "service install" in found.remedy
    assert "store" not in find(), "nothing goes there"
    manager.unit.write_text(f"{sandbox}ReadWritePaths=-{tmp_path / 'store'}\n")
    assert "store" not in find(given=both)


@pytest.mark.process
def test_service_whose_program_runs_is_no_finding(find: Find, manager: UserManager) -> None:
    words = " ".join(launch.command())
    manager.unit.write_text(f"ExecStart={words} start --log_dir=/logs\n")
    assert "program" not in find()


def test_key_that_the_service_does_not_see(
    find: Find, manager: UserManager, server: WandbServer
) -> None:
    login = Login(server.url, "", server.key, "WANDB_API_KEY")
    found = find(login)["credentials"]
    assert (found.level, "the service does not see" in found.what) == ("warning", True)
    manager.unit.unlink()
    assert find(login)["credentials"].level == "ok"


# --- the command


def test_command_prints_each_finding_and_the_remedies_of_the_bad_ones(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    findings = [
        Finding("well", "ok", "fine [as it is]", "not shown"),
        Finding("space", "error", "no room", "Make [some]"),
    ]
    monkeypatch.setattr(doctor, "CHECKS", (lambda settings, destination: findings,))
    assert main(["doctor", f"--log_dir={settings.log_dir[0]}"]) == Exit.ERRORS
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines == ["ok well fine [as it is]", "error space no room", "→ Make [some]"]


def test_check_that_fails_is_a_finding(find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    def _broken(settings: Settings, destination: Destination) -> list[Finding]:
        raise RuntimeError("bug")

    monkeypatch.setattr(doctor, "CHECKS", (_broken,))
    assert find()["broken"].level == "warning"


@pytest.mark.parametrize(
    ("levels", "code"),
    [([], 0), (["ok"], 0), (["ok", "warning"], 9), (["error", "warning", "ok"], 10)],
)
def test_exit_code_is_of_the_worst(levels: list[str], code: int) -> None:
    assert doctor.exit_code(Finding("x", level, "") for level in levels) == code


def test_json_is_a_schema_and_the_exit_code_in_it_is_the_exit_code(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finding = Finding("log_dir", "warning", "gone", "make it")
    monkeypatch.setattr(doctor, "CHECKS", (lambda settings, destination: [finding],))
    code = main(["doctor", "--json", f"--log_dir={settings.log_dir[0]}"])
    assert json.loads(capsys.readouterr().out) == {
        "schema": 1,
        "exit_code": 9,
        "exit": "warnings",
        "findings": [{"check": "log_dir", "level": "warning", "what": "gone", "remedy": "make it"}],
    }
    assert code == Exit.WARNINGS


def test_no_inotify_at_all_is_a_warning_that_says_what_stands_in(
    find: Find, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor.watcher, "no_inotify", lambda: "inotify instance limit reached")
    found = find()["inotify"]
    assert found.level == "warning"
    assert found.what.startswith("inotify instance limit reached: folders are polled; ")
    limits = Path("/proc/sys/fs/inotify")
    now = [int((limits / f"max_user_{what}").read_text()) for what in ("watches", "instances")]
    advised = [int(word.partition("=")[2]) for word in found.remedy.split()[2:]]
    assert all(more >= 2 * allowed for more, allowed in zip(advised, now, strict=True))
