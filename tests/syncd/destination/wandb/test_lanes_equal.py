"""The same log makes the same run, whichever lane it takes: but for what `lanes.NAMED` names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from syncd.destination.wandb.sdk import WandbSdk
from syncd.destination.wandb.worker_pool import WorkerPool
from tests.fakes.wandb_server import WandbServer
from tests.fakes.wandb_state import RunKey
from tests.fakes.wandb_world import World
from tests.patience import patience
from tests.syncd.destination.wandb import odd_logs as odd
from tests.syncd.destination.wandb.lanes import ENTITY, NAMED, Lane, Log, differences, run_at
from tests.syncd.destination.wandb.test_filestream import DirectBench

if TYPE_CHECKING:
    from syncd.destination.base import Target, Uploader

pytestmark = pytest.mark.sdk
_numbers = count()


class SdkLane(Lane):
    project = "by-sdk"

    def __init__(self, server: WandbServer) -> None:
        self._bench = DirectBench(server)
        self.pool = WorkerPool()

    def uploader(self, target: Target) -> Uploader:
        return WandbSdk(
            target,
            self._bench.api,
            self.pool,
            request_timeout=patience(5.0),
            count_stable_for=0.05,
        )


class DirectLane(Lane):
    project = "by-hand"

    def __init__(self, server: WandbServer) -> None:
        self._bench = DirectBench(server)
        self.api = self._bench.api

    def uploader(self, target: Target) -> Uploader:
        return self._bench.uploader(target)


class Both:
    """Both lanes to one server; the SDK's process serves all runs, one after another."""

    def __init__(self, server: WandbServer, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.lanes: tuple[Lane, Lane] = (SdkLane(server), DirectLane(server))

    def differ(self, log: Log) -> list[str]:
        """How the runs differ that the log makes."""
        for lane in self.lanes:
            log.upload(lane)
        run_id = log.header.run_id
        sdk, direct = (run_at(self.server, lane.project, run_id) for lane in self.lanes)
        return differences(sdk, direct, resumed=bool(log.sessions))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("both")
    odd.write_media(folder / "media")
    with WandbServer(folder / "server", entity="team", world=World.PROMPT) as server:
        made = Both(server, folder / "media")
        yield made
        assert server.unknown() == []
        assert isinstance(made.lanes[0], SdkLane)
        made.lanes[0].pool.close()


STOP = b""  # another session goes on here
LOGS = {
    "lines": odd.LINES + odd.TIMES,
    "values": [*odd.NUMBERS, *odd.NESTED, STOP, *odd.KEYS, *odd.NESTED[:3], STOP, odd.KEYS[2]],
    "configs": [*odd.CONFIGS[:3], STOP, *odd.CONFIGS[3:]],
    "epochs": odd.EPOCHS,
    "pictures": [
        *(odd.media(f"m/{at}", path) for at, path in enumerate(odd.PICTURES)),
        *(odd.media(f"k{kind}", "a.png", kind, 3) for kind in ("picture", "", None, 3)),
    ],
    "sounds": [odd.media(f"s/{at}", path, "audio", "c") for at, path in enumerate(odd.SOUNDS)],
    "keys": [odd.media(key, "a.png", caption=key) for key in odd.MEDIA_KEYS],
}


@pytest.mark.parametrize("name", LOGS)
def test_an_odd_log_is_the_same_run_in_both_lanes(both: Both, name: str) -> None:
    log = odd.log(f"r{next(_numbers)}", LOGS[name], both.folder)
    assert both.differ(log) == []


@pytest.mark.parametrize("name", ["pictures", "sounds", "keys"])
def test_what_rows_refer_to_is_among_the_runs_files_by_its_path(both: Both, name: str) -> None:
    """Or `verify` would miss what is there."""
    log = odd.log(f"r{next(_numbers)}", LOGS[name], both.folder)
    both.differ(log)
    for lane in both.lanes:
        run = run_at(both.server, lane.project, log.header.run_id)
        values = [value for row in run["history"] for value in row.values()]
        named = {value["path"] for value in values if isinstance(value, dict) and value.get("size")}
        assert named
        assert named <= set(run["files"])


LABELS = {"tags": ["a", "b"], "group": "g", "job_type": "train", "notes": "take one"}
OTHERS = {"tags": ["c", "x" * 65, "c"], "group": "h", "job_type": "tune", "notes": "take two"}


def test_a_runs_labels_are_told_once_and_again_when_they_change(both: Both) -> None:
    run_id = f"r{next(_numbers)}"
    more = [odd.train(x=1), STOP, odd.train(x=2), odd.config(run_id, **OTHERS), odd.train(x=3)]
    made = odd.log(run_id, more, both.folder)
    first = odd.config(run_id, **LABELS)
    log = replace(made, data=first + made.data.partition(b"\n")[2])
    assert both.differ(log) == []
    fields = run_at(both.server, "by-hand", run_id)["fields"]
    told = [fields[name] for name in ("tags", "groupName", "jobType", "notes")]
    assert told == [["c", "x" * 64], "h", "tune", "take two"]


def test_labels_that_were_changed_on_the_page_stay(both: Both) -> None:
    run_id = f"r{next(_numbers)}"
    lines = [odd.train(x=1), odd.train(x=2)]
    first = odd.config(run_id, **LABELS)
    made = odd.log(run_id, lines, both.folder)
    log = replace(made, data=first + made.data.partition(b"\n")[2])
    for lane in both.lanes:
        log.first(2).upload(lane)
        both.server.store.upsert(
            RunKey(ENTITY, lane.project, run_id), {"tags": ["mine"], "notes": "", "jobType": "old"}
        )
        uploader = lane.uploader(log.target(lane, 2))
        assert uploader.open() == 2
        uploader.close(None, ())
        fields = run_at(both.server, lane.project, run_id)["fields"]
        assert (fields["tags"], fields["jobType"], fields["groupName"]) == (["mine"], "old", "g")


@pytest.mark.parametrize("code", [-1, 1 << 31, True], ids=str)
def test_an_odd_exit_code_is_the_same_in_both_lanes(both: Both, code: object) -> None:
    last = odd.end("failed", code)
    log = odd.log(f"r{next(_numbers)}", [odd.train(x=1)], both.folder, last=last)
    assert both.differ(log) == []
    run = run_at(both.server, "by-hand", log.header.run_id)
    assert (run["state"], run["exit_code"]) == ("failed", -1 if code == -1 else 1)


def test_a_crashed_run_is_the_same_in_both_lanes(both: Both) -> None:
    log = odd.log(f"r{next(_numbers)}", [odd.train(x=1)], both.folder, last=odd.train(x=2))
    left = [found for found in both.differ(log) if not found.startswith("config/_wandb/m/")]
    assert left == []  # the SDK tells axes some seconds later than rows, or with the end
    assert run_at(both.server, "by-sdk", log.header.run_id)["state"] == "running"


@settings(max_examples=4, phases=(Phase.generate,))  # each takes the SDK a second
@given(st.lists(odd.RECORDS, min_size=40, max_size=80), st.booleans())
def test_any_records_are_the_same_run_in_both_lanes(
    both: Both, records: list[bytes], stop: bool
) -> None:
    lines = [*records[:20], *([STOP] if stop else []), *records[20:]]
    log = odd.log(f"r{next(_numbers)}", lines, both.folder)
    assert both.differ(log) == []


def test_what_is_named_as_different_is_all_that_is_left_out() -> None:
    """The comparison sees every other difference, and none where there is none."""
    run = {"history": [{"_runtime": 1, "a": 1.0}], "files": {"x": b"1"}, "config": {"a": {"b": 1}}}
    assert differences(run, run) == []
    others = [
        {**run, "history": [{"_runtime": 1, "a": True}]},
        {**run, "history": []},
        {**run, "files": {"x": b"2"}},
        {**run, "config": {"a": {}}},
        {**run, "more": None},
    ]
    assert [len(differences(run, other)) for other in others] == [1] * len(others)
    assert differences(run, {**run, "history": [{"_runtime": 2, "a": 1.0}]}) == []
    assert all(NAMED.values())


def test_only_a_resumed_runs_summary_may_have_more_in_the_direct_lane() -> None:
    less, more = {"summary": {"a": {"b": 1}}}, {"summary": {"a": {"b": 1, "c": 2}}}
    assert differences(less, more, resumed=True) == []
    assert len(differences(less, more)) == len(differences(more, less, resumed=True)) == 1
