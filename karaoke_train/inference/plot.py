"""Numbers in, pictures out: a line of blocks for the terminal, PNGs for curves and piano rolls.

matplotlib is imported with the first picture: half a second that training need not begin with.
"""

# mypy: allow-untyped-calls
# (matplotlib is typed in part only)

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from karaoke_train.atomic_file import replacing
from karaoke_train.audio.units import FRAME_SECONDS
from karaoke_train.runlog.plain_text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from karaoke_train.audio.features import FeatureSettings
    from karaoke_train.notes import Note

BLOCKS = "▁▂▃▄▅▆▇█"
REFERENCE, PREDICTED = "#ffffff", "#ff5d5d"


def sparkline(values: Sequence[float], *, low: float | None = None) -> str:
    """One block per value, from the lowest to the highest; what isn't finite is a space.

    low: the value of the lowest block, when it shouldn't be the smallest one seen.
    """
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return " " * len(values)
    bottom = min(finite) if low is None else low  # a flat line is drawn half high, or lowest
    span = max(finite) - bottom
    level = 0.5 if low is None else 0.0
    return "".join(_block((v - bottom) / span if span else level, v) for v in values)


def curves_png(path: Path, curves: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    """Curves over epochs, one panel for losses and one for shares from 0 to 1.

    curves: name ("train/loss", "val/note_accuracy", …) -> points (epoch, value).
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    losses, shares = figure.subplots(1, 2)
    for name, points in curves.items():
        axis = losses if name.endswith("loss") else shares
        style = {"linestyle": "--" if name.startswith("train/") else "-", "marker": "."}
        axis.plot([p[0] for p in points], [p[1] for p in points], label=name, **style)
    losses.set(xlabel="epoch", ylabel="loss")
    shares.set(xlabel="epoch", ylim=(-0.02, 1.02))
    for axis in (losses, shares):
        axis.grid(alpha=0.3)
        if axis.lines:
            axis.legend(fontsize=7)
    _save(figure, path)


def piano_roll_png(
    path: Path,
    spectrogram: np.ndarray,
    settings: FeatureSettings,
    predicted: Sequence[Note],
    reference: Sequence[Note] = (),
    *,
    title: str = "",
) -> None:
    """Notes over the log-frequency spectrogram: reference outlined white, prediction red.

    spectrogram: (frequency bins, frames) as `features.log_frequency` gives it; at most some minutes
    of it are worth drawing.
    """
    from matplotlib.figure import Figure

    bottom = settings.spectrogram_min
    seconds = spectrogram.shape[1] * FRAME_SECONDS
    figure = Figure(figsize=(min(30.0, 4 + seconds * 0.8), 4.5))
    # The labels need the same room in each picture: found out anew by drawing the axes several
    # times (matplotlib's layout="constrained"), it was a third of what a picture took
    _set_margins(figure, left=0.75, right=0.15, bottom=0.5, top=0.35)
    axis = figure.subplots()
    top = bottom + spectrogram.shape[0] / settings.bins_per_semitone
    axis.imshow(
        spectrogram,
        origin="lower",
        aspect="auto",
        cmap="viridis",
        extent=(0, seconds, bottom, top),
        interpolation="nearest",
    )
    _draw_bars(axis, reference, REFERENCE, height=1.0, filled=False)
    _draw_bars(axis, predicted, PREDICTED, height=0.5, filled=True)
    pitches = [note.pitch for note in (*predicted, *reference)] or [bottom + 12, settings.midi_max]
    axis.set(
        xlim=(0, seconds),
        ylim=(max(bottom, min(pitches) - 5), min(top, max(pitches) + 8)),
        xlabel="seconds",
        ylabel="MIDI pitch",
        title=title,
    )
    _save(figure, path)


def _block(share: float, value: float) -> str:
    if not math.isfinite(value):
        return " "
    return BLOCKS[max(0, min(len(BLOCKS) - 1, int(share * len(BLOCKS))))]


def _draw_bars(
    axis: Axes, notes: Sequence[Note], colour: str, *, height: float, filled: bool
) -> None:
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    bars = [Rectangle((n.onset, n.pitch - height / 2), n.duration, height) for n in notes]
    axis.add_collection(
        PatchCollection(
            bars,
            facecolor=colour if filled else "none",
            edgecolor=colour,
            alpha=0.75 if filled else 1.0,
        )
    )


def _set_margins(figure: Figure, *, left: float, right: float, bottom: float, top: float) -> None:
    """The room around the axes, in inches."""
    width, height = figure.get_size_inches()
    figure.subplots_adjust(
        left=left / width, right=1 - right / width, bottom=bottom / height, top=1 - top / height
    )


def _save(figure: Figure, path: Path) -> None:
    """Whole or not at all. The canvas is made here: no window system, no global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    for axis in figure.axes:
        legend = axis.get_legend()
        for text in (axis.title, *(legend.get_texts() if legend else ())):
            text.set_parse_math(False)  # a name with dollars in it is no formula
            text.set_text(one_line(text.get_text()))
    with replacing(path) as file:
        FigureCanvasAgg(figure).print_png(file, pil_kwargs={"compress_level": 1})
