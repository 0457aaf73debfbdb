# SPDX-License-Identifier: Apache-2.0
from typing import Any, Final

import pytest

from proxy.model.facts import UNKNOWN, Truth
from proxy.model.problem import Problem
from proxy.policy.compile import compile_emergency, compile_grant, compile_invariant, compile_purpose, compile_rule
from proxy.policy.evaluate import holds
from proxy.policy.rules import Grant, GrantEntry, InvariantEntry, Purpose, PurposeEntry, Rule
from tests.support.policy_draws import GRANT
from tests.support.policy_facts import EMPLOYEE, IN_PACK, NOW, VOCABULARY, a_rule, entry_of, facts_of, sound

DAY: Final = "2027-01-15T08:00:00Z"
LATER: Final = "2027-02-01T00:00:00Z"


def refused(compiled: object) -> list[Problem]:
    assert isinstance(compiled, list), f"{compiled} was taken"
    return compiled


@pytest.mark.parametrize(
    ("effect", "more", "path", "words"),
    [
        pytest.param("deny", {"transforms": {"user.name": "mask"}}, ("transforms",), "transforms nothing", id="a deny"),
        pytest.param("allow", {"transforms": {"user.name": "mask"}}, ("transforms",), "transforms nothing", id="allow"),
        pytest.param("mask", {"transforms": {}}, (), "`transforms` is missing", id="a mask of nothing"),
        pytest.param("mask", {"transforms": {"user.nme": "mask"}}, ("transforms", "user.nme"), "user.name", id="typo"),
        pytest.param("allow", {"liftable": "true"}, ("liftable",), "never an allow rule", id="a liftable allow"),
        pytest.param("deny", {"basis": {"kind": "law", "reference": "x", "next_check": DAY}}, ("basis",),
                     "only what is allowed", id="a deny with a basis"),
        pytest.param("deny", {"effective": {"until": DAY}}, ("effective", "until"), "reopens: true", id="a deny ends"),
        pytest.param("mask", {"effective": {"until": DAY}}, ("effective", "until"), "reopens: true", id="a mask ends"),
        pytest.param("allow", {"effective": {"from": DAY, "until": DAY}}, ("effective", "until"), "does not come after",
                     id="it ends as it begins"),
        pytest.param("deny", {"reopens": "true"}, ("reopens",), "nothing ends here", id="reopens without an end"),
        pytest.param("allow", {"reopens": "true", "effective": {"until": DAY}}, ("reopens",), "nothing ends here",
                     id="an allow reopens nothing"),
        pytest.param("deny", {"unless": [{}]}, ("unless", 0), "excuse everybody", id="an empty exception"),
        pytest.param("deny", {"unless": [{"always": "true"}]}, ("unless", 0, "always"), "in `when` alone", id="always"),
        pytest.param("deny", {"unless": [{"action": "read"}, {"actoin": "read"}]}, ("unless", 1, "actoin"), "'action'",
                     id="a wrong second exception"),
        pytest.param("deny", {"unless": [{"action": "read"}] * 33}, ("unless",), "make it several", id="33 exceptions"),
    ],
)  # fmt: skip
def test_a_key_that_does_not_fit_says_so(effect: str, more: dict[str, Any], path: tuple[Any, ...], words: str) -> None:
    (problem,) = refused(compile_rule(entry_of("r", effect, **more), VOCABULARY))
    assert problem.path == path
    assert words in problem.message


@pytest.mark.parametrize("id_", ["emergency", "emergency.x"])
def test_no_rule_passes_for_an_emergency_deny(id_: str) -> None:
    (problem,) = refused(compile_rule(entry_of(id_), VOCABULARY))
    assert problem.path == ("id",)


@pytest.mark.parametrize(
    ("effect", "more", "answers"),
    [
        pytest.param("allow", {"effective": {"from": DAY}}, (False, True, True), id="from"),
        pytest.param("allow", {"effective": {"until": DAY}}, (True, False, False), id="until"),
        pytest.param("allow", {"effective": {"from": DAY, "until": LATER}}, (False, True, False), id="both"),
        pytest.param("deny", {"effective": {"until": DAY}, "reopens": "true"}, (True, False, False), id="a deny"),
        pytest.param("allow", {"basis": {"kind": "law", "reference": "x", "next_check": LATER}}, (True, True, False),
                     id="a basis that nobody looked at again"),
    ],
)  # fmt: skip
def test_a_rule_holds_inside_its_dates(effect: str, more: dict[str, Any], answers: tuple[Truth, ...]) -> None:
    rule = a_rule("r", effect, **more)
    assert tuple(holds(rule, facts_of(time=at)) for at in (NOW - 1, NOW, NOW + 3e6)) == answers
    assert holds(rule, facts_of()) is None


def test_everything_wrong_with_a_rule_is_told_at_once() -> None:
    entry = entry_of("r", "deny", {"actoin": "read"}, reopens="true", unless=[{}], transforms={"user.name": "mask"})
    paths = {problem.path for problem in refused(compile_rule(entry, VOCABULARY))}
    assert paths == {("when", "actoin"), ("reopens",), ("unless", 0), ("transforms",)}


def test_a_rule_without_a_title_is_called_by_its_id() -> None:
    assert a_rule("r", "deny").title == "r"


@pytest.mark.parametrize(
    ("more", "path", "words"),
    [
        pytest.param({"lifts": ["maskd"]}, ("lifts", 0), "'masked'", id="no such rule"),
        pytest.param({"lifts": ["masked", "firm"]}, ("lifts", 1), "liftable: true", id="a rule that is not liftable"),
        pytest.param({"lifts": ["let"]}, ("lifts", 0), "liftable: true", id="an allow rule"),
        pytest.param({"approved_by": ["corp|a", "corp|a"]}, ("approved_by",), "approves once", id="one person twice"),
        pytest.param({"approved_by": ["corp|a", "corpse|b"]}, ("approved_by", 1), "corp|alice", id="no issuer's"),
        pytest.param({"approved_by": ["corp|a", "corp|"]}, ("approved_by", 1), "no person", id="nobody"),
        pytest.param({"approved_by": ["corp|a", "bob"]}, ("approved_by", 1), "no person", id="a bare name"),
        pytest.param({"until": GRANT["from"]}, ("until",), "does not come after", id="it ends as it begins"),
        pytest.param({"when": {}}, ("when",), "always: true", id="no conditions"),
        pytest.param({"when": {"caller.countries": {"any": ["JP"]}}}, ("when", "caller.countries", "any"), "a grant",
                     id="one good tie"),
        pytest.param({"when": {"caller.groups": {"none": ["x"]}}}, ("when", "caller.groups", "none"), "a grant",
                     id="a missing claim"),
    ],
)  # fmt: skip
def test_a_grant_that_is_wrong(more: dict[str, Any], path: tuple[Any, ...], words: str) -> None:
    rules = {
        "masked": entry_of("masked", "mask", liftable="true"),
        "firm": entry_of("firm", "deny"),
        "let": entry_of("let", "allow"),
    }
    (problem,) = refused(compile_grant(GrantEntry.model_validate({**GRANT, **more}), VOCABULARY, rules))
    assert problem.path == path
    assert words in problem.message


def test_a_sound_grant() -> None:
    entry = GrantEntry.model_validate(GRANT)
    grant = compile_grant(entry, VOCABULARY, {"masked": entry_of("masked", "mask", liftable="true")})
    assert isinstance(grant, Grant)
    assert (grant.lifts, grant.since, grant.until) == (frozenset({"masked"}), 1798761600.0, 1801440000.0)


@pytest.mark.parametrize(
    ("may_claim", "path", "words"),
    [
        pytest.param({}, ("may_claim",), "always: true", id="nobody"),
        pytest.param({"purpose": "law-enforcement"}, ("may_claim", "purpose"), "depend on the purpose", id="itself"),
        pytest.param({"caller.countries": {"any": ["JP"]}}, ("may_claim", "caller.countries", "any"), "a purpose",
                     id="one good tie"),
        pytest.param({"caller.groups": {"only": ["x"]}}, ("may_claim", "caller.groups", "only"), "a purpose",
                     id="a missing claim"),
        pytest.param({"expr": 'purpose == "law-enforcement"'}, ("may_claim", "expr"), "depend on the purpose",
                     id="itself, by an expression"),
    ],
)  # fmt: skip
def test_a_purpose_that_is_wrong(may_claim: dict[str, Any], path: tuple[Any, ...], words: str) -> None:
    entry = PurposeEntry.model_validate({"id": "law-enforcement", "may_claim": may_claim})
    (problem,) = refused(compile_purpose(entry, VOCABULARY))
    assert problem.path == path
    assert words in problem.message


def test_a_sound_purpose() -> None:
    entry = {"id": "law-enforcement", "may_claim": {"caller.groups": {"any": ["x"]}}, "needs": "case"}
    purpose = compile_purpose(PurposeEntry.model_validate(entry), VOCABULARY)
    assert isinstance(purpose, Purpose)
    assert purpose.needs_case


@pytest.mark.parametrize(
    ("when", "words"),
    [
        pytest.param({}, "always: true", id="no conditions"),
        pytest.param({"caller.countries": {"none": ["JP"]}}, "an invariant", id="one good tie"),
        pytest.param({"actoin": "read"}, "'action'", id="no attribute"),
    ],
)
def test_an_invariant_that_is_wrong(when: dict[str, Any], words: str) -> None:
    entry = InvariantEntry.model_validate({"id": "i", "never": "allow", "when": when})
    (problem,) = refused(compile_invariant(entry, VOCABULARY))
    assert problem.path[0] == "when"
    assert words in problem.message


def test_a_sound_invariant_is_a_deny_of_the_highest_rank() -> None:
    entry = InvariantEntry.model_validate({"id": "i", "never": "allow", "when": {"caller.kind": "employee"}})
    rule = sound(compile_invariant(entry, IN_PACK))
    assert (rule.id, rule.effect, rule.severity, rule.is_invariant) == ("i", "deny", "critical", True)
    assert not rule.is_liftable
    assert holds(rule, EMPLOYEE) is True


@pytest.mark.parametrize(
    ("effect", "more", "path"),
    [
        pytest.param("allow", {}, ("effect",), id="an allow rule"),
        pytest.param("mask", {}, ("effect",), id="a mask rule"),
        pytest.param("deny", {"mode": "shadow"}, ("mode",), id="one that is only watched"),
        pytest.param("deny", {"liftable": "true"}, ("liftable",), id="one that can be lifted"),
        pytest.param("deny", {"when": {"actoin": "read"}}, ("when", "actoin"), id="one that is wrong"),
        pytest.param("deny", {"when": {"caller.id": {"exists": ["true"]}}}, ("when", "caller.id", "exists"),
                     id="one that is wrong, with a list"),
    ],
)  # fmt: skip
def test_an_emergency_rule_that_is_wrong(effect: str, more: dict[str, Any], path: tuple[Any, ...]) -> None:
    (problem,) = refused(compile_emergency(entry_of("cut", effect, **more), VOCABULARY))
    assert problem.path == path


def test_an_emergency_rule_has_a_namespace_of_its_own() -> None:
    rule = compile_emergency(entry_of("cut", "deny", {"caller.residence": "CN"}), VOCABULARY)
    assert isinstance(rule, Rule)
    assert rule.id == "emergency.cut"
    assert holds(rule, facts_of({"residence": UNKNOWN})) is None
