"""Models on singing that other programs made: the styles that no singer of ours takes part in.

    python -m benchmarks.foreign [--models small DIR …] [--songs N] [--peers SwiftF0]

Three ways to make a voice (espeak-ng's and Praat's formant synthesis, spoken recordings re-sung
by the WORLD vocoder), each as it is and as a phone hears it, with melodies and habits that are
drawn apart from our singer's. All of it is made at run time from seeds. It needs `pip install
'karaoke-train[foreign]'`, and spoken recordings for the last (see `speech`). Nothing of it is
trained on.

Means over songs of F1 with 95 % bootstrap intervals. The notes end with their vowels ("careful"
labels); the last column has labels that mostly last until the next note, against which gaps up to
0.15 s are closed, as `--legato` does. With several models, the second and later ones have their
differences from the first, song by song.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import soundfile

from benchmarks.foreign import espeak, klatt, recording, score, speech
from benchmarks.foreign.faults import faults
from karaoke_train.audio import io
from karaoke_train.audio.units import SAMPLE_RATE
from karaoke_train.inference import peers
from karaoke_train.inference.evaluate import SCORES, mean_interval
from karaoke_train.inference.metrics import count_notes
from karaoke_train.inference.transcribe import VoiceToNotes
from karaoke_train.model.decode import LEGATO
from karaoke_train.settings import MODEL

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from karaoke_train.notes import Note

STYLES: Final = {"espeak": espeak.sing, "klatt": klatt.sing, "speech": speech.sing}
SEED: Final = 2_000  # of the first song; 1,000 and up were looked at when the singer was changed
DURATION: Final = 10.0  # s
COLUMNS: Final = ("COn", "COnP", "COnPOff", "COnPOff, legato labels")

Take = tuple[Path, tuple["Note", ...], tuple["Note", ...]]  # a sound, careful and legato labels


def takes(style: str, seeds: Sequence[int], folder: Path) -> dict[str, list[Take]]:
    """The style's songs as 16-bit wav files, as they are and as a phone hears them."""
    made: dict[str, list[Take]] = {style: [], f"{style}, phone": []}
    for seed in seeds:
        sound, sung = STYLES[style](seed, DURATION)
        labels = score.careful(sung), score.legato(sung)
        heard = recording.clean(sound), recording.phone(sound, seed)
        for name, samples in zip(made, heard, strict=True):
            path = folder / f"{name}-{seed}.wav"
            soundfile.write(path, samples, SAMPLE_RATE, subtype="PCM_16")
            made[name].append((path, *labels))
    return made


def closed(notes: Sequence[Note], gap: float = LEGATO) -> list[Note]:
    """The notes, where the next begins within `gap` seconds lasting until then."""
    followers = [*notes[1:], None]
    return [
        replace(note, offset=after.onset) if after and after.onset - note.offset <= gap else note
        for note, after in zip(notes, followers, strict=True)
    ]


def scored(take: Take, found: Sequence[Note]) -> list[float]:
    """F1 as in COLUMNS."""
    _, careful, legato = take
    metrics = count_notes(careful, found).note_metrics()
    lasting = count_notes(legato, closed(found)).note_metrics()
    return [*(metrics[f"{name}_f1"] for name in SCORES), lasting["note_f1"]]


def cells(rows: np.ndarray, sign: str = "") -> str:
    """Means and intervals, as a Markdown row has them."""
    triples = zip(rows.mean(axis=0), *mean_interval(rows), strict=True)
    form = f"{{:{sign}.3f}} ({{:{sign}.3f}} to {{:{sign}.3f}})"
    return " | ".join(form.format(*triple) for triple in triples)


def main() -> int:
    """Make, score, print; the exit code."""
    parser = argparse.ArgumentParser(description="Models on singing that other programs made.")
    add: Any = parser.add_argument
    add("--models", nargs="+", default=[MODEL], metavar="NAME_OR_DIR", help=f"default {MODEL}")
    add("--songs", type=int, default=40, metavar="N", help="of 10 s per style (default 40)")
    add("--styles", nargs="+", choices=STYLES, default=list(STYLES), help="default: all")
    add("--seed", type=int, default=SEED, help=f"of the first song (default {SEED})")
    add("--peers", nargs="+", default=[], choices=("SwiftF0", "pYIN"), help="beside the models")
    options = parser.parse_args()
    listeners: dict[str, Callable[[Path], list[Note]]] = {
        name: VoiceToNotes.from_pretrained(name).transcribe for name in options.models
    }
    for name, listen in peers.installed().items():
        if name.split()[0] in options.peers:
            listeners[name] = lambda path, listen=listen: listen(io.read(path))
    seeds = range(options.seed, options.seed + options.songs)
    print(f"| style | | {' | '.join(COLUMNS)} |\n| --- | --- |" + " --- |" * len(COLUMNS))
    with tempfile.TemporaryDirectory() as folder:
        for style in options.styles:
            try:
                made = takes(style, seeds, Path(folder))
            except (ImportError, speech.NoSpeech) as error:
                print(f"{style} is left out: {error}", file=sys.stderr)
                continue
            for name, those in made.items():
                _print(name, those, listeners)
    return 0


def _print(
    style: str, those: Sequence[Take], listeners: dict[str, Callable[[Path], list[Note]]]
) -> None:
    first: np.ndarray | None = None
    for name, listen in listeners.items():
        found = [listen(take[0]) for take in those]
        rows = np.array([scored(*pair) for pair in zip(those, found, strict=True)])
        print(f"| {style} | {name} | {cells(rows)} |", flush=True)
        if first is None:
            first = rows
        else:
            print(f"| | difference | {cells(rows - first, '+')} |", flush=True)
        kinds: Counter[str] = Counter()
        for take, notes in zip(those, found, strict=True):
            kinds += faults(take[1], notes)
        words = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
        count = sum(len(take[1]) for take in those)
        print(f"{style}, {name}: of {count} notes: {words}", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
