# SPDX-License-Identifier: Apache-2.0
"""A worker: a gateway that has a supervisor. This module does I/O.

It ends when it is told to, when somebody sends ``SIGTERM``, and when the channel ends, for then its supervisor is gone:
each time in order, so that requests under way end and the ledger is signed.
"""

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import sys
from collections.abc import Awaitable, Iterator

import uvloop

from proxy.bundle.snapshot import Snapshot
from proxy.errors import SekishoError
from proxy.ledger.parts import worker_part
from proxy.lifecycle.reload import retire
from proxy.lifecycle.takeover import Assembly
from proxy.oplog import configure_log
from proxy.running import Inherited, Prepared, Running
from proxy.settings import Settings
from proxy.supervisor.channel import Channel, ChannelEndError, connect
from proxy.supervisor.merge import read_metrics
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
from proxy.wiring import run_gateway

log = logging.getLogger("sekisho.workers")


def main() -> None:
    """Be a worker; the one argument is the file descriptor of the channel."""
    uvloop.run(_work(socket.socket(fileno=int(sys.argv[1]))))


async def _work(end: socket.socket) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the supervisor's
    channel: Channel[Report, Order] = await connect(end, Order)
    with contextlib.suppress(ChannelEndError):  # the supervisor is gone: there is nobody to tell
        job, prepare = await channel.receive(), await channel.receive()
        if isinstance(job, Job) and isinstance(prepare, Prepare):
            settings = Settings(**job.settings)
            configure_log(settings.log_level, job.number)
            await _serve(channel, job, prepare, settings, stop)
    await channel.close()


async def _serve(
    channel: Channel[Report, Order], job: Job, prepare: Prepare, settings: Settings, stop: asyncio.Event
) -> None:
    """Serve until told to stop; what keeps it from serving is told to the supervisor."""
    gates = [[socket.socket(fileno=each) for each in gate] for gate in job.gates]
    async with contextlib.AsyncExitStack() as stack:
        try:
            inherited = Inherited(await _take(channel, prepare), worker_part(job.number), job.attempts_key)
            running = await stack.enter_async_context(run_gateway(settings, inherited))
            del inherited
        except SekishoError as error:
            await channel.send(Done(prepare.id, str(error)))
            return
        gc.collect()
        gc.freeze()  # what a gateway is made of stays: no collection looks at it again
        await channel.send(Done(prepare.id))
        obeying = asyncio.ensure_future(_Worker(channel, running, gates).obey())
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait([obeying, stopping], return_when=asyncio.FIRST_COMPLETED)
        for each in (obeying, stopping):
            each.cancel()
        await asyncio.gather(obeying, stopping, return_exceptions=True)
        _close(gates)  # one that is left open has callers wait for nobody, and resets them in the end
        await running.accept([])
    await channel.send(Last(read_metrics(running.metrics.registry), running.metrics.attempts.tell()))


class _Worker:
    """Does what the supervisor says, one thing after the other.

    Args:
        channel: to it.
        running: the gateway.
        gates: the sockets that callers connect to.
    """

    def __init__(self, channel: Channel[Report, Order], running: Running, gates: list[list[socket.socket]]) -> None:
        self._channel = channel
        self._running = running
        self._gates = gates
        self._prepared: Prepared | None = None
        self._releasing: asyncio.Future[None] | None = None

    async def obey(self) -> None:
        """Do what is said until that is to stop, or nobody is there any more."""
        with contextlib.suppress(ChannelEndError):
            while not isinstance(order := await self._channel.receive(), Stop):
                if isinstance(order, Look):
                    metrics = self._running.metrics
                    told = read_metrics(metrics.registry), metrics.attempts.tell()
                    await self._channel.send(Seen(order.id, self._running.readiness(), *told))
                elif isinstance(order, Renew):
                    self._running.reload()
                elif not isinstance(order, Job):
                    await self._channel.send(Done(order.id, await _try(self._do(order))))

    async def _do(self, order: Prepare | Commit | Abort | Accept | RenewKeys | Shut) -> None:
        match order:
            case Prepare():
                snapshot = await _take(self._channel, order)
                self._forget()
                self._prepared = await self._running.holder.prepare(self._share(snapshot, order))
            case Commit():
                await self._commit()
            case Abort():
                self._forget()
            case Accept(gates=gates):
                await self._running.accept([each for number in gates for each in self._gates[number]])
            case RenewKeys():
                await self._running.holder.renew()
            case Shut():
                _close(self._gates)

    def _share(self, snapshot: Snapshot, order: Prepare) -> Snapshot:
        """Return a bundle with the very issuers in force where they are to stay."""
        if not order.keeps_issuers:
            return snapshot
        return snapshot.with_issuers(self._running.in_force().issuers)

    async def _commit(self) -> None:
        prepared, self._prepared = self._prepared, None
        if prepared is None:
            raise SekishoError("nothing was prepared")
        release = retire(self._running.in_force())
        await prepared.commit()
        self._releasing = release()

    def _forget(self) -> None:
        prepared, self._prepared = self._prepared, None
        if prepared is not None:
            prepared.undo()


def _close(gates: list[list[socket.socket]]) -> None:
    for gate in gates:
        for each in gate:
            each.close()


async def _try(work: Awaitable[None]) -> str:
    """Do something, and return why it could not be done; empty where it was."""
    try:
        await work
    except SekishoError as error:
        return str(error)
    except ChannelEndError:
        raise
    except Exception as error:  # whoever waits for the answer gets one, whatever it is
        log.exception("what the supervisor asked for could not be done")
        return f"{type(error).__name__}: {error}"
    return ""


async def _take(channel: Channel[Report, Order], prepare: Prepare) -> Snapshot:
    """Take a bundle over, slice by slice, while requests are served.

    Raises:
        SekishoError: it is not the one that it should be.
    """
    assembly = Assembly()
    with _collecting_nothing():
        while data := await channel.receive_slice():
            assembly.take(data)
            await asyncio.sleep(0)
    snapshot = assembly.snapshot
    if snapshot is None or snapshot.digest != prepare.digest:
        raise SekishoError(f"the bundle came to another digest than {prepare.digest}")
    return snapshot


@contextlib.contextmanager
def _collecting_nothing() -> Iterator[None]:
    """Let no collection of the whole heap hold requests up while much is made that stays; it is frozen then."""
    gc.collect(1)
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
