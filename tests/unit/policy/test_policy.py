# SPDX-License-Identifier: Apache-2.0
import pickle

from proxy.policy.evaluate import decide
from proxy.policy.policy import Policy, Tier
from tests.support.policy_draws import a_grant
from tests.support.policy_facts import EMPLOYEE, a_rule


def test_denies_come_by_severity_then_id_and_allows_by_id() -> None:
    rules = [
        a_rule(id_ + effect[0], effect, severity=severity)
        for effect in ("allow", "deny", "mask")
        for id_, severity in (("b", "low"), ("z", "critical"), ("a", "low"), ("c", "high"))
    ]
    policy = Policy(rules)
    assert [rule.id for rule in policy.denies] == ["zd", "cd", "ad", "bd"]
    assert [rule.id for rule in policy.masks] == ["am", "bm", "cm", "zm"]
    assert [rule.id for rule in policy.allows] == ["aa", "ba", "ca", "za"]
    assert [rule.id for rule in policy.rules] == [rule.id for rule in Policy(rules[::-1]).rules]


def test_shadow_rules_are_among_the_rules_but_not_in_force() -> None:
    policy = Policy([a_rule("s", "deny", mode="shadow"), a_rule("d", "deny")])
    assert [rule.id for rule in policy.rules] == ["d", "s"]
    assert [rule.id for rule in policy.denies] == ["d"]


def test_grants_are_found_by_each_of_their_subjects() -> None:
    policy = Policy([], [a_grant(id="b", subjects=["x", "y"]), a_grant(id="a", subjects=["y"])])
    assert {name: [grant.id for grant in grants] for name, grants in policy.grants_of.items()} == {
        "x": ["b"],
        "y": ["a", "b"],
    }


def test_emergency_denies_leave_the_policy_that_they_join_alone() -> None:
    policy = Policy([a_rule("staff", "allow")])
    cut = policy.with_urgent([a_rule("cut", "deny")])
    assert decide(policy, EMPLOYEE).rule_id == "staff"
    assert decide(cut, EMPLOYEE).rule_id == "cut"
    assert decide(cut.with_urgent([]), EMPLOYEE).rule_id == "staff"


def test_a_policy_travels_to_another_process() -> None:
    policy = Policy([a_rule("staff", "allow", {"expr": 'caller.kind == "employee"'}), a_rule("m", "mask")], [a_grant()])
    travelled = pickle.loads(pickle.dumps(policy.with_urgent([a_rule("cut", "deny", {"action": "delete"})])))  # noqa: S301
    assert decide(travelled, EMPLOYEE) == decide(policy, EMPLOYEE)


def test_which_bits_are_which() -> None:
    tier = Tier([a_rule("a", "allow"), a_rule("m", "mask", liftable="true"), a_rule("d", "deny")])
    assert [rule.id for rule in tier.rules] == ["d", "m", "a"]
    assert (tier.denies, tier.masks, tier.allows, tier.liftable, tier.invariants) == (1, 2, 4, 2, 0)
    assert tier.bits == {"d": 0, "m": 1, "a": 2}
