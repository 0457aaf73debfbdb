# SPDX-License-Identifier: Apache-2.0
"""Draws an explanation as a tree for a terminal."""

from collections.abc import Iterable
from typing import Final

from rich.text import Text
from rich.tree import Tree

from proxy.cli.terminal import plain
from proxy.lifecycle.explanation import Explanation
from proxy.model.facts import Truth
from proxy.policy.explain import ConditionExplained, RuleExplained

_TRUTH: Final[dict[Truth, str]] = {True: "yes", False: "no", None: "unknown"}


def _text(told: str) -> Text:
    """Return a text without what a terminal would act on: a line of a ledger may be anybody's."""
    return Text(plain(told, keep_newlines=True))


def draw(explanation: Explanation) -> Tree:
    """Return the tree: the verdict, the facts with where each is from, every rule."""
    tree = Tree(_text(f"{explanation.title}: {explanation.verdict}"))
    for told in explanation.remarks:
        tree.add(_text(told))
    facts = tree.add(_text("facts"))
    for fact in explanation.facts:
        branch = facts.add(_text(f"{fact.name}: {fact.value}  ({fact.source})"))
        for detail in fact.details:
            branch.add(_text(detail))
    for rule in sorted(explanation.rules, key=lambda rule: not rule.applies):
        _draw_rule(tree, rule, explanation.places.get(rule.id, ""))
    for grant in explanation.grants:
        verdict = "holds" if grant.holds else "does nothing here"
        branch = tree.add(_text(f"grant {grant.id} {verdict}: lifts {', '.join(grant.lifts)}"))
        for why in grant.why_not:
            branch.add(_text(why))
    return tree


def _draw_rule(tree: Tree, rule: RuleExplained, place: str) -> None:
    verdict = "applies" if rule.applies else "does not apply"
    how = " (by unknown)" if rule.applies and rule.truth is None else ""
    what = "invariant" if rule.is_invariant else f"shadow {rule.effect}" if rule.is_shadow else str(rule.effect)
    title = "" if rule.title == rule.id else f": {rule.title}"
    branch = tree.add(_text(f"{what} {rule.id} {verdict}{how}{title}" + (f"  [{place}]" if place else "")))
    _draw_conditions(branch, rule.when)
    for block in rule.unless:
        _draw_conditions(branch.add(_text("unless")), block)


def _draw_conditions(branch: Tree, conditions: Iterable[ConditionExplained]) -> None:
    for condition in conditions:
        truth, asked = _TRUTH[condition.truth], f"{condition.attribute}: {condition.asked}"
        branch.add(_text(f"{truth:7} {asked}  (is {condition.fact})"))
