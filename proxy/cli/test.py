# SPDX-License-Identifier: Apache-2.0
"""``sekisho test DIR``: runs the tests beside the policies, each by its sentence."""

import argparse
from pathlib import Path

from proxy.bundle.check import load_bundle
from proxy.lifecycle.cases import Cases
from proxy.origin.geoip import RegistryGeolocator


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("policies", type=Path, help="the policy folder")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run every test; 1 if one fails, or if there is none."""
    snapshot = load_bundle(options.policies)
    cases = Cases(snapshot, RegistryGeolocator())
    results = [cases.run(case) for case in snapshot.cases]
    for result in results:
        print(f"{'ok    ' if result.passed else 'FAILED'} {result.name}")
        if not result.passed:
            print(f"         expected {result.expected}")
            unknown = ", ".join(result.decision.unknown) if result.decision else ""
            print(f"         decided  {result.actual}" + (f" (not known: {unknown})" if unknown else ""))
    failed = sum(not result.passed for result in results)
    print(f"{len(results) - failed} passed, {failed} failed")
    if not results:
        print("There is no test: write some under `tests`, so that the next change cannot undo this one unseen.")
    return 1 if failed or not results else 0
