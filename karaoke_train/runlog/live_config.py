"""A run's config as a dictionary that writes what is set in it, as wandb's `run.config` does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

from karaoke_train.runlog.config_records import config_items


class LiveConfig(dict[str, Any]):
    """What the config has, as it was asked for. What is set in it, by item or attribute, or added
    by `update`, `|=` or `setdefault`, is added to the run's config; what is removed stays there."""

    def __init__(self, config: Mapping[str, Any], add: Callable[[Any], None]) -> None:
        super().__init__(config)
        object.__setattr__(self, "_add", add)

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the run's config has no {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __ior__(self, config: Any) -> Self:  # type: ignore[override, misc]
        self.update(config)
        return self

    def __reduce__(self) -> tuple[type, tuple[dict[str, Any]]]:
        """As a copy, or in a checkpoint, it is a dictionary: what it writes to is here alone."""
        return dict, (dict(self),)

    def __setitem__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def update(self, config: Any = (), /, **more: Any) -> None:
        """Add to the config; a namespace does as well as a mapping, as with wandb."""
        given = dict(config) if isinstance(config, (list, tuple)) else config
        added = {**config_items(given), **more}
        self._add(added)
        super().update(added)

    def setdefault(self, name: str, value: Any = None, /) -> Any:
        """The value that the name has, or else has from now on."""
        if name not in self:
            self[name] = value
        return self[name]
