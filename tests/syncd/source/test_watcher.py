"""Which files may have news; real observers, no sleeps."""

from __future__ import annotations

import errno
import queue
import shutil
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from syncd.source import folder_tree, inotify, polling, watcher
from syncd.source.changes import Change
from syncd.source.inotify import Inotify
from syncd.source.watcher import Watcher, filesystem, method
from tests.patience import eventually, patience

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


@pytest.fixture(params=["inotify", "native", "polling"])
def watched(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    monkeypatch.setattr(polling, "POLL_EVERY", 0.05)
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


@pytest.mark.parametrize("watched", ["inotify", "polling"], indirect=True)
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
    observer = Inotify()
    observer.watch(str(tmp_path), lambda path, change: told.put(path), link=True)
    names = [f"{number:03}" for number in range(300)]
    for name in [*names, *names]:
        append(tmp_path / name)
    heard: list[str] = []
    while len(set(heard)) < len(names):
        heard.append(Path(told.get(timeout=patience(10))).name)
    assert list(dict.fromkeys(heard)) == names
    observer.stop()
    observer.join(timeout=patience(5))
    assert not observer._thread.is_alive()


def test_other_files_are_none(watched: Watched, tmp_path: Path) -> None:
    watched.watcher.follow([tmp_path])
    assert not watched.hears_of(
        tmp_path / "notes.txt", lambda: append(tmp_path / "notes.txt"), seconds=0.3
    )


def test_our_own_look_at_a_file_raises_no_event(watched: Watched, tmp_path: Path) -> None:
    """Told by none that come before that of a later change."""
    append(tmp_path / NAME)
    later = tmp_path / "training_log_later.jsonl"
    watched.watcher.follow([tmp_path])
    for _ in range(3):
        (tmp_path / NAME).read_text()
    append(later)
    assert watched.news.get(timeout=patience(10)) == later


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
    monkeypatch.setattr(polling, "POLL_EVERY", 0.05)
    made = Watched("inotify")
    try:
        made.watcher.follow([tmp_path])
        assert "inotify limit reached; polling instead" in caplog.text
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
    monkeypatch.setattr(inotify, "AVAILABLE", False)
    assert method(share) == ("native" if how == "inotify" else how)
    assert watcher.no_inotify() == "this system has no inotify"


@pytest.fixture(params=["inotify", "native", "polling"])
def below(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    monkeypatch.setattr(polling, "POLL_EVERY", 0.05)
    made = Watched(request.param, recursive=True)
    yield made
    made.watcher.stop()


def log_in(folder: Path) -> Path:
    """A new log in a new folder."""
    folder.mkdir(parents=True)
    append(folder / NAME)
    return folder / NAME


def watched_by(made: Watched) -> set[Path]:
    return {Path(folder) for folder in made.watcher._watched}


def test_a_file_in_a_folder_that_comes_below_is_news(below: Watched, tmp_path: Path) -> None:
    below.watcher.follow([tmp_path])
    deep = log_in(tmp_path / "2024-01-15" / "14-30-22")
    assert below.hears_of(deep, lambda: append(deep))


def test_what_was_written_in_a_folder_before_it_was_watched_is_news(
    below: Watched, tmp_path: Path
) -> None:
    """A sweep makes its folders at once, and each log is there before the folder is watched."""
    below.watcher.follow([tmp_path])
    logs = {log_in(tmp_path / "multirun" / "14-30-22" / str(number)) for number in range(200)}
    while logs:
        logs.discard(below.news.get(timeout=patience(10)))


def test_a_folder_that_was_there_before_is_watched(below: Watched, tmp_path: Path) -> None:
    log = log_in(tmp_path / "a" / "b")
    assert below.watcher.follow([tmp_path])
    assert below.hears_of(log, lambda: append(log))


def test_a_folder_that_is_renamed_while_its_run_is_live_goes_on_under_its_new_name(
    below: Watched, tmp_path: Path
) -> None:
    old, new = log_in(tmp_path / "a" / "b"), tmp_path / "z" / "b" / NAME
    below.watcher.follow([tmp_path])
    with old.open("a") as file:

        def write() -> None:
            file.write("x\n")
            file.flush()

        assert below.hears_of(old, write)
        (tmp_path / "a").rename(tmp_path / "z")
        assert below.hears_of(new, lambda: None)
        below.others.clear()
        assert below.hears_of(new, write)
    assert set(below.others) <= {new}
    assert eventually(lambda: watched_by(below) == {tmp_path, tmp_path / "z", tmp_path / "z" / "b"})


def test_a_folder_that_is_moved_in_is_watched_and_one_that_is_moved_out_no_more(
    below: Watched, tmp_path: Path
) -> None:
    logs, outside = tmp_path / "logs", tmp_path / "outside"
    logs.mkdir()
    log_in(outside / "t" / "deep")
    below.watcher.follow([logs])
    (outside / "t").rename(logs / "t")
    moved = logs / "t" / "deep" / NAME
    assert below.hears_of(moved, lambda: None)
    assert below.hears_of(moved, lambda: append(moved))
    (logs / "t").rename(outside / "t")
    append(outside / "t" / "deep" / NAME)
    below.others.clear()
    assert below.hears_of(logs / NAME, lambda: append(logs / NAME))
    assert set(below.others) <= {moved}  # of before
    assert eventually(lambda: watched_by(below) == {logs})
    assert [len(one) for one in below.watcher._observers.values()] == [1]


# watchdog may miss a folder that comes and goes within milliseconds; there the rescan finds it
@pytest.mark.parametrize("below", ["inotify", "polling"], indirect=True)
def test_a_folder_below_that_was_removed_and_made_again_is_watched_again(
    below: Watched, tmp_path: Path
) -> None:
    below.watcher.follow([tmp_path])
    for _ in range(20):
        log = log_in(tmp_path / "a" / "b")
        shutil.rmtree(tmp_path / "a")
    log = log_in(tmp_path / "a" / "b")
    assert below.hears_of(log, lambda: append(log))
    assert eventually(lambda: watched_by(below) == {tmp_path, tmp_path / "a", tmp_path / "a" / "b"})


def test_folders_that_are_left_out_and_links_are_not_watched(
    below: Watched, tmp_path: Path
) -> None:
    logs, outside = tmp_path / "logs", tmp_path / "outside"

    def make(number: int) -> None:
        for name in (".git", "media"):
            log_in(logs / f"run{number}" / name)
        (logs / f"link{number}").symlink_to(outside)

    log_in(outside)
    make(1)
    below.watcher.follow([logs])
    make(2)
    assert below.hears_of(logs / NAME, lambda: append(logs / NAME))
    assert below.others == []
    assert eventually(lambda: watched_by(below) == {logs, logs / "run1", logs / "run2"})


def test_a_link_that_took_a_folders_place_is_left_without_a_word_of_limits(
    below: Watched, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "link").symlink_to(tmp_path)
    below.watcher.follow([tmp_path / "logs"])
    with below.watcher._guard:
        assert below.watcher._begin(str(tmp_path / "link"), "polling", 1) is None
        assert below.watcher._begin(str(tmp_path / "link"), "native", 1) is None
    assert "polling instead" not in caplog.text


def test_folders_are_watched_as_deep_as_they_are_looked_into(
    below: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "DEEPEST", 2)
    monkeypatch.setattr(folder_tree, "DEEPEST", 2)
    (tmp_path / "a/b/c").mkdir(parents=True)
    below.watcher.follow([tmp_path])
    log_in(tmp_path / "x/y/z")
    assert below.hears_of(tmp_path / "x/y" / NAME, lambda: append(tmp_path / "x/y" / NAME))
    assert eventually(
        lambda: watched_by(below) == set(folder_tree.folders([tmp_path], recursive=True))
    )


def test_a_named_folder_below_another_is_watched_once(below: Watched, tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    both = [tmp_path, tmp_path / "a"]
    below.watcher.follow(both)
    assert not below.watcher.follow(both)
    assert eventually(lambda: watched_by(below) == {*both, tmp_path / "a/b"})


@pytest.mark.parametrize("how", ["inotify", "polling"])
def test_more_folders_than_may_be_watched_are_left_to_the_rescan_whenever_they_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    monkeypatch.setitem(watcher.MOST, "polling", 4)
    monkeypatch.setattr(watcher, "_watches", lambda: 8)
    monkeypatch.setattr(polling, "POLL_EVERY", 0.05)
    made = Watched(how, recursive=True)
    (tmp_path / "a").mkdir()
    assert made.watcher.follow([tmp_path])
    for name in "bcdefg":
        (tmp_path / name).mkdir()
    assert eventually(lambda: "is not watched" in caplog.text)
    assert made.hears_of(tmp_path / NAME, lambda: append(tmp_path / NAME))
    assert len(watched_by(made)) == 4
    assert caplog.text.count("is not watched") == 1
    shutil.rmtree(tmp_path)
    made.watcher.follow([tmp_path])
    made.watcher.stop()


def test_where_the_kernel_has_no_room_for_more_watches_the_folders_that_come_are_polled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    watch = Inotify.watch

    def full(self: Inotify, folder: str, *given: Any, **named: Any) -> Callable[[], None]:
        if len(self) == 2:
            raise OSError(errno.ENOSPC, "no watch is left")
        return watch(self, folder, *given, **named)

    monkeypatch.setattr(Inotify, "watch", full)
    monkeypatch.setattr(polling, "POLL_EVERY", 0.05)
    made = Watched("inotify", recursive=True)
    try:
        made.watcher.follow([tmp_path])
        for name in "abc":
            log = log_in(tmp_path / name)
            assert made.hears_of(log, lambda: None)
            assert made.hears_of(log, lambda log=log: append(log))
        assert caplog.text.count("no watch is left; polling instead") == 1
    finally:
        made.watcher.stop()


def test_the_kernels_limits_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own words for them are of a full disk and of open files."""
    monkeypatch.setattr(inotify.ctypes, "get_errno", lambda: errno.ENOSPC)
    with pytest.raises(OSError, match="max_user_watches"):
        inotify._checked(-1)
    monkeypatch.setattr(inotify.ctypes, "get_errno", lambda: errno.EMFILE)
    with pytest.raises(OSError, match="max_user_instances"):
        inotify._checked(-1)


def test_doctor_is_told_that_no_watch_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    assert watcher.no_inotify() == ""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "no watch is left")

    monkeypatch.setattr(Inotify, "watch", full)
    assert watcher.no_inotify() == "no watch is left"


def test_after_more_events_than_the_kernel_keeps_all_folders_are_looked_at_anew(
    tmp_path: Path,
) -> None:
    kept = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if kept > 1 << 18:
        pytest.skip(f"this kernel keeps {kept:,} events")
    go_on, news = threading.Event(), queue.SimpleQueue()

    def busy(path: Path) -> None:
        news.put(path)
        go_on.wait()

    made = Watcher(busy, "inotify", recursive=True)
    try:
        (tmp_path / "gone").mkdir()
        made.follow([tmp_path])
        append(tmp_path / NAME)
        news.get(timeout=patience(10))
        with (tmp_path / "a").open("wb", 0) as one, (tmp_path / "b").open("wb", 0) as other:
            for _ in range(kept // 2 + 1):  # by turns: equal events in a row are one
                one.write(b"x")
                other.write(b"x")
        (tmp_path / "gone").rmdir()
        late = log_in(tmp_path / "late")
        go_on.set()
        assert eventually(lambda: made.follow([tmp_path]))
        assert set(made._watched) == {str(tmp_path), str(late.parent)}
        append(late)
        while news.get(timeout=patience(10)) != late:
            pass
    finally:
        go_on.set()
        made.stop()


def test_a_watcher_that_was_stopped_watches_nothing_more(below: Watched, tmp_path: Path) -> None:
    below.watcher.follow([tmp_path])
    before = watched_by(below)
    below.watcher.stop()
    below.watcher._told(str(tmp_path / "a"), Change.FOLDER_CAME)
    assert watched_by(below) == before
