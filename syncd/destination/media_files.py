"""A row's picture or sound -> its file here, or why there is none, in words for the row."""

from __future__ import annotations

from pathlib import Path

from syncd.destination.rows import Media


class Unusable(ValueError):
    """Why a file can't be uploaded, in words that are the same in both lanes."""


def located(folder: Path, media: Media) -> Path:
    """Where the file is. Raises Unusable for a path that leads out of the folder, ValueError for
    one that is none."""
    path = folder / media.path
    if not path.resolve().is_relative_to(folder.resolve()):
        raise Unusable("outside of the run's media folder")
    return path


def missing(media: Media, error: Exception) -> str:
    """What the row holds in the place of a file that can't be had."""
    return f"{media.path} is missing: {reason(error)}"


def reason(error: Exception) -> str:
    """Why a file can't be had, in words without a path of this machine: they go into the row, which
    has to be the same in both lanes, and on every machine."""
    if isinstance(error, Unusable):
        return str(error)
    if type(error).__name__ == "DecompressionBombError":  # Pillow's, which need not be loaded here
        return "it is too large a picture"
    # Pillow's errors name no errno, and some of them the path
    words = error.strerror if isinstance(error, OSError) else None
    return words or "it can't be read"
