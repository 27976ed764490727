"""trackio's dashboard over the local store, served to this machine's browser."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from urllib.parse import quote

from syncd.destination.trackio.names import project_name
from syncd.destination.trackio.store import Store
from syncd.errors import SyncError

HOST = "127.0.0.1"  # nobody else's machine reaches it


@contextlib.contextmanager
def dashboard(store: Store, project: str, port: int | None) -> Iterator[str]:
    """The page's address, while it is served. project: which one is shown first; empty for none.
    port: None takes a free one. Raises Refused, Unreachable, SyncError."""
    store.check()
    import trackio

    # What it prints has a token in it that lets its bearer delete runs. The page does without
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            app, address, *_ = trackio.show(
                open_browser=False,
                block_thread=False,
                host=HOST,
                share=False,
                server_port=port,
                mcp_server=False,
            )
        except (OSError, RuntimeError) as error:
            raise SyncError(
                f"the dashboard does not start: {error}",
                meaning="The records are in the store all the same",
                remedy="Name a free port with --port",
            ) from None
    shown = f"?project={quote(project_name(project))}" if project else ""
    try:
        yield f"{address.rstrip('/')}/{shown}"
    finally:
        app.close(verbose=False)
