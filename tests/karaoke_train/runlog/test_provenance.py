"""Where a run comes from, with nothing secret in it, and never in anybody's way."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

from karaoke_train.runlog import provenance as module
from karaoke_train.runlog.provenance import git_state, provenance


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (
        ["init", "-q", "-b", "main"],
        [*who, "commit", "-q", "--allow-empty", "-m", "first"],
    ):
        subprocess.run(["git", *words], check=True, capture_output=True)
    return tmp_path


@pytest.mark.process
def test_git_says_commit_branch_and_changes(repository: Path) -> None:
    state = git_state()
    assert len(state["commit"]) == 40
    assert (state["branch"], "dirty" in state) == ("main", False)
    (repository / "file").write_text("x")
    subprocess.run(["git", "add", "file"], check=True)
    assert git_state()["dirty"] is True


@pytest.mark.process
def test_where_a_run_comes_from_has_gits_state(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "git_state", git_state)  # which tests are without elsewhere
    assert provenance([])["git"] == git_state() != {}


@pytest.mark.process
@pytest.mark.usefixtures("repository")
def test_a_branch_whose_name_is_no_utf8_does_not_stop_a_run() -> None:
    subprocess.run([b"git", b"checkout", b"-q", b"-b", b"caf\xe9"], check=True, capture_output=True)
    assert git_state()["branch"] == "caf�"


@pytest.mark.process
def test_outside_of_git_there_is_no_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state() == {}


@pytest.mark.parametrize("error", [FileNotFoundError("git"), subprocess.TimeoutExpired("git", 2)])
def test_without_git_or_with_a_slow_one_there_is_no_state(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def run(*words: object, **options: object) -> NoReturn:
        raise error

    monkeypatch.setattr(subprocess, "run", run)
    assert git_state() == {}


def test_provenance_names_host_and_process() -> None:
    state = provenance(["train", "--token=x"])
    assert state["host"]
    assert state["pid"] == os.getpid()
    assert state["argv"] == ["train", "--token=***"]
