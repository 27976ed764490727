"""`transcribe`: recordings in, their notes as files out."""

from __future__ import annotations

import sys
from pathlib import Path
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
)
from karaoke_train.cli.flags import PATH, Option, device_flag, folders, model_flag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from karaoke_train.inference.transcribe import FileSound, VoiceToNotes
    from karaoke_train.notes import Note

FORMATS: Final = ("mid", "csv", "json", "txt", "png")
DRAWN = 60.0  # s of a song that its piano roll shows


def _formats(text: str) -> list[str]:
    formats = [word.strip() for word in text.split(",") if word.strip()]
    if wrong := set(formats) - set(FORMATS):
        raise click.BadParameter(
            f"unknown format {', '.join(sorted(wrong))}: choose of {', '.join(FORMATS)}"
        )
    return formats


def _transcribe(
    files: Sequence[str],
    checkpoint: str,
    out: str | None,
    formats: list[str],
    overwrite: bool,
    device: str,
) -> int:
    need_training()
    before_torch(device)
    from karaoke_train.audio.io import AudioError

    model = load_model(checkpoint, device)
    failed = 0
    for path in map(Path, files):
        folder = Path(out) if out else path.parent
        targets = [folder / f"{path.stem}.{suffix}" for suffix in formats]
        try:
            count = _write_notes(model, path, targets, overwrite=overwrite)
        except (AudioError, OSError) as error:
            print(f"karaoke-train: not transcribed: {error}", file=sys.stderr)
            failed = 1
        else:
            say(f"{path}: {count} notes in {', '.join(map(str, targets))}")
    return failed


def _write_notes(
    model: VoiceToNotes, path: Path, targets: Sequence[Path], *, overwrite: bool
) -> int:
    """Write one recording's notes to all targets; how many notes it has."""
    from karaoke_train.annotations import write
    from karaoke_train.inference.transcribe import FileSound
    from karaoke_train.model.decode import decode

    there = [str(target) for target in targets if target.exists()]
    if there and not overwrite:  # it may be somebody's labels
        raise FileExistsError(f"{path}: {', '.join(there)} exists; give --out DIR or --overwrite")
    sound = FileSound.open(path)
    notes = decode(model.posteriors(sound, progress=sys.stderr.isatty()), model.settings)
    for target in targets:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix == ".png":
            _draw(target, model, sound, notes)
        else:
            write(target, notes, sound=path.name)
    return len(notes)


def _draw(target: Path, model: VoiceToNotes, sound: FileSound, notes: list[Note]) -> None:
    from karaoke_train.audio.features import extract
    from karaoke_train.inference.plot import piano_roll_png

    end = min(sound.duration, DRAWN)
    spectrogram = extract(sound.load(0.0, end), model.settings).log_frequency.numpy()
    shown = [note for note in notes if note.onset < end]
    title = sound.path.name if end == sound.duration else f"{sound.path.name}, first {end:g} s"
    piano_roll_png(target, spectrogram, model.settings, shown, title=title)


transcribe: Final = Command(
    name="transcribe",
    callback=_transcribe,
    params=[
        click.Argument(["files"], metavar="FILE...", type=PATH, nargs=-1, required=True),
        model_flag(),
        Option(
            ["--out"],
            type=PATH,
            metavar="DIR",
            shell_complete=folders,
            help="where to write (default: beside each file)",
        ),
        Option(
            ["--formats"],
            type=_formats,
            default="mid,csv",
            metavar="LIST",
            help="of mid, csv, json, txt (UltraStar), png (piano roll); default mid,csv",
        ),
        Option(["--overwrite"], is_flag=True, help="replace files that are there"),
        device_flag(),
    ],
    help="Write down the notes of recordings (wav, flac, mp3, ogg, opus, aiff) of any length.",
    examples=(
        (
            "karaoke-train transcribe --checkpoint checkpoints/RUN/best song.wav",
            "song.mid and song.csv beside it",
        ),
        (
            "karaoke-train transcribe --checkpoint C *.wav --out notes --formats txt,png",
            "UltraStar files and piano rolls of many",
        ),
    ),
    exits={0: "done", 1: "a file could not be transcribed, or no model be loaded; other files were"}
    | USAGE
    | INTERRUPTED,
)
