"""What a person reads: is my data safe, what is left, what is wrong, what do I do."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from syncd.errors import Connection
from syncd.report.render import render
from syncd.report.status import RunState, RunStatus, Status
from tests.syncd.report.test_status import BLOCKED, STATUS, WAITS

DONE = RunStatus(
    "r", "n", "p", "/logs/a", RunState.UPLOADED, records=5, uploaded=5, url="http://x/runs/r"
)


def shown(status: Status) -> str:
    out = io.StringIO()
    render(status, Console(file=out, width=200, color_system=None))
    return out.getvalue()


def first_and_next(status: Status) -> tuple[str, str]:
    lines = shown(status).splitlines()
    return lines[0].strip(), next(line for line in lines if line.startswith("Next")).strip()


@pytest.mark.parametrize(
    ("status", "first", "then"),
    [
        (STATUS, "No runs yet in /logs", "Next  nothing to do"),
        (replace(STATUS, runs=(DONE,)), "All 5 records are on the server (1 run)",
         "Next  nothing to do"),
        (replace(STATUS, runs=(WAITS, DONE)), "3 records wait, safe on disk; 7 are on the server",
         "Next  nothing to do: the records are being uploaded"),
        (replace(STATUS, runs=(replace(WAITS, pending=1),)), "1 record wait",
         "Next  nothing to do: the records are being uploaded"),
        (replace(STATUS, runs=(WAITS,), running=False), "3 records wait, safe on disk",
         "Next  karaoke-syncd sync --log_dir /logs"),
        (replace(STATUS, runs=(WAITS,), connectivity=Connection.OFFLINE), "3 records wait",
         "Next  nothing to do: the records go up as soon as the server can be reached"),
        (replace(STATUS, runs=(WAITS,), running=False, connectivity=Connection.NOT_LOGGED_IN,
                 connectivity_remedy="Run `wandb login`"), "3 records wait",
         "Next  Run `wandb login`. Then: karaoke-syncd sync"),
        (replace(STATUS, runs=(DONE,), silent=150.0),
         "The daemon has not reported for 2 minutes: All 5 records are on the server",
         "Next  it hangs or is stopped"),
        (replace(STATUS, runs=(WAITS,), elsewhere="http://other"), "3 records wait",
         "Next  the daemon uploads to http://other: restart it"),
        (replace(STATUS, runs=(WAITS,), running=False, log_dirs=("/a b", "/it's")),
         "3 records wait", "Next  karaoke-syncd sync --log_dir '/a b' --log_dir '/it'\"'\"'s'"),
        (replace(STATUS, runs=(replace(DONE, state=RunState.ENDING),)),
         "All 5 records are on the server; how 1 run ended is yet to be told",
         "Next  nothing to do: the records are being uploaded"),
        (replace(STATUS, runs=(BLOCKED,)), "3 records wait",
         "Next  decide about the runs under “What is wrong”"),
    ],
)  # fmt: skip
def test_the_first_line_and_the_last(status: Status, first: str, then: str) -> None:
    found = first_and_next(status)
    assert found[0].startswith(first)
    assert found[1].startswith(then)


def test_each_problem_is_told_in_its_parts() -> None:
    run = replace(BLOCKED, problem="it's shorter", meaning="All is safe", remedy="Retry it")
    assert "/logs/a: it's shorter. All is safe. Retry it." in shown(replace(STATUS, runs=(run,)))


def test_who_set_what_is_said() -> None:
    text = shown(replace(STATUS, project="songs", origin={"project": "command line"}))
    assert "songs (set by command line)" in text


def test_names_with_brackets_are_names() -> None:
    text = shown(replace(STATUS, runs=(replace(DONE, name="[red]x[/]", path="/[b]"),)))
    assert "[red]x[/]" in text


def test_many_finished_runs_are_counted_and_those_with_work_all_shown() -> None:
    runs = [replace(DONE, name=f"done-{n}") for n in range(30)]
    runs += [replace(WAITS, name=f"waits-{n}") for n in range(30)]
    text = shown(replace(STATUS, runs=tuple(runs)))
    assert "and 10 more that are uploaded" in text
    assert "waits-29" in text
    assert "done-29" in text
    assert "done-9 " not in text


def test_a_run_that_waits_for_a_decision_is_not_called_uploaded() -> None:
    lost = replace(BLOCKED, pending=0, code="lost_at_server", problem="the server holds 0 records")
    assert "All" not in first_and_next(replace(STATUS, runs=(lost,)))[0]
