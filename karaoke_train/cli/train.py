"""The training command: flags in, a run with its log, its upload beside it and its summary out."""

# mypy: allow-untyped-calls
# (transformers is typed in part only)

from __future__ import annotations

import sys
import warnings
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers

from karaoke_train.dataset.load import Data, load_data
from karaoke_train.inference.plot import curves_png, sparkline
from karaoke_train.model.build import build_model
from karaoke_train.model.checkpoints import CheckpointError, Resumable, find_resumable
from karaoke_train.runlog import RunLog
from karaoke_train.settings import TrainSettings
from karaoke_train.training import fit
from karaoke_train.training.background_upload import Beside
from karaoke_train.training.callbacks import SHOWN
from karaoke_train.training.runlog_callback import RunLogCallback

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

PATHS = ("voices_dir", "notes_dir", "cache_features", "checkpoint_dir", "log_dir")
NOT_SAVED = ("resume", "sync_logs")
INTERRUPTED = 130


class DeviceError(ValueError):
    """The device asked for isn't there."""


def with_saved_flags(
    parser: argparse.ArgumentParser, words: Sequence[str], args: argparse.Namespace
) -> tuple[argparse.Namespace, Resumable]:
    """The flags a run was started with, those given now on top. Raises CheckpointError."""
    resumable = find_resumable(Path(args.resume or args.checkpoint_dir))
    known = vars(args)
    parser.set_defaults(**{k: v for k, v in resumable.flags.items() if k in known})
    args = parser.parse_args(words)
    if resumable.epochs >= args.epochs:
        raise CheckpointError(
            f"nothing left to train: {resumable.folder} has had its {args.epochs} epochs. "
            "Give --resume with more --epochs, or start a new run without it."
        )
    return args, resumable


def run(args: argparse.Namespace, resumable: Resumable | None) -> int:
    """Train, and tell how it went; the exit code."""
    with warnings.catch_warnings():
        warnings.showwarning = _one_line_warning
        return _run(args, resumable)


def _run(args: argparse.Namespace, resumable: Resumable | None) -> int:
    settings = _settings(args)
    transformers.utils.logging.disable_progress_bar()
    # TF32 on GPUs that have it: a model that may train in bf16 needs no more.
    torch.set_float32_matmul_precision("high")
    if settings.fast_dev:
        torch.set_num_threads(1)  # so small a model gains nothing from a second one (24 s, 23 s)
    _check_device(settings.device)
    rank = fit.rank(settings)
    data = load_data(settings)
    if rank == 0:
        for problem in data.problems:
            print(f"left out: {problem}", file=sys.stderr)
    model = build_model(settings)
    if rank == 0:
        print(_opening(settings, data, model))
        return _logged_run(args, settings, data, model, resumable)
    place = fit.share(Path())
    outcome = fit.fit(
        settings,
        data,
        model,
        run_dir=place,
        callbacks=[],
        resume_from=resumable.folder if resumable else None,
    )
    return 0 if outcome.status == "finished" else INTERRUPTED


def _logged_run(
    args: argparse.Namespace,
    settings: TrainSettings,
    data: Data,
    model: Any,
    resumable: Resumable | None,
) -> int:
    """Rank 0's part: it alone writes the log, starts the upload and prints."""
    config = {**settings.as_config(), "parameters": model.num_parameters()}
    if resumable is not None:
        log = RunLog.resume(resumable.log_path, config=config)
        place = resumable.folder.parent
    else:
        log = RunLog.create(
            args.log_dir,
            project=args.wandb_project,
            config=config,
            run_name=args.run_name,
            upload=not args.no_wandb,
        )
        place = Path(args.checkpoint_dir) / log.path.stem.removeprefix("training_log_")
    beside = None if args.offline or args.no_wandb else Beside(log.path)
    with log:
        print(f"log         {log.path}")
        if beside is not None:
            beside.start()
        outcome = fit.fit(
            settings,
            data,
            model,
            run_dir=fit.share(place),
            callbacks=[RunLogCallback(log)],
            log_path=log.path,
            flags=_flags_to_save(args),
            resume_from=resumable.folder if resumable else None,
        )
        log.close(outcome.status)
    if beside is not None:
        beside.finish(args.sync_timeout)
    elif args.offline and not args.no_wandb:
        print(f"wandb       nothing sent; later: karaoke-syncd sync --log_dir {args.log_dir}")
    print(_closing(outcome, log.path, place))
    return 0 if outcome.status == "finished" else INTERRUPTED


def _settings(args: argparse.Namespace) -> TrainSettings:
    flags = vars(args)
    return TrainSettings(**{f.name: flags[f.name] for f in fields(TrainSettings)})


def _flags_to_save(args: argparse.Namespace) -> dict[str, Any]:
    """With absolute paths, so that a run can be resumed from another folder."""
    flags = {key: value for key, value in vars(args).items() if key not in NOT_SAVED}
    return {k: str(Path(v).resolve()) if k in PATHS and v else v for k, v in flags.items()}


def _check_device(device: str) -> None:
    kind = device.split(":")[0]
    if kind not in ("auto", "cpu", "cuda", "mps"):
        raise DeviceError(f"--device {device}: choose auto, cpu, cuda, cuda:N or mps")
    if kind == "cuda" and not torch.cuda.is_available():
        raise DeviceError(f"--device {device}: torch sees no such GPU here; try --device cpu")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError(f"--device {device}: torch sees no Apple GPU here; try --device cpu")


def _opening(settings: TrainSettings, data: Data, model: Any) -> str:
    millions = model.num_parameters() / 1e6
    if settings.scratch is not None:
        encoder = f"a small Whisper encoder with random weights ({settings.scratch})"
    else:
        frozen = " (frozen)" if settings.freeze_encoder else ""
        encoder = f"{settings.encoder}{frozen}"
    what = "synthetic singing" if settings.synthetic is not None else settings.voices_dir
    return (
        f"model       {encoder}, {millions:.1f} M parameters in all\n"
        f"data        {what}: {len(data.train)} segments to train on, {len(data.val)} to validate"
    )


def _closing(outcome: fit.Outcome, log_path: Path, place: Path) -> str:
    lines = [f"{outcome.status} after {outcome.epochs:g} epoch{'' if outcome.epochs == 1 else 's'}"]
    curves = _curves(outcome.history)
    lines += [_curve_line(name, points) for name, points in curves.items() if points]
    picture = place / "curves.png"
    named = {name.replace("val loss", "val/loss"): points for name, points in curves.items()}
    if any(curves.values()):
        curves_png(picture, {n.replace("train loss", "train/loss"): p for n, p in named.items()})
        lines.append(f"picture     {picture}")
    lines.append(f"log         {log_path}")
    if outcome.best is not None:
        lines.append(f"checkpoint  {outcome.best}")
    else:
        lines.append(f"checkpoint  {outcome.checkpoint}")
        lines.append(f"resume      karaoke-train --resume {outcome.checkpoint}")
    return "\n".join(lines)


def _curves(history: list[dict[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    """Name -> points (epoch, value), from the Trainer's log history."""
    wanted = {"loss": "train loss", **SHOWN}
    return {
        word: [(entry["epoch"], entry[key]) for entry in history if key in entry]
        for key, word in wanted.items()
    }


def _curve_line(name: str, points: list[tuple[float, float]]) -> str:
    values = [value for _, value in points]
    shown = values[:: -(-len(values) // 40)]
    low = None if name.endswith("loss") else 0.0
    return f"  {name:<18} {values[0]:6.3f} -> {values[-1]:6.3f}  {sparkline(shown, low=low)}"


def _one_line_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: str | None = None,
) -> None:
    """Our warnings are sentences for people; where in the code they arose is no help to them."""
    print(f"warning: {message}", file=file or sys.stderr)
