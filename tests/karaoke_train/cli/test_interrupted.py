"""Ctrl-C before there is anything to keep."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import patience

# as an import that Ctrl-C falls into: it takes every exception for a part that is not there
LIBRARY = """
import os, signal
from karaoke_train.runlog.interrupts import importing
signal.signal(signal.SIGINT, signal.{before})
with importing():
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        pass
print("broken" if signal.getsignal(signal.SIGINT) is signal.default_int_handler else "went on")
"""


@pytest.mark.process
@pytest.mark.parametrize(
    ("before", "told"),
    [("default_int_handler", (130, "", "interrupted\n")), ("SIG_IGN", (0, "went on\n", ""))],
)
def test_ctrl_c_while_a_library_is_imported_ends_it_and_nothing_is_made_of_it(
    before: str, told: tuple[int, str, str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIBRARY.format(before=before)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        timeout=patience(60.0),
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == told


# Ctrl-C comes when the first library of others is imported
PROGRAM = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "click":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
from {module} import main
sys.argv[1:] = ["--version"]
main()
"""


@pytest.mark.process
@pytest.mark.parametrize("module", ["karaoke_train.cli", "syncd.__main__"])
def test_ctrl_c_while_a_program_is_still_imported_ends_it_without_a_traceback(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(module=module)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        timeout=patience(60.0),
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")
