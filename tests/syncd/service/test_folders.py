"""A command that names no folder means those that are really watched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from syncd.service import folders, unit_file
from syncd.service.unit_file import Installation
from syncd.settings import Settings
from syncd.state import daemon_report, lease
from syncd.state.daemon_report import DaemonReport

ODD = (Path("/a b/logs"), Path('/it"s/$HOME/100%'), Path("/back\\slash"), Path("/größe"))


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return Settings(log_dir=(tmp_path / "logs",), state_dir=tmp_path / "state")


def install(*log_dirs: Path, recursive: bool = False, more: tuple[str, ...] = ()) -> None:
    arguments = [*(f"--log_dir={folder}" for folder in log_dirs), *more]
    arguments += ["--recursive"] if recursive else []
    path = unit_file.path()
    path.parent.mkdir(parents=True)
    path.write_text(
        unit_file.render(unit_file.template(), Installation(["/bin/karaoke-syncd"], arguments)),
        encoding="utf-8",
    )


def test_the_running_daemons(settings: Settings) -> None:
    install(Path("/elsewhere"))
    lock = lease.state_lock(settings.state_dir)
    lock.acquire()
    try:
        daemon_report.save(settings.state_dir, DaemonReport(log_dir=("/one", "/two")))
        found = folders.in_force(settings)
    finally:
        lock.release()
    assert found.log_dir == (Path("/one"), Path("/two"))
    assert found.origin["log_dir"] == "the running daemon"


def test_without_one_the_installed_services_whatever_they_are_called(settings: Settings) -> None:
    install(*ODD)
    found = folders.in_force(settings)
    assert (found.log_dir, found.origin["log_dir"]) == (ODD, "the installed service")


@pytest.mark.parametrize("recursive", [True, False])
def test_with_the_folders_below_where_these_are_watched(
    settings: Settings, recursive: bool
) -> None:
    install(Path("/elsewhere"), recursive=not recursive)
    assert folders.in_force(settings).recursive is not recursive
    lock = lease.state_lock(settings.state_dir)
    lock.acquire()
    try:
        report = DaemonReport(log_dir=("/one",), recursive=recursive)
        daemon_report.save(settings.state_dir, report)
        assert folders.in_force(settings).recursive is recursive
        named = Settings(log_dir=(Path("/mine"),), origin={"log_dir": "command line"})
        assert not folders.in_force(named).recursive
    finally:
        lock.release()


def test_the_project_that_records_go_to_is_the_daemons_where_nobody_named_one(
    settings: Settings,
) -> None:
    lock = lease.state_lock(settings.state_dir)
    lock.acquire()
    try:
        daemon_report.save(settings.state_dir, DaemonReport(log_dir=("/one",), project="songs"))
        found = folders.in_force(settings)
        assert (found.project, found.origin["project"]) == ("songs", "the running daemon")
        named = replace(settings, project="mine", origin={"project": "command line"})
        assert folders.in_force(named).project == "mine"
        daemon_report.save(settings.state_dir, DaemonReport(log_dir=("/one",), project=""))
        assert "project" not in folders.in_force(settings).origin
    finally:
        lock.release()


def test_the_project_of_the_installed_service(settings: Settings) -> None:
    install(Path("/elsewhere"), more=("--project=songs",))
    found = folders.in_force(settings)
    assert (found.project, found.origin["project"]) == ("songs", "the installed service")


def test_a_daemon_that_its_lock_does_not_name_is_asked_nothing(settings: Settings) -> None:
    install(Path("/elsewhere"), more=("--project=songs",))
    lock = lease.state_lock(settings.state_dir)
    lock.acquire()
    try:
        lock.path.write_bytes(b"")
        assert folders.in_force(settings).project == "songs"
    finally:
        lock.release()


def test_without_either_the_default(settings: Settings) -> None:
    assert folders.in_force(settings) == settings


def test_a_folder_that_was_named_is_meant(settings: Settings) -> None:
    install(Path("/elsewhere"))
    named = Settings(log_dir=(Path("/mine"),), origin={"log_dir": "command line"})
    assert folders.in_force(named) == named


@pytest.mark.parametrize(
    ("folder", "recursive", "watched"),
    [
        ("/one", False, True),
        ("/one/run", False, False),
        ("/one/run", True, True),
        ("/one/multirun/3/logs", True, True),
        ("/", True, False),
        ("/oneself", True, False),
        ("/one/.trash/logs", True, False),
        ("/one/media/run", True, False),
        ("/one" + "/a" * 16, True, True),
        ("/one" + "/a" * 17, True, False),
    ],
)
def test_a_folder_is_watched_by_its_own_name_or_by_that_of_one_above_it(
    folder: str, recursive: bool, watched: bool
) -> None:
    report = DaemonReport(log_dir=("/two", "/one"), recursive=recursive)
    assert folders.is_watched(Path(folder), report) is watched
