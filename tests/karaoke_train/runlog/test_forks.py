"""A process that forks again and again while it logs, as one with DataLoader workers does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.karaoke_train.runlog.files import run_python, steps_of

FORKS = 30
# Children that log, end and exit in every way that workers have; the parent logs on meanwhile
FORKING = f"""
import multiprocessing
from karaoke_train.runlog import RunLogError, forks

def work(number):
    assert forks.pid == os.getpid()
    try:
        log.train(1000 + number, 0, {{"train/loss": 0.0}})
    except RunLogError as error:
        return "belongs to process" in str(error)

log = RunLog.create(sys.argv[1])
fork = multiprocessing.get_context("fork")
refused = []
for step in range({FORKS} // 3):
    with fork.Pool(3) as pool:
        waiting = pool.map_async(work, range(3))
        log.train(step, 0, {{"train/loss": 1.0}})
        refused += waiting.get(60)
log.close()
print(sum(refused))
"""


@pytest.mark.process
def test_children_are_refused_and_the_parents_log_is_whole(tmp_path: Path) -> None:
    code, out, err = run_python(FORKING, tmp_path)
    assert (code, out.strip()) == (0, str(FORKS)), err
    (path,) = tmp_path.glob("*.jsonl")
    assert steps_of(path) == [*range(FORKS // 3)]
