"""What a person reads: is my data safe, what is left, what is wrong, what do I do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from syncd.errors import Connection
from syncd.report.page import Page
from syncd.report.render import FEWEST, SHOWN, View, fitting, render, render_all
from syncd.report.status import RunState, RunStatus, Status
from tests.syncd.report.test_status import BLOCKED, STATUS, WAITS

DONE = RunStatus(
    "r", "n", "p", "/logs/a", RunState.UPLOADED, records=5, uploaded=5, url="http://x/runs/r"
)


def shown(status: Status, view: View | None = None, **how: Any) -> str:
    page = Page(**({"width": 200} | how))
    render(status, page, view or View())
    return str(page)


def first_and_next(status: Status) -> tuple[str, str]:
    lines = shown(status).splitlines()
    return lines[0].strip(), next(line for line in lines if line.startswith("Next")).strip()


@pytest.mark.parametrize(
    ("status", "first", "then"),
    [
        (STATUS, "No runs yet in /logs", "Next  nothing to do"),
        (replace(STATUS, runs=(DONE,)), "All 5 records are on the server (1 run)",
         "Next  nothing to do"),
        (replace(STATUS, runs=(DONE._replace(records=1, uploaded=1),)),
         "The only record is on the server (1 run)", "Next  nothing to do"),
        (replace(STATUS, runs=(WAITS._replace(records=4, uploaded=1),)),
         "3 records wait, safe on disk; 1 is on the server", "Next  nothing to do"),
        (replace(STATUS, runs=(WAITS, DONE)), "3 records wait, safe on disk; 7 are on the server",
         "Next  nothing to do: the records are being uploaded"),
        (replace(STATUS, runs=(WAITS._replace(pending=1),)), "1 record wait",
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
        (replace(STATUS, runs=(WAITS,), running=False, destination="trackio", project="a b",
                 origin={"destinations": "the installed service", "project": "command line"}),
         "3 records wait",
         "Next  karaoke-syncd sync --log_dir /logs --project 'a b' --destination trackio   (once)"),
        (replace(STATUS, runs=(WAITS,), running=False, project="songs",
                 origin={"project": "KARAOKE_SYNCD_PROJECT"}),
         "3 records wait", "Next  karaoke-syncd sync --log_dir /logs   (once)"),
        (replace(STATUS, runs=(DONE._replace(state=RunState.ENDING),)),
         "1 run's end is yet to be told; 5 records are on the server",
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
    run = BLOCKED._replace(problem="it's shorter", meaning="All is safe", remedy="Retry it")
    assert "/logs/a: it's shorter. All is safe. Retry it." in shown(replace(STATUS, runs=(run,)))


def test_who_set_what_is_said() -> None:
    text = shown(replace(STATUS, project="songs", origin={"project": "command line"}))
    assert "songs (set by command line)" in text


def test_names_with_brackets_are_names() -> None:
    text = shown(replace(STATUS, runs=(DONE._replace(name="[red]x[/]", path="/[b]"),)))
    assert "[red]x[/]" in text


def test_of_many_runs_those_that_wait_are_shown_and_the_others_counted() -> None:
    runs = [DONE._replace(name=f"done-{n}") for n in range(30)]
    runs += [WAITS._replace(name=f"waits-{n}") for n in range(30)]
    text = shown(replace(STATUS, runs=tuple(runs)))
    assert "and 40 more: 30 uploaded, 10 waiting" in text
    assert text.count("waits-") == SHOWN
    assert "done-" not in text


def test_a_run_that_waits_for_a_decision_is_not_called_uploaded() -> None:
    lost = BLOCKED._replace(pending=0, code="lost_at_server", problem="the server holds 0 records")
    assert "All" not in first_and_next(replace(STATUS, runs=(lost,)))[0]


LONG = DONE._replace(
    name="a-very-long-name-of-a-run-that-somebody-gave-it", project="singing-in-the-rain",
    records=1_234_567, uploaded=1_234_567,
)  # fmt: skip


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_a_narrow_terminal_folds_no_name_and_cuts_no_number(width: int) -> None:
    page = shown(replace(STATUS, runs=(LONG, WAITS)), width=width)
    rows = page.partition("\nRun ")[2].splitlines()[1:3]
    assert all(len(row) <= width for row in rows)
    assert rows[1].startswith("a-very-l")
    assert "1,234,567" in rows[1]


def test_the_verdict_folds_between_words_alone() -> None:
    head = shown(replace(STATUS, runs=(WAITS, LONG)), width=30).partition("\nNext")[0]
    assert head.splitlines() == ["3 records wait, safe on disk;", "1,234,569 are on the server"]


def test_names_lead_to_their_pages_where_the_terminal_has_links() -> None:
    link = "\x1b]8;"
    status = replace(STATUS, runs=(DONE,))
    assert f"{link};http://x/runs/r\x1b\\n{link};" in shown(status, links=True)
    plain = shown(status)
    assert link not in plain
    assert "http://x/runs/r" not in plain
    assert "karaoke-syncd status --links" in plain


def test_links_are_told_in_full_however_narrow_it_is() -> None:
    run = DONE._replace(url="http://x/" + "y" * 90)
    lines = shown(replace(STATUS, runs=(run,)), View(links=True), width=40).splitlines()
    assert f"  {run.url}  n" in lines


def test_a_low_terminal_has_room_for_the_verdict() -> None:
    def room(height: int) -> int:
        return fitting(Page(100, height, is_terminal=True))

    assert (room(10), room(24), room(200)) == (FEWEST, 6, SHOWN)
    assert fitting(Page(100, 10)) == SHOWN


def test_of_many_problems_the_first_are_told_and_the_others_counted() -> None:
    runs = tuple(BLOCKED._replace(path=f"/logs/{n}", problem="it's shorter") for n in range(30))
    text = shown(replace(STATUS, runs=runs))
    assert text.count("it's shorter") == SHOWN
    assert "and 10 more: --all --filter trouble shows them" in text
    assert shown(replace(STATUS, runs=runs), View(limit=None)).count("it's shorter") == 30


def test_what_one_of_two_destinations_does_not_know_is_not_said_of_it() -> None:
    gone = DONE._replace(run_id="gone", name="gone", state=RunState.MISSING, uploaded=3, records=3)
    later = gone._replace(run_id="later", name="later", path="/logs/later", uploaded=1, records=1)
    held = DONE._replace(state=RunState.ELSEWHERE, uploaded=0, holder="process 7")
    first = replace(STATUS, runs=(DONE, gone))
    second = replace(STATUS, destination="trackio", runs=(held, later))
    page = Page(200)
    render_all([first, second], page)
    rows = [line.split() for line in str(page).splitlines()]
    assert ["n", "5", "5", "uploaded", "?", "another", "daemon's"] in rows
    assert ["gone", "3", "3", "missing", "–"] in rows
    assert ["later", "1", "–", "1", "missing"] in rows


def test_who_set_the_servers_address_is_said_of_the_server_alone() -> None:
    there = replace(STATUS, origin={"base_url": "a.toml"})
    here = replace(there, server="file://host/a%20b", needs_key=False)
    page = Page(200)
    render_all([there, here], page)
    assert "(set by a.toml)  online" in str(page)
    assert "Store    /a b  in use" in str(page)


def test_of_two_destinations_each_has_its_verdict_and_a_column() -> None:
    there = replace(STATUS, runs=(DONE,))
    here = replace(
        there, destination="trackio", place="in the store", needs_key=False,
        runs=(WAITS._replace(path=DONE.path, problem="no room"),),
    )  # fmt: skip
    page = Page(200)
    render_all([there, here], page)
    lines = str(page).splitlines()
    assert lines[0] == "wandb    All 5 records are on the server (1 run)"
    assert lines[1].startswith("trackio  3 records wait, safe on disk; 2 are in the store; 1 run")
    assert lines[2:4] == [
        "Next  wandb: nothing to do", "Next  trackio: n: nothing to do, it is tried again by itself"
    ]  # fmt: skip
    row = next(line for line in lines if line.startswith("n "))
    assert row.split() == ["n", "5", "5", "uploaded", "2", "waiting,", "in", "trouble"]
    assert "  trackio: /logs/a: no room." in lines
