# SPDX-License-Identifier: Apache-2.0
"""A bundle in force: everything a request is judged by, immutable, with its two digests."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from proxy.bundle.cases import CaseEntry
from proxy.caller.affiliates import Affiliates
from proxy.caller.issuers import Issuer
from proxy.origin.networks import Prefixes
from proxy.policy.attributes import Resource, Vocabulary
from proxy.policy.rules import Policy
from proxy.request.catalog import Catalog


class Snapshot(msgspec.Struct, frozen=True):
    """One loaded bundle."""

    name: str
    folder: Path
    policy_digest: str
    """SHA-256 over what the security team decides: issuers, sets, control rules, proxies, APIs, rules, ties."""
    registers_digest: str
    """SHA-256 over the facts of the world: affiliates, networks."""
    observe_until: float | None
    """Seconds since 1970 until which nothing is blocked; None under ``mode: enforce``."""
    issuers: tuple[Issuer, ...]
    affiliates: Affiliates
    networks: Prefixes
    proxies: Prefixes
    catalog: Catalog
    resources: Mapping[str, Resource]
    """By route id."""
    policy: Policy
    vocabulary: Vocabulary
    cases: tuple[CaseEntry, ...]
    notes: tuple[str, ...]
    """What ``check`` tells although it is no problem."""

    def observes(self, now: float) -> bool:
        """Say whether refusals are only observed at this moment."""
        return self.observe_until is not None and now < self.observe_until
