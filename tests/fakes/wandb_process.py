"""The W&B stand-in in a process of its own, for tests that kill and restart things."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.fakes.wandb_server import CONTROL_PATH, ENTITY, KEY
from tests.fakes.wandb_world import World
from tests.patience import patience

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from tests.fakes.faults import Kind
    from tests.fakes.wandb_state import Json

ROOT = Path(__file__).parents[2]
START_S = patience(20.0)


class WandbProcess:
    """Starts the server on entry and ends it on exit; `kill` and `start` in between as wanted.

    The port stays the same over restarts, and so does what the server knows (in `state_dir`).
    """

    def __init__(self, state_dir: Path, *, tls: bool = False, world: World = World.DEFAULT) -> None:
        self.key = KEY
        self.entity = ENTITY
        self.state_dir = state_dir
        self.tls = tls
        self.world = world
        self.port = 0
        self.ca_file = state_dir / "tls" / "cert.pem" if tls else None
        self._control_port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> Self:
        with tempfile.TemporaryDirectory() as folder:
            port, control = Path(folder, "port"), Path(folder, "control")
            command = [sys.executable, "-m", "tests.fakes.wandb_server"]
            options = {
                "--port": self.port,
                "--state": self.state_dir,
                "--port-file": port,
                "--control-port-file": control,
                "--world": self.world.to_json(),
            }
            words = [str(word) for pair in options.items() for word in pair]
            tls = ["--tls"] if self.tls else []
            self._process = subprocess.Popen(
                [*command, *words, *tls], cwd=ROOT, stdout=subprocess.DEVNULL
            )
            self._await(port)
            self.port, self._control_port = int(port.read_text()), int(control.read_text())
        return self

    def _await(self, file: Path) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_S
        while not file.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.close()
                raise RuntimeError("the W&B stand-in did not start; its words are on stderr")
            time.sleep(0.02)

    def close(self) -> None:
        """End it with SIGTERM, and wait."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(START_S)
            self._process = None

    def kill(self) -> None:
        """End it with SIGKILL, and wait."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(START_S)
            self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # --- the same words as WandbServer has ---

    def dump(self) -> Json:
        answer: Json = self._order("dump")
        return answer

    def run(self, run_id: str) -> Json:
        answer: Json = self._order("run", run_id=run_id)
        return answer

    def history(self, run_id: str) -> list[Json]:
        rows: list[Json] = self.run(run_id)["history"]
        return rows

    def requests(self) -> list[Json]:
        answer: list[Json] = self._order("requests")
        return answer

    def counts(self) -> dict[str, int]:
        answer: dict[str, int] = self._order("counts")
        return answer

    def fault(self, kind: Kind, **how: Any) -> None:
        self._order("fault", kind=kind, **how)

    def change_world(self, world: World) -> None:
        """Behave otherwise from the next request on, after a restart, too."""
        self.world = world
        self._order("world", world=world.to_json())

    def clear(self) -> None:
        self._order("clear")

    def refuse(self) -> None:
        self._order("refuse")

    def delete_run(self, run_id: str) -> None:
        self._order("delete_run", run_id=run_id)

    def forget_run(self, run_id: str) -> None:
        self._order("forget_run", run_id=run_id)

    def append_foreign(self, run_id: str, row: Mapping[str, Any]) -> int:
        answer: int = self._order("append_foreign", run_id=run_id, row=dict(row))
        return answer

    def crash_run(self, run_id: str) -> None:
        self._order("crash_run", run_id=run_id)

    def unknown(self) -> list[str]:
        """GraphQL operations that came and that the stand-in does not know."""
        answer: list[str] = self._order("unknown")
        return answer

    def _order(self, what: str, **arguments: Any) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._control_port, timeout=START_S)
        try:
            connection.request("POST", CONTROL_PATH, json.dumps({"do": what, **arguments}))
            reply = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        if "ok" not in reply:
            raise KeyError(reply["errors"][0]["message"])
        return reply["ok"]
