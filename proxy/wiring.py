# SPDX-License-Identifier: Apache-2.0
"""The only place where concrete parts meet: settings become a running gateway."""

import asyncio
import contextlib
import itertools
import logging
import platform
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from functools import partial
from typing import Final

from proxy import errors
from proxy.admin.app import make_admin
from proxy.assertion.held import HeldAssertionKeys
from proxy.bundle.check import load_bundle
from proxy.bundle.snapshot import Snapshot
from proxy.caller.introspection import Introspector
from proxy.caller.issuers import parse_key_place
from proxy.caller.jwks import KeyStore
from proxy.clock import unix_seconds
from proxy.gateway.gateway import Gateway
from proxy.gateway.ticker import Ticker
from proxy.gateway.tls import Listener, ListenerTls
from proxy.gateway.upstream.asking import HealthAsker, check_health_paths
from proxy.gateway.upstream.upstreams import Upstreams
from proxy.in_force import InForce, find_cas
from proxy.ledger.archive import Archive
from proxy.ledger.journal import Journal
from proxy.ledger.key_ring_watch import HeldKeyRing
from proxy.ledger.opening import STANDARD_OUTPUT, open_ledger
from proxy.lifecycle.candidate import find_failed
from proxy.lifecycle.kept import keep_bundle
from proxy.lifecycle.limits import check_counts
from proxy.lifecycle.reload import Reloader, refuse_failing
from proxy.lifecycle.reminder import remind
from proxy.lifecycle.standing import describe_start, judge_readiness
from proxy.lifecycle.watch import take_fingerprint
from proxy.listening import binding, render_address, serve_admin, serve_jwks
from proxy.model.origin import ClientAddress
from proxy.model.problem import nearest
from proxy.model.readiness import Readiness
from proxy.origin.geoip import make_geolocator
from proxy.origin.renewal import Renewal, take_fingerprints
from proxy.pipeline.checkpoint import FORWARDED
from proxy.running import Holder, Inherited, Running
from proxy.settings import Settings, parse_endpoint
from proxy.subject.directory import HeldDirectory
from proxy.telemetry import Metrics
from proxy.telemetry.attempts import KEY_BYTES
from proxy.version import VERSION
from proxy.volume.opening import open_counts

FIRST_READINGS: Final = 5
"""How often a policy folder is read at the start that changes meanwhile."""
REVISIT_SECONDS: Final = 1.0
"""How soon a request under way is decided anew after another bundle is put in force."""

log = logging.getLogger("sekisho")


@contextlib.asynccontextmanager
async def run_gateway(settings: Settings, inherited: Inherited | None = None) -> AsyncIterator[Running]:
    """Start a gateway, and stop it in order at the end.

    Args:
        settings: of the deployment.
        inherited: what a worker has from its supervisor.

    Raises:
        BundleError: the policy folder does not load, or its own tests fail.
        UsageError, KeySetError, ArchiveError: something it needs cannot be had; the message says how to mend it.
    """
    async with contextlib.AsyncExitStack() as stack:
        running = await _start(stack, settings, inherited)
        del inherited  # a bundle that is no longer in force must not be kept
        yield running


async def _start(stack: contextlib.AsyncExitStack, settings: Settings, inherited: Inherited | None) -> Running:
    """Start a gateway; the end of the stack stops it."""
    seen, snapshot = load_first(settings) if inherited is None else ("", inherited.snapshot)
    seen_databases = take_fingerprints(settings)
    geolocator = make_geolocator(settings)
    metrics = _make_metrics(inherited)
    pseudonyms = HeldKeyRing(settings.pseudonym_key, metrics, seconds=settings.watch_seconds)
    assertions = await _open_assertions(stack, snapshot, settings, inherited)
    ledger, archive = await _open_records(stack, snapshot, settings, metrics, inherited)
    keys, introspector = await _ask_issuers(stack, snapshot, settings, metrics)
    tls = await ListenerTls.start(settings, find_cas(snapshot), metrics)
    ticker = Ticker()
    upstreams, directory = _open_others(stack, snapshot, settings, metrics, ticker)
    counting = await open_counts(stack, settings, metrics)
    in_force = InForce(
        snapshot,
        pseudonyms=pseudonyms,
        assertions=assertions,
        keys=keys,
        introspector=introspector,
        geolocator=geolocator,
        settings=settings,
        ledger=ledger,
        archive=archive,
        metrics=metrics,
        tls=tls,
        upstreams=upstreams,
        volume=counting.volume,
        directory=directory,
    )
    gateway = Gateway(
        checkpoint=lambda: in_force.checkpoint,
        keys=keys,
        introspector=introspector,
        ledger=ledger,
        upstreams=upstreams,
        metrics=metrics,
        options=settings,
        ticker=ticker,
        client_address=settings.client_address,
        counts=counting.source,
        directory=directory,
    )
    reloader = None if inherited else make_reloader(settings, seen, in_force, metrics)
    renewal = Renewal(settings, seen_databases, in_force.relocate, metrics, seconds=settings.watch_seconds)
    ledger.begin(in_force.describe_in_force, describe_start(snapshot, keys, geolocator, settings))
    readiness = partial(_judge, in_force, keys, renewal, reloader, gateway)
    admin_at = "" if inherited else await _serve_admin(stack, in_force, settings, metrics, readiness)
    listener, listen_at = await _serve(stack, gateway, settings, tls, inherited)
    names = [pseudonyms.watch(in_force.rename), assertions.watch(in_force.resign)]
    watching = [keys.keep_fresh(), renewal.watch(), tls.watch(settings.watch_seconds), *_watches(reloader), *names]
    keeping = [ledger.keep(), remind(lambda: in_force.snapshot), _revisit(gateway), ticker.run()]
    tasks = [asyncio.ensure_future(coroutine) for coroutine in (*watching, *keeping)]
    stack.push_async_callback(_cancel, tasks)
    _tell_doubts(readiness())
    if inherited is None:
        tell_ready(settings, snapshot, listen_at)
    pokes = [tls.poke, renewal.poke, pseudonyms.poke, assertions.poke, *([reloader.poke] if reloader else [])]
    take = partial(_accept, listener, tls)
    return Running(listen_at, admin_at, in_force, _all(*pokes), reloader, take, readiness, metrics)


def _make_metrics(inherited: Inherited | None) -> Metrics:
    """Make what counts: what workers remember of those who are denied is under one key."""
    metrics = Metrics(key=secrets.token_bytes(KEY_BYTES) if inherited is None else inherited.attempts_key)
    metrics.build.show([(VERSION, platform.python_version())])
    return metrics


def load_first(settings: Settings) -> tuple[str, Snapshot]:
    """Load the policy folder that a gateway begins with.

    What changed while it was read may be half of one state and half of another: it is read again.

    Returns:
        The fingerprint of the folder, and what was loaded from it.

    Raises:
        BundleError: it does not load, or its own tests fail.
        UsageError: it does not go together with the settings, or changes each time that it is read.
    """
    for _ in range(FIRST_READINGS):
        seen = take_fingerprint(settings.policies)
        try:
            snapshot = load_bundle(settings.policies, settings.upstream, settings.registers_folder)
        except errors.BundleError:
            if take_fingerprint(settings.policies) == seen:
                raise
            continue
        if take_fingerprint(settings.policies) == seen:
            refuse_failing(snapshot, find_failed(snapshot, make_geolocator(settings)))
            _check_settings(snapshot, settings)
            return seen, snapshot
    raise errors.UsageError(
        f"The policy folder {settings.policies} changed each of {FIRST_READINGS} times that it was read: wait until "
        "whoever writes it has ended, and start again."
    )


def _open_others(
    stack: contextlib.AsyncExitStack, snapshot: Snapshot, settings: Settings, metrics: Metrics, ticker: Ticker
) -> tuple[Upstreams, HeldDirectory]:
    """Make what speaks with the APIs, and with the directories of data subjects."""
    upstreams = Upstreams(settings, metrics, ticker)
    upstreams.adopt(snapshot.catalog.apis)
    stack.push_async_callback(upstreams.close)
    directory = HeldDirectory(snapshot.lookups, settings, metrics)
    stack.push_async_callback(directory.close)
    return upstreams, directory


async def _open_records(
    stack: contextlib.AsyncExitStack,
    snapshot: Snapshot,
    settings: Settings,
    metrics: Metrics,
    inherited: Inherited | None,
) -> tuple[Journal, Archive | None]:
    """Open the ledger, and keep the bundle beside it before its folder has time to change; a worker's is kept."""
    ledger = open_ledger(settings, metrics, inherited.part if inherited else "")
    stack.push_async_callback(ledger.close)
    archive = None if inherited or settings.ledger == STANDARD_OUTPUT else Archive(settings.ledger_folder)
    await keep_bundle(archive, snapshot)
    return ledger, archive


async def _serve_admin(
    stack: contextlib.AsyncExitStack,
    in_force: InForce,
    settings: Settings,
    metrics: Metrics,
    readiness: Callable[[], Readiness],
) -> str:
    """Serve operators for as long as there is anything to be told: until callers' last requests have ended."""
    asker = HealthAsker(settings, lambda: in_force.snapshot.catalog.apis)
    stack.push_async_callback(asker.close)
    return await serve_admin(stack, make_admin(lambda: metrics.registry, readiness, asker.ask), settings)


def _tell_doubts(state: Readiness) -> None:
    """Log what is not as it should be and keeps nothing from being decided."""
    doubts = (state.geolocation_doubts, state.pseudonym_doubts, state.assertion_doubts, state.tls_doubts)
    for doubt in itertools.chain(*doubts):
        log.warning("the gateway starts with a doubt", extra={"error": doubt})


def tell_ready(settings: Settings, snapshot: Snapshot, listen_at: str) -> None:
    """Log that callers are served, and what settings and folder say of certificates that does not go together."""
    takes_some = settings.client_certificate == "xfcc" or settings.tls_client != "off"
    if snapshot.authorities and not takes_some:
        log.warning("certificate_authorities are declared, and no caller is asked for a certificate: see --tls-client")
    if takes_some and not snapshot.authorities:
        log.warning("callers' certificates are taken, and no certificate_authorities are declared: each is refused")
    log.info("ready", extra={"bundle": snapshot.name, "policy": snapshot.policy_digest, "path": listen_at})


async def _serve(
    stack: contextlib.AsyncExitStack,
    gateway: Gateway,
    settings: Settings,
    tls: ListenerTls,
    inherited: Inherited | None,
) -> tuple[Listener, str]:
    """Take callers' connections, and return what does, and where; a worker waits to be told on which sockets."""
    listener = Listener(gateway.accept)
    stack.push_async_callback(gateway.drain, settings.drain_seconds)
    stack.push_async_callback(listener.stop)
    listen_at = ""
    if inherited is None:
        host, port = parse_endpoint(settings.listen, "--listen")
        with binding(settings.listen, "--listen"):
            listen_at = render_address(await listener.start(host, port, tls.context))
    tls.serve(listener)
    return listener, listen_at


async def _open_assertions(
    stack: contextlib.AsyncExitStack, snapshot: Snapshot, settings: Settings, inherited: Inherited | None
) -> HeldAssertionKeys:
    """Take the keys that sign for APIs; a worker leaves it to its supervisor to publish them."""
    assertions = HeldAssertionKeys(settings, seconds=settings.watch_seconds)
    assertions.check(snapshot.catalog.apis)
    if inherited is None:
        await serve_jwks(stack, assertions, settings)
    return assertions


def _all(*pokes: Callable[[], None]) -> Callable[[], None]:
    def call() -> None:
        for poke in pokes:
            poke()

    return call


async def _ask_issuers(
    stack: contextlib.AsyncExitStack, snapshot: Snapshot, settings: Settings, metrics: Metrics
) -> tuple[KeyStore, Introspector]:
    """Make what asks issuers, once their keys are there and our secrets can be read."""
    introspector = Introspector(snapshot.issuers, settings, metrics)
    stack.push_async_callback(introspector.close)
    introspector.check_secrets()
    keys = KeyStore(snapshot.issuers, settings.policies, settings, metrics)
    stack.push_async_callback(keys.close)
    await keys.fetch_all()
    return keys, introspector


def make_reloader(settings: Settings, seen: str, holder: Holder, metrics: Metrics) -> Reloader:
    """Return what watches the policy folder, whose fingerprint was taken before, for whoever holds what is in force."""
    return Reloader(
        settings.policies,
        tried=seen,
        upstreams=settings.upstream,
        origin=settings,
        registers_folder=settings.registers_folder,
        options=settings,
        metrics=metrics,
        in_force=lambda: holder.snapshot,
        adopt=holder.adopt,
        renew=holder.renew,
    )


async def _revisit(gateway: Gateway) -> None:
    """Decide anew, again and again, what began under a bundle that is no longer in force."""
    while True:
        await asyncio.sleep(REVISIT_SECONDS)
        try:
            await gateway.revisit()
        except Exception:  # one request's trouble must not end the round
            log.exception("requests under way could not be decided anew")


def _check_address_place(settings: Settings) -> None:
    """Refuse what would let clients write what only a proxy may: it passes their bytes on and does not read them."""
    if settings.client_address is not ClientAddress.PROXY_PROTOCOL:
        return
    if settings.client_certificate == FORWARDED:
        raise errors.UsageError(
            "A proxy that speaks the PROXY protocol passes on what clients write, X-Forwarded-Client-Cert too: with "
            "--client-certificate xfcc name another --client-address."
        )
    if settings.tls_certificate is not None:
        raise errors.UsageError(
            "A PROXY header stands before TLS, and the gateway would look for it inside, where clients can write it: "
            "with --tls-certificate name another --client-address, or let the proxy end TLS."
        )


def _check_addresses(settings: Settings) -> None:
    """Refuse one address for two listeners: the second one would be told that it is taken."""
    named = {
        "--listen": settings.listen,
        "--admin": settings.admin,
        "SEKISHO_ASSERTION_JWKS_LISTEN": settings.assertion_jwks_listen,
    }
    seen: dict[tuple[str, int], str] = {}
    for flag, endpoint in named.items():
        address = parse_endpoint(endpoint, flag) if endpoint is not None else ("", 0)
        if address[1] and address in seen:
            raise errors.UsageError(f"{seen[address]} and {flag} are both {endpoint}: give each an address of its own.")
        seen[address] = flag


def _check_settings(snapshot: Snapshot, settings: Settings) -> None:
    _check_addresses(settings)
    check_counts(snapshot, settings, settings.workers)
    check_health_paths(settings, snapshot.catalog.apis)
    _check_address_place(settings)
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


async def _accept(listener: Listener, tls: ListenerTls, sockets: Sequence[socket.socket]) -> None:
    await listener.take(sockets, tls.context)


def _watches(reloader: Reloader | None) -> list[Coroutine[None, None, None]]:
    return [] if reloader is None else [reloader.watch()]


def _judge(
    in_force: InForce, keys: KeyStore, renewal: Renewal, reloader: Reloader | None, gateway: Gateway
) -> Readiness:
    return judge_readiness(
        in_force.snapshot,
        in_force.geolocator,
        keys.sets,
        unix_seconds(),
        stale=reloader.stale if reloader else (),
        geolocation_stale=renewal.stale,
        pseudonym_doubts=in_force.pseudonyms.find_doubts(),
        assertion_doubts=in_force.assertions.find_doubts(),
        tls_doubts=in_force.find_tls_doubts(),
        stopping=gateway.is_stopping,
    )


async def _cancel(tasks: Sequence[asyncio.Future[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
