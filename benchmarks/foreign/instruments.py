"""Sampled instruments play the melodies of `score`, and some of them chords.

A sound font holds recordings of single notes; pip `tinysoundfont` (MIT) plays them. Pip
`pretty_midi` (MIT) ships one, TimGM6mb (GPL-2), which is taken unless the environment names another
file with the programs of General MIDI as SOUND_FONT.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy.signal import resample_poly

from benchmarks.foreign.score import habits, write
from karaoke_train.audio.units import SAMPLE_RATE

if TYPE_CHECKING:
    from benchmarks.foreign.score import Sung

RATE: Final = 3 * SAMPLE_RATE
STEP: Final = RATE // 200  # samples, 5 ms: between changes of vibrato
LONGEST: Final = 2.0  # s, of a note
FOLDER: Final = "SOUND_FONT"  # the environment's name for the file
CHORD: Final = (0, -5, -8, -12)  # semitones from the melody
BEND: Final = 2.0  # semitones that the pitch wheel reaches; General MIDI's default
DRUMS: Final = (35, 38, 42, 46, 45, 50, 49)  # keys of General MIDI's kit
OFTEN: Final = (0.2, 0.2, 0.3, 0.1, 0.1, 0.05, 0.05)


@dataclass(frozen=True)
class Instrument:
    """program: of General MIDI, counted from 0. low, high: MIDI keys of its melodies. chords: it
    plays them, too. vibrato: so does its player, on some notes."""

    program: int
    low: int
    high: int
    chords: bool = False
    vibrato: bool = False


INSTRUMENTS: Final = {
    "piano": Instrument(0, 48, 84, chords=True),
    "electric piano": Instrument(4, 48, 84, chords=True),
    "nylon guitar": Instrument(24, 45, 76, chords=True),
    "steel guitar": Instrument(25, 45, 76, chords=True),
    "xylophone": Instrument(13, 65, 90),
    "organ": Instrument(19, 48, 84, chords=True),
    "accordion": Instrument(21, 55, 84, chords=True),
    "harmonica": Instrument(22, 60, 86),
    "violin": Instrument(40, 55, 86, vibrato=True),
    "cello": Instrument(42, 38, 69, vibrato=True),
    "trumpet": Instrument(56, 54, 80, vibrato=True),
    "saxophone": Instrument(65, 49, 78, vibrato=True),
    "clarinet": Instrument(71, 50, 84, vibrato=True),
    "flute": Instrument(73, 60, 88, vibrato=True),
    "recorder": Instrument(74, 65, 88, vibrato=True),
}


def play(name: str, seed: int, duration: float) -> np.ndarray:
    """Samples at 16 kHz of one of INSTRUMENTS. Every other seed plays chords or has vibrato, where
    the instrument does."""
    rng = np.random.default_rng([seed, 5, *name.encode()])
    what, how = INSTRUMENTS[name], replace(habits(rng), melisma=0.0)
    low = rng.uniform(what.low, max(what.low + 1.0, what.high - 16.0))
    notes = write(rng, duration, low, min(low + rng.uniform(9.0, 15.0), what.high), how, LONGEST)
    keys = [round(note.pitch) for note in notes]
    events = []
    for note, key in zip(notes, keys, strict=True):
        loud = float(np.clip(rng.normal(0.7, 0.12), 0.3, 1.0))
        chord = CHORD if what.chords and seed % 2 and rng.random() < 0.6 else CHORD[:1]
        for away in chord:
            events.append((note.start, key + away, loud if away == 0 else 0.7 * loud))
            events.append((note.end, key + away, 0.0))
    wide = _vibrato(rng, notes, duration) if what.vibrato and seed % 2 else np.zeros(1)
    return _rendered(events, duration, what.program, wide + rng.uniform(-0.5, 0.5))


def drum(seed: int, duration: float) -> np.ndarray:
    """Samples at 16 kHz of a drum kit: eighths of one or two drums each."""
    rng = np.random.default_rng([seed, 6])
    eighth, events = rng.uniform(0.15, 0.3), []
    for index in range(int((duration - 0.5) / eighth)):
        keys = rng.choice(DRUMS, size=rng.integers(1, 3), p=OFTEN)
        events += [(0.2 + index * eighth, int(key), float(rng.uniform(0.4, 1.0))) for key in keys]
    return _rendered(events, duration, None, np.zeros(1))


def _vibrato(rng: np.random.Generator, notes: list[Sung], duration: float) -> np.ndarray:
    """Semitones every 5 ms, (steps,)."""
    time = np.arange(round(duration * RATE / STEP)) * STEP / RATE
    wide = np.zeros(len(time))
    for note in notes:
        if note.end - note.start > 0.35:
            since = time - note.start
            inside = (since > 0) & (time < note.end)
            wide += inside * rng.uniform(0.1, 0.4) * np.clip((since - 0.1) / 0.3, 0.0, 1.0)
    return wide * np.sin(2 * np.pi * rng.uniform(4.5, 6.5) * time)


def _rendered(
    events: list[tuple[float, int, float]], duration: float, program: int | None, bend: np.ndarray
) -> np.ndarray:
    """events: s, key and loudness up to 1, 0 to let go. program: None for the kit. bend: semitones
    every 5 ms, or one for all."""
    font, synth = _synth()
    if program is None:
        synth.program_select(0, font, 0, 0, True)
    else:
        synth.program_select(0, font, 0, program, False)
    waiting = sorted(events, key=lambda event: (event[0], event[2]))
    blocks = []
    for index in range(round(duration * RATE / STEP)):
        semitones = float(bend[min(index, len(bend) - 1)])
        synth.pitchbend(0, round(8192 + 8191 * semitones / BEND))
        while waiting and waiting[0][0] * RATE < (index + 1) * STEP:
            _, key, loud = waiting.pop(0)
            if loud:
                synth.noteon(0, key, round(127 * loud))
            else:
                synth.noteoff(0, key)
        stereo = np.frombuffer(synth.generate(STEP), np.float32).reshape(-1, 2)
        blocks.append(stereo.mean(axis=1))
    synth.sounds_off(0)
    return np.asarray(resample_poly(np.concatenate(blocks), 1, 3), np.float32)


@cache
def _synth() -> tuple[int, Any]:
    """The number of the font and what plays it."""
    import tinysoundfont

    path = os.environ.get(FOLDER)
    if path is None:
        package = find_spec("pretty_midi")  # not imported: its own needs are not ours
        if package is None or package.origin is None:
            raise ImportError("pretty_midi is missing, which ships a sound font")
        path = str(Path(package.origin).with_name("TimGM6mb.sf2"))
    synth = tinysoundfont.Synth(samplerate=RATE)
    return synth.sfload(path), synth
