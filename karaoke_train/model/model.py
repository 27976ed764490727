"""Features in, logits per frame out: a Whisper encoder with heads for notes.

    log-mel ── Whisper's convolutions ──┬─▶ Whisper's transformer ──┐
                                        │            ▲              ├─▶ onset, offset, voicing
    log-frequency ── harmonic stack ──▶ salience ────┴──────────────┴─▶ pitch

The encoder is transformers' own, any checkpoint, run on the segment's length rather than always
on 30 s. Differences from Whisper: position embeddings are cropped, padding is masked, what the
pitch front-end sees is added to the embeddings, and adapters may stand behind the layers (both
through projections that start at zero, so that a pretrained encoder starts as itself).

The pitch front-end stacks shifted copies of a log-frequency spectrogram, so that a small
convolution sees a pitch's harmonics side by side, wherever the pitch lies (the harmonic CQT of
Bittner et al. 2017, "Deep salience representations for F0 estimation", also in basic-pitch).
Whisper's 80 mel bands alone lie 37 Hz apart, more than a semitone up to 600 Hz.
"""

# mypy: allow-untyped-calls
# (transformers is typed in part only)

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel, WhisperConfig
from transformers import initialization as init
from transformers.models.whisper.modeling_whisper import WhisperEncoder
from transformers.utils.generic import ModelOutput

from karaoke_train.audio.features import FeatureSettings
from karaoke_train.audio.units import MAX_FRAMES
from karaoke_train.dataset.targets import Targets
from karaoke_train.model.decode import Posteriors
from karaoke_train.model.losses import Logits, note_loss

HARMONICS = (0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0)  # basic-pitch's, and an eighth
FORMAT = 3  # raised when versions of before cannot read what is written now
# Formats that `load_model` reads; 1 has other names in `features`, 2 no adapters.
READABLE = (1, 2, 3)
_FORMAT_1 = {
    "lowest": "midi_min",
    "highest": "midi_max",
    "bins": "bins_per_semitone",
    "below": "semitones_below",
}


class VoiceToNotesConfig(PreTrainedConfig):
    """Everything needed to rebuild the model and its input.

    encoder: a WhisperConfig (or its dict); its decoder's part is not used.
    features: FeatureSettings as a dict, under its names of today or of format 1.
    pitch_frontend: whether the log-frequency spectrogram is used at all.
    contour: whether what the front-end sees is added to the encoder's embeddings, too; around a
        frozen encoder it is not, so that the encoder's states never change.
    salience_channels: width of the front-end's convolutions.
    head_width: width of the two convolutions in front of the onset, offset and voicing outputs.
    adapter_width: width of the adapters behind the encoder's layers, 0 for none.
    dropout: in the heads.
    window_frames: how much the encoder hears at once, in frames of 20 ms: what it was trained on.
    encoder_source, encoder_checksum: name or folder of the Whisper whose encoder was frozen, and
        its weights' `whisper.checksum`; "" where the encoder's weights are the model's own.
    format: version of this layout; `load_model` refuses those that are not in READABLE.
    """

    model_type = "voice_to_notes"
    sub_configs = {"encoder": WhisperConfig}  # noqa: RUF012  transformers' protocol

    def __init__(
        self,
        encoder: WhisperConfig | dict[str, Any] | None = None,
        features: dict[str, int] | None = None,
        pitch_frontend: bool = True,
        contour: bool = True,
        salience_channels: int = 16,
        head_width: int = 128,
        adapter_width: int = 0,
        dropout: float = 0.1,
        window_frames: int = MAX_FRAMES,
        encoder_source: str = "",
        encoder_checksum: str = "",
        format: int = FORMAT,  # noqa: A002  the name in the file
        **kwargs: Any,
    ) -> None:
        if isinstance(encoder, dict):
            encoder = WhisperConfig(**encoder)
        self.encoder = encoder or WhisperConfig()
        named = {_FORMAT_1.get(name, name): value for name, value in (features or {}).items()}
        self.features = asdict(FeatureSettings(**named))
        self.pitch_frontend = pitch_frontend
        self.contour = contour
        self.salience_channels = salience_channels
        self.head_width = head_width
        self.adapter_width = adapter_width
        self.dropout = dropout
        self.window_frames = window_frames
        self.encoder_source = encoder_source
        self.encoder_checksum = encoder_checksum
        self.format = FORMAT if format in READABLE else format  # its names are those of today
        super().__init__(**kwargs)

    @property
    def feature_settings(self) -> FeatureSettings:
        """The preprocessing the model was trained with."""
        return FeatureSettings(**self.features)


@dataclass
class VoiceToNotesOutput(ModelOutput):
    """Logits per 20 ms frame: onset, offset, voicing (batch, frames); pitch (…, classes)."""

    loss: Tensor | None = None
    onset: Tensor | None = None
    offset: Tensor | None = None
    voicing: Tensor | None = None
    pitch: Tensor | None = None
    parts: Tensor | None = None  # (4,) the loss's onset, offset, voicing and pitch


class HarmonicSalience(nn.Module):
    """Log-frequency spectrogram (batch, bins, frames) -> salience (batch, frames, classes)."""

    def __init__(self, settings: FeatureSettings, channels: int) -> None:
        super().__init__()
        self.classes = settings.pitch_classes
        first = settings.semitones_below * settings.bins_per_semitone
        octave = 12 * settings.bins_per_semitone  # rows
        self.shifts = [first + round(octave * math.log2(h)) for h in HARMONICS]
        self.mix = nn.Conv2d(len(HARMONICS), channels, (1, 5), padding=(0, 2))
        self.sharpen = nn.Conv2d(channels, channels, (3, 5), padding=(1, 2))
        self.out = nn.Conv2d(channels, 1, 1)

    def forward(self, log_frequency: Tensor) -> Tensor:
        shape = log_frequency - log_frequency.mean(dim=1, keepdim=True)  # loudness is no pitch
        spectrum = shape.transpose(1, 2)  # (batch, frames, bins)
        missing = self.shifts[-1] + self.classes - spectrum.shape[-1]
        spectrum = nn.functional.pad(spectrum, (0, max(missing, 0)))
        stack = torch.stack([spectrum[..., s : s + self.classes] for s in self.shifts], dim=1)
        hidden = nn.functional.gelu(self.mix(stack))
        hidden = nn.functional.gelu(self.sharpen(hidden))
        salience: Tensor = self.out(hidden).squeeze(1)
        return salience


class Contour(nn.Conv1d):
    """The pitch contour on its way into the encoder; starts at zero."""


class FromZero(nn.Linear):
    """A projection that starts at zero."""


class Adapter(nn.Module):
    """Encoder states, (batch, frames, width) -> what to add to them; starts at zero.

    A bottleneck that learns for an encoder whose weights stay (Houlsby et al. 2019,
    "Parameter-efficient transfer learning for NLP").
    """

    def __init__(self, width: int, bottleneck: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.down = nn.Linear(width, bottleneck)
        self.up = FromZero(bottleneck, width)

    def forward(self, states: Tensor) -> Tensor:
        added: Tensor = self.up(nn.functional.gelu(self.down(self.norm(states))))
        return added


class NoteHeads(nn.Module):
    """Encoder states and local embeddings, (batch, frames, width) each -> the logits of onset,
    offset and voicing, (batch, frames, 3), and of pitch, (batch, frames, classes).

    The embeddings before the transformer are seen too: they are sharp in time, which onsets
    need, while the last states of a speech encoder know phonemes and context.
    """

    def __init__(self, width: int, classes: int, config: VoiceToNotesConfig) -> None:
        super().__init__()
        hidden = config.head_width
        self.norm = nn.LayerNorm(width)
        self.local = nn.Conv1d(2 * width, hidden, 5, padding=2)
        self.deep = nn.Conv1d(hidden, hidden, 5, padding=2)
        self.dropout = nn.Dropout(config.dropout)
        self.events = nn.Linear(hidden, 3)
        self.pitch = nn.Linear(hidden, classes)

    def forward(self, states: Tensor, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        both = torch.cat([states, self.norm(embeddings)], dim=-1).transpose(1, 2)
        hidden = nn.functional.gelu(self.local(both))
        hidden = hidden + nn.functional.gelu(self.deep(self.dropout(hidden)))
        hidden = self.dropout(hidden.transpose(1, 2))
        return self.events(hidden), self.pitch(hidden)


class VoiceToNotesModel(PreTrainedModel):
    """Whisper encoder, pitch front-end and note heads, as drawn at the top of this module."""

    config_class = VoiceToNotesConfig
    base_model_prefix = "voice_to_notes"
    main_input_name = "mel"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _no_split_modules = ["WhisperEncoderLayer"]  # noqa: RUF012  transformers' protocol

    def __init__(self, config: VoiceToNotesConfig) -> None:
        super().__init__(config)
        settings = config.feature_settings
        width = config.encoder.d_model
        self.encoder = WhisperEncoder(config.encoder)
        self.salience = (
            HarmonicSalience(settings, config.salience_channels) if config.pitch_frontend else None
        )
        self.contour = (
            Contour(settings.pitch_classes, width, 5, padding=2)
            if config.pitch_frontend and config.contour
            else None
        )
        adapted = config.encoder.encoder_layers if config.adapter_width else 0
        self.adapters = nn.ModuleList(Adapter(width, config.adapter_width) for _ in range(adapted))
        self.heads = NoteHeads(width, settings.pitch_classes, config)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.Conv2d):  # transformers' normal(0, 0.02) would start it mute
            init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif isinstance(module, Contour | FromZero):
            init.zeros_(module.weight)  # its bias, like every bias, is zero already
        elif isinstance(module, WhisperEncoder):
            module._init_weights(module)  # its sinusoids

    def forward(
        self,
        mel: Tensor,
        log_frequency: Tensor,
        lengths: Tensor,
        onset: Tensor | None = None,
        offset: Tensor | None = None,
        voicing: Tensor | None = None,
        midi: Tensor | None = None,
        encoded: Tensor | None = None,
    ) -> VoiceToNotesOutput:
        """Logits of a padded batch, and the loss when targets are given.

        mel: (batch, bands, 2 * frames); log_frequency: (batch, frequency bins, frames);
        lengths: (batch,) frames that are not padding. Targets: (batch, frames) each; onset and
        offset in 0..1, voicing 0 or 1, midi the note's pitch (any value where voicing is 0).
        encoded: what `encode` gave for this batch; None: the encoder runs.
        """
        salience = None if self.salience is None else self.salience(log_frequency)
        if encoded is None:
            embeddings = self._embed(mel, salience)
            states = self._attend(embeddings, lengths)
        else:
            states, embeddings = encoded.chunk(2, dim=-1)
        events, pitches = self.heads(states, embeddings)
        if salience is not None:
            pitches = pitches + salience
        logits = Logits(events[..., 0], events[..., 1], events[..., 2], pitches)
        output = VoiceToNotesOutput(**vars(logits))
        if onset is not None and offset is not None and voicing is not None and midi is not None:
            targets = Targets(onset=onset, offset=offset, voicing=voicing, midi=midi)
            output["loss"], output["parts"] = note_loss(
                logits, targets, lengths, self.config.feature_settings
            )
        return output

    @torch.no_grad()
    def encode(self, mel: Tensor, lengths: Tensor) -> Tensor:
        """Encoder states and embeddings side by side, (batch, frames, 2 * width), float32.

        For a model without contour, whose encoder nothing trains: they depend on the sound alone.
        """
        assert self.contour is None
        embeddings = self._embed(mel, None)
        return torch.cat([self._attend(embeddings, lengths), embeddings], dim=-1)

    @property
    def has_fixed_states(self) -> bool:
        """Whether training leaves what the encoder makes of a sound as it is."""
        trained = any(weight.requires_grad for weight in self.encoder.parameters())
        return self.contour is None and not trained and not self.encoder.dropout

    def _embed(self, mel: Tensor, salience: Tensor | None) -> Tensor:
        """Whisper's two convolutions, plus the projected pitch contour: (batch, frames, width)."""
        encoder = self.encoder
        hidden = nn.functional.gelu(encoder.conv1(mel))
        hidden = nn.functional.gelu(encoder.conv2(hidden)).transpose(1, 2)
        if salience is not None and self.contour is not None:
            seen = salience.softmax(dim=-1).transpose(1, 2)
            hidden = hidden + self.contour(seen).transpose(1, 2)
        return hidden

    def _attend(self, embeddings: Tensor, lengths: Tensor) -> Tensor:
        """Whisper's transformer over a segment of any length up to 30 s."""
        encoder, frames = self.encoder, embeddings.shape[1]
        if frames > encoder.embed_positions.num_embeddings:
            raise ValueError(
                f"a segment of {frames} frames is longer than the encoder's "
                f"{encoder.embed_positions.num_embeddings} (30 s); cut it first"
            )
        hidden = embeddings + encoder.embed_positions.weight[:frames]
        hidden = nn.functional.dropout(hidden, p=encoder.dropout, training=self.training)
        mask = _attention_mask(lengths, frames)
        for index, layer in enumerate(encoder.layers):
            hidden = layer(hidden, mask)
            if self.adapters:
                hidden = hidden + self.adapters[index](hidden)
        states: Tensor = encoder.layer_norm(hidden)
        return states

    def freeze_encoder(self, unfreeze_layers: int = 0) -> None:
        """Stop training Whisper's weights, but for its last `unfreeze_layers` layers.

        Raises ValueError when the encoder has fewer layers.
        """
        layers = self.encoder.layers
        if not 0 <= unfreeze_layers <= len(layers):
            raise ValueError(f"the encoder has {len(layers)} layers, not {unfreeze_layers}")
        self.encoder.requires_grad_(False)
        for layer in layers[len(layers) - unfreeze_layers :]:
            layer.requires_grad_(True)
        if unfreeze_layers:
            self.encoder.layer_norm.requires_grad_(True)


def _attention_mask(lengths: Tensor, frames: int) -> Tensor | None:
    """True where attention may look, (batch, 1, 1, frames); None when nothing is padded."""
    if not torch.compiler.is_compiling() and bool((lengths == frames).all()):
        return None  # lets SDPA take its fast path
    inside = torch.arange(frames, device=lengths.device) < lengths[:, None]
    return inside[:, None, None, :]


def unpack_posteriors(outputs: VoiceToNotesOutput, lengths: list[int]) -> list[Posteriors]:
    """The model's logits as posteriors, one per segment, without padding."""
    onset, offset, voicing = (
        outputs[name].detach().float().sigmoid().cpu().numpy()
        for name in ("onset", "offset", "voicing")
    )
    pitch = outputs["pitch"].detach().float().softmax(-1).cpu().numpy()
    return [
        Posteriors(onset[i, :n], offset[i, :n], voicing[i, :n], pitch[i, :n])
        for i, n in enumerate(lengths)
    ]
