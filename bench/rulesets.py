# SPDX-License-Identifier: Apache-2.0
"""Policy folders of any size from a published seed, requests that they decide, and a plain reading of their rules.

- The mix is an organisation's: one half denies (by the subject's country and the caller's ties, by affiliate and
  whereabouts, by group, route by route), the other allows (affiliate, kind, routes, action). Masks are left out.
- **Candidates**: a rule is a candidate for a request if its `when` is not false there. With every fact known, those
  are the rules that hold: at most `MAX_CANDIDATES` of them, whatever the size of the set. `census` proves it on a
  sample. A rule is *near* if at most one of its conditions is false: what an index by single facts must tell apart.
- `Ruleset.holding` reads the rules as they are written, by itself, so that an engine can be held to it.

Everything is pure: the same arguments, the same text. `python -m bench.rulesets` prints the census.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random  # noqa: TID251 - samples from a seed, no secrets
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeAlias

import msgspec

from bench.harness import BenchError
from proxy.bundle.check import load_bundle
from proxy.bundle.snapshot import Snapshot
from proxy.caller.parties import assemble_caller
from proxy.caller.register import Affiliates
from proxy.model.caller import Caller
from proxy.model.country import NAMES
from proxy.model.facts import UNKNOWN, Fact, FactSet
from proxy.model.origin import Origin
from proxy.model.subject import Subject
from proxy.policy.attributes import Facts

SEED: Final = 20210323
MAX_CANDIDATES: Final = 20
SAMPLE: Final = 200
"""Requests that a census looks at."""
NAMED_AFFILIATES: Final = 200
"""Affiliates that half of the rules and requests speak of; the other half takes any."""

OFFICES: Final = (
    "JP", "KR", "TW", "TH", "ID", "VN", "SG", "US", "DE", "FR", "GB", "NL", "SE", "IN", "AU", "BR", "MX", "CA", "ES",
    "IT", "PL", "PH", "MY", "HK",
)  # fmt: skip
"""Where affiliates, their people and the users of most requests are."""
OTHERS: Final = (
    "AE", "AR", "AT", "BE", "BG", "CH", "CL", "CO", "CZ", "DK", "EE", "EG", "FI", "GR", "HR", "HU", "IE", "IL", "KE",
    "LT", "LU", "LV", "MA", "NG", "NO", "NZ",
)  # fmt: skip
"""Where users are as well, of whom rules speak and few requests ask."""
SERVED: Final = (*OFFICES, *OTHERS)
KINDS: Final = ("employee", "contractor", "service")
GROUPS: Final = tuple(f"team-{number:03}" for number in range(120))
COUNTRY_SETS: Final = 40
SEVERITIES: Final = ("critical", "high", "medium", "low")
OWNERS: Final = ("security-team", "privacy-team", "users-team", "legal")
CATEGORIES: Final = ("user.name", "user.contact.email", "user.contact.phone_number", "user.unique_id", "user.payment")
APIS: Final = ("users", "orders", "support", "billing", "devices", "consents")
VERBS: Final = (
    ("get", "GET", "read"),
    ("list", "GET", "read"),
    ("change", "PUT", "update"),
    ("remove", "DELETE", "delete"),
    ("export", "GET", "export"),
)

Condition: TypeAlias = "str | Mapping[str, str | Sequence[str]]"
When: TypeAlias = "dict[str, Condition]"
Files: TypeAlias = "Mapping[str, str]"


# What is asked


@dataclass(frozen=True, slots=True)
class Route:
    """One generated route."""

    id: str
    api: str
    method: str
    action: str
    categories: tuple[str, ...]


def make_routes() -> tuple[Route, ...]:
    """Return the routes of all APIs; no chance is in them."""
    return tuple(
        Route(f"{verb}-{api}", api, method, action, (CATEGORIES[place % 5], CATEGORIES[(place + number) % 5]))
        for place, api in enumerate(APIS)
        for number, (verb, method, action) in enumerate(VERBS, start=1)
    )


ROUTES: Final = {route.id: route for route in make_routes()}


@dataclass(frozen=True, slots=True)
class Request:
    """The facts of one request, as the parts of a gateway find them out."""

    claims: Mapping[str, Fact[Any]]
    """Caller attributes, as `proxy.caller.resolve.assemble_caller` takes them; what is not there is unknown."""
    origin: Fact[str]
    subject_country: Fact[str]
    subject_id: Fact[str]
    route: str

    def without(self, fact: str) -> Request:
        """Return the request with one fact unknown."""
        if fact in self.claims:
            return replace(self, claims={name: value for name, value in self.claims.items() if name != fact})
        unknown: dict[str, Any] = {fact: UNKNOWN}
        return replace(self, **unknown)


CLAIMS: Final = ("id", "affiliate", "kind", "residence", "groups")
FACTS: Final = (*CLAIMS, "origin", "subject_country", "subject_id")
"""What can be unknown of a request; the route never is."""


def requests(count: int, seed: int = SEED, affiliates: int = NAMED_AFFILIATES) -> list[Request]:
    """Return requests of which some are allowed, some denied by a rule, and some by none allowing them."""
    chance = Random(seed)  # noqa: S311 - a sample
    return [make_request(chance, affiliates) for _ in range(count)]


def make_request(chance: Random, affiliates: int) -> Request:
    """Return one request with all facts known."""
    affiliate = pick_affiliate(chance, affiliates)
    claims = {
        "id": f"e-{chance.randrange(10**9):09}",
        "affiliate": affiliate_id(affiliate),
        "kind": chance.choices(KINDS[:2], (7, 3))[0],
        "residence": country_of(affiliate) if chance.random() < 0.8 else chance.choice(OFFICES),
        "groups": FactSet(frozenset(chance.sample(GROUPS, chance.randrange(4)))),
    }
    origin = claims["residence"] if chance.random() < 0.8 else chance.choice(OFFICES)
    route = chance.choice(list(ROUTES))
    return Request(claims, str(origin), chance.choice(OFFICES), str(chance.randrange(10**8)), route)


def all_unknown(request: Request) -> Request:
    """Return the request with nothing known but what is asked: a token that says nothing, from nowhere."""
    return Request({}, UNKNOWN, UNKNOWN, UNKNOWN, request.route)


# Affiliates


def affiliate_id(number: int) -> str:
    """Return the id of an affiliate; the first is the home of all others."""
    return f"unit-{number:06}"


def country_of(number: int) -> str:
    """Return where an affiliate is."""
    return OFFICES[number * 7 % len(OFFICES)]


def pick_affiliate(chance: Random, affiliates: int) -> int:
    """Return an affiliate: one of the named half of the time, any otherwise."""
    return chance.randrange(min(affiliates, NAMED_AFFILIATES) if chance.random() < 0.5 else affiliates)


def make_affiliate(number: int) -> dict[str, Any]:
    """Return one entry of the register: whole trees of eight under each, and contractors between them."""
    entry: dict[str, Any] = {"id": affiliate_id(number), "country": country_of(number), "owners_complete": "true"}
    if number == 0:
        return {**entry, "home": "true"}
    parent, minor = (number - 1) // 8, (number - 1) // 16
    if number % 5 == 0:
        return {**entry, "roles": ["contractor"], "works_for": [affiliate_id(parent)]}
    owners = [{"id": affiliate_id(parent), "share": "70"}]
    if minor != parent:
        owners.append({"id": affiliate_id(minor), "share": "30"})
    else:
        entry["dispersed"] = "30"
    return {**entry, "roles": ["subsidiary"], "owners": owners, "works_for": []}


# Rules


@dataclass(frozen=True, slots=True)
class Written:
    """One rule as it will be written."""

    id: str
    effect: str
    when: When
    severity: str
    owner: str


def make_country_sets() -> dict[str, list[str]]:
    """Return the named sets of countries; the same for every size."""
    chance = Random(SEED)  # noqa: S311 - a sample
    every = sorted(NAMES)
    return {f"set-{number:02}": sorted(chance.sample(every, chance.randint(3, 6))) for number in range(COUNTRY_SETS)}


SETS: Final = make_country_sets()


def when_ties(chance: Random, _affiliates: int) -> When:
    """Return who may not see a country's users for a tie to some others."""
    ties: Condition = {"any": f"${chance.choice(list(SETS))}"}
    if chance.random() < 0.2:
        ties = {"any": sorted(chance.sample(sorted(NAMES), 3)), "by": ["employer", "control"]}
    when: When = {"subject.country": chance.choice(SERVED), "caller.countries": ties}
    if chance.random() < 0.7:
        when["resource.api"] = chance.choice(APIS)
    elif chance.random() < 0.5:
        when["resource.data"] = {"any": [chance.choice(("user.contact", "user.payment"))]}
    return when


def when_abroad(chance: Random, affiliates: int) -> When:
    """Return from where an affiliate's people may not ask."""
    affiliate = affiliate_id(pick_affiliate(chance, affiliates))
    if chance.random() < 0.2:
        return {"caller.affiliate": affiliate, "origin.country": {"none": sorted(chance.sample(OFFICES, 20))}}
    if chance.random() < 0.3:
        return {"caller.affiliate": affiliate, "origin.country": {"any": f"${chance.choice(list(SETS))}"}}
    return {"caller.affiliate": affiliate, "origin.country": chance.choice(sorted(NAMES))}


def when_grouped(chance: Random, _affiliates: int) -> When:
    """Return which teams keep away from a route."""
    teams = sorted(chance.sample(GROUPS, 2))
    return {"caller.groups": {"any": teams}, "resource.route": chance.choice(list(ROUTES))}


def when_reserved(chance: Random, _affiliates: int) -> When:
    """Return which teams alone change the data of one country's users."""
    teams = sorted(chance.sample(GROUPS, 100))
    action = chance.choice(("delete", "export"))
    return {"subject.country": chance.choice(OTHERS), "action": action, "caller.groups": {"none": teams}}


def when_allowed(chance: Random, affiliates: int) -> When:
    """Return who may do what."""
    one, other = (affiliate_id(pick_affiliate(chance, affiliates)) for _ in range(2))
    affiliate: Condition = {"any": sorted({one, other})} if chance.random() < 0.3 else one
    kind: Condition = {"not": "service"} if chance.random() < 0.2 else chance.choices(KINDS, (6, 3, 1))[0]
    action = chance.choice(("read", "read", "read", "update", "delete", "export"))
    suited = [route.id for route in ROUTES.values() if route.action == action]
    when: When = {
        "caller.affiliate": affiliate,
        "caller.kind": kind,
        "resource.route": {"any": sorted(chance.sample(suited, 4))},
        "action": action,
    }
    draw = chance.random()
    if draw < 0.2:
        when["caller.countries"] = {"none": f"${chance.choice(list(SETS))}"}
    elif draw < 0.35:
        when["caller.countries"] = {"only": sorted(chance.sample(OFFICES, 18))}
    return when


MIX: Final[tuple[tuple[int, str, str, Callable[[Random, int], When]], ...]] = (
    (30, "deny", "ties", when_ties),
    (14, "deny", "abroad", when_abroad),
    (8, "deny", "grouped", when_grouped),
    (1, "deny", "reserved", when_reserved),
    (47, "allow", "staff", when_allowed),
)
"""Per cent, effect, name and maker of each kind of rule."""


def make_rule(chance: Random, number: int, affiliates: int) -> Written:
    """Return one rule."""
    _, effect, name, maker = chance.choices(MIX, [share for share, *_ in MIX])[0]
    severity, owner = chance.choice(SEVERITIES), chance.choice(OWNERS)
    return Written(f"{name}-{number:06}", effect, maker(chance, affiliates), severity, owner)


@dataclass(frozen=True, slots=True)
class Ruleset:
    """A generated policy folder."""

    files: Files
    rules: Sequence[Written]
    lines: Sequence[Sequence[Line]]
    """Of each rule, what its conditions say."""

    def write(self, folder: Path) -> None:
        """Write the folder."""
        for name, text in self.files.items():
            (folder / name).write_text(text)

    def load(self) -> Snapshot:
        """Load the folder as the product does."""
        with TemporaryDirectory(prefix="sekisho-bench-") as name:
            self.write(Path(name))
            return load_bundle(Path(name))

    def holding(self, request: Request, caller: Caller, *, but_for: int = 0) -> list[Written]:
        """Return the rules of which at most so many conditions are false, all facts of the request being known."""
        have = members_by_attribute(request, caller)
        return [rule for rule, lines in zip(self.rules, self.lines, strict=True) if is_near(lines, have, but_for)]

    def effect(self, request: Request, caller: Caller) -> str:
        """Return what the rules say as they are written: deny, allow, or default."""
        effects = {rule.effect for rule in self.holding(request, caller)}
        return "deny" if "deny" in effects else "allow" if effects else "default"


def ruleset(count: int, affiliates: int = NAMED_AFFILIATES, seed: int = SEED) -> Ruleset:
    """Return so many rules of the mix over so many affiliates."""
    chance = Random(seed)  # noqa: S311 - a sample
    return assemble([make_rule(chance, number, affiliates) for number in range(count)], affiliates)


def everything_matches(count: int) -> tuple[Ruleset, Request]:
    """Return deny rules that all hold for one request, and that request."""
    route = ROUTES["get-users"]
    claims = {
        "id": "e-1", "affiliate": affiliate_id(1), "kind": "employee", "residence": "JP",
        "groups": FactSet(frozenset(GROUPS[:3])),
    }  # fmt: skip
    request = Request(claims, "JP", "JP", "417", route.id)
    lines: list[When] = [
        {"subject.country": "JP", "caller.countries": {"any": ["JP", "CN"]}},
        {"caller.affiliate": affiliate_id(1), "origin.country": {"none": ["CN", "RU"]}},
        {"caller.groups": {"any": [GROUPS[0], GROUPS[9]]}, "resource.route": route.id},
        {"caller.kind": {"not": "service"}, "action": "read"},
    ]
    rules = [
        Written(f"all-{number:06}", "deny", lines[number % 4], SEVERITIES[number // 4 % 4], OWNERS[0])
        for number in range(count)
    ]
    return assemble(rules, NAMED_AFFILIATES), request


# How rules read


@dataclass(frozen=True, slots=True)
class Line:
    """One condition, read in the plainest way there is."""

    attribute: str
    matcher: str
    named: frozenset[str]

    def holds(self, have: frozenset[str]) -> bool:
        """Return whether the condition holds of what an attribute is, as a set."""
        if self.attribute == "resource.data":
            return any(mine == name or mine.startswith(f"{name}.") for mine in have for name in self.named)
        if self.matcher == "only":
            return have <= self.named
        return have.isdisjoint(self.named) is (self.matcher in {"none", "not"})


def read_line(attribute: str, condition: Condition) -> Line:
    """Read one condition; ties asked for by kind are an attribute of their own."""
    if isinstance(condition, str):
        return Line(attribute, "any", frozenset({condition}))
    matcher, operand = next(iter(condition.items()))
    return Line(BY_KIND if "by" in condition else attribute, matcher, members_of(operand))


BY_KIND: Final = "caller.countries by employer and control"
"""The only kinds that the mix asks for by name."""


def is_near(lines: Sequence[Line], have: Mapping[str, frozenset[str]], but_for: int) -> bool:
    """Return whether at most so many of the conditions are false."""
    missed = 0
    for line in lines:
        missed += not line.holds(have[line.attribute])
        if missed > but_for:
            return False
    return True


def members_by_attribute(request: Request, caller: Caller) -> dict[str, frozenset[str]]:
    """Return what every attribute is, as a set."""
    route = ROUTES[request.route]
    found: dict[str, Any] = {
        "subject.country": request.subject_country,
        "origin.country": request.origin,
        "resource.api": route.api,
        "resource.route": route.id,
        "resource.data": FactSet(frozenset(route.categories)),
        "action": route.action,
        "caller.affiliate": caller.affiliate,
        "caller.kind": caller.kind,
        "caller.groups": caller.groups,
        "caller.countries": caller.countries,
        BY_KIND: FactSet(frozenset(tie.country for tie in caller.ties if tie.kind in {"employer", "control"})),
    }
    return {name: fact.members if isinstance(fact, FactSet) else frozenset({fact}) for name, fact in found.items()}


def members_of(operand: str | Sequence[str]) -> frozenset[str]:
    """Return the values that a matcher names."""
    if isinstance(operand, str):
        return frozenset(SETS[operand[1:]]) if operand.startswith("$") else frozenset({operand})
    return frozenset(operand)


# How a folder is written


def assemble(rules: Sequence[Written], affiliates: int) -> Ruleset:
    """Return the folder that holds the rules."""
    files = {
        "bundle.yaml": MANIFEST,
        "parties.yaml": render_parties(affiliates),
        "apis.yaml": render_apis(),
        "rules.yaml": "rules:\n" + "".join(map(render_rule, rules)),
    }
    lines = [[read_line(*condition) for condition in rule.when.items()] for rule in rules]
    return Ruleset(files, rules, lines)


MANIFEST: Final = """\
language: 1
bundle: bench-rules
ties: [employer, residence, control]
files:
  parties.yaml: [issuers, country_sets, control_rules, trusted_proxies, affiliates]
  apis.yaml: [apis]
  rules.yaml: [rules]
"""

AUDIENCE: Final = "https://pii.example.com"
PARTIES: Final = f"""\
issuers:
  - id: login
    operated_by: {affiliate_id(0)}
    issuer: https://login.example.com
    audience: ["{AUDIENCE}"]
    jwks: https://login.example.com/jwks.json
    algorithms: [ES256]
    may_assert: {{affiliate: any}}
    attributes: {{affiliate: company, kind: kind, residence: residence_country, groups: groups}}
control_rules:
  - {{id: majority, threshold: 50, default: true}}
trusted_proxies: [127.0.0.1/32]
"""


def flow(value: object) -> str:
    """Return a value in YAML's flow style; the values here need no quotes."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(flow, value)) + "]"
    return str(value)


def render_parties(affiliates: int) -> str:
    """Return the file of everybody there is."""
    sets = "".join(f"  {name}: {flow(countries)}\n" for name, countries in SETS.items())
    entries = "".join(f"  - {flow(make_affiliate(number))}\n" for number in range(affiliates))
    return f"{PARTIES}country_sets:\n{sets}affiliates:\n{entries}"


def render_apis() -> str:
    """Return the file of what is protected."""
    return "apis:\n" + "".join(map(render_api, APIS))


def render_api(api: str) -> str:
    """Return one API with its routes."""
    upstream = f'{{url: "http://127.0.0.1:9", hosted_in: {OFFICES[APIS.index(api)]}}}'
    routes = "".join(render_route(route) for route in ROUTES.values() if route.api == api)
    return f"  - id: {api}\n    hosts: [{api}.internal]\n    upstream: {upstream}\n    routes:\n{routes}"


def render_route(route: Route) -> str:
    """Return one route, the subject's country in its path."""
    fields = ", ".join(f'"$.f{place}": {category}' for place, category in enumerate(route.categories))
    vouched = "authoritative: {by: users-team, review_by: 2027-06-30}"
    return f"""\
      - id: {route.id}
        methods: [{route.method}]
        path: /v1/{route.id}/{{country}}/{{subject_id}}
        action: {route.action}
        subject: {{country: "{{country}}", id: "{{subject_id}}", {vouched}}}
        parameters: {{country: "[a-z]{{2}}", subject_id: "[0-9]{{1,12}}"}}
        fields: {{{fields}}}
"""


def render_rule(rule: Written) -> str:
    """Return one rule as people write it."""
    return f"""\
  - id: {rule.id}
    effect: {rule.effect}
    title: "Rule {rule.id}, which the {rule.owner} put here: {rule.effect} by {", ".join(rule.when)}"
    when: {flow(rule.when)}
    severity: {rule.severity}
    owner: {rule.owner}
"""


# As the product takes them


def caller_of(snapshot: Snapshot, request: Request, affiliates: Affiliates | None = None) -> Caller:
    """Return the caller of a request, by the snapshot's register of affiliates or by another."""
    register = (affiliates or snapshot.affiliates).current
    principal = f"login|{request.claims.get('id', '')}"
    return assemble_caller(snapshot.issuers[0], request.claims, register, principal=principal)


def facts_of(
    snapshot: Snapshot, request: Request, affiliates: Affiliates | None = None, *, action: str | None = None
) -> Facts:
    """Return what `proxy.policy.evaluate.decide` takes; the only place that knows its shape."""
    resource = next(iter(snapshot.resources[request.route].values()))
    return Facts(
        caller_of(snapshot, request, affiliates),
        Origin(ip="192.0.2.1", country=request.origin),
        Subject(country=request.subject_country, id=request.subject_id),
        resource if action is None else msgspec.structs.replace(resource, action=action),
    )


# The census


@dataclass(frozen=True, slots=True)
class Census:
    """What a sample of requests meets in a rule set."""

    candidates: Sequence[int]
    near: Sequence[int]
    effects: Mapping[str, int]

    def __str__(self) -> str:
        """Say it in one line."""
        mean, near = statistics.mean(self.candidates), statistics.mean(self.near)
        shares = ", ".join(f"{effect} {count}" for effect, count in sorted(self.effects.items()))
        return (
            f"candidates a request: {mean:.1f} on average, {max(self.candidates)} at most; "
            f"rules but for one condition: {near:.0f}, {max(self.near)}; decided: {shares}"
        )


def census(rules: Ruleset, snapshot: Snapshot, sample: Sequence[Request]) -> Census:
    """Count the candidates of each request.

    Raises:
        BenchError: If a request has too many, or the sample lacks one of the three answers.
    """
    pairs = [(request, caller_of(snapshot, request)) for request in sample]
    found = Census(
        [len(rules.holding(*pair)) for pair in pairs],
        [len(rules.holding(*pair, but_for=1)) for pair in pairs],
        Counter(rules.effect(*pair) for pair in pairs),
    )
    if max(found.candidates) > MAX_CANDIDATES or len(found.effects) < 3:
        raise BenchError(f"this rule set is not what it says: {found}")
    return found


def main() -> int:
    """Print the census of one size; 2 when it is not as promised."""
    parser = argparse.ArgumentParser(prog="python -m bench.rulesets", description=__doc__.splitlines()[0])
    parser.add_argument("--rules", type=int, default=10_000)
    parser.add_argument("--write", type=Path, help="a folder to write the policy into as well")
    options = parser.parse_args()
    rules = ruleset(options.rules)
    if options.write:
        options.write.mkdir(parents=True, exist_ok=True)
        rules.write(options.write)
    try:
        print(f"{options.rules} rules, seed {SEED}; {census(rules, rules.load(), requests(SAMPLE))}")
    except BenchError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
