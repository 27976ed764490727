"""Compute nodes on one machine, each with a name and a network of its own: none, or a cable from
one to the other. Linux and root; `why_not` says what is missing."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.patience import patience, until

# A node: no network but its own, and a name of its own. `unshare` becomes what is run there
ALONE = ("unshare", "--net", "--uts", "--")


@cache
def why_not(*commands: str) -> str:
    """What keeps this machine from having nodes; empty where nothing does. commands: that are
    needed, too."""
    for command in ((*ALONE, "true"), *((name, "-V") for name in commands)):
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except OSError as error:
            return f"{command[0]} can't be run: {error.strerror}"
        if done.returncode:
            return done.stderr.strip() or f"{command[0]} failed"
    return ""


@dataclass(frozen=True)
class Node:
    """One of the nodes that are joined."""

    name: str
    interface: str
    address: str
    pid: int  # of the process that keeps its namespaces

    def command(self, words: Sequence[str]) -> list[str]:
        """Run there."""
        return ["nsenter", f"--target={self.pid}", "--net", "--uts", "--", *words]


@contextmanager
def joined() -> Iterator[tuple[Node, Node]]:
    """Two nodes that reach each other, and nobody else. Raises CalledProcessError where they can't
    be made."""
    keepers = [subprocess.Popen([*ALONE, "sleep", "infinity"]) for _ in range(2)]
    nodes = [
        Node(f"node{number}", f"cable{number}", f"10.77.0.{number}", keeper.pid)
        for number, keeper in enumerate(keepers, 1)
    ]
    first, second = nodes
    try:
        for node in nodes:  # until it has become `sleep`, it is in the machine's own namespace
            until(lambda node=node: not _same_network(node.pid), "the node is there")  # type: ignore[misc]
        _ip(
            "link", "add", first.interface, "netns", f"{first.pid}",
            "type", "veth", "peer", "name", second.interface, "netns", f"{second.pid}",
        )  # fmt: skip
        for node in nodes:
            _run(node.command(["hostname", node.name]))
            _run(node.command(["ip", "addr", "add", f"{node.address}/24", "dev", node.interface]))
            for interface in ("lo", node.interface):
                _run(node.command(["ip", "link", "set", interface, "up"]))
        yield first, second
    finally:  # with the last process in them, the namespaces and the cable are gone
        for keeper in keepers:
            keeper.kill()
            keeper.wait()


def _same_network(pid: int) -> bool:
    return Path(f"/proc/{pid}/ns/net").readlink() == Path("/proc/self/ns/net").readlink()


def _ip(*words: str) -> None:
    _run(["ip", *words])


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=patience(20))
