# SPDX-License-Identifier: Apache-2.0
"""The protocols that the flow needs from the outside. Wiring gives the real ones, tests their simulators."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from proxy.model.origin import CountrySource, Geolocation


class Geolocator(Protocol):
    """Tells the country of a public address, from memory."""

    source: CountrySource
    build: str
    """Name and date of the data, for the record."""

    def locate(self, ip: str) -> Geolocation:
        """Return what is known of a canonical address; unknown is a value, never an exception."""
        ...


class KeySets(Protocol):
    """The issuers' key sets as they stand."""

    @property
    def sets(self) -> Mapping[str, Any]:
        """Issuer id to its ``caller.keys.KeySet``; one that may not be trusted now is not there."""
        ...

    @property
    def failed(self) -> Collection[str]:
        """Issuers whose last fetch failed: that a key is not among theirs proves nothing."""
        ...


class Introspections(Protocol):
    """What issuers said of tokens, as it stands."""

    def find(self, issuer_id: str, token_digest: str) -> Any:
        """Return the last ``caller.revocation.Introspected`` of a token, None if there is none any more."""
        ...


class Ledger(Protocol):
    """Takes lines and makes them durable."""

    def append(self, lines: Sequence[object]) -> None:
        """Make all lines durable, or raise ``LedgerError`` and leave none of them behind."""
        ...
