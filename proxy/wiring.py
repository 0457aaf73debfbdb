# SPDX-License-Identifier: Apache-2.0
"""The only place where concrete parts meet: settings become a running gateway."""

import asyncio
import contextlib
import errno
import logging
import math
import os
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import msgspec
from aiohttp import web

from proxy import errors
from proxy.admin.app import make_admin
from proxy.bundle.check import load_bundle
from proxy.bundle.snapshot import Snapshot
from proxy.caller.introspection import Introspector
from proxy.caller.issuers import Issuer, parse_key_place
from proxy.caller.jwks import KeyStore
from proxy.clock import render_date, render_instant, unix_seconds
from proxy.gateway.crossing import Gateway
from proxy.gateway.server import GatewayServer
from proxy.gateway.tls import Listener, ListenerTls
from proxy.gateway.upstream import Upstreams
from proxy.ledger.archive import Archive
from proxy.ledger.journal import Journal
from proxy.ledger.key_ring_watch import HeldKeyRing
from proxy.ledger.lines import BundleLine, GeolocationLine, Line, StartLine
from proxy.ledger.opening import STANDARD_OUTPUT, open_ledger
from proxy.ledger.record import Recorder, geolocation_line, render_place
from proxy.lifecycle.candidate import find_failed
from proxy.lifecycle.kept import keep_bundle
from proxy.lifecycle.limits import check_counts
from proxy.lifecycle.reload import Reloader, refuse_failing
from proxy.lifecycle.watch import take_fingerprint
from proxy.model.origin import ClientAddress
from proxy.model.ports import Geolocator, Volume
from proxy.model.problem import nearest
from proxy.model.readiness import Readiness
from proxy.origin.geoip import make_geolocator
from proxy.origin.renewal import Renewal, take_fingerprints
from proxy.pipeline.checkpoint import FORWARDED, Checkpoint
from proxy.settings import Settings, parse_endpoint
from proxy.telemetry import Metrics
from proxy.version import VERSION
from proxy.volume.opening import open_counts

REVISIT_SECONDS: Final = 1.0
"""How soon a request under way is decided anew after another bundle is put in force."""
REMIND_SECONDS: Final = 3600
"""How often the log says again that nothing is blocked."""

log = logging.getLogger("sekisho")


class Running(msgspec.Struct, frozen=True):
    """A gateway that takes requests."""

    listen: str
    admin: str
    in_force: Callable[[], Snapshot]
    """Returns the bundle in force."""
    reload: Callable[[], None]
    """Tries the policy folder now, and reads the listener's certificate again."""


class _InForce:
    """The one place that knows which bundle is in force.

    Args:
        snapshot: the bundle to begin with.
        pseudonyms: names people in records.
        ledger: takes the line that says what is put in force, before it is.
        archive: keeps what that line names, before it.
        tls: asks clients for certificates of the authorities in force.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        *,
        pseudonyms: HeldKeyRing,
        keys: KeyStore,
        introspector: Introspector,
        geolocator: Geolocator,
        settings: Settings,
        ledger: Journal,
        archive: Archive | None,
        metrics: Metrics,
        tls: ListenerTls,
        volume: Volume,
    ) -> None:
        self._tls = tls
        self._volume = volume
        self._settings = settings
        self.pseudonyms = pseudonyms
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
            volume=self._volume,
        )

    @property
    def _parts(self) -> tuple[object, ...]:
        """What a checkpoint is made of beside its snapshot, and that is changed without one."""
        return self.pseudonyms.ring, self.geolocator

    async def adopt(self, snapshot: Snapshot) -> None:
        """Put a bundle in force, in one step, once it is kept, its keys are there and the ledger says so.

        Raises:
            SekishoError: it cannot be; then nothing has changed.
        """
        check_counts(snapshot, self._settings, workers=1)
        await keep_bundle(self._archive, snapshot)  # first: from the keys on there is but one step
        # Emergency denies leave the issuers as they are: a key file that went missing must not hold them up.
        is_same = snapshot.issuers is self.snapshot.issuers
        undo = _nothing if is_same else await self._adopt_issuers(snapshot.issuers)
        try:
            parts, checkpoint = self._parts, self._make(snapshot)
            await self._record(_bundle_line(snapshot))
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
        geolocation = [_geolocation_line(self.geolocator)] if self.geolocator.databases else []
        return [_bundle_line(self.snapshot), *geolocation, self.pseudonyms.line()]

    def relocate(self, geolocator: Geolocator) -> None:
        """Put geolocation data in force, in one step, once the ledger says so; requests under way are decided anew.

        Raises:
            LedgerError: the ledger cannot be written; then nothing has changed.
        """
        self._ledger.append([_geolocation_line(geolocator)])
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
async def run_gateway(settings: Settings) -> AsyncIterator[Running]:
    """Start a gateway, and stop it in order at the end.

    Raises:
        BundleError: the policy folder does not load, or its own tests fail.
        UsageError, KeySetError, ArchiveError: something it needs cannot be had; the message says how to mend it.
    """
    seen = take_fingerprint(settings.policies)
    snapshot = load_bundle(settings.policies, settings.upstream, settings.registers_folder)
    seen_databases = take_fingerprints(settings)
    geolocator = make_geolocator(settings)
    refuse_failing(snapshot, find_failed(snapshot, geolocator))
    _check_settings(snapshot, settings)
    metrics = Metrics()
    pseudonyms = HeldKeyRing(settings.pseudonym_key, metrics, seconds=settings.watch_seconds)
    async with contextlib.AsyncExitStack() as stack:
        ledger, archive = await _open_records(stack, snapshot, settings, metrics)
        keys, introspector = await _ask_issuers(snapshot, settings, metrics)
        tls = await ListenerTls.start(settings, _find_cas(snapshot), metrics)
        counting, upstreams = await open_counts(stack, settings, metrics), Upstreams(settings)
        stack.push_async_callback(upstreams.close)
        in_force = _InForce(
            snapshot,
            pseudonyms=pseudonyms,
            keys=keys,
            introspector=introspector,
            geolocator=geolocator,
            settings=settings,
            ledger=ledger,
            archive=archive,
            metrics=metrics,
            tls=tls,
            volume=counting.volume,
        )
        gateway = Gateway(
            checkpoint=lambda: in_force.checkpoint,
            keys=keys,
            introspector=introspector,
            ledger=ledger,
            upstreams=upstreams,
            metrics=metrics,
            options=settings,
            counts=counting.source,
        )
        reloader = _make_reloader(settings, seen, in_force, metrics)
        renewal = Renewal(settings, seen_databases, in_force.relocate, metrics, seconds=settings.watch_seconds)
        ledger.begin(in_force.describe_in_force, _start_line(snapshot, keys, settings, geolocator))
        admin = make_admin(metrics, lambda: _readiness(in_force, keys, renewal.stale, reloader.stale))
        _, admin_at = await _listen(stack, _make_runner(admin), settings.admin, "--admin")
        stack.push_async_callback(keys.close)
        stack.push_async_callback(introspector.close)
        listen_at = await _serve(stack, gateway, settings, tls)
        stack.callback(_begin_stop, gateway)
        watching = [keys.keep_fresh(), reloader.watch(), renewal.watch(), tls.watch(settings.watch_seconds)]
        keeping = [ledger.keep(), pseudonyms.watch(in_force.rename), _remind(in_force), _revisit(gateway)]
        stack.push_async_callback(_cancel, [asyncio.ensure_future(each) for each in (*watching, *keeping)])
        _tell_ready(settings, snapshot, listen_at)
        del snapshot  # one that is no longer in force must not be kept
        poke = _all(reloader.poke, tls.poke, renewal.poke, pseudonyms.poke)
        yield Running(listen_at, admin_at, lambda: in_force.snapshot, poke)


async def _open_records(
    stack: contextlib.AsyncExitStack, snapshot: Snapshot, settings: Settings, metrics: Metrics
) -> tuple[Journal, Archive | None]:
    """Open the ledger, and keep the bundle beside it before its folder has time to change."""
    ledger = open_ledger(settings, metrics)
    stack.push_async_callback(ledger.close)
    archive = None if settings.ledger == STANDARD_OUTPUT else Archive(settings.ledger)
    await keep_bundle(archive, snapshot)
    return ledger, archive


def _make_runner(app: web.Application) -> web.AppRunner:
    return web.AppRunner(app, access_log=None, handle_signals=False)


def _tell_ready(settings: Settings, snapshot: Snapshot, listen_at: str) -> None:
    """Log that callers are served, and what settings and folder say of certificates that does not go together."""
    takes_some = settings.client_certificate == "xfcc" or settings.tls_client != "off"
    if snapshot.authorities and not takes_some:
        log.warning("certificate_authorities are declared, and no caller is asked for a certificate: see --tls-client")
    if takes_some and not snapshot.authorities:
        log.warning("callers' certificates are taken, and no certificate_authorities are declared: each is refused")
    log.info("ready", extra={"bundle": snapshot.name, "policy": snapshot.policy_digest, "path": listen_at})


async def _serve(stack: contextlib.AsyncExitStack, gateway: Gateway, settings: Settings, tls: ListenerTls) -> str:
    """Take callers' connections, and return the address where."""
    server = web.ServerRunner(
        GatewayServer(gateway, settings, settings.client_address),
        handle_signals=False,
        shutdown_timeout=settings.drain_seconds / 2,
    )
    listener, listen_at = await _listen(stack, server, settings.listen, "--listen", tls.context)
    tls.serve(listener)
    return listen_at


def _find_cas(snapshot: Snapshot) -> tuple[bytes, ...]:
    """Return the CA certificates of every authority over client certificates."""
    return tuple(dict.fromkeys(ca.der for authority in snapshot.authorities for ca in authority.cas))


def _all(*pokes: Callable[[], None]) -> Callable[[], None]:
    def call() -> None:
        for poke in pokes:
            poke()

    return call


async def _ask_issuers(snapshot: Snapshot, settings: Settings, metrics: Metrics) -> tuple[KeyStore, Introspector]:
    """Make what asks issuers, once their keys are there and our secrets can be read."""
    introspector = Introspector(snapshot.issuers, settings, metrics)
    introspector.check_secrets()
    keys = KeyStore(snapshot.issuers, settings.policies, settings, metrics)
    await keys.fetch_all()
    return keys, introspector


def _nothing() -> None:
    """Take nothing back."""


def _make_reloader(settings: Settings, seen: str, in_force: _InForce, metrics: Metrics) -> Reloader:
    return Reloader(
        settings.policies,
        tried=seen,
        upstreams=settings.upstream,
        origin=settings,
        registers_folder=settings.registers_folder,
        options=settings,
        metrics=metrics,
        in_force=lambda: in_force.snapshot,
        adopt=in_force.adopt,
        renew=in_force.renew,
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
    check_counts(snapshot, settings, workers=1)
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


async def _listen(
    stack: contextlib.AsyncExitStack,
    runner: web.BaseRunner,
    endpoint: str,
    flag: str,
    context: ssl.SSLContext | None = None,
) -> tuple[Listener, str]:
    """Bind a runner to HOST:PORT and return what listens there, and the address it got."""
    host, port = parse_endpoint(endpoint, flag)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    listener = Listener(runner)
    stack.callback(listener.close)
    try:
        bound = await listener.start(host, port, context)
    except OSError as error:
        why = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be bound: {os.strerror(error.errno or 0)}"
        raise errors.UsageError(f"The address {endpoint} {why}: name another with {flag} HOST:PORT.") from error
    return listener, f"[{bound[0]}]:{bound[1]}" if ":" in bound[0] else f"{bound[0]}:{bound[1]}"


def _begin_stop(gateway: Gateway) -> None:
    gateway.is_stopping = True


async def _cancel(tasks: Sequence[asyncio.Future[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _remind(in_force: _InForce) -> None:
    """Say again and again that nothing is blocked, and say when that has ended."""
    reminded = math.inf  # seconds of the wall clock, while observing
    while True:
        snapshot, now = in_force.snapshot, unix_seconds()
        if snapshot.observe_until is not None and snapshot.observes(now):
            if not 0 <= now - reminded < REMIND_SECONDS:
                until = render_instant(snapshot.observe_until)
                log.warning("observe mode: NOTHING IS BLOCKED, refusals are only recorded", extra={"until": until})
                reminded = now
        elif reminded != math.inf:
            log.warning("observe mode has ended: refusals are enforced")
            reminded = math.inf
        await asyncio.sleep(REVISIT_SECONDS)


def _geolocation_line(geolocator: Geolocator) -> GeolocationLine:
    return geolocation_line(geolocator.version, geolocator.databases)


def _start_line(snapshot: Snapshot, keys: KeyStore, settings: Settings, geolocator: Geolocator) -> StartLine:
    return StartLine(
        version=VERSION,
        durability=settings.ledger_durability,
        geolocation=geolocator.build,
        upstreams={api.id: api.upstream.url for api in snapshot.catalog.apis},
        key_places={issuer.id: render_place(keys.place(issuer.id)) for issuer in snapshot.issuers},
    )


def _bundle_line(snapshot: Snapshot) -> BundleLine:
    return BundleLine(
        bundle=snapshot.digest,
        name=snapshot.name,
        policy=snapshot.policy_digest,
        registers=snapshot.registers_digest,
        mode="enforce" if snapshot.observe_until is None else "observe",
        observe_until="" if snapshot.observe_until is None else render_instant(snapshot.observe_until),
        revision=snapshot.revision,
    )


def _readiness(
    in_force: _InForce, keys: KeyStore, geolocation_stale: tuple[str, ...], stale: tuple[str, ...]
) -> Readiness:
    now = unix_seconds()
    snapshot, geolocator = in_force.snapshot, in_force.geolocator
    expired = tuple(
        f"the {each.use} database, built {render_instant(each.built)}, is too old to be believed"
        for each in geolocator.databases
        if not each.holds(now)
    )
    missing = tuple(issuer.id for issuer in snapshot.issuers if issuer.id not in keys.sets)
    return Readiness(
        ready=len(missing) < len(snapshot.issuers),
        bundle=snapshot.name,
        policy=snapshot.policy_digest,
        registers=snapshot.registers_digest,
        mode="observe" if snapshot.observes(now) else "enforce",
        observe_until=None if snapshot.observe_until is None else render_instant(snapshot.observe_until),
        issuers_without_keys=missing,
        geolocation=geolocator.build,
        geolocation_doubts=(*expired, *geolocation_stale),
        emergency_denies=tuple(sorted(rule.id for rule in snapshot.urgent_rules)),
        stale=stale,
        pseudonym_doubts=in_force.pseudonyms.find_doubts(),
    )
