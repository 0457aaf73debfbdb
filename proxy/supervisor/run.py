# SPDX-License-Identifier: Apache-2.0
"""The supervisor: what it has of its own, and the workers that it keeps. This module does I/O."""

import asyncio
import contextlib
import gc
import logging
import secrets
from collections.abc import AsyncIterator, Callable

import msgspec

from proxy.admin.app import make_admin
from proxy.admin.serving import Find
from proxy.assertion.held import HeldAssertionKeys
from proxy.bundle.snapshot import Snapshot
from proxy.errors import UsageError
from proxy.gateway.upstream.asking import HealthAsker
from proxy.ledger.archive import Archive
from proxy.ledger.opening import STANDARD_OUTPUT, hold_folder
from proxy.lifecycle.kept import keep_bundle
from proxy.lifecycle.reload import Reloader
from proxy.listening import serve_admin, serve_jwks
from proxy.model.readiness import WorkersReadiness
from proxy.settings import Settings
from proxy.supervisor.crew import Crew
from proxy.supervisor.gates import close_gates, open_gates, render_address
from proxy.supervisor.member import Member
from proxy.supervisor.merge import Shown
from proxy.supervisor.states import Said, merge_readiness
from proxy.telemetry import Metrics
from proxy.telemetry.attempts import KEY_BYTES
from proxy.wiring import load_first, make_reloader, tell_ready

log = logging.getLogger("sekisho.workers")


class Supervising(msgspec.Struct, frozen=True):
    """Workers that take requests."""

    listen: str
    admin: str
    reload: Callable[[], None]
    """Tries the policy folder now, and has workers look at what they watch by themselves."""
    reloader: Reloader
    """Watches the policy folder."""
    roll: Callable[[], None]
    """Replaces all workers, one after the other."""


@contextlib.asynccontextmanager
async def run_workers(settings: Settings) -> AsyncIterator[Supervising]:
    """Start workers, and stop them in order at the end.

    Raises:
        BundleError: the policy folder does not load, or its own tests fail.
        UsageError, ArchiveError: something that is needed cannot be had; the message says how to mend it.
        WorkerError: a worker does not come up; the message says why.
    """
    if settings.ledger == STANDARD_OUTPUT:
        raise UsageError(
            "Each worker's ledger is one of its own, and on one standard output they would be none: with --workers "
            "name a folder with --ledger, or run one process."
        )
    attempts_key = secrets.token_bytes(KEY_BYTES)
    metrics = Metrics(key=attempts_key)
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(hold_folder(settings.ledger_folder))
        gates = open_gates(settings.listen, settings.workers)
        stack.callback(close_gates, gates)
        spares: dict[int, Member] = {}
        stack.push_async_callback(_discard, spares)
        for number in range(1, settings.workers + 1):  # before the bundle is loaded: each takes a while to come up
            spares[number] = await Member.spawn(number, settings, gates)
        seen, snapshot = load_first(settings)
        archive = Archive(settings.ledger_folder)
        await keep_bundle(archive, snapshot)

        async def start(number: int, snapshot: Snapshot) -> Member:
            member = spares.pop(number, None) or await Member.spawn(number, settings, gates)
            await member.begin(settings, gates, snapshot, attempts_key)
            return member

        crew = Crew(
            settings.workers, start, snapshot, archive=archive, metrics=metrics, drain_seconds=settings.drain_seconds
        )
        reloader = make_reloader(settings, seen, crew, metrics)
        asker = HealthAsker(settings, lambda: crew.snapshot.catalog.apis)
        stack.push_async_callback(asker.close)
        admin_at = await serve_admin(stack, _make_admin(crew, reloader, asker, settings), settings)
        assertions = HeldAssertionKeys(settings, seconds=settings.watch_seconds)  # to publish them: workers sign
        await serve_jwks(stack, assertions, settings)
        stack.push_async_callback(crew.stop)
        await crew.begin()
        for watch in (reloader.watch(), assertions.watch(_nothing)):
            stack.push_async_callback(_cancel, asyncio.ensure_future(watch))
        listen_at = render_address(gates)
        tell_ready(settings, snapshot, listen_at)
        del snapshot  # one that is no longer in force must not be kept
        gc.collect()
        gc.freeze()

        def reload() -> None:
            reloader.poke()
            assertions.poke()
            crew.poke()

        yield Supervising(listen_at, admin_at, reload, reloader, crew.roll)
        close_gates(gates)  # first: whoever comes now is refused, and not left waiting


def _make_admin(crew: Crew, reloader: Reloader, asker: HealthAsker, settings: Settings) -> Find:
    def readiness() -> WorkersReadiness:
        said = [
            Said(each.number, each.pid, None if each.seen is None else each.seen.readiness) for each in crew.workers
        ]
        in_force = crew.snapshot.policy_digest, crew.snapshot.registers_digest
        return merge_readiness(said, settings.workers, in_force, reloader.stale, stopping=crew.is_stopping)

    return make_admin(lambda: Shown(crew.read_metrics()), readiness, asker.ask, crew.look)


def _nothing() -> None:
    """Do nothing else: what is published is looked up each time."""


async def _cancel(task: asyncio.Future[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _discard(spares: dict[int, Member]) -> None:
    """End processes that have not become workers."""
    await asyncio.gather(*(each.discard() for each in spares.values()))
