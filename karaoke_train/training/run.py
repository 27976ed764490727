"""Settings in, a logged run out: the record log, the upload beside it, the summary at its end."""

# mypy: allow-untyped-calls
# (transformers is typed in part only)

from __future__ import annotations

import shlex
import sys
import warnings
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers

from karaoke_train.dataset.load import Data, load_data
from karaoke_train.inference.plot import curves_png, sparkline
from karaoke_train.model.build import build_model
from karaoke_train.model.checkpoints import check_state
from karaoke_train.model.device import check_device
from karaoke_train.runlog import RunLog
from karaoke_train.runlog.interrupts import INTERRUPTED
from karaoke_train.runlog.plain_text import one_line, several_lines
from karaoke_train.settings import ENCODER
from karaoke_train.training import fit
from karaoke_train.training.background_upload import BackgroundUpload
from karaoke_train.training.callbacks import SHOWN, terminated_as_interrupted
from karaoke_train.training.local_dashboard import LocalDashboard
from karaoke_train.training.pseudo_labels import with_pseudo_labels
from karaoke_train.training.runlog_callback import RunLogCallback
from karaoke_train.training.spared import spared
from karaoke_train.training.syncd_program import command, view_hint

if TYPE_CHECKING:
    from karaoke_train.model.model import VoiceToNotesModel
    from karaoke_train.model.resumable import Resumable
    from karaoke_train.settings import LogSettings, TrainSettings


def run(
    settings: TrainSettings,
    logs: LogSettings,
    flags: dict[str, Any],
    resumable: Resumable | None = None,
) -> int:
    """Train, and tell how it went on stdout. Returns the exit code: 0, or 130 when interrupted.

    flags: what the checkpoints keep for `--resume`. resumable: where to go on; None: a new run.
    Raises the errors of data, encoder, device and record log, all of which say what to do.
    """
    with warnings.catch_warnings(), terminated_as_interrupted():
        warnings.showwarning = _one_line_warning
        return _run(settings, logs, flags, resumable)


def _run(
    settings: TrainSettings,
    logs: LogSettings,
    flags: dict[str, Any],
    resumable: Resumable | None,
) -> int:
    transformers.utils.logging.disable_progress_bar()
    # TF32 on GPUs that have it: a model that may train in bf16 needs no more.
    torch.set_float32_matmul_precision("high")
    if settings.fast_dev:
        torch.set_num_threads(1)  # so small a model gains nothing from a second one (24 s, 23 s)
    check_device(settings.device)
    rank = fit.rank(settings)
    if resumable is not None:
        check_state(resumable.folder)
    data = load_data(settings)
    if rank == 0:
        for problem in data.problems:
            print(one_line(f"left out: {problem}"), file=sys.stderr)
        for remark in data.remarks:
            print(one_line(f"note: {remark}"), file=sys.stderr)
    start = settings
    if resumable is not None and settings.init is not None:  # its start may be gone by now
        start = replace(settings, init=str(resumable.folder))
    model = build_model(start)
    if settings.from_scratch is not None:  # a Whisper knows 30 s
        model.config.window_frames = data.longest_frames
    if rank == 0:
        print(several_lines(_opening(settings, data, model)))
        return _logged_run(settings, logs, data, model, flags, resumable)
    place = fit.share(Path())
    outcome = fit.fit(
        settings,
        with_pseudo_labels(data, settings, model, place),
        model,
        run_dir=place,
        callbacks=[],
        resume_from=resumable.folder if resumable else None,
    )
    return _exit_code(outcome, writes=False)


def _logged_run(
    settings: TrainSettings,
    logs: LogSettings,
    data: Data,
    model: VoiceToNotesModel,
    flags: dict[str, Any],
    resumable: Resumable | None,
) -> int:
    """Rank 0's part: it alone writes the log, starts the upload and prints."""
    config = {**settings.as_config(), "parameters": model.num_parameters()}
    log, place = _open_log(settings, logs, config, resumable)
    wanted = not (settings.offline or logs.no_wandb)
    upload = BackgroundUpload(log.path, shown=logs.local) if wanted else None
    with ExitStack() as beside:
        with log:
            print(one_line(f"log         {log.path}"))
            if not logs.no_system_metrics:
                log.log_system_metrics()
            if upload is not None:
                upload.start()
                beside.push(partial(_end_with, upload, logs.sync_timeout))
            if logs.local:
                beside.enter_context(LocalDashboard(log.path, open_browser=not logs.no_open))
            outcome = fit.fit(
                settings,
                with_pseudo_labels(data, settings, model, fit.share(place)),
                model,
                run_dir=place,
                callbacks=[RunLogCallback(log, config=False)],
                log_path=log.path,
                flags=flags,
                resume_from=resumable.folder if resumable else None,
            )
            log.close(outcome.status)
        print(several_lines(_closing(outcome, log.path, place)))
        if upload is not None:  # its words last, where they are looked for
            upload.finish(logs.sync_timeout)
        elif settings.offline and not logs.no_wandb:
            print(one_line(f"wandb       nothing sent; later: {command(Path(logs.log_dir))}"))
    if upload is None and not logs.local:
        print(one_line(view_hint(Path(logs.log_dir))))
    return _exit_code(outcome)


def _end_with(upload: BackgroundUpload, timeout: float, failed: object, *_: object) -> None:
    """What was started beside a training does not outlive one that failed, or was interrupted
    before its first step: without a network it would wait for one for ever."""
    if failed:
        upload.finish(timeout)


def _open_log(
    settings: TrainSettings,
    logs: LogSettings,
    config: dict[str, Any],
    resumable: Resumable | None,
) -> tuple[RunLog, Path]:
    """The run's log, and the folder of its checkpoints."""
    if resumable is not None:
        log = RunLog.resume(resumable.log_path, config=config, step=resumable.step, **logs.labels)
        return log, resumable.folder.parent
    log = RunLog.create(
        logs.log_dir,
        project=logs.wandb_project,
        config=config,
        run_name=logs.run_name,
        upload=not logs.no_wandb,
        **logs.labels,
    )
    return log, Path(settings.checkpoint_dir) / log.path.stem.removeprefix("training_log_")


def _exit_code(outcome: fit.Outcome, *, writes: bool = True) -> int:
    if outcome.status != "finished":
        return INTERRUPTED
    return 1 if writes and outcome.best is None else 0


def _opening(settings: TrainSettings, data: Data, model: VoiceToNotesModel) -> str:
    millions = model.num_parameters() / 1e6
    if settings.init is not None:
        encoder = f"started from {settings.init}"
    elif settings.from_scratch is not None:
        encoder = f"a small Whisper encoder with random weights ({settings.from_scratch})"
    else:
        frozen = " (frozen)" if settings.freeze_encoder else ""
        encoder = f"{settings.encoder or ENCODER}{frozen}"
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
        with spared(picture):
            curves_png(
                picture, {n.replace("train loss", "train/loss"): p for n, p in named.items()}
            )
            lines.append(f"picture     {picture}")
    lines.append(f"log         {log_path}")
    if outcome.best is not None:
        lines.append(f"checkpoint  {outcome.best}")
    elif outcome.status == "finished":
        lines.append("checkpoint  none: the model could not be written")
    if outcome.status != "finished" and outcome.checkpoint is None:
        lines.append("resume      not possible: no checkpoint could be written")
    elif outcome.status != "finished":
        lines.append(f"checkpoint  {outcome.checkpoint}")
        lines.append(f"resume      karaoke-train --resume {shlex.quote(str(outcome.checkpoint))}")
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
    print(one_line(f"warning: {message}"), file=file or sys.stderr)
