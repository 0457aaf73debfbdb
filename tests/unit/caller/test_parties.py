# SPDX-License-Identifier: Apache-2.0
"""Claims and registers come to one party, and parties to one caller."""

import math
from collections.abc import Mapping
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.caller.affiliates import AffiliateEntry, ControlRuleEntry, compute_affiliates
from proxy.caller.clients import Client
from proxy.caller.parties import (
    Party,
    Speaking,
    find_live,
    find_span,
    join,
    make_party,
    make_program,
    speak_both,
)
from proxy.caller.people import Engagement
from proxy.caller.register import Register
from proxy.model.caller import NO_PERSON, UNKNOWN_PERSON, Caller, Part, Person, Tie, TieKind
from proxy.model.decision import Reason
from proxy.model.facts import ABSENT, NOT_APPLICABLE, UNKNOWN, Fact, FactSet, State
from tests.support.tokens import an_issuer

COUNTED: Final = frozenset(TieKind) - {TieKind.SUBCONTRACTOR}
REGISTER: Final = (
    {"id": "ly", "country": "JP", "home": "true"},
    {"id": "partner", "country": "KR", "owners_complete": "true", "works_for": []},
    {"id": "shanghai", "country": "CN", "owners_complete": "true", "works_for": []},
    {"id": "sharing", "country": "JP", "home": "true", "shares_accounts": "true", "subcontractors": ["dalian"]},
    {"id": "dalian", "country": "CN", "owners_complete": "true", "works_for": ["sharing"]},
)


def a_register(counted: frozenset[TieKind] = COUNTED, *rows: Mapping[str, Any]) -> Register:
    rule = ControlRuleEntry.model_validate({"id": "majority", "threshold": "50", "default": "true"})
    return compute_affiliates([AffiliateEntry.model_validate(row) for row in rows or REGISTER], [rule], counted).current


AFFILIATES: Final = a_register()
CORP: Final = an_issuer()
JAPANESE: Final[Mapping[str, Any]] = {
    "affiliate": "ly", "kind": "employee", "site_country": "JP", "residence": "JP",
}  # fmt: skip
CONSOLE: Final = Client("console", "ly", autonomous=False)
BATCH: Final = Client("batch", "ly", autonomous=True)
CHINESE_TOOL: Final = Client("tool", "shanghai", autonomous=False)


def a_party(facts: Mapping[str, Fact[Any]] = JAPANESE, principal: str = "corp|alice", **more: Any) -> Party:
    return make_party(CORP, facts, AFFILIATES, principal=principal, **more)


def alone(party: Party, register: Register = AFFILIATES) -> Caller:
    return join(Speaking(party), register)


def countries_of(party: Party, register: Register = AFFILIATES) -> FactSet:
    countries = alone(party, register).countries
    assert isinstance(countries, FactSet)
    return countries


def some(*members: str, is_open: bool = False) -> FactSet:
    return FactSet(frozenset(members), is_open)


# What a claim and a row say of one attribute.

MERGED: Final = [
    pytest.param("ly", "ly", "ly", {"ly"}, False, id="they agree"),
    pytest.param("ly", "shanghai", UNKNOWN, {"ly", "shanghai"}, False, id="they disagree: both tie"),
    pytest.param("ly", UNKNOWN, "ly", {"ly"}, False, id="the row leaves it out"),
    pytest.param(None, "ly", "ly", {"ly"}, False, id="the issuer never says it"),
    pytest.param(UNKNOWN, "ly", UNKNOWN, {"ly"}, True, id="the issuer would say it and does not"),
    pytest.param(ABSENT, "ly", "ly", {"ly"}, False, id="the claim is known to be none"),
    pytest.param(UNKNOWN, UNKNOWN, UNKNOWN, set[str](), True, id="neither says it"),
    pytest.param(ABSENT, UNKNOWN, UNKNOWN, set[str](), True, id="none, and the row leaves it out"),
    pytest.param("ly", "nobody", UNKNOWN, {"ly"}, True, id="the row names one that nobody declared"),
    pytest.param("nobody", "ly", UNKNOWN, {"ly"}, True, id="the claim names one that nobody declared"),
]


@pytest.mark.parametrize(("claim", "row", "affiliate", "ties", "is_open"), MERGED)
def test_an_affiliate_is_what_claim_and_row_agree_on(
    claim: Any,
    row: Any,
    affiliate: Any,
    ties: set[str],
    is_open: bool,  # noqa: FBT001
) -> None:
    facts = {name: fact for name, fact in {**JAPANESE, "affiliate": claim}.items() if fact is not None}
    party = a_party(facts, row=Engagement(affiliate=row))
    assert party.person.affiliate == affiliate
    assert {tie.path[0] for tie in party.ties if tie.label == "employer"} == ties
    assert ("employer" in party.open_ties) is is_open
    assert AFFILIATES.unknown_ties <= party.open_ties or not is_open


@pytest.mark.parametrize("name", ["residence", "site_country"])
@pytest.mark.parametrize(
    ("claim", "row", "fact", "countries", "is_open"),
    [
        pytest.param("JP", "JP", "JP", {"JP"}, False, id="they agree"),
        pytest.param("JP", "CN", UNKNOWN, {"JP", "CN"}, False, id="they disagree: both tie"),
        pytest.param("CN", UNKNOWN, "CN", {"CN"}, False, id="the row leaves it out"),
        pytest.param(None, "CN", "CN", {"CN"}, False, id="the issuer never says it"),
        pytest.param(UNKNOWN, "JP", UNKNOWN, {"JP"}, True, id="the issuer would say it and does not"),
        pytest.param(UNKNOWN, UNKNOWN, UNKNOWN, set[str](), True, id="neither says it"),
    ],
)
def test_a_place_is_what_claim_and_row_agree_on(  # noqa: PLR0917 - one argument a column
    name: str,
    claim: Any,
    row: Any,
    fact: Any,
    countries: set[str],
    is_open: bool,  # noqa: FBT001
) -> None:
    facts = {each: value for each, value in {**JAPANESE, name: claim}.items() if value is not None}
    party = a_party(facts, row=Engagement(affiliate="ly", **{name: row}))
    label = {"residence": "residence", "site_country": "site"}[name]
    assert getattr(party.person, name) == fact
    assert {tie.country for tie in party.ties if tie.label == label} == countries
    assert (label in party.open_ties) is is_open


@pytest.mark.parametrize(
    ("claim", "row", "expected"),
    [
        pytest.param(some("JP"), UNKNOWN, some("JP"), id="the claim alone"),
        pytest.param(None, some("CN"), some("CN"), id="the row alone"),
        pytest.param(some("JP"), some("JP"), some("JP"), id="they agree"),
        pytest.param(some("JP"), some("CN"), some("JP", "CN", is_open=True), id="neither is the whole"),
        pytest.param(some(), some("CN"), some("CN", is_open=True), id="a claim that says none"),
        pytest.param(UNKNOWN, some("JP"), some("JP", is_open=True), id="the issuer would say it and does not"),
        pytest.param(ABSENT, some("CN"), some("CN"), id="the claim is known to be none"),
        pytest.param(UNKNOWN, UNKNOWN, UNKNOWN, id="neither"),
    ],
)
def test_citizenships_are_united(claim: Any, row: Any, expected: Any) -> None:
    facts = dict(JAPANESE) if claim is None else {**JAPANESE, "citizenships": claim}
    assert a_party(facts, row=Engagement(affiliate="ly", citizenships=row)).person.citizenships == expected


def test_where_a_register_is_silent_that_must_speak_what_is_said_ties_and_nothing_is_known() -> None:
    party = a_party({**JAPANESE, "citizenships": some("JP")}, is_doubtful=True)
    person = party.person
    assert {person.affiliate, person.kind, person.site_country, person.residence} == {UNKNOWN}
    assert {tie.label for tie in party.ties} >= {"employer", "site", "residence"}
    assert party.open_ties >= AFFILIATES.unknown_ties | {"site", "residence"}
    assert alone(party).on_behalf_of == UNKNOWN_PERSON


# Who acts for itself.


@pytest.mark.parametrize(
    ("kind", "row", "client", "is_alone"),
    [
        pytest.param("employee", None, None, True, id="a person"),
        pytest.param("service", None, None, False, id="a service that nobody registered"),
        pytest.param("service", None, CONSOLE, False, id="a registered service"),
        pytest.param("service", None, BATCH, True, id="a service registered as autonomous"),
        pytest.param(UNKNOWN, None, None, False, id="whose kind the issuer would say and does not"),
        pytest.param("employee", "service", None, False, id="a person by its token, a service by its row"),
        pytest.param("service", "employee", None, False, id="a service by its token, a person by its row"),
        pytest.param(UNKNOWN, "employee", None, False, id="a person by its row, whose token does not say so"),
        pytest.param("employee", None, BATCH, True, id="an autonomous service whose token says that it is a person"),
    ],
)
def test_behind_a_service_is_somebody_unknown(
    kind: Any,
    row: Any,
    client: Client | None,
    is_alone: bool,  # noqa: FBT001
) -> None:
    given_row = None if row is None else Engagement(affiliate="ly", kind=row)
    caller = alone(a_party({**JAPANESE, "kind": kind}, row=given_row, client=client))
    assert caller.on_behalf_of == (NO_PERSON if is_alone else UNKNOWN_PERSON)
    assert is_alone or caller.open_ties >= {"site", "residence", "employer"}
    assert is_alone or caller.control["majority"].countries.is_open  # type: ignore[union-attr]


def test_somebody_known_behind_a_service_is_whom_it_acts_for() -> None:
    console = a_party({"kind": "service", "site_country": NOT_APPLICABLE}, "corp|console", client=CONSOLE)
    caller = join(Speaking(console, person=a_party()), AFFILIATES)
    assert (caller.principal, caller.on_behalf_of.principal) == ("corp|console", "corp|alice")
    assert caller.countries == some("JP")
    assert {tie.of for tie in caller.ties} == {Part.CALLER, Part.PERSON}


def test_a_service_for_which_a_service_acts_has_somebody_unknown_behind_it() -> None:
    service = a_party({**JAPANESE, "kind": "service"}, "corp|job", client=CONSOLE)
    caller = join(Speaking(a_party(), person=service), AFFILIATES)
    assert caller.on_behalf_of == Person(principal="corp|job"), "nobody else is known there"
    assert caller.open_ties >= {"site", "residence", "employer"}


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        pytest.param(CONSOLE, some("JP"), id="ours"),
        pytest.param(CHINESE_TOOL, some("JP", "CN"), id="one that is run from Shanghai"),
        pytest.param(None, some("JP", is_open=True), id="one that nobody registered"),
    ],
)
def test_a_program_ties_whoever_uses_it(client: Client | None, expected: FactSet) -> None:
    program = make_program(client, AFFILIATES, Part.CLIENT)
    caller = join(Speaking(a_party(), (program,)), AFFILIATES)
    assert caller.countries == expected
    assert (caller.affiliate, caller.kind, caller.residence) == ("ly", "employee", "JP")
    assert caller.on_behalf_of == (NO_PERSON if client else UNKNOWN_PERSON)
    assert {tie.of for tie in caller.ties} <= {Part.CALLER, Part.CLIENT}


# The union.


def test_labels_that_count_for_one_count_for_all() -> None:
    sharing = a_party({**JAPANESE, "affiliate": "sharing"})
    assert countries_of(a_party()) == some("JP")
    assert "CN" in countries_of(sharing).members
    both = join(Speaking(a_party(), person=sharing), AFFILIATES).countries
    assert isinstance(both, FactSet)
    assert "CN" in both.members


def test_who_controls_one_of_them_controls_the_caller() -> None:
    owned = (
        {"id": "ly", "country": "JP", "home": "true"},
        {"id": "boss", "country": "CN", "owners_complete": "true"},
        {"id": "owned", "country": "JP", "owners": [{"id": "boss", "share": "100"}], "owners_complete": "true"},
    )
    register = a_register(COUNTED, *owned)
    ours = make_party(CORP, JAPANESE, register, principal="corp|alice")
    theirs = make_party(CORP, {**JAPANESE, "affiliate": "owned"}, register, principal="corp|bob")
    control = join(Speaking(ours, person=theirs), register).control["majority"]
    assert isinstance(control.countries, FactSet)
    assert isinstance(control.owners, FactSet)
    assert ("CN" in control.countries.members, "boss" in control.owners.members) == (True, True)


def test_where_it_is_unknown_of_one_there_may_be_more() -> None:
    control = join(Speaking(a_party(), person=a_party({})), AFFILIATES).control["majority"]
    assert isinstance(control.countries, FactSet)
    assert control.countries.is_open


def test_until_and_boundary_are_the_first_of_both() -> None:
    both = speak_both(Speaking(a_party(), until=20.0, boundary=5.0), Speaking(a_party(), until=10.0, boundary=7.0))
    assert isinstance(both, Speaking)
    assert (both.until, both.boundary, join(both, AFFILIATES).until) == (10.0, 5.0, 10.0)


# Two credentials.

ALICE, EVE, BOB = (a_party(principal=f"corp|{name}") for name in ("alice", "eve", "bob"))


def test_a_second_credential_says_for_whom_the_first_one_acts() -> None:
    both = speak_both(Speaking(ALICE), Speaking(BOB))
    assert isinstance(both, Speaking)
    assert (both.caller, both.person, both.others) == (ALICE, BOB, ())


def test_whoever_passed_the_second_one_on_takes_part() -> None:
    both = speak_both(Speaking(ALICE), Speaking(EVE, person=BOB))
    assert isinstance(both, Speaking)
    assert (both.caller, both.person, both.others) == (ALICE, BOB, (EVE,))
    caller = join(both, AFFILIATES)
    assert caller.passed_on == ("corp|eve",)
    assert Part.ACTOR in {tie.of for tie in caller.ties}


def test_one_that_acts_for_somebody_already_brings_nobody_else() -> None:
    assert speak_both(Speaking(ALICE, person=BOB), Speaking(EVE)) is Reason.AUTHORIZATION_FOR_TWO


# Rows in time.

NEVER: Final = Engagement(affiliate="ly")
PAST, LIVE, NEXT = (Engagement(affiliate="ly", since=since, until=since + 10) for since in (0.0, 10.0, 20.0))


@pytest.mark.parametrize(
    ("rows", "now", "row", "boundary"),
    [
        pytest.param((), 15.0, None, math.inf, id="no row"),
        pytest.param((NEVER,), 15.0, NEVER, math.inf, id="a row without dates"),
        pytest.param((PAST, LIVE, NEXT), 15.0, LIVE, 20.0, id="between a past one and one to come"),
        pytest.param((PAST, LIVE, NEXT), 10.0, LIVE, 20.0, id="at its first moment"),
        pytest.param((PAST, LIVE), 20.0, None, math.inf, id="no more at its last"),
        pytest.param((NEXT,), 15.0, None, 20.0, id="not before it begins"),
        pytest.param((PAST, NEXT), 15.0, None, 20.0, id="between two"),
        pytest.param((LIVE,), math.nan, None, math.inf, id="at a time that is not known"),
        pytest.param((NEVER,), math.nan, NEVER, math.inf, id="at all times, at a time that is not known"),
    ],
)
def test_one_row_holds_at_a_time(
    rows: tuple[Engagement, ...], now: float, row: Engagement | None, boundary: float
) -> None:
    assert find_live(rows, now) is row
    assert find_span(rows, now)[1] == boundary


# Whatever goes missing frees nobody.

SOME_COUNTRY: Final = st.sampled_from(["JP", "CN", UNKNOWN])
SOME_AFFILIATE: Final = st.sampled_from(["ly", "partner", "shanghai", "sharing", "nobody", UNKNOWN])
SOME_FACTS: Final = st.fixed_dictionaries(
    {"affiliate": SOME_AFFILIATE, "kind": st.sampled_from(["employee", "service", UNKNOWN]),
     "residence": SOME_COUNTRY, "site_country": SOME_COUNTRY},
)  # fmt: skip
SOME_ROW: Final = st.none() | st.builds(
    Engagement, affiliate=SOME_AFFILIATE, kind=st.sampled_from(["employee", "service", UNKNOWN]),
    residence=SOME_COUNTRY, site_country=SOME_COUNTRY,
)  # fmt: skip
SOME_COUNTED: Final = st.frozensets(st.sampled_from(sorted(COUNTED)), min_size=1)
CHECKED: Final = settings(max_examples=60)


def is_no_freer(after: Fact[FactSet], before: Fact[FactSet]) -> bool:
    """Say whether all countries are still there that were, or there may be more."""
    if isinstance(after, State):
        return True
    if after.is_open:
        return True
    return isinstance(before, FactSet) and not before.is_open and before.members <= after.members


@CHECKED
@given(SOME_FACTS, SOME_ROW, SOME_COUNTED, st.sampled_from(["affiliate", "kind", "residence", "site_country"]))
def test_a_claim_that_goes_missing_frees_nobody(
    facts: dict[str, Any], row: Engagement | None, counted: frozenset[TieKind], lost: str
) -> None:
    register = a_register(counted)
    before, after = (
        join(Speaking(make_party(CORP, some_facts, register, principal="p", row=row)), register)
        for some_facts in (facts, {**facts, lost: UNKNOWN})
    )
    assert is_no_freer(after.countries, before.countries)
    assert getattr(after, lost) in {UNKNOWN, NOT_APPLICABLE, getattr(before, lost)}
    assert after.on_behalf_of in (UNKNOWN_PERSON, before.on_behalf_of)


@CHECKED
@given(SOME_FACTS, SOME_ROW, SOME_COUNTED)
def test_a_row_that_must_be_there_and_goes_missing_frees_nobody(
    facts: dict[str, Any], row: Engagement | None, counted: frozenset[TieKind]
) -> None:
    register = a_register(counted)
    before = make_party(CORP, facts, register, principal="p", row=row)
    after = make_party(CORP, facts, register, principal="p", is_doubtful=True)
    kept, lost = (join(Speaking(party), register) for party in (before, after))
    assert is_no_freer(lost.countries, kept.countries)
    assert {lost.affiliate, lost.kind, lost.site_country} == {UNKNOWN}
    assert lost.on_behalf_of == UNKNOWN_PERSON


@CHECKED
@given(SOME_FACTS, SOME_ROW, SOME_COUNTED, st.sampled_from([row["id"] for row in REGISTER if row["id"] != "sharing"]))
def test_an_affiliate_that_goes_missing_frees_nobody(
    facts: dict[str, Any], row: Engagement | None, counted: frozenset[TieKind], gone: str
) -> None:
    rest = [dict(each) for each in REGISTER if each["id"] != gone]
    for each in rest:
        if gone in each.get("subcontractors", ()):
            del each["subcontractors"]
    before, after = (
        join(Speaking(make_party(CORP, facts, register, principal="p", row=row)), register).countries
        for register in (a_register(counted), a_register(counted, *rest))
    )
    assert is_no_freer(after, before)


SOME_PARTY: Final = st.builds(
    lambda facts, row, client: a_party(facts, row=row, client=client),
    SOME_FACTS,
    SOME_ROW,
    st.sampled_from([None, CONSOLE, BATCH]),
) | st.sampled_from([None, CONSOLE, BATCH, CHINESE_TOOL]).map(lambda each: make_program(each, AFFILIATES, Part.CLIENT))


@CHECKED
@given(SOME_PARTY, st.lists(SOME_PARTY, max_size=2), SOME_PARTY)
def test_one_more_who_takes_part_frees_nobody(caller: Party, others: list[Party], more: Party) -> None:
    before = join(Speaking(caller, tuple(others)), AFFILIATES)
    after = join(Speaking(caller, (*others, more)), AFFILIATES)
    assert is_no_freer(after.countries, before.countries)
    assert {(tie.label, tie.country) for tie in before.ties} <= {(tie.label, tie.country) for tie in after.ties}
    assert before.open_ties <= after.open_ties


@CHECKED
@given(SOME_PARTY, SOME_PARTY, st.lists(SOME_PARTY, max_size=3), st.randoms(use_true_random=False))
def test_the_order_of_those_who_passed_it_on_does_not_matter(
    caller: Party, person: Party, others: list[Party], chance: Any
) -> None:
    turned = list(others)
    chance.shuffle(turned)
    before, after = (join(Speaking(caller, tuple(some_), person), AFFILIATES) for some_ in (others, turned))
    assert (before.countries, before.open_ties) == (after.countries, after.open_ties)
    assert sorted(before.ties) == sorted(after.ties)
    assert before.control == after.control


@CHECKED
@given(SOME_FACTS, SOME_COUNTED)
def test_a_service_that_leaves_out_that_it_is_one_is_no_better_off(
    facts: dict[str, Any], counted: frozenset[TieKind]
) -> None:
    register = a_register(counted)
    before, after = (
        join(Speaking(make_party(CORP, {**facts, "kind": kind}, register, principal="p")), register)
        for kind in ("service", UNKNOWN)
    )
    assert is_no_freer(after.countries, before.countries)
    assert after.on_behalf_of == UNKNOWN_PERSON
    assert after.residence is UNKNOWN


def test_every_tie_says_whose_it_is() -> None:
    program = make_program(CHINESE_TOOL, AFFILIATES, Part.CLIENT)
    caller = join(Speaking(ALICE, (program, EVE), BOB), AFFILIATES)
    assert {tie.of for tie in caller.ties} == {Part.CALLER, Part.CLIENT, Part.ACTOR, Part.PERSON}
    assert Tie("employer", "CN", ("shanghai",), Part.CLIENT) in caller.ties


def test_a_service_at_the_other_end_hides_nobody_whom_a_token_names() -> None:
    facts = {"kind": "service", "affiliate": "ly", "site_country": NOT_APPLICABLE}
    mesh = a_party(facts, "mesh|portal", part=Part.CONNECTION)
    caller = join(Speaking(ALICE, (mesh,)), AFFILIATES)
    assert caller.on_behalf_of == NO_PERSON
    assert Part.CONNECTION in {tie.of for tie in caller.ties}
