"""`karaoke-train data check`: what is usable, what is not and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import soundfile

from karaoke_train.dataset.check import Row, check_songs, render
from karaoke_train.dataset.songs import read_folder
from karaoke_train.synth import synthetic_songs
from tests.karaoke_train.files import CSV, text, wav

if TYPE_CHECKING:
    from pathlib import Path


def checked(voices: Path, notes: Path | None = None) -> list[Row]:
    return check_songs(*read_folder(voices, notes or voices))


def test_a_folder_is_told_song_by_song(tmp_path: Path) -> None:
    wav(tmp_path / "voices" / "a.wav", seconds=75.0)
    text(tmp_path / "notes" / "a.csv", CSV)
    wav(tmp_path / "voices" / "b.mp3", seconds=1.0)
    text(tmp_path / "notes" / "b.txt", "#BPM:150\n: 0 5 0 a\n: 5 2 12 b\n")
    text(tmp_path / "voices" / "c.wav", b"not audio")
    text(tmp_path / "notes" / "c.csv", CSV)
    one, two, three = checked(tmp_path)
    assert one == Row("a", duration=75.0, notes=2, lowest=60.0, highest=62.5)
    assert (two.name, two.usable, two.lowest, two.highest) == ("b", True, 60.0, 72.0)
    assert (three.name, three.usable) == (str(tmp_path / "voices" / "c.wav"), False)
    assert checked(tmp_path / "voices", tmp_path / "notes") == [one, two, three]


def test_damage_in_the_middle_shows(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    sound = np.zeros(16_000 * 3)
    sound[20_000] = np.nan
    soundfile.write(path, sound, 16_000, subtype="FLOAT")
    text(tmp_path / "a.csv", CSV)
    (row,) = checked(tmp_path)
    assert row == Row(str(path), "holds samples that are not numbers; convert it again")


def test_what_was_left_out_of_a_usable_song_is_noted(tmp_path: Path) -> None:
    wav(tmp_path / "a.wav")
    text(tmp_path / "a.txt", "#BPM:150\n: 0 0 0 la\n: 1 4 0 lo\n")
    (row,) = checked(tmp_path)
    assert row.usable
    assert row.remarks == ("a.txt: line 2: a note of no length is left out",)
    assert render([row]).splitlines()[2:] == [
        "",
        "note: a: a.txt: line 2: a note of no length is left out",
        "",
        "1 usable song: 0:01, 1 notes, C4 to C4; 0 files not usable",
    ]


def test_the_table_is_aligned_and_summed() -> None:
    rows = [
        Row("a song", duration=75.0, notes=120, lowest=45.0, highest=61.2),
        Row("b", duration=7_205.4, notes=9, lowest=60.0, highest=72.0),
        Row("voices/c.wav", "is no audio that can be read"),
    ]
    assert render(rows).splitlines() == [
        "song      length   notes  range",
        "a song      1:15     120  A2 to C#4",
        "b        2:00:05       9  C4 to C5",
        "",
        "not usable: voices/c.wav: is no audio that can be read",
        "",
        "2 usable songs: 2:01:20, 129 notes, A2 to C5; 1 file not usable",
    ]


def test_a_song_is_called_by_wide_letters_in_as_many_columns() -> None:
    rows = [
        Row("歌声", duration=75.0, notes=120, lowest=45.0, highest=61.2),
        Row("e\u0301tude", duration=75.0, notes=120, lowest=45.0, highest=61.2),
    ]
    assert render(rows).splitlines()[:3] == [
        "song     length   notes  range",
        "歌声       1:15     120  A2 to C#4",
        "e\u0301tude      1:15     120  A2 to C#4",
    ]


def test_a_range_is_told_in_the_nearest_semitones_halves_up() -> None:
    [_, line, *_] = render(
        [Row("a", duration=1.0, notes=2, lowest=60.5, highest=61.5)]
    ).splitlines()
    assert line.endswith("C#4 to D4")


def test_nothing_usable_is_said() -> None:
    assert render([]) == "no usable song, 0 files not usable"
    assert render([Row("a", "is odd")]).splitlines()[-1] == "no usable song, 1 file not usable"


def test_an_empty_folder_has_no_rows_and_a_missing_one_is_a_row(tmp_path: Path) -> None:
    assert checked(tmp_path) == []
    (row,) = checked(tmp_path / "gone")
    assert row.problem == "is not a folder; check the path"


def test_any_songs_can_be_checked() -> None:
    (row,) = check_songs(synthetic_songs(1, 0, duration=3.0))
    assert row.usable
    assert row.duration == 3.0


def test_names_of_songs_are_text() -> None:
    rows = [Row("a\x1b[2J\nb", duration=1.0), Row("c\n\u202e", "odd\x07")]
    shown = render(rows)
    assert all(line.isprintable() for line in shown.splitlines())
    assert r"a\x1b[2J\nb" in shown
    assert r"not usable: c\n\u202e: odd\x07" in shown


def test_a_recording_without_a_sound_is_noted(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "mute.wav", np.full(16000, 5e-5), 16000)
    soundfile.write(tmp_path / "soft.wav", np.full(16000, 5e-3), 16000)
    for name in ("mute", "soft"):
        text(tmp_path / f"{name}.csv", "onset,offset,pitch\n0.1,0.5,60\n")
    rows = check_songs(*read_folder(tmp_path, tmp_path))
    assert [(row.name, row.usable, bool(row.remarks)) for row in rows] == [
        ("mute", True, True),
        ("soft", True, False),
    ]
    assert "note: mute: there is nothing to hear in the recording" in render(rows)
