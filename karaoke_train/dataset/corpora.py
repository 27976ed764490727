"""Public singing sets in their own layouts -> songs.

CSD, GTSinger and MIR-ST500 are read here; vocadito and TONAS through mirdata (the `corpora`
extra). Nothing is downloaded: the sets are where their licences and their makers put them.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from math import log2
from pathlib import Path
from typing import TYPE_CHECKING, Any

from karaoke_train.annotations.base import AnnotationError, Entry, checked
from karaoke_train.atomic_file import read_json
from karaoke_train.audio import io
from karaoke_train.dataset.pairing import visible, with_suffix
from karaoke_train.dataset.songs import FileSong, Problem, Song, open_song, paired, sorted_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from karaoke_train.notes import Note

Found = tuple[list[Song], list[Problem]]

# What a damaged or strange description can raise while it is gone through
_ODD = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)
# A phone that can carry a note, in ARPAbet, pinyin and the IPA alike.
_VOWEL = re.compile("[aeiouæøœɑɒɐəɘɚɛɜɝɞɪɨɔɵʊʌʉɯɤʏ]", re.IGNORECASE)
_MIRDATA = {"vocadito": "notes_a1", "tonas": "notes"}  # the attribute that holds the notes


class CorpusError(ValueError):
    """A set cannot be read at all. The message says what is missing and how to get it."""


def read_corpus(name: str, root: Path | str) -> Found:
    """The songs of the public set `name` whose files lie under `root`, and what is not usable.

    name: one of NAMES. Raises CorpusError when the set is unknown or not there.
    """
    if name not in _READERS:
        raise CorpusError(f"no corpus is called {name!r}; there are {', '.join(NAMES)}")
    root = Path(root)
    if not root.is_dir():
        raise CorpusError(f"{root}: is not a folder; unpack {name} there or name the right one")
    songs, problems = _READERS[name](root)
    if not songs and not problems:
        raise CorpusError(f"{root}: holds nothing of {name}; name the folder it was unpacked to")
    return songs, problems


def read_csd(root: Path) -> Found:
    """Children's Song Dataset (Choi et al., ISMIR late-breaking 2020).

    `english/wav/en001a.wav` with `english/csv/en001a.csv` (`start,end,pitch,syllable`), and the
    same under `korean`. The two keys of a song, `a` and `b`, are one work.
    """
    folders = [root / language for language in ("english", "korean")]
    return sorted_out(
        song if isinstance(song, Problem) else replace(song, work=song.name[:-1])
        for folder in folders
        if folder.is_dir()
        for song in paired(folder / "wav", folder / "csv")
    )


def read_gtsinger(root: Path) -> Found:
    """GTSinger (Zhang et al., NeurIPS 2024).

    `English/EN-Alto-1/Vibrato/<song>/<group>/0000.json` beside `0000.wav`: a list of words with
    `note` (MIDI numbers, 0 for silence), `note_start` and `note_end` in seconds, or `note_dur`
    and the word's own `start_time` and `end_time`. The first note of a word begins with the
    word's first vowel (`ph`, `ph_start`), as everywhere here. Speech is left out. All phrases
    of a singer's song are one work.
    """
    return sorted_out(
        _opened(
            path.relative_to(root).with_suffix("").as_posix(),
            path.with_suffix(".wav"),
            partial(_words, path),
            work=path.relative_to(root).parent.parent.as_posix(),
        )
        for path in visible(root, "*.json")
        if "Paired_Speech_Group" not in path.parts and path.with_suffix(".wav").is_file()
    )


def read_mir_st500(root: Path) -> Found:
    """MIR-ST500 (Wang and Jang, ICASSP 2021).

    `MIR-ST500_corrected.json`, `{"1": [[onset, offset, pitch], …], …}`, and audio files named by
    the same numbers (`1.wav`, or `1/Mixture.mp3` and the like) anywhere under `root`; the set
    itself holds links only. Songs without audio are left out in silence.
    """
    labels = next(iter(visible(root, "MIR-ST500_corrected.json")), None)
    if labels is None:
        raise CorpusError(f"{root}: has no MIR-ST500_corrected.json; get it from the set's pages")
    try:
        songs = dict(read_json(labels))
    except _ODD as error:
        raise CorpusError(
            f"{labels}: can't be read ({type(error).__name__}: {error}); get it from the set's "
            "pages"
        ) from None
    sounds = {
        path.stem if path.stem.isdigit() else path.parent.name: path
        for path in with_suffix(root, io.SUFFIXES)
    }
    return sorted_out(
        _opened(f"mir-st500-{number}", sounds[number], partial(_rows, rows, labels))
        for number, rows in songs.items()
        if number in sounds
    )


def read_mirdata(name: str, root: Path) -> Found:
    """A set that mirdata knows, laid out as mirdata has it: vocadito or TONAS.

    vocadito's notes are those of its first annotator, TONAS's keep the singer's tuning. Raises
    CorpusError when mirdata or its index of the set is not installed.
    """
    try:
        import mirdata
    except ImportError as error:
        raise CorpusError(
            f"{name} is read through mirdata: pip install 'karaoke-train[corpora]'"
        ) from error
    try:
        tracks = mirdata.initialize(name, data_home=str(root)).load_tracks()
    except FileNotFoundError as error:
        raise CorpusError(
            f"{root}: mirdata cannot find {name} or its index there ({error}); fetch it with "
            f"mirdata.initialize({name!r}, data_home={str(root)!r}).download()"
        ) from error
    return sorted_out(
        _opened(f"{name}-{track_id}", Path(track.audio_path), partial(_annotated, track, name))
        for track_id, track in sorted(tracks.items())
    )


def _opened(
    name: str, sound: Path, notes: Callable[[], tuple[Note, ...]], work: str = ""
) -> FileSong | Problem:
    """The song, or the reason why it cannot be one."""
    try:
        return open_song(name, sound, notes(), work)
    except AnnotationError as error:
        return Problem(error.path, f"{error.where}: {error.reason}")
    except _ODD as error:
        return Problem(sound, f"its labels cannot be read ({type(error).__name__}: {error})")


def _words(path: Path) -> tuple[Note, ...]:
    """The notes of a GTSinger phrase."""
    entries: list[Entry] = []
    for number, word in enumerate(read_json(path), start=1):
        for index, (start, end, pitch) in enumerate(_word_notes(word)):
            onset = max(start, _vowel(word)) if index == 0 else start
            if pitch > 0 and end - start > 0.001:
                onset = onset if onset < end else start
                entries.append(Entry(f"word {number}", onset, end, pitch))
    return checked(entries, path)


def _word_notes(word: dict[str, Any]) -> Iterator[tuple[float, float, float]]:
    """Start, end and pitch of a word's notes; without times of their own they share the word's."""
    pitches = [float(pitch) for pitch in word["note"]]
    starts, ends = word.get("note_start"), word.get("note_end")
    if not (isinstance(starts, list) and isinstance(ends, list) and len(starts) == len(pitches)):
        shares = [float(share) for share in word["note_dur"]]
        begin, length = float(word["start_time"]), float(word["end_time"] - word["start_time"])
        passed = [sum(shares[:index]) / sum(shares) for index in range(len(shares) + 1)]
        starts = [begin + length * share for share in passed[:-1]]
        ends = [begin + length * share for share in passed[1:]]
    yield from zip(map(float, starts), map(float, ends), pitches, strict=True)


def _vowel(word: dict[str, Any]) -> float:
    """When the word's first vowel begins; 0 when it has none."""
    phones = zip(word.get("ph", []), word.get("ph_start", []), strict=False)
    return next((float(start) for phone, start in phones if _VOWEL.search(phone)), 0.0)


def _rows(rows: Iterable[tuple[float, float, float]], path: Path) -> tuple[Note, ...]:
    """The notes of a MIR-ST500 song."""
    entries = (
        Entry(f"note {number}", float(onset), float(offset), float(pitch))
        for number, (onset, offset, pitch) in enumerate(rows, start=1)
    )
    return checked(entries, path)


def _annotated(track: Any, name: str) -> tuple[Note, ...]:
    """The notes of a mirdata track; its pitches are in Hz."""
    data = getattr(track, _MIRDATA[name])
    if data is None:
        return ()
    rows = zip(data.intervals, data.pitches, strict=True)
    entries = (
        Entry(f"note {number}", float(on), float(off), 69 + 12 * log2(float(hertz) / 440))
        for number, ((on, off), hertz) in enumerate(rows, start=1)
    )
    return checked(entries, Path(getattr(track, f"{_MIRDATA[name]}_path")))


_READERS: dict[str, Callable[[Path], Found]] = {
    "csd": read_csd,
    "gtsinger": read_gtsinger,
    "mir-st500": read_mir_st500,
    "tonas": lambda root: read_mirdata("tonas", root),
    "vocadito": lambda root: read_mirdata("vocadito", root),
}
NAMES = tuple(_READERS)
