# SPDX-License-Identifier: Apache-2.0
"""A service manager's side of sd_notify(3): a datagram socket, and what a process has said on it."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec

Told = dict[str, str]
"""One datagram's lines, by name."""


class NotifySocket(msgspec.Struct, frozen=True):
    """Where a process tells its manager how it is."""

    address: str
    """As ``NOTIFY_SOCKET`` names it."""
    _socket: socket.socket
    _told: list[Told] = msgspec.field(default_factory=list)

    def told(self) -> list[Told]:
        """Return all that was said until now, in order."""
        with contextlib.suppress(BlockingIOError):
            while data := self._socket.recv(4096, socket.MSG_DONTWAIT):
                pairs = (line.partition("=") for line in data.decode().splitlines())
                self._told.append({name: value for name, _, value in pairs})
        return self._told

    def said(self, name: str) -> list[str]:
        """Return what was said under a name."""
        return [lines[name] for lines in self.told() if name in lines]


@contextlib.contextmanager
def listen_to_notices(place: Path | str) -> Iterator[NotifySocket]:
    """Listen as a manager would.

    Args:
        place: a path, or ``@`` and an abstract name.
    """
    text = str(place)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + text[1:] if text.startswith("@") else text)
        yield NotifySocket(text, listener)
