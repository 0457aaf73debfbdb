# SPDX-License-Identifier: Apache-2.0
"""The register ``tests``: what a bundle's authors expect it to decide, in sentences. ``lifecycle`` runs them."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Annotated, Any, Final

import msgspec
from pydantic import BeforeValidator, Field, WithJsonSchema

from proxy.bundle.api_routes import METHODS
from proxy.caller.issuers import COUNTRIES, COUNTRY_SETS, MAPPED, TEXT_SETS
from proxy.model.api import Transform
from proxy.model.caller import KINDS
from proxy.model.country import NAMES, refuse_country
from proxy.model.decision import Certainty, Effect, Reason
from proxy.model.entry import (
    Category,
    Country,
    Entry,
    Id,
    Instant,
    Number,
    Reference,
    System,
    Text,
    choice,
    parse_number,
    refuse,
    scalar,
)
from proxy.model.origin import ANONYMOUS
from proxy.model.problem import Problem, nearest
from proxy.origin.forwarded import parse_address
from proxy.policy.partial import Verdict
from proxy.request.target import parse_target

DEFAULT: Final = "default"
"""What ``expect.rule`` is where no rule allows."""


BY_RECORD: Final = Verdict.BY_RECORD
"""An effect that tests may expect beside those of decisions."""
MAX_DOCUMENT_CHARACTERS: Final = 65_536


def _take_document(raw: object) -> str:
    if not isinstance(raw, str):
        raise refuse("write the body as text, as it stands on the wire: `|` and the JSON on the lines below it")
    if not raw.strip():
        raise refuse("the body is empty")
    if len(raw) > MAX_DOCUMENT_CHARACTERS:
        raise refuse(f"the body is longer than {MAX_DOCUMENT_CHARACTERS} characters")
    return raw


def _parse_amount(text: str) -> int:
    return 0 if text == "0" else parse_number(text)


Document = Annotated[
    str,
    BeforeValidator(
        _take_document,
        json_schema_input_type=Annotated[
            Any, WithJsonSchema({"type": "string", "pattern": r"\S", "maxLength": MAX_DOCUMENT_CHARACTERS})
        ],
    ),
]
"""A body, as text."""
Amount = Annotated[
    int, scalar(_parse_amount, {"type": ["string", "integer"], "pattern": "^(0|[1-9][0-9]{0,5})$", "minimum": 0})
]

BEHIND: Final = "on_behalf_of"
"""Of a caller: the person for whom it acts, with attributes of its own."""

CallerFacts = Annotated[dict[str, Any], WithJsonSchema({"title": "caller"})]
"""Caller attribute to its value; ``json_schema`` says for editors what it may hold."""


class CaseOrigin(Entry):
    """Where the request of a case comes from: an address, or just a country, and what geolocation would say of it."""

    country: Country | None = None
    network: Id | None = None
    ip: Text | None = None
    registered_country: Country | None = None
    asn: System | None = None
    anonymous: list[Annotated[str, choice(*ANONYMOUS)]] | None = None
    """What the address hides; ``[]`` says: nothing."""


class FixtureEntry(Entry):
    """A caller that several tests speak of, under a name."""

    id: Id
    caller: CallerFacts
    origin: CaseOrigin | None = None


class CaseCounts(Entry):
    """How much the caller has read, this request included."""

    subjects_1h: Number | None = None
    subjects_24h: Number | None = None
    country_subjects_1h: Number | None = None
    country_subjects_24h: Number | None = None
    requests_1m: Number | None = None


class CaseSubject(Entry):
    """Somebody whose data it is."""

    country: Country | None = None
    """Unknown where it is not given."""
    id: Text | None = None
    """As the request or the record has it."""


class CaseGiven(Entry):
    """The facts of a case.

    What is not given is unknown. A purpose, a case and a grant that are not given are none, and counts are those of a
    caller's first request.
    """

    base: Id | None = None
    """A fixture, of which ``caller`` and ``origin`` may say some things otherwise."""
    caller: CallerFacts = Field(default_factory=dict)
    origin: CaseOrigin | None = None
    request: Text
    """A method and a path: ``GET /v1/jp/users/42``."""
    host: Text | None = None
    headers: dict[str, Text] | None = None
    """Fields of the request in which the route looks for its subject."""
    body: Document | None = None
    """The request's body, where the route looks for its subject there."""
    subject: CaseSubject | None = None
    """Whose data it is, in place of what the request, a register or the answer would say."""
    subjects: list[CaseSubject] | None = None
    """Whose data the records of the answer are, each once, where the answer tells that."""
    answer: Document | None = None
    """The body of the API's answer, as it stands there: its records are judged one by one."""
    at: Instant | None = None
    """When: for rules that depend on time, which is unknown otherwise."""
    purpose: Id | None = None
    case: Text | None = None
    grant: Reference | None = None
    """A grant of which the request's subject is one: pseudonyms are the deployment's, a test knows none."""
    counts: CaseCounts | None = None


class CaseRecords(Entry):
    """What is expected to become of the records of an answer."""

    left: Amount | None = None
    """How many leave, those with a field changed, too."""
    dropped: Amount | None = None
    masked: Amount | None = None
    """How many of those that leave have a field changed."""


class CaseExpect(Entry):
    """What is expected of the decision."""

    effect: Annotated[str, choice(Effect.ALLOW, Effect.DENY, BY_RECORD)]
    """``by-record``: it hangs on whose data the answer holds."""
    rule: Text | None = None
    """A rule that applies, though another one may decide: an invariant beside a deny rule, for one."""
    certainty: Annotated[str, choice(*Certainty)] | None = None
    reason: Annotated[str, choice(*Reason)] | None = None
    transforms: dict[Annotated[str, Category], Annotated[Transform, choice(*Transform)]] | None = None
    """Exactly these; ``{}`` says: none."""
    records: CaseRecords | None = None
    """Of ``given.answer`` or ``given.subjects``."""
    answer: Document | None = None
    """The body that reaches the caller, of ``given.answer``."""


class CaseEntry(Entry):
    """One test, named by a sentence."""

    name: Text
    given: CaseGiven
    expect: CaseExpect


class Declared(msgspec.Struct, frozen=True):
    """The ids that cases can speak of."""

    rules: frozenset[str]
    issuers: frozenset[str]
    affiliates: AbstractSet[str]
    networks: frozenset[str]
    purposes: frozenset[str]
    grants: frozenset[str]
    fixtures: frozenset[str]
    claims: frozenset[str]


def resolve_case(entry: CaseEntry, fixtures: Mapping[str, FixtureEntry]) -> CaseEntry:
    """Return a case with its fixture written out."""
    fixture = fixtures.get(entry.given.base or "")
    if fixture is None:
        return entry
    caller = {**fixture.caller, **entry.given.caller}
    origin = entry.given.origin or fixture.origin
    return entry.model_copy(
        update={"given": entry.given.model_copy(update={"base": None, "caller": caller, "origin": origin})}
    )


def check_fixtures(entries: Sequence[FixtureEntry], declared: Declared) -> list[Problem]:
    """Return what is wrong with fixtures across registers."""
    problems = []
    for index, entry in enumerate(entries):
        found = [*_check_caller(entry.caller, declared), *_check_origin(entry.origin, declared.networks)]
        problems += [problem.under(index) for problem in found]
    return problems


def check_cases(entries: Sequence[CaseEntry], declared: Declared) -> list[Problem]:
    """Return what is wrong across registers: rules, issuers and affiliates that do not exist, bad values."""
    problems = []
    names: dict[str, int] = {}
    for index, entry in enumerate(entries):
        given = entry.given
        if names.setdefault(entry.name, index) != index:
            problems.append(Problem((index, "name"), "this sentence names another test, too"))
        rule = entry.expect.rule
        if rule is not None and rule != DEFAULT and rule not in declared.rules:
            hint = nearest(str(entry.expect.rule), declared.rules | {DEFAULT})
            problems.append(Problem((index, "expect", "rule"), f"no rule {entry.expect.rule!r}{hint}"))
        problems += [
            Problem((index, "given", key), f"no {what} {value!r}{nearest(value, known)}")
            for key, what, value, known in (
                ("base", "fixture", given.base, declared.fixtures),
                ("purpose", "purpose", given.purpose, declared.purposes),
                ("grant", "grant", given.grant, declared.grants),
            )
            if value is not None and value not in known
        ]
        problems += [problem.under(index) for problem in _check_records(entry)]
        found = [
            *_check_request(given),
            *_check_origin(given.origin, declared.networks),
            *_check_caller(given.caller, declared),
        ]
        problems += [problem.under(index, "given") for problem in found]
    return problems


def _check_records(entry: CaseEntry) -> list[Problem]:
    """Return what is expected of records, or said of them, that nobody could look at."""
    given, expect = entry.given, entry.expect
    problems = []
    if given.answer is not None and given.subjects is not None:
        problems.append(Problem(("given", "subjects"), "give the answer or whose its records are, not both"))
    if expect.answer is not None and given.answer is None:
        problems.append(Problem(("expect", "answer"), "what leaves of which answer? Write it under given.answer"))
    if expect.records is not None and given.answer is None and given.subjects is None:
        message = "of which records? Write the answer under given.answer, or whose they are under given.subjects"
        problems.append(Problem(("expect", "records"), message))
    return problems


def _check_request(given: CaseGiven) -> list[Problem]:
    method, _, target = given.request.partition(" ")
    if method in METHODS and not isinstance(parse_target(target), Reason):
        return []
    return [Problem(("request",), f"{given.request!r} is no method and path, such as GET /v1/jp/users/42")]


def _check_origin(origin: CaseOrigin | None, networks: frozenset[str]) -> list[Problem]:
    problems = []
    if origin is not None and origin.ip is not None and parse_address(origin.ip) is None:
        problems.append(Problem(("origin", "ip"), f"{origin.ip!r} is no address"))
    network = origin.network if origin is not None else None
    if network is not None and network not in networks:
        problems.append(Problem(("origin", "network"), f"no network {network!r}{nearest(network, networks)}"))
    return problems


def _check_caller(caller: dict[str, Any], declared: Declared) -> list[Problem]:
    ids = {"issuer": declared.issuers, "affiliate": declared.affiliates, "kind": frozenset(KINDS)}
    own = frozenset(f"claims.{name}" for name in declared.claims)
    problems = []
    for name, value in caller.items():
        if name == BEHIND:
            problems += [problem.under("caller") for problem in _check_behind(value, declared)]
        elif name not in MAPPED | own | {"issuer"}:
            hint = nearest(name, MAPPED | own | {"issuer"})
            problems.append(Problem(("caller", name), f"no caller attribute {name!r}{hint}", at_key=True))
        elif name in TEXT_SETS | COUNTRY_SETS:
            problems += [problem.under("caller", name) for problem in _check_members(name, value)]
        elif name in ids and (not isinstance(value, str) or value not in ids[name]):
            problems.append(Problem(("caller", name), f"no {name} {value!r}{nearest(str(value), ids[name])}"))
        elif name in COUNTRIES and (not isinstance(value, str) or value not in NAMES):
            problems.append(Problem(("caller", name), refuse_country(value)))
        elif not isinstance(value, str) or not value:
            problems.append(Problem(("caller", name), "expected a single value"))
    return problems


def _check_behind(value: Any, declared: Declared) -> list[Problem]:
    if not isinstance(value, dict) or BEHIND in value:
        return [Problem((BEHIND,), "expected the attributes of one person")]
    return [Problem((BEHIND, *each.path[1:]), each.message, each.at_key) for each in _check_caller(value, declared)]


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
