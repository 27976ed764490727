"""sd_notify(3) without a library: one datagram per message; none where no manager listens."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping
from contextlib import suppress
from dataclasses import dataclass

from karaoke_train.runlog.plain_text import one_line


@dataclass(frozen=True, slots=True)
class Notifier:
    """The socket of the service manager. address: empty for none; watchdog: seconds within which
    it has to hear from us, 0 for never."""

    address: str = ""
    watchdog: float = 0.0

    @classmethod
    def from_env(cls, env: MutableMapping[str, str] = os.environ) -> Notifier:
        """The manager that started this process. Takes the variables out of the environment: a
        child that sent messages would be taken for us."""
        address = env.pop("NOTIFY_SOCKET", "")
        usec, pid = env.pop("WATCHDOG_USEC", ""), env.pop("WATCHDOG_PID", "")
        ours = usec.isdigit() and pid in ("", str(os.getpid()))
        return cls(address, int(usec) / 1e6 if ours else 0.0)

    def __bool__(self) -> bool:
        return bool(self.address)

    def ready(self) -> None:
        """Started, or reloaded."""
        self.send(READY=1)

    def reloading(self) -> None:
        """Settings are being read again; `ready` ends it."""
        self.send(RELOADING=1, MONOTONIC_USEC=time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000)

    def stopping(self) -> None:
        """About to end."""
        self.send(STOPPING=1)

    def status(self, words: str) -> None:
        """One line for `systemctl status`."""
        self.send(STATUS=one_line(" ".join(words.split())))

    def alive(self) -> None:
        """The watchdog's ping."""
        self.send(WATCHDOG=1)

    def extend(self, seconds: float) -> None:
        """Starting or stopping takes longer: up to so many seconds from now."""
        self.send(EXTEND_TIMEOUT_USEC=int(seconds * 1e6))

    def send(self, **fields: object) -> None:
        """Send fields in one message. Never raises: uploads go on without the manager."""
        if not self.address:
            return
        text = "\n".join(f"{key}={value}" for key, value in fields.items())
        # a leading @ stands for the zero byte of an abstract address
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        with (
            suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams,
        ):
            datagrams.sendto(text.encode(), address)
