# SPDX-License-Identifier: Apache-2.0
"""Draws an explanation as a tree for a terminal."""

from collections.abc import Iterable
from typing import Final

from rich.text import Text
from rich.tree import Tree

from proxy.cli.terminal import plain
from proxy.lifecycle.explanation import AnswerExplained, Explanation
from proxy.lifecycle.ruling import Outcome
from proxy.model.facts import Truth
from proxy.model.filtering import MASKED
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
    if explanation.classes:
        branch = tree.add(_text("before the answer tells whose data it is"))
        for outcome in explanation.classes:
            branch.add(_text(_tell_outcome(outcome)))
    if explanation.answer is not None:
        _draw_answer(tree, explanation.answer)
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


def _tell_outcome(outcome: Outcome) -> str:
    if not outcome.rule:
        return f"{outcome.subjects}: {outcome.effect}, it hangs on more than rules name"
    how = " (by unknown)" if outcome.is_by_unknown else ""
    masks = "".join(f", {transform} {category}" for category, transform in outcome.transforms)
    return f"{outcome.subjects}: {outcome.effect} by {outcome.rule}{how}{masks}"


def _draw_answer(tree: Tree, answer: AnswerExplained) -> None:
    refused = f"refused, {answer.refused}; before that " if answer.refused else ""
    branch = tree.add(_text(f"records of the answer: {refused}{answer.summary}"))
    for record in answer.records:
        twig = branch.add(_text(record.describe()))
        for field in record.fields if record.what == MASKED else ():
            twig.add(_text(f"{field.transform} {field.path}"))


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
