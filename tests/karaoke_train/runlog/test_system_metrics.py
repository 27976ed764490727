"""System metrics: what a record has, when none is written, and that no training is stopped."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from karaoke_train.runlog import RunLog, ranks, system_metrics
from karaoke_train.runlog.system_metrics import Rates, read
from tests.karaoke_train.runlog.files import records_of
from tests.patience import patience


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_metrics, "SOON", 0.01)


def systems(path: Path) -> list[dict[str, Any]]:
    return [record for record in records_of(path) if record["type"] == "system"]


def wait_for(path: Path, count: int) -> list[dict[str, Any]]:
    deadline = time.monotonic() + patience(30)
    while len(found := systems(path)) < count and time.monotonic() < deadline:
        time.sleep(0.01)
    return found


def threads() -> set[threading.Thread]:
    """Those that are there now; one of an earlier test may be about to end."""
    return {thread for thread in threading.enumerate() if thread.name == "system-metrics"}


@pytest.mark.usefixtures("quick")
def test_records_say_what_the_machine_is_busy_with(tmp_path: Path) -> None:
    pytest.importorskip("psutil")
    before = threads()
    with RunLog.create(tmp_path) as log:
        assert log.log_system_metrics(every=0.02)
        log.train(1, 0.0, {"train/loss": 1.0})
        first, *_ = wait_for(log.path, 3)
        (thread,) = threads() - before
    thread.join(patience(30))
    assert not thread.is_alive()
    assert {"timestamp", "system/memory_percent", "system/process_memory_mb"} <= first.keys()
    assert 0 < first["system/memory_percent"] <= 100
    assert all(math.isfinite(v) for k, v in first.items() if k.startswith("system/"))
    assert records_of(log.path)[-1]["type"] == "end"


@pytest.mark.usefixtures("quick")
def test_a_run_that_ended_for_now_gets_none_until_it_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("psutil")
    log = RunLog.create(tmp_path)
    log.log_system_metrics(every=0.01)
    wait_for(log.path, 1)
    log.close(final=False)
    assert not log.append_if_open({"type": "system"})
    there = len(systems(log.path))
    assert records_of(log.path)[-1]["type"] == "end"
    log.train(1, 0.0, {})
    assert len(wait_for(log.path, there + 1)) > there
    log.close()


def test_a_reading_that_fails_is_left_out_alone() -> None:
    def broken() -> dict[str, float]:
        raise FileNotFoundError("/proc/diskstats")

    assert read([broken, lambda: {"cpu_percent": 1.23456}]) == {"system/cpu_percent": 1.235}


def test_a_rate_is_of_the_time_since_the_last_reading() -> None:
    counts = iter([{"sent": 0.0, "got": 5e6}, {"sent": 3e6, "got": 1e6}, {"sent": 3e6, "got": 4e6}])
    times = iter([10.0, 12.0, 13.0])
    rates = Rates(lambda: next(counts), lambda: next(times))
    assert rates() == {}
    assert rates() == {"sent_mb_per_s": 1.5}  # the other counter was set back
    assert rates() == {"sent_mb_per_s": 0.0, "got_mb_per_s": 3.0}


def test_without_psutil_it_is_said_and_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    with RunLog.create(tmp_path) as log:
        with pytest.warns(UserWarning, match="pip install psutil"):
            assert not log.log_system_metrics()
        log.train(1, 0.0, {})
    assert systems(log.path) == []


def test_it_is_off_unless_asked_for(tmp_path: Path) -> None:
    before = threads()
    with RunLog.create(tmp_path):
        assert threads() <= before


def test_another_rank_reads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(ranks, "_told", False)  # it is said once per process
    with pytest.warns(UserWarning, match="rank"):
        log = RunLog.create(tmp_path)
    assert not log.log_system_metrics()
    log.close()


@pytest.mark.skipif(sys.platform != "linux", reason="a thread has a priority on Linux alone")
def test_its_thread_gives_way_to_training(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    over, before = threading.Event(), os.getpriority(os.PRIO_PROCESS, 0)

    def look() -> dict[str, float]:
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        over.set()
        return {}

    thread = threading.Thread(target=system_metrics._record, args=(seen.append, over, [look], 1.0))
    thread.start()
    thread.join(patience(30))
    assert seen == [19]
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def test_gpus_are_read_by_nvidias_library_and_what_one_does_not_answer_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class NVMLError(Exception):
        pass

    def no_power(handle: object) -> int:
        raise NVMLError("not supported")

    monkeypatch.setitem(sys.modules, "pynvml", SimpleNamespace(
        NVMLError=NVMLError, NVML_TEMPERATURE_GPU=0, nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: 2, nvmlDeviceGetHandleByIndex=lambda n: n,
        nvmlDeviceGetUtilizationRates=lambda n: SimpleNamespace(gpu=50 + n),
        nvmlDeviceGetMemoryInfo=lambda n: SimpleNamespace(used=1, total=4),
        nvmlDeviceGetTemperature=lambda n, kind: 60, nvmlDeviceGetPowerUsage=no_power,
    ))  # fmt: skip
    found = read(list(system_metrics._gpus()))
    assert found["system/gpu1/percent"] == 51
    assert found["system/gpu0/memory_percent"] == 25
    assert "system/gpu0/power_w" not in found
