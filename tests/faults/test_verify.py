"""`karaoke-syncd verify` as a command, through wandb's real public API, against histories that are
right and others that something was done to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from karaoke_train.runlog import RunLog, provenance
from syncd.errors import Exit
from tests.fakes.wandb_server import WandbServer
from tests.fakes.wandb_world import World
from tests.faults import store
from tests.faults.rig import LOCAL, ROOT, WAV, Rig, write
from tests.karaoke_train.runlog.files import lines_of
from tests.patience import patience
from tests.syncd.viewer import needs_trackio


def change_a_value(history: list[str]) -> None:
    history[1] = json.dumps(json.loads(history[1]) | {"val/loss": 0.125})


def lose_some(history: list[str]) -> None:
    del history[5:7]
    del history[-1]


DAMAGE: dict[str, Callable[[list[str]], object]] = {  # to the lines that the server has of a run
    "right": lambda history: None,
    "changed": change_a_value,
    "twice": lambda history: history.insert(4, history[3]),
    "lost": lose_some,
    "foreign": lambda history: history.append(json.dumps({"_step": len(history), "loss": 1})),
    "gone": lambda history: history.clear(),
    "soundless": lambda history: None,  # its file is taken away
}


AT_HOME: dict[str, Callable[[Path, RunLog], object]] = {  # the same to the local store
    "right": lambda folder, log: None,
    "changed": lambda folder, log: store.change(
        folder, log.run_id, 1, lambda row: row.update({"val/loss": 0.125})
    ),
    "lost": lambda folder, log: store.lose(folder, log.run_id, 5, 6, len(lines_of(log.path)) - 1),
    "foreign": lambda folder, log: store.add(folder, log.run_id, len(lines_of(log.path))),
    "gone": lambda folder, log: store.lose(folder, log.run_id, *range(len(lines_of(log.path)))),
    "soundless": lambda folder, log: store.lose_files(folder, log.run_id),
    # "twice" it can't have: its index takes no second row of a line
}


@dataclass(frozen=True)
class Uploaded:
    """Runs that were uploaded, and damaged at the server."""

    rig: Rig
    runs: dict[str, RunLog]

    @property
    def place(self) -> str:
        return "in the local dashboard" if self.rig.local else "on the server"

    def count(self, name: str) -> int:
        return len(lines_of(self.runs[name].path))


@pytest.fixture(scope="module", params=["auto", pytest.param(LOCAL, marks=needs_trackio)])
def uploaded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Uploaded]:
    folder = tmp_path_factory.mktemp("verify")
    sound = folder / "sound.wav"
    sound.write_bytes(WAV)
    with (
        pytest.MonkeyPatch.context() as patch,
        WandbServer(folder / "server", world=World.PROMPT) as server,  # what is read is in place
        Rig(folder, server, KARAOKE_SYNCD_OPEN_RUNS=str(len(DAMAGE))) as rig,
    ):
        patch.setattr(provenance, "provenance", lambda argv: {"host": "here", "pid": os.getpid()})
        rig.go_by(request.param)
        runs = {}
        for name in AT_HOME if rig.local else DAMAGE:
            log = runs[name] = RunLog.create(rig.logs, project="songs", run_name=name)
            write(log, 12)
            log.append({"type": "odd", "empty": {}, "wide": 2**64 - 1, "deep": {"a": {"b": None}}})
            log.media(12, "sung", sound, kind="audio", caption="la")
            log.close()
        rig.start()
        for log in runs.values():
            rig.await_end(log)
        rig.kill()
        ids = {log.run_id: name for name, log in runs.items()}
        for key, state in server.store.runs.items():
            DAMAGE[ids[key.run]](state.history)
            if ids[key.run] == "soundless":
                state.files.clear()
        for name, log in runs.items() if rig.local else ():
            AT_HOME[name](rig.store, log)
        yield Uploaded(rig, runs)


@pytest.fixture(scope="module")
def said(uploaded: Uploaded) -> dict[str, Any]:
    """What `verify --json` says of each, by name."""
    code, out, err = verify(uploaded.rig, "--json")
    said = json.loads(out)
    assert (said["schema"], said["exit_code"], said["exit"]) == (1, code, "different")
    assert (code, err) == (Exit.DIFFERENT, "")
    ids = {log.run_id: name for name, log in uploaded.runs.items()}
    return {ids[run["run_id"]]: run for run in said["runs"]}


def verify(rig: Rig, *arguments: object, **environment: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "syncd", "verify", *map(str, arguments)],
        cwd=ROOT,
        env=rig.environment | environment,
        capture_output=True,
        text=True,
        timeout=patience(90),
    )
    return done.returncode, done.stdout, done.stderr


def test_only_the_run_that_is_there_once_is_equal(said: dict[str, Any]) -> None:
    assert [name for name, run in said.items() if run["equal"]] == ["right"]


def test_a_changed_value_is_named(said: dict[str, Any]) -> None:
    assert said["changed"]["different"] == 1
    assert said["changed"]["differences"] == [
        {"ordinal": 1, "key": "val/loss", "file": "1.0", "server": "0.125"}
    ]


def test_a_record_that_is_there_twice_is_named(said: dict[str, Any]) -> None:
    if "twice" not in said:
        pytest.skip("the local store takes no second row of a line")
    assert (said["twice"]["repeated"], said["twice"]["repeated_at"]) == (1, [3])


def test_records_that_are_not_there_are_named(said: dict[str, Any]) -> None:
    """Also the last one: it was confirmed, so it does not wait."""
    last = said["lost"]["records"] - 1
    assert (said["lost"]["missing_at"], said["lost"]["waiting"]) == ([5, 6, last], 0)


def test_rows_of_somebody_else_are_named(uploaded: Uploaded, said: dict[str, Any]) -> None:
    assert (said["foreign"]["foreign_at"], said["foreign"]["missing"]) == (
        [uploaded.count("foreign")],
        0,
    )


def test_a_run_that_the_server_lost_is_missing(uploaded: Uploaded, said: dict[str, Any]) -> None:
    gone = said["gone"]
    assert (gone["rows"], gone["missing"], gone["waiting"]) == (0, uploaded.count("gone"), 0)


def test_a_sound_that_is_not_there_is_named(uploaded: Uploaded, said: dict[str, Any]) -> None:
    where = uploaded.count("soundless") - 2  # before the end
    found = said["soundless"]
    assert (found["absent_at"], found["missing"], found["different"]) == ([where], 0, 0)


def test_a_sound_is_brought_again_by_a_repair(uploaded: Uploaded) -> None:
    log = uploaded.runs["soundless"]
    assert verify(uploaded.rig, log.run_id)[0] == Exit.DIFFERENT
    code, out, err = verify(uploaded.rig, log.run_id, "--repair")
    assert (code, "equal" in out) == (Exit.OK, True), (out, err)
    run = uploaded.rig.run(log.run_id)
    if not uploaded.rig.local:
        assert len(WAV) in [size for name, size in run["files"].items() if "media/audio" in name]
    assert (run["overwrites"], run["state"]) == ([], "finished")


def test_a_table_says_it_to_people(uploaded: Uploaded) -> None:
    """A run by its id and a run by its file."""
    runs = uploaded.runs
    code, out, _ = verify(uploaded.rig, runs["changed"].run_id, runs["right"].path)
    assert code == Exit.DIFFERENT
    words = " ".join(out.split())
    assert f"record 1, val/loss: 1.0 here, 0.125 {uploaded.place}" in words
    count = uploaded.count("right")
    assert f"right {count} {count} 0 equal" in words
    assert f"1 of 2 runs are {uploaded.place} as they are here: {count} records" in words


def test_equal_runs_exit_with_0(uploaded: Uploaded) -> None:
    code, _, err = verify(uploaded.rig, uploaded.runs["right"].run_id)
    assert (code, err) == (Exit.OK, "")


def test_what_is_no_run_is_refused_in_words(uploaded: Uploaded) -> None:
    code, _, err = verify(uploaded.rig, "nobody")
    assert code == Exit.USAGE
    assert "'nobody' is no run that is known here, and no file with records" in err


def test_without_a_server_or_a_login_it_says_so(
    uploaded: Uploaded,
) -> None:
    rig, runs = uploaded.rig, uploaded.runs
    if rig.local:
        pytest.skip("the local store is at no address, and asks for no login")
    code, out, _ = verify(rig, runs["right"].run_id, WANDB_BASE_URL="http://127.0.0.1:9")
    assert code == Exit.OFFLINE
    assert "127.0.0.1 refuses the connection" in out
    code, out, _ = verify(rig, runs["right"].run_id, WANDB_API_KEY="")
    assert code == Exit.LOGIN
    assert "nobody is logged in" in out
