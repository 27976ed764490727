"""A picture or sound gets to the server, too: wandb's SDK brings it some time after its row, which
a kill or a refusal in between would leave referring to nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from karaoke_train.runlog import RunLog
from tests.faults.rig import LANES, LOCAL, WAV, Playing, Rig, begun, by_lane, cases, played, write
from tests.patience import until
from tests.processes import descendants


def sing(rig: Rig, log: RunLog) -> None:
    """A record with a sound, and some more."""
    sound = rig.folder / "sound.wav"
    sound.write_bytes(WAV)
    log.media(3, "sung", sound, kind="audio")
    write(log, 3, start=5)


def sounds(rig: Rig, log: RunLog) -> list[int]:
    """The sizes of the run's sounds at the server."""
    if rig.local:
        kept = (rig.store / "media" / "songs" / f"run-{log.run_id}" / "6").glob("*.wav")
        return [path.stat().st_size for path in kept]
    files = rig.server.run(log.run_id)["files"]
    return [size for name, size in files.items() if name.startswith("media/audio/sung_6_")]


def is_there(rig: Rig, log: RunLog) -> None:
    rig.await_end(log)
    assert sounds(rig, log) == [len(WAV)]
    assert rig.run(log.run_id)["overwrites"] == []


def killed_before_it_went(rig: Rig) -> None:
    """Its row is confirmed, so the next session doesn't send that again."""
    log = begun(rig, 5)
    brings_it_later = rig.lane == "sdk"  # the others bring it with its row
    if brings_it_later:
        rig.server.fault("status", endpoint="files", status=503)
    sing(rig, log)
    rig.await_all(log)
    for pid in [rig.pid, *descendants(rig.pid)]:
        os.kill(pid, signal.SIGKILL)
    rig.dies()
    assert sounds(rig, log) == [] or not brings_it_later
    rig.server.clear()
    rig.start()
    log.close()
    is_there(rig, log)


def refused(rig: Rig) -> None:
    """The SDK takes no for an answer, and says nothing of it."""
    log = begun(rig, 5)
    rig.server.fault("status", endpoint="files", status=403)
    sing(rig, log)
    log.close()
    words = "HTTP 403" if rig.direct else "did not get to the server"
    until(lambda: words in rig.said(), "the daemon says so")
    assert sounds(rig, log) == []
    rig.server.clear()
    is_there(rig, log)


def trainer_crashed(rig: Rig) -> None:
    """A run that nobody ended isn't finished at the server either, and has its sound."""
    log = begun(rig, 5)
    sing(rig, log)
    log._release()  # the lock is free, and there is no `end` record
    is_there(rig, log)
    assert rig.run(log.run_id)["state"] == "running"


def no_picture_at_all(rig: Rig) -> None:
    """What can't be uploaded keeps no run from its end."""
    log = begun(rig, 5)
    log.media_dir.mkdir(parents=True)
    for step, content in enumerate((b"not a picture", b"")):
        path = log.media_dir / f"{step}.png"
        path.write_bytes(content)
        log.media(step, "shown", path)
    log.append({"type": "media", "step": 2, "key": "shown", "path": "nowhere.png"})
    log.close()
    rig.await_end(log)
    shown = [row["shown"] for row in rig.run(log.run_id)["history"] if "shown" in row]
    assert len(shown) == 3
    assert all("is missing" in words for words in shown)


CASES: dict[str, Callable[[Rig], None]] = {
    "killed before it went": killed_before_it_went,
    "refused": refused,
    "trainer crashed": trainer_crashed,
    "no picture at all": no_picture_at_all,
}
SCENARIOS = {
    f"{name}, {lane}": by_lane(lane, scenario)
    for lane in (*LANES, LOCAL)
    for name, scenario in CASES.items()
    if not (lane == LOCAL and scenario is refused)  # a store that takes none: test_local_store
}
under_way = played(SCENARIOS)


@pytest.mark.parametrize("case", cases(SCENARIOS))
def test_a_sound_gets_to_the_server_with_its_row(under_way: Playing, case: str) -> None:
    under_way.result(case)
