"""Lines of a log as curves: names, x axes, resumed runs, values that are no numbers."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karaoke_train.runlog.reader import Position
from karaoke_train.runlog.timestamps import parse_timestamp
from syncd.report.curves import Curve, XAxis, curves, matching, smoothed, thinned
from syncd.source.lines import Lines
from tests.syncd.world import CREATED, config_line, end_line, train_line

LATER = "2024-01-15T14:30:32.000+00:00"  # 10 s after CREATED


def record(**fields: object) -> bytes:
    return json.dumps(fields).encode() + b"\n"


def read(data: bytes, x: XAxis = XAxis.STEP) -> dict[str, Curve]:
    return curves(Lines.of(data, Position()), parse_timestamp(CREATED, 0.0), x)


def drawn(curve: Curve) -> list[tuple[float, float]]:
    return list(zip(curve.xs, curve.ys, strict=True))


def val(step: int, loss: object, epoch: float = 1.0) -> bytes:
    return record(
        type="val", timestamp=LATER, step=step, epoch=epoch, **{"val/loss": loss}
    )  # fmt: skip


def test_metrics_have_the_names_that_they_have_at_a_server() -> None:
    summary = record(type="epoch_summary", epoch=0, train_loss=0.5, val_metrics={"val/f1": 1})
    found = read(config_line() + train_line(1) + val(2, 0.5) + summary + end_line())
    assert list(found) == [
        "train/loss", "val/loss", "epoch_summary/train_loss", "epoch_summary/val/f1",
    ]  # fmt: skip


@pytest.mark.parametrize(("x", "at"), [(XAxis.STEP, 7), (XAxis.EPOCH, 0.25), (XAxis.TIME, 10)])
def test_a_curve_is_drawn_over_steps_epochs_or_seconds(x: XAxis, at: float) -> None:
    found = read(config_line() + val(7, 0.5, epoch=0.25), x)
    assert drawn(found["val/loss"]) == [(at, 0.5)]


def test_a_row_without_a_step_stands_where_the_row_before_it_does() -> None:
    found = read(config_line() + train_line(9) + record(type="epoch_summary", train_loss=0.5))
    assert drawn(found["epoch_summary/train_loss"]) == [(9, 0.5)]


def test_steps_that_are_logged_again_replace_those_of_the_earlier_attempt() -> None:
    first = config_line() + train_line(1) + train_line(2) + val(2, 0.9) + train_line(3)
    again = config_line(attempt=2, resumed=True) + record(
        type="train", step=2, **{"train/loss": 0.25}
    )
    found = read(first + again)
    assert drawn(found["train/loss"]) == [(1, 0.5), (2, 0.25)]
    assert drawn(found["val/loss"]) == []


def test_values_that_are_no_finite_numbers_are_counted_with_the_place_of_the_first() -> None:
    found = read(config_line() + val(1, 0.5) + val(2, "NaN") + val(3, "Infinity") + val(4, 0.25))
    assert drawn(found["val/loss"]) == [(1, 0.5), (4, 0.25)]
    assert (found["val/loss"].lost, found["val/loss"].lost_at) == (2, 2)


def test_texts_lists_flags_and_bad_lines_are_no_metrics() -> None:
    odd = record(type="train", step=1, a="text", b=[1], c=True, d={"e": 1}, f=10**30)
    found = read(config_line() + b"bad\n\n" + odd)
    assert list(found) == ["f"]


def test_a_glob_matches_across_slashes() -> None:
    assert matching(["train/loss", "val/loss", "val/f1"], ["*loss", "x*"]) == [
        "train/loss", "val/loss",
    ]  # fmt: skip


def test_smoothing_keeps_a_flat_curve_flat_and_its_first_value() -> None:
    assert smoothed([2.0, 2.0, 2.0], 0.9) == pytest.approx([2, 2, 2])
    assert smoothed([1.0, 0.0], 0.5) == pytest.approx([1, 1 / 3])


@given(
    st.lists(st.tuples(st.floats(0, 9), st.floats(-9, 9)), max_size=60), st.integers(2, 20)
)  # fmt: skip
def test_thinning_keeps_the_extremes_and_the_order(
    points: list[tuple[float, float]], most: int
) -> None:
    points = sorted(points)
    few = thinned(points, most)
    assert len(few) <= most or len(points) <= most
    assert list(few) == sorted(few)
    if points:
        for extreme in (min, max):
            assert extreme(y for _, y in few) == extreme(y for _, y in points)
