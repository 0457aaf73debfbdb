# SPDX-License-Identifier: Apache-2.0
"""The only place where concrete parts meet: settings become a running gateway."""

import asyncio
import contextlib
import errno
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from functools import partial
from typing import Final

from aiohttp import web

from proxy import errors
from proxy.admin.app import make_admin
from proxy.admin.jwks import make_jwks
from proxy.assertion.held import HeldAssertionKeys
from proxy.bundle.check import load_bundle
from proxy.bundle.snapshot import Snapshot
from proxy.caller.introspection import Introspector
from proxy.caller.issuers import Issuer, parse_key_place
from proxy.caller.jwks import KeyStore
from proxy.clock import render_date, unix_seconds
from proxy.gateway.gateway import Gateway
from proxy.gateway.ticker import Ticker
from proxy.gateway.tls import Listener, ListenerTls
from proxy.gateway.upstream.tls import check_settings
from proxy.gateway.upstream.upstreams import Upstreams
from proxy.ledger.archive import Archive
from proxy.ledger.journal import Journal
from proxy.ledger.key_ring_watch import HeldKeyRing
from proxy.ledger.lines import Line
from proxy.ledger.opening import STANDARD_OUTPUT, open_ledger
from proxy.ledger.record import Recorder
from proxy.lifecycle.candidate import find_failed
from proxy.lifecycle.kept import keep_bundle
from proxy.lifecycle.reload import Reloader, refuse_failing
from proxy.lifecycle.reminder import remind
from proxy.lifecycle.standing import describe_bundle, describe_geolocation, describe_start, judge_readiness
from proxy.lifecycle.watch import take_fingerprint
from proxy.model.origin import ClientAddress
from proxy.model.ports import Geolocator
from proxy.model.problem import nearest
from proxy.model.readiness import Readiness
from proxy.origin.geoip import make_geolocator
from proxy.origin.renewal import Renewal, take_fingerprints
from proxy.pipeline.checkpoint import FORWARDED, Checkpoint
from proxy.running import Holder, Inherited, Prepared, Running
from proxy.settings import Settings, parse_endpoint
from proxy.telemetry import Metrics

REVISIT_SECONDS: Final = 1.0
"""How soon a request under way is decided anew after another bundle is put in force."""

log = logging.getLogger("sekisho")


class _InForce:
    """The one place that knows which bundle is in force.

    Args:
        snapshot: the bundle to begin with.
        pseudonyms: names people in records.
        assertions: tells APIs, signed, what was decided.
        ledger: takes the line that says what is put in force, before it is.
        archive: keeps what that line names, before it.
        tls: asks clients for certificates of the authorities in force.
        upstreams: connections to the APIs that are declared.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        *,
        pseudonyms: HeldKeyRing,
        assertions: HeldAssertionKeys,
        keys: KeyStore,
        introspector: Introspector,
        geolocator: Geolocator,
        settings: Settings,
        ledger: Journal,
        archive: Archive | None,
        metrics: Metrics,
        tls: ListenerTls,
        upstreams: Upstreams,
    ) -> None:
        self._tls = tls
        self._upstreams = upstreams
        self._settings = settings
        self.pseudonyms = pseudonyms
        self.assertions = assertions
        self._keys = keys
        self._introspector = introspector
        self.geolocator = geolocator
        self._ledger = ledger
        self._archive = archive
        self._metrics = metrics
        self.snapshot = snapshot
        self.checkpoint = self._make(snapshot)
        self.describe()

    def _make(self, snapshot: Snapshot) -> Checkpoint:
        geolocator = self.geolocator
        recorder = Recorder(self.pseudonyms.ring, snapshot.digest, geolocator.version, self._settings.ledger_callers)
        return Checkpoint(
            snapshot,
            self._keys,
            geolocator,
            recorder,
            introspections=self._introspector,
            client_certificate=self._settings.client_certificate,
            client_address=self._settings.client_address,
            assertions=self.assertions.make(snapshot.catalog.apis, snapshot.digest),
        )

    @property
    def _parts(self) -> tuple[object, ...]:
        """What a checkpoint is made of beside its snapshot, and that is changed without one."""
        return self.pseudonyms.ring, self.assertions.keys, self.geolocator

    async def adopt(self, snapshot: Snapshot) -> None:
        """Put a bundle in force, in one step, once it is kept, its keys are there and the ledger says so.

        Raises:
            SekishoError: it cannot be; then nothing has changed.
        """
        prepared = await self.prepare(snapshot)
        await prepared.commit()

    async def prepare(self, snapshot: Snapshot) -> Prepared:
        """Keep a bundle and have its keys there, so that its line in the ledger alone is left to fail.

        Raises:
            SekishoError: it cannot be put in force; then nothing has changed.
        """
        check_settings(self._settings, snapshot.catalog.apis)
        self.assertions.check(snapshot.catalog.apis)
        await keep_bundle(self._archive, snapshot)  # first: from the keys on there is but one step
        # Emergency denies leave the issuers as they are: a key file that went missing must not hold them up.
        is_same = snapshot.issuers is self.snapshot.issuers
        undo = _nothing if is_same else await self._adopt_issuers(snapshot.issuers)
        return Prepared(lambda: self._commit(snapshot, undo), undo)

    async def _commit(self, snapshot: Snapshot, undo: Callable[[], None]) -> None:
        try:
            self._upstreams.adopt(snapshot.catalog.apis)
            parts, checkpoint = self._parts, self._make(snapshot)
            await self._record(describe_bundle(snapshot))
            if self._parts != parts:  # they were changed while that was recorded
                checkpoint = self._make(snapshot)
        except BaseException:
            undo()
            raise
        self.snapshot, self.checkpoint = snapshot, checkpoint
        self.describe()
        await self._tls.adopt(_find_cas(snapshot))

    async def _adopt_issuers(self, issuers: tuple[Issuer, ...]) -> Callable[[], None]:
        take_back_keys = await self._keys.adopt(issuers)
        try:
            take_back_answers = self._introspector.adopt(issuers)
        except BaseException:
            take_back_keys()
            raise

        def undo() -> None:
            take_back_answers()
            take_back_keys()

        return undo

    async def _record(self, line: Line) -> None:
        waiting = self._ledger.append([line])
        if waiting is not None:
            await waiting

    def describe_in_force(self) -> list[Line]:
        """Return the lines that say what is in force; the built-in geolocation data are named in decisions alone."""
        geolocation = [describe_geolocation(self.geolocator)] if self.geolocator.databases else []
        return [describe_bundle(self.snapshot), *geolocation, self.pseudonyms.line()]

    def relocate(self, geolocator: Geolocator) -> None:
        """Put geolocation data in force, in one step, once the ledger says so; requests under way are decided anew.

        Raises:
            LedgerError: the ledger cannot be written; then nothing has changed.
        """
        self._ledger.append([describe_geolocation(geolocator)])
        self.geolocator = geolocator
        self.checkpoint = self._make(self.snapshot)
        self._metrics.show_geolocation(geolocator.databases, unix_seconds)

    def rename(self) -> None:
        """Name people by the keys in use, once the ledger says so.

        Raises:
            LedgerError: the ledger cannot be written; then nothing has changed.
        """
        self._ledger.append([self.pseudonyms.line()])
        self.checkpoint = self._make(self.snapshot)

    def resign(self) -> None:
        """Sign for APIs by the keys in use."""
        self.checkpoint = self._make(self.snapshot)

    async def renew(self) -> None:
        """Read the keys again that lie in the policy folder."""
        await self._keys.adopt(self.snapshot.issuers)

    def describe(self) -> None:
        """Say in metrics what is in force."""
        metrics, snapshot = self._metrics, self.snapshot
        metrics.bundle.clear()
        metrics.bundle.labels(snapshot.policy_digest, snapshot.registers_digest).set(1)
        metrics.bundle_since.set(unix_seconds())
        metrics.revocation_lists_until.clear()
        for authority in snapshot.authorities:
            ends = [each.until for ca in authority.cas for each in ca.lists]
            if ends:
                metrics.revocation_lists_until.labels(authority.id).set(min(ends))
        metrics.show_geolocation(self.geolocator.databases, unix_seconds)
        metrics.observing.set_function(lambda: float(snapshot.observes(unix_seconds())))
        metrics.observe_until.set(snapshot.observe_until or 0)
        metrics.reviews_overdue.set_function(lambda: float(len(snapshot.overdue(render_date(unix_seconds())))))
        metrics.grants_active.set_function(lambda: float(len(snapshot.policy.active_grants(unix_seconds()))))


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
    metrics = Metrics()
    pseudonyms = HeldKeyRing(settings.pseudonym_key, metrics, seconds=settings.watch_seconds)
    assertions = await _open_assertions(stack, snapshot, settings, inherited)
    ledger, archive = await _open_records(stack, snapshot, settings, metrics, inherited)
    keys, introspector = await _ask_issuers(stack, snapshot, settings, metrics)
    tls = await ListenerTls.start(settings, _find_cas(snapshot), metrics)
    ticker = Ticker()
    upstreams = Upstreams(settings, metrics, ticker)
    upstreams.adopt(snapshot.catalog.apis)
    stack.push_async_callback(upstreams.close)
    in_force = _InForce(
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
    )
    reloader = None if inherited else make_reloader(settings, seen, in_force, metrics)
    renewal = Renewal(settings, seen_databases, in_force.relocate, metrics, seconds=settings.watch_seconds)
    ledger.begin(in_force.describe_in_force, describe_start(snapshot, keys, geolocator, settings.ledger_durability))
    readiness = partial(_judge, in_force, keys, renewal, reloader)
    admin_at = "" if inherited else await serve_admin(stack, make_admin(lambda: metrics.registry, readiness), settings)
    listener, listen_at = await _serve(stack, gateway, settings, tls, inherited)
    watching = [keys.keep_fresh(), renewal.watch(), tls.watch(settings.watch_seconds), *_watches(reloader)]
    keeping = [
        ledger.keep(),
        pseudonyms.watch(in_force.rename),
        remind(lambda: in_force.snapshot),
        _revisit(gateway),
        ticker.run(),
        assertions.watch(in_force.resign),
    ]
    tasks = [asyncio.ensure_future(coroutine) for coroutine in (*watching, *keeping)]
    stack.push_async_callback(_cancel, tasks)
    if inherited is None:
        tell_ready(settings, snapshot, listen_at)
    pokes = [tls.poke, renewal.poke, pseudonyms.poke, assertions.poke, *([reloader.poke] if reloader else [])]
    take = partial(_accept, listener, tls)
    return Running(listen_at, admin_at, in_force, _all(*pokes), take, readiness, metrics)


def load_first(settings: Settings) -> tuple[str, Snapshot]:
    """Load the policy folder that a gateway begins with.

    Returns:
        The fingerprint of the folder, taken before, and what was loaded from it.

    Raises:
        BundleError: it does not load, or its own tests fail.
        UsageError: it does not go together with the settings.
    """
    seen = take_fingerprint(settings.policies)
    snapshot = load_bundle(settings.policies, settings.upstream, settings.registers_folder)
    refuse_failing(snapshot, find_failed(snapshot, make_geolocator(settings)))
    _check_settings(snapshot, settings)
    return seen, snapshot


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
    archive = None if inherited or settings.ledger == STANDARD_OUTPUT else Archive(settings.ledger)
    await keep_bundle(archive, snapshot)
    return ledger, archive


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
        with _binding(settings.listen, "--listen"):
            listen_at = _render_address(await listener.start(host, port, tls.context))
    tls.serve(listener)
    return listener, listen_at


@contextlib.contextmanager
def _binding(endpoint: str, flag: str) -> Iterator[None]:
    """Say what an address that cannot be bound is, and which flag names it."""
    try:
        yield
    except OSError as error:
        why = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be bound: {os.strerror(error.errno or 0)}"
        raise errors.UsageError(f"The address {endpoint} {why}: name another with {flag} HOST:PORT.") from error


def _render_address(bound: Sequence[object]) -> str:
    host, port, *_ = bound
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"


async def _open_assertions(
    stack: contextlib.AsyncExitStack, snapshot: Snapshot, settings: Settings, inherited: Inherited | None
) -> HeldAssertionKeys:
    """Take the keys that sign for APIs; a worker leaves it to its supervisor to publish them."""
    assertions = HeldAssertionKeys(settings, seconds=settings.watch_seconds)
    assertions.check(snapshot.catalog.apis)
    if inherited is None:
        await serve_jwks(stack, assertions, settings)
    return assertions


async def serve_jwks(stack: contextlib.AsyncExitStack, assertions: HeldAssertionKeys, settings: Settings) -> None:
    """Serve the public keys of assertions until the end of the stack, where that is asked for.

    Raises:
        UsageError: the address cannot be bound.
    """
    if settings.assertion_jwks_listen is not None:
        runner = web.AppRunner(make_jwks(assertions.publish), access_log=None, handle_signals=False)
        at = await _serve_app(stack, runner, settings.assertion_jwks_listen, "assertion_jwks_listen")
        log.info("public keys of assertions are served", extra={"path": at})


def _find_cas(snapshot: Snapshot) -> tuple[bytes, ...]:
    """Return the CA certificates of every authority over client certificates."""
    return tuple(dict.fromkeys(ca.der for authority in snapshot.authorities for ca in authority.cas))


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


def _nothing() -> None:
    """Take nothing back."""


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


def _check_settings(snapshot: Snapshot, settings: Settings) -> None:
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


async def serve_admin(stack: contextlib.AsyncExitStack, admin: web.Application, settings: Settings) -> str:
    """Serve operators until the end of the stack, and return the address where.

    Raises:
        UsageError: the address cannot be bound.
    """
    runner = web.AppRunner(admin, access_log=None, handle_signals=False)
    return await _serve_app(stack, runner, settings.admin, "--admin")


async def _serve_app(stack: contextlib.AsyncExitStack, runner: web.AppRunner, endpoint: str, flag: str) -> str:
    host, port = parse_endpoint(endpoint, flag)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    with _binding(endpoint, flag):
        await web.TCPSite(runner, host, port).start()
    return _render_address(runner.addresses[0])


async def _accept(listener: Listener, tls: ListenerTls, sockets: Sequence[socket.socket]) -> None:
    await listener.take(sockets, tls.context)


def _watches(reloader: Reloader | None) -> list[Coroutine[None, None, None]]:
    return [] if reloader is None else [reloader.watch()]


def _judge(in_force: _InForce, keys: KeyStore, renewal: Renewal, reloader: Reloader | None) -> Readiness:
    return judge_readiness(
        in_force.snapshot,
        in_force.geolocator,
        keys.sets,
        unix_seconds(),
        stale=reloader.stale if reloader else (),
        geolocation_stale=renewal.stale,
        pseudonym_doubts=in_force.pseudonyms.find_doubts(),
        assertion_doubts=in_force.assertions.find_doubts(),
    )


async def _cancel(tasks: Sequence[asyncio.Future[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
