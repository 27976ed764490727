"""What `--quick` leaves out, and what it refuses to a test that should have been left out."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.conftest import _refuse_processes
from tests.docs.structure import ROOT
from tests.needs import needs


@pytest.mark.parametrize(
    ("file", "marks"),
    [
        ("tests/karaoke_train/runlog/test_format.py", set()),
        ("tests/karaoke_train/model/test_model.py", {"torch"}),
        ("tests/faults/test_holes.py", {"sdk", "process"}),
    ],
)
def test_what_a_test_needs_is_seen_in_what_it_imports(file: str, marks: set[str]) -> None:
    assert needs(ROOT / file) == marks
    assert needs(ROOT / file, ["store_folder"]) == marks | {"local"}


@pytest.mark.parametrize("event", ["subprocess.Popen", "os.posix_spawn"])
def test_a_program_that_a_quick_test_starts_is_refused_and_the_mark_named(event: str) -> None:
    with pytest.raises(pytest.fail.Exception, match="give the test the mark 'process'"):
        _refuse_processes(event, (sys.executable, [sys.executable, "-c", ""], None, None))
    with pytest.raises(pytest.fail.Exception, match=r"os\.fork"):
        _refuse_processes("os.fork", ())


def test_a_script_that_stands_in_for_a_program_is_not_refused(tmp_path: Path) -> None:
    _refuse_processes("subprocess.Popen", (str(tmp_path / "systemctl"), [], None, None))
    _refuse_processes("open", ("a file", "r", 0))
