# SPDX-License-Identifier: Apache-2.0
"""The HTTP server that callers see: aiohttp's, with our answers for what its parser refuses."""

import asyncio
import logging
from typing import Any, Final

from aiohttp import web
from aiohttp.http_parser import RawRequestMessage
from aiohttp.web_protocol import RequestHandler

from proxy.gateway.connection import Connection, peer_ip
from proxy.gateway.crossing import Gateway
from proxy.gateway.options import GatewayOptions
from proxy.gateway.proxied import ProxiedStart, render_response
from proxy.model.decision import Reason
from proxy.model.origin import ClientAddress

LINGER_SECONDS: Final = 2.0
"""How long the rest of a refused body is read and thrown away, so that its sender gets to see the refusal."""

log = logging.getLogger("sekisho.gateway")


class GatewayServer(web.Server):
    """The HTTP server of a gateway: aiohttp's, with our answers for what its parser refuses.

    Args:
        gateway: takes the requests.
        options: limits.
        client_address: where trusted proxies say whose request they pass on.
    """

    def __init__(
        self,
        gateway: Gateway,
        options: GatewayOptions,
        client_address: ClientAddress = ClientAddress.X_FORWARDED_FOR,
    ) -> None:
        super().__init__(
            gateway.handle,
            handler_cancellation=True,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=options.client_idle_seconds,
            lingering_time=LINGER_SECONDS,
            max_line_size=16 * 1024,
            max_field_size=16 * 1024,
            logger=log,
        )
        self._gateway = gateway
        self._is_proxied = client_address is ClientAddress.PROXY_PROTOCOL

    def __call__(self) -> RequestHandler:
        """Return the protocol of one connection."""
        return _Protocol(self._gateway, self, is_proxied=self._is_proxied, loop=self._loop, **self._kwargs)


class _Protocol(Connection):
    """One connection; what does not parse is refused as a problem document, recorded and counted."""

    __slots__ = ("_gateway", "_is_proxied", "_start")

    def __init__(self, gateway: Gateway, manager: web.Server, *, is_proxied: bool, **options: Any) -> None:
        super().__init__(manager, **options)
        self._gateway = gateway
        self._is_proxied = is_proxied
        self._start: ProxiedStart | None = None
        """While the PROXY header of a trusted proxy's connection is awaited."""
        self.proxied = ()
        self.certificate = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection, once TLS stands; one of a trusted proxy may have to say first whose it is."""
        secured = transport.get_extra_info("ssl_object")
        if secured is not None:
            self.certificate = secured.getpeercert(binary_form=True)
        super().connection_made(transport)
        if self._is_proxied and self._gateway.checkpoint().origins.trusts(peer_ip(self.transport)):
            self._start = ProxiedStart(self._loop, self._refuse_start)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Let go of a connection."""
        if self._start is not None:
            self._start.close()
        super().connection_lost(exc)

    def _refuse_start(self) -> None:
        """End a connection that does not begin as it must."""
        transport = self.transport
        response = self._gateway.refuse_connection(peer_ip(transport), (), Reason.PROXY_HEADER_MALFORMED)
        if transport is not None:
            transport.write(render_response(response))
            transport.close()

    def data_received(self, data: bytes) -> None:
        """Take bytes; what breaks the framing of a body under way ends it at once, not by a deadline."""
        if self._start is not None:
            proxied = self._start.feed(data)
            if proxied is None:
                return
            self._start = None
            self.proxied, data = (proxied.source,), proxied.rest
            if not data:
                return
        super().data_received(data)
        request = self._current_request
        if request is None or not self._messages or request.content.is_eof():
            return
        if not isinstance(self._messages[-1][0], RawRequestMessage):  # the parser's complaint
            request.content.set_exception(ConnectionResetError("the body's framing is broken"))

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp's own text quotes what came: it is not used
    ) -> web.StreamResponse:
        """Answer a request that aiohttp could not parse, or whose handler failed; never echo its bytes."""
        if request.writer.output_size > 0:
            raise ConnectionError("part of an answer has left")
        if status >= 500:
            log.error("a request could not be handled", exc_info=exc)
        return self._gateway.refuse_unparsed(peer_ip(request.transport), self.proxied, status)
