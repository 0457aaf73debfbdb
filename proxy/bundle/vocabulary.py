# SPDX-License-Identifier: Apache-2.0
"""What a bundle declares for its rules to speak of: ids by domain, country sets, control rules, claims."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from proxy.bundle.gather import Anything, Loaded, Registers
from proxy.caller.affiliates import ROLES
from proxy.model.problem import Problem
from proxy.policy.attributes import Domain, Vocabulary
from proxy.policy.country_sets import resolve_country_sets


class AnySets(dict[str, frozenset[str]]):
    """Stands for the country sets where their register was not read whole, as ``Anything`` does for ids."""

    def __contains__(self, _name: object) -> bool:
        return True

    def __missing__(self, _name: str) -> frozenset[str]:
        return frozenset()


def find_vouchers(registers: Registers) -> frozenset[str]:
    """Return the ids of everybody who says who a caller is: issuers of tokens, and authorities over certificates."""
    if registers.incomplete & {"issuers", "certificate_authorities"}:
        return Anything()
    return registers.declared_ids("issuers") | registers.declared_ids("certificate_authorities")


def make_vocabulary(registers: Registers, issuers: Loaded, apis: Loaded, controls: Loaded) -> Vocabulary:
    """Return what rules can speak of, also where a register has other problems.

    Args:
        registers: as they are written.
        issuers: the sound ones.
        apis: the sound ones.
        controls: the sound control rules.
    """
    return Vocabulary(
        ids={
            Domain.AFFILIATES: registers.declared_ids("affiliates"),
            Domain.ISSUERS: find_vouchers(registers),
            Domain.NETWORKS: registers.declared_ids("networks"),
            Domain.APIS: registers.declared_ids("apis"),
            Domain.ROUTES: _written_in_routes(registers, lambda route: [route.get("id")], apis),
            Domain.AFFILIATE_ROLES: frozenset(ROLES),
            Domain.CATEGORIES: _written_in_routes(registers, _categories, apis),
            Domain.PURPOSES: registers.declared_ids("purposes"),
        },
        country_sets=AnySets(_take_sets(registers))
        if "country_sets" in registers.incomplete
        else _take_sets(registers),
        control_rules=registers.declared_ids("control_rules"),
        paragraph_rules=Anything()
        if "control_rules" in registers.incomplete
        else frozenset(entry.id for entry in controls.entries if entry.paragraphs is not None),
        empty_when_absent=frozenset(
            attribute
            for issuer in issuers.entries
            for attribute, source in issuer.attributes.items()
            if source.absent == "empty"
        ),
        claims=frozenset(
            attribute.removeprefix("claims.")
            for issuer in issuers.entries
            for attribute in issuer.attributes
            if attribute.startswith("claims.")
        ),
    )


def _written_in_routes(
    registers: Registers, find: Callable[[Mapping[str, Any]], Iterable[Any]], apis: Loaded
) -> frozenset[str]:
    """Return texts that are written in routes, also in those that have other problems."""
    if "apis" in registers.incomplete or len(apis.entries) < len(registers.raw["apis"]):
        return Anything()
    listed = [item.value.get("routes") for item in registers.raw["apis"] if isinstance(item.value, dict)]
    routes = [route for entries in listed if isinstance(entries, list) for route in entries]
    found = [text for route in routes if isinstance(route, dict) for text in find(route)]
    return frozenset(text for text in found if isinstance(text, str))


def _take_sets(registers: Registers) -> dict[str, frozenset[str]]:
    sets: dict[str, frozenset[str]] = {}
    for namespace in sorted({item.namespace for item in registers.raw["country_sets"]}):
        inside = [item for item in registers.raw["country_sets"] if item.namespace == namespace]
        items = {item.value[0]: item for item in inside}
        for item in inside:
            if items[item.value[0]] is not item:
                message = f"the set {item.value[0]!r} stands twice"
                registers.fail(item.document, Problem(item.path, message, at_key=True))
        resolved, problems = resolve_country_sets({name: item.value[1] for name, item in items.items()})
        for problem in problems:
            item = items[str(problem.path[0])]
            where = (*item.path, *problem.path[1:])
            registers.fail(item.document, Problem(where, problem.message, problem.at_key))
        for name, members in resolved.items():
            item = items[name]
            full = item.qualify(name)
            if full in sets:
                message = f"the set {full!r} stands twice: a pack's namespace makes another's name of it"
                registers.fail(item.document, Problem(item.path, message, at_key=True))
            sets[full] = members
    return sets


def _categories(route: Mapping[str, Any]) -> Iterable[Any]:
    """Yield the categories that a route carries: of fields, alone or beside what is kept of them, and of other data."""
    fields, data = route.get("fields"), route.get("data")
    for field in fields.values() if isinstance(fields, dict) else ():
        yield field.get("category") if isinstance(field, dict) else field
    yield from data if isinstance(data, list) else ()
