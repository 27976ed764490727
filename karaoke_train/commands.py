"""The commands beside training: data check, evaluate, transcribe. Arguments in, exit code out."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import transformers

from karaoke_train import annotations
from karaoke_train.audio import AudioError
from karaoke_train.decode import decode
from karaoke_train.evaluate import evaluate as evaluate_songs
from karaoke_train.features import extract
from karaoke_train.plot import piano_roll_png
from karaoke_train.songs import Problem, Song, read_folder
from karaoke_train.synth import HELD_OUT_VOICES, synthetic_songs
from karaoke_train.transcribe import FileSound, VoiceToNotes

if TYPE_CHECKING:
    import argparse

    from karaoke_train.notes import Note

DRAWN = 60.0  # s of a song that its piano roll shows
QUIET_FAULTS = (AudioError, OSError)


def check_data(voices_dir: str, notes_dir: str, *, as_json: bool) -> int:
    """List what training would use and what it would leave out; 1 if anything is left out."""
    songs, problems = read_folder(voices_dir, notes_dir)
    if as_json:
        print(json.dumps(_described(songs, problems), indent=2))
    else:
        print(_listed(songs, problems))
    return 0 if songs and not problems else 1


def evaluate(args: argparse.Namespace) -> int:
    """Score a model on a folder or on synthetic melodies."""
    model = _model(args)
    if args.synthetic is not None:
        songs: list[Song] = list(synthetic_songs(args.synthetic, args.seed, voices=HELD_OUT_VOICES))
    else:
        songs, problems = read_folder(args.data, args.notes_dir or args.data)
        for problem in problems:
            print(f"left out: {problem}", file=sys.stderr)
    if not songs:
        print(f"karaoke-train: no usable song in {args.data}", file=sys.stderr)
        return 1
    result = evaluate_songs(model, songs, progress=sys.stderr.isatty())
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


def _model(args: argparse.Namespace) -> VoiceToNotes:
    transformers.utils.logging.disable_progress_bar()
    return VoiceToNotes.from_pretrained(args.checkpoint, args.device)


def _transcribe_one(model: VoiceToNotes, path: Path, args: argparse.Namespace) -> str:
    sound = FileSound.open(path)
    posteriors = model.posteriors(sound, progress=sys.stderr.isatty())
    notes = decode(posteriors, model.settings)
    folder = Path(args.out) if args.out else path.parent
    folder.mkdir(parents=True, exist_ok=True)
    targets = [folder / f"{path.stem}.{suffix}" for suffix in args.formats]
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
        annotations.write(part, notes, sound=sound)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _draw(target: Path, model: VoiceToNotes, sound: FileSound, notes: list[Note]) -> None:
    end = min(sound.duration, DRAWN)
    picture = extract(sound.load(0.0, min(end, 60.0)), model.settings).pitch.numpy()
    shown = [note for note in notes if note.onset < end]
    title = sound.path.name if end == sound.duration else f"{sound.path.name}, first {end:g} s"
    piano_roll_png(target, picture, model.settings, shown, title=title)


def _described(songs: list[Song], problems: list[Problem]) -> dict[str, object]:
    return {
        "usable": [
            {"name": s.name, "seconds": round(s.duration, 3), "notes": len(s.notes), **_range(s)}
            for s in songs
        ],
        "problems": [{"path": str(p.path), "reason": p.reason} for p in problems],
    }


def _listed(songs: list[Song], problems: list[Problem]) -> str:
    width = max([4, *(len(song.name) for song in songs)])
    lines = [f"{'song':{width}}  {'seconds':>8}  {'notes':>5}  pitch"] if songs else []
    for song in songs:
        low, high = _range(song).values()
        size = f"{song.duration:>8.1f}  {len(song.notes):>5}"
        lines.append(f"{song.name:{width}}  {size}  {low:g} to {high:g}")
    lines += [f"not usable: {problem}" for problem in problems]
    minutes = sum(song.duration for song in songs) / 60
    notes = sum(len(song.notes) for song in songs)
    lines.append(
        f"{len(songs)} songs usable ({minutes:.1f} minutes, {notes} notes), {len(problems)} not"
    )
    return "\n".join(lines)


def _range(song: Song) -> dict[str, float]:
    pitches = [note.pitch for note in song.notes]
    return {"lowest": min(pitches), "highest": max(pitches)}
