# SPDX-License-Identifier: Apache-2.0
"""Loads a policy folder: every register by its schema, then across registers, then compiled.

All problems of the whole folder are told at once. Later stages need what earlier ones made, so each stage runs on
what is sound and the folder loads only if nothing is wrong anywhere.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any, Final, TypeVar

import msgspec

from proxy.bundle.apis import ApiEntry, check_apis, compile_apis, parse_upstream_url
from proxy.bundle.cases import CaseEntry, check_cases
from proxy.bundle.manifest import (
    FACT_REGISTERS,
    MANIFEST,
    NOT_YET_REGISTERS,
    POLICY_REGISTERS,
    REGISTERS,
    Manifest,
)
from proxy.bundle.read import Document, FileProblem, read_document
from proxy.bundle.schema import salvage, validate
from proxy.bundle.snapshot import Snapshot
from proxy.caller.affiliates import ROLES, AffiliateEntry, ControlRuleEntry, check_affiliates, compute_affiliates
from proxy.caller.issuers import IssuerEntry, check_issuers, compile_issuer
from proxy.errors import BundleError, UsageError
from proxy.model.caller import TieKind
from proxy.model.decision import Effect, Reason
from proxy.model.entry import Entry
from proxy.model.problem import Path, Problem, nearest
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

MAX_FILES: Final = 1000

E = TypeVar("E", bound=Entry)


class Item(msgspec.Struct, frozen=True):
    """One entry of a register, and where it stands."""

    document: Document
    path: Path
    value: Any


class Loaded(msgspec.Struct, frozen=True):
    """A sound register: entries, and for each where it stands."""

    entries: tuple[Any, ...]
    items: tuple[Item, ...]


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
    loader = _Loader(folder, upstreams or {})
    snapshot = loader.load()
    if snapshot is None:
        raise BundleError([str(problem) for problem in sorted(set(loader.problems))])
    return snapshot


class Anything(frozenset[str]):
    """Stands for the ids of a register that was not read whole: one mistake is not told as many."""

    def __contains__(self, _value: object) -> bool:
        return True


class AnySets(dict[str, frozenset[str]]):
    """The same for country sets."""

    def __contains__(self, _name: object) -> bool:
        return True

    def __missing__(self, _name: str) -> frozenset[str]:
        return frozenset()


class _Loader:
    def __init__(self, folder: FilePath, upstreams: Mapping[str, str]) -> None:
        self.folder = folder
        self.upstreams = upstreams
        self.manifest_document: Document | None = None
        self.problems: list[FileProblem] = []
        self.incomplete: set[str] = set()
        """Registers of which a part could not be read: what is not there may stand in that part."""
        self.raw: dict[str, list[Item]] = {register: [] for register in REGISTERS}

    def name(self, file: str) -> str:
        return str(self.folder / file)

    def fail(self, document: Document, problem: Problem) -> None:
        line, column = document.locate(problem.path, at_key=problem.at_key)
        self.problems.append(FileProblem(document.name, line, column, problem.message))

    def load(self) -> Snapshot | None:
        manifest = self._read_manifest()
        if manifest is None:
            return None
        self._read_files(manifest)
        return self._assemble(manifest)

    # Reading.

    def _read_manifest(self) -> Manifest | None:
        document, problems = read_document(self.folder / MANIFEST, self.name(MANIFEST))
        if document is None:
            self.problems += problems
            if not (self.folder / MANIFEST).exists():
                message = "the manifest is missing: `sekisho init DIR` writes a small bundle that loads"
                self.problems = [FileProblem(self.name(MANIFEST), 1, 1, message)]
            return None
        self.manifest_document = document
        manifest: Manifest | list[Problem] | None = validate(Manifest, document.value)
        if isinstance(manifest, list):
            for problem in manifest:
                self.fail(document, problem)
            manifest = salvage(Manifest, document.value)
        if manifest is None:
            return None
        for problem in self._check_manifest(manifest):
            self.fail(document, problem)
        return manifest

    def _check_manifest(self, manifest: Manifest) -> list[Problem]:
        problems = []
        for file, registers in manifest.files.items():
            problems += self._check_file(file)
            for index, register in enumerate(registers):
                if register not in REGISTERS:
                    problems.append(Problem(("files", file, index), _unknown_register(register)))
        if (manifest.mode == "observe") != (manifest.observe_until is not None):
            key = "mode" if manifest.observe_until is None else "observe_until"
            message = "`mode: observe` and `observe_until` go together: observing ends at a stated date"
            problems.append(Problem((key,), message))
        listed = {MANIFEST, *manifest.files}
        problems += [
            Problem(
                ("files",),
                f"the folder holds {file}, which is not listed here: list it with its registers or remove it",
            )
            for file in self._find_files()
            if file not in listed
        ]
        return problems

    def _check_file(self, file: str) -> list[Problem]:
        try:
            path = (self.folder / file).resolve()
            is_inside, is_file = path.is_relative_to(self.folder.resolve()), path.is_file()
        except (OSError, RuntimeError, ValueError):
            return [Problem(("files", file), f"{file!r} is no file's name", at_key=True)]
        if not is_inside:
            return [Problem(("files", file), f"{file} leads out of the policy folder", at_key=True)]
        if not is_file:
            hint = nearest(file, self._find_files())
            return [Problem(("files", file), f"{file} is listed here and missing in the folder{hint}", at_key=True)]
        return []

    def _find_files(self) -> list[str]:
        files = (
            path.relative_to(self.folder)
            for path in self.folder.rglob("*")
            if path.suffix.lower() in {".yaml", ".yml"} and path.is_file()
        )
        return sorted(str(path) for path in files if not any(part.startswith(".") for part in path.parts))[:MAX_FILES]

    def _read_files(self, manifest: Manifest) -> None:
        for file, registers in manifest.files.items():
            document, problems = (
                (None, []) if self._check_file(file) else read_document(self.folder / file, self.name(file))
            )
            self.problems += problems
            if document is not None:
                self._sort_registers(document, registers)
            else:
                self.incomplete.update(registers)

    def _sort_registers(self, document: Document, registers: Sequence[str]) -> None:
        if not isinstance(document.value, dict):
            self.fail(document, Problem((), f"expected a mapping with: {', '.join(registers)}"))
            return
        for register, value in document.value.items():
            if register not in REGISTERS:
                self.fail(document, Problem((register,), _unknown_register(register), at_key=True))
                self.incomplete.update(set(registers) - document.value.keys())
            elif register not in registers:
                message = f"the manifest does not list {register!r} for this file (it lists: {', '.join(registers)})"
                self.fail(document, Problem((register,), message, at_key=True))
            else:
                self._take_register(document, register, value)

    def _take_register(self, document: Document, register: str, value: Any) -> None:
        shape = dict if register == "country_sets" else list
        if not isinstance(value, shape):
            self.fail(document, Problem((register,), f"expected a {'mapping' if shape is dict else 'list'}"))
        elif isinstance(value, dict):
            self.raw[register] += [Item(document, (register, key), (key, entry)) for key, entry in value.items()]
        else:
            self.raw[register] += [Item(document, (register, index), entry) for index, entry in enumerate(value)]

    # Registers, one by one.

    def _take(self, register: str, model: type[E]) -> Loaded:
        """Validate every entry of a register; those that cannot be looked at further are left out."""
        entries: list[E] = []
        items: list[Item] = []
        for item in self.raw[register]:
            entry: E | list[Problem] | None = validate(model, item.value)
            if isinstance(entry, list):
                for problem in entry:
                    self.fail(item.document, problem.under(*item.path))
                entry = salvage(model, item.value)
            if entry is not None:
                entries.append(entry)
                items.append(item)
        return self._refuse_repeated(Loaded(tuple(entries), tuple(items)))

    def _refuse_repeated(self, loaded: Loaded) -> Loaded:
        seen: dict[str, Item] = {}
        for entry, item in zip(loaded.entries, loaded.items, strict=True):
            id_ = getattr(entry, "id", None)
            if id_ is None:
                continue
            first = seen.setdefault(id_, item)
            if first is not item:
                line, _ = first.document.locate((*first.path, "id"), at_key=False)
                message = f"the id {id_!r} stands twice, first in {first.document.name}:{line}"
                self.fail(item.document, Problem((*item.path, "id"), message))
        return loaded

    def _report(self, loaded: Loaded, problems: Iterable[Problem]) -> None:
        """Report problems whose paths begin with an entry's number."""
        for problem in problems:
            item = loaded.items[int(problem.path[0])]
            self.fail(item.document, Problem(problem.path[1:], problem.message, problem.at_key).under(*item.path))

    def _take_proxies(self) -> Loaded:
        blocks, items = [], []
        for item in self.raw["trusted_proxies"]:
            try:
                blocks.append(parse_block(item.value if isinstance(item.value, str) else ""))
                items.append(item)
            except ValueError as error:
                self.fail(item.document, Problem(item.path, str(error)))
        return Loaded(tuple(blocks), tuple(items))

    def _take_sets(self) -> dict[str, frozenset[str]]:
        items = {item.value[0]: item for item in self.raw["country_sets"]}
        if len(items) != len(self.raw["country_sets"]):
            for item in self.raw["country_sets"]:
                if items[item.value[0]] is not item:
                    self.fail(
                        item.document,
                        Problem(item.path, f"the set {item.value[0]!r} stands twice", at_key=True),
                    )
        sets, problems = resolve_country_sets({name: item.value[1] for name, item in items.items()})
        for problem in problems:
            item = items[str(problem.path[0])]
            self.fail(item.document, Problem((*item.path, *problem.path[1:]), problem.message, problem.at_key))
        return sets

    # Across registers.

    def _assemble(self, manifest: Manifest) -> Snapshot | None:
        affiliates = self._take("affiliates", AffiliateEntry)
        controls = self._take("control_rules", ControlRuleEntry)
        issuers = self._take("issuers", IssuerEntry)
        networks = self._take("networks", NetworkEntry)
        proxies = self._take_proxies()
        apis = self._take("apis", ApiEntry)
        rules = self._take("rules", RuleEntry)
        cases = self._take("tests", CaseEntry)
        ids = {register: self._declared_ids(register) for register in ("affiliates", "issuers", "rules")}
        self._report(affiliates, check_affiliates(affiliates.entries, ids["affiliates"]))
        self._report(issuers, check_issuers(issuers.entries, ids["affiliates"]))
        self._report(networks, check_networks(networks.entries))
        self._report(proxies, check_proxies(proxies.entries, networks.entries))
        self._report(apis, check_apis(apis.entries))
        self._report(
            cases,
            check_cases(
                cases.entries, rules=ids["rules"], issuers=ids["issuers"], affiliates=ids["affiliates"],
                networks=self._declared_ids("networks"),
            ),
        )  # fmt: skip
        self._refuse_empty(manifest)
        vocabulary = self._vocabulary(issuers, apis)
        compiled = self._compile_rules(rules, vocabulary)
        self._check_key_files(issuers)
        if self.problems:
            return None
        apis_routes_patterns = compile_apis(apis.entries, self._relocated())
        counted = frozenset(TieKind(kind) for kind in manifest.ties)
        snapshot = Snapshot(
            name=manifest.bundle,
            folder=self.folder,
            policy_digest=self._digest(POLICY_REGISTERS, _scope(manifest)),
            registers_digest=self._digest(FACT_REGISTERS, {}),
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
            notes=(*_find_notes(manifest, apis.entries), *_find_escapes(rules.entries, vocabulary)),
        )
        self._check_routes_of_cases(cases, snapshot.catalog)
        return None if self.problems else snapshot

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
                self._report(issuers, [Problem((index, "jwks"), f"there is no file {name!r} inside the policy folder")])

    def _check_routes_of_cases(self, cases: Loaded, catalog: Catalog) -> None:
        """Report tests of targets that nobody declared, unless that is what they expect: they would ask no rule."""
        for index, case in enumerate(cases.entries):
            given = case.given
            method, _, target = given.request.partition(" ")
            api = catalog.find_api(given.host)
            if api is None:
                known = [host for each in catalog.apis for host in each.hosts]
                message = f"no API has the host {given.host!r}{nearest(given.host or '', known)}"
                self._report(cases, [Problem((index, "given", "host"), message)])
            elif case.expect.reason not in {Reason.ROUTE_UNDECLARED, Reason.METHOD_UNDECLARED}:
                parsed = parse_target(target)
                if isinstance(parsed, Target) and isinstance(catalog.match(api, method, parsed.segments), NoMatch):
                    message = "no route is declared for this: mend it, or expect reason: route-undeclared"
                    self._report(cases, [Problem((index, "given", "request"), message)])

    def _relocated(self) -> dict[str, str]:
        declared = self._declared_ids("apis")
        for api in self.upstreams.keys() - declared:
            raise UsageError(
                f"--upstream names an API {api!r} that the bundle does not declare{nearest(api, declared)}."
            )
        try:
            return {api: parse_upstream_url(url) for api, url in self.upstreams.items()}
        except ValueError as error:
            raise UsageError(f"--upstream: {error}.") from error

    def _declared_ids(self, register: str) -> frozenset[str]:
        """Return every id that is written in a register, also of entries that have other problems."""
        if register in self.incomplete:
            return Anything()
        values = [item.value for item in self.raw[register] if isinstance(item.value, dict)]
        return frozenset(value["id"] for value in values if isinstance(value.get("id"), str))

    def _refuse_empty(self, manifest: Manifest) -> None:
        document = self.manifest_document
        counting = [item.value for item in self.raw["control_rules"] if isinstance(item.value, dict)]
        if TieKind.CONTROL in manifest.ties and not any(rule.get("default") == "true" for rule in counting):
            message = "ties by control count only by a control rule with `default: true`: declare one, or leave it out"
            if document is not None and "control_rules" not in self.incomplete:
                self.fail(document, Problem(("ties", manifest.ties.index(TieKind.CONTROL)), message))
        for register in ("issuers", "affiliates", "apis", "rules"):
            if not self.raw[register] and document is not None and register not in self.incomplete:
                listed = [file for file, registers in manifest.files.items() if register in registers]
                where = f"{listed[0]} holds none" if listed else "no file is listed for them"
                self.fail(document, Problem(("files",), f"a bundle needs {register}: {where}", at_key=True))

    def _vocabulary(self, issuers: Loaded, apis: Loaded) -> Vocabulary:
        return Vocabulary(
            ids={
                Domain.AFFILIATES: self._declared_ids("affiliates"),
                Domain.ISSUERS: self._declared_ids("issuers"),
                Domain.NETWORKS: self._declared_ids("networks"),
                Domain.APIS: self._declared_ids("apis"),
                Domain.ROUTES: self._written_in_routes(lambda route: [route.get("id")], apis),
                Domain.AFFILIATE_ROLES: frozenset(ROLES),
                Domain.CATEGORIES: self._written_in_routes(_categories, apis),
            },
            country_sets=AnySets(self._take_sets()) if "country_sets" in self.incomplete else self._take_sets(),
            control_rules=self._declared_ids("control_rules"),
            empty_when_absent=frozenset(
                attribute
                for issuer in issuers.entries
                for attribute, source in issuer.attributes.items()
                if source.absent == "empty"
            ),
        )

    def _written_in_routes(self, find: Callable[[Mapping[str, Any]], Iterable[Any]], apis: Loaded) -> frozenset[str]:
        """Return texts that are written in routes, also in those that have other problems."""
        if "apis" in self.incomplete or len(apis.entries) < len(self.raw["apis"]):
            return Anything()
        listed = [item.value.get("routes") for item in self.raw["apis"] if isinstance(item.value, dict)]
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
                self._report(rules, [problem.under(index) for problem in rule])
        return compiled

    def _digest(self, registers: Iterable[str], more: Mapping[str, Any]) -> str:
        """Return SHA-256 over the content of registers: order of files, comments and layout do not count."""
        content = {
            register: sorted(json.dumps(item.value, sort_keys=True) for item in self.raw[register])
            for register in registers
        }
        return "sha256:" + hashlib.sha256(json.dumps([content, more], sort_keys=True).encode()).hexdigest()


def _scope(manifest: Manifest) -> dict[str, Any]:
    """Return what the manifest itself decides."""
    until = manifest.observe_until.isoformat() if manifest.observe_until else ""
    return {"ties": sorted(manifest.ties), "mode": manifest.mode, "observe_until": until}


def _unknown_register(register: str) -> str:
    if register in NOT_YET_REGISTERS:
        return f"register {register!r} is not yet supported"
    return f"no register {register!r}{nearest(register, REGISTERS)}"


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


def _find_notes(manifest: Manifest, apis: Sequence[ApiEntry]) -> list[str]:
    """Return what a reader should know although it is no problem."""
    notes = []
    if manifest.observe_until is not None:
        notes.append(f"mode: observe: nothing is blocked until {manifest.observe_until.isoformat()}")
    for api in apis:
        for route in api.routes:
            if route.subject is None:
                who = "anybody" if route.unauthenticated else "callers that a rule allows"
                notes.append(
                    f"route {route.id} carries no personal data ({route.reason}; {route.owner}), open to {who}"
                )
    return notes
