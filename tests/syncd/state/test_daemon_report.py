"""How long a daemon has said nothing: by a clock that nobody sets, as long as that one speaks."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from karaoke_train.runlog.lock import Holder
from syncd.state.daemon_report import DaemonReport, hung_for, silence

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
        (DaemonReport(), replace(HOLDER, pid=0), 90.0),  # a full disk takes neither
    ],
    ids=["another machine", "after a boot", "a predecessor", "no time", "no name, no report"],
)
def test_where_the_machines_clock_says_nothing_the_calendar_does(
    said: DaemonReport, holder: Holder, seconds: float
) -> None:
    assert silence(said, holder, NOW) == seconds


def test_a_silence_counts_as_hanging_once_it_is_too_long() -> None:
    assert hung_for(report(by_its_clock=20.0), HOLDER) == 0.0
    assert hung_for(report(by_its_clock=40.0), HOLDER) == pytest.approx(40.0, abs=5.0)


def test_a_report_is_nobodys_where_no_process_is_known() -> None:
    assert report().is_by(HOLDER)
    assert not report().is_by(Holder(pid=8))
    assert not report().is_by(None)
    assert not DaemonReport().is_by(Holder("unknown host", 0, "unknown"))
