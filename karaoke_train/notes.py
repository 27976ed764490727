"""The note: what labels hold, what the model returns, and what the metrics compare."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor


@dataclass(frozen=True, slots=True, order=True)
class Note:
    """One sung note.

    onset, offset: seconds from the start of the audio, 0 <= onset < offset.
    pitch: MIDI number (A4 = 69 = 440 Hz), fractions allowed: 0.01 is one cent.
    """

    onset: float
    offset: float
    pitch: float

    def __post_init__(self) -> None:
        if not 0 <= self.onset < self.offset:
            raise ValueError(
                f"a note needs 0 <= onset < offset, not {self.onset} and {self.offset}"
            )
        if not 0 <= self.pitch <= 127:
            raise ValueError(f"a note's pitch is a MIDI number from 0 to 127, not {self.pitch}")

    @property
    def duration(self) -> float:
        """Seconds from onset to offset."""
        return self.offset - self.onset


def semitone(pitch: float) -> int:
    """The whole MIDI number nearest to a pitch; of two equally near ones the upper: 60.5 -> 61.

    Python's own `round` takes the even one: 60.5 would become 60 and 61.5 become 62.
    """
    return floor(pitch + 0.5)
