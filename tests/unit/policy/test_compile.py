# SPDX-License-Identifier: Apache-2.0
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.model.country import NAMES
from proxy.model.facts import ABSENT, NOT_APPLICABLE, UNKNOWN, Truth
from proxy.model.problem import Problem
from proxy.policy.attributes import ATTRIBUTES
from proxy.policy.compile import compile_policy, compile_rule, resolve_country_sets
from proxy.policy.evaluate import holds
from proxy.policy.rules import Rule, RuleEntry
from tests.support.policy_facts import EMPLOYEE, VOCABULARY, a_rule, compile_when, facts_of, some


def problems(when: Any, effect: str = "deny") -> list[Problem]:
    compiled = compile_when(when, effect)
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
        pytest.param({"caller.countries": {"only": ["JP", "KR"]}}, True, id="ties, only"),
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
    ],
)
def test_a_sound_rule_asks_what_it_says(when: dict[str, Any], expected: Truth) -> None:
    compiled = compile_when(when)
    assert isinstance(compiled, Rule), compiled
    assert holds(compiled, EMPLOYEE) is expected


@pytest.mark.parametrize(
    ("when", "path", "words"),
    [
        pytest.param({}, ("when",), "always: true", id="an empty when"),
        pytest.param({"always": "false"}, ("when", "always"), "stands alone", id="never"),
        pytest.param({"always": ["true"]}, ("when", "always"), "stands alone", id="always as a list"),
        pytest.param({"always": "true", "action": "read"}, ("when", "always"), "stands alone", id="always and more"),
        pytest.param({"subject.contry": "JP"}, ("when", "subject.contry"), "'subject.country'", id="no attribute"),
        pytest.param({"expr": "true"}, ("when", "expr"), "not yet", id="an expression"),
        pytest.param({"unless": "x"}, ("when", "unless"), "not yet", id="unless"),
        pytest.param({"purpose": "x"}, ("when", "purpose"), "not yet", id="a purpose"),
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
        pytest.param({"subject.country": {"glob": "J*"}}, ("when", "subject.country", "glob"), "not yet", id="glob"),
        pytest.param({"subject.country": {"exists": "true"}}, ("when", "subject.country", "exists"), "not yet",
                     id="exists"),
        pytest.param({"caller.groups": {"has_all": ["a"]}}, ("when", "caller.groups", "has_all"), "not yet",
                     id="has_all"),
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
        pytest.param({"resource.data": {"any": ["User"]}}, ("when", "resource.data", "any", 0), "declared",
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
    (problem,) = problems(when)
    assert problem.path == path
    assert words in problem.message


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
    ],
)
def test_an_allow_rule_may_not_be_excused(when: dict[str, Any], matcher: str) -> None:
    assert isinstance(compile_when(when, "deny"), Rule)
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
    assert isinstance(compile_when(when, "allow"), Rule)


SHAPES = st.recursive(
    st.sampled_from(["", "JP", "UK", "$china", "$", "employee", "ly", "user.name", "true", "employer", "naver"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["any", "none", "not", "only", "by", "glob", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)
TIES = st.fixed_dictionaries({"any": SHAPES, "by": SHAPES | st.lists(SHAPES, min_size=1, max_size=2)})
NAMES_OF_LINES = st.sampled_from(
    [*ATTRIBUTES, "always", "expr", "unless", "time", "x", "", "caller.control.majority.countries"]
)


@settings(max_examples=400, deadline=None, database=None)
@given(
    st.dictionaries(NAMES_OF_LINES, SHAPES, max_size=3) | st.fixed_dictionaries({"caller.countries": TIES}),
    st.sampled_from(["allow", "deny"]),
)
def test_whatever_stands_under_when_is_a_rule_or_problems_inside_it(when: dict[str, Any], effect: str) -> None:
    compiled = compile_when(when, effect)
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
        for matcher in ("any", "none", "only", "not"):
            operand = "x" if matcher == "not" else ["x"]
            compiled = compile_when({name: {matcher: operand}}, "allow")
            assert not isinstance(compiled, Rule) or holds(compiled, facts) is not True, (name, matcher)


def test_denies_come_by_severity_then_id_and_allows_by_id() -> None:
    rules = [
        a_rule(id_, effect, {"always": "true"}, severity)
        for effect in ("allow", "deny")
        for id_, severity in (("b", "low"), ("z", "critical"), ("a", "low"), ("c", "high"))
    ]
    policy = compile_policy(rules)
    assert [rule.id for rule in policy.denies] == ["z", "c", "a", "b"]
    assert [rule.id for rule in policy.allows] == ["a", "b", "c", "z"]


def test_a_rule_without_a_title_is_called_by_its_id() -> None:
    assert a_rule("r", "deny", {"always": "true"}).title == "r"


def test_an_unknown_affiliate_role_list_is_unknown() -> None:
    rule = a_rule("r", "deny", {"caller.affiliate_roles": {"any": ["parent"]}})
    caller = msgspec.structs.replace(EMPLOYEE.caller, affiliate_roles=UNKNOWN)
    assert holds(rule, msgspec.structs.replace(EMPLOYEE, caller=caller)) is None


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        pytest.param({"a": ["CN"]}, {"a": {"CN"}}, id="one country"),
        pytest.param({"a": ["NO"]}, {"a": {"NO"}}, id="NO is Norway"),
        pytest.param({"a": ["CN", "CN"]}, {"a": {"CN"}}, id="a country twice"),
        pytest.param({"a": ["$b", "JP"], "b": ["CN"]}, {"a": {"CN", "JP"}, "b": {"CN"}}, id="a set in a set"),
        pytest.param({"b": ["$a"], "a": ["CN"]}, {"a": {"CN"}, "b": {"CN"}}, id="in any order"),
    ],
)
def test_country_sets_resolve(entries: dict[str, Any], expected: dict[str, set[str]]) -> None:
    sets, found = resolve_country_sets(entries)
    assert not found
    assert sets == expected


@pytest.mark.parametrize(
    ("entries", "path", "words"),
    [
        pytest.param({"a": []}, ("a",), "at least one", id="an empty list"),
        pytest.param({"a": "CN"}, ("a",), "expected a list", id="a bare country"),
        pytest.param({"a": {"CN": "x"}}, ("a",), "expected a list", id="a mapping"),
        pytest.param({"a": ["CN", "UK"]}, ("a", 1), "GB", id="UK"),
        pytest.param({"a": ["EU"]}, ("a", 0), "country_sets", id="EU"),
        pytest.param({"a": ["China"]}, ("a", 0), "CN", id="a name"),
        pytest.param({"a": ["CHN"]}, ("a", 0), "CN", id="an alpha-3 code"),
        pytest.param({"a": [""]}, ("a", 0), "no ISO 3166-1", id="an empty member"),
        pytest.param({"a": [["CN"]]}, ("a", 0), "expected", id="a list inside"),
        pytest.param({"a": [{"CN": "x"}]}, ("a", 0), "expected", id="a mapping inside"),
        pytest.param({"a": ["$b"], "bb": ["CN"]}, ("a", 0), "'$bb'", id="a misspelt set"),
        pytest.param({"a": ["$a"]}, ("a", 0), "contains itself", id="itself"),
        pytest.param({"a": ["$b"], "b": ["$c"], "c": ["$a"]}, ("c", 0), "contains itself", id="itself, by two others"),
        pytest.param({"$a": ["CN"]}, ("$a",), "", id="a name with a dollar, which nothing can refer to"),
        pytest.param({"": ["CN"]}, ("",), "", id="an empty name"),
        pytest.param({"<<": ["CN"]}, ("<<",), "", id="a merge key as a name"),
    ],
)
def test_a_country_set_that_is_wrong(entries: dict[str, Any], path: tuple[Any, ...], words: str) -> None:
    _, found = resolve_country_sets(entries)
    assert [problem.path for problem in found] == [path]
    assert words in found[0].message


def test_a_long_chain_of_country_sets_ends() -> None:
    entries: dict[str, Any] = {f"s{number}": [f"$s{number + 1}"] for number in range(1000)}
    sets, found = resolve_country_sets({**entries, "s1000": ["CN"]})
    assert found or sets["s0"] == {"CN"}


def test_every_code_is_taken_as_it_is() -> None:
    for code in NAMES:
        entry = RuleEntry.model_validate({"id": "r", "effect": "deny", "when": {"subject.country": code}})
        rule = compile_rule(entry, VOCABULARY)
        assert isinstance(rule, Rule)
        assert holds(rule, facts_of(subject={"country": code})) is True
