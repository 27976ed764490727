"""The code that a process exits with is seen, whoever else wants to see it."""

from __future__ import annotations

import sys
from typing import Any, NoReturn

import pytest

from karaoke_train.runlog import process_end
from karaoke_train.runlog.process_end import process_end as how
from karaoke_train.runlog.process_end import watch_exit


def test_a_hook_that_took_our_place_is_not_called_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_end, "_exit", None)
    monkeypatch.setattr(process_end, "_code", None)

    def python_exit(
        code: Any = None,
    ) -> NoReturn:  # sys.exit may be watched already, for another test
        raise SystemExit(code)

    monkeypatch.setattr(sys, "exit", python_exit)
    watch_exit()
    before = sys.exit

    def another(code: Any = None) -> NoReturn:  # as wandb's does
        before(code)

    monkeypatch.setattr(sys, "exit", another)
    watch_exit()  # for another run
    with pytest.raises(SystemExit):
        sys.exit(3)
    assert how() == ("failed", 3)
