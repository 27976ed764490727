"""A model and songs in, scores out: COn, COnP and COnPOff, song by song and overall.

Overall F1 is the mean over songs, as MIREX and the papers on MIR-ST500 report it; `pooled`
counts all notes of all songs together, as validation during training does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from karaoke_train.audio.io import AudioError
from karaoke_train.inference.metrics import Counts, count_notes, count_pitches, total
from karaoke_train.model.decode import DecodeOptions, Decoder, frame_pitch
from karaoke_train.runlog.plain_text import cells, one_line, padded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from karaoke_train.dataset.songs import Song
    from karaoke_train.inference.peers import Listener
    from karaoke_train.inference.transcribe import VoiceToNotes
    from karaoke_train.notes import Note

SCORES = ("onset", "onset_pitch", "note")
DRAWS = 2_000  # of the bootstrap
NAMES = {"onset": "COn", "onset_pitch": "COnP", "note": "COnPOff"}


def mean_interval(values: np.ndarray) -> np.ndarray:
    """Between which values the mean over songs lies, by the choice of songs, at 95 %: (songs, …)
    to (2, …).

    Percentiles of DRAWS means over as many songs drawn with replacement (Efron 1979), the same at
    each call.
    """
    drawn = np.random.default_rng(0).integers(len(values), size=(DRAWS, len(values)))
    return np.asarray(np.percentile(values[drawn].mean(axis=1), [2.5, 97.5], axis=0))


@dataclass(frozen=True)
class SongScore:
    """One song's counts; `metrics` are shares from 0 to 1."""

    name: str
    counts: Counts

    @property
    def metrics(self) -> dict[str, float]:
        """Note metrics and pitch metrics by name."""
        return {**self.counts.note_metrics(), **self.counts.pitch_metrics()}


@dataclass(frozen=True)
class Evaluation:
    """All songs' scores."""

    songs: list[SongScore]
    problems: list[str] = field(default_factory=list)  # songs that could not be read, and why

    @property
    def overall(self) -> dict[str, float]:
        """Mean over songs of each metric."""
        rows = [song.metrics for song in self.songs]
        names = {name for row in rows for name in row}
        return {
            name: float(np.mean([row[name] for row in rows if name in row]))
            for name in sorted(names)
        }

    def interval(self, metric: str) -> tuple[float, float]:
        """Between which two values the mean over songs lies: see `mean_interval`."""
        values = [song.metrics[metric] for song in self.songs if metric in song.metrics]
        low, high = mean_interval(np.array(values))
        return float(low), float(high)

    @property
    def pooled(self) -> dict[str, float]:
        """The metrics of all notes counted together."""
        counts = total(song.counts for song in self.songs)
        return {**counts.note_metrics(), **counts.pitch_metrics()}

    def as_json(self) -> dict[str, Any]:
        """A stable document: songs, overall and its 95 % intervals, pooled, problems."""
        songs = [
            {"name": s.name, "notes": s.counts.reference, "found": s.counts.estimated, **s.metrics}
            for s in self.songs
        ]
        return {
            "songs": songs,
            "overall": self.overall,
            "overall_95": {name: list(self.interval(name)) for name in self.overall},
            "pooled": self.pooled,
            "problems": self.problems,
        }

    def as_table(self) -> str:
        """For the terminal: one line per song, then the overall lines; F1, precision and recall."""
        names = [one_line(song.name) for song in self.songs]
        width = max([12, *map(cells, names)])
        head = f"{'':{width}}  {'notes':>6} {'found':>6}" + "".join(
            f"  {NAMES[score]:>7} {'P':>5} {'R':>5}" for score in SCORES
        )
        lines = [head]
        for name, song in zip(names, self.songs, strict=True):
            sizes = f"{song.counts.reference:>6} {song.counts.estimated:>6}"
            lines.append(f"{padded(name, width)}  {sizes}{_cells(song.metrics)}")
        counts = total(song.counts for song in self.songs)
        sizes = f"{counts.reference:>6} {counts.estimated:>6}"
        lines.append(f"{'mean of songs':{width}}  {sizes}{_cells(self.overall)}")
        lines.append(f"{'all notes':{width}}  {sizes}{_cells(self.pooled)}")
        return "\n".join(lines)


def evaluate(
    model: VoiceToNotes,
    songs: Sequence[Song],
    *,
    options: DecodeOptions | None = None,
    progress: bool = False,
) -> Evaluation:
    """Transcribe each song and compare; one that can't be read is a problem, the rest goes on."""
    scores: list[SongScore] = []
    problems: list[str] = []
    for song in tqdm(songs, desc="evaluating", unit="song", disable=not progress):
        try:
            scores.append(SongScore(song.name, _counts(model, song, options)))
        except AudioError as error:
            problems.append(str(error))
    return Evaluation(scores, problems)


def _counts(model: VoiceToNotes, song: Song, options: DecodeOptions | None) -> Counts:
    """Raises AudioError."""
    decoder = Decoder(model.settings, options)
    notes: list[Note] = []
    pitches: list[np.ndarray] = []
    for part in model.listen(song):
        notes += decoder.feed(part)
        pitches.append(frame_pitch(part.pitch, model.settings))
    notes += decoder.end()
    return count_notes(song.notes, notes) + count_pitches(np.concatenate(pitches), song.notes)


def evaluate_peer(listen: Listener, songs: Sequence[Song], *, progress: bool = False) -> Evaluation:
    """Another program's notes, compared as our own are; songs that can't be read are problems."""
    scores: list[SongScore] = []
    problems: list[str] = []
    for song in tqdm(songs, desc="listening", unit="song", disable=not progress):
        try:
            samples = song.load()
        except AudioError as error:
            problems.append(str(error))
            continue
        scores.append(SongScore(song.name, count_notes(song.notes, listen(samples))))
    return Evaluation(scores, problems)


def compared(contenders: Mapping[str, Evaluation]) -> str:
    """For the terminal: a line per contender, the mean over songs and its 95 % interval."""
    width = max(map(cells, contenders))
    lines = [f"{'':{width}}" + "".join(f"  {NAMES[score]:^21}" for score in SCORES)]
    for name, result in contenders.items():
        numbers = ""
        for score in SCORES:
            low, high = result.interval(f"{score}_f1")
            numbers += f"  {result.overall[f'{score}_f1']:.3f} ({low:.3f}-{high:.3f})"
        lines.append(f"{padded(name, width)}{numbers}")
    return "\n".join(lines)


def _cells(metrics: dict[str, float]) -> str:
    triples = [[metrics[f"{s}_{kind}"] for kind in ("f1", "precision", "recall")] for s in SCORES]
    return "".join(f"  {f1:7.3f} {p:5.2f} {r:5.2f}" for f1, p, r in triples)
