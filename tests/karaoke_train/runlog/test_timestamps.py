"""Any writer's time -> seconds, the same on every machine."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karaoke_train.runlog import timestamps
from karaoke_train.runlog.timestamps import format_timestamp, parse_timestamp, timestamp_now

NOON = "2024-01-15T12:00:00+00:00"
AT_NOON = 1705320000.0
OTHERWISE = -1.5


@pytest.mark.parametrize(
    ("timestamp", "seconds"),
    [
        (NOON, AT_NOON),
        ("2024-01-15T12:00:00Z", AT_NOON),
        ("2024-01-15T13:00:00+01:00", AT_NOON),
        ("2024-01-15T12:00:00.250", AT_NOON + 0.25),
        (12.5, 12.5),
        (12, 12.0),
        ("0001-01-01T00:00:00+14:00", -62135647200.0),
        ("9999-12-31T23:59:59-14:00", 253402351199.0),
    ],
)
def test_iso_texts_and_numbers_are_read(timestamp: object, seconds: float) -> None:
    assert parse_timestamp(timestamp, OTHERWISE) == seconds


@pytest.mark.parametrize(
    "timestamp", ["never", "", None, True, math.inf, math.nan, 10**400, [], {}, [NOON], b"2024"]
)
def test_anything_else_is_what_the_caller_says(timestamp: object) -> None:
    assert parse_timestamp(timestamp, OTHERWISE) == OTHERWISE


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
def test_a_time_without_offset_is_utc_wherever_it_is_read(
    zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        assert parse_timestamp("2024-01-15T12:00:00", OTHERWISE) == AT_NOON
    time.tzset()


@given(
    st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29)),
    st.integers(-14 * 60, 14 * 60),
)
def test_what_is_written_is_read_to_the_millisecond(naive: datetime, offset: int) -> None:
    moment = naive.replace(tzinfo=timezone(timedelta(minutes=offset)))
    seconds = parse_timestamp(format_timestamp(moment), OTHERWISE)
    expected = (moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()
    assert expected - 0.002 < seconds < expected + 0.001


@given(st.text() | st.integers() | st.floats() | st.none() | st.lists(st.text()))
def test_no_value_raises(timestamp: object) -> None:
    assert math.isfinite(parse_timestamp(timestamp, OTHERWISE))


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/St_Johns"])
def test_now_is_written_as_any_moment_is(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Within a second, into the next, back, and over both changes of Berlin's clocks
    moments = [1.0, 1.001, 1.999, 2.0, 1.5, 1711846799.999, 1711846800.0]
    moments += [1729990799.5, 1729990800.0, 1729994399.999, 1729994400.25]
    with monkeypatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        patch.setattr(timestamps, "_second", (-1, "", ""))
        for moment in moments:
            nanoseconds = round(moment * 1000) * 1_000_000 + 999_999  # cut off, not rounded
            patch.setattr(time, "time_ns", lambda now=nanoseconds: now)
            whole = datetime.fromtimestamp(moment).astimezone()
            assert timestamp_now() == format_timestamp(whole)
    time.tzset()


def test_the_time_zone_is_asked_once_per_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 7_000_000_000)
    monkeypatch.setattr(timestamps, "_second", (-1, "", ""))
    first = timestamp_now()
    monkeypatch.setattr(timestamps, "datetime", None)
    assert timestamp_now() == first
    monkeypatch.setattr(time, "time_ns", lambda: 7_250_000_000)
    assert timestamp_now() == first.replace(".000", ".250")
