"""A daemon that runs, and a login, a key or a setting that comes, goes or is another one: in force
without a word to the daemon."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from karaoke_train.runlog import RunLog
from syncd.errors import Connection
from tests.fakes.wandb_server import KEY, WandbServer
from tests.fakes.wandb_world import World
from tests.faults.rig import Rig, write
from tests.patience import until


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WandbServer]:
    """Without late counts and rate limits: it is the login that is waited for."""
    with WandbServer(tmp_path / "server", world=World.PROMPT) as running:
        yield running


@pytest.fixture
def rig(tmp_path: Path, server: WandbServer) -> Iterator[Rig]:
    """Nobody is logged in."""
    with Rig(tmp_path, server, WANDB_API_KEY="") as rig:
        yield rig


def netrc(rig: Rig, key: str) -> Path:
    """As `wandb login` writes it, to its end."""
    path = rig.folder / ".netrc"
    host = rig.server.url.removeprefix("http://")
    path.write_text(f"machine {host}\n  login user\n")
    with path.open("a") as file:
        file.write(f"  password {key}\n")
    path.chmod(0o600)
    return path


def env_file(rig: Rig, text: str) -> Path:
    path = rig.folder / "config" / "karaoke-syncd" / "env"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)
    return path


def await_word(rig: Rig, word: Connection) -> None:
    until(lambda: rig.status().connectivity is word, f"the daemon is {word}: {rig.said()}")


@pytest.mark.parametrize("place", ["netrc", "environment file"])
def test_a_login_is_noticed_where_it_comes_and_where_it_goes(rig: Rig, place: str) -> None:
    def log_in(key: str) -> Path:
        return netrc(rig, key) if place == "netrc" else env_file(rig, f"WANDB_API_KEY={key}\n")

    rig.start()
    pid = rig.pid
    with RunLog.create(rig.logs, project="songs") as log:
        write(log, 10)
        await_word(rig, Connection.NOT_LOGGED_IN)
        file = log_in(KEY)
        rig.await_all(log)

        file.unlink()
        await_word(rig, Connection.NOT_LOGGED_IN)
        log_in("f" * 40)
        until(lambda: "does not accept the API key" in rig.said(), "it is asked with the new key")
        log_in(KEY)
        write(log, 10, start=10)
        rig.await_all(log)
    rig.await_end(log)
    assert rig.assert_same(log) == 22
    assert (rig.running, rig.pid) == (True, pid)


def test_a_setting_is_noticed_and_a_mistake_leaves_the_old_one(
    rig: Rig, server: WandbServer
) -> None:
    netrc(rig, KEY)
    config = rig.folder / "config" / "karaoke-syncd" / "config.toml"
    config.parent.mkdir(parents=True)
    rig.start()
    await_word(rig, Connection.ONLINE)
    config.write_text("project = 'elsewhere'\n")
    until(lambda: f"{config} changed: read again" in rig.said(), "the file is read")
    await_word(rig, Connection.ONLINE)
    config.write_text("project = 7 =\n")
    until(lambda: "the settings stay as they were" in rig.said(), "the mistake is said")
    with RunLog.create(rig.logs, project="songs") as log:
        write(log, 10)
    until(lambda: "elsewhere" in server.dump().get(server.entity, {}), "it goes there")
    assert "Traceback" not in rig.said()
