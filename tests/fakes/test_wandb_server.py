"""The W&B stand-in over plain HTTP: it forgives nothing, forgets nothing, fails as told, and is as
bad as the world where it's told to be."""

from __future__ import annotations

import gzip
import http.client
import json
import shutil
import threading
import time
from contextlib import ExitStack
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.fakes.faults import Fault
from tests.fakes.wandb_client import ENTITY, PROJECT, Http
from tests.fakes.wandb_graphql import Shown
from tests.fakes.wandb_limits import Limiter
from tests.fakes.wandb_process import WandbProcess
from tests.fakes.wandb_server import WandbServer
from tests.fakes.wandb_state import HISTORY, RunKey, RunState
from tests.fakes.wandb_world import RateLimits, World
from tests.patience import eventually, patience

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.fakes.faults import Request


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WandbServer]:
    with WandbServer(tmp_path / "server", world=World.PROMPT) as server:
        yield server


@pytest.fixture
def http_(server: WandbServer) -> Iterator[Http]:
    with Http(server) as client:
        client.upsert("r1")
        yield client


def row(step: int, **more: Any) -> dict[str, Any]:
    return {"_step": step, "loss": step / 2, **more}


# --- strictness ---


def test_a_gap_in_the_lines_is_refused_and_kept_as_an_error(
    server: WandbServer, http_: Http
) -> None:
    assert http_.history("r1", 0, row(0)).status_code == 200
    reply = http_.history("r1", 2, row(2))
    assert reply.status_code == 400
    assert "lines from 2 on, but only 1" in reply.text
    assert server.history("r1") == [row(0)]
    assert [error["status"] for error in server.run("r1")["errors"]] == [400]


def test_an_equal_line_again_changes_nothing(server: WandbServer, http_: Http) -> None:
    http_.history("r1", 0, row(0, _runtime=1.0), row(1))
    http_.history("r1", 0, row(0, _runtime=2.0), row(1), row(2))
    run = server.run("r1")
    assert [line["_step"] for line in run["history"]] == [0, 1, 2]
    assert (run["rewrites"], run["overwrites"]) == (2, [])


def test_a_line_with_other_content_is_written_over_and_told(
    server: WandbServer, http_: Http
) -> None:
    http_.history("r1", 0, row(0), row(1))
    http_.history("r1", 1, row(7))
    run = server.run("r1")
    assert run["history"] == [row(0), row(7)]
    assert [(item["line"], json.loads(item["old"])) for item in run["overwrites"]] == [(1, row(1))]


def test_a_line_that_is_no_object_spoils_its_whole_request(
    server: WandbServer, http_: Http
) -> None:
    body = {"files": {"wandb-history.jsonl": {"offset": 0, "content": ['{"_step": 0}', "[1]"]}}}
    assert http_.stream("r1", body).status_code == 400
    assert server.history("r1") == []


def test_a_wrong_key_is_401_and_an_unknown_run_404(server: WandbServer, http_: Http) -> None:
    assert http_.history("nobody", 0, row(0)).status_code == 404
    with Http(server, key="f" * 40) as stranger:
        assert stranger.upsert("r2").status_code == 401
    assert "r2" not in server.dump()[ENTITY][PROJECT]


def test_an_operation_that_nobody_taught_it_is_refused_and_told(
    server: WandbServer, http_: Http
) -> None:
    reply = http_.graphql("query Weather { sky }")
    assert reply.status_code == 400
    assert server.unknown() == ["Weather: query Weather { sky }"]


def test_a_query_of_another_name_may_ask_for_the_count(http_: Http) -> None:
    http_.history("r1", 0, row(0), row(1))
    query = """query Count($entity: String!, $project: String!, $name: String!) {
        project(name: $project, entityName: $entity) { run(name: $name) { historyLineCount } } }"""
    reply = http_.graphql(query, entity=ENTITY, project=PROJECT, name="r1").json()
    assert reply["data"]["project"]["run"]["historyLineCount"] == 2
    other = http_.graphql(query, entity=ENTITY, project=PROJECT, name="r2").json()
    assert other["data"]["project"]["run"] is None


# --- a run's life ---


def test_the_exit_code_decides_the_state_and_a_sign_of_life_undoes_it(
    server: WandbServer, http_: Http
) -> None:
    for code, state in ((0, "finished"), (1, "failed")):
        http_.stream("r1", {"complete": True, "exitcode": code})
        assert (server.run("r1")["state"], server.run("r1")["exit_code"]) == (state, code)
    http_.stream("r1", {})
    assert server.run("r1")["state"] == "running"
    server.crash_run("r1")
    assert server.run("r1")["state"] == "crashed"


def test_a_deleted_run_is_gone_and_its_id_refused_until_forgotten(
    server: WandbServer, http_: Http
) -> None:
    server.delete_run("r1")
    assert http_.resume_status("r1") is None
    assert http_.history("r1", 0, row(0)).status_code == 404
    refusal = http_.upsert("r1")
    assert refusal.status_code == 409
    assert "previously created and deleted" in refusal.text
    server.forget_run("r1")
    assert http_.upsert("r1").status_code == 200


def test_somebody_elses_line_counts_like_any_other(server: WandbServer, http_: Http) -> None:
    http_.history("r1", 0, row(0))
    assert server.append_foreign("r1", {"_step": 1, "stranger": True}) == 1
    assert http_.resume_status("r1")["historyLineCount"] == 2


def test_files_come_back_as_they_were_sent(http_: Http) -> None:
    query = "mutation CreateRunFiles { createRunFiles }"
    name = "media/images/a b.png"
    reply = http_.graphql(query, entity=ENTITY, project=PROJECT, run="r1", files=[name]).json()
    url = reply["data"]["createRunFiles"]["files"][0]["uploadUrl"]
    assert requests.put(url, data=b"\x89PNG", timeout=patience(5)).status_code == 200
    assert http_.session.get(url, timeout=patience(5)).content == b"\x89PNG"


# --- worlds: what clients of the real server can't rely on ---


class Place:
    """A server in one world, and a run there."""

    def __init__(self, folder: Path, world: World) -> None:
        self.server = WandbServer(folder / "server", world=world)
        self.client = Http(self.server)
        assert self.client.upsert("r1").status_code == 200

    def post(self, offset: int, *steps: int) -> requests.Response:
        return self.client.history("r1", offset, *map(row, steps))

    def steps(self) -> list[int | None]:
        return [line["_step"] if line else None for line in self.server.history("r1")]

    def count(self) -> int:
        count: int = self.client.resume_status("r1")["historyLineCount"]
        return count

    def tail(self) -> list[int]:
        tail = self.client.resume_status("r1")["historyTail"]
        return [json.loads(line)["_step"] for line in json.loads(tail)]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Callable[..., Place]]:
    """Makes the place in this world, with these differences."""
    with ExitStack() as stack:

        def make(world: World = World.PROMPT, **differences: Any) -> Place:
            made = Place(tmp_path, replace(world, **differences))
            stack.callback(made.server.close)
            stack.callback(made.client.session.close)
            return made

        yield make


def test_the_default_world_is_the_nearest_to_the_real_one(tmp_path: Path) -> None:
    with WandbServer(tmp_path, world=World()) as server:
        assert server.world == World.DEFAULT
        assert (server.world.offsets, server.world.limits) == ("cursor", RateLimits())
        assert 2 <= server.world.count_lag_s <= 4
        assert server.world.tail_lag_s == 2


def test_each_world_with_a_name_has_one_fault_alone() -> None:
    worlds = dict(World.all())
    assert (worlds.pop("default"), worlds.pop("prompt")) == (World.DEFAULT, World.PROMPT)
    truth = asdict(World.PROMPT)
    faults = {
        name: [key for key, value in asdict(world).items() if value != truth[key]]
        for name, world in worlds.items()
    }
    assert faults == {
        "line cursor": ["offsets"],
        "gaps": ["offsets"],
        "appends": ["offsets"],
        "never counts": ["counts"],
        "counts late": ["count_lag_s"],
        "stale tails": ["tail_lag_s"],
        "stream error": ["stream_error"],
        "no tail": ["knows_tail"],
        "no missing ok": ["missing_ok"],
        "rate limits": ["limits"],
    }


def test_a_line_sent_again_sets_the_line_cursor_back_and_what_follows_is_put_there(
    place: Callable[..., Place],
) -> None:
    """Eleven rows were lost to this in wandb#12269."""
    here = place(World.LINE_CURSOR)
    here.post(0, *range(20))
    here.post(0, 0)
    assert here.steps() == list(range(20))
    assert here.post(20, *range(20, 31)).status_code == 200
    assert here.steps() == [0, *range(20, 31), *range(12, 20)]
    found = here.server.run("r1")
    assert len(found["overwrites"]) == 11
    assert [(gap["asked"], gap["offset"]) for gap in found["gaps"]] == [(20, 1)]
    assert found["errors"] == []
    assert here.count() == 20


def test_whoever_goes_back_and_sends_all_of_it_again_loses_nothing_to_the_line_cursor(
    place: Callable[..., Place],
) -> None:
    here = place(World.LINE_CURSOR)
    here.post(0, *range(20))
    for first, last in ((5, 9), (9, 20), (20, 25)):
        here.post(first, *range(first, last))
    assert here.steps() == list(range(25))
    found = here.server.run("r1")
    assert (found["rewrites"], found["overwrites"], found["gaps"]) == (15, [], [])


def test_the_line_cursor_outlives_a_restart_and_a_post_without_lines(tmp_path: Path) -> None:
    world = World.LINE_CURSOR
    with WandbServer(tmp_path, world=world) as server, Http(server) as client:
        client.upsert("r1")
        client.history("r1", 0, row(0), row(1), row(2))
        client.history("r1", 0, row(0))
        client.history("r1", 0)
        before = server.run("r1")["cursors"]
    with WandbServer(tmp_path, world=world) as server, Http(server) as client:
        assert server.run("r1")["cursors"] == before == {HISTORY: 1}
        client.history("r1", 3, row(3))
        assert [line["_step"] for line in server.history("r1")] == [0, 3, 2]


def test_where_gaps_are_accepted_a_hole_is_counted_and_never_shown(
    place: Callable[..., Place],
) -> None:
    here = place(World.GAPS)
    here.post(0, 0)
    assert here.post(3, 3).status_code == 200
    assert here.steps() == [0, None, None, 3]
    assert (here.count(), here.tail()) == (4, [3])
    query = "query RunFullHistory { project }"
    reply = here.client.graphql(query, entity=ENTITY, project=PROJECT, name="r1").json()
    shown = reply["data"]["project"]["run"]["history"]
    assert [json.loads(line)["_step"] for line in shown] == [0, 3]
    here.post(1, 1, 2)
    assert here.steps() == [0, 1, 2, 3]
    assert here.server.run("r1")["overwrites"] == []


def test_where_offsets_are_ignored_a_line_sent_again_is_there_twice(
    place: Callable[..., Place],
) -> None:
    here = place(World.APPENDS)
    for _ in range(2):
        here.post(0, 0, 1)
    assert here.steps() == [0, 1, 0, 1]
    assert here.count() == 4


def test_a_server_that_never_counts_says_0_everywhere(place: Callable[..., Place]) -> None:
    here = place(World.NEVER_COUNTS)
    here.post(0, 0, 1)
    upserted = here.client.upsert("r1").json()["data"]["upsertBucket"]["bucket"]
    assert (here.count(), upserted["historyLineCount"]) == (0, 0)
    assert here.tail() == [1]
    assert here.steps() == [0, 1]


def test_a_late_count_and_a_stale_tail_catch_up_each_in_its_time(
    place: Callable[..., Place],
) -> None:
    here = place(count_lag_s=1.2, tail_lag_s=0.6)
    begun = time.monotonic()

    def passed() -> float:
        return time.monotonic() - begun

    here.post(0, 0, 1)
    posted = passed()
    assert here.tail() == [] or passed() >= 0.6
    assert here.count() == 0 or passed() >= 1.2
    assert eventually(lambda: here.tail() == [1], 5)
    assert passed() >= 0.6
    assert here.count() == 0 or passed() >= 1.2
    assert eventually(lambda: here.count() == 2, 5)
    assert 1.2 <= passed() <= posted + 1.2 + patience(2)
    begun = time.monotonic()
    here.post(2, 2)
    assert here.tail() == [1] or passed() >= 0.6
    assert here.count() == 2 or passed() >= 1.2


@pytest.mark.parametrize(
    ("count_lag_s", "tail_lag_s", "count", "last"),
    [(60, 10, 1, 1), (10, 60, 2, 0), (0, 600, 3, None)],
)
def test_counts_and_tails_lag_each_by_its_own_time(
    count_lag_s: float, tail_lag_s: float, count: int, last: int | None
) -> None:
    now = time.time()
    run = RunState(
        history=[json.dumps(row(step)) for step in range(3)],
        arrivals=[(now - 100, 1), (now - 30, 2), (now - 1, 3)],
    )
    world = replace(World.PROMPT, count_lag_s=count_lag_s, tail_lag_s=tail_lag_s)
    shown = Shown.of(run, world, None)
    assert shown.count == count
    assert shown.tail == ([] if last is None else [json.dumps(row(last))])


def test_a_200_with_an_error_in_its_body_applied_nothing(place: Callable[..., Place]) -> None:
    here = place(World.STREAM_ERROR)
    reply = here.post(0, 0)
    assert (reply.status_code, reply.json()) == (200, {"error": "no such run"})
    assert here.steps() == []


def test_a_server_that_forgets_the_history_tail_still_counts(place: Callable[..., Place]) -> None:
    here = place(World.NO_TAIL)
    here.post(0, 0)
    status = here.client.resume_status("r1")
    assert (status["historyTail"], status["historyLineCount"]) == (None, 1)


def test_without_missing_ok_asking_for_a_run_that_is_not_there_is_an_error(
    place: Callable[..., Place],
) -> None:
    here = place(World.NO_MISSING_OK)
    query = "query RunResumeStatus { model }"
    reply = here.client.graphql(query, entity=ENTITY, project=PROJECT, name="nobody")
    assert reply.status_code == 404
    assert "nobody was not found" in reply.json()["errors"][0]["message"]
    assert reply.json()["data"]["model"]["bucket"] is None
    assert here.count() == 0


def test_a_request_over_the_limit_is_answered_by_the_proxy_in_front(
    place: Callable[..., Place],
) -> None:
    here = place(max_request=2000)
    reply = here.post(0, *range(100))
    assert (reply.status_code, reply.headers["Content-Type"]) == (413, "text/html")
    assert here.steps() == []
    assert here.post(0, 0).status_code == 200


def test_a_stop_on_the_runs_page_is_in_each_answer_and_lines_are_taken(
    place: Callable[..., Place],
) -> None:
    here = place(stopped=True)
    assert here.post(0, 0).json()["stopped"] is True
    assert here.steps() == [0]


@pytest.mark.parametrize("offered", [True, False])
def test_a_compressed_body_is_taken_where_it_was_offered(
    place: Callable[..., Place], offered: bool
) -> None:
    here = place(gzip=offered)
    asked = here.client.graphql("query ServerFeaturesQuery { serverInfo }").json()
    features = asked["data"]["serverInfo"]["features"]
    assert features == ([{"name": "FILESTREAM_GZIP", "isEnabled": True}] if offered else [])
    body = {"files": {HISTORY: {"offset": 0, "content": [json.dumps(row(0))]}}}
    reply = here.client.session.post(
        f"{here.server.url}/files/{ENTITY}/{PROJECT}/r1/file_stream",
        data=gzip.compress(json.dumps(body).encode()),
        headers={"Content-Encoding": "gzip"},
        timeout=patience(5),
    )
    assert reply.status_code == (200 if offered else 400)
    assert here.steps() == ([0] if offered else [])


def test_a_file_needs_the_headers_that_its_link_came_with_and_no_key(
    place: Callable[..., Place],
) -> None:
    here = place(upload_headers=("x-amz-acl:private", "Content-Type:image/png"))
    query = "mutation CreateRunFiles { createRunFiles }"
    reply = here.client.graphql(
        query, entity=ENTITY, project=PROJECT, run="r1", files=["a.png"]
    ).json()["data"]["createRunFiles"]
    headers = dict(item.split(":", 1) for item in reply["uploadHeaders"])
    url = reply["files"][0]["uploadUrl"]
    assert headers == {"x-amz-acl": "private", "Content-Type": "image/png"}
    assert requests.put(url, data=b"PNG", timeout=patience(5)).status_code == 403
    keyed = here.client.session.put(url, data=b"PNG", headers=headers, timeout=patience(5))
    assert keyed.status_code == 400
    assert here.server.run("r1")["files"] == {}
    assert requests.put(url, data=b"PNG", headers=headers, timeout=patience(5)).status_code == 200
    assert here.server.run("r1")["files"] == {"a.png": 3}


# --- rate limits ---


def test_a_third_post_of_a_run_within_a_second_is_told_when_to_come_again(
    place: Callable[..., Place],
) -> None:
    here = place(limits=RateLimits(posts_per_run=0.5, burst_s=4))
    here.client.upsert("r2")
    assert [here.post(step, step).status_code for step in range(3)] == [200, 200, 429]
    refused = here.post(2, 2)
    assert refused.json()["error"] == "rate limit exceeded"
    assert {name: refused.headers[name] for name in ("RateLimit-Remaining", "Retry-After")} == {
        "RateLimit-Remaining": "0",
        "Retry-After": "2",
    }
    assert int(refused.headers["RateLimit-Reset"]) in (3, 4)
    assert here.steps() == [0, 1]
    assert here.server.run("r1")["errors"] == []
    assert here.client.history("r2", 0, row(0)).status_code == 200  # each run has its own


def test_the_headers_are_on_every_answer_where_the_world_says_so(
    place: Callable[..., Place],
) -> None:
    here = place(limits=RateLimits(posts_per_run=0.1, burst_s=100))
    assert "RateLimit-Remaining" not in here.post(0, 0).headers
    here.server.change_world(
        replace(World.PROMPT, limits=RateLimits(posts_per_run=0.1, burst_s=50, always_told=True))
    )
    left = [int(here.post(step, step).headers["RateLimit-Remaining"]) for step in range(1, 4)]
    assert [round(value, -2) for value in left] == [800, 600, 400]


def test_a_project_may_make_only_so_many_runs_per_second(place: Callable[..., Place]) -> None:
    here = place(limits=RateLimits(runs_per_project=0.1, burst_s=20))  # one of two is there
    assert [here.client.upsert(name).status_code for name in ("r2", "r3")] == [200, 429]
    assert here.client.upsert("r1").status_code == 200  # it is there already
    refused = here.client.upsert("r3")
    assert int(refused.headers["Retry-After"]) == 10
    assert "r3" not in here.server.dump()[ENTITY][PROJECT]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_requests_that_keep_to_the_documented_limits_always_pass_and_no_second_has_more() -> None:
    clock, limits = Clock(), RateLimits()
    limiter = Limiter(clock)
    key = RunKey("e", "p", "r")
    passed = []
    for _ in range(300):  # 20 s of a run that tries 15 times per second
        clock.now += 1 / 15
        if limiter.post(limits, key, 1000).passes:
            passed.append(clock.now)
    for begin in passed:
        assert sum(begin <= at < begin + 1 for at in passed) <= 4  # a full bucket, and its refill
    assert 40 <= len(passed) <= 42
    clock.now += 1
    for _ in range(60):
        clock.now += 0.5
        assert limiter.post(limits, key, 1000).passes


def test_a_projects_runs_share_its_requests_and_bytes_and_a_refusal_takes_nothing() -> None:
    clock, limits = Clock(), RateLimits()
    limiter = Limiter(clock)
    runs = [RunKey("e", "p", f"r{number}") for number in range(600)]
    quotas = [limiter.post(limits, key, 100_000) for key in runs]
    assert sum(quota.passes for quota in quotas) == 500
    assert {quota.limit for quota in quotas if not quota.passes} == {"posts_per_project"}
    assert limiter.post(limits, RunKey("e", "other", "r"), 1).passes
    clock.now += (
        0.5  # 250 requests and 60 of 120 MB have come back, beside the 70 MB that were left
    )
    large = limiter.post(limits, runs[550], 121_000_000)  # more than ever fits: all that does
    assert (large.passes, large.limit) == (True, "bytes_per_project")
    refused = limiter.post(limits, runs[551], 60_000_000)
    assert (refused.passes, refused.limit, refused.remaining) == (False, "bytes_per_project", 0)
    assert refused.wait_s == pytest.approx(0.5)
    assert refused.headers() == {
        "RateLimit-Remaining": "0",
        "RateLimit-Reset": "1",
        "Retry-After": "1",
    }
    clock.now += 0.5
    assert limiter.post(limits, runs[551], 60_000_000).passes


# --- a world told to another process ---


@pytest.mark.parametrize(
    "world",
    [
        World.DEFAULT,
        World.PROMPT,
        replace(World.DEFAULT, upload_headers=("a:b",), limits=RateLimits(posts_per_run=9)),
    ],
    ids=["default", "prompt", "odd"],
)
def test_a_world_is_the_same_after_a_trip_through_json(world: World) -> None:
    assert World.from_json(world.to_json()) == world


@pytest.mark.parametrize(
    "text",
    ['{"offsets": "backwards"}', '{"count_lag_s": -1}', '{"limits": {"posts_per_run": 0}}'],
)
def test_what_is_no_world_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        World.from_json(text)


def test_another_process_lives_in_the_world_it_is_told_and_keeps_it(tmp_path: Path) -> None:
    with WandbProcess(tmp_path, world=replace(World.PROMPT, stopped=True)) as server:
        with Http(server) as client:
            client.upsert("r1")
            assert client.history("r1", 0, row(0)).json()["stopped"] is True
            server.change_world(World.APPENDS)
            assert "stopped" not in client.history("r1", 0, row(0)).json()
        server.kill()
        server.start()
        with Http(server) as client:
            client.history("r1", 0, row(0))
        assert [line["_step"] for line in server.history("r1")] == [0, 0, 0]
        with pytest.raises(KeyError, match="unexpected keyword"):
            server._order("world", world='{"kind": "good"}')


# --- restarts ---


def test_a_restart_keeps_all_and_forgets_a_torn_last_write(tmp_path: Path) -> None:
    with WandbServer(tmp_path, world=World.PROMPT) as server, Http(server) as client:
        client.upsert("r1")
        client.history("r1", 0, row(0), row(1))
        client.stream("r1", {"complete": True, "exitcode": 0})
        before, port = server.dump(), server.port
    journal = next(tmp_path.glob("runs/*/*/*/journal.jsonl"))
    with journal.open("ab") as file:
        file.write(b'{"op": "lines", "at": 1')
    with WandbServer(tmp_path, port=port, world=World.PROMPT) as server, Http(server) as client:
        assert server.dump() == before
        assert client.history("r1", 2, row(2)).status_code == 200
    with WandbServer(tmp_path) as server:
        assert [line["_step"] for line in server.history("r1")] == [0, 1, 2]


def test_a_killed_server_process_comes_back_on_its_port_with_what_it_knew(tmp_path: Path) -> None:
    with WandbProcess(tmp_path) as server:
        with Http(server) as client:
            client.upsert("r1")
            client.history("r1", 0, row(0))
        url = server.url
        server.kill()
        server.start()
        assert server.url == url
        assert server.history("r1") == [row(0)]


# --- faults ---


@pytest.mark.parametrize(
    ("fault", "status", "applied"),
    [
        ({"kind": "status", "status": 503}, 503, False),
        ({"kind": "status", "status": 401}, 401, False),
        ({"kind": "html"}, 200, False),
        ({"kind": "truncate"}, 200, True),
        ({"kind": "reset"}, 0, False),
        ({"kind": "reset_reply"}, 0, True),
        ({"kind": "drop_reply"}, 0, True),
        ({"kind": "hang"}, 0, False),
    ],
    ids=lambda value: value.get("kind") if isinstance(value, dict) else str(value),
)
def test_each_fault_does_what_it_says_once(
    server: WandbServer, http_: Http, fault: dict[str, Any], status: int, applied: bool
) -> None:
    server.fault(**fault, endpoint="file_stream", times=1)
    reply, words = None, ""
    try:
        reply = http_.history(
            "r1", 0, row(0), timeout=0.3 if fault["kind"] == "hang" else patience(5)
        )
    except requests.exceptions.RequestException as error:
        words = str(error)
    assert (reply.status_code if reply is not None else 0) == status
    assert ("reset by peer" in words) == fault["kind"].startswith("reset")
    if reply is not None and status == 200:
        with pytest.raises(ValueError):
            reply.json()
    assert server.history("r1") == ([row(0)] if applied else [])
    seen = [item for item in server.requests() if item.endpoint == "file_stream"]
    assert [(item.status, item.fault) for item in seen] == [(status, fault["kind"])]

    assert http_.history("r1", 0, row(0)).json() == {"exitcode": None, "limits": {}}
    assert server.history("r1") == [row(0)]
    assert server.run("r1")["overwrites"] == []


def test_a_429_says_when_to_come_again(server: WandbServer, http_: Http) -> None:
    server.fault("status", status=429, retry_after=7, times=2)
    assert http_.history("r1", 0, row(0)).headers["Retry-After"] == "7"


def test_latency_only_delays(server: WandbServer, http_: Http) -> None:
    server.fault("latency", seconds=0.2)
    start = time.monotonic()
    assert http_.history("r1", 0, row(0)).status_code == 200
    assert time.monotonic() - start >= 0.2


def test_a_fault_keeps_to_its_endpoint_operation_and_run(server: WandbServer, http_: Http) -> None:
    http_.upsert("r2")
    server.fault("status", endpoint="graphql", operation="UpsertBucket")
    server.fault("status", endpoint="file_stream", run="r2")
    assert http_.upsert("r1").status_code == 500
    assert http_.resume_status("r1")["historyLineCount"] == 0
    assert http_.history("r1", 0, row(0)).status_code == 200
    assert http_.history("r2", 0, row(0)).status_code == 500
    server.clear()
    assert http_.history("r2", 0, row(0)).status_code == 200


def test_refused_connections_come_back_on_the_same_port(server: WandbServer, http_: Http) -> None:
    server.refuse()
    for _ in range(2):  # the kept-alive connection was reset, a new one is refused
        with pytest.raises(requests.exceptions.ConnectionError):
            http_.history("r1", 0, row(0))
    server.clear()
    assert http_.history("r1", 0, row(0)).status_code == 200


def test_a_hanging_request_ends_without_an_answer_when_faults_are_cleared(
    server: WandbServer, http_: Http
) -> None:
    server.fault("hang", endpoint="file_stream")
    timer = threading.Timer(0.2, server.clear)
    timer.start()
    with pytest.raises(requests.exceptions.ConnectionError):
        http_.history("r1", 0, row(0), timeout=patience(10))
    timer.join()


def test_a_stale_count_lags_behind_a_fresh_tail(server: WandbServer, http_: Http) -> None:
    http_.history("r1", 0, *(row(step) for step in range(50)))
    server.fault("stale", lag=50, operation="RunResumeStatus", times=1)
    stale = http_.resume_status("r1")
    assert (stale["historyLineCount"], json.loads(stale["historyTail"])) == (
        0,
        [json.dumps(row(49))],
    )
    assert http_.resume_status("r1")["historyLineCount"] == 50


def test_a_count_that_lags_in_time_catches_up(server: WandbServer, http_: Http) -> None:
    server.fault("stale", lag_s=0.3)
    http_.history("r1", 0, row(0))
    assert http_.resume_status("r1")["historyLineCount"] == 0
    assert eventually(lambda: http_.resume_status("r1")["historyLineCount"] == 1, 3)


def test_a_hook_sees_every_request_first(server: WandbServer, http_: Http) -> None:
    seen = []

    def hook(request: Request) -> Fault | None:
        seen.append((request.endpoint, request.operation, request.run))
        return Fault("status", status=502) if request.endpoint == "file_stream" else None

    server.hook = hook
    assert http_.history("r1", 0, row(0)).status_code == 502
    http_.resume_status("r1")
    assert seen == [("file_stream", "", "r1"), ("graphql", "RunResumeStatus", "r1")]


def test_requests_are_counted_by_endpoint_and_operation(server: WandbServer, http_: Http) -> None:
    http_.history("r1", 0, row(0))
    assert server.counts() == {"graphql": 1, "graphql:UpsertBucket": 1, "file_stream": 1}


def test_another_process_gives_the_same_orders(tmp_path: Path) -> None:
    with WandbProcess(tmp_path, world=World.PROMPT) as server, Http(server) as client:
        client.upsert("r1")
        server.fault("status", status=503, endpoint="file_stream", times=1)
        assert client.history("r1", 0, row(0)).status_code == 503
        server.refuse()
        with pytest.raises(requests.exceptions.ConnectionError):
            client.history("r1", 0, row(0))
        server.clear()
        assert client.history("r1", 0, row(0)).status_code == 200
        assert server.append_foreign("r1", {"_step": 1}) == 1
        assert server.history("r1") == [row(0), {"_step": 1}]
        assert server.counts()["file_stream"] == 2
        with pytest.raises(KeyError, match="r9"):
            server.run("r9")
        with pytest.raises(KeyError, match="no such fault"):
            server.fault("locusts")  # type: ignore[arg-type]


def test_orders_come_by_the_main_port_too(server: WandbServer, http_: Http) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=patience(5))
    connection.request("POST", "/_control", json.dumps({"do": "counts"}))
    assert json.loads(connection.getresponse().read())["ok"]["graphql:UpsertBucket"] == 1
    connection.close()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_tls_with_a_certificate_that_nobody_vouches_for(tmp_path: Path) -> None:
    with WandbServer(tmp_path, tls=True) as server, Http(server) as client:
        with pytest.raises(requests.exceptions.SSLError):
            client.upsert("r1")
        client.session.verify = str(server.ca_file)
        assert client.upsert("r1").status_code == 200
