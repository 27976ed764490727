"""The one factor for all waits."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from tests import patience

HERE = Path(__file__).parent
# a limit in seconds that a wait, a process or a test is given as a plain number
PLAIN = re.compile(
    r"\btimeout=[1-9]|\bwait\(\d|\bjoin\(\d|mark\.timeout\(\d|"
    r"(?:monotonic|perf_counter|time)\(\)(?: - \w+)? *(?:\+|<|<=) *\d"
)


@pytest.mark.parametrize(("given", "factor"), [(None, 1.0), ("", 1.0), ("2.5", 2.5), ("0.1", 0.1)])
def test_the_factor_is_1_unless_the_environment_has_another(
    monkeypatch: pytest.MonkeyPatch, given: str | None, factor: float
) -> None:
    monkeypatch.delenv(patience.VARIABLE, raising=False)
    if given is not None:
        monkeypatch.setenv(patience.VARIABLE, given)
    assert patience.factor() == factor


@pytest.mark.parametrize("given", ["much", "0", "-1", "nan", "inf"])
def test_a_factor_that_is_none_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv(patience.VARIABLE, given)
    with pytest.raises(ValueError, match=f"{patience.VARIABLE} has to be a number .*{given}"):
        patience.factor()


def test_a_wait_lasts_as_long_as_the_factor_says_and_names_what_did_not_happen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patience, "FACTOR", 3.0)
    begun = time.monotonic()
    with pytest.raises(AssertionError, match="the sun rises"):
        patience.until(lambda: False, "the sun rises", 0.1)
    assert time.monotonic() - begun >= 3 * 0.1


def test_a_wait_returns_what_its_condition_said() -> None:
    said = iter([0, "", 7])
    assert patience.until(lambda: next(said)) == 7
    assert patience.eventually(lambda: True, 0)
    assert not patience.eventually(lambda: False, 0)


def test_every_test_has_the_ini_files_time_times_the_factor(pytestconfig: pytest.Config) -> None:
    limit = pytestconfig.getoption("timeout")
    assert limit is not None
    if "--timeout" not in " ".join(map(str, pytestconfig.invocation_params.args)):
        assert limit == patience.patience(float(pytestconfig.getini("timeout")))


def test_no_limit_of_a_test_is_a_plain_number_of_seconds() -> None:
    found = [
        f"{path.relative_to(HERE)}:{number}: {line.strip()}"
        for path in sorted(HERE.rglob("*.py"))
        if path != Path(__file__)
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if PLAIN.search(line)
    ]
    assert found == []
