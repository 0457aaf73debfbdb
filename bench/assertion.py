# SPDX-License-Identifier: Apache-2.0
"""What the signed decision costs a request: the passage up to its ``Forward``, with and without the field.

The same request by the same caller through the reference bundle, once for each way to sign; the anchor is a checkpoint
without a key. CPU of one core; what the API's own check costs is the API's.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Final

import msgspec

from bench.harness import MIN_ROUNDS, BenchError, paired, render_json, render_table, timed
from proxy.assertion.assertions import Assertions
from proxy.assertion.keys import EDDSA, ES256, AssertionKey, AssertionKeys
from proxy.model.api import AssertionMode
from proxy.pipeline.steps import Forward
from proxy.request.catalog import Catalog
from tests.support.passages import a_checkpoint, a_head, a_passage, reference_bundle

if TYPE_CHECKING:
    from collections.abc import Callable

ANCHOR: Final = "no key"
BATCH: Final = 100
"""Requests in one batch."""
WAYS: Final = {
    "caller, EdDSA": (AssertionMode.CALLER, EDDSA),
    "caller, ES256": (AssertionMode.CALLER, ES256),
    "request, EdDSA": (AssertionMode.REQUEST, EDDSA),
    "request, ES256": (AssertionMode.REQUEST, ES256),
}


def make_passing(way: tuple[AssertionMode, str] | None) -> Callable[[], None]:
    """Return a batch of requests that are let pass; None signs nothing."""
    snapshot, assertions = reference_bundle(), None
    if way is not None:
        mode, algorithm = way
        (api,) = snapshot.catalog.apis
        told = msgspec.structs.replace(api, assertion=mode)
        routes = [msgspec.structs.replace(route, api=told) for route in snapshot.catalog.routes]
        catalog = Catalog([told], routes, {(told.id, route.id): {} for route in routes})
        snapshot = msgspec.structs.replace(snapshot, catalog=catalog)
        keys = AssertionKeys([AssertionKey.generate(1.0, algorithm)])
        assertions = Assertions(keys, "sekisho", snapshot.digest)
    checkpoint, head = a_checkpoint(snapshot, assertions), a_head()

    def batch() -> None:
        for _ in range(BATCH):
            if not isinstance(a_passage(checkpoint).begin(head), Forward):
                raise BenchError("the benchmark's request was refused")

    return batch


def main() -> int:
    """Run the command; 2 when it could not measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.assertion", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--rounds", type=int, default=2 * MIN_ROUNDS + 1, help="pairs (default: %(default)s)")
    options = parser.parse_args()
    ways: dict[str, tuple[AssertionMode, str] | None] = {ANCHOR: None, **WAYS}
    try:
        batches = {name: timed(make_passing(way)) for name, way in ways.items()}
        comparison = paired(batches, ANCHOR, options.rounds)
    except BenchError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    costs = {name: comparison.cost(name).median / BATCH / 1000 for name in ways}
    ratios = {name: comparison.ratio(name) for name in WAYS}
    rows = [[ANCHOR, f"{costs[ANCHOR]:.1f}", "", ""]]
    rows += [
        [name, f"{costs[name]:.1f}", f"{costs[ANCHOR] * (ratio.median - 1):.1f}", f"{ratio.p10:.2f}-{ratio.p90:.2f}"]
        for name, ratio in ratios.items()
    ]
    print(render_table(("signed", "µs a request", "more", "ratio p10-p90"), rows))
    if options.json:
        print(render_json({f"{name.replace(', ', '_')}_us": cost for name, cost in costs.items()}, {}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
