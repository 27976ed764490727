"""What the trainer's machine is busy with -> `system` records, in a thread of low priority.

Training waits for none of it: a reading takes about a millisecond, and what can't be read is left
out of the record.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from karaoke_train.runlog.record_types import RecordType
from karaoke_train.runlog.timestamps import timestamp_now
from karaoke_train.runlog.warn import warn

if TYPE_CHECKING:
    from collections.abc import Sequence

SOON: Final = 2.0  # seconds until the first record: a short training has one, too
_MB: Final = 1e6
_NICEST: Final = 19

Readings = Mapping[str, float]
Reader = Callable[[], Readings]
Append = Callable[[Mapping[str, Any]], object]


def start(append: Append, folder: Path, over: threading.Event, every: float) -> bool:
    """Have `append` get a record each so many seconds until `over`. folder: whose disk is meant.
    Whether it can be done here; where it can't, a warning says why."""
    try:
        readers = _readers(folder)
    except ImportError:
        warn("system metrics are read by psutil, which is not installed: pip install psutil")
        return False
    threading.Thread(
        target=_record, args=(append, over, readers, every), name="system-metrics", daemon=True
    ).start()
    return True


def _record(append: Append, over: threading.Event, readers: Sequence[Reader], every: float) -> None:
    if sys.platform == "linux":  # where a thread has a priority of its own
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICEST)
    read(readers)  # rates and shares are of the time since the reading before
    wait = min(SOON, every)
    while not over.wait(wait):
        wait = every
        values = read(readers)
        if values:
            append({"type": RecordType.SYSTEM, "timestamp": timestamp_now(), **values})


def read(readers: Sequence[Reader]) -> dict[str, float]:
    """All that can be read now."""
    found: dict[str, float] = {}
    for reader in readers:
        # A container without /proc/diskstats, a GPU that fell off the bus: psutil and NVML raise
        # whatever their system calls do
        with suppress(Exception):
            found |= {f"system/{name}": round(value, 3) for name, value in reader().items()}
    return found


def _readers(folder: Path) -> list[Reader]:
    """Raises ImportError without psutil."""
    import psutil

    process = psutil.Process()

    def cpu() -> Readings:
        return {
            "cpu_percent": psutil.cpu_percent(),
            "process_cpu_percent": process.cpu_percent(),
        }

    def memory() -> Readings:
        return {
            "memory_percent": psutil.virtual_memory().percent,
            "process_memory_mb": process.memory_info().rss / _MB,
        }

    def disk() -> Readings:
        return {"disk_percent": psutil.disk_usage(str(folder)).percent}

    def disk_bytes() -> Readings:
        counted = psutil.disk_io_counters()
        return {"disk_read": counted.read_bytes, "disk_write": counted.write_bytes}

    def network_bytes() -> Readings:
        counted = psutil.net_io_counters()
        return {"network_sent": counted.bytes_sent, "network_received": counted.bytes_recv}

    return [cpu, memory, disk, Rates(disk_bytes), Rates(network_bytes), *_gpus()]


class Rates:
    """Counters of bytes -> megabytes per second since they were last read; nothing at first."""

    def __init__(self, count: Reader, clock: Callable[[], float] = time.monotonic) -> None:
        self._count = count
        self._clock = clock
        self._before: Readings = {}
        self._at = 0.0

    def __call__(self) -> Readings:
        now, counted = self._clock(), self._count()
        seconds, before = now - self._at, self._before
        self._at, self._before = now, counted
        if not before or seconds <= 0:
            return {}
        # A counter that was set back (a network card that came anew) has no rate
        return {
            f"{name}_mb_per_s": (count - before[name]) / _MB / seconds
            for name, count in counted.items()
            if count >= before.get(name, count + 1)
        }


def _gpus() -> Iterator[Reader]:
    """Of each of NVIDIA's GPUs, where its library (nvidia-ml-py) is installed."""
    try:
        import pynvml

        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(n) for n in range(pynvml.nvmlDeviceGetCount())]
    except Exception:  # no library, no driver, no GPU: all the same here
        return
    for number, handle in enumerate(handles):
        yield _gpu(pynvml, number, handle)


def _gpu(nvml: Any, number: int, handle: Any) -> Reader:
    questions: dict[str, Callable[[], float]] = {
        "percent": lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu,
        "memory_percent": lambda: _share(nvml.nvmlDeviceGetMemoryInfo(handle)),
        "temperature_c": lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
        "power_w": lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000,  # milliwatts
    }

    def reading() -> Readings:
        found: dict[str, float] = {}
        for name, ask in questions.items():
            with suppress(nvml.NVMLError):  # not every GPU answers each
                found[f"gpu{number}/{name}"] = float(ask())
        return found

    return reading


def _share(memory: Any) -> float:
    return 100.0 * float(memory.used) / float(memory.total)
