# SPDX-License-Identifier: Apache-2.0
"""Loads a policy folder: every register by its schema, then across registers, then compiled.

All problems of the whole folder are told at once. Later stages need what earlier ones made, so each stage runs on
what is sound and the folder loads only if nothing is wrong anywhere.
"""

import contextlib
import gc
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any

import msgspec

from proxy.bundle.apis import ApiEntry, check_apis, check_token_fields, compile_apis
from proxy.bundle.cases import (
    DEFAULT,
    CaseEntry,
    Declared,
    FixtureEntry,
    check_cases,
    check_fixtures,
    resolve_case,
)
from proxy.bundle.emergency import Urgent, compile_urgent, read_emergency
from proxy.bundle.gather import Anything, Item, Loaded, Registers
from proxy.bundle.large import LargePeople
from proxy.bundle.large_affiliates import LargeAffiliates
from proxy.bundle.large_lookups import LargeLookups
from proxy.bundle.manifest import FACT_REGISTERS, POLICY_REGISTERS, REGISTERS, Manifest
from proxy.bundle.notes import find_identity_notes, find_notes, find_registered, find_reviews
from proxy.bundle.places import check_names, parse_urls
from proxy.bundle.read import parse_document
from proxy.bundle.revision import read_revision
from proxy.bundle.route_notes import find_route_notes
from proxy.bundle.schema import validate
from proxy.bundle.snapshot import Snapshot
from proxy.bundle.token_fields import check_token_places, find_token_fields
from proxy.bundle.vocabulary import find_vouchers, make_vocabulary
from proxy.caller.affiliates import (
    AffiliateEntry,
    ControlRuleEntry,
    compile_control_rule,
)
from proxy.caller.authorities import Authority, AuthorityEntry, check_authorities, compile_authorities, find_files
from proxy.caller.clients import ClientEntry, check_clients, check_namesakes, compile_clients
from proxy.caller.issuers import IssuerEntry, check_issuers, compile_issuer
from proxy.caller.people import People, PersonEntry
from proxy.caller.register import ControlRule
from proxy.caller.revocation import RevokedEntry, check_revoked, compile_revoked
from proxy.clock import unix_seconds
from proxy.errors import BundleError
from proxy.model.address import parse_block
from proxy.model.caller import TieKind
from proxy.model.decision import Effect, Reason
from proxy.model.problem import Problem, nearest
from proxy.model.request import Target
from proxy.origin.networks import (
    NetworkEntry,
    check_networks,
    check_proxies,
    compile_networks,
    compile_proxies,
)
from proxy.policy.attributes import Domain, Resource, Vocabulary
from proxy.policy.compile import compile_grant, compile_invariant, compile_purpose, compile_rule
from proxy.policy.policy import Policy
from proxy.policy.rules import (
    EMERGENCY,
    Grant,
    GrantEntry,
    InvariantEntry,
    Purpose,
    PurposeEntry,
    Rule,
    RuleEntry,
)
from proxy.request.catalog import Catalog, NoMatch
from proxy.request.target import parse_target
from proxy.subject.lookups import LookupEntry


def load_bundle(
    folder: FilePath,
    upstreams: Mapping[str, str] | None = None,
    registers_folder: FilePath | None = None,
    *,
    now: float | None = None,
) -> Snapshot:
    """Load a policy folder.

    Args:
        folder: the folder that holds the manifest.
        upstreams: API id, or ``API/COUNTRY``, to the URL where this deployment finds it, in place of the bundle's.
            Where a thing is served is no policy: digests do not change with it.
        registers_folder: where large registers become files; None: the default.
        now: the instant whose registers it is loaded with, besides those that follow; None: this one.

    Raises:
        BundleError: with every problem of the whole folder.
        UsageError: ``upstreams`` names an API that the bundle does not declare, or what is no URL; or large
            registers cannot be written where they should be.
    """
    revision = read_revision(folder)
    registers = Registers(folder)
    with _without_collector():
        manifest = registers.gather()
        moment = unix_seconds() if now is None else now
        checker = _Checker(registers, upstreams or {}, read_emergency(folder), registers_folder, moment)
        snapshot = checker.assemble(manifest) if manifest is not None else None
    if snapshot is None:
        raise BundleError([str(problem) for problem in sorted(set(registers.problems))])
    return msgspec.structs.replace(snapshot, base_sources=registers.sources, revision=revision)


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """Load without collections: values of YAML hold no circles, and going through all of them again costs half."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def load_case(data: bytes, name: str, snapshot: Snapshot) -> CaseEntry:
    """Read one test case that stands in no bundle: a mapping with ``given``, and perhaps ``name`` and ``expect``.

    Raises:
        BundleError: with everything that is wrong with it.
    """
    document, problems = parse_document(data, name)
    if document is None:
        raise BundleError([str(problem) for problem in problems])
    value = document.value
    if isinstance(value, dict):
        value = {"name": f"the case in {name}", "expect": {"effect": "deny"}, **value}
    entry = validate(CaseEntry, value)
    found = entry if isinstance(entry, list) else [
        Problem(problem.path[1:], problem.message, problem.at_key)
        for problem in check_cases([resolve_case(entry, snapshot.fixtures)], snapshot.declared)
    ]  # fmt: skip
    if isinstance(entry, list) or found:
        places = [(document.locate(problem.path, at_key=problem.at_key), problem) for problem in found]
        raise BundleError([f"{name}:{line}:{column}: {problem.message}" for (line, column), problem in places])
    return resolve_case(entry, snapshot.fixtures)


class _Checker:
    """Checks registers by their schemas and against one another, and puts a snapshot together."""

    def __init__(
        self,
        registers: Registers,
        upstreams: Mapping[str, str],
        urgent: Urgent,
        registers_folder: FilePath | None,
        now: float,
    ) -> None:
        self.urgent = urgent
        self.registers_folder = registers_folder
        self.now = now
        self.registers = registers
        self.folder = registers.folder
        self.upstreams = upstreams

    def _take_proxies(self) -> Loaded:
        blocks, items = [], []
        for item in self.registers.raw["trusted_proxies"]:
            try:
                blocks.append(parse_block(item.value if isinstance(item.value, str) else ""))
                items.append(item)
            except ValueError as error:
                self.registers.fail(item.document, Problem(item.path, str(error)))
        return Loaded(tuple(blocks), tuple(items))

    def assemble(self, manifest: Manifest) -> Snapshot | None:
        registers = self.registers
        large = self._check_affiliates()
        controls = registers.take("control_rules", ControlRuleEntry)
        issuers, clients, revoked = self._take_vouchers()
        trusted, roots, lists = self._take_authorities()
        networks, proxies = self._take_networks()
        people = self._check_people()
        apis, lookups = self._take_apis(issuers), self._check_lookups()
        self._refuse_empty(manifest)
        vocabulary = make_vocabulary(registers, issuers, apis, controls)
        rules_of_control = self._compile_controls(controls, vocabulary)
        rules = registers.take("rules", RuleEntry)
        policy = self._compile_policy(rules, vocabulary)
        by_file, problems = compile_urgent(self.urgent, vocabulary)
        registers.problems += problems
        cases, fixtures, declared = self._take_cases(vocabulary)
        keys = self._read_key_files(issuers)
        if registers.problems:
            return None
        catalog = self._make_catalog(apis)
        counted = frozenset(map(TieKind, manifest.ties))
        made = large.make(rules_of_control, counted, self.now, _times(cases))
        vocabulary, declared = made.settle(vocabulary, declared)
        judging = Policy(*policy)
        notes = (*find_route_notes(catalog.routes, judging.masks), *made.notes, *lookups.notes)
        snapshot = Snapshot(
            people=self._make_people(people, clients),
            name=manifest.bundle,
            folder=self.folder,
            base_digest=registers.digest(POLICY_REGISTERS, {**_scope(manifest), "keys": {**keys, **roots}}),
            registers_digest=registers.digest(FACT_REGISTERS, lists),
            observe_until=manifest.observe_until.timestamp() if manifest.observe_until else None,
            issuers=tuple(compile_issuer(entry) for entry in issuers.entries),
            revoked=compile_revoked(revoked.entries),
            authorities=trusted,
            clients=compile_clients(clients.entries),
            affiliates=made.affiliates,
            parties=made.parties,
            control_rules=tuple(rules_of_control),
            networks=compile_networks(networks.entries),
            proxies=compile_proxies(proxies.entries),
            lookups=lookups.make(),
            catalog=catalog,
            resources={route.id: Resource.at_places(route) for route in catalog.routes},
            policy=judging,
            vocabulary=vocabulary,
            cases=cases.entries,
            fixtures=fixtures,
            declared=declared,
            notes=(*self._find_notes(vocabulary, apis, rules, (issuers, clients), trusted), *notes),
            reviews=find_reviews(apis.entries, rules.entries, clients.entries),
            places=made.places(self._places()),
        )
        self._check_routes_of_cases(cases, snapshot.catalog)
        return None if registers.problems else snapshot.with_urgent(by_file, self.urgent.files)

    def _make_catalog(self, apis: Loaded) -> Catalog:
        catalog = Catalog(*compile_apis(apis.entries, parse_urls(self.upstreams)))
        check_names(self.upstreams, catalog.apis)
        return catalog

    def _find_notes(
        self, vocabulary: Vocabulary, apis: Loaded, rules: Loaded, known: tuple[Loaded, Loaded], trusted: Any
    ) -> tuple[str, ...]:
        issuers, clients = known
        raw = self.registers.raw
        has_people = bool(raw["people"] or self.registers.tables["people"])
        registered = find_registered(
            has_people=has_people,
            has_clients=bool(raw["clients"]),
            has_authorities=bool(raw["certificate_authorities"]),
        )
        return (
            *find_notes(apis.entries, rules.entries, issuers.entries, vocabulary, registered),
            *find_identity_notes(issuers.entries, clients.entries, trusted, has_people=has_people),
        )

    def _take_networks(self) -> tuple[Loaded, Loaded]:
        registers = self.registers
        networks, proxies = registers.take("networks", NetworkEntry), self._take_proxies()
        registers.report(networks, check_networks(networks.entries, registers.declared_ids("networks")))
        registers.report(proxies, check_proxies(proxies.entries, networks.entries))
        return networks, proxies

    def _take_vouchers(self) -> tuple[Loaded, Loaded, Loaded]:
        """Return the issuers, the programs that they name, and what is revoked of theirs."""
        registers = self.registers
        issuers = registers.take("issuers", IssuerEntry)
        clients = registers.take("clients", ClientEntry)
        revoked = registers.take("revoked", RevokedEntry)
        affiliate_ids = registers.declared_ids("affiliates")
        registers.report(issuers, check_issuers(issuers.entries, affiliate_ids))
        registers.report(issuers, check_token_places(issuers.entries))
        registers.report(clients, check_clients(clients.entries, find_vouchers(registers), affiliate_ids))
        registers.report(revoked, check_revoked(revoked.entries, registers.declared_ids("issuers")))
        return issuers, clients, revoked

    def _take_apis(self, issuers: Loaded) -> Loaded:
        apis = self.registers.take("apis", ApiEntry)
        self.registers.report(apis, check_apis(apis.entries))
        self.registers.report(apis, check_token_fields(apis.entries, find_token_fields(issuers.entries)))
        return apis

    def _check_affiliates(self) -> LargeAffiliates:
        entries = self.registers.take("affiliates", AffiliateEntry)
        affiliates = LargeAffiliates(self.registers, entries, self.registers_folder)
        affiliates.check()
        return affiliates

    def _check_people(self) -> LargePeople:
        registers = self.registers
        entries = registers.take("people", PersonEntry)
        ids = registers.declared_ids("issuers"), registers.declared_ids("affiliates")
        people = LargePeople(registers, entries, *ids, self.registers_folder)
        people.check()
        return people

    def _check_lookups(self) -> LargeLookups:
        lookups = LargeLookups(self.registers, self.registers.take("lookups", LookupEntry), self.registers_folder)
        lookups.check()
        return lookups

    def _make_people(self, people: LargePeople, clients: Loaded) -> People:
        made = people.make()
        self.registers.report(clients, check_namesakes(clients.entries, made))
        return made

    def _places(self) -> dict[str, str]:
        return {
            f"{register} {item.qualify(str(item.value['id']))}": item.place
            for register in (
                "affiliates",
                "networks",
                "lookups",
                "issuers",
                "clients",
                "certificate_authorities",
                "rules",
                "invariants",
                "grants",
                "purposes",
            )
            for item in self.registers.raw[register]
        }

    def _take_cases(self, vocabulary: Vocabulary) -> tuple[Loaded, dict[str, FixtureEntry], Declared]:
        """Return the tests with their fixtures written out, and those of packs under their namespace."""
        registers = self.registers
        fixtures = registers.take("fixtures", FixtureEntry)
        taken = registers.take("tests", CaseEntry)
        cases = Loaded(
            tuple(map(_qualify_case, taken.entries, taken.items)),
            taken.items,
        )
        ids = {name: registers.declared_ids(name) for name in REGISTERS if name not in {"country_sets", "tests"}}
        declared = Declared(
            rules=Anything() if registers.incomplete & {"rules", "invariants"} else ids["rules"] | ids["invariants"],
            issuers=find_vouchers(registers),
            affiliates=ids["affiliates"],
            networks=ids["networks"],
            purposes=ids["purposes"],
            grants=ids["grants"],
            fixtures=ids["fixtures"],
            claims=vocabulary.claims,
        )
        registers.report(fixtures, check_fixtures(fixtures.entries, declared))
        registers.report(cases, check_cases(cases.entries, declared))
        by_id = {entry.id: entry for entry in fixtures.entries}
        resolved = tuple(resolve_case(entry, by_id) for entry in cases.entries)
        return Loaded(resolved, cases.items), by_id, declared

    def _compile_policy(self, rules: Loaded, vocabulary: Vocabulary) -> tuple[list[Rule], list[Grant], list[Purpose]]:
        registers = self.registers
        invariants = registers.take("invariants", InvariantEntry)
        grants = registers.take("grants", GrantEntry)
        purposes = registers.take("purposes", PurposeEntry)
        taken = {entry.id for entry in rules.entries}
        repeated = [
            Problem((index, "id"), f"the id {entry.id!r} is a rule's, too")
            for index, entry in enumerate(invariants.entries)
            if entry.id in taken
        ]
        repeated += [
            Problem((index, "id"), f"ids that begin with {EMERGENCY!r} are of the folder of emergency denies")
            for index, entry in enumerate(invariants.entries)
            if entry.id.partition(".")[0] == EMERGENCY
        ]
        registers.report(invariants, repeated)
        by_id = {entry.id: entry for entry in rules.entries}
        opening = [
            Problem((index, "effect"), "a pack can only take away: it may not hold an allow rule")
            for index, (entry, item) in enumerate(zip(rules.entries, rules.items, strict=True))
            if item.namespace and entry.effect is Effect.ALLOW
        ]
        registers.report(rules, opening)
        compiled = [
            *self._compile(rules, compile_rule, vocabulary),
            *self._compile(invariants, compile_invariant, vocabulary),
        ]
        return (
            compiled,
            self._compile(grants, lambda entry, inside: compile_grant(entry, inside, by_id), vocabulary),
            self._compile(purposes, compile_purpose, vocabulary),
        )

    def _compile_controls(self, controls: Loaded, vocabulary: Vocabulary) -> list[ControlRule]:
        ids = vocabulary.ids[Domain.AFFILIATES]
        return self._compile(
            controls,
            lambda entry, inside: compile_control_rule(entry, inside.find_set, inside.set_names(), ids),
            vocabulary,
        )

    def _compile(
        self, loaded: Loaded, compile_entry: Callable[[Any, Vocabulary], Any], vocabulary: Vocabulary
    ) -> list[Any]:
        """Compile the entries of a register, each with the vocabulary of where it stands."""
        compiled = []
        inside = {item.namespace for item in loaded.items}
        of = {namespace: msgspec.structs.replace(vocabulary, namespace=namespace) for namespace in inside}
        for index, (entry, item) in enumerate(zip(loaded.entries, loaded.items, strict=True)):
            found = compile_entry(entry, of[item.namespace])
            if isinstance(found, list):
                self.registers.report(loaded, [problem.under(index) for problem in found])
            else:
                compiled.append(found)
        return compiled

    def _read_key_files(self, issuers: Loaded) -> dict[str, str]:
        """Return the digest of every file of keys: who can sign is policy, too."""
        digests = {}
        for index, entry in enumerate(issuers.entries):
            if entry.jwks is None or not entry.jwks.startswith("file:"):
                continue
            name = entry.jwks.removeprefix("file:")
            read = self.registers.read_file(name)
            if read is None:
                self.registers.report(issuers, [Problem((index, "jwks"), self.registers.refuse_file(name))])
            else:
                digests[name] = read[1]
        return digests

    def _take_authorities(self) -> tuple[tuple[Authority, ...], dict[str, str], dict[str, str]]:
        """Return the authorities over certificates, and the digests of their CA files and of their revocation lists."""
        registers = self.registers
        loaded = registers.take("certificate_authorities", AuthorityEntry)
        affiliates, issuers = registers.declared_ids("affiliates"), registers.declared_ids("issuers")
        registers.report(loaded, check_authorities(loaded.entries, affiliates, issuers))
        files: dict[str, bytes] = {}
        read: dict[str, tuple[bytes, str] | None] = {}
        digests: dict[str, dict[str, str]] = {"ca": {}, "crl": {}}
        for index, entry in enumerate(loaded.entries):
            for path, name in find_files(entry):
                if name not in read:
                    read[name] = registers.read_file(name)
                found = read[name]
                if found is None:
                    registers.report(loaded, [Problem((index, *path), registers.refuse_file(name))])
                else:
                    files[name], digests[str(path[0])][name] = found
        authorities, problems = compile_authorities(loaded.entries, files)
        registers.report(loaded, problems)
        return authorities, digests["ca"], digests["crl"]

    def _check_routes_of_cases(self, cases: Loaded, catalog: Catalog) -> None:
        """Report tests of targets that nobody declared, unless that is what they expect: they would ask no rule."""
        for index, case in enumerate(cases.entries):
            given = case.given
            method, _, target = given.request.partition(" ")
            api = catalog.find_api(given.host)
            if api is None:
                known = [host for each in catalog.apis for host in each.hosts]
                message = f"no API has the host {given.host!r}{nearest(given.host or '', known)}"
                self.registers.report(cases, [Problem((index, "given", "host"), message)])
            elif case.expect.reason not in {Reason.ROUTE_UNDECLARED, Reason.METHOD_UNDECLARED}:
                parsed = parse_target(target)
                if isinstance(parsed, Target) and isinstance(catalog.match(api, method, parsed.segments), NoMatch):
                    message = "no route is declared for this: mend it, or expect reason: route-undeclared"
                    self.registers.report(cases, [Problem((index, "given", "request"), message)])

    def _refuse_empty(self, manifest: Manifest) -> None:
        document = self.registers.manifest_document
        counting = [item.value for item in self.registers.raw["control_rules"] if isinstance(item.value, dict)]
        if TieKind.CONTROL in manifest.ties and all(rule.get("default", "false") == "false" for rule in counting):
            message = "ties by control count only by a control rule with `default: true`: declare one, or leave it out"
            if document is not None and "control_rules" not in self.registers.incomplete:
                self.registers.fail(document, Problem(("ties", manifest.ties.index(TieKind.CONTROL)), message))
        for register in ("issuers", "affiliates", "apis", "rules"):
            if self._is_empty(register) and document is not None and register not in self.registers.incomplete:
                listed = [file for file, registers in manifest.files.items() if register in registers]
                where = f"{listed[0]} holds none" if listed else "no file is listed for them"
                self.registers.fail(document, Problem(("files",), f"a bundle needs {register}: {where}", at_key=True))

    def _is_empty(self, register: str) -> bool:
        return not self.registers.raw[register] and not self.registers.tables.get(register)


def _times(cases: Loaded) -> list[float]:
    """Return the instants that tests ask for."""
    return sorted({case.given.at.timestamp() for case in cases.entries if case.given.at is not None})


def _scope(manifest: Manifest) -> dict[str, Any]:
    """Return what the manifest itself decides."""
    until = manifest.observe_until.isoformat() if manifest.observe_until else ""
    return {"ties": sorted(manifest.ties), "mode": manifest.mode, "observe_until": until}


def _qualify_case(entry: CaseEntry, item: Item) -> CaseEntry:
    """Return a case of a pack with its sentence and its rule under the pack's namespace."""
    if not item.namespace:
        return entry
    rule = entry.expect.rule
    expect = entry.expect if rule in {None, DEFAULT} else entry.expect.model_copy(update={"rule": item.qualify(rule)})
    return entry.model_copy(update={"name": f"{item.namespace}: {entry.name}", "expect": expect})
