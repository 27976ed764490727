"""The models that are in the package: a name or a folder in, a folder out.

`karaoke_train/pretrained/<name>/` holds what `save_pretrained` writes and a model card.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parents[1] / "pretrained"


def names() -> list[str]:
    """The models in the package, in alphabetical order."""
    return sorted(place.parent.name for place in FOLDER.glob("*/config.json"))


def folder_of(model: Path | str) -> Path:
    """The folder of `model`: itself, a run's `best`, or the package's model of that name.

    As in transformers, a folder comes before a name. One that is nowhere is returned as it is.
    """
    folder = Path(model)
    if (folder / "config.json").exists():
        return folder
    if (folder / "best").is_dir():
        return folder / "best"
    return FOLDER / model if str(model) in names() else folder
