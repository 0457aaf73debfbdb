# SPDX-License-Identifier: Apache-2.0
"""The words that contenders share: the setting each starts in, the duties it takes on, what it then is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from bench.certificate import Certificate
    from bench.identity import Issuer
    from bench.processes import Cores


class Duty(StrEnum):
    """Name what a contender does for each request besides passing it on; each is proved before timing."""

    TOKEN = "token"  # noqa: S105 - the name of a duty, no secret
    """Refuse a request without a token or with one that is forged, expired or for another audience."""

    CLAIM_RULE = "claim"
    """Refuse a listed affiliate."""

    COUNTRY_RULE = "country"
    """Refuse a listed country, found from the address in a trusted X-Forwarded-For."""

    LOG = "log"
    """Write one JSON line per request to a file, some time after it."""

    RECORD = "record"
    """Write the decision on each request to a file before the answer leaves, and how the answer ended."""

    ASSERT = "assert"
    """Tell the API in a signed field who asks, and under which rule."""


DUTIES_OF_ALL: Final = frozenset({Duty.TOKEN, Duty.CLAIM_RULE, Duty.COUNTRY_RULE})
"""What every gateway can be told that is made for it."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Hold what every contender is given."""

    folder: Path
    """Where each contender makes a folder of its own."""

    cores: Cores
    issuer: Issuer
    upstream_port: int
    certificate: Certificate | None = None
    """What the contenders' listeners show; None has them speak without TLS."""

    def room(self, name: str) -> Path:
        """Return a new folder for one contender."""
        room = self.folder / name
        room.mkdir(parents=True)
        return room


@dataclass(frozen=True, slots=True)
class Contender:
    """Describe a gateway that is running and accepts connections."""

    name: str
    pid: int
    port: int
    duties: frozenset[Duty]
    log: Path | None = None
    """Its access log, for `Duty.LOG`; it is emptied before each round."""
    record: Path | None = None
    """Its ledger, for `Duty.RECORD`; nobody empties that."""
    assertion_keys: Path | None = None
    """Those that it signs with, for `Duty.ASSERT`."""
    speaks_tls: bool = True
    """Whether it takes the setting's certificate up."""

    def url_of(self, path: str) -> str:
        """Return the address of a resource."""
        return f"http://127.0.0.1:{self.port}{path}"
