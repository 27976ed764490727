"""espeak-ng sings: formant synthesis whose phonemes and their times are known.

Every note is a syllable that espeak-ng (pip `espeakng-loader`, GPL-3) speaks in a monotone; it is
played at the speed that puts it on the note's pitch, which carries glides and vibrato, too.
"""

from __future__ import annotations

import ctypes
import itertools
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.signal import resample_poly

from benchmarks.foreign.score import Sung, contour, habits, shortened, write
from karaoke_train.audio.units import SAMPLE_RATE

if TYPE_CHECKING:
    from collections.abc import Sequence

CONSONANTS = ("l", "m", "n", "r", "s", "t", "d", "k", "b", "v", "f", "z", "p", "g", "j", "w", "")
VOWELS = ("a", "e", "i", "o", "u")
LANGUAGES = ("fi", "it", "es", "de")
MEN = tuple(f"+m{number}" for number in range(1, 8))
WOMEN = tuple(f"+f{number}" for number in range(1, 6))
SPEEDS = (400, 250, 170, 120, 80)  # words per minute, in the library's terms
STEP = 0.005  # s, the grid of the pitch
LOWEST = 38.0  # MIDI
LONGEST = 0.8  # s, of a note; it speaks no longer vowels

_SYNCHRONOUS, _PHONEMES, _PHONEME_TEXT = 2, 1, 0x100
_RATE, _PITCH, _RANGE = 1, 3, 4
_PHONEME_EVENT = 7


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("name", ctypes.c_char * 8),
    )


_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


class Speaker:
    """The library, with one voice at a time."""

    def __init__(self) -> None:
        import espeakng_loader

        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        path = espeakng_loader.get_data_path().encode()
        self.rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, path, _PHONEMES)
        self._callback = _CALLBACK(self._heard)
        self._library.espeak_SetSynthCallback(self._callback)
        self._sound: list[np.ndarray] = []
        self._phonemes: list[tuple[str, float]] = []

    def say(
        self, voice: str, phonemes: str, pitch: int, speed: int
    ) -> tuple[np.ndarray, list[tuple[str, float]]]:
        """Samples, and each phoneme with the second that it begins at."""
        self._sound, self._phonemes = [], []
        self._library.espeak_SetVoiceByName(voice.encode())
        for name, value in ((_RATE, speed), (_PITCH, pitch), (_RANGE, 0)):
            self._library.espeak_SetParameter(name, value, 0)
        text = f"[[{phonemes}]]".encode()
        self._library.espeak_Synth(text, len(text) + 1, 0, 1, 0, _PHONEME_TEXT | 1, None, None)
        self._library.espeak_Synchronize()
        return np.concatenate(self._sound) / 32768.0, self._phonemes

    def _heard(self, wave: object, count: int, events: Sequence[_Event]) -> int:
        if wave and count > 0:
            self._sound.append(np.ctypeslib.as_array(wave, (count,)).astype(np.float64))
        index = 0
        while events[index].type:
            if events[index].type == _PHONEME_EVENT:
                name = events[index].name.decode(errors="replace")
                self._phonemes.append((name, events[index].sample / self.rate))
            index += 1
        return 0


@cache
def speaker() -> Speaker:
    """The library is one per process."""
    return Speaker()


@cache
def syllable(
    voice: str, consonant: str, vowel: str, pitch: int, length: float
) -> tuple[np.ndarray, float, float]:
    """A syllable whose vowel lasts `length` seconds or as long as it can: samples from the
    consonant on, and when its vowel begins and ends, s."""
    for tail in ("", "::", f":{vowel}:", f":{vowel}:{vowel}:"):
        for speed in SPEEDS:
            sound, phonemes = speaker().say(voice, f"{consonant}'{vowel}{tail}", pitch, speed)
            times = [time for name, time in phonemes if vowel in name.lower()]
            ends = [time for name, time in phonemes if name.startswith("_") and time > 0]
            if times and ends and ends[0] - times[0] >= length:
                return sound, times[0], ends[0]
    return sound, times[0], ends[0]


@cache
def fundamental(voice: str, pitch: int) -> float:
    """Hz, of the monotone that a voice speaks in: the autocorrelation's peak in a long vowel,
    looked for where voices of its kind are."""
    sound, begin, end = syllable(voice, "", "a", pitch, 0.5)
    rate = speaker().rate
    middle = sound[int((begin + 0.1) * rate) : int((end - 0.1) * rate)]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 1 << 17)) ** 2
    likeness = np.fft.irfft(spectrum)
    usual = (53.0 if "+m" in voice else 103.0) * 2 ** (pitch / 64)
    first = int(rate / (1.25 * usual))
    lag = first + int(likeness[first : int(rate / (0.8 * usual))].argmax())
    left, top, right = likeness[lag - 1 : lag + 2]
    return float(rate / (lag + 0.5 * (left - right) / (left - 2 * top + right)))


def sing(seed: int, duration: float) -> tuple[np.ndarray, list[Sung]]:
    """Samples at 16 kHz and what is sung."""
    rng = np.random.default_rng([seed, 1])
    how = habits(rng)
    voice = str(rng.choice(LANGUAGES)) + str(rng.choice(MEN if rng.random() < 0.5 else WOMEN))
    speed = rng.uniform(0.85, 1.3)  # of play, on the whole: a longer or shorter tract
    bottom = max(69 + 12 * np.log2(fundamental(voice, 15) * speed / 440.0), LOWEST)
    notes = write(rng, duration, bottom, bottom + rng.uniform(9.0, 14.0), how, LONGEST)
    pitch = contour(rng, notes, how, duration, STEP)
    spoken = []
    for note in notes:
        consonant = "" if note.linked else str(rng.choice(CONSONANTS))
        hertz = 440.0 * 2 ** ((note.pitch - 69) / 12) / speed
        nearest = min(range(0, 91, 5), key=lambda p: abs(np.log(fundamental(voice, p) / hertz)))
        length = round(min((note.end - note.start) * speed * 1.15 + 0.05, 1.3), 1)
        vowel = str(rng.choice(VOWELS))
        spoken.append((*syllable(voice, consonant, vowel, nearest, length), nearest))
    leads = [min(begin / speed, 0.25) for _, begin, _, _ in spoken]
    starts = [note.start - before.start for before, note in itertools.pairwise(notes)]
    leads = [leads[0], *(min(a, 0.45 * b) for a, b in zip(leads[1:], starts, strict=True))]
    notes = shortened(notes, [0.0 if n.linked else x for n, x in zip(notes, leads, strict=True)])
    out = np.zeros(round(duration * speaker().rate) + speaker().rate)
    ended = []
    for note, lead, (sound, begin, end, nearest) in zip(notes, leads, spoken, strict=True):
        ended.append(_place(out, note, lead, sound, begin, end, pitch, fundamental(voice, nearest)))
    done = resample_poly(out, SAMPLE_RATE, speaker().rate)[: round(duration * SAMPLE_RATE)]
    return done.astype(np.float32), ended


def _place(
    out: np.ndarray,
    note: Sung,
    lead: float,
    sound: np.ndarray,
    begin: float,
    end: float,
    pitch: np.ndarray,
    spoken: float,
) -> Sung:
    """Add one syllable to `out`; the note with the end that it really has."""
    rate = speaker().rate
    release = min(0.05, 0.3 * (note.end - note.start))
    time = np.arange(round((note.end - note.start + lead + 0.5 * release) * rate)) / rate
    at = note.start - lead + time
    midi = np.interp(at, np.arange(len(pitch)) * STEP, pitch)
    ratio = 440.0 * 2 ** ((midi - 69) / 12) / spoken
    place = np.concatenate([[0.0], np.cumsum(ratio)[:-1]]) / rate  # s of the spoken syllable
    place += begin - np.interp(lead, time, place)  # the vowel begins with the note
    heard = np.interp(place * rate, np.arange(len(sound)), sound, left=0.0, right=0.0)
    stops = float(at[np.searchsorted(place, end)]) if place[-1] > end else note.end
    last = min(note.end, stops)
    fade = np.clip((last + 0.5 * release - at) / release, 0.0, 1.0)
    rise = np.clip((at - at[0]) / 0.008, 0.0, 1.0)
    first = max(0, round(at[0] * rate))
    heard = (heard * fade * rise)[: len(out) - first]
    out[first : first + len(heard)] += heard
    return Sung(note.start, last, note.pitch, note.first, note.linked)
