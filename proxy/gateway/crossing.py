# SPDX-License-Identifier: Apache-2.0
"""One request under way: drives its passage, and does what it says in the order it says.

- Lines that a step carries are in the ledger before the step is acted on. If they cannot be, the answer is 503 and
  nothing of the API's answer leaves.
- A body that breaks off midway ends the caller's connection, so that it cannot be mistaken for a whole one.
- Whatever goes wrong, the caller gets a problem document or a closed connection: never a traceback, never an allow.
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import aiohttp
from aiohttp import web

from proxy.caller.introspection import Introspector
from proxy.caller.jwks import KeyStore
from proxy.caller.resolve import IntrospectionNeeded
from proxy.clock import elapsed_seconds, unix_seconds
from proxy.errors import LedgerError
from proxy.gateway.connection import abort, peer_ip, read_shown
from proxy.gateway.ids import make_request_id
from proxy.gateway.options import GatewayOptions
from proxy.gateway.problem import render_problem
from proxy.gateway.upstream import Upstreams, find_reason, read_lines
from proxy.ledger.entry import Rendered
from proxy.ledger.lines import Line
from proxy.model.counts import CountsNeeded
from proxy.model.decision import Reason
from proxy.model.ports import CountsSource, Ledger
from proxy.model.request import RequestHead, ResponseHead
from proxy.pipeline.checkpoint import Checkpoint
from proxy.pipeline.passage import Forward, Need, Passage, Refuse
from proxy.telemetry import Metrics

CLOSING: Final = frozenset({400, 408, 413, 501})
"""Statuses after which a connection is not used again: where a request ends is in doubt."""
DISK_SECONDS: Final = 10.0
"""How long a request waits for the disk, with ``synced``."""
REVISITED_AT_ONCE: Final = 32
"""Requests under way that are decided anew before others are served."""
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
        counts: asked how much callers have read, where that is not known at once.
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
        counts: CountsSource | None = None,
    ) -> None:
        self.checkpoint = checkpoint
        self.keys = keys
        self.introspector = introspector
        self.ledger = ledger
        self.upstreams = upstreams
        self.metrics = metrics
        self.options = options
        self.counts = counts
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
        elif isinstance(need.what, CountsNeeded):
            if self.counts is not None:
                await self.counts.ask(need.what)
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
        step = passage.fail(reason)
        try:
            self.ledger.append(step.lines)  # no request that anybody made: the kernel's word is enough
        except LedgerError as error:
            step = self._refuse_unrecorded(passage, error)
        response = self._answer(step)
        response.force_close()
        return response

    async def record(self, passage: Passage, lines: Sequence[Line | Rendered]) -> None:
        """Wait until lines of a passage are durable.

        Raises:
            LedgerError: they are not.
        """
        waiting = self.ledger.append(lines)
        passage.note_written()
        if waiting is not None:
            try:
                async with asyncio.timeout(DISK_SECONDS):
                    await waiting
            except TimeoutError:
                raise LedgerError(f"The disk of the ledger has not answered within {DISK_SECONDS:g} seconds.") from None

    async def refuse(self, passage: Passage, step: Refuse) -> web.Response:
        """Record, count and render a refusal; an unrecorded one becomes 503."""
        if step.error is not None:
            log.error("a request could not be decided", exc_info=step.error, extra={"id": step.outcome.request_id})
        try:
            await self.record(passage, step.lines)
        except LedgerError as error:
            step = self._refuse_unrecorded(passage, error)
        return self._answer(step)

    def _refuse_unrecorded(self, passage: Passage, error: LedgerError) -> Refuse:
        log.warning("the ledger cannot be written: nothing leaves", extra={"error": str(error)})
        step = passage.fail(Reason.LEDGER_UNAVAILABLE)
        with contextlib.suppress(LedgerError):
            self.ledger.append(step.lines)
        return step

    def _answer(self, step: Refuse) -> web.Response:
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
                return await self._refuse(step)
            return await self._pass_on(step)
        except asyncio.CancelledError:
            if self._why_cut is not None and not self._is_released and self._task is not None:
                self._task.uncancel()
                return await self._fail(self._why_cut)
            self._note_gone()
            raise
        except LedgerError as error:
            log.warning("the ledger cannot be written: nothing leaves", extra={"error": str(error)})
            return await self._fail(Reason.LEDGER_UNAVAILABLE)
        except Exception as error:
            if self._is_settled:
                raise
            if self._is_released:
                self._end(Reason.DECISION_FAILED)
                raise
            return await self._fail(Reason.DECISION_FAILED, error)

    async def _fail(self, reason: Reason, error: Exception | None = None) -> web.StreamResponse:
        return await self._refuse(self._passage.fail(reason, error))

    async def _refuse(self, step: Refuse) -> web.StreamResponse:
        self._is_settled = True
        return await self._gateway.refuse(self._passage, step)

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
            abort(self._request.transport)
        else:
            self._task.cancel()

    async def _decide(self) -> Refuse | Forward:
        request = self._request
        head = RequestHead(
            request.method,
            request.raw_path,
            tuple(request.headers.items()),
            peer_ip(request.transport),
            (request.version.major, request.version.minor),
            *read_shown(request.protocol),
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
            await gateway.record(self._passage, forward.lines)
        length = request.content_length
        if length is not None and length > gateway.options.max_request_body_bytes:
            return await self._fail(Reason.REQUEST_TOO_LARGE)
        deadline = asyncio.get_running_loop().call_later(forward.seconds, self._expire)
        try:
            if forward.expects_continue and request.transport is not None:
                request.transport.write(_CONTINUE)
            body = self._read_body() if request.body_exists else None
            declared = request.headers.get("Content-Length")
            try:
                upstream = await gateway.upstreams.request(request.method, forward, body, declared)
            except Exception as error:  # noqa: BLE001 - every error becomes a reason
                return await self._fail_upstream(error)
            async with upstream:
                return await self._answer(upstream)
        finally:
            deadline.cancel()
            if self._sooner is not None:
                self._sooner.cancel()

    async def _fail_upstream(self, error: Exception) -> web.StreamResponse:
        if self._is_too_large:  # the client library wraps what its body raises
            return await self._fail(Reason.REQUEST_TOO_LARGE)
        reason = find_reason(error)
        return await self._fail(reason, error if reason is Reason.DECISION_FAILED else None)

    async def _read_body(self) -> AsyncIterator[bytes]:
        limit, taken = self._gateway.options.max_request_body_bytes, 0
        async for chunk in self._request.content.iter_any():
            taken += len(chunk)
            if taken > limit:
                self._is_too_large = True
                raise ValueError("the body is larger than the gateway takes")
            yield chunk

    async def _answer(self, upstream: aiohttp.ClientResponse) -> web.StreamResponse:
        gateway, body = self._gateway, _take_whole(upstream.content)
        whole = None if body is None else len(body)
        head = ResponseHead(upstream.status, tuple(upstream.headers.items()))
        step = self._passage.answer(head, whole, elapsed_seconds() - self.started)
        if isinstance(step, Refuse):
            return await self._refuse(step)
        if step.lines:
            await gateway.record(self._passage, step.lines)
        self._is_released = True
        gateway.metrics.count_outcome(step.outcome)
        declared = upstream.headers.get("Content-Length")
        framing = () if declared is None else (("Content-Length", declared),)
        response = web.StreamResponse(
            status=step.status, reason=upstream.reason, headers=(*read_lines(step.fields), *framing)
        )
        reason = await self._stream(upstream.content, body, response)
        self._end(reason)
        if reason:
            abort(self._request.transport)
            raise ConnectionResetError("the answer broke off")
        return response

    async def _stream(
        self, content: aiohttp.StreamReader, body: bytes | None, response: web.StreamResponse
    ) -> Reason | None:
        """Pass the body on with backpressure; return why it broke off, None if it did not."""
        try:
            await response.prepare(self._request)
            if self._request.method == "HEAD":
                await response.write_eof()
            elif body is not None:
                await response.write_eof(body)
                self._bytes_sent = len(body)
            else:
                await self._copy(content, response)
                await response.write_eof()
        except ConnectionResetError:
            return self._why_cut or Reason.CLIENT_GONE
        except LedgerError as error:
            log.warning("the ledger cannot be written: the answer is cut", extra={"error": str(error)})
            return Reason.LEDGER_UNAVAILABLE
        except (aiohttp.ClientError, OSError, ValueError, RuntimeError) as error:
            return find_reason(error) if isinstance(error, (aiohttp.ClientError, OSError)) else Reason.UPSTREAM_BROKEN
        return None

    async def _copy(self, content: aiohttp.StreamReader, response: web.StreamResponse) -> None:
        async for chunk in content.iter_any():
            await self._gateway.record(self._passage, (self._passage.part(self._bytes_sent + len(chunk)),))
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
        step = self._passage.fail(reason)
        try:
            self._gateway.ledger.append(step.lines)
        except LedgerError as error:
            log.warning("the ledger cannot be written", extra={"error": str(error)})
        self._gateway.metrics.count_outcome(step.outcome)

    def _end(self, reason: Reason | None) -> None:
        """Record how the answer ended. What has left cannot be called back, so a failure here is logged."""
        self._is_settled = True
        ended = self._passage.end(
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


def _take_whole(content: aiohttp.StreamReader) -> bytes | None:
    """Return a body of which everything has come, None if more of it is to come or something is wrong with it."""
    if not content.is_eof() or content.exception() is not None:
        return None
    return content.read_nowait()
