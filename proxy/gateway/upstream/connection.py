# SPDX-License-Identifier: Apache-2.0
"""One connection to an API, and one exchange at a time on it.

- What the API says is read by ``wire``: one reading, or none. Interim answers end here, because they would leave
  before the record of the decision does.
- The connection goes back to its pool *before* the exchange's last call: whatever that call sets off finds an
  exchange that is over, and a connection that may be another's already.
- A deadline is an assignment; the pool looks at it now and then.
"""

import asyncio
import math
import select
import ssl
from typing import Final, NoReturn, Protocol, cast

from proxy.clock import elapsed_seconds
from proxy.gateway.options import GatewayOptions
from proxy.gateway.upstream.exchange import NOBODY
from proxy.gateway.upstream.handle import UpstreamHandle
from proxy.gateway.wire.bodies import ChunkedBody, FramingError, LengthBody, UntilCloseBody, response_body
from proxy.gateway.wire.grammar import MAX_HEAD_BYTES
from proxy.gateway.wire.heads import ResponseFrame, find_head_end, read_response
from proxy.gateway.wire.render import LAST_CHUNK, render_chunk
from proxy.model.decision import Reason

MAX_INTERIM: Final = 8
"""Interim answers before one that counts; servers send one or two."""
HIGH_WATER_BYTES: Final = 64 * 1024
"""What waits to be sent before the upload is paused."""
_SWITCHING: Final = 101
_SPEAKS: Final = select.POLLIN | getattr(select, "POLLRDHUP", 0)


class Home(Protocol):
    """Where a connection belongs."""

    def admit(self, connection: "UpstreamConnection") -> None:
        """Take a connection that was made."""
        ...

    def take_back(self, connection: "UpstreamConnection", now: float) -> None:
        """Take a connection whose exchange was whole both ways."""
        ...

    def forget(self, connection: "UpstreamConnection") -> None:
        """Count a connection no longer: it is closed."""
        ...


class UpstreamConnection(asyncio.Protocol):
    """One connection.

    Args:
        home: the pool it belongs to.
        options: deadlines.
    """

    __slots__ = (
        "_body", "_first_byte_seconds", "_handle", "_held", "_home", "_idle_seconds", "_interims", "_is_clogged",
        "_is_paused", "_is_ready", "_is_reusable", "_is_tunnel", "_is_uploading", "_left", "_poll", "_transport",
        "deadline", "ends_at",
    )  # fmt: skip

    def __init__(self, home: Home, options: GatewayOptions) -> None:
        self._home = home
        self._first_byte_seconds = options.upstream_first_byte_seconds
        self._idle_seconds = options.upstream_idle_seconds
        self._transport: asyncio.Transport
        self._poll = select.poll()
        self._handle: UpstreamHandle | None = None
        """Of the exchange under way."""
        self._body: LengthBody | ChunkedBody | UntilCloseBody | None = None
        """Reads the answer's body, from its head on; None before."""
        self._held = b""
        """The beginning of a head."""
        self._interims = 0
        self._is_reusable = False
        """Whether the answer's head says that another may follow."""
        self._is_uploading = False
        """Whether parts of the request's body are still to come."""
        self._is_ready = False
        """Whether they were asked for, or the connection is a tunnel: whoever asked is told when to pause."""
        self._left: int | None = None
        """Bytes of the request's body that are; None where it goes out in chunks."""
        self._is_clogged = False
        """Whether the API takes less than it is given."""
        self._is_paused = False
        """Whether whoever asked takes no more of the answer."""
        self._is_tunnel = False
        self.deadline = math.inf
        """When the API has been silent, or the connection unused, for too long; by ``elapsed_seconds``."""
        self.ends_at = elapsed_seconds() + options.upstream_lifetime_seconds
        """When it is used no longer."""

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but its type
        self._transport.set_write_buffer_limits(HIGH_WATER_BYTES)
        self._poll.register(transport.get_extra_info("socket").fileno(), _SPEAKS)
        self._home.admit(self)

    def data_received(self, data: bytes) -> None:
        """Read what the API says."""
        handle = self._handle
        if handle is None:  # an answer to nothing
            self.discard()
        elif self._body is None:
            self._read_head(handle, data)
        else:
            self._read_body(handle, self._body, data)

    def eof_received(self) -> None:
        """Take note that the API has closed its side, and close ours."""
        handle, body = self._handle, self._body
        if handle is None:
            self.discard()
        elif body is not None and body.finish() and self._is_end_authentic():
            self._detach(handle)
            self.discard()
            handle.finish()
        else:
            self._fail(handle, Reason.UPSTREAM_BROKEN)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - whatever it was, it is over
        """End."""
        self._home.forget(self)
        if self._handle is not None:
            self._fail(self._handle, Reason.UPSTREAM_BROKEN)

    def pause_writing(self) -> None:
        """Take note that the API takes less than it is given."""
        self._is_clogged = True
        if self._is_ready and self._handle is not None:
            self._set_deadline()
            self._handle.exchange.pause_upload()

    def resume_writing(self) -> None:
        """Take note that the API takes what it is given."""
        self._is_clogged = False
        if self._is_ready and self._handle is not None:
            self._set_deadline()
            self._handle.exchange.resume_upload()

    # What the pool calls.

    def is_quiet(self) -> bool:
        """Say whether it is open and nothing has arrived: what did would be taken for the answer to what is asked next.

        The loop tells of bytes, and of the end, once it comes to it; the kernel knows now.
        """
        return not self._transport.is_closing() and not self._poll.poll(0)

    def start(self, handle: UpstreamHandle, now: float) -> None:
        """Send the head of a request, on a connection that has nothing else to do."""
        self._handle = handle
        handle.carrier = self
        if handle.has_body:
            self._is_uploading = True
            self._left = None if handle.request.is_chunked else handle.request.length
            self.deadline = math.inf
            asyncio.get_running_loop().call_soon(self._make_ready, handle)
        else:
            self.deadline = now + self._first_byte_seconds
        self._transport.write(handle.head)

    def check(self, now: float) -> None:
        """Close if the API has been silent for too long, or the connection unused, or is unused and too old."""
        handle = self._handle
        if handle is None:
            if now >= self.deadline or now >= self.ends_at:
                self.discard()
        elif now >= self.deadline:
            self._fail(handle, Reason.UPSTREAM_TIMEOUT)

    def discard(self) -> None:
        """Close now, whatever is still to be sent."""
        self._transport.abort()

    def fail(self, reason: Reason) -> None:
        """Close now, and tell whoever asked why."""
        if self._handle is None:
            self.discard()
        else:
            self._fail(self._handle, reason)

    # What the handle calls.

    def upload(self, data: bytes) -> None:
        """Send a part of the request's body; in a tunnel, bytes as they are."""
        if self._is_tunnel:
            self._transport.write(data)
            return
        if not self._is_uploading:
            raise AssertionError("a part of a body that is none, or has ended")
        if self._left is None:
            self._transport.write(render_chunk(data))
            return
        self._left -= len(data)
        if self._left < 0:
            self._refuse_length()
        self._transport.write(data)

    def end_upload(self) -> None:
        """Send the end of the request's body; in a tunnel, close our side, where the API can be told that."""
        if self._is_tunnel:
            if self._transport.can_write_eof():
                self._transport.write_eof()
            return
        if self._left:
            self._refuse_length()
        if self._is_uploading and self._left is None:
            self._transport.write(LAST_CHUNK)
        self._is_uploading = self._is_ready = False
        self._set_deadline()

    def _refuse_length(self) -> NoReturn:
        """Close: the API would take what comes next for the rest of this body, or the rest for the next request."""
        handle = self._handle
        if handle is not None:
            self._fail(handle, Reason.DECISION_FAILED)
        raise AssertionError("a body is not as long as its head says")

    def pause_answer(self) -> None:
        """Stop reading, and wait for whoever is slow."""
        self._is_paused = True
        self._transport.pause_reading()
        self._set_deadline()

    def resume_answer(self) -> None:
        """Go on reading."""
        self._is_paused = False
        self._transport.resume_reading()
        self._set_deadline()

    def give_up(self) -> None:
        """Close: the exchange is not wanted any more."""
        if self._handle is not None:
            self._detach(self._handle)
        self.discard()

    # How an answer is read.

    def _read_head(self, handle: UpstreamHandle, data: bytes) -> None:
        if self._held:
            seen = len(self._held)
            data = self._held + data
            end = find_head_end(data, max(0, seen - 3))
        else:
            end = find_head_end(data)
        if end < 0:
            self._held = data
            if len(data) >= MAX_HEAD_BYTES:
                self._fail(handle, Reason.UPSTREAM_ANSWER_UNSUPPORTED)
            return
        self._held = b""
        frame = read_response(data[:end])
        if frame is None:
            self._fail(handle, Reason.UPSTREAM_ANSWER_UNSUPPORTED)
        elif frame.status < 200:
            self._read_interim(handle, frame, data[end:])
        else:
            self._answer(handle, frame, data[end:])

    def _answer(self, handle: UpstreamHandle, frame: ResponseFrame, data: bytes) -> None:
        """Give the head, and what of the body is there."""
        body = response_body(frame, handle.request.method)
        if body is not None:
            try:
                data, rest = body.feed(data), body.rest
            except FramingError:
                self._fail(handle, Reason.UPSTREAM_BROKEN)
                return
            if not body.is_done:
                self._body = body
                self._is_reusable = frame.is_persistent
                self._set_deadline()
                handle.exchange.upstream_answered(frame, data, is_whole=False)
                return
        else:
            data, rest = b"", data
        self._release(handle, is_clean=frame.is_persistent and not rest)
        exchange, handle.exchange = handle.exchange, NOBODY
        exchange.upstream_answered(frame, data, is_whole=True)

    def _read_body(self, handle: UpstreamHandle, body: LengthBody | ChunkedBody | UntilCloseBody, data: bytes) -> None:
        try:
            payload = body.feed(data)
        except FramingError:
            self._fail(handle, Reason.UPSTREAM_BROKEN)
            return
        if not body.is_done:
            self._set_deadline()
            if payload:
                handle.exchange.upstream_sent(payload)
            return
        self._release(handle, is_clean=self._is_reusable and not body.rest)
        if payload:
            handle.exchange.upstream_sent(payload)
        handle.finish()

    def _read_interim(self, handle: UpstreamHandle, frame: ResponseFrame, rest: bytes) -> None:
        """Drop an interim answer (RFC 9110 15.2); but one is the last of HTTP (15.2.2), if it was asked for."""
        self._interims += 1
        if frame.status == _SWITCHING:
            if handle.request.upgrade and handle.request.upgrade == frame.upgrade and not self._is_uploading:
                self._is_tunnel = self._is_ready = True
                self._body = UntilCloseBody()
                self._set_deadline()
                handle.exchange.upstream_upgraded(frame, rest)
                return
        elif self._interims <= MAX_INTERIM:
            if rest:
                self._read_head(handle, rest)
            return
        self._fail(handle, Reason.UPSTREAM_ANSWER_UNSUPPORTED)

    # How an exchange ends.

    def _release(self, handle: UpstreamHandle, *, is_clean: bool) -> None:
        """Let go of an exchange whose answer is whole."""
        if handle.has_body:
            is_clean = is_clean and not self._is_uploading and self._transport.get_write_buffer_size() == 0
        self._detach(handle)
        if is_clean and not self._is_paused:
            self._home.take_back(self, elapsed_seconds())
        else:
            self.discard()

    def _fail(self, handle: UpstreamHandle, reason: Reason) -> None:
        self._detach(handle)
        self.discard()
        handle.fail(reason)

    def _detach(self, handle: UpstreamHandle) -> None:
        self._handle = self._body = handle.carrier = None
        self._interims = 0
        self._is_uploading = self._is_ready = False

    def _make_ready(self, handle: UpstreamHandle) -> None:
        """Ask for the body, unless the exchange is over by now."""
        if self._handle is not handle or not self._is_uploading:
            return
        self._is_ready, was_clogged = True, self._is_clogged
        handle.exchange.upstream_ready()
        if was_clogged and self._is_clogged and self._is_ready:
            self.pause_writing()

    def _set_deadline(self) -> None:
        """Wait for the API as long as it is its turn, and not while whoever asked is slow."""
        if self._is_tunnel or self._is_paused or (self._is_uploading and not self._is_clogged):
            self.deadline = math.inf
        elif self._body is None and not self._is_uploading:
            self.deadline = elapsed_seconds() + self._first_byte_seconds
        else:
            self.deadline = elapsed_seconds() + self._idle_seconds

    def _is_end_authentic(self) -> bool:
        """Say whether the API itself has ended what ends with its connection (RFC 9112 9.8).

        Whoever is in between can close TCP, but not say so inside of TLS.
        """
        secured: ssl.SSLObject | None = self._transport.get_extra_info("ssl_object")
        if secured is None:
            return True
        try:
            return not secured.read(1)
        except ssl.SSLZeroReturnError:
            return True
        except ssl.SSLError:
            return False
