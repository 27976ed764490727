"""What trackio has to be, and what is said where it isn't; names."""

from __future__ import annotations

import importlib.metadata
import os
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from syncd.destination.trackio import names, store
from syncd.destination.trackio.destination import TrackioDestination
from syncd.errors import Refused, Unreachable
from syncd.paths import destination_folder
from tests.fakes.unreadable import unreadable
from tests.patience import patience


def with_version(monkeypatch: pytest.MonkeyPatch, version: str | None) -> None:
    def found(name: str) -> str:
        if version is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(importlib.metadata, "version", found)


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (None, "trackio, which has the local dashboard, is not installed"),
        ("0.44.0", "trackio 0.44.0 is installed, and its store is known of 0.43 alone"),
        ("0.430.1", "known of 0.43 alone"),
    ],
)
def test_without_the_version_that_is_known_nothing_is_touched(
    version: str | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_version(monkeypatch, version)
    destination = TrackioDestination(tmp_path / "store")
    with pytest.raises(Refused, match=said) as error:
        destination.account()
    assert error.value.remedy == "pip install 'karaoke-train[local]'"
    assert said in destination.identity.warning
    (finding,) = destination.checks()
    assert (finding.level, finding.remedy) == ("error", error.value.remedy)
    assert not (tmp_path / "store").exists()


def test_another_patch_of_the_version_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with_version(monkeypatch, "0.43.7")
    assert store.unusable() == ""


def test_a_function_that_is_gone_is_named(
    store_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trackio import sqlite_storage

    there = SimpleNamespace(init_db=lambda project: None, bulk_log=lambda project, run: None)
    monkeypatch.setattr(sqlite_storage, "SQLiteStorage", there)
    with pytest.raises(Refused, match="no `bulk_log` as it is used here"):
        TrackioDestination(store_folder).account()


def test_a_folder_that_takes_no_writes_is_named(
    store_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store.os, "access", lambda path, mode: False)
    with pytest.raises(Unreachable, match=f"{store_folder} can't be used: Permission denied"):
        TrackioDestination(store_folder).account()


def test_doctor_tries_what_records_need_of_the_store(
    store_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def there_now() -> set[Path]:  # without the logs of databases, which come and go
        return {path for path in store_folder.iterdir() if not path.name.endswith(("-wal", "-shm"))}

    destination, before = TrackioDestination(store_folder), there_now()
    (finding,) = destination.checks()
    assert (finding.level, there_now()) == ("ok", before)
    others, there = store_folder / "of-somebody-else.db", os.access
    others.touch()
    monkeypatch.setattr(store.os, "access", lambda path, mode: path != others and there(path, mode))
    (finding,) = destination.checks()
    assert (finding.level, finding.remedy) == ("error", "Make it writable")
    assert finding.what.endswith(f"can't be used: Permission denied: {others}")
    others.unlink()
    with unreadable(store_folder):  # the mode says yes, the file system no
        (finding,) = destination.checks()
    assert (finding.level, finding.remedy) == ("error", "Make it writable")


def test_the_store_is_where_trackio_has_it() -> None:
    home = Path.home()
    assert names.store_folder({}) == home / ".cache/huggingface/trackio"
    assert names.store_folder({"XDG_CACHE_HOME": "/c"}) == Path("/c/huggingface/trackio")
    assert names.store_folder({"HF_HOME": "/h"}) == Path("/h/trackio")
    assert names.store_folder({"HF_HOME": "/h", "TRACKIO_DIR": "/t"}) == Path("/t")


def test_two_stores_have_two_state_folders(tmp_path: Path) -> None:
    folders = {
        destination_folder(tmp_path, names.address(Path(store)))
        for store in ("/a", "/b", "/x" * 99, "/x" * 99 + "y")
    }
    assert len(folders) == 4
    assert all(len(folder.name) < 100 and folder.parent.parent == tmp_path for folder in folders)


def test_names_that_trackio_keeps_stay_and_others_are_told_apart() -> None:
    assert names.project_name("my-songs_2") == "my-songs_2"
    kept = [names.project_name(name) for name in ("a/b", "a b", "ab", "registry-x", "x_configs")]
    assert len(set(kept)) == 5
    assert kept[0].startswith("a-b-")


def test_the_config_of_a_project_that_was_not_opened_yet_is_changed(store_folder: Path) -> None:
    """As after a restart: its database is brought to today's columns first, under the same lock."""
    row = store.NewRow(1, 1, "2026-01-01T00:00:00+00:00", {"x": 1.0})
    store.Store(store_folder).add("fresh", "name", "run", [row], {"lr": 1})
    changed: list[bool] = []
    again = store.Store(store_folder)
    work = threading.Thread(
        target=lambda: changed.append(again.update_config("fresh", "run", {"tags": ["good"]})),
        daemon=True,
    )
    work.start()
    work.join(patience(20))
    assert changed == [True]
