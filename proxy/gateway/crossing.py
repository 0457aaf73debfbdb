# SPDX-License-Identifier: Apache-2.0
"""One request under way: drives its passage, and does what it says in the order it says.

- Lines that a step carries are in the ledger before the step is acted on. If they cannot be, the answer is 503 and
  nothing of the API's answer leaves.
- A body that breaks off midway ends the caller's connection, so that it cannot be mistaken for a whole one.

It is driven by calls from its two connections, and makes a task only where it must wait: for an issuer, or the disk.
"""

import asyncio
from typing import TYPE_CHECKING

from proxy.clock import elapsed_seconds, unix_seconds
from proxy.gateway.ids import make_request_id
from proxy.gateway.releasing import Releasing
from proxy.gateway.settling import DECIDING, FORWARDED, SETTLED, driven
from proxy.gateway.upstream.exchange import UpstreamRequest
from proxy.gateway.wire.heads import RequestFrame
from proxy.model.decision import Reason
from proxy.model.request import RequestHead
from proxy.model.subject import BodyNeeded
from proxy.pipeline.checkpoint import Checkpoint
from proxy.pipeline.passage import HTTP_1_1, Passage
from proxy.pipeline.steps import Forward, Need, Refuse, Step

if TYPE_CHECKING:
    from proxy.gateway.connection import ClientConnection
    from proxy.gateway.gateway import Gateway


class Crossing(Releasing):
    """One request under way.

    Args:
        gateway: what requests share.
        connection: whence it came.
        frame: its head.
    """

    # Where a request stands before anything happens to it.
    _forward: Forward | None = None
    _upload: bytes | None = None
    """The whole body of the request, where it was there before anybody took it, or is needed to decide."""
    _collected: list[bytes] | None = None
    """Of a body that is needed to decide, while it comes."""
    _collects_at_most = 0
    _is_collected: asyncio.Future[bytes] | None = None

    def __init__(self, gateway: "Gateway", connection: "ClientConnection", frame: RequestFrame) -> None:
        now, checkpoint = unix_seconds(), gateway.checkpoint()
        passage = Passage(checkpoint, make_request_id(now), now)
        super().__init__(gateway, connection, frame, passage, elapsed_seconds())
        self._judged_by = checkpoint
        self._judged_at = now

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
                frame.varying,
            )
        )
        while isinstance(step, Need) and isinstance(step.what, BodyNeeded):
            body = self._find_body(step.what)
            if body is None:
                break
            step = self._passage.supply(step, body)
        if self._phase is SETTLED:
            return
        if isinstance(step, Need):
            self._task = asyncio.get_running_loop().create_task(self._meet(step))
        else:
            self._go_on(step)

    async def _meet(self, step: Step) -> None:
        try:
            while isinstance(step, Need):
                if isinstance(step.what, BodyNeeded):
                    collected = self._collect(step.what)
                    if collected is None:
                        return
                    step = self._passage.supply(step, await collected)
                else:
                    await self._gateway.meet(step)
                    step = self._passage.supply(step)
            self._task = None
            self._go_on(step)
        except Exception as error:  # noqa: BLE001 - whatever went wrong, nobody may pass
            self.break_off(error)

    def _find_body(self, needed: BodyNeeded) -> bytes | None:
        """Return the body of the request where all of it is there; None where it is not, or is too large."""
        length = self._frame.block.length
        if length is not None and length > needed.max_bytes:
            self._fail(Reason.REQUEST_TOO_LARGE)
            return None
        if self._upload is None:
            self._upload = self._connection.take_whole_body()
            self._taken = len(self._upload or b"")
        return self._upload

    def _collect(self, needed: BodyNeeded) -> "asyncio.Future[bytes] | None":
        """Read all of the body, before the API gets anything of it; None where it is refused at once."""
        body = self._find_body(needed)
        if self._phase is SETTLED:
            return None
        waiting = self._is_collected = asyncio.get_running_loop().create_future()
        if body is not None:
            waiting.set_result(body)
            return waiting
        self._collected, self._collects_at_most = [], needed.max_bytes
        if self._frame.version >= HTTP_1_1 and self._passage.expects_continue:
            self._connection.send_continue()
        self._connection.take_body()
        return None if self._phase is SETTLED else waiting  # what was held already may be too much, or broken

    def _take_collected(self, data: bytes) -> None:
        if self._collected is None:
            return
        self._taken += len(data)
        if self._taken > self._collects_at_most:
            self._give_up(Reason.REQUEST_TOO_LARGE)
        else:
            self._collected.append(data)

    def _end_collecting(self) -> None:
        waiting, collected = self._is_collected, self._collected
        if waiting is None or collected is None or waiting.done():
            return
        self._upload, self._collected = b"".join(collected), None
        waiting.set_result(self._upload)

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
        if max(block.length or 0, self._taken) > self._most(forward):
            self._fail(Reason.REQUEST_TOO_LARGE)
            return
        if upgrade and connection.has_body:
            self._fail(Reason.UPGRADE_UNSUPPORTED)
            return
        if forward.expects_continue:
            connection.send_continue()
        request = UpstreamRequest(frame.method, forward.target, forward.fields, block.length, block.is_chunked, upgrade)
        if connection.has_body:
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
        if self._phase is DECIDING:
            self._take_collected(data)
            return
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
        if self._phase is DECIDING:
            self._end_collecting()
        elif self._handle is not None and self._phase is not SETTLED:
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

    # The caller, meanwhile.

    @driven
    def client_slow(self) -> None:
        """Hold the API back."""
        if self._handle is not None:
            self._handle.pause()

    @driven
    def client_ready(self) -> None:
        """Let the API go on."""
        if self._handle is not None and self._task is None:
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
        else:
            self._bring_forward(now)
