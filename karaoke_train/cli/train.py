"""`train`, and what karaoke-train does without a command: flags in, a training run out."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from karaoke_train.cli.common import USAGE, Command, before_torch, need_training
from karaoke_train.cli.data import CORPORA
from karaoke_train.cli.flags import (
    PATH,
    Option,
    count,
    device_flag,
    folders,
    given,
    not_negative,
    positive,
    seconds,
    seed,
    segment_seconds,
    whole,
)
from karaoke_train.runlog.interrupts import importing
from karaoke_train.runlog.ranks import other_rank
from karaoke_train.settings import (
    ENCODER,
    ENCODER_LR,
    FAST_DEV,
    INIT_LR,
    MODEL,
    SCRATCH_LR,
    SCRATCH_SIZES,
    LogSettings,
    TrainSettings,
    renamed,
)
from karaoke_train.writable import check_folder

if TYPE_CHECKING:
    from karaoke_train.model.resumable import Resumable

Flags = dict[str, Any]  # by their names in TrainSettings and LogSettings

DEFAULT_CACHE = ".cache/karaoke-train"
# What says which weights there are, and which of them are trained
OF_THE_MODEL = ("init", "from_scratch", "freeze_encoder", "unfreeze_layers", "adapter_width")
NAMES_OR_PATHS = ("encoder", "init")  # what is no folder is a name
OF_THIS_TERMINAL = ("local", "no_open")
NEWEST: Final = "\0"  # --resume without a value; no path has this in it
PATHS = (
    "voices_dir",
    "notes_dir",
    "pseudo_label",
    "cache_features",
    "checkpoint_dir",
    "log_dir",
)

EXAMPLES: Final = (
    (
        "karaoke-train --fast_dev --offline",
        "a real but tiny training on synthetic singing",
    ),
    (
        "karaoke-train --voices_dir songs --notes_dir notes --epochs 50",
        "fine-tune Whisper on your own recordings",
    ),
    (
        "karaoke-train --init small --voices_dir songs --notes_dir notes",
        "fine-tune the model of this package, which needs no download",
    ),
    (
        "karaoke-train --init small --synthetic 300 --epochs 3 --pseudo_label recordings",
        "get used to the voices and rooms of recordings that nobody has labelled",
    ),
    (
        "karaoke-train --synthetic 600 --from_scratch small --epochs 10 --workers 2",
        "learn from synthetic singing alone, without any download",
    ),
    (
        "torchrun --nproc_per_node 4 -m karaoke_train.cli --voices_dir songs --notes_dir notes",
        "four GPUs, one log",
    ),
    (
        "karaoke-train --resume",
        "go on with the newest run in --checkpoint_dir, with its own flags, in its own log",
    ),
)
EXITS: Final = {0: "done", 1: "failed; the message says why"} | USAGE | {
    5: "--sync_logs: nobody is logged in; its other codes are those of karaoke-syncd sync",
    130: "interrupted (Ctrl-C, SIGTERM); a checkpoint is written first, and the command that "
    "resumes is printed"
}  # fmt: skip


def run(ctx: click.Context) -> int:
    """Train as the command line says; the exit code. Heavy imports wait until it is right."""
    flags = given_flags(ctx)
    resume = flags.pop("resume", None)
    if flags.pop("sync_logs", False):
        from karaoke_train.training.background_upload import sync_logs

        return sync_logs(flags.get("log_dir", LogSettings.log_dir))
    asked = DEFAULTS | flags if resume is not None else complete(flags)
    need_training()
    resumable = None
    if resume is not None:
        asked, resumable = with_saved(
            flags, Path(asked["checkpoint_dir"] if resume == NEWEST else resume)
        )
    check_dashboard(asked)
    check_places(asked, resumable)
    before_torch(asked["device"], offline=asked["offline"] or asked["fast_dev"])
    with importing():
        from karaoke_train.training.run import run as train_run

    settings, logs = as_settings(asked)
    return train_run(settings, logs, to_save(asked), resumable)


def check_dashboard(asked: Flags) -> None:
    """Raises click.UsageError where there can be no --local: it was asked for, so that is said
    before the hours that training takes."""
    if asked["no_open"] and not asked["local"]:
        raise click.UsageError("--no_open needs --local")
    if not asked["local"] or other_rank():
        return
    from karaoke_train.training.local_dashboard import problem

    if found := problem(Path(asked["log_dir"])):
        raise click.UsageError(f"--local: {found}")


def check_places(asked: Flags, resumable: Resumable | None) -> None:
    """Raises NotWritable where a new run's log, or any run's checkpoints, could not be written,
    before data is read or sung for it. Rank 0 alone writes any."""
    if other_rank():
        return
    if resumable is not None:
        check_folder(resumable.folder.parent, given_as="--resume", lost="checkpoints")
        return
    logs, checkpoints = Path(asked["log_dir"]), Path(asked["checkpoint_dir"])
    check_folder(logs, given_as="--log_dir", lost="the run's log", may_be_full=True)
    check_folder(checkpoints, given_as="--checkpoint_dir", lost="its checkpoints and model")


def given_flags(ctx: click.Context) -> Flags:
    """What stands on the command line, under the names of the settings."""
    flags = given(ctx)
    if flags.pop("no_augment", False):
        flags["augment"] = False
    return flags


def complete(flags: Flags) -> Flags:
    """All flags of a new run: --fast_dev and the kind of encoder decide what was not given.

    Raises click.UsageError when two of them don't go together.
    """
    start = [name for name in ("init", "encoder", "from_scratch") if flags.get(name)]
    if len(start) > 1 and "from_scratch" in start:
        raise click.UsageError(
            f"--{start[0]} and --{start[1]} are two models to start from: give one of them"
        )
    fast_dev = FAST_DEV if flags.get("fast_dev") else {}
    if start and start != ["from_scratch"]:
        fast_dev = {k: v for k, v in fast_dev.items() if k not in ("from_scratch", "lr")}
    if fast_dev and flags.get("voices_dir"):
        fast_dev = fast_dev | {"synthetic": None}
    asked = DEFAULTS | fast_dev | flags
    if "lr" not in fast_dev | flags:
        rates = {"from_scratch": SCRATCH_LR, "init": INIT_LR}
        asked["lr"] = next((rate for name, rate in rates.items() if asked[name]), TrainSettings.lr)
    if asked["adapter_width"] and (asked["init"] or asked["from_scratch"]):
        raise click.UsageError(
            "--adapter_width is for a pretrained Whisper, by --encoder; a model to start from "
            "(--init) keeps the adapters that it has, and a random-init encoder is trained itself"
        )
    check_data(asked)
    return asked


def check_data(asked: Flags) -> None:
    """Raises click.UsageError where flags of data don't go together."""
    if asked["voices_dir"] and asked["synthetic"]:
        raise click.UsageError(
            "--synthetic and --voices_dir are two kinds of data: give one of them"
        )
    for name in ("notes_dir", "corpus"):
        if asked[name] and not asked["voices_dir"]:
            raise click.UsageError(f"--{name} needs --voices_dir")
    if asked["pseudo_label"] and not (asked["voices_dir"] or asked["synthetic"]):
        raise click.UsageError(
            "--pseudo_label needs songs with notes beside it, to validate on: give --voices_dir, "
            "or --synthetic N"
        )


def with_saved(flags: Flags, place: Path) -> tuple[Flags, Resumable]:
    """The flags that the newest run in `place` was started with, those given now on top; its log
    stays where it is.

    Raises CheckpointError when there is no such run, or nothing left of it to train, and
    click.UsageError for flags that a run can't go on with.
    """
    from karaoke_train.model.resumable import CheckpointError, find_resumable

    resumable = find_resumable(place)
    saved = DEFAULTS | {k: v for k, v in renamed(resumable.flags).items() if k in DEFAULTS}
    check_same_model(flags, saved, resumable.folder)
    asked = _without_other_data(flags, saved) | flags
    check_data(asked)
    asked["log_dir"] = str(resumable.log_path.parent)
    if resumable.epochs >= asked["epochs"]:
        raise CheckpointError(
            f"nothing left to train: {resumable.folder} has had its {asked['epochs']} epochs. "
            "Give --resume with more --epochs, or start a new run without it."
        )
    return asked, resumable


def check_same_model(flags: Flags, saved: Flags, folder: Path) -> None:
    """Raises click.UsageError for a flag that would make another model than the checkpoint's: its
    optimizer's state is of the weights that the run trains."""
    for name in OF_THE_MODEL:
        if name in flags and to_save({name: flags[name]})[name] != saved[name]:
            raise click.UsageError(
                f"--resume goes on with the model that the run has, and --{name} makes another one "
                f"of it. Leave it out, or start a new training: --init {folder}"
            )


def _without_other_data(flags: Flags, saved: Flags) -> Flags:
    """The saved flags without those of data that are given anew: a folder that was moved, or
    recordings instead of synthetic singing."""
    if flags.get("synthetic"):
        return saved | {"voices_dir": None, "notes_dir": None, "corpus": None}
    if flags.get("voices_dir"):
        beside = saved["notes_dir"] in (None, saved["voices_dir"])  # 0.1.0 saved it so
        return saved | {"synthetic": None, **({"notes_dir": None} if beside else {})}
    return saved


def as_settings(asked: Flags) -> tuple[TrainSettings, LogSettings]:
    """The flags as the training takes them."""
    train, logs = (
        {field.name: asked[field.name] for field in fields(kind)}
        for kind in (TrainSettings, LogSettings)
    )
    return TrainSettings(**train), LogSettings(**logs)


def to_save(asked: Flags) -> Flags:
    """With absolute paths, so that a run can be resumed from another folder; without what is for
    who sits before this terminal."""
    return {
        name: str(Path(value).resolve())
        if value and (name in PATHS or (name in NAMES_OR_PATHS and Path(value).is_dir()))
        else value
        for name, value in asked.items()
        if name not in OF_THIS_TERMINAL
    }


DEFAULTS: Final[Flags] = {**asdict(TrainSettings()), **asdict(LogSettings())}


def _run_flags() -> list[click.Parameter]:
    section = "The run, its log and wandb"
    return [
        Option(["--fast_dev"], is_flag=True, section=section,
               help="quick real run: small encoder, synthetic singing"),
        Option(["--offline"], is_flag=True, section=section,
               help="nothing tries the network now; karaoke-syncd uploads the log later"),
        Option(["--no_wandb"], is_flag=True, section=section,
               help="mark the run as never to be uploaded unless asked for by name"),
        Option(["--no_system_metrics"], is_flag=True, section=section,
               help="leave out what the machine is busy with: CPU, memory, disk, network, GPUs"),
        Option(["--local"], is_flag=True, section=section,
               help="show the runs of --log_dir in a dashboard on this machine while this one "
               "trains: no account, no network"),
        Option(["--no_open"], is_flag=True, section=section,
               help="with --local: print its address, and open no browser"),
        Option(["--sync_logs"], is_flag=True, section=section,
               help="train nothing: upload what is pending in --log_dir, and exit"),
        Option(["--sync_timeout"], type=seconds, metavar="S", section=section,
               help="seconds to wait at the end for the upload; the log is safe on disk in any "
               f"case (default {LogSettings.sync_timeout:g})"),
        Option(["--wandb_project"], metavar="NAME", section=section,
               help=f"default {LogSettings.wandb_project}"),
        Option(["--run_name"], metavar="NAME", section=section,
               help="default: made from project and time"),
        Option(["--wandb_tags"], metavar="TAG[,TAG]", section=section,
               help="of the run on wandb, separated by commas"),
        Option(["--wandb_group"], metavar="NAME", section=section,
               help="the group that the run belongs to on wandb"),
        Option(["--wandb_job_type"], metavar="NAME", section=section,
               help="what kind of job this is on wandb: train, tune, …"),
        Option(["--wandb_notes"], metavar="TEXT", section=section,
               help="a note about the run, shown on its page"),
        Option(["--log_dir"], type=PATH, metavar="DIR", section=section, shell_complete=folders,
               help=f"where record logs go (default {LogSettings.log_dir})"),
        Option(["--checkpoint_dir"], type=PATH, metavar="DIR", section=section,
               shell_complete=folders, help="one folder per run in it: best model, last "
               f"checkpoints (default {TrainSettings.checkpoint_dir})"),
        Option(["--resume"], type=PATH, metavar="[CHECKPOINT]", section=section,
               without_value=NEWEST, shell_complete=folders,
               help="go on with a run, in the same log and with its flags (flags given now win): "
               "the newest in --checkpoint_dir, or the run or checkpoint named"),
    ]  # fmt: skip


def _data_flags() -> list[click.Parameter]:
    section = "Data"
    return [
        Option(["--voices_dir"], type=PATH, metavar="DIR", section=section, shell_complete=folders,
               help="recordings: wav, flac, mp3, ogg, opus, aiff, with subfolders"),
        Option(["--notes_dir"], type=PATH, metavar="DIR", section=section, shell_complete=folders,
               help="their notes, by the same file name: CSV (onset,offset,pitch in seconds and "
               "MIDI numbers), MIDI, UltraStar .txt, JSON (default: --voices_dir)"),
        Option(["--corpus"], metavar="NAME", section=section,
               help=f"--voices_dir holds this public set: {CORPORA}"),
        Option(["--synthetic"], type=count, metavar="N", section=section,
               help="train on N synthetic songs instead"),
        Option(["--pseudo_label"], type=PATH, metavar="DIR", section=section,
               shell_complete=folders,
               help="train on these recordings, too, which have no notes: by those that the model "
               f"of --init hears in them (else {MODEL}), in changed copies of them"),
        Option(["--max_samples"], type=count, metavar="N", section=section,
               help="use at most N segments, and N with pseudo labels"),
        Option(["--longest", "max_segment_seconds"], type=segment_seconds, metavar="S",
               section=section, help="seconds of a segment at most, up to 30 (default "
               f"{TrainSettings.max_segment_seconds:g})"),
        Option(["--cache_features"], type=PATH, metavar="[DIR]", section=section,
               without_value=DEFAULT_CACHE, shell_complete=folders,
               help=f"keep computed features on disk (in {DEFAULT_CACHE}) for later epochs and "
               "runs"),
        Option(["--no_augment"], is_flag=True, section=section,
               help="use recordings as they are (else shifted in pitch, given noise and rooms, "
               "unless --cache_features)"),
        Option(["--workers"], type=whole, metavar="N", section=section,
               help="processes that load data (default: none on a CPU, up to 8 with a GPU)"),
    ]  # fmt: skip


def _model_flags() -> list[click.Parameter]:
    section = "Model"
    return [
        Option(["--encoder"], type=PATH, metavar="NAME_OR_PATH", section=section,
               shell_complete=folders,
               help=f"Whisper (default {ENCODER}); with --init, the one that the model has heads "
               "for, if it is not where it was"),
        Option(["--from_scratch"], type=click.Choice(sorted(SCRATCH_SIZES)), section=section,
               help="random-init small encoder instead"),
        Option(["--init"], type=PATH, metavar="NAME_OR_DIR", section=section,
               shell_complete=folders,
               help="start from a trained model, all of it: one of this package "
               f"({MODEL}) or a model's folder"),
        Option(["--freeze_encoder"], is_flag=True, section=section,
               help="train the heads and the pitch front-end only"),
        Option(["--unfreeze_layers"], type=count, metavar="N", section=section,
               help="freeze the encoder but for its last N layers"),
        Option(["--adapter_width"], type=count, metavar="N", section=section,
               help="freeze the encoder, and train an adapter of N channels behind each of its "
               "layers; 64 is a good start"),
        Option(["--full_checkpoint"], is_flag=True, section=section,
               help="keep a frozen encoder's weights in the model, too (default: its name and "
               "checksum, a tenth of the size)"),
    ]  # fmt: skip


def _loop_flags() -> list[click.Parameter]:
    section = "Training"
    return [
        Option(["--batch_size"], type=count, metavar="N", section=section,
               help=f"segments per step and device (default {TrainSettings.batch_size})"),
        Option(["--grad_accum_steps"], type=count, metavar="N", section=section,
               help=f"batches per step (default {TrainSettings.grad_accum_steps})"),
        Option(["--lr"], type=positive, metavar="X", section=section,
               help=f"peak learning rate (default {TrainSettings.lr:g}; {SCRATCH_LR:g} with "
               f"--from_scratch, {INIT_LR:g} with --init)"),
        Option(["--encoder_lr"], type=positive, metavar="X", section=section,
               help="the same of the encoder's own weights (default: --lr, and at most "
               f"{ENCODER_LR:g} for the Whisper of --encoder)"),
        Option(["--weight_decay"], type=not_negative, metavar="X", section=section,
               help=f"default {TrainSettings.weight_decay:g}"),
        Option(["--epochs"], type=count, metavar="N", section=section,
               help=f"default {TrainSettings.epochs}"),
        Option(["--patience"], type=count, metavar="N", section=section,
               help="stop after N epochs without a better val/onset_pitch_f1 (default "
               f"{TrainSettings.patience})"),
        Option(["--seed"], type=seed, metavar="N", section=section,
               help=f"default {TrainSettings.seed}"),
        device_flag(section),
        Option(["--precision"], type=click.Choice(("auto", "fp32", "bf16", "fp16")),
               section=section, help="auto: bf16 where the GPU has it, else fp32"),
        Option(["--compile"], is_flag=True, section=section, help="torch.compile the model"),
    ]  # fmt: skip


TRAIN_FLAGS: Final = [*_run_flags(), *_data_flags(), *_model_flags(), *_loop_flags()]


@click.pass_context
def _train(ctx: click.Context, /, **values: Any) -> int:
    return run(ctx)


train: Final = Command(
    name="train",
    callback=_train,
    params=TRAIN_FLAGS,
    abbreviations=False,  # a later flag that begins alike would break the scripts that cut one
    help="Train a model: what karaoke-train does without a command, too.",
    examples=EXAMPLES,
    exits=EXITS,
)
