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
from tests.fakes.wandb_server import WandbServer
from tests.service.sandbox import ROOT, until


class Account:
    """A home of one's own, and karaoke-syncd in it."""

    def __init__(self, home: Path, server: WandbServer) -> None:
        self.home = home
        self.state = home / ".local/state/karaoke-syncd"
        self.env = {"HOME": str(home), "PATH": "/nowhere", "WANDB_API_KEY": server.key,
                    "WANDB_BASE_URL": server.url, "PYTHONPATH": str(ROOT)}  # fmt: skip

    def syncd(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "syncd", *arguments], env=self.env, cwd=self.home,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def words(self) -> str:
        return (self.state / "daemon.log").read_text()

    def config(self, text: str) -> None:
        path = self.home / ".config/karaoke-syncd/config.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def watched(self) -> dict[str, object]:
        found: dict[str, object] = json.loads((self.state / "daemon.json").read_text())
        return found


@pytest.fixture
def account(tmp_path: Path, server: WandbServer) -> Iterator[Account]:
    made = Account(tmp_path, server)
    yield made
    made.syncd("stop")


def test_detached_daemon_starts_reloads_on_sighup_and_stops(
    account: Account, server: WandbServer
) -> None:
    assert account.syncd("start", "--detach").returncode == Exit.OK
    assert account.syncd("start", "--detach").returncode == Exit.BUSY
    holder = holder_of(account.state / "daemon.lock")
    assert holder is not None
    until(lambda: account.watched().get("reach") == "online")
    account.config("rescan = 1\nlog_level = 'debug'\n")
    os.kill(holder.pid, signal.SIGHUP)
    until(lambda: "the settings were read again" in account.words())
    account.config("rescan = 'often'\n")
    os.kill(holder.pid, signal.SIGHUP)
    until(lambda: "the settings stay as they were" in account.words())
    account.config("")
    assert account.syncd("stop").returncode == Exit.OK
    assert holder_of(account.state / "daemon.lock") is None
    assert "Traceback" not in account.words()
    assert server.key not in account.words()


def test_daemon_imports_neither_systemd_nor_wandb_nor_torch() -> None:
    code = """
import sys
import syncd.cli.daemon, syncd.report.doctor, syncd.service.process, syncd.service.systemd
import syncd.service.sd_notify, syncd.service.supervision
print(sorted({"systemd", "dbus", "wandb", "torch", "numpy"} & sys.modules.keys()))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60,
        check=True,
    )  # fmt: skip
    assert done.stdout == "[]\n"
