"""Nothing in, a model of the package out: trained, scored, described in karaoke_train/pretrained/.

    python -m benchmarks.make_model [--work DIR] [--threads N]        (make model)
    python -m benchmarks.make_model --name whisper-tiny.en [--encoder PATH]

The second has a published Whisper for its encoder, from the hub or a folder; its heads and pitch
front-end alone are put into the package, with that Whisper's name and checksum. Broken off, it goes
on from its last epoch when it is started again. All data is sung by the synthetic singer from fixed
seeds, so that the model can be made again; on another processor or torch its weights differ in
their last digits, and its scores within their intervals.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from safetensors.torch import load_file, save

from karaoke_train.inference.evaluate import NAMES, SCORES, Evaluation, evaluate
from karaoke_train.inference.transcribe import VoiceToNotes
from karaoke_train.model.pretrained import FOLDER
from karaoke_train.model.resumable import CheckpointError, find_resumable
from karaoke_train.synth import VALIDATION_VOICES, synthetic_songs

COMMON: Final = "--seed 42 --workers 0 --device cpu"
TEST_SEEDS: Final = (20_231_107, 5, 6)  # of no song that was trained on or chosen by
TEST_SONGS: Final = 20  # per style and seed
LARGEST: Final = 4_000_000  # bytes of weights, as half floats, that the wheel has room for


@dataclass(frozen=True)
class Recipe:
    """What makes a model. encoder: the published Whisper around which it is trained, by its name
    on the hub; "" for one from random weights. intro, limits: of its card."""

    name: str
    words: str
    epochs: int
    intro: str
    limits: str
    encoder: str = ""

    @property
    def command(self) -> str:
        """How karaoke-train is called."""
        named = f"--encoder {self.encoder} " if self.encoder else ""
        return f"karaoke-train {named}{self.words} --epochs {self.epochs} {COMMON}"


SMALL: Final = Recipe(
    name="small",
    words="--synthetic 5000 --from_scratch small",
    epochs=4,
    intro="""\
The model that `karaoke-train transcribe` and `VoiceToNotes.from_pretrained()` use unless told
otherwise. {parameters:.1f} M parameters: a Whisper-shaped encoder, a harmonic pitch front-end and
note heads, all trained from random weights; no weights of others are in it.""",
    limits="""\
- It was trained on voices from C2 to E6. Consonants that are dwelt on, as a slow l, are taken for
  the start of the vowel, and repeated notes in reverberant rooms for one.
""",
)
TINY: Final = Recipe(
    name="whisper-tiny.en",
    words="--adapter_width 64 --lr 1e-3 --synthetic 1000",
    epochs=4,
    intro="""\
Heads, a harmonic pitch front-end and adapters, {own:.1f} M parameters, for the frozen encoder of
OpenAI's `openai/whisper-tiny.en` (MIT), {encoder:.1f} M more, whose weights are not in it.
`karaoke-train transcribe --model whisper-tiny.en` takes them from the hub, or from a folder by
`--encoder PATH`, and compares their checksum.""",
    limits="""\
- It was trained around a copy of the encoder in half floats. That the hub's copy has the same
  checksum is expected, since Whisper was published in half floats, and was not tried. Another
  encoder is refused, in words.
""",
    encoder="openai/whisper-tiny.en",
)
RECIPES: Final = {recipe.name: recipe for recipe in (SMALL, TINY)}


def train(recipe: Recipe, encoder: str, work: Path, threads: int) -> Path:
    """The folder of the best model; training starts, or goes on where it was broken off."""
    place = work / "checkpoints"
    try:
        saved = find_resumable(place)
    except CheckpointError:
        saved = None
    if saved is None or saved.epochs < recipe.epochs:
        new = [encoder if word == recipe.encoder else word for word in recipe.command.split()[1:]]
        words = new if saved is None else ["--resume", str(place)]
        words += ["--no_wandb"]
        words += ["--checkpoint_dir", str(place), "--log_dir", str(work / "logs")]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        program = [sys.executable, "-m", "karaoke_train.cli", *words]
        subprocess.run(program, env=environment, check=True)
    return find_resumable(place).folder.parent / "best"


def scores(model: VoiceToNotes) -> dict[str, Evaluation]:
    """Style -> the scores of its test songs."""
    return {
        name: evaluate(
            model,
            [s for seed in TEST_SEEDS for s in synthetic_songs(TEST_SONGS, seed, voices=voices)],
        )
        for name, voices in VALIDATION_VOICES.items()
    }


def card(recipe: Recipe, model: VoiceToNotes, reached: dict[str, Evaluation], commit: str) -> str:
    """The model card, Markdown."""
    rows = [
        f"| {name} | {sum(s.counts.reference for s in result.songs):,} | "
        + " | ".join(_cell(result, f"{score}_f1") for score in SCORES)
        + " |"
        for name, result in reached.items()
    ]
    parameters = model.model.num_parameters() / 1e6
    encoder = model.model.encoder.num_parameters() / 1e6
    return CARD.format(
        name=recipe.name,
        intro=recipe.intro.format(parameters=parameters, encoder=encoder, own=parameters - encoder),
        called="" if recipe is SMALL else f" --name {recipe.name}",
        recipe=recipe.command,
        limits=recipe.limits,
        commit=commit,
        torch=version("torch"),
        transformers=version("transformers"),
        songs=len(TEST_SEEDS) * TEST_SONGS,
        seeds=", ".join(map(str, TEST_SEEDS)),
        heads=" | ".join(NAMES[score] for score in SCORES),
        rows="\n".join(rows),
    )


CARD = """---
license: mit
library_name: karaoke-train
tags: [singing-transcription, voice-to-notes, midi]
---

# {name}: a singing voice in, notes out

{intro}

## How it was made

`python -m benchmarks.make_model{called}`, which is: `{recipe}`

- Data: synthetic singing alone, made at run time from seed 42 (`karaoke_train.synth`). No recording
  of a person.
- The epoch was chosen by COnP on other synthetic songs, in styles that training does not hear.
- Commit {commit}, torch {torch}, transformers {transformers}.

## Scores

F1 by `mir_eval.transcription` on {songs} songs of 10 s per style, seeds {seeds}: mean over
songs and its 95 % bootstrap interval. No song of these was trained on or chosen by; the styles were
chosen by.

| style | notes | {heads} |
| --- | --- | --- | --- | --- |
{rows}

`held-out`: our singer with other voices. `amateur`: with what is known of amateurs' habits, at its
worse end. `partials`: sound made by other means, a bank of sines.

## Limits

- These scores are of synthetic singing. How it does on recordings of people was not measured for
  these weights; docs/learning.md has what was measured for models of its kind. Expect less.
- One voice, without accompaniment, from C2 to A6. Speech, instruments and several voices give notes
  that mean nothing.
- Where a note begins and ends is a convention of whoever labels: see `--legato` and `--onset`.
{limits}"""


def _cell(result: Evaluation, metric: str) -> str:
    low, high = result.interval(metric)
    return f"{result.overall[metric]:.3f} ({low:.3f} to {high:.3f})"


def publish(recipe: Recipe, encoder: str, best: Path, commit: str) -> Path:
    """Put the model, its scores and its card into the package. Returns their folder."""
    trained = best / "model.safetensors"
    halves = {name: weight.half() for name, weight in load_file(trained).items()}
    content = save(halves, metadata={"format": "pt"})  # as transformers reads it
    if len(content) > LARGEST:
        raise SystemExit(f"{trained} has {len(content):,} bytes as half floats, over {LARGEST:,}")
    folder = FOLDER / recipe.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / trained.name).write_bytes(content)
    config = json.loads((best / "config.json").read_text(encoding="utf-8"))
    config |= {"encoder_source": recipe.encoder} if recipe.encoder else {}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    model = VoiceToNotes.from_pretrained(folder, "cpu", encoder=encoder or None)
    text = card(recipe, model, scores(model), commit)
    (folder / "README.md").write_text(text, encoding="utf-8")
    return folder


def main() -> None:
    """Train, score, publish."""
    parser = argparse.ArgumentParser(description="Make a model that the package ships.")
    add: Any = parser.add_argument
    add("--name", choices=RECIPES, default=SMALL.name, help=f"default {SMALL.name}")
    add("--encoder", metavar="PATH", help="where the recipe's Whisper is (default: the hub)")
    add("--work", type=Path, help="where training is kept (default build/<name>)")
    add("--threads", type=int, default=os.cpu_count() or 1, help="of torch")
    options = parser.parse_args()
    commit = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    recipe = RECIPES[options.name]
    encoder = options.encoder or recipe.encoder
    work = options.work or Path("build") / recipe.name
    best = train(recipe, encoder, work, options.threads)
    print(publish(recipe, encoder, best, commit or "unknown"))


if __name__ == "__main__":
    main()
