"""trackio's dashboard over the local store, served to this machine's browser."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote

from syncd.destination.trackio.names import project_name
from syncd.destination.trackio.store import Store
from syncd.errors import SyncError

HOST: Final = "127.0.0.1"  # nobody else's machine reaches it
ENDS_WITHIN: Final = 2.0  # seconds that its server has, once it is asked to end, and once more


@contextlib.contextmanager
def dashboard(store: Store, project: str, port: int | None) -> Iterator[str]:
    """The page's address, while it is served. project: which one is shown first; empty for none.
    port: None takes a free one. Raises Refused, Unreachable, SyncError."""
    store.check()
    import trackio

    # What it prints has a token in it that lets its bearer delete runs. The page does without
    with contextlib.redirect_stdout(io.StringIO()), _no_proxies():
        try:
            app, address, *_ = trackio.show(
                open_browser=False,
                block_thread=False,
                host=HOST,
                share=False,
                server_port=port,
                mcp_server=False,
            )
        except OSError:  # what it says names settings of its own
            why = f"port {port} is taken" if port else "no port is free"
            raise _does_not_start(why, remedy="Name a free port with --port") from None
        except RuntimeError as error:
            raise _does_not_start(str(error)) from None
    shown = f"?project={quote(project_name(project))}" if project else ""
    try:
        yield f"{address.rstrip('/')}/{shown}"
    finally:
        app.close(verbose=False)
        _await_end(app)


def _await_end(app: Any) -> None:
    """See that nothing of the server runs on: trackio's `close` only asks it to end. Its loop is C
    that calls Python: while that ended, it brought `view` down by SIGSEGV, one time in twenty."""
    server = app._uvicorn_server
    server.thread.join(ENDS_WITHIN)
    server.force_exit = True  # a browser that keeps a connection would be waited for without an end
    server.thread.join(ENDS_WITHIN)


def _does_not_start(why: str, remedy: str = "") -> SyncError:
    return SyncError(
        f"the dashboard does not start: {why}",
        meaning="The records are in the store all the same",
        remedy=remedy,
    )


@contextlib.contextmanager
def _no_proxies() -> Iterator[None]:
    """Meanwhile no proxy is known: trackio asks its own page whether it is there, and a proxy would
    be asked for this machine's address. A browser that is opened later knows them as before."""
    proxies = {name: os.environ.pop(name) for name in list(os.environ) if _is_proxy(name)}
    try:
        yield
    finally:
        os.environ.update(proxies)


def _is_proxy(name: str) -> bool:
    return name.lower().endswith("_proxy")
