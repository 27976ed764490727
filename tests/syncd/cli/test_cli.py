"""The command line: every command's words and exit code, through `main`."""

from __future__ import annotations

import errno
import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import pytest

from karaoke_train.runlog.reader import Position
from syncd import paths
from syncd.cli import cli, main
from syncd.cli.common import Command, each_command
from syncd.errors import Connection, Exit, ProblemCode, RunRefused
from syncd.report.export import Exported
from syncd.service import launch
from syncd.state import atomic_json, cursor, daemon_report, failures, lease
from syncd.state.cursor import Cursor, Fingerprint
from syncd.state.daemon_report import DaemonReport
from tests.patience import patience
from tests.syncd.cli.conftest import KEY, NOBODY
from tests.syncd.world import config_line, let_hang

pytestmark = pytest.mark.usefixtures("home")


def test_alone_it_prints_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["service"]):
        assert main(words) == Exit.OK
        alone = capsys.readouterr().out
        assert main([*words, "--help"]) == Exit.OK
        assert alone == capsys.readouterr().out != ""


@pytest.mark.parametrize(
    "words", [["sync", ""], ["import", ""], ["status", "--log_dir", ""],
              ["forget", ""], ["verify", ""]],
)  # fmt: skip
def test_an_empty_word_is_neither_the_folder_that_one_is_in_nor_a_run(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("training_log_a.jsonl").write_bytes(config_line("a"))
    assert main(words) == Exit.USAGE
    assert "'' is no" in capsys.readouterr().err.replace("no run '' is", "'' is no")


def test_garbage_is_looked_for_unless_a_command_takes_but_a_moment() -> None:
    try:
        for words, collects in ((["status"], False), (["watching"], False), (["stop"], True)):
            gc.disable()  # as `syncd.__main__` does
            main(words)
            assert gc.isenabled() is collects, words
    finally:
        gc.enable()


@pytest.mark.process
def test_the_program_ends_with_its_commands_code() -> None:
    words = [sys.executable, "-P", "-m", "syncd"]
    done = subprocess.run([*words, "watching"], check=False, timeout=patience(60))
    assert done.returncode == Exit.NOT_RUNNING
    shown = subprocess.run([*words, "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout == f"karaoke-syncd {version('karaoke-train')}\n"


@pytest.mark.process
def test_what_is_for_a_closed_standard_error_is_not_said_to_standard_output() -> None:
    words = ["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-P", "-m", "syncd"]
    done = subprocess.run([*words, "no-command"], stdout=subprocess.PIPE, check=False)
    assert (done.returncode, done.stdout) == (Exit.USAGE, b"")


COMMANDS = {name: one for name, one in each_command(cli).items() if name != "service"}


def test_a_tag_that_wandb_would_refuse_is_refused_before_anything_is_sent(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["sync", "--wandb_tags", f"ok,{'x' * 65}"]) == Exit.USAGE
    assert "65 characters" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_has_examples_and_says_what_the_codes_of_that_command_mean(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*name.split(), "--help"]) == Exit.OK
    text = capsys.readouterr().out
    assert main([*name.split(), "-h"]) == Exit.OK
    assert text == capsys.readouterr().out
    examples = text.partition("\nExamples:\n")[2].partition("\n\n")[0].splitlines()
    assert any(f"{line} ".startswith(f"  karaoke-syncd {name} ") for line in examples)
    assert all(line.startswith("      ") for line in examples[1::2])  # what each is for
    table = text.partition("\nExit codes:\n")[2].splitlines()
    codes = {int(line.split(maxsplit=1)[0]): line.split(maxsplit=1)[1] for line in table}
    assert {Exit.OK, Exit.FAILED, Exit.USAGE, Exit.INTERRUPTED} <= codes.keys()
    assert all(codes.values())


def test_what_success_is_differs_from_command_to_command() -> None:
    words = [one.exits[Exit.OK] for one in COMMANDS.values() if isinstance(one, Command)]
    assert len(set(words)) == len(COMMANDS)


def test_the_help_of_the_program_names_every_exit_code_with_its_commands(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--help"]) == Exit.OK
    table = capsys.readouterr().out.partition("\nExit codes:\n")[2].splitlines()
    codes = {int(line.split()[0]): line for line in table}
    assert codes.keys() == set(map(int, Exit))
    assert codes[Exit.NOT_RUNNING].endswith("see status, watching, service status, retry")


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == Exit.OK
    assert capsys.readouterr().out == f"karaoke-syncd {version('karaoke-train')}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["verfiy"], "Did you mean verify? See `karaoke-syncd --help`"),
        (["strat"], "Did you mean start, status or restart?"),
        (["status", "run-1"], "For some runs alone: `karaoke-syncd status --filter NAME`. See"),
        (["service", "start"], "starts by `systemctl --user start karaoke-syncd`. See"),
        (["service", "stop"], "It stops by `systemctl --user stop karaoke-syncd`, until the next"),
        (["service", "lgos"], "Did you mean logs? See `karaoke-syncd service --help`"),
        (["status", "--jsn"], "Did you mean --json? See `karaoke-syncd status --help`"),
        (["status", "--log-dri", "x"], "Did you mean --log_dir"),
        (["export"], "Missing argument 'FILE.jsonl'. See `karaoke-syncd export --help`"),
        (["retry"], "Missing argument 'RUN...'"),
        (["start", "--log_level", "loud"], "'loud' is not one of"),
        (["stop", "--timeout", "soon"], "'soon' is not a valid float"),
        (["watching", "now"], "Got unexpected extra argument"),
    ],
)
def test_a_wrong_command_line_is_usage_and_says_what_was_meant(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == Exit.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("karaoke-syncd: ")
    assert said in err
    assert err.count("\n") == 1


def test_a_program_is_told_of_a_wrong_command_line_as_well(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["status", "--json", "--loud"]) == Exit.USAGE
    found = json.loads(capsys.readouterr().out)
    assert (found["exit_code"], found["exit"]) == (Exit.USAGE, "usage")
    assert "--loud" in found["error"]


def parsed(name: str, words: list[str]) -> dict[str, Any]:
    """What a command makes of its words."""
    with cli.make_context("karaoke-syncd", []) as top:
        command = each_command(cli)[name]
        return command.make_context(name, words, parent=top, resilient_parsing=True).params


SPELT_TWICE = [
    (name, parameter.opts[0], parameter)
    for name, command in each_command(cli).items()
    for parameter in command.params
    if isinstance(parameter, click.Option) and "_" in parameter.opts[0]
]


@pytest.mark.parametrize(("name", "option", "parameter"), SPELT_TWICE)
def test_an_option_may_be_written_with_hyphens(
    name: str, option: str, parameter: click.Option
) -> None:
    number = parameter.type is click.FLOAT
    value = [] if parameter.is_flag else ["5"] if number else ["debug"]
    hyphened = parsed(name, [option.replace("_", "-"), *value])
    assert hyphened == parsed(name, [option, *value]) != parsed(name, [])


def test_hyphens_are_for_every_command_with_settings() -> None:
    assert {name for name, option, _ in SPELT_TWICE if option == "--log_dir"} == (
        COMMANDS.keys() - {"completion"}
    )


@pytest.mark.process
def test_output_that_nobody_reads_any_more_is_no_fault(log: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer) as closed:
        done = subprocess.run(
            [*launch.command(), "watching", "--help"], stdout=closed, stderr=subprocess.PIPE,
            timeout=patience(60), check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (Exit.OK, b"")


def test_status_says_that_nothing_is_there_yet(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == Exit.OK
    out = capsys.readouterr().out
    assert "No runs yet" in out
    assert "does not exist yet" in out


@pytest.mark.process
def test_status_needs_no_rich_and_is_said_where_standard_output_has_no_unicode() -> None:
    words = [sys.executable, "-P", "-X", "importtime", "-m", "syncd", "status", "--log_dir"]
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [*words, "gesänge"], env=env, capture_output=True, text=True, timeout=patience(60)
    )
    assert "gesänge".encode("ascii", "backslashreplace").decode() in done.stdout
    assert "syncd.report.page" in done.stderr  # what was imported
    assert "rich" not in done.stderr
    assert "Traceback" not in done.stderr


def test_status_says_what_waits_and_what_to_do(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status"]) == Exit.NOT_RUNNING
    out = capsys.readouterr().out
    assert "3 records wait, safe on disk" in out
    assert f"karaoke-syncd start --log_dir {log.parent}" in out
    assert KEY not in out


def test_status_shows_the_runs_that_are_asked_for(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(30):
        other = log.with_name(f"training_log_b{number}.jsonl")
        other.write_bytes(config_line(run_id=f"other-{number}"))

    def rows(*words: str) -> int:
        main(["status", *words])
        return capsys.readouterr().out.count("name of ")

    assert (rows(), rows("--all"), rows("--limit", "3"), rows("--limit", "0")) == (20, 31, 3, 0)
    assert (rows("--filter", "run-1"), rows("--filter", "uploaded")) == (1, 0)
    assert rows("--filter", "waiting", "--all") == 31
    main(["status", "--json", "--filter", "other-2*"])
    found = json.loads(capsys.readouterr().out)
    assert (len(found["runs"]), found["left"]) == (11, 33)


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

    monkeypatch.setattr("syncd.source.fingerprint.first_line", closed)
    assert main(["sync", "--as_new", str(log)]) == Exit.FAILED
    assert "Permission denied" in capsys.readouterr().err


def test_export_writes_to_standard_output_or_a_file(
    log: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(log)]) == Exit.OK
    assert json.loads(capsys.readouterr().out)["train_metrics"][0]["step"] == 1
    assert main(["export", str(log), "--format", "csv", "-o", str(home / "t.csv")]) == Exit.OK
    assert (home / "t.csv").read_text().startswith("type,")


@pytest.mark.parametrize("name", ["itself", "another", "linked"])
def test_no_export_is_written_over_a_log(
    log: Path, home: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    there = log if name == "itself" else home / f"{name}.jsonl"
    if name == "another":
        there.write_bytes(config_line("run-2"))
    if name == "linked":
        there.symlink_to(log)
    before = there.read_bytes()
    assert main(["export", str(log), "-o", str(there)]) == Exit.USAGE
    assert f"{there} is a record log. Nothing was written." in capsys.readouterr().err
    assert there.read_bytes() == before


def test_an_export_that_fails_leaves_what_was_there(
    log: Path, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = home / "t.json"
    there.write_bytes(b"the last one")

    def full(*_: object) -> Iterator[bytes]:
        yield b"the first"
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as disk:
        disk.setattr("syncd.report.export.export", lambda *_: Exported(full(), 0))
        assert main(["export", str(log), "-o", str(there)]) == Exit.FAILED
    assert f"{there}: can't be written: No space left on device" in capsys.readouterr().err
    assert (there.read_bytes(), list(home.glob(".*.part"))) == (b"the last one", [])
    pipe = home / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    assert main(["export", str(log), "-o", str(pipe)]) == Exit.OK
    assert os.read(reader, 9).startswith(b"{")
    os.close(reader)
    assert pipe.is_fifo()


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


@pytest.fixture
def daemon(log: Path, home: Path) -> Iterator[Callable[..., None]]:
    """A daemon that runs, as far as others can see; called, it says how it is."""
    state = home / "state" / "karaoke-syncd"
    lock = lease.state_lock(state)
    lock.acquire()

    def report(connectivity: Connection, folder: Path = log.parent, remedy: str = "") -> None:
        said = DaemonReport(
            server=NOBODY, login="netrc", log_dir=(str(folder),), connectivity=connectivity,
            words=connectivity.value, remedy=remedy,
        )  # fmt: skip
        daemon_report.save(state, said)

    yield report
    lock.release()


def decided(home: Path, kind: str = "retry") -> list[str]:
    """The runs about which this was decided."""
    folder = home / "state" / "karaoke-syncd" / "servers" / "127.0.0.1_9" / kind
    return sorted(path.stem for path in folder.glob("*.json"))


def test_retry_without_a_daemon_says_that_the_next_upload_tries_it(
    log: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["retry", "run-1"]) == Exit.NOT_RUNNING
    err = capsys.readouterr().err
    assert "is tried by the next `karaoke-syncd sync` or `karaoke-syncd start`" in err
    assert "no daemon is running" in err
    assert "at once" not in err
    assert decided(home) == ["run-1"]


def test_retry_without_a_login_says_how_to_log_in(
    log: Path, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY")
    assert main(["retry", "run-1"]) == Exit.LOGIN
    err = capsys.readouterr().err
    assert "no daemon is running" in err
    assert f"nobody is logged in. Run `wandb login --host {NOBODY}`" in err
    assert "at once" not in err
    assert decided(home) == ["run-1"]


def test_retry_with_a_daemon_is_tried_at_once_or_as_soon_as_can_be(
    log: Path, home: Path, daemon: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    daemon(Connection.ONLINE)
    assert main(["retry", "run-1"]) == Exit.OK
    assert "is tried at once" in capsys.readouterr().err
    daemon(Connection.OFFLINE)
    assert main(["retry", "run-1"]) == Exit.OK
    assert "is tried as soon as the server can be reached" in capsys.readouterr().err
    daemon(Connection.REFUSED, remedy="Run `wandb login`")
    assert main(["retry", "run-1"]) == Exit.LOGIN
    assert "Before that: refused. Run `wandb login`." in capsys.readouterr().err
    daemon(Connection.ONLINE, folder=home)
    assert main(["retry", "run-1"]) == Exit.NOT_RUNNING
    assert "the daemon does not watch its folder" in capsys.readouterr().err


def test_retry_with_a_daemon_that_hangs_promises_nothing_of_it(
    log: Path, home: Path, daemon: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    daemon(Connection.ONLINE)
    let_hang(home / "state" / "karaoke-syncd")
    assert main(["retry", "run-1"]) == Exit.NOT_RUNNING
    err = " ".join(capsys.readouterr().err.split())
    assert "is tried once the daemon goes on. It has not reported for 9" in err
    assert "then karaoke-syncd restart" in err
    assert "at once" not in err


@pytest.mark.parametrize("command", ["retry", "forget"])
def test_a_decision_that_cannot_be_kept_says_about_what_and_where(
    command: str,
    log: Path,
    home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("syncd.state.atomic_json.write_bytes", full)
    assert main([command, "run-1"]) == Exit.FAILED
    said = " ".join(capsys.readouterr().err.split())
    assert "about name of run-1 (run-1) can't be kept: No space left on device" in said
    assert "Make room there" in said


@pytest.mark.parametrize("command", ["retry", "forget"])
def test_a_mistyped_run_among_several_leaves_all_as_they_were(
    command: str, log: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "run-1", "rnu-2"]) == Exit.USAGE
    assert "no run 'rnu-2' is known here" in capsys.readouterr().err
    assert decided(home, "retry") == decided(home, "forgotten") == []
    assert main(["forget", "run-1"]) == Exit.OK
    assert decided(home, "forgotten") == ["run-1"]


def test_a_run_is_named_by_its_name_or_a_beginning_that_no_other_has(
    log: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log.with_name("training_log_b.jsonl").write_bytes(config_line(run_id="run-22"))
    assert main(["forget", "run-2"]) == Exit.OK
    assert decided(home, "forgotten") == ["run-22"]
    assert main(["forget", "name of run-1"]) == Exit.OK
    assert decided(home, "forgotten") == ["run-1", "run-22"]
    capsys.readouterr()
    assert main(["retry", "name of"]) == Exit.USAGE
    assert "may be any of 2 runs: run-1 (name of run-1), run-22 (" in capsys.readouterr().err
    assert decided(home) == []


def test_a_run_is_known_by_its_id_wherever_its_upload_named_the_folder(
    home: Path, tmp_path: Path
) -> None:
    """`status --log_dir` names the command without it."""
    path = tmp_path / "elsewhere" / "training_log_b.jsonl"
    path.parent.mkdir()
    path.write_bytes(config_line(run_id="run-9"))
    state = home / "state" / "karaoke-syncd" / "servers" / "127.0.0.1_9"
    failures.save(state, "run-9", path, RunRefused(ProblemCode.DELETED, "it was deleted"))
    assert main(["forget", "run-9"]) == Exit.OK
    assert decided(home, "forgotten") == ["run-9"]


def test_a_run_that_one_destination_alone_knows_is_decided_about_there(
    home: Path, log: Path
) -> None:
    """Its file is gone, and the other never had anything of it."""
    state = home / "state" / "karaoke-syncd" / "servers" / "127.0.0.1_9"
    at = Position(1, 10)
    gone = Cursor("run-9", "songs", "", str(log.with_name("b.jsonl")), Fingerprint("", ""), at)
    cursor.save(state / "cursors", gone)
    both = ["--destination", "wandb", "--destination", "trackio"]
    assert main(["forget", "run-9", *both]) == Exit.OK
    assert decided(home, "forgotten") == ["run-9"]
    assert main(["forget", "run-8", *both]) == Exit.USAGE


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


@pytest.mark.parametrize("words", [["stop"], ["restart"], ["start", "--detach"]])
def test_that_no_daemon_runs_is_not_said_where_it_cannot_be_seen(
    home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
) -> None:
    def refused(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("karaoke_train.runlog.lock.open_regular", refused)
    assert main(words) == Exit.FAILED
    said = capsys.readouterr().err
    assert f"{home}/state/karaoke-syncd: whether a daemon runs can't be seen: Permission" in said
    assert "No daemon" not in said


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
    log: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = home / "state" / "karaoke-syncd"
    assert main(["watching"]) == Exit.NOT_RUNNING
    lock = lease.state_lock(state)
    lock.acquire()
    try:
        assert main(["watching"]) == Exit.NOT_RUNNING
        daemon_report.save(state, DaemonReport(log_dir=(str(log.parent),)))
        assert main(["watching"]) == Exit.OK
        assert main(["watching", "--recursive"]) == Exit.NOT_RUNNING
        assert main(["watching", "--log_dir", str(home)]) == Exit.NOT_RUNNING
        daemon_report.save(state, DaemonReport(log_dir=(str(home),), recursive=True))
        assert main(["watching", "--recursive"]) == Exit.OK
        let_hang(state)
        assert main(["watching", "--recursive"]) == Exit.NOT_RUNNING
        monkeypatch.setattr(os, "getpid", lambda: 1)
        daemon_report.save(state, DaemonReport(log_dir=(str(log.parent),)))
        assert main(["watching"]) == Exit.NOT_RUNNING  # what an earlier daemon said
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
    assert main(["status"]) == Exit.TROUBLE


def test_interrupted_is_a_code_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("syncd.settings.load", interrupt)
    assert main(["status"]) == Exit.INTERRUPTED


def test_a_dry_run_says_what_would_go_where_and_sends_nothing(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = home / "logs"
    logs.mkdir()
    (logs / "training_log_a.jsonl").write_bytes(config_line("a") + config_line("a"))
    (logs / "training_log_b.jsonl").write_bytes(config_line("b", upload=False))
    (logs / "training_log_c.jsonl").write_bytes(config_line("a") + config_line("a"))
    assert main(["sync", "--dry_run"]) == Exit.OK
    said = capsys.readouterr().err
    assert "training_log_a.jsonl (name of a): 2 records to http://127.0.0.1:9: …/songs/a" in said
    assert "training_log_b.jsonl: stays, as it is not to be uploaded" in said
    assert "training_log_c.jsonl: stays, as a copy of training_log_a.jsonl" in said
    assert "Nothing was sent: 2 records of 3 files would be" in said
    assert main(["sync", "--dry_run", "--entity", "me", str(logs / "training_log_b.jsonl")]) == 0
    assert "1 record to http://127.0.0.1:9/me/songs/runs/b" in capsys.readouterr().err
    assert main(["sync", "--dry_run", "--as_new"]) == Exit.USAGE
    assert not (home / "state").exists()


@pytest.mark.process
def test_a_proxy_of_the_environment_file_is_every_commands() -> None:
    file = paths.env_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("HTTPS_PROXY=http://127.0.0.1:9\n")
    file.chmod(0o600)
    bare = {name: os.environ[name] for name in os.environ if not name.lower().endswith("_proxy")}
    done = subprocess.run(
        [*launch.command(), "doctor"],
        env=bare | {"WANDB_BASE_URL": "https://127.0.0.1:9"},
        capture_output=True, text=True, check=False, timeout=patience(60),
    )  # fmt: skip
    assert "127.0.0.1:9 for 127.0.0.1" in done.stdout
