# SPDX-License-Identifier: Apache-2.0
"""One request under way: drives its passage, and does what it says in the order it says.

- Lines that a step carries are in the ledger before the step is acted on. If they cannot be, the answer is 503 and
  nothing of the API's answer leaves.
- A body that breaks off midway ends the caller's connection, so that it cannot be mistaken for a whole one.
- Whatever goes wrong, the caller gets a problem document or a closed connection: never a traceback, never an allow.

It is driven by calls from its two connections, and makes a task only where it must wait: for an issuer, or the disk.
"""

import asyncio
import enum
import functools
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, TypeAlias

from proxy.clock import elapsed_seconds, unix_seconds
from proxy.errors import LedgerError
from proxy.gateway.ids import make_request_id
from proxy.gateway.upstream.exchange import UpstreamRequest
from proxy.gateway.upstream.handle import UpstreamHandle
from proxy.gateway.wire.heads import RequestFrame, ResponseFrame
from proxy.gateway.wire.render import LAST_CHUNK, render_chunk, render_response
from proxy.ledger.entry import Rendered
from proxy.ledger.lines import Line
from proxy.model.decision import Reason
from proxy.model.request import RequestHead, ResponseHead
from proxy.pipeline.checkpoint import Checkpoint
from proxy.pipeline.passage import HTTP_1_1, Forward, Need, Passage, Refuse, Release, Step

if TYPE_CHECKING:
    from proxy.gateway.connection import ClientConnection
    from proxy.gateway.gateway import Gateway

DISK_SECONDS: Final = 10.0
"""How long a request waits for the disk, with ``synced``."""
_NO_BODY: Final = frozenset({204, 304})
_UPGRADED: Final = 101

log = logging.getLogger("sekisho.gateway")


class Phase(enum.IntEnum):
    """How far a request has come."""

    DECIDING = 0
    FORWARDED = 1
    """The API has it, or soon will."""
    ANSWERED = 2
    """The API has begun to answer; nothing of that has left."""
    RELEASED = 3
    """Something of the answer has left."""
    SETTLED = 4
    """It is recorded, or being recorded, how it ended."""


_Arguments = ParamSpec("_Arguments")
_Driven: TypeAlias = "Callable[Concatenate[Crossing, _Arguments], None]"


def _driven(method: "_Driven[_Arguments]") -> "_Driven[_Arguments]":
    """Have a defect of ours end the request that it befell: refused, or where something has left, cut off."""

    @functools.wraps(method)
    def call(crossing: "Crossing", /, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> None:
        try:
            method(crossing, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - no exception may leave a request hanging, or let it pass
            crossing.break_off(error)

    return call


class Crossing:
    """One request under way.

    Args:
        gateway: what requests share.
        connection: whence it came.
        frame: its head.
    """

    __slots__ = (
        "_connection", "_ends_at", "_forward", "_frame", "_gateway", "_handle", "_has_ended", "_is_chunked",
        "_is_tunnel", "_is_waiting", "_judged_at", "_judged_by", "_parts", "_passage", "_phase", "_release", "_sent",
        "_started", "_taken", "_task", "_upload", "_upstream",
    )  # fmt: skip

    def __init__(self, gateway: "Gateway", connection: "ClientConnection", frame: RequestFrame) -> None:
        now = unix_seconds()
        self._started = elapsed_seconds()
        self._gateway = gateway
        self._connection = connection
        self._frame = frame
        self._judged_by, self._judged_at = gateway.checkpoint(), now
        self._passage = Passage(self._judged_by, make_request_id(now), now)
        self._phase = Phase.DECIDING
        self._ends_at = math.inf
        """By which reading of ``elapsed_seconds`` it must be through."""
        self._task: asyncio.Task[None] | None = None
        self._forward: Forward | None = None
        self._handle: UpstreamHandle | None = None
        self._upstream: ResponseFrame | None = None
        self._release: Release | None = None
        self._upload: bytes | None = None
        """The whole body of the request, where it was there before anybody took it."""
        self._taken = 0
        """Bytes of the request's body."""
        self._sent = 0
        """Bytes of the answer's body."""
        self._is_waiting = False
        """Whether the disk is waited for."""
        self._parts: list[bytes] = []
        """Of the answer's body, what may not leave yet."""
        self._has_ended = False
        """Whether all of the answer has come."""
        self._is_chunked = False
        self._is_tunnel = False

    # Deciding.

    @_driven
    def start(self) -> None:
        """Decide, and go on from there."""
        gateway, connection, frame = self._gateway, self._connection, self._frame
        gateway.under_way.add(self)
        exceeded = gateway.limits.begin(connection)
        if exceeded is not None:
            self._passage.note_peer(connection.peer_ip, connection.proxied)
            self._fail(exceeded)
            return
        head = RequestHead(
            frame.method,
            frame.target,
            frame.block.headers,
            connection.peer_ip,
            frame.version,
            connection.certificate,
            connection.proxied,
        )
        step = self._passage.begin(head)
        if isinstance(step, Need):
            self._task = asyncio.get_running_loop().create_task(self._meet(step))
        else:
            self._go_on(step)

    async def _meet(self, step: Step) -> None:
        try:
            while isinstance(step, Need):
                await self._gateway.meet(step)
                step = self._passage.supply(step)
        except Exception as error:  # noqa: BLE001 - whatever went wrong, nobody may pass
            self._fail(Reason.DECISION_FAILED, error)
            return
        self._task = None
        self._go_on(step)

    def _go_on(self, step: Refuse | Forward | Need) -> None:
        self._gateway.metrics.decision_seconds.observe(elapsed_seconds() - self._started)
        if isinstance(step, Forward):
            self._forward = step
            self._ends_at = self._started + step.seconds
            self._phase = Phase.FORWARDED
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
        upgrade = block.upgrade if block.upgrade in forward.upgrades else ""
        if block.length is not None and block.length > self._most(forward):
            self._fail(Reason.REQUEST_TOO_LARGE)
            return
        if upgrade and (connection.has_body or frame.version < HTTP_1_1):
            self._fail(Reason.UPGRADE_UNSUPPORTED)
            return
        has_body = connection.has_body
        if forward.expects_continue:
            connection.send_continue()
        request = UpstreamRequest(frame.method, forward.target, forward.fields, block.length, block.is_chunked, upgrade)
        if has_body:
            self._upload = connection.take_whole_body()
            self._taken = len(self._upload or b"")
        self._handle = self._gateway.upstreams.begin(forward.api, request, self)

    def _most(self, forward: Forward) -> int:
        """Return how large the body of the request may be."""
        most = self._gateway.options.max_request_body_bytes
        return most if forward.max_body_bytes is None else min(most, forward.max_body_bytes)

    @_driven
    def upstream_ready(self) -> None:
        """Give the API the body of the request."""
        handle, upload = self._handle, self._upload
        if handle is None or self._phase is Phase.SETTLED:
            return
        if upload is not None:
            self._upload = None
            handle.write(upload)
            handle.end()
        elif self._connection.has_body:
            self._connection.take_body()

    @_driven
    def client_sent(self, data: bytes) -> None:
        """Take a part of the request's body, or what comes through the tunnel."""
        handle, forward = self._handle, self._forward
        if handle is None or forward is None or self._phase is Phase.SETTLED:
            return
        self._taken += len(data)
        if self._taken > self._most(forward) and not self._is_tunnel:
            self._give_up(Reason.REQUEST_TOO_LARGE)
        else:
            handle.write(data)

    @_driven
    def client_ended(self) -> None:
        """Take the end of the request's body."""
        if self._handle is not None and self._phase is not Phase.SETTLED:
            self._handle.end()

    @_driven
    def client_broke(self) -> None:
        """Take note that the framing of the request's body is broken."""
        self._give_up(Reason.REQUEST_MALFORMED)

    @_driven
    def pause_upload(self) -> None:
        """Hold the caller back: the API is slow."""
        self._connection.pause_body()

    @_driven
    def resume_upload(self) -> None:
        """Let the caller go on."""
        self._connection.resume_body()

    # From the API.

    @_driven
    def upstream_answered(self, frame: ResponseFrame, body: bytes, is_whole: bool) -> None:  # noqa: FBT001 - the contract
        """Take the head of the API's answer, and what of its body came with it."""
        if self._phase is not Phase.FORWARDED:
            return
        passage = self._passage
        head = ResponseHead(frame.status, frame.headers)
        step = passage.answer(head, len(body) if is_whole else None, elapsed_seconds() - self._started)
        self._take_answer(frame, step, body, is_whole=is_whole)

    @_driven
    def upstream_upgraded(self, frame: ResponseFrame, rest: bytes) -> None:
        """Take note that the API speaks another protocol from now on."""
        if self._phase is not Phase.FORWARDED:
            return
        self._is_tunnel = True
        step = self._passage.answer(ResponseHead(frame.status, frame.headers), is_upgrade=True)
        self._take_answer(frame, step, rest, is_whole=False)

    def _take_answer(self, frame: ResponseFrame, step: Refuse | Release, body: bytes, *, is_whole: bool) -> None:
        if isinstance(step, Refuse):
            self._refuse(step)
            return
        self._phase = Phase.ANSWERED
        self._upstream, self._release, self._has_ended = frame, step, is_whole
        lines = step.lines
        if body:
            self._parts.append(body)
            if not is_whole:
                lines = (*lines, self._passage.part(len(body)))
        if lines:
            self._record(lines, self._begin_answer)
        else:
            self._begin_answer()

    def _begin_answer(self) -> None:
        """Let the head go, and with it what of the body is recorded."""
        release, upstream, frame = self._release, self._upstream, self._frame
        if release is None or upstream is None:
            return
        gateway, connection = self._gateway, self._connection
        self._phase = Phase.RELEASED
        gateway.metrics.count_outcome(release.outcome)
        body = self._take_parts()
        if self._is_tunnel:
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
            self._write_part(body)
            return
        is_new = frame.version >= HTTP_1_1
        length: int | None
        if frame.method == "HEAD" or release.status in _NO_BODY:
            length = None if release.status == 204 else upstream.length
        elif self._has_ended:
            length = len(body)
        else:
            length = upstream.length
            self._is_chunked = length is None and is_new
        is_delimited = self._has_ended or length is not None or self._is_chunked
        keep = self._may_keep() and is_delimited
        head = render_response(
            release.status,
            release.fields,
            length,
            is_chunked=self._is_chunked,
            closes=not keep,
            keeps=keep and not is_new,
        )
        if self._has_ended:
            connection.write(head + body if body else head)
            self._sent = len(body)
            self._finish(keep=keep)
            return
        connection.write(head)
        if body:
            self._write_part(body)

    @_driven
    def upstream_sent(self, data: bytes) -> None:
        """Take more of the answer's body, or what comes through the tunnel."""
        if self._phase is Phase.SETTLED:
            return
        self._parts.append(data)
        if not self._is_waiting:
            self._pass_parts()

    @_driven
    def upstream_ended(self) -> None:
        """Take note that the answer's body is whole."""
        if self._phase is Phase.SETTLED:
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
        return self._parts.pop(0) if self._parts else b""

    def _write_part(self, data: bytes) -> None:
        self._connection.write(render_chunk(data) if self._is_chunked else data)
        self._sent += len(data)

    def _end_answer(self) -> None:
        if self._is_chunked:
            self._connection.write(LAST_CHUNK)
        upstream = self._upstream
        is_delimited = self._is_chunked or (upstream is not None and upstream.length is not None)
        self._finish(keep=is_delimited and not self._is_tunnel and self._may_keep())

    def _may_keep(self) -> bool:
        """Say whether the caller's connection may be used again."""
        return self._frame.is_persistent and not self._gateway.is_stopping and not self._connection.has_body

    @_driven
    def upstream_failed(self, reason: Reason) -> None:
        """Take note that the API does not answer, or not to the end."""
        self._handle = None
        self._give_up(reason)

    # The caller, meanwhile.

    def client_slow(self) -> None:
        """Hold the API back."""
        if self._handle is not None:
            self._handle.pause()

    def client_ready(self) -> None:
        """Let the API go on."""
        if self._handle is not None and not self._is_waiting:
            self._handle.resume()

    def client_gone(self) -> None:
        """Record that the caller left. Nothing more can be said to it."""
        if self._phase is Phase.SETTLED:
            self._leave()
            return
        reason = Reason.GATEWAY_STOPPING if self._gateway.is_stopping else Reason.CLIENT_GONE
        if self._phase is Phase.RELEASED:
            self._end(None if self._is_tunnel else reason)
        else:
            step = self._passage.fail(reason)
            self._gateway.append(step.lines)
            self._gateway.metrics.count_outcome(step.outcome)
        self._leave()

    def check(self, now: float) -> None:
        """End a request whose route, token or grant gives it no more time."""
        if now >= self._ends_at:
            self._ends_at = math.inf
            self.cut(Reason.REQUEST_TIMEOUT if self._connection.has_body else Reason.UPSTREAM_TIMEOUT)

    def cut(self, reason: Reason) -> None:
        """End it, whatever it does."""
        if self._phase is Phase.SETTLED:
            if reason in {Reason.CLIENT_SLOW, Reason.GATEWAY_STOPPING}:
                self._connection.abort()
            return
        self._give_up(reason)

    def revisit(self, checkpoint: Checkpoint, since: float) -> None:
        """Decide anew under what is in force now, once it is on its way; cut it if it is denied.

        Args:
            checkpoint: what is in force.
            since: when the register of affiliates changed last, by its dates, or what issuers say of keys and tokens.
        """
        is_judged = self._judged_by is checkpoint and self._judged_at >= since
        if is_judged or self._phase is Phase.SETTLED or not self._passage.is_under_way:
            return
        now = unix_seconds()
        self._judged_by, self._judged_at = checkpoint, now
        if self._passage.is_denied_under(checkpoint, now):
            self.cut(Reason.POLICY_CHANGED)
        elif self._passage.ends_at < math.inf:
            left = max(0.0, self._passage.ends_at - now)
            self._ends_at = min(self._ends_at, elapsed_seconds() + left)

    # Records.

    def _record(self, lines: Sequence[Line | Rendered], then: Callable[[], None]) -> None:
        """Go on once lines are durable."""
        try:
            waiting = self._gateway.ledger.append(lines)
        except LedgerError as error:
            self._fail_unrecorded(error)
            return
        self._passage.note_written()
        if waiting is None:
            then()
            return
        self._is_waiting = True
        if self._handle is not None:
            self._handle.pause()
        self._task = asyncio.get_running_loop().create_task(self._wait(waiting, then))

    async def _wait(self, waiting: Awaitable[None], then: Callable[[], None]) -> None:
        error: LedgerError | None = None
        try:
            async with asyncio.timeout(DISK_SECONDS):
                await waiting
        except LedgerError as raised:
            error = raised
        except TimeoutError:
            error = LedgerError(f"The disk of the ledger has not answered within {DISK_SECONDS:g} seconds.")
        self._is_waiting, self._task = False, None
        if error is not None:
            self._fail_unrecorded(error)
            return
        try:
            then()
            self._go_on_answering()
        except Exception as raised:  # noqa: BLE001 - as above
            self.break_off(raised)

    def _go_on_answering(self) -> None:
        """Pass on what has come while the disk was waited for."""
        if self._phase is Phase.RELEASED and self._parts:
            self._pass_parts()
        if self._is_waiting or self._phase is Phase.SETTLED:
            return
        if self._phase is Phase.RELEASED and self._has_ended:
            self._end_answer()
        elif self._handle is not None and not self._connection.is_slow:
            self._handle.resume()

    def _fail_unrecorded(self, error: LedgerError) -> None:
        log.warning("the ledger cannot be written: nothing leaves", extra={"error": str(error)})
        if self._phase is Phase.SETTLED:
            self._answer(self._gateway.refuse_unrecorded(self._passage))
        else:
            self._give_up(Reason.LEDGER_UNAVAILABLE)

    # Refusals, and other ends.

    def _give_up(self, reason: Reason) -> None:
        """End it: by a refusal, or where something has left, by cutting it off."""
        if self._phase is Phase.SETTLED:
            return
        if self._phase is Phase.RELEASED:
            self._end(reason)
            self._connection.abort()
            self._leave()
        else:
            self._fail(reason)

    def break_off(self, error: Exception) -> None:
        """End it because of a defect of ours."""
        try:
            if self._phase < Phase.RELEASED:
                self._fail(Reason.DECISION_FAILED, error)
                return
            log.error("an answer broke off by a defect", exc_info=error)
            self._give_up(Reason.DECISION_FAILED)
        except Exception:
            log.exception("a request could not be ended in order")
        self._connection.abort()
        self._leave()

    def _fail(self, reason: Reason, error: Exception | None = None) -> None:
        self._refuse(self._passage.fail(reason, error))

    def _refuse(self, step: Refuse) -> None:
        """Record and render a refusal; an unrecorded one becomes 503."""
        self._phase = Phase.SETTLED
        self._drop_upstream()
        self._parts.clear()
        if step.error is not None:
            log.error("a request could not be decided", exc_info=step.error, extra={"id": step.outcome.request_id})
        self._record(step.lines, lambda: self._answer(step))

    def _answer(self, step: Refuse) -> None:
        """Give the caller a refusal."""
        if not self._connection.is_open:
            self._gateway.metrics.count_outcome(step.outcome)
            self._leave()
            return
        is_complete = self._connection.drop_body()
        keep = is_complete and self._frame.is_persistent and not self._gateway.is_stopping
        data, keep = self._gateway.render_refusal(
            step, keep=keep, is_new=self._frame.version >= HTTP_1_1, with_body=self._frame.method != "HEAD"
        )
        self._connection.write(data)
        self._leave()
        self._connection.end_crossing(keep=keep)

    def _finish(self, *, keep: bool) -> None:
        """Record that the answer is through, and let the connection go on."""
        self._end(None)
        keep = keep and not self._connection.has_body
        self._leave()
        self._connection.end_crossing(keep=keep)

    def _end(self, reason: Reason | None) -> None:
        """Record how the answer ended. What has left cannot be called back, so a failure here is logged."""
        self._phase = Phase.SETTLED
        ended = self._passage.end(
            complete=not reason, reason=reason, bytes_sent=self._sent, seconds=elapsed_seconds() - self._started
        )
        if reason:
            self._gateway.metrics.answers_cut.count(reason)
        if ended.lines:
            self._gateway.append(ended.lines)

    def _drop_upstream(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.cancel()

    def _leave(self) -> None:
        """Be under way no longer."""
        self._phase = Phase.SETTLED
        self._ends_at = math.inf
        self._drop_upstream()
        task, self._task = self._task, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()
        gateway = self._gateway
        if self in gateway.under_way:
            gateway.under_way.discard(self)
            gateway.limits.end(self._connection)
            gateway.metrics.passage_seconds.observe(elapsed_seconds() - self._started)
