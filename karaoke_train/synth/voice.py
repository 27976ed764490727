"""A random generator -> a singer: tract, source, habits. The ranges are the documented settings.

`VoiceRange` says which singers there may be, `draw` picks one, a frozen `Voice`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from karaoke_train.audio.degrade import ANYWHERE, LEVELLED, Conditions
from karaoke_train.audio.units import Range

Vowels = Literal["midwest", "general"]

GROUPS = ("man", "woman", "child")

# Mean formant frequencies F1 F2 F3 in Hz by vowel and by group. The two tables are different
# speakers forty years apart, so that voices held out for a test differ in their vowels, too.
# "midwest" after Hillenbrand, Getty, Clark and Wheeler, JASA 97 (1995);
# "general" after Peterson and Barney, JASA 24 (1952).
VOWELS: dict[Vowels, dict[str, tuple[tuple[int, int, int], ...]]] = {
    "midwest": {
        "i": ((342, 2322, 3000), (437, 2761, 3372), (452, 3081, 3702)),
        "ɪ": ((427, 2034, 2684), (483, 2365, 3053), (511, 2552, 3403)),
        "e": ((476, 2089, 2691), (536, 2530, 3047), (564, 2656, 3323)),
        "ɛ": ((580, 1799, 2605), (731, 2058, 2979), (749, 2267, 3310)),
        "æ": ((588, 1952, 2601), (669, 2349, 2972), (717, 2501, 3289)),
        "ɑ": ((768, 1333, 2522), (936, 1551, 2815), (1002, 1688, 2950)),
        "ɔ": ((652, 997, 2538), (781, 1136, 2824), (803, 1210, 2982)),
        "o": ((497, 910, 2459), (555, 1035, 2828), (597, 1137, 2987)),
        "ʊ": ((469, 1122, 2434), (519, 1225, 2827), (568, 1490, 3072)),
        "u": ((378, 997, 2343), (459, 1105, 2735), (494, 1345, 2988)),
        "ʌ": ((623, 1200, 2550), (753, 1426, 2933), (749, 1546, 3145)),
    },
    "general": {
        "i": ((270, 2290, 3010), (310, 2790, 3310), (370, 3200, 3730)),
        "ɪ": ((390, 1990, 2550), (430, 2480, 3070), (530, 2730, 3600)),
        "ɛ": ((530, 1840, 2480), (610, 2330, 2990), (690, 2610, 3570)),
        "æ": ((660, 1720, 2410), (860, 2050, 2850), (1010, 2320, 3320)),
        "ɑ": ((730, 1090, 2440), (850, 1220, 2810), (1030, 1370, 3170)),
        "ɔ": ((570, 840, 2410), (590, 920, 2710), (680, 1060, 3180)),
        "ʊ": ((440, 1020, 2240), (470, 1160, 2680), (560, 1410, 3310)),
        "u": ((300, 870, 2240), (370, 950, 2670), (430, 1170, 3260)),
        "ʌ": ((640, 1190, 2390), (760, 1400, 2780), (850, 1590, 3360)),
    },
}
_UPPER = {"man": (3500.0, 4500.0), "woman": (4150.0, 5200.0), "child": (4600.0, 6000.0)}  # F4 F5

# Name, group, lowest and highest comfortable MIDI pitch.
KINDS = (
    ("bass", 0, 40, 60),
    ("baritone", 0, 43, 65),
    ("tenor", 0, 48, 69),
    ("alto", 1, 52, 72),
    ("mezzo", 1, 55, 76),
    ("soprano", 1, 58, 80),
    ("child", 2, 58, 76),
)
USUAL = tuple(kind[0] for kind in KINDS)
# The ends of what models hear: a model without them took notes under 40 for octaves or twelfths.
OUTER = (("low bass", 0, 36, 56), ("high soprano", 1, 64, 88), ("high child", 2, 62, 84))


@dataclass(frozen=True)
class VoiceRange:
    """Which singers there may be. Every range is (lowest, highest); each singer draws from it.

    name: takes part in the seeds, so that two ranges sing different melodies for equal seeds.
    vowels: the table of formants. kinds: names out of KINDS and OUTER.
    tract: factor on all formants, besides the group's (length of the vocal tract).
    skew: factor on each formant by itself, once per vowel (the singer's own vowels).
    tilt: Hz, the corner above which the glottal source falls by a further 6 dB per octave, at
    full voice; soft voice is darker. breathiness: noise of breath under the voice, of its level.
    cluster: 0 to 1, how near F3 to F5 come together (the trained singer's formant).
    air: level, to the voice's, of breath that the tract does not filter, mostly above 3 kHz.
    sibilance: factor on the hiss and bursts of consonants.
    tuning: cents, the singer's own concert pitch against A4 = 440 Hz; the truth includes it.
    intonation: cents, spread of single notes around the intended pitch; the truth does not
    follow it. drift: cents, slow wandering. waver: cents, unsteadiness inside a note, two to six
    times per second. jitter: cents, quick roughness.
    glide: s, how long a change of pitch takes. overshoot: damping, under 1 shoots over.
    scoop, fall: how likely a note begins from below, a phrase ends with a drop.
    vibrato_rate: Hz. vibrato_depth: cents to either side. vibrato_delay: s after the onset.
    vibrato_share: how likely a note long enough has any.
    consonants: share of syllables that begin with one. legato: how much of the time to the next
    note is sung. timing: s, spread of onsets around the beat. effort: dB, spread of loudness
    from note to note. swell: spread of the level inside a note, in 10 dB. attack, release: s,
    the longest rise of a note and the longest fall before a rest; both are drawn per note.
    closure: level of the voice through voiced consonants, of what the table has. sustain: factor
    on the length of voiced consonants; people dwell on l, m and n.
    doubling: how much weaker every second pulse of the source is, of the first's; 0 where it is
    drawn below. Creaky voices have it, and a formant synthesiser's roughness is it (the double
    pulsing of Klatt and Klatt, JASA 87, 1990); the note is the pulses', not an octave below.
    hums: share of songs hummed; syllable_songs: on one syllable throughout.
    partials: the sound is a bank of sines with a spectrum of its own instead of a source and a
    tract: other means, for validation. recorded: where such singers are recorded.

    The defaults span from trained singers to amateurs. Unaccompanied singers miss single notes by
    20 to 30 cents and drift (Mauch, Frieler and Dixon, JASA 136, 2014; Pfordresher and Brown,
    Music Perception 25, 2007). What amateurs on phones do inside notes was measured on
    recordings that nothing is trained or chosen on: f0 spreads by 13 to 34 cents within a note,
    notes miss by 24 cents and singers by 14, level moves by 14 dB inside notes and dips by 17 dB
    between them, and 4 to 7 kHz holds -30 dB of the energy, 2 to 4 kHz -24 dB.
    """

    name: str
    vowels: Vowels = "midwest"
    kinds: tuple[str, ...] = USUAL
    tract: Range = (0.92, 1.06)
    skew: Range = (0.92, 1.08)
    tilt: Range = (350.0, 2400.0)
    breathiness: Range = (0.01, 0.15)
    cluster: Range = (0.0, 0.6)
    air: Range = (0.0, 0.04)
    sibilance: Range = (0.6, 1.6)
    tuning: Range = (-45.0, 45.0)
    intonation: Range = (3.0, 30.0)
    drift: Range = (3.0, 20.0)
    waver: Range = (2.0, 32.0)
    jitter: Range = (1.5, 7.0)
    glide: Range = (0.03, 0.13)
    overshoot: Range = (0.6, 1.0)
    scoop: Range = (0.0, 0.5)
    fall: Range = (0.0, 0.3)
    vibrato_rate: Range = (4.6, 6.4)
    vibrato_depth: Range = (10.0, 80.0)
    vibrato_delay: Range = (0.1, 0.4)
    vibrato_share: Range = (0.0, 0.9)
    consonants: Range = (0.6, 0.98)
    legato: Range = (0.8, 1.0)
    timing: Range = (0.0, 0.03)
    effort: Range = (0.5, 3.5)
    swell: Range = (0.05, 0.6)
    attack: Range = (0.03, 0.11)
    release: Range = (0.06, 0.3)
    closure: Range = (0.05, 1.0)
    sustain: Range = (1.0, 1.0)
    doubling: Range = (0.0, 0.0)
    hums: float = 0.05
    syllable_songs: float = 0.12
    partials: bool = False
    recorded: Conditions = ANYWHERE


TRAIN_VOICES = VoiceRange(
    "train",
    kinds=tuple(kind[0] for kind in (*KINDS, *OUTER)),
    sustain=(0.8, 1.6),
    doubling=(-1.0, 0.5),
    recorded=LEVELLED,
)
"""Low and high voices, voiced consonants that are dwelt on, double pulsing (in a third of voices)
and automatic gain are here alone: what they gave on singing by other programs is in
docs/learning.md."""

HELD_OUT_VOICES = VoiceRange(
    "held-out",
    vowels="general",
    tract=(1.065, 1.12),
    tilt=(200.0, 340.0),
    vibrato_rate=(6.45, 7.0),
    jitter=(7.1, 9.0),
    glide=(0.135, 0.17),
)
"""Voices no song of TRAIN_VOICES has: other vowels, shorter tracts, a darker source, quicker
vibrato, more jitter, slower glides; these ranges do not touch those of TRAIN_VOICES."""

AMATEUR_VOICES = replace(
    HELD_OUT_VOICES,
    name="amateur",
    tract=(0.85, 0.91),
    breathiness=(0.1, 0.3),
    air=(0.02, 0.05),
    cluster=(0.0, 0.1),
    intonation=(18.0, 30.0),
    drift=(8.0, 25.0),
    waver=(15.0, 36.0),
    jitter=(7.1, 12.0),
    glide=(0.06, 0.17),
    vibrato_share=(0.0, 0.2),
    legato=(0.95, 1.0),
    effort=(2.0, 5.0),
    swell=(0.4, 0.7),
    release=(0.15, 0.5),
    closure=(0.05, 0.3),
)
"""For validation: what is known of amateurs (see VoiceRange) at its worse end, by held-out voices
with longer tracts than those of TRAIN_VOICES."""

PARTIAL_VOICES = replace(AMATEUR_VOICES, name="partials", waver=(5.0, 25.0), partials=True)
"""For validation: sound made by other means, a bank of sines instead of a source and a tract."""

VALIDATION_VOICES = {v.name: v for v in (HELD_OUT_VOICES, AMATEUR_VOICES, PARTIAL_VOICES)}

SIMPLE_VOICES = VoiceRange(
    "simple",
    kinds=("tenor", "alto"),
    tilt=(1200.0, 4000.0),
    air=(0.0, 0.0),
    sibilance=(1.0, 1.0),
    tuning=(0.0, 0.0),
    intonation=(0.0, 5.0),
    drift=(0.0, 5.0),
    waver=(0.0, 2.0),
    glide=(0.03, 0.06),
    scoop=(0.0, 0.2),
    fall=(0.0, 0.0),
    vibrato_depth=(10.0, 30.0),
    consonants=(0.0, 0.3),
    legato=(0.8, 0.95),
    timing=(0.0, 0.01),
    effort=(0.5, 1.0),
    swell=(0.1, 0.2),
    attack=(0.03, 0.06),
    release=(0.05, 0.12),
    closure=(1.0, 1.0),
    hums=0.0,
)


@dataclass(frozen=True)
class Voice:
    """One singer; the fields are those of VoiceRange, drawn.

    low, high: MIDI pitches it sings today. formants: shape (vowels, 5), Hz.
    bandwidths: shape (5,), Hz. one_syllable: whether songs are sung on one.
    humming: with closed mouth.
    """

    kind: str
    low: int
    high: int
    formants: np.ndarray
    bandwidths: np.ndarray
    tilt: float
    breathiness: float
    air: float
    sibilance: float
    tuning: float
    intonation: float
    drift: float
    waver: float
    jitter: float
    glide: float
    overshoot: float
    scoop: float
    fall: float
    vibrato_rate: float
    vibrato_depth: float
    vibrato_delay: float
    vibrato_share: float
    consonants: float
    legato: float
    timing: float
    effort: float
    swell: float
    attack: float
    release: float
    closure: float
    sustain: float
    doubling: float
    humming: bool
    one_syllable: bool
    partials: bool


def draw(rng: np.random.Generator, voices: VoiceRange, *, simple: bool) -> Voice:
    """A singer out of `voices`."""
    kinds = [kind for kind in (*KINDS, *OUTER) if kind[0] in voices.kinds]
    name, group, lowest, highest = kinds[rng.integers(len(kinds))]
    span = 12 if simple else int(rng.integers(10, 18))
    low = 55 if simple else int(rng.integers(lowest, max(lowest + 1, highest - span + 1)))
    drawn = {field: float(rng.uniform(*getattr(voices, field))) for field in _DRAWN}
    for field in ("sustain", "doubling"):
        # Drawn only where it varies, so that the songs of other ranges stay what they were.
        least, most = getattr(voices, field)
        drawn[field] = float(rng.uniform(least, most)) if least < most else least
    return Voice(
        kind=name,
        low=low,
        high=low + span,
        formants=_formants(rng, voices, group),
        bandwidths=np.array([70.0, 90.0, 130.0, 190.0, 260.0]) * rng.uniform(0.8, 1.4),
        humming=bool(rng.random() < voices.hums),
        one_syllable=bool(rng.random() < voices.syllable_songs),
        partials=voices.partials,
        **drawn,
    )


_DRAWN = (
    "tilt",
    "breathiness",
    "air",
    "sibilance",
    "tuning",
    "intonation",
    "drift",
    "waver",
    "jitter",
    "glide",
    "overshoot",
    "scoop",
    "fall",
    "vibrato_rate",
    "vibrato_depth",
    "vibrato_delay",
    "vibrato_share",
    "consonants",
    "legato",
    "timing",
    "effort",
    "swell",
    "attack",
    "release",
    "closure",
)


def _formants(rng: np.random.Generator, voices: VoiceRange, group: int) -> np.ndarray:
    """The singer's vowels, shape (vowels, 5), Hz."""
    lower = np.array([row[group] for row in VOWELS[voices.vowels].values()], float)
    lower = lower * rng.uniform(*voices.skew, size=lower.shape)
    upper = np.tile(_UPPER[GROUPS[group]], (len(lower), 1))
    table = np.hstack([lower, upper])
    cluster = rng.uniform(*voices.cluster)
    centre = table[:, 2].mean() * 1.1
    table[:, 2:] += cluster * 0.6 * (centre + np.array([-250.0, 50.0, 450.0]) - table[:, 2:])
    table[:, 1] = np.minimum(table[:, 1], table[:, 2] - 250.0)
    return np.minimum(table * rng.uniform(*voices.tract), 7_400.0)
