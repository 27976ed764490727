"""wandb's own offline runs: found, handed to `wandb sync`, told one by one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from syncd.destination.wandb.credentials import Login
from syncd.destination.wandb.offline_runs import offline_runs, sync

LOGIN = Login("https://wandb.example.org", "", "k" * 40)


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

    def wandb_sync(command: list[str], **how: Any) -> subprocess.CompletedProcess[str]:
        called.append([str(word) for word in command])
        assert how["stdin"] == subprocess.DEVNULL
        named = [how["env"][name] for name in ("WANDB_BASE_URL", "WANDB_API_KEY", "NETRC")]
        assert named == [LOGIN.base_url, LOGIN.key, os.devnull]
        if synced:
            (run / "run-abc.wandb.synced").touch()
        return subprocess.CompletedProcess(command, code, "", stderr)

    monkeypatch.setattr(subprocess, "run", wandb_sync)
    assert list(sync([run], LOGIN, project="songs", entity="team")) == [(run, words)]
    assert called == [[sys.executable, "-m", "wandb", "sync", str(run),
                       "--project", "songs", "--entity", "team"]]  # fmt: skip


def handed_over(run: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    def wandb_sync(*_: Any, **__: Any) -> None:
        pytest.fail("it was handed over")

    monkeypatch.setattr(subprocess, "run", wandb_sync)
    ((_, words),) = sync(offline_runs([run.parent]), LOGIN, project="", entity="")
    return words


def test_a_link_in_the_place_of_a_run_is_not_followed(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.rename(tmp_path / "elsewhere")
    run.symlink_to(tmp_path / "elsewhere")
    assert "symbolic link" in handed_over(run, monkeypatch)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_run_of_somebody_elses_is_not_handed_over(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.chown(run, 12345, 12345)
    assert "belongs to user 12345" in handed_over(run, monkeypatch)


def test_a_run_that_goes_on_is_not_handed_over_before_its_end(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = subprocess.CompletedProcess([], 1, "", "handed over")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)

    def said() -> str:
        return next(sync([run], LOGIN, project="", entity=""))[1]

    file = run / "run-abc.wandb"
    file.write_bytes(b":W&B")
    assert said().startswith("it is being written")
    log = run / "logs" / "debug-internal.log"
    log.parent.mkdir()
    log.write_text('{"msg":"sender: started"}\n')
    assert said().startswith("it is being written")
    log.write_text("x" * 9999 + '{"msg":"stream: finishing up"}\n{"msg":"stream: all finished"}\n')
    assert said() == "handed over"
    log.unlink()
    assert said().startswith("it is being written")
    os.utime(file, (1, 1))  # killed long ago
    assert said() == "handed over"
