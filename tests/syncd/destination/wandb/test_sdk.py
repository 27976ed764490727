"""The contract over wandb's own SDK, against the stand-in; and what is wandb's alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from karaoke_train.runlog.format import RunHeader
from karaoke_train.runlog.reader import Position
from syncd.destination.base import Labels, Outcome, RemoteRun, Target
from syncd.destination.wandb.api import Api
from syncd.destination.wandb.credentials import Login
from syncd.destination.wandb.definitions import wandb_config
from syncd.destination.wandb.sdk import WandbSdk
from syncd.destination.wandb.worker import Finish, Open
from syncd.destination.wandb.worker_pool import NoAnswer, Worker, WorkerPool
from syncd.errors import ProblemCode, Refused, RunRefused, RunTrouble, Unreachable
from syncd.source.lines import Lines
from tests.fakes.wandb_server import WandbServer
from tests.fakes.wandb_world import World
from tests.patience import patience
from tests.syncd.destination.contract import FINISHED, Bench, Run, UploaderContract
from tests.syncd.world import config_line

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.sdk


class WandbBench(Bench):
    def __init__(self, server: WandbServer, pool: WorkerPool) -> None:
        self.server, self.pool = server, pool
        self.asks = Api(Login(server.url, "team", server.key, "test"), timeout=patience(3.0))

    def uploader(self, target: Target) -> WandbSdk:
        return WandbSdk(
            target, self.asks, self.pool, request_timeout=patience(5.0), count_stable_for=0.05
        )

    def rows(self, run_id: str) -> list[dict[str, Any]]:
        return self.server.history(run_id)

    def state(self, run_id: str) -> str:
        return str(self.server.run(run_id)["state"])

    def break_down(self) -> None:
        self.server.fault("status", endpoint="graphql", status=503)

    def repair(self) -> None:
        self.server.clear()

    def settle(self) -> None:
        """The SDK sends by itself."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WandbBench]:
    """Each fact by itself; test_sdk_world has the world as it is."""
    pool = WorkerPool()
    folder = tmp_path_factory.mktemp("server")
    with WandbServer(folder, entity="team", world=World.PROMPT) as server:
        yield WandbBench(server, pool)
        assert server.graphql.unknown == []
        runs = server.dump().get("team", {}).get("songs", {}).values()
        assert [run["overwrites"] for run in runs if run["overwrites"]] == []
    pool.close()


class TestWandbSdk(UploaderContract):
    pass


def test_what_wandb_shows_is_the_trainers(bench: WandbBench) -> None:
    run = Run(bench)
    trainer = {"host": "gpu-7", "pid": 42, "git": {"commit": "abc"}, "argv": ["train.py", "--x"]}
    header = run.target.header._replace(run_name="my run", trainer=trainer)
    run.target = replace(run.target, header=header)
    uploader = run.open()
    more = config_line(run.run_id, config={"lr": 0.5, "new": 1}, resumed=True)
    uploader.send(Lines.of(run.lines.data + more, run.lines.start))
    assert run.confirmed(uploader, 7) == 7
    uploader.close(FINISHED, [{"epoch": 0, "train_loss": 0.5}, {"epoch": 1, "train_loss": 0.25}])
    shown = bench.server.run(run.run_id)
    assert shown["display_name"] == "my run"
    assert (shown["config"]["lr"], shown["config"]["new"]) == (0.5, 1)
    assert shown["config"]["trainer"] == trainer
    assert shown["fields"]["program"] == "train.py"
    assert bench.rows(run.run_id)[2]["_timestamp"] == pytest.approx(1705329022.0)
    assert "epoch_summaries" in shown["summary"]
    assert shown["exit_code"] == 0


def test_a_count_that_contradicts_the_last_step_sends_nothing(bench: WandbBench) -> None:
    run = Run(bench)
    first = run.open()
    first.send(run.lines)
    assert run.confirmed(first, 6) == 6
    first.abandon()
    bench.server.fault("stale", endpoint="graphql", operation="RunResumeStatus", lag=4)
    try:
        uploader = bench.uploader(run.target)
        with pytest.raises(RunTrouble, match="the server count"):
            uploader.open()
        uploader.abandon()
    finally:
        bench.repair()
    assert run.steps() == list(range(6))


def test_a_deleted_run_waits_for_a_decision(bench: WandbBench) -> None:
    run = Run(bench)
    uploader = run.open()
    uploader.close(FINISHED, ())
    bench.server.delete_run(run.run_id)
    # the SDK asks until the time is over
    again = WandbSdk(run.target, bench.asks, bench.pool, request_timeout=1.5)
    with pytest.raises(RunRefused, match="was deleted at the server") as refused:
        again.open()
    again.abandon()
    assert refused.value.code == "deleted"


@pytest.mark.parametrize(
    "words",
    [
        "<!DOCTYPE html><html><body>This page was deleted</body></html>",
        "Failed to get resume status for run r1: returned error 404: "
        '{"data":null,"errors":[{"message":"\\u003c!DOCTYPE html\\u003eInvalid run"}]}',
        "Failed to get resume status for run r1: returned error 404: "
        '{"data":null,"errors":[{"message":"404 page not found"}]}',
        'Failed to get resume status for run r1: returned error 422: {"data":null}',
        'upsert: returned error 403: {"data":null,"errors":[{"message":"Forbidden"}]}',
    ],
)
def test_the_sdks_words_for_what_is_in_between_refuse_no_run(bench: WandbBench, words: str) -> None:
    """As SDK 0.31 says it: a proxy's words stand where the server's own would."""
    uploader = WandbSdk(Run(bench).target, bench.asks, bench.pool)
    assert isinstance(uploader._explained(f"CommError: {words}"), RunTrouble)


@pytest.mark.parametrize(
    "words",
    [
        "Invalid project name 'a/b'",
        "fault: invalid entity",
        # of a server that does not know the question's `missingOk`
        "Failed to get resume status for run r1: returned error 404: "
        '{"data":{"model":{"bucket":null}},"errors":[{"message":"run t/p/r1 was not found"}]}',
    ],
)
def test_the_sdks_words_for_a_name_that_can_not_be_wait_for_a_person(
    bench: WandbBench, words: str
) -> None:
    uploader = WandbSdk(Run(bench).target, bench.asks, bench.pool)
    assert isinstance(uploader._explained(f"CommError: {words}"), RunRefused)


def test_the_names_in_the_sdks_words_say_nothing_about_them(bench: WandbBench) -> None:
    target = Run(bench).target
    named = replace(target, project="deleted-runs", entity="data")
    uploader = WandbSdk(named, bench.asks, bench.pool)
    slow = "CommError: Post https://h/files/data/deleted-runs/r1/file_stream: EOF"
    assert isinstance(uploader._explained(slow), RunTrouble)
    told = (
        'returned error 404: {"data":{"model":null},"errors":[{"message":"deleted-runs is none"}]}'
    )
    refused = uploader._explained(f"CommError: {told}")
    assert isinstance(refused, RunRefused)
    assert refused.code == ProblemCode.REFUSED


def test_a_key_that_is_not_known_is_the_users_to_mend(bench: WandbBench) -> None:
    stranger = Api(Login(bench.server.url, "team", "f" * 40, "test"))
    uploader = WandbSdk(Run(bench).target, stranger, bench.pool, count_stable_for=0.05)
    with pytest.raises(Refused, match="does not accept the API key"):
        uploader.open()
    uploader.abandon()


def test_a_users_config_named_trainer_is_not_lost() -> None:
    header = RunHeader("r", "n", "p", {"trainer": "mine"}, trainer={"host": "h"})
    shown = wandb_config(header)
    assert "mine" in str(shown)
    assert "h" in str(shown)


def test_the_key_is_in_no_order_as_shown(bench: WandbBench) -> None:
    from syncd.destination.wandb.worker import Open

    order = Open("url", bench.server.key, "e", "p", "r", "n", {}, "", Labels(), 1.0)
    assert bench.server.key not in repr(order)
    assert bench.server.key not in repr(bench.asks.login)


def test_outcomes_of_a_crash_leave_the_run_as_it_is(bench: WandbBench) -> None:
    run = Run(bench)
    uploader = run.open()
    uploader.send(Lines.of(config_line(run.run_id), Position()))
    assert run.confirmed(uploader, 1) == 1
    uploader.close(Outcome("crashed", 1), ())
    assert bench.state(run.run_id) == "running"
    assert run.target.media.path.name == "none"


def slow(
    monkeypatch: pytest.MonkeyPatch, answers: list[bool], slow_one: type = Open
) -> list[tuple[str, float]]:
    """Such requests are answered in time or not, by this list. Returns all, with the time that they
    had."""
    asked: list[tuple[str, float]] = []

    def call(worker: Worker, request: object, timeout: float) -> int:
        asked.append((type(request).__name__, timeout))
        if isinstance(request, slow_one) and not answers.pop(0):
            raise NoAnswer("wandb's SDK did not answer")
        return 0

    monkeypatch.setattr(Worker, "call", call)
    return asked


def test_a_session_that_is_slow_to_open_has_longer_the_next_time(
    bench: WandbBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = slow(monkeypatch, [False, False, True, True])
    pool = WorkerPool()
    for in_time in (False, False, True, True):
        uploader = WandbSdk(Run(bench).target, bench.asks, pool, request_timeout=15.0)
        # in time or not, there is no run at the server: nothing was really asked
        with pytest.raises(RunTrouble, match="something else since" if in_time else "not answer"):
            uploader.open()
        uploader.abandon()
    pool.close()
    assert [name for name, _ in asked] == ["Start", "Open"] * 4
    assert [seconds for name, seconds in asked if name == "Open"] == [40.0, 80.0, 160.0, 160.0]
    assert [seconds for name, seconds in asked if name == "Start"] == [60.0, 120.0, 240.0, 240.0]


def test_a_session_that_is_slow_to_end_has_longer_the_next_time(
    bench: WandbBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However quickly it was opened: a table of 28,000 columns is what takes its time."""
    asked = slow(monkeypatch, [False, False, True], Finish)
    monkeypatch.setattr(bench.asks, "remote_run", lambda ref: RemoteRun(0, -1, "finished"))
    pool = WorkerPool()
    for in_time in (False, False, True):
        uploader = WandbSdk(Run(bench).target, bench.asks, pool, count_stable_for=0.0)
        uploader.open()
        if in_time:
            uploader.close(FINISHED, [])
        else:
            with pytest.raises(RunTrouble, match="not answer"):
                uploader.close(FINISHED, [])
            uploader.abandon()
    pool.close()
    assert [seconds for name, seconds in asked if name == "Finish"] == [60.0, 120.0, 240.0]
    assert pool.slack == 2.0


def test_a_server_that_is_away_gives_the_machine_no_longer(
    bench: WandbBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow(monkeypatch, [False])
    pool = WorkerPool()
    uploader = WandbSdk(Run(bench).target, bench.asks, pool)
    monkeypatch.setattr(bench.asks, "viewer", lambda: (_ for _ in ()).throw(Unreachable("away")))
    with pytest.raises(Unreachable, match="away"):
        uploader.open()
    uploader.abandon()
    pool.close()
    assert pool.slack == 1.0
