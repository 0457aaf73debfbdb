# SPDX-License-Identifier: Apache-2.0
"""One request under way: drives its passage, and does what it says in the order it says.

- Lines that a step carries are in the ledger before the step is acted on. If they cannot be, the answer is 503 and
  nothing of the API's answer leaves.
- A body that breaks off midway ends the caller's connection, so that it cannot be mistaken for a whole one.

It is driven by calls from its two connections, and makes a task only where it must wait: for an issuer, or the disk.
"""

import asyncio
import math
from typing import TYPE_CHECKING, Final

from proxy.clock import elapsed_seconds, unix_seconds
from proxy.gateway.ids import make_request_id
from proxy.gateway.settling import ANSWERED, FORWARDED, RELEASED, SETTLED, Settling, driven
from proxy.gateway.upstream.exchange import UpstreamRequest
from proxy.gateway.wire.heads import RequestFrame, ResponseFrame
from proxy.gateway.wire.render import LAST_CHUNK, render_chunk, render_response
from proxy.model.decision import Reason
from proxy.model.request import RequestHead, ResponseHead
from proxy.pipeline.checkpoint import Checkpoint
from proxy.pipeline.passage import HTTP_1_1, Passage
from proxy.pipeline.steps import Forward, Need, Refuse, Release, Step

if TYPE_CHECKING:
    from proxy.gateway.connection import ClientConnection
    from proxy.gateway.gateway import Gateway

_NO_CONTENT: Final = 204
_NO_BODY: Final = frozenset({_NO_CONTENT, 304})
_UPGRADED: Final = 101


class Crossing(Settling):
    """One request under way.

    Args:
        gateway: what requests share.
        connection: whence it came.
        frame: its head.
    """

    # Where a request stands before anything happens to it.
    _forward: Forward | None = None
    _upstream: ResponseFrame | None = None
    _release: Release | None = None
    _upload: bytes | None = None
    """The whole body of the request, where it was there before anybody took it."""
    _is_whole = False
    """Whether all of the answer came with its head."""
    _has_ended = False
    """Whether all of the answer has come."""
    _is_chunked = False
    _keeps = False
    """Whether the head of the answer says that the connection may be used again."""

    def __init__(self, gateway: "Gateway", connection: "ClientConnection", frame: RequestFrame) -> None:
        now, checkpoint = unix_seconds(), gateway.checkpoint()
        passage = Passage(checkpoint, make_request_id(now), now)
        super().__init__(gateway, connection, frame, passage, elapsed_seconds())
        self._judged_by = checkpoint
        self._judged_at = now
        self._parts: list[bytes] = []
        """Of the answer's body, what may not leave yet."""

    # Deciding.

    @driven
    def start(self) -> None:
        """Decide, and go on from there."""
        gateway, connection, frame = self._gateway, self._connection, self._frame
        gateway.under_way.add(self)
        exceeded = gateway.limits.begin(connection)
        if exceeded is not None:
            self._passage.note_peer(connection.peer_ip, connection.proxied)
            self._fail(exceeded)
            return
        step = self._passage.begin(
            RequestHead(
                frame.method,
                frame.target,
                frame.block.headers,
                connection.peer_ip,
                frame.version,
                connection.certificate,
                connection.proxied,
            )
        )
        if isinstance(step, Need):
            self._task = asyncio.get_running_loop().create_task(self._meet(step))
        else:
            self._go_on(step)

    async def _meet(self, step: Step) -> None:
        try:
            while isinstance(step, Need):
                await self._gateway.meet(step)
                step = self._passage.supply(step)
            self._task = None
            self._go_on(step)
        except Exception as error:  # noqa: BLE001 - whatever went wrong, nobody may pass
            self.break_off(error)

    def _go_on(self, step: Refuse | Forward | Need) -> None:
        self._gateway.metrics.decision_seconds.observe(elapsed_seconds() - self._started)
        if isinstance(step, Forward):
            self._forward = step
            self._ends_at = self._started + step.seconds
            self._phase = FORWARDED
            if step.lines:  # before anything else can end the request: the passage counts them as written
                self._record(step.lines, self._send)
            else:
                self._send()
        elif isinstance(step, Refuse):
            self._refuse(step)

    # To the API.

    def _send(self) -> None:
        forward, connection, frame = self._forward, self._connection, self._frame
        if forward is None:
            return
        block = frame.block
        upgrade = frame.upgrade if frame.upgrade in forward.upgrades else ""
        if block.length is not None and block.length > self._most(forward):
            self._fail(Reason.REQUEST_TOO_LARGE)
            return
        if upgrade and connection.has_body:
            self._fail(Reason.UPGRADE_UNSUPPORTED)
            return
        has_body = connection.has_body
        if forward.expects_continue:
            connection.send_continue()
        request = UpstreamRequest(frame.method, forward.target, forward.fields, block.length, block.is_chunked, upgrade)
        if has_body:
            self._upload = connection.take_whole_body()
            self._taken = len(self._upload or b"")
        self._handle = self._gateway.upstreams.begin(forward.api, forward.upstream, request, self)

    def _most(self, forward: Forward) -> int:
        """Return how large the body of the request may be."""
        most = self._gateway.options.max_request_body_bytes
        return most if forward.max_body_bytes is None else min(most, forward.max_body_bytes)

    @driven
    def upstream_ready(self) -> None:
        """Give the API the body of the request."""
        handle, upload = self._handle, self._upload
        if handle is None or self._phase is SETTLED:
            return
        if upload is not None:
            self._upload = None
            handle.write(upload)
            handle.end()
        elif self._connection.has_body:
            self._connection.take_body()

    @driven
    def client_sent(self, data: bytes) -> None:
        """Take a part of the request's body, or what comes through the tunnel."""
        handle, forward = self._handle, self._forward
        if handle is None or forward is None or self._phase is SETTLED:
            return
        self._taken += len(data)
        if self._taken > self._most(forward) and not self._is_tunnel:
            self._give_up(Reason.REQUEST_TOO_LARGE)
        else:
            handle.write(data)

    @driven
    def client_ended(self) -> None:
        """Take the end of the request's body."""
        if self._handle is not None and self._phase is not SETTLED:
            self._handle.end()

    @driven
    def client_broke(self) -> None:
        """Take note that the framing of the request's body is broken."""
        self._give_up(Reason.REQUEST_MALFORMED)

    @driven
    def pause_upload(self) -> None:
        """Hold the caller back: the API is slow."""
        self._connection.pause_body()

    @driven
    def resume_upload(self) -> None:
        """Let the caller go on."""
        self._connection.resume_body()

    # From the API.

    @driven
    def upstream_answered(self, frame: ResponseFrame, body: bytes, is_whole: bool) -> None:  # noqa: FBT001 - the contract
        """Take the head of the API's answer, and what of its body came with it."""
        if self._phase is not FORWARDED:
            return
        passage = self._passage
        head = ResponseHead(frame.status, frame.headers)
        step = passage.answer(head, len(body) if is_whole else None, elapsed_seconds() - self._started)
        self._take_answer(frame, step, body, is_whole=is_whole)

    @driven
    def upstream_upgraded(self, frame: ResponseFrame, rest: bytes) -> None:
        """Take note that the API speaks another protocol from now on."""
        if self._phase is not FORWARDED:
            return
        self._is_tunnel = True
        step = self._passage.answer(ResponseHead(frame.status, frame.headers), is_upgrade=True)
        self._take_answer(frame, step, rest, is_whole=False)

    def _take_answer(self, frame: ResponseFrame, step: Refuse | Release, body: bytes, *, is_whole: bool) -> None:
        if isinstance(step, Refuse):
            self._refuse(step)
            return
        self._phase = ANSWERED
        self._upstream, self._release, self._is_whole = frame, step, is_whole
        self._parts.append(body)  # empty or not: what comes behind it has a record of its own
        lines = step.lines
        if body and not is_whole:
            lines = (*lines, self._passage.part(len(body)))
        if lines:
            self._record(lines, self._begin_answer)
        else:
            self._begin_answer()

    def _begin_answer(self) -> None:
        """Let the head go, and with it what of the body is recorded."""
        release, upstream, frame, connection = self._release, self._upstream, self._frame, self._connection
        if release is None or upstream is None:
            return
        self._phase = RELEASED
        self._gateway.metrics.count_outcome(release.outcome)
        if self._is_tunnel:
            self._begin_tunnel(release, upstream)
            return
        body = self._take_parts()
        is_new = frame.version >= HTTP_1_1
        if frame.method == "HEAD" or release.status in _NO_BODY:
            length = None if release.status == _NO_CONTENT else upstream.length  # RFC 9110 8.6
        elif self._is_whole:
            length = len(body)
        else:
            length = upstream.length
            self._is_chunked = length is None and is_new
        keep = self._keeps = self._may_keep() and (self._is_whole or length is not None or self._is_chunked)
        head = render_response(
            release.status, release.fields, length, self._is_chunked, closes=not keep, keeps=keep and not is_new
        )
        if self._is_whole:  # one line has said already how it was decided and how it ended
            connection.write(head + body if body else head)
            self._leave()
            connection.end_crossing(keep=keep)
            return
        connection.write(head)
        if body:
            self._write_part(body)

    def _begin_tunnel(self, release: Release, upstream: ResponseFrame) -> None:
        connection = self._connection
        connection.write(
            render_response(
                _UPGRADED,
                release.fields,
                None,
                is_chunked=False,
                closes=False,
                keeps=False,
                upgrade=upstream.upgrade,
            )
        )
        connection.begin_tunnel()
        self._write_part(self._take_parts())

    @driven
    def upstream_sent(self, data: bytes) -> None:
        """Take more of the answer's body, or what comes through the tunnel."""
        if self._phase is SETTLED:
            return
        self._parts.append(data)
        if not self._is_waiting:
            self._pass_parts()

    @driven
    def upstream_ended(self) -> None:
        """Take note that the answer's body is whole."""
        if self._phase is SETTLED:
            return
        self._has_ended = True
        if not self._is_waiting:
            self._end_answer()

    def _pass_parts(self) -> None:
        """Record what has come of the body, and let it go."""
        if len(self._parts) > 1:
            self._parts = [b"".join(self._parts)]
        self._record((self._passage.part(self._sent + len(self._parts[0])),), self._let_parts_go)

    def _let_parts_go(self) -> None:
        self._write_part(self._take_parts())

    def _take_parts(self) -> bytes:
        """Return what may leave now: what was recorded, which came before anything was waited for."""
        return self._parts.pop(0)

    def _write_part(self, data: bytes) -> None:
        self._connection.write(render_chunk(data) if self._is_chunked else data)
        self._sent += len(data)

    def _end_answer(self) -> None:
        if self._is_chunked:
            self._connection.write(LAST_CHUNK)
        self._finish(keep=self._keeps and self._may_keep())

    def _may_keep(self) -> bool:
        """Say whether the caller's connection may be used again."""
        return self._frame.is_persistent and not self._gateway.is_stopping and not self._connection.has_body

    @driven
    def upstream_failed(self, reason: Reason) -> None:
        """Take note that the API does not answer, or not to the end."""
        self._handle = None
        self._give_up(reason)

    # The caller, meanwhile.

    @driven
    def client_slow(self) -> None:
        """Hold the API back."""
        if self._handle is not None:
            self._handle.pause()

    @driven
    def client_ready(self) -> None:
        """Let the API go on."""
        if self._handle is not None and not self._is_waiting:
            self._handle.resume()

    def revisit(self, checkpoint: Checkpoint, since: float) -> None:
        """Decide anew under what is in force now, once it is on its way; cut it if it is denied.

        Args:
            checkpoint: what is in force.
            since: when the register of affiliates changed last, by its dates, or what issuers say of keys and tokens.
        """
        is_judged = self._judged_by is checkpoint and self._judged_at >= since
        if is_judged or self._phase is SETTLED or not self._passage.is_under_way:
            return
        now = unix_seconds()
        self._judged_by, self._judged_at = checkpoint, now
        if self._passage.is_denied_under(checkpoint, now):
            self.cut(Reason.POLICY_CHANGED)
        elif self._passage.ends_at < math.inf:
            left = max(0.0, self._passage.ends_at - now)
            self._ends_at = min(self._ends_at, elapsed_seconds() + left)

    def go_on(self) -> None:
        """Pass on what has come while the disk was waited for."""
        if self._phase is RELEASED and self._parts:
            self._pass_parts()
        if self._is_waiting or self._phase is SETTLED:
            return
        if self._phase is RELEASED and self._has_ended:
            self._end_answer()
        elif self._handle is not None and not self._connection.is_slow:
            self._handle.resume()

    def _finish(self, *, keep: bool) -> None:
        """Record that the answer is through, and let the connection go on."""
        self._end(None)
        self._leave()
        self._connection.end_crossing(keep=keep)
