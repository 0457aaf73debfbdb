# SPDX-License-Identifier: Apache-2.0
"""The lines that say in the ledger what a gateway started with, and what is in force."""

from proxy.bundle.snapshot import Snapshot
from proxy.caller.jwks import KeyStore
from proxy.clock import render_instant
from proxy.ledger.lines import BundleLine, StartLine
from proxy.ledger.record import render_place
from proxy.model.ports import Geolocator
from proxy.version import VERSION


def start_line(snapshot: Snapshot, keys: KeyStore, durability: str, geolocator: Geolocator) -> StartLine:
    """Return the first line of a gateway.

    Args:
        snapshot: the bundle that it starts with.
        keys: the issuers' key sets.
        durability: what a line must be before anything leaves: ``written`` or ``synced``.
        geolocator: asked for public addresses.
    """
    return StartLine(
        version=VERSION,
        durability=durability,
        geolocation=geolocator.build,
        upstreams={api.id: api.upstream.url for api in snapshot.catalog.apis},
        key_places={issuer.id: render_place(keys.place(issuer.id)) for issuer in snapshot.issuers},
    )


def bundle_line(snapshot: Snapshot) -> BundleLine:
    """Return the line that names a bundle which is put in force."""
    return BundleLine(
        bundle=snapshot.digest,
        name=snapshot.name,
        policy=snapshot.policy_digest,
        registers=snapshot.registers_digest,
        mode="enforce" if snapshot.observe_until is None else "observe",
        observe_until="" if snapshot.observe_until is None else render_instant(snapshot.observe_until),
        revision=snapshot.revision,
    )
