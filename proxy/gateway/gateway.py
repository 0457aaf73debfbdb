# SPDX-License-Identifier: Apache-2.0
"""What all requests share: connections, limits, the ledger, and the ways to refuse."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Final

from proxy.caller.introspection import Introspector
from proxy.caller.jwks import KeyStore
from proxy.caller.resolve import IntrospectionNeeded, KeysNeeded
from proxy.clock import elapsed_seconds, render_http_date, unix_seconds
from proxy.errors import LedgerError
from proxy.gateway.connection import ClientConnection
from proxy.gateway.crossing import Crossing
from proxy.gateway.ids import make_request_id
from proxy.gateway.limits import Limits
from proxy.gateway.options import GatewayOptions
from proxy.gateway.problem import render_problem
from proxy.gateway.ticker import Ticker
from proxy.gateway.upstream.upstreams import Upstreams
from proxy.gateway.wire.heads import RequestReader
from proxy.gateway.wire.render import render_response
from proxy.ledger.entry import Rendered
from proxy.ledger.lines import Line
from proxy.model.counts import CountsNeeded
from proxy.model.decision import Reason
from proxy.model.origin import ClientAddress
from proxy.model.ports import CountsSource, DirectorySource, Ledger
from proxy.model.subject import LookupNeeded
from proxy.pipeline.checkpoint import Checkpoint
from proxy.pipeline.passage import Passage
from proxy.pipeline.steps import Need, Refuse
from proxy.telemetry import Metrics

CLOSING: Final = frozenset({400, 408, 413, 414, 417, 431, 501, 505})
"""Statuses after which a connection is not used again: what was meant, or where a request ends, is in doubt."""
REVISITED_AT_ONCE: Final = 32
"""Requests under way that are decided anew before others are served."""
GRACE_SECONDS: Final = 1.0
"""How long a connection must have waited for nothing before a gateway that stops ends it: its next request may be on
its way."""
POLL_SECONDS: Final = 0.05

log = logging.getLogger("sekisho.gateway")


class Gateway:
    """Takes callers' connections.

    Args:
        checkpoint: returns what passages share now; each passage keeps what it began with.
        keys: fetches issuers' keys when a passage needs them.
        introspector: asks issuers whether a token is active.
        ledger: made durable there before anything is acted on.
        upstreams: connections to the APIs.
        metrics: what is counted.
        options: limits, and what a refused caller is told.
        ticker: keeps the deadlines.
        client_address: where trusted proxies say whose request they pass on.
        counts: asked how much callers have read, where that is not known at once.
        directory: asked whose data it is, where that is not known at once.
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
        ticker: Ticker,
        client_address: ClientAddress = ClientAddress.X_FORWARDED_FOR,
        counts: CountsSource | None = None,
        directory: DirectorySource | None = None,
    ) -> None:
        self.checkpoint = checkpoint
        self.keys = keys
        self.introspector = introspector
        self.ledger = ledger
        self.upstreams = upstreams
        self.metrics = metrics
        self.options = options
        self.counts = counts
        self.directory = directory
        self.ticker = ticker
        self.reader = RequestReader()
        self.connections: set[ClientConnection] = set()
        self.under_way: set[Crossing] = set()
        self.limits = Limits(options, ticker, self, self._trusts)
        self.is_proxied = client_address is ClientAddress.PROXY_PROTOCOL
        """Whether the connections of trusted proxies begin with a header of the PROXY protocol."""
        self.is_stopping = False
        """Set when the gateway stops: what is cut from then on was cut by us."""
        metrics.passages.set_function(lambda: len(self.under_way))
        metrics.connections.set_function(lambda: len(self.connections))
        metrics.connections_limit.set(options.max_connections)

    def _trusts(self, ip: str) -> bool:
        return self.checkpoint().origins.trusts(ip)

    def accept(self) -> ClientConnection:
        """Return the protocol of one connection."""
        return ClientConnection(self)

    async def meet(self, need: Need) -> None:
        """Ask what a passage needs."""
        if isinstance(need.what, IntrospectionNeeded):
            await self.introspector.refresh(need.what)
        elif isinstance(need.what, CountsNeeded):
            if self.counts is not None:
                await self.counts.ask(need.what)
        elif isinstance(need.what, LookupNeeded):
            if self.directory is not None:
                await self.directory.ask(need.what)
        elif isinstance(need.what, KeysNeeded):
            await self.keys.refresh(need.what.issuer_id)

    async def revisit(self) -> None:
        """Decide anew what began under a bundle, a register or keys no longer in force; cut what is now denied."""
        checkpoint = self.checkpoint()
        register = checkpoint.snapshot.affiliates.at(unix_seconds())
        since = max(register.since, self.keys.changed_at, self.introspector.refused_at)
        for count, crossing in enumerate([*self.under_way]):
            crossing.revisit(checkpoint, since)
            if count % REVISITED_AT_ONCE == 0:
                await asyncio.sleep(0)

    async def drain(self, seconds: float) -> None:
        """Let requests under way end, and then end all connections.

        Args:
            seconds: how long they may take.
        """
        self.is_stopping = True
        until = elapsed_seconds() + seconds
        while self.connections and (now := elapsed_seconds()) < until:
            for connection in [*self.connections]:
                connection.end_idle(now, GRACE_SECONDS)
            if not self.connections:
                break
            await asyncio.sleep(POLL_SECONDS)
        for connection in [*self.connections]:
            connection.cut(Reason.GATEWAY_STOPPING)
        for _ in range(int(GRACE_SECONDS / POLL_SECONDS)):
            if not self.connections:
                return
            await asyncio.sleep(POLL_SECONDS)
        for connection in [*self.connections]:
            connection.abort()
        await asyncio.sleep(0)

    def append(self, lines: Sequence[Line | Rendered]) -> None:
        """Record what is past: nobody waits for it, and what cannot be recorded is logged."""
        try:
            self.ledger.append(lines)
        except LedgerError as error:
            log.warning("the end of a request could not be recorded", extra={"error": str(error)})

    def refuse_connection(self, peer_ip: str, proxied: tuple[str, ...], reason: Reason) -> bytes:
        """Record a connection that carries no request that could be read, and return what it is answered."""
        now = unix_seconds()
        passage = Passage(self.checkpoint(), make_request_id(now), now)
        passage.note_peer(peer_ip, proxied)
        step = passage.fail(reason)
        try:
            self.ledger.append(step.lines)  # no request that anybody made: the kernel's word is enough
        except LedgerError as error:
            log.warning("the ledger cannot be written: nothing leaves", extra={"error": str(error)})
            step = self.refuse_unrecorded(passage)
        return self.render_refusal(step, keep=False, is_new=True, with_body=True)[0]

    def refuse_unrecorded(self, passage: Passage) -> Refuse:
        """Return the refusal of what could not be recorded; it is tried once more."""
        step = passage.fail(Reason.LEDGER_UNAVAILABLE)
        with contextlib.suppress(LedgerError):
            self.ledger.append(step.lines)
        return step

    def render_refusal(self, step: Refuse, *, keep: bool, is_new: bool, with_body: bool) -> tuple[bytes, bool]:
        """Count a refusal, and return its bytes and whether the connection may be used again.

        Args:
            step: the refusal.
            keep: whether it may be as far as the request goes.
            is_new: whether the caller speaks HTTP/1.1.
            with_body: whether it gets the body, not only its length.
        """
        self.metrics.count_outcome(step.outcome)
        status, fields, body = render_problem(
            step.outcome, step.outcome.reason, step.allowed_methods, tell_rule=self.options.tell == "rule"
        )
        keep = keep and status not in CLOSING
        date = render_http_date(int(step.outcome.now))
        lines = "".join([f"{name}: {value}\r\n" for name, value in (*fields, ("Date", date))]).encode() + _SERVER
        head = render_response(status, lines, len(body), is_chunked=False, closes=not keep, keeps=keep and not is_new)
        return (head + body if with_body else head), keep


_SERVER: Final = b"Server: sekisho\r\n"
