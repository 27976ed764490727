"""Where settings and state are."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncd import paths


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def places(env: dict[str, str]) -> list[Path]:
    return [paths.config_file(env), paths.env_file(env), paths.unit_file("x", env),
            paths.state_folder(env)]  # fmt: skip


@pytest.mark.parametrize("env", [{}, {"XDG_CONFIG_HOME": "", "XDG_STATE_HOME": ""}])
def test_without_a_variable_or_with_an_empty_one_all_is_in_the_home_folder(
    env: dict[str, str], home: Path
) -> None:
    assert places(env) == [
        home / ".config/karaoke-syncd/config.toml",
        home / ".config/karaoke-syncd/env",
        home / ".config/systemd/user/x",
        home / ".local/state/karaoke-syncd",
    ]


@pytest.mark.parametrize(("given", "meant"), [("/c", "/c"), ("~/c", "HOME/c")])
def test_a_variable_says_where_also_from_the_home_folder(
    given: str, meant: str, home: Path
) -> None:
    folder = Path(meant.replace("HOME", str(home)))
    assert places({"XDG_CONFIG_HOME": given, "XDG_STATE_HOME": given}) == [
        folder / "karaoke-syncd/config.toml",
        folder / "karaoke-syncd/env",
        folder / "systemd/user/x",
        folder / "karaoke-syncd",
    ]


def test_each_server_has_a_folder_of_its_own_whose_name_leads_nowhere_else() -> None:
    names = {
        "https://api.wandb.ai": "api.wandb.ai",
        "http://localhost:8080": "localhost_8080",
        "http://user:p/../../x@h": "user_p",
    }
    for url, name in names.items():
        assert paths.destination_folder(Path("/s"), url) == Path("/s/servers") / name
