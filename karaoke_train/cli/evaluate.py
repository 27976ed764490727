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


def _evaluate(
    folder: str | None,
    checkpoint: str,
    notes_dir: str | None,
    corpus: str | None,
    synthetic: int | None,
    seed: int,
    device: str,
    as_json: bool,
) -> int:
    if (folder is None) == (synthetic is None):
        raise click.UsageError("give a folder of recordings, or --synthetic N")
    need_training()
    before_torch(device)
    with stdout_for_result(alone=as_json):
        result = _scored(folder, checkpoint, notes_dir, corpus, synthetic or 0, seed, device)
    if result is None:
        return 1
    say(json.dumps(result.as_json(), indent=2) if as_json else result.as_table())
    return 0


def _scored(
    folder: str | None,
    checkpoint: str,
    notes_dir: str | None,
    corpus: str | None,
    synthetic: int,
    seed: int,
    device: str,
) -> Evaluation | None:
    """The scores, or None when there is nothing to score; then that is said."""
    from karaoke_train.inference.evaluate import evaluate as evaluate_songs
    from karaoke_train.synth import HELD_OUT_VOICES, synthetic_songs

    model = load_model(checkpoint, device)
    if folder is None:
        songs: list[Song] = list(synthetic_songs(synthetic, seed, voices=HELD_OUT_VOICES))
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
        ("karaoke-train evaluate --checkpoint checkpoints/RUN/best songs", "on your recordings"),
        (
            "karaoke-train evaluate --checkpoint checkpoints/RUN/best --synthetic 50",
            "on synthetic singing by voices that no training heard",
        ),
    ),
    exits={0: "done", 1: "failed; the message says why"} | USAGE | INTERRUPTED,
)
