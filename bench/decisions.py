# SPDX-License-Identifier: Apache-2.0
"""One decision with ten rules, beside cedarpy and a CEL library with a native core.

- Each contender is warm: rules compiled, the request's facts in the form that it takes. What a gateway has anyway
  (resolved callers, addresses) is not measured; what a library needs per request (a context) is.
- Before timing, every contender must allow the allowed request and deny the denied one.
- The questions are the same: is the subject Japanese and the caller tied to China (deny), is it one of eight other
  denials, is it the head office's own staff (allow).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TypeAlias

from bench.contenders.sekisho import MANIFEST, POLICY
from bench.harness import (
    MIN_ROUNDS,
    BenchError,
    Comparison,
    Need,
    paired,
    render_json,
    render_table,
    require,
    timed,
)
from proxy.bundle.check import load_bundle
from proxy.caller.resolve import assemble_caller
from proxy.model.decision import Effect
from proxy.model.origin import Origin
from proxy.model.subject import Subject
from proxy.policy.attributes import Facts
from proxy.policy.evaluate import decide

Decide: TypeAlias = Callable[[], bool]
"""Decides one request; true if it is allowed."""

COUNTRIES: Final = ("KR", "TW", "TH", "ID", "US", "VN", "SG")
NEEDS: Final = (
    Need("cedarpy", "`make bench` installs it", find_spec),
    Need("cel", "`make bench` installs it", find_spec),
)
ANCHOR: Final = "cedarpy, 2 policies"


def sekisho_rules() -> str:
    """Return the three rules of the edge benchmark and seven that deny elsewhere."""
    more = [
        f"  - {{id: no-{country.lower()}, effect: deny, "
        f"when: {{subject.country: {country}, caller.countries: {{any: $listed}}}}}}"
        for country in COUNTRIES
    ]
    return POLICY + "\n".join(more) + "\n"


def make_sekisho(affiliate: str) -> Decide:
    """Return a decision with ten rules by this project."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "bundle.yaml").write_text(MANIFEST)
        (folder / "policy.yaml").write_text(sekisho_rules())
        snapshot = load_bundle(folder)
    claims = {"affiliate": affiliate, "residence": "JP", "kind": "employee"}
    facts = Facts(
        assemble_caller(snapshot.issuers[0], claims, snapshot.affiliates, principal="login|x"),
        Origin(ip="133.242.0.1", country="JP"),
        Subject(country="JP", id="417"),
        snapshot.resources["user"],
        "read",
    )
    return lambda: decide(snapshot.policy, facts).effect is Effect.ALLOW


def cedar_policies(count: int) -> str:
    """Return as many Cedar policies, the last of which allows."""
    countries = ("JP", *COUNTRIES, "BR", "IN")[: count - 1]
    forbids = [
        f'forbid(principal, action, resource) when {{ resource.country == "{country}" && '
        f'principal.countries.containsAny(["CN", "HK", "MO"]) }};'
        for country in countries
    ]
    permit = 'permit(principal, action, resource) when { principal.affiliate == "acme-tokyo" };'
    return "\n".join([*forbids, permit])


def make_cedar(count: int, affiliate: str) -> Decide:
    """Return a decision by cedarpy, with policies and entities parsed beforehand."""
    import cedarpy  # noqa: PLC0415 - `require` must be able to name it first

    policies = cedarpy.PolicySet.from_str(cedar_policies(count))
    ties = ["JP"] if affiliate == "acme-tokyo" else ["CN", "JP"]
    described = [
        {"uid": {"type": "User", "id": "x"}, "attrs": {"affiliate": affiliate, "countries": ties}, "parents": []},
        {"uid": {"type": "Record", "id": "417"}, "attrs": {"country": "JP"}, "parents": []},
    ]
    entities = cedarpy.Entities.from_json_str(json.dumps(described))
    request = {"principal": 'User::"x"', "action": 'Action::"read"', "resource": 'Record::"417"', "context": {}}
    return lambda: cedarpy.is_authorized(request, policies, entities).allowed


def make_cel(affiliate: str) -> Decide:
    """Return ten CEL expressions, compiled, evaluated in turn: nine that deny and one that allows."""
    import cel  # noqa: PLC0415 - `require` must be able to name it first

    denies = [
        cel.compile(f'subject_country == "{country}" && countries.exists(c, c in ["CN", "HK", "MO"])')
        for country in ("JP", *COUNTRIES, "BR")
    ]
    allow = cel.compile('affiliate == "acme-tokyo"')
    ties = ["JP"] if affiliate == "acme-tokyo" else ["CN", "JP"]
    facts = {"subject_country": "JP", "countries": ties, "affiliate": affiliate}
    return lambda: not any(deny.execute(facts) for deny in denies) and bool(allow.execute(facts))


def make_all(affiliate: str) -> Mapping[str, Decide]:
    """Return every contender for a caller of one affiliate."""
    return {
        "Sekisho, 10 rules": make_sekisho(affiliate),
        ANCHOR: make_cedar(2, affiliate),
        "cedarpy, 10 policies": make_cedar(10, affiliate),
        "CEL, 10 expressions": make_cel(affiliate),
    }


def verify_decisions() -> Mapping[str, Decide]:
    """Prove that all contenders decide alike, and return them for the allowed request.

    Raises:
        BenchError: If one of them does not.
    """
    allowed = make_all("acme-tokyo")
    for name, denied in make_all("acme-shanghai").items():
        if denied() or not allowed[name]():
            raise BenchError(f"{name} does not decide as the others: it is not measured")
    return allowed


def figures_of(comparison: Comparison) -> dict[str, float]:
    """Return every figure under a name that stays the same from run to run."""
    found: dict[str, float] = {}
    for name in comparison.costs:
        key = name.lower().replace(", ", "_").replace(" ", "_")
        found[f"{key}_microseconds"] = comparison.cost(name).median / 1000
        found[f"{key}_to_cedarpy"] = comparison.ratio(name).median
    return found


def report(rounds: int, *, as_json: bool) -> None:
    """Measure and print."""
    require(*NEEDS)
    comparison = paired({name: timed(each) for name, each in verify_decisions().items()}, ANCHOR, rounds)
    rows = []
    for name in comparison.costs:
        ratio = comparison.ratio(name)
        spread = f"{ratio.p10:.3f}-{ratio.p90:.3f}"
        rows.append([name, f"{comparison.cost(name).median / 1000:.2f}", f"{ratio.median:.3f}", spread])
    print(f"One allowed decision, {rounds} rounds, interleaved")
    print(render_table(("contender", "µs", f"vs {ANCHOR}", "p10-p90"), rows))
    if as_json:
        print(render_json(figures_of(comparison), {}))


def main() -> int:
    """Run the command; 2 when it could not measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.decisions", description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--rounds", type=int, default=MIN_ROUNDS, help="pairs (default and least: %(default)s)")
    options = parser.parse_args()
    try:
        report(options.rounds, as_json=options.json)
    except BenchError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
