# SPDX-License-Identifier: Apache-2.0
"""The registers of the policy room: their schemas, and rules, grants and purposes as they are once compiled."""

import functools
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

import msgspec
from pydantic import Field, WithJsonSchema

from proxy.model.api import Transform
from proxy.model.decision import NO_TRANSFORMS, AppliedRule, Certainty, Effect, Severity
from proxy.model.entry import Category, Date, Entry, Flag, Id, Instant, Reference, Text, choice
from proxy.model.facts import Truth
from proxy.policy.attributes import Facts, Scope
from proxy.policy.matchers import Test, conjunction, negate

EMERGENCY: Final = "emergency"
"""The namespace of rules that lie in the folder of emergency denies."""


Conditions = Annotated[dict[str, Any], WithJsonSchema({"title": "conditions"})]
"""What ``conditions`` compiles; ``bundle.json_schema`` says for editors what it may hold."""


class Effective(Entry):
    """When a rule holds: [from, until)."""

    from_: Instant | None = Field(default=None, alias="from")
    until: Instant | None = None


class Basis(Entry):
    """On what ground a transfer is allowed, and until when somebody has looked at that."""

    kind: Text
    """Consent, contract, adequacy, legal obligation: the organisation's own words."""
    reference: Text
    next_check: Instant
    """The rule lapses then."""


class RuleEntry(Entry):
    """One rule as it is written."""

    id: Id
    effect: Annotated[Effect, choice(*Effect)]
    title: Text | None = None
    when: Conditions
    unless: list[Conditions] = Field(default_factory=list)
    severity: Annotated[str, choice(*Severity)] = Severity.MEDIUM
    mode: Annotated[str, choice("enforce", "shadow")] = "enforce"
    effective: Effective = Effective()
    reopens: Flag = False
    """Whether it is meant that a deny or mask rule ends, so that what it kept shut opens again."""
    liftable: Flag = False
    """Whether a grant may lift it."""
    transforms: dict[Annotated[str, Category], Annotated[Transform, choice(*Transform)]] = Field(default_factory=dict)
    """Of a mask rule: data category to what is done to fields of it and below it."""
    basis: Basis | None = None
    owner: Text | None = None
    references: list[Text] = Field(default_factory=list)
    review_by: Date | None = None
    """When somebody looks at it again; past that it still holds, and ``check`` warns."""


class InvariantEntry(Entry):
    """What no change of rules may ever make possible: the last deny of every decision, lifted by nothing."""

    id: Id
    never: Annotated[str, choice(Effect.ALLOW)]
    title: Text | None = None
    when: Conditions
    severity: Annotated[str, choice(*Severity)] = Severity.CRITICAL
    owner: Text | None = None
    references: list[Text] = Field(default_factory=list)


class GrantEntry(Entry):
    """A dated, scoped, approved exception. It allows nothing: it lifts rules that say they may be lifted."""

    id: Reference
    lifts: list[Id] = Field(min_length=1)
    when: Conditions
    subjects: list[Text] = Field(min_length=1)
    """Whose data: keyed pseudonyms of the deployment, as ``sekisho grant new`` writes them."""
    approved_by: list[Text] = Field(min_length=2)
    """``issuer|subject`` of at least two people; neither may use it."""
    from_: Instant = Field(alias="from")
    until: Instant
    reason: Text | None = None
    references: list[Text] = Field(default_factory=list)


class PurposeEntry(Entry):
    """What a caller may say it reads for."""

    id: Id
    title: Text | None = None
    may_claim: Conditions
    """Conditions on the caller and the request, under which the claim is taken."""
    needs: Annotated[str, choice("case")] | None = None


class Literal(msgspec.Struct, frozen=True):
    """One test of one fact."""

    key: str
    """The attribute, and how it is read: literals with one key read the same fact."""
    get: Callable[[Facts], Any]
    test: Test
    scope: Scope
    is_negated: bool = False

    def __call__(self, facts: Facts, /) -> Truth:
        """Ask it of a request."""
        return self.decide(self.get(facts))

    def decide(self, fact: Any) -> Truth:
        """Ask it of a fact."""
        return negate(self.test(fact)) if self.is_negated else self.test(fact)


class Condition(msgspec.Struct, frozen=True):
    """One line of a ``when``."""

    attribute: str
    literal: Literal
    text: str
    """The matcher as it was written, for explain."""
    source: str
    """Where the attribute comes from, for explain."""


class Block(msgspec.Struct, frozen=True):
    """Several conditions that must all hold: one entry of an ``unless``."""

    conditions: tuple[Condition, ...]

    def __call__(self, facts: Facts, /) -> Truth:
        """Ask it of a request."""
        return conjunction(condition.literal(facts) for condition in self.conditions)


def whole(facts: Facts) -> Facts:
    """Return the facts themselves, for a test that reads several."""
    return facts


class Rule(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One rule, compiled. It holds where all of ``when`` and none of ``unless`` do."""

    id: str
    effect: Effect
    title: str
    severity: Severity
    when: tuple[Condition, ...]
    """Empty only for ``always: true``."""
    unless: tuple[Block, ...] = ()
    transforms: Mapping[str, Transform] = NO_TRANSFORMS
    is_invariant: bool = False
    is_liftable: bool = False
    is_shadow: bool = False
    review_by: str = ""
    """An ISO date."""

    @property
    def dates(self) -> tuple[Condition, ...]:
        """What the rule asks of the clock alone."""
        return tuple(condition for condition in self.when if condition.literal.scope is Scope.TIME)

    @functools.cached_property
    def literals(self) -> tuple[Literal, ...]:
        """Every literal of the conjunction that the rule is."""
        return (*(condition.literal for condition in self.when), *map(_exception, self.unless))

    def renamed(self, id_: str) -> "Rule":
        """Return the same rule under another id."""
        return msgspec.structs.replace(self, id=id_)

    @functools.cached_property
    def matched(self) -> AppliedRule:
        """The rule as it stands in a decision where every fact is known."""
        return AppliedRule(self.id, self.effect, Certainty.MATCHED, self.title)


def _exception(block: Block) -> Literal:
    """Return the literal that a block does not hold."""
    if len(block.conditions) == 1:
        literal = block.conditions[0].literal
        return msgspec.structs.replace(literal, is_negated=not literal.is_negated)
    scopes = {condition.literal.scope for condition in block.conditions}
    scope = scopes.pop() if len(scopes) == 1 else Scope.MIXED
    text = " ".join(f"{condition.attribute}:{condition.text}" for condition in block.conditions)
    return Literal(f"unless {text}", whole, block, scope, is_negated=True)


class Grant(msgspec.Struct, frozen=True):
    """An exception, compiled."""

    id: str
    lifts: frozenset[str]
    when: tuple[Condition, ...]
    subjects: frozenset[str]
    approved_by: frozenset[str]
    since: float
    until: float
    """Seconds since 1970; it holds in [since, until)."""


class Purpose(msgspec.Struct, frozen=True):
    """A purpose, compiled."""

    id: str
    may_claim: tuple[Condition, ...]
    needs_case: bool
