# SPDX-License-Identifier: Apache-2.0
"""Facts, a vocabulary and compiled rules for tests of the policy room."""

from collections.abc import Mapping
from typing import Any, Final

from proxy.model.caller import Caller, Control, Tie
from proxy.model.facts import UNKNOWN, FactSet
from proxy.model.origin import Origin
from proxy.model.problem import Problem
from proxy.model.subject import Subject
from proxy.policy.attributes import Domain, Facts, Resource, Vocabulary
from proxy.policy.compile import compile_rule
from proxy.policy.rules import Rule, RuleEntry

VOCABULARY: Final = Vocabulary(
    ids={
        Domain.AFFILIATES: frozenset({"ly", "naver", "shanghai-digital"}),
        Domain.ISSUERS: frozenset({"corp"}),
        Domain.NETWORKS: frozenset({"office"}),
        Domain.APIS: frozenset({"users"}),
        Domain.ROUTES: frozenset({"user", "export"}),
        Domain.AFFILIATE_ROLES: frozenset({"parent", "contractor"}),
        Domain.CATEGORIES: frozenset({"user.name", "user.contact.phone_number"}),
    },
    country_sets={"china": frozenset({"CN", "HK", "MO"})},
    control_rules=frozenset({"majority"}),
    empty_when_absent=frozenset({"groups", "client"}),
)


def some(*members: str, is_open: bool = False) -> FactSet:
    """Return a set of facts."""
    return FactSet(frozenset(members), is_open)


def facts_of(
    caller: Mapping[str, Any] | None = None,
    origin: Mapping[str, Any] | None = None,
    subject: Mapping[str, Any] | None = None,
    resource: Mapping[str, Any] | None = None,
    action: Any = "read",
) -> Facts:
    """Return facts of which everything that is not given is unknown."""
    given: dict[str, Any] = {"api": "users", "route": "user", "data": UNKNOWN, "hosted_in": UNKNOWN, **(resource or {})}
    return Facts(
        Caller(**(caller or {})), Origin(**(origin or {})), Subject(**(subject or {})), Resource(**given), action
    )


NO_FACTS: Final = facts_of(resource=dict.fromkeys(("api", "route", "data", "hosted_in"), UNKNOWN), action=UNKNOWN)
"""Nothing at all is known."""

EMPLOYEE: Final = facts_of(
    caller={
        "id": "a",
        "affiliate": "ly",
        "kind": "employee",
        "groups": some("support"),
        "affiliate_roles": some(),
        "countries": some("JP"),
        "ties": (Tie("employer", "JP", ("ly",)), Tie("subcontractor", "CN", ("ly", "dalian-bpo"))),
        "control": {"majority": Control(some("JP"), some("a-holdings"))},
    },
    origin={"country": "JP", "network": "office"},
    subject={"country": "JP", "id": "42"},
    resource={"data": some("user.name"), "hosted_in": "JP"},
)
"""A Japanese employee in the office reads a Japanese user."""


def compile_when(when: Any, effect: str = "deny", vocabulary: Vocabulary = VOCABULARY) -> Rule | list[Problem]:
    """Compile a rule from what stands under its ``when``."""
    return compile_rule(RuleEntry.model_validate({"id": "r", "effect": effect, "when": when}), vocabulary)


def a_rule(id_: str, effect: str, when: Any, severity: str = "medium") -> Rule:
    """Compile a rule that must be sound."""
    entry = {"id": id_, "effect": effect, "when": when, "severity": severity}
    rule = compile_rule(RuleEntry.model_validate(entry), VOCABULARY)
    assert isinstance(rule, Rule), rule
    return rule
