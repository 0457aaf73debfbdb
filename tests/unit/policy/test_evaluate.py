# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator
from itertools import permutations, product
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from proxy.caller.resolve import tied_countries
from proxy.model.caller import Control, Tie
from proxy.model.decision import Certainty, Effect, Reason, Severity
from proxy.model.facts import ABSENT, NOT_APPLICABLE, UNKNOWN, FactSet, State, Truth
from proxy.policy.attributes import Facts
from proxy.policy.compile import compile_policy
from proxy.policy.evaluate import decide, find_unknown, holds
from proxy.policy.rules import Condition, Policy, Rule
from tests.support.policy_facts import EMPLOYEE, NO_FACTS, a_rule, facts_of, some

CHECKED = settings(max_examples=100, deadline=None, database=None, derandomize=True)

# Rules and facts are put together from pools of few words, so that they meet; the pools are compiled once.

COUNTED = frozenset({"employer", "residence", "control.majority"})
SCALARS: tuple[Any, ...] = ("JP", "CN", {"any": ["JP", "KR"]}, {"none": ["CN"]}, {"not": "JP"}, {"none": ["KR", "JP"]})
CLOSED: tuple[Any, ...] = ({"none": ["CN"]}, {"only": ["JP"]}, {"only": ["JP", "KR"]}, {"none": ["JP", "KR"]})
SETS: tuple[Any, ...] = (*CLOSED, {"any": ["CN"]}, {"any": ["JP", "KR"]})
KINDS_OF_TIES = (["employer"], ["residence"], ["control"], ["control.majority", "employer"], ["subcontractor"])


def _lines(effect: str) -> dict[str, tuple[Any, ...]]:
    ties = SETS if effect == "deny" else CLOSED
    return {
        "subject.country": SCALARS,
        "origin.country": SCALARS,
        "caller.kind": ("employee", {"none": ["contractor"]}, {"not": "employee"}),
        "caller.roles": ({"any": ["a"]}, {"none": ["a"]}, {"only": ["a"]}, {"only": ["a", "b"]}),
        "caller.countries": (*ties, *({**line, "by": by} for line in ties for by in KINDS_OF_TIES)),
        "caller.control.majority.countries": ties,
        "resource.data": tuple(
            {matcher: [category]}
            for matcher in ("any", "none", "only")
            for category in ("user", "user.name", "user.contact.phone_number")
        ),
    }


def _conditions(effect: str) -> list[Condition]:
    return [a_rule("r", effect, {name: line}).conditions[0] for name, lines in _lines(effect).items() for line in lines]


CONDITIONS = {effect: _conditions(effect) for effect in ("allow", "deny")}
A_RULE = st.sampled_from(["allow", "allow", "deny"]).flatmap(
    lambda effect: st.tuples(
        st.just(effect),
        st.lists(st.sampled_from(CONDITIONS[effect]), min_size=1, max_size=3),
        st.sampled_from(list(Severity)),
    )
)


def _number(drawn: list[tuple[str, list[Condition], Severity]]) -> list[Rule]:
    return [
        Rule(f"r{number}", Effect(effect), "", severity, tuple(conditions))
        for number, (effect, conditions, severity) in enumerate(drawn)
    ]


RULES = st.lists(A_RULE, min_size=1, max_size=4).map(_number)
DENIES = st.lists(st.sampled_from(CONDITIONS["deny"]), min_size=1, max_size=2).map(
    lambda conditions: Rule("more", Effect.DENY, "", Severity.LOW, tuple(conditions))
)

STATES = (ABSENT, UNKNOWN, NOT_APPLICABLE)
A_COUNTRY = st.sampled_from(("JP", "CN", "KR", *STATES))
A_SET = st.sampled_from((some(), some("JP"), some("CN"), some("JP", "CN"), some("KR", is_open=True), *STATES))
TIES = [
    tuple(Tie(label, country) for label, country in ties)
    for tie in product(("employer", "residence", "control.majority", "subcontractor"), ("JP", "CN", "KR"))
    for ties in ((), (tie,), (tie, ("employer", "JP")), (tie, ("residence", "JP"), ("control.majority", "CN")))
]
OPEN_TIES = ((), ("residence",), ("control.majority",), ("employer", "subcontractor"))


def _caller(ties: tuple[Tie, ...], open_: tuple[str, ...], kind: Any, roles: Any, control: Any) -> dict[str, Any]:
    open_ties = frozenset(open_)
    return {
        "kind": kind,
        "roles": roles,
        "ties": ties,
        "open_ties": open_ties,
        "countries": tied_countries(ties, open_ties, COUNTED),
        "control": {"majority": Control(control, UNKNOWN)},
    }


FACTS = st.builds(
    lambda caller, origin, subject, data: facts_of(
        caller=caller, origin={"country": origin}, subject={"country": subject}, resource={"data": data}
    ),
    st.builds(
        _caller,
        st.sampled_from(TIES),
        st.sampled_from(OPEN_TIES),
        st.sampled_from(("employee", "contractor", *STATES)),
        st.sampled_from((some(), some("a"), some("a", "c"), some("b", is_open=True), *STATES)),
        A_SET,
    ),
    A_COUNTRY,
    A_COUNTRY,
    st.sampled_from((some("user.name"), some("user.contact"), some("x.y", is_open=True), some(), *STATES)),
)


def _less(facts: Facts) -> Iterator[tuple[str, Facts]]:
    """Yield every way in which one fact less is known."""
    for room in ("caller", "origin", "subject", "resource"):
        part = getattr(facts, room)
        for field in part.__struct_fields__:
            value = getattr(part, field)
            if isinstance(value, (str, FactSet)) and field not in {"principal", "source"}:
                yield f"{room}.{field}", _with(facts, room, **{field: UNKNOWN})
            if isinstance(value, FactSet) and not value.is_open:
                yield f"{room}.{field} open", _with(facts, room, **{field: FactSet(value.members, is_open=True)})
    for rule, control in facts.caller.control.items():
        if isinstance(control.countries, FactSet):
            less = Control(UNKNOWN, control.owners)
            yield f"control.{rule}", _with(facts, "caller", control={rule: less})
    for tie in facts.caller.ties:
        ties = tuple(other for other in facts.caller.ties if other != tie)
        open_ties = facts.caller.open_ties | {tie.label}
        countries = tied_countries(ties, open_ties, COUNTED)
        yield f"tie {tie.label}", _with(facts, "caller", ties=ties, open_ties=open_ties, countries=countries)


def _with(facts: Facts, room: str, **changes: Any) -> Facts:
    return msgspec.structs.replace(facts, **{room: msgspec.structs.replace(getattr(facts, room), **changes)})


# The laws.


@CHECKED
@given(RULES, FACTS)
def test_knowing_less_never_turns_a_deny_into_an_allow(rules: list[Rule], facts: Facts) -> None:
    policy = compile_policy(rules)
    if decide(policy, facts).effect is Effect.DENY:
        for what, less in _less(facts):
            assert decide(policy, less).effect is Effect.DENY, what


@CHECKED
@given(RULES, FACTS)
def test_knowing_less_never_turns_an_answer_of_a_rule_round(rules: list[Rule], facts: Facts) -> None:
    for rule in rules:
        before = holds(rule, facts)
        for what, less in _less(facts):
            assert holds(rule, less) in {before, None}, what


@CHECKED
@given(RULES, DENIES, FACTS)
def test_one_more_deny_rule_only_takes_away(rules: list[Rule], more: Rule, facts: Facts) -> None:
    policy = compile_policy([*rules, more])
    if decide(compile_policy(rules), facts).effect is Effect.DENY:
        assert decide(policy, facts).effect is Effect.DENY


@CHECKED
@given(RULES, FACTS)
def test_one_allow_rule_less_only_takes_away(rules: list[Rule], facts: Facts) -> None:
    assume(decide(compile_policy(rules), facts).effect is Effect.DENY)
    for rule in rules:
        if rule.effect is Effect.ALLOW:
            assert decide(compile_policy([r for r in rules if r is not rule]), facts).effect is Effect.DENY


@CHECKED
@given(RULES, FACTS)
def test_the_order_of_rules_does_not_matter(rules: list[Rule], facts: Facts) -> None:
    decisions = {repr(decide(compile_policy(order), facts)) for order in permutations(rules)}
    assert len(decisions) == 1


@CHECKED
@given(RULES, FACTS)
def test_the_order_of_a_rules_lines_does_not_matter(rules: list[Rule], facts: Facts) -> None:
    for rule in rules:
        turned = msgspec.structs.replace(rule, conditions=rule.conditions[::-1])
        assert holds(turned, facts) is holds(rule, facts)


@CHECKED
@given(RULES)
def test_without_any_fact_everything_is_denied(rules: list[Rule]) -> None:
    assert decide(compile_policy(rules), NO_FACTS).effect is Effect.DENY


@CHECKED
@given(RULES, FACTS, st.data(), st.booleans())
def test_an_error_inside_a_condition_never_yields_an_allow(
    rules: list[Rule],
    facts: Facts,
    data: st.DataObject,
    in_get: bool,  # noqa: FBT001 - drawn
) -> None:
    reached: list[str] = []

    def fails(_: Any) -> Any:
        reached.append("here")
        raise ZeroDivisionError

    rule = data.draw(st.sampled_from(rules))
    place = data.draw(st.integers(0, len(rule.conditions) - 1))
    broken = [*rule.conditions]
    broken[place] = msgspec.structs.replace(broken[place], **{"get" if in_get else "test": fails})
    worse = [r if r is not rule else msgspec.structs.replace(rule, conditions=tuple(broken)) for r in rules]
    try:
        effect = decide(compile_policy(worse), facts).effect
    except ZeroDivisionError:
        return
    assert effect is Effect.DENY or not reached


@CHECKED
@given(RULES, FACTS)
def test_a_decision_says_what_it_was_made_of(rules: list[Rule], facts: Facts) -> None:
    decision = decide(compile_policy(rules), facts)
    truths = {rule.id: holds(rule, facts) for rule in rules}
    denies = {rule.id for rule in rules if rule.effect is Effect.DENY and truths[rule.id] is not False}
    allows = {rule.id for rule in rules if rule.effect is Effect.ALLOW and truths[rule.id] is True}
    assert (decision.effect is Effect.ALLOW) == (not denies and bool(allows))
    assert {applied.id for applied in decision.applied} == (denies or allows)
    assert decision.rule_id in (denies or allows or {"default"})
    assert decision.unknown == tuple(sorted(set(decision.unknown)))
    for applied in decision.applied:
        assert (applied.certainty is Certainty.MATCHED) == (truths[applied.id] is True)
        assert bool(applied.unknown) == (truths[applied.id] is None)


# Tables.

CHINESE = {"subject.country": "JP", "caller.countries": {"any": ["CN"]}}
STAFF = {"caller.affiliate": "ly"}


def policy_of(*rules: tuple[str, str, dict[str, Any]] | tuple[str, str, dict[str, Any], str]) -> Policy:
    return compile_policy(a_rule(*rule) for rule in rules)


@pytest.mark.parametrize(
    ("countries", "subject", "effect", "rule", "certainty"),
    [
        pytest.param(some("JP"), "JP", "allow", "staff", "matched", id="tied to Japan alone"),
        pytest.param(some("JP", "CN"), "JP", "deny", "china", "matched", id="tied to China, too"),
        pytest.param(some("JP", is_open=True), "JP", "deny", "china", "by-unknown", id="perhaps tied to China"),
        pytest.param(UNKNOWN, "JP", "deny", "china", "by-unknown", id="tied to nobody knows what"),
        pytest.param(some("CN"), UNKNOWN, "deny", "china", "by-unknown", id="perhaps a Japanese user"),
        pytest.param(some("CN"), "KR", "allow", "staff", "matched", id="a Korean user"),
        pytest.param(some("CN"), NOT_APPLICABLE, "allow", "staff", "matched", id="no personal data"),
        pytest.param(UNKNOWN, "KR", "allow", "staff", "matched", id="unknown, where it cannot matter"),
    ],
)
def test_a_deny_rule_applies_when_true_or_unknown(
    countries: FactSet | State, subject: Any, effect: str, rule: str, certainty: str
) -> None:
    policy = policy_of(("china", "deny", CHINESE), ("staff", "allow", STAFF))
    facts = facts_of(caller={"affiliate": "ly", "countries": countries}, subject={"country": subject})
    decision = decide(policy, facts)
    assert decision.effect == effect
    assert decision.rule_id == rule
    assert decision.rule is not None
    assert decision.rule.certainty == certainty


@pytest.mark.parametrize(
    ("affiliate", "effect"),
    [("ly", "allow"), ("naver", "deny"), (UNKNOWN, "deny"), (ABSENT, "deny"), (NOT_APPLICABLE, "deny")],
)
def test_an_allow_rule_applies_only_when_true(affiliate: Any, effect: str) -> None:
    decision = decide(policy_of(("staff", "allow", STAFF)), facts_of(caller={"affiliate": affiliate}))
    assert decision.effect == effect
    assert decision.unknown == (("caller.affiliate",) if affiliate is UNKNOWN else ())


@pytest.mark.parametrize("facts", [EMPLOYEE, NO_FACTS], ids=["somebody", "nobody"])
def test_no_rules_deny(facts: Facts) -> None:
    decision = decide(Policy((), ()), facts)
    assert (decision.effect, decision.reason, decision.rule_id) == (Effect.DENY, Reason.NO_RULE_ALLOWS, "default")


def test_a_deny_that_always_holds_beats_an_allow_that_always_holds() -> None:
    policy = policy_of(("a", "allow", {"always": "true"}, "critical"), ("z", "deny", {"always": "true"}, "low"))
    assert decide(policy, EMPLOYEE).rule_id == "z"


UNSURE = {"caller.residence": "CN"}
SURE = {"caller.affiliate": "ly"}


@pytest.mark.parametrize(
    ("rules", "determining"),
    [
        pytest.param([("a", UNSURE, "critical"), ("b", SURE, "low")], "b", id="matched before unknown"),
        pytest.param([("a", SURE, "low"), ("b", SURE, "critical")], "b", id="then the more severe"),
        pytest.param([("b", SURE, "low"), ("a", SURE, "low")], "a", id="then the id"),
        pytest.param([("a", UNSURE, "low"), ("b", UNSURE, "high")], "b", id="the more severe of the unknown"),
    ],
)
def test_the_determining_rule(rules: list[tuple[str, dict[str, Any], str]], determining: str) -> None:
    policy = policy_of(*((id_, "deny", when, severity) for id_, when, severity in rules))
    decision = decide(policy, EMPLOYEE)
    assert decision.rule_id == determining
    assert {applied.id for applied in decision.applied} == {id_ for id_, _, _ in rules}


@pytest.mark.parametrize(
    ("answers", "expected", "unknown"),
    [
        ([], True, ()),
        ([True, True], True, ()),
        ([True, None], None, ("1",)),
        ([None, None], None, ("0", "1")),
        ([None, False], False, ("0",)),
        ([False, None], False, ("1",)),
    ],
)
def test_lines_are_a_conjunction(answers: list[Truth], expected: Truth, unknown: tuple[str, ...]) -> None:
    conditions = tuple(
        Condition(str(number), lambda _: None, {None: answer}.__getitem__, "", "")
        for number, answer in enumerate(answers)
    )
    rule = msgspec.structs.replace(a_rule("r", "deny", {"always": "true"}), conditions=conditions)
    assert holds(rule, EMPLOYEE) is expected
    assert find_unknown(rule, EMPLOYEE) == unknown
