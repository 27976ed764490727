"""wandb's own offline runs: found, handed to `wandb sync`, told one by one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from syncd.destination.wandb.offline_runs import offline_runs, sync


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "wandb" / "offline-run-20240115_120000-abc"
    folder.mkdir(parents=True)
    return folder


def test_offline_runs_are_found_in_the_folders_and_in_wandbs_own(run: Path, tmp_path: Path) -> None:
    assert offline_runs([tmp_path], {"WANDB_DIR": str(tmp_path / "none")}) == [run]
    assert offline_runs([], {"WANDB_DIR": str(tmp_path)}) == [run]
    assert offline_runs([tmp_path / "wandb", tmp_path], {"WANDB_DIR": str(tmp_path)}) == [run]
    (run.parent / "run-online").mkdir()
    (run.parent / "offline-run-file").touch()
    assert offline_runs([tmp_path], {"WANDB_DIR": "/none"}) == [run]


def test_one_that_is_synced_is_left_alone(run: Path, tmp_path: Path) -> None:
    (run / "run-abc.wandb.synced").touch()
    assert offline_runs([tmp_path], {"WANDB_DIR": "/none"}) == []


@pytest.mark.parametrize(
    ("code", "synced", "stderr", "words"),
    [
        (0, True, "", ""),
        (0, False, "wandb: \nwandb: nothing happened\n", "wandb: nothing happened"),
        (1, True, "boom", "boom"),
        (3, False, "", "exit code 3"),
    ],
)
def test_it_is_believed_only_with_a_sign_of_it(
    run: Path, monkeypatch: pytest.MonkeyPatch, code: int, synced: bool, stderr: str, words: str
) -> None:
    called: list[list[str]] = []

    def wandb_sync(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        called.append([str(word) for word in command])
        if synced:
            (run / "run-abc.wandb.synced").touch()
        return subprocess.CompletedProcess(command, code, "", stderr)

    monkeypatch.setattr(subprocess, "run", wandb_sync)
    assert list(sync([run], project="songs", entity="team")) == [(run, words)]
    assert called == [[sys.executable, "-m", "wandb", "sync", str(run),
                       "--project", "songs", "--entity", "team"]]  # fmt: skip
