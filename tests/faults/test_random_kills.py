"""Killed at random moments, again and again, while records keep coming: the daemon, its workers,
wandb-core, the trainer and the server; with the local store, the dashboard that uploads beside the
daemon. At the end every record of every run is there once.

KARAOKE_FAULT_ROUNDS kills (a few unless said otherwise; `make faults` asks for 200), in the order
of KARAOKE_FAULT_SEED.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.fakes.wandb_process import WandbProcess
from tests.faults.kills import VICTIMS, Chaos, Dashboard, Trainer, assert_prefixes, run_id
from tests.faults.rig import ANYWHERE, Rig, same_rows
from tests.karaoke_train.runlog.files import lines_of
from tests.patience import patience, until
from tests.processes import alive, descendants

ROUNDS = int(os.environ.get("KARAOKE_FAULT_ROUNDS", "8"))
SEED = int(os.environ.get("KARAOKE_FAULT_SEED", "7"))


@pytest.mark.parametrize("lane", ANYWHERE)
@pytest.mark.timeout(patience(120 + 8 * ROUNDS))
def test_killed_at_random_moments_every_record_is_at_the_destination_once(
    lane: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dice, victims = random.Random(SEED), VICTIMS[lane]
    killed: Counter[str] = Counter()
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    with (
        WandbProcess(tmp_path / "server") as server,
        Rig(tmp_path, server, TMPDIR=str(scratch), KARAOKE_SYNCD_STALL=str(patience(3))) as rig,
    ):
        trainer = Trainer(rig.logs)
        dashboard = Dashboard(rig)
        chaos = Chaos(rig, server, trainer, dashboard)
        try:
            rig.go_by(lane)
            rig.start()
            if rig.local:
                dashboard.start()
            for number in range(ROUNDS):
                time.sleep(dice.choice([0.1, 0.4, 1.0, 2.0]) * dice.random())
                killed[chaos.strike(dice.choices(list(victims), list(victims.values()))[0])] += 1
                if number % 20 == 0:
                    assert_prefixes(rig, trainer.runs)
        finally:
            trainer.stop(signal.SIGTERM)
            dashboard.kill()
        compared = 0
        for path in trainer.runs:
            until(lambda path=path: rig.ended(run_id(path)), f"{path} ends: {rig.said()}", 90)  # type: ignore[misc]
            count = same_rows(path, rig.run(run_id(path)))
            assert count == len(lines_of(path))
            compared += count
        assert server._order("unknown") == []
        left = descendants(rig.pid)
        rig.kill()
        until(lambda: not any(map(alive, left)), "nobody is left")
        assert [path.name for path in scratch.glob("*wandb*")] == []  # nor what they made
    with capsys.disabled():
        print(f"\n{killed.total()} kills survived on {lane} {dict(killed)}, seed {SEED}: ", end="")
        print(f"{compared:,} records of {len(trainer.runs)} runs compared")
