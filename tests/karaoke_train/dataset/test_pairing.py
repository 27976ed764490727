"""Which recording goes with which label file, where a song file names it."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import pytest

from karaoke_train.dataset.songs import read_folder
from tests.karaoke_train.files import CSV, NOTES, text, wav

if TYPE_CHECKING:
    from pathlib import Path


def song(path: Path, header: str) -> Path:
    return text(path, f"#TITLE:t\n{header}\n#BPM:150\n: 0 5 0 la\nE\n")


def pairs(voices: Path, notes: Path | None = None) -> dict[str, str]:
    """Name of the song -> its audio; the folder has no problem."""
    songs, problems = read_folder(voices, notes or voices)
    assert not problems
    return {s.name: s.path.relative_to(voices).as_posix() for s in songs}  # type: ignore[attr-defined]


def faults(folder: Path) -> dict[str, str]:
    return {p.path.name: p.reason for p in read_folder(folder, folder)[1]}


@pytest.mark.parametrize(
    "header", ["#AUDIO:audio.mp3", "#MP3:audio.mp3", "#VERSION:1.1.0\n#AUDIO:audio.mp3\n#MP3:x.mp3"]
)
def test_folders_of_notes_and_audio_are_songs(tmp_path: Path, header: str) -> None:
    for band in ("A - One", "B - Two"):
        wav(tmp_path / band / "audio.mp3", rate=44_100)
        song(tmp_path / band / "notes.txt", header)
    wanted = {f"{band}/audio": f"{band}/audio.mp3" for band in ("A - One", "B - Two")}
    assert pairs(tmp_path) == wanted


def test_the_name_in_the_header_comes_before_the_files_own(tmp_path: Path) -> None:
    song(tmp_path / "song.txt", "#MP3:take 2.mp3")
    wav(tmp_path / "take 2.mp3", rate=44_100)
    assert pairs(tmp_path) == {"take 2": "take 2.mp3"}
    wav(tmp_path / "song.wav")
    assert read_folder(tmp_path, tmp_path)[0][0].name == "take 2"
    assert faults(tmp_path)["song.wav"].startswith("has no labels")


def test_of_two_recordings_of_one_name_the_header_chooses(tmp_path: Path) -> None:
    song(tmp_path / "song.txt", "#MP3:song.flac")
    wav(tmp_path / "song.flac")
    wav(tmp_path / "song.wav")
    (found,), (problem,) = read_folder(tmp_path, tmp_path)
    assert found.path.name == "song.flac"  # type: ignore[attr-defined]
    assert str(problem).startswith(
        f"{tmp_path / 'song.wav'}: has the name of song.flac, which song.txt names instead"
    )


@pytest.mark.parametrize(
    ("header", "file"),
    [
        ("#MP3:Song.WAV", "song.wav"),  # as Windows and macOS find it
        ("#MP3:sound\\song.wav", "sound/song.wav"),
        ("#MP3:../sound/song.wav", "../sound/song.wav"),
        ("#MP3:C:\\Songs\\x\\song.wav", "song.wav"),
        ("#MP3:" + unicodedata.normalize("NFD", "é.wav"), unicodedata.normalize("NFC", "é.wav")),
    ],
)
def test_names_of_other_systems_are_found(tmp_path: Path, header: str, file: str) -> None:
    wav(tmp_path / "x" / ".." / "x" / file)
    song(tmp_path / "x" / "notes.txt", header)
    (found,), problems = read_folder(tmp_path, tmp_path)
    assert not problems
    assert found.path.resolve() == (tmp_path / "x" / file).resolve()  # type: ignore[attr-defined]


def test_names_with_composed_and_decomposed_letters_pair(tmp_path: Path) -> None:
    wav(tmp_path / unicodedata.normalize("NFD", "é.wav"))
    text(tmp_path / unicodedata.normalize("NFC", "é.csv"), CSV)
    assert list(pairs(tmp_path)) == ["é"]


def test_in_two_folders_the_recording_lies_at_the_same_place_or_is_the_only_one(
    tmp_path: Path,
) -> None:
    voices, notes = tmp_path / "voices", tmp_path / "notes"
    for place in ("a/audio.wav", "b/audio.wav", "flat.wav"):
        wav(voices / place)
    song(notes / "a" / "notes.txt", "#MP3:audio.wav")
    song(notes / "b" / "notes.txt", "#MP3:audio.wav")
    song(notes / "c" / "notes.txt", "#MP3:flat.wav")
    assert set(pairs(voices, notes).values()) == {"a/audio.wav", "b/audio.wav", "flat.wav"}


def test_separated_voices_in_a_folder_of_their_own_pair_by_name(tmp_path: Path) -> None:
    wav(tmp_path / "voices" / "A - One.wav")
    wav(tmp_path / "songs" / "A - One" / "A - One.mp3", rate=44_100)
    song(tmp_path / "songs" / "A - One" / "A - One.txt", "#MP3:A - One.mp3")
    assert pairs(tmp_path / "voices", tmp_path / "songs") == {"A - One": "A - One.wav"}


def test_the_voice_alone_is_read_where_the_song_has_it(tmp_path: Path) -> None:
    for name in ("voice.wav", "all.wav", "band.wav"):
        wav(tmp_path / name)
    song(tmp_path / "notes.txt", "#AUDIO:all.wav\n#VOCALS:voice.wav\n#INSTRUMENTAL:band.wav")
    assert pairs(tmp_path) == {"voice": "voice.wav"}
    text(tmp_path / "all.csv", CSV)  # a song of its own, then
    assert set(pairs(tmp_path)) == {"voice", "all"}


def test_a_recording_of_another_song_is_not_taken_for_a_missing_one(tmp_path: Path) -> None:
    wav(tmp_path / "a" / "audio.wav")
    song(tmp_path / "a" / "notes.txt", "#MP3:audio.wav")
    song(tmp_path / "b" / "notes.txt", "#MP3:audio.wav")
    (found,), (problem,) = read_folder(tmp_path, tmp_path)
    assert found.path == tmp_path / "a" / "audio.wav"  # type: ignore[attr-defined]
    assert problem.path == tmp_path / "b" / "notes.txt"
    assert problem.reason.endswith(", nor audio.wav, which it names")


def test_a_file_that_names_nothing_that_is_there_pairs_by_its_own_name(tmp_path: Path) -> None:
    wav(tmp_path / "song.wav")
    song(tmp_path / "song.txt", "#MP3:song.mp3")
    assert pairs(tmp_path) == {"song": "song.wav"}


def test_a_duets_second_file_is_left_aside(tmp_path: Path) -> None:
    wav(tmp_path / "song.wav")
    song(tmp_path / "song.txt", "#MP3:song.wav")
    song(tmp_path / "song [MULTI].txt", "#MP3:song.wav")
    assert [s.name for s in read_folder(tmp_path, tmp_path)[0]] == ["song"]
    wanted = "names song.wav, whose notes are those of song.txt; keep one of the two"
    assert faults(tmp_path) == {"song [MULTI].txt": wanted}


def test_two_files_of_notes_for_one_recording_are_for_people_to_choose_from(
    tmp_path: Path,
) -> None:
    wav(tmp_path / "song.wav")
    song(tmp_path / "song.txt", "#MP3:song.wav")
    text(tmp_path / "song.csv", CSV)
    assert not read_folder(tmp_path, tmp_path)[0]
    assert faults(tmp_path)["song.csv"].startswith("has the same name as ")


@pytest.mark.parametrize("name", [".DS_Store", "._audio.wav", "._notes.txt", ".git/notes.txt"])
def test_hidden_files_change_nothing(tmp_path: Path, name: str) -> None:
    wav(tmp_path / "audio.wav")
    song(tmp_path / "notes.txt", "#MP3:audio.wav")
    text(tmp_path / name, b"\0\5\x16\7#MP3:audio.wav")
    assert pairs(tmp_path) == {"audio": "audio.wav"}


def test_remarks_on_the_labels_go_with_the_song(tmp_path: Path) -> None:
    wav(tmp_path / "a.wav")
    text(tmp_path / "a.txt", "#BPM:150\n: 0 0 0 la\n: 1 4 0 lo\n")
    wav(tmp_path / "b.wav")
    text(tmp_path / "b.csv", CSV)
    a, b = read_folder(tmp_path, tmp_path)[0]
    assert a.remarks == ("a.txt: line 2: a note of no length is left out",)  # type: ignore[attr-defined]
    assert (b.notes, b.remarks) == (NOTES, ())  # type: ignore[attr-defined]
