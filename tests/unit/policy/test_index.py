# SPDX-License-Identifier: Apache-2.0
"""The index answers as asking rule by rule does: that is the plain truth it is held against."""

import pickle
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.model.caller import Caller, Control
from proxy.model.facts import ABSENT, NOT_APPLICABLE, UNKNOWN
from proxy.model.origin import Origin
from proxy.policy.attributes import Facts
from proxy.policy.evaluate import holds
from proxy.policy.index import Index, bits_of, mask_of
from proxy.policy.rules import Block, Rule
from tests.support.policy_draws import CALLERS, FACTS, IN_UNLESS, IN_WHEN, ORIGINS, RESOURCES, RULES
from tests.support.policy_facts import EMPLOYEE, IN_PACK, NO_FACTS, NOW, a_rule, facts_of, some

CHECKED: Final = settings(max_examples=80)


def agrees(index: Index, rules: Sequence[Rule], facts: Facts) -> None:
    """Assert that the index says of every rule what asking it says."""
    truths = [holds(rule, facts) for rule in rules]
    possible, unsure = index.find(facts)
    assert bits_of(possible) == [bit for bit, truth in enumerate(truths) if truth is not False]
    assert bits_of(unsure) == [bit for bit, truth in enumerate(truths) if truth is None]


@CHECKED
@given(RULES, st.lists(FACTS, min_size=1, max_size=4))
def test_the_index_says_what_each_rule_says(rules: list[Rule], many: list[Facts]) -> None:
    index = Index(rules)
    for facts in many + many:  # a second time from what was kept
        agrees(index, rules, facts)
    other, same = pickle.loads(pickle.dumps((index, rules)))  # noqa: S301 - our own
    for facts in many:
        agrees(other, same, facts)


@CHECKED
@given(
    RULES,
    st.lists(CALLERS, min_size=1, max_size=3),
    st.lists(ORIGINS, min_size=1, max_size=2),
    st.lists(RESOURCES, min_size=1, max_size=2),
    st.lists(FACTS, min_size=1, max_size=2),
)
def test_what_is_kept_of_one_part_serves_only_requests_of_that_part(
    rules: list[Rule], callers: list[Any], origins: list[Any], resources: list[Any], rest: list[Facts]
) -> None:
    index = Index(rules)
    for facts in rest * 2:
        for caller in callers:
            for origin in origins:
                for resource in resources:
                    mixed = msgspec.structs.replace(facts, caller=caller, origin=origin, resource=resource)
                    agrees(index, rules, mixed)


def _many() -> list[Rule]:
    """More rules than are worth a mask for each value: every pool goes round at a pace of its own."""
    model = a_rule("r", "deny")
    rules = []
    for number in range(2200):
        side = "allow" if number % 3 else "deny"
        lines, excuses = IN_WHEN[side], IN_UNLESS[side]
        when = (lines[number % len(lines)], lines[(number * 7 + number // 89) % len(lines)])
        blocks = (Block((excuses[number * 5 % len(excuses)],)), Block((excuses[number % 61], excuses[number % 17])))
        own = a_rule("own", "deny", {"caller.id": f"person-{number % 1500}"}).when if number % 4 == 0 else ()
        rules.append(msgspec.structs.replace(model, id=f"r{number}", when=(*when, *own), unless=blocks[: number % 3]))
    return rules


MANY: Final = _many()
INDEX_OF_MANY: Final = Index(MANY)
TRAVELLED: Final = pickle.loads(pickle.dumps((INDEX_OF_MANY, MANY)))  # noqa: S301 - our own


@settings(max_examples=25)
@given(FACTS, st.sampled_from(["person-0", "person-4", "person-1499", "nobody", UNKNOWN]))
def test_thousands_of_rules_answer_alike(facts: Facts, id_: Any) -> None:
    asked = msgspec.structs.replace(facts, caller=msgspec.structs.replace(facts.caller, id=id_))
    agrees(INDEX_OF_MANY, MANY, asked)
    agrees(TRAVELLED[0], TRAVELLED[1], asked)


@pytest.mark.parametrize("facts", [EMPLOYEE, NO_FACTS, facts_of()], ids=["somebody", "nothing", "little"])
@pytest.mark.parametrize("rules", [[], [a_rule("r", "deny")]], ids=["no rules", "one that always holds"])
def test_a_small_index(rules: list[Rule], facts: Facts) -> None:
    agrees(Index(rules), rules, facts)


CHINESE: Final = {"caller.control.majority.countries": {"any": ["CN"]}}
ANY_OWNER: Final = {"caller.control.majority.countries": {"has_all": ["CN"]}}


@pytest.mark.parametrize("when", [CHINESE, ANY_OWNER], ids=["listed in a column", "asked one by one"])
@pytest.mark.parametrize("turned", [False, True], ids=["the pack's rule last", "the pack's rule first"])
def test_a_packs_control_rule_is_not_the_bundles_of_that_name(
    when: dict[str, Any],
    turned: bool,  # noqa: FBT001 - drawn from a table
) -> None:
    rules = [a_rule("ours", "deny", when), a_rule("theirs", "deny", when, IN_PACK)]
    control = {"majority": Control(some("JP"), some()), "pack.majority": Control(some("CN"), some())}
    agrees(Index(rules[::-1] if turned else rules), rules[::-1] if turned else rules, facts_of({"control": control}))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param({"any": ["JP"]}, {"none": ["KR"]}, id="both true"),
        pytest.param({"any": ["JP"]}, {"none": ["JP"]}, id="never both"),
        pytest.param({"none": ["CN"]}, {"none": ["KR"]}, id="two denials"),
    ],
)
@pytest.mark.parametrize("country", ["JP", "KR", "CN", UNKNOWN, ABSENT, NOT_APPLICABLE])
def test_one_attribute_asked_twice_by_one_rule(first: Any, second: Any, country: Any) -> None:
    rules = [a_rule("r", "deny", {"origin.country": first}, unless=[{"origin.country": second}])]
    agrees(Index(rules), rules, facts_of(origin={"country": country}))


@pytest.mark.parametrize("nobody", ["\0", "", "any other", "unknown", "None"])
@pytest.mark.parametrize("line", [["x"], ["x", "y"]], ids=["one value", "two"])
def test_a_value_that_looks_like_one_of_our_own_words_is_a_value(nobody: str, line: list[str]) -> None:
    rules = [a_rule(f"r-{matcher}", "deny", {"caller.id": {matcher: line}}) for matcher in ("any", "none")]
    agrees(Index(rules), rules, facts_of({"id": nobody}))


@pytest.mark.parametrize(
    "moments",
    [
        pytest.param([NOW - 5, NOW, NOW + 5], id="forwards"),
        pytest.param([NOW + 5, NOW - 5, NOW], id="the clock is set back"),
        pytest.param([NOW, UNKNOWN, NOW], id="a reading is missing"),
        pytest.param([0.0, -1.0, 1e12, NOW], id="far away"),
    ],
)
def test_what_the_clock_says_is_kept_only_until_the_next_moment(moments: list[Any]) -> None:
    at = "2027-01-15T08:00:00Z"
    rules = [
        a_rule("before", "allow", {"time": {"lt": at}}),
        a_rule("after", "allow", {"time": {"gt": at}}),
        a_rule("while", "allow", {"time": {"between": [at, "2027-01-15T08:00:05Z"]}}),
        a_rule("except", "allow", unless=[{"time": {"lt": at}}]),
        a_rule("dated", "allow", effective={"from": at}),
    ]
    index = Index(rules)
    for moment in moments:
        agrees(index, rules, facts_of(time=moment))


def test_what_is_kept_is_bounded_and_stays_right() -> None:
    rules = [a_rule("a", "deny", {"caller.id": "person-3"}), a_rule("b", "deny", {"origin.country": {"none": ["JP"]}})]
    index = Index(rules)
    index._room = 8
    for number in range(200):  # objects that nobody holds on to: an id may come again, the answer may not
        agrees(index, rules, facts_of({"id": f"person-{number % 7}"}, {"country": ("JP", "CN")[number % 2]}))
        assert len(index._joint) <= 8
        assert len(index._parts) <= 17


def test_an_answer_is_kept_for_an_object_and_not_for_one_that_equals_it() -> None:
    rules = [a_rule("a", "deny", {"caller.id": "x"})]
    index = Index(rules)
    for id_ in ("x", "y", "x"):
        facts = Facts(Caller(id=id_), Origin(), EMPLOYEE.subject, EMPLOYEE.resource)
        agrees(index, rules, facts)
        agrees(index, rules, facts)


def test_an_error_in_a_test_is_not_kept_as_an_answer() -> None:
    def fails(_: Any) -> Any:
        raise ZeroDivisionError

    rule = a_rule("r", "deny", {"caller.id": {"glob": "a*"}})
    literal = msgspec.structs.replace(rule.when[0].literal, test=fails)
    broken = msgspec.structs.replace(rule, when=(msgspec.structs.replace(rule.when[0], literal=literal),))
    index = Index([broken])
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            index.find(EMPLOYEE)


@given(st.sets(st.integers(0, 300)))
def test_a_mask_and_its_bits(bits: set[int]) -> None:
    assert bits_of(mask_of(bits)) == sorted(bits)
    assert bits_of(mask_of(bits), 3) == sorted(bits)[:3]
