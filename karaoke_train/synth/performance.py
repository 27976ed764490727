"""A melody and a singer -> what is sung: syllables with exact times, and with them the truth.

The onset of a note is the start of its vowel; a consonant before it belongs to no note. It ends
where its vowel ends: at the next consonant, at the next note when it is slurred, or where the
voice lets go before a rest. So the published annotation rules have the onset (Molina et al.,
ISMIR 2014, and after them the re-annotation of the Children's Song Dataset by Yong, Su and Nam,
ICASSP 2023: "The start of the vowel is treated as the onset"). MIR-ST500 states no rule; its
onsets were refined by a trained detector (Wang and Jang, ICASSP 2021).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from karaoke_train.notes import Note

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from karaoke_train.audio.units import Range
    from karaoke_train.synth.melody import Tone
    from karaoke_train.synth.voice import Voice

SHORTEST = 0.07  # s, of a vowel; what is shorter cannot be told from a consonant


@dataclass(frozen=True)
class Consonant:
    """How a consonant sounds.

    length: s, lowest and highest. voiced: level of the voice through it, of a vowel's.
    formants: Hz, where the formants go; none: they stay. noise: Hz, centre and width of its
    hiss, level in parts of the voice; burst: the hiss comes at the end, after a closure.
    """

    length: Range
    voiced: float
    formants: tuple[float, float, float] | None = None
    noise: tuple[float, float, float] | None = None
    burst: bool = False


CONSONANTS = {
    "p": Consonant((0.06, 0.13), 0.0, (300, 800, 2300), (1200, 1500, 0.12), burst=True),
    "t": Consonant((0.06, 0.13), 0.0, (300, 1800, 2700), (4500, 2500, 0.22), burst=True),
    "k": Consonant((0.07, 0.14), 0.0, (300, 2000, 2300), (2200, 1200, 0.2), burst=True),
    "b": Consonant((0.04, 0.09), 0.12, (250, 800, 2300), (900, 1200, 0.06), burst=True),
    "d": Consonant((0.04, 0.09), 0.12, (250, 1700, 2700), (4000, 2500, 0.08), burst=True),
    "g": Consonant((0.04, 0.09), 0.12, (250, 2000, 2300), (2000, 1200, 0.08), burst=True),
    "s": Consonant((0.07, 0.18), 0.0, (350, 1700, 2700), (6200, 1700, 0.25)),
    "ʃ": Consonant((0.07, 0.18), 0.0, (350, 1900, 2500), (3800, 1500, 0.28)),
    "f": Consonant((0.06, 0.14), 0.0, (350, 1000, 2400), (5000, 4500, 0.06)),
    "h": Consonant((0.04, 0.12), 0.0, None, (1500, 1800, 0.08)),
    "z": Consonant((0.05, 0.11), 0.3, (300, 1700, 2700), (6200, 1700, 0.1)),
    "v": Consonant((0.04, 0.09), 0.35, (300, 1000, 2400), (4500, 4000, 0.03)),
    "m": Consonant((0.04, 0.11), 0.45, (260, 1050, 2250)),
    "n": Consonant((0.04, 0.1), 0.45, (260, 1550, 2550)),
    "l": Consonant((0.03, 0.09), 0.55, (350, 1100, 2750)),
    "r": Consonant((0.03, 0.09), 0.55, (370, 1150, 1650)),
    "w": Consonant((0.03, 0.08), 0.6, (310, 680, 2250)),
    "j": Consonant((0.03, 0.08), 0.6, (290, 2200, 2950)),
    "ʔ": Consonant((0.015, 0.06), 0.08),
}
_COMMON = tuple(name for name in CONSONANTS if name != "ʔ")
NASAL = (260.0, 1100.0, 2250.0)  # Hz, hummed and at the end of syllables


@dataclass(frozen=True, slots=True)
class Syllable:
    """One sung note, and all that the voice does around it.

    onset, offset: s, of the vowel. pitch: MIDI, the intended one with the singer's tuning.
    sung: MIDI, where this singer lands. consonant: its name, "" for none, sung `lead` seconds
    before the onset. vowel, glides_to: rows of the voice's formants. level: dB.
    slurred: grows out of the note before. first, last: of its phrase. nasal: ends in m or n.
    """

    onset: float
    offset: float
    pitch: float
    sung: float
    consonant: str
    lead: float
    vowel: int
    glides_to: int
    level: float
    slurred: bool
    first: bool
    last: bool
    nasal: bool


def perform(rng: np.random.Generator, tones: Sequence[Tone], voice: Voice) -> tuple[Syllable, ...]:
    """What `voice` sings of the melody."""
    onsets = _onsets(rng, tones, voice)
    favourite = (int(rng.integers(len(voice.formants))), _COMMON[rng.integers(len(_COMMON))])
    leads = [_lead(rng, tones, index, onsets, voice, favourite[1]) for index in range(len(tones))]
    syllables: list[Syllable] = []
    loudness = 0.0
    for index, tone in enumerate(tones):
        first = index == 0 or tones[index - 1].phrase != tone.phrase
        last = index + 1 == len(tones) or tones[index + 1].phrase != tone.phrase
        if first:
            loudness = rng.normal(0.0, 2.0)
        if tone.slurred and not first:
            vowel = syllables[-1].glides_to
        else:
            vowel = favourite[0] if voice.one_syllable else int(rng.integers(len(voice.formants)))
        glides = rng.random() < 0.12 and not voice.one_syllable
        pitch = tone.pitch + voice.tuning / 100
        miss = min(max(rng.normal(0.0, voice.intonation), -42.0), 42.0)  # within the metrics' 50
        syllables.append(
            Syllable(
                onset=onsets[index],
                offset=_offset(rng, tones, index, onsets, leads, voice),
                pitch=pitch,
                sung=pitch + miss / 100,
                consonant=leads[index][0],
                lead=leads[index][1],
                vowel=vowel,
                glides_to=int(rng.integers(len(voice.formants))) if glides else vowel,
                level=loudness + rng.normal(0.0, voice.effort) + (-1.5 if last else 0.0),
                slurred=tone.slurred,
                first=first,
                last=last,
                nasal=rng.random() < 0.15 and not voice.one_syllable,
            )
        )
    return tuple(syllables)


def truth(syllables: Sequence[Syllable]) -> tuple[Note, ...]:
    """The notes that were sung, as an annotator with perfect ears would write them."""
    return tuple(Note(s.onset, s.offset, s.pitch) for s in syllables)


def _onsets(rng: np.random.Generator, tones: Sequence[Tone], voice: Voice) -> list[float]:
    """Onsets a little off the beat, a quarter of the shorter neighbour at most, in order."""
    shifts = rng.normal(0.0, 1.0, len(tones)) * voice.timing
    onsets: list[float] = []
    for index, tone in enumerate(tones):
        room = 0.25 * (tone.end - tone.start)
        if index:
            room = min(room, 0.25 * (tones[index - 1].end - tones[index - 1].start))
        onsets.append(max(0.02, tone.start + min(max(float(shifts[index]), -room), room)))
    return onsets


def _lead(
    rng: np.random.Generator,
    tones: Sequence[Tone],
    index: int,
    onsets: Sequence[float],
    voice: Voice,
    favourite: str,
) -> tuple[str, float]:
    """The consonant before a note and its length, cut to what the time before leaves room for."""
    if tones[index].slurred:
        return "", 0.0
    if voice.humming:
        name = "ʔ"
    elif rng.random() < voice.consonants:
        name = favourite if voice.one_syllable else _COMMON[rng.integers(len(_COMMON))]
    else:
        name = "ʔ"
    length = rng.uniform(*CONSONANTS[name].length)
    if name != "ʔ" and CONSONANTS[name].voiced:
        length *= voice.sustain
    room = onsets[index] if index == 0 else onsets[index] - onsets[index - 1]
    return name, float(min(length, 0.4 * room, max(0.012, room - SHORTEST - 0.012)))


def _offset(
    rng: np.random.Generator,
    tones: Sequence[Tone],
    index: int,
    onsets: Sequence[float],
    leads: Sequence[tuple[str, float]],
    voice: Voice,
) -> float:
    """Where the vowel ends: before the next consonant, or where the voice lets go."""
    onset, end = onsets[index], tones[index].end
    if index + 1 < len(tones):
        latest = onsets[index + 1] - leads[index + 1][1]
        if tones[index + 1].slurred:
            return latest
        if tones[index + 1].phrase == tones[index].phrase:
            end = min(end, latest) if latest < end + 0.03 else end
        end = min(end, latest)
    share = voice.legato + (1.0 - voice.legato) * rng.random()
    return max(onset + share * (end - onset), onset + min(SHORTEST, end - onset))
