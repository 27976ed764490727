"""What is in force, who said so, and words for what can't be."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from syncd import paths, settings
from syncd.errors import UsageError
from syncd.sync.scheduler import Limits


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(tmp_path / "config"), "XDG_STATE_HOME": str(tmp_path / "state")}


def write(env: dict[str, str], text: str) -> Path:
    path = paths.config_file(env)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_without_a_word_the_defaults_are_in_force(env: dict[str, str]) -> None:
    found = settings.load({}, env)
    assert found.log_dir == (Path("logs").absolute(),)
    assert found.state_dir == Path(env["XDG_STATE_HOME"]) / "karaoke-syncd"
    assert (found.limits, dict(found.origin)) == (Limits(), {})


def test_flags_win_over_the_environment_over_the_file(env: dict[str, str]) -> None:
    path = write(env, 'project = "file"\nentity = "file"\nwatcher = "polling"\n')
    env |= {"KARAOKE_SYNCD_PROJECT": "env", "KARAOKE_SYNCD_ENTITY": "env"}
    found = settings.load({"project": "flag", "log_dir": None}, env)
    assert (found.project, found.entity, found.watcher) == ("flag", "env", "polling")
    assert found.origin == {
        "project": "command line",
        "entity": "KARAOKE_SYNCD_ENTITY",
        "watcher": str(path),
    }


def test_log_folders_come_one_or_several_and_become_absolute(env: dict[str, str]) -> None:
    env["KARAOKE_SYNCD_LOG_DIR"] = "a:~/b"
    assert settings.load({}, env).log_dir == (Path("a").absolute(), Path("~/b").expanduser())
    write(env, 'log_dir = ["/x", "/y"]')
    del env["KARAOKE_SYNCD_LOG_DIR"]
    assert settings.load({}, env).log_dir == (Path("/x"), Path("/y"))
    assert settings.load({"log_dir": [Path("/z")]}, env).log_dir == (Path("/z"),)


def test_names_come_as_a_list_or_with_colons_between_them(env: dict[str, str]) -> None:
    write(env, 'allow_config_keys = ["hf_token", "*_key"]')
    assert settings.load({}, env).allow_config_keys == ("hf_token", "*_key")
    env["KARAOKE_SYNCD_ALLOW_CONFIG_KEYS"] = "a:b"
    assert settings.load({}, env).allow_config_keys == ("a", "b")
    write(env, "allow_config_keys = [1]")
    with pytest.raises(UsageError, match="list of names"):
        settings.load({}, env)


def test_limits_are_set_in_a_table_or_by_name(env: dict[str, str]) -> None:
    write(env, "[limits]\nstall = 9\nlinger = inf\n")
    env["KARAOKE_SYNCD_OPEN_RUNS"] = "7"
    found = settings.load({}, env)
    assert (found.limits.stall, found.limits.open_runs) == (9.0, 7)
    assert found.origin["open_runs"] == "KARAOKE_SYNCD_OPEN_RUNS"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("projekt = 1", "there's no setting 'projekt'"),
        ("[limits]\nspeed = 1", "there's no limit 'speed'"),
        ("[limits]\nstall = 0", "stall = 0 is not usable: it has to be more than 0"),
        ("[limits]\nstall = nan", "stall = nan is not usable"),
        ("[limits]\nopen_runs = inf", "open_runs = inf is not usable: it has to be a whole number"),
        ("[limits]\nopen_runs = 2.7", "open_runs = 2.7 is not usable: it has to be a whole number"),
        ("[limits]\nbatch = true", "batch = True is not usable: it has to be a whole number"),
        ("[limits]\nstall = true", "stall = True is not usable: it has to be a number"),
        ("[limits]\nrequest_timeout = inf", "request_timeout = inf is not usable: it has to end"),
        ("[limits]\nstall = 1e300", "stall = 1e+300 is not usable: it has to be at most"),
        ("rescan = inf", "rescan = inf is not usable: it has to end"),
        ("[limits]\nstall = []", "stall"),
        ("limits = 3", "limits"),
        ('watcher = "magic"', "it has to be one of auto, inotify, polling"),
        ("rescan = -1", "rescan = -1 is not usable"),
        ("rescan = nan", "rescan"),
        ("log_dir = []", "at least one folder is needed"),
        ("log_dir = 5", "log_dir = 5 is not usable"),
        ("log_dir = [5]", "log_dir"),
        ("state_dir = 5", "state_dir"),
        ("log_dir = '~nobody_of_that_name/x'", "home"),
        ("not toml", "can't be read"),
    ],
)
def test_what_cannot_be_is_said_with_the_file_it_stands_in(
    env: dict[str, str], text: str, words: str
) -> None:
    path = write(env, text)
    with pytest.raises(UsageError) as error:
        settings.load({}, env)
    assert words in str(error.value)
    assert "nobody" in text or str(path) in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"), [("RESCAN", "soon"), ("OPEN_RUNS", "1e9999"), ("LOG_DIR", ""), ("X", "1")]
)
def test_an_environment_that_cannot_be_is_named(env: dict[str, str], name: str, value: str) -> None:
    with pytest.raises(UsageError, match=f"KARAOKE_SYNCD_{name}"):
        settings.load({}, env | {f"KARAOKE_SYNCD_{name}": value})


def test_a_config_file_that_is_a_folder_is_said_to_be_unreadable(env: dict[str, str]) -> None:
    paths.config_file(env).mkdir(parents=True)
    with pytest.raises(UsageError, match="can't be read"):
        settings.load({}, env)


def test_every_setting_can_be_given_each_way(env: dict[str, str]) -> None:
    values: dict[str, Any] = {
        "log_dir": "/a", "state_dir": "/s", "base_url": "http://x", "entity": "e",
        "project": "p", "watcher": "polling", "rescan": "2", "log_level": "debug",
    }  # fmt: skip
    named = {f"KARAOKE_SYNCD_{key.upper()}": value for key, value in values.items()}
    assert settings.load({}, env | named).rescan == 2.0
    assert set(settings.load(values, env).origin) == set(values)


def test_leases_are_beside_the_logs_unless_a_folder_is_named(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    assert settings.load({}, home).lock_dir is None
    assert settings.load({}, {**home, "KARAOKE_SYNCD_LOCK_DIR": ""}).lock_dir is None
    named = {**home, "KARAOKE_SYNCD_LOCK_DIR": str(tmp_path / "locks")}
    assert settings.load({}, named).lock_dir == tmp_path / "locks"


@pytest.mark.parametrize("kind", ["fifo", "endless", "deep"])
def test_a_settings_file_that_is_none_is_refused_and_not_waited_for(
    tmp_path: Path, kind: str
) -> None:
    env = {"XDG_CONFIG_HOME": str(tmp_path)}
    path = paths.config_file(env)
    path.parent.mkdir()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "endless":
        path.symlink_to("/dev/zero")
    else:
        path.write_text("a = " + "[" * 5000)
    with pytest.raises(UsageError, match="can't be read"):
        settings.load({}, env)
