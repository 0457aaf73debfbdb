# SPDX-License-Identifier: Apache-2.0
"""The side of the API: requests go out, and every way in which that can fail becomes one of our reasons.

Fields and target are sent as the passage made them: nothing is added but framing, no redirect is followed, no
cookie kept, no body decoded, no proxy of the environment used.
"""

from collections.abc import AsyncIterator
from typing import Final

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from proxy.gateway.options import GatewayOptions
from proxy.model.decision import Reason
from proxy.model.request import Headers
from proxy.pipeline.passage import Forward

_NOTHING_ADDED: Final = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
CHUNK_BYTES: Final = 64 * 1024


class Upstreams:
    """Connections to the APIs, pooled.

    Args:
        options: deadlines.
    """

    def __init__(self, options: GatewayOptions) -> None:
        self._options = options
        # The client would send a PUT or DELETE again on its own, behind the ledger's back; it has no public way
        # to be told not to. `_send` repeats what may be repeated. A test holds this to what the API sees.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=10),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=_NOTHING_ADDED,
            read_bufsize=CHUNK_BYTES,
            max_line_size=16 * 1024,
            max_field_size=16 * 1024,
            timeout=aiohttp.ClientTimeout(
                total=None,  # the gateway keeps the route's own deadline
                sock_connect=options.upstream_connect_seconds,
                sock_read=options.upstream_idle_seconds,
            ),
        )
        self._session._retry_connection = False  # noqa: SLF001 - see above

    async def request(
        self, method: str, forward: Forward, body: AsyncIterator[bytes] | None, length: str | None = None
    ) -> aiohttp.ClientResponse:
        """Send a request and return the answer's head; the body, of a length that may be known, is still to be read.

        A read without a body is sent once more where a kept connection turned out to be closed.
        """
        try:
            return await self._send(method, forward, body, length)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            if not forward.is_read or body is not None or isinstance(error, aiohttp.ClientConnectorError):
                raise
            return await self._send(method, forward, None, length)

    async def _send(
        self, method: str, forward: Forward, body: AsyncIterator[bytes] | None, length: str | None
    ) -> aiohttp.ClientResponse:
        framing = () if length is None else (("Content-Length", length),)
        return await self._session.request(
            method,
            URL(forward.api.upstream.url + forward.target, encoded=True),
            headers=_unify_names((*read_lines(forward.fields), *framing)),
            data=body,
            allow_redirects=False,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()


def read_lines(fields: bytes) -> Headers:
    """Return the fields that rendered lines are, for a library that renders them itself."""
    lines = [line.partition(": ") for line in fields.decode().split("\r\n")[:-1]]
    return tuple((name, value) for name, _, value in lines)


def _unify_names(headers: Headers) -> CIMultiDict[str]:
    """Spell a name that stands more than once as it is spelt first: the client keeps one of each spelling."""
    spelt: dict[str, str] = {}
    return CIMultiDict([(spelt.setdefault(name.lower(), name), value) for name, value in headers])


def find_reason(error: BaseException) -> Reason:
    """Translate an error of the HTTP client: the one place where its exceptions are known."""
    if isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
        return Reason.UPSTREAM_UNREACHABLE
    if isinstance(error, TimeoutError):
        return Reason.UPSTREAM_TIMEOUT
    if isinstance(error, (aiohttp.ClientResponseError, aiohttp.InvalidURL)):
        return Reason.UPSTREAM_ANSWER_UNSUPPORTED
    if isinstance(error, (aiohttp.ClientError, OSError)):
        return Reason.UPSTREAM_BROKEN
    return Reason.DECISION_FAILED
