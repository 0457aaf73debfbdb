# SPDX-License-Identifier: Apache-2.0
"""What the service manager that started us is told: sd_notify(3), for systemd's ``Type=notify``. This module does I/O.

Each time one datagram of ``NAME=VALUE`` lines goes to the Unix socket that ``NOTIFY_SOCKET`` names. Where nobody asked,
nobody is told; and whatever becomes of a datagram, callers are served all the same.
"""

import asyncio
import logging
import os
import socket
from typing import Final

from proxy.clock import monotonic_microseconds

SEND_SECONDS: Final = 1.0
"""How long a manager that takes no more may hold us up."""
BEATS: Final = 2
"""How often within the time that it waits a manager is told that we live: twice, as sd_watchdog_enabled(3) advises."""

log = logging.getLogger("sekisho")


class Manager:
    """Tells whoever supervises this process how it is.

    Args:
        address: of a Unix socket, a path or ``@`` and an abstract name; empty where nobody asked.
        watchdog_seconds: after how long a silence we are taken for hung; None: never.
    """

    def __init__(self, address: str = "", watchdog_seconds: float | None = None) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._watchdog_seconds = watchdog_seconds if address else None

    def tell_ready(self, standing: str) -> None:
        """Say that callers are served, or again that a reload has ended.

        Args:
            standing: one line for whoever looks.
        """
        self._tell(READY="1", STATUS=standing)

    def tell_reloading(self) -> None:
        """Say that what we go by is read again: until ``tell_ready``."""
        self._tell(RELOADING="1", MONOTONIC_USEC=str(monotonic_microseconds()))

    def tell_stopping(self) -> None:
        """Say that we end."""
        self._tell(STOPPING="1", STATUS="requests under way are ended, the ledger is signed")

    async def beat(self) -> None:
        """Say again and again that the loop turns by which callers are served, where that is asked for."""
        while self._watchdog_seconds is not None:
            self._tell(WATCHDOG="1")
            await asyncio.sleep(self._watchdog_seconds / BEATS)

    def _tell(self, **lines: str) -> None:
        if not self._address:
            return
        text = "".join(f"{name}={' '.join(value.splitlines())}\n" for name, value in lines.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
                speaker.settimeout(SEND_SECONDS)
                speaker.sendto(text.encode(), self._address)
        except OSError as error:
            log.warning("the service manager could not be told", extra={"error": type(error).__name__})


def find_manager() -> Manager:
    """Return whom the environment names, and take it out of there: processes that we start are not to speak for us."""
    take = os.environ.pop  # noqa: TID251 - the manager's own words, and no settings
    address, usec, pid = take("NOTIFY_SOCKET", ""), take("WATCHDOG_USEC", ""), take("WATCHDOG_PID", "")
    if address and address[0] not in "/@":
        log.warning("the service manager is not told: NOTIFY_SOCKET is neither a path nor an abstract name")
        return Manager()
    is_watched = usec.isdecimal() and int(usec) > 0 and pid in {"", str(os.getpid())}
    return Manager(address, int(usec) / 1_000_000 if is_watched else None)
