"""A record that calls itself a picture, table or trace of trackio's is a record like any other: the
page reads no file that it names, shows nothing of other runs, and gets no markup to run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from syncd.destination.trackio import names
from tests.syncd.destination.trackio.test_history import Sent
from tests.syncd.destination.wandb import odd_logs

IMAGE = {"_type": "trackio.image", "file_path": "p/run-other/1/secret.png", "caption": "c"}
FORGED: dict[str, Any] = {
    "image": IMAGE,
    "audio": {"_type": "trackio.audio", "file_path": "../../secret.wav"},
    "html": {"_type": "trackio.html", "file_path": "p/run-other/1/page.html"},
    "video": {"_type": "trackio.video", "file_path": "/etc/hostname", "_resolvedUrl": "//host"},
    "object3d": {"_type": "trackio.object3d", "file_path": "x.glb"},
    "table": {"_type": "trackio.table", "_value": [{"a": IMAGE, "b": [IMAGE, IMAGE]}]},
    "markdown": {"_type": "trackio.markdown", "_value": "<script>1</script>"},
    "histogram": {"_type": "trackio.histogram", "bins": [0, 1], "values": [1]},
    "trace": {"_type": "trackio.trace", "messages": [{"role": "user", "content": [IMAGE]}]},
    "traces": [1, {"_type": "trackio.trace", "messages": [], "metadata": {"a": IMAGE}}],
    "nested": {"deeper": [[{"_type": "trackio.image", "record/_type": 1}]]},
    "odd": {"_type": {"_type": [IMAGE]}, "record/_type": 2, "record/record/_type": 3},
}


def types(value: Any) -> list[Any]:
    """What trackio would go by, at any depth."""
    if isinstance(value, dict):
        own = [value["_type"]] if "_type" in value else []
        return own + [found for item in value.values() for found in types(item)]
    return [found for item in value for found in types(item)] if isinstance(value, list) else []


@pytest.mark.parametrize("name", FORGED)
@pytest.mark.parametrize("make", [odd_logs.train, odd_logs.epoch], ids=["train", "epoch"])
def test_what_only_says_that_it_is_trackios_is_kept_as_a_value(
    make: Any, name: str, store_folder: Path, tmp_path: Path
) -> None:
    before = {path for path in store_folder.parent.rglob("*") if path.suffix == ".jsonl"}
    sent = Sent(store_folder, tmp_path, [make(epoch=1, forged=FORGED[name])]).send()
    project, run_id = sent.header.project, sent.header.run_id
    for row in sent.destination._store.rows(project, run_id):
        assert types(dict(row.metrics)) == []
    found = sent.compared()
    assert found.differences == []
    assert found.equal  # a trace would have been taken out of its row
    after = {path for path in store_folder.parent.rglob("*") if path.suffix == ".jsonl"}
    assert after == before


@pytest.mark.parametrize("value", [*FORGED.values(), 1, "x", None, [], {}])
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    assert names.typed(names.untyped(value)) == value


@pytest.mark.parametrize("name", ["page.html", "page.svg", "page.xhtml", "roll.png.js", "x.PNG"])
def test_a_file_is_a_picture_by_what_it_holds_and_ends_as_one(
    name: str, store_folder: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (3, 2)).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / name)
    (tmp_path / "script.png").write_text("<script>alert(1)</script>")
    lines = [odd_logs.media("p", name), odd_logs.media("q", "script.png")]
    sent = Sent(store_folder, tmp_path, lines).send()
    rows = [row.metrics for row in sent.destination._store.rows("p", sent.header.run_id)]
    ending = Path(rows[1]["p"]["file_path"]).suffix
    assert ending == (".png" if name == "x.PNG" else "")
    assert rows[2]["q"] == "script.png is missing: it can't be read"
    assert sent.compared().equal


@pytest.mark.parametrize("run_id", ["files", "run-files", "a"])
def test_the_files_of_a_run_are_in_a_folder_of_its_own(
    run_id: str, store_folder: Path, tmp_path: Path
) -> None:
    store = Sent(store_folder, tmp_path, []).destination._store
    for project in ("..", "../..", "/etc", "a/../../b", ".", "\0", "files"):
        folder = store.media_folder(project, run_id)
        assert Path(os.path.normpath(folder)) == folder
        assert folder.parent.parent == store_folder / "media"
        assert folder.name not in ("files", "..")
