"""The grids that sound and frames lie on, in samples and seconds. No torch: everything may import.

One *frame* is 20 ms everywhere in this package: the mel's hop is 10 ms, and Whisper's second
convolution has stride 2.
"""

from __future__ import annotations

SAMPLE_RATE = 16_000  # Hz, what Whisper's encoders were trained at
HOP = 160  # samples, 10 ms: one column of the mel
FRAME = 2 * HOP  # samples, 20 ms: one frame of the encoder's output
FRAME_SECONDS = FRAME / SAMPLE_RATE  # 0.02
# Peak of full scale, -80 dB: nothing is heard below it. A spectrogram that is scaled to its loudest
# point would show that as loud as a voice.
SILENT = 1e-4
MAX_FRAMES = 1500  # 30 s, the length of Whisper's position embedding

Range = tuple[float, float]  # lowest, highest; drawn from evenly unless said otherwise


def frame_count(samples: int) -> int:
    """Frames of 20 ms that `samples` of audio at 16 kHz fill; the last one may be partly empty."""
    return max(1, -(-samples // FRAME))
