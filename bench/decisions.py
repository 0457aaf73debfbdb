# SPDX-License-Identifier: Apache-2.0
"""One decision: with ten rules beside cedarpy, CEL and Cerbos, and with ten thousand, also of requests half unknown.

- Each contender is warm: rules compiled, the request's facts in the form that it takes. What a gateway has anyway
  (resolved callers, addresses) is not measured; what a library needs per request (a context) is.
- Every contender decides a rotation of many requests by many callers, a third of them allowed, a third denied by a
  rule and a third by none allowing them, and every batch is whole rotations: no cache of one entry flatters anybody.
- "Caller never seen": each decision is of a caller that no decision was made of before, once with the facts at hand,
  once with the caller assembled from claims inside the measurement.
- Before timing, all contenders with ten rules must decide every request of the rotation alike, and Sekisho with ten
  thousand as a plain reading of the same rules does (`bench.rulesets`).
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from operator import methodcaller
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeAlias

from bench import rulesets
from bench.contenders import cerbos
from bench.contenders.sekisho import MANIFEST, POLICY
from bench.countries import LISTED_COUNTRY
from bench.harness import (
    MIN_ROUNDS,
    BenchError,
    Comparison,
    Need,
    Target,
    check_rounds,
    paired,
    render_json,
    render_table,
    require,
    size_of_batch,
    timed,
)
from bench.identity import AFFILIATE, LISTED_AFFILIATE
from bench.processes import allotted_cores, end_on_sigterm
from bench.rulesets import Ruleset, facts_of
from proxy.bundle.check import load_bundle
from proxy.bundle.snapshot import Snapshot
from proxy.caller.affiliates import AffiliateEntry, ControlRuleEntry, compute_affiliates
from proxy.caller.register import Affiliates
from proxy.model.caller import TieKind
from proxy.model.decision import Effect
from proxy.policy.attributes import Facts
from proxy.policy.evaluate import decide

Decide: TypeAlias = Callable[[], bool]
"""Decides one request; true if it is allowed."""

LISTED: Final = ("CN", "HK", "MO")
COUNTRIES: Final = ("JP", "KR", "TW", "TH", "ID", "US", "VN", "SG")
"""Whose users may not be seen by anybody tied to a listed country: eight of the ten rules."""
OTHER_AFFILIATE: Final = "acme-osaka"
"""One that no rule denies and none allows."""
ROTATION: Final = 96
"""Requests that each contender decides in turn."""
MANY_RULES: Final = 10_000
MANY_AFFILIATES: Final = 100_000
NEEDS: Final = (
    Need("cedarpy", "`make bench` installs it", find_spec),
    Need("cel", "`make bench` installs it", find_spec),
    cerbos.NEED,
)

ANCHOR: Final = "cedarpy, 2 policies"
TEN: Final = "Sekisho, 10 rules"
MANY: Final = "Sekisho, 10,000 rules"
WIDE: Final = "Sekisho, 10,000 rules, 100,000 affiliates"
NEVER_SEEN: Final = ", caller never seen"
ASSEMBLED: Final = ", caller never seen and assembled"
ALL_MATCH: Final = "Sekisho, 10,000 rules that all match"
ALL_UNKNOWN: Final = f"{MANY}, all unknown"


# The question with ten rules


@dataclass(frozen=True, slots=True)
class Question:
    """One request of the rotation that every contender with ten rules is asked."""

    affiliate: str
    residence: str
    record: str

    @property
    def ties(self) -> list[str]:
        """Return the countries that the caller is tied to."""
        abroad = {"CN"} if self.affiliate == LISTED_AFFILIATE else set()
        return sorted({"JP", self.residence} | abroad)

    @property
    def is_allowed(self) -> bool:
        """Return the answer that is right."""
        return self.affiliate == AFFILIATE


def make_questions() -> list[Question]:
    """Return the rotation: by turns a caller who may, one whom a rule denies, and one whom no rule allows."""
    affiliates = (AFFILIATE, LISTED_AFFILIATE, OTHER_AFFILIATE)
    residences = ("JP", "KR", "TH", "US")
    return [
        Question(affiliates[number % 3], residences[number // 3 % 4], str(417 + number)) for number in range(ROTATION)
    ]


def sekisho_rules() -> str:
    """Return the three rules of the edge benchmark and seven that deny elsewhere."""
    more = [
        f"  - {{id: no-{country.lower()}, effect: deny, "
        f"when: {{subject.country: {country}, caller.countries: {{any: $listed}}}}}}"
        for country in COUNTRIES[1:]
    ]
    other = f"  - {{id: {OTHER_AFFILIATE}, country: JP, owners: [{{id: {AFFILIATE}, share: 100}}]}}\n"
    sets = f"country_sets: {{listed: [{', '.join(LISTED)}]}}"
    return POLICY.replace(f"country_sets: {{listed: [{LISTED_COUNTRY}]}}", other + sets) + "\n".join(more) + "\n"


def load_ten() -> Snapshot:
    """Return the bundle with ten rules."""
    with TemporaryDirectory(prefix="sekisho-bench-") as name:
        folder = Path(name)
        (folder / "bundle.yaml").write_text(MANIFEST)
        (folder / "policy.yaml").write_text(sekisho_rules())
        (folder / "jwks.json").write_text('{"keys": []}')
        return load_bundle(folder)


def ten_facts(snapshot: Snapshot, question: Question) -> Facts:
    """Return the facts of a question."""
    claims = {"id": f"e-{question.record}", "affiliate": question.affiliate, "residence": question.residence}
    request = rulesets.Request({**claims, "kind": "employee"}, "JP", "JP", question.record, "user")
    return facts_of(snapshot, request, action="read")


def turn(decide_one: Callable[[Any], bool], asked: Sequence[Any]) -> Decide:
    """Return a decision that takes the requests in turn, for ever."""
    rotation = itertools.cycle(asked)
    return lambda: decide_one(next(rotation))


def decide_by(snapshot: Snapshot) -> Callable[[Facts], bool]:
    """Return this project's decision by one bundle."""
    policy = snapshot.policy
    return lambda facts: decide(policy, facts).effect is Effect.ALLOW


def make_ten(snapshot: Snapshot, questions: Sequence[Question]) -> Decide:
    """Return a decision with ten rules by this project."""
    return turn(decide_by(snapshot), [ten_facts(snapshot, question) for question in questions])


def cedar_policies(count: int) -> str:
    """Return as many Cedar policies, the last of which allows."""
    named = json.dumps(LISTED)
    tied = [f'resource.country == "{country}" && principal.countries.containsAny({named})' for country in COUNTRIES]
    tied.insert(1, f'resource.country == "JP" && {named}.contains(context.origin)')
    forbids = [f"forbid(principal, action, resource) when {{ {line} }};" for line in tied[: count - 1]]
    permit = f'principal.affiliate == "{AFFILIATE}" && resource.country == "JP"'
    return "\n".join([*forbids, f'permit(principal, action == Action::"read", resource) when {{ {permit} }};'])


def make_cedar(count: int, questions: Sequence[Question]) -> Decide:
    """Return a decision by cedarpy, with policies and entities parsed beforehand."""
    import cedarpy  # noqa: PLC0415 - `require` must be able to name it first

    policies = cedarpy.PolicySet.from_str(cedar_policies(count))

    def describe(question: Question) -> tuple[dict[str, Any], Any]:
        user, record = f'User::"e-{question.record}"', f'Record::"{question.record}"'
        described = [
            {
                "uid": {"type": "User", "id": f"e-{question.record}"},
                "attrs": {"affiliate": question.affiliate, "countries": question.ties},
                "parents": [],
            },
            {"uid": {"type": "Record", "id": question.record}, "attrs": {"country": "JP"}, "parents": []},
        ]
        request = {"principal": user, "action": 'Action::"read"', "resource": record, "context": {"origin": "JP"}}
        return request, cedarpy.Entities.from_json_str(json.dumps(described))

    def decide_one(asked: tuple[dict[str, Any], Any]) -> bool:
        return bool(cedarpy.is_authorized(asked[0], policies, asked[1]).allowed)

    return turn(decide_one, [describe(question) for question in questions])


def make_cel(questions: Sequence[Question]) -> Decide:
    """Return ten CEL expressions, compiled, evaluated in turn: nine that deny and one that allows."""
    import cel  # noqa: PLC0415 - `require` must be able to name it first

    named = json.dumps(LISTED)
    tied = [f'subject_country == "{country}" && countries.exists(c, c in {named})' for country in COUNTRIES]
    denies = [cel.compile(line) for line in (*tied, f'subject_country == "JP" && origin in {named}')]
    allow = cel.compile(f'affiliate == "{AFFILIATE}" && subject_country == "JP"')

    def decide_one(facts: dict[str, Any]) -> bool:
        return not any(deny.execute(facts) for deny in denies) and bool(allow.execute(facts))

    asked = [
        {"subject_country": "JP", "countries": each.ties, "affiliate": each.affiliate, "origin": "JP"}
        for each in questions
    ]
    return turn(decide_one, asked)


def make_cerbos(server: cerbos.Cerbos, questions: Sequence[Question]) -> Decide:
    """Return a decision by Cerbos over HTTP."""
    asked = [
        cerbos.render_question({"affiliate": each.affiliate, "countries": each.ties, "origin": "JP"}, "JP", each.record)
        for each in questions
    ]
    return turn(server.allows, asked)


@contextmanager
def contenders_of_ten() -> Iterator[dict[str, Decide]]:
    """Return every contender that decides by ten rules, each proved to decide the whole rotation rightly."""
    questions = make_questions()
    cores = allotted_cores()
    with (
        TemporaryDirectory(prefix="sekisho-bench-") as room,
        cerbos.start_cerbos(Path(room), cores.contender, LISTED, COUNTRIES) as server,
    ):
        found = {
            ANCHOR: make_cedar(2, questions),
            TEN: make_ten(load_ten(), questions),
            "cedarpy, 10 policies": make_cedar(10, questions),
            "CEL, 10 expressions": make_cel(questions),
            "Cerbos, 10 rules over HTTP": make_cerbos(server, questions),
        }
        for name, decide_next in found.items():
            if [decide_next() for _ in questions] != [question.is_allowed for question in questions]:
                raise BenchError(f"{name} does not decide as the others: it is not measured")
        yield found


# Ten thousand rules


@dataclass(frozen=True, slots=True)
class Many:
    """Ten thousand rules in force, a register of affiliates, and a rotation of requests."""

    rules: Ruleset
    snapshot: Snapshot
    affiliates: Affiliates
    size: int
    """How many affiliates there are."""
    asked: Sequence[rulesets.Request]

    def facts(self, request: rulesets.Request) -> Facts:
        """Return the facts of a request."""
        return facts_of(self.snapshot, request, affiliates=self.affiliates)

    def turn(self, change: Callable[[rulesets.Request], rulesets.Request] = lambda request: request) -> Decide:
        """Return a decision over the rotation, each request changed first."""
        return turn(decide_by(self.snapshot), [self.facts(change(request)) for request in self.asked])

    def strangers(self, count: int) -> Iterator[rulesets.Request]:
        """Yield requests of callers who are in no rotation."""
        return iter(rulesets.requests(count, rulesets.SEED + 1, self.size))


def make_many(rules: Ruleset, snapshot: Snapshot, affiliates: Affiliates, size: int) -> Many:
    """Choose the rotation, and prove that each of it is decided as the rules read.

    Raises:
        BenchError: If one is not, or the rule set has too many candidates for some request.
    """
    sample = rulesets.requests(rulesets.SAMPLE * 5, rulesets.SEED, size)
    by_effect: dict[str, list[rulesets.Request]] = {"allow": [], "deny": [], "default": []}
    for request in sample:
        decision = decide(snapshot.policy, facts_of(snapshot, request, affiliates))
        by_effect["default" if decision.rule is None else decision.effect].append(request)
        if all(len(each) >= ROTATION // 3 for each in by_effect.values()):
            break
    if min(map(len, by_effect.values())) < 1:
        raise BenchError(f"the sample lacks one of the answers: {Counter({k: len(v) for k, v in by_effect.items()})}")
    thirds = [list(itertools.islice(itertools.cycle(each), ROTATION // 3)) for each in by_effect.values()]
    many = Many(rules, snapshot, affiliates, size, [each for three in zip(*thirds, strict=True) for each in three])
    verify_many(many)
    return many


def verify_many(many: Many) -> None:
    """Prove that the engine decides the rotation as the rules read, and nothing unknown allows more."""
    for request in many.asked:
        facts = many.facts(request)
        allows = decide_by(many.snapshot)
        is_allowed = many.rules.effect(request, facts.caller) == "allow"
        if allows(facts) is not is_allowed:
            raise BenchError(f"decided otherwise than the rules read: {request}")
        lesser = [*(request.without(fact) for fact in rulesets.FACTS), rulesets.all_unknown(request)]
        if not is_allowed and any(allows(many.facts(each)) for each in lesser):
            raise BenchError(f"allowed because something is unknown: {request}")


def many_affiliates() -> Affiliates:
    """Return the computed register of all affiliates, straight from its entries: as YAML it would load for a minute."""
    entries = [AffiliateEntry.model_validate(rulesets.make_affiliate(number)) for number in range(MANY_AFFILIATES)]
    control = ControlRuleEntry.model_validate({"id": "majority", "threshold": "50", "default": "true"})
    return compute_affiliates(entries, [control], frozenset({TieKind.EMPLOYER, TieKind.RESIDENCE, TieKind.CONTROL}))


def contenders_of_many(many: Many) -> dict[str, Decide]:
    """Return the decisions with every fact known, with each one unknown, and with all unknown."""
    found = {MANY: many.turn(), ALL_UNKNOWN: many.turn(rulesets.all_unknown)}
    return found | {unknown_name(fact): many.turn(methodcaller("without", fact)) for fact in rulesets.FACTS}


def unknown_name(fact: str) -> str:
    """Return what the contender without a fact is called."""
    return f"{MANY}, {fact.replace('_', ' ')} unknown"


def make_matching() -> Decide:
    """Return a decision on the one request for which every rule matches; the callers differ in nothing but their id."""
    rules, request = rulesets.everything_matches(MANY_RULES)
    snapshot = rules.load()
    people = [replace(request, claims={**request.claims, "id": f"e-{number}"}) for number in range(ROTATION)]
    return turn(decide_by(snapshot), [facts_of(snapshot, each) for each in people])


# Measuring


def in_rotations(operation: Decide) -> Callable[[], float]:
    """Return a contender whose batches are whole rotations."""
    return timed(operation, -(-size_of_batch(operation) // ROTATION) * ROTATION)


def of_strangers(many: Many, rounds: int) -> Callable[[], float]:
    """Return a contender that decides each request once: the callers were made beforehand and never decided on."""
    strangers = [many.facts(request) for request in many.strangers(rounds * ROTATION)]
    upcoming, allows = iter(strangers), decide_by(many.snapshot)
    return timed(lambda: allows(next(upcoming)), ROTATION)


def of_assembled(many: Many, rounds: int) -> Callable[[], float]:
    """Return the same, the caller assembled from claims within the measurement."""
    upcoming, allows = many.strangers(rounds * ROTATION), decide_by(many.snapshot)
    return timed(lambda: allows(many.facts(next(upcoming))), ROTATION)


def measure(rounds: int) -> Comparison:
    """Build everything, prove it, and time it."""
    check_rounds(rounds)
    rules = rulesets.ruleset(MANY_RULES)
    snapshot = rules.load()
    print(f"{MANY_RULES} rules: {rulesets.census(rules, snapshot, rulesets.requests(rulesets.SAMPLE))}")
    many = make_many(rules, snapshot, snapshot.affiliates, rulesets.NAMED_AFFILIATES)
    wide = make_many(rules, snapshot, many_affiliates(), MANY_AFFILIATES)
    with contenders_of_ten() as of_ten:
        decisions = {**of_ten, **contenders_of_many(many), WIDE: wide.turn(), ALL_MATCH: make_matching()}
        contenders = {name: in_rotations(each) for name, each in decisions.items()}
        for name, each in ((MANY, many), (WIDE, wide)):
            contenders[f"{name}{NEVER_SEEN}"] = of_strangers(each, rounds)
            contenders[f"{name}{ASSEMBLED}"] = of_assembled(each, rounds)
        return paired(contenders, ANCHOR, rounds)


def targets_of(comparison: Comparison) -> dict[str, Target]:
    """Hold the ratios against what was promised."""
    unknown = [ALL_UNKNOWN, *map(unknown_name, rulesets.FACTS)]
    return {
        "sekisho_10_rules_to_cedarpy_2_policies": Target(comparison.ratio(TEN).median, 1 / 20),
        "sekisho_10000_rules_to_10": Target(comparison.ratio(MANY, TEN).median, 2.0),
        "sekisho_100000_affiliates_to_10_rules": Target(comparison.ratio(WIDE, TEN).median, 2.0),
        "sekisho_worst_unknown_to_10_rules": Target(max(comparison.ratio(name, TEN).median for name in unknown), 10.0),
    }


def key_of(name: str) -> str:
    """Return a contender's name as a figure's."""
    return name.lower().replace("10,000", "10000").replace("100,000", "100000").replace(", ", "_").replace(" ", "_")


def figures_of(comparison: Comparison) -> dict[str, float]:
    """Return every figure under a name that stays the same from run to run."""
    found: dict[str, float] = {}
    for name in comparison.costs:
        found[f"{key_of(name)}_microseconds"] = comparison.cost(name).median / 1000
        found[f"{key_of(name)}_to_cedarpy"] = comparison.ratio(name).median
        found[f"{key_of(name)}_to_sekisho_10"] = comparison.ratio(name, TEN).median
    return found


def row_of(name: str, comparison: Comparison) -> list[str]:
    """Return one line of the table."""
    ratios = []
    for anchor in (ANCHOR, TEN):
        ratio = comparison.ratio(name, anchor)
        ratios += [f"{ratio.median:.3g}", f"{ratio.p10:.3g}-{ratio.p90:.3g}"]
    return [name, f"{comparison.cost(name).median / 1000:.2f}", *ratios]


def report(rounds: int, *, as_json: bool) -> None:
    """Measure and print."""
    require(*NEEDS)
    comparison = measure(rounds)
    targets = targets_of(comparison)
    print(f"One decision, {rounds} rounds, interleaved, each over {ROTATION} requests in turn")
    heading = ("contender", "µs", "vs cedarpy", "p10-p90", "vs Sekisho 10", "p10-p90")
    print(render_table(heading, [row_of(name, comparison) for name in comparison.costs]))
    for name, each in targets.items():
        print(f"{'met   ' if each.met else 'MISSED'} {name}: {each.value:.3g}, at most {each.target:g}")
    if as_json:
        print(render_json(figures_of(comparison), targets))


def main() -> int:
    """Run the command; 2 when it could not measure, 0 also when a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.decisions", description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--rounds", type=int, default=MIN_ROUNDS, help="pairs (default and least: %(default)s)")
    options = parser.parse_args()
    end_on_sigterm()
    try:
        report(options.rounds, as_json=options.json)
    except BenchError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
