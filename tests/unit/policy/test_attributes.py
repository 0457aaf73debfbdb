# SPDX-License-Identifier: Apache-2.0
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.model.api import Action, Api, Route, Upstream
from proxy.model.caller import KINDS, UNAUTHENTICATED
from proxy.model.facts import ABSENT, NOT_APPLICABLE, UNKNOWN, Fact, FactSet
from proxy.model.origin import ANONYMOUS
from proxy.policy.attributes import ATTRIBUTES, Attribute, Domain, Resource, Scope, find_attribute
from tests.support.policy_facts import EMPLOYEE, NO_FACTS, VOCABULARY, facts_of, some


def found(name: str) -> Attribute:
    attribute = find_attribute(name, VOCABULARY)
    assert isinstance(attribute, Attribute), attribute
    return attribute


@pytest.mark.parametrize(
    "name",
    [
        "caller.id", "caller.issuer", "caller.issuer_operator", "caller.client", "caller.kind", "caller.affiliate",
        "caller.affiliate_country", "caller.affiliate_roles", "caller.site_country", "caller.residence",
        "caller.citizenships", "caller.groups", "caller.roles", "caller.countries", "origin.country",
        "origin.registered_country", "origin.network", "subject.country", "subject.id", "resource.api",
        "resource.route", "resource.data", "resource.hosted_in", "action", "origin.ip", "purpose", "case", "time",
        "caller.claims.amr", "counts.subjects_1h", "counts.country_subjects_24h", "counts.requests_1m",
    ],
)  # fmt: skip
def test_an_attribute_of_the_design_is_there_and_says_where_it_comes_from(name: str) -> None:
    attribute = found(name)
    assert attribute.name == name
    assert attribute.source
    assert attribute.get(NO_FACTS) is UNKNOWN


@pytest.mark.parametrize(
    "name",
    [
        "subject.persona",
    ],
)  # fmt: skip
def test_an_attribute_of_later_is_refused_as_such(name: str) -> None:
    assert find_attribute(name, VOCABULARY) == f"attribute {name!r} is not yet supported"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        pytest.param("subject.contry", "subject.country", id="a letter lost"),
        pytest.param("caller.country", "caller.countries", id="the singular"),
        pytest.param("caller.afiliate", "caller.affiliate", id="another letter lost"),
        pytest.param("Action", "action", id="a capital"),
        pytest.param("resource.routes", "resource.route", id="the plural"),
        pytest.param("caller.type", "caller.kind", id="another's word"),
        pytest.param("resource.action", "action", id="the action of a resource"),
    ],
)
def test_a_misspelt_attribute_gets_the_nearest(name: str, meant: str) -> None:
    message = find_attribute(name, VOCABULARY)
    assert isinstance(message, str)
    assert message == f"no attribute {name!r} (did you mean {meant!r}?)"


@pytest.mark.parametrize("name", ["timezone", "times", "caseworker", "purposes", "origin.ipv6"])
def test_a_word_that_only_begins_like_a_later_one_is_unknown(name: str) -> None:
    message = find_attribute(name, VOCABULARY)
    assert isinstance(message, str)
    assert message.startswith("no attribute"), message


@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param("caller.control.majorty.countries", "did you mean 'majority'?", id="a misspelt rule"),
        pytest.param("caller.control.majority", "neither in .countries nor in .owners", id="no part"),
        pytest.param("caller.control.majority.owner", "neither in .countries nor in .owners", id="a misspelt part"),
        pytest.param("caller.control..owners", "no control rule ''", id="no rule"),
        pytest.param("caller.control.", "neither in .countries nor in .owners", id="nothing behind the dot"),
    ],
)
def test_a_control_attribute_that_is_none(name: str, words: str) -> None:
    message = find_attribute(name, VOCABULARY)
    assert isinstance(message, str)
    assert words in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("caller.id", "a"),
        ("caller.groups", some("support")),
        ("caller.countries", some("JP")),
        ("caller.control.majority.countries", some("JP")),
        ("caller.control.majority.owners", some("a-holdings")),
        ("origin.network", "office"),
        ("subject.country", "JP"),
        ("resource.data", some("user.name")),
        ("action", "read"),
    ],
)
def test_an_attribute_reads_its_own_fact(name: str, value: object) -> None:
    assert found(name).get(EMPLOYEE) == value


@pytest.mark.parametrize("part", ["countries", "owners"])
@pytest.mark.parametrize(
    ("caller", "expected"),
    [
        pytest.param({"affiliate": "ly"}, UNKNOWN, id="an affiliate that the rule says nothing of"),
        pytest.param({"affiliate": UNKNOWN}, UNKNOWN, id="an unknown affiliate"),
        pytest.param({"affiliate": NOT_APPLICABLE}, NOT_APPLICABLE, id="nobody in particular"),
    ],
)
def test_control_without_an_answer_is_in_the_state_of_the_affiliate(
    part: str, caller: dict[str, Any], expected: Fact[FactSet]
) -> None:
    assert found(f"caller.control.majority.{part}").get(facts_of(caller=caller)) is expected


@pytest.mark.parametrize("name", sorted(name for name in ATTRIBUTES if name.startswith("caller.")))
def test_on_an_unauthenticated_route_every_caller_attribute_is_not_applicable(name: str) -> None:
    facts = facts_of(caller={key: getattr(UNAUTHENTICATED, key) for key in UNAUTHENTICATED.__struct_fields__})
    assert found(name).get(facts) is NOT_APPLICABLE


@pytest.mark.parametrize(("hosted_in", "expected"), [("JP", "JP"), (None, UNKNOWN)])
def test_a_resource_whose_place_nobody_declared_is_unknown(hosted_in: str | None, expected: Fact[str]) -> None:
    api = Api("users", (), Upstream("http://127.0.0.1:9000", hosted_in), forwards_authorization=False)
    route = Route(api, "user", ("GET",), (), Action.READ, None, some(), unauthenticated=False, max_duration_seconds=60)
    assert Resource.of(route, api.upstream) == Resource("users", "user", some(), expected, "read")


def test_the_closed_words_are_those_of_the_model() -> None:
    assert VOCABULARY.values(Domain.KINDS) == frozenset(KINDS)
    assert VOCABULARY.values(Domain.ACTIONS) == {"read", "create", "update", "delete", "export"}
    assert VOCABULARY.values(Domain.FREE) == frozenset()
    assert VOCABULARY.values(Domain.AFFILIATES) == {"ly", "naver", "shanghai-digital"}


@settings(max_examples=200)
@given(st.text(max_size=60) | st.sampled_from(sorted(ATTRIBUTES)).map(lambda name: name + "."))
def test_any_other_name_is_a_sentence_and_never_an_error(name: str) -> None:
    if name not in ATTRIBUTES:
        assert isinstance(find_attribute(name, VOCABULARY), str)


PLACES: dict[str, tuple[Any, Any, Any]] = {
    "at home": ("JP", "JP", "yes"),
    "abroad": ("CN", "JP", "no"),
    "nobody knows where": (UNKNOWN, "JP", UNKNOWN),
    "nobody knows whose home": ("JP", UNKNOWN, UNKNOWN),
    "nobody knows anything": (UNKNOWN, UNKNOWN, UNKNOWN),
    "a home that is said to be none": ("JP", ABSENT, UNKNOWN),
    "a service": ("JP", NOT_APPLICABLE, NOT_APPLICABLE),
    "a service, nobody knows where": (UNKNOWN, NOT_APPLICABLE, NOT_APPLICABLE),
}


@pytest.mark.parametrize(("here", "home", "expected"), PLACES.values(), ids=PLACES)
def test_whether_a_person_is_where_it_lives(here: Any, home: Any, expected: Any) -> None:
    attribute = found("origin.matches_residence")
    facts = facts_of(caller={"residence": home}, origin={"country": here})

    assert attribute.get(facts) == expected
    assert attribute.scope is Scope.MIXED, "it is kept neither with a caller nor with an origin"


def test_what_an_address_hides_and_the_ways_home_are_closed_sets() -> None:
    assert VOCABULARY.values(Domain.ANONYMOUS) == set(ANONYMOUS)
    assert VOCABULARY.values(Domain.YES_NO) == {"yes", "no"}
