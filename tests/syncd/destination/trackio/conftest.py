"""One store per test process: trackio reads its folder when it is imported."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def store_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store that trackio keeps in this process."""
    if "trackio" not in sys.modules:
        os.environ["TRACKIO_DIR"] = str(tmp_path_factory.mktemp("trackio"))
    utils = pytest.importorskip("trackio.utils", reason="trackio is not installed")
    folder = Path(utils.TRACKIO_DIR)
    assert folder.is_relative_to(tmp_path_factory.getbasetemp()), "never the user's own store"
    return folder
