# SPDX-License-Identifier: Apache-2.0
"""A bundle in force: everything a request is judged by, immutable, with its two digests."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from proxy.bundle.cases import CaseEntry, Declared, FixtureEntry
from proxy.bundle.emergency import digest_with
from proxy.caller.authorities import Authority
from proxy.caller.clients import Clients
from proxy.caller.issuers import Issuer
from proxy.caller.people import People
from proxy.caller.register import Affiliates, ControlRule, Party
from proxy.caller.revocation import Revoked
from proxy.caller.speaking import Registers
from proxy.model.api import Route, Upstream
from proxy.model.source import Source
from proxy.origin.networks import Prefixes
from proxy.policy.attributes import Resource, Vocabulary
from proxy.policy.policy import Policy
from proxy.policy.rules import Rule
from proxy.request.catalog import Catalog
from proxy.subject.register import Lookup


class Review(msgspec.Struct, frozen=True, order=True):
    """Something that somebody has promised to look at again."""

    by: str
    """An ISO date."""
    what: str


class Snapshot(msgspec.Struct, frozen=True):
    """One loaded bundle."""

    name: str
    folder: Path
    base_digest: str
    """SHA-256 over what the security team decides: issuers, sets, control rules, proxies, APIs, rules, ties."""
    registers_digest: str
    """SHA-256 over the facts of the world: affiliates, people, networks, grants, revoked tokens, lookups."""
    observe_until: float | None
    """Seconds since 1970 until which nothing is blocked; None under ``mode: enforce``."""
    issuers: tuple[Issuer, ...]
    revoked: Revoked
    authorities: tuple[Authority, ...]
    """Over client certificates."""
    affiliates: Affiliates
    people: People
    clients: Clients
    parties: Sequence[Party]
    """What they were computed from, for those who draw it."""
    control_rules: tuple[ControlRule, ...]
    networks: Prefixes
    proxies: Prefixes
    catalog: Catalog
    lookups: Mapping[str, Lookup]
    """Who tells the countries of ids, by id."""
    resources: Mapping[str, Mapping[str | None, Resource]]
    """By route id, then by the country in which an upstream of its API is hosted."""
    policy: Policy
    vocabulary: Vocabulary
    cases: tuple[CaseEntry, ...]
    fixtures: Mapping[str, FixtureEntry]
    declared: Declared
    """The ids that cases can speak of."""
    notes: tuple[str, ...]
    """What ``check`` tells although it is no problem."""
    reviews: tuple[Review, ...]
    places: Mapping[str, str]
    """``register id`` to ``file:line``, for explain."""

    base_sources: tuple[Source, ...] = ()
    """The files of the folder that were read, but for emergency denies."""
    revision: str = ""
    """The git revision that was checked out when the folder was read; empty where there is none."""

    urgent: Mapping[str, Sequence[Rule]] = {}
    """The emergency denies in force, by the file they stand in."""
    urgent_files: Mapping[str, bytes] = {}
    """Path inside the folder to what stands there: files that hold just these emergency denies."""

    @property
    def sources(self) -> tuple[Source, ...]:
        """The files that it was made of: loaded again they are this bundle."""
        return (*self.base_sources, *(Source.of(path, data) for path, data in sorted(self.urgent_files.items())))

    @property
    def policy_digest(self) -> str:
        """The version of the policy in force, emergency denies included."""
        return digest_with(self.base_digest, self.urgent_rules)

    @property
    def digest(self) -> str:
        """The name of the bundle, 64 hexadecimal digits: SHA-256 over what both digests say, and that it is these."""
        content = f"sekisho bundle 1\n{self.policy_digest}\n{self.registers_digest}\n"
        return hashlib.sha256(content.encode()).hexdigest()

    def find_resource(self, route: Route, upstream: Upstream) -> Resource:
        """Return what a declared route is where an upstream of its API serves it."""
        return self.resources[route.id][upstream.hosted_in]

    @property
    def every_resource(self) -> Iterator[Resource]:
        """Every declared route, as each upstream of its API serves it."""
        return (resource for by_country in self.resources.values() for resource in by_country.values())

    @property
    def urgent_rules(self) -> list[Rule]:
        """The emergency denies in force."""
        return [rule for rules in self.urgent.values() for rule in rules]

    @property
    def registers(self) -> Registers:
        """What the bundle says of people and programs."""
        return Registers(self.affiliates, self.people, self.clients)

    def with_urgent(
        self, by_file: Mapping[str, Sequence[Rule]], files: Mapping[str, bytes] | None = None
    ) -> "Snapshot":
        """Return this snapshot with these emergency denies, in place of any that it has.

        Args:
            by_file: the rules, by the file they stand in.
            files: files that hold just these, by their paths inside the folder.
        """
        changed = msgspec.structs.replace(self, urgent=by_file, urgent_files=files or {})
        return msgspec.structs.replace(changed, policy=self.policy.with_urgent(changed.urgent_rules))

    def with_issuers(self, issuers: tuple[Issuer, ...]) -> "Snapshot":
        """Return this snapshot with these very issuers, which say the same as its own."""
        return msgspec.structs.replace(self, issuers=issuers)

    def observes(self, now: float) -> bool:
        """Say whether refusals are only observed at this moment."""
        return self.observe_until is not None and now < self.observe_until

    def overdue(self, today: str) -> tuple[Review, ...]:
        """Return the reviews whose date is past.

        Args:
            today: an ISO date.
        """
        return tuple(review for review in sorted(self.reviews) if review.by < today)
