"""A run id that is used again is one run that goes on: every record of every file once, in the
order in which the files were begun, whichever machine has them and whatever is lost in between."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from karaoke_train.runlog import RunLog
from syncd.errors import Exit
from syncd.report.status import RunState, exit_code
from syncd.state import decisions
from tests.fakes.wandb_server import WandbServer
from tests.fakes.wandb_state import HISTORY
from tests.fakes.wandb_world import World
from tests.faults import store
from tests.faults.rig import (
    LANES,
    LOCAL,
    STORE,
    Playing,
    Rig,
    by_lane,
    cases,
    comparable,
    expected_rows,
    played,
    write,
)
from tests.faults.test_verify import verify
from tests.karaoke_train.runlog.files import lines_of
from tests.patience import WAIT, until


@contextmanager
def another(rig: Rig, name: str) -> Iterator[Rig]:
    """A second machine with the same account, or the same store: its own logs, state and daemon."""
    with Rig(rig.folder / name, rig.server, **{STORE: str(rig.store)}) as machine:
        machine.go_by(rig.lane)
        yield machine


def named(run: str, rig: Rig) -> str:
    """A rig plays a scenario once on each lane, with one server."""
    return f"{run}-{rig.lane}"


def part(rig: Rig, run_id: str, records: int, logs: Path | None = None) -> Path:
    """A training from its start to its end, in a file of its own."""
    with RunLog.create(logs or rig.logs, project="songs", run_id=run_id) as log:
        write(log, records)
    return log.path


def eventually(condition: Callable[[], object], *rigs: Rig, seconds: float = WAIT) -> None:
    try:
        until(condition, seconds=seconds)
    except AssertionError:
        raise AssertionError("\n".join(rig.said() for rig in rigs)) from None


def await_parts(rig: Rig, run_id: str, parts: Sequence[Path]) -> None:
    """Wait until the run has the records of these files, one after the other, and no others."""
    expected = [row for path in parts for row in expected_rows(lines_of(path))]
    expected = [{**row, "_step": step} for step, row in enumerate(expected)]

    eventually(lambda: len(rows_of(rig, run_id)) >= len(expected), rig)
    assert rows_of(rig, run_id) == expected
    run = rig.run(run_id)
    assert (run["errors"], run["gaps"], run["overwrites"]) == ([], [], [])


def rows_of(rig: Rig, run_id: str) -> list[dict[str, object]]:
    """The run's history; none where there is no such run."""
    try:
        return [comparable(row) for row in rig.run(run_id)["history"]]
    except KeyError:
        return []


def await_ended(rig: Rig, *paths: Path) -> None:
    """Wait until `status` of that machine has all of these files uploaded and ended."""

    def states() -> set[RunState]:
        return {run.state for run in rig.status().runs if Path(run.path) in paths}

    eventually(lambda: states() == {RunState.UPLOADED}, rig)
    found = {Path(run.path): run for run in rig.status().runs}
    assert [found[path].uploaded for path in paths] == [len(lines_of(path)) for path in paths]


def verified(rig: Rig, *paths: Path) -> bool:
    """Whether `verify` finds every record of these files at the server, once and equal."""
    _, said, _ = verify(rig, "--json", *paths)
    runs = json.loads(said)["runs"]
    assert len(runs) == len(paths)
    return all(run["equal"] for run in runs)


def lose_state(rig: Rig) -> None:
    rig.close()
    shutil.rmtree(rig.folder / "state")
    rig.start()


def on_two_machines(rig: Rig) -> None:
    """A job that was requeued on another node, twice."""
    rig.start()
    first = part(rig, named("requeued", rig), 12)
    await_parts(rig, named("requeued", rig), [first])
    await_ended(rig, first)
    with another(rig, "node2") as second, another(rig, "node3") as third:
        begun = part(second, named("requeued", rig), 30)  # longer than the first
        second.start()
        await_parts(second, named("requeued", rig), [first, begun])
        await_ended(second, begun)
        last = part(third, named("requeued", rig), 5)
        third.start()
        await_parts(third, named("requeued", rig), [first, begun, last])
        await_ended(third, last)
        assert verified(rig, first, begun, last)
        for machine in (rig, second, third):
            lose_state(machine)
        for machine, path in ((rig, first), (second, begun), (third, last)):
            await_ended(machine, path)
            assert exit_code(machine.status()) == Exit.OK
        await_parts(rig, named("requeued", rig), [first, begun, last])
        moved_together(rig, [first, begun, last])


def moved_together(rig: Rig, parts: list[Path]) -> None:
    """All files come to one machine, to its state or to none."""
    rig.close()
    for index, path in enumerate(parts[1:], 1):
        target = rig.logs / f"training_log_moved_{index}.jsonl"
        shutil.copy(path, target)
        parts[index] = target
    rig.start()
    await_ended(rig, *parts)
    lose_state(rig)
    await_ended(rig, *parts)
    await_parts(rig, named("requeued", rig), parts)
    assert not rig.status().decisions


def in_one_folder(rig: Rig) -> None:
    """Found together, with nothing known of them: in the order of their beginnings."""
    with another(rig, "elsewhere") as machine:
        parts = []
        for number in range(3):
            made = part(
                machine, named("together", rig), 6 + number, machine.folder / f"made{number}"
            )
            # names that say the contrary
            parts.append(made.rename(machine.logs / f"training_log_{9 - number}.jsonl"))
        machine.start()
        await_parts(machine, named("together", rig), parts)
        await_ended(machine, *parts)
        assert verified(machine, *parts)
        assert exit_code(machine.status()) == Exit.OK


def written_at_once(rig: Rig) -> None:
    """Two trainings with one id: the second one waits, in words, until the first has ended."""
    over = threading.Event()
    rig.start()
    with another(rig, "rival") as rival:
        with RunLog.create(rig.logs, project="songs", run_id=named("twice", rig)) as log:
            write(log, 5)
            rig.await_all(log)
            living = threading.Thread(target=go_on_writing, args=(log, over))
            living.start()
            try:
                waiting = part(rival, named("twice", rig), 8)
                rival.start()
                words = "records of another file"
                eventually(lambda: words in rival.run_status(named("twice", rig)).problem, rival)
                seen = len(rows_of(rig, named("twice", rig)))
                eventually(lambda: len(rows_of(rig, named("twice", rig))) > seen + 8, rig, rival)
                assert words in rival.run_status(named("twice", rig)).problem
            finally:
                over.set()
                living.join()
        await_parts(rival, named("twice", rig), [log.path, waiting])
        await_ended(rival, waiting)


def go_on_writing(log: RunLog, over: threading.Event) -> None:
    step = 5
    while not over.wait(PACE):
        write(log, 1, start=step)
        step += 1


def comes_back_from_the_dead(rig: Rig) -> None:
    """A machine that was gone, whose run has gone on elsewhere meanwhile: what it still has is
    for a person to decide about, and nothing is written over."""
    rig.start()
    log = RunLog.create(rig.logs, project="songs", run_id=named("undead", rig))
    write(log, 6)
    rig.await_all(log)
    rig.kill()
    with another(rig, "heir") as heir:
        rest = part(heir, named("undead", rig), 7)
        heir.start()
        before = shutil.copy(log.path, heir.folder / "before")
        await_parts(heir, named("undead", rig), [Path(before), rest])
        await_ended(heir, rest)
        write(log, 20, start=6)
        log.close()
        rig.start()
        eventually(lambda: rig.run_status(named("undead", rig)).state is RunState.BLOCKED, rig)
        assert exit_code(rig.status()) == Exit.DECISION
        assert "--as_new" in rig.run_status(named("undead", rig)).remedy
        assert not verified(rig, log.path)
        await_parts(rig, named("undead", rig), [Path(before), rest])


def with_a_hole_before_it(rig: Rig) -> None:
    """Lines of an earlier part were taken out of the store: a later part waits, written over
    nothing, until they are there again."""
    rig.start()
    first = part(rig, named("holed", rig), 12)
    await_parts(rig, named("holed", rig), [first])
    await_ended(rig, first)
    store.lose(rig.store, named("holed", rig), 4, 5)
    with another(rig, "after") as machine:
        second = part(machine, named("holed", rig), 6)
        machine.start()
        words = "another file's may be missing"
        eventually(lambda: words in machine.run_status(named("holed", rig)).problem, machine)
        decisions.retry(rig.state(), named("holed", rig))
        await_parts(rig, named("holed", rig), [first, second])
        await_ended(machine, second)
        assert verified(machine, first, second)


def over_a_line_of_the_one_before(rig: Rig) -> None:
    """A late post of a killed daemon has set the server's line cursor back: what begins a later
    part goes over a line of the first one. No other line does, and that one is sent again."""
    server = rig.server
    assert isinstance(server, WandbServer)
    server.change_world(World.LINE_CURSOR)
    rig.start()
    run_id = named("set-back", rig)
    first = part(rig, run_id, 12)
    await_ended(rig, first)
    (there,) = (run for key, run in server.store.runs.items() if key.run == run_id)
    there.cursors[HISTORY] = 4
    second = part(rig, run_id, 6, rig.folder / "elsewhere")
    second = second.rename(rig.logs / "training_log_20240115_143022.jsonl")
    words = "another file's may be missing"
    late = 3 * WAIT  # several counts have to stand still, one after the other
    eventually(lambda: words in rig.said(), rig, seconds=late)
    eventually(lambda: len(there.overwrites) == 2, rig, seconds=late)
    eventually(lambda: len(there.history) == len(lines_of(first)) + len(lines_of(second)), rig)
    await_ended(rig, first, second)
    assert [over["line"] for over in there.overwrites] == [4, 4]
    there.overwrites.clear()
    there.gaps.clear()
    await_parts(rig, run_id, [first, second])
    assert verified(rig, first, second)


CASES: dict[str, Callable[[Rig], None]] = {
    "on two machines, one after the other": on_two_machines,
    "in one folder": in_one_folder,
    "written at once": written_at_once,
    "comes back from the dead": comes_back_from_the_dead,
}
PACE = 0.2  # seconds between the records of a training that goes on
WITH_THE_SDK = ("on two machines, one after the other", "written at once")
SCENARIOS = {
    f"{name}, {lane}": by_lane(lane, case)
    for name, case in CASES.items()
    for lane in (*LANES, LOCAL)
    if lane != "sdk" or name in WITH_THE_SDK
}
SCENARIOS[f"with a hole before it, {LOCAL}"] = by_lane(LOCAL, with_a_hole_before_it)
SCENARIOS["over a line of the one before, auto"] = by_lane("auto", over_a_line_of_the_one_before)
under_way = played(SCENARIOS)


@pytest.mark.parametrize("case", cases(SCENARIOS))
def test_every_record_of_a_run_in_parts_is_there_once(under_way: Playing, case: str) -> None:
    under_way.result(case)
