"""This process's id without asking the kernel: a run's writer looks at it for each record."""

from __future__ import annotations

import os

# Kept up to date by Python's own hook, which every fork calls that goes on in Python: os.fork, and
# with it multiprocessing and DataLoader workers. glibc has not cached getpid(2) since 2.25, and the
# system call would be a thirtieth of what a record costs, three times over.
pid = os.getpid()


def _in_child() -> None:
    global pid
    pid = os.getpid()


os.register_at_fork(after_in_child=_in_child)
