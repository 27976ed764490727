"""Tables as tools write them: read as what they mean, or asked about in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from karaoke_train import annotations
from karaoke_train.annotations import AnnotationError
from karaoke_train.notes import Note
from tests.karaoke_train.files import text

if TYPE_CHECKING:
    from pathlib import Path

ONE = [(0.5, 0.8, 57.0)]


def read(tmp_path: Path, table: str | bytes, name: str = "a.csv") -> list[tuple[float, ...]]:
    notes = annotations.read(text(tmp_path / name, table))
    return [(round(n.onset, 6), round(n.offset, 6), round(n.pitch, 2)) for n in notes]


@pytest.mark.parametrize(
    "table",
    [
        "0.50,220.0,0.30\n",  # Tony, vocadito
        "0.500000000,220.000,0.300000000,0.8,\n",  # Sonic Visualiser's notes: level and label
        '0.5,220.0,0.3,1,"la, la"\n',
        "TIME,VALUE,DURATION,LEVEL,LABEL\n0.5,220.0,0.3,0.8,New Point\n",  # with its header
        "0.5\t220.0\t0.3\n",
        "0.5;220.0;0.3\n",
        "0,5;220,0;0,3\n",
        "0.5 220.0 0.3\n",
        "0.5 , 220.0 , 0.3\r\n",
        "\ufeff0.5,220.0,0.3\r",
    ],
)
def test_onset_hertz_duration_is_no_offset_of_220_s(tmp_path: Path, table: str) -> None:
    assert read(tmp_path, table) == ONE


def test_a_bass_in_hertz_is_told_by_his_higher_notes(tmp_path: Path) -> None:
    table = "0.5,82.41,0.3\n0.9,146.83,0.3\n"
    assert read(tmp_path, table) == [(0.5, 0.8, 40.0), (0.9, 1.2, 50.0)]


@pytest.mark.parametrize(
    "table",
    [
        "start_time_s,end_time_s,pitch_midi,velocity,pitch_bend\n0.5,0.8,57,80,0,1,1\n",
        "onset,duration,midi\n0.5,0.3,57\n",
        "onset,duration,pitch\n0.5,0.3,57\n",
        "Start,Duration,Frequency (Hz)\n0.5,0.3,220\n",
        "onset,offset,hz\n0.5,0.8,220\n",
        "onset_ms,duration_ms,f0_hz\n500,300,220\n",
        "start_ms;end_ms;midi\n500;800;57\n",
        "OnsetTime\tOffsetTime\tMidiPitch\n0.5\t0.8\t57\n",  # MAPS
        "onset;offset;pitch\n0,5;0,8;57\n",
        '"0,5","0,8","57"\n',
        "0.5\t0.8\t57\n",
        "sep=;\nonset;offset;pitch\n0,5;0,8;57\n",  # Excel
        "onset,offset,duration,pitch\n0.5,0.8,0.3,57\n",
        "onset,offset,pitch_hz,midi_note\n0.5,0.8,220,57\n",
    ],
)
def test_headers_of_tools_are_known(tmp_path: Path, table: str) -> None:
    assert read(tmp_path, table) == ONE


def test_excels_unicode_text_and_old_windows_letters_are_read(tmp_path: Path) -> None:
    table = "onset\toffset\tpitch\tsyllable\n0,5\t0,8\t57\tlä…\n"
    assert read(tmp_path, table.encode("utf-16")) == ONE
    assert read(tmp_path, table.encode("cp1252")) == ONE


def test_a_table_saved_as_text_is_no_ultrastar_song(tmp_path: Path) -> None:
    assert read(tmp_path, "0.5\t220.0\t0.3\n", "a.txt") == ONE


def test_pitches_beyond_midis_are_hertz(tmp_path: Path) -> None:
    table = "onset,offset,pitch\n0.5,0.8,220.0\n1,1.2,110\n"
    assert read(tmp_path, table) == [(0.5, 0.8, 57.0), (1.0, 1.2, 45.0)]


def test_what_the_values_told_is_remarked(tmp_path: Path) -> None:
    path = text(tmp_path / "a.csv", "0.5,220.0,0.3\n")
    (remark,) = annotations.read_labels(path).remarks
    assert remark.startswith("its columns are read as onset, Hz, duration")
    assert annotations.read_labels(text(path, "onset,hz,duration\n0.5,220,0.3\n")).remarks == ()


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        # either unit is possible
        ("onset,offset,pitch\n0.5,0.8,110.0\n", "line 2: the pitch 110 may be a MIDI number or"),
        ("0.5,0.8,60\n0.9,1,110\n", "line 2: the pitch 110 may be a MIDI number or Hz; call its"),
        ("0.5,0.8,60\n0.9,1,440\n", "line 2: the pitch 440 may be a MIDI number or Hz"),  # a slip?
        ("0.5,82.4,0.3\n", "line 1: the second column, 82.4 and the like, may be MIDI numbers or"),
        ("TIME,VALUE,DURATION\n0.5,57,0.3\n", "line 2: the pitch 57 may be a MIDI number or Hz"),
        # the columns can't be told
        ("0.5,0.8,0.3\n", "line 1: no column of 0.5,0.8,0.3 looks like a sung pitch: name them"),
        ("0,5,0,8,57\n", "line 1: no column of 0,5,0 looks like a sung pitch"),
        ("0.5,0.8,57\n1,1.2,3\n", "line 2: the third column is 3 here and 57 elsewhere"),
        ("0,0.5,57\n0.6,0.5,57\n", "line 2: the note ends at 0.5 s, not after its onset at 0.6 s"),
        ("frame,duration,value\n22050,1000,220\n", "line 1: the header 'frame,duration,value' l"),
        # and no frequency is zero
        ("onset,offset,hz\n0.5,0.8,0\n", "line 2: 0 Hz is no frequency of a note"),
        ("0.5,220.1\n0.6,220.2\n", "line 1: '0.5,220.1' is not onset,offset,pitch"),
    ],
)
def test_what_cannot_be_told_is_asked_about(tmp_path: Path, table: str, fault: str) -> None:
    path = text(tmp_path / "a.csv", table)
    with pytest.raises(AnnotationError) as caught:
        annotations.read(path)
    assert str(caught.value).startswith(f"{path}, {fault}")


def test_the_words_say_how_to_name_durations_and_frames(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="put the line onset,duration,pitch before the first"):
        read(tmp_path, "0.6,0.5,57\n")
    with pytest.raises(AnnotationError, match="export them in seconds"):
        read(tmp_path, "FRAME,VALUE,DURATION\n22050,220,1000\n")
    with pytest.raises(AnnotationError, match="a pitch track: export the notes"):
        read(tmp_path, "0.5,220.1\n0.6,220.2\n")


@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_our_own_whistle_register_comes_back(tmp_path: Path, suffix: str) -> None:
    notes = (Note(0.5, 0.75, 60.0), Note(1.0, 1.5, 101.0))
    annotations.write(tmp_path / f"a{suffix}", notes)
    assert annotations.read(tmp_path / f"a{suffix}") == notes


# --- the same in JSON


@pytest.mark.parametrize(
    "note",
    [
        '{"onset": 0.5, "offset": 0.8, "hz": 220}',
        '{"onset": 0.5, "duration": 0.3, "midi": 57, "pitch": "A3"}',
        '{"onset": 0.5, "offset": 0.8, "pitch": 220.0}',
    ],
)
def test_json_may_have_durations_and_hertz(tmp_path: Path, note: str) -> None:
    assert read(tmp_path, f'{{"notes": [{note}]}}', "a.json") == ONE


@pytest.mark.parametrize(
    ("note", "fault"),
    [
        ('{"onset": 0.5, "offset": 0.8, "pitch": 110}', "the pitch 110 may be a MIDI number or Hz"),
        ('{"onset": 0.5, "offset": 0.8, "hz": 0}', "note 1: 0 Hz is no frequency"),
    ],
)
def test_json_pitches_are_asked_about_alike(tmp_path: Path, note: str, fault: str) -> None:
    with pytest.raises(AnnotationError, match=fault):
        read(tmp_path, f'{{"notes": [{note}]}}', "a.json")
