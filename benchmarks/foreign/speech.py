"""Spoken recordings sing: real voices, whose pitch and timing are redrawn by the WORLD vocoder.

Syllables are found by their loudness between 250 and 3,500 Hz: a vowel is what lies within some dB
of a voiced peak. What lies between vowels keeps its own length; vowels last as long as their notes.
WORLD (Morise, Yokomori and Ozawa 2016) is pip `pyworld`, MIT. Any folder of clean speech will do;
Debian has some as the prompts of Asterisk (`asterisk-core-sounds-*-g722`, CC BY-SA 3.0, 16 kHz),
which pip `av` reads.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from benchmarks.foreign.score import Habits, Sung, contour, habits, shortened, write
from karaoke_train.audio import io
from karaoke_train.audio.units import SAMPLE_RATE

if TYPE_CHECKING:
    from collections.abc import Sequence

STEP = 0.005  # s, WORLD's frames
KEPT = ".wav", ".flac", ".g722"
LEAST = 16_000  # bytes of a recording; shorter ones are no sentences
ENOUGH = 30  # recordings of a speaker
CLIPS = 24  # of each speaker
LENGTH = 4.0  # s of each recording that are used
DROP = 6.0  # dB below its peak where a vowel begins and ends
LONGEST = 2.0  # s, of a note
FOLDER = "SPEECH"  # the environment's name for where the recordings are


class NoSpeech(RuntimeError):
    """There are no recordings; the message says what to do."""


@dataclass(frozen=True)
class Spoken:
    """One recording, analysed. envelope, noise: (frames, bins). voiced: (frames,). middle: MIDI,
    its median pitch. vowels: (syllables, 2), the frames between which each vowel lies."""

    envelope: np.ndarray
    noise: np.ndarray
    voiced: np.ndarray
    middle: float
    vowels: np.ndarray


@cache
def speakers() -> list[list[Path]]:
    """The recordings of each speaker: those of each folder that holds enough. Raises NoSpeech."""
    root = Path(os.environ.get(FOLDER, "/usr/share/asterisk/sounds"))
    found: dict[Path, list[Path]] = {}
    for path in sorted(root.rglob("*")):
        if path.suffix in KEPT and path.stat().st_size > LEAST:
            found.setdefault(path.parent, []).append(path)
    folders = [
        paths[:: len(paths) // CLIPS][:CLIPS] for paths in found.values() if len(paths) >= ENOUGH
    ]
    if not folders:
        raise NoSpeech(
            f"{root} holds no folder of {ENOUGH} spoken recordings or more; "
            f"name one by {FOLDER}=FOLDER, or install Debian's asterisk-core-sounds-it-g722"
        )
    return folders


def samples(path: Path) -> np.ndarray:
    """float64 mono 16 kHz."""
    if path.suffix != ".g722":
        return io.read(path).astype(np.float64)
    import av

    with av.open(str(path), format="g722") as file:
        blocks = [frame.to_ndarray().reshape(-1) for frame in file.decode(audio=0)]
    return np.concatenate(blocks) / 32768.0


@cache
def analysed(path: Path) -> Spoken | None:
    """The recording in WORLD's terms; None where too few syllables are found."""
    import pyworld

    sound = samples(path)[: round(LENGTH * SAMPLE_RATE)]
    pitch, times = pyworld.harvest(sound, SAMPLE_RATE, frame_period=1000 * STEP)
    envelope = pyworld.cheaptrick(sound, pitch, times, SAMPLE_RATE)
    noise = pyworld.d4c(sound, pitch, times, SAMPLE_RATE)
    vowels = syllables(envelope, pitch > 0)
    if len(vowels) < 2:
        return None
    middle = 69 + 12 * np.log2(np.median(pitch[pitch > 0]) / 440)
    return Spoken(envelope, noise, pitch > 0, float(middle), vowels)


def syllables(envelope: np.ndarray, voiced: np.ndarray) -> np.ndarray:
    """First and last frame of each vowel, (syllables, 2)."""
    hertz = np.linspace(0, SAMPLE_RATE / 2, envelope.shape[1])
    band = envelope[:, (hertz > 250) & (hertz < 3_500)].sum(axis=1)
    loud = gaussian_filter1d(10 * np.log10(band + 1e-12), 2.0)
    heard = np.where(voiced, loud, loud.max() - 60)
    peaks, about = find_peaks(heard, prominence=4.0, distance=16, height=loud.max() - 22)
    found: list[tuple[int, int]] = []
    for peak, prominence in zip(peaks, about["prominences"], strict=True):
        drop = min(DROP, 0.6 * prominence)
        inside = voiced & (loud > loud[peak] - drop)
        begin, end = peak, peak
        while begin > 0 and inside[begin - 1]:
            begin -= 1
        while end + 1 < len(inside) and inside[end + 1]:
            end += 1
        if end - begin >= 8 and (not found or begin > found[-1][1]):
            found.append((begin, end))
    return np.array(found).reshape(-1, 2)


def sing(seed: int, duration: float) -> tuple[np.ndarray, list[Sung]]:
    """Samples at 16 kHz and what is sung. Raises NoSpeech."""
    rng = np.random.default_rng([seed, 2])
    how = habits(rng)
    clips = speakers()[seed % len(speakers())]
    low = _middle(rng, clips) + rng.uniform(-5.0, 1.0)
    notes = write(rng, duration, low, low + rng.uniform(9.0, 15.0), how, LONGEST)
    return perform(rng, notes, clips, how, duration)


def _middle(rng: np.random.Generator, clips: Sequence[Path]) -> float:
    """The speaker's pitch, MIDI."""
    heard = (analysed(clips[int(rng.integers(len(clips)))]) for _ in range(8))
    return float(np.median([spoken.middle for spoken in heard if spoken is not None]))


def perform(
    rng: np.random.Generator,
    notes: Sequence[Sung],
    clips: Sequence[Path],
    how: Habits,
    duration: float,
) -> tuple[np.ndarray, list[Sung]]:
    """The notes, sung on the syllables of recordings that follow each other."""
    import pyworld

    parts, leads = _words(rng, notes, clips)
    sung = shortened(notes, leads)
    pitch = contour(rng, sung, how, duration, STEP)
    frames = round(duration / STEP) + 1
    first = next(spoken for spoken, *_ in parts)
    envelope = np.full((frames, first.envelope.shape[1]), 1e-10)
    noise = np.ones_like(envelope)
    voiced = np.zeros(frames, bool)
    for spoken, song, source in _maps(sung, leads, parts):
        grid = np.arange(max(0, int(np.ceil(song[0] / STEP))), min(frames, int(song[-1] / STEP)))
        at = np.interp(grid * STEP, song, source).clip(0, len(spoken.voiced) - 1.001)
        low = at.astype(int)
        part = (at - low)[:, None]
        high = np.minimum(low + 1, len(spoken.voiced) - 1)
        logs = np.log(spoken.envelope[low]) * (1 - part) + np.log(spoken.envelope[high]) * part
        envelope[grid] = np.exp(logs)
        noise[grid] = spoken.noise[low] * (1 - part) + spoken.noise[high] * part
        voiced[grid] = spoken.voiced[np.rint(at).astype(int)]
    for note in sung:  # a vowel is voiced throughout
        voiced[int(note.start / STEP) : int(note.end / STEP)] = True
    hertz = np.where(voiced, 440.0 * 2 ** ((pitch[:frames] - 69) / 12), 0.0)
    sound = pyworld.synthesize(hertz, envelope, noise, SAMPLE_RATE, 1000 * STEP)
    return sound[: round(duration * SAMPLE_RATE)].astype(np.float32), sung


Part = tuple[Spoken, int]  # a recording and the place of a syllable in it


def _words(
    rng: np.random.Generator, notes: Sequence[Sung], clips: Sequence[Path]
) -> tuple[list[Part], list[float]]:
    """Each note's syllable, and how long before the note its consonants begin, s."""
    parts: list[Part] = []
    leads: list[float] = []
    for index, note in enumerate(notes):
        before = parts[-1] if parts else None
        if note.linked and before is not None:
            parts.append(before)
            leads.append(0.0)
            continue
        if note.first or before is None or before[1] + 1 >= len(before[0].vowels):
            spoken = None
            while spoken is None:
                spoken = analysed(clips[int(rng.integers(len(clips)))])
            place, length = 0, min(float(spoken.vowels[0, 0]) * STEP, 0.2)
        else:
            spoken, place = before[0], before[1] + 1
            length = float(spoken.vowels[place, 0] - spoken.vowels[place - 1, 1]) * STEP
        room = note.start if index == 0 else note.start - notes[index - 1].start
        parts.append((spoken, place))
        leads.append(min(length, 0.3, 0.45 * room))
    return parts, leads


def _maps(
    notes: Sequence[Sung], leads: Sequence[float], parts: Sequence[Part]
) -> list[tuple[Spoken, np.ndarray, np.ndarray]]:
    """For each stretch of song: the recording, times in the song, s, and its frames there."""
    made = []
    for index, (note, lead, (spoken, place)) in enumerate(zip(notes, leads, parts, strict=True)):
        begin, end = spoken.vowels[place]
        after = index + 1 < len(notes) and notes[index + 1]
        goes_on = bool(after and after.linked)
        comes_on = note.linked
        split = begin + 0.5 * (end - begin)
        first, last = (split if comes_on else begin), (split + 1 if goes_on else end)
        song, source = [note.start, note.end], [first, last]
        if not comes_on:
            song, source = [note.start - lead, *song], [begin - lead / STEP, *source]
        if not goes_on:  # what follows until the next consonant: the end of the vowel dies away
            ready = notes[index + 1].start - leads[index + 1] if after else note.end + 0.15
            tail = min(ready - note.end, 0.15)
            if tail > STEP:
                song, source = [*song, note.end + tail], [*source, last + tail / STEP]
        made.append((spoken, np.array(song), np.array(source, float)))
    return made
