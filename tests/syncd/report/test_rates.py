"""How fast a run is uploaded, and how far it is behind, from what status says each time."""

from __future__ import annotations

import pytest

from syncd.report.rates import WINDOW, Pace, Rates
from syncd.report.status import RunState, RunStatus

RUN = RunStatus("r", "n", "p", "/logs/a", RunState.WAITING)


def seen(rates: Rates, now: float, records: int, uploaded: int) -> Pace:
    run = RUN._replace(records=records, uploaded=uploaded, pending=records - uploaded)
    return rates.observe(now, [run])[RUN.path]


def test_rates_are_those_of_the_last_while() -> None:
    rates = Rates()
    assert seen(rates, 0.0, 100, 0) == Pace()
    assert seen(rates, 2.0, 120, 60) == Pace(written=10.0, uploaded=30.0, behind=2.0)
    for second in range(3, 100):
        pace = seen(rates, float(second), 120, 60)
    assert (pace.written, pace.uploaded) == (0.0, 0.0)
    assert pace.behind == 99.0


def test_behind_is_the_age_of_the_oldest_record_that_waits() -> None:
    rates = Rates()
    seen(rates, 0.0, 10, 10)
    assert seen(rates, 1.0, 12, 10).behind == 0.0
    assert seen(rates, 3.0, 14, 10).behind == 2.0
    assert seen(rates, 4.0, 15, 12).behind == 1.0
    assert seen(rates, 5.0, 15, 15).behind == 0.0


def test_a_run_that_does_not_get_on_takes_no_more_and_more_memory() -> None:
    rates = Rates()
    for second in range(5000):
        pace = seen(rates, float(second), second + 1, 0)
    assert pace.behind == 4999.0
    assert pace.written == pytest.approx(1.0)
    (kept,) = rates._seen.values()
    assert len(kept.came) < 1000
    assert len(kept.late) <= WINDOW + 1


def test_a_run_that_is_gone_is_forgotten() -> None:
    rates = Rates()
    seen(rates, 0.0, 10, 0)
    rates.observe(1.0, [])
    assert seen(rates, 2.0, 10, 0) == Pace()
