"""The commands beside training: data check, evaluate, transcribe. Arguments in, exit code out."""

# mypy: allow-untyped-calls
# (transformers is typed in part only)

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import transformers

from karaoke_train import annotations as label_files
from karaoke_train.audio.features import extract
from karaoke_train.audio.io import AudioError
from karaoke_train.dataset.check import check_songs, render
from karaoke_train.dataset.corpora import read_corpus
from karaoke_train.dataset.songs import Problem, Song, read_folder
from karaoke_train.inference.evaluate import evaluate as evaluate_songs
from karaoke_train.inference.plot import piano_roll_png
from karaoke_train.inference.transcribe import FileSound, VoiceToNotes
from karaoke_train.model.decode import decode
from karaoke_train.synth import HELD_OUT_VOICES, synthetic_songs

if TYPE_CHECKING:
    import argparse

    from karaoke_train.notes import Note

DRAWN = 60.0  # s of a song that its piano roll shows
QUIET_FAULTS = (AudioError, OSError)


def check_data(args: argparse.Namespace) -> int:
    """List what training would use and what it would leave out; 1 if anything is left out."""
    rows = check_songs(*_songs(args))
    if args.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        print(render(rows))
    return 0 if rows and all(row.usable for row in rows) else 1


def evaluate(args: argparse.Namespace) -> int:
    """Score a model on a folder or on synthetic melodies."""
    model = _model(args)
    if args.synthetic is not None:
        songs: list[Song] = list(synthetic_songs(args.synthetic, args.seed, voices=HELD_OUT_VOICES))
    else:
        songs, problems = _songs(args)
        for problem in problems:
            print(f"left out: {problem}", file=sys.stderr)
    if not songs:
        print(f"karaoke-train: no usable song in {args.data}", file=sys.stderr)
        return 1
    result = evaluate_songs(model, songs, progress=sys.stderr.isatty())
    for song in result.problems:
        print(f"left out: {song}", file=sys.stderr)
    if not result.songs:
        print("karaoke-train: none of the songs could be read", file=sys.stderr)
        return 1
    print(json.dumps(result.as_json(), indent=2) if args.json else result.as_table())
    return 0


def transcribe(args: argparse.Namespace) -> int:
    """Write each file's notes; a file that can't be read is named and the others go on."""
    model = _model(args)
    failed = 0
    for path in map(Path, args.files):
        try:
            written = _transcribe_one(model, path, args)
        except QUIET_FAULTS as error:
            print(f"karaoke-train: not transcribed: {error}", file=sys.stderr)
            failed = 1
        else:
            print(f"{path}: {written}")
    return failed


def _songs(args: argparse.Namespace) -> tuple[list[Song], list[Problem]]:
    if args.corpus is not None:
        return read_corpus(args.corpus, args.data)
    return read_folder(args.data, args.notes_dir or args.data)


def _model(args: argparse.Namespace) -> VoiceToNotes:
    transformers.utils.logging.disable_progress_bar()
    return VoiceToNotes.from_pretrained(args.checkpoint, args.device)


def _transcribe_one(model: VoiceToNotes, path: Path, args: argparse.Namespace) -> str:
    folder = Path(args.out) if args.out else path.parent
    targets = [folder / f"{path.stem}.{suffix}" for suffix in args.formats]
    there = [str(target) for target in targets if target.exists()]
    if there and not args.overwrite:  # it may be somebody's labels
        raise FileExistsError(f"{path}: {', '.join(there)} exists; give --out DIR or --overwrite")
    sound = FileSound.open(path)
    posteriors = model.posteriors(sound, progress=sys.stderr.isatty())
    notes = decode(posteriors, model.settings)
    folder.mkdir(parents=True, exist_ok=True)
    for target in targets:
        if target.suffix == ".png":
            _draw(target, model, sound, notes)
        else:
            _write(target, notes, path.name)
    return f"{len(notes)} notes in {', '.join(str(t) for t in targets)}"


def _write(target: Path, notes: list[Note], sound: str) -> None:
    """Whole or not at all: an older file stays until the new one is complete."""
    part = target.with_name(f".{target.stem}.part{target.suffix}")
    try:
        label_files.write(part, notes, sound=sound)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _draw(target: Path, model: VoiceToNotes, sound: FileSound, notes: list[Note]) -> None:
    end = min(sound.duration, DRAWN)
    picture = extract(sound.load(0.0, end), model.settings).pitch.numpy()
    shown = [note for note in notes if note.onset < end]
    title = sound.path.name if end == sound.duration else f"{sound.path.name}, first {end:g} s"
    piano_roll_png(target, picture, model.settings, shown, title=title)
