"""Everything at once, for as long as wanted: trainers write, the server has faults, whoever is
there is killed, and each record goes to wandb and to the local store. One daemon is left alone: at
the end it holds no more than half way through.

KARAOKE_SOAK_MINUTES long (a short form unless said otherwise), in the order of KARAOKE_FAULT_SEED;
`make soak MINUTES=60` writes its report, KARAOKE_SOAK_REPORT.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from benchmarks.figures import machine, put
from syncd.destination.trackio import names
from syncd.paths import destination_folder
from syncd.state import cursor
from tests.fakes.wandb_process import WandbProcess
from tests.faults.flatness import Meter, Sample, as_table, held, memory_by_tenths
from tests.faults.kills import VICTIMS, Chaos, Dashboard, Trainer, assert_prefixes, run_id
from tests.faults.rig import ROOT, WORLDS, Rig, same_rows
from tests.faults.store import run_in
from tests.karaoke_train.runlog.files import lines_of
from tests.patience import patience, until
from tests.syncd.viewer import needs_trackio

SHORT: Final = 0.2
MINUTES: Final = float(os.environ.get("KARAOKE_SOAK_MINUTES", SHORT))
SEED: Final = int(os.environ.get("KARAOKE_FAULT_SEED", "7"))
REPORT: Final = os.environ.get("KARAOKE_SOAK_REPORT", "")
LONG: Final = MINUTES >= 2  # from here on with wandb's SDK, whose processes take seconds to start
PAUSE: Final = (0.2, 6.0) if LONG else (0.1, 1.0)  # seconds between two strikes
DESTINATIONS: Final = "wandb,trackio"
LEFT_ALONE: Final = {"trainer": 3, "run's end": 2}  # beside the daemon that is never killed
STRUCK: Final = {"run's end": "trainer ended its run"}  # what is no kill
FAULTS: Final[tuple[dict[str, Any], ...]] = (
    {"kind": "latency", "seconds": 1.0, "times": 20},
    {"kind": "status", "status": 500, "times": 5},
    {"kind": "status", "status": 503, "retry_after": 1.0, "times": 3},
    {"kind": "status", "status": 429, "retry_after": 1.0, "times": 3},
    *({"kind": kind, "times": 1} for kind in ("hang", "trickle")),
    *(
        {"kind": kind, "times": 3}
        for kind in ("html", "reset", "reset_reply", "drop_reply", "truncate")
    ),
    {"kind": "stale", "lag": 20, "times": 5},
)


class Soak:
    """Daemons with a trainer each, one server, and the order in which things happen to them."""

    def __init__(self, folder: Path, server: WandbProcess, stack: ExitStack) -> None:
        self.happened: Counter[str] = Counter()
        self._over = False
        self.server = server
        self._dice = random.Random(SEED)
        self._stack = stack
        self.steady = self._made(folder / "steady", "auto")
        self.killed = [self._made(folder / "killed", "auto")]
        if LONG:
            self.killed.append(self._made(folder / "killed-sdk", "sdk"))

    @property
    def all(self) -> list[Chaos]:
        return [self.steady, *self.killed]

    def _made(self, folder: Path, lane: str) -> Chaos:
        rig = self._stack.enter_context(
            Rig(
                folder,
                self.server,
                KARAOKE_SYNCD_DESTINATIONS=DESTINATIONS,
                KARAOKE_SYNCD_LANE=lane,
                KARAOKE_SYNCD_STALL=str(patience(3)),
            )
        )
        rig.start()
        return Chaos(rig, self.server, Trainer(rig.logs), Dashboard(rig))

    def strike(self) -> None:
        """Let something happen."""
        match self._dice.choice(["kill", "kill", "fault", "world"]):
            case "kill":
                chaos = self._dice.choice(self.all)
                lane = chaos.rig.environment["KARAOKE_SYNCD_LANE"]
                victims = LEFT_ALONE if chaos is self.steady else VICTIMS[lane]
                victim = self._dice.choices(list(victims), list(victims.values()))[0]
                self.happened[STRUCK.get(victim := chaos.strike(victim), f"{victim} killed")] += 1
            case "fault":
                how = self._dice.choice(FAULTS)
                endpoint = self._dice.choice(["graphql", "file_stream", "all"])
                self.server.fault(**how, endpoint=endpoint)
                self.happened[f"answers: {how.get('status') or how['kind']}"] += 1
            case "world":
                self.server.change_world(self._dice.choice(WORLDS))
                self.happened["gaps accepted, or not"] += 1

    def go_on(self, seconds: float) -> None:
        """Let things happen for so long."""
        deadline, number = time.monotonic() + seconds, 0
        while time.monotonic() < deadline:
            time.sleep(self._dice.uniform(*PAUSE))
            self.strike()
            number += 1
            if number % 20 == 0:
                chaos = self._dice.choice(self.all)
                newest = chaos.trainer.runs[-1:]
                assert_prefixes(chaos.rig, [path for path in newest if not put_over(chaos, path)])

    def end(self) -> None:
        """No more faults; every trainer ends its run. A second time, nothing."""
        if self._over:
            return
        self._over = True
        for chaos in self.all:
            chaos.trainer.stop(signal.SIGTERM)
        self.server.clear()


@contextmanager
def soaking(folder: Path) -> Iterator[Soak]:
    with ExitStack() as stack:
        soak = Soak(folder, stack.enter_context(WandbProcess(folder / "server")), stack)
        try:
            yield soak
        finally:
            soak.end()


def ended(rig: Rig, run_id: str) -> bool:
    """Whether each destination was told the run's end."""
    store = destination_folder(rig.settings().state_dir, names.address(rig.store))
    found = [cursor.load(folder / "cursors", run_id) for folder in (rig.state(), store)]
    return all(known is not None and known.ended for known in found)


def put_over(chaos: Chaos, path: Path) -> list[Any]:
    """What wandb's SDK put over other lines, told by an old answer to its upsert where to put them.
    That can't be kept from it; by the run's end it is made good."""
    if chaos.rig.environment["KARAOKE_SYNCD_LANE"] != "sdk":
        return []
    try:
        return list(chaos.rig.server.run(run_id(path))["overwrites"])
    except KeyError:  # nothing of it is there yet
        return []


def compared(chaos: Chaos) -> int:
    """Every record of every run is in both places once, by what they hold themselves and by
    `verify`. Returns how many."""
    rig, total = chaos.rig, 0
    for path in chaos.trainer.runs:
        run = run_id(path)
        until(lambda run=run: ended(rig, run), f"{path} ends: {rig.said()}", 90)  # type: ignore[misc]
        count = len(lines_of(path))
        found = rig.server.run(run)
        if put_over(chaos, path):
            found = {**found, "overwrites": []}
        assert same_rows(path, found) == count
        assert same_rows(path, run_in(rig.store, run)) == count
        total += count
    done = subprocess.run(
        [sys.executable, "-m", "syncd", "verify", "--json"],
        cwd=ROOT, env=rig.environment, capture_output=True, text=True, timeout=patience(600),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done
    found = json.loads(done.stdout)["runs"]
    assert len(found) == 2 * len(chaos.trainer.runs)
    assert all(run["equal"] for run in found), found
    assert sum(run["records"] for run in found) == 2 * total
    assert "Traceback" not in rig.words.read_text()
    return total


def report(soak: Soak, samples: Sequence[Sample], counts: list[int]) -> str:
    """What happened, in Markdown."""
    runs = sum(len(chaos.trainer.runs) for chaos in soak.all)
    alone = len(soak.steady.trainer.runs)
    tenths = ", ".join(f"{mib:.1f}" for mib in memory_by_tenths(samples))
    happened = "".join(f"| {what} | {count} |\n" for what, count in sorted(soak.happened.items()))
    return f"""\
{machine()}
`KARAOKE_FAULT_SEED={SEED} make soak MINUTES={MINUTES:g}`: {sum(counts):,} records of {runs}
runs, from {len(soak.all)} trainers at a time, each in two places. All of them were in both once, as
their files have them, and `karaoke-syncd verify` said so for both.

| what happened | times |
| --- | ---: |
{happened}
The daemon that nobody killed had {alone} runs and {counts[0]:,} records. With all that it started
it held, by the medians of {MINUTES:g} minutes' halves:

{as_table(held(samples))}
Its memory by tenths of the time, MiB: {tenths}.
"""


def test_a_daemon_that_grows_or_leaves_descriptors_open_is_found() -> None:
    steady = [(80.0 + number % 5, 12 + number % 7, 10.0) for number in range(600)]
    assert all(item.flat for item in held(steady))
    late = [(mib, files, threads + 1) for mib, files, threads in steady[:60]]
    assert all(item.flat for item in held(late + steady[60:]))  # of its start, nothing counts
    grows = [(mib + number / 10, files, 10.0) for number, (mib, files, _) in enumerate(steady)]
    leaks = [(mib, files + number // 30, 10.0) for number, (mib, files, _) in enumerate(steady)]
    for samples, name in ((grows, "memory, MiB"), (leaks, "descriptors")):
        assert [item.name for item in held(samples) if not item.flat] == [name]


@needs_trackio
@pytest.mark.timeout(patience(240 + 120 * MINUTES))
def test_whatever_happens_every_record_is_in_both_places_once_and_the_daemon_does_not_grow(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with soaking(tmp_path) as soak:
        pid = soak.steady.rig.pid
        with Meter(pid, every=min(1.0, MINUTES)) as meter:
            soak.go_on(60 * MINUTES)
        soak.end()
        counts = [compared(chaos) for chaos in soak.all]
        assert soak.steady.rig.running
        assert soak.steady.rig.pid == pid
        assert soak.server.unknown() == []
        words = report(soak, meter.samples, counts)
    with capsys.disabled():
        print(f"\n{words}")
    if LONG:  # in less time it is still starting
        assert [item for item in held(meter.samples) if not item.flat] == []
    if REPORT:
        page = Path(REPORT)
        page.write_text(put(page.read_text("utf-8"), "soak", words), "utf-8")
