"""sd_notify's wire, and when the loop uses it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from karaoke_train.runlog.reader import Position
from syncd.errors import RunRefused, Unreachable
from syncd.service import supervision
from syncd.service.sd_notify import Notifier
from syncd.service.supervision import Attendant, summary
from syncd.sync.scheduler import Phase, Reach, Run


class Manager:
    """The service manager's end of the line."""

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
    """What an attendant looks at of a daemon."""

    def __init__(self) -> None:
        self.reach = Reach(known=True)
        self.runs: dict[str, Run] = {}


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


def test_ready_comes_once_after_a_whole_pass_and_status_on_change_alone(manager: Manager) -> None:
    attendant, loop = Attendant(Notifier(manager.address), [], Clock()), Loop()
    assert manager.heard() == []
    attendant.passed(loop)  # type: ignore[arg-type]
    attendant.passed(loop)  # type: ignore[arg-type]
    loop.reach = Reach(known=True, error=Unreachable("no network"))
    attendant.passed(loop)  # type: ignore[arg-type]
    assert manager.heard() == [
        "STATUS=online; 0 runs; all uploaded",
        "READY=1",
        "STATUS=offline (no network); 0 runs; all uploaded",
    ]


def test_pings_are_tied_to_passes_and_a_long_first_scan_asks_for_time(manager: Manager) -> None:
    clock = Clock()
    attendant = Attendant(Notifier(manager.address, watchdog=8.0), [], clock)
    for _ in range(4):  # a scan, file by file
        clock.now += 1.0
        attendant.progress()
    assert manager.heard() == ["WATCHDOG=1", "EXTEND_TIMEOUT_USEC=90000000"] * 2
    attendant.passed(Loop())  # type: ignore[arg-type]
    clock.now += 100.0  # a loop that hangs
    assert manager.heard()[1:] == ["READY=1"]
    attendant.passed(Loop())  # type: ignore[arg-type]
    assert manager.heard() == ["WATCHDOG=1"]


def test_reload_is_over_with_the_next_whole_pass(manager: Manager) -> None:
    attendant = Attendant(Notifier(manager.address), [], Clock())
    attendant.passed(Loop())  # type: ignore[arg-type]
    attendant.reloading()
    manager.heard()
    attendant.passed(Loop())  # type: ignore[arg-type]
    assert manager.heard() == ["READY=1"]


def test_folder_that_came_into_a_read_only_sandbox_is_named_once_there(
    manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "read_only", lambda folder: True)
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    attendant = Attendant(Notifier(manager.address), [old, new], Clock())
    assert attendant.shut_out() is None  # `old` was read-only at the start: its mount's affair
    new.mkdir()
    assert attendant.shut_out() == new
    assert Attendant(Notifier(manager.address), [old, new], Clock()).shut_out() is None
    assert Attendant(Notifier(), [tmp_path / "none"], Clock()).shut_out() is None


def test_summary_counts_what_is_left_exactly_where_it_can() -> None:
    here = Position(10, 1000)
    done = Run(size=1000, seen=1000, sent=here, confirmed=here)
    sending = Run(size=1000, seen=1000, sent=here, confirmed=Position(4, 400))
    unread = Run(size=4000, seen=1000, sent=here, confirmed=here)
    refused = Run(phase=Phase.BLOCKED, error=RunRefused("deleted", "gone"))
    online = Reach(known=True)
    assert summary(Reach(), {}) == "asking the server; 0 runs; all uploaded"
    assert summary(online, {"a": done, "b": sending}) == "online; 2 runs; 6 records left"
    assert summary(online, {"a": unread}) == "online; 1 run; about 20 records left"
    assert summary(online, {"a": refused}).endswith(
        "1 run for you to decide about: karaoke-syncd status"
    )
