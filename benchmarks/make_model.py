"""Nothing in, the package's model out: trained, scored, described in karaoke_train/pretrained/.

    python -m benchmarks.make_model [--work DIR] [--threads N]        (make model)

Broken off, it goes on from its last epoch when it is started again. All data is sung by the
synthetic singer from fixed seeds, so that the model can be made again; on another processor or
torch its weights differ in their last digits, and its scores within their intervals.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from karaoke_train.inference.evaluate import NAMES, SCORES, Evaluation, evaluate
from karaoke_train.inference.transcribe import VoiceToNotes
from karaoke_train.model.checkpoints import CheckpointError, find_resumable
from karaoke_train.model.pretrained import FOLDER
from karaoke_train.synth import VALIDATION_VOICES, synthetic_songs

NAME: Final = "small"
EPOCHS: Final = 6
RECIPE: Final = (
    f"--synthetic 1000 --from_scratch small --epochs {EPOCHS} --seed 42 --workers 0 --device cpu"
).split()
TEST_SEEDS: Final = (20_231_107, 5, 6)  # of no song that was trained on or chosen by
TEST_SONGS: Final = 20  # per style and seed
LARGEST: Final = 8_000_000  # bytes of weights that the wheel has room for


def train(work: Path, threads: int) -> Path:
    """The folder of the best model; training starts, or goes on where it was broken off."""
    place = work / "checkpoints"
    try:
        saved = find_resumable(place)
    except CheckpointError:
        saved = None
    if saved is None or saved.epochs < EPOCHS:
        words = [*RECIPE] if saved is None else ["--resume", str(place)]
        words += ["--offline", "--no_wandb"]
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


def card(model: VoiceToNotes, reached: dict[str, Evaluation], commit: str) -> str:
    """The model card, Markdown."""
    rows = [
        f"| {name} | {sum(s.counts.reference for s in result.songs):,} | "
        + " | ".join(_cell(result, f"{score}_f1") for score in SCORES)
        + " |"
        for name, result in reached.items()
    ]
    return CARD.format(
        parameters=f"{model.model.num_parameters() / 1e6:.1f}",
        recipe=" ".join(RECIPE),
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

# small: a singing voice in, notes out

The model that `karaoke-train transcribe` and `VoiceToNotes.from_pretrained()` use unless told
otherwise. {parameters} M parameters: a Whisper-shaped encoder, a harmonic pitch front-end and note
heads, all trained from random weights; no weights of others are in it.

## How it was made

`make model`, which is: `karaoke-train {recipe}`

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
"""


def _cell(result: Evaluation, metric: str) -> str:
    low, high = result.interval(metric)
    return f"{result.overall[metric]:.3f} ({low:.3f} to {high:.3f})"


def publish(best: Path, commit: str) -> Path:
    """Put the model, its scores and its card into the package. Returns their folder."""
    weights = best / "model.safetensors"
    if weights.stat().st_size > LARGEST:
        raise SystemExit(f"{weights} has {weights.stat().st_size:,} bytes, over {LARGEST:,}")
    folder = FOLDER / NAME
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", weights.name):
        shutil.copyfile(best / name, folder / name)
    model = VoiceToNotes.from_pretrained(folder, "cpu")
    (folder / "README.md").write_text(card(model, scores(model), commit), encoding="utf-8")
    return folder


def main() -> None:
    """Train, score, publish."""
    parser = argparse.ArgumentParser(description="Make the model that the package ships.")
    add: Any = parser.add_argument
    add("--work", type=Path, default=Path("build/model"), help="where training is kept")
    add("--threads", type=int, default=os.cpu_count() or 1, help="of torch")
    options = parser.parse_args()
    commit = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    print(publish(train(options.work, options.threads), commit or "unknown"))


if __name__ == "__main__":
    main()
