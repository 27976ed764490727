"""The calling side of karaoke-syncd, against a fake one: it may never delay or fail training."""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from karaoke_train.settings import LogSettings, TrainSettings
from karaoke_train.training import background_upload, syncd_program
from karaoke_train.training.background_upload import BackgroundUpload, command, sync_logs
from tests.patience import patience, until

pytestmark = pytest.mark.torch  # a progress bar, of the extra `train`

FAKE = """#!{python}
import json, pathlib, sys, time
place = pathlib.Path({place!r})
with (place / "calls").open("a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
command = sys.argv[1]
if command == "watching":
    sys.exit(0 if (place / "daemon").exists() else 1)
if command == "status":
    left = json.loads((place / "left").read_text())
    login = (place / "nobody").exists()
    reach = ("not_logged_in", "nobody is logged in") if login else ("online", "online")
    url = (place / "url").read_text() if (place / "url").exists() else ""
    answer = {{"runs": [{{"path": {run!r}, "left": left, "url": url}}]}}
    print(json.dumps({{**answer, "reach": reach[0], "reach_words": reach[1]}}))
if command == "sync":
    print("uploading")
    if (place / "stuck").exists():
        time.sleep(600)
    (place / "left.new").write_text("0")
    (place / "left.new").replace(place / "left")  # whole or not at all, as the real state files
    sys.exit(3 if (place / "failing").exists() else 0)
"""


class Fake:
    """A karaoke-syncd that writes down how it is called and does what its folder says."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.run = place / "logs" / "training_log_1.jsonl"
        self.run.parent.mkdir()
        self.run.write_text("{}\n")
        self.program = place / "karaoke-syncd"
        script = FAKE.format(python=sys.executable, place=str(place), run=str(self.run))
        self.program.write_text(script)
        self.program.chmod(self.program.stat().st_mode | stat.S_IXUSR)
        (place / "left").write_text("7")
        self.said: list[str] = []

    def calls(self) -> list[list[str]]:
        return [json.loads(line) for line in (self.place / "calls").read_text().splitlines()]

    def touch(self, name: str) -> None:
        (self.place / name).touch()

    def upload(self) -> BackgroundUpload:
        return BackgroundUpload(self.run, self.said.append)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    fake = Fake(tmp_path)
    monkeypatch.setattr(background_upload, "find_program", lambda: str(fake.program))
    return fake


def test_without_a_daemon_a_sync_follows_this_run_alone(fake: Fake) -> None:
    upload = fake.upload()
    upload.start()
    upload.finish(patience(20.0))
    assert fake.calls()[0] == ["watching", "--log_dir", str(fake.run.parent)]
    assert ["sync", "--follow", str(fake.run)] in fake.calls()
    assert fake.said[-1] == "wandb       everything is uploaded"
    assert (fake.run.parent / ".sync" / "training_log_1.log").read_text() == "uploading\n"


@pytest.mark.parametrize("failed", [KeyboardInterrupt, RuntimeError])
def test_an_upload_does_not_outlive_a_training_that_does_not_get_to_its_end(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, failed: type[BaseException]
) -> None:
    from karaoke_train.training import run  # which needs torch

    fake.touch("stuck")
    begun: list[BackgroundUpload] = []

    def fit(*_: object, **how: object) -> None:
        until(lambda: begun[0]._process is not None, "the upload was started")
        raise failed

    def upload(path: Path, *, shown: bool) -> BackgroundUpload:
        begun.append(fake.upload())
        return begun[0]

    monkeypatch.setattr(run, "BackgroundUpload", upload)
    monkeypatch.setattr(run.fit, "fit", fit)
    logs = LogSettings(log_dir=str(fake.place), sync_timeout=0.1, no_system_metrics=True)
    model = cast("Any", SimpleNamespace(num_parameters=lambda: 1))
    with pytest.raises(failed):
        run._logged_run(TrainSettings(), logs, cast("Any", None), model, {}, None)
    assert begun[0]._ended()
    assert "7 records left; upload later" in fake.said[-1]


def test_watching_daemon_is_left_to_its_work(fake: Fake) -> None:
    fake.touch("daemon")
    upload = fake.upload()
    upload.start()
    upload.finish(0.1)
    assert "watches" in fake.said[0]
    assert not any(call[0] == "sync" for call in fake.calls())
    assert "safe on disk, 7 records left; the running karaoke-syncd goes on" in fake.said[-1]


@pytest.mark.parametrize(
    ("daemon", "said"),
    [
        (False, "wandb       everything is uploaded: https://x/runs/r"),
        (True, "7 records left; the running karaoke-syncd goes on: https://x/runs/r"),
    ],
)
def test_the_last_line_has_the_runs_page(fake: Fake, daemon: bool, said: str) -> None:
    (fake.place / "url").write_text("https://x/runs/r")
    if daemon:
        fake.touch("daemon")
    upload = fake.upload()
    upload.start()
    upload.finish(0.1 if daemon else patience(20.0))
    assert fake.said[-1].endswith(said)


def test_the_command_that_uploads_later_can_be_pasted() -> None:
    folder = Path("/data/it's here/logs")
    assert command(folder) == "karaoke-syncd sync --log_dir '/data/it'\"'\"'s here/logs'"


def test_stuck_upload_is_waited_for_a_bounded_time_and_stopped(fake: Fake) -> None:
    fake.touch("stuck")
    upload = fake.upload()
    begun = time.monotonic()
    upload.start()
    upload.finish(0.5)
    assert time.monotonic() - begun < patience(30)
    assert "safe on disk, 7 records left" in fake.said[-1]
    assert f"karaoke-syncd sync --log_dir {fake.run.parent}" in fake.said[-1]
    assert upload._process is not None
    assert upload._process.returncode == -signal.SIGTERM


def test_nobody_waits_where_nobody_is_logged_in(fake: Fake) -> None:
    fake.touch("stuck")
    fake.touch("nobody")
    upload = fake.upload()
    begun = time.monotonic()
    upload.start()
    upload.finish(600.0)
    assert time.monotonic() - begun < patience(30)
    assert "7 records left (nobody is logged in); upload later with" in fake.said[-2]
    assert f"without an account: karaoke-syncd view --log_dir {fake.run.parent}" in fake.said[-1]


def test_a_run_that_is_shown_beside_its_training_is_told_no_other_way_to_look_at_it(
    fake: Fake,
) -> None:
    fake.touch("stuck")
    fake.touch("nobody")
    upload = BackgroundUpload(fake.run, fake.said.append, shown=True)
    upload.start()
    upload.finish(600.0)
    assert "7 records left (nobody is logged in); upload later with" in fake.said[-1]


def test_upload_is_out_of_reach_of_ctrl_c_in_this_terminal(fake: Fake) -> None:
    fake.touch("stuck")
    upload = fake.upload()
    upload.start()
    upload._thread.join()
    assert upload._process is not None
    assert os.getpgid(upload._process.pid) != os.getpgrp()
    upload.finish(0.0)


def test_ctrl_c_while_it_is_not_known_yet_who_uploads_starts_nobody(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answered = threading.Event(), threading.Event()

    def ask(*_: object) -> SimpleNamespace:
        asked.set()
        answered.wait(patience(20))
        return SimpleNamespace(returncode=1)

    monkeypatch.setattr(syncd_program, "ask", ask)
    upload = fake.upload()
    join = upload._thread.join
    upload.start()
    assert asked.wait(patience(20))
    interrupted = iter([KeyboardInterrupt])

    def joined(timeout: float | None = None) -> None:
        for error in interrupted:
            raise error
        join(timeout)

    monkeypatch.setattr(upload._thread, "join", joined)
    monkeypatch.setattr(upload, "_pending", lambda: syncd_program.Pending(7))
    upload.finish(patience(20))
    answered.set()
    join(patience(20))
    assert upload._process is None
    assert any("safe on disk" in line for line in fake.said)


def test_failing_upload_says_that_the_log_is_safe(fake: Fake) -> None:
    fake.touch("failing")
    fake.program.write_text(fake.program.read_text().replace('write_text("0")', 'write_text("3")'))
    upload = fake.upload()
    upload.start()
    upload.finish(patience(20.0))
    assert "safe on disk, 3 records left" in fake.said[-1]


@pytest.mark.parametrize("answer", ["", "[]", '{"runs": [{"path": "x"}]}', '{"runs": 3}', "oops"])
def test_strange_status_is_some_records_left(fake: Fake, answer: str) -> None:
    fake.touch("daemon")
    script = fake.program.read_text()
    said = f"print({answer!r}); sys.exit()\n    left ="
    fake.program.write_text(script.replace("left =", said, 1))
    upload = fake.upload()
    upload.start()
    upload.finish(0.0)
    assert "some records left" in fake.said[-1]


def test_program_that_cannot_start_is_one_line_of_notice(fake: Fake) -> None:
    fake.program.write_text("#!/nowhere/python\n")
    upload = fake.upload()
    upload.start()
    upload.finish(1.0)
    assert "could not be started" in fake.said[0]
    assert "safe on disk" in fake.said[-1]


def test_missing_program_is_one_line_of_notice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background_upload, "find_program", lambda: None)
    said: list[str] = []
    upload = BackgroundUpload(tmp_path / "training_log_1.jsonl", said.append)
    upload.start()
    upload.finish(30.0)
    assert len(said) == 1
    assert sync_logs(str(tmp_path)) == 1


def test_sync_logs_ends_with_the_programs_own_code(fake: Fake) -> None:
    fake.touch("failing")
    assert sync_logs(str(fake.run.parent)) == 3
    assert fake.calls() == [["sync", "--log_dir", str(fake.run.parent)]]
