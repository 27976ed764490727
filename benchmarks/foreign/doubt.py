"""Which sounds `karaoke-train transcribe` doubts to be singing, and what that is decided by.

    python -m benchmarks.foreign.doubt [--model NAME_OR_DIR] [--count N] [--seed N] [--kinds …]

Singing that must not be doubted: our singer's styles, those of other programs, pitch-corrected to
the semitone, and humming. What should be: speech, whole recordings and pieces joined up to 20 s
(see `speech`), sampled instruments (see `instruments`), a drum kit, whistling, noise and mains hum;
two voices, and a voice with a piano, are shown, too. Each kind as it is and as a phone hears it;
lengths of 4, 6 and 10 s. It needs `pip install 'karaoke-train[foreign]'`.

A row has the sounds that are doubted, of how many, and each measure's 10th to 90th percentile.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks.foreign import espeak, instruments, klatt, recording, score, speech, wordless
from karaoke_train.audio.units import SAMPLE_RATE
from karaoke_train.inference.doubt import doubt, measured, sketched
from karaoke_train.inference.transcribe import VoiceToNotes
from karaoke_train.settings import MODEL
from karaoke_train.synth import TRAIN_VOICES, VALIDATION_VOICES, sing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from karaoke_train.synth import VoiceRange

    Maker = Callable[[int, float], np.ndarray]  # a seed and seconds in, samples at 16 kHz out

LENGTHS: Final = (10.0, 10.0, 6.0, 6.0, 4.0, 4.0)  # s; two of each, since every other seed differs
SEED: Final = 40_000  # of the first sound; thresholds were set on seeds below
SHORTEST: Final = 3.0  # s, of speech
SHOWN: Final = ("rate", "glide", "entropy", "grid", "alone", "spread", "swell", "peak", "evenness")


@dataclass(frozen=True)
class Whole:
    """A `Sound` in memory."""

    samples: np.ndarray

    @property
    def duration(self) -> float:
        return len(self.samples) / SAMPLE_RATE

    def load(self, start: float = 0.0, end: float | None = None) -> np.ndarray:
        last = None if end is None else round(end * SAMPLE_RATE)
        return self.samples[round(start * SAMPLE_RATE) : last]


def ours(voices: VoiceRange, seed: int, duration: float) -> np.ndarray:
    """By our singer."""
    return sing(seed, duration=duration, voices=voices)[0]


def corrected(seed: int, duration: float) -> np.ndarray:
    """Re-sung speech whose notes are exactly on semitones, as pitch correction leaves them."""
    rng = np.random.default_rng([seed, 12])
    how = replace(score.habits(rng), miss=0.0, waver=3.0, glide=(0.02, 0.05), scoop=0.0)
    clips = speech.speakers()[seed % len(speech.speakers())]
    low = rng.uniform(45.0, 58.0)
    notes = score.write(rng, duration, low, low + rng.uniform(9.0, 15.0), how, speech.LONGEST)
    return speech.perform(rng, notes, clips, how, duration)[0]


@cache
def sentences(speaker: int) -> list[np.ndarray]:
    """The recordings of a speaker that are long enough. Raises NoSpeech."""
    sounds = map(speech.samples, speech.speakers()[speaker])
    found = [sound for sound in sounds if len(sound) >= SHORTEST * SAMPLE_RATE]
    if not found:
        raise speech.NoSpeech(f"no recording of a speaker lasts {SHORTEST:g} s")
    return found


def spoken(seed: int, duration: float) -> np.ndarray:
    """A whole recording, whatever its length."""
    del duration
    count = len(speech.speakers())
    of_one = sentences(seed % count)
    return of_one[seed // count % len(of_one)]


def told(seed: int, duration: float) -> np.ndarray:
    """Recordings one after the other, twice as long as asked for."""
    rng = np.random.default_rng([seed, 14])
    clips = speech.speakers()[seed % len(speech.speakers())]
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < 2 * duration * SAMPLE_RATE:
        parts.append(speech.samples(clips[int(rng.integers(len(clips)))]))
        parts.append(np.zeros(round(rng.uniform(0.1, 0.5) * SAMPLE_RATE)))
    return np.concatenate(parts)[: round(2 * duration * SAMPLE_RATE)]


def duet(seed: int, duration: float) -> np.ndarray:
    """Two voices, two melodies."""
    return klatt.sing(seed, duration)[0] + klatt.sing(seed + 500, duration)[0]


def accompanied(seed: int, duration: float) -> np.ndarray:
    """A voice, and a piano 6 dB below."""
    voice = recording.clean(klatt.sing(seed, duration)[0])
    return voice + 0.5 * recording.clean(instruments.play("piano", seed, duration))


def first(style: Callable[[int, float], tuple[np.ndarray, object]]) -> Maker:
    """The sound of a singer of `benchmarks.foreign`."""
    return lambda seed, duration: style(seed, duration)[0]


SINGING: Final[dict[str, Maker]] = {
    **{name: partial(ours, voices) for name, voices in VALIDATION_VOICES.items()},
    "training": partial(ours, TRAIN_VOICES),
    "espeak": first(espeak.sing),
    "klatt": first(klatt.sing),
    "speech, sung": first(speech.sing),
    "humming": wordless.hum,
    "pitch-corrected": corrected,
}
OTHERS: Final[dict[str, Maker]] = {
    "speech": spoken,
    "speech, joined": told,
    **{name: partial(instruments.play, name) for name in instruments.INSTRUMENTS},
    "drum kit": instruments.drum,
    "whistling": wordless.whistle,
    "noise": wordless.noise,
    "mains hum": wordless.mains,
    "two voices": duet,
    "voice and piano": accompanied,
}
KINDS: Final = {**SINGING, **OTHERS}


def judged(model: VoiceToNotes, sounds: Sequence[np.ndarray]) -> tuple[list[str], str]:
    """Why each is doubted, "" for not; and the percentiles of SHOWN, as Markdown cells."""
    why: list[str] = []
    rows: list[list[float]] = []
    for sound in sounds:
        notes, heard = sketched(model, Whole(sound))
        why.append(doubt(heard, notes))
        if notes:
            what = measured(heard, notes)
            values = asdict(what) | {"rate": what.rate, "evenness": what.evenness}
            rows.append([values[name] for name in SHOWN])
    if not rows:
        return why, " | ".join("" for _ in SHOWN)
    low, high = np.percentile(np.array(rows).clip(-9.0, 99.0), [10, 90], axis=0)
    return why, " | ".join(f"{a:.2f} to {b:.2f}" for a, b in zip(low, high, strict=True))


def main() -> int:
    """Make, listen, print; the exit code."""
    parser = argparse.ArgumentParser(description="Which sounds are doubted to be singing.")
    add: Any = parser.add_argument
    add("--model", default=MODEL, metavar="NAME_OR_DIR", help=f"default {MODEL}")
    add("--count", type=int, default=24, metavar="N", help="sounds per kind (default 24)")
    add("--seed", type=int, default=SEED, help=f"of the first (default {SEED})")
    add("--kinds", nargs="+", choices=KINDS, default=list(KINDS), metavar="KIND", help="some alone")
    options = parser.parse_args()
    model = VoiceToNotes.from_pretrained(options.model)
    print(f"| kind | doubted | {' | '.join(SHOWN)} |\n| --- | --- |" + " --- |" * len(SHOWN))
    for kind in options.kinds:
        seeds = range(options.seed, options.seed + options.count)
        try:
            made = [KINDS[kind](seed, LENGTHS[seed % len(LENGTHS)]) for seed in seeds]
        except (ImportError, speech.NoSpeech) as error:
            print(f"{kind} is left out: {error}", file=sys.stderr)
            continue
        phone = [recording.phone(sound, seed) for sound, seed in zip(made, seeds, strict=True)]
        for name, sounds in ((kind, [*map(recording.clean, made)]), (f"{kind}, phone", phone)):
            why, cells = judged(model, sounds)
            print(f"| {name} | {sum(map(bool, why))} of {len(why)} | {cells} |", flush=True)
            for reason, count in Counter(filter(None, why)).most_common():
                print(f"{name}: {count} × {reason}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
