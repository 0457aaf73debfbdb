# SPDX-License-Identifier: Apache-2.0
"""How a request ends, wherever it stands: recorded, refused, through, or cut off.

Whatever goes wrong, the caller gets a problem document or a closed connection: never a traceback, never an allow. Each
request that began ends exactly once.
"""

import asyncio
import enum
import functools
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, TypeAlias, TypeVar

from proxy.clock import elapsed_seconds
from proxy.errors import LedgerError
from proxy.gateway.upstream.handle import UpstreamHandle
from proxy.gateway.wire.heads import RequestFrame
from proxy.ledger.entry import Rendered
from proxy.ledger.lines import Line
from proxy.model.decision import Reason
from proxy.pipeline.passage import HTTP_1_1, Passage
from proxy.pipeline.steps import Refuse

if TYPE_CHECKING:
    from proxy.gateway.connection import ClientConnection
    from proxy.gateway.gateway import Gateway

DISK_SECONDS: Final = 10.0
"""How long a request waits for the disk, with ``synced``."""

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


# Looked up once: an enumeration's members take a quarter of a microsecond each time.
DECIDING, FORWARDED, ANSWERED, RELEASED, SETTLED = Phase

_Self = TypeVar("_Self", bound="Settling")
_Arguments = ParamSpec("_Arguments")
_Driven: TypeAlias = "Callable[Concatenate[_Self, _Arguments], None]"


def driven(method: "_Driven[_Self, _Arguments]") -> "_Driven[_Self, _Arguments]":
    """Have a defect of ours end the request that it befell: refused, or where something has left, cut off."""

    @functools.wraps(method)
    def call(crossing: _Self, /, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> None:
        try:
            method(crossing, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - no exception may leave a request hanging, or let it pass
            crossing.break_off(error)

    return call


class Settling:
    """A request as far as its end goes.

    Args:
        gateway: what requests share.
        connection: whence it came.
        frame: its head.
        passage: decides.
    """

    # Where a request stands before anything happens to it: set on itself only where that is so no longer.
    _phase: Phase = DECIDING
    _ends_at = math.inf
    """By which reading of ``elapsed_seconds`` it must be through."""
    _task: asyncio.Task[None] | None = None
    """Waits for an issuer, or for the disk."""
    _handle: UpstreamHandle | None = None
    _sent = 0
    """Bytes of the answer's body, or through a tunnel from the API."""
    _taken = 0
    """Bytes of the request's body, or through a tunnel from the caller."""
    _is_waiting = False
    """Whether the disk is waited for."""
    _is_tunnel = False

    def __init__(
        self, gateway: "Gateway", connection: "ClientConnection", frame: RequestFrame, passage: Passage, started: float
    ) -> None:
        self._gateway = gateway
        self._connection = connection
        self._frame = frame
        self._passage = passage
        self._started = started

    def go_on(self) -> None:
        """Pass on what has come while the disk was waited for."""
        raise NotImplementedError

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
        try:
            if error is not None:
                self._fail_unrecorded(error)
                return
            then()
            self.go_on()
        except Exception as raised:  # noqa: BLE001 - as above
            self.break_off(raised)

    def _fail_unrecorded(self, error: LedgerError) -> None:
        log.warning("the ledger cannot be written: nothing leaves", extra={"error": str(error)})
        if self._phase is SETTLED:
            self._answer(self._gateway.refuse_unrecorded(self._passage))
        else:
            self._give_up(Reason.LEDGER_UNAVAILABLE)

    # Ends.

    def check(self, now: float) -> None:
        """End a request whose route, token or grant gives it no more time."""
        if now >= self._ends_at:
            self._ends_at = math.inf
            self.cut(Reason.REQUEST_TIMEOUT if self._connection.has_body else Reason.UPSTREAM_TIMEOUT)

    def _bring_forward(self, now: float) -> None:
        """End it no later than what was decided since it began holds.

        Args:
            now: a reading of the wall clock.
        """
        if self._passage.ends_at < math.inf:
            self._ends_at = min(self._ends_at, elapsed_seconds() + max(0.0, self._passage.ends_at - now))

    def cut(self, reason: Reason) -> None:
        """End it, whatever it does."""
        if self._phase is SETTLED:
            if reason in {Reason.CLIENT_SLOW, Reason.GATEWAY_STOPPING}:
                self._connection.abort()
            return
        self._give_up(reason)

    @driven
    def client_gone(self) -> None:
        """Record that the caller left. Nothing more can be said to it."""
        if self._phase is not SETTLED:
            reason = Reason.GATEWAY_STOPPING if self._gateway.is_stopping else Reason.CLIENT_GONE
            if self._phase is RELEASED:
                self._end(None if self._is_tunnel else reason)
            else:
                step = self._passage.fail(reason)
                self._gateway.append(step.lines)
                self._gateway.metrics.count_outcome(step.outcome)
        self._leave()

    def break_off(self, error: Exception) -> None:
        """End it because of a defect of ours."""
        try:
            if self._phase < RELEASED:
                self._fail(Reason.DECISION_FAILED, error)
                return
            log.error("an answer broke off by a defect", exc_info=error)
            self._give_up(Reason.DECISION_FAILED)
        except Exception:
            log.exception("a request could not be ended in order")
        self._connection.abort()
        self._leave()

    def _give_up(self, reason: Reason) -> None:
        """End it: by a refusal, or where something has left, by cutting it off."""
        if self._phase is SETTLED:
            return
        if self._phase is RELEASED:
            self._end(reason)
            self._connection.abort()
            self._leave()
        else:
            self._fail(reason)

    def _fail(self, reason: Reason, error: Exception | None = None) -> None:
        self._refuse(self._passage.fail(reason, error))

    def _refuse(self, step: Refuse) -> None:
        """Record and render a refusal; an unrecorded one becomes 503."""
        self._phase = SETTLED
        if self._task is not None:
            self._stop_waiting()  # for what would have gone on
        if self._handle is not None:
            self._drop_upstream()
        if step.error is not None:
            log.error("a request could not be decided", exc_info=step.error, extra={"id": step.outcome.request_id})
        self._record(step.lines, lambda: self._answer(step))

    def _answer(self, step: Refuse) -> None:
        """Give the caller a refusal."""
        connection, frame = self._connection, self._frame
        keep = frame.is_persistent and connection.drop_body() and not self._gateway.is_stopping
        data, keep = self._gateway.render_refusal(
            step, keep=keep, is_new=frame.version >= HTTP_1_1, with_body=frame.method != "HEAD"
        )
        connection.write(data)
        self._leave()
        connection.end_crossing(keep=keep)

    def _end(self, reason: Reason | None) -> None:
        """Record how the answer ended. What has left cannot be called back, so a failure here is logged."""
        self._phase = SETTLED
        ended = self._passage.end(
            complete=not reason,
            reason=reason,
            bytes_sent=self._sent,
            bytes_taken=self._taken if self._is_tunnel else 0,
            seconds=elapsed_seconds() - self._started,
        )
        if reason:
            self._gateway.metrics.count_cut(self._passage.route, reason)
        if ended.lines:
            self._gateway.append(ended.lines)

    def _drop_upstream(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.cancel()

    def _stop_waiting(self) -> None:
        """Let nothing come of what is waited for."""
        task, self._task = self._task, None
        self._is_waiting = False
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    def _leave(self) -> None:
        """Be under way no longer."""
        self._phase = SETTLED
        gateway = self._gateway
        if self not in gateway.under_way:
            return
        gateway.under_way.discard(self)
        gateway.limits.end(self._connection)
        if self._handle is not None:
            self._drop_upstream()
        if self._task is not None:
            self._stop_waiting()
        gateway.metrics.passage_seconds.observe(elapsed_seconds() - self._started)
