# SPDX-License-Identifier: Apache-2.0
from itertools import permutations
from typing import Any, Final

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from proxy.model.api import Transform, combine_transforms
from proxy.model.caller import NO_PERSON, UNKNOWN_PERSON, Person
from proxy.model.counts import FIRST, TALLIES
from proxy.model.decision import Certainty, Decision, Effect, Reason, Severity
from proxy.model.facts import ABSENT, NOT_APPLICABLE, UNKNOWN, FactSet, State, Truth
from proxy.policy import evaluate
from proxy.policy.attributes import Facts, Scope
from proxy.policy.compile import compile_emergency, compile_invariant, compile_purpose
from proxy.policy.evaluate import MAX_LISTED, claim_purpose, decide, find_unknown, has_approved, holds, holds_now
from proxy.policy.policy import Policy
from proxy.policy.rules import Block, Condition, Grant, InvariantEntry, Literal, PurposeEntry, Rule
from tests.support.policy_draws import FACTS, RULES, a_drawn_rule, a_grant, grants_for, less_known, with_part
from tests.support.policy_facts import EMPLOYEE, NO_FACTS, NOW, VOCABULARY, a_rule, entry_of, facts_of, some, sound

CHECKED: Final = settings(max_examples=40)

# The combining rules, written down once more and plainly.


def holds_for(grant: Grant, facts: Facts) -> bool:
    caller, time, behind = facts.caller.principal, facts.time, facts.caller.on_behalf_of
    taking_part = {caller, behind.principal, *facts.caller.passed_on}
    return (
        isinstance(time, float)
        and grant.since <= time < grant.until
        and caller != ""
        and (behind == NO_PERSON or behind.kind in {"employee", "contractor"})
        and taking_part.isdisjoint(grant.approved_by)
        and facts.subject.reference in grant.subjects
        and all(condition.literal(facts) is True for condition in grant.when)
    )


def say(rule: Rule, truth: Truth) -> tuple[object, ...]:
    return not rule.is_invariant, truth is None, list(Severity).index(rule.severity), rule.id


def expected(
    rules: list[Rule], grants: list[Grant], facts: Facts
) -> tuple[Effect, str, dict[str, Transform], set[str]]:
    """Return effect, determining rule, transforms and what was lifted."""
    truths = {rule.id: holds(rule, facts) for rule in rules}
    granted = frozenset[str]().union(*(grant.lifts for grant in grants if holds_for(grant, facts)))
    applying = [rule for rule in rules if not rule.is_shadow and truths[rule.id] is not False]
    lifted = {rule.id for rule in applying if rule.is_liftable and rule.id in granted}
    left = [rule for rule in applying if rule.id not in lifted]
    denies = sorted((rule for rule in left if rule.effect is Effect.DENY), key=lambda r: say(r, truths[r.id]))
    allows = sorted(rule.id for rule in left if rule.effect is Effect.ALLOW and truths[rule.id] is True)
    if denies or not allows:
        return Effect.DENY, denies[0].id if denies else "default", {}, lifted
    transforms: dict[str, Transform] = {}
    for rule in (rule for rule in left if rule.effect is Effect.MASK):
        for category, transform in rule.transforms.items():
            transforms[category] = combine_transforms(transforms.get(category, transform), transform)
    return Effect.ALLOW, allows[0], transforms, lifted


def came_to(decision: Decision) -> tuple[Effect, str, dict[str, Transform], set[str]]:
    return decision.effect, decision.rule_id, dict(decision.transforms), {each.rule for each in decision.lifted}


@settings(parent=CHECKED, max_examples=150)
@given(RULES, FACTS, st.data())
def test_a_decision_is_what_the_combining_rules_say(rules: list[Rule], facts: Facts, data: st.DataObject) -> None:
    grants = data.draw(grants_for(rules))
    decision = decide(Policy(rules, grants), facts)
    assert came_to(decision) == expected(rules, grants, facts)
    used = {each.grant for each in decision.lifted}
    assert decision.until == min((grant.until for grant in grants if grant.id in used), default=float("inf"))


@CHECKED
@given(RULES, st.lists(FACTS, min_size=1, max_size=5), st.data())
def test_what_was_decided_before_changes_no_decision(rules: list[Rule], many: list[Facts], data: st.DataObject) -> None:
    """LESSONS 1.15: what is kept of a decision is asked for by everything that it was made from."""
    grants = data.draw(grants_for(rules))
    policy = Policy(rules, grants)
    for facts in many + many:
        assert decide(policy, facts) == decide(Policy(rules, grants), facts)


def test_what_is_kept_of_decisions_is_bounded_and_stays_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "MAX_SETTLED", 2)
    ids = [str(number) for number in range(5)]
    rules = [a_rule(f"r{id_}", "allow", when={"subject.id": id_}) for id_ in ids]
    policy = Policy(rules)
    for id_ in ids + ids:
        assert decide(policy, facts_of(subject={"id": id_})).rule_id == f"r{id_}"
        assert len(policy.tier.settled) <= 2


@CHECKED
@given(RULES, FACTS, st.lists(a_drawn_rule(("deny", "allow")), max_size=3))
def test_emergency_denies_only_take_away(rules: list[Rule], facts: Facts, more: list[Rule]) -> None:
    urgent = [
        msgspec.structs.replace(rule, id=f"emergency.{place}", effect=Effect.DENY, is_liftable=False, is_shadow=False)
        for place, rule in enumerate(more)
    ]
    plain, with_urgent = Policy(rules), Policy(rules).with_urgent(urgent)
    assert came_to(decide(with_urgent, facts)) == expected([*rules, *urgent], [], facts)
    assert decide(with_urgent.with_urgent([]), facts) == decide(plain, facts)


# The laws.


@CHECKED
@given(RULES, FACTS, st.data())
def test_knowing_less_never_turns_a_deny_into_an_allow(rules: list[Rule], facts: Facts, data: st.DataObject) -> None:
    policy = Policy(rules, data.draw(grants_for(rules)))
    before = decide(policy, facts)
    for what, less in less_known(facts):
        after = decide(policy, less)
        if before.effect is Effect.DENY:
            assert after.effect is Effect.DENY, what
        elif after.effect is Effect.ALLOW:  # nor does it take a transform away
            assert set(before.transforms) <= set(after.transforms), what


@CHECKED
@given(RULES, FACTS)
def test_knowing_less_never_turns_an_answer_of_a_rule_round(rules: list[Rule], facts: Facts) -> None:
    for rule in rules:
        before = holds(rule, facts)
        for what, less in less_known(facts):
            assert holds(rule, less) in {before, None}, what


@CHECKED
@given(RULES, FACTS, st.data())
def test_having_read_more_never_turns_a_deny_round(rules: list[Rule], facts: Facts, data: st.DataObject) -> None:
    policy = Policy(rules, data.draw(grants_for(rules)))
    numbers = {name: number for name in TALLIES if isinstance(number := getattr(facts.counts, name), int)}
    more = {name: number + data.draw(st.integers(0, 10)) for name, number in numbers.items()}
    before, after = decide(policy, facts), decide(policy, with_part(facts, "counts", **more))
    assert before.effect is Effect.ALLOW or after.effect is Effect.DENY
    assert after.effect is Effect.DENY or before.transforms.keys() <= after.transforms.keys()


@given(RULES, FACTS, st.data())
def test_what_is_refused_as_a_first_request_is_refused_by_any_count(
    rules: list[Rule], facts: Facts, data: st.DataObject
) -> None:
    policy = Policy(rules, data.draw(grants_for(rules)))
    first = decide(policy, msgspec.structs.replace(facts, counts=FIRST))
    if first.effect is Effect.DENY or first.transforms:
        decision = decide(policy, facts)
        assert decision.effect is Effect.DENY or decision.transforms


@given(RULES, a_drawn_rule(("deny", "mask", "invariant")), FACTS)
def test_one_more_deny_or_mask_rule_only_takes_away(rules: list[Rule], more: Rule, facts: Facts) -> None:
    before = decide(Policy(rules), facts)
    after = decide(Policy([*rules, more.renamed("more")]), facts)
    if before.effect is Effect.DENY:
        assert after.effect is Effect.DENY
    if after.effect is Effect.ALLOW:
        for category, transform in before.transforms.items():
            now = after.transforms[category]
            assert combine_transforms(transform, now) is now, "a mask was weakened"


@CHECKED
@given(RULES, FACTS)
def test_one_allow_rule_less_only_takes_away(rules: list[Rule], facts: Facts) -> None:
    assume(decide(Policy(rules), facts).effect is Effect.DENY)
    for rule in rules:
        if rule.effect is Effect.ALLOW:
            assert decide(Policy([other for other in rules if other is not rule]), facts).effect is Effect.DENY


@CHECKED
@given(RULES, FACTS, st.randoms(use_true_random=False))
def test_the_order_of_rules_does_not_matter(rules: list[Rule], facts: Facts, chance: Any) -> None:
    turned = [*rules]
    chance.shuffle(turned)
    assert decide(Policy(turned), facts) == decide(Policy(rules), facts)


@CHECKED
@given(RULES, FACTS)
def test_the_order_of_a_rules_lines_does_not_matter(rules: list[Rule], facts: Facts) -> None:
    for rule in rules:
        turned = msgspec.structs.replace(rule, when=rule.when[::-1], unless=rule.unless[::-1])
        assert holds(turned, facts) is holds(rule, facts)


@CHECKED
@given(RULES, FACTS)
def test_a_shadow_rule_changes_nothing_but_what_is_said_of_it(rules: list[Rule], facts: Facts) -> None:
    without = decide(Policy([rule for rule in rules if not rule.is_shadow]), facts)
    decision = decide(Policy(rules), facts)
    assert msgspec.structs.replace(decision, shadow=None) == without
    enforced = [msgspec.structs.replace(rule, is_shadow=False) for rule in rules]
    would = decide(Policy(enforced), facts)
    if decision.shadow is None:
        assert (would.effect, would.transforms) == (decision.effect, decision.transforms)
    else:
        assert decision.shadow.would is would.effect
        changes = (would.effect, would.transforms) != (decision.effect, decision.transforms)
        assert decision.shadow.changes is changes


@CHECKED
@given(RULES, st.data())
def test_without_any_fact_only_what_always_holds_allows(rules: list[Rule], data: st.DataObject) -> None:
    asking = [rule for rule in rules if rule.when or rule.unless]
    assert decide(Policy(asking, data.draw(grants_for(asking))), NO_FACTS).effect is Effect.DENY


@CHECKED
@given(RULES, FACTS, st.data(), st.booleans())
def test_an_error_inside_a_rule_never_yields_an_allow(
    rules: list[Rule],
    facts: Facts,
    data: st.DataObject,
    in_get: bool,  # noqa: FBT001 - drawn
) -> None:
    reached: list[str] = []

    def fails(_: Any) -> Any:
        reached.append("here")
        raise ZeroDivisionError

    in_force = [rule for rule in rules if rule.when and not rule.is_shadow]
    assume(in_force)
    rule = data.draw(st.sampled_from(in_force))
    place = data.draw(st.integers(0, len(rule.when) - 1))
    literal = rule.when[place].literal
    # a key of its own: the index reads a fact once for all literals of one key
    broken = msgspec.structs.replace(literal, key="broken", test=fails, **({"get": fails} if in_get else {}))
    when = [*rule.when]
    when[place] = msgspec.structs.replace(when[place], literal=broken)
    worse = [other if other is not rule else msgspec.structs.replace(rule, when=tuple(when)) for other in rules]
    try:
        effect = decide(Policy(worse), facts).effect
    except ZeroDivisionError:
        return
    assert effect is Effect.DENY or not reached


@pytest.mark.parametrize("effect", ["deny", "allow", "mask"])
def test_an_error_inside_a_shadow_rule_is_its_own(effect: str) -> None:
    def fails(_: Any) -> Any:
        raise ZeroDivisionError

    rule = a_rule("watched", effect, {"caller.id": {"glob": "x*"}}, mode="shadow")
    literal = msgspec.structs.replace(rule.when[0].literal, test=fails)
    broken = msgspec.structs.replace(rule, when=(msgspec.structs.replace(rule.when[0], literal=literal),))
    decision = decide(Policy([a_rule("staff", "allow"), broken]), EMPLOYEE)
    assert (decision.effect, decision.rule_id, decision.shadow) == (Effect.ALLOW, "staff", None)


@CHECKED
@given(RULES, FACTS)
def test_a_decision_says_what_it_was_made_of(rules: list[Rule], facts: Facts) -> None:
    decision = decide(Policy(rules), facts)
    truths = {rule.id: holds(rule, facts) for rule in rules if not rule.is_shadow}
    of: dict[Effect, set[str]] = {effect: set() for effect in Effect}
    for rule in rules:
        if not rule.is_shadow and truths[rule.id] is not False:
            of[rule.effect].add(rule.id)
    certain = {id_ for id_ in of[Effect.ALLOW] if truths[id_] is True}
    made = of[Effect.DENY] or (certain | of[Effect.MASK] if certain else set())
    assert {applied.id for applied in decision.applied} <= made
    assert len(decision.applied) + decision.unlisted == len(made)
    assert len(decision.applied) <= MAX_LISTED
    assert decision.unknown == tuple(sorted(set(decision.unknown)))
    for applied in decision.applied:
        assert (applied.certainty is Certainty.MATCHED) == (truths[applied.id] is True)
        assert bool(applied.unknown) == (truths[applied.id] is None)
    assert decision.rule is None or decision.rule == decision.applied[0]


# Tables.

CHINESE = {"subject.country": "JP", "caller.countries": {"any": ["CN"]}}
STAFF = {"caller.affiliate": "ly"}


@pytest.mark.parametrize(
    ("countries", "subject", "effect", "rule", "certainty"),
    [
        pytest.param(some("JP"), "JP", "allow", "staff", "matched", id="tied to Japan alone"),
        pytest.param(some("JP", "CN"), "JP", "deny", "china", "matched", id="tied to China, too"),
        pytest.param(some("JP", is_open=True), "JP", "deny", "china", "by-unknown", id="perhaps tied to China"),
        pytest.param(UNKNOWN, "JP", "deny", "china", "by-unknown", id="tied to nobody knows what"),
        pytest.param(some("CN"), UNKNOWN, "deny", "china", "by-unknown", id="perhaps a Japanese user"),
        pytest.param(some("CN"), "KR", "allow", "staff", "matched", id="a Korean user"),
        pytest.param(some("CN"), NOT_APPLICABLE, "allow", "staff", "matched", id="no personal data"),
        pytest.param(UNKNOWN, "KR", "allow", "staff", "matched", id="unknown, where it cannot matter"),
    ],
)
def test_a_deny_rule_applies_when_true_or_unknown(
    countries: FactSet | State, subject: Any, effect: str, rule: str, certainty: str
) -> None:
    policy = Policy([a_rule("china", "deny", CHINESE), a_rule("staff", "allow", STAFF)])
    facts = facts_of(caller={"affiliate": "ly", "countries": countries}, subject={"country": subject})
    decision = decide(policy, facts)
    assert decision.effect == effect
    assert decision.rule_id == rule
    assert decision.rule is not None
    assert decision.rule.certainty == certainty


@pytest.mark.parametrize(
    ("affiliate", "effect"),
    [("ly", "allow"), ("naver", "deny"), (UNKNOWN, "deny"), (ABSENT, "deny"), (NOT_APPLICABLE, "deny")],
)
def test_an_allow_rule_applies_only_when_true(affiliate: Any, effect: str) -> None:
    decision = decide(Policy([a_rule("staff", "allow", STAFF)]), facts_of(caller={"affiliate": affiliate}))
    assert decision.effect == effect
    assert decision.unknown == (("caller.affiliate",) if affiliate is UNKNOWN else ())


@pytest.mark.parametrize("facts", [EMPLOYEE, NO_FACTS], ids=["somebody", "nobody"])
def test_no_rules_deny(facts: Facts) -> None:
    decision = decide(Policy(()), facts)
    assert (decision.effect, decision.reason, decision.rule_id) == (Effect.DENY, Reason.NO_RULE_ALLOWS, "default")


def test_a_deny_that_always_holds_beats_an_allow_that_always_holds() -> None:
    rules = [a_rule("a", "allow", severity="critical"), a_rule("z", "deny", severity="low")]
    assert decide(Policy(rules), EMPLOYEE).rule_id == "z"


UNSURE = {"caller.residence": "CN"}
SURE = {"caller.affiliate": "ly"}


def an_invariant(id_: str, when: Any) -> Rule:
    entry = InvariantEntry.model_validate({"id": id_, "never": "allow", "when": when})
    return sound(compile_invariant(entry, VOCABULARY))


@pytest.mark.parametrize(
    ("rules", "determining", "reason"),
    [
        pytest.param(
            [a_rule("a", "deny", UNSURE, severity="critical"), a_rule("b", "deny", SURE, severity="low")],
            "b", "rule-denies", id="matched before unknown",
        ),
        pytest.param(
            [a_rule("a", "deny", SURE, severity="low"), a_rule("b", "deny", SURE, severity="critical")],
            "b", "rule-denies", id="then the more severe",
        ),
        pytest.param([a_rule("b", "deny", SURE), a_rule("a", "deny", SURE)], "a", "rule-denies", id="then the id"),
        pytest.param(
            [a_rule("a", "deny", UNSURE, severity="low"), a_rule("b", "deny", UNSURE, severity="high")],
            "b", "rule-denies", id="the more severe of the unknown",
        ),
        pytest.param(
            [a_rule("a", "deny", SURE, severity="critical"), an_invariant("z", UNSURE)],
            "z", "invariant-denies", id="an invariant before all, even by unknown",
        ),
        pytest.param(
            [an_invariant("a", UNSURE), an_invariant("b", SURE)], "b", "invariant-denies",
            id="of invariants what matched first",
        ),
    ],
)  # fmt: skip
def test_the_determining_rule(rules: list[Rule], determining: str, reason: str) -> None:
    for order in permutations(rules):
        decision = decide(Policy(order), EMPLOYEE)
        assert (decision.rule_id, decision.reason) == (determining, reason)
        assert {applied.id for applied in decision.applied} == {rule.id for rule in rules}


def an_emergency(id_: str, when: Any, severity: str = "low") -> Rule:
    return sound(compile_emergency(entry_of(id_, "deny", when, severity=severity), VOCABULARY))


@pytest.mark.parametrize(
    ("urgent", "determining"),
    [
        pytest.param([an_emergency("cut", SURE)], "z-deny", id="ordered by severity with the rest"),
        pytest.param([an_emergency("cut", SURE, "critical")], "emergency.cut", id="the more severe says it"),
        pytest.param([an_emergency("cut", {"caller.affiliate": "naver"})], "z-deny", id="one that does not hold"),
    ],
)
def test_an_emergency_deny_stands_beside_the_others(urgent: list[Rule], determining: str) -> None:
    rules = [a_rule("z-deny", "deny", SURE, severity="high"), a_rule("staff", "allow")]
    policy = Policy(rules).with_urgent(urgent)
    assert decide(policy, EMPLOYEE).rule_id == determining
    assert {rule.id for rule in policy.denies} == {"z-deny", *(rule.id for rule in urgent)}


def test_more_rules_than_are_listed_are_counted() -> None:
    rules = [a_rule(f"d{place:02}", "deny", UNSURE if place % 2 else SURE) for place in range(20)]
    decision = decide(Policy([*rules, an_invariant("z", SURE)]), EMPLOYEE)
    assert [applied.id for applied in decision.applied] == ["z", "d00", "d02", "d04", "d06", "d08", "d10", "d12"]
    assert decision.unlisted == 13


MASKS: Final = {
    "redact": {"user.name": "redact"},
    "mask": {"user.name": "mask"},
    "initials": {"user.name": "initials"},
    "remove": {"user.name": "remove"},
    "other": {"user.contact": "null"},
}


@pytest.mark.parametrize(
    ("masks", "transforms"),
    [
        pytest.param(["redact"], {"user.name": "redact"}, id="one"),
        pytest.param(["mask", "mask"], {"user.name": "mask"}, id="the same twice"),
        pytest.param(["mask", "initials"], {"user.name": "redact"}, id="two mild ones that differ"),
        pytest.param(["mask", "initials", "remove"], {"user.name": "remove"}, id="the strictest of three"),
        pytest.param(["redact", "other"], {"user.name": "redact", "user.contact": "null"}, id="two categories"),
        pytest.param([], {}, id="none"),
    ],
)
def test_masks_add_up(masks: list[str], transforms: dict[str, str]) -> None:
    rules = [a_rule(f"m{place}", "mask", transforms=MASKS[mask]) for place, mask in enumerate(masks)]
    facts = with_part(EMPLOYEE, "resource", data=some("user.name", "user.contact.phone_number"))
    for order in permutations([*rules, a_rule("staff", "allow")]):
        decision = decide(Policy(order), facts)
        assert (decision.effect, decision.transforms) == (Effect.ALLOW, transforms)
        assert decision.rule_id == "staff"


@pytest.mark.parametrize(
    ("data", "applies"),
    [
        pytest.param(some("user.name"), True, id="the category"),
        pytest.param(some("user.contact.phone_number"), False, id="another"),
        pytest.param(some(), False, id="no data"),
        pytest.param(some("user"), True, id="an ancestor, which may hold it"),
        pytest.param(UNKNOWN, True, id="nobody says what"),
    ],
)
def test_a_mask_applies_where_the_route_carries_what_it_transforms(data: Any, applies: bool) -> None:  # noqa: FBT001
    policy = Policy([a_rule("m", "mask", transforms=MASKS["redact"]), a_rule("staff", "allow")])
    decision = decide(policy, with_part(EMPLOYEE, "resource", data=data))
    assert decision.transforms == ({"user.name": "redact"} if applies else {})


# Grants.

MASKED: Final = a_rule("masked", "mask", liftable="true")
SHUT: Final = a_rule("shut", "deny", {"subject.country": "JP"}, liftable="true")
FIRM: Final = a_rule("firm", "deny", {"subject.country": "JP"})
OPEN: Final = a_rule("staff", "allow")
USER: Final = with_part(with_part(EMPLOYEE, "subject", reference="users:1"), "caller", principal="corp|carol")
ON_TIME: Final = msgspec.structs.replace(USER, time=NOW)


@pytest.mark.parametrize(
    ("facts", "is_lifted"),
    [
        pytest.param(ON_TIME, True, id="by whom it is for, of whom it is for, in time"),
        pytest.param(msgspec.structs.replace(USER, time=1798761600.0), True, id="from its first instant"),
        pytest.param(msgspec.structs.replace(USER, time=1798761599.9), False, id="not before it"),
        pytest.param(msgspec.structs.replace(USER, time=1801440000.0), False, id="not at its last"),
        pytest.param(USER, False, id="not while the time is unknown"),
        pytest.param(with_part(ON_TIME, "caller", principal="corp|alice"), False, id="not for who approved it"),
        pytest.param(with_part(ON_TIME, "caller", principal="sso|Alice"), False, id="nor by another way in"),
        pytest.param(with_part(ON_TIME, "caller", principal="corp|00u1", id="alice"), False, id="nor by another name"),
        pytest.param(with_part(ON_TIME, "caller", principal=""), False, id="not for nobody in particular"),
        pytest.param(with_part(ON_TIME, "subject", reference="users:2"), False, id="not of another subject"),
        pytest.param(with_part(ON_TIME, "subject", reference=""), False, id="not of an unnamed one"),
        pytest.param(with_part(ON_TIME, "caller", affiliate="naver"), False, id="not where its conditions are false"),
        pytest.param(with_part(ON_TIME, "caller", affiliate=UNKNOWN), False, id="not where they are unknown"),
    ],
)
def test_a_grant_lifts_only_where_all_of_it_is_known(facts: Facts, is_lifted: bool) -> None:  # noqa: FBT001
    grant = a_grant()
    decision = decide(Policy([MASKED, OPEN], [grant]), facts)
    assert decision.effect is Effect.ALLOW
    assert [each.rule for each in decision.lifted] == (["masked"] if is_lifted else [])
    assert decision.transforms == ({} if is_lifted else {"user.name": "redact"})
    assert decision.until == (grant.until if is_lifted else float("inf"))
    assert holds_now(grant, facts) is is_lifted


@pytest.mark.parametrize(
    ("rules", "effect", "rule"),
    [
        pytest.param([SHUT, OPEN], "allow", "staff", id="the deny that it lifts"),
        pytest.param([SHUT], "deny", "default", id="it allows nothing"),
        pytest.param([SHUT, FIRM, OPEN], "deny", "firm", id="another deny stays"),
        pytest.param([SHUT, OPEN, an_invariant("never", SURE)], "deny", "never", id="an invariant stays"),
        pytest.param(
            [msgspec.structs.replace(SHUT, is_liftable=False), OPEN], "deny", "shut", id="a rule that is not liftable"
        ),
    ],
)
def test_what_a_grant_does_to_a_deny(rules: list[Rule], effect: str, rule: str) -> None:
    decision = decide(Policy(rules, [a_grant(lifts=["shut", "masked"])]), ON_TIME)
    assert (decision.effect, decision.rule_id) == (effect, rule)


def test_a_grant_lifts_no_emergency_deny() -> None:
    cut = msgspec.structs.replace(SHUT, id="shut")
    policy = Policy([MASKED, OPEN], [a_grant(lifts=["shut"])]).with_urgent([cut])
    assert decide(policy, ON_TIME).rule_id == "shut"


def test_of_two_grants_the_earlier_end_is_the_answers() -> None:
    grants = [a_grant(id="b", lifts=["shut"]), a_grant(id="a", until="2027-01-20T00:00:00Z")]
    decision = decide(Policy([MASKED, SHUT, OPEN], grants), ON_TIME)
    assert {(each.rule, each.grant) for each in decision.lifted} == {("masked", "a"), ("shut", "b")}
    assert decision.until == grants[1].until


# Shadow.


@pytest.mark.parametrize(
    ("rules", "watched", "would", "changes"),
    [
        pytest.param([OPEN], a_rule("s", "deny", mode="shadow"), "deny", True, id="a deny of what is allowed"),
        pytest.param([FIRM], a_rule("s", "deny", mode="shadow"), "deny", False, id="a deny of what is denied"),
        pytest.param([], a_rule("s", "allow", mode="shadow"), "allow", True, id="an allowance of what nothing allows"),
        pytest.param([FIRM], a_rule("s", "allow", mode="shadow"), "deny", False, id="an allowance of what is denied"),
        pytest.param([OPEN], a_rule("s", "mask", mode="shadow"), "allow", True, id="a mask of what goes out whole"),
        pytest.param([OPEN, MASKED], a_rule("s", "mask", mode="shadow"), "allow", False, id="a mask that is there"),
        pytest.param([], a_rule("s", "mask", mode="shadow"), "deny", False, id="a mask of what is denied"),
        pytest.param([OPEN], a_rule("s", "deny", UNSURE, mode="shadow"), "deny", True, id="a deny by unknown"),
    ],
)
def test_what_a_shadow_rule_would_have_done(
    rules: list[Rule],
    watched: Rule,
    would: str,
    changes: bool,  # noqa: FBT001
) -> None:
    decision = decide(Policy([*rules, watched]), EMPLOYEE)
    assert decision.shadow is not None
    assert (decision.shadow.would, decision.shadow.changes) == (would, changes)
    assert [applied.id for applied in decision.shadow.applied] == ["s"]
    assert msgspec.structs.replace(decision, shadow=None) == decide(Policy(rules), EMPLOYEE)


def test_a_shadow_rule_that_does_not_hold_is_not_told() -> None:
    watched = a_rule("s", "deny", {"subject.country": "KR"}, mode="shadow")
    assert decide(Policy([OPEN, watched]), EMPLOYEE).shadow is None


# Purposes.


def a_purpose(**more: Any) -> Policy:
    entry = {"id": "law-enforcement", "may_claim": {"caller.groups": {"any": ["support"]}}, **more}
    return Policy([], purposes=[sound(compile_purpose(PurposeEntry.model_validate(entry), VOCABULARY))])


OTHERS: Final = with_part(EMPLOYEE, "caller", groups=some("sales"))
UNSAID: Final = with_part(EMPLOYEE, "caller", groups=UNKNOWN)
IN_A_CASE: Final = msgspec.structs.replace(EMPLOYEE, case="LE-1")


@pytest.mark.parametrize(
    ("needs", "claimed", "facts", "purpose"),
    [
        pytest.param({}, None, EMPLOYEE, ABSENT, id="none is claimed"),
        pytest.param({}, "law-enforcement", EMPLOYEE, "law-enforcement", id="by whom it is for"),
        pytest.param({}, "law-enforcement", OTHERS, UNKNOWN, id="by another"),
        pytest.param({}, "law-enforcement", UNSAID, UNKNOWN, id="by somebody of whom that is unknown"),
        pytest.param({}, "Law-Enforcement", EMPLOYEE, UNKNOWN, id="in other letters"),
        pytest.param({}, "", EMPLOYEE, UNKNOWN, id="an empty one"),
        pytest.param({"needs": "case"}, "law-enforcement", EMPLOYEE, UNKNOWN, id="without the case it needs"),
        pytest.param({"needs": "case"}, "law-enforcement", IN_A_CASE, "law-enforcement", id="with it"),
    ],
)
def test_a_purpose_is_taken_from_those_who_may_claim_it(
    needs: dict[str, str], claimed: str | None, facts: Facts, purpose: Any
) -> None:
    assert claim_purpose(a_purpose(**needs), facts, claimed) == purpose


# Lines.


class Says(msgspec.Struct, frozen=True):
    truth: Truth

    def __call__(self, _: Any, /) -> Truth:
        return self.truth


def lines_of(answers: list[Truth]) -> tuple[Condition, ...]:
    return tuple(
        Condition(str(place), Literal(str(place), lambda _: None, Says(answer), Scope.CALLER), "", "")
        for place, answer in enumerate(answers)
    )


@pytest.mark.parametrize(
    ("answers", "when", "unknown"),
    [
        ([], True, ()),
        ([True, True], True, ()),
        ([True, None], None, ("1",)),
        ([None, None], None, ("0", "1")),
        ([None, False], False, ("0",)),
        ([False, None], False, ("1",)),
    ],
)
def test_lines_are_a_conjunction(answers: list[Truth], when: Truth, unknown: tuple[str, ...]) -> None:
    rule = msgspec.structs.replace(a_rule("r", "deny"), when=lines_of(answers))
    assert holds(rule, EMPLOYEE) is when
    assert find_unknown(rule, EMPLOYEE) == unknown


@pytest.mark.parametrize(
    ("blocks", "rule", "unknown"),
    [
        pytest.param([[True]], False, (), id="one that holds excuses"),
        pytest.param([[False]], True, (), id="one that does not, does not"),
        pytest.param([[None]], None, ("0",), id="one that is unknown"),
        pytest.param([[True, True]], False, (), id="all lines of one must hold"),
        pytest.param([[True, False]], True, (), id="one line of it is false"),
        pytest.param([[True, None]], None, ("1",), id="one line of it is unknown"),
        pytest.param([[False], [True]], False, (), id="any of them excuses"),
        pytest.param([[None], [True]], False, ("0",), id="surely, beside one that is unknown"),
        pytest.param([[None], [False]], None, ("0",), id="none surely"),
    ],
)
def test_exceptions_are_a_disjunction(blocks: list[list[Truth]], rule: Truth, unknown: tuple[str, ...]) -> None:
    excused = msgspec.structs.replace(a_rule("r", "deny"), unless=tuple(Block(lines_of(block)) for block in blocks))
    assert holds(excused, EMPLOYEE) is rule
    assert find_unknown(excused, EMPLOYEE) == unknown


ALICE_APPROVED: Final = a_grant()
SATO: Final = Person(principal="corp|sato", id="sato", kind="employee")


@pytest.mark.parametrize(
    ("caller", "may_have"),
    [
        pytest.param({"on_behalf_of": SATO}, False, id="somebody else, through a console"),
        pytest.param({"on_behalf_of": Person(principal="corp|alice", kind="employee")}, True, id="through a console"),
        pytest.param({"on_behalf_of": Person(principal="sso|Alice", kind="employee")}, True, id="by another issuer"),
        pytest.param(
            {"on_behalf_of": Person(principal="corp|00u1", id="alice", kind="employee")}, True, id="by another name"
        ),
        pytest.param({"on_behalf_of": UNKNOWN_PERSON}, True, id="nobody knows who is behind a service"),
        pytest.param(
            {"on_behalf_of": Person(principal="corp|job", id="job", kind="service")}, True,
            id="nobody knows who is behind a service for which a service acts",
        ),
        pytest.param(
            {"on_behalf_of": Person(principal="corp|sato", id="sato")}, True, id="nobody knows that it is no service"
        ),
        pytest.param({"on_behalf_of": SATO, "passed_on": ("corp|alice",)}, True, id="she passed the token on"),
        pytest.param({"on_behalf_of": SATO, "passed_on": ("corp|x|alice",)}, False, id="another, with a bar"),
        pytest.param({"on_behalf_of": NO_PERSON}, False, id="for itself"),
    ],
)  # fmt: skip
def test_who_approved_a_grant_takes_no_part_where_it_is_used(
    caller: dict[str, Any], may_have: bool,  # noqa: FBT001
) -> None:  # fmt: skip
    facts = with_part(ON_TIME, "caller", **{"principal": "corp|console", "id": "console", **caller})
    assert has_approved(ALICE_APPROVED, facts) is may_have


@pytest.mark.parametrize(
    ("behind", "purpose"),
    [
        pytest.param(SATO, "law-enforcement", id="for one of whom that is known"),
        pytest.param(Person(principal="corp|wang", kind="contractor"), UNKNOWN, id="for somebody else"),
        pytest.param(UNKNOWN_PERSON, UNKNOWN, id="for somebody unknown"),
        pytest.param(NO_PERSON, UNKNOWN, id="for itself"),
    ],
)
def test_a_purpose_may_depend_on_for_whom_it_is(behind: Person, purpose: Any) -> None:
    entry = PurposeEntry.model_validate(
        {"id": "law-enforcement", "may_claim": {"caller.on_behalf_of.kind": "employee"}}
    )
    policy = Policy([], [], [sound(compile_purpose(entry, VOCABULARY))])
    assert claim_purpose(policy, with_part(ON_TIME, "caller", on_behalf_of=behind), "law-enforcement") == purpose
