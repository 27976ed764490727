"""The unit file that `service install` writes, and the login that the service finds."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from syncd import paths
from syncd.destination.wandb import credentials
from syncd.destination.wandb.credentials import find_login
from syncd.errors import SyncError
from syncd.service import launch, systemd, unit_file
from syncd.settings import Settings

COMMAND = ["/opt/env/bin/karaoke-syncd"]


def rendered(**how: object) -> list[str]:
    installation = unit_file.Installation(command=COMMAND, **how)  # type: ignore[arg-type]
    return unit_file.render(unit_file.template(), installation).splitlines()


def test_installation_is_in_the_unit() -> None:
    lines = rendered(
        arguments=["--log_dir=/data/my logs"],
        writable=[Path("/home/u/.local/state"), Path("/data/my logs")],
        environment={"XDG_STATE_HOME": "/data/s"},
        env_file=Path("/home/u/100% .config/env"),
    )
    assert 'ExecStart=/opt/env/bin/karaoke-syncd start "--log_dir=/data/my logs"' in lines
    assert 'ReadWritePaths=-/home/u/.local/state "-/data/my logs"' in lines
    assert "Environment=XDG_STATE_HOME=/data/s" in lines
    assert "EnvironmentFile=-/home/u/100%% .config/env" in lines
    assert "PrivateTmp=yes" in lines


def test_where_a_unit_lets_its_daemon_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    mine = tmp_path / "100% $mine"
    assert unit_file.may_write(mine), "no unit"
    unit_file.path().parent.mkdir(parents=True)
    for how, elsewhere in (({"writable": [mine]}, False), ({"namespaces": False}, True)):
        unit_file.path().write_text("\n".join(rendered(**how)))
        assert unit_file.may_write(mine / "store")
        assert unit_file.may_write(tmp_path / "elsewhere") == elsewhere
    unit_file.path().write_text("\n".join(rendered(writable=[mine])))
    drop_in = unit_file.path().with_name(f"{unit_file.NAME}.d") / "override.conf"
    drop_in.parent.mkdir()
    drop_in.write_text("[Service]\nReadWritePaths=%h/elsewhere\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert unit_file.may_write(tmp_path / "elsewhere")


def test_delays_grow_where_systemd_can() -> None:
    assert "RestartSteps=6" in rendered(systemd=254)
    assert "RestartSteps=6" not in rendered(systemd=253)


def test_log_folder_in_tmp_is_not_hidden_from_the_service() -> None:
    assert "PrivateTmp=yes" not in rendered(writable=[Path("/tmp/run/logs")])


def test_the_sessions_folder_is_hidden_unless_a_log_folder_is_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert "TemporaryFileSystem=%t:ro" in rendered(writable=[Path("/run/user/70/logs")])
    assert "TemporaryFileSystem=%t:ro" not in rendered(writable=[Path("/run/user/7/logs")])


def test_without_namespaces_nothing_is_asked_that_would_keep_it_from_starting() -> None:
    keys = {line.partition("=")[0] for line in rendered(namespaces=False)}
    assert keys & unit_file.NEEDS_NAMESPACE == set()
    assert {"NoNewPrivileges", "SystemCallFilter", "WatchdogSec", "ExecStart"} <= keys


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("plain", "plain"),
        ("a b", '"a b"'),
        ("100%", '"100%%"'),
        ("$HOME", '"$$HOME"'),
        ('say "hi"', '"say \\"hi\\""'),
        ("", '""'),
    ],
)
def test_words_are_quoted_as_systemd_reads_them(word: str, written: str) -> None:
    assert unit_file.quoted(word) == written


def test_name_with_a_newline_can_not_become_a_directive() -> None:
    with pytest.raises(SyncError, match="control characters"):
        unit_file.quoted("logs\nExecStartPre=/bin/evil")


def test_every_file_and_command_that_the_unit_names_exists() -> None:
    assert Path(launch.command()[0]).is_absolute()
    assert os.access(launch.command()[0], os.X_OK)


def test_a_full_disk_leaves_the_unit_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    unit = tmp_path / unit_file.NAME
    assert systemd._write(unit, "old")
    assert not systemd._write(unit, "old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SyncError, match="No space left on device"):
        systemd._write(unit, "new")
    assert unit.read_text() == "old"
    assert list(tmp_path.iterdir()) == [unit]


def test_unit_that_is_masked_is_left_alone(tmp_path: Path) -> None:
    masked = tmp_path / unit_file.NAME
    masked.symlink_to(os.devnull)
    with pytest.raises(SyncError, match="unmask"):
        systemd._write(masked, "text")
    assert masked.is_symlink()


def test_no_systemctl_is_told_from_no_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert systemd.unavailable() == "this machine has no systemd"
    with pytest.raises(SyncError, match="start --detach"):
        systemd.require_manager("--log_dir=logs")
    assert systemd.state().active == "inactive"
    assert not systemd.namespaces()


def test_the_line_for_cron_holds_paths_with_blanks_quotes_and_percent_signs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(systemd, "unavailable", lambda: "no systemd")
    folder = "--log_dir=/home/me/Anna's 100 % songs/logs"
    with pytest.raises(SyncError) as refused:
        systemd.require_manager(shlex.quote(folder))
    words = shlex.split(str(refused.value).partition("(crontab -l; ")[2].partition(") |")[0])
    assert words[0] == "echo"
    assert len(words) == 2
    line = words[1].replace("\\%", "%")  # what cron hands to the shell
    assert shlex.split(line)[0] == "@reboot"
    assert shlex.split(line)[-3:] == ["start", "--detach", folder]
    assert words[1].count("%") == words[1].count("\\%")


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(tmp_path), "NETRC": str(tmp_path / "none")}


def env_file(env: dict[str, str], text: str, mode: int = 0o600) -> Path:
    path = paths.env_file(env)
    path.parent.mkdir(parents=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def test_key_of_the_environment_file_is_found_by_every_command(env: dict[str, str]) -> None:
    path = env_file(env, "# mine\nWANDB_API_KEY='abc'\nWANDB_BASE_URL=https://w.example/\n")
    login = find_login(env)
    assert (login.key, login.base_url, login.source) == ("abc", "https://w.example", str(path))
    assert login.warning == ""


def test_environment_file_that_others_can_read_is_warned_of(env: dict[str, str]) -> None:
    path = env_file(env, "WANDB_API_KEY=abc\n", 0o644)
    assert find_login(env).warning.endswith(f"chmod 600 {path}")
    assert find_login({**env, "WANDB_API_KEY": "abc"}).warning.endswith(f"chmod 600 {path}")


def test_environment_wins_over_credential_over_file(env: dict[str, str], tmp_path: Path) -> None:
    env_file(env, "WANDB_API_KEY=file\n")
    (tmp_path / "wandb-api-key").write_text("credential\n")
    env["CREDENTIALS_DIRECTORY"] = str(tmp_path)
    assert find_login(env).key == "credential"
    assert find_login({**env, "WANDB_API_KEY": "shell"}).key == "shell"


def test_daemon_asks_the_file_again_for_what_systemd_took_from_it(env: dict[str, str]) -> None:
    path = env_file(env, "WANDB_API_KEY=old\nWANDB_ENTITY=team\nHTTPS_PROXY=p\n")
    env |= {"WANDB_API_KEY": "old", "WANDB_ENTITY": "other", "HTTPS_PROXY": "p"}
    credentials.leave_to_file(env)
    assert "WANDB_API_KEY" not in env
    assert (env["WANDB_ENTITY"], env["HTTPS_PROXY"]) == ("other", "p")
    path.write_text("WANDB_API_KEY=new\n")
    assert find_login(env).key == "new"


def test_key_is_in_no_representation(env: dict[str, str]) -> None:
    env_file(env, "WANDB_API_KEY=abc123\n")
    assert "abc123" not in repr(find_login(env))
    assert "abc123" not in repr(Settings())


def test_a_program_in_a_temporary_folder_stays_in_sight() -> None:
    programs = [Path("/tmp/a b/venv"), Path("/opt/python")]
    text = unit_file.render(
        unit_file.template(), unit_file.Installation(command=["x"], program=programs)
    )
    assert 'PrivateTmp=yes\nBindReadOnlyPaths="/tmp/a b/venv"\n' in text
    assert "venv" not in unit_file.render(unit_file.template(), unit_file.Installation(["x"]))
