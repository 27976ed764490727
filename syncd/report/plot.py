"""Curves of runs -> pictures: in the terminal by plotext, as PNG or SVG by matplotlib."""

# mypy: allow-untyped-calls
# (plotext and matplotlib are typed in part only)

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from karaoke_train.runlog.plain_text import one_line
from karaoke_train.runlog.timestamps import parse_timestamp
from syncd.errors import SyncError, UsageError, unreadable
from syncd.report.curves import Curve, XAxis, curves, matching, smoothed, thinned
from syncd.report.export import replacing
from syncd.source import tailer
from syncd.source.scanner import LogFile

# What is drawn when nobody says which: the losses, and all of it where there are none
LOSSES: Final = ("train/*loss", "val/*loss")
ALL: Final = ("*",)
MOST: Final = 100  # metrics that are drawn: of more, nobody sees one, and each takes a panel
PICTURES: Final = (".png", ".svg")
_LABELS: Final = {XAxis.STEP: "step", XAxis.EPOCH: "epoch", XAxis.TIME: "seconds since the start"}
_MARKERS: Final = ("braille", "+", "x", "o", "*", "#")  # what tells curves apart without colour
_SHOWN: Final = {"braille": "⣤", **{marker: marker for marker in _MARKERS[1:]}}
_COLOURS: Final = ("blue+", "orange+", "green+", "red+", "cyan+", "magenta+", "gray")
_LONGEST: Final = 100  # characters of a metric's name: matplotlib takes seconds for a long one
_DOTS: Final = 2  # columns of a braille character
_POINTS: Final = 4000  # of a curve in a picture, more than its columns


@dataclass(frozen=True, slots=True)
class Series:
    """A line of a panel: a metric of a run. raw: its values before they were smoothed, none where
    they weren't."""

    label: str
    points: Sequence[tuple[float, float]]
    raw: Sequence[tuple[float, float]] = ()


@dataclass(frozen=True, slots=True)
class Panel:
    """What is drawn over each other: metrics of one name, such as train/loss and val/loss."""

    title: str
    series: Sequence[Series]


@dataclass(frozen=True, slots=True)
class Plot:
    """All of it. x: what the panels are drawn over; notes: what they don't show; others: keys that
    were not asked for."""

    x: XAxis
    panels: Sequence[Panel]
    notes: Sequence[str]
    others: Sequence[str]


def plot(files: Sequence[LogFile], keys: Sequence[str], x: XAxis, smoothing: float) -> Plot:
    """The runs over each other. keys: globs; none of them means the losses. Raises SyncError when
    a file can't be read, UsageError when no key is like these."""
    runs = dict(zip(_names(files), (_read(file, x) for file in files), strict=True))
    there = list(dict.fromkeys(key for found in runs.values() for key in found))
    alike = matching(there, keys or LOSSES) or ([] if keys else matching(there, ALL))
    if not alike:
        raise UsageError(
            "there is no metric like " + ", ".join(keys) if keys else "there are no metrics yet",
            meaning="Nothing was drawn",
            remedy=f"There are {', '.join(map(_named, there[:MOST]))}"
            + (f" and {len(there) - MOST:,} more" if len(there) > MOST else "")
            if there
            else "Try again when steps are logged",
        )
    wanted, more = dict.fromkeys(alike[:MOST]), len(alike) - MOST
    cut = f"{more:,} more metrics than the {MOST} that are drawn are like these: --keys names fewer"
    return Plot(
        x,
        [
            Panel(_named(title), list(_series(runs, members, smoothing)))
            for title, members in _by_title(wanted).items()
        ],
        [*_lost(runs, wanted, x), *([cut] if more > 0 else ())],
        [_named(key) for key in there if key not in wanted],
    )


def in_terminal(what: Plot, *, width: int, height: int, colour: bool) -> str:
    """The panels below each other. height: rows of each."""
    return "\n".join(_drawn(panel, what.x, width, height, colour) for panel in what.panels)


def to_file(what: Plot, path: Path) -> None:
    """The panels as a PNG or SVG, by the name's end. Raises UsageError, SyncError, OSError."""
    form = path.suffix.lower()
    if form not in PICTURES:
        raise UsageError(
            f"{path} is neither .png nor .svg",
            meaning="Nothing was written",
            remedy="End its name in one of these",
        )
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise SyncError(
            "pictures are drawn by matplotlib, which is not installed",
            meaning="Nothing was written",
            remedy="pip install 'karaoke-train[plot]', or leave out -o for curves in the terminal",
        ) from None
    columns = min(2, len(what.panels))
    rows = -(-len(what.panels) // columns)
    figure = Figure(figsize=(6.4 * columns, 3.6 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).flat
    for axis, panel in zip(axes, what.panels, strict=False):
        for series in panel.series:
            marker = "o" if len(series.points) == 1 else ""  # a line of one point is not seen
            (line,) = axis.plot(
                *_columns(series.points, _POINTS), marker=marker, label=series.label
            )
            if series.raw:
                axis.plot(*_columns(series.raw, _POINTS), color=line.get_color(), alpha=0.25)
        axis.set_title(panel.title, parse_math=False)  # a name with dollars in it is no formula
        axis.set(xlabel=_LABELS[what.x])
        axis.grid(alpha=0.3)
        for text in axis.legend(fontsize=7).get_texts():
            text.set_parse_math(False)
    for axis in list(figure.axes)[len(what.panels) :]:
        axis.set_visible(False)
    with replacing(path) as place:
        figure.savefig(place, format=form[1:])


def _read(file: LogFile, x: XAxis) -> dict[str, Curve]:
    started = parse_timestamp(file.header.created, 0.0)
    try:
        return curves(tailer.each_line(file.path), started, x)
    except OSError as error:
        raise unreadable(error, file.path) from None


def _names(files: Sequence[LogFile]) -> list[str]:
    """A name for each, with the run's id where names alone don't tell them apart."""
    names = [file.label for file in files]
    return [
        name if names.count(name) == 1 else f"{name} ({file.run_id})"
        for name, file in zip(names, files, strict=True)
    ]


def _by_title(keys: Iterable[str]) -> dict[str, list[str]]:
    """The keys by what they measure: train/loss and val/loss go together."""
    found: dict[str, list[str]] = {}
    for key in keys:
        found.setdefault(key.rpartition("/")[2], []).append(key)
    return found


def _series(
    runs: Mapping[str, Mapping[str, Curve]], keys: Sequence[str], smoothing: float
) -> list[Series]:
    return [
        _smooth(Series(_label(runs, name, key), _points(found[key])), smoothing)
        for name, found in runs.items()
        for key in keys
        if key in found and found[key].ys
    ]


def _label(runs: Mapping[str, object], name: str, key: str) -> str:
    return _named(key if len(runs) == 1 else f"{name}: {key}")


def _named(key: str) -> str:
    return one_line(key, _LONGEST)


def _points(curve: Curve) -> list[tuple[float, float]]:
    return list(zip(curve.xs, curve.ys, strict=True))


def _smooth(series: Series, weight: float) -> Series:
    if not weight:
        return series
    xs, ys = zip(*series.points, strict=True)
    return replace(
        series, points=list(zip(xs, smoothed(ys, weight), strict=True)), raw=series.points
    )


def _lost(runs: Mapping[str, Mapping[str, Curve]], keys: Collection[str], x: XAxis) -> list[str]:
    return [
        f"{name}: {_named(key)} was NaN or infinite {_times(curve.lost)}, which is not drawn; "
        f"first at {_LABELS[x]} {curve.lost_at:g}"
        for name, found in runs.items()
        for key in keys
        if (curve := found.get(key)) and curve.lost
    ]


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _columns(points: Sequence[tuple[float, float]], most: int) -> tuple[list[float], list[float]]:
    fewer = thinned(points, most)
    return [point[0] for point in fewer], [point[1] for point in fewer]


def _drawn(panel: Panel, x: XAxis, width: int, height: int, colour: bool) -> str:
    import plotext

    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plotsize(width, height)
    plotext.xlabel(_LABELS[x])
    names = []
    for number, series in enumerate(panel.series):
        xs, ys = _columns(series.points, 2 * _DOTS * width)
        ink = _COLOURS[number % len(_COLOURS)] if colour else "default"
        marker = "braille" if colour else _MARKERS[number % len(_MARKERS)]
        plotext.plot(xs, ys, marker=marker, color=ink)
        names.append(plotext.colorize(f"{_SHOWN[marker]} {series.label}", ink))
    # plotext's own legend lies over the curves
    text = f"{panel.title}   {'   '.join(names)}\n{plotext.build()}".rstrip("\n")
    return text if colour else plotext.uncolorize(text)
