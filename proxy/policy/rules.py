# SPDX-License-Identifier: Apache-2.0
"""The registers ``rules`` and ``country_sets``: their schemas, and a rule as it is once compiled."""

from collections.abc import Callable
from typing import Annotated, Any, ClassVar

import msgspec
from pydantic import Field

from proxy.model.decision import Effect, Severity
from proxy.model.entry import Entry, Id, Text, choice
from proxy.model.facts import Truth
from proxy.policy.attributes import Facts


class RuleEntry(Entry):
    """One rule as it is written."""

    NOT_YET: ClassVar[frozenset[str]] = frozenset(
        {
            "basis", "effective", "expr", "from", "liftable", "mode", "reopens", "review_by", "transforms", "unless",
            "until",
        }
    )  # fmt: skip
    id: Id
    effect: Annotated[Effect, choice(*Effect, not_yet=["mask"])]
    title: Text | None = None
    when: dict[str, Any]
    severity: Annotated[str, choice(*Severity)] = Severity.MEDIUM
    owner: Text | None = None
    references: list[Text] = Field(default_factory=list)


class Condition(msgspec.Struct, frozen=True):
    """One line of a rule's ``when``."""

    attribute: str
    get: Callable[[Facts], Any]
    test: Callable[[Any], Truth]
    text: str
    """The matcher as it was written, for explain."""
    source: str
    """Where the attribute comes from, for explain."""


class Rule(msgspec.Struct, frozen=True):
    """One rule, compiled."""

    id: str
    effect: Effect
    title: str
    severity: Severity
    conditions: tuple[Condition, ...]
    """All must hold; empty only for ``always: true``."""


class Policy(msgspec.Struct, frozen=True):
    """All rules of a bundle, compiled, in an order that does not depend on files."""

    denies: tuple[Rule, ...]
    """The most severe first, then by id."""
    allows: tuple[Rule, ...]
