"""Which folders are looked into: below those that are named, without links, and not too many."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from syncd.source import folder_tree, safe_open
from syncd.source.folder_tree import FolderTree, folders
from tests.fakes.unreadable import unreadable

if TYPE_CHECKING:
    from collections.abc import Callable


def made(root: Path, *names: str) -> list[Path]:
    for name in names:
        (root / name).mkdir(parents=True, exist_ok=True)
    return [root / name for name in names]


def test_folders_below_are_found_only_where_asked_for(tmp_path: Path) -> None:
    deep, other = made(tmp_path, "a/b", "c")
    assert folders([tmp_path], recursive=False) == (tmp_path,)
    assert set(folders([tmp_path], recursive=True)) == {tmp_path, deep.parent, deep, other}


def test_hidden_folders_media_and_links_are_left_out(tmp_path: Path) -> None:
    root, outside = made(tmp_path, "logs", "outside/deep")
    (kept,) = made(root, "a")
    made(root, ".locks", ".git/x", "media/run", "a/media/run")
    (root / "link").symlink_to(outside)
    assert set(folders([root], recursive=True)) == {root, kept}


def test_a_log_folder_that_is_a_link_is_looked_into(tmp_path: Path) -> None:
    (deep,) = made(tmp_path, "real/a")
    link = tmp_path / "logs"
    link.symlink_to(deep.parent)
    assert set(folders([link], recursive=True)) == {link, link / "a"}


def test_a_folder_that_is_named_twice_by_a_link_too_is_looked_into_once(tmp_path: Path) -> None:
    root, deep = made(tmp_path, "logs", "logs/a")
    links = [tmp_path / "link", tmp_path / "deeper"]
    for link, target in zip(links, (root, deep), strict=True):
        link.symlink_to(target)
    assert folders([root, links[0]], recursive=False) == (root,)
    assert folders([links[0], root], recursive=False) == (links[0],)
    assert folders([root, *links], recursive=True) == (root, links[1])


def test_nested_log_folders_are_looked_into_once(tmp_path: Path) -> None:
    outer, inner, deep = made(tmp_path, "logs", "logs/sub", "logs/sub/deep")
    assert folders([outer, inner], recursive=True) == (outer, inner, deep)


def test_what_comes_and_goes_is_seen(tmp_path: Path) -> None:
    (first,) = made(tmp_path, "a")
    tree = FolderTree(lambda: [tmp_path], recursive=True)
    assert set(tree.look()) == {tmp_path, first}
    before = tree.look()
    assert tree.look() == before
    (deep,) = made(tmp_path, "a/b")
    assert set(tree.look()) == {tmp_path, first, deep}
    assert tree.folders != before
    deep.rmdir()
    assert set(tree.look()) == {tmp_path, first}


def test_a_folder_that_changes_within_a_tick_of_its_clock_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Coarse times (a second on some file systems): the folder changes, and its time does not."""
    tree = FolderTree(lambda: [tmp_path], recursive=True)
    tree.look()
    really = folder_tree._sign
    monkeypatch.setattr(folder_tree, "_sign", lambda folder, link: really(folder, link=link)[:2])
    tree.look()
    (deep,) = made(tmp_path, "a")
    assert deep in tree.look()


def test_nothing_is_listed_again_where_nothing_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tmp_path, *(f"run{number}" for number in range(20)))
    tree = FolderTree(lambda: [tmp_path], recursive=True)
    tree.look()
    tree.look()
    listed: list[Path] = []
    monkeypatch.setattr(folder_tree, "folders_in", listed.append)
    assert len(tree.look()) == 21
    assert listed == []


def test_too_many_folders_are_named_and_the_rest_is_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_tree, "MOST", 5)
    made(tmp_path, *(f"run{number}" for number in range(9)))
    tree = FolderTree(lambda: [tmp_path], recursive=True)
    assert len(tree.look()) == 5
    assert tree.full
    assert str(tmp_path) in tree.words_of_full()
    assert tree.may_hold(tmp_path / "run0")
    assert not tree.may_hold(tmp_path / "run8")


def test_folders_that_are_too_deep_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_tree, "DEEPEST", 2)
    made(tmp_path, "a/b/c")
    tree = FolderTree(lambda: [tmp_path], recursive=True)
    assert set(tree.look()) == {tmp_path, tmp_path / "a", tmp_path / "a/b"}
    assert tree.full


def test_what_becomes_a_link_between_two_looks_leads_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, secret = made(tmp_path, "logs", "secret")
    (swapped,) = made(root, "a")
    listed: Callable[[Path], list[str]] = safe_open.folders_in

    def swap_behind_its_back(folder: Path) -> list[str]:
        names = listed(folder)
        if swapped.is_dir() and not swapped.is_symlink():
            swapped.rmdir()
            swapped.symlink_to(secret)
        return names

    monkeypatch.setattr(folder_tree, "folders_in", swap_behind_its_back)
    tree = FolderTree(lambda: [root], recursive=True)
    assert set(tree.look()) == {root}
    assert set(tree.look()) == {root}


def test_a_folder_that_can_not_be_read_is_kept_for_the_scanner_to_name(tmp_path: Path) -> None:
    closed, _ = made(tmp_path, "a", "a/b")
    with unreadable(closed):
        assert set(folders([tmp_path], recursive=True)) == {tmp_path, closed}


def test_a_folder_that_could_not_be_listed_once_is_listed_at_the_next_look(tmp_path: Path) -> None:
    """Too many open files, a network file system that is away: nothing shows in its time."""
    (first,) = made(tmp_path, "a")
    tree = FolderTree(lambda: [tmp_path], recursive=True)
    tree.look()
    with unreadable(tmp_path):
        assert first in tree.look()
    (second,) = made(tmp_path, "b")
    with unreadable(tmp_path):
        tree.look()
        tree.look()
    assert set(tree.look()) == {tmp_path, first, second}
