"""Posts are compressed where the server says that it takes such, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from syncd.destination.base import RunRef
from syncd.destination.wandb.api import Api
from syncd.destination.wandb.credentials import Login
from tests.fakes.wandb_http import Call
from tests.fakes.wandb_server import WandbServer
from tests.fakes.wandb_state import RunKey
from tests.fakes.wandb_world import World

RUN = RunRef("tester", "songs", "r1")
SMALL = b'{"files":{"wandb-history.jsonl":{"offset":0,"content":["{}"]}}}'
LARGE = SMALL.replace(b'"{}"', b",".join([b'"{}"'] * 2000))


@pytest.fixture
def api(server: WandbServer) -> Iterator[Api]:
    server.change_world(World.PROMPT)
    server.store.upsert(RunKey(RUN.entity, RUN.project, RUN.run_id), {})
    made = Api(Login(server.url, "", server.key))
    yield made
    made.close()


def posts(server: WandbServer) -> list[Call]:
    """Keeps the file stream's requests from now on."""
    kept: list[Call] = []
    respond = server.respond

    def look(call: Call, request: Any, fault: Any) -> Any:
        if request.endpoint == "file_stream":
            kept.append(call)
        return respond(call, request, fault)

    server.respond = look  # type: ignore[method-assign]
    return kept


def encodings(calls: list[Call]) -> list[str]:
    return [call.headers.get("content-encoding", "") for call in calls]


def asked(server: WandbServer) -> int:
    return server.counts().get("graphql:ServerFeaturesQuery", 0)


def test_a_server_that_takes_them_gets_large_posts_compressed(
    server: WandbServer, api: Api
) -> None:
    server.change_world(replace(server.world, gzip=True))
    calls = posts(server)
    for body in (SMALL, LARGE, LARGE):
        api.file_stream(RUN, body)
    assert encodings(calls) == ["", "gzip", "gzip"]
    assert calls[1].size < len(calls[1].body) / 10
    assert calls[1].body == LARGE
    assert server.run("r1")["errors"] == []
    assert asked(server) == 1


def test_a_server_that_does_not_say_so_gets_none(server: WandbServer, api: Api) -> None:
    calls = posts(server)
    for body in (LARGE, LARGE):
        api.file_stream(RUN, body)
    assert encodings(calls) == ["", ""]
    assert asked(server) == 1


def test_small_posts_ask_for_nothing(server: WandbServer, api: Api) -> None:
    api.file_stream(RUN, SMALL)
    api.file_stream(RUN, b"{}")
    assert asked(server) == 0


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 400, "message": "Cannot query field"},
        {"kind": "status", "status": 503},
        {"kind": "status", "status": 403},
        {"kind": "html"},
        {"kind": "drop_reply"},
    ],
    ids=str,
)
def test_a_question_that_fails_is_asked_once_and_hurts_nobody(
    server: WandbServer, api: Api, fault: dict[str, Any]
) -> None:
    server.change_world(replace(server.world, gzip=True))
    server.fault(endpoint="graphql", operation="ServerFeaturesQuery", **fault)
    calls = posts(server)
    for body in (LARGE, LARGE):
        api.file_stream(RUN, body)
    assert (encodings(calls), asked(server)) == (["", ""], 1)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"serverInfo": None},
        {"serverInfo": {"features": None}},
        {"serverInfo": {"features": [None]}},
        {"serverInfo": {"features": {"name": "FILESTREAM_GZIP"}}},
        {"serverInfo": {"features": [{"name": "FILESTREAM_GZIP", "isEnabled": False}]}},
        {"serverInfo": {"features": [{"name": "FILESTREAM_GZIP"}]}},
        {"serverInfo": "yes"},
    ],
    ids=str,
)
def test_an_odd_answer_says_nothing(server: WandbServer, api: Api, answer: dict[str, Any]) -> None:
    server.graphql._operations["ServerFeaturesQuery"] = lambda ask: answer
    calls = posts(server)
    api.file_stream(RUN, LARGE)
    assert encodings(calls) == [""]
