# SPDX-License-Identifier: Apache-2.0
"""``sekisho explain DIR SENTENCE``: every rule, and why it applied or did not, for one of the bundle's tests."""

import argparse
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from proxy.bundle.check import load_bundle
from proxy.errors import UsageError
from proxy.lifecycle.cases import CaseResult, Cases
from proxy.model.facts import Truth, describe
from proxy.model.origin import CountrySource
from proxy.model.problem import nearest
from proxy.origin.geoip import RegistryGeolocator
from proxy.policy.attributes import Facts
from proxy.policy.explain import RuleExplained, explain
from proxy.policy.rules import Policy

MIN_WIDTH: Final = 132
"""Columns that the tree needs so that nothing is cut off."""
_TRUTH: Final[dict[Truth, str]] = {True: "yes", False: "no", None: "unknown"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("policies", type=Path, help="the policy folder")
    parser.add_argument("sentence", help="the test's sentence, or a part of it")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the tree of one test."""
    snapshot = load_bundle(options.policies)
    found = sorted(
        (case for case in snapshot.cases if options.sentence.casefold() in case.name.casefold()),
        key=lambda case: (case.name != options.sentence, not case.name.startswith(options.sentence)),
    )
    if not found:
        names = [case.name for case in snapshot.cases]
        listed = "\n  ".join(["There is:", *names])
        raise UsageError(f"No test says {options.sentence!r}{nearest(options.sentence, names)}. {listed}")
    result = Cases(snapshot, RegistryGeolocator()).run(found[0])
    console = Console(highlight=False)
    console.width = max(console.width, MIN_WIDTH)
    console.print(_draw(result, snapshot.policy, snapshot.affiliates.counted))
    return 0


def _draw(result: CaseResult, policy: Policy, counted: frozenset[str]) -> Tree:
    tree = Tree(Text(f"{result.name}: {result.actual}"))
    if result.facts is None:
        return tree
    _draw_facts(tree, result.facts, counted)
    for rule in explain(policy, result.facts):
        _draw_rule(tree, rule)
    return tree


def _counts(label: str, counted: frozenset[str]) -> str:
    return "" if label in counted else " (counts only where a rule asks for it by name)"


def _draw_facts(tree: Tree, facts: Facts, counted: frozenset[str]) -> None:
    caller, origin = facts.caller, facts.origin
    who = tree.add(Text(f"who asks: affiliate {describe(caller.affiliate)}, tied to {describe(caller.countries)}"))
    for tie in caller.ties:
        path = " ← ".join(tie.path)
        who.add(Text(f"{tie.country} by {tie.label}" + (f": {path}" if path else "") + _counts(tie.label, counted)))
    for label in sorted(caller.open_ties):
        who.add(Text(f"possibly others by {label}: nobody declared that there are none{_counts(label, counted)}"))
    said = "the test" if origin.source is CountrySource.NONE else f"the {origin.source.value}"
    tree.add(Text(f"from where: {describe(origin.country)}, said by {said}"))
    tree.add(Text(f"whose data: {describe(facts.subject.country)}"))


def _draw_rule(tree: Tree, rule: RuleExplained) -> None:
    verdict = "applies" if rule.applies else "does not apply"
    how = " (by unknown)" if rule.applies and rule.truth is None else ""
    title = "" if rule.title == rule.id else f": {rule.title}"
    branch = tree.add(Text(f"{rule.effect} {rule.id} {verdict}{how}{title}"))
    for condition in rule.conditions:
        branch.add(Text(f"{_TRUTH[condition.truth]:7} {condition.attribute}: {condition.asked}  (is {condition.fact})"))
