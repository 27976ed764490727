"""What happens to runs, files and the connection, told once each: one function per kind.

The log is the daemon's story, and this is where it is written: whoever wants to know how a thing
is said, or wants it told elsewhere as well, has one place to look.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Sequence
from pathlib import Path

from syncd.errors import Leased, SyncError, UploadError

log = logging.getLogger("syncd")


def run_opened(run_id: str, path: Path, count: int, place: str) -> None:
    """A run's upload begins. count: records that are there. place: where that is, which tells a
    daemon's destinations apart."""
    words = "%s: opened; %s records are %s"
    _of_run(run_id, logging.INFO, words, path.name, f"{count:,}", place)


def run_went_on(run_id: str, path: Path, count: int, place: str) -> None:
    """The same after a failure. In words of its own: an opening of a moment ago is no repeat."""
    words = "%s: goes on; %s records are %s"
    _of_run(run_id, logging.INFO, words, path.name, f"{count:,}", place)


def run_arrives(run_id: str, path: Path, place: str, url: str) -> None:
    """The destination has confirmed records of the run that were sent by this process."""
    where = f"{place}: {url}" if url else place
    _of_run(run_id, logging.INFO, "%s: its records arrive %s", path.name, where)


def run_caught_up(run_id: str, path: Path, count: int, place: str) -> None:
    """The destination has confirmed all that the file has by now."""
    words = "%s: caught up; all %s records are %s"
    _of_run(run_id, logging.INFO, words, path.name, f"{count:,}", place)


def run_ended(run_id: str, path: Path, status: str, count: int, place: str) -> None:
    """The destination has all of the run, and knows how it ended."""
    words = "%s: ended (%s); all %s records are %s"
    _of_run(run_id, logging.INFO, words, path.name, status, f"{count:,}", place)


def run_failed(run_id: str, error: UploadError, *, alone: bool) -> None:
    """An action of a run failed. alone: it is this run's trouble; everybody's is told as such.
    That another daemon has the run is no news while it lasts."""
    news = alone and not isinstance(error, Leased)
    _of_run(run_id, logging.WARNING if news else logging.DEBUG, "%s", error)


def run_retried(run_id: str) -> None:
    """Somebody asked for another try."""
    _of_run(run_id, logging.INFO, "%s: tried again, as it was asked for", run_id)


def run_forgotten(run_id: str) -> None:
    """Somebody said that the run is to be left as it is."""
    _of_run(run_id, logging.INFO, "%s: left as it is, as it was asked for", run_id)


def _of_run(run_id: str, level: int, words: str, *arguments: object) -> None:
    # stacklevel: the journal's CODE_FUNC names what happened
    log.log(level, words, *arguments, extra={"run_id": run_id}, stacklevel=2)


def reopened(run_id: str, path: Path, where: str, shown_as: str) -> None:
    """A run whose end was told is shown otherwise there: as running, or as crashed once nothing
    more came. where: the destination's place; shown_as: its word."""
    words = "%s: %s the run is shown as %s, though its end was told: it's told again"
    _of_run(run_id, logging.WARNING, words, path.name, where, shown_as or "nothing")


def sent_again(run_id: str, path: Path, first: int, end: int, where: str) -> None:
    """Records that the destination counts, and does not have. where: its name."""
    _of_run(
        run_id,
        logging.WARNING,
        "%s: %s counts %s records, and does not have record %s: all from there on are sent again",
        path.name,
        where,
        f"{end:,}",
        f"{first:,}",
    )


def left_out(run_id: str, what: str) -> None:
    """What of a run is in its history, and not where people look first."""
    _of_run(run_id, logging.WARNING, "%s", what)


def went_offline(error: UploadError) -> None:
    """The destination can't be reached, or refuses us, and why."""
    log.warning("%s", error)


def reached(kind: str, entity: str) -> None:
    """The destination answers for the first time, and knows us."""
    log.info("%s can be reached; runs go to %s", kind, entity)


def came_back(kind: str, entity: str) -> None:
    """It answers again."""
    log.info("%s can be reached again; runs go to %s", kind, entity)


def state_unwritable(folder: Path, error: OSError) -> None:
    """The state folder takes no writes: a re-read later, and nothing lost now."""
    log.warning("the state folder %s can't be written: %s", folder, error.strerror)


def state_unusable(path: Path, why: str) -> None:
    """A file of our own that went bad."""
    log.warning("%s can't be used (%s): what it said is found out, or asked, again", path, why)


def unexpected(path: Path) -> None:
    """A bug, with its traceback. Called while the exception is handled."""
    log.debug("%s: unexpected", path, exc_info=True)


def began(server: str, key_source: str, folders: Sequence[Path]) -> None:
    """A daemon begins, with these settings and this login."""
    log.info(
        "uploading from %s to %s, %s",
        ", ".join(map(str, folders)),
        server,
        f"with the key from {key_source}" if key_source else "without a key",
    )


def event_command_failed(command: str, problem: str) -> None:
    """`on_event`'s command was run, and did not do it."""
    log.warning("on_event: %s: %s", command, problem)


def event_left_out(kind: str) -> None:
    """Events come faster than `on_event`'s command takes them."""
    log.warning("on_event: its command is busy with others: %s was not told", kind)


def settings_read(files: Sequence[Path]) -> None:
    """The settings are read again, by a signal or for files that have changed."""
    if files:
        log.info("%s changed: read again", ", ".join(map(str, files)))
    else:
        log.info("the settings are read again")


def not_in_force(words: str) -> None:
    """Some of the settings that were read again take a restart."""
    log.warning("%s", words)


def network_changed() -> None:
    """This machine has other addresses, and not everything could be reached before."""
    log.info("this machine's network has changed: what could not be reached is asked now")


def stopped() -> None:
    """The daemon was told to stop."""
    log.info("stopped; what is not uploaded is safe on disk")


def settings_unreadable(error: SyncError) -> None:
    """The settings could not be read again."""
    log.error("%s", error)
    log.error("the settings stay as they were")


def folder_read_only(folder: Path) -> None:
    """A log folder takes no leases."""
    log.warning(
        "%s is read-only here: its runs are uploaded, but without the lease that keeps "
        "another machine's daemon from doing the same. If this is the service's sandbox: "
        "karaoke-syncd service install --log_dir %s",
        folder,
        shlex.quote(str(folder)),
    )


def folder_appeared(folder: Path) -> None:
    """A log folder came into a sandbox that gives no write access to what comes later."""
    log.warning("%s has appeared; starting anew to be able to write in it", folder)


def not_watched(folder: Path, most: int) -> None:
    """There are more folders than may be watched, and this is the first beyond them."""
    log.warning(
        "%s is not watched, nor are folders that come after it: %s are already, and more may not "
        "be. What is written there is uploaded all the same, some seconds later",
        folder,
        f"{most:,}",
    )


def folders_left_out(words: str) -> None:
    """A look at folders has left out some."""
    log.warning("%s", words)


def polled_instead(folder: Path, error: OSError) -> None:
    """inotify can't watch the folder: its limit is reached, mostly."""
    log.warning(
        "%s: %s; polling instead, with which news takes some seconds more. `karaoke-syncd doctor` "
        "has the limits",
        folder,
        error.strerror or error,
    )
