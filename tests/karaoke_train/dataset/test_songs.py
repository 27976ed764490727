"""Folders of songs: what pairs, what is refused, what is read, where segments are cut."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from karaoke_train import annotations as labels
from karaoke_train.audio import io
from karaoke_train.audio.io import AudioError
from karaoke_train.cli import evaluate
from karaoke_train.dataset.load import load_data
from karaoke_train.dataset.songs import FileSong, Song, read_folder, segments, split
from karaoke_train.notes import Note
from karaoke_train.settings import TrainSettings
from tests.karaoke_train.files import CSV, NOTES, text, tone, wav

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Silent:
    """A song without sound."""

    notes: tuple[Note, ...]
    duration: float
    name: str = "silent"

    def load(self, start: float = 0.0, end: float | None = None) -> np.ndarray:
        last = self.duration if end is None else end
        return np.zeros(round(last * 16_000) - round(start * 16_000), np.float32)


# --- folders


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3", ".aiff", ".WAV"])
def test_audio_of_every_format_pairs_with_its_labels(tmp_path: Path, suffix: str) -> None:
    wav(tmp_path / "voices" / f"a{suffix}", rate=32_000)
    text(tmp_path / "notes" / "a.csv", CSV)
    (song,), problems = read_folder(tmp_path / "voices", tmp_path / "notes")
    assert not problems
    assert (song.name, song.notes) == ("a", NOTES)
    assert song.duration == pytest.approx(1.0, abs=0.06)
    assert song.load().shape == (round(song.duration * 16_000),)


@pytest.mark.parametrize("name", ["a.csv", "a.mid", "a.midi", "a.txt", "a.json"])
def test_labels_of_every_format_pair_with_their_audio(tmp_path: Path, name: str) -> None:
    wav(tmp_path / "a.wav")
    labels.write(tmp_path / name, NOTES)
    (song,), problems = read_folder(tmp_path, tmp_path)
    assert len(song.notes) == 2
    assert not problems


def test_bad_files_are_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    wav(tmp_path / "good.wav")
    text(tmp_path / "good.csv", CSV)
    text(tmp_path / "corrupt.wav", b"RIFF\x00\x00 this is not audio")
    text(tmp_path / "corrupt.csv", CSV)
    text(tmp_path / "void.wav", b"")
    text(tmp_path / "void.csv", CSV)
    wav(tmp_path / "silence.wav", seconds=0.0)
    text(tmp_path / "silence.csv", CSV)
    wav(tmp_path / "unlabelled.wav")
    text(tmp_path / "unheard.csv", CSV)
    wav(tmp_path / "empty.wav")
    text(tmp_path / "empty.csv", "onset,offset,pitch\n")
    wav(tmp_path / "overlap.wav")
    text(tmp_path / "overlap.csv", "0,0.5,60\n0.2,0.6,62\n")
    wav(tmp_path / "twice.wav")
    wav(tmp_path / "twice.flac")
    text(tmp_path / "twice.csv", CSV)
    wav(tmp_path / "short.wav", seconds=0.3)
    text(tmp_path / "short.csv", CSV)
    songs, problems = read_folder(tmp_path, tmp_path)
    assert [song.name for song in songs] == ["good"]
    said = {problem.path.name: problem.reason for problem in problems}
    wanted = {
        "corrupt.wav": "is no audio that can be read",
        "void.wav": "is empty",
        "silence.wav": "holds no sound",
        "unlabelled.wav": "has no labels: no unlabelled with .csv, .json, .mid",
        "unheard.csv": "has no audio: no unheard with .wav",
        "empty.csv": "holds no notes with a pitch",
        "overlap.csv": "line 2: the note at 0.2 s begins before the one of line 1 ends",
        "twice.flac": "has the same name as",
        "short.wav": "ends at 0.30 s, but its labels go on for 0.60 s more",
    }
    assert said.keys() == wanted.keys()
    for name, words in wanted.items():
        assert said[name].startswith(words)
        assert str(tmp_path) in str(next(p for p in problems if p.path.name == name))


def test_files_pair_across_subfolders_by_name_and_equal_names_by_place(tmp_path: Path) -> None:
    for name in ("x/song", "y/song", "deep/only"):
        wav(tmp_path / "voices" / f"{name}.wav")
    for name in ("x/song", "y/song", "only"):
        text(tmp_path / "notes" / f"{name}.csv", CSV)
    songs, problems = read_folder(tmp_path / "voices", tmp_path / "notes")
    assert not problems
    assert [song.name for song in songs] == ["only", "x/song", "y/song"]


@pytest.mark.parametrize("place", ["._song", ".song", ".AppleDouble/song", "deep/._song"])
def test_hidden_files_are_neither_songs_nor_labels(tmp_path: Path, place: str) -> None:
    """As macOS leaves them on a foreign file system: the names of songs, and no sound in them."""
    wav(tmp_path / "song.wav")
    text(tmp_path / "song.csv", CSV)
    wav(tmp_path / f"{place}.wav")
    text(tmp_path / f"{place}.csv", "onset,offset,pitch\n0.2,0.3,50\n")
    songs, problems = read_folder(tmp_path, tmp_path)
    assert [(song.name, song.notes) for song in songs] == [("song", NOTES)]
    assert not problems


@pytest.mark.parametrize("name", ["._song", ".song"])
def test_a_hidden_file_stands_in_for_no_missing_one(tmp_path: Path, name: str) -> None:
    wav(tmp_path / "song.wav")
    text(tmp_path / f"{name}.csv", CSV)
    songs, (problem,) = read_folder(tmp_path, tmp_path)
    assert not songs
    assert problem.reason.startswith("has no labels")


def test_a_folder_below_a_hidden_one_is_read_all_the_same(tmp_path: Path) -> None:
    wav(tmp_path / ".data" / "song.wav")
    text(tmp_path / ".data" / "song.csv", CSV)
    (song,), _ = read_folder(tmp_path / ".data", tmp_path / ".data")
    assert song.name == "song"


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    songs, (problem,) = read_folder(tmp_path / "gone", tmp_path)
    assert not songs
    assert str(problem) == f"{tmp_path / 'gone'}: is not a folder; check the path"


def test_labels_a_little_past_the_end_are_clipped(tmp_path: Path) -> None:
    wav(tmp_path / "a.wav", seconds=1.0)
    text(tmp_path / "a.csv", "0.1,0.5,60\n0.6,1.3,62\n1.3,1.45,64\n")
    (song,), _ = read_folder(tmp_path, tmp_path)
    assert song.notes == (Note(0.1, 0.5, 60.0), Note(0.6, 1.0, 62.0))


# --- audio


def test_stereo_is_mixed_down(tmp_path: Path) -> None:
    left = tone(1.0)
    soundfile.write(tmp_path / "a.wav", np.stack([left, np.zeros_like(left)], axis=1), 16_000)
    assert np.allclose(io.read(tmp_path / "a.wav"), left / 2, atol=1e-3)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 44_101, 48_000, 96_000])
def test_other_rates_become_16_khz_in_time_and_in_tune(tmp_path: Path, rate: int) -> None:
    sound = io.read(wav(tmp_path / "a.wav", seconds=1.5, rate=rate))
    assert sound.dtype == np.float32
    assert sound.shape[0] in (24_000, 24_001)  # the file's last sample may lie past 1.5 s
    middle = slice(1_000, 23_000)
    assert np.allclose(sound[middle], tone(1.5)[middle], atol=2e-3)


@pytest.mark.parametrize("rate", [16_000, 44_100, 44_101])
def test_a_part_is_the_same_samples_as_in_the_whole(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "a.wav"
    noise = np.random.default_rng(0).uniform(-0.9, 0.9, 3 * rate)
    soundfile.write(path, noise, rate)
    whole = io.read(path)
    for start, end in ((0.0, 1.0), (0.51, 2.0), (1.23456, 3.0), (2.9, 5.0)):
        part = io.read(path, start, end)
        assert np.allclose(part, whole[round(start * 16_000) : round(end * 16_000)], atol=1e-5)
    assert io.read(path, 3.5).shape == (0,)


def test_a_two_hour_file_costs_no_more_than_its_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "long.flac"
    with soundfile.SoundFile(path, "w", 8_000, 1) as file:
        for _ in range(120):
            file.write(np.zeros(60 * 8_000, np.int16))
    text(tmp_path / "long.csv", "7190,7191,60\n")
    read_frames: list[int] = []
    original = soundfile.SoundFile.read

    def counting(self: soundfile.SoundFile, frames: int = -1, **more: object) -> np.ndarray:
        read_frames.append(frames)
        return original(self, frames, **more)  # type: ignore[no-any-return]

    monkeypatch.setattr(soundfile.SoundFile, "read", counting)
    (song,), _ = read_folder(tmp_path, tmp_path)
    assert song.duration == 7200
    (segment,) = segments(song)
    assert (segment.start, segment.end) == (7189.0, 7192.0)
    assert segment.load().shape == (3 * 16_000,)
    assert 0 < sum(read_frames) < 4 * 8_000


def test_a_file_cut_short_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 48_000), 16_000)
    path.write_bytes(path.read_bytes()[:30_000])
    with pytest.raises(AudioError, match=r"a\.flac: (is damaged|breaks off)"):
        io.probe(path)


def test_samples_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.array([0.1, np.nan, 0.1]), 16_000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"a\.wav: holds samples that are not numbers"):
        io.read(tmp_path / "a.wav")


def test_samples_over_full_scale_are_limited(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.array([0.5, 3.0, -3.0]), 16_000, subtype="FLOAT")
    assert io.read(tmp_path / "a.wav").tolist() == [0.5, 1.0, -1.0]


def test_opus_is_read(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.opus", tone(1.5, 48_000), 48_000, format="OGG", subtype="OPUS")
    text(tmp_path / "a.csv", CSV)
    (song,), problems = read_folder(tmp_path, tmp_path)
    assert not problems
    assert song.duration == pytest.approx(1.5, abs=0.02)
    assert np.allclose(song.load(0.5, 1.0), tone(1.5)[8_000:16_000], atol=0.02)


def test_m4a_is_refused_in_the_decoders_words_and_with_a_remedy(tmp_path: Path) -> None:
    text(tmp_path / "a.m4a", b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom" + bytes(500))
    text(tmp_path / "a.csv", CSV)
    _, (problem,) = read_folder(tmp_path, tmp_path)
    assert problem.path.name == "a.m4a"
    assert problem.reason == (
        "is no audio that can be read (Format not recognised); convert it to .wav or .flac"
    )


def test_m4a_without_labels_is_not_labelled_in_vain(tmp_path: Path) -> None:
    text(tmp_path / "a.m4a", b"x")
    _, (problem,) = read_folder(tmp_path, tmp_path)
    assert problem.reason.startswith("has no labels")
    assert problem.reason.endswith("convert it to .wav or .flac")


def test_a_file_that_vanished_is_named_and_the_error_can_travel(tmp_path: Path) -> None:
    song = FileSong("a", tmp_path / "a.wav", NOTES, 1.0)
    with pytest.raises(AudioError, match=r"a\.wav: is not there") as caught:
        song.load()
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


# --- segments


def even(count: int, length: float, gap: float, start: float = 0.5) -> tuple[Note, ...]:
    step = length + gap
    return tuple(Note(start + i * step, start + i * step + length, 60) for i in range(count))


def test_a_short_song_is_one_segment() -> None:
    (segment,) = segments(Silent(even(10, 0.5, 0.5), 11.0))
    assert (segment.start, segment.end) == (0.0, 11.0)
    assert segment.notes == even(10, 0.5, 0.5)


def test_cuts_lie_in_the_widest_rest_of_the_second_half() -> None:
    notes = (Note(1, 10, 60), Note(17, 19, 60), Note(23, 26, 60), Note(27, 40, 60))
    first, second = segments(Silent(notes, 41.0))
    assert (first.start, first.end, second.end) == (0.0, 21.0, 41.0)
    assert second.notes == (Note(2, 5, 60), Note(6, 19, 60))


def test_without_rests_cuts_lie_between_notes() -> None:
    parts = segments(Silent(even(100, 0.7, 0.0), 71.0))
    assert all(part.duration <= 30.0 for part in parts)
    assert sum(len(part.notes) for part in parts) == 100


def test_a_note_longer_than_a_segment_is_cut_through() -> None:
    parts = segments(Silent((Note(1, 70, 60),), 71.0))
    assert [part.duration for part in parts] == [30.0, 30.0, 11.0]
    assert sum(note.duration for part in parts for note in part.notes) == pytest.approx(69)


def test_long_rests_are_left_out_but_for_a_margin() -> None:
    notes = (Note(20, 21, 60), Note(25, 26, 60), Note(60, 61, 60))
    parts = segments(Silent(notes, 100.0))
    assert [(part.start, part.end) for part in parts] == [(19, 27), (59, 62)]


@st.composite
def songs(draw: st.DrawFn) -> Silent:
    time, notes = 0.0, []
    for _ in range(draw(st.integers(1, 60))):
        onset = time + draw(st.sampled_from([0.0, 0.0, 0.1, 0.7, 3.0, 12.0]))
        time = onset + draw(st.floats(0.05, 6.0))
        notes.append(Note(onset, time, 60.0))
    return Silent(tuple(notes), time + draw(st.floats(0.0, 20.0)))


@given(songs(), st.sampled_from([7.0, 12.5, 30.0]))
def test_segments_hold_every_note_once_and_none_is_too_long(song: Silent, longest: float) -> None:
    parts = segments(song, longest)
    assert all(0 < part.duration <= longest + 1e-9 for part in parts)
    assert all(part.start >= 0 and part.end <= song.duration for part in parts)
    assert all(a.end <= b.start for a, b in pairwise(parts))
    for part in parts:
        assert all(note.offset <= part.duration + 1e-9 for note in part.notes)
        assert part.load().shape == (round(part.end * 16_000) - round(part.start * 16_000),)
    sung = sum(note.duration for part in parts for note in part.notes)
    assert sung == pytest.approx(sum(note.duration for note in song.notes))
    if max(note.duration for note in song.notes) < longest / 2:
        onsets = [part.start + note.onset for part in parts for note in part.notes]
        assert onsets == pytest.approx([note.onset for note in song.notes])


def test_without_a_rest_in_the_second_half_the_last_one_before_is_taken() -> None:
    notes = (Note(0, 8, 60), Note(8, 12.5, 60), Note(15.5, 21.5, 60), Note(21.5, 22, 60))
    parts = segments(Silent(notes, 22.0), max_seconds=12.5)
    assert [(part.start, part.end) for part in parts] == [(0, 8), (8, 14), (14, 22)]


# --- splits


def named(*names: str) -> Sequence[Song]:
    return [Silent((), 1.0, name) for name in names]


def test_a_split_keeps_every_song_and_depends_on_the_seed_alone() -> None:
    songs = named(*(f"song{i}" for i in range(40)))
    train, val = split(songs, seed=1)
    assert (len(train), len(val)) == (36, 4)
    assert {s.name for s in [*train, *val]} == {s.name for s in songs}
    assert split(songs, seed=1) == (train, val)
    assert split(songs, seed=2) != (train, val)


@pytest.mark.parametrize(("count", "held"), [(0, 0), (1, 0), (2, 1), (3, 1), (11, 1), (16, 2)])
def test_a_split_leaves_neither_side_empty(count: int, held: int) -> None:
    train, val = split(named(*map(str, range(count))), seed=0)
    assert (len(train), len(val)) == (count - held, held)


def test_recordings_of_one_work_stay_together(tmp_path: Path) -> None:
    songs = [FileSong(f"{i}{k}", tmp_path, (), 1.0, work=str(i)) for i in range(9) for k in "ab"]
    for seed in range(9):
        train, val = split(songs, seed, val_share=0.3)
        assert not {s.name[0] for s in train} & {s.name[0] for s in val}
        assert len(val) == 6


def test_what_is_remarked_of_labels_is_told_by_a_training_and_by_evaluate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        wav(tmp_path / f"{name}.wav")
    text(tmp_path / "a.csv", "0.1,0.54,60\n0.5,0.9,62\n")
    text(tmp_path / "b.csv", CSV)
    (remark,) = load_data(TrainSettings(voices_dir=str(tmp_path))).remarks
    assert remark.startswith("a.csv: 1 note ends where the next begins")
    songs = evaluate._songs(str(tmp_path), None, None, 0, "", 0)
    assert len(songs) == 2
    assert f"note: {remark}" in capsys.readouterr().err
