"""What all tests share: random examples that are the same ones in every run, logging as it was
before a command set it up for itself, signals as a terminal leaves them, the W&B stand-in, the
limit per test, runs without git, and what `--quick` leaves out."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from karaoke_train.runlog import provenance
from tests.fakes.wandb_server import WandbServer
from tests.needs import HEAVY, MARKS, STAND_INS, STARTS, missing, needs
from tests.patience import patience

settings.register_profile(
    "steady",
    derandomize=True,
    database=None,
    deadline=None,  # other things run on the machine
    max_examples=60,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
steady = settings.get_profile("steady")
settings.register_profile("quick", parent=steady, max_examples=20)
if "KARAOKE_FUZZ" in os.environ:  # `make fuzz`: so many examples per test, from the seed given
    many = int(os.environ["KARAOKE_FUZZ"])
    settings.register_profile("fuzz", parent=steady, derandomize=False, max_examples=many)
    settings.load_profile("fuzz")
else:
    settings.load_profile("steady")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quick",
        action="store_true",
        help="leave out what needs torch, the wandb SDK, systemd, processes or much time"
        " (tests/needs.py), and try a third of the random examples",
    )


@pytest.hookimpl(tryfirst=True)  # before pytest-timeout reads it
def pytest_configure(config: pytest.Config) -> None:
    if config.option.timeout is None:  # workers of xdist are given what came of it
        config.option.timeout = patience(float(config.getini("timeout")))
    for mark, meaning in MARKS.items():
        config.addinivalue_line("markers", f"{mark}: {meaning}")
    # A shell has what it starts in the background ignore Ctrl-C, and nohup SIGHUP; the programs
    # that tests start would inherit that, and obey it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if config.option.quick:
        settings.load_profile("quick")  # before any test's own `settings` are made from it
        sys.meta_path.insert(0, _NotInQuick())
        sys.addaudithook(_refuse_processes)


def _refuse_processes(event: str, arguments: tuple[object, ...]) -> None:
    """Holds `--quick` to its word: its tests start no programs but shell scripts that stand in for
    some."""
    if event not in STARTS or "PYTEST_CURRENT_TEST" not in os.environ:
        return
    program = os.fsdecode(arguments[0]) if arguments else event
    if Path(program).name not in STAND_INS:
        reason = f"{program} is not for --quick: give the test the mark 'process'"
        raise pytest.fail.Exception(reason)  # no Exception, which the program might handle


class _NotInQuick:
    """Holds `--quick` to its word: the heavy libraries can't be imported in its processes."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: object = None
    ) -> ModuleSpec | None:
        if name in HEAVY:
            raise ImportError(f"{name} is not for --quick: give the test the mark {HEAVY[name]!r}")
        return None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is collected stays until the end: each search for garbage would look through all of it
    again, in every worker."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `--quick`, a module that would import what is left out, or what isn't installed, is not
    even collected."""
    path = collection_path
    if config.option.quick and path.suffix == ".py" and (needs(path) or missing(path)):
        return True
    return None


@pytest.hookimpl(tryfirst=True)  # before -m is looked at
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        for mark in needs(item.path, getattr(item, "fixturenames", ())):
            item.add_marker(mark)
    if config.option.quick:
        left_out = [
            item for item in items if any(mark.name in MARKS for mark in item.iter_markers())
        ]
        config.hook.pytest_deselected(items=left_out)
        unwanted = set(left_out)
        items[:] = [item for item in items if item not in unwanted]


@pytest.fixture(autouse=True, scope="session")
def _git_is_not_asked() -> Iterator[None]:
    """Each new run asks git three times, which takes longer than most tests of runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(provenance, "git_state", dict)
        yield


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WandbServer]:
    """A W&B stand-in in this process."""
    with WandbServer(tmp_path / "wandb") as running:
        yield running
