# SPDX-License-Identifier: Apache-2.0
"""``sekisho check DIR``: every problem of a policy folder at once, or what it holds."""

import argparse
from pathlib import Path

from proxy.bundle.check import load_bundle


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("policies", type=Path, help="the policy folder")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Load the folder; problems come out as a BundleError."""
    snapshot = load_bundle(options.policies)
    policy = snapshot.policy
    print(f"{options.policies} loads: bundle {snapshot.name}")
    print(f"  {len(policy.denies)} deny and {len(policy.allows)} allow rules, {len(snapshot.cases)} tests")
    print(f"  {len(snapshot.affiliates.by_id)} affiliates, {len(snapshot.issuers)} issuers")
    print(f"  {len(snapshot.catalog.routes)} routes of {len(snapshot.catalog.apis)} API(s)")
    print(f"  policy    {snapshot.policy_digest}")
    print(f"  registers {snapshot.registers_digest}")
    for note in snapshot.notes:
        print(f"  note: {note}")
    return 0
