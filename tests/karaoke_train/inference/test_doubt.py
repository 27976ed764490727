from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest

from karaoke_train.audio.features import FeatureSettings
from karaoke_train.audio.units import FRAME_SECONDS, SAMPLE_RATE, frame_count
from karaoke_train.inference.doubt import (
    Sketch,
    doubt,
    entropy_of,
    levels_of,
    partials_of,
    sketched,
)
from karaoke_train.inference.transcribe import windows
from karaoke_train.model.decode import Posteriors, frame_pitch
from karaoke_train.notes import Note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from karaoke_train.inference.transcribe import Sound, VoiceToNotes

SETTINGS = FeatureSettings()


def heard(
    pitch: np.ndarray,
    spread: float = 0.3,
    level: np.ndarray | None = None,
    second: float = 30.0,
) -> Sketch:
    """That of a posterior whose peak is at `pitch`, MIDI per frame, and `spread` semitones wide;
    its level, dB, is a voice's unless given, and so is by how much a second partial stands out."""
    grid = SETTINGS.midi_min + np.arange(SETTINGS.pitch_classes) / SETTINGS.bins_per_semitone
    peaks = np.exp(-0.5 * ((grid - pitch[:, None]) / spread) ** 2)
    flat = np.ones(len(pitch), np.float32)
    rows = peaks / peaks.sum(axis=1, keepdims=True)
    loud = wavering(len(pitch)) if level is None else level
    posteriors = Posteriors(flat, flat, flat, rows.astype(np.float16))
    found = frame_pitch(posteriors.pitch, SETTINGS)
    return Sketch(found, entropy_of(posteriors), loud, np.full(len(pitch), second))


def wavering(frames: int) -> np.ndarray:
    """A level that is never long as loud as before, dB per frame."""
    return np.asarray(-20.0 + 4.0 * np.sin(np.arange(frames) * 0.9))


def dying(notes: list[Note]) -> np.ndarray:
    """The level of strings: loudest at once, then 40 dB per second less, dB per frame."""
    time = np.arange(round(notes[-1].offset / 0.02)) * 0.02
    since = (min(t - n.onset for n in notes if n.onset <= t + 1e-9) for t in time)
    return np.array([-10.0 - 40.0 * s for s in since])


def melody(count: int, length: float) -> list[Note]:
    return [Note(k * length, (k + 1) * length, 60.0 + k % 5) for k in range(count)]


def inside(notes: list[Note], slide: float, waver: float) -> np.ndarray:
    """The pitch of each frame: every note falls by `slide` per second, and wavers."""
    time = np.arange(round(notes[-1].offset / 0.02)) * 0.02
    of = [next((n for n in notes if n.onset <= t < n.offset), notes[-1]) for t in time]
    middle = np.array([n.pitch - slide * (t - n.onset) for n, t in zip(of, time, strict=True)])
    return middle + waver * np.sin(2 * np.pi * 5 * time)


@pytest.mark.parametrize(
    ("notes", "slide", "waver", "spread", "why"),
    [
        (melody(10, 0.5), 0.5, 0.15, 0.3, ""),
        (melody(20, 0.2), 1.5, 0.05, 0.3, ""),  # quick, and sung
        (melody(6, 0.8), 0.0, 0.6, 0.3, ""),  # moves throughout, and slowly: vibrato
        (melody(10, 0.4), 5.0, 0.15, 0.3, ""),  # slides, and slowly: glissandi
        (melody(20, 0.16), 6.0, 0.0, 0.3, "it may be speech"),
        (melody(10, 0.5), 0.0, 0.0, 0.3, "it may be an instrument"),
        (melody(10, 0.5), 0.5, 0.15, 2.5, "it may be noise, an instrument or several voices"),
        (melody(4, 0.1), 9.0, 0.0, 2.5, ""),  # too few to tell
        (melody(2, 0.2), 0.0, 0.0, 0.3, ""),  # too few and too short to tell
        (melody(1, 4.0), 0.0, 0.15, 0.3, ""),  # one long note, and sung
        (melody(1, 4.0), 0.0, 0.0, 0.3, "it may be an instrument"),
        (melody(1, 4.0), 0.5, 0.15, 2.5, "it may be noise, an instrument or several voices"),
        (melody(1, 0.3), 0.0, 0.0, 6.0, "it may be noise, an instrument or several voices"),
        (melody(20, 0.1), 0.0, 0.0, 0.3, ""),  # too short to tell
    ],
)
def test_what_is_no_singing_is_said(
    notes: list[Note], slide: float, waver: float, spread: float, why: str
) -> None:
    said = doubt(heard(inside(notes, slide, waver), spread), notes)
    assert said.startswith(why)
    assert bool(said) == bool(why)


def in_tune(notes: list[Note]) -> np.ndarray:
    """The pitch of each frame where each note stays on its semitone but for a little."""
    return inside(notes, 0.0, 0.05)


def test_what_is_in_tune_and_dies_away_evenly_is_an_instrument() -> None:
    notes = melody(8, 0.5)
    assert doubt(heard(in_tune(notes), level=dying(notes)), notes).startswith("it may be an instr")
    assert not doubt(heard(in_tune(notes)), notes)  # a trained voice whose level moves
    assert not doubt(heard(inside(notes, 0.5, 0.25), level=dying(notes)), notes)  # a hum


def test_what_is_loudest_at_once_and_on_fixed_pitches_is_an_instrument() -> None:
    notes = melody(8, 0.5)
    struck = wavering(200)
    struck[::25] = 0.0  # each note's first frame
    late = np.roll(struck, 5)
    pitch = inside(notes, 0.0, 0.1)
    assert doubt(heard(pitch, level=struck), notes).startswith("it may be an instrument")
    assert not doubt(heard(pitch, level=late), notes)
    anywhere = pitch + np.repeat(np.linspace(0.0, 0.9, 8), 25)
    assert not doubt(heard(anywhere, level=struck), notes)


def test_few_notes_are_no_instrument_for_being_in_tune() -> None:
    notes = melody(4, 1.0)
    assert not doubt(heard(in_tune(notes), level=dying(notes)), notes)


def test_one_partial_alone_is_whistling() -> None:
    notes, few = melody(8, 0.5), melody(4, 0.5)
    pitch = inside(notes, 0.5, 0.15) + 24.0
    assert doubt(heard(pitch, second=7.0), notes).startswith("it may be whistling")
    assert not doubt(heard(pitch, second=15.0), notes)
    assert not doubt(heard(pitch - 24.0, second=7.0), notes)  # a hum through a telephone
    assert not doubt(heard(inside(few, 0.5, 0.15) + 24.0, second=7.0), few)  # too few to tell


def harmonics(hertz: float, *levels: float) -> np.ndarray:
    """A second of partials, dB each from the first on, in noise of -60 dB."""
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    sound = 1e-3 * np.random.default_rng(3).standard_normal(SAMPLE_RATE)
    for number, level in enumerate(levels, 1):
        sound += 10 ** (level / 20) * np.sin(2 * np.pi * number * hertz * time)
    return sound


@pytest.mark.parametrize(
    ("hertz", "levels", "least", "most"),
    [
        (900.0, [0.0], 3.0, 10.0),  # a whistle
        (900.0, [0.0, -40.0], 25.0, 60.0),  # a high hum
        (900.0, [0.0, -99.0, -30.0], 30.0, 60.0),
        (110.0, [0.0, 0.0, 6.0, 0.0, -6.0, -6.0], 25.0, 99.0),  # its third is the strongest
        (400.0, [-12.0, 0.0], 25.0, 99.0),  # its second is, and the first lies below
    ],
)
def test_a_second_partial_stands_out_wherever_it_is(
    hertz: float, levels: list[float], least: float, most: float
) -> None:
    found = partials_of(harmonics(hertz, *levels), np.arange(50))
    assert found.shape == (50,)
    assert least < np.median(found) < most


def test_silence_has_no_partials_and_no_complaint() -> None:
    with np.errstate(all="raise"):
        assert np.all(partials_of(np.zeros(1000), np.arange(4)) == 0.0)
        assert partials_of(np.zeros(0), np.arange(0)).shape == (0,)


def test_levels_are_those_of_each_frame_in_decibels_of_full_scale() -> None:
    samples = np.concatenate([np.full(320, 1.0), np.full(320, 0.1), np.zeros(320), [1.0]])
    np.testing.assert_allclose(levels_of(samples), [0.0, -20.0, -90.0, -25.05], atol=0.01)


class Listener:
    """A model that hears nothing, window by window as `VoiceToNotes` does."""

    settings = SETTINGS

    def listen(self, sound: Sound, *, progress: bool) -> Iterator[Posteriors]:
        del progress
        for window in windows(frame_count(round(sound.duration * SAMPLE_RATE)), size=100):
            sound.load(window.start * FRAME_SECONDS, window.end * FRAME_SECONDS)
            kept = window.keep_to - window.keep_from
            none, classes = np.zeros(kept, np.float32), SETTINGS.pitch_classes
            yield Posteriors(none, none, none, np.full((kept, classes), 1 / classes, np.float16))


@dataclass
class Samples:
    samples: np.ndarray
    duration: float

    def load(self, start: float = 0.0, end: float | None = None) -> np.ndarray:
        last = None if end is None else round(end * SAMPLE_RATE)
        return self.samples[round(start * SAMPLE_RATE) : last]


def test_each_frame_has_its_level_over_several_windows() -> None:
    samples = np.random.default_rng(1).standard_normal(5 * SAMPLE_RATE) * np.linspace(
        0.1, 0.9, 5 * SAMPLE_RATE
    )
    _, sketch = sketched(cast("VoiceToNotes", Listener()), Samples(samples, 5.0))
    np.testing.assert_allclose(sketch.level, levels_of(samples), atol=1e-4)


def test_a_file_that_ends_before_its_header_says_is_silent_from_there() -> None:
    samples = np.ones(SAMPLE_RATE)
    _, sketch = sketched(cast("VoiceToNotes", Listener()), Samples(samples, 2.0))
    assert sketch.level[:50].min() == pytest.approx(0.0, abs=1e-4)
    assert sketch.level[50:].max() == pytest.approx(-90.0)


def test_silence_holds_no_singing_voice() -> None:
    assert doubt(heard(np.full(50, 60.0)), []) == "no singing voice in it"
