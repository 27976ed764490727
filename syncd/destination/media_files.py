"""A row's picture or sound that is none or can't be had -> why, in words for the row."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from karaoke_train.runlog.regular_file import UnsafeFile
from syncd.destination.rows import Media
from syncd.source.media_folder import PICTURES, Unusable


def missing(media: Media, error: Exception) -> str:
    """What the row holds in the place of a file that can't be had."""
    return f"{media.path} is missing: {reason(error)}"


def reason(error: Exception) -> str:
    """Why a file can't be had, in words without a path of this machine: they go into the row, which
    has to be the same in both lanes, and on every machine."""
    if isinstance(error, Unusable):
        return str(error)
    if isinstance(error, UnsafeFile):  # its own words have names of this machine in them
        return "it is no regular file of the user's own"
    if type(error).__name__ == "DecompressionBombError":  # Pillow's, which need not be loaded here
        return "it is too large a picture"
    # Pillow's errors name no errno, and some of them the path
    words = error.strerror if isinstance(error, OSError) else None
    return words or "it can't be read"


def check_format(file: Path | BinaryIO) -> None:
    """Raises what Pillow raises for a picture of another kind than those that are uploaded."""
    from PIL import Image

    with Image.open(file, formats=PICTURES):
        pass
