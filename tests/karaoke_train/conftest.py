"""What the training tests share: one real fast_dev run, a tiny model, a singable segment."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from filelock import FileLock

from tests.patience import patience

if TYPE_CHECKING:  # the record log and the annotations are tested without torch, too
    from karaoke_train.model.model import VoiceToNotesConfig, VoiceToNotesModel

PROGRAM = [sys.executable, "-m", "karaoke_train.cli"]


@dataclass(frozen=True)
class Ran:
    """A finished karaoke-train process in a folder of its own."""

    folder: Path
    code: int
    out: str
    err: str

    def log(self) -> Path:
        [path] = (self.folder / "logs").glob("training_log_*.jsonl")
        return path

    def records(self, kind: str | None = None) -> list[dict[str, Any]]:
        lines = self.log().read_bytes().splitlines()
        records = [orjson.loads(line) for line in lines]
        return [r for r in records if kind is None or r["type"] == kind]

    def best(self) -> Path:
        [path] = (self.folder / "checkpoints").glob("*/best")
        return path


def karaoke_train(folder: Path, *words: str, seconds: float = 170.0) -> Ran:
    """Run the command line as a user would, in `folder`."""
    done = subprocess.run(
        [*PROGRAM, *words],
        cwd=folder,
        env={**os.environ, "PYTHONWARNINGS": ""},
        capture_output=True,
        text=True,
        timeout=patience(seconds),
        check=False,
    )
    return Ran(folder, done.returncode, done.stdout, done.stderr)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """The models here are tiny, and the machine may be busy."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def fast_dev(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The main job: `karaoke-train --fast_dev --offline`, once for all tests, in whichever process
    of xdist's they are. They only look at what it made."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder, said = base / "fast_dev", base / "fast_dev.json"
    with FileLock(base / "fast_dev.lock"):
        if not said.exists():
            folder.mkdir()
            ran = karaoke_train(folder, "--fast_dev", "--offline")
            said.write_bytes(orjson.dumps([ran.code, ran.out, ran.err]))
    return Ran(folder, *orjson.loads(said.read_bytes()))


@pytest.fixture
def tiny_config() -> VoiceToNotesConfig:
    """The smallest model that has every part."""
    from transformers import WhisperConfig

    from karaoke_train.model.model import VoiceToNotesConfig

    encoder = WhisperConfig(
        d_model=16, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=32
    )
    return VoiceToNotesConfig(encoder=encoder, head_width=8, salience_channels=2)


@pytest.fixture
def tiny_model(tiny_config: VoiceToNotesConfig) -> VoiceToNotesModel:
    import torch

    from karaoke_train.model.model import VoiceToNotesModel

    torch.manual_seed(0)
    return VoiceToNotesModel(tiny_config).eval()
