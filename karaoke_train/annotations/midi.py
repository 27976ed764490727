"""Notes as a MIDI file and back: read by `smf`, written through mido.

Reading: tempo changes are followed (of several at one tick the last in the file counts); of
several tracks with notes the one named after the voice is taken, drums never. Notes that overlap
by up to 50 ms, as played legato does, are joined. A channel's coarse and fine tuning count, pitch
bends don't: a note has one pitch, its key's. They, what is damaged and what has no length are left
out with a remark, and the rest is read.
Writing: one track at 120 beats per minute and 960 ticks per beat (0.5 ms); MIDI's notes are
semitones, so pitches are rounded relative to the song's own tuning (`tuning`), which is
written as the channel's fine tuning.
"""

from __future__ import annotations

import io
import re
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import mido

from karaoke_train.annotations import smf
from karaoke_train.annotations.base import LEGATO, AnnotationError, Entry, checked
from karaoke_train.annotations.tuning import in_tune

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from karaoke_train.notes import Note

# Not the inside of "Single Coil" or "Rising", and no instrument's lead
_VOICE = re.compile(
    r"vocal|\bvoice|melod|\bsing(?!le)|\blead\b(?!.*(guitar|synth|bass))", re.IGNORECASE
)
_DRUMS = 9  # the General MIDI drum channel, counted from 0
_TEMPO = 500_000  # us per beat: 120 beats per minute, MIDI's own default
_TICKS = 960  # per beat
_SET_TEMPO, _KEY_SIGNATURE = 0x51, 0x59  # kinds of meta events
_ON, _OFF, _CONTROL, _BEND = 0x90, 0x80, 0xB0, 0xE0
_UNBENT = (0, 64)
# Controllers that choose a registered parameter and set it; a parameter's number is MSB, LSB.
_RPN_MSB, _RPN_LSB, _DATA_MSB, _DATA_LSB = 101, 100, 6, 38
_FINE, _COARSE, _NONE = (0, 1), (0, 2), (127, 127)


class _Played(NamedTuple):
    """A note in ticks; its pitch is a MIDI number with the channel's tuning."""

    onset: int
    offset: int
    pitch: float


class _Part(NamedTuple):
    """The notes of one channel of one track, in the order of their ends."""

    name: str
    track: int
    notes: list[_Played]


def parse(data: bytes, path: Path, remarks: list[str] | None = None) -> tuple[Note, ...]:
    """The notes of a MIDI file. `path` is for the messages.

    remarks: gets what was left out or mended. Raises AnnotationError.
    """
    try:
        midi = smf.read(data)
    except smf.NotMidi as error:
        raise AnnotationError(path, "", f"is no MIDI file ({error}); export it again") from error
    if midi.division == 0:
        raise AnnotationError(path, "", "is a MIDI file without a beat; export it as type 0 or 1")
    said: Counter[str] = Counter()
    parts = [p for i, track in enumerate(midi.tracks) for p in _parts(i, track, said)]
    broken = _breaks(midi)
    if broken and not parts:
        raise AnnotationError(
            path, "", f"is no MIDI file (no note comes before {broken[0]}); export it again"
        )
    if midi.format == 2 and len(parts) > 1:
        raise AnnotationError(
            path, "", "is a MIDI file without a common beat; export it as type 0 or 1"
        )
    part = _voice(parts, path)
    clock = _clock(midi, part.track, said)
    if remarks is not None:
        remarks += [f"{what} ({n} times)" if n > 1 else what for what, n in said.items()]
        remarks += [f"{where}: what is sung from there on is missing" for where in broken]
    entries = (
        Entry(f"note {number}", clock.seconds(note.onset), clock.seconds(note.offset), note.pitch)
        for number, note in enumerate(sorted(part.notes), start=1)
    )
    return checked(entries, path, LEGATO)


def render(notes: Sequence[Note]) -> bytes:
    """The MIDI file of `notes`."""
    track = mido.MidiTrack()
    track.append(mido.MetaMessage("track_name", name="voice"))
    track.append(mido.MetaMessage("set_tempo", tempo=_TEMPO))
    tuning, pitches = in_tune(notes)
    track.extend(_tuned(tuning))
    now = 0
    for note, pitch in zip(notes, pitches, strict=True):
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


def _tuned(tuning: float) -> list[mido.Message]:
    """Channel fine tuning, registered parameter 1: 14 bits over -1 to 1 semitone."""
    if not tuning:
        return []
    value = round(8192 * (1 + tuning))
    steps = (
        (_RPN_MSB, _FINE[0]),
        (_RPN_LSB, _FINE[1]),
        (_DATA_MSB, value >> 7),
        (_DATA_LSB, value & 127),
        (_RPN_MSB, _NONE[0]),  # so that a later data entry changes nothing
        (_RPN_LSB, _NONE[1]),
    )
    return [mido.Message("control_change", control=c, value=v) for c, v in steps]


@dataclass
class _Channel:
    """What a channel of a track sounds like while its events are gone through."""

    notes: list[_Played] = field(default_factory=list)
    sounding: dict[int, tuple[int, float]] = field(default_factory=dict)  # onset, pitch by key
    # Keys struck again before they were let go: the place in `notes` of what ended last, and how
    # many ends are still to come.
    struck_again: dict[int, int] = field(default_factory=dict)
    last: dict[int, int] = field(default_factory=dict)
    parameter: tuple[int, int] = _NONE
    tuning: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)  # MSB, LSB

    @property
    def transposed(self) -> float:
        """Semitones by which the channel's tuning moves its notes."""
        fine = self.tuning.get(_FINE, (64, 0))
        coarse = self.tuning.get(_COARSE, (64, 0))
        return (fine[0] << 7 | fine[1]) / 8192 - 1 + coarse[0] - 64

    def on(self, tick: int, key: int) -> None:
        """Strike a key; one that sounds ends here."""
        again = 0
        if key in self.sounding:
            again = self.struck_again.get(key, 0) + 1
            self.off(tick, key)
        self.struck_again = {key: again}
        self.sounding[key] = (tick, key + self.transposed)

    def off(self, tick: int, key: int) -> None:
        """Let a key go.

        A key that was struck twice is let go twice, at first for the note that the second one
        ended: the second end is the second note's. Unless another note came between: then
        the first end was it, and this one is stray.
        """
        if key in self.sounding:
            onset, pitch = self.sounding.pop(key)
            self.last[key] = len(self.notes)
            self.notes.append(_Played(onset, tick, pitch))
        elif self.struck_again.get(key, 0) > 0:
            self.struck_again[key] -= 1
            self.notes[self.last[key]] = self.notes[self.last[key]]._replace(offset=tick)

    def control(self, number: int, value: int) -> None:
        """Follow the registered parameters as far as they are a tuning."""
        match number:
            case 101:
                self.parameter = (value, self.parameter[1])
            case 100:
                self.parameter = (self.parameter[0], value)
            case 99 | 98:
                self.parameter = _NONE
            case 6:
                self.tuning[self.parameter] = (value, 0)
            case 38:
                self.tuning[self.parameter] = (self.tuning.get(self.parameter, (64, 0))[0], value)


def _parts(index: int, track: smf.Track, said: Counter[str]) -> Iterator[_Part]:
    """A track's notes, channel by channel. `said` counts what was left out or mended."""
    channels: dict[int, _Channel] = {}
    now = 0
    for now, status, data in track.events:
        if status >= 0xF0 or status & 0x0F == _DRUMS:
            continue
        kind = status & 0xF0
        channel = channels.setdefault(status & 0x0F, _Channel())
        if max(data) > 127:
            if kind in (_ON, _OFF) and data[0] > 127:
                if kind == _ON and data[1] > 0:
                    said["a note of a pitch over 127 is left out"] += 1
                continue
            said["a byte over 127 beside the notes is read as 127"] += 1
        if kind == _ON and data[1] > 0:
            channel.on(now, data[0])
        elif kind in (_ON, _OFF):
            channel.off(now, data[0])
        elif kind == _CONTROL:
            channel.control(data[0], min(127, data[1]))
        elif kind == _BEND and tuple(data) != _UNBENT:
            said["a pitch bend is left out: notes have their keys' pitches"] += 1
    for channel in channels.values():
        for key in tuple(channel.sounding):
            if track.broken:
                said["a note whose end is cut off is left out"] += 1
            else:
                channel.off(now, key)
        notes = [note for note in channel.notes if note.offset > note.onset]
        if empty := len(channel.notes) - len(notes):
            said["a note of no length is left out"] += empty
        if notes:
            yield _Part(track.name or "unnamed", index, notes)


def _breaks(midi: smf.MidiFile) -> list[str]:
    """Where the file can't be read on, for people."""
    where = [f"track {n}: {track.broken}" for n, track in enumerate(midi.tracks, 1) if track.broken]
    if midi.missing:
        where.append(f"it ends before {midi.missing} of the tracks that its header promises")
    return where


def _voice(parts: list[_Part], path: Path) -> _Part:
    """The part that is sung."""
    named = [part for part in parts if _VOICE.search(part.name)]
    for choice in (parts, named):
        if len(choice) == 1:
            return choice[0]
    if not parts:
        return _Part("", 0, [])
    names = ", ".join(repr(part.name) for part in parts)
    raise AnnotationError(
        path,
        "",
        f"has {len(parts)} parts with notes ({names}); keep the sung one, or name it 'voice'",
    )


class _Clock:
    """Ticks to seconds, by the tempo changes."""

    def __init__(self, changes: Iterable[tuple[int, float]], rate: float) -> None:
        """changes: tick and seconds per tick from there, in order. rate: before the first."""
        self._ticks = [0]
        self._times = [0.0]
        self._rates = [rate]
        for tick, changed in changes:
            self._times.append(self.seconds(tick))
            self._ticks.append(tick)
            self._rates.append(changed)

    def seconds(self, tick: int) -> float:
        """The time of a tick; where several tempos begin at one, the last of them counts."""
        i = bisect_right(self._ticks, tick) - 1
        return self._times[i] + (tick - self._ticks[i]) * self._rates[i]


def _clock(midi: smf.MidiFile, sung: int, said: Counter[str]) -> _Clock:
    """The clock of the track `sung`: in format 2 by its own tempos, else by all tracks'."""
    if midi.division < 0:  # SMPTE: frames per second, ticks per frame; tempos don't count
        frames, ticks = -(midi.division >> 8), midi.division & 0xFF
        rate = 30_000 / 1_001 if frames == 29 else float(frames)
        return _Clock((), 1 / (rate * max(1, ticks)))
    changes: list[tuple[int, float]] = []
    for index, track in enumerate(midi.tracks):
        for tick, status, data in track.events:
            if status != smf.META:
                continue
            if data[0] == _SET_TEMPO and (midi.format != 2 or index == sung):
                tempo = int.from_bytes(data[1:4])
                if len(data) >= 4 and tempo > 0:
                    changes.append((tick, tempo / 1e6 / midi.division))
                else:
                    said["a tempo that is none is passed over"] += 1
            elif data[0] == _KEY_SIGNATURE and not _is_key(data[1:]):
                said["a key signature that there isn't is passed over"] += 1
    changes.sort(key=lambda change: change[0])  # stable: at one tick the file's order stays
    return _Clock(changes, _TEMPO / 1e6 / midi.division)


def _is_key(data: bytes) -> bool:
    """Whether these are up to seven flats or sharps, and major or minor."""
    return len(data) >= 2 and (data[0] <= 7 or data[0] >= 249) and data[1] <= 1


def _ticks(seconds: float) -> int:
    return round(seconds * _TICKS * 1e6 / _TEMPO)
