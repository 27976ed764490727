"""Augmentation and recordings: the labels move with the sound, the amounts are those asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karaoke_train.audio import degrade
from karaoke_train.audio.augment import Augmentation, augment, gain, pitch_shift
from karaoke_train.notes import Note
from tests.karaoke_train.files import tone

RATE = 16_000


def strongest(sound: np.ndarray) -> float:
    """The MIDI pitch of the strongest partial."""
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 2**19))
    return float(69 + 12 * np.log2(np.argmax(spectrum) * RATE / 2**19 / 440))


def decibels(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(a**2) / np.mean(b**2)))


@pytest.mark.parametrize("semitones", [-7.0, -2.3, -0.2, 0.7, 3.0, 12.0])
def test_a_pitch_shift_moves_sound_and_notes_alike(semitones: float) -> None:
    sound = np.concatenate([np.zeros(RATE), tone(2.0), np.zeros(RATE)]).astype(np.float32)
    shifted, (note,) = pitch_shift(sound, (Note(1.0, 3.0, 69.0),), semitones)
    assert (note.onset, note.offset) == (1.0, 3.0)
    assert note.pitch == pytest.approx(69 + semitones, abs=0.2)
    assert strongest(shifted[20_000:44_000]) == pytest.approx(note.pitch, abs=0.02)
    assert shifted.shape == sound.shape
    level = np.convolve(shifted**2, np.ones(320) / 320, "same")
    loud = np.flatnonzero(level > 0.25 * level[24_000:40_000].mean())
    assert loud[0] / RATE == pytest.approx(1.0, abs=0.025)
    assert loud[-1] / RATE == pytest.approx(3.0, abs=0.025)


def test_a_pitch_shift_out_of_midi_leaves_the_song_alone() -> None:
    sound = tone(0.5).astype(np.float32)
    shifted, notes = pitch_shift(sound, (Note(0.1, 0.4, 126.0),), 3.0)
    assert np.array_equal(shifted, sound)
    assert notes == (Note(0.1, 0.4, 126.0),)


@pytest.mark.parametrize("slope", [0.0, -3.0, -6.0])
@pytest.mark.parametrize("snr", [0.0, 20.0, 40.0])
def test_noise_lies_as_far_below_the_sound_as_asked(snr: float, slope: float) -> None:
    sound = tone(2.0)
    noisy = degrade.add_noise(sound, snr, np.random.default_rng(0), slope)
    assert decibels(sound, noisy - sound) == pytest.approx(snr, abs=0.3)


def test_noise_of_a_slope_falls_by_as_many_decibels_an_octave() -> None:
    noise = degrade.add_noise(tone(4.0), 0.0, np.random.default_rng(0), -6.0) - tone(4.0)
    power = np.abs(np.fft.rfft(noise)) ** 2
    hertz = np.fft.rfftfreq(len(noise), 1 / RATE)
    octaves = [power[(hertz > low) & (hertz < 2 * low)].mean() for low in (200, 400, 800, 1600)]
    assert 10 * np.log10(octaves) == pytest.approx(
        10 * np.log10(octaves[0]) - 6 * np.arange(4), abs=1
    )


def test_hum_lies_as_far_below_the_sound_as_asked() -> None:
    hummed = degrade.add_hum(tone(2.0), 25.0, 50.0, np.random.default_rng(0))
    assert decibels(tone(2.0), hummed - tone(2.0)) == pytest.approx(25.0, abs=0.3)


def test_silence_stays_silent_and_nothing_divides_by_zero() -> None:
    silence = np.zeros(RATE, np.float32)
    for seed in range(10):
        changed, _ = augment(silence, (), np.random.default_rng(seed))
        assert not changed.any()


def test_a_room_leaves_the_direct_sound_and_dies_away_as_fast_as_asked() -> None:
    click = np.zeros(2 * RATE, np.float32)
    click[1_000] = 1.0
    heard = degrade.reverberate(click, 0.8, 0.5, np.random.default_rng(0))
    assert int(np.argmax(np.abs(heard))) == 1_000
    tail = heard[1_001:]
    assert np.sum(tail**2) == pytest.approx(0.5, rel=0.01)
    blocks = [np.mean(tail[i : i + 1_600] ** 2) for i in (2_400, 8_000)]  # 0.35 s apart
    fallen = 10 * np.log10(blocks[0] / blocks[1])
    assert fallen == pytest.approx(60 * 0.35 / 0.8, abs=5)


def test_gain_is_exact_until_full_scale_limits_it() -> None:
    assert gain(tone(1.0), -6.0) == pytest.approx(tone(1.0) * 10 ** (-6 / 20), abs=1e-6)
    assert np.abs(gain(tone(1.0), 20.0)).max() == pytest.approx(1.0)


def test_a_microphone_keeps_its_band_and_its_time() -> None:
    rng = np.random.default_rng(0)
    for hertz, kept in ((100.0, False), (1_000.0, True), (6_000.0, False)):
        sound = tone(1.0, hertz=hertz)
        heard = degrade.through_microphone(sound, 300.0, 3_400.0, 0.0, rng)
        assert (decibels(heard[2_000:-2_000], sound[2_000:-2_000]) > -1) == kept
        if kept:
            assert heard[4_000:8_000] == pytest.approx(sound[4_000:8_000], abs=0.02)


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(1, 9_000))
def test_any_song_of_any_length_keeps_its_length_scale_and_times(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    sound = rng.uniform(-1, 1, count).astype(np.float32)
    notes = (Note(0.1, 0.2, 60.0), Note(0.2, 0.3, 64.0))
    changed, moved = augment(sound, notes, rng)
    assert changed.shape == sound.shape
    assert changed.dtype == np.float32
    assert np.isfinite(changed).all()
    assert np.abs(changed).max(initial=0.0) <= 1.0
    assert [(n.onset, n.offset) for n in moved] == [(0.1, 0.2), (0.2, 0.3)]
    assert moved[1].pitch - moved[0].pitch == pytest.approx(4.0)


def test_chance_comes_from_the_generator_alone() -> None:
    sound, notes = tone(1.0).astype(np.float32), (Note(0.1, 0.9, 69.0),)
    one, same, other = (augment(sound, notes, np.random.default_rng(seed)) for seed in (4, 4, 5))
    assert np.array_equal(one[0], same[0])
    assert one[1] == same[1]
    assert not np.array_equal(one[0], other[0])


def test_settings_of_nothing_change_nothing() -> None:
    still = Augmentation(shifted=0.0, noisy=0.0, roomy=0.0, gain=(0.0, 0.0))
    sound, notes = tone(1.0).astype(np.float32), (Note(0.1, 0.9, 69.0),)
    changed, moved = augment(sound, notes, np.random.default_rng(0), still)
    assert np.array_equal(changed, sound)
    assert moved == notes
