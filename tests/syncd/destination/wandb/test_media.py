"""A row's picture or sound, and what becomes of one that can't be had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from karaoke_train.runlog.reader import Position
from syncd.destination.rows import Media
from syncd.destination.wandb import media as module
from syncd.destination.wandb.media import MediaFiles, file_name
from syncd.source.media_folder import MediaFolder
from tests.karaoke_train.runlog.files import split_lines
from tests.syncd.destination.wandb import odd_logs as odd


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    odd.write_media(tmp_path / "media")
    return tmp_path / "media"


def refer(folder: Path, path: str, key: str = "k", kind: str = "image") -> tuple[Any, list[str]]:
    files = MediaFiles(MediaFolder(folder))
    about = files.reference(4, key, Media(path, kind, ""))
    return about, [file.name for file in files.pop()]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("none.png", "No such file or directory"),
        ("dir.png", "it is no regular file of the user's own"),
        ("../x.png", "outside of the run's media folder"),
        ("text.png", "it can't be read"),
        ("cut.jpg", "it can't be read"),
        ("short.png", "it can't be read"),
        ("empty.png", "it can't be read"),
        ("huge.png", "it is too large a picture"),
        ("a.png\0", "it can't be read"),
    ],
)
def test_words_stand_for_what_is_no_picture(folder: Path, path: str, why: str) -> None:
    assert refer(folder, path) == (f"{path} is missing: {why}", [])


def test_a_picture_too_large_to_be_looked_at_is_believed_its_header(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_DECODED", 100)
    about, names = refer(folder, "cut.jpg")
    assert (about["width"], about["height"]) == (120, 90)
    assert names == [about["path"]]


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("a//b", "a/b_4_d.png"),
        ("/abs", "abs_4_d.png"),
        ("../up/.", "__/up/__4_d.png"),
        ("trail/", "trail/_4_d.png"),
        ("", "_4_d.png"),
    ],
)
def test_a_key_is_a_path_below_the_runs(key: str, name: str) -> None:
    assert file_name(key, 4, "d", Path("x.png")) == name


@pytest.mark.parametrize("key", ["nul\0", "k" * 300, "ü" * 130, "/".join(["k" * 200] * 9)])
def test_a_key_that_is_no_name_for_a_file_is_said_so(folder: Path, key: str) -> None:
    assert refer(folder, "a.png", key) == ("a.png is missing: its key is no name for a file", [])


def test_an_empty_sound_is_brought_once_and_not_missed_later(folder: Path) -> None:
    about, names = refer(folder, "empty.wav", kind="audio")
    assert (about["size"], names) == (0, [about["path"]])
    lines = split_lines(odd.media("k", "empty.wav", "audio"), Position(4))[0]
    assert MediaFiles(MediaFolder(folder)).files_of(lines) == []
