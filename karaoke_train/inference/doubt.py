"""A sketch of what a model heard and its notes in; whether it was singing at all out, in words.

A model made for one singing voice finds notes in speech and in a piano, too. What tells them apart
was measured by `python -m benchmarks.foreign.doubt`. In speech the notes are quick and the pitch
moves through most of them. An instrument's pitch lies on the semitones of one tuning; inside a note
it moves little, and the level falls or holds evenly, where a voice wavers; what is struck or
plucked is loudest at once. Where the pitch may be anything, there is noise, or are several sounds
at once. Two voices pass as one, and so does whatever is played as unevenly as people sing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from karaoke_train.audio.units import FRAME, FRAME_SECONDS, SAMPLE_RATE, frame_count
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
# `Measures.evenness`. 480 songs had 1.19 at most, and 45 pitch-corrected to a few cents 1.23.
EVEN = 1.25
# s from a note's onset to its peak, in the median note, and a `grid` as of fixed pitches. Songs of
# such a grid had 0.02 up; half of the pieces by guitars, pianos and xylophones 0 and less.
AT_ONCE, TEMPERED = 0.01, 0.5
WIDEST = 2.45  # nats, mean entropy of the pitch; 3 of 525 songs had more, and drums 2.8 up
NO_PITCH = 3.7  # the same of however few notes: clicks and noise had 4.4 to 4.9, songs up to 2.9
QUIETEST = 1e-9  # of full scale, power; -90 dB
_NOISE = "it may be noise, an instrument or several voices: no pitch stands out"


@dataclass(frozen=True)
class Sketch:
    """What there is to know of each frame, in 16 bytes: hours of it may be kept.

    pitch: MIDI. entropy: of the pitch posterior, in nats. level: dB of full scale.
    """

    pitch: np.ndarray
    entropy: np.ndarray
    level: np.ndarray

    @classmethod
    def of(cls, posteriors: Posteriors, settings: FeatureSettings, level: np.ndarray) -> Sketch:
        """The sketch of some frames."""
        share = posteriors.pitch.astype(np.float32)
        entropy = -(share * np.log(share + 1e-9)).sum(axis=1)
        return cls(frame_pitch(posteriors.pitch, settings), entropy, level)

    @classmethod
    def joined(cls, parts: Sequence[Sketch]) -> Sketch:
        """The sketch of all parts, which follow each other; at least one."""
        return cls(
            np.concatenate([part.pitch for part in parts]),
            np.concatenate([part.entropy for part in parts]),
            np.concatenate([part.level for part in parts]),
        )


@dataclass(frozen=True)
class Measures:
    """What is measured inside of notes. count: of them. sounding: s, all together.

    entropy: nats, mean of the pitch's. glide: share of the time in which the pitch moves. grid: 1
    where each frame's pitch is on the semitones of one tuning, 0 where it is anywhere.
    spread: semitones between the quartiles of the pitch. swell: dB, standard deviation of the level
    about a line from its peak on. peak: s from the onset to the loudest frame. These three are
    the median note's, and infinite where no note is long enough to tell.
    """

    count: int
    sounding: float
    entropy: float
    glide: float
    grid: float
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


class _Metered:
    """A sound that notes the level of each frame that is loaded of it, dB of full scale."""

    def __init__(self, sound: Sound) -> None:
        self._sound = sound
        self.duration = sound.duration
        frames = frame_count(round(self.duration * SAMPLE_RATE))
        self.level = np.full(frames, 10 * np.log10(QUIETEST), np.float32)

    def load(self, start: float = 0.0, end: float | None = None) -> np.ndarray:
        samples = self._sound.load(start, end)
        place = self.level[_frame(start) :]
        levels = levels_of(samples)[: len(place)]
        place[: len(levels)] = levels
        return samples


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
    metered = _Metered(sound)
    notes: list[Note] = []
    sketches: list[Sketch] = []
    first = 0
    for part in model.listen(metered, progress=progress):
        notes += decoder.feed(part)
        level = metered.level[first : first + len(part.onset)].copy()
        sketches.append(Sketch.of(part, model.settings, level))
        first += len(part.onset)
    notes += decoder.end()
    return notes, Sketch.joined(sketches)


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
    some = bool(within.any())
    return Measures(
        count=len(notes),
        sounding=sum(note.duration for note in notes),
        entropy=float(heard.entropy[within].mean()) if some else 0.0,
        glide=float((moves > MOVES * FRAME_SECONDS).mean()) if len(moves) else 0.0,
        grid=float(np.abs(on_grid.mean())) if some else 0.0,
        spread=_median([_spread(heard.pitch[_inside(note)]) for note in notes]),
        swell=_median([_swell(heard.level[_whole(note)]) for note in notes]),
        peak=_median([_peak(heard.level, note) for note in notes]),
    )


def levels_of(samples: np.ndarray) -> np.ndarray:
    """The level of each frame, dB of full scale, float32 (frames,)."""
    whole = np.pad(samples, (0, -len(samples) % FRAME)).reshape(-1, FRAME)
    return np.asarray(10 * np.log10(np.square(whole).mean(axis=1) + QUIETEST), np.float32)


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
