"""Posteriors whose notes are known by construction: the targets that the model is trained on."""

from __future__ import annotations

import gc
import itertools
import tracemalloc
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from karaoke_train.audio.features import FeatureSettings
from karaoke_train.dataset.targets import frame_targets
from karaoke_train.model.decode import (
    DecodeOptions,
    Decoder,
    Posteriors,
    decode,
    decode_parts,
    frame_pitch,
    note_pitch,
)
from karaoke_train.notes import Note

SETTINGS = FeatureSettings()


def perfect(notes: list[Note], frames: int = 100) -> Posteriors:
    """What a perfect model would say."""
    targets = frame_targets(notes, frames)
    pitch = pitch_posterior(targets.midi.numpy())
    return Posteriors(targets.onset.numpy(), targets.offset.numpy(), targets.voicing.numpy(), pitch)


def pitch_posterior(midi: np.ndarray) -> np.ndarray:
    """The model's target for one pitch per frame, (frames, classes)."""
    classes = SETTINGS.midi_min + np.arange(SETTINGS.pitch_classes) / SETTINGS.bins_per_semitone
    pitch = np.exp(-0.5 * ((midi[:, None] - classes) / 0.25) ** 2) + 1e-6
    return np.asarray(pitch / pitch.sum(axis=1, keepdims=True))


def assert_same(found: list[Note], wanted: list[Note]) -> None:
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted, strict=True):
        assert a.onset == pytest.approx(b.onset, abs=0.002)
        assert a.offset == pytest.approx(b.offset, abs=0.002)
        assert a.pitch == pytest.approx(b.pitch, abs=0.03)


def test_times_between_frames_and_pitches_between_classes_come_back() -> None:
    notes = [Note(0.113, 0.507, 60.21), Note(0.731, 1.204, 64.83)]
    assert_same(decode(perfect(notes), SETTINGS), notes)


def test_repeated_note_without_a_rest_stays_two_notes() -> None:
    notes = [Note(0.1, 0.5, 60.0), Note(0.5, 0.9, 60.0)]
    assert_same(decode(perfect(notes), SETTINGS), notes)


def test_legato_to_another_pitch_is_two_notes() -> None:
    notes = [Note(0.1, 0.5, 60.0), Note(0.5, 0.9, 65.0)]
    assert_same(decode(perfect(notes), SETTINGS), notes)


def test_silence_has_no_notes() -> None:
    assert decode(perfect([]), SETTINGS) == []


def test_voice_without_an_onset_peak_is_a_note_all_the_same() -> None:
    whole = perfect([Note(0.2, 0.8, 60.0)])
    mute = Posteriors(np.zeros_like(whole.onset), whole.offset, whole.voicing, whole.pitch)
    [note] = decode(mute, SETTINGS)
    assert note.onset == pytest.approx(0.2, abs=0.02)


def test_onset_peak_in_silence_is_no_note() -> None:
    whole = perfect([Note(0.2, 0.8, 60.0)])
    unvoiced = np.zeros_like(whole.voicing)
    assert decode(Posteriors(whole.onset, whole.offset, unvoiced, whole.pitch), SETTINGS) == []


def test_a_short_unvoiced_gap_does_not_end_a_note_and_a_long_one_does() -> None:
    for gap, count in ((1, 1), (2, 1), (12, 2)):
        whole = perfect([Note(0.2, 1.2, 60.0)])
        voicing = whole.voicing.copy()
        voicing[20 : 20 + gap] = 0
        broken = Posteriors(whole.onset, whole.offset, voicing, whole.pitch)
        assert len(decode(broken, SETTINGS, DecodeOptions(hold=2.0))) == count


@pytest.mark.parametrize(("step", "count"), [(0.0, 1), (2.0, 2)])
def test_a_wavering_pitch_is_one_note_and_a_step_is_two(step: float, count: int) -> None:
    sung = perfect([Note(0.2, 1.2, 60.0)])
    time = np.arange(100) * 0.02
    midi = 60.0 + 0.5 * np.sin(2 * np.pi * 5.0 * time) + step * (time >= 0.7)
    wavering = Posteriors(sung.onset, sung.offset, sung.voicing, pitch_posterior(midi))
    assert len(decode(wavering, SETTINGS)) == count


def faded(pitch_to: float) -> Posteriors:
    """A note from 0.2 to 0.6 s that fades: its pitch is heard until `pitch_to`, hardly voiced."""
    sung, heard = perfect([Note(0.2, 0.6, 60.0)]), perfect([Note(0.2, pitch_to, 60.0)])
    return Posteriors(sung.onset, np.zeros_like(sung.offset), voiced_after(sung, 0.35), heard.pitch)


def voiced_after(sung: Posteriors, least: float) -> np.ndarray:
    """The voicing, but never under `least`."""
    return np.maximum(sung.voicing, np.float32(least))


def test_a_note_goes_on_for_as_long_as_the_voice_holds_its_pitch() -> None:
    for pitch_to, offset in ((0.6, 0.6), (0.72, 0.72), (2.0, 0.9)):  # at most 0.3 s longer
        [note] = decode(faded(pitch_to), SETTINGS, DecodeOptions(hold=0.3, longest_hold=0.3))
        assert note.offset == pytest.approx(offset, abs=0.021)
    for never in (0.4, 2.0):
        [note] = decode(faded(0.72), SETTINGS, DecodeOptions(hold=never))
        assert note.offset == pytest.approx(0.6, abs=0.021)


def test_legato_closes_gaps_to_the_next_onset_up_to_its_length() -> None:
    notes = [Note(0.1, 0.5, 60.0), Note(0.6, 0.9, 62.0), Note(1.2, 1.5, 64.0)]
    found = decode(perfect(notes), SETTINGS, DecodeOptions(legato=0.15))
    assert [n.offset for n in found] == pytest.approx([0.6, 0.9, 1.5], abs=0.002)


def test_a_phrase_begins_at_the_attack_or_where_its_pitch_is_first_voiced() -> None:
    sung, heard = perfect([Note(0.5, 1.0, 60.0)]), perfect([Note(0.4, 1.0, 60.0)])
    slow = Posteriors(
        sung.onset, sung.offset, 0.3 * heard.voicing + 0.7 * sung.voicing, heard.pitch
    )
    [attack] = decode(slow, SETTINGS)
    [voice] = decode(slow, SETTINGS, DecodeOptions(onset_at="voice"))
    assert attack.onset == pytest.approx(0.5, abs=0.002)
    assert voice.onset == pytest.approx(0.4, abs=0.021)


def test_silence_stays_silent_and_empty_sound_has_no_notes() -> None:
    assert decode(perfect([], frames=1), SETTINGS) == []


def test_note_shorter_than_the_shortest_is_dropped() -> None:
    notes = [Note(0.2, 0.6, 60.0), Note(1.0, 1.05, 60.0)]
    assert len(decode(perfect(notes), SETTINGS)) == 1
    assert len(decode(perfect(notes), SETTINGS, DecodeOptions(min_duration=0.03))) == 2


def test_note_to_the_very_end_ends_with_the_frames() -> None:
    [note] = decode(perfect([Note(1.0, 2.5, 60.0)]), SETTINGS)
    assert note.offset == pytest.approx(2.0)


def unsure(rng: np.random.Generator, frames: int) -> Posteriors:
    """A voice that comes and goes, with a pitch that steps and trembles; many equal values."""
    held = int(rng.integers(3, 40))
    voicing = np.repeat(rng.random(frames), held)[:frames] + rng.normal(0.0, 0.2, frames)
    onset, offset = rng.random((2, frames)) ** rng.integers(1, 9)
    midi = np.repeat(rng.uniform(40.0, 80.0, frames), held)[:frames] + rng.normal(0.0, 0.3, frames)
    curves = (curve.clip(0.0, 1.0).round(1) for curve in (onset, offset, voicing))
    return Posteriors(*(c.astype(np.float32) for c in curves), pitch_posterior(midi))


def random(rng: np.random.Generator, frames: int) -> Posteriors:
    onset, offset, voicing = rng.random((3, frames))
    pitch = rng.dirichlet(np.ones(SETTINGS.pitch_classes), size=frames)
    return Posteriors(onset, offset, voicing, pitch)


OPTIONS = [
    DecodeOptions(),
    DecodeOptions(legato=3.0, onset_at="voice"),
    DecodeOptions(longest_hold=0.0, min_duration=0.0, note_cost=1.0),
    DecodeOptions(longest_hold=0.6, hold=0.1, onset_at="voice"),
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("hear", [random, unsure])
def test_notes_of_whatever_is_heard_are_in_order_and_do_not_overlap(
    hear: Callable[[np.random.Generator, int], Posteriors], options: DecodeOptions
) -> None:
    rng = np.random.default_rng(0)
    for _ in range(15):
        notes = decode(hear(rng, 250), SETTINGS, options)
        assert all(a.offset <= b.onset for a, b in itertools.pairwise(notes))


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_parts_give_exactly_the_notes_of_the_whole(
    options: DecodeOptions, kind: type[np.floating]
) -> None:
    rng = np.random.default_rng(1)
    found = 0
    for _ in range(4):
        heard = unsure(rng, frames := 250)
        heard = replace(heard, pitch=heard.pitch.astype(kind))
        cuts = sorted(rng.integers(0, frames + 1, int(rng.integers(0, 30))).tolist())
        whole = decode(heard, SETTINGS, options)
        for ends in ([0, *cuts, frames], list(range(0, frames + 1, 2))):
            parts = [heard.part(start, end) for start, end in itertools.pairwise(ends)]
            assert decode_parts(parts, SETTINGS, options) == whole
        found += len(whole)
    assert found > 20


def test_a_note_is_given_out_once_the_next_one_is_decided() -> None:
    notes = [Note(k + 0.1, k + 0.5, 60.0) for k in range(10)]
    heard, decoder = perfect(notes, 500), Decoder(SETTINGS)
    given = [len(decoder.feed(heard.part(start, start + 50))) for start in range(0, 500, 50)]
    assert given[0] == 0
    assert set(given[2:]) == {1}
    assert sum(given) + len(decoder.end()) == 10


@pytest.mark.parametrize("sung", [True, False])
def test_what_is_decided_is_forgotten(sung: bool) -> None:
    """Ten times the frames need no more memory. What a frame's onset alone takes is four bytes;
    the interpreter's and numpy's caches of small objects grow by a few kB with any work."""
    song = perfect([Note(k + 0.1, k + 0.5, 60.0) for k in range(6 if sung else 0)], 300)

    def kept(repeats: int) -> int:
        decoder = Decoder(SETTINGS)
        tracemalloc.start()
        try:
            for _ in range(repeats):
                decoder.feed(song)
            gc.collect()  # empties the interpreter's caches, too
            return tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()

    kept(1)
    assert kept(40) - kept(4) < 36 * 300 * 2


def test_scoop_at_the_start_does_not_pull_the_pitch() -> None:
    bent = perfect([Note(0.0, 0.4, 60.0)]).pitch[:20].copy()
    bent[:4] = perfect([Note(0.0, 0.4, 58.0)]).pitch[:4]
    assert note_pitch(bent, SETTINGS) == pytest.approx(60.0, abs=0.03)


def test_pitch_at_both_ends_of_the_range() -> None:
    for midi in (SETTINGS.midi_min, SETTINGS.midi_max):
        pitch = np.zeros((1, SETTINGS.pitch_classes))
        pitch[0, round((midi - SETTINGS.midi_min) * SETTINGS.bins_per_semitone)] = 1.0
        assert frame_pitch(pitch, SETTINGS)[0] == pytest.approx(midi)


def test_a_notes_pitch_is_that_behind_the_scoop_into_it() -> None:
    settings = FeatureSettings()
    heard = np.zeros((8, settings.pitch_classes), np.float32)
    for frame, midi in enumerate([59, 59, *[60] * 6]):
        heard[frame, round((midi - settings.midi_min) * settings.bins_per_semitone)] = 1.0
    assert note_pitch(heard, settings) == pytest.approx(60.0, abs=1e-4)
