"""What a test needs beyond a base install and a moment, read from its module's imports.

Each need is a mark, given by tests/conftest.py, so `pytest -m "not torch"` works; `--quick` leaves
all of them out. Nothing is imported here to find out: a module that needs torch is not even
collected by `--quick`, which therefore runs where torch isn't installed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from tests.docs.structure import ROOT, imports

MARKS = {
    "torch": "needs the extra `train`",
    "sdk": "runs the real wandb SDK, or a real daemon that does",
    "systemd": "starts a user manager of its own",
    "slow": "takes more than some seconds for another reason",
}
BY_MODULE = {  # importing it, directly or not -> the mark
    "torch": "torch",
    "transformers": "torch",
    "accelerate": "torch",
    "lightning": "torch",
    "wandb": "sdk",
    "tests.faults.rig": "sdk",
}
BY_FIXTURE = {"box": "systemd", "fast_dev": "torch"}
HEAVY = {name: mark for name, mark in BY_MODULE.items() if not name.startswith("tests.")}


def needs(path: Path, fixtures: Collection[str] = ()) -> set[str]:
    """The marks of a test in this file that uses these fixtures."""
    reached = _reached(path)
    by_module = {mark for name, mark in BY_MODULE.items() if name in reached}
    return by_module | {mark for name, mark in BY_FIXTURE.items() if name in fixtures}


def missing(path: Path) -> set[str]:
    """The libraries that importing this file takes and that are not installed."""
    libraries = {name for name in _reached(path) if not (ROOT / name.partition(".")[0]).is_dir()}
    return {name for name in libraries if not _installed(name)}


_installed = cache(find_spec)


@cache
def _reached(path: Path) -> frozenset[str]:
    """What the file imports, in its functions, too, and what importing that brings along: modules
    of the repository by their whole names, libraries by the first part."""
    first = path.relative_to(ROOT)
    found: set[str] = set()
    waiting = set(imports(first, typing=False))
    while waiting:
        name = waiting.pop()
        top = name.partition(".")[0]
        if not (ROOT / top).is_dir():
            found.add(top)
        elif name not in found:
            found.add(name)
            for file in _executed(name):
                waiting |= imports(file, functions=False, typing=False)
    return frozenset(found)


def _executed(name: str) -> Iterator[Path]:
    """The files that importing a module of ours executes: its packages' and its own."""
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        place = Path(*parts[:end])
        for file in (place / "__init__.py", place.with_suffix(".py")):
            if (ROOT / file).is_file():
                yield file
