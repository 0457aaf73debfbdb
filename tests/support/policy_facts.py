# SPDX-License-Identifier: Apache-2.0
"""Facts, a vocabulary and compiled rules for tests of the policy room."""

from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

from proxy.model.caller import NO_PERSON, Caller, Control, Tie
from proxy.model.facts import ABSENT, UNKNOWN, FactSet
from proxy.model.origin import Origin
from proxy.model.problem import Problem
from proxy.model.subject import Subject
from proxy.policy.attributes import Domain, Facts, Resource, Vocabulary
from proxy.policy.compile import compile_rule
from proxy.policy.rules import Rule, RuleEntry

Compiled = TypeVar("Compiled")

VOCABULARY: Final = Vocabulary(
    ids={
        Domain.AFFILIATES: frozenset({"ly", "naver", "shanghai-digital"}),
        Domain.ISSUERS: frozenset({"corp"}),
        Domain.NETWORKS: frozenset({"office"}),
        Domain.APIS: frozenset({"users"}),
        Domain.ROUTES: frozenset({"user", "export"}),
        Domain.AFFILIATE_ROLES: frozenset({"parent", "contractor"}),
        Domain.CATEGORIES: frozenset({"user.name", "user.contact.phone_number"}),
        Domain.PURPOSES: frozenset({"law-enforcement"}),
    },
    country_sets={"china": frozenset({"CN", "HK", "MO"}), "pack.five": frozenset({"US", "GB"})},
    control_rules=frozenset({"majority", "pack.majority"}),
    empty_when_absent=frozenset({"groups", "client", "claims.level"}),
    claims=frozenset({"amr", "level"}),
)
IN_PACK: Final = msgspec.structs.replace(VOCABULARY, namespace="pack")
"""The same, as a pack means it: its own sets and control rules by their bare names."""


def some(*members: str, is_open: bool = False) -> FactSet:
    """Return a set of facts."""
    return FactSet(frozenset(members), is_open)


def facts_of(
    caller: Mapping[str, Any] | None = None,
    origin: Mapping[str, Any] | None = None,
    subject: Mapping[str, Any] | None = None,
    resource: Mapping[str, Any] | None = None,
    **request: Any,
) -> Facts:
    """Return facts of which everything that is not given is unknown; no purpose and no case are claimed."""
    known = {"api": "users", "route": "user", "action": "read"}
    given: dict[str, Any] = {"data": UNKNOWN, "hosted_in": UNKNOWN, **known, **(resource or {})}
    return Facts(
        Caller(**{"on_behalf_of": NO_PERSON, **(caller or {})}),
        Origin(**(origin or {})),
        Subject(**(subject or {})),
        Resource(**given),
        **{"purpose": ABSENT, "case": ABSENT, "time": UNKNOWN, **request},
    )


NO_FACTS: Final = facts_of(
    resource=dict.fromkeys(Resource.__struct_fields__, UNKNOWN), purpose=UNKNOWN, case=UNKNOWN, time=UNKNOWN
)
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


NOW: Final = 1_800_000_000.0
"""2027-01-15T08:00:00Z."""


def entry_of(id_: str = "r", effect: str = "deny", when: Any = None, **more: Any) -> RuleEntry:
    """Return a rule as it is written; it always holds unless told otherwise."""
    if effect == "mask":
        more = {"transforms": {"user.name": "redact"}, **more}
    return RuleEntry.model_validate(
        {"id": id_, "effect": effect, "when": {"always": "true"} if when is None else when, **more}
    )


def compile_lines(when: Any, effect: str = "deny", vocabulary: Vocabulary = VOCABULARY) -> Rule | list[Problem]:
    """Compile a rule from what stands under its ``when``."""
    return compile_rule(entry_of(effect=effect, when=when), vocabulary)


def sound(compiled: Compiled | list[Problem]) -> Compiled:
    """Return what was compiled, which must be without problems."""
    assert not isinstance(compiled, list), compiled
    return compiled


def a_rule(id_: str, effect: str, when: Any = None, vocabulary: Vocabulary = VOCABULARY, **more: Any) -> Rule:
    """Compile a rule that must be sound."""
    return sound(compile_rule(entry_of(id_, effect, when, **more), vocabulary))
