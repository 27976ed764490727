"""Settings -> the destination in force. A new destination is named here, and nowhere else."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path

from karaoke_train.runlog import secrets
from syncd.destination.base import Destination
from syncd.destination.wandb import credentials
from syncd.destination.wandb.destination import WandbDestination
from syncd.paths import destination_folder
from syncd.settings import Settings


def connect(settings: Settings) -> Destination:
    """The destination that the settings name, with the login in force; nothing is asked of it
    yet. Its key is cut out of whatever is shown, logged or kept from now on. Raises UsageError."""
    login = credentials.find_login(base_url=settings.base_url, entity=settings.entity)
    secrets.hide(login.key)
    folder = destination_folder(settings.state_dir, login.base_url)
    return WandbDestination(
        login,
        settings.limits,
        lane=settings.lane,
        folder=folder,
        counts=settings.confirm == "count",
        allowed_keys=settings.allow_config_keys,
    )


def login_files() -> tuple[Path, ...]:
    """The files that the login may come from, whether they are there or not."""
    return credentials.files()


def stale_variables() -> list[str]:
    """The variables of the service's environment file that only a restart brings into force."""
    return credentials.stale_variables()


def leave_to_env_file(env: MutableMapping[str, str] = os.environ) -> None:
    """Take out of a daemon's environment what its manager took from the environment file, so that
    a reload finds what the file says by then."""
    credentials.leave_to_file(env)
