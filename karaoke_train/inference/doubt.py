"""A sketch of what a model heard and its notes in; whether it was singing at all out, in words.

A model made for one singing voice finds notes in speech and in a piano, too. What tells them apart
was measured on synthetic songs of every style, on speech of a formant synthesiser, and on sums of
sines that decay like strings, hold like pipes or whistle: in speech the pitch slides through each
note, and there are many notes; an instrument's pitch stands still as no voice's does; where the
pitch may be anything, there is noise, or are several sounds at once. Two voices pass as one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from karaoke_train.audio.units import FRAME_SECONDS
from karaoke_train.model.decode import Decoder, frame_pitch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from karaoke_train.audio.features import FeatureSettings
    from karaoke_train.inference.transcribe import Sound, VoiceToNotes
    from karaoke_train.model.decode import DecodeOptions, Posteriors
    from karaoke_train.notes import Note

ENOUGH, LONG = 5, 3.0  # notes, seconds of them; fewer that last less tell little
# Semitones per second by which the pitch slides in the median note. Of 158 songs one had more than
# 3.2; 27 recordings of speech had 3.7 to 16. And notes per sounding second: speech had 4.8 to 7.7.
SLIDES, QUICK = 3.4, 4.0
# Semitones between the quartiles of the pitch inside the median note. Voices had 0.058 up, and very
# steady ones 0.038; strings, pipes and whistles had 0.029 at most.
STILL = 0.033
WIDEST = 2.45  # nats, mean entropy of the pitch; 2 of the 158 songs had more, and noise 4.5
NO_PITCH = 3.7  # the same of however few notes: clicks and noise had 4.4 to 4.9, songs up to 2.5
_NOISE = "it may be noise, an instrument or several voices: no pitch stands out"


@dataclass(frozen=True)
class Sketch:
    """What there is to know of each frame, in 12 bytes: hours of it may be kept.

    pitch: MIDI. entropy: of the pitch posterior, in nats.
    """

    pitch: np.ndarray
    entropy: np.ndarray

    @classmethod
    def of(cls, posteriors: Posteriors, settings: FeatureSettings) -> Sketch:
        """The sketch of some frames."""
        share = posteriors.pitch.astype(np.float32)
        entropy = -(share * np.log(share + 1e-9)).sum(axis=1)
        return cls(frame_pitch(posteriors.pitch, settings), entropy)

    @classmethod
    def joined(cls, parts: Sequence[Sketch]) -> Sketch:
        """The sketch of all parts, which follow each other; at least one."""
        return cls(
            np.concatenate([part.pitch for part in parts]),
            np.concatenate([part.entropy for part in parts]),
        )


def listened(
    model: VoiceToNotes,
    sound: Sound,
    options: DecodeOptions | None = None,
    *,
    progress: bool = False,
) -> tuple[list[Note], str]:
    """The notes of a sound, and why they may mean nothing. Raises AudioError."""
    decoder = Decoder(model.settings, options)
    notes: list[Note] = []
    sketches: list[Sketch] = []
    for part in model.listen(sound, progress=progress):
        notes += decoder.feed(part)
        sketches.append(Sketch.of(part, model.settings))
    notes += decoder.end()
    return notes, doubt(Sketch.joined(sketches), notes)


def doubt(heard: Sketch, notes: Sequence[Note]) -> str:
    """Why the notes may mean nothing, as a clause; "" when they look sung."""
    if not notes:
        return "no singing voice in it"
    entropy, sounding = _entropy(heard.entropy, notes), sum(note.duration for note in notes)
    if len(notes) < ENOUGH and sounding < LONG:
        return _NOISE if entropy > NO_PITCH else ""
    slide, spread = _inside(heard.pitch, notes)
    if slide > SLIDES and len(notes) / sounding > QUICK:
        return "it may be speech: the pitch slides, and never stays"
    if spread < STILL:
        return "it may be an instrument: its pitch is steadier than a voice's"
    return _NOISE if entropy > WIDEST else ""


def _inside(pitch: np.ndarray, notes: Sequence[Note]) -> tuple[float, float]:
    """Of the median note: how fast the pitch slides, semitones per second, and the distance
    between its quartiles, semitones. pitch: MIDI, per frame. Notes under 0.14 s tell nothing."""
    slides: list[float] = []
    spreads: list[float] = []
    for note in notes:
        held = pitch[_frame(note.onset) + 2 : _frame(note.offset) - 1]
        if len(held) < 4:
            continue
        time = np.arange(len(held)) * FRAME_SECONDS
        time -= time.mean()
        slides.append(abs(float(time @ held) / float(time @ time)))
        low, high = np.percentile(held, [25, 75])
        spreads.append(float(high - low))
    if not slides:
        return 0.0, float("inf")
    return float(np.median(slides)), float(np.median(spreads))


def _entropy(entropy: np.ndarray, notes: Sequence[Note]) -> float:
    """Its mean within notes."""
    within = np.zeros(len(entropy), dtype=bool)
    for note in notes:
        within[_frame(note.onset) : _frame(note.offset)] = True
    return float(entropy[within].mean()) if within.any() else 0.0


def _frame(time: float) -> int:
    return round(time / FRAME_SECONDS)
