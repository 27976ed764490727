"""Settings -> the destination in force. A new destination is named here, and nowhere else."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from karaoke_train.runlog import secrets
from syncd.destination.base import Destination
from syncd.destination.wandb import credentials
from syncd.destination.wandb.destination import WandbDestination
from syncd.paths import destination_folder
from syncd.settings import Settings


def each(settings: Settings) -> tuple[Settings, ...]:
    """The settings once per destination, each with that one alone."""
    return tuple(_alone(settings, kind) for kind in settings.destinations)


def connect_all(settings: Settings) -> tuple[tuple[Settings, Destination], ...]:
    """Each destination that the settings name, with the settings for it alone. See `connect`."""
    return tuple((one, connect(one)) for one in each(settings))


def connect(settings: Settings) -> Destination:
    """The first destination that the settings name, with the login in force; nothing is asked of
    it yet. Its key is cut out of whatever is shown, logged or kept from now on. Raises
    UsageError."""
    if settings.destinations[0] == "trackio":
        from syncd.destination.trackio.destination import TrackioDestination

        return TrackioDestination(*stores(settings))
    login = credentials.find_login(base_url=settings.base_url, entity=settings.entity)
    secrets.hide(login.key)
    folder = destination_folder(settings.state_dir, login.base_url)
    return WandbDestination(
        login,
        settings.limits,
        lane=settings.lane,
        folder=folder,
        counts=settings.confirm == "count",
    )


def _alone(settings: Settings, kind: str) -> Settings:
    # The entity is wandb's: a user or team there
    entity = settings.entity if kind == "wandb" else ""
    return replace(settings, destinations=(kind,), entity=entity)


def stores(settings: Settings) -> tuple[Path, ...]:
    """The folders on this machine that records go to."""
    if "trackio" not in settings.destinations:
        return ()
    from syncd.destination.trackio.names import store_folder

    return (store_folder(),)


def open_dashboard(
    settings: Settings, project: str, port: int | None
) -> AbstractContextManager[str]:
    """The local store's page. See `trackio.dashboard.dashboard`."""
    from syncd.destination.trackio.dashboard import dashboard
    from syncd.destination.trackio.store import Store

    return dashboard(Store(*stores(settings)), project, port)


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


def take_network_from_env_file(env: MutableMapping[str, str] = os.environ) -> None:
    """Bring proxies and certificate authorities of the environment file into force, which the
    service has from its manager."""
    credentials.take_network_from_file(env)
