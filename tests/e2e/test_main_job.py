"""The main job with nothing fake but the server: real training, the real daemon, the real SDK."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from karaoke_train.runlog import RunLog
from syncd.destination.rows import Media
from tests.fakes.wandb_server import WandbServer
from tests.faults.rig import Rig, comparable, expected_rows
from tests.karaoke_train.runlog.files import lines_of
from tests.patience import patience, until

TRAIN = ["--fast_dev", "--offline", "--epochs", "2", "--max_samples", "8"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WandbServer]:
    with WandbServer(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def rig(tmp_path: Path, server: WandbServer) -> Iterator[Rig]:
    with Rig(tmp_path, server) as rig:
        yield rig


def run(rig: Rig, module: str, *words: str) -> subprocess.CompletedProcess[str]:
    """A command as a user would call it, in the folder above the logs."""
    return subprocess.run(
        [sys.executable, "-m", module, *words],
        cwd=rig.logs.parent,
        env=rig.environment,
        capture_output=True,
        text=True,
        timeout=patience(150),
        check=False,
    )


def test_a_trained_run_arrives_whole_and_later_records_alone_are_sent(
    rig: Rig, server: WandbServer
) -> None:
    trained = run(rig, "karaoke_train.cli", *TRAIN, "--run_name", "first song")
    assert trained.returncode == 0, trained.stderr
    (path,) = rig.logs.glob("training_log_*.jsonl")
    records = [line.record or {} for line in lines_of(path)]
    kinds = {record["type"] for record in records}
    assert kinds - {"system"} == {"config", "train", "val", "epoch_summary", "media", "end"}

    rig.start()
    log = Ended(path, records[0]["run_id"])
    rig.await_end(log)  # type: ignore[arg-type]
    there = server.run(log.run_id)
    assert same_with_media(path, there) == len(records)
    assert (there["state"], there["exit_code"]) == ("finished", 0)
    assert there["display_name"] == "first song"
    assert there["config"]["trainer"]["argv"][-2:] == ["--run_name", "first song"]
    assert there["config"]["trainer"]["host"]
    assert there["config"]["epochs"] == 2
    assert any(name.endswith(".table.json") for name in there["files"])
    assert any(name.startswith("media/images/val/piano_roll") for name in there["files"])
    assert there["events"] == []  # no system metrics of the daemon's machine

    rig.kill()
    with RunLog.resume(path, config={"lr": 1.0}) as more:
        for step in range(50):
            more.train(100 + step, 3, {"train/loss": 0.5})
    sent_before = len(server.history(log.run_id))
    rig.start()
    until(lambda: len(server.history(log.run_id)) == sent_before + 52, "the new records arrive")
    rig.await_end(log)  # type: ignore[arg-type]
    there = server.run(log.run_id)
    assert there["rewrites"] == 0, "records that were there were sent again"
    assert (there["errors"], there["overwrites"]) == ([], [])
    assert there["config"]["lr"] == 1.0


def test_status_says_where_everything_is_with_nobody_logged_in(rig: Rig) -> None:
    del rig.environment["WANDB_API_KEY"]
    with RunLog.create(rig.logs) as log:
        log.train(1, 0, {"train/loss": 1.0})
    status = run(rig, "syncd", "status")
    assert status.returncode == 5
    assert "3 records wait, safe on disk" in status.stdout
    assert "nobody is logged in" in status.stdout
    assert "wandb login" in status.stdout
    assert "karaoke-syncd sync" in status.stdout


def test_a_run_marked_no_wandb_is_uploaded_by_name_alone(rig: Rig, server: WandbServer) -> None:
    with RunLog.create(rig.logs, upload=False) as log:
        log.train(1, 0, {"train/loss": 1.0})
    assert run(rig, "syncd", "sync").returncode == 0
    with pytest.raises(KeyError):
        server.run(log.run_id)
    done = run(rig, "syncd", "sync", str(log.path))
    assert done.returncode == 0, done.stderr
    assert rig.assert_same(log) == 3


def test_an_older_document_is_one_run_however_often_it_is_synced(
    rig: Rig, server: WandbServer
) -> None:
    document = {
        "config": {"lr": 0.001},
        "train_metrics": [
            {"timestamp": "2024-01-15T14:30:23", "step": n, "epoch": 0, "train/loss": 1 / (n + 1)}
            for n in range(5)
        ],
        "val_metrics": [{"timestamp": "2024-01-15T14:30:24", "step": 4, "val/loss": 0.5}],
        "epoch_summaries": [{"timestamp": "2024-01-15T14:30:25", "epoch": 0, "train_loss": 0.3}],
    }
    path = rig.logs / "training_log_20240115_143022.json"
    path.write_text(json.dumps(document))
    for _ in range(2):
        done = run(rig, "syncd", "sync")
        assert done.returncode == 0, done.stderr
    document["train_metrics"].append(
        {"timestamp": "2024-01-15T14:31:00", "step": 5, "epoch": 1, "train/loss": 0.1}
    )
    path.write_text(json.dumps(document))
    assert run(rig, "syncd", "sync", str(path)).returncode == 0
    runs = [run for key, run in all_runs(server) if key.startswith("doc-")]
    assert [there["display_name"] for there in runs] == ["sync_20240115_143022"]
    (there,) = runs
    assert [row["_step"] for row in there["history"]] == list(range(9))
    assert there["history"][-1]["train/loss"] == 0.1
    assert there["rewrites"] == 0
    assert there["state"] == "finished"


def same_with_media(path: Path, there: dict) -> int:  # type: ignore[type-arg]
    """How many rows equal the file's lines, a picture standing for the file it refers to."""
    for row in there["history"]:
        for key, value in row.items():
            if isinstance(value, dict) and value.get("_type") == "image-file":
                assert value["path"] in there["files"]
                row[key] = "picture"
    expected = expected_rows(lines_of(path))
    for row in expected:
        for key, value in row.items():
            if isinstance(value, Media):
                row[key] = "picture"
    assert [comparable(row) for row in there["history"]] == expected
    assert (there["errors"], there["overwrites"]) == ([], [])
    return len(expected)


class Ended:
    """A run that is known by its file."""

    def __init__(self, path: Path, run_id: str) -> None:
        self.path, self.run_id = path, run_id


def all_runs(server: WandbServer) -> list[tuple[str, dict]]:  # type: ignore[type-arg]
    return [(key.run, server.run(key.run)) for key in server.store.runs]
