"""Label files in and out: what each format means, what is refused and in which words."""

from __future__ import annotations

import json
import os
import pickle
from typing import TYPE_CHECKING

import mido
import pytest
from hypothesis import given
from hypothesis import strategies as st

from karaoke_train import annotations
from karaoke_train.annotations import AnnotationError, csv, midi, ultrastar
from karaoke_train.annotations import json as json_notes
from karaoke_train.annotations.tuning import tuning
from karaoke_train.notes import Note
from tests.karaoke_train.files import NOTES, text

if TYPE_CHECKING:
    from pathlib import Path


@st.composite
def melodies(draw: st.DrawFn) -> tuple[Note, ...]:
    """Notes of at least 50 ms with gaps from nothing to two seconds, pitches with cents."""
    time, notes = draw(st.floats(0.0, 5.0)), []
    for _ in range(draw(st.integers(0, 12))):
        offset = time + draw(st.floats(0.05, 3.0))
        notes.append(Note(time, offset, draw(st.floats(36, 84))))
        time = offset + draw(st.one_of(st.just(0.0), st.floats(0.0, 2.0)))
    return tuple(notes)


def close(got: tuple[Note, ...], wanted: tuple[Note, ...], seconds: float, pitch: float) -> bool:
    return len(got) == len(wanted) and all(
        abs(a.onset - b.onset) <= seconds
        and abs(a.offset - b.offset) <= seconds
        and abs(a.pitch - b.pitch) <= pitch
        for a, b in zip(got, wanted, strict=True)
    )


# --- round trips


@given(melodies())
def test_csv_comes_back_to_the_microsecond(notes: tuple[Note, ...]) -> None:
    assert close(csv.parse(csv.render(notes).encode(), None), notes, 1e-6, 1e-4)  # type: ignore[arg-type]


@given(melodies())
def test_json_comes_back_exactly(notes: tuple[Note, ...]) -> None:
    assert json_notes.parse(json_notes.render(notes).encode(), None) == notes  # type: ignore[arg-type]


@given(melodies())
def test_midi_comes_back_to_half_a_millisecond_and_the_semitone(notes: tuple[Note, ...]) -> None:
    assert close(midi.parse(midi.render(notes), None), notes, 0.0006, 0.5001)  # type: ignore[arg-type]


@given(melodies())
def test_ultrastar_comes_back_to_a_beat_and_the_semitone(notes: tuple[Note, ...]) -> None:
    song = ultrastar.render(notes, "A title", "a.mp3").decode()
    off = abs(tuning(notes)) + 0.5  # rounded relative to it, and the file can't say it
    assert close(ultrastar.parse(song.encode(), None), notes, 0.011, off)  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", annotations.SUFFIXES)
def test_every_suffix_writes_what_it_reads(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"song{suffix.upper()}"
    annotations.write(path, NOTES)
    assert close(annotations.read(path), NOTES, 0.011, 0.5)


@pytest.mark.parametrize("suffix", annotations.SUFFIXES)
def test_no_notes_come_back_as_no_notes(tmp_path: Path, suffix: str) -> None:
    annotations.write(tmp_path / f"song{suffix}", ())
    assert annotations.read(tmp_path / f"song{suffix}") == ()


def test_a_full_disk_leaves_the_old_file_and_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    annotations.write(tmp_path / "a.csv", NOTES)

    def full(descriptor: int) -> None:  # where delayed allocation says so
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        annotations.write(tmp_path / "a.csv", NOTES[:1])
    monkeypatch.undo()
    assert annotations.read(tmp_path / "a.csv") == NOTES
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_other_suffixes_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"song\.xml: is none of \.csv, \.json"):
        annotations.read(text(tmp_path / "song.xml", ""))
    with pytest.raises(AnnotationError, match=r"names no format; use one of \.csv"):
        annotations.write(tmp_path / "song.xml", NOTES)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"gone\.csv: cannot be read \(No such file"):
        annotations.read(tmp_path / "gone.csv")


def test_errors_survive_the_way_between_processes(tmp_path: Path) -> None:
    error = AnnotationError(tmp_path, "line 3", "is odd")
    assert str(pickle.loads(pickle.dumps(error))) == f"{tmp_path}, line 3: is odd"


@pytest.mark.parametrize("suffix", [".mid", ".midi", ".txt"])
def test_a_pitch_between_two_semitones_is_written_as_the_upper_one(
    tmp_path: Path, suffix: str
) -> None:
    pitches = (0.5, 60.49, 60.5, 61.49, 61.5, 62.5, 126.5, 127.0)
    notes = tuple(Note(float(i), i + 0.5, pitch) for i, pitch in enumerate(pitches))
    annotations.write(tmp_path / f"a{suffix}", notes)
    written = [note.pitch for note in annotations.read(tmp_path / f"a{suffix}")]
    assert written == [1, 60, 61, 61, 62, 63, 127, 127]


# --- CSV


@pytest.mark.parametrize(
    "table",
    [
        "0.1,0.4,60\n0.5,0.9,62.5\n",
        "onset,offset,pitch\n0.1,0.4,60\n0.5,0.9,62.5",
        "\ufeffonset,offset,pitch\r\n0.1,0.4,60\r\n0.5,0.9,62.5\r\n",
        '# a comment\n\nstart,end,pitch,syllable\n0.1,0.4,60,la\n0.5,0.9,62.5,"a, b"\n',
        "Pitch, Onset, Offset\n60, 0.1, 0.4\n62.5, 0.5, 0.9\n",
        "0.5,0.9,62.5\n0.1,0.4,60\n",
    ],
)
def test_csv_may_have_a_header_other_orders_and_more_columns(tmp_path: Path, table: str) -> None:
    assert annotations.read(text(tmp_path / "a.csv", table)) == NOTES


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ("0.1,0.4,60\n0.3,0.9,62\n", "line 2: the note at 0.3 s begins before the one of line 1"),
        ("0.1,0.4,60\n0.1,0.4,60\n", "line 2: the note at 0.1 s begins before the one of line 1"),
        ("onset,offset,pitch\n0.4,0.1,60\n", "line 2: the note ends at 0.1 s, not after its onset"),
        ("0.4,0.4,60\n", "line 1: the note ends at 0.4 s, not after its onset at 0.4 s; correct"),
        ("-1,0.4,60\n", "line 1: the note begins before the audio, at -1 s"),
        ("onset,offset,midi\n0.1,0.4,440\n", "line 2: the pitch 440 is no MIDI number from 0"),
        ("0.1,0.4,C4\n", "line 1: 'C4' is not a number"),
        ("0.1,nan,60\n", "line 1: 'nan' is not a number"),
        ("0.1,1_0,60\n", "line 1: '1_0' is not a number"),
        ("la;0.4;60\n", "line 1: the header 'la,0.4,60' lacks one of onset,offset,pitch; name"),
        ("0.1,0.4\n", "line 1: '0.1,0.4' is not onset,offset,pitch"),
        ("onset,pitch\n", "line 1: the header 'onset,pitch' lacks one of"),
    ],
)
def test_csv_faults_name_the_line(tmp_path: Path, table: str, fault: str) -> None:
    with pytest.raises(AnnotationError) as caught:
        annotations.read(text(tmp_path / "a.csv", table))
    assert str(caught.value).startswith(f"{tmp_path / 'a.csv'}, {fault}")


def test_overlap_by_rounding_shortens_the_earlier_note(tmp_path: Path) -> None:
    notes = annotations.read(text(tmp_path / "a.csv", "0.1,0.5001,60\n0.5,0.9,62\n"))
    assert notes == (Note(0.1, 0.5, 60.0), Note(0.5, 0.9, 62.0))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", "onset,offset,pitch\n0.1,0.54,60\n0.5,0.9,62\n0.88,1,64\n"),
        ("a.json", '[{"onset":0.1,"offset":0.54,"pitch":60},{"onset":0.5,"offset":0.9,"pitch":62},'
                   '{"onset":0.88,"offset":1,"pitch":64}]'),
    ],
)  # fmt: skip
def test_notes_that_run_on_for_a_frame_or_two_are_shortened_and_that_is_said(
    tmp_path: Path, name: str, data: str
) -> None:
    if name == "a.json":
        data = f'{{"notes": {data}}}'
    labels = annotations.read_labels(text(tmp_path / name, data))
    assert labels.notes == (Note(0.1, 0.5, 60), Note(0.5, 0.88, 62), Note(0.88, 1, 64))
    assert labels.remarks == ("2 notes end where the next begins: up to 0.040 s shorter than told",)


def test_a_second_voice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="one voice sings one note at a time"):
        annotations.read(text(tmp_path / "a.csv", "0.1,0.56,60\n0.5,0.9,62\n"))


# --- JSON


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        ('{"notes": [', "line 1: is no JSON"),
        ("[]", "has no list of notes"),
        ('{"notes": [{"onset": 0, "offset": 1}]}', "note 1: needs the numbers"),
        ("[" * 100_000, "nested too deep"),
        (f'{{"notes": [{{"onset": 0, "offset": {"9" * 5000}, "pitch": 60}}]}}', "note 1: the note"),
        ('{"notes": [{"onset": 0, "offset": NaN, "pitch": 60}]}', "note 1: the note has a value"),
        (b"\xff\xfe\xfa", "is not UTF-8"),
    ],
)
def test_json_faults_are_named(tmp_path: Path, document: str | bytes, fault: str) -> None:
    with pytest.raises(AnnotationError, match=fault):
        annotations.read(text(tmp_path / "a.json", document))


def test_json_keeps_what_others_add(tmp_path: Path) -> None:
    rows = [{"onset": n.onset, "offset": n.offset, "pitch": n.pitch, "word": "la"} for n in NOTES]
    path = text(tmp_path / "a.json", json.dumps({"song": "x", "notes": rows}))
    assert annotations.read(path) == NOTES


# --- MIDI


def midi_file(path: Path, *tracks: tuple[str, list[mido.Message]], kind: int = 1) -> Path:
    file = mido.MidiFile(type=kind, ticks_per_beat=100)
    for name, messages in tracks:
        file.tracks.append(mido.MidiTrack([mido.MetaMessage("track_name", name=name), *messages]))
    file.save(path)
    return path


def key(pitch: int, wait: int, length: int, channel: int = 0) -> list[mido.Message]:
    return [
        mido.Message("note_on", note=pitch, time=wait, channel=channel),
        mido.Message("note_on", note=pitch, velocity=0, time=length, channel=channel),
    ]


def test_midi_follows_tempo_changes(tmp_path: Path) -> None:
    tempo = [mido.MetaMessage("set_tempo", tempo=1_000_000, time=100)]  # after one beat of 0.5 s
    path = midi_file(
        tmp_path / "a.mid", ("tempo", tempo), ("x", key(60, 0, 100) + key(62, 100, 50))
    )
    assert annotations.read(path) == (Note(0.0, 0.5, 60.0), Note(1.5, 2.0, 62.0))


def test_midi_takes_the_part_named_after_the_voice(tmp_path: Path) -> None:
    tracks = [("Piano", key(40, 0, 100)), ("Lead vocals", key(60, 0, 100)), ("Bass", key(30, 0, 9))]
    assert annotations.read(midi_file(tmp_path / "a.mid", *tracks)) == (Note(0.0, 0.5, 60.0),)


@pytest.mark.parametrize("other", ["Single Coil", "Rising Pad", "Lead Guitar", "lead synth 2"])
def test_midi_tracks_that_only_contain_the_word_are_no_voice(tmp_path: Path, other: str) -> None:
    tracks = [(other, key(40, 0, 100)), ("Voice 1", key(60, 0, 100))]
    assert annotations.read(midi_file(tmp_path / "a.mid", *tracks)) == (Note(0.0, 0.5, 60.0),)
    path = midi_file(tmp_path / "b.mid", (other, key(40, 0, 100)), ("Choir", key(60, 0, 100)))
    with pytest.raises(AnnotationError, match="2 parts with notes"):
        annotations.read(path)


def test_blanks_may_part_numbers_with_decimal_commas(tmp_path: Path) -> None:
    path = text(tmp_path / "a.csv", "0,5 1,0 60\n1,5 2,25 62,5\n")
    assert annotations.read(path) == (Note(0.5, 1.0, 60.0), Note(1.5, 2.25, 62.5))


def test_a_pitch_that_is_no_number_is_said_to_be_none_and_not_to_be_of_another_unit(
    tmp_path: Path,
) -> None:
    row = '{"notes": [{"onset": 0.5, "offset": 1.0, "pitch": NaN}]}'
    with pytest.raises(AnnotationError, match="a value that is not finite"):
        annotations.read(text(tmp_path / "a.json", row))


def test_midi_with_nothing_to_choose_by_lists_its_parts(tmp_path: Path) -> None:
    path = midi_file(tmp_path / "a.mid", ("Piano", key(40, 0, 100)), ("Bass", key(60, 0, 100)))
    with pytest.raises(AnnotationError, match=r"2 parts with notes \('Piano', 'Bass'\); keep"):
        annotations.read(path)


def test_midi_drums_are_never_the_voice(tmp_path: Path) -> None:
    path = midi_file(tmp_path / "a.mid", ("x", key(60, 0, 100) + key(38, 0, 10, channel=9)), kind=0)
    assert annotations.read(path) == (Note(0.0, 0.5, 60.0),)


def test_midi_played_legato_is_joined_and_chords_are_refused(tmp_path: Path) -> None:
    on, off = "note_on", "note_off"
    legato = [
        mido.Message(on, note=60),
        mido.Message(on, note=62, time=100),
        mido.Message(off, note=60, time=5),
        mido.Message(off, note=62, time=95),
    ]
    path = midi_file(tmp_path / "a.mid", ("x", legato))
    assert annotations.read(path) == (Note(0.0, 0.5, 60.0), Note(0.5, 1.0, 62.0))
    chord = [mido.Message(on, note=p) for p in (60, 64)] + [mido.Message(off, note=60, time=99)]
    with pytest.raises(AnnotationError, match="note 2: the note at 0 s begins before"):
        annotations.read(midi_file(tmp_path / "b.mid", ("x", chord)))


def test_midi_that_is_none_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"RIFF....WAVE", midi.render(NOTES)[:30]):
        with pytest.raises(AnnotationError, match=r"a\.mid: is no MIDI file \(.+\); export"):
            annotations.read(text(tmp_path / "a.mid", content))


# --- UltraStar

SONG = """#TITLE:A
#BPM:150
#GAP:1000
: 0 10 0 La
* 10 10 12 la~
F 20 10 3 free
- 32
R 40 10 0 rap
G 50 10 0 gold rap
: 60 5 -12 end
E
: 99 5 0 after the end
"""
SUNG = (Note(1.0, 2.0, 60.0), Note(2.0, 3.0, 72.0), Note(7.0, 7.5, 48.0))  # a beat is 0.1 s


def test_ultrastar_sung_notes_are_read_and_free_and_rapped_ones_left_out(tmp_path: Path) -> None:
    assert close(annotations.read(text(tmp_path / "a.txt", SONG)), SUNG, 1e-9, 0.0)


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
def test_ultrastar_may_be_in_any_usual_encoding(tmp_path: Path, coding: str) -> None:
    song = SONG.replace("La", "Lä").encode(coding)
    assert len(annotations.read(text(tmp_path / "a.txt", song))) == 3


def test_ultrastar_numbers_may_have_decimal_commas(tmp_path: Path) -> None:
    song = "#bpm: 187,5 \r\n#GAP:-79,99\r\n: 10 5 0 a\r\nE"
    (note,) = annotations.read(text(tmp_path / "a.txt", song))
    assert note.onset == pytest.approx(10 * 15 / 187.5 - 0.07999)
    assert note.duration == pytest.approx(0.4)


def test_ultrastar_relative_beats_count_from_the_phrase(tmp_path: Path) -> None:
    song = "#BPM:150\n#RELATIVE:YES\n: 0 5 0 a\n- 8 10\n: 0 5 0 b\n- 6\n: 2 5 0 c\nE\n"
    onsets = [note.onset for note in annotations.read(text(tmp_path / "a.txt", song))]
    assert onsets == pytest.approx([0.0, 1.0, 1.8])


def test_ultrastar_duet_voices_that_take_turns_are_one_melody(tmp_path: Path) -> None:
    song = "#BPM:150\nP1\n: 0 5 0 a\n: 20 5 4 both\nP 2\n: 10 5 2 b\n: 20 5 4 both\nE\n"
    notes = annotations.read(text(tmp_path / "a.txt", song))
    assert [note.pitch for note in notes] == [60, 62, 64]


def test_ultrastar_duet_voices_at_once_are_refused(tmp_path: Path) -> None:
    song = "#BPM:150\nP1\n: 0 5 0 a\nP2\n: 2 5 4 b\nE\n"
    with pytest.raises(AnnotationError, match="line 5: the two voices of this duet sing at once"):
        annotations.read(text(tmp_path / "a.txt", song))


@pytest.mark.parametrize(
    ("song", "fault"),
    [
        ("just some lyrics\n", ": is no UltraStar song: it has no #BPM line"),
        ("#BPM:x\n", ", line 1: 'x' is not a number"),
        ("#BPM:0\n", ", line 1: #BPM:0 must be above zero"),
        ("#BPM:150\n: 5 -3 0 a\n", ", line 2: the note ends at 0.2 s, not after"),
        ("#BPM:150\n: 0 5 0 a\n: 3 5 0 b\n", ", line 3: the note at 0.3 s begins before"),
        ("#BPM:150\n: 0 5 a\n", ", line 2: ': 0 5 a' is no note line"),
        ("#BPM:150\nB 10 200\n", ", line 2: changes the tempo"),
        (f"#BPM:{'9' * 400}\n", ", line 1: '9999"),
        (f"#BPM:150\n: {'9' * 400} 5 0 a\n", ", line 2: ': 9999"),
        (f"#BPM:150\n: 0 5 {'9' * 5000} a\n", ", line 2: ': 0 5 9999"),
        (f"#BPM:150\n#RELATIVE:yes\n- {'9' * 5000}\n", ", line 3: '- 9999"),
    ],
)
def test_ultrastar_faults_name_the_line(tmp_path: Path, song: str, fault: str) -> None:
    with pytest.raises(AnnotationError) as caught:
        annotations.read(text(tmp_path / "a.txt", song))
    assert str(caught.value).startswith(f"{tmp_path / 'a.txt'}{fault}")
    assert len(str(caught.value)) < len(str(tmp_path)) + 200


def test_ultrastar_is_written_as_players_want_it(tmp_path: Path) -> None:
    notes = (Note(1.0, 1.5, 60.2), Note(1.5, 2.0, 61.0), Note(3.0, 3.5, 59.0))
    annotations.write(tmp_path / "Song.txt", notes, sound="Song.wav")
    assert (tmp_path / "Song.txt").read_text("utf-8").splitlines() == [
        "#VERSION:1.0.0",
        "#TITLE:Song",
        "#ARTIST:Unknown",
        "#MP3:Song.wav",
        "#BPM:750",
        "#GAP:1000",
        ": 0 25 0 ~",
        ": 25 25 1 ~",
        "- 50",
        ": 100 25 -1 ~",
        "E",
    ]


# --- what somebody else may have put there


@pytest.mark.parametrize("suffix", annotations.SUFFIXES)
def test_a_fifo_in_place_of_a_label_file_is_not_waited_for(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"song{suffix}"
    os.mkfifo(path)
    with pytest.raises(AnnotationError, match="is no file"):
        annotations.read(path)


@pytest.mark.parametrize("suffix", annotations.SUFFIXES)
def test_a_label_file_of_a_terabyte_of_nothing_is_not_held(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"song{suffix}"
    path.touch()
    os.truncate(path, 1 << 40)
    with pytest.raises(AnnotationError, match="more than 16 MiB"):
        annotations.read(path)


def test_a_name_that_no_file_can_have_is_refused_in_words() -> None:
    with pytest.raises(AnnotationError, match="holds no labels"):
        annotations.read("song\0.csv")


@pytest.mark.parametrize("suffix", [".csv", ".txt"])
def test_a_cell_that_has_no_end_is_refused_in_few_words(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"song{suffix}"
    path.write_text("0,1," + "9" * 200_000)
    with pytest.raises(AnnotationError) as refused:
        annotations.read(path)
    assert len(refused.value.reason) < 200


@pytest.mark.parametrize(
    "line", ["onset,offset," + "x" * 100_000, "1,2", "0,1,60\n0," + "x" * 9999]
)
def test_what_a_file_has_is_quoted_in_few_words(tmp_path: Path, line: str) -> None:
    path = tmp_path / "song.csv"
    path.write_text(line)
    with pytest.raises(AnnotationError) as refused:
        annotations.read(path)
    assert len(refused.value.reason) < 300
