"""How fast the synthetic singer sings: seconds of audio per second of one core's time.

    python benchmarks/synth_speed.py [--songs 40]

Beside it, what making or fetching training audio costs otherwise: sines for the same notes in
plain numpy, and decoding the same songs from MP3 and FLAC with libsndfile. A batch of 32 songs
of 10 s every 0.25 s is 1,280 s of audio per second; the last line says how many worker processes
that takes.
"""

from __future__ import annotations

import argparse
import io
import os
import time
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core each, as in worker processes
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import soundfile

from karaoke_train.audio.augment import augment
from karaoke_train.audio.units import SAMPLE_RATE
from karaoke_train.synth import DURATION, sing

if TYPE_CHECKING:
    from collections.abc import Callable

    from karaoke_train.notes import Note


def sines(notes: tuple[Note, ...]) -> np.ndarray:
    """The notes as bare sines."""
    sound = np.zeros(round(DURATION * SAMPLE_RATE))
    for note in notes:
        first, last = round(note.onset * SAMPLE_RATE), round(note.offset * SAMPLE_RATE)
        hertz = 440.0 * 2.0 ** ((note.pitch - 69.0) / 12.0)
        sound[first:last] = np.sin(2 * np.pi * hertz / SAMPLE_RATE * np.arange(last - first))
    return sound


def encoded(sound: np.ndarray, kind: str) -> bytes:
    """The sound as a file of the format `kind`."""
    memory = io.BytesIO()
    soundfile.write(memory, sound, SAMPLE_RATE, format=kind)
    return memory.getvalue()


def rate(work: Callable[[int], object], songs: int) -> float:
    """Seconds of audio per second of processor time; the best of three rounds."""
    work(0)
    rounds = []
    for _ in range(3):
        start = time.process_time()
        for index in range(songs):
            work(index)
        rounds.append(songs * DURATION / (time.process_time() - start))
    return max(rounds)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description="Speed of the synthetic singer on one core.")
    parser.add_argument("--songs", type=int, default=40, help="songs of 10 s in each round")
    count = parser.parse_args().songs
    songs = [sing(seed) for seed in range(count)]
    mp3 = [encoded(sound, "MP3") for sound, _ in songs]
    flac = [encoded(sound, "FLAC") for sound, _ in songs]
    rng = np.random.default_rng(0)
    peers: dict[str, Callable[[int], object]] = {
        "sing (full singer, recorded)": sing,
        "sing (simple=True)": lambda i: sing(i, simple=True),
        "augment": lambda i: augment(*songs[i], rng),
        "numpy sines, same notes": lambda i: sines(songs[i][1]),
        "MP3 decode, libsndfile": lambda i: soundfile.read(io.BytesIO(mp3[i])),
        "FLAC decode, libsndfile": lambda i: soundfile.read(io.BytesIO(flac[i])),
    }
    own = 0.0
    print(f"{'':30} {'audio s / s':>12} {'to the singer':>14}")
    for name, work in peers.items():
        speed = rate(work, count)
        own = own or speed
        print(f"{name:30} {speed:12,.0f} {speed / own:13.2f}x")
    print(f"\n1,280 audio seconds per second take {1280 / own:.1f} worker processes")


if __name__ == "__main__":
    main()
