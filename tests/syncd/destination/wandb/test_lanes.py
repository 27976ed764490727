"""Which way lines go to a server that nobody has tried before, and what is remembered of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from syncd.destination.base import RunRef
from syncd.destination.wandb import filestream
from syncd.destination.wandb.credentials import Login
from syncd.destination.wandb.destination import WandbDestination
from syncd.destination.wandb.filestream import FileStream
from syncd.destination.wandb.lanes import MOST_REFUSED, NAME, REMEMBERED, Lane, Lanes
from syncd.errors import Contradiction, NotCounted, ProblemCode, RunRefused, RunTrouble, Unreachable
from syncd.settings import Limits
from tests.fakes.clock import FakeClock
from tests.fakes.wandb_server import WandbServer
from tests.fakes.wandb_state import HISTORY
from tests.fakes.wandb_world import World
from tests.syncd.destination.contract import Run
from tests.syncd.destination.wandb.test_filestream import DirectBench

A_RUN = RunRef("team", "songs", "a")


def a_run(number: int) -> RunRef:
    return RunRef("team", "songs", f"run{number}")


@pytest.mark.parametrize("asked", ["direct", "sdk"])
def test_what_the_settings_name_is_left_for_nothing(asked: str, tmp_path: Path) -> None:
    lanes = Lanes(asked, tmp_path)
    assert not lanes.leave("why")
    assert not lanes.leave_for(A_RUN, "why")
    assert (lanes.of(A_RUN), lanes.words) == (asked, f"{asked} (set)")


def test_a_server_that_was_left_is_remembered_with_the_reason(tmp_path: Path) -> None:
    lanes = Lanes("auto", tmp_path / "host")
    assert (lanes.server, lanes.words) == (Lane.DIRECT, "direct, not yet tried here")
    assert lanes.leave("it counted 3 lines of 6")
    again = Lanes("auto", tmp_path / "host")
    assert (again.server, again.words) == (Lane.SDK, "SDK, because it counted 3 lines of 6")
    assert Lanes("direct", tmp_path / "host").server is Lane.DIRECT


def test_a_server_that_was_left_is_tried_again_after_a_while(tmp_path: Path) -> None:
    clock = FakeClock()
    Lanes("auto", tmp_path, clock).leave("why")
    clock.advance(REMEMBERED - 1)
    assert Lanes("auto", tmp_path, clock).server is Lane.SDK
    clock.advance(2)
    assert Lanes("auto", tmp_path, clock).server is Lane.DIRECT


def test_a_server_that_counts_is_remembered_and_proved_anew_by_each_process(tmp_path: Path) -> None:
    lanes = Lanes("auto", tmp_path)
    lanes.counted()
    assert (lanes.counts, lanes.words) == (True, "direct")
    again = Lanes("auto", tmp_path)
    assert (again.counts, again.words) == (False, "direct")


def test_one_run_has_a_lane_of_its_own_and_several_are_the_server() -> None:
    lanes = Lanes("auto")
    assert lanes.leave_for(a_run(0), "HTTP 400")
    assert (lanes.of(a_run(0)), lanes.of(a_run(1))) == (Lane.SDK, Lane.DIRECT)
    for number in range(MOST_REFUSED):
        lanes.leave_for(a_run(number), "HTTP 400")
    assert (lanes.server, lanes.words) == (Lane.SDK, "SDK, because HTTP 400")


def test_runs_that_are_refused_say_nothing_against_a_server_that_counts() -> None:
    lanes = Lanes("auto")
    lanes.counted()
    for number in range(MOST_REFUSED):
        assert lanes.leave_for(a_run(number), "HTTP 400")
    assert (lanes.server, lanes.of(a_run(0))) == (Lane.DIRECT, Lane.SDK)


@pytest.mark.parametrize("asked", ["auto", "sdk"])
def test_a_run_with_lines_missing_goes_the_way_that_can_go_back_to_them(asked: str) -> None:
    lanes = Lanes(asked)
    lanes.leave("why")
    lanes.mend(A_RUN)
    assert (lanes.of(A_RUN), lanes.of(a_run(1))) == (Lane.DIRECT, Lane.SDK)


def test_what_is_remembered_from_the_future_is_forgotten(tmp_path: Path) -> None:
    clock = FakeClock()
    clock.advance(100.0)
    Lanes("auto", tmp_path, clock).leave("why")
    assert Lanes("auto", tmp_path, FakeClock()).server is Lane.DIRECT


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"lane": 3}', '{"lane":"sdk","why":"","at":"x"}']
)
def test_a_damaged_memory_is_none(content: str, tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(content)
    assert Lanes("auto", tmp_path).words == "direct, not yet tried here"


# --- on servers


@contextmanager
def destination(world: World, folder: Path) -> Iterator[tuple[WandbServer, WandbDestination]]:
    with WandbServer(folder / "server", entity="team", world=world) as server:
        login = Login(server.url, "team", server.key, "test")
        made = WandbDestination(login, Limits(count_stable_for=0.05), folder=folder)
        yield server, made
        made.close()


def opened(server: WandbServer, made: WandbDestination, lines: int = 6) -> tuple[Run, FileStream]:
    run = Run(DirectBench(server), lines=lines)
    uploader = made.uploader(run.target)
    assert isinstance(uploader, FileStream)
    uploader.open()
    return run, uploader


def test_a_server_that_counts_what_it_is_sent_keeps_the_direct_lane(tmp_path: Path) -> None:
    with destination(World.PROMPT, tmp_path) as (server, made):
        run, uploader = opened(server, made)
        assert made.max_sessions == Limits().open_streams
        uploader.send(run.lines)
        assert uploader.confirm() == len(run.lines)
        assert made.lane == "direct"


def test_a_server_that_counts_other_lines_gets_the_sdk_before_a_second_post(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filestream, "COUNTED_WITHIN", 0.0)
    with destination(World.PROMPT, tmp_path) as (server, made):
        run, uploader = opened(server, made)
        uploader.send(run.lines)
        server.fault("stale", endpoint="graphql", lag=2)
        with pytest.raises(RunTrouble, match="counted 4 lines of the 6"):
            uploader.confirm()
        assert made.lane == "SDK, because it counted 4 lines of the 6 that it was sent"
        assert made.max_sessions == Limits().open_runs
        assert not isinstance(made.uploader(run.target), FileStream)
        other = Run(DirectBench(server))
        late = FileStream(other.target, made._api, made._pace, made._lanes)
        late.open()
        with pytest.raises(RunTrouble, match="as expected"):
            late.send(other.lines)


def test_lines_in_the_places_of_others_are_their_runs_trouble_and_no_other_lane(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filestream, "COUNTED_WITHIN", 0.0)
    with destination(World.LINE_CURSOR, tmp_path) as (server, made):
        run, uploader = opened(server, made)
        uploader.send(run.lines.first(3))
        (there,) = server.store.runs.values()
        there.cursors[HISTORY] = 1  # a post of a killed session came late
        uploader.send(run.lines_from(3))
        with pytest.raises(Contradiction, match="counts 4 as before, and has line 4"):
            uploader.confirm()
        assert made.lane == "direct, not yet tried here"


def test_lines_in_the_places_of_others_are_no_sign_of_a_server_that_never_counts(
    tmp_path: Path,
) -> None:
    with destination(World.LINE_CURSOR, tmp_path) as (server, made):
        run, uploader = opened(server, made)
        uploader.send(run.lines.first(5))
        assert uploader.confirm() == 5
        again = made.uploader(replace(run.target, known=True, confirmed=5))
        assert again.open() == 5
        (there,) = server.store.runs.values()
        there.cursors[HISTORY] = 1
        again.send(run.lines_from(5))
        assert again.confirm() == 5
        assert isinstance(again.stalled(5, 6), Contradiction)
        assert made.lane == "direct"


def test_a_count_that_is_late_or_has_not_moved_says_nothing_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with destination(World.PROMPT, tmp_path) as (server, made):
        run, uploader = opened(server, made)
        uploader.send(run.lines)
        server.fault("stale", endpoint="graphql", lag=2, times=1)
        assert uploader.confirm() == 4  # within the time that a count may take
        monkeypatch.setattr(filestream, "COUNTED_WITHIN", 0.0)
        server.change_world(replace(World.PROMPT, counts=False))
        assert uploader.confirm() == 0
        assert made.lane == "direct, not yet tried here"


@pytest.mark.parametrize("status", [400, 404, 409, 422])
def test_a_first_post_that_is_refused_sends_that_run_alone_to_the_sdk(
    status: int, tmp_path: Path
) -> None:
    with destination(World.PROMPT, tmp_path) as (server, made):
        run, uploader = opened(server, made)
        server.fault("status", endpoint="file_stream", status=status, times=1)
        with pytest.raises(RunTrouble, match="by wandb's SDK"):
            uploader.send(run.lines)
        assert not isinstance(made.uploader(run.target), FileStream)
        assert isinstance(made.uploader(Run(DirectBench(server)).target), FileStream)
        assert made.lane == "direct, not yet tried here"


def test_a_later_post_that_is_refused_is_tried_again_the_same_way(tmp_path: Path) -> None:
    with destination(World.PROMPT, tmp_path) as (server, made):
        run, uploader = opened(server, made)
        uploader.send(run.lines.first(3))
        server.fault("status", endpoint="file_stream", status=400, times=1)
        with pytest.raises(RunTrouble, match="tried again by itself"):
            uploader.send(run.lines_from(3))
        assert isinstance(made.uploader(run.target), FileStream)


def test_an_answer_200_with_an_error_is_a_refusal(tmp_path: Path) -> None:
    with destination(replace(World.PROMPT, stream_error="no such run"), tmp_path) as (server, made):
        run, uploader = opened(server, made)
        with pytest.raises(RunTrouble, match="no such run"):
            uploader.send(run.lines)
        assert not isinstance(made.uploader(run.target), FileStream)


def test_a_run_that_the_server_does_not_make_waits_for_a_person(tmp_path: Path) -> None:
    with destination(World.PROMPT, tmp_path) as (server, made):
        server.fault("status", operation="UpsertBucket", status=400, message="bad project name")
        with pytest.raises(RunRefused, match="bad project name") as caught:
            opened(server, made)
        assert caught.value.code is ProblemCode.REFUSED
        assert made.lane == "direct, not yet tried here"


@pytest.mark.parametrize("kind", ["page", "foreign_json"])
@pytest.mark.parametrize("status", [404, 410, 413, 418, 422, 501])
def test_what_is_in_between_and_answers_for_the_server_refuses_no_run(
    kind: str, status: int, tmp_path: Path
) -> None:
    with destination(World.PROMPT, tmp_path) as (server, made):
        server.fault(kind, operation="UpsertBucket", status=status, times=1)
        with pytest.raises((Unreachable, RunTrouble)):
            opened(server, made)
        run, uploader = opened(server, made)
        uploader.send(run.lines)
        assert run.confirmed(uploader, 6) == 6


@pytest.mark.parametrize("status", [404, 413, 422])
def test_what_the_server_itself_refuses_waits_for_a_person(status: int, tmp_path: Path) -> None:
    with destination(World.PROMPT, tmp_path) as (server, made):
        server.fault("status", operation="UpsertBucket", status=status, message="not this one")
        with pytest.raises(RunRefused, match="not this one"):
            opened(server, made)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (409, "another request for the run is under way"),
        (200, "internal system error"),
        (200, "context deadline exceeded"),
        (200, "the query timed out"),
        (400, "Error 1213: Deadlock found when trying to get lock"),
    ],
)
def test_a_run_that_the_server_cannot_make_just_now_is_tried_again(
    status: int, words: str, tmp_path: Path
) -> None:
    with destination(World.PROMPT, tmp_path) as (server, made):
        server.fault("status", operation="UpsertBucket", status=status, message=words, times=1)
        with pytest.raises(RunTrouble, match=words):
            opened(server, made)
        run, uploader = opened(server, made)
        uploader.send(run.lines)
        assert uploader.confirm() == len(run.lines)


def test_a_server_with_other_fields_gets_the_sdk(tmp_path: Path) -> None:
    words = 'Cannot query field "inserted" on type "UpsertBucketPayload"'
    with destination(World.PROMPT, tmp_path) as (server, made):
        server.fault("status", operation="UpsertBucket", status=200, message=words)
        with pytest.raises(RunTrouble, match="as expected"):
            opened(server, made)
        assert made.lane.startswith("SDK, because it answers")


def test_a_server_that_counts_nothing_is_told_of_in_words_and_keeps_its_lane(
    tmp_path: Path,
) -> None:
    with destination(replace(World.PROMPT, counts=False), tmp_path) as (server, made):
        run, uploader = opened(server, made)
        uploader.send(run.lines)
        assert uploader.confirm() == 0
        error = uploader.stalled(0, len(run.lines))
        assert isinstance(error, NotCounted)
        assert made.lane == "direct, but it does not count what it is sent"
        assert [f.level for f in made.checks() if f.check == "lane"] == ["warning"]


def test_a_count_that_moved_and_stands_is_no_server_that_counts_nothing(tmp_path: Path) -> None:
    with destination(World.PROMPT, tmp_path) as (server, made):
        _, uploader = opened(server, made)
        assert type(uploader.stalled(3, 6)) is RunTrouble


def test_where_the_answers_confirm_the_count_is_not_asked(tmp_path: Path) -> None:
    with WandbServer(
        tmp_path / "server", entity="team", world=replace(World.PROMPT, counts=False)
    ) as server:
        login = Login(server.url, "team", server.key, "test")
        made = WandbDestination(login, Limits(count_stable_for=0.05), lane="sdk", counts=False)
        run, uploader = opened(server, made)
        assert uploader.ahead > 0
        uploader.send(run.lines.first(3))
        assert uploader.confirm() == 3
        again = made.uploader(replace(run.target, confirmed=3))
        assert again.open() == 3
        again.send(run.lines_from(3))
        assert again.confirm() == 6
        assert [row["_step"] for row in server.history(run.run_id)] == list(range(6))
        made.close()
