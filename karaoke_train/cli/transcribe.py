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
    complain,
    load_model,
    need_training,
    say,
)
from karaoke_train.cli.flags import (
    PATH,
    Option,
    device_flag,
    encoder_flag,
    folders,
    model_flag,
    seconds,
)
from karaoke_train.runlog.interrupts import importing
from karaoke_train.runlog.plain_text import one_line
from karaoke_train.writable import NotWritable, check_folder, check_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from karaoke_train.inference.transcribe import FileSound, VoiceToNotes
    from karaoke_train.model.decode import DecodeOptions
    from karaoke_train.notes import Note

FORMATS: Final = ("mid", "csv", "json", "txt", "png")
DRAWN = 60.0  # s of a song that its piano roll shows


def _formats(text: str) -> list[str]:
    formats = [word.strip().lower() for word in text.split(",") if word.strip()]
    wrong = set(formats) - set(FORMATS)
    if wrong or not formats:
        unknown = f"unknown format {', '.join(sorted(wrong))}" if wrong else "no format"
        raise click.BadParameter(f"{unknown}: choose of {', '.join(FORMATS)}")
    return list(dict.fromkeys(formats))


def _transcribe(
    files: Sequence[str],
    model: str,
    encoder: str | None,
    out: str | None,
    formats: list[str],
    legato: float,
    onset: str,
    overwrite: bool,
    device: str,
) -> int:
    need_training()
    if out:
        check_folder(Path(out), given_as="--out", lost="the notes")
    before_torch(device)
    with importing():
        from karaoke_train.audio.io import AudioError
        from karaoke_train.model.decode import DecodeOptions
    loaded = load_model(model, device, encoder)
    options = DecodeOptions(legato=legato, onset_at="voice" if onset == "voice" else "attack")
    failed = 0
    written: dict[Path, Path] = {}  # each file's notes, without their suffix -> the recording
    for path in map(Path, files):
        folder = Path(out) if out else path.parent
        targets = [folder / f"{path.stem}.{suffix}" for suffix in formats]
        notes = folder / path.stem
        try:
            if not path.name.strip("."):  # `.`, `/` and `..`, whose notes would have no name
                raise AudioError(path, "is no file; name the audio file itself")
            if notes in written:
                raise FileExistsError(
                    f"{path}: {', '.join(map(str, targets))} would be those of {written[notes]}, "
                    "which has the same name; transcribe one of them into another --out DIR"
                )
            found = _write_notes(loaded, path, targets, options, overwrite=overwrite)
            written[notes] = path
        except (AudioError, NotWritable, OSError) as error:
            complain(f"karaoke-train: not transcribed: {error}")
            failed = 1
        else:
            say(one_line(f"{path}: {found}; written to {', '.join(map(str, targets))}"))
    return failed


def _write_notes(
    model: VoiceToNotes,
    path: Path,
    targets: Sequence[Path],
    options: DecodeOptions,
    *,
    overwrite: bool,
) -> str:
    """Write one recording's notes to all targets; what was found, in words."""
    from karaoke_train.annotations import write
    from karaoke_train.inference.doubt import listened
    from karaoke_train.inference.transcribe import FileSound

    check_names(targets)
    there = [str(target) for target in targets if target.exists()]
    if there and not overwrite:  # it may be somebody's labels
        raise FileExistsError(f"{path}: {', '.join(there)} exists; give --out DIR or --overwrite")
    check_folder(targets[0].parent, given_as="the folder", lost="the notes")
    with FileSound(path) as sound:
        notes, reason = listened(model, sound, options, progress=sys.stderr.isatty())
        for target in targets:
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.suffix == ".png":
                _draw(target, model, sound, notes)
            else:
                write(target, notes, sound=path.name)
    found = f"{len(notes)} note{'' if len(notes) == 1 else 's'}"
    return f"{found}, {reason}" if reason else found


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
        encoder_flag(),
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
        Option(
            ["--legato"],
            type=seconds,
            default=0.0,
            without_value="0.15",
            metavar="[S]",
            help="let a note last until the next one begins, over gaps of up to S seconds (0.15): "
            "how karaoke files and many corpora have it (default: notes end where the voice does)",
        ),
        Option(
            ["--onset"],
            type=click.Choice(("attack", "voice")),
            default="attack",
            help="where a phrase's first note begins: with its attack, or where the voice is first "
            "heard at its pitch (default attack)",
        ),
        Option(["--overwrite"], is_flag=True, help="replace files that are there"),
        device_flag(),
    ],
    help="Write down the notes of recordings (wav, flac, mp3, ogg, opus, aiff) of any length.",
    examples=(
        (
            "karaoke-train transcribe song.wav",
            "song.mid and song.csv beside it, by the model in this package",
        ),
        (
            "karaoke-train transcribe --model checkpoints/RUN/best *.wav --out notes --formats txt",
            "UltraStar files of many, by a model of your own",
        ),
    ),
    exits={0: "done", 1: "a file could not be transcribed, or no model be loaded; other files were"}
    | USAGE
    | INTERRUPTED,
)
