"""How karaoke-syncd starts itself: which program, with which flags."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from syncd.cli import daemon, main
from syncd.errors import Exit
from syncd.service import launch, systemd
from syncd.settings import load
from tests.patience import patience
from tests.service.sandbox import ROOT


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user with nothing."""
    for name in ("CONFIG", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.setattr("syncd.logging_setup.set_up", lambda level: None)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_folders_of_the_command_line_are_handed_on_those_of_the_config_file_are_not(
    home: Path,
) -> None:
    config = home / "config/karaoke-syncd/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('log_dir = ["/data/logs"]\nproject = "p"\n')
    assert launch.start_arguments(load({})) == []
    given = load({"log_dir": [Path("/other")], "project": "q"})
    assert launch.start_arguments(given) == ["--log_dir=/other", "--project=q"]


def test_folders_of_here_are_handed_on_by_their_whole_paths(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert launch.start_arguments(load({})) == [f"--log_dir={home / 'logs'}"]
    monkeypatch.setenv("KARAOKE_SYNCD_LOG_DIR", "a:b")
    assert launch.start_arguments(load({})) == [f"--log_dir={home / name}" for name in "ab"]


def flags() -> list[str]:
    """Every option of `start`, but those that say how it is started."""
    given = []
    for option in daemon.start.params:
        assert isinstance(option, click.Option)
        if option.name == "detach":
            continue
        if option.secondary_opts:  # a flag that can be taken back
            given.append(option.secondary_opts[0])
            continue
        assert not option.is_flag, "give it a value here, and hand it on"
        choices = isinstance(option.type, click.Choice)
        values = list(option.type.choices) if choices else ["/some/thing", "/another"]
        values = ["5.0"] if option.type is click.FLOAT else values
        name = max(option.opts, key=len)  # not `-p`
        given += [f"{name}={value}" for value in values[: 2 if option.multiple else 1]]
    return given


def test_a_unit_has_every_flag_of_start(monkeypatch: pytest.MonkeyPatch) -> None:
    installed: list[str] = []

    def install(settings: object, arguments: list[str]) -> bool:
        installed.extend(arguments)
        return True

    monkeypatch.setattr(systemd, "require_manager", lambda arguments: None)
    monkeypatch.setattr(systemd, "install", install)
    assert main(["service", "install", *flags()]) == Exit.OK
    assert sorted(installed) == sorted(flags()) != []


@pytest.mark.process
def test_a_detached_daemon_has_every_flag_of_start(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = home / "seen"
    tell = f"import json, sys; json.dump(sys.argv[1:], open({str(seen)!r}, 'w'))"
    monkeypatch.setattr(launch, "command", lambda: [sys.executable, "-c", tell])
    assert main(["start", "--detach", *flags()]) == Exit.FAILED
    first, *rest = json.loads(seen.read_text())
    assert first == "start"
    assert sorted(rest) == sorted(flags()) != []
    err = capsys.readouterr().err
    assert "the daemon did not start" in err
    assert str(home / "state/karaoke-syncd/daemon.log") in err


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen[Any]]]:
    """The processes that are started meanwhile, which end with the test."""
    start = subprocess.Popen
    processes: list[subprocess.Popen[Any]] = []

    def started(*arguments: Any, **how: Any) -> subprocess.Popen[Any]:
        processes.append(start(*arguments, **how))
        return processes[-1]

    monkeypatch.setattr(subprocess, "Popen", started)
    yield processes
    for process in processes:
        process.kill()
        process.wait()


@pytest.mark.process
def test_a_detached_daemon_whose_name_a_full_disk_did_not_take_has_started(
    home: Path, started: list[subprocess.Popen[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = home / "state/karaoke-syncd/daemon.lock"
    hold = f"import fcntl, time; lock = open({str(path)!r}, 'w'); fcntl.flock(lock, fcntl.LOCK_EX)"
    monkeypatch.setattr(
        launch, "command", lambda: [sys.executable, "-c", f"{hold}; time.sleep(600)"]
    )
    assert launch.start_in_background(load({})) == started[0].pid


@pytest.mark.process
@pytest.mark.usefixtures("started")
def test_a_daemon_that_takes_too_long_is_said_to(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(launch, "START_WAIT", 0.0)
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]  # or it may end too soon
    monkeypatch.setattr(launch, "command", lambda: sleeper)
    assert main(["start", "--detach"]) == Exit.FAILED
    assert "the daemon is not ready after 0 s" in capsys.readouterr().err


@pytest.mark.process
@pytest.mark.parametrize("script", [True, False])
def test_a_folder_called_syncd_is_not_what_is_started(
    script: bool, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("__init__", "__main__", "cli"):
        (home / "syncd").mkdir(exist_ok=True)
        (home / "syncd" / f"{name}.py").write_text("import sys; sys.exit('another one')")
    monkeypatch.setattr(launch.os, "access", lambda path, mode: script)
    done = subprocess.run(
        [*launch.command(), "--version"], cwd=home, env={"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=patience(60), check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("karaoke-syncd ")


@pytest.mark.process
def test_a_command_that_runs_has_no_problem() -> None:
    assert launch.problem(launch.command()) == ""


@pytest.mark.process
@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "karaoke-syncd is gone"),
        ("#!/old/venv/bin/python\n", "what runs {program} is gone"),
        (f"#!{sys.executable}\nimport gone_with_the_upgrade\n",
         "{program} fails: ModuleNotFoundError: No module named 'gone_with_the_upgrade'"),
        ("#!/bin/sh\nexit 3\n", "{program} fails: it does not say why"),
    ],
    ids=["removed", "moved", "upgraded", "mute"],
)  # fmt: skip
def test_a_command_that_cannot_be_run_says_why(
    tmp_path: Path, text: str | None, words: str
) -> None:
    program = tmp_path / "karaoke-syncd"
    if text is not None:
        program.write_text(text)
        program.chmod(0o755)
    assert launch.problem([str(program)]).endswith(words.format(program=program))


@pytest.mark.process
def test_a_link_that_leads_nowhere_is_gone(tmp_path: Path) -> None:
    """As the python of a virtual environment after an upgrade."""
    program = tmp_path / "python"
    program.symlink_to(tmp_path / "python3.11")
    assert launch.problem([str(program), "-P", "-m", "syncd"]) == f"{program} leads nowhere"


@pytest.mark.process
def test_a_command_without_the_right_to_run_it_says_so(tmp_path: Path) -> None:
    program = tmp_path / "karaoke-syncd"
    program.write_text("#!/bin/sh\n")
    assert launch.problem([str(program)]) == f"{program} can't be run: Permission denied"


@pytest.mark.parametrize(
    "there", ["state", "state/karaoke-syncd", "state/karaoke-syncd/daemon.log"]
)
def test_a_state_folder_that_cannot_be_made_or_takes_no_log_is_said_in_words(
    home: Path, there: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Something else stands in its place, or in its log's."""
    place = home / there
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.suffix:
        place.mkdir()
    else:
        place.touch()
    assert main(["start", "--detach", "--log_dir", str(home)]) == Exit.FAILED
    said = capsys.readouterr().err
    assert "the state folder can't be written: " in said
    assert "Make it writable, or set XDG_STATE_HOME." in said
