# SPDX-License-Identifier: Apache-2.0
"""The only place where concrete parts meet: settings become a running gateway."""

import asyncio
import contextlib
import errno
import logging
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web

from proxy import errors
from proxy.admin.app import make_admin
from proxy.bundle.check import load_bundle
from proxy.bundle.snapshot import Snapshot
from proxy.caller.issuers import parse_key_place
from proxy.caller.jwks import KeyStore
from proxy.clock import render_instant, unix_seconds
from proxy.gateway.server import Gateway, GatewayServer
from proxy.gateway.upstream import Upstreams
from proxy.ledger.pseudonym import KEY_BYTES, Pseudonyms
from proxy.ledger.record import BundleLine, Recorder, StartLine, StopLine
from proxy.ledger.writer import LedgerWriter
from proxy.model.ports import Geolocator
from proxy.model.problem import nearest
from proxy.model.readiness import Readiness
from proxy.origin.geoip import DatabaseGeolocator, RegistryGeolocator
from proxy.pipeline.passage import Checkpoint
from proxy.settings import Settings, parse_endpoint
from proxy.telemetry import Metrics
from proxy.version import VERSION

REMIND_SECONDS: Final = 3600
"""How often the log says again that nothing is blocked."""

log = logging.getLogger("sekisho")


class Running(msgspec.Struct, frozen=True):
    """A gateway that takes requests."""

    listen: str
    admin: str
    snapshot: Snapshot


def read_pseudonym_key(path: Path | None) -> Pseudonyms:
    """Read the key of pseudonyms.

    Raises:
        UsageError: there is none, or it is none.
    """
    mend = "Make one with `sekisho keygen FILE` and name it with --pseudonym-key FILE."
    if path is None:
        raise errors.UsageError(f"The key of pseudonyms is not set: people are never recorded by name. {mend}")
    try:
        text = path.read_text(encoding="ascii").strip()
        return Pseudonyms(bytes.fromhex(text))
    except OSError as error:
        raise errors.UsageError(f"The key of pseudonyms {path} cannot be read: {error.strerror}. {mend}") from error
    except ValueError as error:
        raise errors.UsageError(
            f"The key of pseudonyms {path} is none: {KEY_BYTES * 2} hexadecimal digits are needed. {mend}"
        ) from error


def make_geolocator(path: Path | None) -> Geolocator:
    """Return the configured geolocation."""
    return RegistryGeolocator() if path is None else DatabaseGeolocator(path)


@contextlib.asynccontextmanager
async def run_gateway(settings: Settings) -> AsyncIterator[Running]:
    """Start a gateway, and stop it in order at the end.

    Raises:
        BundleError: the policy folder does not load.
        UsageError, KeySetError: something it needs cannot be had; the message is one sentence with the mend.
    """
    snapshot = load_bundle(settings.policies, settings.upstream)
    _check_issuers(snapshot, settings)
    pseudonyms = read_pseudonym_key(settings.pseudonym_key)
    geolocator = make_geolocator(settings.geoip)
    metrics = Metrics()
    keys = KeyStore(snapshot.issuers, settings.policies, settings, metrics)
    await keys.fetch_all()
    checkpoint = Checkpoint(
        snapshot, keys, geolocator, Recorder(pseudonyms, snapshot.policy_digest, snapshot.registers_digest)
    )
    _describe_bundle(metrics, snapshot)
    async with contextlib.AsyncExitStack() as stack:
        ledger = LedgerWriter(settings.ledger, metrics)
        stack.callback(ledger.close)
        upstreams = Upstreams(settings)
        stack.push_async_callback(upstreams.close)
        gateway = Gateway(
            checkpoint=lambda: checkpoint,
            keys=keys,
            ledger=ledger,
            upstreams=upstreams,
            metrics=metrics,
            options=settings,
        )
        ledger.append([_start_line(snapshot, keys, geolocator), _bundle_line(snapshot)])
        stack.callback(_record_stop, ledger)
        admin = make_admin(metrics, lambda: _readiness(snapshot, keys, geolocator))
        runner = web.AppRunner(admin, access_log=None, handle_signals=False)
        admin_at = await _listen(stack, runner, settings.admin, "--admin")
        server = web.ServerRunner(
            GatewayServer(gateway, settings), handle_signals=False, shutdown_timeout=settings.drain_seconds / 2
        )
        stack.push_async_callback(keys.close)
        listen_at = await _listen(stack, server, settings.listen, "--listen")
        stack.callback(_begin_stop, gateway)
        background = [keys.keep_fresh(), _remind(snapshot)]
        tasks = [asyncio.ensure_future(coroutine) for coroutine in background]
        stack.push_async_callback(_cancel, tasks)
        log.info("ready", extra={"bundle": snapshot.name, "policy": snapshot.policy_digest, "path": listen_at})
        yield Running(listen_at, admin_at, snapshot)


def _check_issuers(snapshot: Snapshot, settings: Settings) -> None:
    declared = {issuer.id for issuer in snapshot.issuers}
    for issuer_id in settings.jwks.keys() - declared:
        raise errors.UsageError(
            f"--jwks names an issuer {issuer_id!r} that the bundle does not declare{nearest(issuer_id, declared)}."
        )
    for issuer_id, place in settings.jwks.items():
        try:
            parse_key_place(place)
        except ValueError as error:
            raise errors.UsageError(f"--jwks {issuer_id}: {error}.") from error


async def _listen(stack: contextlib.AsyncExitStack, runner: web.BaseRunner, endpoint: str, flag: str) -> str:
    """Bind a runner to HOST:PORT and return the address it got."""
    host, port = parse_endpoint(endpoint, flag)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    try:
        await web.TCPSite(runner, host, port, backlog=1024).start()
    except OSError as error:
        why = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be bound: {os.strerror(error.errno or 0)}"
        raise errors.UsageError(f"The address {endpoint} {why}: name another with {flag} HOST:PORT.") from error
    bound = runner.addresses[0]
    return f"[{bound[0]}]:{bound[1]}" if ":" in bound[0] else f"{bound[0]}:{bound[1]}"


def _begin_stop(gateway: Gateway) -> None:
    gateway.is_stopping = True


def _record_stop(ledger: LedgerWriter) -> None:
    try:
        ledger.append([StopLine(time=render_instant(unix_seconds()))])
    except errors.LedgerError as error:
        log.warning("the stop could not be recorded", extra={"error": str(error)})


async def _cancel(tasks: Sequence[asyncio.Future[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _remind(snapshot: Snapshot) -> None:
    """Say again and again that nothing is blocked, and say when that has ended."""
    if snapshot.observe_until is None:
        return
    until = render_instant(snapshot.observe_until)
    while (left := snapshot.observe_until - unix_seconds()) > 0:
        log.warning("observe mode: NOTHING IS BLOCKED, refusals are only recorded", extra={"until": until})
        await asyncio.sleep(min(left, REMIND_SECONDS))
    log.warning("observe mode has ended: refusals are enforced", extra={"until": until})


def _describe_bundle(metrics: Metrics, snapshot: Snapshot) -> None:
    metrics.bundle.labels(snapshot.policy_digest, snapshot.registers_digest).set(1)
    metrics.observing.set_function(lambda: float(snapshot.observes(unix_seconds())))
    metrics.observe_until.set(snapshot.observe_until or 0)


def _start_line(snapshot: Snapshot, keys: KeyStore, geolocator: Geolocator) -> StartLine:
    return StartLine(
        time=render_instant(unix_seconds()),
        version=VERSION,
        geolocation=geolocator.build,
        upstreams={api.id: api.upstream.url for api in snapshot.catalog.apis},
        key_places={issuer.id: keys.place(issuer.id) for issuer in snapshot.issuers},
    )


def _bundle_line(snapshot: Snapshot) -> BundleLine:
    return BundleLine(
        time=render_instant(unix_seconds()),
        bundle=snapshot.name,
        policy=snapshot.policy_digest,
        registers=snapshot.registers_digest,
        mode="enforce" if snapshot.observe_until is None else "observe",
        observe_until="" if snapshot.observe_until is None else render_instant(snapshot.observe_until),
    )


def _readiness(snapshot: Snapshot, keys: KeyStore, geolocator: Geolocator) -> Readiness:
    now = unix_seconds()
    missing = tuple(issuer.id for issuer in snapshot.issuers if keys.current(issuer.id, now) is None)
    return Readiness(
        ready=len(missing) < len(snapshot.issuers),
        bundle=snapshot.name,
        policy=snapshot.policy_digest,
        registers=snapshot.registers_digest,
        mode="observe" if snapshot.observes(now) else "enforce",
        observe_until=None if snapshot.observe_until is None else render_instant(snapshot.observe_until),
        issuers_without_keys=missing,
        geolocation=geolocator.build,
    )
