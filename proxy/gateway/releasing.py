# SPDX-License-Identifier: Apache-2.0
"""How the answer to a request leaves: whole, part by part as it comes, through a tunnel, or once it is looked into.

What leaves was recorded before, and a body that breaks off midway ends the caller's connection, so that it cannot be
mistaken for a whole one.
"""

import asyncio
import functools
from typing import TYPE_CHECKING, Final

from proxy.clock import elapsed_seconds, unix_seconds
from proxy.gateway.settling import ANSWERED, FORWARDED, RELEASED, SETTLED, Settling, driven, log
from proxy.gateway.wire.heads import RequestFrame, ResponseFrame
from proxy.gateway.wire.render import LAST_CHUNK, render_chunk, render_response
from proxy.model.decision import Reason
from proxy.model.request import ResponseHead
from proxy.pipeline.passage import HTTP_1_1, Passage
from proxy.pipeline.steps import Cut, Inspect, Looked, Need, Part, Refuse, Release

if TYPE_CHECKING:
    from proxy.gateway.connection import ClientConnection
    from proxy.gateway.gateway import Gateway

_NO_CONTENT: Final = 204
_NO_BODY: Final = frozenset({_NO_CONTENT, 304})
_UPGRADED: Final = 101


class Releasing(Settling):
    """A request as far as its answer goes.

    Args:
        gateway: what requests share.
        connection: whence it came.
        frame: its head.
        passage: decides.
        started: when it came, by ``elapsed_seconds``.
    """

    _upstream: ResponseFrame | None = None
    _release: Release | None = None
    _is_whole = False
    """Whether all of the answer came with its head."""
    _has_ended = False
    """Whether all of the answer has come."""
    _is_chunked = False
    _keeps = False
    """Whether the head of the answer says that the connection may be used again."""
    _is_inspected = False
    """Whether the answer is looked into."""
    _is_taken = False
    """Whether its end was."""

    def __init__(
        self, gateway: "Gateway", connection: "ClientConnection", frame: RequestFrame, passage: Passage, started: float
    ) -> None:
        super().__init__(gateway, connection, frame, passage, started)
        self._parts: list[bytes] = []
        """Of the answer's body, what may not leave yet."""

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

    def _take_answer(
        self, frame: ResponseFrame, step: Refuse | Release | Inspect, body: bytes, *, is_whole: bool
    ) -> None:
        if isinstance(step, Refuse):
            self._refuse(step)
            return
        if isinstance(step, Inspect):
            self._phase, self._is_inspected, self._has_ended = ANSWERED, True, is_whole
            self._parts.append(body)
            self._look()
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

    # An answer that is looked into.

    def _look(self) -> None:
        """Have what has come looked into, unless something is waited for."""
        if self._task is not None or self._is_waiting:
            return
        data = b"".join(self._parts)
        self._parts.clear()
        self._is_taken = self._has_ended
        self._take_look(self._passage.inspect(data, ended=self._is_taken, seconds=self._elapsed()))

    def _elapsed(self) -> float:
        return elapsed_seconds() - self._started

    def _take_look(self, looked: Looked) -> None:
        """Do what comes of a look."""
        if isinstance(looked, Part):
            self._bring_forward(unix_seconds())
            if looked.lines:
                self._record(looked.lines, functools.partial(self._pass_part, looked))
            else:
                self._pass_part(looked)
        elif isinstance(looked, Refuse):
            self._refuse(looked)
        elif isinstance(looked, Cut):
            if looked.error is not None:
                log.error("an answer could not be looked into", exc_info=looked.error)
            self._give_up(looked.reason)
        elif isinstance(looked, Need):
            if self._handle is not None:
                self._handle.pause()
            self._task = asyncio.get_running_loop().create_task(self._look_on(looked))

    async def _look_on(self, need: Need) -> None:
        """Look on once a directory has told what was needed."""
        try:
            await self._gateway.meet(need)
            self._task = None
            if self._phase is not SETTLED:
                self._take_look(self._passage.inspect(b"", ended=self._is_taken, seconds=self._elapsed()))
                self.go_on()
        except Exception as error:  # noqa: BLE001 - as above
            self.break_off(error)

    def _pass_part(self, part: Part) -> None:
        """Let a part go that is recorded."""
        gateway, connection, release = self._gateway, self._connection, part.release
        if part.error is not None:
            log.error("an answer could not be looked into, which is only observed", exc_info=part.error)
        if release is not None:
            self._release = release
            gateway.metrics.count_outcome(release.outcome)
            self._begin_inspected(release, part)
        if part.counts and self._release is not None:
            gateway.metrics.count_records(self._release.outcome, part.counts)
        if release is None or not part.is_last:
            if part.data:
                self._write_part(part.data)
            if part.is_last:
                self._end_answer()
            return
        self._leave()
        connection.end_crossing(keep=self._keeps)

    def _begin_inspected(self, release: Release, part: Part) -> None:
        """Let the head go, with the body where that is all of it."""
        frame, is_new = self._frame, self._frame.version >= HTTP_1_1
        self._phase = RELEASED
        has_body = frame.method != "HEAD" and release.status not in _NO_BODY
        length = len(part.data) if part.is_last and has_body else None
        self._is_chunked = has_body and length is None and is_new
        self._keeps = self._may_keep() and (length is not None or self._is_chunked or not has_body)
        head = render_response(
            release.status,
            release.fields,
            length,
            self._is_chunked,
            closes=not self._keeps,
            keeps=self._keeps and not is_new,
        )
        self._connection.write(head + part.data if part.is_last else head)

    @driven
    def upstream_sent(self, data: bytes) -> None:
        """Take more of the answer's body, or what comes through the tunnel."""
        if self._phase is SETTLED:
            return
        self._parts.append(data)
        if self._is_inspected:
            self._look()
        elif not self._is_waiting:
            self._pass_parts()

    @driven
    def upstream_ended(self) -> None:
        """Take note that the answer's body is whole."""
        if self._phase is SETTLED:
            return
        self._has_ended = True
        if self._is_inspected:
            self._look()
        elif not self._is_waiting:
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

    def go_on(self) -> None:
        """Pass on what has come while the disk was waited for, or a directory."""
        if self._is_inspected:
            if self._phase is not SETTLED and (self._parts or (self._has_ended and not self._is_taken)):
                self._look()
            if (
                not self._is_waiting
                and self._task is None
                and self._handle is not None
                and not self._connection.is_slow
            ):
                self._handle.resume()
            return
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
