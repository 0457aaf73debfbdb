# SPDX-License-Identifier: Apache-2.0
"""The protocols that the flow needs from the outside. Wiring gives the real ones, tests their simulators."""

from collections.abc import Awaitable, Collection, Mapping, Sequence
from typing import Any, Protocol

from proxy.model.counts import Counted, CountsNeeded
from proxy.model.origin import CountrySource, DatabaseInfo, Geolocation
from proxy.model.subject import Located, LookupNeeded


class Geolocator(Protocol):
    """Tells the country of a public address, from memory. It never changes: other data are another geolocator."""

    source: CountrySource
    build: str
    """Name and date of the data, for people."""
    version: str
    """What tells these data from others, in every decision's record."""
    databases: tuple[DatabaseInfo, ...]

    def locate(self, ip: str, now: float) -> Geolocation:
        """Return what is known of a canonical address; unknown is a value, never an exception.

        Args:
            ip: the address.
            now: seconds since 1970: what is too old then says nothing.
        """
        ...


class KeySets(Protocol):
    """The issuers' key sets as they stand."""

    @property
    def sets(self) -> Mapping[str, Any]:
        """Issuer id to its ``caller.keys.KeySet``; one that may not be trusted now is not there.

        It is replaced whenever it changes, and never changed itself.
        """
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


class Volume(Protocol):
    """Counts what callers read."""

    def count(self, needed: CountsNeeded) -> Counted | None:
        """Return the counts with this request included; None where somebody must be asked first."""
        ...

    def settle(self, needed: CountsNeeded, counted: Counted, *, is_allowed: bool) -> None:
        """Take note of what was decided by these counts: what is denied does not count."""
        ...


class CountsSource(Protocol):
    """Counts somewhere else, so that it must be waited for."""

    def ask(self, needed: CountsNeeded) -> Awaitable[None]:
        """Put the answer into a question, where there is one."""
        ...


class Directory(Protocol):
    """Tells the countries of data subjects, from registers in memory and from what others said."""

    def find(self, lookup: str, id_: str, now: float) -> Located | None:
        """Return what is known of an id now; None where somebody must be asked first.

        Args:
            lookup: the register.
            id_: of the subject, as the request or the record has it.
            now: seconds since 1970: what is too old then says nothing.
        """
        ...


class DirectorySource(Protocol):
    """Tells the countries of data subjects somewhere else, so that it must be waited for."""

    def ask(self, needed: LookupNeeded) -> Awaitable[None]:
        """Have what is asked for found by ``Directory.find`` afterwards, as a failure where it failed; never raises."""
        ...


class Ledger(Protocol):
    """Takes lines and makes them durable."""

    def append(self, lines: Sequence[Any]) -> Awaitable[None] | None:
        """Record all lines, or raise ``LedgerError`` and leave none of them behind.

        Returns:
            None where they are durable now; else what to wait for, which may raise ``LedgerError``, too.
        """
        ...
