"""The login that wandb itself would use; its key shown to nobody."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from syncd.destination.wandb.credentials import (
    DEFAULT_URL,
    Login,
    files,
    find_login,
    stale_variables,
    take_network_from_file,
)
from syncd.errors import UsageError

KEY = "a" * 40


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {
        "NETRC": str(tmp_path / "netrc"),
        "WANDB_CONFIG_DIR": str(tmp_path / "wandb"),
        "XDG_CONFIG_HOME": str(tmp_path / "xdg"),
    }


def netrc(env: dict[str, str], text: str, mode: int = 0o600) -> Path:
    path = Path(env["NETRC"])
    path.write_text(text)
    path.chmod(mode)
    return path


def wandb_settings(env: dict[str, str], text: str) -> None:
    folder = Path(env["WANDB_CONFIG_DIR"])
    folder.mkdir()
    (folder / "settings").write_text(text)


def test_nobody_is_logged_in_where_nothing_is(env: dict[str, str]) -> None:
    assert find_login(env) == Login(DEFAULT_URL, "")


def test_the_environment_wins_over_netrc(env: dict[str, str]) -> None:
    netrc(env, f"machine api.wandb.ai login user password {'b' * 40}")
    found = find_login(env | {"WANDB_API_KEY": KEY})
    assert (found.key, found.source) == (KEY, "WANDB_API_KEY")


def test_netrc_is_read_for_the_server_in_force(env: dict[str, str]) -> None:
    path = netrc(env, f"machine api.wandb.ai login user password {KEY}\n"
                      "machine wandb.lab:8080 login user password lab\n"
                      "machine other.lab login user password other\n")  # fmt: skip
    assert find_login(env).key == KEY
    assert find_login(env, base_url="http://wandb.lab:8080/").key == "lab"
    assert find_login(env, base_url="https://other.lab:99").key == "other"
    assert find_login(env, base_url="https://unknown.lab").key == ""
    assert find_login(env).source == str(path)


def test_wandbs_own_settings_name_server_and_entity(env: dict[str, str]) -> None:
    wandb_settings(env, "[default]\nbase_url = http://wandb.lab/\nentity = choir\n")
    found = find_login(env)
    assert (found.base_url, found.entity) == ("http://wandb.lab", "choir")
    env |= {"WANDB_BASE_URL": "http://env.lab", "WANDB_ENTITY": "env"}
    assert (find_login(env).base_url, find_login(env).entity) == ("http://env.lab", "env")
    found = find_login(env, base_url="http://flag.lab", entity="flag")
    assert (found.base_url, found.entity) == ("http://flag.lab", "flag")


@pytest.mark.parametrize("text", ["no ini", "[default\n", "[default]\nbase_url", "\xff"])
def test_broken_wandb_settings_are_none(env: dict[str, str], text: str) -> None:
    wandb_settings(env, text)
    assert find_login(env).base_url == DEFAULT_URL


@pytest.mark.parametrize("text", ["machine", "machine a b c d e f", "\x00", "default login x"])
def test_a_broken_netrc_is_none(env: dict[str, str], text: str) -> None:
    netrc(env, text)
    assert find_login(env).key == ""


@pytest.mark.parametrize("text", [b"# M\xfcller\n", b"machine a b c\n", b"machine"])
def test_a_netrc_that_can_not_be_read_is_said_without_quoting_it(
    env: dict[str, str], text: bytes
) -> None:
    path = Path(env["NETRC"])
    path.write_bytes(text + f"machine api.wandb.ai login user password {KEY}\n".encode())
    found = find_login(env)
    assert (found.key, KEY in found.warning) == ("", False)
    assert str(path) in found.warning
    # another place has one: nothing is missing
    assert find_login(env | {"WANDB_API_KEY": KEY}).warning == ""


def test_a_login_in_the_servers_address_is_neither_used_nor_shown(env: dict[str, str]) -> None:
    found = find_login(env, base_url="https://me:hunter2@wandb.lab:8080/x/")
    assert found.base_url == "https://wandb.lab:8080/x"
    assert "take it out" in found.warning
    assert "hunter2" not in repr(found)


def test_a_key_that_others_can_read_is_warned_of(env: dict[str, str]) -> None:
    path = netrc(env, f"machine api.wandb.ai login user password {KEY}", 0o644)
    assert find_login(env).warning.endswith(f"chmod 600 {path}")
    path.chmod(0o600)
    assert find_login(env).warning == ""


def test_a_key_is_in_no_words(env: dict[str, str]) -> None:
    assert KEY not in repr(find_login(env | {"WANDB_API_KEY": KEY}))


@pytest.mark.parametrize(
    "url", ["http://[bad", "localhost:8080", "ftp://x", "http://", "http://a:b"]
)
def test_a_server_that_is_no_web_address_is_said_to_be_none(env: dict[str, str], url: str) -> None:
    with pytest.raises(UsageError, match="is no web address"):
        find_login(env | {"WANDB_BASE_URL": url})


def test_the_files_of_a_login_are_those_that_it_is_read_from(env: dict[str, str]) -> None:
    filed = env_file(Path(env["XDG_CONFIG_HOME"]), "")
    named = [filed, Path(env["WANDB_CONFIG_DIR"], "settings"), Path(env["NETRC"])]
    assert list(files(env)) == named
    elsewhere = filed.parent / "other"
    env_file(Path(env["XDG_CONFIG_HOME"]), f"NETRC={elsewhere}\n")
    assert elsewhere in files({key: env[key] for key in env if key != "NETRC"})
    assert Path("~/_netrc").expanduser() in files({})


def test_variables_that_only_a_manager_hands_over_are_named(env: dict[str, str]) -> None:
    text = f"WANDB_API_KEY={KEY}\nHTTPS_PROXY=http://new\nno_proxy=lab\n"
    env_file(Path(env["XDG_CONFIG_HOME"]), text)
    assert stale_variables(env | {"no_proxy": "lab"}) == ["HTTPS_PROXY"]
    assert stale_variables(env | {"no_proxy": "lab", "HTTPS_PROXY": "http://new"}) == []


def test_the_ways_to_the_server_are_those_that_a_manager_hands_over(env: dict[str, str]) -> None:
    text = "HTTPS_PROXY=http://new\nno_proxy=lab\nSSL_CERT_FILE=/ca.pem\nPATH=/none\n"
    env_file(Path(env["XDG_CONFIG_HOME"]), text)
    bare = dict(env)
    take_network_from_file(bare)
    ways = {"HTTPS_PROXY": "http://new", "no_proxy": "lab", "SSL_CERT_FILE": "/ca.pem"}
    assert bare == env | ways
    own = {"https_proxy": "http://own", "REQUESTS_CA_BUNDLE": "/own.pem"}
    shell = env | own
    take_network_from_file(shell)
    assert shell == env | own | {"no_proxy": "lab"}
    every = env | own | {"ALL_PROXY": "http://every"}
    del every["https_proxy"]
    took = dict(every)
    take_network_from_file(took)
    assert took == every | {"no_proxy": "lab"}


def env_file(folder: Path, text: str) -> Path:
    path = folder / "karaoke-syncd" / "env"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_netrc_that_would_be_waited_for_is_not_opened(env: dict[str, str]) -> None:
    os.mkfifo(env["NETRC"])
    found = find_login(env)
    assert found.key == ""
    assert found.warning == (
        f"no API key is taken from {env['NETRC']}, as it is no regular file but a FIFO: "
        "put a file in its place"
    )


def test_no_netrc_at_all_may_be_dev_null(env: dict[str, str]) -> None:
    assert find_login(env | {"NETRC": os.devnull}) == Login(DEFAULT_URL, "")


@pytest.mark.parametrize("name", ["wandb/settings", "xdg/karaoke-syncd/env"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda p: p.write_bytes(b"# caf\xe9\n")])
def test_a_file_of_settings_that_is_none_is_not_waited_for_and_said(
    env: dict[str, str], tmp_path: Path, name: str, make: Callable[[Path], None]
) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    make(path)
    assert f"{path} is not read, " in find_login(env).warning
