# SPDX-License-Identifier: Apache-2.0
"""Rules and facts drawn from pools of few words, so that they meet. Conditions are compiled once."""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any, Final

import msgspec
from hypothesis import strategies as st

from proxy.caller.parties import tied_countries
from proxy.model.api import Transform
from proxy.model.caller import NO_PERSON, UNAUTHENTICATED, UNKNOWN_PERSON, Caller, Control, Person, Tie
from proxy.model.counts import Counts
from proxy.model.decision import Effect, Severity
from proxy.model.facts import ABSENT, NOT_APPLICABLE, UNKNOWN, FactSet, State
from proxy.model.origin import Origin
from proxy.model.subject import NO_SUBJECT, Subject
from proxy.policy.attributes import Facts, Resource
from proxy.policy.compile import compile_grant, compile_rule
from proxy.policy.rules import Block, Condition, Grant, GrantEntry, Rule
from tests.support.policy_facts import IN_PACK, NOW, VOCABULARY, entry_of, some, sound

COUNTED: Final = frozenset({"employer", "residence", "control.majority"})
STATES: Final[tuple[Any, ...]] = (ABSENT, UNKNOWN, NOT_APPLICABLE)
BEFORE, AFTER = "2027-01-01T00:00:00Z", "2027-02-01T00:00:00Z"

_TEXTS: Final[tuple[Any, ...]] = ("a", {"any": ["a", "b"]}, {"none": ["a"]}, {"not": "b"}, {"exists": "true"})
_EMPTIED: Final[tuple[Any, ...]] = ("a", {"any": ["a", "b"]}, {"glob": "a*"}, {"exists": "true"})
_EMPTIED_SETS: Final[tuple[Any, ...]] = ({"any": ["a", "b"]}, {"has_all": ["a", "b"]})
_SETS: Final[tuple[Any, ...]] = (*_EMPTIED_SETS, {"none": ["a"]}, {"only": ["a", "b"]}, {"only": ["a"]})
_COUNTRIES: Final[tuple[Any, ...]] = (
    "JP", "CN", {"any": ["JP", "KR"]}, {"none": "$china"}, {"not": "JP"}, {"exists": "false"},
)  # fmt: skip
_GOOD_TIES: Final[tuple[Any, ...]] = ({"none": ["CN"]}, {"only": ["JP"]}, {"only": ["JP", "KR"]})
_BAD_TIES: Final[tuple[Any, ...]] = ({"any": ["CN"]}, {"any": ["JP", "KR"]}, {"has_all": ["JP", "CN"]})
_BY: Final = (["employer"], ["residence"], ["control"], ["control.majority", "employer"], ["subcontractor"])
_LINES: Final[Mapping[str, tuple[Any, ...]]] = {
    "subject.country": _COUNTRIES,
    "subject.id": ("a1", {"any": ["a1", "b1"]}, {"none": ["a1"]}, {"glob": "a*"}, {"exists": "true"}),
    "origin.country": _COUNTRIES,
    "origin.network": ("office", {"none": ["office"]}),
    "origin.ip": ({"cidr": "10.0.0.0/8"}, {"cidr": ["2001:db8::/32", "192.0.2.0/24"]}, {"exists": "false"}),
    "caller.kind": ("employee", {"none": ["contractor"]}, {"not": "employee"}),
    "caller.client": _EMPTIED,
    "caller.on_behalf_of.affiliate": ("ly", {"none": ["naver"]}, {"exists": "false"}),
    "caller.on_behalf_of.kind": ("employee", {"not": "service"}),
    "caller.on_behalf_of.residence": _COUNTRIES,
    "caller.roles": _SETS,
    "caller.groups": _EMPTIED_SETS,
    "caller.claims.amr": _TEXTS,
    "resource.data": tuple(
        {matcher: [category]}
        for matcher in ("any", "none", "only", "has_all")
        for category in ("user", "user.name", "user.contact.phone_number")
    ),
    "resource.route": ("user", {"none": ["export"]}),
    "action": ("read", {"not": "export"}),
    "purpose": ("law-enforcement", {"exists": "false"}),
    "case": ({"glob": "LE-*"}, {"exists": "true"}),
    "time": ({"lt": AFTER}, {"gt": AFTER}, {"between": [BEFORE, AFTER]}, {"lt": "2027-01-15T08:00:00Z"}),
    "expr": (
        'caller.kind == "employee" || "a" in caller.roles',
        "subject.country == origin.country",
        "caller.claims.amr != null && caller.claims.amr == subject.id",
        'caller.id == null || caller.id.startsWith("to")',
    ),
}


def _lines(*, speaks_for: bool) -> Iterator[tuple[str, Any]]:
    ties = _GOOD_TIES if speaks_for else _BAD_TIES
    yield from (("counts.subjects_1h", {"lt" if speaks_for else "gt": limit}) for limit in ("5", "10"))
    yield "counts.requests_1m", {"lt" if speaks_for else "gt": "5"}
    yield from ((name, line) for name, lines in _LINES.items() for line in lines)
    yield from (("caller.countries", line) for line in ties)
    yield from (("caller.countries", {**line, "by": by}) for line, by in product(ties, _BY))
    yield from (("caller.control.majority.countries", line) for line in ties)


def _conditions(effect: str, *, speaks_for: bool, key: str) -> tuple[Condition, ...]:
    """Compile every line where it would stand; those on control rules also as a pack means them."""
    found = []
    for name, line in _lines(speaks_for=speaks_for):
        for vocabulary in (VOCABULARY, IN_PACK) if "control" in name else (VOCABULARY,):
            given = {"when": {name: line}} if key == "when" else {"unless": [{name: line}]}
            side = "allow" if name == "time" else effect  # in a deny rule, what ends says `reopens`
            compiled = compile_rule(entry_of("r", side, **given), vocabulary)
            if isinstance(compiled, list) and (effect, key) == ("allow", "unless"):
                continue  # a claim mapped with `absent: empty`, which `unless` of an allow rule may not ask for
            rule = sound(compiled)
            found.append(rule.when[0] if key == "when" else rule.unless[0].conditions[0])
    return tuple(found)


IN_WHEN: Final = {
    "allow": _conditions("allow", speaks_for=True, key="when"),
    "deny": _conditions("deny", speaks_for=False, key="when"),
}
IN_UNLESS: Final = {
    "allow": _conditions("allow", speaks_for=False, key="unless"),
    "deny": _conditions("deny", speaks_for=True, key="unless"),
}
_MASKS: Final = tuple(
    sound(compile_rule(entry_of("m", "mask", transforms={category: "redact"}), VOCABULARY)).when[-1]
    for category in ("user.name", "user.contact")
)
"""That the route carries what is transformed, by category."""


def _blocks(effect: str) -> st.SearchStrategy[tuple[Block, ...]]:
    lines = st.lists(st.sampled_from(IN_UNLESS[effect]), min_size=1, max_size=3)
    return st.lists(lines.map(tuple).map(Block), max_size=2).map(tuple)


def _when(effect: str) -> st.SearchStrategy[tuple[Condition, ...]]:
    return st.lists(st.sampled_from(IN_WHEN[effect]), max_size=3).map(tuple)


@st.composite
def a_drawn_rule(draw: st.DrawFn, effects: tuple[str, ...] = ("allow", "allow", "deny", "mask", "invariant")) -> Rule:
    """Draw a rule; its id is still to be given."""
    kind = draw(st.sampled_from(effects))
    side = "allow" if kind == "allow" else "deny"
    when = draw(_when(side))
    transforms: dict[str, Transform] = {}
    if kind == "mask":
        at = draw(st.integers(0, 1))
        transforms = {("user.name", "user.contact")[at]: draw(st.sampled_from(list(Transform)))}
        when = (*when, _MASKS[at])
    return Rule(
        id="r",
        effect=Effect.DENY if kind == "invariant" else Effect(kind),
        title="r",
        severity=draw(st.sampled_from(list(Severity))),
        when=when,
        unless=() if kind == "invariant" else draw(_blocks(side)),
        transforms=transforms,
        is_invariant=kind == "invariant",
        is_liftable=kind in {"deny", "mask"} and draw(st.booleans()),
        is_shadow=kind != "invariant" and draw(st.integers(0, 4)) == 0,
    )


def number(rules: list[Rule]) -> list[Rule]:
    """Give rules their ids."""
    return [rule.renamed(f"r{place}") for place, rule in enumerate(rules)]


RULES: Final = st.lists(a_drawn_rule(), min_size=1, max_size=8).map(number)

_SOME_SET: Final[st.SearchStrategy[Any]] = st.sampled_from(
    (some(), some("a"), some("a", "b"), some("c"), some("a", "c"), some("b", is_open=True), some(is_open=True), *STATES)
)
_SOME_COUNTRIES: Final[st.SearchStrategy[Any]] = st.sampled_from(
    (some(), some("JP"), some("CN"), some("JP", "CN"), some("KR", is_open=True), *STATES)
)
_SOME_COUNTRY: Final[st.SearchStrategy[Any]] = st.sampled_from(("JP", "CN", "KR", *STATES))
_SOME_TEXT: Final[st.SearchStrategy[Any]] = st.sampled_from(("a", "b", "ab", *STATES))
_A_TIE: Final = st.builds(
    Tie,
    st.sampled_from(("employer", "residence", "control.majority", "control.pack.majority", "subcontractor")),
    st.sampled_from(("JP", "CN", "KR")),
)


_PERSONS: Final = st.builds(
    Person,
    principal=st.sampled_from(("corp|b", "corp|bob")),
    kind=st.sampled_from(("employee", "contractor", "service", UNKNOWN)),
    affiliate=st.sampled_from(("ly", "naver", UNKNOWN)),
    residence=st.sampled_from(("JP", "CN", UNKNOWN)),
    affiliate_roles=_SOME_SET,
)


@st.composite
def _caller(draw: st.DrawFn) -> Caller:
    if draw(st.integers(0, 9)) == 0:
        return UNAUTHENTICATED
    ties = tuple(draw(st.lists(_A_TIE, max_size=3, unique=True)))
    open_ties = frozenset(draw(st.lists(st.sampled_from(("employer", "residence", "control.majority")), max_size=2)))
    controls = draw(st.lists(st.sampled_from(("majority", "pack.majority")), unique=True))
    return Caller(
        principal=draw(st.sampled_from(("", "corp|a", "corp|alice"))),
        kind=draw(st.sampled_from(("employee", "contractor", *STATES))),
        affiliate=draw(st.sampled_from(("ly", *STATES))),
        client=draw(_SOME_TEXT),
        groups=draw(_SOME_SET),
        roles=draw(_SOME_SET),
        countries=tied_countries(ties, open_ties, COUNTED),
        ties=ties,
        open_ties=open_ties,
        control={rule: Control(draw(_SOME_COUNTRIES), UNKNOWN) for rule in controls},
        claims=draw(st.sampled_from(({}, {"amr": "a"}, {"amr": "a1"}, {"amr": ABSENT}))),
        on_behalf_of=draw(st.just(NO_PERSON) | st.just(UNKNOWN_PERSON) | _PERSONS),
        passed_on=draw(st.sampled_from(((), ("corp|b",), ("corp|bob",)))),
    )


CALLERS: Final = _caller()
ORIGINS: Final = st.builds(
    Origin,
    ip=st.sampled_from(("10.1.2.3", "192.0.2.1", "2001:db8::1", UNKNOWN)),
    country=_SOME_COUNTRY,
    network=st.sampled_from(("office", "box", *STATES)),
)
SUBJECTS: Final = st.just(NO_SUBJECT) | st.builds(
    Subject,
    country=_SOME_COUNTRY,
    id=st.sampled_from(("a1", "b1", "zz", UNKNOWN, ABSENT)),
    reference=st.sampled_from(("", "users:1", "users:2")),
)
RESOURCES: Final = st.builds(
    Resource,
    api=st.just("users"),
    route=st.sampled_from(("user", "export")),
    data=st.sampled_from(
        (some("user.name"), some("user.contact"), some("user.contact.phone_number"), some(),
         some("x.y", is_open=True), *STATES)
    ),
    hosted_in=_SOME_COUNTRY,
    action=st.sampled_from(("read", "export")),
)  # fmt: skip
_SOME_NUMBER: Final[st.SearchStrategy[Any]] = st.sampled_from((1, 4, 5, 6, 10, 11, UNKNOWN, NOT_APPLICABLE))
TIMES: Final = st.sampled_from((NOW, NOW - 1, NOW - 3e6, NOW + 3e6, UNKNOWN))
FACTS: Final = st.builds(
    Facts,
    CALLERS,
    ORIGINS,
    SUBJECTS,
    RESOURCES,
    purpose=st.sampled_from(("law-enforcement", ABSENT, UNKNOWN)),
    case=st.sampled_from(("LE-1", "x", ABSENT)),
    time=TIMES,
    counts=st.builds(Counts, subjects_1h=_SOME_NUMBER, requests_1m=_SOME_NUMBER),
)


@st.composite
def grants_for(draw: st.DrawFn, rules: list[Rule]) -> list[Grant]:
    """Draw grants that name the rules, liftable or not, as if the loader had been tricked."""
    if not rules:
        return []
    found = []
    for place in range(draw(st.integers(0, 3))):
        lifts = draw(st.lists(st.sampled_from([rule.id for rule in rules]), min_size=1, max_size=3, unique=True))
        found.append(
            Grant(
                id=f"g{place}",
                lifts=frozenset(lifts),
                when=draw(st.lists(st.sampled_from(IN_WHEN["allow"]), max_size=1).map(tuple)),
                subjects=frozenset({draw(st.sampled_from(("users:1", "users:2")))}),
                approved_by=frozenset({"corp|alice", "corp|bob"}),
                since=NOW - 10,
                until=draw(st.sampled_from((NOW, NOW + 10))),
            )
        )
    return found


GRANT: Final[Mapping[str, Any]] = {
    "id": "LE-2027-003",
    "lifts": ["masked"],
    "when": {"caller.affiliate": "ly"},
    "subjects": ["users:1"],
    "approved_by": ["corp|alice", "corp|bob"],
    "from": BEFORE,
    "until": AFTER,
}
"""A grant as it is written; the rule ``masked`` is liftable."""


def a_grant(**more: Any) -> Grant:
    """Compile a grant that must be sound."""
    rules = {"masked": entry_of("masked", "mask", liftable="true"), "shut": entry_of("shut", "deny", liftable="true")}
    return sound(compile_grant(GrantEntry.model_validate({**GRANT, **more}), VOCABULARY, rules))


def less_known(facts: Facts) -> Iterator[tuple[str, Facts]]:
    """Yield every way in which one fact less is known."""
    for room in ("caller", "origin", "subject", "resource"):
        yield from _less_of_part(facts, room)
    yield from _less_of_caller(facts)
    for name in facts.counts.__struct_fields__:
        if isinstance(getattr(facts.counts, name), int):
            yield name, with_part(facts, "counts", **{name: UNKNOWN})
    for name in ("purpose", "case", "time"):
        if not isinstance(getattr(facts, name), State):
            yield name, msgspec.structs.replace(facts, **{name: UNKNOWN})


def _less_of_part(facts: Facts, room: str) -> Iterator[tuple[str, Facts]]:
    part = getattr(facts, room)
    for field in part.__struct_fields__:
        value = getattr(part, field)
        if field in {"principal", "source", "reference"}:
            continue
        if isinstance(value, (str, FactSet)):
            yield f"{room}.{field}", with_part(facts, room, **{field: UNKNOWN})
        if isinstance(value, FactSet) and not value.is_open:
            yield f"{room}.{field} open", with_part(facts, room, **{field: FactSet(value.members, is_open=True)})


def _less_of_caller(facts: Facts) -> Iterator[tuple[str, Facts]]:
    behind = facts.caller.on_behalf_of
    for field in behind.__struct_fields__:
        if field != "principal" and isinstance(getattr(behind, field), (str, FactSet)):
            less = msgspec.structs.replace(behind, **{field: UNKNOWN})
            yield f"on_behalf_of.{field}", with_part(facts, "caller", on_behalf_of=less)
    if not isinstance(facts.caller.countries, State):
        yield "on_behalf_of", with_part(facts, "caller", on_behalf_of=UNKNOWN_PERSON)
    for rule, control in facts.caller.control.items():
        rest = {**facts.caller.control, rule: Control(UNKNOWN, control.owners)}
        if isinstance(control.countries, FactSet):
            yield f"control.{rule}", with_part(facts, "caller", control=rest)
    for claim, fact in facts.caller.claims.items():
        if isinstance(fact, str):
            yield f"claim {claim}", with_part(facts, "caller", claims={})
    for tie in facts.caller.ties:
        ties = tuple(other for other in facts.caller.ties if other != tie)
        open_ties = facts.caller.open_ties | {tie.label}
        countries = tied_countries(ties, open_ties, COUNTED)
        yield f"tie {tie.label}", with_part(facts, "caller", ties=ties, open_ties=open_ties, countries=countries)


def with_part(facts: Facts, room: str, **changes: Any) -> Facts:
    """Return the facts with other fields in one of their parts."""
    return msgspec.structs.replace(facts, **{room: msgspec.structs.replace(getattr(facts, room), **changes)})
