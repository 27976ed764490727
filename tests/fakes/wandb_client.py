"""Ways for tests to talk to the W&B stand-in: the real SDK, quiet and contained, and plain HTTP."""

from __future__ import annotations

import base64
import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import requests
import wandb

from tests.patience import patience

if TYPE_CHECKING:
    from collections.abc import Iterator

ENTITY, PROJECT = "team", "songs"
SOON = patience(5.0)  # seconds for an answer


class Server(Protocol):
    """What WandbServer and WandbProcess have in common that a client needs."""

    key: str

    @property
    def url(self) -> str: ...


@contextmanager
def quiet_sdk(folder: Path, environ: dict[str, str] | None = None) -> Iterator[None]:
    """The real SDK, saying nothing and writing only below `folder`; its wandb-core ends with it."""
    ours = {
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_CACHE_DIR": str(folder / "cache"),
        "WANDB_CONFIG_DIR": str(folder / "config"),
        "WANDB_DATA_DIR": str(folder / "data"),
        **(environ or {}),
    }
    before = {name: os.environ.get(name) for name in (*ours, "WANDB_SERVICE")}
    os.environ.update(ours)
    wandb.setup(settings=wandb.Settings(silent=True, root_dir=str(folder)))
    try:
        yield
    finally:
        wandb.teardown()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def open_run(server: Server, folder: Path, run_id: str, **settings: Any) -> wandb.Run:
    """Open (or resume) a run with the real SDK; `settings` are wandb.Settings fields."""
    chosen = {
        "base_url": server.url,
        "api_key": server.key,
        "root_dir": str(folder),
        "console": "off",
        "silent": True,
        "disable_git": True,
        "disable_code": True,
        "init_timeout": patience(15),
        "finish_timeout": patience(10),
        "x_disable_stats": True,
        "x_disable_meta": True,
        "x_disable_machine_info": True,
        "x_save_requirements": False,
        "x_skip_transaction_log": True,
        "x_file_stream_transmit_interval": 1,  # whole seconds only: 0.5 means 0, and 0 means 15
        "x_update_finish_state": False,
        **settings,
    }
    return wandb.init(
        entity=ENTITY,
        project=PROJECT,
        id=run_id,
        resume="allow",
        reinit="create_new",
        settings=wandb.Settings(**chosen),
    )


def core_pids() -> list[int]:
    """Living wandb-core processes that are children of this one."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, _, rest = stat.read_text().partition(" (")
        except OSError:  # it ended while we looked
            continue
        name, _, fields = rest.rpartition(") ")
        state, parent = fields.split()[:2]
        if name == "wandb-core" and int(parent) == os.getpid() and state != "Z":
            found.append(int(pid))
    return found


class Http:
    """Plain HTTP to the server, as the SDK's two main requests."""

    def __init__(self, server: Server, key: str | None = None) -> None:
        self._base = server.url
        token = base64.b64encode(f"api:{key or server.key}".encode()).decode()
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Authorization"] = f"Basic {token}"

    def __enter__(self) -> Http:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    def graphql(self, query: str, timeout: float = SOON, **variables: Any) -> requests.Response:
        body = {"query": query, "variables": variables}
        return self.session.post(f"{self._base}/graphql", json=body, timeout=timeout)

    def upsert(self, run_id: str) -> requests.Response:
        query = "mutation UpsertBucket { upsertBucket }"
        return self.graphql(query, entity=ENTITY, project=PROJECT, name=run_id)

    def resume_status(self, run_id: str, timeout: float = SOON) -> dict[str, Any]:
        query = "query RunResumeStatus { model }"
        reply = self.graphql(query, timeout, entity=ENTITY, project=PROJECT, name=run_id)
        reply.raise_for_status()
        bucket: dict[str, Any] = reply.json()["data"]["model"]["bucket"]
        return bucket

    def history(
        self, run_id: str, offset: int, *rows: dict[str, Any], timeout: float = SOON
    ) -> requests.Response:
        """POST history rows at a line offset."""
        content = [json.dumps(row) for row in rows]
        return self.stream(
            run_id,
            {"files": {"wandb-history.jsonl": {"offset": offset, "content": content}}},
            timeout,
        )

    def stream(self, run_id: str, body: dict[str, Any], timeout: float = SOON) -> requests.Response:
        url = f"{self._base}/files/{ENTITY}/{PROJECT}/{run_id}/file_stream"
        return self.session.post(url, json=body, timeout=timeout)
