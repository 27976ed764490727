"""What is broken off is made anew, and not taken for what is done."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from benchmarks.foreign.self_training import made_whole


def test_a_folder_that_was_broken_off_is_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "work" / "without"
    with suppress(KeyboardInterrupt), made_whole(folder) as part:
        (part / "old").touch()
        raise KeyboardInterrupt
    assert not folder.exists()
    with made_whole(folder) as part:
        (part / "new").touch()
    assert [path.name for path in folder.iterdir()] == ["new"]
