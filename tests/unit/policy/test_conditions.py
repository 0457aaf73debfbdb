# SPDX-License-Identifier: Apache-2.0
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.model.caller import Control, Tie
from proxy.model.country import NAMES
from proxy.model.counts import Counts
from proxy.model.decision import Effect
from proxy.model.facts import ABSENT, NOT_APPLICABLE, UNKNOWN, Truth
from proxy.model.problem import Problem
from proxy.policy.attributes import ATTRIBUTES
from proxy.policy.compile import compile_purpose, compile_rule
from proxy.policy.evaluate import decide, holds
from proxy.policy.policy import Policy
from proxy.policy.rules import PurposeEntry, Rule, RuleEntry
from tests.support.policy_facts import (
    EMPLOYEE,
    IN_PACK,
    VOCABULARY,
    a_rule,
    compile_lines,
    entry_of,
    facts_of,
    some,
    sound,
)


def problems(when: Any, effect: str = "deny") -> list[Problem]:
    compiled = compile_lines(when, effect)
    assert isinstance(compiled, list), f"{when} was taken"
    assert compiled, "a rule is refused with at least one problem"
    return compiled


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        pytest.param({"subject.country": "JP"}, True, id="a value"),
        pytest.param({"subject.country": {"any": ["KR", "JP"]}}, True, id="any of a list"),
        pytest.param({"subject.country": {"none": ["KR"]}}, True, id="none of a list"),
        pytest.param({"subject.country": {"not": "JP"}}, False, id="not a value"),
        pytest.param({"subject.country": {"any": "$china"}}, False, id="any of a set"),
        pytest.param({"subject.country": {"any": ["$china", "JP"]}}, True, id="a set inside a list"),
        pytest.param({"caller.countries": {"has_all": ["JP"]}}, True, id="ties, all of a list"),
        pytest.param({"caller.client": {"exists": "true"}}, None, id="there or not, nobody knows"),
        pytest.param({"caller.id": {"glob": "a*"}}, True, id="a pattern"),
        pytest.param({"time": {"gt": "2027-01-15T08:00:00Z"}}, None, id="a time that is not known"),
        pytest.param({"expr": 'caller.kind == "employee"'}, True, id="an expression"),
        pytest.param({"caller.countries": {"any": "$china", "by": ["subcontractor"]}}, True, id="ties by a kind"),
        pytest.param({"caller.countries": {"any": "$china", "by": ["employer"]}}, False, id="ties by another"),
        pytest.param({"caller.control.majority.countries": {"any": ["JP"]}}, True, id="control"),
        pytest.param({"caller.groups": {"any": ["support", "x"]}}, True, id="groups are free words"),
        pytest.param({"resource.data": {"any": ["user"]}}, True, id="a category above the declared ones"),
        pytest.param({"resource.data": {"none": ["user.contact"]}}, True, id="a category that is not there"),
        pytest.param({"caller.kind": "employee", "action": "read"}, True, id="two lines, both true"),
        pytest.param({"caller.kind": "employee", "action": "delete"}, False, id="two lines, one false"),
        pytest.param({"caller.kind": "employee", "caller.residence": "JP"}, None, id="two lines, one unknown"),
        pytest.param({"action": "delete", "caller.residence": "JP"}, False, id="false beats unknown"),
        pytest.param({"always": "true"}, True, id="always"),
        pytest.param({"origin.asn": "AS4134"}, None, id="an autonomous system that is not known"),
        pytest.param({"origin.asn": {"glob": "AS41*"}}, None, id="a pattern of autonomous systems"),
        pytest.param({"origin.anonymous": {"any": ["vpn", "tor"]}}, None, id="nobody knows what the address hides"),
        pytest.param({"origin.matches_residence": "no"}, None, id="nobody knows where somebody lives"),
    ],
)
def test_a_sound_rule_asks_what_it_says(when: dict[str, Any], expected: Truth) -> None:
    compiled = compile_lines(when, _side(when))
    assert isinstance(compiled, Rule), compiled
    assert holds(compiled, EMPLOYEE) is expected


def _side(when: dict[str, Any]) -> str:
    """Return an effect that takes the lines: in a deny rule, what ends says `reopens`, too."""
    return "allow" if "time" in when else "deny"


@pytest.mark.parametrize(
    ("when", "path", "words"),
    [
        pytest.param({}, ("when",), "always: true", id="an empty when"),
        pytest.param({"always": "false"}, ("when", "always"), "stands alone", id="never"),
        pytest.param({"always": ["true"]}, ("when", "always"), "stands alone", id="always as a list"),
        pytest.param({"always": "true", "action": "read"}, ("when", "always"), "stands alone", id="always and more"),
        pytest.param({"subject.contry": "JP"}, ("when", "subject.contry"), "'subject.country'", id="no attribute"),
        pytest.param({"expr": "true"}, ("when", "expr"), "asks about no attribute", id="an expression of nothing"),
        pytest.param({"expr": ["x"]}, ("when", "expr"), "expected a CEL expression", id="a list as an expression"),
        pytest.param({"expr": 'caller.kind == "boss"'}, ("when", "expr"), "no value 'boss'", id="a value in one"),
        pytest.param({"expr": 'subject.country == "UK"'}, ("when", "expr"), "GB", id="a country in one"),
        pytest.param({"expr": '"JP" in caller.countries'}, ("when", "expr"), "may not read", id="ties in one"),
        pytest.param({"unless": "x"}, ("when", "unless"), "no attribute", id="unless"),
        pytest.param({"purpose": "x"}, ("when", "purpose"), "law-enforcement", id="no purpose"),
        pytest.param({"origin.ip": "10.0.0.1"}, ("when", "origin.ip"), "{cidr: [10.0.0.1]}", id="a bare address"),
        pytest.param({"origin.ip": {"any": ["10.0.0.1"]}}, ("when", "origin.ip", "any"), "no matcher", id="listed"),
        pytest.param({"origin.ip": {"cidr": []}}, ("when", "origin.ip", "cidr"), "at least one", id="no block"),
        pytest.param({"origin.ip": {"cidr": [["x"]]}}, ("when", "origin.ip", "cidr", 0), "single", id="a nested block"),
        pytest.param({"origin.ip": {"cidr": "10.0.0.1/8"}}, ("when", "origin.ip", "cidr"), "host bits", id="host bits"),
        pytest.param({"origin.ip": {"cidr": ["10.0.0.0/8", "::ffff:0:0/96"]}}, ("when", "origin.ip", "cidr", 1), "IPv4",
                     id="IPv4 as IPv6"),
        pytest.param({"time": "2027-01-01"}, ("when", "time"), "{lt: 2027-01-01}", id="a bare instant"),
        pytest.param({"time": {"lt": "2027-01-01"}}, ("when", "time", "lt"), "RFC 3339", id="a day"),
        pytest.param({"time": {"lt": ["2027-01-01T00:00:00Z"]}}, ("when", "time", "lt"), "RFC 3339", id="lt of a list"),
        pytest.param({"time": {"between": "2027-01-01T00:00:00Z"}}, ("when", "time", "between"), "two instants",
                     id="between one"),
        pytest.param({"time": {"between": ["2027-01-02T00:00:00Z", "2027-01-01T00:00:00Z"]}},
                     ("when", "time", "between"), "does not come after", id="between, turned round"),
        pytest.param({"time": {"between": ["x", "2027-01-01T00:00:00Z"]}}, ("when", "time", "between", 0), "RFC 3339",
                     id="between, one wrong"),
        pytest.param({"counts.subjects_1h": "5"}, ("when", "counts.subjects_1h"), "write {gt: 5}", id="a bare number"),
        *(pytest.param({"counts.subjects_1h": {"gt": raw}}, ("when", "counts.subjects_1h", "gt"), "whole number from 1",
                       id=f"the number {raw}")
          for raw in ("0", "-1", "1.5", "05", "1e3", "\uff15", "100001", "many", "", ["5"])),
        pytest.param({"counts.subjects_1h": {"lt": "5"}}, ("when", "counts.subjects_1h", "lt"), "use `gt`",
                     id="a deny rule that spares whoever reads more"),
        pytest.param({"counts.subjects_1h": {"between": ["1", "5"]}}, ("when", "counts.subjects_1h", "between"),
                     "no matcher", id="a number between others"),
        pytest.param({"counts.subjects_2h": {"gt": "5"}}, ("when", "counts.subjects_2h"), "'counts.subjects_", id="2h"),
        pytest.param({"expr": 'counts.subjects_1h == "5"'}, ("when", "expr"), "write a matcher", id="a number in one"),
        pytest.param({"caller.id": {"glob": "abc"}}, ("when", "caller.id", "glob"), "no pattern", id="no star"),
        pytest.param({"caller.id": {"glob": "*"}}, ("when", "caller.id", "glob"), "no pattern", id="only stars"),
        pytest.param({"caller.id": {"glob": "a*********"}}, ("when", "caller.id", "glob"), "no pattern", id="9 stars"),
        pytest.param({"caller.id": {"glob": ["a*", "a?*"]}}, ("when", "caller.id", "glob", 1), "only `*`", id="a ?"),
        pytest.param({"subject.country": {"glob": "J*"}}, ("when", "subject.country", "glob"), "no matcher",
                     id="a pattern of countries"),
        pytest.param({"caller.id": {"exists": "yes"}}, ("when", "caller.id", "exists"), "true or false", id="yes"),
        pytest.param({"caller.id": {"exists": ["true"]}}, ("when", "caller.id", "exists"), "true or false",
                     id="exists of a list"),
        pytest.param({"caller.id": {"exists": {}}}, ("when", "caller.id", "exists"), "true or false",
                     id="exists of a mapping"),
        pytest.param({"caller.id": "\0"}, ("when", "caller.id"), "invisible", id="a character that nobody sees"),
        pytest.param({"caller.control.minority.owners": {"any": ["ly"]}}, ("when", "caller.control.minority.owners"),
                     "'majority'", id="no control rule"),
        pytest.param({"caller.claims.arm": "x"}, ("when", "caller.claims.arm"), "'amr'", id="no claim"),
        pytest.param({"subject.country": "$china"}, ("when", "subject.country"), "{any: $china}", id="a bare set"),
        pytest.param({"subject.country": ["JP"]}, ("when", "subject.country"), "any, none, not", id="a bare list"),
        pytest.param({"subject.country": {}}, ("when", "subject.country"), "any, none, not", id="an empty mapping"),
        pytest.param({"subject.country": ""}, ("when", "subject.country"), "no ISO 3166-1", id="an empty value"),
        pytest.param({"caller.id": ""}, ("when", "caller.id"), "is empty", id="an empty text"),
        pytest.param({"caller.id": {"any": [""]}}, ("when", "caller.id", "any", 0), "is empty", id="an empty member"),
        pytest.param(
            {"subject.country": {"any": ["JP", "UK"]}}, ("when", "subject.country", "any", 1), "GB", id="UK in a list"
        ),
        pytest.param({"subject.country": {"not": "cn"}}, ("when", "subject.country", "not"), "CN", id="lower case"),
        pytest.param({"subject.country": {"not": ["CN"]}}, ("when", "subject.country", "not"), "none", id="not a list"),
        pytest.param({"subject.country": {"not": "$china"}}, ("when", "subject.country", "not"), "none", id="not, set"),
        pytest.param(
            {"subject.country": {"any": "CN"}}, ("when", "subject.country", "any"), "expected a list", id="any, bare"
        ),
        pytest.param({"subject.country": {"any": []}}, ("when", "subject.country", "any"), "at least one", id="any []"),
        pytest.param({"subject.country": {"any": {}}}, ("when", "subject.country", "any"), "at least one", id="any {}"),
        pytest.param(
            {"subject.country": {"any": [["CN"]]}}, ("when", "subject.country", "any", 0), "single", id="a list inside"
        ),
        pytest.param(
            {"subject.country": {"any": "$chna"}}, ("when", "subject.country", "any"), "'$china'", id="a misspelt set"
        ),
        pytest.param(
            {"caller.groups": {"any": ["$china"]}}, ("when", "caller.groups", "any", 0), "set of countries",
            id="countries as groups",
        ),
        pytest.param(
            {"subject.country": {"any": ["JP"], "none": ["KR"]}}, ("when", "subject.country"), "exactly one",
            id="two matchers",
        ),
        pytest.param({"subject.country": {"anny": ["JP"]}}, ("when", "subject.country", "anny"), "'any'", id="a typo"),
        pytest.param({"subject.country": {"only": ["JP"]}}, ("when", "subject.country", "only"), "no matcher",
                     id="a matcher of sets on a scalar"),
        pytest.param({"caller.groups": "support"}, ("when", "caller.groups"), "{any: [support]}", id="bare group"),
        pytest.param({"caller.groups": ["support"]}, ("when", "caller.groups"), "any, none, only", id="bare groups"),
        pytest.param({"caller.groups": {"not": "x"}}, ("when", "caller.groups", "not"), "no matcher", id="not of sets"),
        pytest.param({"caller.affiliate": "naverr"}, ("when", "caller.affiliate"), "'naver'", id="no affiliate"),
        pytest.param({"caller.kind": "emploee"}, ("when", "caller.kind"), "'employee'", id="no kind"),
        pytest.param({"caller.issuer": {"any": ["corp", "crop"]}}, ("when", "caller.issuer", "any", 1), "'corp'",
                     id="no issuer"),
        pytest.param({"origin.network": "offic"}, ("when", "origin.network"), "'office'", id="no network"),
        pytest.param({"resource.route": "usr"}, ("when", "resource.route"), "'user'", id="no route"),
        pytest.param({"action": "reed"}, ("when", "action"), "'read'", id="no action"),
        pytest.param({"caller.affiliate_roles": {"any": ["parnt"]}}, ("when", "caller.affiliate_roles", "any", 0),
                     "'parent'", id="no role"),
        pytest.param({"resource.data": {"any": ["user.nme"]}}, ("when", "resource.data", "any", 0), "'user.name'",
                     id="no category"),
        pytest.param({"resource.data": {"any": ["User"]}}, ("when", "resource.data", "any", 0), "no data category",
                     id="a category with a capital"),
        pytest.param({"caller.countries": {"any": "$china", "by": []}}, ("when", "caller.countries", "by"), "employer",
                     id="by nothing"),
        pytest.param({"caller.countries": {"any": "$china", "by": "employer"}}, ("when", "caller.countries", "by"),
                     "a list", id="by a bare word"),
        pytest.param({"caller.countries": {"any": "$china", "by": ["emplyer"]}},
                     ("when", "caller.countries", "by", 0), "'employer'", id="by a misspelt kind"),
        pytest.param({"caller.countries": {"any": "$china", "by": [["employer"]]}},
                     ("when", "caller.countries", "by", 0), "tie", id="by a list in the list"),
        pytest.param({"caller.countries": {"any": "$china", "by": [{"employer": "x"}]}},
                     ("when", "caller.countries", "by", 0), "tie", id="by a mapping in the list"),
        pytest.param({"caller.countries": {"by": ["employer"]}}, ("when", "caller.countries"), "exactly one",
                     id="by without a matcher"),
        pytest.param({"caller.citizenships": {"any": ["CN"], "by": ["employer"]}}, ("when", "caller.citizenships",
                     "by"),
                     "no matcher 'by'", id="by where there are no ties"),
    ],
)  # fmt: skip
def test_a_rule_that_is_wrong_says_where_and_what(when: dict[str, Any], path: tuple[Any, ...], words: str) -> None:
    (problem,) = problems(when, _side(when))
    assert problem.path == path
    assert words in problem.message


@pytest.mark.parametrize(
    ("entry", "path", "words"),
    [
        pytest.param({"when": {"time": {"lt": "2027-01-01T00:00:00Z"}}}, ("when", "time"), "`reopens: true`",
                     id="a deny that ends unseen"),
        pytest.param({"when": {"action": "read"}, "unless": [{"time": {"gt": "2027-01-01T00:00:00Z"}}]},
                     ("unless", 0, "time"), "`reopens: true`", id="an exception that begins unseen"),
        pytest.param({"when": {"origin.network": {"glob": "off*"}}}, ("when", "origin.network", "glob"),
                     "goes missing", id="networks by a pattern"),
        pytest.param({"when": {"origin.network": {"exists": "true"}}}, ("when", "origin.network", "exists"),
                     "goes missing", id="in some network"),
        pytest.param({"when": {"expr": "origin.network == null"}}, ("when", "expr"), "goes missing",
                     id="a network in an expression"),
        pytest.param({"when": {"expr": '"CN" in caller.countries'}}, ("when", "expr"), "may not read",
                     id="ties in an expression"),
        pytest.param({"when": {"expr": 'caller.residence == "$china"'}}, ("when", "expr"), "sets are for matchers",
                     id="a set in an expression"),
        pytest.param({"when": {"expr": 'caller.kind == "employe"'}}, ("when", "expr"), "caller.kind has no value",
                     id="a misspelt value in an expression"),
        pytest.param({"effect": "allow", "when": {"action": "read"}, "unless": [{"caller.groups": {"any": ["b"]}}]},
                     ("unless", 0, "caller.groups", "any"), "lacks the claim", id="who leaves the claim out is spared"),
        pytest.param({"effect": "allow", "when": {"action": "read"}, "unless": [{"caller.client": "b"}]},
                     ("unless", 0, "caller.client", "any"), "lacks the claim", id="the same by a bare value"),
        pytest.param({"effect": "allow", "when": {"action": "read"}, "unless": [{"expr": 'caller.client == "b"'}]},
                     ("unless", 0, "expr"), "lacks the claim", id="the same by an expression"),
    ],
)  # fmt: skip
def test_what_would_open_unseen_is_refused(entry: dict[str, Any], path: tuple[Any, ...], words: str) -> None:
    found = compile_rule(RuleEntry.model_validate({"id": "r", "effect": "deny", **entry}), VOCABULARY)
    assert isinstance(found, list), found
    (problem,) = found
    assert problem.path == path
    assert words in problem.message


def test_only_good_ties_is_not_said_of_somebody_without_any() -> None:
    compiled = compile_lines({"caller.countries": {"only": ["JP"], "by": ["residence"]}}, "allow")
    assert isinstance(compiled, Rule)
    nobody = facts_of({"countries": some("JP"), "ties": (Tie("employer", "JP"),)})
    assert holds(compiled, nobody) is None
    assert decide(Policy([compiled]), nobody).effect is Effect.DENY


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("UK", "GB"), ("EU", "country_sets"), ("cn", "CN"), ("Japan", "JP"), ("JPN", "JP"), ("CHN", "CN"),
        (" JP", "JP"), ("EL", "GR"), ("south korea", "KR"), ("Taiwan", "TW"),
    ],
)  # fmt: skip
def test_a_country_that_is_none_says_what_was_meant(text: str, meant: str) -> None:
    (problem,) = problems({"subject.country": text})
    assert meant in problem.message.removeprefix(repr(text)), problem.message


def test_every_wrong_line_of_a_rule_is_told_at_once() -> None:
    when = {
        "subject.contry": "JP",
        "caller.kind": "x",
        "origin.country": {"any": ["UK", "cn"]},
        "action": {"anny": "x"},
    }
    assert [problem.path for problem in problems(when)] == [
        ("when", "subject.contry"),
        ("when", "caller.kind"),
        ("when", "origin.country", "any", 0),
        ("when", "origin.country", "any", 1),
        ("when", "action", "anny"),
    ]


@pytest.mark.parametrize(
    ("when", "matcher"),
    [
        pytest.param({"caller.countries": {"any": ["JP"]}}, "any", id="one good tie"),
        pytest.param({"caller.countries": {"any": ["JP"], "by": ["control"]}}, "any", id="one good tie of a kind"),
        pytest.param({"caller.control.majority.countries": {"any": ["JP"]}}, "any", id="one good owner among several"),
        pytest.param({"caller.groups": {"none": ["banned"]}}, "none", id="no claim, so not banned"),
        pytest.param({"caller.groups": {"only": ["support"]}}, "only", id="no claim, so nothing else"),
        pytest.param({"caller.client": {"not": "x"}}, "not", id="no client, so not that one"),
        pytest.param({"caller.client": {"none": ["x"]}}, "none", id="no client, so none of those"),
        pytest.param({"caller.client": {"exists": "false"}}, "exists", id="no client at all"),
        pytest.param({"caller.claims.level": {"not": "low"}}, "not", id="a claim of the bundle's own"),
    ],
)
def test_an_allow_rule_may_not_be_excused(when: dict[str, Any], matcher: str) -> None:
    assert isinstance(compile_lines(when, "deny"), Rule)
    (problem,) = problems(when, "allow")
    assert problem.path == ("when", next(iter(when)), matcher)
    assert problem.at_key


@pytest.mark.parametrize(
    "when",
    [
        pytest.param({"caller.groups": {"any": ["support"]}}, id="any of an emptied claim"),
        pytest.param({"caller.roles": {"none": ["x"]}}, id="none of a claim whose absence is unknown"),
        pytest.param({"caller.countries": {"none": "$china"}}, id="no tie to China"),
        pytest.param({"caller.countries": {"only": ["JP"], "by": ["employer"]}}, id="only, by kind"),
    ],
)
def test_an_allow_rule_may_ask_what_no_missing_fact_excuses(when: dict[str, Any]) -> None:
    assert isinstance(compile_lines(when, "allow"), Rule)


SHAPES = st.recursive(
    st.sampled_from(["", "JP", "UK", "$china", "$", "employee", "ly", "user.name", "true", "employer", "naver"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["any", "none", "not", "only", "by", "glob", "exists", "cidr", "lt", "between", "has_all", "x"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)
TIES = st.fixed_dictionaries({"any": SHAPES, "by": SHAPES | st.lists(SHAPES, min_size=1, max_size=2)})
NAMES_OF_LINES = st.sampled_from(
    [*ATTRIBUTES, "always", "expr", "unless", "time", "x", "", "caller.control.majority.countries"]
)


@settings(max_examples=400)
@given(
    st.dictionaries(NAMES_OF_LINES, SHAPES, max_size=3) | st.fixed_dictionaries({"caller.countries": TIES}),
    st.sampled_from(["allow", "deny"]),
)
def test_whatever_stands_under_when_is_a_rule_or_problems_inside_it(when: dict[str, Any], effect: str) -> None:
    compiled = compile_lines(when, effect)
    if isinstance(compiled, Rule):
        for facts in (EMPLOYEE, facts_of(), facts_of(caller=dict.fromkeys(("countries", "groups"), NOT_APPLICABLE))):
            assert holds(compiled, facts) in {True, False, None}
    else:
        assert compiled
        assert all(problem.path[0] == "when" and problem.message for problem in compiled)


@pytest.mark.parametrize("fact", [ABSENT, NOT_APPLICABLE])
def test_an_allow_rule_that_loads_is_not_true_of_a_claim_that_is_missing(fact: Any) -> None:
    facts = facts_of(caller={"client": fact, "groups": some() if fact is ABSENT else fact})
    for name in ("caller.client", "caller.groups"):
        for matcher in ("any", "none", "only", "not", "has_all", "exists"):
            operand: Any = {"not": "x", "exists": "false"}.get(matcher, ["x"])
            compiled = compile_lines({name: {matcher: operand}}, "allow")
            assert not isinstance(compiled, Rule) or holds(compiled, facts) is not True, (name, matcher)


@pytest.mark.parametrize(
    ("effect", "key", "taken"),
    [
        pytest.param("allow", "when", {"none", "only"}, id="when of an allow rule"),
        pytest.param("deny", "when", {"any", "has_all"}, id="when of a deny rule"),
        pytest.param("mask", "when", {"any", "has_all"}, id="when of a mask rule"),
        pytest.param("allow", "unless", {"any", "has_all"}, id="unless of an allow rule"),
        pytest.param("deny", "unless", {"none", "only"}, id="unless of a deny rule"),
        pytest.param("mask", "unless", {"none", "only"}, id="unless of a mask rule"),
    ],
)
@pytest.mark.parametrize("name", ["caller.countries", "caller.control.majority.countries"])
@pytest.mark.parametrize("matcher", ["any", "has_all", "none", "only"])
def test_ties_speak_only_where_one_more_is_no_reason_to_allow(
    effect: str, key: str, taken: set[str], name: str, matcher: str
) -> None:
    line = {name: {matcher: ["JP"]}}
    given: dict[str, Any] = {"when": line} if key == "when" else {"unless": [line]}
    compiled = compile_rule(entry_of("r", effect, **given), VOCABULARY)
    if matcher in taken:
        assert isinstance(compiled, Rule)
        return
    assert isinstance(compiled, list)
    (problem,) = compiled
    assert problem.path == (*(("when",) if key == "when" else ("unless", 0)), name, matcher)
    assert problem.at_key
    assert "good tie" in problem.message


@pytest.mark.parametrize(
    ("name", "operand"),
    [
        pytest.param("caller.countries", {"any": "$five"}, id="a set of its own"),
        pytest.param("caller.control.majority.countries", {"any": ["US"]}, id="a control rule of its own"),
        pytest.param("caller.countries", {"any": ["US"], "by": ["control.majority"]}, id="a tie by a rule of its own"),
    ],
)
def test_a_pack_means_its_own_words(name: str, operand: Any) -> None:
    rule = compile_lines({name: operand}, "deny", IN_PACK)
    assert isinstance(rule, Rule)
    assert rule.id == "r"
    caller = {
        "countries": some("US"),
        "ties": (Tie("control.pack.majority", "US"),),
        "control": {"majority": Control(some("JP"), some()), "pack.majority": Control(some("US"), some())},
    }
    assert holds(rule, facts_of(caller)) is True


@pytest.mark.parametrize("line", [{"caller.countries": {"any": "$china"}}, {"caller.countries": {"any": "$pack.five"}}])
def test_a_pack_knows_no_set_of_the_bundle(line: dict[str, Any]) -> None:
    assert isinstance(compile_lines(line, "deny", IN_PACK), list)


def test_every_code_is_taken_as_it_is() -> None:
    for code in NAMES:
        rule = a_rule("r", "deny", {"subject.country": code})
        assert holds(rule, facts_of(subject={"country": code})) is True


@pytest.mark.parametrize(
    ("effect", "key", "line", "wanted"),
    [
        pytest.param("allow", "when", {"gt": "5"}, "lt", id="allowed for having read more"),
        pytest.param("deny", "unless", {"gt": "5"}, "lt", id="spared for having read more"),
        pytest.param("allow", "unless", {"lt": "5"}, "gt", id="an exception that ends as more is read"),
        pytest.param("mask", "when", {"lt": "5"}, "gt", id="a mask that falls off as more is read"),
    ],
)
def test_to_have_read_more_is_never_a_reason_to_allow(effect: str, key: str, line: dict[str, str], wanted: str) -> None:
    lines: dict[str, Any] = {"counts.requests_1m": line}
    given: dict[str, Any] = {"when": lines} if key == "when" else {"unless": [lines]}
    (problem,) = compile_rule(entry_of("r", effect, **given), VOCABULARY)  # type: ignore[misc]
    assert problem.message.endswith(f"would let whoever has read more pass: use `{wanted}`")


@pytest.mark.parametrize(
    ("effect", "line", "number", "expected"),
    [
        pytest.param("deny", {"gt": "100"}, 100, False, id="gt, at it"),
        pytest.param("deny", {"gt": "100"}, 101, True, id="gt, above it"),
        pytest.param("deny", {"gt": "1"}, 1, False, id="gt one, the first"),
        pytest.param("allow", {"lt": "100"}, 99, True, id="lt, below it"),
        pytest.param("allow", {"lt": "100"}, 100, False, id="lt, at it"),
        pytest.param("deny", {"gt": "100"}, UNKNOWN, None, id="unknown"),
        pytest.param("deny", {"gt": "100"}, NOT_APPLICABLE, False, id="not applicable"),
    ],
)
def test_a_count_is_compared(effect: str, line: dict[str, str], number: Any, expected: Truth) -> None:
    rule = sound(compile_rule(entry_of("r", effect, when={"counts.subjects_1h": line}), VOCABULARY))
    assert holds(rule, facts_of(counts=Counts(subjects_1h=number))) is expected


def test_a_purpose_does_not_hang_on_how_much_was_read() -> None:
    entry = PurposeEntry.model_validate({"id": "p", "may_claim": {"counts.subjects_1h": {"lt": "5"}}})
    (problem,) = compile_purpose(entry, VOCABULARY)  # type: ignore[misc]
    assert "cannot depend on how much was read" in problem.message
