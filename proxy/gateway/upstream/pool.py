# SPDX-License-Identifier: Apache-2.0
"""The connections to one API.

- The one that was used last is used first, so that the others grow old and are closed.
- Whoever finds none waits, in order, and takes whichever comes first: one that is given back, or one that is made.
- As many are being made as wait, within the limit; while the API is taken for down, none, and then one at a time. Who
  waits while nothing can come is told so at once.
- Connecting is tried again, as often as it takes to take the API for down: nothing has been sent by then.
"""

import asyncio
import logging
from collections import deque
from typing import Final

from proxy.clock import elapsed_seconds
from proxy.gateway.options import GatewayOptions
from proxy.gateway.ticker import Ticker
from proxy.gateway.upstream.connection import UpstreamConnection
from proxy.gateway.upstream.dial import Cause, Fault, dial, parse_place
from proxy.gateway.upstream.handle import UpstreamHandle
from proxy.gateway.upstream.health import Health
from proxy.gateway.upstream.tls import UpstreamTls
from proxy.model.decision import Reason
from proxy.telemetry import Metrics

CLOSE_SECONDS: Final = 1.0
"""How long connections may take to be closed at the end."""

log = logging.getLogger("sekisho.gateway")


class Pool:
    """The connections to one API at one URL.

    Args:
        name: what the place is called: the API's id, or with a country behind it (``users/JP``).
        url: where it is.
        tls: how its connections are secured, where they are.
        options: limits and deadlines.
        metrics: counts failures.
        ticker: asks for what is due.
    """

    def __init__(
        self, name: str, url: str, tls: UpstreamTls, *, options: GatewayOptions, metrics: Metrics, ticker: Ticker
    ) -> None:
        self.name = name
        self.tls = tls
        self._place = parse_place(url)
        self._options = options
        self._metrics = metrics
        self._ticker = ticker
        self._health = Health(options.upstream_failures, options.upstream_down_seconds)
        self.open: set[UpstreamConnection] = set()
        """Every connection, from being made to being closed."""
        self.idle: list[UpstreamConnection] = []
        """Those without an exchange; the last one is used next."""
        self.waiting: deque[UpstreamHandle] = deque()
        """In the order in which they came, and so in that of their deadlines."""
        self._dials: set[asyncio.Task[None]] = set()
        self._keep_seconds = options.upstream_keep_seconds
        self._is_retired = False
        ticker.watch(self)

    @property
    def is_down(self) -> bool:
        """Whether the API is taken for down."""
        return self._health.is_down

    @property
    def is_empty(self) -> bool:
        """Whether nothing is here any more, nor on its way."""
        return not self.open and not self.waiting and not self._dials

    def submit(self, handle: UpstreamHandle) -> None:
        """Begin an exchange, now or as soon as there is a connection; whoever asked hears of it later."""
        now = elapsed_seconds()
        while self.idle:
            connection = self.idle.pop()
            if connection.is_quiet():
                connection.start(handle, now)
                return
            connection.discard()
        self._enqueue(handle, now)

    def _enqueue(self, handle: UpstreamHandle, now: float) -> None:
        if len(self.waiting) >= self._options.upstream_queue:
            reason = Reason.UPSTREAM_BUSY
        elif self._is_hopeless(now):
            reason = Reason.UPSTREAM_UNREACHABLE
        else:
            handle.until = now + self._options.upstream_queue_seconds
            self.waiting.append(handle)
            self._dial_more(now)
            return
        asyncio.get_running_loop().call_soon(handle.fail, reason)

    def abandon(self, handle: UpstreamHandle) -> None:
        """Let somebody wait no longer."""
        if handle in self.waiting:
            self.waiting.remove(handle)

    # What connections call.

    def admit(self, connection: UpstreamConnection) -> None:
        """Take a connection that was made, for whoever has waited longest."""
        self.open.add(connection)
        now = elapsed_seconds()
        if self.waiting:  # by what it says unasked, it fails: another would say the same
            connection.start(self.waiting.popleft(), now)
        else:
            self.take_back(connection, now)

    def take_back(self, connection: UpstreamConnection, now: float) -> None:
        """Take a connection whose exchange was whole, for whoever has waited longest."""
        if self._is_retired or now >= connection.ends_at:
            connection.discard()
        elif not self.waiting:
            connection.deadline = now + self._keep_seconds
            self.idle.append(connection)
        elif connection.is_quiet():
            connection.start(self.waiting.popleft(), now)
        else:
            connection.discard()

    def forget(self, connection: UpstreamConnection) -> None:
        """Count a connection no longer: it is closed."""
        self.open.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)
        if self.waiting:
            self._settle(elapsed_seconds())

    # What the ticker calls.

    def check(self, now: float) -> None:
        """Do what is due."""
        for connection in [*self.open]:
            connection.check(now)
        while self.waiting and self.waiting[0].until <= now:
            is_full = len(self.open) >= self._options.upstream_connections
            self.waiting.popleft().fail(Reason.UPSTREAM_BUSY if is_full else Reason.UPSTREAM_UNREACHABLE)
        self._settle(now)
        if self._is_retired and self.is_empty:
            self._ticker.forget(self)

    # Connecting.

    def _is_hopeless(self, now: float) -> bool:
        """Say whether no connection can come to whoever waits: none is in use, and none can be made."""
        return len(self.open) == len(self.idle) and not self._health.allows(now, len(self._dials))

    def _settle(self, now: float) -> None:
        """Make the connections that are waited for, or tell who waits that there will be none."""
        while self.waiting and not self._dials and self._is_hopeless(now):
            self.waiting.popleft().fail(Reason.UPSTREAM_UNREACHABLE)
        self._dial_more(now)

    def _dial_more(self, now: float) -> None:
        while (
            len(self._dials) < len(self.waiting)
            and len(self.open) + len(self._dials) < self._options.upstream_connections
            and self._health.allows(now, len(self._dials))
        ):
            self._dials.add(asyncio.ensure_future(self._dial()))

    async def _dial(self) -> None:
        try:
            fault = await dial(self._place, self.tls, self._make, self._options.upstream_connect_seconds)
        except Exception:  # a defect, too, is told to who waits
            log.exception("connecting to an API went wrong", extra={"api": self.name})
            fault = Fault(Cause.CONNECT, "a defect of the gateway")
        task = asyncio.current_task()
        if task is not None:
            self._dials.discard(task)
        self._note(fault, elapsed_seconds())

    def _make(self) -> UpstreamConnection:
        return UpstreamConnection(self, self._options)

    def _note(self, fault: Fault | None, now: float) -> None:
        if fault is None:
            if self._health.is_down:
                log.info("an API is reached again", extra={"api": self.name})
            self._health.note_success()
        else:
            self._metrics.upstream_connect_failures.count(self.name, fault.cause)
            if self._health.note_failure(now):
                self._metrics.upstream_ejections.count(self.name)
                told = {"api": self.name, "cause": fault.cause, "error": fault.text}
                log.warning("an API cannot be connected to, and is taken for down", extra=told)
        self._settle(now)

    # The end.

    def retire(self) -> None:
        """Close what is not in use, and the rest once it is not."""
        self._is_retired = True
        for connection in [*self.idle]:
            connection.discard()
        self.idle.clear()

    async def close(self) -> None:
        """Close everything, whatever is under way."""
        self.retire()
        while self.waiting:
            self.waiting.popleft().fail(Reason.GATEWAY_STOPPING)
        dials, self._dials = self._dials, set()
        for task in dials:
            task.cancel()
        await asyncio.gather(*dials, return_exceptions=True)
        for connection in [*self.open]:
            connection.fail(Reason.GATEWAY_STOPPING)
        until = elapsed_seconds() + CLOSE_SECONDS
        while self.open and elapsed_seconds() < until:  # noqa: ASYNC110
            await asyncio.sleep(0)  # the loop closes them in its next round
