# SPDX-License-Identifier: Apache-2.0
"""What is in force, as lines of the ledger and the detail of ``/readyz`` say it."""

from collections.abc import Collection

from proxy.bundle.snapshot import Snapshot
from proxy.caller.jwks import KeyStore
from proxy.clock import render_instant
from proxy.ledger.lines import BundleLine, GeolocationLine, StartLine
from proxy.ledger.options import LedgerOptions
from proxy.ledger.record import geolocation_line, render_place
from proxy.model.ports import Geolocator
from proxy.model.readiness import Readiness
from proxy.version import VERSION


def describe_start(snapshot: Snapshot, keys: KeyStore, geolocator: Geolocator, options: LedgerOptions) -> StartLine:
    """Return the line of a gateway that begins to take requests."""
    return StartLine(
        version=VERSION,
        durability=options.ledger_durability,
        replica=options.replica or "",
        geolocation=geolocator.build,
        upstreams={name: place.url for api in snapshot.catalog.apis for name, place in api.named_places},
        key_places={issuer.id: render_place(keys.place(issuer.id)) for issuer in snapshot.issuers},
    )


def describe_bundle(snapshot: Snapshot) -> BundleLine:
    """Return the line of a bundle that is put in force."""
    return BundleLine(
        bundle=snapshot.digest,
        name=snapshot.name,
        policy=snapshot.policy_digest,
        registers=snapshot.registers_digest,
        mode="enforce" if snapshot.observe_until is None else "observe",
        observe_until="" if snapshot.observe_until is None else render_instant(snapshot.observe_until),
        revision=snapshot.revision,
    )


def describe_geolocation(geolocator: Geolocator) -> GeolocationLine:
    """Return the line of geolocation data that are put in force."""
    return geolocation_line(geolocator.version, geolocator.databases)


def judge_readiness(
    snapshot: Snapshot,
    geolocator: Geolocator,
    issuers_with_keys: Collection[str],
    now: float,
    *,
    stale: tuple[str, ...],
    geolocation_stale: tuple[str, ...],
    pseudonym_doubts: tuple[str, ...],
    assertion_doubts: tuple[str, ...] = (),
    tls_doubts: tuple[str, ...] = (),
    stopping: bool = False,
) -> Readiness:
    """Return whether a gateway can decide, and what should be known of it.

    Args:
        snapshot: the bundle in force.
        geolocator: the data in force.
        issuers_with_keys: those whose keys are trusted now.
        now: seconds since 1970.
        stale: why the policy folder as it lies there is not in force.
        geolocation_stale: why databases as they lie there are not.
        pseudonym_doubts: what is wrong with the keys of pseudonyms.
        assertion_doubts: what is wrong with the keys of assertions.
        tls_doubts: what is wrong with certificates and keys of either side.
        stopping: whether it takes no more callers.
    """
    expired = tuple(
        f"the {each.use} database, built {render_instant(each.built)}, is too old to be believed"
        for each in geolocator.databases
        if not each.holds(now)
    )
    missing = tuple(issuer.id for issuer in snapshot.issuers if issuer.id not in issuers_with_keys)
    return Readiness(
        ready=len(missing) < len(snapshot.issuers) and not stopping,
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
        pseudonym_doubts=pseudonym_doubts,
        assertion_doubts=assertion_doubts,
        tls_doubts=tls_doubts,
        stopping=stopping,
    )
