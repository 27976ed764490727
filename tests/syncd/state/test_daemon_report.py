"""How long a daemon has said nothing: by a clock that nobody sets, as long as that one speaks."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from karaoke_train.runlog.lock import Holder
from syncd.state.daemon_report import DaemonReport, silence

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOLDER = Holder(pid=7, since=(NOW - timedelta(seconds=90)).isoformat())


def report(pid: int = 7, ago: float = 20.0, by_its_clock: float = 5.0) -> DaemonReport:
    updated = (NOW - timedelta(seconds=ago)).isoformat()
    return DaemonReport(pid=pid, updated=updated, ticks=time.monotonic() - by_its_clock)


def test_a_calendar_that_was_set_makes_no_difference() -> None:
    assert silence(report(ago=1e8), HOLDER, NOW) == pytest.approx(5.0, abs=1.0)


@pytest.mark.parametrize(
    ("said", "holder", "seconds"),
    [
        (report(), Holder("elsewhere", 7), 20.0),  # whose clock is another
        (report(by_its_clock=-1e6), HOLDER, 20.0),  # it has begun anew since
        (report(pid=6), HOLDER, 90.0),  # its predecessor's: it has just begun
        (DaemonReport(pid=7, updated="never"), HOLDER, 0.0),
    ],
    ids=["another machine", "after a boot", "a predecessor", "no time"],
)
def test_where_the_machines_clock_says_nothing_the_calendar_does(
    said: DaemonReport, holder: Holder, seconds: float
) -> None:
    assert silence(said, holder, NOW) == seconds
