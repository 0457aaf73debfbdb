# SPDX-License-Identifier: Apache-2.0
"""The side of the caller: drives one passage per request, and does what it says in the order it says.

- Lines that a step carries are in the ledger before the step is acted on. If they cannot be, the answer is 503 and
  nothing of the API's answer leaves.
- A body that breaks off midway ends the caller's connection, so that it cannot be mistaken for a whole one.
- Whatever goes wrong, the caller gets a problem document or a closed connection: never a traceback, never an allow.
"""

import asyncio
import contextlib
import logging
import math
import socket
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import aiohttp
from aiohttp import web
from aiohttp.http_parser import RawRequestMessage
from aiohttp.web_protocol import RequestHandler

from proxy.caller.introspection import Introspector
from proxy.caller.jwks import KeyStore
from proxy.caller.resolve import IntrospectionNeeded
from proxy.clock import elapsed_seconds, unix_seconds
from proxy.errors import LedgerError
from proxy.gateway.ids import make_request_id
from proxy.gateway.options import GatewayOptions
from proxy.gateway.problem import render_problem
from proxy.gateway.proxied import ProxiedStart, render_response
from proxy.gateway.upstream import Upstreams, find_reason
from proxy.model.decision import Reason
from proxy.model.origin import ClientAddress
from proxy.model.ports import Ledger
from proxy.model.request import RequestHead, ResponseHead
from proxy.pipeline.checkpoint import Checkpoint
from proxy.pipeline.passage import Forward, Need, Passage, Refuse
from proxy.telemetry import Metrics

CLOSING: Final = frozenset({400, 408, 413, 501})
"""Statuses after which a connection is not used again: where a request ends is in doubt."""
REVISITED_AT_ONCE: Final = 32
"""Requests under way that are decided anew before others are served."""
LINGER_SECONDS: Final = 2.0
"""How long the rest of a refused body is read and thrown away, so that its sender gets to see the refusal."""
_RESET: Final = struct.pack("ii", 1, 0)
"""``SO_LINGER`` with no time: closing resets the connection, which no client takes for the end of an answer."""
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

log = logging.getLogger("sekisho.gateway")


class Gateway:
    """Takes requests, one passage each.

    Args:
        checkpoint: returns what passages share now; each passage keeps what it began with.
        keys: fetches issuers' keys when a passage needs them.
        introspector: asks issuers whether a token is active.
        ledger: made durable there before anything is acted on.
        upstreams: connections to the APIs.
        metrics: what is counted.
        options: limits, and what a refused caller is told.
    """

    def __init__(
        self,
        *,
        checkpoint: Callable[[], Checkpoint],
        keys: KeyStore,
        introspector: Introspector,
        ledger: Ledger,
        upstreams: Upstreams,
        metrics: Metrics,
        options: GatewayOptions,
    ) -> None:
        self.checkpoint = checkpoint
        self.keys = keys
        self.introspector = introspector
        self.ledger = ledger
        self.upstreams = upstreams
        self.metrics = metrics
        self.options = options
        self.is_stopping = False
        """Set when the gateway stops: what is cut from then on was cut by us."""
        self._under_way: set[_Crossing] = set()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Take one request from its head to the end of its answer."""
        crossing = _Crossing(self, request)
        self._under_way.add(crossing)
        with self.metrics.passages.track_inprogress():
            try:
                return await crossing.run()
            finally:
                self._under_way.discard(crossing)
                self.metrics.passage_seconds.observe(elapsed_seconds() - crossing.started)

    async def meet(self, need: Need) -> None:
        """Ask what a passage needs."""
        if isinstance(need.what, IntrospectionNeeded):
            await self.introspector.refresh(need.what)
        else:
            await self.keys.refresh(need.what.issuer_id)

    async def revisit(self) -> None:
        """Decide anew what began under a bundle, a register or keys no longer in force; cut what is now denied."""
        checkpoint = self.checkpoint()
        register = checkpoint.snapshot.affiliates.at(unix_seconds())
        since = max(register.since, self.keys.changed_at, self.introspector.refused_at)
        for count, crossing in enumerate([*self._under_way]):
            crossing.revisit(checkpoint, since)
            if count % REVISITED_AT_ONCE == 0:
                await asyncio.sleep(0)

    def refuse_unparsed(self, peer_ip: str, proxied: tuple[str, ...], status: int) -> web.Response:
        """Answer bytes that the HTTP parser did not take, and record that."""
        malformed = Reason.REQUEST_TOO_LARGE if status == 413 else Reason.REQUEST_MALFORMED
        return self.refuse_connection(peer_ip, proxied, Reason.DECISION_FAILED if status >= 500 else malformed)

    def refuse_connection(self, peer_ip: str, proxied: tuple[str, ...], reason: Reason) -> web.Response:
        """Answer a connection that carries no request that could be read, and record that."""
        now = unix_seconds()
        passage = Passage(self.checkpoint(), make_request_id(now), now)
        passage.note_peer(peer_ip, proxied)
        response = self.refuse(passage, passage.fail(reason))
        response.force_close()
        return response

    def refuse(self, passage: Passage, step: Refuse) -> web.Response:
        """Record, count and render a refusal; an unrecorded one becomes 503."""
        if step.error is not None:
            log.error("a request could not be decided", exc_info=step.error, extra={"id": step.outcome.request_id})
        try:
            self.ledger.append(step.lines)
        except LedgerError as error:
            log.warning("the ledger cannot be written: nothing leaves", extra={"error": str(error)})
            step = passage.fail(Reason.LEDGER_UNAVAILABLE)
            with contextlib.suppress(LedgerError):
                self.ledger.append(step.lines)
        self.metrics.count_outcome(step.outcome)
        status, fields, body = render_problem(
            step.outcome, step.outcome.reason, step.allowed_methods, tell_rule=self.options.tell == "rule"
        )
        response = web.Response(status=status, headers=[*fields, ("Server", "sekisho")], body=body)
        if status in CLOSING:
            response.force_close()
        return response


class _Crossing:
    """One request under way."""

    def __init__(self, gateway: Gateway, request: web.BaseRequest) -> None:
        self.started = elapsed_seconds()
        now = unix_seconds()
        self._gateway = gateway
        self._request = request
        self._judged_by, self._judged_at = gateway.checkpoint(), now
        self._passage = Passage(self._judged_by, make_request_id(now), now)
        self._bytes_sent = 0
        self._is_released = False
        self._is_too_large = False
        self._is_settled = False
        """Whether it is recorded how this request ended."""
        self._why_cut: Reason | None = None
        """Why we cut it ourselves."""
        self._task = asyncio.current_task()
        self._sooner: asyncio.TimerHandle | None = None
        """Ends it by what it was decided anew, if that is sooner."""

    async def run(self) -> web.StreamResponse:
        try:
            step = await self._decide()
            if isinstance(step, Refuse):
                return self._refuse(step)
            return await self._pass_on(step)
        except asyncio.CancelledError:
            if self._why_cut is not None and not self._is_released and self._task is not None:
                self._task.uncancel()
                return self._fail(self._why_cut)
            self._note_gone()
            raise
        except LedgerError as error:
            log.warning("the ledger cannot be written: nothing leaves", extra={"error": str(error)})
            return self._fail(Reason.LEDGER_UNAVAILABLE)
        except Exception as error:
            if self._is_settled:
                raise
            if self._is_released:
                self._end(Reason.DECISION_FAILED)
                raise
            return self._fail(Reason.DECISION_FAILED, error)

    def _fail(self, reason: Reason, error: Exception | None = None) -> web.StreamResponse:
        return self._refuse(self._passage.fail(reason, unix_seconds(), error))

    def _refuse(self, step: Refuse) -> web.StreamResponse:
        self._is_settled = True
        return self._gateway.refuse(self._passage, step)

    def revisit(self, checkpoint: Checkpoint, since: float) -> None:
        """Decide anew under what is in force now, once it is on its way; cut it if it is denied.

        Args:
            checkpoint: what is in force.
            since: when the register of affiliates changed last, by its dates, or what issuers say of keys and tokens.
        """
        is_judged = self._judged_by is checkpoint and self._judged_at >= since
        if is_judged or self._is_settled or not self._passage.is_under_way:
            return
        now = unix_seconds()
        self._judged_by, self._judged_at = checkpoint, now
        if self._passage.is_denied_under(checkpoint, now):
            self._cut(Reason.POLICY_CHANGED)
        elif self._passage.ends_at < math.inf:
            if self._sooner is not None:
                self._sooner.cancel()
            left = max(0.0, self._passage.ends_at - now)
            self._sooner = asyncio.get_running_loop().call_later(left, self._expire)

    def _expire(self) -> None:
        """End a request whose route, token or grant gives it no more time."""
        is_uploading = self._request.body_exists and not self._request.content.is_eof()
        self._cut(Reason.REQUEST_TIMEOUT if is_uploading else Reason.UPSTREAM_TIMEOUT)

    def _cut(self, reason: Reason) -> None:
        self._why_cut = reason
        if self._is_released or self._task is None:
            _abort(self._request.transport)
        else:
            self._task.cancel()

    async def _decide(self) -> Refuse | Forward:
        request = self._request
        head = RequestHead(
            request.method,
            request.raw_path,
            tuple(request.headers.items()),
            _peer_ip(request.transport),
            (request.version.major, request.version.minor),
            *_shown(request.protocol),
        )
        step = self._passage.begin(head)
        while isinstance(step, Need):
            await self._gateway.meet(step)
            step = self._passage.supply(step)
        self._gateway.metrics.decision_seconds.observe(elapsed_seconds() - self.started)
        return step

    async def _pass_on(self, forward: Forward) -> web.StreamResponse:
        request, gateway = self._request, self._gateway
        if forward.lines:  # before anything else can end the request: the passage counts them as written
            gateway.ledger.append(forward.lines)
        length = request.content_length
        if length is not None and length > gateway.options.max_request_body_bytes:
            return self._fail(Reason.REQUEST_TOO_LARGE)
        deadline = asyncio.get_running_loop().call_later(forward.seconds, self._expire)
        try:
            if forward.expects_continue and request.transport is not None:
                request.transport.write(_CONTINUE)
            body = self._read_body() if request.body_exists else None
            try:
                upstream = await gateway.upstreams.request(request.method, forward, body)
            except Exception as error:  # noqa: BLE001 - every error becomes a reason
                return self._fail_upstream(error)
            async with upstream:
                return await self._answer(upstream)
        finally:
            deadline.cancel()
            if self._sooner is not None:
                self._sooner.cancel()

    def _fail_upstream(self, error: Exception) -> web.StreamResponse:
        if self._is_too_large:  # the client library wraps what its body raises
            return self._fail(Reason.REQUEST_TOO_LARGE)
        reason = find_reason(error)
        return self._fail(reason, error if reason is Reason.DECISION_FAILED else None)

    async def _read_body(self) -> AsyncIterator[bytes]:
        limit, taken = self._gateway.options.max_request_body_bytes, 0
        async for chunk in self._request.content.iter_any():
            taken += len(chunk)
            if taken > limit:
                self._is_too_large = True
                raise ValueError("the body is larger than the gateway takes")
            yield chunk

    async def _answer(self, upstream: aiohttp.ClientResponse) -> web.StreamResponse:
        gateway = self._gateway
        step = self._passage.answer(ResponseHead(upstream.status, tuple(upstream.headers.items())))
        if isinstance(step, Refuse):
            return self._refuse(step)
        if step.lines:
            gateway.ledger.append(step.lines)
        self._is_released = True
        gateway.metrics.count_outcome(step.outcome)
        response = web.StreamResponse(
            status=step.status, reason=upstream.reason, headers=[*step.headers, ("Server", "sekisho")]
        )
        reason = await self._stream(upstream, response)
        self._end(reason)
        if reason:
            _abort(self._request.transport)
            raise ConnectionResetError("the answer broke off")
        return response

    async def _stream(self, upstream: aiohttp.ClientResponse, response: web.StreamResponse) -> str:
        """Pass the body on with backpressure; return why it broke off, empty if it did not."""
        try:
            await response.prepare(self._request)
            if self._request.method != "HEAD":
                await self._copy(upstream.content, response)
            await response.write_eof()
        except ConnectionResetError:
            return self._why_cut or Reason.CLIENT_GONE
        except (aiohttp.ClientError, OSError, ValueError, RuntimeError) as error:
            return find_reason(error) if isinstance(error, (aiohttp.ClientError, OSError)) else Reason.UPSTREAM_BROKEN
        return ""

    async def _copy(self, body: aiohttp.StreamReader, response: web.StreamResponse) -> None:
        async for chunk in body.iter_any():
            await response.write(chunk)
            self._bytes_sent += len(chunk)

    def _note_gone(self) -> None:
        """Record that the caller left, or why we cut it off."""
        if self._is_settled:
            return
        reason = self._why_cut or (Reason.GATEWAY_STOPPING if self._gateway.is_stopping else Reason.CLIENT_GONE)
        if self._is_released:
            self._end(reason)
            return
        self._is_settled = True
        step = self._passage.fail(reason, unix_seconds())
        try:
            self._gateway.ledger.append(step.lines)
        except LedgerError as error:
            log.warning("the ledger cannot be written", extra={"error": str(error)})
        self._gateway.metrics.count_outcome(step.outcome)

    def _end(self, reason: str) -> None:
        """Record how the answer ended. What has left cannot be called back, so a failure here is logged."""
        self._is_settled = True
        ended = self._passage.end(
            unix_seconds(),
            complete=not reason,
            reason=reason,
            bytes_sent=self._bytes_sent,
            seconds=elapsed_seconds() - self.started,
        )
        if reason:
            self._gateway.metrics.answers_cut.count(reason)
        try:
            self._gateway.ledger.append(ended.lines)
        except LedgerError as error:
            log.warning("the end of an answer could not be recorded", extra={"error": str(error)})


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


class _Protocol(RequestHandler):
    """One connection; what does not parse is refused as a problem document, recorded and counted."""

    __slots__ = ("_gateway", "_is_proxied", "_start", "certificate", "proxied")

    def __init__(self, gateway: Gateway, manager: web.Server, *, is_proxied: bool, **options: Any) -> None:
        super().__init__(manager, **options)
        self._gateway = gateway
        self._is_proxied = is_proxied
        self._start: ProxiedStart | None = None
        """While the PROXY header of a trusted proxy's connection is awaited."""
        self.proxied: tuple[str, ...] = ()
        """What it said."""
        self.certificate: bytes | None = None
        """What the peer has shown in the handshake, in DER: it is the same for every request of the connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection, once TLS stands; one of a trusted proxy may have to say first whose it is."""
        secured = transport.get_extra_info("ssl_object")
        if secured is not None:
            self.certificate = secured.getpeercert(binary_form=True)
        super().connection_made(transport)
        if self._is_proxied and self._gateway.checkpoint().origins.trusts(_peer_ip(self.transport)):
            self._start = ProxiedStart(self._loop, self._refuse_start)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Let go of a connection."""
        if self._start is not None:
            self._start.close()
        super().connection_lost(exc)

    def _refuse_start(self) -> None:
        """End a connection that does not begin as it must."""
        peer_ip, transport = _peer_ip(self.transport), self.transport
        response = self._gateway.refuse_connection(peer_ip, (), Reason.PROXY_HEADER_MALFORMED)
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
        return self._gateway.refuse_unparsed(_peer_ip(request.transport), self.proxied, status)


def _peer_ip(transport: asyncio.Transport | None) -> str:
    peer = transport.get_extra_info("peername") if transport is not None else None
    return str(peer[0]) if isinstance(peer, tuple) else ""


def _shown(protocol: RequestHandler | None) -> tuple[bytes | None, tuple[str, ...]]:
    """Return what a connection itself says: the certificate of its handshake, and its PROXY header."""
    return (protocol.certificate, protocol.proxied) if isinstance(protocol, _Protocol) else (None, ())


def _abort(transport: asyncio.Transport | None) -> None:
    """Reset a connection: an answer that is delimited by its end must not seem to have ended."""
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()
