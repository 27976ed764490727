"""What is said of an audio file that can't be used: the decoder's own reason, or what is plain to
see of the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from karaoke_train.audio.io import SUFFIXES, AudioError, probe

GARBAGE = b"these are words, and no sound at all\n" * 200


def said(path: Path) -> str:
    with pytest.raises(AudioError) as caught:
        probe(path)
    return caught.value.reason


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("data", [GARBAGE, bytes(4000)], ids=["words", "zeros"])
def test_a_file_that_is_there_is_never_said_not_to_be(
    tmp_path: Path, suffix: str, data: bytes
) -> None:
    path = tmp_path / f"song{suffix}"
    path.write_bytes(data)
    assert said(path).startswith("is no audio that can be read (")
    assert "not exist" not in said(path)


def test_an_mp3_without_a_frame_is_said_to_have_none(tmp_path: Path) -> None:
    path = tmp_path / "song.mp3"
    path.write_bytes(GARBAGE)
    assert "its decoder finds no MPEG audio in it" in said(path)


def test_an_empty_file_a_folder_and_nothing_are_told_apart(tmp_path: Path) -> None:
    empty, folder = tmp_path / "empty.wav", tmp_path / "folder.wav"
    empty.touch()
    folder.mkdir()
    assert said(empty).startswith("is empty")
    assert said(folder).startswith("is no file")
    assert said(tmp_path / "gone.wav").startswith("is not there")
    assert said(empty / "below.wav").startswith("is not there")


def test_a_name_that_cannot_be_is_said_in_words(tmp_path: Path) -> None:
    assert said(tmp_path / ("x" * 300 + ".wav")) == "can't be read (File name too long)"
    assert said(Path("a\0.wav")) == "can't be read (embedded null byte)"
