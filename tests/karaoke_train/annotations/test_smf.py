"""MIDI files as others write them, and damaged ones: what is hit is left out, the rest is read."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

import mido
import pytest
from hypothesis import given
from hypothesis import strategies as st

from karaoke_train import annotations
from karaoke_train.annotations import AnnotationError, smf
from tests.karaoke_train.files import text

if TYPE_CHECKING:
    from pathlib import Path

END = b"\0\xff\x2f\0"
A = b"\x83\x60\x90\x3c\x50" + b"\x83\x60\x80\x3c\x00"  # after a beat of 480 ticks, one beat of C4
B = b"\0\x90\x3e\x50" + b"\x83\x60\x80\x3e\x00"  # D4 at once, one beat
FAST = b"\0\xff\x51\x03" + (400_000).to_bytes(3)
SLOW = b"\0\xff\x51\x03" + (500_000).to_bytes(3)
FIRST, SECOND = (0.5, 1.0, 60), (1.0, 1.5, 62)  # A and B at 120 beats per minute


def track(body: bytes, length: int | None = None) -> bytes:
    return b"MTrk" + struct.pack(">I", len(body) if length is None else length) + body


def midi(*tracks: bytes, kind: int = 0, division: int = 480, count: int | None = None) -> bytes:
    header = struct.pack(">IHHh", 6, kind, len(tracks) if count is None else count, division)
    return b"MThd" + header + b"".join(tracks)


def read(tmp_path: Path, data: bytes) -> tuple[list[tuple[float, ...]], tuple[str, ...]]:
    labels = annotations.read_labels(text(tmp_path / "a.mid", data))
    notes = [(round(n.onset, 4), round(n.offset, 4), n.pitch) for n in labels.notes]
    return notes, labels.remarks


def notes(tmp_path: Path, data: bytes) -> list[tuple[float, ...]]:
    """The notes of a file in which nothing is left out."""
    found, remarks = read(tmp_path, data)
    assert remarks == ()
    return found


def test_a_pitch_bend_moves_no_note_and_is_said(tmp_path: Path) -> None:
    unbent, bent = b"\0\xe0\x00\x40", b"\0\xe0\x00\x60"
    assert notes(tmp_path, midi(track(unbent + A + END))) == [FIRST]
    found, remarks = read(tmp_path, midi(track(bent + A + unbent + bent + B + END)))
    assert found == [FIRST, SECOND]
    assert remarks == ("a pitch bend is left out: notes have their keys' pitches (2 times)",)


# --- tempo and time


@pytest.mark.parametrize(("first", "second", "beat"), [(SLOW, FAST, 0.4), (FAST, SLOW, 0.5)])
def test_of_two_tempos_at_one_tick_the_last_counts(
    tmp_path: Path, first: bytes, second: bytes, beat: float
) -> None:
    assert notes(tmp_path, midi(track(first + second + A + END))) == [(beat, 2 * beat, 60)]
    late = A + first + second + B + END  # and in the middle of a song
    assert notes(tmp_path, midi(track(late)))[1] == (1.0, round(1 + beat, 4), 62)


def test_a_tempo_in_a_later_track_counts(tmp_path: Path) -> None:
    data = midi(track(SLOW + A + END), track(FAST + END), kind=1)
    assert notes(tmp_path, data) == [(0.4, 0.8, 60)]


@pytest.mark.parametrize("tempo", [b"\0\xff\x51\x03\0\0\0", b"\0\xff\x51\x02\x07\xa1"])
def test_a_tempo_that_is_none_is_passed_over(tmp_path: Path, tempo: bytes) -> None:
    found, remarks = read(tmp_path, midi(track(tempo + A + END)))
    assert found == [FIRST]
    assert remarks == ("a tempo that is none is passed over",)


@pytest.mark.parametrize(("frames", "rate"), [(24, 24), (25, 25), (29, 30_000 / 1_001), (30, 30)])
def test_smpte_time_is_read_and_knows_no_tempo(tmp_path: Path, frames: int, rate: float) -> None:
    division = -frames * 256 + 40
    (note,) = notes(tmp_path, midi(track(FAST + A + END), division=division))
    assert note == (round(12 / rate, 4), round(24 / rate, 4), 60)  # 480 ticks are 12 frames


def test_without_a_beat_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"without a beat; export it as type 0 or 1"):
        read(tmp_path, midi(track(A + END), division=0))


def test_format_2_goes_by_its_own_tempo_and_several_patterns_are_refused(tmp_path: Path) -> None:
    data = midi(track(FAST + END), track(A + END), kind=2)
    assert notes(tmp_path, data) == [FIRST]
    with pytest.raises(AnnotationError, match="without a common beat"):
        read(tmp_path, midi(track(A + END), track(A + END), kind=2))


# --- notes


def test_running_status_is_followed_across_other_events(tmp_path: Path) -> None:
    body = b"\x83\x60\x90\x3c\x50" + b"\x83\x60\x3c\x00" + b"\0\x3e\x50"
    body += b"\0\xff\x01\x02hi" + b"\0\xf0\x03\x01\x02\xf7" + b"\x83\x60\x3e\x00"
    assert notes(tmp_path, midi(track(body + END))) == [FIRST, SECOND]


def test_a_note_of_no_length_costs_itself_alone(tmp_path: Path) -> None:
    empty = b"\0\x90\x40\x50" + b"\0\x80\x40\x00"
    found, remarks = read(tmp_path, midi(track(A + empty + B + empty + END)))
    assert found == [FIRST, SECOND]
    assert remarks == ("a note of no length is left out (2 times)",)


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        # struck again while it sounds, and let go twice: two notes, the second one to its own end
        (b"\0\x90\x3c\x50\x83\x60\x3c\x50\x10\x80\x3c\0\x83\x50\x3c\0", [(0, 0.5), (0.5, 1.0)]),
        # the same with the second struck before the first is let go, at one tick
        (b"\0\x90\x3c\x50\x83\x60\x3c\x50\0\x80\x3c\0\x83\x60\x3c\0", [(0, 0.5), (0.5, 1.0)]),
        # struck again, and let go once
        (b"\0\x90\x3c\x50\x83\x60\x3c\x50\x83\x60\x80\x3c\0", [(0, 0.5), (0.5, 1.0)]),
        # and struck anew after that, which ends nothing that had ended
        (
            b"\0\x90\x3c\x50\x83\x60\x3c\x50\x83\x60\x80\x3c\0\x83\x60\x90\x3c\x50\x83\x60\x80\x3c\0",
            [(0, 0.5), (0.5, 1.0), (1.5, 2.0)],
        ),
        # a stray end, after another note
        (
            b"\0\x90\x3c\x50\x83\x60\x3c\x50\x83\x60\x80\x3c\0\0\x90\x3e\x50\x83\x60\x80\x3e\0\0\x3c\0",
            [(0, 0.5), (0.5, 1.0), (1.0, 1.5)],
        ),
        # never let go: it ends with the track
        (b"\0\x90\x3c\x50\x83\x60\xff\x01\0", [(0, 0.5)]),
    ],
)
def test_notes_of_one_pitch_that_overlap_are_two(
    tmp_path: Path, body: bytes, wanted: list[tuple[float, float]]
) -> None:
    assert [note[:2] for note in notes(tmp_path, midi(track(body + END)))] == wanted


# --- damage


@pytest.mark.parametrize("key", [b"\x80\x00", b"\x08\x00", b"\x00\x02", b"\x03"])
def test_a_key_signature_that_there_is_not_is_passed_over(tmp_path: Path, key: bytes) -> None:
    data = midi(track(b"\0\xff\x59" + bytes([len(key)]) + key + A + END))
    found, remarks = read(tmp_path, data)
    assert found == [FIRST]
    assert remarks == ("a key signature that there isn't is passed over",)


def test_key_signatures_that_there_are_are_no_remark(tmp_path: Path) -> None:
    for key in (b"\xf9\x01", b"\x07\x00", b"\x00\x00"):
        assert notes(tmp_path, midi(track(b"\0\xff\x59\x02" + key + A + END))) == [FIRST]


@pytest.mark.parametrize(
    "odd",
    [
        b"\0\xff\x58\x00",  # a time signature of no bytes
        b"\0\xff\x54\x02\x7f\x7f",  # an SMPTE offset that is cut
        b"\0\xff\x20\x00",  # a channel of no bytes
        b"\0\xff\x00\x01\x01",  # a sequence number of one byte
        b"\0\xff\x60\x03abc",  # a kind that nobody knows
        b"\0\xf4",  # a status that nobody knows
        b"\0\xf8",  # the clock, which belongs on a wire
        b"\0\xff\x03\x02\xff\xfe",  # a name in no encoding
    ],
)
def test_events_that_are_not_about_notes_may_be_anything(tmp_path: Path, odd: bytes) -> None:
    assert notes(tmp_path, midi(track(A + odd + B + END))) == [FIRST, SECOND]


def test_a_byte_over_127_is_a_loud_note_or_a_controller(tmp_path: Path) -> None:
    body = b"\x83\x60\x90\x3c\xc8" + b"\x83\x60\x80\x3c\x00" + b"\0\xb0\x07\xff" + B + END
    found, remarks = read(tmp_path, midi(track(body)))
    assert found == [FIRST, SECOND]
    assert remarks == ("a byte over 127 beside the notes is read as 127 (2 times)",)


def test_a_note_of_a_pitch_over_127_is_left_out(tmp_path: Path) -> None:
    odd = b"\0\x90\xc8\x50" + b"\0\x80\xc8\x00"
    found, remarks = read(tmp_path, midi(track(A + odd + B + END)))
    assert found == [FIRST, SECOND]
    assert remarks == ("a note of a pitch over 127 is left out",)


def test_of_a_track_that_breaks_off_the_whole_notes_are_read(tmp_path: Path) -> None:
    whole = midi(track(A + B + END))
    found, remarks = read(tmp_path, whole[: whole.index(B) + 5])
    assert found == [FIRST]
    cut = len(whole[: whole.index(B) + 5])
    assert remarks == (
        "a note whose end is cut off is left out",
        f"track 1: it breaks off at byte {cut}: what is sung from there on is missing",
    )


def test_a_track_that_breaks_off_between_two_events_says_so_wherever_it_is_cut(
    tmp_path: Path,
) -> None:
    whole = midi(track(A + B + A + B + END))
    for cut in range(whole.index(A) + len(A), len(whole) - len(END) + 1):
        _, remarks = read(tmp_path, whole[:cut])
        said = f"track 1: it breaks off at byte {cut}: what is sung from there on is missing"
        assert said in remarks, cut


def test_a_track_without_its_end_mark_or_with_a_wrong_length_is_whole(tmp_path: Path) -> None:
    assert notes(tmp_path, midi(track(A + B))) == [FIRST, SECOND]
    assert notes(tmp_path, midi(track(A + B + END, length=9999))) == [FIRST, SECOND]


def test_a_file_that_breaks_off_before_its_last_track_says_so(tmp_path: Path) -> None:
    found, remarks = read(tmp_path, midi(track(A + END), kind=1, count=2))
    assert found == [FIRST]
    assert remarks[0].startswith("it ends before 1 of the tracks that its header promises")


def test_bytes_that_begin_no_event_end_the_track_there(tmp_path: Path) -> None:
    found, remarks = read(tmp_path, midi(track(b"\0\x05" + END), track(A + END), kind=1))
    assert found == [FIRST]
    assert [r.split(":")[:2] for r in remarks] == [["track 1", " byte 23 (0x05) begins no event"]]
    body = A + b"\xff\xff\xff\xff\x7f\x90\x3c\x50"
    assert read(tmp_path, midi(track(body)))[0] == [FIRST]


def test_damage_before_the_first_note_refuses_the_file(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"is no MIDI file .no note comes before track 1: it"):
        read(tmp_path, midi(track(A))[:25])
    with pytest.raises(AnnotationError, match="its header breaks off"):
        read(tmp_path, midi()[:10])


@pytest.mark.parametrize("length", [0, 3, 0xFFFFFFFF])
def test_a_track_of_a_wrong_length_goes_on_to_its_own_end(tmp_path: Path, length: int) -> None:
    data = midi(track(A + END, length), track(FAST + END), kind=1)
    assert notes(tmp_path, data) == [(0.4, 0.8, 60)]


def test_other_chunks_and_what_stands_around_the_file_are_passed_over(tmp_path: Path) -> None:
    data = midi(b"XFIH\0\0\0\x02ab", track(A + END), b"XFKM\0\0\0\x01c", kind=1, count=1)
    assert notes(tmp_path, data) == [FIRST]
    riff = b"RIFF" + struct.pack("<I", len(data) + 12) + b"RMIDdata" + struct.pack("<I", len(data))
    assert notes(tmp_path, riff + data + b"\0\0") == [FIRST]


def test_a_track_without_an_end_mark_is_read_whole(tmp_path: Path) -> None:
    assert notes(tmp_path, midi(track(A + B))) == [FIRST, SECOND]


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_and_nothing_else(body: bytes) -> None:
    file = smf.read(midi(track(body)))
    assert all(event.tick >= 0 for part in file.tracks for event in part.events)


@given(
    st.lists(
        st.tuples(st.integers(0, 9_999), st.integers(0, 127), st.integers(0, 127)), max_size=20
    ),
    st.binary(max_size=300),
)
def test_events_are_those_that_mido_wrote(played: list[tuple[int, int, int]], words: bytes) -> None:
    written = mido.MidiTrack([mido.MetaMessage("text", text=words.decode("latin-1"))])
    written += [mido.Message("note_on", note=n, velocity=v, time=t) for t, n, v in played]
    held = io.BytesIO()
    mido.MidiFile(tracks=[written]).save(file=held)
    (got,) = smf.read(held.getvalue()).tracks
    now, wanted = 0, []
    for wait, note, velocity in played:
        now += wait
        wanted.append((now, 0x90, bytes([note, velocity])))
    assert got.events[0] == (0, 0xFF, b"\x01" + words)
    assert list(got.events[1:]) == wanted
    assert not got.broken
