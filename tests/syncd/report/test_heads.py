"""The heads that cursors of ended runs have: `status` says the same with and without them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from syncd.report.status import Status, to_json
from syncd.source import scanner
from syncd.source.fingerprint import PinnedLog, digest, first_line
from syncd.state import cursor, decisions
from syncd.state.cursor import Head
from tests.syncd.report.situations import OTHER, Scene
from tests.syncd.world import NAME, config_line, train_line


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setattr(scanner, "_MOMENT", -3600.0)  # what was written just now is at rest here
    made = Scene(tmp_path)
    with made.held:
        made.uploaded()
        made.uploaded(name=OTHER, run_id="run-2")
        yield made


def kept(scene: Scene, run_id: str = "run-1") -> Head | None:
    """The head in the run's cursor."""
    known = cursor.load(scene.world.destination / "cursors", run_id)
    assert known
    return known.head


def without_heads(scene: Scene) -> dict[str, Any]:
    """What `status --json` says once nobody has kept a head."""
    folder = scene.world.destination / "cursors"
    for known in cursor.load_all(folder).values():
        cursor.save(folder, known._replace(head=None))
    return said(scene.status())


def said(status: Status) -> dict[str, Any]:
    """`status --json`, but for how long ago the server was reached and a problem first seen."""
    runs = tuple(run._replace(age=0.0) for run in status.runs)
    return to_json(replace(status, connectivity_words="", runs=runs))


def test_a_run_that_ended_is_not_opened_to_be_shown(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kept(scene)

    def opened(path: Path, **how: Any) -> bytes:
        raise AssertionError(f"{path} was opened")

    with monkeypatch.context() as patch:
        patch.setattr(scanner, "first_line", opened)
        found = said(scene.status())
    assert [run["name"] for run in found["runs"]] == ["name of run-1", "name of run-2"]
    assert found == without_heads(scene)


def test_the_log_of_a_run_that_ended_is_looked_at_once_and_its_folder_no_more_often_for_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    lstat, stat = os.lstat, os.stat
    monkeypatch.setattr(os, "lstat", lambda path, **k: looked.append(str(path)) or lstat(path, **k))
    monkeypatch.setattr(os, "stat", lambda path, **k: looked.append(str(path)) or stat(path, **k))
    scene.status()
    folder = str(scene.world.logs)
    around = looked.count(folder)
    logs = [path for path in looked if path.startswith(f"{folder}/training_log_")]
    assert len(logs) == len(set(logs)) == 2
    scene.uploaded(name="training_log_third.jsonl", run_id="run-3")
    looked.clear()
    scene.status()
    assert looked.count(folder) == around


def test_a_daemon_opens_none_either(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    first_line = scanner.first_line
    monkeypatch.setattr(
        scanner, "first_line", lambda path, **how: opened.append(path) or first_line(path, **how)
    )
    scene.world.restart()
    scene.world.run_on()
    assert opened == []
    assert set(scene.world.daemon.finished) == {"run-1", "run-2"}


def _rewrite(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"name of", b"Name of"))


def _replace(path: Path) -> None:
    draft = path.with_suffix(".tmp")
    draft.write_bytes(path.read_bytes().replace(b"run-1", b"run-9"))
    draft.replace(path)


def _replace_with_old_times(path: Path) -> None:
    stat = path.stat()
    _replace(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def _append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(train_line(7))


def _cut(path: Path) -> None:
    os.truncate(path, len(config_line()))


def _link(path: Path) -> None:
    path.rename(path.with_suffix(".real"))
    path.symlink_to(path.with_suffix(".real"))


def _folder_of_all(path: Path) -> None:
    path.parent.chmod(0o777)


def _folder_of_all_and_a_second_name(path: Path) -> None:
    path.parent.chmod(0o777)
    path.with_suffix(".second").hardlink_to(path)


def _swap(path: Path) -> None:
    other = path.with_name(OTHER)
    draft = path.with_suffix(".tmp")
    path.rename(draft)
    other.rename(path)
    draft.rename(other)


CHANGES: list[Callable[[Path], object]] = [
    lambda path: None,
    _rewrite,
    _replace,
    _replace_with_old_times,
    _append,
    _cut,
    _link,
    _folder_of_all,
    _folder_of_all_and_a_second_name,
    _swap,
    lambda path: path.unlink(),
    lambda path: path.rename(path.with_name("training_log_20240117_090000.jsonl")),
    lambda path: path.with_name(OTHER).unlink(),
    lambda path: path.write_bytes(b""),
    lambda path: path.touch(),
    lambda path: (path.unlink(), path.mkdir()),
]


@pytest.mark.parametrize("change", range(len(CHANGES)))
def test_what_has_become_of_a_file_is_said_as_if_no_head_was_kept(
    scene: Scene, change: int
) -> None:
    CHANGES[change](scene.world.logs / NAME)
    found = said(scene.status())
    assert found == without_heads(scene)


def test_a_file_that_others_may_have_put_there_is_refused_with_its_head_kept(scene: Scene) -> None:
    _folder_of_all_and_a_second_name(scene.world.logs / NAME)
    assert kept(scene)
    assert [run["state"] for run in said(scene.status())["runs"]] == ["unsafe", "uploaded"]


@pytest.mark.parametrize(
    "other",
    [
        {"looks": ()},
        {"looks": ("a", None)},
        {"run_id": "run-9"},  # of a file that looks otherwise
    ],
)
def test_a_head_that_is_not_this_files_is_none(scene: Scene, other: dict[str, Any]) -> None:
    folder = scene.world.destination / "cursors"
    known = cursor.load(folder, "run-1")
    assert known
    assert known.head
    looks = tuple(number + 1 for number in known.head.looks)
    cursor.save(folder, known._replace(head=known.head._replace(**{"looks": looks, **other})))
    found = said(scene.status())
    assert [run["run_id"] for run in found["runs"]] == ["run-1", "run-2"]
    assert found == without_heads(scene)


@pytest.mark.parametrize("head", [{}, {"looks": None}, {"unknown": 1}, [], "text", 7])
def test_a_cursor_with_a_damaged_head_is_damaged(scene: Scene, head: object) -> None:
    folder = scene.world.destination / "cursors"
    known = cursor.load(folder, "run-1")
    assert known
    broken = type("Broken", (), {"_asdict": lambda self: head})()
    cursor.save(folder, known._replace(head=broken))
    assert cursor.load(folder, "run-1") is None
    assert said(scene.status())["left"] == 4  # nothing is known of it, and nothing breaks


def test_decisions_are_about_runs_with_a_head_too(scene: Scene) -> None:
    head = kept(scene)
    assert head
    own_id = decisions.assign_run_id(scene.world.destination, head.alias, "run-1")
    decisions.forget(scene.world.destination, "run-2")
    found = said(scene.status())
    assert [run["run_id"] for run in found["runs"]] == [own_id, "run-2"]
    assert [run["state"] for run in found["runs"]] == ["waiting", "forgotten"]
    assert found == without_heads(scene)


def test_of_a_file_that_was_written_a_moment_ago_no_head_is_kept(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes(config_line())
    log = PinnedLog(path, digest(config_line()))
    assert scanner.head_of(log, path.stat().st_size) is None


def test_of_a_file_of_another_size_or_none_no_head_is_kept(scene: Scene) -> None:
    path = scene.world.logs / NAME
    size = path.stat().st_size
    log = PinnedLog(path, digest(first_line(path)))
    assert scanner.head_of(log, size)
    assert scanner.head_of(log, size - 1) is None
    gone = path.with_name("training_log_none.jsonl")
    assert scanner.head_of(log._replace(path=gone), size) is None
    assert scanner.head_of(log._replace(first_line_hash="another"), size) is None


def test_a_run_that_goes_on_has_no_head_until_it_ends_again(scene: Scene) -> None:
    path = scene.world.logs / NAME
    _append(path)
    scene.world.restart()
    scene.world.run_on()
    assert kept(scene) is None
    assert said(scene.status()) == without_heads(scene)
