# SPDX-License-Identifier: Apache-2.0
"""The beginning of a trusted proxy's connection, where the PROXY protocol is spoken.

The header may arrive in any pieces, and has a few seconds. Whatever else comes first is refused: a proxy that is
trusted and does not say whose connection it passes on would speak for everybody.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from proxy.origin.proxy_protocol import Header, Outcome, parse_header

START_SECONDS: Final = 3.0
"""How long a PROXY header may take: the proxy sends it in one piece, before anything of its client's."""


class Proxied(msgspec.Struct, frozen=True):
    """A connection that has begun as it must."""

    source: str
    """What the header says: an address, ``LOCAL``, or nothing."""
    rest: bytes
    """What arrived behind the header."""


class ProxiedStart:
    """Waits for the PROXY header of one connection.

    Args:
        loop: of the connection.
        refuse: called once, when the header is none or does not come in time.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, refuse: Callable[[], None]) -> None:
        self._refuse = refuse
        self._data = b""
        self._is_refused = False
        self._deadline = loop.call_later(START_SECONDS, self._end)

    def feed(self, data: bytes) -> Proxied | None:
        """Take bytes; None while the header is not there, and for ever once it is refused."""
        if self._is_refused:
            return None
        self._data += data
        parsed = parse_header(self._data)
        if isinstance(parsed, Header):
            self._deadline.cancel()
            return Proxied(parsed.source, self._data[parsed.length :])
        if parsed is Outcome.MALFORMED:
            self._end()
        return None

    def close(self) -> None:
        """Wait no longer: the connection has ended."""
        self._is_refused = True
        self._deadline.cancel()

    def _end(self) -> None:
        self.close()
        self._data = b""
        self._refuse()
