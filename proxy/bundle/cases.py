# SPDX-License-Identifier: Apache-2.0
"""The register ``tests``: what a bundle's authors expect it to decide, in sentences. ``lifecycle`` runs them."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field

from proxy.bundle.apis import METHODS
from proxy.caller.issuers import COUNTRIES, COUNTRY_SETS, MAPPED, TEXT_SETS
from proxy.model.caller import KINDS
from proxy.model.country import NAMES, refuse_country
from proxy.model.decision import Certainty, Effect, Reason
from proxy.model.entry import Country, Entry, Id, Text, choice
from proxy.model.problem import Problem, nearest
from proxy.origin.forwarded import parse_address
from proxy.request.target import parse_target

DEFAULT: Final = "default"
"""What ``expect.rule`` is where no rule allows."""


class CaseOrigin(Entry):
    """Where the request of a case comes from: an address, or just a country."""

    country: Country | None = None
    network: Id | None = None
    ip: Text | None = None


class CaseGiven(Entry):
    """The facts of a case. What is not given is unknown."""

    NOT_YET: ClassVar[frozenset[str]] = frozenset({"base", "purpose", "case", "grant", "counts"})
    caller: dict[str, Any] = Field(default_factory=dict)
    origin: CaseOrigin = CaseOrigin()
    request: Text
    """A method and a path: ``GET /v1/jp/users/42``."""
    host: Text | None = None


class CaseExpect(Entry):
    """What is expected of the decision."""

    NOT_YET: ClassVar[frozenset[str]] = frozenset({"transforms", "lifted_by"})
    effect: Annotated[str, choice(*Effect)]
    rule: Text | None = None
    certainty: Annotated[str, choice(*Certainty)] | None = None
    reason: Annotated[str, choice(*Reason)] | None = None


class CaseEntry(Entry):
    """One test, named by a sentence."""

    NOT_YET: ClassVar[frozenset[str]] = frozenset({"at", "base"})
    name: Text
    given: CaseGiven
    expect: CaseExpect


def check_cases(
    entries: Sequence[CaseEntry],
    *,
    rules: frozenset[str],
    issuers: frozenset[str],
    affiliates: frozenset[str],
    networks: frozenset[str],
) -> list[Problem]:
    """Return what is wrong across registers: rules, issuers and affiliates that do not exist, bad values."""
    problems = []
    names: dict[str, int] = {}
    for index, entry in enumerate(entries):
        if names.setdefault(entry.name, index) != index:
            problems.append(Problem((index, "name"), "this sentence names another test, too"))
        if entry.expect.rule not in rules | {None, DEFAULT}:
            hint = nearest(str(entry.expect.rule), rules | {DEFAULT})
            problems.append(Problem((index, "expect", "rule"), f"no rule {entry.expect.rule!r}{hint}"))
        network = entry.given.origin.network
        if network is not None and network not in networks:
            problems.append(
                Problem(
                    (index, "given", "origin", "network"),
                    f"no network {network!r}{nearest(network, networks)}",
                )
            )
        found = [
            *_check_request(entry.given),
            *_check_caller(entry.given.caller, {"issuer": issuers, "affiliate": affiliates, "kind": frozenset(KINDS)}),
        ]
        problems += [problem.under(index, "given") for problem in found]
    return problems


def _check_request(given: CaseGiven) -> list[Problem]:
    method, _, target = given.request.partition(" ")
    problems = []
    if method not in METHODS or isinstance(parse_target(target), Reason):
        problems.append(Problem(("request",), f"{given.request!r} is no method and path, such as GET /v1/jp/users/42"))
    if given.origin.ip is not None and parse_address(given.origin.ip) is None:
        problems.append(Problem(("origin", "ip"), f"{given.origin.ip!r} is no address"))
    return problems


def _check_caller(caller: dict[str, Any], declared: dict[str, frozenset[str]]) -> list[Problem]:
    problems = []
    for name, value in caller.items():
        if name not in MAPPED | {"issuer"}:
            hint = nearest(name, MAPPED | {"issuer"})
            problems.append(Problem(("caller", name), f"no caller attribute {name!r}{hint}", at_key=True))
        elif name in TEXT_SETS | COUNTRY_SETS:
            problems += [problem.under("caller", name) for problem in _check_members(name, value)]
        elif name in declared and (not isinstance(value, str) or value not in declared[name]):
            problems.append(Problem(("caller", name), f"no {name} {value!r}{nearest(str(value), declared[name])}"))
        elif name in COUNTRIES and (not isinstance(value, str) or value not in NAMES):
            problems.append(Problem(("caller", name), refuse_country(value)))
        elif not isinstance(value, str) or not value:
            problems.append(Problem(("caller", name), "expected a single value"))
    return problems


def _check_members(name: str, value: Any) -> list[Problem]:
    if not isinstance(value, list):
        return [Problem((), "expected a list")]
    problems = []
    for index, member in enumerate(value):
        if not isinstance(member, str) or not member:
            problems.append(Problem((index,), "expected a single value"))
        elif name in COUNTRY_SETS and member not in NAMES:
            problems.append(Problem((index,), refuse_country(member)))
    return problems
