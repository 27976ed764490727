"""karaoke-train: arguments in, exit code out. Heavy imports wait until the arguments are right."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from typing import TYPE_CHECKING, TypeVar

from karaoke_train.runlog import RunLogError
from karaoke_train.settings import ENCODER, FAST_DEV, SCRATCH_LR, SCRATCH_SIZES, TrainSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

N = TypeVar("N", int, float)

NEEDED = ("torch", "transformers", "accelerate", "numpy", "scipy", "soundfile", "mir_eval")
DEFAULT_CACHE = ".cache/karaoke-train"

DESCRIPTION = """\
Train models that turn a singing voice into notes. Every metric goes to a record log on disk;
the separate program karaoke-syncd uploads it to wandb when there is a network.

Training is what happens without a command. Other commands, each with its own --help:
  karaoke-train data check DIR             which files are usable, which aren't and why
  karaoke-train evaluate --checkpoint C DIR    note scores of a model, song by song
  karaoke-train transcribe --checkpoint C FILE...    notes as MIDI, CSV, JSON, UltraStar
"""

EPILOG = """\
examples:
  karaoke-train --fast_dev --offline
      a real but tiny training on synthetic singing, under two minutes on two cores
  karaoke-train --voices_dir songs --notes_dir notes --epochs 50
      fine-tune Whisper on your own recordings
  karaoke-train --synthetic 600 --from_scratch small --epochs 10 --workers 2
      learn from synthetic singing alone, without any download
  torchrun --nproc_per_node 4 -m karaoke_train.cli --voices_dir songs --notes_dir notes
      four GPUs, one log
  karaoke-train --resume
      go on with the newest run in --checkpoint_dir, with its own flags, in its own log

exit codes: 0 done, 1 failed (the message says why), 2 wrong usage, 130 interrupted (a checkpoint
is written first, and the command that resumes is printed).
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the process's exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    commands = {"data": _data, "evaluate": _evaluate, "transcribe": _transcribe, "train": _train}
    command = commands.get(words[0]) if words else None
    try:
        return command(words[1:]) if command else _train(words)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (RunLogError, ValueError) as error:
        if not isinstance(error, RunLogError) and not _for_people(error):
            raise
        print(f"karaoke-train: {error}", file=sys.stderr)
        return 1


def train_parser() -> argparse.ArgumentParser:
    """The flags of training, with their defaults."""
    parser = argparse.ArgumentParser(
        prog="karaoke-train",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _run_flags(parser)
    _data_flags(parser)
    _model_flags(parser)
    _loop_flags(parser)
    return parser


def parse_train(words: Sequence[str]) -> argparse.Namespace:
    """Training's arguments; --fast_dev and kind of encoder decide defaults that weren't given."""
    parser = train_parser()
    args = parser.parse_args(words)
    return complete(parser, words, args)


def complete(
    parser: argparse.ArgumentParser, words: Sequence[str], args: argparse.Namespace
) -> argparse.Namespace:
    """Parse again with the defaults that --fast_dev stands for, and check what goes together."""
    if args.fast_dev:
        own_data = {"synthetic": None} if args.voices_dir else {}
        parser.set_defaults(**{**FAST_DEV, **own_data})
        args = parser.parse_args(words, namespace=None)
    if args.lr is None:
        args.lr = SCRATCH_LR if args.scratch else TrainSettings.lr
    if args.voices_dir and args.synthetic:
        parser.error("--synthetic and --voices_dir are two kinds of data: give one of them")
    if args.notes_dir and not args.voices_dir:
        parser.error("--notes_dir needs --voices_dir")
    args.notes_dir = args.notes_dir or args.voices_dir
    return args


def _run_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the run, its log and wandb")
    add = group.add_argument
    add("--fast_dev", action="store_true", help="quick real run: small encoder, synthetic singing")
    add(
        "--offline",
        action="store_true",
        help="nothing tries the network now; karaoke-syncd uploads the log later",
    )
    add(
        "--no_wandb",
        action="store_true",
        help="mark the run as never to be uploaded unless asked for by name",
    )
    add(
        "--sync_logs",
        action="store_true",
        help="train nothing: upload what is pending in --log_dir, and exit",
    )
    add("--sync_timeout", type=_seconds, default=30.0, metavar="S", help="seconds to wait at the "
        "end for the upload; the log is safe on disk in any case (default 30)")  # fmt: skip
    add("--wandb_project", default="voice-to-notes", metavar="NAME", help="default voice-to-notes")
    add("--run_name", metavar="NAME", help="default: made from project and time")
    add("--log_dir", default="logs", metavar="DIR", help="where record logs go (default logs)")
    add(
        "--checkpoint_dir",
        default=TrainSettings.checkpoint_dir,
        metavar="DIR",
        help="one folder a run in it: best model, last checkpoints (default checkpoints)",
    )
    add(
        "--resume",
        nargs="?",
        const="",
        metavar="CHECKPOINT",
        help="go on with a run, in the same log and with its flags (flags given now win): the "
        "newest in --checkpoint_dir, or the run or checkpoint named",
    )


def _data_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("data")
    add = group.add_argument
    add("--voices_dir", metavar="DIR", help="recordings: wav, flac, mp3, ogg, with subfolders")
    add(
        "--notes_dir",
        metavar="DIR",
        help="their notes, by the same file name: CSV (onset,offset,pitch in seconds and MIDI "
        "numbers), MIDI, UltraStar .txt (default: --voices_dir)",
    )
    add("--corpus", metavar="NAME", help="--voices_dir holds this public set: csd, gtsinger, "
        "mir-st500, vocadito, tonas")  # fmt: skip
    add("--synthetic", type=_count, metavar="N", help="train on N synthetic songs instead")
    add("--max_samples", type=_count, metavar="N", help="use at most N segments")
    add("--longest", type=_part, default=TrainSettings.longest, metavar="S",
        help="seconds of a segment at most, up to 30 (default 30)")  # fmt: skip
    add(
        "--cache_features",
        nargs="?",
        const=DEFAULT_CACHE,
        metavar="DIR",
        help=f"keep computed features on disk (in {DEFAULT_CACHE}) for later epochs and runs",
    )
    add("--no_augment", dest="augment", action="store_false", help="use recordings as they are "
        "(else shifted in pitch, given noise and rooms, unless --cache_features)")  # fmt: skip
    add("--workers", type=_whole, metavar="N",
        help="processes that load data (default: none on a CPU, up to 8 with a GPU)")  # fmt: skip


def _model_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("model")
    add = group.add_argument
    add("--encoder", default=ENCODER, metavar="NAME_OR_PATH", help=f"Whisper (default {ENCODER})")
    add("--from_scratch", dest="scratch", choices=sorted(SCRATCH_SIZES), help="random-init small "
        "encoder instead")  # fmt: skip
    add(
        "--freeze_encoder", action="store_true", help="train the heads and the pitch front-end only"
    )
    add(
        "--unfreeze_layers",
        type=_whole,
        default=0,
        metavar="N",
        help="freeze the encoder but for its last N layers",
    )


def _loop_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("training")
    add = group.add_argument
    add("--batch_size", type=_count, default=TrainSettings.batch_size, metavar="N",
        help="segments a step and device (default 8)")  # fmt: skip
    add(
        "--grad_accum_steps", type=_count, default=1, metavar="N", help="batches a step (default 1)"
    )
    add("--lr", type=_positive, metavar="X",
        help="peak learning rate (default 1e-4; 2e-3 with --from_scratch)")  # fmt: skip
    add("--weight_decay", type=float, default=TrainSettings.weight_decay, metavar="X",
        help="default 0.01")  # fmt: skip
    add("--epochs", type=_count, default=TrainSettings.epochs, metavar="N", help="default 30")
    add("--patience", type=_count, default=TrainSettings.patience, metavar="N",
        help="stop after N epochs without a better val/onset_pitch_f1 (default 10)")  # fmt: skip
    add("--seed", type=_whole, default=TrainSettings.seed, metavar="N", help="default 42")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N, mps (default auto)")
    add("--precision", choices=("auto", "fp32", "bf16", "fp16"), default="auto",
        help="auto: bf16 where the GPU has it, else fp32")  # fmt: skip
    add("--compile", action="store_true", help="torch.compile the model")


def _train(words: Sequence[str]) -> int:
    parser = train_parser()
    args = parser.parse_args(words)
    if args.sync_logs:
        from karaoke_train.training.background_upload import sync_logs

        return sync_logs(args.log_dir)
    if args.resume is None:
        args = complete(parser, words, args)
    if missing := _missing():
        return missing
    _before_torch(args)
    from karaoke_train.cli.train import run, with_saved_flags

    if args.resume is not None:
        args, resumable = with_saved_flags(parser, words, args)
        return run(args, resumable)
    return run(args, None)


def _data(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="karaoke-train data",
        description="Look at a dataset before training on it.",
        epilog="exit codes: 0 everything usable, 1 something isn't, 2 wrong usage",
    )
    parser.add_argument("action", choices=["check"], help="list what is usable, what isn't and why")
    parser.add_argument("data", metavar="DIR", help="recordings (and notes, unless --notes_dir)")
    parser.add_argument("--notes_dir", metavar="DIR", help="the notes, if they are elsewhere")
    parser.add_argument("--corpus", metavar="NAME", help="DIR holds this public set")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args(words)
    if missing := _missing():
        return missing
    from karaoke_train.cli.commands import check_data

    return check_data(args)


def _evaluate(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="karaoke-train evaluate",
        description="Score a model's notes against a dataset's: precision, recall and F1 of onsets "
        "(COn), with pitch (COnP), with offsets (COnPOff); onsets within 50 ms, pitch within 50 "
        "cents, offsets within 50 ms or 20 %% of the note, as mir_eval.transcription has it.",
        epilog="exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted",
    )
    parser.add_argument("data", metavar="DIR", nargs="?", help="recordings with notes")
    parser.add_argument("--checkpoint", required=True, metavar="C", help="a model's folder")
    parser.add_argument("--notes_dir", metavar="DIR", help="the notes, if they are elsewhere")
    parser.add_argument("--corpus", metavar="NAME", help="DIR holds this public set")
    parser.add_argument(
        "--synthetic",
        type=_count,
        metavar="N",
        help="instead of DIR: N unseen synthetic melodies by held-out voices",
    )
    parser.add_argument("--seed", type=_whole, default=1_000_003, help="of the synthetic melodies")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N, mps")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args(words)
    if (args.data is None) == (args.synthetic is None):
        parser.error("give a folder of recordings, or --synthetic N")
    if missing := _missing():
        return missing
    _before_torch(args)
    from karaoke_train.cli.commands import evaluate

    return evaluate(args)


def _transcribe(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="karaoke-train transcribe",
        description="Write down the notes of recordings of any length.",
        epilog="exit codes: 0 done, 1 a file could not be transcribed (the others were), "
        "2 wrong usage, 130 interrupted",
    )
    parser.add_argument("files", metavar="FILE", nargs="+", help="wav, flac, mp3 or ogg")
    parser.add_argument("--checkpoint", required=True, metavar="C", help="a model's folder")
    parser.add_argument("--out", metavar="DIR", help="where to write (default: beside each file)")
    parser.add_argument(
        "--formats",
        default="mid,csv",
        metavar="LIST",
        help="of mid, csv, json, txt (UltraStar), png (piano roll); default mid,csv",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N, mps")
    args = parser.parse_args(words)
    args.formats = [word.strip() for word in args.formats.split(",") if word.strip()]
    if wrong := set(args.formats) - {"mid", "csv", "json", "txt", "png"}:
        parser.error(
            f"unknown format {', '.join(sorted(wrong))}: choose of mid, csv, json, txt, png"
        )
    if missing := _missing():
        return missing
    _before_torch(args)
    from karaoke_train.cli.commands import transcribe

    return transcribe(args)


def _missing() -> int:
    """1, with a word on what to install, when this is a base install; else 0."""
    absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if not absent:
        return 0
    print(
        f"karaoke-train: {', '.join(absent)} is not installed here, which training needs. Install "
        "it with: pip install 'karaoke-train[train]'",
        file=sys.stderr,
    )
    return 1


def _before_torch(args: argparse.Namespace) -> None:
    """Settings that libraries read once, when they are imported."""
    if getattr(args, "offline", False) or getattr(args, "fast_dev", False):
        os.environ["HF_HUB_OFFLINE"] = "1"
    # OpenMP's threads spin while they wait for each other. On two cores with one other busy
    # process that made --fast_dev take 156 s; sleeping instead, 52 s.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if args.device.startswith("cuda:"):
        os.environ["CUDA_VISIBLE_DEVICES"] = args.device.removeprefix("cuda:")


def _for_people(error: Exception) -> bool:
    """Our own errors say what to do; a ValueError of a library is a bug and keeps its traceback."""
    return type(error).__module__.startswith("karaoke_train.")


def _count(text: str) -> int:
    return _number(text, int, lambda n: n >= 1, "a whole number from 1")


def _whole(text: str) -> int:
    return _number(text, int, lambda n: n >= 0, "a whole number from 0")


def _positive(text: str) -> float:
    return _number(text, float, lambda x: x > 0, "a number over 0")


def _seconds(text: str) -> float:
    return _number(text, float, lambda x: x >= 0, "a number of seconds")


def _part(text: str) -> float:
    return _number(text, float, lambda x: 1 <= x <= 30, "a number of seconds from 1 to 30")


def _number(text: str, kind: type[N], right: Callable[[N], bool], wanted: str) -> N:
    value: N | None
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not right(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
    return value
