"""The contract over the direct lane, against the stand-in; and what is this lane's alone."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from karaoke_train.runlog.reader import Position
from syncd.destination.base import Outcome, Target
from syncd.destination.wandb import filestream, heartbeats
from syncd.destination.wandb.api import Api, Streamed
from syncd.destination.wandb.credentials import Login
from syncd.destination.wandb.filestream import AHEAD, MAX_SLOWED, SUMMARY, FileStream
from syncd.destination.wandb.heartbeats import Heartbeats
from syncd.destination.wandb.lanes import Lanes
from syncd.destination.wandb.last_sessions import LastSessions
from syncd.destination.wandb.pace import Pace
from syncd.errors import Refused, RunRefused, RunTrouble, Unreachable
from syncd.source.lines import Lines
from syncd.source.media_folder import MediaFolder
from tests.fakes.clock import FakeClock
from tests.fakes.wandb_server import WandbServer
from tests.fakes.wandb_world import World
from tests.patience import patience
from tests.syncd.destination.contract import FINISHED, Bench, Run, UploaderContract
from tests.syncd.world import CREATED, config_line, train_line

if TYPE_CHECKING:
    from collections.abc import Iterator

PNG = (  # one pixel
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0:~\x9bU\0\0\0\nIDATx\x9cc`\0\0\0"
    b"\x02\0\x01H\xaf\xa4q\0\0\0\0IEND\xaeB`\x82"
)


class Eager(FakeClock):
    """Time that passes as it is asked for: no test waits for a rate limit."""

    def __call__(self) -> float:
        self.advance(10.0)
        return super().__call__()


class DirectBench(Bench):
    def __init__(self, server: WandbServer, pace: Pace | None = None) -> None:
        self.server = server
        self.pace = pace or Pace(Eager())
        self.api = Api(Login(server.url, "team", server.key, "test"), timeout=patience(3.0))

    def uploader(self, target: Target, *, trusted: bool = True) -> FileStream:
        lanes = Lanes("auto")
        if trusted:
            lanes.counted()
        return FileStream(target, self.api, self.pace, lanes, count_stable_for=0.05)

    def rows(self, run_id: str) -> list[dict[str, Any]]:
        return self.server.history(run_id)

    def state(self, run_id: str) -> str:
        return str(self.server.run(run_id)["state"])

    def break_down(self) -> None:
        self.server.fault("status", endpoint="graphql", status=503)

    def repair(self) -> None:
        self.server.clear()

    def settle(self) -> None:
        """Posts arrive as they are made."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DirectBench]:
    with WandbServer(
        tmp_path_factory.mktemp("server"), entity="team", world=World.PROMPT
    ) as server:
        yield DirectBench(server)
        assert server.graphql.unknown == []
        runs = server.dump().get("team", {}).get("songs", {}).values()
        assert [run["overwrites"] for run in runs if run["overwrites"]] == []


@pytest.fixture(autouse=True)
def well(bench: DirectBench) -> Iterator[None]:
    yield
    bench.server.clear()


class TestFileStream(UploaderContract):
    pass


def test_what_wandb_shows_is_the_trainers(bench: DirectBench) -> None:
    run = Run(bench)
    trainer = {"host": "gpu-7", "argv": ["train.py", "--x"]}
    header = run.target.header._replace(run_name="my run", trainer=trainer)
    run.target = replace(run.target, header=header)
    uploader = run.open()
    more = config_line(run.run_id, config={"lr": 0.5, "new": float("nan")}, resumed=True)
    uploader.send(Lines.of(run.lines.data + more, run.lines.start))
    uploader.close(FINISHED, [{"epoch": 0, "train_loss": 0.5}, {"epoch": 1, "train_loss": 0.25}])
    shown = bench.server.run(run.run_id)
    assert shown["display_name"] == "my run"
    assert (shown["config"]["lr"], shown["config"]["new"]) == (0.5, None)
    assert shown["fields"]["program"] == "train.py"
    metrics = shown["config"]["_wandb"]["m"]
    assert {"1": "trainer/step", "6": [3], "7": []} in metrics
    assert {"2": "train/*", "5": 1, "6": [], "7": []} in metrics
    table = shown["summary"]["epoch_summaries"]
    assert (table["_type"], table["nrows"], table["ncols"]) == ("table-file", 2, 2)
    assert {table["path"], "wandb-summary.json"} <= set(shown["files"])
    assert (shown["state"], shown["exit_code"]) == ("finished", 0)
    assert shown["summary"]["train/loss"] == pytest.approx(0.2)


def test_a_failed_run_has_its_exit_code_and_a_crashed_one_none(bench: DirectBench) -> None:
    run = Run(bench)
    run.open().close(Outcome("failed", 3), ())
    assert (bench.state(run.run_id), bench.server.run(run.run_id)["exit_code"]) == ("failed", 3)
    crashed = Run(bench)
    crashed.open().close(Outcome("crashed", 1), ())
    assert bench.state(crashed.run_id) == "running"  # its heartbeats have stopped


def test_what_the_server_has_of_config_and_summary_stays(bench: DirectBench) -> None:
    run = Run(bench)
    first = run.open()
    first.send(run.lines.first(3))
    first.abandon()
    second = run.open()
    second.send(run.lines_from(3))
    second.close(FINISHED, ())
    shown = bench.server.run(run.run_id)
    assert shown["summary"]["syncd/record"] == "config"  # of line 0
    assert shown["summary"]["train/loss"] == pytest.approx(0.2)


def test_a_summary_that_is_behind_the_count_is_brought_forward_by_the_lines_themselves(
    bench: DirectBench,
) -> None:
    """As a late post of an earlier session leaves it."""
    run = Run(bench, lines=3)
    once = b'{"type":"train","step":3,"timestamp":0,"train/once":7}\n'
    run.lines = Lines.of(run.lines.data + once + train_line(4), run.lines.start)
    uploader = run.open()
    uploader.send(run.lines)
    uploader.abandon()
    whole = bench.server.run(run.run_id)["summary"]
    earlier = {key: value for key, value in whole.items() if key != "train/once"} | {"_step": 2}
    late = {"files": {SUMMARY: {"offset": 0, "content": [json.dumps(earlier)]}}}
    bench.api.file_stream(run.target.ref, json.dumps(late).encode())
    asked = []

    def since(first: int, end: int) -> tuple[int, list[Lines]]:
        asked.append((first, end))
        return 1, [run.lines_from(first)]

    run.target = replace(run.target, confirmed=5, known=True, since=since)
    run.open().close(FINISHED, [])
    assert asked == [(3, 5)]
    shown = bench.server.run(run.run_id)
    assert shown["summary"] == whole | {"_wandb": shown["summary"]["_wandb"]}
    assert (shown["summary"]["train/once"], shown["rewrites"], shown["state"]) == (7, 0, "finished")
    run.open().abandon()
    assert asked == [(3, 5)]  # as new as the count by now


def test_an_end_behind_a_sign_of_life_without_an_answer_is_not_believed(bench: DirectBench) -> None:
    run = Run(bench)
    uploader = run.open()
    uploader.send(run.lines)
    bench.server.fault("drop_reply", endpoint="file_stream", times=1)
    uploader.beat(0.0)
    with pytest.raises(RunTrouble, match="may still come after the run's end"):
        uploader.close(FINISHED, [])


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"kind": "html"}, Unreachable),
        ({"kind": "truncate"}, Unreachable),
        ({"kind": "reset"}, Unreachable),
        ({"kind": "drop_reply"}, Unreachable),
        ({"kind": "status", "status": 500}, Unreachable),
        ({"kind": "status", "status": 401}, Refused),
        ({"kind": "status", "status": 403}, Refused),
        ({"kind": "page", "status": 403}, Unreachable),
        ({"kind": "foreign_json", "status": 401}, Unreachable),
        ({"kind": "status", "status": 409}, RunTrouble),
    ],
    ids=str,
)
def test_a_post_that_was_not_taken_is_seen_at_the_post(
    bench: DirectBench, fault: dict[str, Any], error: type[Exception]
) -> None:
    """A portal's page has the same 200 as success: the SDK would step over the gap."""
    run = Run(bench)
    first = run.open()
    first.send(run.lines.first(2))
    bench.server.fault(endpoint="file_stream", times=1, **fault)
    with pytest.raises(error):
        first.send(run.lines_from(2))
    first.abandon()
    second = run.open()
    second.send(run.lines_from(run.count))
    assert run.confirmed(second, 6) == 6
    second.close(FINISHED, ())
    assert run.steps() == list(range(6))
    assert bench.server.run(run.run_id)["errors"] == []


def test_a_request_that_is_too_large_is_halved_until_it_fits(
    bench: DirectBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(bench, lines=40)

    def small(request: Any) -> Any:
        from tests.fakes.faults import Fault

        history = (request.body or {}).get("files", {}).get("wandb-history.jsonl")
        too_large = history and len(history["content"]) > 7
        return Fault("status", endpoint="file_stream", status=413) if too_large else None

    def posts() -> int:
        return sum("file_stream" in seen.path for seen in bench.server.requests())

    half = run.lines.first(20)
    monkeypatch.setattr(filestream, "MAX_POST", 2 * len(half.data))
    uploader = run.open()
    bench.server.hook = small
    before = posts()
    try:
        uploader.send(half)
        assert (first := posts() - before) > 4
        uploader.send(run.lines_from(20))
    finally:
        bench.server.hook = None
    assert posts() - before - first < first  # what the server takes is remembered
    assert uploader.confirm() == 40
    uploader.close(FINISHED, ())
    assert run.steps() == list(range(40))


def test_a_rate_limits_reset_holds_all_runs_back_for_a_minute_at_the_most(
    bench: DirectBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, pace = Run(bench), Pace(FakeClock())
    uploader = FileStream(run.target, bench.api, pace, Lanes("direct"))
    uploader.open()
    monkeypatch.setattr(
        bench.api, "file_stream", lambda *_: Streamed(False, remaining=0.0, reset=1e9)
    )
    uploader.send(run.lines)
    assert uploader.pause() == MAX_SLOWED


@pytest.mark.parametrize(("remaining", "reset"), [(1.0, 9.0), (None, 9.0), (0.0, 0.0)])
def test_what_a_rate_limit_has_left_holds_nobody_back(
    bench: DirectBench, monkeypatch: pytest.MonkeyPatch, remaining: float | None, reset: float
) -> None:
    run = Run(bench)
    uploader = FileStream(run.target, bench.api, Pace(FakeClock()), Lanes("direct"))
    uploader.open()
    answer = Streamed(False, remaining=remaining, reset=reset)  # type: ignore[arg-type]
    monkeypatch.setattr(bench.api, "file_stream", lambda *_: answer)
    uploader.send(run.lines)
    assert uploader.pause() < MAX_SLOWED / 10


@pytest.mark.parametrize(
    ("fault", "waits"),
    [
        ({"kind": "reset"}, True),
        ({"kind": "status", "status": 500}, True),
        ({"kind": "drop_reply"}, False),  # the count has them
        ({"kind": "status", "status": 429, "retry_after": 1}, False),  # an answer: not taken
        ({"kind": "status", "status": 409}, False),
    ],
    ids=str,
)
def test_the_next_session_waits_for_lines_that_had_no_answer_and_for_no_others(
    bench: DirectBench, fault: dict[str, Any], waits: bool
) -> None:
    run, last, lanes = Run(bench), LastSessions(), Lanes("auto")
    lanes.counted()

    def uploader() -> FileStream:
        known = replace(run.target, known=True)
        return FileStream(known, bench.api, Pace(Eager()), lanes, last=last)

    first = uploader()
    first.open()
    first.send(run.lines.first(2))
    bench.server.fault(endpoint="file_stream", times=1, **fault)
    with pytest.raises((Unreachable, RunTrouble)):
        first.send(run.lines_from(2))
    first.abandon()
    if waits:
        with pytest.raises(RunTrouble, match="lines before 6 were sent without an answer") as error:
            uploader().open()
        assert error.value.retry_after > 0
    else:
        assert uploader().open() in (2, 6)


def test_a_post_is_cut_by_its_bytes(bench: DirectBench) -> None:
    uploader = Run(bench).open()
    uploader._limit = 10
    cut = uploader._in_posts
    assert list(cut(["a" * 5, "b" * 5, "c"])) == [["a" * 5, "b" * 5], ["c"]]
    assert list(cut(["ä" * 3, "ä" * 3])) == [["ä" * 3], ["ä" * 3]]
    assert list(cut(["a" * 99, "b"])) == [["a" * 99], ["b"]]
    assert list(cut([])) == []


def test_a_run_is_told_once_by_its_first_line_and_again_by_each_later_start(
    bench: DirectBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, upsert = list[str](), bench.api.upsert

    def counted(ref: Any, **what: Any) -> bool:
        told.append(what["config"])
        return upsert(ref, **what)

    monkeypatch.setattr(bench.api, "upsert", counted)
    run = Run(bench)
    uploader = run.open()
    uploader.send(run.lines)
    assert len(told) == 1
    later = config_line(run.run_id, config={"lr": 7})
    uploader.send(Lines.of(later, run.lines.end))
    assert len(told) == 2
    assert "7" in told[1]


def test_a_proxys_page_that_says_too_large_is_no_portal(tmp_path: Path) -> None:
    with WandbServer(tmp_path, entity="team", world=replace(World.PROMPT, max_request=3000)) as own:
        run = Run(DirectBench(own), lines=60)
        uploader = run.open()
        uploader.send(run.lines)
        assert uploader.confirm() == 60
        uploader.close(FINISHED, ())
        assert run.steps() == list(range(60))


def test_nothing_runs_ahead_before_the_server_was_seen_to_count(bench: DirectBench) -> None:
    run = Run(bench)
    lanes = Lanes("auto")
    uploader = FileStream(run.target, bench.api, Pace(Eager()), lanes)
    assert (uploader.open(), uploader.ahead) == (0, 0)
    uploader.send(run.lines)
    bench.server.fault("stale", endpoint="graphql", lag=3, times=1)
    assert (uploader.confirm(), uploader.ahead, lanes.counts) == (3, 0, False)
    assert (uploader.confirm(), uploader.ahead, lanes.counts) == (6, AHEAD, True)


def test_a_count_that_moves_without_us_is_waited_for(bench: DirectBench) -> None:
    run = Run(bench)
    first = run.open()
    first.send(run.lines)
    bench.server.fault("stale", endpoint="graphql", lag=2, times=1)
    again = bench.uploader(run.target)
    with pytest.raises(RunTrouble, match="counted 4 lines, then others"):
        again.open()
    known = bench.uploader(replace(run.target, known=True))
    assert known.open() == 6


def test_pictures_and_sounds_are_there_with_their_rows(bench: DirectBench, tmp_path: Path) -> None:
    (tmp_path / "a b.png").write_bytes(PNG)
    (tmp_path / "x.wav").write_bytes(b"RIFF")
    (tmp_path / "text.png").write_bytes(b"not a picture")
    run = Run(bench, lines=2)
    run.target = replace(run.target, media=MediaFolder(tmp_path))
    records: list[dict[str, Any]] = [
        {"type": "media", "key": "val/notes", "path": "a b.png", "kind": "image", "caption": "one"},
        {"type": "media", "key": "voice", "path": "x.wav", "kind": "audio"},
        {"type": "media", "key": "gone", "path": "none.png", "kind": "image"},
        {"type": "media", "key": "out", "path": "../secret", "kind": "audio"},
        {"type": "media", "key": "text", "path": "text.png", "kind": "image"},
    ]
    stamped = [{**record, "timestamp": CREATED, "step": 1} for record in records]
    data = run.lines.data + b"".join(json.dumps(record).encode() + b"\n" for record in stamped)
    lines = Lines.of(data, Position())
    uploader = run.open()
    special = uploader.send(lines)
    assert (uploader.files, len(bench.rows(run.run_id))) == (2, len(lines))
    assert not [name for name in bench.server.run(run.run_id)["files"] if "media" in name]
    uploader.bring()
    assert uploader.files == 0
    uploader.close(FINISHED, (), [line for line in special if line.at.ordinal >= 2])
    shown = bench.server.run(run.run_id)
    picture = shown["history"][2]["val/notes"]
    assert (picture["width"], picture["height"], picture["format"]) == (1, 1, "png")
    assert (picture["_type"], picture["caption"]) == ("image-file", "one")
    assert shown["history"][3]["voice"]["_type"] == "audio-file"
    assert shown["history"][4]["gone"] == "none.png is missing: No such file or directory"
    assert "outside of the run's media folder" in shown["history"][5]["out"]
    assert shown["history"][6]["text"] == "text.png is missing: it can't be read"
    assert {picture["path"], shown["history"][3]["voice"]["path"]} <= set(shown["uploaded"])
    assert shown["files"][picture["path"]] == len(PNG)


def test_a_picture_that_got_lost_is_brought_again_at_the_end(
    bench: DirectBench, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    run = Run(bench, lines=1)
    run.target = replace(run.target, media=MediaFolder(tmp_path))
    record = {"type": "media", "key": "k", "path": "a.png", "timestamp": CREATED}
    lines = Lines.of(run.lines.data + json.dumps(record).encode() + b"\n", Position())
    first = run.open()
    bench.server.fault("status", endpoint="files", status=500, times=1)
    first.send(lines)
    with pytest.raises(Unreachable):
        first.bring()
    second = run.open()
    second.close(FINISHED, (), [line for line in lines if line.at.ordinal == 1])
    name = bench.rows(run.run_id)[1]["k"]["path"]
    assert bench.server.run(run.run_id)["files"][name] == len(PNG)


def test_a_deleted_run_waits_for_a_decision(bench: DirectBench) -> None:
    run = Run(bench)
    run.open().close(FINISHED, ())
    bench.server.delete_run(run.run_id)
    with pytest.raises(RunRefused, match="was deleted at the server") as refused:
        run.open()
    assert refused.value.code == "deleted"


def test_a_server_that_names_a_project_called_deleted_something_says_no_run_is_deleted(
    bench: DirectBench,
) -> None:
    target = replace(Run(bench).target, project="deleted-runs")
    words = "project deleted-runs can't be written"
    bench.server.fault("status", operation="UpsertBucket", status=400, message=words)
    try:
        with pytest.raises(RunRefused, match="does not take the run") as refused:
            bench.uploader(target).open()
    finally:
        bench.repair()
    assert refused.value.code == "refused"


def test_a_sign_of_life_comes_for_open_runs_alone(bench: DirectBench) -> None:
    run = Run(bench)
    uploader = bench.uploader(run.target)
    uploader.open()
    before = len(bench.server.requests())
    uploader.beat(60.0)
    assert len(bench.server.requests()) == before
    uploader.beat(0.0)
    assert bench.server.requests()[-1].endpoint == "file_stream"
    uploader.send(run.lines)
    uploader.close(FINISHED, ())
    uploader.beat(0.0)
    assert bench.state(run.run_id) == "finished"  # one more post would have reopened it


def test_a_sign_of_life_does_not_wait_for_a_server_that_named_a_time(bench: DirectBench) -> None:
    """One thread gives those of all runs."""
    own = DirectBench(bench.server, Pace(FakeClock()))
    run = Run(own)
    uploader = own.uploader(run.target)
    uploader.open()
    own.pace.slowed(f"{run.target.ref.entity}/{run.target.ref.project}", 3600.0)
    before = len(own.server.requests())
    uploader.beat(0.0)
    assert len(own.server.requests()) == before


def test_signs_of_life_are_given_until_nobody_holds_the_session() -> None:
    beats: list[float] = []

    class Session:
        def is_silent(self, seconds: float) -> bool:
            return True

        def beat(self, every: float) -> None:
            beats.append(every)

    import gc
    import time

    hearts, session = Heartbeats(every=7.0, look=0.01), Session()
    hearts.keep(session)
    deadline = time.monotonic() + patience(5)
    while not beats and time.monotonic() < deadline:
        time.sleep(0.01)
    assert beats[0] == 7.0
    del session
    gc.collect()
    time.sleep(0.1)
    count = len(beats)
    time.sleep(0.1)
    assert len(beats) == count
    hearts.close()


class Heart:
    """A session that is silent, and whose signs of life are answered once `answered` is set."""

    def __init__(self, answered: threading.Event) -> None:
        self.answered = answered
        self.begun = threading.Event()
        self.under_way = 0

    def is_silent(self, seconds: float) -> bool:
        return True

    def beat(self, every: float) -> None:
        self.under_way += 1
        self.begun.set()
        self.answered.wait()


def test_a_run_whose_signs_of_life_have_no_answer_holds_no_other_back() -> None:
    never, always = threading.Event(), threading.Event()
    always.set()
    hearts = Heartbeats(look=0.01)
    stuck = [Heart(never) for _ in range(heartbeats.AT_ONCE - 1)]
    other = Heart(always)
    try:
        for heart in stuck:
            hearts.keep(heart)
        assert all(heart.begun.wait(patience(5)) for heart in stuck)
        hearts.keep(other)
        assert other.begun.wait(patience(5))
        assert {heart.under_way for heart in stuck} == {1}
    finally:
        hearts.close()
        never.set()


def test_signs_of_life_go_on_once_the_system_has_threads_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start, refused = threading.Thread.start, threading.Event()

    def start_later(thread: threading.Thread) -> None:
        if thread.name == "heartbeat" and not refused.is_set():
            refused.set()
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_later)
    always = threading.Event()
    always.set()
    hearts, heart = Heartbeats(look=0.01), Heart(always)
    try:
        hearts.keep(heart)
        assert heart.begun.wait(patience(5))
        assert refused.is_set()
    finally:
        hearts.close()


def test_a_sign_of_life_waits_for_no_post_of_lines(bench: DirectBench) -> None:
    run = Run(bench)
    uploader = bench.uploader(run.target)
    uploader.open()
    assert uploader.is_silent(0.0)
    with uploader._posting:
        assert not uploader.is_silent(0.0)
        uploader.beat(0.0)
        uploader._post({}, is_beat=True)
    uploader.abandon()


def test_a_stop_on_the_runs_page_is_noted_and_uploading_goes_on(bench: DirectBench) -> None:
    run = Run(bench)
    uploader = bench.uploader(run.target)
    uploader.open()
    uploader.send(Lines.of(config_line(run.run_id) + train_line(1), Position()))
    assert uploader.stopped is False
