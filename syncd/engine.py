"""What `start` and `sync` have in common: a Daemon with its server, workers and threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from syncd.credentials import Login
from syncd.daemon import Daemon
from syncd.server import Server
from syncd.settings import Settings
from syncd.status import destination_folder
from syncd.upload.pool import Pool
from syncd.upload.wandb_sdk import WandbSdk


@contextmanager
def engine(
    settings: Settings,
    login: Login,
    *,
    files: Sequence[Path] | None = None,
    documents: Sequence[Path] = (),
    once: bool = False,
    run_name: str = "",
) -> Iterator[Daemon]:
    """A daemon that is ready to tick; leaving drops all its sessions at once."""
    server, pool = Server(login, settings.limits.answer), Pool()
    with ThreadPoolExecutor(settings.limits.open_runs + 1, "upload") as threads:
        daemon = Daemon(
            settings,
            destination_folder(settings.state_dir, login.base_url),
            server,
            lambda target: WandbSdk(
                target,
                server,
                pool,
                answer=settings.limits.answer,
                settle=settings.limits.settle,
            ),
            threads,
            files=files,
            documents=documents,
            once=once,
            run_name=run_name,
        )
        try:
            yield daemon
        finally:
            server.close()
            pool.close()
            threads.shutdown(cancel_futures=True)
            daemon.drop()
