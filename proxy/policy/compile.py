# SPDX-License-Identifier: Apache-2.0
"""Rules, invariants, grants and purposes as they are written become what decides, or problems with their place.

Everything that can be wrong with them is found here, at load: an attribute, an id, a country or a matcher that does
not exist; a key that does not fit the effect; dates that open what they should keep shut.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from proxy.model.decision import Effect, Severity
from proxy.model.problem import Problem, nearest
from proxy.policy.attributes import ATTRIBUTES, COUNTS, Domain, Scope, Vocabulary
from proxy.policy.conditions import Standing, compile_conditions, refuse_category
from proxy.policy.matchers import OfCategories, Within
from proxy.policy.rules import (
    EMERGENCY,
    Basis,
    Block,
    Condition,
    Effective,
    Grant,
    GrantEntry,
    InvariantEntry,
    Literal,
    Purpose,
    PurposeEntry,
    Rule,
    RuleEntry,
)

_IN_WHEN: Final = {
    Effect.ALLOW: Standing(speaks_for=True, name="an allow rule", has_exceptions=True),
    Effect.DENY: Standing(speaks_for=False, name="a deny rule", has_exceptions=True),
    Effect.MASK: Standing(speaks_for=False, name="a mask rule", has_exceptions=True),
}
_IN_UNLESS: Final = {
    Effect.ALLOW: Standing(speaks_for=False, name="`unless` of an allow rule", spares_whoever_lacks=True),
    Effect.DENY: Standing(speaks_for=True, name="`unless` of a deny rule"),
    Effect.MASK: Standing(speaks_for=True, name="`unless` of a mask rule"),
}
_IN_INVARIANT: Final = Standing(speaks_for=False, name="an invariant")
_IN_GRANT: Final = Standing(speaks_for=True, name="a grant")
_IN_PURPOSE: Final = Standing(speaks_for=True, name="a purpose")
_MAX_EXCEPTIONS: Final = 32


def compile_rule(entry: RuleEntry, vocabulary: Vocabulary) -> Rule | list[Problem]:
    """Compile one rule, or say everything that is wrong with it."""
    problems = _check_keys(entry)
    when = compile_when(entry.when, _IN_WHEN[entry.effect], vocabulary)
    if isinstance(when, list):
        problems += [problem.under("when") for problem in when]
        when = ()
    blocks: list[Block] = []
    if len(entry.unless) > _MAX_EXCEPTIONS:
        problems.append(Problem(("unless",), f"more than {_MAX_EXCEPTIONS} exceptions: make it several rules"))
    for index, lines in enumerate(entry.unless[:_MAX_EXCEPTIONS]):
        block = compile_when(lines, _IN_UNLESS[entry.effect], vocabulary, "unless")
        if isinstance(block, list):
            problems += [problem.under("unless", index) for problem in block]
        else:
            blocks.append(Block(block))
    problems += [
        Problem(("transforms", category), message, at_key=True)
        for category in entry.transforms
        if (message := refuse_category(category, vocabulary))
    ]
    if problems:
        return problems
    return Rule(
        id=entry.id,
        effect=entry.effect,
        title=entry.title or entry.id,
        severity=Severity(entry.severity),
        when=(*when, *_dates(entry.effective, entry.basis), *_what_it_masks(entry)),
        unless=tuple(blocks),
        transforms=dict(entry.transforms),
        is_liftable=entry.liftable,
        is_shadow=entry.mode == "shadow",
        review_by=entry.review_by.isoformat() if entry.review_by else "",
    )


def _find_ends(entry: RuleEntry) -> list[tuple[str | int, ...]]:
    """Return the places where a rule says that there comes a moment from which it does nothing."""
    ends: list[tuple[str | int, ...]] = [("effective", "until")] if entry.effective.until else []
    blocks: list[tuple[tuple[str | int, ...], dict[str, Any], set[str]]] = [(("when",), entry.when, {"lt", "between"})]
    blocks += [(("unless", index), lines, {"gt", "between"}) for index, lines in enumerate(entry.unless)]
    for place, lines, ending in blocks:
        asked = lines.get("time")
        if isinstance(asked, dict) and ending & asked.keys():
            ends.append((*place, "time"))
    return ends


def compile_when(
    lines: Mapping[str, Any], standing: Standing, vocabulary: Vocabulary, key: str = "when"
) -> tuple[Condition, ...] | list[Problem]:
    """Compile the lines of a ``when``: never none by accident."""
    if not lines:
        message = "an empty `when` would match everything: write `always: true` if that is meant"
        return [Problem((), message if key == "when" else "an empty entry of `unless` would excuse everybody")]
    if "always" not in lines:
        return compile_conditions(lines, standing, vocabulary)
    if key != "when" or lines != {"always": "true"}:
        return [Problem(("always",), "`always: true` stands alone, and in `when` alone")]
    return ()


def _check_keys(entry: RuleEntry) -> list[Problem]:
    """Say which keys do not fit the effect."""
    problems = []
    is_allow = entry.effect is Effect.ALLOW
    if entry.effect is Effect.MASK and not entry.transforms:
        problems.append(Problem((), "a mask rule says what it does to which data: `transforms` is missing"))
    if entry.effect is not Effect.MASK and entry.transforms:
        problems.append(Problem(("transforms",), f"a rule that says {entry.effect} transforms nothing", at_key=True))
    if is_allow and entry.liftable:
        problems.append(Problem(("liftable",), "a grant lifts deny and mask rules, never an allow rule", at_key=True))
    if not is_allow and entry.basis is not None:
        problems.append(Problem(("basis",), "only what is allowed has a basis", at_key=True))
    since, until = entry.effective.from_, entry.effective.until
    if since and until and since >= until:
        problems.append(Problem(("effective", "until"), "`until` does not come after `from`"))
    ends = [] if is_allow else _find_ends(entry)
    if not entry.reopens:
        message = f"what this {entry.effect} rule keeps shut opens then: write `reopens: true` if that is meant"
        problems += [Problem(place, message) for place in ends]
    elif not ends:
        message = "it says that a deny or mask rule with an end, `effective: {until: …}`, may end: nothing ends here"
        problems.append(Problem(("reopens",), message, at_key=True))
    if entry.id.partition(".")[0] == EMERGENCY:
        problems.append(Problem(("id",), f"ids that begin with {EMERGENCY!r} are of the folder of emergency denies"))
    return problems


def _dates(effective: Effective, basis: Basis | None) -> list[Condition]:
    """Return what a rule's dates ask of the clock, as conditions like any other."""
    conditions = []
    if effective.from_ or effective.until:
        start = effective.from_.timestamp() if effective.from_ else -math.inf
        end = effective.until.timestamp() if effective.until else math.inf
        said = (("from", effective.from_), ("until", effective.until))
        text = " ".join(f"{word} {moment.isoformat()}" for word, moment in said if moment)
        conditions.append(_at_time(Within(start, end), f"effective {text}"))
    if basis is not None:
        lapse = Within(-math.inf, basis.next_check.timestamp())
        conditions.append(_at_time(lapse, f"basis {basis.reference}, to be checked by {basis.next_check.isoformat()}"))
    return conditions


def _at_time(test: Within, text: str) -> Condition:
    time = ATTRIBUTES["time"]
    return Condition("time", Literal("time", time.get, test, Scope.TIME), text, time.source)


def _what_it_masks(entry: RuleEntry) -> list[Condition]:
    """Return the condition that a route carries what the rule transforms; it is unknown where nobody says what."""
    if not entry.transforms:
        return []
    data = ATTRIBUTES["resource.data"]
    test = OfCategories(frozenset(entry.transforms), "any")
    text = f"carries {', '.join(sorted(entry.transforms))}"
    return [Condition(data.name, Literal(data.name, data.get, test, data.scope), text, data.source)]


def compile_invariant(entry: InvariantEntry, vocabulary: Vocabulary) -> Rule | list[Problem]:
    """Compile one invariant into the deny rule that it is."""
    when = compile_when(entry.when, _IN_INVARIANT, vocabulary)
    if isinstance(when, list):
        return [problem.under("when") for problem in when]
    return Rule(
        id=entry.id,
        effect=Effect.DENY,
        title=entry.title or entry.id,
        severity=Severity(entry.severity),
        when=when,
        is_invariant=True,
    )


def compile_grant(entry: GrantEntry, vocabulary: Vocabulary, rules: Mapping[str, RuleEntry]) -> Grant | list[Problem]:
    """Compile one grant.

    Args:
        entry: as it is written.
        vocabulary: what it can speak of.
        rules: every sound rule entry, by full id.
    """
    problems = []
    for index, rule_id in enumerate(entry.lifts):
        rule = rules.get(rule_id)
        if rule is None:
            problems.append(Problem(("lifts", index), f"no rule {rule_id!r}{nearest(rule_id, rules)}"))
        elif not rule.liftable:
            problems.append(Problem(("lifts", index), f"the rule {rule_id!r} does not say `liftable: true`"))
    when = compile_when(entry.when, _IN_GRANT, vocabulary)
    if isinstance(when, list):
        problems += [problem.under("when") for problem in when]
        when = ()
    if len({approver.partition("|")[2].casefold() for approver in entry.approved_by}) != len(entry.approved_by):
        problems.append(Problem(("approved_by",), "one person approves once: two different people are needed"))
    issuers = vocabulary.values(Domain.ISSUERS)
    for index, approver in enumerate(entry.approved_by):
        issuer, bar, person = approver.partition("|")
        if not bar or not person or issuer not in issuers or any(map(str.isspace, person)):
            message = f"{approver!r} is no person of a declared issuer, such as {min(issuers, default='corp')}|alice"
            problems.append(Problem(("approved_by", index), message))
    if entry.from_ >= entry.until:
        problems.append(Problem(("until",), "`until` does not come after `from`"))
    return problems or Grant(
        id=entry.id,
        lifts=frozenset(entry.lifts),
        when=when,
        subjects=frozenset(entry.subjects),
        approved_by=frozenset(entry.approved_by),
        since=entry.from_.timestamp(),
        until=min(entry.until.timestamp(), *_ends_in(when), math.inf),
    )


def _ends_in(conditions: Iterable[Condition]) -> list[float]:
    """Return the moments from which conditions on the clock no longer hold."""
    return [each.literal.test.end for each in conditions if isinstance(each.literal.test, Within)]


def compile_purpose(entry: PurposeEntry, vocabulary: Vocabulary) -> Purpose | list[Problem]:
    """Compile one purpose."""
    conditions = compile_when(entry.may_claim, _IN_PURPOSE, vocabulary)
    if isinstance(conditions, list):
        return [problem.under("may_claim") for problem in conditions]
    for condition in conditions:
        if "purpose" in getattr(condition.literal.test, "mentions", (condition.attribute,)):
            return [Problem(("may_claim", condition.attribute), "a purpose cannot depend on the purpose", at_key=True)]
        if condition.attribute.startswith(COUNTS):
            message = "a purpose cannot depend on how much was read: say that in a rule"
            return [Problem(("may_claim", condition.attribute), message, at_key=True)]
    return Purpose(entry.id, conditions, entry.needs == "case")


def compile_emergency(entry: RuleEntry, vocabulary: Vocabulary) -> Rule | list[Problem]:
    """Compile one rule of the folder of emergency denies, under the namespace of those."""
    problems = []
    if entry.effect is not Effect.DENY:
        problems.append(Problem(("effect",), "an emergency rule denies, and nothing else"))
    if entry.mode != "enforce" or entry.liftable:
        key = "mode" if entry.mode != "enforce" else "liftable"
        message = f"an emergency rule takes no `{key}`: it is in force, and nothing lifts it"
        problems.append(Problem((key,), message, at_key=True))
    compiled = compile_rule(entry, vocabulary)
    if isinstance(compiled, list):
        return problems + compiled
    if problems:
        return problems
    return compiled.renamed(f"{EMERGENCY}.{compiled.id}")
