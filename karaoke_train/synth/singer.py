"""Syllables and a singer -> sound: pitch and loudness over time, a source, the tract, the noises.

The source is a band-limited pulse train with breath noise in step with the pulses. The pitch
follows its targets through a damped second-order system, with vibrato, drift and fine
fluctuation added (Saitou, Unoki and Akagi, Speech Communication 46, 2005). Everything is
whole-array arithmetic; the loops run over syllables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy

from karaoke_train.audio.units import SAMPLE_RATE
from karaoke_train.synth import partials, tract
from karaoke_train.synth.performance import CONSONANTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from karaoke_train.synth.performance import Syllable
    from karaoke_train.synth.voice import Voice

STEP = 80  # samples, 5 ms: the grid of pitch and loudness
_NYQUIST = 0.97 * SAMPLE_RATE / 2  # Hz, the highest harmonic


class Curves(NamedTuple):
    """What the voice does, every STEP samples, each of shape (steps,).

    pitch: MIDI. level: 0 (silent) to about 1. breath: level of the noise under the voice.
    """

    pitch: np.ndarray
    level: np.ndarray
    breath: np.ndarray


class Hiss(NamedTuple):
    """A noise of its own: start and length in s, centre and width in Hz, level to the voice's."""

    start: float
    length: float
    centre: float
    width: float
    level: float


def render(
    rng: np.random.Generator, syllables: Sequence[Syllable], voice: Voice, count: int
) -> np.ndarray:
    """`count` samples of the dry voice, float32, its loud parts at an RMS of 1."""
    steps = count // STEP + 2
    level = _level(rng, syllables, voice, steps)
    vibrato, pitch = _pitch(rng, syllables, voice, steps)
    level *= 1.0 + 0.25 * vibrato + 0.03 * _wander(rng, steps, 30.0)
    breath = voice.breathiness * level * (1.0 + 0.3 * _wander(rng, steps, 4.0))
    curves = Curves(pitch, level, breath)
    if voice.partials:
        dry = partials.sound(rng, *curves, count, STEP)
    else:
        source = _source(rng, curves, max(0.0, voice.doubling), count)
        frames = tract.frame_times(count) * SAMPLE_RATE / STEP
        steps_at = np.arange(steps)
        resonances = tract.formants(rng, syllables, voice, np.interp(frames, steps_at, pitch))
        dry = tract.voiced(source, resonances, np.interp(frames, steps_at, level), voice)
    loud = np.abs(dry) > 0.05 * np.abs(dry).max()
    dry /= np.sqrt(np.mean(dry[loud] ** 2)) + 1e-9 if loud.any() else 1.0
    dry += voice.air * _air(rng, level, count)
    for hiss in _hisses(rng, syllables, voice):
        _add_hiss(rng, dry, hiss)
    return dry


def _pitch(
    rng: np.random.Generator, syllables: Sequence[Syllable], voice: Voice, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """The vibrato alone, in semitones, and the whole pitch, MIDI; both (steps,)."""
    time = np.arange(steps) * STEP / SAMPLE_RATE
    targets = np.array([s.sung for s in syllables])
    before = [syllables[0], *syllables[:-1]]
    changes = np.maximum.accumulate(
        [_change(*pair, voice) for pair in zip(syllables, before, strict=True)]
    )
    target = targets[np.clip(np.searchsorted(changes, time, side="right") - 1, 0, None)]
    pitch = _second_order(target, 2.5 / voice.glide, voice.overshoot)
    depth = np.zeros(steps)
    for syllable in syllables:
        _ornament(rng, syllable, voice, pitch, depth)
    rate = voice.vibrato_rate * (1.0 + 0.05 * _wander(rng, steps, 2.0))
    phase = rng.uniform() + np.cumsum(rate) * STEP / SAMPLE_RATE
    vibrato = depth * np.sin(2 * np.pi * phase)
    pitch += vibrato
    pitch += voice.drift / 100 * _wander(rng, steps, 1.0)
    pitch += voice.waver / 100 * _wander(rng, steps, rng.uniform(2.0, 6.0))
    pitch += voice.jitter / 100 * _wander(rng, steps, 25.0)
    return vibrato, pitch


def _change(syllable: Syllable, before: Syllable, voice: Voice) -> float:
    """When the pitch sets out for a syllable, in seconds, so that it is there on time."""
    if syllable.first:
        return min(before.offset + 0.02, syllable.onset - syllable.lead - 0.25)
    if syllable.slurred:
        return syllable.onset - 0.6 * voice.glide  # halfway at the onset
    return syllable.onset - 0.6 * voice.glide - 0.7 * syllable.lead


def _second_order(target: np.ndarray, omega: float, damping: float) -> np.ndarray:
    """`target` through a resonance of `omega` rad/s; below damping 1 it overshoots."""
    numerator, denominator = scipy.signal.bilinear(
        [omega**2], [1.0, 2 * damping * omega, omega**2], SAMPLE_RATE / STEP
    )
    return np.asarray(scipy.signal.lfilter(numerator, denominator, target - target[0]) + target[0])


def _ornament(
    rng: np.random.Generator, note: Syllable, voice: Voice, pitch: np.ndarray, depth: np.ndarray
) -> None:
    """Add a note's scoop and fall to `pitch`, and its vibrato's depth to `depth`, in place."""
    duration = note.offset - note.onset
    if not note.slurred and rng.random() < voice.scoop:
        low = rng.uniform(0.5, 2.0) if note.first else rng.uniform(0.3, 1.2)
        grid, since = _since(note.onset - note.lead, note.offset, note.onset, len(pitch))
        settling = min(rng.uniform(0.025, 0.07), 0.2 * duration)
        pitch[grid] -= low * np.exp(-np.maximum(since, 0.0) / settling)
    if note.last and rng.random() < voice.fall:
        length = min(0.12, 0.3 * duration)
        grid, since = _since(
            note.offset - length, note.offset + 0.1, note.offset - length, len(pitch)
        )
        pitch[grid] -= rng.uniform(0.5, 3.0) * np.minimum(since / length, 1.3) ** 2
    if duration > voice.vibrato_delay + 0.25 and rng.random() < voice.vibrato_share:
        start = note.onset + voice.vibrato_delay
        grid, since = _since(start, note.offset, start, len(pitch))
        widest = voice.vibrato_depth / 100 * rng.uniform(0.6, 1.0)
        depth[grid] = widest * np.minimum(since / 0.25, 1.0)


def _since(start: float, end: float, zero: float, steps: int) -> tuple[slice, np.ndarray]:
    """The steps between two times, and how long after `zero` each is, in seconds."""
    first = max(0, int(start * SAMPLE_RATE / STEP))
    last = min(steps, max(first, int(end * SAMPLE_RATE / STEP) + 1))
    return slice(first, last), np.arange(first, last) * STEP / SAMPLE_RATE - zero


def _level(
    rng: np.random.Generator, syllables: Sequence[Syllable], voice: Voice, steps: int
) -> np.ndarray:
    """The voice's loudness, (steps,): attacks, swells, releases, consonants, silences."""
    points: list[tuple[float, float]] = [(0.0, 0.0)]
    for note, after in zip(syllables, [*syllables[1:], None], strict=True):
        points += _envelope(rng, note, after, voice, points[-1][0])
    time, level = np.array(points).T
    grid = np.arange(steps) * STEP / SAMPLE_RATE
    return np.asarray(np.interp(grid, np.maximum.accumulate(time), level, right=0.0))


def _envelope(
    rng: np.random.Generator,
    note: Syllable,
    after: Syllable | None,
    voice: Voice,
    silent_since: float,
) -> list[tuple[float, float]]:
    """Times and levels of one note.

    Half of the attack lies on either side of the onset. Of the release, three quarters lie before
    the offset: people mark a note's end where its decay becomes inaudible, not half way down.
    """
    loud = 10.0 ** (note.level / 20)
    duration = note.offset - note.onset
    begin = note.onset - note.lead
    points: list[tuple[float, float]] = []
    if not note.slurred:
        attack = voice.attack * rng.uniform(0.4, 1.0)
        attack = min(attack, 0.3 * duration, 2 * note.lead + 0.01)
        if begin - 0.01 > silent_since:
            points.append((begin - 0.01, 0.0))
        points.append((begin, _voicing(note, voice)))
        points.append((note.onset - 0.5 * attack, _voicing(note, voice)))
        points.append((note.onset + 0.5 * attack, loud))
    swell = 10.0 ** (0.5 * voice.swell * rng.normal(0.0, 1.0, 2).clip(-1.5, 1.5))
    points.append((note.onset + 0.35 * duration, loud * float(swell[0])))
    points.append((note.onset + 0.7 * duration, loud * float(swell[1])))
    if after is None or not after.slurred:
        resting = note.last or after is None or after.onset - after.lead - note.offset > 0.06
        release = voice.release * rng.uniform(0.4, 1.0) if resting else 0.03
        release = min(release, 0.5 * duration)
        touching = after is not None and after.onset - after.lead - note.offset < 0.5 * release
        before = 0.75 if resting else 0.5
        points.append((note.offset - before * release, loud))
        left = _voicing(after, voice) if touching else 0.0
        points.append((note.offset + (1.0 - before) * release, left))
    return points


def _voicing(note: Syllable | None, voice: Voice) -> float:
    """The level of the voice through the consonant before a note."""
    if note is None or not note.consonant:
        return 0.0
    return float(10.0 ** (note.level / 20) * CONSONANTS[note.consonant].voiced * voice.closure)


def _source(rng: np.random.Generator, curves: Curves, doubling: float, count: int) -> np.ndarray:
    """Pulses and breath, float32, (count,). doubling: how much weaker every second pulse is."""
    frequency = 440.0 * 2.0 ** ((curves.pitch - 69.0) / 12.0)
    phase = np.cumsum(_per_sample(frequency, count)) / SAMPLE_RATE
    pulse = np.rint(phase)
    phase -= pulse  # cycles, -1/2 to 1/2
    harmonics = np.floor(_NYQUIST / _per_sample(frequency, count))
    half = np.sin(np.pi * phase)
    half[np.abs(half) < 1e-6] = 1e-6
    # The sum of cos(2 pi k phase) for k = 1 .. harmonics, in closed form (Winham & Steiglitz 1970).
    pulses = 0.5 * (np.sin((2 * harmonics + 1) * np.pi * phase) / half - 1.0)
    pulses *= _per_sample(curves.level * np.sqrt(frequency / 200.0), count)
    pulses *= 1.0 - doubling * (pulse % 2)
    noise = rng.standard_normal(count, dtype=np.float32)
    noise[1:] -= 0.9 * noise[:-1]
    gusts = _per_sample(curves.breath, count) * (1.0 - half * half)  # strongest at the pulse
    return np.asarray(pulses + 8.0 * gusts * noise, dtype=np.float32)


def _per_sample(curve: np.ndarray, count: int) -> np.ndarray:
    """A curve of one value per STEP, interpolated linearly to one per sample, (count,)."""
    slope = np.diff(curve)[:, None] * (np.arange(STEP) / STEP)
    return (curve[:-1, None] + slope).reshape(-1)[:count]


def _air(rng: np.random.Generator, level: np.ndarray, count: int) -> np.ndarray:
    """Breath that rises by 6 dB per octave, of RMS 1 where `level` (steps,) is 1; (count,)."""
    noise = rng.standard_normal(count + 1, dtype=np.float32)
    return np.asarray(np.diff(noise) * _per_sample(level, count) / np.sqrt(2.0), np.float32)


def _hisses(rng: np.random.Generator, syllables: Sequence[Syllable], voice: Voice) -> list[Hiss]:
    """The noises of consonants, and the breaths drawn before phrases."""
    hisses: list[Hiss] = []
    rested = 0.0
    for note in syllables:
        begin = note.onset - note.lead
        noise = CONSONANTS[note.consonant].noise if note.consonant else None
        if noise is not None:
            centre, width, level = noise
            level *= 10.0 ** (note.level / 20) * rng.uniform(0.5, 1.5) * voice.sibilance
            if CONSONANTS[note.consonant].burst:
                length = min(rng.uniform(0.012, 0.045), 0.6 * note.lead)
                hisses.append(Hiss(note.onset - length, length, centre, width, level))
            else:
                hisses.append(Hiss(begin, note.lead, centre, width, level))
        if note.first and begin - rested > 0.3 and rng.random() < 0.75:
            length = min(rng.uniform(0.15, 0.45), 0.7 * (begin - rested))
            level = 10.0 ** rng.uniform(-1.9, -0.8)
            hisses.append(
                Hiss(begin - length - 0.03, length, rng.uniform(1200, 2500), 1300.0, level)
            )
        rested = note.offset
    return hisses


def _add_hiss(rng: np.random.Generator, sound: np.ndarray, hiss: Hiss) -> None:
    """Add one noise to `sound`, in place."""
    start = max(0, int(hiss.start * SAMPLE_RATE))
    count = min(int(hiss.length * SAMPLE_RATE), len(sound) - start)
    if count < 32:
        return
    size = scipy.fft.next_fast_len(count)
    frequency = scipy.fft.rfftfreq(size, 1.0 / SAMPLE_RATE)
    shape = np.exp(-0.5 * ((frequency - hiss.centre) / hiss.width) ** 2)
    spectrum = shape * np.exp(2j * np.pi * rng.random(len(shape)))
    noise = scipy.fft.irfft(spectrum, size)[:count]
    noise *= np.sin(np.pi * np.arange(count) / count) ** 0.7
    sound[start : start + count] += hiss.level / (np.sqrt(np.mean(noise**2)) + 1e-12) * noise


def _wander(rng: np.random.Generator, steps: int, rate: float) -> np.ndarray:
    """Random values of spread 1 that change about `rate` times per second, (steps,)."""
    spacing = SAMPLE_RATE / STEP / rate
    knots = rng.standard_normal(int(steps / spacing) + 3)
    return np.asarray(np.interp(np.arange(steps) / spacing, np.arange(len(knots)), knots))
