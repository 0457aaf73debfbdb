# SPDX-License-Identifier: Apache-2.0
"""One connection of a caller: bytes become requests, one after another, and answers go back in the same order.

- A head is looked at once it is whole, and the next one only once its predecessor is answered (RFC 9112 9.3.2): each
  pipelined request is decided by itself.
- A body is read as fast as the API takes it. What nobody wants is read for a moment and thrown away, so that its
  sender gets to see the refusal, and then the connection ends.
- A caller that ends its side before it is answered has left: nothing is released to nobody.
- Every state has its deadline, and the memory that a connection may take is bounded in each.
"""

import asyncio
import contextlib
import enum
import math
import socket
import struct
from typing import TYPE_CHECKING, Final, cast

from proxy.clock import elapsed_seconds
from proxy.gateway.crossing import Crossing
from proxy.gateway.limits import Tally
from proxy.gateway.proxied import ProxiedStart
from proxy.gateway.wire.bodies import ChunkedBody, FramingError, LengthBody, request_body
from proxy.gateway.wire.grammar import MAX_HEAD_BYTES
from proxy.gateway.wire.heads import RequestFrame, find_head_end
from proxy.gateway.wire.render import CONTINUE
from proxy.model.decision import Reason

if TYPE_CHECKING:
    from proxy.gateway.gateway import Gateway

LINGER_SECONDS: Final = 2.0
"""How long what nobody wants is read and thrown away, so that its sender gets to see the refusal."""
MAX_HELD_BYTES: Final = 64 * 1024
"""What is held of the bytes behind the request under way, before no more is read."""
MIN_WINDOW_BYTES: Final = 16 * 1024
"""What a caller must send of a body within ``client_body_seconds``, unless that is its end."""
WRITE_HIGH_BYTES: Final = 128 * 1024
"""What may wait to be taken by a caller before the API is held back."""
_RESET: Final = struct.pack("ii", 1, 0)
"""``SO_LINGER`` with no time: closing resets the connection, which no client takes for the end of an answer."""


class State(enum.Enum):
    """What the bytes that come next are."""

    START = enum.auto()
    """The header of the PROXY protocol."""
    HEAD = enum.auto()
    """Of the next request; between two of them, too."""
    BODY = enum.auto()
    """Of the request under way."""
    HELD = enum.auto()
    """Whatever comes behind the request under way, or its body before anybody takes it."""
    TUNNEL = enum.auto()
    """No longer HTTP."""
    LINGER = enum.auto()
    """Thrown away until the caller has seen why."""
    CLOSED = enum.auto()


# Looked up once: an enumeration's members take a quarter of a microsecond each time.
START, HEAD, BODY, HELD, TUNNEL, LINGER, CLOSED = State


class ClientConnection(asyncio.Protocol):
    """One connection of a caller.

    Args:
        gateway: takes its requests.
    """

    __slots__ = (
        "_body", "_buffer", "_crossing", "_deadline", "_frame", "_gateway", "_idle_since", "_is_reading", "_is_slow",
        "_start", "_state", "_window", "certificate", "peer_ip", "proxied", "tally", "transport",
    )  # fmt: skip

    def __init__(self, gateway: "Gateway") -> None:
        self._gateway = gateway
        self._state = HEAD
        self._buffer = b""
        self._frame: RequestFrame | None = None
        self._body: LengthBody | ChunkedBody | None = None
        """What the body under way still lacks; None where there is none, or it is whole."""
        self._window = 0
        """What came of the body within the time that is running."""
        self._crossing: Crossing | None = None
        self._start: ProxiedStart | None = None
        self._deadline = math.inf
        self._idle_since = 0.0
        self._is_reading = True
        self._is_slow = False
        """Whether the caller does not take its answer as fast as it comes."""
        self.transport: asyncio.Transport | None = None
        self.peer_ip = ""
        self.proxied: tuple[str, ...] = ()
        """What the PROXY header of a trusted proxy said."""
        self.certificate: bytes | None = None
        """What the peer has shown in the handshake, in DER: it is the same for every request of the connection."""
        self.tally: Tally | None = None
        """What is under way from its address; None where that does not count."""

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection, once TLS stands; one of a trusted proxy may have to say first whose it is."""
        gateway = self._gateway
        self.transport = transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but its type
        peer = transport.get_extra_info("peername")
        self.peer_ip = str(peer[0]) if isinstance(peer, tuple) else ""
        secured = transport.get_extra_info("ssl_object")
        if secured is not None:
            self.certificate = secured.getpeercert(binary_form=True)
        transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES)
        gateway.ticker.watch(self)
        gateway.connections.add(self)
        self._await_head()
        reason = gateway.limits.connect(self)
        if reason is not None:
            self._turn_away(reason)
        elif gateway.is_proxied and gateway.checkpoint().origins.trusts(self.peer_ip):
            self._state, self._deadline = START, math.inf
            self._start = ProxiedStart(asyncio.get_running_loop(), self._refuse_start)

    def connection_lost(self, exc: BaseException | None) -> None:  # noqa: ARG002 - the transport's own
        """Let go of a connection."""
        gateway = self._gateway
        self._state, self._buffer, self._deadline = CLOSED, b"", math.inf
        gateway.ticker.forget(self)
        gateway.connections.discard(self)
        if self._start is not None:
            self._start.close()
        crossing, self._crossing = self._crossing, None
        try:
            if crossing is not None:
                crossing.client_gone()
        finally:
            gateway.limits.disconnect(self)

    def eof_received(self) -> bool | None:
        """Take the end of what the caller sends: with a request under way, it has left."""
        crossing, self._crossing = self._crossing, None
        if crossing is not None:
            crossing.client_gone()
        elif self._buffer and self._state is HEAD:
            self._refuse(Reason.REQUEST_MALFORMED)
        if self._state is not LINGER:
            self._leave()
        return None  # the transport closes, once what was written is sent

    def pause_writing(self) -> None:
        """Hold the API back: the caller is slow."""
        self._is_slow = True
        if self._state is not LINGER:
            self._deadline = elapsed_seconds() + self._gateway.options.client_read_seconds
        if self._crossing is not None:
            self._crossing.client_slow()

    def resume_writing(self) -> None:
        """Let the API go on."""
        self._is_slow = False
        if self._state is BODY or self._state is TUNNEL or self._state is HELD:
            self._begin_window()
        if self._crossing is not None:
            self._crossing.client_ready()
        elif self._state is HELD:
            self._read_on()

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        state = self._state
        if state is HEAD:
            self._read_head(self._buffer + data if self._buffer else data)
        elif state is BODY:
            self._read_body(data)
        elif state is HELD:
            self._hold(data)
        elif state is TUNNEL:
            if self._crossing is not None:
                self._crossing.client_sent(data)
        elif state is START and self._start is not None:
            proxied = self._start.feed(data)
            if proxied is not None:
                self._start, self.proxied = None, (proxied.source,)
                self._await_head()
                if proxied.rest:
                    self.data_received(proxied.rest)

    # Heads.

    def _await_head(self) -> None:
        self._state = HEAD
        self._idle_since = elapsed_seconds()
        self._deadline = self._idle_since + self._gateway.options.client_idle_seconds

    def _read_head(self, data: bytes) -> None:
        """Read a head, whose beginning may have been looked at before, as ``_buffer``."""
        reader = self._gateway.reader
        frame: RequestFrame | Reason | None = reader.recall(data)
        rest = b""
        if frame is None:
            end = find_head_end(data, max(0, len(self._buffer) - 3))
            if end < 0:
                self._await_more(data)
                return
            frame, rest = reader.read(data[:end]), data[end:]
        self._buffer = b""
        if isinstance(frame, Reason):
            self._refuse(frame)
            return
        self._frame, self._body = frame, request_body(frame)
        self._state, self._deadline = HELD, math.inf
        crossing = self._crossing = Crossing(self._gateway, self, frame)
        if rest:
            self._hold(rest)
        crossing.start()

    def _await_more(self, data: bytes) -> None:
        """Keep the beginning of a head, unless it can no longer become one."""
        if len(data) > MAX_HEAD_BYTES:
            self._refuse(Reason.HEAD_TOO_LARGE)
        else:
            if not self._buffer:
                self._deadline = elapsed_seconds() + self._gateway.options.client_head_seconds
            self._buffer = data

    def _hold(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        if len(self._buffer) > MAX_HELD_BYTES:
            self._pause_reading()

    # Bodies.

    @property
    def has_body(self) -> bool:
        """Whether the request under way has a body of which something is to come yet."""
        return self._body is not None

    def take_whole_body(self) -> bytes | None:
        """Return the body of the request under way, where all of it has come; None where it has not."""
        frame, body = self._frame, self._body
        if body is None or frame is None:
            return b""
        length = frame.block.length
        if length is None or len(self._buffer) < length:
            return None
        payload = body.feed(self._buffer)
        self._buffer, self._body = body.rest, None
        return payload

    def take_body(self) -> None:
        """Give the crossing the body of its request, as it comes."""
        if self._body is None:
            return
        self._state = BODY
        self._resume_reading()
        self._begin_window()
        held, self._buffer = self._buffer, b""
        if held:
            self._read_body(held)

    def pause_body(self) -> None:
        """Read no more of the body, or from the tunnel: the API is slow."""
        if self._state is BODY or self._state is TUNNEL:
            self._pause_reading()
            self._rest()

    def resume_body(self) -> None:
        """Go on reading."""
        if self._state is BODY or self._state is TUNNEL:
            self._resume_reading()
            self._begin_window()

    def send_continue(self) -> None:
        """Ask for the body of a caller that waits to be asked (RFC 9110 10.1.1)."""
        if self._body is not None:
            self.write(CONTINUE)

    def _begin_window(self) -> None:
        """Wait for more of the body; in a tunnel nothing has to come."""
        self._window = 0
        if self._state is BODY and self._is_reading and not self._is_slow:
            self._deadline = elapsed_seconds() + self._gateway.options.client_body_seconds
        else:
            self._rest()

    def _rest(self) -> None:
        """Wait for nothing of the caller, unless it does not take its answer: that has its time, whatever it sends."""
        if not self._is_slow:
            self._deadline = math.inf

    def _pause_reading(self) -> None:
        if self.transport is not None:
            self._is_reading = False
            self.transport.pause_reading()

    def _resume_reading(self) -> None:
        if not self._is_reading and self.transport is not None:
            self._is_reading = True
            self.transport.resume_reading()

    def _read_body(self, data: bytes) -> None:
        body, crossing = self._body, self._crossing
        if body is None or crossing is None:
            return
        try:
            payload = body.feed(data)
        except FramingError:
            crossing.client_broke()
            return
        self._window += len(data)
        if self._window > MIN_WINDOW_BYTES:
            self._begin_window()
        if body.is_done:
            self._state, self._body = HELD, None
            self._rest()
            if body.rest:
                self._hold(body.rest)
        if payload:
            crossing.client_sent(payload)
        if body.is_done:
            crossing.client_ended()

    # Answers.

    @property
    def is_slow(self) -> bool:
        """Whether the caller does not take its answer as fast as it comes."""
        return self._is_slow

    def write(self, data: bytes) -> None:
        """Send bytes."""
        if self.transport is not None:
            self.transport.write(data)

    def begin_tunnel(self) -> None:
        """Read what is no longer HTTP, and give the crossing what came already."""
        self._state = TUNNEL
        self._rest()
        held, self._buffer = self._buffer, b""
        self._resume_reading()
        if held and self._crossing is not None:
            self._crossing.client_sent(held)

    def drop_body(self) -> bool:
        """Throw away the body of the request under way, where all of it has come; say whether it has."""
        body = self._body
        if body is None:
            return True
        held, self._buffer = self._buffer, b""
        try:
            body.feed(held)
        except FramingError:
            return False
        if body.is_done:
            self._buffer, self._body = body.rest, None
        return body.is_done

    def end_crossing(self, *, keep: bool) -> None:
        """Go on after the answer to the request under way.

        Args:
            keep: whether the connection may be used again.
        """
        self._crossing = self._frame = None
        if self._state is CLOSED or self.transport is None:
            return
        if not keep or self._body is not None:
            self._linger()
            return
        if self._is_slow:  # what is asked next would only wait behind this
            self._state, self._deadline = HELD, elapsed_seconds() + self._gateway.options.client_read_seconds
        else:
            self._read_on()

    def _read_on(self) -> None:
        """Read the next request."""
        self._await_head()
        if len(self._buffer) <= MAX_HELD_BYTES:  # else there is a head in it, or none to come
            self._resume_reading()
        if self._buffer:
            self._state = HELD
            asyncio.get_running_loop().call_soon(self._read_held)  # not deeper into the stack at each request

    def _read_held(self) -> None:
        if self._state is not HELD or self._crossing is not None:
            return
        held, self._buffer = self._buffer, b""
        self._await_head()
        self._read_head(held)

    def _linger(self) -> None:
        """End the connection, once its other end has had time to read why."""
        transport = self.transport
        if transport is None:
            return
        is_read = self._state is HELD and self._body is None and not self._buffer
        self._leave()
        if is_read or not transport.can_write_eof():
            transport.close()
            return
        self._resume_reading()
        with contextlib.suppress(OSError, RuntimeError):  # it is closing already
            transport.write_eof()

    def _leave(self) -> None:
        """Read nothing any more, and give the caller its time to take what was written."""
        self._state, self._buffer, self._body = LINGER, b"", None
        is_sent = self.transport is None or self.transport.get_write_buffer_size() <= MIN_WINDOW_BYTES
        self._deadline = elapsed_seconds() + (LINGER_SECONDS if is_sent else self._gateway.options.client_read_seconds)

    def _refuse(self, reason: Reason) -> None:
        """Answer what is no request, and end the connection."""
        self.write(self._gateway.refuse_connection(self.peer_ip, self.proxied, reason))
        self._linger()

    def _turn_away(self, reason: Reason) -> None:
        """Answer a connection that is one too many, and let it count no more: it must not keep others out."""
        gateway = self._gateway
        gateway.connections.discard(self)
        gateway.limits.disconnect(self)
        self.write(gateway.refuse_connection(self.peer_ip, self.proxied, reason))
        self._state, self._deadline = LINGER, elapsed_seconds() + LINGER_SECONDS
        if self.transport is not None:
            self.transport.close()

    def _refuse_start(self) -> None:
        self._start = None
        self._refuse(Reason.PROXY_HEADER_MALFORMED)

    # Ends.

    def check(self, now: float) -> None:
        """Do what is due."""
        crossing = self._crossing
        if crossing is not None:
            crossing.check(now)
        if now < self._deadline:
            return
        self._deadline = math.inf
        if self._state is BODY and not self._is_slow and self._crossing is not None:
            self._crossing.cut(Reason.REQUEST_TIMEOUT)
        elif self._state is HEAD and self._buffer:
            self._refuse(Reason.REQUEST_TIMEOUT)
        elif self._crossing is not None:
            self._crossing.cut(Reason.CLIENT_SLOW)
        elif self._state is HEAD and self.transport is not None:
            self._leave()  # should the caller not take what was written, it is reset then
            self.transport.close()
        else:
            self.abort()

    def end_idle(self, now: float, seconds: float) -> None:
        """End a connection that waits for nothing, and has for some seconds."""
        is_idle = self._state is HEAD and not self._buffer and self._crossing is None
        if is_idle and now - self._idle_since >= seconds and self.transport is not None:
            self.transport.close()

    def cut(self, reason: Reason) -> None:
        """End a connection, whatever is under way."""
        if self._crossing is not None:
            self._crossing.cut(reason)
        else:
            self.abort()

    def abort(self) -> None:
        """Reset the connection: an answer that is delimited by its end must not seem to have ended."""
        transport = self.transport
        if transport is None:
            return
        connection = transport.get_extra_info("socket")
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        transport.abort()
