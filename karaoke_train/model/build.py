"""Settings in, a new model out: around a pretrained Whisper's encoder, or a small random one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers import WhisperConfig, set_seed
from transformers import WhisperModel as PretrainedWhisper

from karaoke_train.model.model import VoiceToNotesConfig, VoiceToNotesModel
from karaoke_train.settings import SCRATCH_SIZES

if TYPE_CHECKING:
    from karaoke_train.settings import TrainSettings


class EncoderError(ValueError):
    """The Whisper encoder can't be had; the message says which and what to do."""


def build_model(settings: TrainSettings) -> VoiceToNotesModel:
    """A new model around the encoder that the settings name. Raises EncoderError."""
    set_seed(settings.seed)
    if settings.from_scratch is not None:
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


def _pretrained(settings: TrainSettings) -> Any:
    """The encoder of a Whisper checkpoint, from a folder, the cache or the hub."""
    try:
        whisper = PretrainedWhisper.from_pretrained(
            settings.encoder, local_files_only=settings.offline, dtype=torch.float32
        )
    except (OSError, ValueError) as error:
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise EncoderError(
            f"the Whisper encoder {settings.encoder!r} can't be loaded: {why}\n"
            "Give --encoder PATH of a Whisper checkpoint on this machine, --from_scratch small "
            "for one with random weights, or --fast_dev for a quick run without any."
        ) from None
    return whisper.get_encoder()
