# SPDX-License-Identifier: Apache-2.0
"""Loads a policy folder: every register by its schema, then across registers, then compiled.

All problems of the whole folder are told at once. Later stages need what earlier ones made, so each stage runs on
what is sound and the folder loads only if nothing is wrong anywhere.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

from proxy.bundle.apis import ApiEntry, check_apis, compile_apis, parse_upstream_url
from proxy.bundle.cases import CaseEntry, check_cases
from proxy.bundle.gather import Anything, Loaded, Registers
from proxy.bundle.manifest import FACT_REGISTERS, POLICY_REGISTERS, Manifest
from proxy.bundle.snapshot import Snapshot
from proxy.caller.affiliates import (
    ROLES,
    AffiliateEntry,
    ControlRuleEntry,
    check_affiliates,
    compute_affiliates,
)
from proxy.caller.issuers import MAPPED, IssuerEntry, check_issuers, compile_issuer
from proxy.errors import BundleError, UsageError
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
    parse_block,
)
from proxy.policy.attributes import Domain, Resource, Vocabulary
from proxy.policy.compile import compile_policy, compile_rule, resolve_country_sets
from proxy.policy.rules import Rule, RuleEntry
from proxy.request.catalog import Catalog, NoMatch
from proxy.request.target import parse_target


class AnySets(dict[str, frozenset[str]]):
    """Stands for the country sets where their register was not read whole, as ``Anything`` does for ids."""

    def __contains__(self, _name: object) -> bool:
        return True

    def __missing__(self, _name: str) -> frozenset[str]:
        return frozenset()


def load_bundle(folder: FilePath, upstreams: Mapping[str, str] | None = None) -> Snapshot:
    """Load a policy folder.

    Args:
        folder: the folder that holds the manifest.
        upstreams: API id to the URL where this deployment finds it, in place of the bundle's. Where a thing is
            served is no policy: digests do not change with it.

    Raises:
        BundleError: with every problem of the whole folder.
        UsageError: ``upstreams`` names an API that the bundle does not declare, or what is no URL.
    """
    registers = Registers(folder)
    manifest = registers.gather()
    snapshot = _Checker(registers, upstreams or {}).assemble(manifest) if manifest is not None else None
    if snapshot is None:
        raise BundleError([str(problem) for problem in sorted(set(registers.problems))])
    return snapshot


class _Checker:
    """Checks registers by their schemas and against one another, and puts a snapshot together."""

    def __init__(self, registers: Registers, upstreams: Mapping[str, str]) -> None:
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

    def _take_sets(self) -> dict[str, frozenset[str]]:
        items = {item.value[0]: item for item in self.registers.raw["country_sets"]}
        if len(items) != len(self.registers.raw["country_sets"]):
            for item in self.registers.raw["country_sets"]:
                if items[item.value[0]] is not item:
                    self.registers.fail(
                        item.document,
                        Problem(item.path, f"the set {item.value[0]!r} stands twice", at_key=True),
                    )
        sets, problems = resolve_country_sets({name: item.value[1] for name, item in items.items()})
        for problem in problems:
            item = items[str(problem.path[0])]
            self.registers.fail(
                item.document, Problem((*item.path, *problem.path[1:]), problem.message, problem.at_key)
            )
        return sets

    def assemble(self, manifest: Manifest) -> Snapshot | None:
        affiliates = self.registers.take("affiliates", AffiliateEntry)
        controls = self.registers.take("control_rules", ControlRuleEntry)
        issuers = self.registers.take("issuers", IssuerEntry)
        networks = self.registers.take("networks", NetworkEntry)
        proxies = self._take_proxies()
        apis = self.registers.take("apis", ApiEntry)
        rules = self.registers.take("rules", RuleEntry)
        cases = self.registers.take("tests", CaseEntry)
        ids = {register: self.registers.declared_ids(register) for register in ("affiliates", "issuers", "rules")}
        self.registers.report(affiliates, check_affiliates(affiliates.entries, ids["affiliates"]))
        self.registers.report(issuers, check_issuers(issuers.entries, ids["affiliates"]))
        self.registers.report(networks, check_networks(networks.entries))
        self.registers.report(proxies, check_proxies(proxies.entries, networks.entries))
        self.registers.report(apis, check_apis(apis.entries))
        self.registers.report(
            cases,
            check_cases(
                cases.entries, rules=ids["rules"], issuers=ids["issuers"], affiliates=ids["affiliates"],
                networks=self.registers.declared_ids("networks"),
            ),
        )  # fmt: skip
        self._refuse_empty(manifest)
        vocabulary = self._vocabulary(issuers, apis)
        compiled = self._compile_rules(rules, vocabulary)
        self._check_key_files(issuers)
        if self.registers.problems:
            return None
        apis_routes_patterns = compile_apis(apis.entries, self._relocated())
        counted = frozenset(TieKind(kind) for kind in manifest.ties)
        snapshot = Snapshot(
            name=manifest.bundle,
            folder=self.folder,
            policy_digest=self.registers.digest(POLICY_REGISTERS, _scope(manifest)),
            registers_digest=self.registers.digest(FACT_REGISTERS, {}),
            observe_until=manifest.observe_until.timestamp() if manifest.observe_until else None,
            issuers=tuple(compile_issuer(entry) for entry in issuers.entries),
            affiliates=compute_affiliates(affiliates.entries, controls.entries, counted),
            networks=compile_networks(networks.entries),
            proxies=compile_proxies(proxies.entries),
            catalog=Catalog(*apis_routes_patterns),
            resources={route.id: Resource.of(route) for route in apis_routes_patterns[1]},
            policy=compile_policy(compiled),
            vocabulary=vocabulary,
            cases=cases.entries,
            notes=(
                *_find_notes(apis.entries),
                *_find_escapes(rules.entries, vocabulary),
                *_find_unmapped(rules.entries, issuers.entries),
            ),
        )
        self._check_routes_of_cases(cases, snapshot.catalog)
        return None if self.registers.problems else snapshot

    def _check_key_files(self, issuers: Loaded) -> None:
        for index, entry in enumerate(issuers.entries):
            if not entry.jwks.startswith("file:"):
                continue
            name = entry.jwks.removeprefix("file:")
            try:
                path = (self.folder / name).resolve()
                is_there = path.is_file() and path.is_relative_to(self.folder.resolve())
            except (OSError, RuntimeError, ValueError):
                is_there = False
            if not is_there:
                self.registers.report(
                    issuers, [Problem((index, "jwks"), f"there is no file {name!r} inside the policy folder")]
                )

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

    def _relocated(self) -> dict[str, str]:
        declared = self.registers.declared_ids("apis")
        for api in self.upstreams.keys() - declared:
            raise UsageError(
                f"--upstream names an API {api!r} that the bundle does not declare{nearest(api, declared)}."
            )
        try:
            return {api: parse_upstream_url(url) for api, url in self.upstreams.items()}
        except ValueError as error:
            raise UsageError(f"--upstream: {error}.") from error

    def _refuse_empty(self, manifest: Manifest) -> None:
        document = self.registers.manifest_document
        counting = [item.value for item in self.registers.raw["control_rules"] if isinstance(item.value, dict)]
        if TieKind.CONTROL in manifest.ties and not any(rule.get("default") == "true" for rule in counting):
            message = "ties by control count only by a control rule with `default: true`: declare one, or leave it out"
            if document is not None and "control_rules" not in self.registers.incomplete:
                self.registers.fail(document, Problem(("ties", manifest.ties.index(TieKind.CONTROL)), message))
        for register in ("issuers", "affiliates", "apis", "rules"):
            if not self.registers.raw[register] and document is not None and register not in self.registers.incomplete:
                listed = [file for file, registers in manifest.files.items() if register in registers]
                where = f"{listed[0]} holds none" if listed else "no file is listed for them"
                self.registers.fail(document, Problem(("files",), f"a bundle needs {register}: {where}", at_key=True))

    def _vocabulary(self, issuers: Loaded, apis: Loaded) -> Vocabulary:
        return Vocabulary(
            ids={
                Domain.AFFILIATES: self.registers.declared_ids("affiliates"),
                Domain.ISSUERS: self.registers.declared_ids("issuers"),
                Domain.NETWORKS: self.registers.declared_ids("networks"),
                Domain.APIS: self.registers.declared_ids("apis"),
                Domain.ROUTES: self._written_in_routes(lambda route: [route.get("id")], apis),
                Domain.AFFILIATE_ROLES: frozenset(ROLES),
                Domain.CATEGORIES: self._written_in_routes(_categories, apis),
            },
            country_sets=AnySets(self._take_sets())
            if "country_sets" in self.registers.incomplete
            else self._take_sets(),
            control_rules=self.registers.declared_ids("control_rules"),
            empty_when_absent=frozenset(
                attribute
                for issuer in issuers.entries
                for attribute, source in issuer.attributes.items()
                if source.absent == "empty"
            ),
        )

    def _written_in_routes(self, find: Callable[[Mapping[str, Any]], Iterable[Any]], apis: Loaded) -> frozenset[str]:
        """Return texts that are written in routes, also in those that have other problems."""
        if "apis" in self.registers.incomplete or len(apis.entries) < len(self.registers.raw["apis"]):
            return Anything()
        listed = [item.value.get("routes") for item in self.registers.raw["apis"] if isinstance(item.value, dict)]
        routes = [route for entries in listed if isinstance(entries, list) for route in entries]
        found = [text for route in routes if isinstance(route, dict) for text in find(route)]
        return frozenset(text for text in found if isinstance(text, str))

    def _compile_rules(self, rules: Loaded, vocabulary: Vocabulary) -> list[Rule]:
        compiled = []
        for index, entry in enumerate(rules.entries):
            rule = compile_rule(entry, vocabulary)
            if isinstance(rule, Rule):
                compiled.append(rule)
            else:
                self.registers.report(rules, [problem.under(index) for problem in rule])
        return compiled


def _scope(manifest: Manifest) -> dict[str, Any]:
    """Return what the manifest itself decides."""
    until = manifest.observe_until.isoformat() if manifest.observe_until else ""
    return {"ties": sorted(manifest.ties), "mode": manifest.mode, "observe_until": until}


def _categories(route: Mapping[str, Any]) -> Iterable[Any]:
    fields = route.get("fields")
    return fields.values() if isinstance(fields, dict) else ()


def _find_escapes(rules: Sequence[RuleEntry], vocabulary: Vocabulary) -> list[str]:
    """Return the deny rules that somebody escapes whose token lacks a claim mapped with `absent: empty`."""
    return [
        f"rule {rule.id} does not deny whoever lacks the claim behind {name}: it is mapped with `absent: empty`"
        for rule in rules
        if rule.effect is Effect.DENY
        for name, raw in rule.when.items()
        if name.removeprefix("caller.") in vocabulary.empty_when_absent and (isinstance(raw, str) or "any" in raw)
    ]


def _find_unmapped(rules: Sequence[RuleEntry], issuers: Sequence[IssuerEntry]) -> list[str]:
    """Return the deny rules that ask for what no issuer tells: they apply to everybody, by unknown."""
    mapped = {"id"}.union(*(issuer.attributes for issuer in issuers))
    return [
        f"rule {rule.id} may apply to everybody: no issuer maps {name}, so it is always unknown"
        for rule in rules
        if rule.effect is Effect.DENY
        for name in rule.when
        if name.removeprefix("caller.") in MAPPED - mapped
    ]


def _find_notes(apis: Sequence[ApiEntry]) -> list[str]:
    """Return what a reader should know although it is no problem."""
    notes = []
    for api in apis:
        for route in api.routes:
            if route.subject is None:
                who = "anybody" if route.unauthenticated else "callers that a rule allows"
                notes.append(
                    f"route {route.id} carries no personal data ({route.reason}; {route.owner}), open to {who}"
                )
    return notes
