"""The synthetic singer: the same for the same seed, and its truth is what can be heard."""

from __future__ import annotations

import pickle
from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karaoke_train.audio import degrade
from karaoke_train.synth import (
    AMATEUR_VOICES,
    HELD_OUT_VOICES,
    PARTIAL_VOICES,
    SIMPLE_VOICES,
    TRAIN_VOICES,
    VALIDATION_VOICES,
    VoiceRange,
    melody,
    performance,
    sing,
    singer,
    synthetic_songs,
)
from karaoke_train.synth.voice import draw

RATE = 16_000


def rendered(
    seed: int, voices: VoiceRange, duration: float = 6.0
) -> tuple[np.ndarray, tuple[performance.Syllable, ...]]:
    """The dry voice, before any recording, and what it sings."""
    rng = np.random.default_rng(seed)
    voice = draw(rng, voices, simple=False)
    tones = melody.compose(rng, duration, voice.low, voice.high, melody.Manner())
    sung = performance.perform(rng, tones, voice)
    return singer.render(rng, sung, voice, round(duration * RATE)), sung


def heard(sound: np.ndarray, at: float, near: float, length: float = 0.06) -> float:
    """The pitch around `at` seconds, MIDI, by autocorrelation within 3 semitones of `near`."""
    part = sound[round((at - length / 2) * RATE) : round((at + length / 2) * RATE)]
    part = (part - part.mean()) * np.hanning(len(part))
    lags = np.fft.irfft(np.abs(np.fft.rfft(part, 4 * len(part))) ** 2)
    window = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(len(part)), 4 * len(part))) ** 2)
    lags = lags[: len(part)] / window[: len(part)].clip(1e-3)
    shortest, longest = (RATE / (440 * 2 ** ((near + s - 69) / 12)) for s in (3, -3))
    first = int(shortest)
    best = first + int(np.argmax(lags[first : int(longest) + 2]))
    before, peak, after = lags[best - 1 : best + 2]
    best_lag = best + 0.5 * (before - after) / (before - 2 * peak + after)
    return float(69 + 12 * np.log2(RATE / best_lag / 440))


def loudness(sound: np.ndarray, start: float, end: float) -> float:
    part = sound[max(0, round(start * RATE)) : round(end * RATE)]
    return float(np.sqrt(np.mean(part**2))) if len(part) else 0.0


def _below(sound: np.ndarray, hertz: float) -> np.ndarray:
    """The sound without what lies above `hertz`."""
    spectrum = np.fft.rfft(sound)
    spectrum[round(hertz * len(sound) / RATE) :] = 0.0
    return np.fft.irfft(spectrum, len(sound))


# --- the interface


def test_equal_arguments_give_equal_songs_and_others_give_others() -> None:
    sound, notes = sing(7, duration=3.0)
    again, notes_again = sing(7, duration=3.0)
    assert np.array_equal(sound, again)
    assert notes == notes_again
    assert sing(8, duration=3.0)[1] != notes
    assert sing(7, duration=3.0, voices=HELD_OUT_VOICES)[1] != notes
    assert sing(7, duration=3.0, simple=True)[1] != notes


@pytest.mark.parametrize("simple", [False, True])
@pytest.mark.parametrize("duration", [0.2, 1.0, 2.345, 17.0])
def test_sound_is_16_khz_mono_of_the_length_asked_for(duration: float, simple: bool) -> None:
    sound, notes = sing(1, duration=duration, simple=simple)
    assert sound.dtype == np.float32
    assert sound.shape == (round(duration * RATE),)
    assert np.isfinite(sound).all()
    assert 0.001 < np.abs(sound).max() <= 1.0
    assert notes[-1].offset <= duration


def test_songs_know_their_notes_before_they_are_sung() -> None:
    for song in synthetic_songs(2, 5, duration=4.0):
        sound, notes = sing(song.seed, duration=4.0)
        assert song.notes == notes
        assert np.array_equal(song.load(), sound)
        assert np.array_equal(song.load(1.25, 2.5), sound[20_000:40_000])
        assert song.load(3.9, 9.0).shape == (1_600,)


def test_songs_travel_to_worker_processes() -> None:
    song = synthetic_songs(1, 5, duration=2.0, voices=HELD_OUT_VOICES)[0]
    there = pickle.loads(pickle.dumps(song))
    assert there == song
    assert there.notes == song.notes
    assert np.array_equal(there.load(), song.load())


def test_a_seed_gives_songs_of_its_own_and_more_songs_begin_with_the_same() -> None:
    ten = synthetic_songs(10, 0)
    assert len({song.name for song in ten}) == 10
    assert synthetic_songs(4, 0) == ten[:4]
    assert not {song.seed for song in synthetic_songs(10, 1)} & {song.seed for song in ten}


# --- the truth


@settings(max_examples=2 * settings.default.max_examples // 3)
@given(
    st.integers(0, 2**63),
    st.sampled_from([TRAIN_VOICES, HELD_OUT_VOICES]),
    st.booleans(),
    st.floats(0.5, 40.0),
)
def test_notes_are_in_order_apart_and_long_enough_to_hear(
    seed: int, voices: VoiceRange, simple: bool, duration: float
) -> None:
    (song,) = synthetic_songs(1, seed, duration=duration, voices=voices, simple=simple)
    assert song.notes
    assert all(before.offset <= after.onset for before, after in pairwise(song.notes))
    assert song.notes[-1].offset <= duration
    assert min(note.duration for note in song.notes) > 0.04
    assert all(36 <= note.pitch <= 84 for note in song.notes)


def test_pitches_are_semitones_of_one_tuning() -> None:
    for song in synthetic_songs(20, 3):
        off = {round((note.pitch - round(note.pitch)) * 100, 6) for note in song.notes}
        assert len(off) == 1
        assert abs(off.pop()) <= 45


@pytest.mark.slow  # sings for a minute or more
@pytest.mark.parametrize("voices", [TRAIN_VOICES, HELD_OUT_VOICES, PARTIAL_VOICES])
def test_the_pitch_that_is_heard_is_the_pitch_of_the_truth(voices: VoiceRange) -> None:
    errors = []
    for seed in range(12):
        sound, sung = rendered(seed, voices)
        for note in sung:
            if note.offset - note.onset > 0.2:
                at = note.onset + 0.6 * (note.offset - note.onset)
                errors.append(abs(heard(sound, at, note.pitch) - note.pitch))
    assert len(errors) > 60
    assert np.median(errors) < 0.25
    assert np.mean(np.array(errors) < 0.6) > 0.9  # vibrato, waver, poor intonation come on top


@pytest.mark.slow  # sings for a minute or more
def test_the_voice_is_heard_in_notes_and_not_in_rests() -> None:
    hearty = replace(TRAIN_VOICES, kinds=("bass", "tenor"), consonants=(1.0, 1.0))
    within, between = [], []
    for seed in range(6):
        sound, sung = rendered(seed, hearty, duration=15.0)
        voiced = _below(sound, 460.0)  # breath and hiss lie above
        for note, after in pairwise(sung):
            within.append(loudness(voiced, note.onset + 0.03, note.offset - 0.03))
            begin = after.onset - after.lead
            if begin - note.offset > 0.25:
                between.append(loudness(voiced, note.offset + 0.1, begin - 0.02))
    assert np.percentile(within, 2) > 0.08
    assert len(between) > 5
    assert np.max(between) < 0.2 * np.median(within)


@pytest.mark.slow  # sings for a minute or more
def test_the_onset_is_where_the_vowel_starts() -> None:
    ranges = replace(TRAIN_VOICES, consonants=(1.0, 1.0), hums=0.0, breathiness=(0.0, 0.01))
    late = []
    for seed in range(12):
        sound, sung = rendered(seed, ranges)
        voiced = _below(sound, 1_000.0)
        for note in sung:
            if note.consonant in ("p", "t", "k", "s", "f"):
                full = loudness(voiced, note.onset + 0.04, note.onset + 0.07)
                times = note.onset + np.arange(-0.05, 0.05, 0.005)
                started = [t for t in times if loudness(voiced, t, t + 0.01) > 0.4 * full]
                late.append(started[0] + 0.005 - note.onset)
    assert len(late) > 15
    assert abs(np.median(late)) < 0.015
    assert np.percentile(np.abs(late), 80) < 0.04


@pytest.mark.slow  # sings for a minute or more
def test_vibrato_begins_after_its_delay() -> None:
    still = {"drift": (0.0, 0.0), "jitter": (0.0, 0.0), "scoop": (0.0, 0.0), "fall": (0.0, 0.0)}
    ranges = replace(
        TRAIN_VOICES,
        **still,  # type: ignore[arg-type]
        vibrato_share=(1.0, 1.0),
        vibrato_depth=(80.0, 80.0),
        vibrato_delay=(0.4, 0.4),
        glide=(0.03, 0.03),
    )
    early, late = [], []
    for seed in range(12):
        sound, sung = rendered(seed, ranges, duration=8.0)
        for note in sung:
            if note.offset - note.onset > 1.2 and not note.slurred:
                track = [heard(sound, note.onset + t, note.pitch, 0.04) for t in (0.2, 0.26, 0.32)]
                early.append(np.ptp(track))
                times = np.arange(0.8, 1.1, 0.03)
                late.append(np.ptp([heard(sound, note.onset + t, note.pitch, 0.04) for t in times]))
    assert len(early) >= 3
    assert np.median(early) < 0.15
    assert np.median(late) > 0.6


# --- voices and melodies


def test_held_out_voices_are_none_of_the_training_ones() -> None:
    apart = {"tract", "tilt", "vibrato_rate", "jitter", "glide"}
    for field in fields(VoiceRange):
        ours, theirs = getattr(TRAIN_VOICES, field.name), getattr(HELD_OUT_VOICES, field.name)
        if field.name in apart:
            assert ours[1] < theirs[0] or theirs[1] < ours[0], field.name
    assert HELD_OUT_VOICES.vowels != TRAIN_VOICES.vowels
    for voices in (AMATEUR_VOICES, PARTIAL_VOICES):
        assert voices.vowels != TRAIN_VOICES.vowels
        assert voices.tract[1] < TRAIN_VOICES.tract[0]
    named = [TRAIN_VOICES, SIMPLE_VOICES, *VALIDATION_VOICES.values()]
    assert len({voices.name for voices in named}) == len(named) == 5


def test_a_bank_of_sines_is_as_loud_and_as_long_and_has_another_sound() -> None:
    (sines,), (tract,) = (
        synthetic_songs(1, 4, duration=4.0, voices=voices)
        for voices in (PARTIAL_VOICES, replace(PARTIAL_VOICES, partials=False))
    )
    assert sines.notes == tract.notes
    one, other = sines.load(), tract.load()
    assert one.shape == other.shape
    assert 0.01 < np.abs(one).max() <= 1.0
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.5


@pytest.mark.slow  # sings for a minute or more
def test_amateurs_waver_inside_a_note_and_trained_singers_hardly() -> None:
    def inside(voices: VoiceRange) -> float:
        spreads = []
        for seed in range(6):
            sound, sung = rendered(seed, replace(voices, vibrato_share=(0.0, 0.0)))
            for note in sung:
                if note.offset - note.onset > 0.4:
                    times = np.linspace(note.onset + 0.1, note.offset - 0.1, 8)
                    spreads.append(np.std([heard(sound, t, note.sung) for t in times]))
        return float(np.median(spreads))

    steady = replace(TRAIN_VOICES, waver=(0.0, 2.0), drift=(0.0, 3.0))
    assert inside(AMATEUR_VOICES) > 0.12 > inside(steady)  # semitones; people: 0.13 to 0.34


def test_every_kind_of_voice_sings_within_its_range() -> None:
    rng = np.random.default_rng(0)
    voices = [draw(rng, TRAIN_VOICES, simple=False) for _ in range(200)]
    assert {voice.kind for voice in voices} == set(TRAIN_VOICES.kinds) > set(HELD_OUT_VOICES.kinds)
    for voice in voices:
        assert 36 <= voice.low < voice.high <= 88
        assert (np.diff(voice.formants[:, :3], axis=1) > 0).all()
        assert (voice.formants > 150).all()
        assert (voice.formants < 8_000).all()


def test_voices_to_learn_from_are_lower_and_higher_than_those_of_validation() -> None:
    songs = synthetic_songs(200, 3, voices=TRAIN_VOICES)
    pitches = [note.pitch for song in songs for note in song.notes]
    assert min(pitches) < 39.5
    assert max(pitches) > 80.5
    for voices in VALIDATION_VOICES.values():
        usual = [
            note.pitch for song in synthetic_songs(30, 3, voices=voices) for note in song.notes
        ]
        assert 39.5 < min(usual) < max(usual) < 80.5


def test_voiced_consonants_may_be_dwelt_on() -> None:
    def leads(factor: float) -> list[float]:
        voices = replace(TRAIN_VOICES, sustain=(factor, factor))
        return [
            syllable.lead
            for seed in range(12)
            for syllable in rendered(seed, voices)[1]
            if syllable.consonant in ("m", "n", "l")
        ]

    assert np.median(leads(2.5)) > 1.6 * np.median(leads(1.0))


@pytest.mark.parametrize(("doubling", "least", "most"), [(0.0, 0.0, 0.01), (0.5, 0.2, 0.5)])
def test_every_second_pulse_may_be_weaker_which_sounds_half_as_high_besides(
    doubling: float, least: float, most: float
) -> None:
    steps = np.ones(201)
    curves = singer.Curves(pitch=57 * steps, level=steps, breath=0 * steps)  # 220 Hz
    sound = singer._source(np.random.default_rng(1), curves, doubling, RATE)
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(RATE)))
    assert least <= spectrum[550] / spectrum[440] <= most


def test_a_third_of_the_voices_to_train_on_have_double_pulses() -> None:
    drawn = [draw(np.random.default_rng(s), TRAIN_VOICES, simple=False).doubling for s in range(80)]
    assert 0.2 < np.mean(np.array(drawn) > 0) < 0.5
    assert draw(np.random.default_rng(1), AMATEUR_VOICES, simple=False).doubling == 0.0


def test_melodies_have_rests_repeats_steps_leaps_and_melisma() -> None:
    rng = np.random.default_rng(1)
    tones = [t for _ in range(60) for t in melody.compose(rng, 20.0, 55, 70, melody.Manner())]
    touching = [(a, b) for a, b in pairwise(tones) if a.phrase == b.phrase and a.end == b.start]
    steps = [abs(b.pitch - a.pitch) for a, b in touching]
    assert 0.05 < steps.count(0) / len(steps) < 0.35
    assert sum(1 <= step <= 2 for step in steps) / len(steps) > 0.4
    assert sum(step >= 5 for step in steps) / len(steps) > 0.02
    assert 0.02 < sum(b.slurred for _, b in touching) / len(touching) < 0.3
    rests = [
        b.start - a.end for a, b in pairwise(tones) if a.phrase != b.phrase and b.start > a.end
    ]
    assert 0.2 < np.median(rests) < 2.5
    assert all(55 <= tone.pitch <= 70 for tone in tones)


# --- recordings


def test_recordings_keep_time_and_full_scale() -> None:
    click = np.zeros(RATE, np.float32)
    click[8_000:8_040] = np.hanning(40)
    everything = degrade.Conditions(
        rooms=1.0, wet=(0.05, 0.1), hums=1.0, phones=1.0, overdriven=1.0, mp3=1.0, snr=(40.0, 40.0)
    )
    for conditions in (degrade.ANYWHERE, degrade.STUDIO, everything):
        for seed in range(6):
            sound = degrade.record(np.random.default_rng(seed), click, conditions)
            assert sound.shape == click.shape
            assert sound.dtype == np.float32
            assert np.abs(sound).max() <= 1.0
            assert abs(int(np.argmax(np.abs(sound))) - 8_020) < 60


def test_automatic_gain_brings_loud_and_soft_together_and_soft_ones_keep_their_level() -> None:
    loudness = np.repeat([0.9, 0.3, 0.01], RATE)
    sound = (loudness * np.sin(np.arange(3 * RATE) * 0.2)).astype(np.float32)
    evened = degrade.even_out(sound, ratio=4.0, release=0.1)
    loud, middle, soft = (
        float(np.abs(evened[at : at + RATE // 4]).max())
        for at in (RATE // 2, 3 * RATE // 2, 5 * RATE // 2)
    )
    assert loud / middle < 0.6 * 0.9 / 0.3
    assert soft == pytest.approx(0.01, rel=0.02)
    assert evened.dtype == np.float32


@pytest.mark.parametrize("squeeze", [0.2, 0.6, 0.8, 0.93])
def test_mp3_does_not_shift_the_sound(squeeze: float) -> None:
    sound, _ = sing(3, duration=3.0)
    heard_again = degrade.through_mp3(sound, squeeze)
    assert heard_again.shape == sound.shape
    lags = np.fft.irfft(np.fft.rfft(heard_again, 96_000) * np.conj(np.fft.rfft(sound, 96_000)))
    assert (int(np.argmax(lags)) + 48_000) % 96_000 - 48_000 == 0
