# SPDX-License-Identifier: Apache-2.0
"""What whoever asked an API may still do about it. Once the exchange is over, every one of these does nothing."""

from typing import Protocol

from proxy.gateway.upstream.exchange import NOBODY, Exchange, UpstreamRequest
from proxy.gateway.wire.render import render_request
from proxy.model.decision import Reason


class Carrier(Protocol):
    """The connection that an exchange is on."""

    def upload(self, data: bytes) -> None:
        """Send a part of the request's body."""
        ...

    def end_upload(self) -> None:
        """Send the end of the request's body."""
        ...

    def pause_answer(self) -> None:
        """Stop reading."""
        ...

    def resume_answer(self) -> None:
        """Go on reading."""
        ...

    def give_up(self) -> None:
        """Close: the exchange on it is not wanted any more."""
        ...


class Queue(Protocol):
    """Where an exchange waits for its connection."""

    def abandon(self, handle: "UpstreamHandle") -> None:
        """Let it wait no longer."""
        ...


class UpstreamHandle:
    """One exchange, from its beginning to its last call: then it lets go of whoever asked.

    Args:
        request: what is asked.
        exchange: who is told of the answer.
        queue: where it waits while it has no connection.
    """

    __slots__ = ("_queue", "carrier", "exchange", "has_body", "head", "request", "until")

    def __init__(self, request: UpstreamRequest, exchange: Exchange, queue: Queue) -> None:
        self.request = request
        self.exchange = exchange
        """``NOBODY`` once it is over."""
        self.head = render_request(
            request.method, request.target, request.fields, request.length, request.is_chunked, request.upgrade
        )
        """Made here, so that what cannot be sent is the trouble of whoever asked, and of nobody else."""
        self.has_body = request.is_chunked or bool(request.length)
        """Whether parts of a body follow."""
        self._queue = queue
        self.carrier: Carrier | None = None
        """None while it waits, and once it is over."""
        self.until = 0.0
        """How long it waits, by ``elapsed_seconds``."""

    def write(self, data: bytes) -> None:
        """Send a part of the request's body, without framing; after ``upstream_ready`` and before ``end``."""
        if self.carrier is not None:
            self.carrier.upload(data)

    def end(self) -> None:
        """Send the end of the request's body."""
        if self.carrier is not None:
            self.carrier.end_upload()

    def pause(self) -> None:
        """Stop reading the answer; what has been read already may still be told, its end too."""
        if self.carrier is not None:
            self.carrier.pause_answer()

    def resume(self) -> None:
        """Go on reading the answer."""
        if self.carrier is not None:
            self.carrier.resume_answer()

    def cancel(self) -> None:
        """Want nothing more: no call follows, and the connection is closed unless the exchange was whole."""
        if self.exchange is NOBODY:
            return
        self.exchange = NOBODY
        if self.carrier is not None:
            self.carrier.give_up()
        else:
            self._queue.abandon(self)

    def finish(self) -> None:
        """Tell whoever asked that the answer is through."""
        exchange, self.exchange = self.exchange, NOBODY
        exchange.upstream_ended()

    def fail(self, reason: Reason) -> None:
        """Tell whoever asked that it has failed."""
        exchange, self.exchange, self.carrier = self.exchange, NOBODY, None
        exchange.upstream_failed(reason)
