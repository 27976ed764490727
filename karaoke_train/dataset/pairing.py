"""Two folders -> which recordings and label files below them belong together.

A song file of UltraStar names its recording and is believed, whatever the two are called
(UltraStar-Deluxe/UltraStar-Manager#61). All other files match by their names without suffix,
wherever they lie; names that occur more than once, by their places in the two folders as well.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from unicodedata import normalize

from karaoke_train.annotations import SUFFIXES as LABEL_SUFFIXES
from karaoke_train.annotations import AnnotationError, recording
from karaoke_train.audio import io

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Match:
    """A name with the audio and the labels found for it, one of each where all is well.

    wanted: the recording that the labels name, where it isn't there. fault: why these files are
    left aside; empty where they are not.
    """

    name: str
    sounds: tuple[Path, ...]
    labels: tuple[Path, ...]
    wanted: str = ""
    fault: str = ""


@dataclass
class _Named:
    """What the label files say themselves about their recordings."""

    sound: dict[Path, Path] = field(default_factory=dict)  # by label file
    wanted: dict[Path, str] = field(default_factory=dict)  # by label file: a name without a file
    others: set[Path] = field(default_factory=set)  # further sounds of the same songs


def visible(folder: Path, pattern: str = "*") -> list[Path]:
    """What lies below `folder` and matches, in order; nothing hidden, nor in a hidden folder.

    macOS writes `._song.wav` beside each file that it copies to a foreign file system, and
    `.AppleDouble/song.wav` on some: the names of songs and their suffixes, but no sound.
    """
    found = sorted(folder.rglob(pattern))
    return [p for p in found if not any(s.startswith(".") for s in p.relative_to(folder).parts)]


def matches(voices: Path, notes: Path) -> Iterator[Match]:
    """Every audio file below `voices` and every label file below `notes`, in order of the names."""
    sounds = with_suffix(voices, io.SUFFIXES)
    labels = with_suffix(notes, LABEL_SUFFIXES)
    named = _named(sounds, labels, voices, notes)
    plain = [label for label in labels if label not in named.sound]
    stems = {label.stem for label in plain}
    others = {s for s in named.others - {*named.sound.values()} if s.stem not in stems}
    places = {sound: _place(sound, voices) for sound in sounds if sound not in others}
    places |= {label: _place(label, notes) for label in plain}
    places |= {label: places[sound] for label, sound in named.sound.items()}
    is_sound = set(sounds)
    by_stem: dict[str, list[Path]] = {}
    for path, place in places.items():
        by_stem.setdefault(posixpath.basename(place), []).append(path)
    for stem, files in sorted(by_stem.items()):
        heard = [path for path in files if path in is_sound]
        written = [path for path in files if path not in is_sound]
        if len(heard) <= 1 and len(written) <= 1:
            yield from _settled(stem, heard, written, named)
            continue
        for place in sorted({places[path] for path in files}):
            yield from _settled(
                place,
                [path for path in heard if places[path] == place],
                [path for path in written if places[path] == place],
                named,
            )


def _settled(
    name: str, sounds: Sequence[Path], labels: Sequence[Path], named: _Named
) -> Iterator[Match]:
    """The match of files of one name, and those that a song file's word leaves aside."""
    meant = {named.sound[label] for label in labels if label in named.sound}
    if len(sounds) > 1 and len(meant) == 1:
        (sound,) = meant
        for path in sounds:
            if path != sound:
                fault = f"has the name of {sound.name}, which {labels[0].name} names instead"
                yield Match(name, (path,), (), fault=f"{fault}; remove one, or change that line")
        sounds = [sound]
    own = [label for label in labels if label.stem == posixpath.basename(name)]
    if len(labels) > 1 and len(own) == 1 and all(label in named.sound for label in labels):
        for path in labels:
            if path != own[0]:
                fault = f"names {sounds[0].name}, whose notes are those of {own[0].name}"
                yield Match(name, (), (path,), fault=f"{fault}; keep one of the two")
        labels = own
    wanted = next((named.wanted[label] for label in labels if label in named.wanted), "")
    yield Match(name, tuple(sounds), tuple(labels), wanted)


def _named(sounds: Iterable[Path], labels: Iterable[Path], voices: Path, notes: Path) -> _Named:
    places: dict[str, Path] = {}
    names: dict[str, list[Path]] = {}
    for sound in sounds:
        places[_folded(sound.relative_to(voices).as_posix())] = sound
        names.setdefault(_folded(sound.name), []).append(sound)

    def find(label: Path, name: str) -> Path | None:
        """Beside the label file, or in the other folder, if it has one file of that name."""
        folder = label.relative_to(notes).parent.as_posix()
        name = _folded(name.replace("\\", "/"))
        base = posixpath.basename(name)
        for path in (name, base):  # an absolute path is one of another machine
            if found := places.get(posixpath.normpath(posixpath.join(_folded(folder), path))):
                return found
        alike = names.get(base, []) if voices != notes else []
        return alike[0] if len(alike) == 1 else None

    named = _Named()
    for label in labels:
        try:
            said = recording(label)
        except AnnotationError:
            continue  # it is told when its notes are read
        found = [sound for sound in (find(label, name) for name in said.names) if sound]
        others = {sound for sound in (find(label, name) for name in said.others) if sound}
        if found:
            named.sound[label] = found[0]
            named.others |= others
        elif said.names:
            named.wanted[label] = said.names[0]
    return named


def with_suffix(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """The visible files with one of these suffixes, in order."""
    return [path for path in visible(folder) if path.suffix.lower() in suffixes]


def _place(path: Path, folder: Path) -> str:
    """Where a file lies in a folder, without its suffix.

    macOS hands out names decomposed (e and an accent), others composed: alike to people.
    """
    return normalize("NFC", path.relative_to(folder).with_suffix("").as_posix())


def _folded(name: str) -> str:
    """A name as file systems of Windows and macOS compare them."""
    return normalize("NFC", name).casefold()
