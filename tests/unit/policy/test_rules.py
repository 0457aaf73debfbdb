# SPDX-License-Identifier: Apache-2.0
import pickle
from typing import Any

import pytest

from proxy.model.decision import Certainty
from proxy.policy.attributes import Scope
from proxy.policy.rules import Block, whole
from tests.support.policy_facts import EMPLOYEE, a_rule


@pytest.mark.parametrize(
    ("block", "scope", "is_block"),
    [
        pytest.param({"action": "read"}, Scope.RESOURCE, False, id="one line is that line, turned round"),
        pytest.param({"caller.kind": "service", "caller.id": "x"}, Scope.CALLER, True, id="two of one part"),
        pytest.param({"caller.kind": "service", "action": "read"}, Scope.MIXED, True, id="two of two parts"),
        pytest.param({"expr": "subject.country == origin.country"}, Scope.MIXED, False, id="an expression on two"),
        pytest.param({"expr": 'caller.kind == "service"'}, Scope.CALLER, False, id="an expression on one"),
        pytest.param({"purpose": "law-enforcement", "case": "x"}, Scope.REQUEST, True, id="two of the request"),
    ],
)
def test_an_exception_is_one_literal_of_the_part_that_it_reads(
    block: dict[str, Any],
    scope: Scope,
    is_block: bool,  # noqa: FBT001
) -> None:
    (literal,) = a_rule("r", "deny", unless=[block]).literals
    assert literal.is_negated
    assert literal.scope is scope
    assert isinstance(literal.test, Block) is is_block
    assert (literal.get is whole) is is_block


def test_a_rule_under_another_id_says_so_in_decisions_too() -> None:
    rule = a_rule("r", "deny", title="No")
    assert rule.matched.id == "r"
    renamed = rule.renamed("other")
    assert (renamed.matched.id, renamed.matched.title, renamed.matched.certainty) == ("other", "No", Certainty.MATCHED)


def test_a_rule_travels_to_another_process() -> None:
    rule = a_rule("r", "deny", {"caller.countries": {"any": ["CN"], "by": ["subcontractor"]}}, unless=[{"case": "x"}])
    travelled = pickle.loads(pickle.dumps(rule))  # noqa: S301 - our own
    assert [literal(EMPLOYEE) for literal in travelled.literals] == [literal(EMPLOYEE) for literal in rule.literals]
