"""The singer without one of its habits in; what a model trained on that loses out.

    python -m benchmarks.ablation [--songs N] [--epochs N] [--seeds 1 2] [--work DIR]

Each row trains `small` from random weights on as many songs, for as many epochs, of the same
melodies by the same singers, whose one habit is taken away (where voices are, singers and melodies
differ); then it is scored on the styles that no training hears. Songs and initial weights differ
from seed to seed. A score is the mean over songs and seeds; beside a row stands its difference from
the first, with the 95 % bootstrap interval over songs, which are paired. It says nothing of larger
trainings: with more songs a model may learn without a habit what a small one can't. Broken off, it
goes on with the next model.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import transformers

from karaoke_train.dataset.load import Data
from karaoke_train.dataset.songs import segments
from karaoke_train.inference.evaluate import NAMES, SCORES, evaluate, mean_interval
from karaoke_train.inference.transcribe import VoiceToNotes
from karaoke_train.model.build import build_model
from karaoke_train.settings import SCRATCH_LR, TrainSettings
from karaoke_train.synth import TRAIN_VOICES, VALIDATION_VOICES, VoiceRange, synthetic_songs
from karaoke_train.training.fit import fit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from karaoke_train.synth import SyntheticSong

# What is taken away: the values are those of a singer that does it as little as anyone.
SINGERS: Final[dict[str, VoiceRange]] = {
    "all habits": TRAIN_VOICES,
    "steady, in tune": replace(
        TRAIN_VOICES, waver=(0.0, 4.0), drift=(0.0, 5.0), intonation=(0.0, 5.0), jitter=(0.0, 2.0)
    ),
    "no scoops, falls, slow glides": replace(
        TRAIN_VOICES, scoop=(0.0, 0.0), fall=(0.0, 0.0), glide=(0.03, 0.05)
    ),
    "no vibrato": replace(TRAIN_VOICES, vibrato_share=(0.0, 0.0)),
    "even level": replace(
        TRAIN_VOICES,
        swell=(0.05, 0.1),
        effort=(0.5, 1.0),
        release=(0.06, 0.12),
        closure=(1.0, 1.0),
    ),
    "middle voices, brisk consonants, no automatic gain": VoiceRange(TRAIN_VOICES.name),
}
TEST_SEED: Final = 9_090  # of no song that anything else is trained, chosen or scored on
TEST_SONGS: Final = 20  # per style

Scores = np.ndarray  # F1 by (style, song, metric), metrics as in SCORES


def trained(singer: VoiceRange, seed: int, options: argparse.Namespace, folder: Path) -> Path:
    """The folder of a model that heard `singer` alone; one that is there is not made again."""
    best = folder / "best"
    if best.is_dir():
        return best
    settings = TrainSettings(
        from_scratch="small",
        synthetic=options.songs,
        epochs=options.epochs,
        lr=SCRATCH_LR,
        seed=seed,
        device="cpu",
        workers=0,
    )
    songs = synthetic_songs(options.songs, seed, voices=singer)
    longest = settings.max_segment_seconds
    data = Data([piece for song in songs for piece in segments(song, longest)], [])
    model = build_model(settings)
    model.config.window_frames = data.longest_frames
    outcome = fit(settings, data, model, run_dir=folder, callbacks=[])
    if outcome.status != "finished" or outcome.best is None:
        raise SystemExit(f"{folder} was interrupted")
    return outcome.best


def scores(model: Path, styles: Sequence[Sequence[SyntheticSong]]) -> Scores:
    """F1 of each test song, (styles, songs, metrics)."""
    loaded = VoiceToNotes.from_pretrained(model, "cpu")
    return np.array(
        [
            [[song.metrics[f"{name}_f1"] for name in SCORES] for song in evaluate(loaded, s).songs]
            for s in styles
        ]
    )


def difference(row: Scores, first: Scores) -> tuple[np.ndarray, np.ndarray]:
    """Mean over songs of row - first, and its 95 % interval: (styles, metrics), (2, …).

    row, first: means over seeds, (styles, songs, metrics).
    """
    apart = row - first
    return apart.mean(axis=1), mean_interval(apart.swapaxes(0, 1))


def table(rows: dict[str, list[Scores]]) -> str:
    """Markdown: per row and style its scores, and how far they are from the first row's."""
    names = " | ".join(NAMES[score] for score in SCORES)
    lines = [f"| singer | style | {names} | COnP to the first (95 %) | by seed |"]
    lines.append("| --- | --- |" + " --- |" * (len(SCORES) + 2))
    first = next(iter(rows.values()))
    metric = SCORES.index("onset_pitch")
    for singer, seeds in rows.items():
        mean = np.mean(seeds, axis=0)
        apart, (low, high) = difference(mean, np.mean(first, axis=0))
        for place, style in enumerate(VALIDATION_VOICES):
            reached = " | ".join(f"{value:.3f}" for value in mean[place].mean(axis=0))
            cells = (array[place, metric] for array in (apart, low, high))
            there = "" if seeds is first else "{:+.3f} ({:+.3f} to {:+.3f})".format(*cells)
            each = ", ".join(f"{one[place, :, metric].mean():.3f}" for one in seeds)
            lines.append(f"| {singer} | {style} | {reached} | {there} | {each} |")
    return "\n".join(lines)


def main() -> None:
    """Train, score, print."""
    parser = argparse.ArgumentParser(description="What each habit of the singer is worth.")
    add: Any = parser.add_argument
    add("--songs", type=int, default=200, metavar="N", help="of 10 s to train on (default 200)")
    add("--epochs", type=int, default=6, metavar="N", help="default 6")
    add("--seeds", type=int, nargs="+", default=(1, 2), help="default 1 2")
    add("--work", type=Path, default=Path("build/ablation"), help="where the models are kept")
    options = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    styles = [
        synthetic_songs(TEST_SONGS, TEST_SEED, voices=voices)
        for voices in VALIDATION_VOICES.values()
    ]
    rows: dict[str, list[Scores]] = {singer: [] for singer in SINGERS}
    for seed in options.seeds:
        for place, (name, singer) in enumerate(SINGERS.items()):
            print(f"seed {seed}: {name}", file=sys.stderr, flush=True)
            folder = options.work / f"{options.songs}x{options.epochs}-{seed}-{place}"
            rows[name].append(scores(trained(singer, seed, options, folder), styles))
    print(table(rows))


if __name__ == "__main__":
    main()
