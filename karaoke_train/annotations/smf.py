"""Bytes of a Standard MIDI File -> tracks of timed events; damage costs the part that it hits.

After "Standard MIDI Files 1.0" (MIDI Manufacturers Association, RP-001). mido, which writes our
files, gives up the whole file at the first event that it can't make sense of: a key signature of
128 flats (mido/mido#187), a chunk that is no track, a last track that breaks off. Notes need three
of the format's events, so that whatever befalls the others is read past here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

META = 0xFF
END_OF_TRACK = 0x2F
_HEADER_WITHIN = 1024  # bytes; RIFF (.rmi) and MacBinary put something before the header
_LENGTHS = {0xC0: 1, 0xD0: 1}  # data bytes by kind of channel message; 2 for the others
_SYSTEM = {0xF1: 1, 0xF2: 2, 0xF3: 1}  # none for the others; none belongs in a file


class Event(NamedTuple):
    """tick: from the start of the track. status: 0xFF for meta, with the kind as data[0]."""

    tick: int
    status: int
    data: bytes


@dataclass(frozen=True)
class Track:
    """Its events in order; `broken` where it can't be read on, and empty when it is whole."""

    events: tuple[Event, ...]
    broken: str = ""

    @property
    def name(self) -> str:
        """As the file has it; empty when it has none."""
        names = (e.data[1:] for e in self.events if e.status == META and e.data[0] == 0x03)
        return next(names, b"").decode("utf-8", "replace").strip("\0 ")


@dataclass(frozen=True)
class MidiFile:
    """format: 0, 1 or 2. division: as in the header, below 0 for SMPTE. missing: tracks that the
    header promises and the file hasn't."""

    format: int
    division: int
    tracks: tuple[Track, ...]
    missing: int


class NotMidi(ValueError):
    """The bytes have no header of a MIDI file; the message says what is wrong."""


class _Broken(Exception):
    """No event can be read here; the message says where and why."""


def read(data: bytes) -> MidiFile:
    """All tracks, each as far as it can be read. Raises NotMidi."""
    start = data.find(b"MThd", 0, _HEADER_WITHIN)
    if start < 0:
        raise NotMidi("it has no MIDI header")
    size = int.from_bytes(data[start + 4 : start + 8])
    header = data[start + 8 : start + 14]
    if size < 6 or len(header) < 6:
        raise NotMidi("its header breaks off")
    promised = int.from_bytes(header[2:4])
    tracks = _tracks(data, start + 8 + size)
    return MidiFile(
        format=int.from_bytes(header[:2]),
        division=int.from_bytes(header[4:6], signed=True),
        tracks=tracks,
        missing=max(0, promised - len(tracks)),
    )


def _tracks(data: bytes, at: int) -> tuple[Track, ...]:
    tracks: list[Track] = []
    while len(data) - at >= 8:
        name, end = data[at : at + 4], at + 8 + int.from_bytes(data[at + 4 : at + 8])
        if name == b"MTrk":
            fits = end == len(data) or data[end : end + 4] == name
            reader = _Reader(data, at + 8, end if fits else len(data), is_cut=end > len(data))
            tracks.append(reader.track())
            if not fits:  # a wrong length, a cut file, or another chunk: its own end mark counts
                end = reader.at
        at = end  # other chunks are for other programs
    return tuple(tracks)


class _Reader:
    """Reads the events of one track; `at` is the next byte's place in the file."""

    def __init__(self, data: bytes, at: int, end: int, *, is_cut: bool = False) -> None:
        """is_cut: the track's length goes beyond the file's end."""
        self.is_cut = is_cut
        self.data = data
        self.at = at
        self.end = end

    def track(self) -> Track:
        """All events up to the end, or to where no more can be read."""
        events: list[Event] = []
        tick = running = 0
        try:
            while self.at < self.end:
                tick += self._number()
                # A status holds for what follows it until the next one. By the standard a meta
                # event ends that; files that go on all the same are read as they were meant.
                running, event = self._event(tick, running)
                if event.status == META and event.data[0] == END_OF_TRACK:
                    return Track(tuple(events))
                events.append(event)
            if self.is_cut:
                raise _Broken(f"it breaks off at byte {self.at}")
        except _Broken as error:
            return Track(tuple(events), str(error))
        return Track(tuple(events))

    def _event(self, tick: int, running: int) -> tuple[int, Event]:
        """The status that goes on running, and the event."""
        place = self.at
        status = self._take(1)[0]
        if status < 0x80:
            if not running:
                raise _Broken(f"byte {place} ({status:#04x}) begins no event")
            self.at = place
            status = running
        if status == META:
            kind = self._take(1)
            return running, Event(tick, status, kind + self._take(self._number()))
        if status in (0xF0, 0xF7):
            return running, Event(tick, status, self._take(self._number()))
        if status > 0xF0:
            return running, Event(tick, status, self._take(_SYSTEM.get(status, 0)))
        return status, Event(tick, status, self._take(_LENGTHS.get(status & 0xF0, 2)))

    def _take(self, count: int) -> bytes:
        taken = self.data[self.at : min(self.at + count, self.end)]
        if len(taken) < count:
            raise _Broken(f"it breaks off at byte {self.end}")
        self.at += count
        return taken

    def _number(self) -> int:
        """A number of one to four bytes, seven bits each."""
        number = 0
        for _ in range(4):
            byte = self._take(1)[0]
            number = number << 7 | byte & 0x7F
            if byte < 0x80:
                return number
        raise _Broken(f"the time before byte {self.at} has more than four bytes")
