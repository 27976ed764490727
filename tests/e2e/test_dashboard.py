"""The local dashboard in a real browser that reaches no other host: the run, its curves, its
pictures."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from karaoke_train.runlog import RunLog
from tests.patience import patience, until
from tests.syncd.viewer import Viewer, needs_trackio

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium"),
    needs_trackio,
]


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """The dashboard of a run with curves and a picture."""
    with RunLog.create(tmp_path / "logs", project="songs", run_name="demo-run") as log:
        for step in range(1, 20):
            log.train(step, step / 10, {"train/loss": 1 / step})
        picture = tmp_path / "roll.png"
        Image.new("RGB", (40, 20), "red").save(picture)
        log.media(19, "val/piano_roll", picture)
    with Viewer(tmp_path) as viewer:
        yield viewer.address()
        viewer.end()


def shown(address: str, profile: Path) -> str:
    """The page after eight seconds of its own time, as the browser has it."""
    assert CHROMIUM is not None
    done = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            f"--user-data-dir={profile}", "--host-resolver-rules=MAP * ~NOTFOUND,EXCLUDE 127.0.0.1",
            "--window-size=1280,800", "--virtual-time-budget=8000", "--dump-dom", address,
        ],
        capture_output=True, text=True, timeout=patience(120), check=False,
    )  # fmt: skip
    return done.stdout


def contains(dom: str, *words: str) -> bool:
    return all(word in dom for word in words)


def test_the_run_its_curves_and_its_picture_are_there_without_any_other_host(
    address: str, tmp_path: Path
) -> None:
    def has(page: str, *words: str) -> bool:
        return contains(shown(page, tmp_path / "profile"), *words)

    until(lambda: has(address, "demo-run", ">loss<", "<canvas"), "the curve is drawn", every=1.0)
    media = address.replace("/?", "/media?")
    until(lambda: has(media, "val/piano_roll", "<img"), "the picture is shown", every=1.0)


MARKUP = "<img src=x onerror=\"document.body.id='taken'\"><script>document.body.id='taken'</script>"


def test_markup_in_names_and_texts_is_text_on_every_page(tmp_path: Path) -> None:
    with RunLog.create(
        tmp_path / "logs", project=f"p{MARKUP}", run_name=MARKUP, config={MARKUP: MARKUP},
        tags=["<i>"], group=MARKUP, notes=MARKUP,
    ) as log:  # fmt: skip
        picture = tmp_path / "roll.png"
        Image.new("RGB", (40, 20), "red").save(picture)
        log.media(1, f"val/{MARKUP}", picture, caption=MARKUP)
        forged = {"_type": "trackio.html", "file_path": "x.html", "_value": MARKUP}
        for step in range(2, 9):
            log.train(step, 0, {f"train/{MARKUP}": step, "words": MARKUP, "html": forged})
        log.append({"type": "note", "report": forged | {"_type": "trackio.markdown"}})
    with Viewer(tmp_path) as viewer:
        address = viewer.address()
        for page in ("", "runs", "media", "reports"):
            there = address.replace("/?", f"/{page}?")
            doms: list[str] = []

            def named(there: str = there, doms: list[str] = doms) -> bool:
                doms.append(shown(there, tmp_path / "profile"))
                return "&lt;img src=x" in doms[-1]

            until(named, f"{page} names the run", every=1.0)
            assert 'id="taken"' not in doms[-1], page
            assert "<iframe" not in doms[-1], page
        viewer.end()
