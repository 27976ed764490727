"""Singing that other programs made: its labels are where its sound is, and its faults are named."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks.foreign import recording, score, speech
from benchmarks.foreign.__main__ import closed
from benchmarks.foreign.faults import faults
from benchmarks.foreign.score import Sung
from karaoke_train.notes import Note

RATE = 16_000


def melody(seed: int) -> tuple[list[Sung], score.Habits, np.random.Generator]:
    rng = np.random.default_rng(seed)
    how = score.habits(rng)
    return score.write(rng, 10.0, 48.0, 60.0, how, 2.0), how, rng


@pytest.mark.parametrize("seed", range(4))
def test_melodies_are_in_order_within_their_time_and_range(seed: int) -> None:
    notes, _, _ = melody(seed)
    assert len(notes) > 5
    assert all(a.start < a.end <= b.start + 1e-9 for a, b in pairwise(notes))
    assert notes[-1].end < 10.0
    assert all(47.0 < note.pitch < 61.0 for note in notes)
    assert notes[0].first
    assert not any(note.first and note.linked for note in notes)


def test_a_note_ends_where_the_consonant_before_the_next_begins() -> None:
    notes = [Sung(0.0, 1.0, 60, True, False), Sung(1.0, 2.0, 62, False, False)]
    first, last = score.shortened(notes, [0.1, 0.2])
    assert (first.end, last.end) == (0.8, 2.0)


def test_legato_labels_last_until_the_next_note_but_not_over_rests() -> None:
    notes = [
        Sung(0.0, 0.8, 60, True, False),
        Sung(1.0, 1.5, 62, False, False),
        Sung(3.0, 4.0, 64, True, False),
    ]
    assert [note.offset for note in score.careful(notes)] == [0.8, 1.5, 4.0]
    assert [note.offset for note in score.legato(notes)] == [1.0, 1.5, 4.0]


def test_the_pitch_is_the_notes_in_their_middle() -> None:
    notes, how, rng = melody(1)
    pitch = score.contour(rng, notes, how, 10.0, 0.005)
    apart = [
        float(np.median(pitch[round(n.start / 0.005) + 20 : round(n.end / 0.005)])) - n.pitch
        for n in notes
        if n.end - n.start > 0.3
    ]
    assert np.median(np.abs(apart)) < 0.3


def test_notes_found_with_a_small_gap_are_closed() -> None:
    notes = [Note(0.0, 0.9, 60), Note(1.0, 1.5, 62), Note(2.0, 3.0, 64)]
    assert [note.offset for note in closed(notes)] == [1.0, 1.5, 3.0]


def test_faults_have_names() -> None:
    reference = [Note(0, 1, 60), Note(1, 2, 60), Note(3, 4, 64), Note(5, 6, 65), Note(7, 8, 67)]
    assert not faults(reference, reference)
    found = [Note(0, 2, 60), Note(3.01, 4, 76), Note(4.9, 6, 65), Note(7, 7.5, 67)]
    assert faults(reference, found) == {
        "ends late": 1,
        "repeat merged": 1,
        "octave": 1,
        "early": 1,
        "ends early": 1,
    }
    assert faults([Note(0, 1, 60)], [Note(0, 1, 60), Note(0.5, 1, 62), Note(3, 4, 62)]) == {
        "split inside": 1,
        "none there": 1,
    }


def test_vowels_are_found_where_the_voice_is_loud() -> None:
    envelope = np.full((200, 513), 1e-6)
    envelope[20:80] = envelope[110:180] = 1.0
    voiced = np.ones(200, bool)
    (first, second) = speech.syllables(envelope, voiced)
    assert np.abs(first - [20, 80]).max() <= 5
    assert np.abs(second - [110, 180]).max() <= 5


def test_without_recordings_it_is_said_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(speech.FOLDER, str(tmp_path))
    speech.speakers.cache_clear()
    with pytest.raises(speech.NoSpeech, match="SPEECH=FOLDER"):
        speech.speakers()


@pytest.mark.parametrize("style", ["espeak", "klatt"])
def test_formant_singers_are_heard_in_their_notes_and_not_in_rests(style: str) -> None:
    if style == "espeak":
        pytest.importorskip("espeakng_loader")
        from benchmarks.foreign import espeak as singer
    else:
        pytest.importorskip("parselmouth")
        from benchmarks.foreign import klatt as singer
    sound, sung = singer.sing(3, 6.0)
    again, _ = singer.sing(3, 6.0)
    assert sound.shape == (6 * RATE,)
    assert np.array_equal(sound, again)

    def loud(start: float, end: float) -> float:
        return float(np.sqrt(np.mean(sound[round(start * RATE) : round(end * RATE)] ** 2)))

    voice = np.median([loud(note.start, note.end) for note in sung])
    rests = [(a.end + 0.1, b.start - 0.3) for a, b in pairwise(sung) if b.start - a.end > 0.5]
    assert all(loud(*rest) < 0.1 * voice for rest in rests)


def test_spoken_recordings_sing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyworld")
    pytest.importorskip("espeakng_loader")
    from benchmarks.foreign.espeak import sing

    for place in range(2):
        sound, _ = sing(place, 3.0)
        soundfile.write(tmp_path / f"{place}.wav", sound, RATE)
    monkeypatch.setenv(speech.FOLDER, str(tmp_path))
    monkeypatch.setattr(speech, "ENOUGH", 2)
    monkeypatch.setattr(speech, "CLIPS", 2)
    speech.speakers.cache_clear()
    sung, notes = speech.sing(1, 4.0)
    speech.speakers.cache_clear()
    assert sung.shape == (4 * RATE,)
    assert np.isfinite(sung).all()
    assert len(notes) > 2


def test_a_phone_keeps_the_time() -> None:
    pytest.importorskip("pedalboard")
    rng = np.random.default_rng(0)
    sound = rng.standard_normal(2 * RATE) * np.repeat([0.0, 1.0, 0.0, 1.0], RATE // 2)
    for seed in range(6):
        heard = recording.phone(sound, seed)
        assert heard.shape == sound.shape
        assert np.abs(heard).max() <= 0.5001
        level = np.convolve(heard**2, np.ones(160) / 160, "same")
        onset = int(np.argmax(level[:RATE] > 0.5 * level[RATE // 2 + 800 : RATE].mean())) / RATE
        assert onset == pytest.approx(0.5, abs=0.02)
