"""The models in the package: there, small enough, described, and able to hear unseen singing."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.make_model import LARGEST, RECIPES
from karaoke_train.inference.evaluate import evaluate
from karaoke_train.inference.transcribe import VoiceToNotes
from karaoke_train.model import pretrained
from karaoke_train.model.checkpoints import CheckpointError, load_model
from karaoke_train.settings import MODEL
from karaoke_train.synth import HELD_OUT_VOICES, synthetic_songs
from tests.karaoke_train.model.test_model import tiny_whisper


def test_the_default_model_is_in_the_package() -> None:
    assert MODEL in pretrained.names()


@pytest.mark.parametrize("name", pretrained.names())
def test_a_model_is_small_and_has_a_card_with_scores_and_limits(name: str) -> None:
    folder = pretrained.folder_of(name)
    assert (folder / "model.safetensors").stat().st_size <= LARGEST
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert RECIPES[name].command in " ".join(card.split())
    for heading in ("## How it was made", "## Scores", "## Limits"):
        assert heading in card


def test_heads_of_the_package_name_their_whisper_and_refuse_another(tmp_path: Path) -> None:
    tiny_whisper().save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"encoder of openai/whisper-tiny\.en, and .*SHA-256"):
        load_model("whisper-tiny.en", encoder=str(tmp_path))


def test_the_default_model_hears_singers_that_it_never_heard() -> None:
    songs = synthetic_songs(4, 8_888, voices=HELD_OUT_VOICES)
    reached = evaluate(VoiceToNotes.from_pretrained(device="cpu"), songs).pooled
    assert reached["onset_pitch_f1"] > 0.6  # 0.8 over many songs; its card has them
