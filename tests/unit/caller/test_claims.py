# SPDX-License-Identifier: Apache-2.0
"""Nothing that a claim says is repaired, and nothing beyond what its issuer may assert is believed."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from proxy.caller.claims import MAX_MEMBERS, MAX_VALUE_LENGTH, VerifiedClaims, assert_fact, map_claims
from proxy.caller.issuers import ClaimSource
from proxy.model.facts import ABSENT, EMPTY_SET, UNKNOWN, FactSet, State
from tests.support.tokens import an_issuer


def some(*members: str, is_open: bool = False) -> FactSet:
    return FactSet(frozenset(members), is_open)


FACTS: dict[str, tuple[str, object, object]] = {
    "a text is taken to the letter": ("affiliate", "ly", "ly"),
    "spaces are not cut off": ("affiliate", " ly ", " ly "),
    "letter case is not folded": ("affiliate", "LY", "LY"),
    "an empty text is unknown": ("affiliate", "", UNKNOWN),
    "a number is no text": ("id", 42, UNKNOWN),
    "true is no text": ("id", True, UNKNOWN),
    "a list of one is no text": ("affiliate", ["ly"], UNKNOWN),
    "an object is no text": ("affiliate", {"id": "ly"}, UNKNOWN),
    "the longest text": ("id", "x" * MAX_VALUE_LENGTH, "x" * MAX_VALUE_LENGTH),
    "a text longer than that": ("id", "x" * (MAX_VALUE_LENGTH + 1), UNKNOWN),
    "a kind that exists": ("kind", "employee", "employee"),
    "a kind that does not": ("kind", "intern", UNKNOWN),
    "a kind in capitals": ("kind", "Employee", UNKNOWN),
    "a kind in a list": ("kind", ["employee"], UNKNOWN),
    "a country in lower case": ("residence", "jp", "JP"),
    "a country's name": ("residence", "Japan", UNKNOWN),
    "an alpha-3 code": ("residence", "JPN", UNKNOWN),
    "a padded code": ("residence", "JP ", UNKNOWN),
    "a code in full-width letters": ("residence", "\uff2a\uff30", UNKNOWN),
    "a code whose capitals are two letters more": ("residence", "\xdf", UNKNOWN),
    "a code that no country has": ("residence", "ZZ", UNKNOWN),
    "two countries are no residence": ("residence", ["JP", "CN"], UNKNOWN),
    "groups": ("groups", ["a", "b", "a"], some("a", "b")),
    "no groups": ("groups", [], some()),
    "a group that is a number hides one": ("groups", ["a", 1], some("a", is_open=True)),
    "a group that is empty hides one": ("groups", ["a", ""], some("a", is_open=True)),
    "a group that is null hides one": ("groups", ["a", None], some("a", is_open=True)),
    "a text is no list of groups": ("groups", "support", UNKNOWN),
    "an object is no list of groups": ("groups", {"support": True}, UNKNOWN),
    "the most groups": ("groups", ["a"] * MAX_MEMBERS, some("a")),
    "more groups than that": ("groups", ["a"] * (MAX_MEMBERS + 1), UNKNOWN),
    "citizenships": ("citizenships", ["jp", "KR"], some("JP", "KR")),
    "a citizenship of nowhere hides one": ("citizenships", ["jp", "??"], some("JP", is_open=True)),
    "one citizenship that is no list": ("citizenships", "JP", UNKNOWN),
}


@pytest.mark.parametrize(("attribute", "raw", "fact"), FACTS.values(), ids=FACTS)
def test_a_claim_is_typed_and_never_repaired(attribute: str, raw: object, fact: object) -> None:
    assert assert_fact(attribute, raw, None) == fact


ASSERTED: dict[str, tuple[str, object, frozenset[str], object]] = {
    "a value inside": ("affiliate", "naver", frozenset({"naver"}), "naver"),
    "a value outside is unknown": ("affiliate", "ly", frozenset({"naver"}), UNKNOWN),
    "a value that only looks like one inside": ("affiliate", "naver ", frozenset({"naver"}), UNKNOWN),
    "groups inside": ("groups", ["a"], frozenset({"a", "b"}), some("a")),
    "a group outside is hidden, not dropped": ("groups", ["a", "z"], frozenset({"a"}), some("a", is_open=True)),
    "only groups outside": ("groups", ["z"], frozenset({"a"}), some(is_open=True)),
    "a hidden group stays hidden": ("groups", ["a", 1], frozenset({"a"}), some("a", is_open=True)),
    "a country is compared after reading it": ("residence", "jp", frozenset({"JP"}), "JP"),
    "what is unknown stays so": ("affiliate", 1, frozenset({"naver"}), UNKNOWN),
}


@pytest.mark.parametrize(("attribute", "raw", "may", "fact"), ASSERTED.values(), ids=ASSERTED)
def test_an_issuer_is_believed_what_it_may_assert(
    attribute: str, raw: object, may: frozenset[str], fact: object
) -> None:
    assert assert_fact(attribute, raw, may) == fact


def facts_of(claims: dict[str, Any], **attributes: Any) -> dict[str, Any]:
    return map_claims(an_issuer(attributes=attributes), VerifiedClaims(claims))


def test_every_declared_attribute_is_there_even_if_no_claim_is() -> None:
    facts = facts_of(
        {}, affiliate="a", groups={"claim": "g", "absent": "empty"}, client={"claim": "azp", "absent": "empty"}
    )
    assert facts == {"id": UNKNOWN, "affiliate": UNKNOWN, "groups": EMPTY_SET, "client": ABSENT}


def test_a_claim_that_is_there_and_wrong_is_unknown_even_where_absence_is_empty() -> None:
    assert facts_of({"g": "support"}, groups={"claim": "g", "absent": "empty"})["groups"] is UNKNOWN
    assert facts_of({"g": False}, groups={"claim": "g", "absent": "empty"})["groups"] is UNKNOWN


def test_groups_kept_elsewhere_are_not_taken_for_none() -> None:
    """OpenID Connect Core 5.6.2; providers do so by themselves once somebody has many groups."""
    claims = {"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://graph.example"}}}
    assert facts_of(claims, groups={"claim": "groups", "absent": "empty"})["groups"] == UNKNOWN


COMPUTED: dict[str, tuple[str, object]] = {
    "a function on a claim of another type": ("reverse(a)", 1),
    "a join of numbers": ("join(',', a)", [1]),
    "a slice by nothing": ("a[::0]", [1, 2]),
    "a search in a number": ("contains(a, 'x')", 1),
    "a sort of what cannot be compared": ("sort(a)[0]", ["x", 1]),
    "an answer that is no text": ("contains(a, 'x')", ["x"]),
    "a number": ("a[0]", [10**400]),
    "an expression, not a value": ("&a", 1),
}


@pytest.mark.parametrize(("expression", "value"), COMPUTED.values(), ids=COMPUTED)
def test_an_expression_that_cannot_be_computed_is_unknown(expression: str, value: object) -> None:
    assert facts_of({"a": value}, affiliate=expression)["affiliate"] is UNKNOWN


REFUSED = {
    "another claim instead": "a || b",
    "a constant instead": "a || 'ly'",
    "one claim if another": "a && b",
    "whether there is none": "!a",
    "a comparison": "a == 'x'",
    "a fallback deep inside": "x.y[0].(a || b)",
    "a fallback behind a pipe": "x | (a || b)",
    "a fallback of what was picked": "x[?a].b || c",
    "the first that is there": "not_null(a, b)",
    "several claims as one list": "[a, b]",
    "several claims as one mapping": "{x: a, y: b}",
    "several claims inside a filter's answer": "x[?a].[b, c]",
    "the first of several": "[a, b][0]",
    "what two claims are together": "merge(a, b)",
    "an expression per member": "map(&a, b)",
    "the greatest": "max_by(a, &b)",
    "how many": "length(a)",
    "a number as a text": "to_string(a)",
    "one value as a list": "to_array(a)",
    "a sum": "sum(a)",
    "its type": "type(a)",
    "a function nobody knows": "explode(a)",
    "nothing after a dot": "a.",
    "brackets a thousand deep": "(" * 900 + "a" + ")" * 900,
}


@pytest.mark.parametrize("expression", REFUSED.values(), ids=REFUSED)
def test_an_expression_that_makes_one_known_fact_of_several_is_refused(expression: str) -> None:
    with pytest.raises(ValidationError):
        ClaimSource.model_validate({"claim": expression})


TAKEN = {
    "a claim": ("a", {"a": "x"}),
    "a claim inside a claim": ("a.b.c", {"a": {"b": {"c": "x"}}}),
    "a name that must be quoted": ('"https://example.jp/affiliate"', {"https://example.jp/affiliate": "x"}),
    "a member that is picked by comparing": ("a[?type == 'main'].id | [0]", {"a": [{"type": "main", "id": "x"}]}),
    "a member by its place": ("a[0]", {"a": ["x", "y"]}),
    "parts joined": ("join('-', a)", {"a": ["x"]}),
}


@pytest.mark.parametrize(("expression", "claims"), TAKEN.values(), ids=TAKEN)
def test_an_expression_of_one_claim_is_taken(expression: str, claims: dict[str, Any]) -> None:
    assert facts_of(claims, affiliate=expression)["affiliate"] == "x"


FALLS_BACK = {
    "the first of all claims": ("values(@)[0]", {"a": "CN", "b": "JP"}),
    "the first of whatever is there": ("* | [0]", {"a": "CN", "b": "JP"}),
    "a constant behind a claim": ("a | 'JP'", {"a": "CN"}),
    "a constant alone": ("'JP'", {"a": "CN"}),
}


def _without_one(claims: Any) -> Iterator[Any]:
    """Yield the claims without one member, at every place."""
    if isinstance(claims, dict):
        for key, value in claims.items():
            yield {other: value for other, value in claims.items() if other != key}
            yield from ({**claims, key: less} for less in _without_one(value))
    elif isinstance(claims, list):
        yield from (
            [*claims[:i], less, *claims[i + 1 :]] for i, each in enumerate(claims) for less in _without_one(each)
        )


@pytest.mark.parametrize(("expression", "claims"), FALLS_BACK.values(), ids=FALLS_BACK)
def test_leaving_a_claim_out_never_makes_another_known_fact(expression: str, claims: dict[str, Any]) -> None:
    """DESIGN.md 3: deleting any one claim never turns a deny into an allow. Either it is refused, or that holds."""
    try:
        whole = facts_of(claims, residence=expression)["residence"]
    except ValidationError:
        return
    assert whole == "CN"
    assert all(facts_of(less, residence=expression)["residence"] in {whole, UNKNOWN} for less in _without_one(claims))


def test_a_claim_of_the_bundles_own_is_one_text() -> None:
    facts = facts_of({"desk": "fraud", "desks": ["fraud"]}, **{"claims.desk": "desk", "claims.desks": "desks"})
    assert (facts["claims.desk"], facts["claims.desks"]) == ("fraud", UNKNOWN)


LETTERS = "aJ0 \0\xdf\u6771\ud800"
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(LETTERS, max_size=5)
    | st.sampled_from(["jp", "ly"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(LETTERS, max_size=3), inner, max_size=3),
    max_leaves=8,
)
_NAMES = ("affiliate", "employment_type", "residence_country", "site", "groups", "sub")


@given(st.dictionaries(st.sampled_from(_NAMES), json_values))
def test_no_claim_raises_and_every_fact_is_of_its_type(claims: dict[str, Any]) -> None:
    for attribute, fact in map_claims(an_issuer(), VerifiedClaims(claims)).items():
        expected = FactSet if attribute == "groups" else str
        assert isinstance(fact, (expected, State))
