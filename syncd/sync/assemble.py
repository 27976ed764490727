"""What `start` and `sync` have in common: a Daemon with its server, workers and threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from syncd.destination.wandb.api import Server
from syncd.destination.wandb.credentials import Login
from syncd.destination.wandb.sdk import WandbSdk
from syncd.destination.wandb.worker_pool import Pool
from syncd.report.status import destination_folder
from syncd.settings import Settings
from syncd.sync.loop import Daemon


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
