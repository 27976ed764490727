"""The command that is told what happens: what it is given, and that nobody waits for it."""

from __future__ import annotations

import json
import logging
import threading
import time
from pathlib import Path

import pytest

from syncd.service import event_command
from syncd.service.event_command import EventCommand
from tests.patience import patience
from tests.processes import alive


def wait_for(path: Path) -> str:
    deadline = time.monotonic() + patience(20)
    while time.monotonic() < deadline:
        if path.exists() and (text := path.read_text()).endswith("\n"):
            return text
        time.sleep(0.01)
    pytest.fail(f"{path} was not written")


@pytest.mark.process
def test_each_event_is_a_json_object_on_standard_input(tmp_path: Path) -> None:
    out = tmp_path / "told"
    command = EventCommand(f"cat > {out}.part && mv {out}.part {out}")
    command.tell({"event": "run_ended", "words": "ü $(false) '"})
    assert json.loads(wait_for(out)) == {"event": "run_ended", "words": "ü $(false) '"}
    command.close()


@pytest.mark.process
def test_a_command_that_fails_is_logged_with_its_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "syncd")
    out = tmp_path / "next"
    command = EventCommand(f"if [ -e {out}.1 ]; then echo > {out}; fi; echo > {out}.1; "
                           "echo no such host >&2; exit 3")  # fmt: skip
    command.tell({"event": "run_ended"})
    command.tell({"event": "run_ended"})
    wait_for(out)  # the first one's failure keeps nobody from being told the second
    command.close()
    assert "exit status 3: no such host" in caplog.text


@pytest.mark.process
def test_a_command_that_hangs_is_killed_with_all_that_it_started(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "syncd")
    pid, second = tmp_path / "pid", tmp_path / "second"
    command = EventCommand(
        f"if [ -e {pid} ]; then echo > {second}; exit; fi; sleep 600 & echo $! > {pid}; wait",
        timeout=patience(4.0),  # the shell has to get as far as its child
    )
    command.tell({"event": "run_ended"})
    command.tell({"event": "run_silent"})
    wait_for(second)
    command.close()
    assert "and was killed" in caplog.text
    child = int(pid.read_text())
    deadline = time.monotonic() + patience(20)
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive(child)


def test_events_that_come_too_fast_are_left_out_and_nobody_waits(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "syncd")
    monkeypatch.setattr(event_command, "MOST_WAITING", 2)
    busy = threading.Event()
    monkeypatch.setattr(EventCommand, "_run", lambda self, data: busy.wait(patience(60)) or "")
    command = EventCommand("true")
    for _ in range(9):
        command.tell({"event": "run_ended"})  # returns, though the first is never done
    assert "run_ended was not told" in caplog.text
    busy.set()
    command.close()


@pytest.mark.process
def test_nothing_is_begun_after_the_end_though_events_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_command, "STOP_WAIT", 0.0)
    begun = tmp_path / "begun"
    command = EventCommand(f"echo >> {begun}; sleep 600")
    for _ in range(5):
        command.tell({"event": "run_ended"})
    wait_for(begun)
    command.close()
    command._thread.join(patience(20))
    assert not command._thread.is_alive()
    assert begun.read_text() == "\n"


@pytest.mark.process
def test_names_that_are_no_text_or_more_than_text_stop_no_later_event(tmp_path: Path) -> None:
    out, name = tmp_path / "told", "a\udcff\x1b\x9b\u202eb"
    command = EventCommand(f"cat >> {out}")
    command.tell({"event": "run_ended", "path": name})
    command.tell({"event": "run_crashed"})
    command.close()
    first, second = out.read_bytes().splitlines()
    assert first.isascii()
    assert json.loads(first)["path"] == name.replace("\udcff", "\\udcff")
    assert json.loads(second) == {"event": "run_crashed"}
