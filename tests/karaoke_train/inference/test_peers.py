from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from karaoke_train.inference import peers
from karaoke_train.notes import Note

NONE = np.nan


@pytest.mark.parametrize(
    ("midi", "notes"),
    [
        ([], []),
        ([NONE] * 9, []),
        ([60.0] * 3, []),  # 60 ms
        ([60.0] * 4, [Note(0.0, 0.08, 60.0)]),
        ([NONE, *[60.0, 60.5] * 3, NONE], [Note(0.02, 0.14, 60.25)]),
        ([*[60.0] * 5, *[62.0] * 5], [Note(0.0, 0.1, 60.0), Note(0.1, 0.2, 62.0)]),
        ([*[60.0] * 5, NONE, *[60.0] * 5], [Note(0.0, 0.1, 60.0), Note(0.12, 0.22, 60.0)]),
    ],
)
def test_a_note_lasts_while_its_pitch_is_steady(midi: list[float], notes: list[Note]) -> None:
    found = peers.steady_runs(np.array(midi))
    assert len(found) == len(notes)
    for a, b in zip(found, notes, strict=True):
        assert (a.onset, a.offset, a.pitch) == pytest.approx((b.onset, b.offset, b.pitch))


def test_swift_f0s_notes_are_taken_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    class Detector:
        def __init__(self, threads: int) -> None:
            asked["threads"] = threads

        def detect(self, samples: np.ndarray, rate: int, **how: float) -> str:
            asked.update(how, rate=rate, count=len(samples))
            return "pitch"

    module: Any = ModuleType("swift_f0")
    module.SwiftF0 = Detector
    module.segment_notes = lambda pitch: [
        SimpleNamespace(start=-0.01, end=0.5, pitch_hz=440.0),
        SimpleNamespace(start=0.5, end=0.9, pitch_hz=220.0),
    ]
    monkeypatch.setitem(sys.modules, "swift_f0", module)
    found = peers.swift_f0(np.zeros(16_000, np.float32))
    assert [(n.onset, n.offset, n.pitch) for n in found] == [(0.0, 0.5, 69.0), (0.5, 0.9, 57.0)]
    assert asked == {"threads": 1, "rate": 16_000, "count": 16_000, "fmin": 65.0, "fmax": 1760.0}


def test_what_is_not_installed_is_no_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers.importlib.util, "find_spec", lambda name: None)
    assert peers.installed() == {}
