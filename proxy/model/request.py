# SPDX-License-Identifier: Apache-2.0
"""A request as it arrives, and as it stands once it is canonical."""

from typing import Final, TypeAlias

import msgspec

Headers: TypeAlias = tuple[tuple[str, str], ...]
"""Header fields in the order received, names as written."""
_LAX: Final = {ord(character): "-" for character in "!#$%&'*+.^_`|~"}
"""Every character of a token that is neither letter nor digit: CGI reads ``_`` for ``-``, lighttpd for all."""
VARYING: Final = frozenset(
    {
        "traceparent", "tracestate", "x-request-id", "x-correlation-id", "b3", "x-b3-traceid", "x-b3-spanid",
        "x-b3-parentspanid", "x-amzn-trace-id", "x-cloud-trace-context", "uber-trace-id",
    }
)  # fmt: skip
"""Fields that say something new in each request, in lower case. They are kept apart from those that a caller sends
again and again, of which it is worked out once what they come to."""
TokenPlace: TypeAlias = str
"""Where a token stands in a request: ``authorization``, ``cookie NAME`` or ``header name``."""
AUTHORIZATION: Final[TokenPlace] = "authorization"
"""The ``Authorization`` field, as a ``Bearer`` credential (RFC 6750 2.1)."""
BEHIND: Final[TokenPlace] = "header sekisho-on-behalf-of"
"""The field in which a caller shows the token of the person for whom it acts, whatever place its issuer names."""
Carried: TypeAlias = tuple[tuple[TokenPlace, str], ...]
"""What stood at the other places that the policy names, and where."""


def canonical_name(name: str) -> str:
    """Return the name of a field as the laxest reader behind us would read it."""
    return name.lower().translate(_LAX)


class RequestHead(msgspec.Struct, frozen=True, gc=False):
    """What a driver hands over: nothing of it is trusted yet."""

    method: str
    raw_target: str
    """The request target of the request line, unchanged."""
    headers: Headers
    peer_ip: str
    """The address at the other end of the connection."""
    version: tuple[int, int] = (1, 1)
    """Of HTTP."""
    certificate: bytes | None = None
    """The certificate, in DER, that the peer has shown in the TLS handshake; None if it has shown none."""
    proxied: tuple[str, ...] = ()
    """What the PROXY header of the connection said, in one element; none where there was none."""
    varying: Headers = ()
    """Of ``VARYING``, those that stand apart from ``headers``."""


class Target(msgspec.Struct, frozen=True, gc=False):
    """A request target that reads the same for every server."""

    path: str
    segments: tuple[str, ...]
    raw_query: str
    """Behind the ``?``, unchanged; empty if there is none."""

    @property
    def text(self) -> str:
        """The bytes to forward: the same that were matched."""
        return f"{self.path}?{self.raw_query}" if self.raw_query else self.path


class ResponseHead(msgspec.Struct, frozen=True, gc=False):
    """The head of the API's answer."""

    status: int
    headers: Headers
