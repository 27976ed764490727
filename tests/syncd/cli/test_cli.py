"""The command line: every command's words and exit code, through `main`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from syncd.cli import main, parser
from syncd.errors import EXIT_HELP, Exit
from syncd.state import atomic_json, lease
from tests.syncd.world import config_line, end_line, train_line

KEY = "0123456789abcdef0123456789abcdef01234567"
NOBODY = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
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


def commands() -> dict[str, argparse.ArgumentParser]:
    actions = parser()._subparsers._group_actions  # type: ignore[union-attr]
    return dict(actions[0].choices)  # type: ignore[arg-type]


@pytest.mark.parametrize("command", commands())
def test_every_command_has_help_and_says_what_its_codes_mean(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as done:
        main([command, "--help"])
    assert done.value.code == 0
    assert "exit status:" in capsys.readouterr().out


def test_the_help_names_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert all(f"{int(code)}" in text and words in text for code, words in EXIT_HELP.items())
    assert set(EXIT_HELP) == set(Exit)


@pytest.mark.parametrize("words", [[], ["dance"], ["status", "--loud"], ["export"], ["retry"]])
def test_a_wrong_command_line_is_usage(words: list[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(words)
    assert done.value.code == Exit.USAGE


def test_status_says_that_nothing_is_there_yet(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == Exit.OK
    out = capsys.readouterr().out
    assert "No runs yet" in out
    assert "does not exist yet" in out


def test_status_says_what_waits_and_what_to_do(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status"]) == Exit.NOT_RUNNING
    out = capsys.readouterr().out
    assert "3 records wait, safe on disk" in out
    assert f"karaoke-syncd start --log_dir {log.parent}" in out
    assert KEY not in out


def test_status_says_that_nobody_is_logged_in(
    log: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY")
    assert main(["status", "--json"]) == Exit.LOGIN
    found = json.loads(capsys.readouterr().out)
    assert (found["reach"], found["left"], found["exit"]) == ("not_logged_in", 3, "login")


def test_status_tells_a_program_what_is_wrong_with_the_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KARAOKE_SYNCD_RESCAN", "soon")
    assert main(["status", "--json"]) == Exit.USAGE
    out, err = capsys.readouterr()
    assert json.loads(out)["exit_code"] == Exit.USAGE
    assert "KARAOKE_SYNCD_RESCAN: rescan = 'soon' is not usable" in err


@pytest.mark.parametrize("command", ["status", "sync", "start", "doctor"])
def test_a_server_that_is_no_address_is_usage(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://[bad")
    assert main([command]) == Exit.USAGE
    assert "is no web address" in capsys.readouterr().err


def test_sync_without_a_server_leaves_all_on_disk(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sync"]) == Exit.OFFLINE
    err = capsys.readouterr().err
    assert "1 of 1 run left with records to send, safe on disk" in err
    assert "refuses the connection" in err


def test_sync_without_a_login_says_how_to_log_in(
    log: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY")
    assert main(["sync"]) == Exit.LOGIN
    assert "wandb login" in capsys.readouterr().err


def test_a_run_name_needs_one_file(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--run_name", "x"], ["--run_name", "x", str(log.parent)]):
        assert main(["sync", *words]) == Exit.USAGE
        assert "give it with one file" in capsys.readouterr().err


def test_a_path_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sync", "nowhere.jsonl"]) != Exit.OK
    assert "there is no such file or folder" in capsys.readouterr().err.replace("\n", " ")


def test_as_new_of_a_file_that_cannot_be_read_is_said(
    log: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("syncd.source.tailer.first_line", closed)
    assert main(["sync", "--as_new", str(log)]) == Exit.FAILED
    assert "Permission denied" in capsys.readouterr().err


def test_export_writes_to_standard_output_or_a_file(
    log: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(log)]) == Exit.OK
    assert json.loads(capsys.readouterr().out)["train_metrics"][0]["step"] == 1
    assert main(["export", str(log), "--format", "csv", "-o", str(home / "t.csv")]) == Exit.OK
    assert (home / "t.csv").read_text().startswith("type,")


def test_export_says_what_it_left_out(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log.write_bytes(config_line() + b"bad\n")
    assert main(["export", str(log)]) == Exit.OK
    assert "1 bad lines left out" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [["export", "nowhere.jsonl"], ["export", "LOG", "-o", "no/folder/x.json"], ["export", "."]],
)
def test_export_that_cannot_be_is_said_without_a_traceback(
    log: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(log) if word == "LOG" else word for word in words]) == Exit.FAILED
    assert "karaoke-syncd: " in capsys.readouterr().err


@pytest.mark.parametrize("command", ["retry", "forget"])
def test_a_decision_that_cannot_be_kept_is_said_without_a_traceback(
    command: str, log: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(path: Path, value: object) -> None:
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr(atomic_json, "write", read_only)
    assert main([command, "run-1"]) == Exit.FAILED
    assert "Read-only file system" in capsys.readouterr().err


def test_stop_without_a_daemon_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stop"]) == Exit.OK
    assert "No daemon is running" in capsys.readouterr().err


def test_a_second_daemon_is_told_of_the_first(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = lease.state_lock(home / "state" / "karaoke-syncd")
    lock.acquire()
    try:
        assert main(["start"]) == Exit.BUSY
        assert main(["start", "--detach"]) == Exit.BUSY
        assert "a daemon is running already" in capsys.readouterr().err.lower()
    finally:
        lock.release()


def test_watching_says_whether_a_daemon_watches_these_folders(
    log: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = home / "state" / "karaoke-syncd"
    assert main(["watching"]) == Exit.NOT_RUNNING
    lock = lease.state_lock(state)
    lock.acquire()
    try:
        assert main(["watching"]) == Exit.NOT_RUNNING
        atomic_json.write(state / "daemon.json", {"log_dir": [str(log.parent)]})
        assert main(["watching"]) == Exit.OK
        assert main(["watching", "--log_dir", str(home)]) == Exit.NOT_RUNNING
        (state / "daemon.json").write_text("[]")
        assert main(["watching"]) == Exit.NOT_RUNNING
    finally:
        lock.release()


def test_a_state_folder_that_cannot_be_is_said_without_a_traceback(
    home: Path, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "state").write_text("a file in its place")
    assert main(["start"]) == Exit.FAILED
    assert "the state folder can't be written" in capsys.readouterr().err
    assert main(["start", "--detach"]) == Exit.FAILED
    assert main(["status"]) == Exit.NOT_RUNNING


def test_interrupted_is_a_code_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("syncd.cli.load_settings", interrupt)
    assert main(["status"]) == Exit.INTERRUPTED
