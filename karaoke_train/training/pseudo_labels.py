"""Recordings without notes in, segments with a model's notes out: what `--pseudo_label` trains on.

The model that training starts from writes down the recordings as they are, and learns its own
notes from changed copies of them (`audio.augment`): self-training, as Lee (2013, "Pseudo-label")
began it, with a student that has it harder than its teacher, as Xie et al. (2020, "Self-training
with noisy student") found to matter. The notes are files in the run's folder, where people may
look at them, and where a resumed run finds the same ones. Beside each is the checksum of the
recording that was heard: another one of its name is left out then.
"""

# mypy: allow-untyped-calls
# (transformers is typed in part only)

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from karaoke_train.annotations import write as write_labels
from karaoke_train.audio import io
from karaoke_train.audio.io import AudioError
from karaoke_train.audio.units import FRAME_SECONDS
from karaoke_train.dataset.load import DataError
from karaoke_train.dataset.pairing import with_suffix
from karaoke_train.dataset.songs import FileSong, Problem, Song, paired, segments, sorted_out
from karaoke_train.inference.doubt import listened
from karaoke_train.inference.transcribe import FileSound, VoiceToNotes
from karaoke_train.model.device import the_only
from karaoke_train.runlog.plain_text import one_line
from karaoke_train.settings import MODEL
from karaoke_train.training import fit
from karaoke_train.writable import NotWritable, check_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from karaoke_train.dataset.load import Data
    from karaoke_train.model.model import VoiceToNotesModel
    from karaoke_train.notes import Note
    from karaoke_train.settings import TrainSettings

FOLDER = "pseudo_labels"  # in the run's
CHECKSUM = ".sha256"  # the suffix of a file beside a recording's notes


def with_pseudo_labels(
    data: Data, settings: TrainSettings, model: VoiceToNotesModel, run_dir: Path
) -> Data:
    """The data, and beside it the recordings that are to be trained on without anybody's notes.

    Each rank writes the notes of its share of the recordings, so that none waits for another longer
    than torch lets it, and all read all the files. Segments are as long as what `model` hears at
    once, at most. Raises DataError, CheckpointError.
    """
    if settings.pseudo_label is None:
        return data
    voices, notes = Path(settings.pseudo_label), run_dir / FOLDER
    if not fit.share(notes.is_dir()):
        encoder = settings.encoder if settings.init else None
        teacher = VoiceToNotes.from_pretrained(
            settings.init or MODEL, the_only(settings.device), encoder=encoder
        )
        _tell(write(teacher, voices, notes, fit.own_share(settings)))
        fit.wait_for_all()
    songs, problems = read(voices, notes)
    longest = min(settings.max_segment_seconds, model.config.window_frames * FRAME_SECONDS)
    pieces = [piece for song in songs for piece in segments(song, longest)][: settings.max_samples]
    if not pieces:
        raise DataError(f"no recording in {voices} has notes that are good enough to train on")
    if fit.rank(settings) == 0:
        _tell(problems)
        print(one_line(_told(songs, len(pieces), settings, notes)))
    return replace(data, train=[*data.train, *pieces])


def write(
    model: VoiceToNotes, voices: Path, notes: Path, share: slice = slice(None)
) -> Iterator[Problem]:
    """Write the notes of each recording below `voices` to its place below `notes`, as CSV.

    share: which of them, in order; the others are another process's to write. What can't be read,
    or may be no singing, is a Problem and gets no file. Raises DataError.
    """
    progress = sys.stderr.isatty() and not share.start  # ranks have one terminal
    for sound in with_suffix(voices, io.SUFFIXES)[share]:
        target = _target(sound, voices, notes)
        try:
            check_names([target, target.with_suffix(CHECKSUM)])
            with FileSound(sound) as heard:
                found, doubt = listened(model, heard, progress=progress)
        except AudioError as error:
            yield Problem(sound, error.reason)
            continue
        except NotWritable as error:
            yield Problem(sound, str(error))
            continue
        if doubt:
            yield Problem(sound, doubt)
            continue
        _write(target, found, sound)


def read(voices: Path, notes: Path) -> tuple[list[Song], list[Problem]]:
    """The recordings that `write` found notes for, and those of them that can't be used now."""
    found = (_as_heard(one, voices, notes) for one in paired(voices, notes))
    songs, problems = sorted_out(found)
    return songs, [one for one in problems if _had_notes(one.path, voices, notes)]


def _as_heard(one: FileSong | Problem, voices: Path, notes: Path) -> FileSong | Problem:
    """A Problem in place of a song whose recording is not the one that its notes were heard in."""
    if isinstance(one, Problem) or not one.path.is_relative_to(voices):
        return one
    target = _target(one.path, voices, notes)
    if not _is_another(one.path, target):
        return one
    return Problem(one.path, f"is not the recording that {target} was heard in")


def _write(target: Path, found: Sequence[Note], sound: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # before the notes: a run that ends between the two has no notes of an unknown recording
        named = f"{_checksum(sound)}  ".encode() + os.fsencode(sound.name) + b"\n"
        target.with_suffix(CHECKSUM).write_bytes(named)
        write_labels(target, found)
    except OSError as error:
        raise DataError(
            f"{target} can't be written ({error.strerror}): a resumed run needs these notes. Make "
            "room there, or start again with another --checkpoint_dir."
        ) from error


def _is_another(sound: Path, target: Path) -> bool:
    """Whether a recording is known not to be the one that the notes at `target` were heard in."""
    try:
        kept = target.with_suffix(CHECKSUM).read_bytes().split()[:1]
        return kept != [_checksum(sound).encode()]
    except FileNotFoundError:  # somebody's own notes
        return False
    except OSError:
        return True


def _checksum(path: Path) -> str:
    """As `sha256sum` has it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _had_notes(path: Path, voices: Path, notes: Path) -> bool:
    return path.is_relative_to(notes) or _target(path, voices, notes).is_file()


def _target(sound: Path, voices: Path, notes: Path) -> Path:
    return notes / sound.relative_to(voices).with_suffix(".csv")


def _tell(problems: Iterable[Problem]) -> None:
    for problem in problems:
        print(one_line(f"left out: {problem}"), file=sys.stderr)


def _told(songs: list[Song], count: int, settings: TrainSettings, notes: Path) -> str:
    minutes = sum(song.duration for song in songs) / 60
    found = sum(len(song.notes) for song in songs)
    amounts = [(len(songs), "recording"), (found, "note"), (count, "segment")]
    recordings, written, cut = (f"{n} {word}{'' if n == 1 else 's'}" for n, word in amounts)
    return (
        f"labelled    {settings.pseudo_label}: {recordings}, {minutes:.1f} minutes, {written} by "
        f"{settings.init or MODEL}, in {cut}; to be seen in {notes}"
    )
