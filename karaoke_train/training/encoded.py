"""A frozen encoder's states of each segment, kept: it runs once per segment, not once per epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import pad

if TYPE_CHECKING:
    from torch import Tensor

    from karaoke_train.model.model import VoiceToNotesModel

LARGEST = 4 << 30  # bytes in memory; segments beyond are encoded anew each time


class EncodedCache:
    """Encoder states and embeddings by segment, as half floats.

    Only for segments that sound the same each time, and an encoder that nothing trains.
    """

    def __init__(self, largest: int = LARGEST) -> None:
        self.largest = largest
        self._kept: dict[tuple[bool, int], Tensor] = {}
        self._bytes = 0

    def encoded(self, model: VoiceToNotesModel, batch: dict[str, Tensor], index: Tensor) -> Tensor:
        """The batch's states and embeddings side by side, float32 (batch, frames, 2 * width).

        index: (batch,) which segments they are, among those to train on or to validate on.
        """
        keys = [(model.training, int(one)) for one in index]
        if any(key not in self._kept for key in keys):
            found = model.encode(batch["mel"], batch["lengths"])
            for key, row, length in zip(keys, found, batch["lengths"], strict=True):
                self._keep(key, row[: int(length)].half().cpu())
            return found
        frames, device = batch["log_frequency"].shape[-1], batch["mel"].device
        rows = [pad(self._kept[key], (0, 0, 0, frames - len(self._kept[key]))) for key in keys]
        return torch.stack(rows).to(device).float()

    def _keep(self, key: tuple[bool, int], row: Tensor) -> None:
        size = row.numel() * row.element_size()
        if key not in self._kept and self._bytes + size <= self.largest:
            self._kept[key] = row
            self._bytes += size
