# SPDX-License-Identifier: Apache-2.0
"""Whom a credential speaks of: its subject, the program that it uses, and those who passed it on."""

import math
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.caller.affiliates import AffiliateEntry, ControlRuleEntry, compute_affiliates
from proxy.caller.certificates import CertificateIdentity
from proxy.caller.claims import VerifiedClaims
from proxy.caller.clients import Client, Clients
from proxy.caller.issuers import Issuer
from proxy.caller.parties import Speaking, join
from proxy.caller.people import Engagement, PeopleInMemory
from proxy.caller.register import Affiliates
from proxy.caller.speaking import Registers, speak, speak_of_service
from proxy.model.caller import NO_PERSON, UNKNOWN_PERSON, Caller, Part, TieKind
from proxy.model.facts import UNKNOWN, Fact, FactSet
from tests.support.tokens import CORP, NOW, PARTNER, a_partner, an_issuer

ROWS: Final = (
    {"id": "ly", "country": "JP", "home": "true"},
    {"id": "partner", "country": "KR", "owners_complete": "true", "works_for": []},
    {"id": "shanghai", "country": "CN", "owners_complete": "true", "works_for": []},
)
MAPPED: Final = {
    "affiliate": "affiliate", "kind": "kind", "residence": "residence", "site_country": "site", "client": "azp",
}  # fmt: skip
PROGRAMS: Final = {
    ("corp", "console"): Client("law-console", "ly", autonomous=False),
    ("corp", "nightly"): Client("nightly-batch", "ly", autonomous=True),
    ("corp", "monitor"): Client("monitoring", "shanghai", autonomous=False),
    ("mesh", "spiffe://jp/batch"): Client("batch", "ly", autonomous=True),
    ("mesh", "spiffe://jp/portal"): Client("portal", "ly", autonomous=False),
}
ENGAGED: Final = Engagement("ly", "employee", "JP", "JP", since=NOW - 100, until=NOW + 100)
PEOPLE: Final = {
    ("corp", "alice"): (ENGAGED,),
    ("corp", "eve"): (Engagement("shanghai", "employee", "CN", "CN"),),
    ("partner", "kim"): (Engagement("partner", "employee", "KR", "KR"),),
}
STAFF: Final = {"affiliate": "ly", "kind": "employee", "residence": "JP", "site": "JP", "azp": "web"}


def an_affiliate_register() -> Affiliates:
    rule = ControlRuleEntry.model_validate({"id": "majority", "threshold": "50", "default": "true"})
    counted = frozenset(TieKind) - {TieKind.SUBCONTRACTOR}
    return compute_affiliates([AffiliateEntry.model_validate(row) for row in ROWS], [rule], counted)


AFFILIATES: Final = an_affiliate_register()
REGISTERS: Final = Registers(AFFILIATES, PeopleInMemory(PEOPLE), Clients(PROGRAMS))


def corp(**changes: Any) -> Issuer:
    return an_issuer(attributes=MAPPED, **changes)


def asked(
    claims: dict[str, Any], issuer: Issuer | None = None, registers: Registers = REGISTERS, now: float = NOW
) -> Caller:
    issuer = issuer or corp()
    issuers = {CORP: corp(), PARTNER: a_partner(people="required"), issuer.issuer: issuer}
    found = speak(issuer, VerifiedClaims({"sub": "somebody", **claims}), issuers, registers, now)
    return join(found, registers.at(NOW))


def members(caller: Caller) -> tuple[set[str], bool]:
    assert isinstance(caller.countries, FactSet)
    return set(caller.countries.members), caller.countries.is_open


# Programs.


@pytest.mark.parametrize(
    ("azp", "clients", "expected"),
    [
        pytest.param("console", "optional", ({"JP"}, False), id="a program of ours"),
        pytest.param("monitor", "optional", ({"JP", "CN"}, False), id="one that is run from Shanghai"),
        pytest.param("web", "optional", ({"JP"}, False), id="one that nobody registered, where none must be"),
        pytest.param("web", "required", ({"JP"}, True), id="one that nobody registered, where all must be"),
        pytest.param("Monitor", "required", ({"JP"}, True), id="another case is another program"),
        pytest.param(None, "optional", ({"JP"}, True), id="a claim that is left out might name the one from Shanghai"),
        pytest.param("", "optional", ({"JP"}, True), id="an empty claim"),
        pytest.param(["monitor"], "optional", ({"JP"}, True), id="a list"),
        pytest.param("m" * 257, "optional", ({"JP"}, True), id="a name that is too long"),
        pytest.param(None, "required", ({"JP"}, True), id="a claim that is left out, where all must be registered"),
    ],
)
def test_the_program_that_somebody_uses_ties(azp: Any, clients: str, expected: tuple[set[str], bool]) -> None:
    caller = asked({**STAFF, "azp": azp}, corp(clients=clients))
    assert members(caller) == expected
    assert caller.affiliate == "ly"


def test_where_no_program_is_registered_none_is_missed() -> None:
    registers = Registers(AFFILIATES, PeopleInMemory({}), Clients({}))
    assert members(asked({**STAFF, "azp": None}, registers=registers)) == ({"JP"}, False)


BATCH: Final = {"sub": "nightly", "azp": "nightly", "site": "JP"}


@pytest.mark.parametrize(
    ("claims", "is_alone"),
    [
        pytest.param(BATCH, True, id="a token of its own"),
        pytest.param({**BATCH, "kind": "service"}, True, id="one that says what it is"),
        pytest.param({**BATCH, "sub": "account-7", "kind": "service"}, True, id="an account of the program's"),
        pytest.param({**BATCH, "sub": "account-7"}, False, id="an account that does not say what it is"),
        pytest.param({**BATCH, "azp": "console"}, False, id="somebody of that name at the console"),
        pytest.param({**BATCH, "azp": "web"}, False, id="somebody of that name at a program that nobody knows"),
        pytest.param({**BATCH, "azp": None}, False, id="somebody of that name, who knows where"),
        pytest.param({"sub": "console", "azp": "console", "site": "JP"}, False, id="one that reads for others"),
    ],
)
def test_a_program_acts_by_itself_only_by_its_own_token_and_as_registered(
    claims: dict[str, Any], is_alone: bool,  # noqa: FBT001
) -> None:  # fmt: skip
    caller = asked(claims)
    assert caller.on_behalf_of == (NO_PERSON if is_alone else UNKNOWN_PERSON)
    assert members(caller) == ({"JP"}, not is_alone)


def test_a_program_that_says_that_it_is_a_person_is_taken_for_one_who_uses_it() -> None:
    caller = asked({**STAFF, "sub": "monitor", "azp": "monitor"})
    assert (caller.kind, caller.affiliate) == ("employee", "ly")
    assert members(caller) == ({"JP", "CN"}, False)


def test_a_name_in_the_register_of_people_is_no_program() -> None:
    people = PeopleInMemory({("corp", "nightly"): (ENGAGED,)})
    caller = asked({**BATCH, "kind": None}, registers=Registers(AFFILIATES, people, Clients(PROGRAMS)))
    assert caller.on_behalf_of == UNKNOWN_PERSON
    assert {tie.of for tie in caller.ties} == {Part.CALLER, Part.CLIENT}


# Certificates.


@pytest.mark.parametrize(
    ("name", "affiliate", "behind", "expected"),
    [
        pytest.param("spiffe://jp/batch", "ly", NO_PERSON, ({"JP"}, False), id="a service that reads by itself"),
        pytest.param("spiffe://jp/portal", "ly", UNKNOWN_PERSON, ({"JP"}, True), id="one that reads for somebody"),
        pytest.param("spiffe://jp/other", UNKNOWN, UNKNOWN_PERSON, (set[str](), True), id="one that nobody knows"),
    ],
)
def test_a_service_is_what_the_register_says(
    name: str, affiliate: Any, behind: Any, expected: tuple[set[str], bool]
) -> None:
    mesh = CertificateIdentity("mesh", "ly", None, name, "", NOW - 9, NOW + 9)
    caller = join(speak_of_service(mesh, REGISTERS, Part.CALLER, NOW), REGISTERS.at(NOW))
    assert (caller.principal, caller.affiliate, caller.kind) == (f"mesh|{name}", affiliate, "service")
    assert (caller.on_behalf_of, caller.until) == (behind, NOW + 9)
    assert members(caller) == expected


# Actors.


@pytest.mark.parametrize(
    ("act", "principal", "affiliate", "expected"),
    [
        pytest.param({"sub": "console"}, "corp|console", "ly", ({"JP"}, True), id="a program: sits who knows where"),
        pytest.param({"sub": "alice"}, "corp|alice", "ly", ({"JP"}, False), id="a colleague"),
        pytest.param({"sub": "eve"}, "corp|eve", "shanghai", ({"JP", "CN"}, False), id="somebody in Shanghai"),
        pytest.param({"sub": "mallory"}, "corp|mallory", UNKNOWN, ({"JP"}, True), id="somebody nobody knows"),
        pytest.param(
            {"sub": "mallory", "client_id": "console"}, "corp|mallory", UNKNOWN, ({"JP"}, True),
            id="somebody nobody knows, at the console: the console's name is not theirs",
        ),
        pytest.param(
            {"sub": "alice", "client_id": "monitor"}, "corp|alice", "ly", ({"JP", "CN"}, False),
            id="a colleague at a program that is run from Shanghai",
        ),
        pytest.param(
            {"sub": "nightly", "client_id": "web"}, "corp|nightly", UNKNOWN, ({"JP"}, True),
            id="somebody with the name of a program",
        ),
        pytest.param(
            {"sub": "mallory", "affiliate": "ly", "kind": "employee", "residence": "JP"}, "corp|mallory", UNKNOWN,
            ({"JP"}, True), id="what `act` says besides is not read",
        ),
        pytest.param(
            {"sub": "alice", "iss": CORP}, "corp|alice", "ly", ({"JP"}, False), id="the token's issuer by name",
        ),
        pytest.param(
            {"sub": "kim", "iss": PARTNER}, "partner|kim", "partner", ({"JP", "KR"}, False), id="another issuer's",
        ),
        pytest.param(
            {"sub": "alice", "iss": "https://nobody"}, "?|alice", UNKNOWN, ({"JP"}, True), id="nobody's issuer's",
        ),
    ],
)  # fmt: skip
def test_whoever_acts_is_the_caller_and_the_subject_is_whom_it_acts_for(
    act: dict[str, Any], principal: str, affiliate: Any, expected: tuple[set[str], bool]
) -> None:
    caller = asked({**STAFF, "sub": "bob", "act": act})
    assert (caller.principal, caller.affiliate) == (principal, affiliate)
    assert (caller.on_behalf_of.principal, caller.on_behalf_of.affiliate) == ("corp|bob", "ly")
    assert members(caller) == expected


def test_an_issuer_names_nobody_of_anothers_whom_it_may_not_assert() -> None:
    """In 2024 the breach came through authentication that was shared with the parent."""
    caller = asked({"sub": "kim", "affiliate": "partner", "act": {"sub": "alice", "iss": CORP}}, a_partner())
    assert (caller.principal, caller.affiliate, caller.kind, caller.issuer) == ("corp|alice", *3 * [UNKNOWN])
    assert members(caller)[1], "it may be anybody"


def test_all_who_passed_it_on_tie_and_are_named() -> None:
    chain = {"sub": "alice", "act": {"sub": "console", "act": {"sub": "eve", "client_id": "monitor"}}}
    caller = asked({**STAFF, "sub": "bob", "act": chain})
    assert (caller.principal, caller.passed_on) == ("corp|alice", ("corp|console", "corp|eve"))
    assert {tie.of for tie in caller.ties} == {Part.CALLER, Part.ACTOR, Part.PERSON, Part.CLIENT}
    assert members(caller) == ({"JP", "CN"}, True)


def test_a_bar_in_a_name_makes_nobody_else() -> None:
    """``corp|x|alice`` is x|alice of corp, never alice of another issuer."""
    assert asked({**STAFF, "sub": "x|alice"}).principal == "corp|x|alice"
    people = PeopleInMemory({("corp|x", "alice"): (ENGAGED,)})
    caller = asked({**STAFF, "sub": "x|alice"}, corp(people="required"), Registers(AFFILIATES, people, Clients({})))
    assert caller.affiliate is UNKNOWN


# Rows.


@pytest.mark.parametrize(
    ("now", "affiliate", "until", "boundary"),
    [
        pytest.param(NOW - 101, UNKNOWN, math.inf, NOW - 100, id="before the engagement"),
        pytest.param(NOW - 100, "ly", NOW + 100, NOW + 100, id="at its first moment"),
        pytest.param(NOW + 99, "ly", NOW + 100, NOW + 100, id="before its last"),
        pytest.param(NOW + 100, UNKNOWN, math.inf, math.inf, id="at its last"),
        pytest.param(math.nan, UNKNOWN, math.inf, math.inf, id="at a time that is not known"),
    ],
)
@pytest.mark.parametrize("is_actor", [False, True], ids=["the caller's row", "an actor's row"])
def test_what_a_row_says_ends_with_it(
    now: float, affiliate: Any, until: float, boundary: float, is_actor: bool,  # noqa: FBT001
) -> None:  # fmt: skip
    issuer = an_issuer(attributes={}, people="required")
    claims = {"sub": "bob", "act": {"sub": "alice"}} if is_actor else {"sub": "alice"}
    found: Speaking = speak(issuer, VerifiedClaims(claims), {CORP: issuer}, REGISTERS, now)
    assert found.caller.person.affiliate == affiliate
    assert (found.until, found.boundary) == (until, boundary)


# Whatever goes missing frees nobody.

CHECKED: Final = settings(max_examples=80)
NAMES: Final = ("alice", "eve", "console", "nightly", "monitor", "mallory")
SOME_ACTOR: Final = st.fixed_dictionaries(
    {"sub": st.sampled_from(NAMES)}, optional={"client_id": st.sampled_from(("console", "monitor", "web"))}
)
SOME_CLAIMS: Final = st.fixed_dictionaries(
    {"sub": st.sampled_from(NAMES)},
    optional={
        "affiliate": st.sampled_from(("ly", "shanghai", "nobody")),
        "kind": st.sampled_from(("employee", "service", "alien")),
        "residence": st.sampled_from(("JP", "CN")),
        "site": st.sampled_from(("JP", "CN")),
        "azp": st.sampled_from(("console", "monitor", "nightly", "web", "", "mallory")),
        "act": SOME_ACTOR | st.builds(lambda one, other: {**one, "act": other}, SOME_ACTOR, SOME_ACTOR),
    },
)


def is_no_freer(after: Fact[FactSet], before: Fact[FactSet]) -> bool:
    if not isinstance(after, FactSet) or after.is_open:
        return True
    return isinstance(before, FactSet) and not before.is_open and before.members <= after.members


@CHECKED
@given(SOME_CLAIMS, st.sampled_from(("azp", "residence", "site")), st.sampled_from(("optional", "required")))
def test_a_claim_that_goes_missing_frees_nobody(claims: dict[str, Any], lost: str, needed: str) -> None:
    issuer = corp(people=needed, clients=needed)
    rest = {name: value for name, value in claims.items() if name != lost}
    assert is_no_freer(asked(rest, issuer).countries, asked(claims, issuer).countries)


@CHECKED
@given(SOME_CLAIMS, st.sampled_from(sorted(PEOPLE)))
def test_a_row_of_a_person_that_must_be_there_and_goes_missing_frees_nobody(
    claims: dict[str, Any], gone: tuple[str, str]
) -> None:
    rest = {name: rows for name, rows in PEOPLE.items() if name != gone}
    issuer = corp(people="required")
    before = asked(claims, issuer)
    after = asked(claims, issuer, Registers(AFFILIATES, PeopleInMemory(rest), Clients(PROGRAMS)))
    assert is_no_freer(after.countries, before.countries)
    assert after.affiliate in {UNKNOWN, before.affiliate}
    assert after.on_behalf_of in (UNKNOWN_PERSON, before.on_behalf_of) or after.on_behalf_of.affiliate is UNKNOWN


@CHECKED
@given(SOME_CLAIMS, st.sampled_from(sorted(PROGRAMS)))
def test_a_program_that_must_be_there_and_goes_missing_frees_nobody(
    claims: dict[str, Any], gone: tuple[str, str]
) -> None:
    rest = {name: client for name, client in PROGRAMS.items() if name != gone}
    issuer = corp(people="required", clients="required")
    before = asked(claims, issuer)
    after = asked(claims, issuer, Registers(AFFILIATES, PeopleInMemory(PEOPLE), Clients(rest)))
    assert is_no_freer(after.countries, before.countries)


@CHECKED
@given(SOME_CLAIMS, SOME_ACTOR)
def test_one_more_actor_frees_nobody(claims: dict[str, Any], actor: dict[str, Any]) -> None:
    before = asked(claims)
    after = asked({**claims, "act": {**actor, **({"act": claims["act"]} if "act" in claims else {})}})
    assert is_no_freer(after.countries, before.countries)
