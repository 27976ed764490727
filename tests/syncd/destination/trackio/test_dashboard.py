"""The dashboard's page, served from this process."""

from __future__ import annotations

import threading
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from syncd.destination.trackio.dashboard import dashboard
from syncd.destination.trackio.store import Store
from tests.patience import patience
from tests.syncd.viewer import needs_trackio


@needs_trackio
def test_nothing_of_the_server_runs_on_once_the_page_is_closed(store_folder: Path) -> None:
    """It would ask for Python while that ends, and end the process by SIGSEGV."""
    before = set(threading.enumerate())
    with dashboard(Store(store_folder), "songs", None) as address:
        browser = HTTPConnection(urlsplit(address).netloc, timeout=patience(30))
        browser.request("GET", "/")  # and keeps its connection
        assert browser.getresponse().read()
        serving = [one for one in set(threading.enumerate()) - before if "(run)" in one.name]
        assert serving
    assert [one for one in serving if one.is_alive()] == []
    browser.close()
