# SPDX-License-Identifier: Apache-2.0
"""What is in force, and how another bundle, other data or other keys take its place. This module does I/O."""

from collections.abc import Callable

from proxy.assertion.held import HeldAssertionKeys
from proxy.bundle.snapshot import Snapshot
from proxy.caller.introspection import Introspector
from proxy.caller.issuers import Issuer
from proxy.caller.jwks import KeyStore
from proxy.clock import render_date, unix_seconds
from proxy.gateway.tls import ListenerTls
from proxy.gateway.upstream.asking import check_health_paths
from proxy.gateway.upstream.tls import check_settings
from proxy.gateway.upstream.upstreams import Upstreams
from proxy.ledger.archive import Archive
from proxy.ledger.journal import Journal
from proxy.ledger.key_ring_watch import HeldKeyRing
from proxy.ledger.lines import Line
from proxy.ledger.record import Recorder
from proxy.lifecycle.kept import keep_bundle
from proxy.lifecycle.limits import check_counts
from proxy.lifecycle.standing import describe_bundle, describe_geolocation
from proxy.model.ports import Geolocator, Volume
from proxy.pipeline.checkpoint import Checkpoint
from proxy.policy.rules import Rule
from proxy.running import Prepared
from proxy.settings import Settings
from proxy.subject.directory import HeldDirectory
from proxy.telemetry import Metrics


class InForce:
    """The one place that knows which bundle is in force.

    Args:
        snapshot: the bundle to begin with.
        pseudonyms: names people in records.
        assertions: tells APIs, signed, what was decided.
        ledger: takes the line that says what is put in force, before it is.
        archive: keeps what that line names, before it.
        tls: asks clients for certificates of the authorities in force.
        upstreams: connections to the APIs that are declared.
        directory: tells the countries of data subjects.
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
        volume: Volume,
        directory: HeldDirectory,
    ) -> None:
        self._tls = tls
        self._upstreams = upstreams
        self._volume = volume
        self._directory = directory
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
            volume=self._volume,
            assertions=self.assertions.make(snapshot.catalog.apis, snapshot.digest),
            directory=self._directory,
            inspect=self._settings,
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
        check_health_paths(self._settings, snapshot.catalog.apis)
        check_counts(snapshot, self._settings, self._settings.workers)
        self.assertions.check(snapshot.catalog.apis)
        await keep_bundle(self._archive, snapshot)  # first: from the keys on there is but one step
        # Emergency denies leave the issuers as they are: a key file that went missing must not hold them up.
        is_same = snapshot.issuers is self.snapshot.issuers
        take_back = _nothing if is_same else await self._adopt_issuers(snapshot.issuers)
        is_told_the_same = snapshot.lookups is self.snapshot.lookups  # as with emergency denies
        try:
            take_back_lookups = _nothing if is_told_the_same else self._directory.adopt(snapshot.lookups)
        except BaseException:
            take_back()
            raise

        def undo() -> None:
            take_back_lookups()
            take_back()

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
        await self._tls.adopt(find_cas(snapshot))

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

    def find_tls_doubts(self) -> tuple[str, ...]:
        """Return why TLS files as they lie there are not in use, on either side."""
        return (*self._tls.find_doubts(unix_seconds()), *self._upstreams.find_tls_doubts())

    def describe(self) -> None:
        """Say in metrics what is in force."""
        metrics, snapshot = self._metrics, self.snapshot
        metrics.bundle.clear()
        metrics.bundle.labels(snapshot.policy_digest, snapshot.registers_digest).set(1)
        metrics.bundle_since.set(unix_seconds())
        metrics.rules.show([(each.id, each.effect, _mode_of(each)) for each in snapshot.policy.rules])
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


def find_cas(snapshot: Snapshot) -> tuple[bytes, ...]:
    """Return the CA certificates of every authority over client certificates."""
    return tuple(dict.fromkeys(ca.der for authority in snapshot.authorities for ca in authority.cas))


def _mode_of(rule: Rule) -> str:
    return "shadow" if rule.is_shadow else "enforce"


def _nothing() -> None:
    """Take nothing back."""
