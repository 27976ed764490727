"""Which runs the table shows, in which order, and what it says of the others."""

from __future__ import annotations

import pytest

from syncd.report.selection import named, select
from syncd.report.status import RunState, RunStatus

RUN = RunStatus("id", "name", "p", "/logs/a", RunState.UPLOADED, records=5, uploaded=5)
OLD = RUN._replace(name="old", run_id="aaa", created="2024-01-15T10:00:00+00:00")
NEW = RUN._replace(name="new", run_id="bbb", created="2024-03-15T10:00:00+00:00")
WAITS = RUN._replace(name="waits", run_id="ccc", state=RunState.WAITING, pending=2)
LIVE = RUN._replace(name="lives", run_id="ddd", live=True)
TROUBLED = WAITS._replace(name="ill", run_id="eee", problem="HTTP 403")
COPY = RUN._replace(name="copy", run_id="fff", state=RunState.COPY, problem="a copy")
RUNS = [OLD, NEW, WAITS, LIVE, TROUBLED, COPY]


def names(*wanted: str, limit: int | None = None) -> list[str]:
    return [run.name for run in select(RUNS, wanted, limit).shown]


def test_troubled_live_and_waiting_runs_come_first_then_the_newest() -> None:
    assert names() == ["ill", "copy", "lives", "waits", "new", "old"]


def test_what_is_left_out_is_counted_by_state() -> None:
    chosen = select(RUNS, (), 2)
    assert [run.name for run in chosen.shown] == ["ill", "copy"]
    assert str(chosen) == "and 4 more: 3 uploaded, 1 waiting"
    assert str(select(RUNS, (), 6)) == str(select(RUNS, (), None)) == ""


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (("waiting",), ["ill", "waits"]),
        (("live",), ["lives"]),
        (("trouble",), ["ill", "copy"]),
        (("new",), ["new"]),
        (("aaa",), ["old"]),
        (("l*",), ["lives"]),
        (("new", "live"), ["lives", "new"]),
        (("nobody",), []),
    ],
)
def test_a_filter_is_a_state_or_a_part_of_a_name_or_id(
    wanted: tuple[str, ...], found: list[str]
) -> None:
    assert names(*wanted) == found


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("aaa", ["old"]),  # an id
        ("new", ["new"]),  # a name, though another begins so
        ("newe", ["newer"]),  # a unique beginning of a name
        ("bb", ["new"]),  # and of an id
        ("ne", ["new", "newer"]),
        ("nobody", []),
        ("", []),  # though all begin with it
    ],
)
def test_a_run_is_meant_by_its_id_its_name_or_the_beginning_of_either(
    word: str, found: list[str]
) -> None:
    newer = NEW._replace(name="newer", run_id="ggg")
    other = NEW._replace(name="called aaa", run_id="hhh")
    assert [run.name for run in named([OLD, NEW, newer, other], word)] == found


def test_a_later_part_is_not_meant_by_the_id_of_its_run() -> None:
    """To forget the first one would leave out the other."""
    part = NEW._replace(run_id="job42.0c05c2a4", name="part")
    assert named([part], "job42") == []
    assert named([part], "job42.0c") == [part]


def test_a_run_that_is_named_like_a_token_is_shown_and_named_otherwise() -> None:
    token = "hf_" + "aB" * 17
    assert (OLD.label, OLD._replace(name=token).label) == ("old", "aaa")
    both = OLD._replace(name=token, run_id=token, path="/logs/training_log_a.jsonl")
    assert both.label == "training_log_a.jsonl"
    for word in (token, both.label, both.path):
        assert named([NEW, both], word) == [both]
    assert OLD._replace(name=" ").label == "aaa"
