# SPDX-License-Identifier: Apache-2.0
"""``sekisho check DIR``: every problem of a policy folder at once, or what it holds."""

import argparse
from pathlib import Path

from proxy.bundle.check import load_bundle
from proxy.bundle.snapshot import Snapshot
from proxy.clock import render_instant, unix_seconds


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
        "deny rule": policy.denies,
        "allow rule": policy.allows,
        "test": snapshot.cases,
        "affiliate": snapshot.affiliates.by_id,
        "issuer": snapshot.issuers,
        "API": snapshot.catalog.apis,
        "route": snapshot.catalog.routes,
    }
    print("  " + ", ".join(f"{len(held)} {what}{'' if len(held) == 1 else 's'}" for what, held in counts.items()))
    print(f"  policy    {snapshot.policy_digest}")
    print(f"  registers {snapshot.registers_digest}")
    for note in (*_describe_mode(snapshot), *snapshot.notes):
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
