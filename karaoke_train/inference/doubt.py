"""A sketch of what a model heard and its notes in; whether it was singing at all out, in words.

A model made for one singing voice finds notes in speech and in a piano, too. What tells them apart
was measured by `python -m benchmarks.foreign.doubt`. In speech the notes are quick and the pitch
moves through most of them. An instrument's pitch lies on the semitones of one tuning; inside a note
it moves little, and the level falls or holds evenly, where a voice wavers; what is struck or
plucked is loudest at once. A whistle has one partial where a voice has many. Where the pitch may be
anything, there is noise, or are several sounds at once. Two voices pass as one, and so does
whatever is played as unevenly as people sing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy

from karaoke_train.audio.units import FRAME, FRAME_SECONDS, SAMPLE_RATE
from karaoke_train.model.decode import Decoder, frame_pitch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from karaoke_train.audio.features import FeatureSettings
    from karaoke_train.inference.transcribe import Sound, VoiceToNotes
    from karaoke_train.model.decode import DecodeOptions, Posteriors
    from karaoke_train.notes import Note

ENOUGH, LONG = 5, 3.0  # notes, seconds of them; fewer that last less tell little
# Notes per sounding second, and the share of their time in which the pitch moves. Of 525 songs none
# had more of both, and those with more of the second had 4.3 of the first at most; all but one of
# 288 recordings of speech had more of both.
QUICK, GLIDES = 4.5, 0.6
MOVES = 3.0  # semitones per second, of a pitch that moves
# Semitones between the quartiles of the pitch inside the median note. Songs had 0.036 up.
STILL = 0.033
# `Measures.evenness`. 480 songs had 1.19 at most; of 24 pitch-corrected to a few cents 4 had more.
EVEN = 1.25
# s from a note's onset to its peak, in the median note, and a `grid` as of fixed pitches. Songs of
# such a grid had 0.02 up; half of the pieces by guitars, pianos and xylophones 0 and less.
AT_ONCE, TEMPERED = 0.01, 0.5
WIDEST = 2.45  # nats, mean entropy of the pitch; 3 of 525 songs had more, and drums 2.8 up
NO_PITCH = 3.7  # the same of however few notes: clicks and noise had 4.4 to 4.9, songs up to 2.9
# MIDI, B4, about 500 Hz; dB by which a second partial stands out of the noise; the share of the
# notes' time in which none does so at such pitches. 9 of 10 whistles had 0.76 up, and as many songs
# of each kind 0.22 at most.
LOWEST_WHISTLE, ALONE, WHISTLED = 71.0, 12.0, 0.5
QUIETEST = 1e-9  # of full scale, power; -90 dB
_FFT = 1024  # samples, 64 ms
_WINDOW = np.hanning(_FFT).astype(np.float32)
_LOWEST, _HIGHEST = 300 * _FFT // SAMPLE_RATE, 3_500 * _FFT // SAMPLE_RATE  # bins
_NOISE = "it may be noise, an instrument or several voices: no pitch stands out"


@dataclass(frozen=True)
class Sketch:
    """What there is to know of each frame, in 20 bytes: hours of it may be kept.

    pitch: MIDI. entropy: of the pitch posterior, in nats. level: dB of full scale. second: dB by
    which a second partial stands out; infinite below LOWEST_WHISTLE, where it isn't asked for.
    """

    pitch: np.ndarray
    entropy: np.ndarray
    level: np.ndarray
    second: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence[Sketch]) -> Sketch:
        """The sketch of all parts, which follow each other; at least one."""
        return cls(
            np.concatenate([part.pitch for part in parts]),
            np.concatenate([part.entropy for part in parts]),
            np.concatenate([part.level for part in parts]),
            np.concatenate([part.second for part in parts]),
        )


@dataclass(frozen=True)
class Measures:
    """What is measured inside of notes. count: of them. sounding: s, all together.

    entropy: nats, mean of the pitch's. glide: share of the time in which the pitch moves. grid: 1
    where each frame's pitch is on the semitones of one tuning, 0 where it is anywhere. alone: share
    of the time in which one partial stands alone, as high as people whistle.
    spread: semitones between the quartiles of the pitch. swell: dB, standard deviation of the level
    about a line from its peak on. peak: s from the onset to the loudest frame. These three are
    the median note's, and infinite where no note is long enough to tell.
    """

    count: int
    sounding: float
    entropy: float
    glide: float
    grid: float
    alone: float
    spread: float
    swell: float
    peak: float

    @property
    def rate(self) -> float:
        """Notes per sounding second."""
        return self.count / self.sounding

    @property
    def evenness(self) -> float:
        """High where the pitch is in tune and steady and the level even. The weights of
        the three were looked for on half of the sounds."""
        uneven = 0.2 * math.log(max(self.swell, 0.2)) + 0.1 * math.log(max(self.spread, 0.01))
        return self.grid - uneven

    @property
    def played(self) -> bool:
        """Whether an instrument does so; a voice hardly ever."""
        if self.spread < STILL:
            return True
        struck = self.peak <= AT_ONCE and self.grid > TEMPERED
        return self.count >= ENOUGH and (struck or self.evenness > EVEN)


class _Kept:
    """A sound that keeps what was loaded of it last, and at which frame that begins."""

    def __init__(self, sound: Sound) -> None:
        self._sound = sound
        self.duration = sound.duration
        self.samples = np.zeros(0, np.float32)
        self.first = 0

    def load(self, start: float = 0.0, end: float | None = None) -> np.ndarray:
        self.samples, self.first = self._sound.load(start, end), _frame(start)
        return self.samples


def listened(
    model: VoiceToNotes,
    sound: Sound,
    options: DecodeOptions | None = None,
    *,
    progress: bool = False,
) -> tuple[list[Note], str]:
    """The notes of a sound, and why they may mean nothing. Raises AudioError."""
    notes, heard = sketched(model, sound, options, progress=progress)
    return notes, doubt(heard, notes)


def sketched(
    model: VoiceToNotes,
    sound: Sound,
    options: DecodeOptions | None = None,
    *,
    progress: bool = False,
) -> tuple[list[Note], Sketch]:
    """The notes of a sound and its sketch. Raises AudioError."""
    decoder = Decoder(model.settings, options)
    kept = _Kept(sound)
    notes: list[Note] = []
    sketches: list[Sketch] = []
    first = 0
    for part in model.listen(kept, progress=progress):
        notes += decoder.feed(part)
        sketches.append(_sketch(part, model.settings, kept.samples, first - kept.first))
        first += len(part.onset)
    notes += decoder.end()
    return notes, Sketch.joined(sketches)


def _sketch(
    posteriors: Posteriors, settings: FeatureSettings, samples: np.ndarray, first: int
) -> Sketch:
    """That of the frames from `first` on of some samples. What a file lacks is silent."""
    end = first + len(posteriors.onset)
    samples = np.pad(samples, (0, max(0, end * FRAME - len(samples))))
    pitch = frame_pitch(posteriors.pitch, settings)
    high = np.flatnonzero(pitch > LOWEST_WHISTLE)
    second = np.full(len(pitch), np.inf, np.float32)
    second[high] = partials_of(samples, first + high)
    level = levels_of(samples[first * FRAME : end * FRAME])
    return Sketch(pitch, entropy_of(posteriors), level, second)


def doubt(heard: Sketch, notes: Sequence[Note]) -> str:
    """Why the notes may mean nothing, as a clause; "" when they look sung."""
    if not notes:
        return "no singing voice in it"
    what = measured(heard, notes)
    if what.count < ENOUGH and what.sounding < LONG:
        return _NOISE if what.entropy > NO_PITCH else ""
    if what.entropy > WIDEST:
        return _NOISE
    if what.rate > QUICK and what.glide > GLIDES:
        return "it may be speech: the pitch slides, and never stays"
    if what.alone > WHISTLED:
        return "it may be whistling: there is one partial, where a voice has many"
    if what.played:
        return "it may be an instrument: its pitch or level is steadier than a voice's"
    return ""


def measured(heard: Sketch, notes: Sequence[Note]) -> Measures:
    """Of at least one note."""
    within = np.zeros(len(heard.pitch), dtype=bool)
    for note in notes:
        within[_frame(note.onset) : _frame(note.offset)] = True
    steps = np.abs(np.diff(heard.pitch))
    moves = steps[within[1:] & within[:-1] & (steps < 2.0)]  # a leap is no glide
    on_grid = np.exp(2j * np.pi * heard.pitch[within])
    alone = (heard.second < ALONE) & (heard.pitch > LOWEST_WHISTLE)
    some = bool(within.any())
    return Measures(
        count=len(notes),
        sounding=sum(note.duration for note in notes),
        entropy=float(heard.entropy[within].mean()) if some else 0.0,
        glide=float((moves > MOVES * FRAME_SECONDS).mean()) if len(moves) else 0.0,
        grid=float(np.abs(on_grid.mean())) if some else 0.0,
        alone=float(alone[within].mean()) if some else 0.0,
        spread=_median([_spread(heard.pitch[_inside(note)]) for note in notes]),
        swell=_median([_swell(heard.level[_whole(note)]) for note in notes]),
        peak=_median([_peak(heard.level, note) for note in notes]),
    )


def levels_of(samples: np.ndarray) -> np.ndarray:
    """The level of each frame, dB of full scale, float32 (frames,)."""
    whole = np.pad(samples, (0, -len(samples) % FRAME)).reshape(-1, FRAME)
    return np.asarray(10 * np.log10(np.square(whole).mean(axis=1) + QUIETEST), np.float32)


def entropy_of(posteriors: Posteriors) -> np.ndarray:
    """The entropy of each frame's pitch, nats, float32 (frames,)."""
    share = posteriors.pitch.astype(np.float32)
    return np.asarray(-(share * np.log(share + 1e-9)).sum(axis=1))


def partials_of(samples: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """By how many dB a second partial stands out beside the strongest, in the frames of these
    numbers, float32 (frames,).

    It is looked for at 1/2, 3/2, 2 and 3 times the strongest one's frequency, whichever partial
    that is, against the median of what lies beside it.
    """
    sound = np.pad(np.asarray(samples, np.float32), _FFT // 2)
    cuts = np.lib.stride_tricks.sliding_window_view(sound, _FFT)
    found = np.zeros(len(frames), np.float32)
    for start in range(0, len(frames), 512):  # frames at once: 2 MB
        now = cuts[frames[start : start + 512] * FRAME]
        power = np.abs(scipy.fft.rfft(now * _WINDOW, axis=1)) ** 2 + 1e-12
        strongest = power[:, _LOWEST:_HIGHEST].argmax(axis=1) + _LOWEST
        for bin_ in np.unique(strongest):
            rows = np.flatnonzero(strongest == bin_)
            found[start + rows] = _second(power[rows], int(bin_))
    return found


def _second(power: np.ndarray, strongest: int) -> np.ndarray:
    """`partials_of` of frames, (frames, bins), whose strongest partial is in the same bin."""
    most = np.full(len(power), -np.inf)
    for ratio in (0.5, 1.5, 2.0, 3.0):
        centre = round(strongest * ratio)
        reach = max(2, round(0.03 * centre))
        beside = max(4, strongest // 4)
        if centre + reach >= power.shape[1]:
            continue
        lower = power[:, max(0, centre - reach - beside) : centre - reach]
        upper = power[:, centre + reach + 1 : centre + reach + 1 + beside]
        floor = np.median(np.concatenate([lower, upper], axis=1), axis=1)
        peak = power[:, max(0, centre - reach) : centre + reach + 1].max(axis=1)
        most = np.maximum(most, 10 * np.log10(peak / floor))
    return most


def _spread(held: np.ndarray) -> float | None:
    """Between the quartiles of a note's pitch. None: too short to tell."""
    if len(held) < 4:
        return None
    low, high = np.percentile(held, [25, 75])
    return float(high - low)


def _swell(level: np.ndarray) -> float | None:
    """By how much a note's level departs from a line behind its peak, which is looked for in its
    first half. None: too short to tell."""
    if len(level) < 8:
        return None
    falling = level[int(level[: len(level) // 2 + 1].argmax()) :]
    time = np.arange(len(falling)) - (len(falling) - 1) / 2
    away = falling - falling.mean()
    return float(np.std(away - time * (time @ away) / (time @ time)))


def _peak(level: np.ndarray, note: Note) -> float | None:
    """Seconds from its onset to its loudest frame. None: too short to tell."""
    first, last = _frame(note.onset), min(_frame(note.offset), len(level))
    if last - first < 6:
        return None
    begin = max(0, first - 1)  # a blow may fall into the frame before
    return (begin - first + int(level[begin:last].argmax())) * FRAME_SECONDS


def _median(values: Sequence[float | None]) -> float:
    told = [value for value in values if value is not None]
    return float(np.median(told)) if told else float("inf")


def _whole(note: Note) -> slice:
    return slice(_frame(note.onset), _frame(note.offset))


def _inside(note: Note) -> slice:
    """Without the frames in which the pitch comes and goes."""
    return slice(_frame(note.onset) + 2, _frame(note.offset) - 1)


def _frame(time: float) -> int:
    return round(time / FRAME_SECONDS)
