"""What a test needs beyond a base install and a moment, read from its module's imports.

Each need is a mark, given by tests/conftest.py, so `pytest -m "not torch"` works; `--quick` leaves
all of them out. Nothing is imported here to find out: a module that needs torch is not even
collected by `--quick`, which therefore runs where torch isn't installed.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from tests.docs.structure import ROOT, imports

MARKS = {
    "torch": "needs the extra `train`",
    "sdk": "runs the real wandb SDK, or a real daemon that does",
    "systemd": "starts a user manager of its own",
    "local": "needs the extra `local`: importing trackio takes seconds",
    "process": "starts programs, such as Python, which alone takes longer than most tests",
    "slow": "takes more than some seconds for another reason",
}
BY_MODULE = {  # importing it, directly or not -> the mark
    "torch": "torch",
    "transformers": "torch",
    "accelerate": "torch",
    "lightning": "torch",
    "wandb": "sdk",
    "trackio": "local",
    "tests.faults.rig": "sdk",
    "tests.syncd.viewer": "process",
}
BY_FIXTURE = {"box": "systemd", "fast_dev": "torch", "store_folder": "local"}
# of sys.audit, where a test would start a program
STARTS = {"subprocess.Popen", "os.posix_spawn", "os.fork", "os.forkpty", "os.system"}
STAND_INS = {
    "systemctl",
    "systemd-run",
    "loginctl",
    "journalctl",
}  # shell scripts, each of milliseconds
HEAVY = {name: mark for name, mark in BY_MODULE.items() if not name.startswith("tests.")}


def needs(path: Path, fixtures: Collection[str] = ()) -> set[str]:
    """The marks of a test in this file that uses these fixtures."""
    reached = _reached(path)
    by_module = {mark for name, mark in BY_MODULE.items() if name in reached}
    return by_module | {mark for name, mark in BY_FIXTURE.items() if name in fixtures}


def missing(path: Path) -> set[str]:
    """The libraries that importing this file takes and that are not installed."""
    libraries = {name for name in _reached(path) if not _is_ours(name.partition(".")[0])}
    return {name for name in libraries if not _installed(name)}


_installed = cache(find_spec)


@cache
def _reached(path: Path) -> frozenset[str]:
    """What the file imports, in its functions, too, and what importing that brings along: modules
    of the repository by their whole names, libraries by the first part."""
    found: set[str] = set()
    waiting = set(imports(path.relative_to(ROOT), typing=False))
    while waiting:
        name = waiting.pop()
        top = name.partition(".")[0]
        if not _is_ours(top):
            found.add(top)
        elif name not in found:
            found.add(name)
            waiting |= _brought_along(name)
    return frozenset(found)


@cache
def _is_ours(top: str) -> bool:
    return (ROOT / top).is_dir()


@cache
def _brought_along(name: str) -> frozenset[str]:
    """What importing a module of ours imports: its packages and itself are executed."""
    parts = name.split(".")
    places = (Path(*parts[:end]) for end in range(1, len(parts) + 1))
    executed = (
        file for place in places for file in (place / "__init__.py", place.with_suffix(".py"))
    )
    return frozenset().union(
        *(
            imports(file, functions=False, typing=False)
            for file in executed
            if (ROOT / file).is_file()
        )
    )
