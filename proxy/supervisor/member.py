# SPDX-License-Identifier: Apache-2.0
"""One worker, as its supervisor sees it: a process and the channel to it. This module does I/O."""

import asyncio
import contextlib
import logging
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from itertools import count
from typing import Final

from proxy.bundle.snapshot import Snapshot
from proxy.clock import elapsed_seconds
from proxy.lifecycle.takeover import pack
from proxy.settings import Settings
from proxy.supervisor.channel import Channel, ChannelEndError, connect
from proxy.supervisor.gates import Gate
from proxy.supervisor.merge import Family
from proxy.supervisor.messages import (
    Abort,
    Accept,
    Commit,
    Done,
    Job,
    Last,
    Look,
    Order,
    Prepare,
    Renew,
    RenewKeys,
    Report,
    Seen,
    Shut,
    Stop,
)
from proxy.supervisor.swap import Offer, WorkerError
from proxy.telemetry.attempts import Attempt

ANSWER_SECONDS: Final = 10.0
"""How long a worker may take for what needs nobody else."""
SHUT_SECONDS: Final = 2.0
"""How long it may take to let go of gates, before it is told to end: it may be taking a bundle over."""
_PROGRAM: Final = "from proxy.supervisor.worker import main; main()"

log = logging.getLogger("sekisho.workers")


class Member:
    """A worker; made by ``spawn``.

    Args:
        number: no two that run at a time have the same.
        process: of the worker.
        channel: to it.
        take_seconds: how long taking a bundle over may take.
    """

    def __init__(
        self, number: int, process: asyncio.subprocess.Process, channel: Channel[Order, Report], take_seconds: float
    ) -> None:
        self.number = number
        self.gates: tuple[int, ...] = ()
        """On which it accepts."""
        self.digest = ""
        """Of what it has in force."""
        self.seen: Seen | None = None
        """What it said last of itself."""
        self.last: tuple[Family, ...] = ()
        """What it had counted, as far as is known."""
        self.attempts: tuple[Attempt, ...] = ()
        """What those were denied who were denied something of late, as far as is known."""
        self.unanswered = 0
        """How many looks in a row it has not answered."""
        self.is_leaving = False
        """Whether it was told to end."""
        self._process = process
        self._channel = channel
        self._take_seconds = take_seconds
        self._ids = count(1)
        self._waiting: dict[int, asyncio.Future[Done | Seen]] = {}
        self._since = elapsed_seconds()
        self._listening = asyncio.ensure_future(self._listen())

    @classmethod
    async def spawn(cls, number: int, settings: Settings, gates: Sequence[Gate]) -> "Member":
        """Start a process that becomes a worker once it is told to ``begin``, and has our modules ready by then.

        Args:
            number: as above.
            settings: of the deployment.
            gates: on which it may be told to accept.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            descriptors = [each.fileno() for gate in gates for each in gate]
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-c", _PROGRAM, str(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), *descriptors),
                start_new_session=True,  # a terminal's Ctrl-C is for the supervisor alone
            )  # fmt: skip
        channel: Channel[Order, Report] = await connect(ours, Report)
        return cls(number, process, channel, settings.reload_seconds)

    async def begin(self, settings: Settings, gates: Sequence[Gate], snapshot: Snapshot, attempts_key: bytes) -> None:
        """Have it begin, and return once it could serve.

        Args:
            settings: as of ``spawn``.
            gates: as of ``spawn``.
            snapshot: the bundle in force.
            attempts_key: under which those are remembered who are denied.

        Raises:
            WorkerError: it does not come up; nothing of it is left then.
        """
        descriptors = tuple(tuple(each.fileno() for each in gate) for gate in gates)
        try:
            await self._send(Job(self.number, settings.model_dump(mode="json"), descriptors, attempts_key))
            await self.prepare(Offer(0, snapshot))
        except BaseException:
            await self.discard()
            raise
        self.digest = snapshot.digest

    async def discard(self) -> None:
        """End it at once, and wait for that."""
        self.kill()
        await self.wait()

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    @property
    def age(self) -> float:
        """Seconds since it was started."""
        return elapsed_seconds() - self._since

    # Bundles.

    async def prepare(self, offer: Offer) -> None:
        """Have it take a bundle over."""
        snapshot = offer.snapshot
        message = Prepare(next(self._ids), snapshot.digest, offer.is_urgent)
        await self._ask(message, self._take_seconds, lambda: self._channel.send_with(message, _slice(snapshot)))

    async def commit(self, offer: Offer) -> None:
        """Have it put in force what it took over."""
        await self._ask(Commit(next(self._ids)))
        self.digest = offer.snapshot.digest

    async def abort(self, offer: Offer) -> None:  # noqa: ARG002 - it has one at a time
        """Have it forget what it took over."""
        await self._ask(Abort(next(self._ids)))

    # The rest.

    async def accept(self, gates: tuple[int, ...]) -> None:
        """Have it take callers on these gates, and on no others."""
        if gates != self.gates:
            await self._ask(Accept(next(self._ids), gates))
            self.gates = gates

    async def look(self, seconds: float) -> None:
        """Ask it how it is; what it said last stays where it says nothing in time."""
        try:
            seen = await self._ask(Look(next(self._ids)), seconds)
        except WorkerError:
            self.unanswered += 1
            return
        if isinstance(seen, Seen):
            self.seen, self.last, self.attempts, self.unanswered = seen, seen.metrics, seen.attempts, 0

    async def renew_keys(self) -> None:
        """Have it read the keys again that lie in the policy folder."""
        await self._ask(RenewKeys(next(self._ids)), self._take_seconds)

    async def renew(self) -> None:
        """Have it look now at what it watches by itself."""
        await self._tell(Renew())

    async def shut(self) -> None:
        """Have it let go of gates that are others'."""
        with contextlib.suppress(WorkerError):  # then callers who come too late wait for its end
            await self._ask(Shut(next(self._ids)), SHUT_SECONDS)

    async def stop(self) -> None:
        """Have it end in order."""
        self.is_leaving = True
        await self._tell(Stop())

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def wait(self) -> int:
        """Wait until it has ended, and return its exit code."""
        code = await self._process.wait()
        await self._listening
        return code

    # The channel.

    async def _ask(
        self,
        message: Prepare | Commit | Abort | Accept | Look | RenewKeys | Shut,
        seconds: float = ANSWER_SECONDS,
        send: Callable[[], Coroutine[None, None, None]] | None = None,
    ) -> Done | Seen:
        """Send what has an id, and return the answer to it.

        Raises:
            WorkerError: there is none in time, or it is no.
        """
        waiting: asyncio.Future[Done | Seen] = asyncio.get_running_loop().create_future()
        self._waiting[message.id] = waiting
        try:
            async with asyncio.timeout(seconds):
                await (self._channel.send(message) if send is None else send())
                answer = await waiting
        except TimeoutError:
            raise WorkerError(f"worker {self.number} does not answer within {seconds:g} seconds") from None
        except ChannelEndError:
            raise WorkerError(f"worker {self.number} has ended") from None
        finally:
            del self._waiting[message.id]
        if isinstance(answer, Done) and answer.why_not:
            raise WorkerError(f"worker {self.number}: {answer.why_not}")
        return answer

    async def _send(self, message: Order) -> None:
        try:
            await self._channel.send(message)
        except ChannelEndError:
            raise WorkerError(f"worker {self.number} has ended") from None

    async def _tell(self, message: Order) -> None:
        with contextlib.suppress(ChannelEndError):  # it is ending: whoever waits for that is told
            await self._channel.send(message)

    async def _listen(self) -> None:
        try:
            while True:
                report = await self._channel.receive()
                if isinstance(report, Last):
                    self.last, self.attempts = report.metrics, report.attempts
                elif (waiting := self._waiting.get(report.id)) is not None and not waiting.done():
                    waiting.set_result(report)
        except ChannelEndError:
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(ChannelEndError("the worker has ended"))
        finally:
            await self._channel.close()


async def _slice(snapshot: Snapshot) -> AsyncIterator[bytes]:
    for each in pack(snapshot):
        yield each
        await asyncio.sleep(0)
