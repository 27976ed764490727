"""The W&B stand-in over plain HTTP: it forgives nothing, forgets nothing, fails as told."""

from __future__ import annotations

import http.client
import json
import shutil
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.fakes.faults import Fault
from tests.fakes.wandb_client import ENTITY, PROJECT, Http
from tests.fakes.wandb_process import WandbProcess
from tests.fakes.wandb_server import WandbServer
from tests.patience import eventually, patience

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fakes.faults import Request


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WandbServer]:
    with WandbServer(tmp_path / "server") as server:
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


# --- restarts ---


def test_a_restart_keeps_all_and_forgets_a_torn_last_write(tmp_path: Path) -> None:
    with WandbServer(tmp_path) as server, Http(server) as client:
        client.upsert("r1")
        client.history("r1", 0, row(0), row(1))
        client.stream("r1", {"complete": True, "exitcode": 0})
        before, port = server.dump(), server.port
    journal = next(tmp_path.glob("runs/*/*/*/journal.jsonl"))
    with journal.open("ab") as file:
        file.write(b'{"op": "lines", "at": 1')
    with WandbServer(tmp_path, port=port) as server, Http(server) as client:
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
    with WandbProcess(tmp_path) as server, Http(server) as client:
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
