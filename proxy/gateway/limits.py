# SPDX-License-Identifier: Apache-2.0
"""How much may be under way at once, in all and from one address, and when nothing more is taken on.

Trusted proxies bring everybody's requests: what comes from them counts in all, and not by address.
"""

from collections.abc import Callable, Sized
from typing import TYPE_CHECKING, Protocol

from proxy.gateway.options import GatewayOptions
from proxy.gateway.ticker import Ticker
from proxy.model.decision import Reason

if TYPE_CHECKING:
    from proxy.gateway.connection import ClientConnection


class Tally:
    """What is under way from one address."""

    __slots__ = ("connections", "requests")

    def __init__(self) -> None:
        self.connections = 0
        self.requests = 0


class Load(Protocol):
    """What is under way in all."""

    @property
    def connections(self) -> Sized:
        """Open connections."""
        ...

    @property
    def under_way(self) -> Sized:
        """Requests without an answer yet."""
        ...


class Limits:
    """Counts what is under way, and says when that is too much.

    Args:
        options: the limits; 0: none.
        ticker: says when the gateway cannot keep up.
        load: what is under way in all.
        trusts: says whether an address is that of a trusted proxy.
    """

    def __init__(self, options: GatewayOptions, ticker: Ticker, load: Load, trusts: Callable[[str], bool]) -> None:
        self._options = options
        self._ticker = ticker
        self._load = load
        self._trusts = trusts
        self._tallies: dict[str, Tally] = {}

    def connect(self, connection: "ClientConnection") -> Reason | None:
        """Count a connection; return why it is one too many, None if it is not."""
        options = self._options
        if 0 < options.max_connections < len(self._load.connections):
            return Reason.CONNECTIONS_EXCEEDED
        ip = connection.peer_ip
        if not ip or self._trusts(ip):
            return None
        tally = self._tallies.get(ip)
        if tally is None:
            tally = self._tallies[ip] = Tally()
        connection.tally = tally
        tally.connections += 1
        if 0 < options.max_connections_per_address < tally.connections:
            return Reason.CONNECTIONS_EXCEEDED
        return None

    def disconnect(self, connection: "ClientConnection") -> None:
        """Count a connection no longer."""
        tally, connection.tally = connection.tally, None
        if tally is not None:
            tally.connections -= 1
            if tally.connections == 0:
                self._tallies.pop(connection.peer_ip, None)

    def begin(self, connection: "ClientConnection") -> Reason | None:
        """Count a request; return why it is one too many, None if it is not."""
        options, tally = self._options, connection.tally
        if tally is not None:
            tally.requests += 1
            if 0 < options.max_requests_per_address < tally.requests:
                return Reason.REQUESTS_EXCEEDED
        if self._ticker.is_late or 0 < options.max_requests < len(self._load.under_way):
            return Reason.OVERLOADED
        return None

    def end(self, connection: "ClientConnection") -> None:
        """Count a request no longer."""
        tally = connection.tally
        if tally is not None:
            tally.requests -= 1
