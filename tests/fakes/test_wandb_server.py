"""The W&B stand-in: the unmodified SDK works against it, and it forgives nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import wandb

from tests.fakes.wandb_server import WandbServer

if TYPE_CHECKING:
    from pathlib import Path


def open_run(server: WandbServer, folder: Path, run_id: str) -> wandb.Run:
    """A run of the real SDK, quiet and with its local files in `folder`."""
    settings = wandb.Settings(
        base_url=server.url,
        api_key=server.key,
        root_dir=str(folder),
        silent=True,
        console="off",
        disable_git=True,
        disable_code=True,
        init_timeout=20,
        x_disable_stats=True,
        x_disable_meta=True,
        x_disable_machine_info=True,
        x_file_stream_transmit_interval=0.05,
        x_update_finish_state=False,
    )
    return wandb.init(
        entity="team",
        project="songs",
        id=run_id,
        resume="allow",
        reinit="create_new",
        settings=settings,
    )


def test_rows_of_the_real_sdk_arrive_and_a_second_session_continues(tmp_path: Path) -> None:
    with WandbServer(tmp_path / "server") as server:
        run = open_run(server, tmp_path, "r1")
        for step in range(5):
            run.log({"loss": step}, step=step, commit=True)
        run.finish()
        run = open_run(server, tmp_path, "r1")
        assert run.starting_step == 5
        run.log({"loss": 5}, step=5, commit=True)
        run.finish()

        assert [(row["_step"], row["loss"]) for row in server.history("r1")] == [
            (step, step) for step in range(6)
        ]
        found = server.dump()["team"]["songs"]["r1"]
        assert found["errors"] == []
        assert found["overwrites"] == []
        assert found["state"] == "running"
        assert server.graphql.unknown == []
