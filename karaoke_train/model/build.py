"""Settings in, a model to train out: a trained one, or a new one around a Whisper's encoder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from transformers import WhisperConfig, set_seed

from karaoke_train.model.checkpoints import load_model
from karaoke_train.model.model import VoiceToNotesConfig, VoiceToNotesModel
from karaoke_train.model.whisper import EncoderError, checksum, load_encoder
from karaoke_train.settings import ENCODER, SCRATCH_SIZES

if TYPE_CHECKING:
    from karaoke_train.settings import TrainSettings


def build_model(settings: TrainSettings) -> VoiceToNotesModel:
    """The model that training starts from. Raises EncoderError, CheckpointError."""
    set_seed(settings.seed)
    if settings.init is not None:
        model = load_model(settings.init, encoder=settings.encoder)
        if settings.encoder is not None:
            model.config.encoder_source = _source(settings.encoder)
    elif settings.from_scratch is not None:
        model = VoiceToNotesModel(_scratch_config(settings.from_scratch))
    else:
        model = _around_whisper(settings)
    if _stays(settings) or settings.unfreeze_layers:
        try:
            model.freeze_encoder(settings.unfreeze_layers)
        except ValueError as error:
            raise EncoderError(f"--unfreeze_layers {settings.unfreeze_layers}: {error}") from None
    if settings.full_checkpoint or not _stays(settings):
        model.config.encoder_source = ""  # it will be another one: its weights belong to the model
    return model


def _stays(settings: TrainSettings) -> bool:
    """Whether training leaves all of the encoder's weights as they are."""
    frozen = settings.freeze_encoder or settings.adapter_width > 0
    return frozen and not settings.unfreeze_layers


def _source(name: str) -> str:
    """Where to look for this Whisper from any folder: a hub's name as it is."""
    return str(Path(name).resolve()) if Path(name).is_dir() else name


def _around_whisper(settings: TrainSettings) -> VoiceToNotesModel:
    name = settings.encoder or ENCODER
    encoder = load_encoder(name, offline=settings.offline)
    encoder.config.name_or_path = ""  # it stands in encoder_source, where there is one
    config = VoiceToNotesConfig(
        encoder=encoder.config,
        features={"mel_bands": encoder.config.num_mel_bins},
        encoder_source=_source(name),
        encoder_checksum=checksum(encoder),
        contour=settings.adapter_width > 0 or not _stays(settings),
        adapter_width=settings.adapter_width,
    )
    model = VoiceToNotesModel(config)
    model.encoder.load_state_dict(encoder.state_dict())
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
