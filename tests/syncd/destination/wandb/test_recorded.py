"""Every request of the direct lane is one that wandb's own SDK was recorded sending."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from karaoke_train.runlog.format import MAX_LINE
from syncd.destination.base import Labels, Outcome
from syncd.destination.wandb import filestream
from tests.fakes.faults import Request
from tests.fakes.wandb_http import Call
from tests.fakes.wandb_server import KEY, WandbServer
from tests.fakes.wandb_shapes import Kind, unrecorded
from tests.fakes.wandb_world import World
from tests.syncd.destination.wandb import odd_logs as odd
from tests.syncd.destination.wandb.lanes import Log
from tests.syncd.destination.wandb.test_lanes_equal import STOP, DirectLane

GIVEN = ("X-Storage:private",)  # headers that files are to be put with
MOST = 10 << 20  # bytes that wandb-core puts into one request, about
LONGEST = MOST - (100 << 10)  # bytes of a line, by wandb-core; a longer one is left out


@dataclass
class Seen:
    """What came to a server, in order."""

    requests: list[Request] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    def of(self, endpoint: str) -> list[tuple[Request, Call]]:
        both = zip(self.requests, self.calls, strict=True)
        return [(request, call) for request, call in both if request.endpoint == endpoint]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """A run by the direct lane: made, with every kind of record, a request that is too large, signs
    of life, another session with another config, failed; and asked about."""
    folder = tmp_path_factory.mktemp("recorded")
    odd.write_media(folder / "media")
    with WandbServer(folder / "server", entity="team", world=World.PROMPT) as server:
        server.change_world(replace(server.world, max_request=60_000, upload_headers=GIVEN))
        found = Seen()
        server.see = noted(server.see, found)  # type: ignore[method-assign]
        lane = DirectLane(server)
        upload(lane, folder / "media")
        ask(lane)
        yield found


def noted(see: Callable[[Call], Request], found: Seen) -> Callable[[Call], Request]:
    def look(call: Call) -> Request:
        request = see(call)
        found.requests.append(request)
        found.calls.append(call)
        return request

    return look


def upload(lane: DirectLane, media: Path) -> None:
    lines = [
        *(odd.train(**{"train/loss": 1 / (step + 1), "text": "x" * 100}) for step in range(1000)),
        odd.media("roll", "a.png", caption="c"), odd.media("voice", "v.wav", "audio", "c"),
        odd.media("gone", "none.png"), odd.media("short", "cut.png"), *odd.EPOCHS,
        odd.config("r", config={"lr": 0.5, "nested": {"a": [1, None]}}, resumed=True), STOP,
        odd.config("r", tags=["a"], group="g", job_type="j", notes="n"),
        *odd.LINES[:8], *odd.NUMBERS, *odd.NESTED[:5], *odd.KEYS, *odd.TIMES,
    ]  # fmt: skip
    log = odd.log("r", lines, media, last=odd.end("failed", 3))
    log.upload(lane)
    crash = odd.log("crashed", [odd.train(x=1)], media, last=odd.train(x=2))
    crash.upload(lane)
    beat(lane, log)


def beat(lane: DirectLane, log: Log) -> None:
    stream = lane.uploader(log.target(lane, 0))
    stream.open()
    assert isinstance(stream, filestream.FileStream)
    stream.beat(0.0)
    stream.close(Outcome("finished", 0), ())


def ask(lane: DirectLane) -> None:
    """What the daemon, `status` and `verify` want to know."""
    ref = odd.log("r", [], Path()).target(lane, 0).ref
    assert lane.api.viewer() == "team"
    assert lane.api.remote_run(ref._replace(run_id="none")) is None
    assert lane.api.rows(ref, 0, 3)
    assert lane.api.files(ref)
    lane.api.steps(ref)
    assert lane.api.label(ref, Labels(("b",), notes="m"))
    assert lane.api.heartbeat(ref)


def test_no_request_has_anything_that_the_sdk_never_sent(seen: Seen) -> None:
    told = {what for request in seen.requests for what in unrecorded(request)}
    assert told == set()


def test_the_session_was_one_with_everything(seen: Seen) -> None:
    kinds = {Kind(one.endpoint, one.method, one.operation) for one in seen.requests}
    assert {str(kind) for kind in kinds} == {
        "POST graphql Viewer", "POST graphql RunResumeStatus", "POST graphql UpsertBucket",
        "POST graphql CreateRunFiles", "POST graphql RunFiles", "POST graphql HistoryPage",
        "POST graphql RunHistoryKeys", "POST graphql Run", "POST graphql ServerFeaturesQuery",
        "POST file_stream", "PUT files",
    }  # fmt: skip
    bodies = [request.body for request, _ in seen.of("file_stream")]
    assert {} in bodies
    assert any(body.get("complete") and body.get("exitcode") == 3 for body in bodies)
    assert any("uploaded" in body for body in bodies)
    parts = [set(body.get("files", ())) for body in bodies]
    assert {"wandb-history.jsonl"} in parts
    assert {"wandb-history.jsonl", "wandb-summary.json"} in parts
    sizes = [call.size for _, call in seen.of("file_stream")]
    assert max(sizes) > 60_000 > min(sizes)  # which the server said was too large


def test_all_but_files_goes_as_json_with_the_key_as_the_password(seen: Seen) -> None:
    login = "Basic " + base64.b64encode(f"api:{KEY}".encode()).decode()
    for endpoint in ("graphql", "file_stream"):
        for _, call in seen.of(endpoint):
            assert call.authorization == login
            assert call.headers["content-type"] == "application/json"
            assert "x-wandb-use-async-filestream" not in call.headers  # of shared runs
    assert not any("content-encoding" in call.headers for call in seen.calls)  # nobody offered it


def test_files_go_without_the_key_and_with_the_headers_that_were_given(seen: Seen) -> None:
    puts = seen.of("files")
    assert len(puts) >= 4  # picture, sound, table, summary
    for _, call in puts:
        assert call.authorization == ""
        assert call.headers["x-storage"] == "private"


def test_posts_keep_to_the_sdks_limits(seen: Seen) -> None:
    for request, _ in seen.of("file_stream"):
        for file, part in request.body.get("files", {}).items():
            sizes = [len(text.encode()) for text in part["content"]]
            assert sum(sizes) <= MOST
            assert max(sizes) <= LONGEST
            assert all(isinstance(json.loads(text), dict) for text in part["content"]), file


def test_the_largest_post_and_the_longest_line_are_within_the_sdks_limits() -> None:
    assert filestream.MAX_POST <= MOST
    assert 6 * MAX_LINE <= LONGEST  # a line's text may be escaped, 6 bytes for one


def test_a_post_is_measured_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filestream, "MAX_POST", 2000)
    with WandbServer(tmp_path / "server", entity="team", world=World.PROMPT) as server:
        found = Seen()
        server.see = noted(server.see, found)  # type: ignore[method-assign]
        words = "\u6b4c\u8a5e" * 50  # three bytes each
        lines = [odd.train(words=words) for _ in range(40)]
        data = [json.loads(line) for line in lines]
        lines = [json.dumps(one, ensure_ascii=False).encode() + b"\n" for one in data]
        odd.log("r", lines, tmp_path).upload(DirectLane(server))
        sizes = [
            sum(
                len(text.encode())
                for text in request.body["files"]["wandb-history.jsonl"]["content"]
            )
            for request, _ in found.of("file_stream")
            if "wandb-history.jsonl" in request.body.get("files", {})
        ]
    assert sum(sizes) > 12_000
    assert max(sizes) <= 2000
