# SPDX-License-Identifier: Apache-2.0
"""``sekisho check DIR``: every problem of a policy folder at once, or what it holds."""

import argparse
from pathlib import Path
from typing import Final

from proxy.bundle.check import load_bundle
from proxy.bundle.snapshot import Snapshot
from proxy.clock import render_date, render_instant, unix_seconds
from proxy.model.decision import Effect

_ALWAYS: Final = frozenset({"deny rule", "allow rule", "test", "affiliate", "issuer", "API", "route"})


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("policies", type=Path, help="the policy folder")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Load the folder; problems come out as a BundleError."""
    snapshot = load_bundle(options.policies)
    policy = snapshot.policy
    print(f"{options.policies} loads: bundle {snapshot.name}")
    counts = {
        "invariant": [rule for rule in policy.denies if rule.is_invariant],
        "emergency deny": snapshot.urgent_rules,
        "deny rule": [rule for rule in policy.tier.rules if rule.effect is Effect.DENY and not rule.is_invariant],
        "mask rule": policy.masks,
        "allow rule": policy.allows,
        "rule in shadow mode": policy.shadow.rules if policy.shadow else (),
        "grant": policy.grants,
        "test": snapshot.cases,
        "affiliate": snapshot.parties,
        "issuer": snapshot.issuers,
        "API": snapshot.catalog.apis,
        "route": snapshot.catalog.routes,
    }
    told = [f"{len(held)} {_plural(what, len(held))}" for what, held in counts.items() if held or what in _ALWAYS]
    print("  " + ", ".join(told))
    print(f"  policy    {snapshot.policy_digest}")
    print(f"  registers {snapshot.registers_digest}")
    now = unix_seconds()
    for note in (*_describe_mode(snapshot), *snapshot.notes, *_describe_dates(snapshot, now)):
        print(f"  note: {note}")
    return 0


def _describe_mode(snapshot: Snapshot) -> list[str]:
    """Say what observe mode means at this moment."""
    if snapshot.observe_until is None:
        return []
    until = render_instant(snapshot.observe_until)
    if snapshot.observes(unix_seconds()):
        return [f"mode: observe: refusals only observed until {until}, then enforced"]
    return [f"mode: observe ended at {until}: refusals are enforced"]


def _plural(what: str, count: int) -> str:
    noun, space, rest = what.partition(" in ")
    if count == 1:
        return what
    return f"{noun.removesuffix('y')}ies" if noun.endswith("ny") else f"{noun}s{space}{rest}"


def _describe_dates(snapshot: Snapshot, now: float) -> list[str]:
    """Say what is overdue, and which rules and grants do nothing at this moment because of their dates."""
    notes = [] if snapshot.policy.allows else ["there is no allow rule: everything is denied"]
    if not snapshot.cases:
        notes.append("there is no test: `sekisho test` fails on this folder")
    notes += [f"{review.what} was to be reviewed by {review.by}" for review in snapshot.overdue(render_date(now))]
    for grant in snapshot.policy.grants:
        if now >= grant.until:
            notes.append(f"grant {grant.id} ended at {render_instant(grant.until)}: it does nothing")
        elif now < grant.since:
            notes.append(f"grant {grant.id} begins at {render_instant(grant.since)}: it does nothing yet")
    notes += [
        f"rule {rule.id} is outside its dates: it does nothing at this moment"
        for rule in snapshot.policy.rules
        if any(condition.literal.decide(now) is False for condition in rule.dates)
    ]
    if snapshot.urgent_rules:
        notes.append(f"emergency denies are in force: {', '.join(sorted(rule.id for rule in snapshot.urgent_rules))}")
    return notes
