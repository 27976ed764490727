"""Recordings that nobody labelled in; what a training by `--pseudo_label` makes of them out.

    python -m benchmarks.foreign.self_training [--styles speech …] [--recordings N] [--songs N]

`small` is trained further twice, by the same songs of our singer for as many epochs: once with the
recordings of a style beside them, by its own notes, and once without. Both are scored on other
songs of the style by `python -m benchmarks.foreign`, beside `small`; the labels of the recordings
are not used. Broken off, it goes on with the next training.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.foreign.__main__ import STYLES, takes
from karaoke_train.settings import MODEL

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SEED: Final = 5_000  # of the first recording; no song that is scored has one near it


def trained(work: Path, options: argparse.Namespace, more: Sequence[str] = ()) -> Path:
    """The folder of the best model of a training in `work`; one that is there isn't made again."""
    if not work.is_dir():
        with made_whole(work) as part:
            words = [
                *("--init", MODEL, "--synthetic", options.synthetic, "--epochs", options.epochs),
                *("--lr", options.lr, "--device", "cpu", "--no_wandb", "--no_system_metrics"),
                *("--checkpoint_dir", part, "--log_dir", part / "logs", *more),
            ]
            program = [sys.executable, "-m", "karaoke_train.cli", *map(str, words)]
            subprocess.run(program, check=True)
    return next(work.glob("*/best"))


@contextmanager
def made_whole(folder: Path) -> Iterator[Path]:
    """A new folder to fill, which has its name once that is done: a training that was broken off
    has a best model, too."""
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    yield part
    part.rename(folder)


def main() -> int:
    """Make recordings, train, score; the exit code."""
    parser = argparse.ArgumentParser(description="What recordings without labels are worth.")
    add: Any = parser.add_argument
    add("--styles", nargs="+", choices=STYLES, default=list(STYLES), help="default: all")
    add("--recordings", type=int, default=80, help="per style, each also by phone (default 80)")
    add("--synthetic", type=int, default=160, help="songs of our singer (default 160)")
    add("--epochs", type=int, default=6, help="default 6")
    add("--lr", type=float, default=3e-4, help="default 3e-4")
    add("--songs", type=int, default=40, help="that are scored, per style (default 40)")
    add("--work", type=Path, default=Path(".cache/self_training"), help="default %(default)s")
    options = parser.parse_args()
    without = trained(options.work / "without", options)
    seeds = range(SEED, SEED + options.recordings)
    for style in options.styles:
        folder = options.work / f"{style}-recordings"
        if not folder.is_dir():
            with made_whole(folder) as part:
                takes(style, seeds, part)
        taught = trained(options.work / style, options, ["--pseudo_label", str(folder)])
        words = ["--styles", style, "--songs", str(options.songs), "--models", MODEL]
        program = [sys.executable, "-m", "benchmarks.foreign", *words, str(without), str(taught)]
        subprocess.run(program, check=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
