"""Each thing that could keep records from arriving is found, with a remedy."""

from __future__ import annotations

import json
import os
from collections import namedtuple
from collections.abc import Callable
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
from syncd.settings import Settings
from syncd.state import atomic_json, lease
from tests.fakes.wandb_server import WandbServer

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
    assert list(checks._clock("", 2000.0, 0.1)) == []


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
    ours.release()
    other = lease.run_lease(settings.log_dir[0] / "x.jsonl", "run-1")
    other.acquire()
    assert f"run-1 is uploaded by process {os.getpid()}" in find()["leases"].what
    other.release()


def test_password_of_a_proxy_is_not_shown(find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://user:secret@127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    found = find()
    assert found["proxy"].what == "127.0.0.1:9 for 127.0.0.1"
    assert "proxy" in found["network"].what
    assert "secret" not in repr(found)


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
