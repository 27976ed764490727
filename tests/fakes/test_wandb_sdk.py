"""What the real wandb SDK does against the stand-in: the facts that our uploader is built on.

A failure here after wandb moved means that a fact changed, and `syncd.destination.wandb` has to be
read again.
"""

from __future__ import annotations

import math
import os
import shutil
import signal
import struct
import subprocess
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import wandb
from wandb.errors import CommError
from wandb.sdk.mailbox.mailbox_handle import ServerResponseError

from tests.fakes.wandb_client import ENTITY, PROJECT, core_pids, open_run, quiet_sdk
from tests.fakes.wandb_recording import record
from tests.fakes.wandb_server import WandbServer
from tests.fakes.wandb_shapes import merged, recorded
from tests.fakes.wandb_world import RateLimits, World
from tests.patience import eventually, patience

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OURS = frozenset({"_step", "_runtime", "_timestamp"})  # keys that wandb puts into each row


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("wandb")
    with quiet_sdk(folder):
        yield folder
    assert eventually(lambda: not core_pids())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WandbServer]:
    """Each fact by itself: a server that tells the truth at once and refuses gaps."""
    with WandbServer(tmp_path_factory.mktemp("server"), world=World.PROMPT) as server:
        yield server
        assert server.unknown() == []  # the SDK asked for nothing that we do not know


@pytest.fixture
def worldly(tmp_path: Path) -> Iterator[WandbServer]:
    """A server that is as bad as the world."""
    with WandbServer(tmp_path / "worldly", world=World.DEFAULT) as server:
        yield server
        assert server.unknown() == []


@pytest.fixture(autouse=True)
def _no_faults(server: WandbServer) -> Iterator[None]:
    yield
    server.clear()


def log(run: wandb.Run, first: int, last: int) -> None:
    """Rows `first` to `last` - 1, equal whenever they are logged again."""
    for step in range(first, last):
        run.log({"loss": step / 2, "_timestamp": 1000.0 + step}, step=step, commit=True)


def steps(server: WandbServer, run_id: str) -> list[int]:
    return [row["_step"] for row in server.history(run_id)]


def await_lines(server: WandbServer, run_id: str, count: int) -> None:
    assert eventually(lambda: len(server.history(run_id)) == count), server.run(run_id)


def png(path: Path) -> None:
    """One red pixel."""

    def chunk(tag: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(tag + data))
        return struct.pack(">I", len(data)) + tag + data + crc

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0\xff\0\0")
    body = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def free(run_id: str) -> None:
    """Make wandb-core let go of a run whose init failed; without it the id stays in use."""
    wandb.attach(run_id).finish()  # type: ignore[attr-defined]


def test_every_row_is_one_line_even_an_empty_one(server: WandbServer, folder: Path) -> None:
    rows: list[dict[str, Any]] = [
        {},
        {"words": "only"},
        {"nothing": None},
        {"loss": math.nan},
        {"nested": {"a": {"b": 1}}},
        {"_step": 99, "_runtime": 7},
        {"": 1},
        {"huge": 2**63},
        {"whole": 1.0},
    ]
    run = open_run(server, folder, "rows")
    for step, row in enumerate(rows):
        run.log(row, step=step, commit=True)
    run.finish()
    assert steps(server, "rows") == list(range(len(rows)))
    bare = [{k: v for k, v in row.items() if k not in OURS} for row in server.history("rows")]
    assert bare[:3] == [{}, {"words": "only"}, {"nothing": None}]
    assert math.isnan(bare[3]["loss"])
    assert bare[4:] == [{"nested": {"a": {"b": 1}}}, {}, {}, {"huge": 2.0**63}, {"whole": 1}]


def test_a_second_session_continues_where_the_server_is(server: WandbServer, folder: Path) -> None:
    run = open_run(server, folder, "resumed", x_update_finish_state=True)
    log(run, 0, 5)
    run.finish(exit_code=1)
    assert (server.run("resumed")["state"], server.run("resumed")["exit_code"]) == ("failed", 1)
    run = open_run(server, folder, "resumed")
    assert run.starting_step == 5
    log(run, 3, 8)  # 3 and 4 are dropped as old
    run.finish()
    assert steps(server, "resumed") == list(range(8))
    assert server.run("resumed")["state"] == "running"  # x_update_finish_state=False


@pytest.mark.parametrize(
    ("operation", "harmed"), [("RunResumeStatus", False), ("UpsertBucket", True)]
)
def test_a_stale_count_in_the_upsert_writes_over_good_lines(
    server: WandbServer, folder: Path, operation: str, harmed: bool
) -> None:
    name = f"stale-{operation}"
    run = open_run(server, folder, name)
    log(run, 0, 50)
    run.finish()
    server.fault("stale", lag=20, operation=operation)
    run = open_run(server, folder, name)
    assert run.starting_step == 50  # nothing on it tells that lines may now go to place 30
    log(run, 50, 60)
    run.finish()
    found = server.run(name)
    assert len(found["history"]) == (50 if harmed else 60)
    assert len(found["overwrites"]) == (10 if harmed else 0)


def test_a_403_ends_the_stream_without_a_word_and_the_same_id_opens_again(
    server: WandbServer, folder: Path
) -> None:
    run = open_run(server, folder, "refused")
    log(run, 0, 3)
    await_lines(server, "refused", 3)
    server.fault("status", status=403, endpoint="file_stream", run="refused", times=1)
    log(run, 3, 6)
    assert eventually(lambda: any(seen.fault for seen in server.requests()))
    log(run, 6, 9)
    run.finish()
    assert steps(server, "refused") == [0, 1, 2]
    run = open_run(server, folder, "refused")
    log(run, run.starting_step, 9)
    run.finish()
    assert steps(server, "refused") == list(range(9))
    assert server.run("refused")["overwrites"] == []


def test_a_captive_portal_swallows_rows_as_if_they_had_arrived(
    server: WandbServer, folder: Path
) -> None:
    run = open_run(server, folder, "portal")
    log(run, 0, 2)
    await_lines(server, "portal", 2)
    server.fault("html", endpoint="file_stream", run="portal")
    before = len(server.requests())
    log(run, 2, 3)
    assert eventually(lambda: any(s.fault == "html" for s in server.requests()[before:]))
    server.clear()
    log(run, 3, 4)
    run.finish()
    assert steps(server, "portal") == [0, 1]
    assert "a gap" in server.run("portal")["errors"][0]["message"]


def test_an_outage_at_the_finish_is_bounded_and_leaves_nothing_behind(
    server: WandbServer, folder: Path
) -> None:
    broken = open_run(
        server, folder, "broken", finish_timeout=0.5, x_file_stream_retry_wait_min_seconds=1
    )
    well = open_run(server, folder, "well")
    log(broken, 0, 3)
    await_lines(server, "broken", 3)
    server.fault("hang", run="broken")
    log(broken, 3, 6)
    log(well, 0, 3)
    broken.finish()  # returns after finish_timeout
    server.clear()
    broken = open_run(server, folder, "broken")
    assert broken.starting_step == 3
    log(broken, 3, 6)
    broken.finish()
    well.finish()
    assert steps(server, "broken") == list(range(6))
    assert steps(server, "well") == list(range(3))
    assert (server.run("broken")["rewrites"], server.run("broken")["errors"]) == (0, [])


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"kind": "status", "status": 401}, "returned error 401"),
        ({"kind": "status", "status": 403}, "returned error 403"),
        ({"kind": "html"}, "invalid character '<'"),
        ({"kind": "truncate"}, "unexpected EOF"),
        ({"kind": "status", "status": 500}, "HTTP 500"),
        ({"kind": "hang"}, "context deadline exceeded"),
        ({"kind": "reset"}, "connection reset by peer"),
    ],
    ids=lambda value: str(value.get("status", value["kind"])) if isinstance(value, dict) else "",
)
def test_init_fails_in_time_and_holds_the_id_until_freed(
    server: WandbServer, folder: Path, fault: dict[str, Any], words: str
) -> None:
    server.fault(**fault, endpoint="graphql")
    with pytest.raises(CommError, match=words):
        open_run(server, folder, "never", init_timeout=1, x_graphql_retry_wait_min_seconds=1)
    server.clear()
    with pytest.raises(ServerResponseError, match="run ID never is in use"):
        open_run(server, folder, "never")
    free("never")
    open_run(server, folder, "never").finish()


def test_a_deleted_run_keeps_init_waiting_until_its_timeout(
    server: WandbServer, folder: Path
) -> None:
    open_run(server, folder, "gone").finish()
    server.delete_run("gone")
    with pytest.raises(CommError, match="previously created and deleted"):
        open_run(server, folder, "gone", init_timeout=1)
    free("gone")


def test_a_table_in_the_summary_is_a_file_and_no_line(server: WandbServer, folder: Path) -> None:
    run = open_run(server, folder, "table")
    log(run, 0, 1)
    run.summary["epochs"] = wandb.Table(columns=["epoch", "loss"], data=[[0, 1.5]])
    run.finish()
    found = server.run("table")
    assert steps(server, "table") == [0]
    assert found["summary"]["epochs"]["_type"] == "table-file"
    assert found["summary"]["epochs"]["path"] in found["files"]
    assert [item["state"] for item in found["artifacts"].values()] == ["COMMITTED"]


def test_an_image_is_a_file_and_one_key_of_its_row(server: WandbServer, folder: Path) -> None:
    pytest.importorskip("PIL", reason="wandb.Image needs pillow")
    png(folder / "roll.png")
    run = open_run(server, folder, "image")
    run.log({"roll": wandb.Image(str(folder / "roll.png"), caption="c")}, step=0, commit=True)
    run.finish()
    found = server.run("image")
    (row,) = found["history"]
    assert set(row) - OURS == {"roll"}
    assert row["roll"]["_type"] == "image-file"
    assert row["roll"]["path"] in found["files"]


def test_config_changes_mid_run_and_metric_axes_last_only_a_session(
    server: WandbServer, folder: Path
) -> None:
    run = open_run(server, folder, "axes")
    run.define_metric("trainer/step")
    run.define_metric("train/*", step_metric="trainer/step", step_sync=False)
    run.config["lr"] = 1
    change: Callable[..., None] = run.config.update
    change({"lr": 2, "note": math.nan}, allow_val_change=True)
    run.log({"trainer/step": 10, "train/loss": 1.0}, step=0, commit=True)
    run.log({"train/loss": 2.0}, step=1, commit=True)
    run.finish()
    found = server.run("axes")
    assert found["config"]["lr"] == 2
    assert len(found["config"]["_wandb"]["m"]) == 2
    assert "trainer/step" not in found["history"][1]  # with step_sync it would be put in
    open_run(server, folder, "axes").finish()
    assert server.run("axes")["config"]["_wandb"]["m"] == []
    assert server.run("axes")["config"]["lr"] == 2


def test_the_public_api_reads_a_run_back_and_deletes_it(server: WandbServer, folder: Path) -> None:
    run = open_run(server, folder, "read")
    log(run, 0, 12)
    run.finish()
    api = wandb.Api(overrides={"base_url": server.url}, api_key=server.key)
    found = api.run(f"{ENTITY}/{PROJECT}/read")
    assert (found.state, found.lastHistoryStep) == ("running", 11)
    assert found.load(force=True)["historyLineCount"] == 12
    rows = list(found.scan_history(page_size=5, use_cache=False))
    assert [row["loss"] for row in rows] == [step / 2 for step in range(12)]
    assert found.summary["loss"] == 5.5
    found.delete()
    with pytest.raises(CommError, match="Could not find run"):
        wandb.Api(overrides={"base_url": server.url}, api_key=server.key).run(
            f"{ENTITY}/{PROJECT}/read"
        )


def test_a_killed_wandb_core_is_replaced_after_a_teardown(
    server: WandbServer, folder: Path
) -> None:
    run = open_run(server, folder, "core")
    log(run, 0, 2)
    await_lines(server, "core", 2)
    for pid in core_pids():
        os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: not core_pids())
    with pytest.raises(ConnectionError):  # not at once: the socket's end has to be noticed first
        assert eventually(lambda: log(run, 2, 3))
    with pytest.raises(ConnectionError):
        wandb.teardown()
    wandb.setup(settings=wandb.Settings(silent=True, root_dir=str(folder)))
    run = open_run(server, folder, "core")
    log(run, run.starting_step, 3)
    run.finish()
    assert steps(server, "core") == [0, 1, 2]


# --- in the world as it is ---


def test_a_session_opened_before_the_count_has_caught_up_writes_over_lines(
    worldly: WandbServer, folder: Path
) -> None:
    """wandb#10708: the successor believes a count that is some seconds old."""
    run = open_run(worldly, folder, "early")
    log(run, 0, 5)
    run.finish()
    worldly.change_world(replace(worldly.world, tail_lag_s=0.0))
    run = open_run(worldly, folder, "early")
    assert run.starting_step == 5
    log(run, 5, 8)
    run.finish()
    assert steps(worldly, "early") == [5, 6, 7, 3, 4]
    assert len(worldly.run("early")["overwrites"]) == 3


def test_a_line_that_a_portal_swallowed_is_written_over_by_the_next_one(
    worldly: WandbServer, folder: Path
) -> None:
    """The gap is closed by the server, and nothing but the rows themselves tells of it."""
    run = open_run(worldly, folder, "swallowed")
    log(run, 0, 2)
    await_lines(worldly, "swallowed", 2)
    worldly.fault("html", endpoint="file_stream", run="swallowed")
    log(run, 2, 3)
    assert eventually(lambda: any(seen.fault == "html" for seen in worldly.requests()))
    worldly.clear()
    log(run, 3, 4)
    run.finish()
    assert steps(worldly, "swallowed") == [0, 1, 3]
    found = worldly.run("swallowed")
    assert [(gap["asked"], gap["offset"]) for gap in found["gaps"]] == [(3, 2)]
    assert (found["errors"], found["overwrites"]) == ([], [])


def test_a_post_that_is_over_the_rate_limit_is_sent_again(
    worldly: WandbServer, folder: Path
) -> None:
    limits = RateLimits(posts_per_run=0.5)  # a finish alone takes more
    worldly.change_world(replace(worldly.world, limits=limits))
    run = open_run(
        worldly, folder, "limited", x_file_stream_retry_wait_min_seconds=1,
        x_update_finish_state=True,
    )  # fmt: skip
    log(run, 0, 2)
    await_lines(worldly, "limited", 2)
    log(run, 2, 4)
    run.finish()
    assert 429 in [seen.status for seen in worldly.requests()]
    assert steps(worldly, "limited") == [0, 1, 2, 3]
    assert worldly.run("limited")["state"] == "finished"
    assert worldly.run("limited")["rewrites"] == 0


def test_bodies_are_compressed_where_that_was_offered_and_files_have_their_headers(
    worldly: WandbServer, folder: Path
) -> None:
    world = replace(worldly.world, gzip=True, upload_headers=("x-goog-acl:private",))
    worldly.change_world(world)
    run = open_run(worldly, folder, "offered", x_update_finish_state=True)
    log(run, 0, 2)
    run.summary["epochs"] = wandb.Table(columns=["epoch", "loss"], data=[[0, 1.5]])
    run.finish()
    found = worldly.run("offered")
    assert steps(worldly, "offered") == [0, 1]
    assert found["summary"]["epochs"]["path"] in found["files"]
    assert [item["state"] for item in found["artifacts"].values()] == ["COMMITTED"]
    worldly.change_world(replace(world, gzip=False))  # it is compressed: refused from now on
    run = open_run(worldly, folder, "not offered")
    log(run, 0, 2)
    run.finish()
    assert steps(worldly, "not offered") == [0, 1]


def test_the_sdk_sends_what_it_was_recorded_sending(folder: Path) -> None:
    """The diff of a new recording says what has changed: python -m tests.fakes.wandb_recording."""
    found, known = merged(record(folder / "recording")), merged(recorded())
    assert {kind: sorted(paths ^ known.get(kind, paths)) for kind, paths in found.items()} == {
        kind: [] for kind in known
    }


def test_the_key_is_in_no_file_and_no_process_argument(server: WandbServer, folder: Path) -> None:
    run = open_run(server, folder, "secret")
    log(run, 0, 1)
    (pid,) = core_pids()
    arguments = subprocess.run(
        ["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=True
    ).stdout
    run.finish()
    assert server.key not in arguments
    held = [path for path in folder.rglob("*") if path.is_file()]
    assert held
    assert not [path for path in held if server.key.encode() in path.read_bytes()]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_a_certificate_that_does_not_verify_fails_init_at_once(
    tmp_path: Path, folder: Path
) -> None:
    with WandbServer(tmp_path, tls=True) as server:
        with pytest.raises(CommError, match="failed to verify certificate"):
            open_run(server, folder, "tls", init_timeout=patience(10))
        free("tls")
        run = open_run(server, folder, "tls", insecure_disable_ssl=True)
        log(run, 0, 1)
        run.finish()
        assert steps(server, "tls") == [0]
