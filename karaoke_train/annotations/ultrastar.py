"""Notes as an UltraStar song file, the format of karaoke games, and back.

    #BPM:300          quarter beats: a beat of the note lines lasts 60 / (4 * BPM) seconds
    #GAP:12000        beat 0 in the audio, in ms; decimals with a point or a comma
    : 0 6 4 Some      type, first beat, length, pitch in semitones from C4 (MIDI 60), syllable
    - 8               end of a phrase; with #RELATIVE:yes the beats after it count from it
    P1, P2            the voices of a duet;  E  ends the song

    #AUDIO:a.mp3      the recording; #MP3 in files of before version 1.1, #VOCALS its voice alone

`:` and golden `*` notes are sung, and are the truth. Freestyle `F` and rap `R`, `G` have no
pitch that counts, so they are left out; so is a note of no length, with a remark. Text may be
UTF-8, with a byte order mark or without, or an old Windows encoding. Written pitches are rounded
relative to the song's own tuning, for which the format has no place. After the format's
specification, "The UltraStar File Format (Unversioned)", UltraStar-Deluxe/format. Games compare
pitches without the octave, so many songs are written an octave off; nothing in the file tells.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from karaoke_train.annotations.base import (
    SHOWN,
    AnnotationError,
    Entry,
    checked,
    decoded,
    lines_of,
)
from karaoke_train.annotations.tuning import in_tune

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from karaoke_train.notes import Note

_C4 = 60
_PITCHED = (":", "*")
# Nine digits are more beats than any song has, and a number of any length would be no float
_NOTE = re.compile(r"([:*FRG])\s*(-?\d{1,9})\s+(-?\d{1,9})\s+(-?\d{1,9})(?:\s.*)?$")
_BREAK = re.compile(r"-\s*(-?\d{1,9})(?:\s+(-?\d{1,9}))?\s*$")
_NO_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # controls, and ends of lines
_VOICE = re.compile(r"P\s?([1-3])\s*$")
_BPM = 750  # written: beats of 20 ms
_SOUNDS = ("VOCALS", "AUDIO", "MP3", "INSTRUMENTAL")  # the last one is nothing to learn from
_PHRASE = 0.4  # s; written: a rest this long ends a phrase


class _Line(NamedTuple):
    number: int
    text: str


class Recording(NamedTuple):
    """The file names of a song's sound, as its header has them: the one to read first.

    others: further sounds of the same song, which need no notes of their own.
    """

    names: tuple[str, ...]
    others: tuple[str, ...]


def recording(data: bytes) -> Recording:
    """Which sound a song file is about; no names where it says none, or is no song file.

    The voice alone comes before the whole song: it is what the notes are sung by.
    """
    header, _ = _parts(data)
    said = {key: header[key].text for key in _SOUNDS if key in header and header[key].text}
    names = tuple(said[key] for key in _SOUNDS[:-1] if key in said)
    return Recording(tuple(dict.fromkeys(names)), tuple(dict.fromkeys(said.values())))


def parse(data: bytes, path: Path, remarks: list[str] | None = None) -> tuple[Note, ...]:
    """The sung notes of a song file. `path` is for the messages.

    remarks: gets what was left out. Raises AnnotationError.
    """
    header, body = _parts(data)
    beat = 15.0 / _bpm(header, path)
    gap = _number(header["GAP"], path) / 1000 if header.get("GAP", _Line(0, "")).text else 0.0
    relative = header.get("RELATIVE", _Line(0, "")).text.lower() == "yes"
    entries = list(_entries(body, path, gap, beat, relative=relative))
    if remarks is not None:
        remarks += [f"{e.where}: a note of no length is left out" for e in entries if _empty(e)]
    try:
        return checked((entry for entry in entries if not _empty(entry)), path)
    except AnnotationError as error:
        if "begins before the one" in error.reason and any(_VOICE.match(b.text) for b in body):
            reason = "the two voices of this duet sing at once; keep the lines of one of them"
            raise AnnotationError(path, error.where, reason) from error
        raise


def render(notes: Sequence[Note], title: str, sound: str) -> bytes:
    """The song file of `notes`, times to 10 ms, pitches to the semitone.

    sound: the file name of the audio, which players look for beside the song file. A name that is
    no UTF-8 is written with the bytes that it has; characters that would end a line are spaces.
    """
    beat = 15.0 / _BPM
    gap = round(notes[0].onset * 1000) if notes else 0
    lines = [
        "#VERSION:1.0.0",
        f"#TITLE:{_NO_TEXT.sub(' ', title)}",
        "#ARTIST:Unknown",
        f"#MP3:{_NO_TEXT.sub(' ', sound)}",
        f"#BPM:{_BPM}",
        f"#GAP:{gap}",
    ]
    end = 0
    _, pitches = in_tune(notes)
    for index, (note, pitch) in enumerate(zip(notes, pitches, strict=True)):
        start = max(end, round((note.onset - gap / 1000) / beat))
        if index and note.onset - notes[index - 1].offset >= _PHRASE:
            lines.append(f"- {end}")
        length = max(1, round((note.offset - gap / 1000) / beat) - start)
        lines.append(f": {start} {length} {pitch - _C4} ~")
        end = start + length
    return "\n".join([*lines, "E", ""]).encode(errors="surrogateescape")


def _parts(data: bytes) -> tuple[dict[str, _Line], list[_Line]]:
    """The header by its keys in capitals, and the other lines that are not empty, up to E."""
    header: dict[str, _Line] = {}
    body: list[_Line] = []
    for number, text in enumerate(lines_of(decoded(data)), start=1):
        text = text.strip()
        if text == "E":
            break
        if text.startswith("#"):
            key, _, value = text[1:].partition(":")
            header[key.strip().upper()] = _Line(number, value.strip())
        elif text:
            body.append(_Line(number, text))
    return header, body


def _empty(entry: Entry) -> bool:
    return entry.offset == entry.onset


def _bpm(header: dict[str, _Line], path: Path) -> float:
    if "BPM" not in header:
        raise AnnotationError(path, "", "is no UltraStar song: it has no #BPM line")
    bpm = _number(header["BPM"], path)
    if bpm <= 0:
        raise AnnotationError(
            path, f"line {header['BPM'].number}", f"#BPM:{bpm:g} must be above zero"
        )
    return bpm


def _number(line: _Line, path: Path) -> float:
    if not re.fullmatch(r"[-+]?(\d{1,9}([.,]\d*)?|[.,]\d+)", line.text):
        raise AnnotationError(path, f"line {line.number}", f"{line.text[:SHOWN]!r} is not a number")
    return float(line.text.replace(",", "."))


def _entries(
    body: list[_Line], path: Path, gap: float, beat: float, *, relative: bool
) -> Iterator[Entry]:
    """The sung notes; those that both voices of a duet share come once."""
    origin: dict[str, int] = {}  # of relative beats, for each voice
    seen: set[tuple[int, int, int]] = set()
    voice = ""
    for line in body:
        if match := _VOICE.match(line.text):
            voice = match[1]
        elif match := _BREAK.match(line.text):
            if relative:
                origin[voice] = origin.get(voice, 0) + int(match[2] or match[1])
        elif match := _NOTE.match(line.text):
            note = (origin.get(voice, 0) + int(match[2]), int(match[3]), int(match[4]))
            if match[1] not in _PITCHED or note in seen:
                continue
            if voice:
                seen.add(note)
            start, length, pitch = note
            onset = gap + start * beat
            yield Entry(f"line {line.number}", onset, onset + length * beat, float(_C4 + pitch))
        elif line.text.startswith("B"):
            raise AnnotationError(
                path, f"line {line.number}", "changes the tempo, which is not read; use one #BPM"
            )
        else:
            raise AnnotationError(
                path,
                f"line {line.number}",
                f"{line.text[:SHOWN]!r} is no note line; one looks like ': 12 4 7 la'",
            )
