# SPDX-License-Identifier: Apache-2.0
"""What a running gateway offers to whoever started it, and what a worker is given."""

import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec

from proxy.bundle.snapshot import Snapshot
from proxy.lifecycle.reload import Reloader
from proxy.model.readiness import Readiness
from proxy.telemetry import Metrics


class Holder(Protocol):
    """Holds the bundle in force."""

    snapshot: Snapshot

    async def adopt(self, snapshot: Snapshot) -> None:
        """Put another one in force; ``SekishoError`` where that cannot be, and then nothing has changed."""

    async def renew(self) -> None:
        """Read again the keys that lie in the policy folder."""


class PreparingHolder(Holder, Protocol):
    """Holds the bundle in force, and puts another one in force in two steps."""

    async def prepare(self, snapshot: Snapshot) -> "Prepared":
        """Make ready to put a bundle in force; ``SekishoError`` where it cannot be."""


class Inherited(msgspec.Struct, frozen=True):
    """What a worker has from its supervisor: it loads and keeps no bundle, binds no address and has no admin."""

    snapshot: Snapshot
    part: str
    """The name of its own ledger, below the one that the settings name."""
    attempts_key: bytes
    """Under which those are remembered who are denied."""


class Prepared(msgspec.Struct, frozen=True):
    """A bundle that can be put in force: all that might fail is done, but for its line in the ledger."""

    commit: Callable[[], Awaitable[None]]
    """Puts it in force; where the ledger cannot be written ``LedgerError``, and then nothing has changed."""
    undo: Callable[[], None]
    """Takes back what preparing it has changed."""


class Running(msgspec.Struct, frozen=True):
    """A gateway that takes requests."""

    listen: str
    """Empty for a worker: it accepts where it is told to."""
    admin: str
    holder: PreparingHolder
    """Holds the bundle in force."""
    reload: Callable[[], None]
    """Tries the policy folder now, and reads the listener's certificate again."""
    reloader: Reloader | None
    """Watches the policy folder; None for a worker, whose supervisor does."""
    accept: Callable[[Sequence[socket.socket]], Awaitable[None]]
    """Takes callers on these sockets from now on, and on no others; what is connected stays."""
    readiness: Callable[[], Readiness]
    """Returns whether requests can be decided."""
    metrics: Metrics

    def in_force(self) -> Snapshot:
        """Return the bundle in force."""
        return self.holder.snapshot
