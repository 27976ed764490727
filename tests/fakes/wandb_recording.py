"""Records what wandb's own SDK sends to a server, for `wandb_shapes`.

``python -m tests.fakes.wandb_recording`` writes recorded_sdk.json anew, with the installed SDK; its
diff is what has changed in the protocol since the last time.
"""

from __future__ import annotations

import math
import tempfile
import wave
from pathlib import Path
from typing import TYPE_CHECKING

import wandb
from PIL import Image

from tests.fakes.wandb_client import ENTITY, PROJECT, open_run, quiet_sdk
from tests.fakes.wandb_server import WandbServer
from tests.fakes.wandb_shapes import RECORDED, Shape, shape_of, write
from tests.fakes.wandb_world import World
from tests.patience import eventually

if TYPE_CHECKING:
    from tests.fakes.faults import Request

RUN = "recorded"


def record(folder: Path) -> list[Shape]:
    """The SDK's requests in a small run: made with all that a run can be called, axes, rows, a
    picture, a sound, a table, more config; failed; resumed by its id; finished; asked about by the
    public API. The caller sees to the SDK's set-up (`quiet_sdk`); files are made in `folder`."""
    seen: list[Shape] = []
    folder.mkdir(parents=True, exist_ok=True)
    with WandbServer(folder / "server", world=World.PROMPT) as server:

        def keep(request: Request) -> None:
            if request.endpoint != "other":  # the SDK's telemetry of itself
                seen.append(shape_of(request))

        server.hook = keep
        _first_session(server, folder)
        _second_session(server, folder)
        _questions(server)
        assert server.unknown() == []
        assert server.run(RUN)["state"] == "finished"
    return seen


def _first_session(server: WandbServer, folder: Path) -> None:
    run = open_run(
        server,
        folder,
        RUN,
        x_update_finish_state=True,
        run_name="a name",
        run_group="a group",
        run_job_type="train",
        run_notes="notes",
        run_tags=("one", "two"),
        program="train.py",
        host="gpu-7",
    )
    run.config["lr"] = 1e-3
    run.config["nested"] = {"a": [1, None]}
    run.define_metric("trainer/step")
    run.define_metric("train/*", step_metric="trainer/step", step_sync=False)
    for step in range(3):
        run.log({"trainer/step": step, "train/loss": 1 / (step + 1)}, step=step, commit=True)
    assert eventually(lambda: len(server.history(RUN)) == 3)  # a post that holds rows alone
    picture, sound = _picture(folder), _sound(folder)
    run.log({"roll": wandb.Image(str(picture), caption="c")}, step=3, commit=True)
    run.log({"voice": wandb.Audio(str(sound), caption="c")}, step=4, commit=True)
    run.config["more"] = math.nan
    run.summary["epochs"] = wandb.Table(columns=["epoch", "loss"], data=[[0, 1.5]])
    run.finish(exit_code=3)


def _second_session(server: WandbServer, folder: Path) -> None:
    run = open_run(server, folder, RUN, x_update_finish_state=True)
    run.log({"train/loss": 0.25}, step=run.starting_step, commit=True)
    run.finish()


def _questions(server: WandbServer) -> None:
    run = wandb.Api(overrides={"base_url": server.url}, api_key=server.key).run(
        f"{ENTITY}/{PROJECT}/{RUN}"
    )
    assert len(list(run.files())) > 3
    assert len(list(run.scan_history())) == 6
    assert run.lastHistoryStep == 5


def _picture(folder: Path) -> Path:
    path = folder / "roll.png"
    Image.new("RGB", (2, 1)).save(path)
    return path


def _sound(folder: Path) -> Path:
    path = folder / "voice.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16))
    return path


def main() -> None:
    with tempfile.TemporaryDirectory() as name, quiet_sdk(Path(name)):
        shapes = record(Path(name))
    write(shapes, wandb.__version__)
    print(f"{len(set(shapes))} shapes of {len(shapes)} requests: {RECORDED}")


if __name__ == "__main__":
    main()
