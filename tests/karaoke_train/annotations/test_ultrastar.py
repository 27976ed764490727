"""Song files as games and their users write them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from karaoke_train import annotations
from karaoke_train.annotations import AnnotationError, ultrastar
from karaoke_train.notes import Note
from tests.karaoke_train.files import text

if TYPE_CHECKING:
    from pathlib import Path

HEAD = "#BPM:150\n"  # a beat is 0.1 s


def read(tmp_path: Path, song: str | bytes) -> list[tuple[float, ...]]:
    notes = annotations.read(text(tmp_path / "a.txt", song))
    return [(round(n.onset, 6), round(n.offset, 6), n.pitch) for n in notes]


def test_a_note_of_no_length_costs_itself_alone(tmp_path: Path) -> None:
    song = HEAD + ": 0 4 3 la\n: 8 0 5 lo\n: 8 4 5 lu\nE\n"
    assert read(tmp_path, song) == [(0, 0.4, 63), (0.8, 1.2, 65)]
    assert annotations.read_labels(tmp_path / "a.txt").remarks == (
        "line 3: a note of no length is left out",
    )


def test_an_empty_note_may_stand_before_the_audio_or_inside_another(tmp_path: Path) -> None:
    song = HEAD + ": -3 0 0 a\n: 0 4 3 la\n: 2 0 5 lo\nE\n"
    assert read(tmp_path, song) == [(0, 0.4, 63)]


def test_a_note_of_negative_length_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="line 2: the note ends at"):
        read(tmp_path, HEAD + ": 5 -3 0 a\n")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_byte_order_marks_and_a_missing_e(tmp_path: Path, end: str, mark: str) -> None:
    song = f"{mark}#BPM:150{end}#GAP:500{end}: 0 4 3 la{end}- 5{end}: 5 4 5 lo"
    assert read(tmp_path, song) == [(0.5, 0.9, 63), (1.0, 1.4, 65)]


@pytest.mark.parametrize(
    "header",
    ["#BPM:150,0\n#GAP:500,0\n", "#BPM:+150.\n#GAP: 500 \n", "#bpm:150\n#Gap:500.00\n"],
)
def test_numbers_of_the_header_as_people_write_them(tmp_path: Path, header: str) -> None:
    assert read(tmp_path, header + ": 0 4 3 la\nE\n") == [(0.5, 0.9, 63)]
    assert read(tmp_path, "#BPM:150\n#GAP:,5\n: 0 4 3 la\n") == [(0.0005, 0.4005, 63)]


def test_beats_before_the_gap_are_sung_if_the_audio_has_begun(tmp_path: Path) -> None:
    song = HEAD + "#GAP:1000\n: -5 4 3 la\n: 0 4 5 lo\nE\n"
    assert read(tmp_path, song) == [(0.5, 0.9, 63), (1.0, 1.4, 65)]
    with pytest.raises(AnnotationError, match="line 3: the note begins before the audio"):
        read(tmp_path, song.replace("#GAP:1000", "#GAP:0"))


def test_relative_beats_of_a_duet_count_for_each_voice(tmp_path: Path) -> None:
    song = HEAD + "#RELATIVE:yes\nP1\n: 0 4 0 a\n- 20 20\n: 0 4 0 b\nP2\n: 5 4 2 c\n- 10 30\n"
    assert [n[0] for n in read(tmp_path, song + ": 0 4 2 d\nE\n")] == [0.0, 0.5, 2.0, 3.0]


@pytest.mark.parametrize("odd", ["…", "\x85", "\u2028", "\x0b", "\x1c", "\x0c"])
def test_a_syllable_may_hold_what_python_takes_for_a_line_end(tmp_path: Path, odd: str) -> None:
    song = HEAD + f": 0 4 3 la{odd}ho\n: 5 4 5 lo\nE\n"
    assert len(read(tmp_path, song)) == 2
    assert len(read(tmp_path, (HEAD + ": 0 4 3 la\x85ho\n").encode("latin-1"))) == 1


# --- the recording


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ("#MP3:a.mp3", ("a.mp3",)),
        ("#AUDIO:b.ogg\n#MP3:a.mp3", ("b.ogg", "a.mp3")),
        ("#MP3:a.mp3\n#audio: b.ogg ", ("b.ogg", "a.mp3")),
        ("#AUDIO:a.mp3\n#MP3:a.mp3", ("a.mp3",)),
        ("#AUDIO:a.mp3\n#VOCALS:v.mp3\n#INSTRUMENTAL:i.mp3", ("v.mp3", "a.mp3")),
        ("#AUDIO:\n#MP3:a.mp3", ("a.mp3",)),
        ("#TITLE:x", ()),
    ],
)
def test_the_header_names_the_recording(header: str, names: tuple[str, ...]) -> None:
    assert ultrastar.recording(f"{header}\n{HEAD}".encode()).names == names


@pytest.mark.parametrize(
    ("coding", "line"),
    [("utf-8", ""), ("utf-8-sig", ""), ("cp1252", ""), ("cp1250", "#ENCODING:CP1250\n")],
)
def test_names_are_read_in_the_files_encoding(coding: str, line: str) -> None:
    name = "Dvořák.mp3" if coding == "cp1250" else "Röyksopp – “x”.mp3"
    header = f"#TITLE:t\n{line}#MP3:{name}\n{HEAD}"
    assert ultrastar.recording(header.encode(coding)).names == (name,)


@pytest.mark.parametrize("coding", ["nonsense", "hex", "punycode"])
def test_an_encoding_that_there_is_not_is_passed_over(coding: str) -> None:
    header = f"#ENCODING:{coding}\n#MP3:Röm.mp3\n{HEAD}"
    assert ultrastar.recording(header.encode("cp1252")).names == ("Röm.mp3",)


def test_a_name_with_an_end_of_line_in_it_stays_on_its_line(tmp_path: Path) -> None:
    path = tmp_path / "one\ntwo\r.txt"
    annotations.write(path, [Note(0.0, 0.5, 60.0)], sound="one\ntwo\r.wav")
    assert path.read_bytes().split(b"\n")[1:4] == [
        b"#TITLE:one two ", b"#ARTIST:Unknown", b"#MP3:one two .wav",
    ]  # fmt: skip
    assert annotations.read(path) == (Note(0.0, 0.5, 60.0),)


def test_a_name_that_is_no_utf_8_is_written_with_its_own_bytes(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.txt")
    annotations.write(path, [Note(0.0, 0.5, 60.0)], sound=os.fsdecode(b"caf\xe9.wav"))
    assert b"#MP3:caf\xe9.wav\n" in path.read_bytes()
    assert annotations.read(path) == (Note(0.0, 0.5, 60.0),)
