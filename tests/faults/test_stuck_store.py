"""A store of files that never answers holds up what is to be put there, and no line of any run."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from karaoke_train.runlog.layout import media_folder
from syncd.destination.wandb.credentials import Login
from syncd.destination.wandb.destination import WandbDestination
from syncd.settings import Limits, Settings
from syncd.sync.assemble import MOST_THREADS, build_daemon
from syncd.sync.loop import Daemon
from syncd.sync.turns import FILES_AT_ONCE, MOST_FILES
from tests.fakes.wandb_server import WandbServer
from tests.fakes.wandb_world import World
from tests.patience import patience, until
from tests.syncd.world import config_line, train_line

RUNS = 2 * MOST_THREADS
NEVER = 3600.0  # seconds that a store has to answer: none of its requests ends by itself
SOUND = b'{"type":"media","step":1,"key":"voice","path":"a.wav","kind":"audio"}\n'


class Here:
    """Runs with a sound each, one without, and a daemon in this process."""

    def __init__(self, folder: Path, server: WandbServer) -> None:
        self.server = server
        self.logs = folder / "logs"
        self.logs.mkdir()
        self.settings = Settings(
            log_dir=(self.logs,),
            state_dir=folder / "state",
            rescan=0.1,
            limits=Limits(
                request_timeout=NEVER, confirm_first=0.1, confirm_lazy=0.1, count_stable_for=0.05
            ),
        )

    def write(self, run_id: str, data: bytes) -> None:
        with (self.logs / f"training_log_{run_id}.jsonl").open("ab") as file:
            file.write(data)

    def begin_with_sound(self, run_id: str, sounds: int = 1) -> None:
        media = media_folder(self.logs / f"training_log_{run_id}.jsonl", run_id)
        media.mkdir(parents=True)
        (media / "a.wav").write_bytes(b"RIFF")
        self.write(run_id, config_line(run_id) + SOUND * sounds)

    def count(self, run_id: str) -> int:
        runs = self.server.dump().get("team", {}).get("songs", {})
        return len(runs[run_id]["history"]) if run_id in runs else 0

    @contextmanager
    def uploads(self) -> Iterator[Daemon]:
        login = Login(self.server.url, "team", self.server.key, "test")
        there = WandbDestination(login, self.settings.limits, lane="direct")
        over = threading.Event()
        with build_daemon(self.settings, there) as daemon:

            def run() -> None:
                while not over.is_set():
                    daemon.tick()
                    daemon.wait()

            thread = threading.Thread(target=run)
            thread.start()
            try:
                yield daemon
            finally:
                over.set()
                thread.join()
            # what is under way is cut, or leaving would take as long as NEVER

    def stuck(self) -> int:
        """Files that the store was given and does not answer for."""
        return sum(seen.fault == "hang" for seen in self.server.requests())


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Here]:
    with WandbServer(tmp_path / "server", entity="team", world=World.PROMPT) as server:
        server.fault("hang", endpoint="files")
        yield Here(tmp_path, server)


@pytest.mark.timeout(patience(120))
def test_a_store_that_takes_no_files_holds_up_no_lines_and_no_stop(here: Here) -> None:
    with_sound = [f"sings-{n}" for n in range(RUNS)]
    for run_id in with_sound:
        here.begin_with_sound(run_id)
    with here.uploads():
        until(lambda: here.stuck() == FILES_AT_ONCE, "as many files wait as may")
        until(lambda: all(here.count(run) == 2 for run in with_sound), "all lines are there")
        here.write("plain", config_line("plain") + train_line(1))  # a new run is begun, too
        until(lambda: here.count("plain") == 2, "a run without files is not held up")
        for run_id in with_sound:
            here.write(run_id, train_line(2))
        until(
            lambda: sum(here.count(run) == 3 for run in with_sound) == RUNS - FILES_AT_ONCE,
            "nor is one whose files wait for their turn",
        )
        assert here.stuck() == FILES_AT_ONCE
    assert here.stuck() == FILES_AT_ONCE


@pytest.mark.timeout(patience(120))
def test_files_that_wait_do_not_become_more_and_more(here: Here) -> None:
    for n in range(FILES_AT_ONCE):
        here.begin_with_sound(f"first-{n}")
    with here.uploads():
        until(lambda: here.stuck() == FILES_AT_ONCE, "the store is busy")
        here.begin_with_sound("many", MOST_FILES)
        until(lambda: here.count("many") > MOST_FILES, "its lines are there")
        here.write("many", SOUND)
        here.write("other", config_line("other"))
        until(lambda: here.count("other") == 1, "others go on")
        assert here.count("many") == MOST_FILES + 1
