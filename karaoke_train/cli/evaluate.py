"""`evaluate`: a model and recordings with notes in, scores song by song out."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Final

import click

from karaoke_train.cli.common import (
    INTERRUPTED,
    USAGE,
    Command,
    before_torch,
    load_model,
    need_training,
    say,
    stdout_for_result,
)
from karaoke_train.cli.data import dataset_flags, read_songs
from karaoke_train.cli.flags import PATH, Option, count, device_flag, folders, model_flag, whole

if TYPE_CHECKING:
    from karaoke_train.dataset.songs import Song
    from karaoke_train.inference.evaluate import Evaluation


VOICES: Final = ("held-out", "amateur", "partials")  # of karaoke_train.synth, which needs numpy


def _evaluate(
    folder: str | None,
    model: str,
    notes_dir: str | None,
    corpus: str | None,
    synthetic: int | None,
    voices: str,
    seed: int,
    device: str,
    as_json: bool,
) -> int:
    if (folder is None) == (synthetic is None):
        raise click.UsageError("give a folder of recordings, or --synthetic N")
    need_training()
    before_torch(device)
    with stdout_for_result(alone=as_json):
        result = _scored(folder, model, notes_dir, corpus, synthetic or 0, voices, seed, device)
    if result is None:
        return 1
    say(json.dumps(result.as_json(), indent=2) if as_json else result.as_table())
    return 0


def _scored(
    folder: str | None,
    model_name: str,
    notes_dir: str | None,
    corpus: str | None,
    synthetic: int,
    voices: str,
    seed: int,
    device: str,
) -> Evaluation | None:
    """The scores, or None when there is nothing to score; then that is said."""
    from karaoke_train.inference.evaluate import evaluate as evaluate_songs
    from karaoke_train.synth import VALIDATION_VOICES, synthetic_songs

    model = load_model(model_name, device)
    if folder is None:
        songs: list[Song] = list(synthetic_songs(synthetic, seed, voices=VALIDATION_VOICES[voices]))
    else:
        songs, problems = read_songs(folder, notes_dir, corpus)
        for problem in problems:
            print(f"left out: {problem}", file=sys.stderr)
    if not songs:
        print(f"karaoke-train: no usable song in {folder}", file=sys.stderr)
        return None
    result = evaluate_songs(model, songs, progress=sys.stderr.isatty())
    for song in result.problems:
        print(f"left out: {song}", file=sys.stderr)
    if not result.songs:
        print("karaoke-train: none of the songs could be read", file=sys.stderr)
        return None
    return result


evaluate: Final = Command(
    name="evaluate",
    callback=_evaluate,
    params=[
        click.Argument(
            ["folder"], metavar="[DIR]", type=PATH, required=False, shell_complete=folders
        ),
        model_flag(),
        *dataset_flags(),
        Option(
            ["--synthetic"],
            type=count,
            metavar="N",
            help="instead of DIR: N unseen synthetic melodies by held-out voices",
        ),
        Option(
            ["--voices"],
            type=click.Choice(VOICES),
            default=VOICES[0],
            help="who sings the synthetic melodies; no training hears any of them (default "
            f"{VOICES[0]})",
        ),
        Option(
            ["--seed"],
            type=whole,
            default=1_000_003,
            metavar="N",
            help="of the synthetic melodies (default 1000003)",
        ),
        device_flag(),
        Option(["--json", "as_json"], is_flag=True, help="print JSON"),
    ],
    help="""Score a model's notes against those of the recordings in DIR.

    Precision, recall and F1 of onsets (COn), with pitch (COnP), with offsets (COnPOff); onsets
    within 50 ms, pitch within 50 cents, offsets within 50 ms or 20 % of the note, as
    mir_eval.transcription has it.
    """,
    examples=(
        ("karaoke-train evaluate songs", "the model of this package, on your recordings"),
        (
            "karaoke-train evaluate --model checkpoints/RUN/best --synthetic 50",
            "on synthetic singing by voices that no training heard",
        ),
    ),
    exits={0: "done", 1: "failed; the message says why"} | USAGE | INTERRUPTED,
)
