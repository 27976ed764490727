"""Which files may have news; real observers, no sleeps."""

from __future__ import annotations

import errno
import queue
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from syncd.source import watcher
from syncd.source.inotify import Inotify
from syncd.source.watcher import Watcher, filesystem, method
from tests.patience import patience

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAME = "training_log_a.jsonl"


class Watched:
    """A watcher, and what it says."""

    def __init__(self, how: str, *, recursive: bool = False) -> None:
        self.news: queue.SimpleQueue[Path] = queue.SimpleQueue()
        self.others: list[Path] = []
        self.watcher = Watcher(self.news.put, how, recursive=recursive)

    def hears_of(self, path: Path, act: Callable[[], object], seconds: float = 10.0) -> bool:
        """Whether news of the file come, acting again and again."""
        deadline = time.monotonic() + patience(seconds)
        while time.monotonic() < deadline:
            act()
            try:
                while True:
                    heard = self.news.get(timeout=0.2)
                    if heard == path:
                        return True
                    self.others.append(heard)
            except queue.Empty:
                continue
        return False


@pytest.fixture(params=["inotify", "polling"])
def watched(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    monkeypatch.setattr(watcher, "POLL_EVERY", 0.05)
    made = Watched(request.param)
    yield made
    made.watcher.stop()


def append(path: Path) -> None:
    with path.open("a") as file:
        file.write("x\n")


def test_a_file_that_grows_is_news(watched: Watched, tmp_path: Path) -> None:
    watched.watcher.follow([tmp_path, tmp_path / "none"])
    assert watched.hears_of(tmp_path / NAME, lambda: append(tmp_path / NAME))


def test_a_file_that_is_moved_in_is_news(watched: Watched, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    watched.watcher.follow([tmp_path / "logs"])
    (tmp_path / "draft").touch()
    target = tmp_path / "logs" / NAME

    def move() -> None:
        if not target.exists():
            (tmp_path / "draft").rename(target)

    assert watched.hears_of(target, move)


def test_a_folder_that_comes_is_told_once(watched: Watched, tmp_path: Path) -> None:
    assert not watched.watcher.follow([tmp_path / "logs"])
    (tmp_path / "logs").mkdir()
    assert watched.watcher.follow([tmp_path / "logs"])
    assert not watched.watcher.follow([tmp_path / "logs"])


def test_a_folder_of_two_names_is_told_by_each_and_by_none_that_is_gone(
    watched: Watched, tmp_path: Path
) -> None:
    logs, other = tmp_path / "logs", tmp_path / "other"
    logs.mkdir()
    other.symlink_to(logs)
    watched.watcher.follow([logs, other])
    for name in (logs / NAME, other / NAME):
        assert watched.hears_of(name, lambda: append(logs / NAME))
    other.unlink()
    watched.watcher.follow([logs, other])
    assert watched.hears_of(logs / NAME, lambda: append(logs / NAME))


def test_what_is_written_is_told_in_order_until_it_is_stopped(tmp_path: Path) -> None:
    told: queue.SimpleQueue[str] = queue.SimpleQueue()
    inotify = Inotify()
    inotify.watch(str(tmp_path), told.put)
    names = [f"{number:03}" for number in range(300)]
    for name in [*names, *names]:
        append(tmp_path / name)
    heard: list[str] = []
    while len(set(heard)) < len(names):
        heard.append(Path(told.get(timeout=patience(10))).name)
    assert list(dict.fromkeys(heard)) == names
    inotify.stop()
    inotify.join(timeout=patience(5))
    assert not inotify._thread.is_alive()


def test_other_files_are_none(watched: Watched, tmp_path: Path) -> None:
    watched.watcher.follow([tmp_path])
    assert not watched.hears_of(
        tmp_path / "notes.txt", lambda: append(tmp_path / "notes.txt"), seconds=0.3
    )


def test_our_own_look_at_a_file_raises_no_event(
    watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told by none that come before that of a later change."""
    append(tmp_path / NAME)
    told: queue.SimpleQueue[str] = queue.SimpleQueue()
    monkeypatch.setattr(watcher._Handler, "tell", lambda _, name: told.put(Path(name).name))
    watched.watcher.follow([tmp_path])
    for _ in range(3):
        (tmp_path / NAME).read_text()
    append(tmp_path / "later")
    assert told.get(timeout=patience(10)) == "later"


def test_a_folder_that_was_removed_and_made_again_is_watched_again(
    watched: Watched, tmp_path: Path
) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    watched.watcher.follow([logs])
    assert watched.hears_of(logs / NAME, lambda: append(logs / NAME))
    shutil.rmtree(logs)
    watched.watcher.follow([logs])
    logs.mkdir()

    def go_on() -> None:
        watched.watcher.follow([logs])
        append(logs / NAME)

    assert watched.hears_of(logs / NAME, go_on)


def test_a_folder_that_was_replaced_between_two_looks_is_watched_again(
    watched: Watched, tmp_path: Path
) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    watched.watcher.follow([logs])
    logs.rename(tmp_path / "old")
    logs.mkdir()

    def go_on() -> None:
        watched.watcher.follow([logs])
        append(logs / NAME)

    assert watched.hears_of(logs / NAME, go_on)


@pytest.mark.parametrize(("where", "code"), [("__init__", errno.EMFILE), ("watch", errno.ENOSPC)])
def test_where_inotify_has_no_room_polling_stands_in(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    where: str,
    code: int,
) -> None:
    """Of watches, which are counted per folder, or of instances, one of which a process needs."""

    def full(*_: object, **__: object) -> None:
        raise OSError(code, "inotify limit reached")

    monkeypatch.setattr(Inotify, where, full)
    monkeypatch.setattr(watcher, "POLL_EVERY", 0.05)
    made = Watched("inotify")
    try:
        made.watcher.follow([tmp_path])
        assert "polling instead" in caplog.text
        assert made.hears_of(tmp_path / NAME, lambda: append(tmp_path / NAME))
    finally:
        made.watcher.stop()


@pytest.mark.parametrize(
    ("kind", "how"), [("ext4", "inotify"), ("nfs4", "polling"), ("fuse.sshfs", "polling")]
)
def test_blind_file_systems_are_polled(
    tmp_path: Path, kind: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mounts"
    share = tmp_path / "my logs"
    share.mkdir()
    quoted = str(share).replace(" ", "\\040")
    mounts.write_text(f"/dev/a / overlay rw 0 0\nodd\nsrv:/x {quoted} {kind} rw 0 0\n")
    assert filesystem(share / "deep", mounts) == kind
    assert filesystem(tmp_path, mounts) == "overlay"
    assert filesystem(tmp_path, tmp_path / "none") == ""
    monkeypatch.setattr(watcher, "filesystem", lambda folder: filesystem(folder, mounts))
    assert method(share) == how


@pytest.fixture(params=["inotify", "polling"])
def below(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    monkeypatch.setattr(watcher, "POLL_EVERY", 0.05)
    made = Watched(request.param, recursive=True)
    yield made
    made.watcher.stop()


def test_a_file_in_a_folder_that_comes_below_is_news(below: Watched, tmp_path: Path) -> None:
    below.watcher.follow([tmp_path])
    deep = tmp_path / "2024-01-15" / "14-30-22"
    deep.mkdir(parents=True)
    assert below.hears_of(deep / NAME, lambda: append(deep / NAME))


def test_what_is_written_in_folders_that_are_left_out_is_no_news(
    below: Watched, tmp_path: Path
) -> None:
    for name in (".git", "media"):
        (tmp_path / name).mkdir()
    below.watcher.follow([tmp_path])
    for name in (".git", "media"):
        append(tmp_path / name / NAME)
    assert below.hears_of(tmp_path / NAME, lambda: append(tmp_path / NAME))
    assert below.others == []


@pytest.mark.parametrize("how", ["inotify", "polling"])
def test_more_folders_than_may_be_watched_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    monkeypatch.setattr(watcher, "MOST_POLLED", 2)
    monkeypatch.setattr(watcher, "_watches", lambda: 4)
    for name in "abc":
        (tmp_path / name).mkdir()
    made = Watched(how, recursive=True)
    assert made.watcher.follow([tmp_path])
    assert not made.watcher.follow([tmp_path])
    assert "4 folders, more than are watched" in caplog.text
    shutil.rmtree(tmp_path)
    made.watcher.follow([tmp_path])
    made.watcher.stop()
