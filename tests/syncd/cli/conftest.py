"""A user's home for the commands: nobody listens where the server is said to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.syncd.world import config_line, end_line, train_line

KEY = "0123456789abcdef0123456789abcdef01234567"
NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user with nothing; nobody listens where the server is said to be."""
    for name in ("WANDB_ENTITY", "WANDB_PROJECT", "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "wandb"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_BASE_URL", NOBODY)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("syncd.logging_setup.set_up", lambda level: None)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def log(home: Path) -> Path:
    path = home / "logs" / "training_log_a.jsonl"
    path.parent.mkdir()
    path.write_bytes(config_line() + train_line(1) + end_line())
    return path
