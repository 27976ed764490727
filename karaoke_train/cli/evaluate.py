"""`evaluate`: a model and recordings with notes in, scores song by song out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import click

from karaoke_train.cli.common import (
    INTERRUPTED,
    USAGE,
    Command,
    before_torch,
    complain,
    load_model,
    need_training,
    say,
    stdout_for_result,
)
from karaoke_train.cli.data import dataset_flags, read_songs
from karaoke_train.cli.flags import (
    PATH,
    Option,
    count,
    device_flag,
    encoder_flag,
    folders,
    given,
    model_flag,
    whole,
)
from karaoke_train.runlog.interrupts import importing
from karaoke_train.runlog.plain_text import json_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from karaoke_train.dataset.songs import Song
    from karaoke_train.inference.evaluate import Evaluation


VOICES: Final = ("held-out", "amateur", "partials")  # of karaoke_train.synth, which needs numpy


def _evaluate(
    folder: str | None,
    model: str,
    encoder: str | None,
    notes_dir: str | None,
    corpus: str | None,
    synthetic: int | None,
    voices: str,
    seed: int,
    peers: bool,
    device: str,
    as_json: bool,
) -> int:
    if (folder is None) == (synthetic is None):
        raise click.UsageError("give a folder of recordings, or --synthetic N")
    _check_goes_with(click.get_current_context(), synthetic=folder is None)
    need_training()
    before_torch(device)
    with stdout_for_result(alone=as_json):
        songs, left_out = _songs(folder, notes_dir, corpus, synthetic or 0, voices, seed)
        if not songs:
            complain(f"karaoke-train: no usable song in {folder}")
            return 1
        result = _scored(songs, model, device, encoder)
        others = _peers(songs) if peers and result.songs else {}
    if not result.songs:
        complain("karaoke-train: none of the songs could be read")
        return 1
    if as_json:
        beside = {"peers": {name: other.as_json() for name, other in others.items()}}
        found = result.as_json()
        found["problems"] = [*left_out, *found["problems"]]
        say(json_text(found | (beside if peers else {})))
    else:
        say(result.as_table())
        if others:
            say(f"\n{_compared({model: result, **others})}")
    return 0


def _check_goes_with(ctx: click.Context, *, synthetic: bool) -> None:
    """Raises click.UsageError for a flag that says nothing about what is scored."""
    about, needed = (
        (("notes_dir", "corpus"), "a folder of recordings")
        if synthetic
        else (("voices", "seed"), "--synthetic")
    )
    if stray := [name for name in given(ctx) if name in about]:
        raise click.UsageError(f"--{stray[0]} needs {needed}")


def _songs(
    folder: str | None,
    notes_dir: str | None,
    corpus: str | None,
    synthetic: int,
    voices: str,
    seed: int,
) -> tuple[list[Song], list[str]]:
    """What to score on, and what can't be used, which is named on standard error, too."""
    with importing():
        from karaoke_train.dataset.songs import remarks_of
        from karaoke_train.synth import VALIDATION_VOICES, synthetic_songs

    if folder is None:
        return list(synthetic_songs(synthetic, seed, voices=VALIDATION_VOICES[voices])), []
    songs, problems = read_songs(folder, notes_dir, corpus)
    for problem in problems:
        complain(f"left out: {problem}")
    for remark in remarks_of(songs):
        complain(f"note: {remark}")
    return songs, list(map(str, problems))


def _scored(songs: Sequence[Song], model: str, device: str, encoder: str | None) -> Evaluation:
    """The scores; songs that could not be read are named on standard error."""
    with importing():
        from karaoke_train.inference.evaluate import evaluate as evaluate_songs

    loaded = load_model(model, device, encoder)
    result = evaluate_songs(loaded, songs, progress=sys.stderr.isatty())
    for problem in result.problems:
        complain(f"left out: {problem}")
    return result


def _peers(songs: Sequence[Song]) -> dict[str, Evaluation]:
    """The scores of other programs that are installed here, by their names."""
    from karaoke_train.inference.evaluate import evaluate_peer
    from karaoke_train.inference.peers import installed

    found = installed()
    if not found:
        print(
            "karaoke-train: no other program is installed to compare with; "
            "pip install 'karaoke-train[peers]'",
            file=sys.stderr,
        )
    shown = sys.stderr.isatty()
    return {name: evaluate_peer(listen, songs, progress=shown) for name, listen in found.items()}


def _compared(contenders: dict[str, Evaluation]) -> str:
    from karaoke_train.inference.evaluate import compared

    return compared(contenders)


evaluate: Final = Command(
    name="evaluate",
    callback=_evaluate,
    params=[
        click.Argument(
            ["folder"], metavar="[DIR]", type=PATH, required=False, shell_complete=folders
        ),
        model_flag(),
        encoder_flag(),
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
        Option(
            ["--peers"],
            is_flag=True,
            help="score SwiftF0 and pYIN on the same recordings, where they are installed",
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
