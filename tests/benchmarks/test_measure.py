"""The meter counts everything that a command starts, also what nobody waits for."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.measure import MIB, Cost, Watched, command_of, median, run, table

CPU_S, ROOM_MIB = 0.34, 64
BUSY = f"""
import time
room = bytearray(b"x") * {ROOM_MIB * MIB}
while time.process_time() < {CPU_S}:
    pass
"""
# leaves it to whoever adopts orphans
CARELESS = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {BUSY!r}])"


@pytest.mark.process
def test_a_child_that_nobody_waits_for_is_counted_with_its_memory(tmp_path: Path) -> None:
    cost = run([sys.executable, "-c", CARELESS], tmp_path, os.environ)
    assert cost.cpu_s >= CPU_S
    assert cost.peak_mib >= ROOM_MIB


@pytest.mark.process
def test_a_command_that_fails_fails_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"ended with 3: .*no luck"):
        run(
            [sys.executable, "-c", "import sys; print('no luck'); sys.exit(3)"],
            tmp_path,
            os.environ,
        )


@pytest.mark.process
def test_a_running_tree_is_counted_with_the_children_that_ended() -> None:
    parent = f"""
import subprocess, sys
sys.stdin.readline()
subprocess.run([sys.executable, "-c", {BUSY!r}], check=True)
print("done", flush=True)
sys.stdin.readline()
"""
    command = [sys.executable, "-c", parent]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, bufsize=1) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with Watched(process.pid) as watched:
            process.stdin.write("\n")
            process.stdout.readline()
        process.stdin.write("\n")
    assert watched.cpu_s >= CPU_S - 0.02  # the kernel counts it in ticks
    assert watched.peak_mib >= ROOM_MIB


def test_waits_are_the_wall_seconds_beyond_the_cpu_seconds() -> None:
    assert Cost(wall_s=5.0, cpu_s=2.0, peak_mib=1.0).waits_s == 3.0
    assert Cost(wall_s=2.0, cpu_s=3.0, peak_mib=1.0).waits_s == 0.0  # two cores were busy


def test_a_median_is_taken_field_by_field() -> None:
    costs = [Cost(1.0, 9.0, 5.0), Cost(3.0, 7.0, 4.0), Cost(2.0, 8.0, 6.0)]
    assert median(costs) == Cost(2.0, 8.0, 5.0)


@dataclass(frozen=True)
class Case:
    runs: int = 1
    lane: str = "auto"


def test_a_case_tells_the_command_that_measures_it() -> None:
    assert command_of("benchmarks.x", Case()) == "python -m benchmarks.x"
    assert (
        command_of("benchmarks.x", Case(4, "sdk")) == "python -m benchmarks.x --runs 4 --lane sdk"
    )


def test_a_table_is_markdown_with_numbers_to_the_right() -> None:
    rows = [["a", "1", "x"], ["b", "2", "y"]]
    assert table(["what", "s", "command"], rows) == (
        "| what | s | command |\n| --- | ---: | --- |\n| a | 1 | x |\n| b | 2 | y |\n"
    )
