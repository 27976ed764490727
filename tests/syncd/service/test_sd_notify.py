"""sd_notify's messages, and when the loop sends them."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from karaoke_train.runlog.reader import Position
from syncd.errors import ProblemCode, RunRefused, Unreachable
from syncd.service import supervision
from syncd.service.sd_notify import Notifier
from syncd.service.supervision import ServiceNotifier, summary
from syncd.sync.connectivity import Connectivity
from syncd.sync.scheduler import Phase, Run


class Manager:
    """The service manager's end of the socket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address.replace("@", "\0"))
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        messages = []
        while True:
            try:
                messages.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return messages

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(str(tmp_path / "notify"))
    yield made
    made.close()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Loop:
    """What an notifier looks at of a daemon."""

    def __init__(self) -> None:
        self.connectivity = Connectivity(known=True)
        self.runs: dict[str, Run] = {}
        self.awake = self.runs
        self.finished: dict[str, str] = {}


def test_messages_are_what_sd_notify_documents(manager: Manager) -> None:
    notifier = Notifier(manager.address)
    notifier.ready()
    notifier.status("two\nlines")
    notifier.extend(1.5)
    notifier.reloading()
    ready, status, extend, reloading = manager.heard()
    assert ready == "READY=1"
    assert status == "STATUS=two lines"
    assert extend == "EXTEND_TIMEOUT_USEC=1500000"
    assert reloading.startswith("RELOADING=1\nMONOTONIC_USEC=")


@pytest.mark.skipif(not hasattr(socket, "SO_PASSCRED"), reason="abstract addresses are Linux's")
def test_abstract_address_is_reached() -> None:
    manager = Manager(f"@karaoke-test-{os.getpid()}")
    Notifier(manager.address).alive()
    assert manager.heard() == ["WATCHDOG=1"]
    manager.close()


def test_environment_is_taken_from_the_children_and_another_process_has_its_own_watchdog() -> None:
    mine = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}
    assert Notifier.from_env(mine) == Notifier("/x", 3.0)
    assert mine == {}
    others = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}
    assert Notifier.from_env(others) == Notifier("/x", 0.0)


def test_nobody_listening_is_no_fault(tmp_path: Path) -> None:
    Notifier().ready()
    Notifier(str(tmp_path / "gone")).ready()


def test_ready_comes_once_after_a_whole_tick_and_status_on_change_alone(manager: Manager) -> None:
    clock, loop = Clock(), Loop()
    notifier = ServiceNotifier(Notifier(manager.address), [], clock)
    assert manager.heard() == []
    for _ in range(2):
        clock.now += 1.0
        notifier.tick_done(loop)  # type: ignore[arg-type]
    loop.connectivity = Connectivity(known=True, error=Unreachable("a moment"))
    notifier.tick_done(loop)  # type: ignore[arg-type]
    loop.connectivity = Connectivity(known=True, error=Unreachable("no network"))
    clock.now += 1.0
    notifier.tick_done(loop)  # type: ignore[arg-type]
    assert manager.heard() == [
        "STATUS=online; 0 runs; all uploaded",
        "READY=1",
        "STATUS=offline (no network); 0 runs; all uploaded",
    ]


def test_pings_are_tied_to_ticks_and_a_long_first_scan_asks_for_time(manager: Manager) -> None:
    clock = Clock()
    notifier = ServiceNotifier(Notifier(manager.address, watchdog=8.0), [], clock)
    for _ in range(4):  # a scan, file by file
        clock.now += 1.0
        notifier.progress()
    assert manager.heard() == ["WATCHDOG=1", "EXTEND_TIMEOUT_USEC=90000000"] * 2
    notifier.tick_done(Loop())  # type: ignore[arg-type]
    clock.now += 100.0  # a loop that hangs
    assert manager.heard()[1:] == ["READY=1"]
    notifier.tick_done(Loop())  # type: ignore[arg-type]
    assert manager.heard() == ["WATCHDOG=1"]


def test_reload_is_over_with_the_next_whole_tick(manager: Manager) -> None:
    notifier = ServiceNotifier(Notifier(manager.address), [], Clock())
    notifier.tick_done(Loop())  # type: ignore[arg-type]
    notifier.reloading()
    manager.heard()
    notifier.tick_done(Loop())  # type: ignore[arg-type]
    assert manager.heard() == ["READY=1"]


def test_folder_that_came_into_a_read_only_sandbox_is_named_once_there(
    manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "read_only", lambda folder: True)
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    notifier = ServiceNotifier(Notifier(manager.address), [old, new], Clock())
    assert (
        notifier.folder_became_read_only() is None
    )  # `old` was read-only at the start: its mount's affair
    new.mkdir()
    assert notifier.folder_became_read_only() == new
    assert (
        ServiceNotifier(Notifier(manager.address), [old, new], Clock()).folder_became_read_only()
        is None
    )
    assert (
        ServiceNotifier(Notifier(), [tmp_path / "none"], Clock()).folder_became_read_only() is None
    )


def test_summary_counts_what_is_left_exactly_where_it_can() -> None:
    here = Position(10, 1000)
    done = Run(size=1000, scanned_to=1000, sent=here, confirmed=here)
    sending = Run(size=1000, scanned_to=1000, sent=here, confirmed=Position(4, 400))
    unread = Run(size=4000, scanned_to=1000, sent=here, confirmed=here)
    refused = Run(phase=Phase.BLOCKED, error=RunRefused(ProblemCode.DELETED, "gone"))
    online = Connectivity(known=True)
    assert summary(Connectivity(), {}, 0) == "connecting; 0 runs; all uploaded"
    assert summary(online, {"a": done, "b": sending}, 2) == "online; 2 runs; 6 records left"
    assert summary(online, {"a": unread}, 1) == "online; 1 run; about 20 records left"
    assert summary(online, {"a": refused}, 1).endswith(
        "1 run for you to decide about: karaoke-syncd status"
    )
