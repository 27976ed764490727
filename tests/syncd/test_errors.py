"""What people are told of a file that can't be read or written: what happened, and what to do."""

from __future__ import annotations

import errno
import os

import pytest

from syncd.errors import unread, unreadable, unwritable


def system_error(code: int) -> OSError:
    return OSError(code, os.strerror(code))


@pytest.mark.parametrize(
    ("code", "way_out"),
    [
        (errno.EACCES, "Make it writable for this user, or name another place"),
        (errno.EROFS, "Name a place that can be written"),
        (errno.ENOENT, "Make its folder first, or name another place"),
        (errno.ENOSPC, "Make room on its disk, and give the same command again"),
        (errno.EIO, ""),
    ],
)
def test_what_can_not_be_written_says_what_to_do_where_that_is_known(
    code: int, way_out: str
) -> None:
    error = unwritable(system_error(code), "run.csv")
    assert error.head == f"run.csv: can't be written: {os.strerror(code)}"
    assert error.remedy == way_out


def test_what_can_not_be_read_says_what_to_do_where_that_is_known() -> None:
    closed = unreadable(system_error(errno.EACCES), "a.csv")
    assert str(closed) == (
        "a.csv: can't be read: Permission denied. Make it readable for this user."
    )
    assert str(unreadable(system_error(errno.EIO), "")) == "can't be read: Input/output error."
    assert str(unreadable(OSError("odd"), "")) == "can't be read: odd."


def test_a_file_that_went_meanwhile_is_gone_and_not_unreadable() -> None:
    assert unread(system_error(errno.ENOENT)).what.startswith("it is gone")
    assert unread(system_error(errno.EIO)).what == "can't be read: Input/output error"
