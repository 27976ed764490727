"""Songs: audio with its notes, from a folder of files -> songs, segments, splits.

A song is anything with a name, notes, a duration and `load`; a folder of files gives
`FileSong`s, `karaoke_train.synth` gives songs that are sung when they are loaded.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from karaoke_train.annotations import SUFFIXES as LABEL_SUFFIXES
from karaoke_train.annotations import AnnotationError, read_labels
from karaoke_train.audio import io
from karaoke_train.audio.io import AudioError
from karaoke_train.dataset.pairing import Match, matches
from karaoke_train.notes import Note

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy as np

OVERHANG = 0.5  # s; labels this far past the audio's end are clipped, further ones refused
LONGEST_REST = 8.0  # s; a longer rest is left out
MARGIN = 1.0  # s kept before the first and after the last note of a segment


class Song(Protocol):
    """Audio with the truth of its notes."""

    @property
    def name(self) -> str: ...
    @property
    def notes(self) -> tuple[Note, ...]: ...
    @property
    def duration(self) -> float:
        """Seconds."""

    def load(self, start: float = 0.0, end: float | None = None) -> np.ndarray:
        """float32 mono 16 kHz in [-1, 1], shape (samples,). Raises AudioError."""


@dataclass(frozen=True)
class FileSong:
    """A song in a file.

    duration: s. work: what is sung, when several recordings or parts share it; `split` keeps
    them together. remarks: what in its label file was left out, mended or told by values alone.
    """

    name: str
    path: Path
    notes: tuple[Note, ...]
    duration: float
    work: str = ""
    remarks: tuple[str, ...] = ()

    def load(self, start: float = 0.0, end: float | None = None) -> np.ndarray:
        """The samples between two times; only these are read. Raises AudioError."""
        return io.read(self.path, start, end)


@dataclass(frozen=True)
class Problem:
    """A file that could not be used, and why."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True)
class Segment:
    """A part of a song, `start` to `end` in its seconds; `notes` count from `start`."""

    song: Song
    start: float
    end: float
    notes: tuple[Note, ...]

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.end - self.start

    def load(self) -> np.ndarray:
        """float32 mono 16 kHz, shape (samples,). Raises AudioError."""
        return self.song.load(self.start, self.end)


def read_folder(voices_dir: Path | str, notes_dir: Path | str) -> tuple[list[Song], list[Problem]]:
    """Songs whose audio in `voices_dir` and labels in `notes_dir` share a name without suffix, or
    whose UltraStar file names its audio (see `pairing`).

    Both folders are searched with their subfolders and may be the same. Whatever cannot be used
    is a Problem that names its file, and the others go on. Labels up to half a second past the
    audio's end are clipped to it; further ones are a Problem, since they belong to other audio.
    """
    return sorted_out(paired(Path(voices_dir), Path(notes_dir)))


def sorted_out(found: Iterable[FileSong | Problem]) -> tuple[list[Song], list[Problem]]:
    """The songs, and the problems, of a mixture of both."""
    songs: list[Song] = []
    problems: list[Problem] = []
    for one in found:
        if isinstance(one, Problem):
            problems.append(one)
        else:
            songs.append(one)
    return songs, problems


def remarks_of(songs: Iterable[Song]) -> list[str]:
    """What was remarked of the songs' label files, each with the file's name."""
    return [remark for song in songs if isinstance(song, FileSong) for remark in song.remarks]


def paired(voices: Path, notes: Path) -> Iterator[FileSong | Problem]:
    """What `read_folder` finds, in order of the names."""
    missing = [folder for folder in dict.fromkeys((voices, notes)) if not folder.is_dir()]
    if missing:
        yield from (Problem(folder, "is not a folder; check the path") for folder in missing)
        return
    for match in matches(voices, notes):
        yield _pair(match)


def open_song(name: str, sound: Path, notes: Iterable[Note], work: str = "") -> FileSong | Problem:
    """The song of one audio file and its notes, or why it cannot be one."""
    try:
        duration = io.probe(sound)
    except AudioError as error:
        return Problem(sound, error.reason)
    notes = tuple(notes)
    if not notes:
        return Problem(sound, "has no notes in its labels; label it or leave it out")
    over = notes[-1].offset - duration
    if over > OVERHANG:
        return Problem(
            sound,
            f"ends at {duration:.2f} s, but its labels go on for {over:.2f} s more; "
            "the two belong to different recordings, or the audio was cut",
        )
    inside = (note for note in notes if note.onset < duration)
    clipped = tuple(Note(n.onset, min(n.offset, duration), n.pitch) for n in inside)
    return FileSong(name, sound, clipped, duration, work)


def segments(song: Song, max_seconds: float = 30.0) -> list[Segment]:
    """Parts of at most `max_seconds` that together hold every note of the song.

    Cuts lie in the middle of rests, the widest in the second half of what fits, or failing that
    the last one before; between two notes that touch where there is no rest; and through a note
    only when it alone is longer than what fits. Rests of more than 8 s are left out, but for a
    second on each side: what is heard there, the labels do not say.
    """
    parts: list[Segment] = []
    for start, end, notes in _stretches(song):
        while end - start > max_seconds:
            cut = _cut(notes, start, start + max_seconds)
            parts.append(_segment(song, start, cut, notes))
            start = cut
        parts.append(_segment(song, start, end, notes))
    return [part for part in parts if part.notes]


def split(
    songs: Sequence[Song], seed: int, val_share: float = 0.1
) -> tuple[list[Song], list[Song]]:
    """Training and validation songs, whole songs each, in the order given.

    Recordings of one work (`FileSong.work`) stay on one side. The same songs and seed give the
    same split. With two works or more neither part is empty; a single one is for training.
    """
    works = [getattr(song, "work", "") or song.name for song in songs]
    order = sorted(set(works))
    random.Random(seed).shuffle(order)
    count = round(len(order) * val_share)
    count = min(max(count, 1), len(order) - 1) if len(order) >= 2 else 0
    held = set(order[:count])
    train = [song for song, work in zip(songs, works, strict=True) if work not in held]
    return train, [song for song, work in zip(songs, works, strict=True) if work in held]


def _pair(match: Match) -> FileSong | Problem:
    name, sounds, labels = match.name, match.sounds, match.labels
    if match.fault:
        return Problem((*sounds, *labels)[0], match.fault)
    for paths in (sounds, labels):
        if len(paths) > 1:
            others = ", ".join(str(path) for path in paths[1:])
            return Problem(paths[0], f"has the same name as {others}; keep one of them")
    if not labels:
        lacks = f"no {name} with {', '.join(LABEL_SUFFIXES)}"
        return Problem(sounds[0], f"has no labels: {lacks}{io.conversion(sounds[0])}")
    if not sounds:
        nor = f", nor {match.wanted}, which it names" if match.wanted else ""
        return Problem(labels[0], f"has no audio: no {name} with {', '.join(io.SUFFIXES)}{nor}")
    try:
        read = read_labels(labels[0])
    except AnnotationError as error:
        where = f"{error.where}: " if error.where else ""
        return Problem(labels[0], where + error.reason)
    if not read.notes:
        return Problem(labels[0], "holds no notes with a pitch; label the song or leave it out")
    song = open_song(name, sounds[0], read.notes)
    if isinstance(song, Problem):
        return song
    return replace(song, remarks=tuple(f"{labels[0].name}: {said}" for said in read.remarks))


def _stretches(song: Song) -> list[tuple[float, float, tuple[Note, ...]]]:
    """The song without its long rests: start, end and notes of what lies between them."""
    stretches: list[tuple[float, float, tuple[Note, ...]]] = []
    first, notes = 0, song.notes
    start = 0.0
    for index, note in enumerate(notes):
        before = notes[index - 1].offset if index else 0.0
        if note.onset - before > LONGEST_REST:
            if index:
                stretches.append((start, before + MARGIN, notes[first:index]))
            start, first = note.onset - MARGIN, index
    end = song.duration
    if notes and end - notes[-1].offset > LONGEST_REST:
        end = notes[-1].offset + MARGIN
    stretches.append((start, end, notes[first:]))
    return stretches


def _cut(notes: Sequence[Note], start: float, limit: float) -> float:
    """Where to end a part that begins at `start` and may last until `limit`, in seconds."""
    gaps = [(a.offset, b.onset) for a, b in pairwise(notes)]
    gaps.append((notes[-1].offset, float("inf")))
    rests = [(min(b, limit) - a, min((a + b) / 2, limit)) for a, b in gaps if a < limit]
    late = [(width, cut) for width, cut in rests if (start + limit) / 2 <= cut <= limit]
    if late:
        return max(late)[1]  # the widest; of equal ones (notes that touch) the latest
    return max((cut for _, cut in rests if start < cut <= limit), default=limit)


def _segment(song: Song, start: float, end: float, notes: Iterable[Note]) -> Segment:
    inside = (n for n in notes if n.onset < end and n.offset > start)
    relative = tuple(
        Note(max(n.onset, start) - start, min(n.offset, end) - start, n.pitch) for n in inside
    )
    return Segment(song, start, end, relative)
