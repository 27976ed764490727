"""The daemon without any service manager, as on macOS: start, reload, stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from karaoke_train.runlog.lock import holder_of
from syncd.errors import Exit
from syncd.service import launch
from tests.fakes.wandb_server import WandbServer
from tests.measured import MEASURED
from tests.patience import patience, until
from tests.service.sandbox import ROOT


class Account:
    """A home of one's own, and karaoke-syncd in it."""

    def __init__(self, home: Path, server: WandbServer) -> None:
        self.home = home
        self.state = home / ".local/state/karaoke-syncd"
        self.env = {"HOME": str(home), "PATH": "/nowhere", "WANDB_API_KEY": server.key,
                    "WANDB_BASE_URL": server.url, "PYTHONPATH": str(ROOT), **MEASURED}  # fmt: skip

    def syncd(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*launch.command(), *arguments], env=self.env, cwd=self.home,
            capture_output=True, text=True, timeout=patience(60), check=False,
        )  # fmt: skip

    def log(self) -> str:
        return (self.state / "daemon.log").read_text()

    def config(self, text: str) -> None:
        path = self.home / ".config/karaoke-syncd/config.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def watched(self) -> dict[str, object]:
        """The daemon's report; empty before its first."""
        try:
            found: dict[str, object] = json.loads((self.state / "daemon.json").read_text())
        except FileNotFoundError:
            return {}
        return found


@pytest.fixture
def account(tmp_path: Path, server: WandbServer) -> Iterator[Account]:
    made = Account(tmp_path, server)
    yield made
    made.syncd("stop")


@pytest.mark.process
def test_detached_daemon_starts_reloads_on_sighup_and_stops(
    account: Account, server: WandbServer
) -> None:
    assert account.syncd("start", "--detach").returncode == Exit.OK
    assert account.syncd("start", "--detach").returncode == Exit.BUSY
    holder = holder_of(account.state / "daemon.lock")
    assert holder is not None
    until(lambda: account.watched().get("connectivity") == "online")
    account.config("rescan = 1\nlog_level = 'debug'\n")
    os.kill(holder.pid, signal.SIGHUP)
    until(lambda: "read again" in account.log())  # by the signal, or since the file has changed
    account.config("rescan = 'often'\n")
    os.kill(holder.pid, signal.SIGHUP)
    until(lambda: "the settings stay as they were" in account.log())
    account.config("")
    assert account.syncd("stop").returncode == Exit.OK
    assert holder_of(account.state / "daemon.lock") is None
    assert "Traceback" not in account.log()
    assert server.key not in account.log()


@pytest.mark.process
def test_a_lock_that_is_no_signature_is_written_over_and_the_daemon_known_by_it(
    account: Account,
) -> None:
    account.state.mkdir(parents=True)
    (account.state / "daemon.lock").write_text('{"another": "program"}')
    assert account.syncd("start", "--detach").returncode == Exit.OK
    until(lambda: account.syncd("watching").returncode == Exit.OK)
    assert account.syncd("restart").returncode == Exit.OK
    assert account.syncd("stop").returncode == Exit.OK
    assert holder_of(account.state / "daemon.lock") is None


@pytest.mark.process
def test_what_a_detached_daemon_keeps_is_its_owners_alone_whatever_the_umask(
    account: Account,
) -> None:
    before = os.umask(0)  # inherited by the daemon
    try:
        assert account.syncd("start", "--detach").returncode == Exit.OK
        until(lambda: account.watched().get("connectivity") == "online")
        assert account.syncd("stop").returncode == Exit.OK
    finally:
        os.umask(before)
    kept = [path for path in account.state.rglob("*") if path.is_file()]
    assert {"daemon.log", "daemon.lock", "daemon.json"} <= {path.name for path in kept}
    assert [path.name for path in kept if path.stat().st_mode & 0o077] == []


@pytest.mark.process
def test_detached_daemon_of_a_folder_with_a_package_syncd_is_ours_and_has_the_flags(
    account: Account,
) -> None:
    fake = account.home / "syncd"
    fake.mkdir()
    for name in ("__init__", "__main__"):
        (fake / f"{name}.py").write_text("raise SystemExit('another one')")
    done = account.syncd("start", "--detach", "--log_level", "debug", "--log_dir", "a b")
    assert (done.returncode, "another one" in account.log()) == (Exit.OK, False), account.log()
    holder = holder_of(account.state / "daemon.lock")
    assert holder is not None
    command = Path(f"/proc/{holder.pid}/cmdline")
    if command.exists():
        words = command.read_text().split("\0")
        assert words[-4:-1] == ["start", f"--log_dir={account.home}/a b", "--log_level=debug"]
    until(lambda: account.watched().get("log_dir") == [f"{account.home}/a b"])
    assert account.syncd("watching", "--log-dir", "a b").returncode == Exit.OK


@pytest.mark.process
def test_restart_replaces_the_daemon_by_one_with_the_flags_of_now_and_the_folders_of_then(
    account: Account,
) -> None:
    pids = []
    for folder, words in (("a", ["--log_dir", "a"]), ("b", ["--log_dir", "b"]), ("b", [])):
        assert account.syncd("restart", *words).returncode == Exit.OK
        holder = holder_of(account.state / "daemon.lock")
        assert holder is not None
        pids.append(holder.pid)
        until(
            lambda folder=folder: account.watched().get("log_dir") == [f"{account.home}/{folder}"]
        )  # type: ignore[misc]
    assert len(set(pids)) == 3


@pytest.mark.process
def test_daemon_imports_neither_systemd_nor_wandb_nor_torch() -> None:
    code = """
import sys
import syncd.cli.daemon, syncd.report.doctor, syncd.service.process, syncd.service.systemd
import syncd.service.launch, syncd.service.sd_notify, syncd.service.supervision
print(sorted({"systemd", "dbus", "wandb", "torch", "numpy"} & sys.modules.keys()))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True,
        timeout=patience(60), check=True,
    )  # fmt: skip
    assert done.stdout == "[]\n"
