"""Notes as a MIDI file and back, through mido.

Reading: tempo changes are followed; of several tracks with notes the one named after the voice
is taken, drums never. Notes that overlap by up to 50 ms, as played legato does, are joined.
Writing: one track at 120 beats per minute and 960 ticks per beat (0.5 ms); MIDI knows semitones
only, so pitches are rounded to the nearest, halves up.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, NamedTuple

import mido

from karaoke_train.annotations.base import AnnotationError, Entry, checked
from karaoke_train.notes import semitone

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from karaoke_train.notes import Note

_LEGATO = 0.05  # s
_VOICE = re.compile(r"vocal|voice|melod|sing|lead", re.IGNORECASE)
_DRUMS = 9  # the General MIDI drum channel, counted from 0
_TEMPO = 500_000  # us per beat: 120 beats per minute, MIDI's own default
_TICKS = 960  # per beat


class _Part(NamedTuple):
    """The notes of one channel of one track: onset tick, offset tick, pitch."""

    name: str
    notes: list[tuple[int, int, int]]


def parse(data: bytes, path: Path) -> tuple[Note, ...]:
    """The notes of a MIDI file. `path` is for the messages. Raises AnnotationError."""
    try:
        midi = mido.MidiFile(file=io.BytesIO(data), clip=True)
    except Exception as error:  # mido has no common error class
        said = str(error) or type(error).__name__
        raise AnnotationError(path, "", f"is no MIDI file ({said}); export it again") from error
    if midi.type == 2 or midi.ticks_per_beat <= 0:
        raise AnnotationError(
            path, "", "is a MIDI file without a common beat; export it as type 0 or 1"
        )
    part = _voice([part for track in midi.tracks for part in _parts(track)], path)
    clock = _clock(midi)
    entries = (
        Entry(f"note {number}", _seconds(on, clock), _seconds(off, clock), float(pitch))
        for number, (on, off, pitch) in enumerate(sorted(part.notes), start=1)
    )
    return checked(entries, path, overlap=_LEGATO)


def render(notes: Sequence[Note]) -> bytes:
    """The MIDI file of `notes`."""
    track = mido.MidiTrack()
    track.append(mido.MetaMessage("track_name", name="voice"))
    track.append(mido.MetaMessage("set_tempo", tempo=_TEMPO))
    now = 0
    for note in notes:
        pitch = semitone(note.pitch)
        onset = max(now, _ticks(note.onset))
        offset = max(onset + 1, _ticks(note.offset))
        track.append(mido.Message("note_on", note=pitch, velocity=80, time=onset - now))
        track.append(mido.Message("note_off", note=pitch, velocity=0, time=offset - onset))
        now = offset
    midi = mido.MidiFile(type=1, ticks_per_beat=_TICKS)
    midi.tracks.append(track)
    file = io.BytesIO()
    midi.save(file=file)
    return file.getvalue()


def _parts(track: mido.MidiTrack) -> Iterator[_Part]:
    """A track's notes, channel by channel."""
    parts: dict[int, _Part] = {}
    sounding: dict[tuple[int, int], int] = {}
    now = 0
    for message in track:
        now += message.time
        if message.type not in ("note_on", "note_off") or message.channel == _DRUMS:
            continue
        part = parts.setdefault(message.channel, _Part(track.name or "unnamed", []))
        key = (message.channel, message.note)
        if key in sounding:  # a second note_on of the same pitch ends the first
            part.notes.append((sounding.pop(key), now, message.note))
        if message.type == "note_on" and message.velocity > 0:
            sounding[key] = now
    for (channel, pitch), onset in sounding.items():
        parts[channel].notes.append((onset, now, pitch))
    yield from (part for part in parts.values() if part.notes)


def _voice(parts: list[_Part], path: Path) -> _Part:
    """The part that is sung."""
    named = [part for part in parts if _VOICE.search(part.name)]
    for choice in (parts, named):
        if len(choice) == 1:
            return choice[0]
    if not parts:
        return _Part("", [])
    names = ", ".join(repr(part.name) for part in parts)
    raise AnnotationError(
        path,
        "",
        f"has {len(parts)} parts with notes ({names}); keep the sung one, or name it 'voice'",
    )


def _clock(midi: mido.MidiFile) -> list[tuple[int, float, float]]:
    """Tempo sections in order: first tick, its time in s, seconds per tick from there."""
    changes: list[tuple[int, int]] = []
    for track in midi.tracks:
        now = 0
        for message in track:
            now += message.time
            if message.type == "set_tempo":
                changes.append((now, message.tempo))
    clock = [(0, 0.0, _TEMPO / 1e6 / midi.ticks_per_beat)]
    for tick, tempo in sorted(changes):
        clock.append((tick, _seconds(tick, clock), tempo / 1e6 / midi.ticks_per_beat))
    return clock


def _seconds(tick: int, clock: list[tuple[int, float, float]]) -> float:
    first, time, scale = next(part for part in reversed(clock) if part[0] <= tick)
    return time + (tick - first) * scale


def _ticks(seconds: float) -> int:
    return round(seconds * _TICKS * 1e6 / _TEMPO)
