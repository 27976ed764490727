"""Settings in, a model to train out: a trained one, or a new one around a Whisper's encoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import WhisperConfig, set_seed
from transformers import WhisperModel as PretrainedWhisper

from karaoke_train.model.checkpoints import load_model
from karaoke_train.model.model import VoiceToNotesConfig, VoiceToNotesModel
from karaoke_train.settings import SCRATCH_SIZES

if TYPE_CHECKING:
    from karaoke_train.settings import TrainSettings


_WAYS = (
    "Give --encoder PATH of a Whisper checkpoint on this machine, --init to start from a trained "
    "model, --from_scratch small for one with random weights, or --fast_dev for a quick run."
)


class EncoderError(ValueError):
    """The Whisper encoder can't be had; the message says which and what to do."""


def build_model(settings: TrainSettings) -> VoiceToNotesModel:
    """The model that training starts from. Raises EncoderError, CheckpointError."""
    set_seed(settings.seed)
    if settings.init is not None:
        model = load_model(settings.init)
    elif settings.from_scratch is not None:
        model = VoiceToNotesModel(_scratch_config(settings.from_scratch))
    else:
        encoder = _pretrained(settings)
        features = {"mel_bands": encoder.config.num_mel_bins}
        model = VoiceToNotesModel(VoiceToNotesConfig(encoder=encoder.config, features=features))
        model.encoder.load_state_dict(encoder.state_dict())
    if settings.freeze_encoder or settings.unfreeze_layers:
        try:
            model.freeze_encoder(settings.unfreeze_layers)
        except ValueError as error:
            raise EncoderError(f"--unfreeze_layers {settings.unfreeze_layers}: {error}") from None
    return model


def _scratch_config(name: str) -> VoiceToNotesConfig:
    size = SCRATCH_SIZES[name]
    encoder = WhisperConfig(
        d_model=size["width"],
        encoder_layers=size["layers"],
        encoder_attention_heads=size["heads"],
        encoder_ffn_dim=size["ffn"],
    )
    return VoiceToNotesConfig(
        encoder=encoder, head_width=size["head"], salience_channels=size["salience"]
    )


def _not_a_whisper(encoder: str) -> str:
    """What is wrong with a folder named as the encoder; "" for a name, or where nothing is."""
    folder = Path(encoder)
    if not folder.is_dir():
        if not (encoder.startswith((".", "/", "~")) or encoder.count("/") > 1):
            return ""
        return f"there is no folder {encoder} to take a Whisper encoder from.\n{_WAYS}"
    try:
        described = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return f"{folder} holds no Whisper: its config.json is missing or damaged.\n{_WAYS}"
    if described.get("model_type") == VoiceToNotesConfig.model_type:
        return (
            f"{folder} holds a model of karaoke-train: an encoder with heads and front-end, which "
            f"--encoder would leave behind. Start from all of it with --init {folder}"
        )
    return ""


def _pretrained(settings: TrainSettings) -> Any:
    """The encoder of a Whisper checkpoint, from a folder, the cache or the hub."""
    if problem := _not_a_whisper(settings.encoder):
        raise EncoderError(problem)
    try:
        whisper = PretrainedWhisper.from_pretrained(
            settings.encoder, local_files_only=settings.offline, dtype=torch.float32
        )
    except (OSError, ValueError) as error:
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise EncoderError(
            f"the Whisper encoder {settings.encoder!r} can't be loaded: {why}\n{_WAYS}"
        ) from None
    return whisper.get_encoder()
