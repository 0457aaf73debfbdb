# SPDX-License-Identifier: Apache-2.0
"""What becomes of each record of an answer."""

from typing import Any, Final

import msgspec
import pytest

from proxy.model.api import Transform
from proxy.model.decision import Effect, Reason
from proxy.model.facts import UNKNOWN, Fact
from proxy.model.filtering import AnswerRefusedError, Verdict
from proxy.model.subject import Subject
from proxy.pipeline.judge import MAX_KEPT, SEVERAL, FixedJudge, RecordJudge, can_take, find_strictest
from proxy.policy.evaluate import decide
from proxy.policy.partial import decide_unresolved
from proxy.policy.policy import Policy
from tests.support.people import Drive, Register, people_bundle

_DRIVE: Final = Drive()
_DRIVE.ask("/v1/people")
assert isinstance(_DRIVE.passage._judge, RecordJudge)
FACTS: Final = _DRIVE.passage._judge._facts
INSPECTION: Final = _DRIVE.passage._judge._inspection
PHONE: Final = "user.contact.phone_number"
BY_ID: Final = "  - {id: not-seven, effect: deny, when: {resource.api: people, subject.id: '7'}}\n"
ID_ALLOWS: Final = (
    "  - {id: japanese-nine, effect: allow, when: {resource.api: people, subject.country: JP, subject.id: '9'}}\n"
)


def a_policy(more: str = "") -> Policy:
    return people_bundle(more).policy


def a_judge(more: str = "", directory: Register | None = None, **changes: Any) -> RecordJudge:
    policy = a_policy(more)
    return RecordJudge(
        policy,
        FACTS,
        decide_unresolved(policy, FACTS),
        INSPECTION,
        lookup=("" if directory is None else "staff", directory or Register()),
        **changes,
    )


def judged(judge: RecordJudge, country: Fact[str], id_: Fact[str] = "1") -> Verdict:
    verdict = judge.judge(country, id_)
    assert verdict is not None
    return verdict


BECOMES: Final[dict[str, tuple[Fact[str], bool, dict[str, Transform]]]] = {
    "one that is allowed": ("TW", True, {}),
    "one that is masked": ("KR", True, {"user.contact": Transform.MASK}),
    "one of which a category is denied": ("TH", True, {PHONE: Transform.REMOVE}),
    "one that no rule allows": ("JP", False, {}),
    "one that no rule names": ("US", False, {}),
    "one of an unknown country": (UNKNOWN, False, {}),
}


@pytest.mark.parametrize(("country", "is_allowed", "transforms"), BECOMES.values(), ids=BECOMES)
def test_what_becomes_of_a_record(country: Fact[str], is_allowed: bool, transforms: dict[str, Transform]) -> None:  # noqa: FBT001
    verdict = judged(a_judge(), country)
    assert (verdict.is_allowed, dict(verdict.transforms)) == (is_allowed, transforms)


def test_a_verdict_is_what_the_policy_says_of_that_subject() -> None:
    judge = a_judge(BY_ID)
    for country in ("TW", "KR", "TH", "JP", "US", UNKNOWN):
        for id_ in ("1", "7", UNKNOWN):
            facts = msgspec.structs.replace(FACTS, subject=Subject(country=country, id=id_, source="answer"))
            said = decide(a_policy(BY_ID), facts)
            if said.effect is Effect.ALLOW:
                assert judged(judge, country, id_).transforms == said.transforms
            elif country != "TH" or id_ != "1":
                assert not judged(judge, country, id_).is_allowed


def test_ids_are_told_only_where_a_rule_hangs_on_them() -> None:
    assert not a_judge().tells_ids
    assert a_judge(BY_ID).tells_ids
    assert a_judge(notes_shown=True).tells_ids
    assert a_judge(refer=str).tells_ids
    assert a_judge(directory=Register()).tells_ids


def test_verdicts_that_say_the_same_of_a_country_are_one() -> None:
    judge = a_judge(BY_ID)
    assert judged(judge, "TW", "1") is judged(judge, "TW", "2")
    assert judged(judge, "TW", "1") is not judged(judge, "TW", "7")
    assert (judge.name(judged(judge, "TW")), judge.name(judged(judge, UNKNOWN))) == ("TW", "unknown")


def test_verdicts_by_grants_of_another_end_are_two() -> None:
    judge = a_judge()
    verdict = judged(judge, "TW")
    other = msgspec.structs.replace(verdict.decision, until=7.0)
    assert judge._keep("TW", Verdict(other, is_allowed=True)).decision.until == 7.0


def test_a_mask_without_a_place_to_act_is_a_denial() -> None:
    judge = a_judge()
    judge._inspection = msgspec.structs.replace(INSPECTION, fields=INSPECTION.fields[:2])
    verdict = judged(judge, "KR")
    assert (verdict.is_allowed, verdict.decision.effect) == (False, Effect.DENY)
    assert verdict.decision.reason is Reason.TRANSFORMS_NOT_APPLIED


def test_a_denial_of_every_category_leaves_nothing() -> None:
    rule = "  - {id: nothing, effect: deny, when: {subject.country: TH, resource.data: {any: [user]}}}\n"
    assert not judged(a_judge(rule), "TH").is_allowed


def test_what_is_denied_of_a_record_is_told_with_what_is_allowed() -> None:
    decision = judged(a_judge(), "TH").decision
    assert (decision.effect, [rule.id for rule in decision.applied]) == (
        Effect.ALLOW, ["ly-reads-three", "thai-phones-stay"]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("transforms", "is_so"),
    [([], True), ([PHONE], True), (["user.contact"], True), (["user.name.first"], True), (["user"], True),
     (["user.contact.phone"], False), (["user.nam"], False), ([PHONE, "user.payment"], False)],
)  # fmt: skip
def test_a_transform_acts_on_its_category_and_those_above_and_below(transforms: list[str], is_so: bool) -> None:  # noqa: FBT001
    assert can_take(INSPECTION, transforms) is is_so
    assert can_take(None, transforms) is (not transforms)


# Registers.


def test_all_of_a_batch_is_asked_for_at_once_and_once() -> None:
    directory = Register({"1": "TW"}, asked={"2": "TW", "3": "JP"})
    judge = a_judge(directory=directory)
    assert [judge.judge(UNKNOWN, id_) is None for id_ in ("1", "2", "3", "2", "4")] == [False, True, True, True, True]
    (needed,) = judge.missing
    assert needed.ids == ("2", "3", "4")
    assert judge.missing == ()
    directory.answer(needed)
    verdicts = [judge.judge(UNKNOWN, id_) for id_ in ("2", "3")]
    assert [verdict is not None and verdict.is_allowed for verdict in verdicts] == [True, False]
    with pytest.raises(AnswerRefusedError) as refused:  # it is not asked for again
        judge.judge(UNKNOWN, "4")
    assert refused.value.reason is Reason.LOOKUP_UNAVAILABLE
    assert judge.missing == ()


def test_where_nobody_can_tell_it_matters_only_if_the_verdict_hangs_on_it() -> None:
    rule = "  - {id: nobody, effect: deny, when: {resource.route: search}}\n"
    assert not judged(a_judge(rule, directory=Register({"1": "!"})), UNKNOWN, "1").is_allowed
    with pytest.raises(AnswerRefusedError) as refused:
        a_judge(directory=Register({"1": "!"})).judge(UNKNOWN, "1")
    assert refused.value.reason is Reason.LOOKUP_UNAVAILABLE


TOLD: Final = {
    "TW": True, "TW KR": True, "TW JP": False, "JP TW": False, "?": False,
}  # fmt: skip


@pytest.mark.parametrize(("told", "is_allowed"), TOLD.items(), ids=[f"it says {told}" for told in TOLD])
def test_of_several_countries_the_strictest_wins(told: str, is_allowed: bool) -> None:  # noqa: FBT001
    judge = a_judge(directory=Register({"1": told}), notes_shown=True)
    verdict = judged(judge, UNKNOWN, "1")
    assert verdict.is_allowed is is_allowed
    assert [each.country for each in judge.take_shown()] == (told.split() if is_allowed else [])


def test_masks_of_several_countries_add_up() -> None:
    verdict = judged(a_judge(directory=Register({"1": "TW KR TH"})), UNKNOWN, "1")
    assert set(verdict.transforms) == {"user.contact", PHONE}
    assert judged(a_judge(directory=Register({"1": "TW"})), UNKNOWN, UNKNOWN).is_allowed is False


def test_a_record_without_an_id_is_of_nobody_knows_where() -> None:
    assert not judged(a_judge(directory=Register()), UNKNOWN, UNKNOWN).is_allowed


def test_what_is_remembered_of_an_answer_is_bounded() -> None:
    judge = a_judge(BY_ID, directory=Register({str(number): "TW" for number in range(3 * MAX_KEPT)}))
    for number in range(3 * MAX_KEPT):
        judged(judge, UNKNOWN, str(number))
    assert len(judge._subjects) <= MAX_KEPT
    assert len(judge._verdicts) <= MAX_KEPT
    asking = a_judge(directory=Register())
    for number in range(100):
        assert asking.judge(UNKNOWN, str(number)) is None
        assert len(asking.missing) == 1
    assert len(asking._is_asked) == 1


# Under another policy.


def is_same(judge: RecordJudge, more: str) -> bool:
    policy = a_policy(more)
    return judge.is_same_under(policy, FACTS, decide_unresolved(policy, FACTS))


@pytest.mark.parametrize(
    ("before", "more", "same"),
    {
        "the same rules": ("", "", True),
        "a country that did not come is denied": ("", "  - {id: x, effect: deny, when: {subject.country: KR}}\n", True),
        "one that came is denied": ("", "  - {id: x, effect: deny, when: {subject.country: TW}}\n", False),
        "one that came is masked": (
            "", "  - {id: x, effect: mask, when: {subject.country: TW}, transforms: {user.name: redact}}\n", False
        ),
        "one that was dropped is allowed": (
            "",
            "  - {id: x, effect: allow, when: {resource.api: people, subject.country: JP, caller.affiliate: ly}}\n",
            False,
        ),
        "somebody that did not come is denied": (BY_ID, BY_ID.replace("'7'", "{any: ['7', '8']}"), True),
        "somebody that came is denied": (BY_ID, BY_ID.replace("'7'", "'1'"), False),
    }.values(),
)  # fmt: skip
def test_an_answer_goes_on_while_nothing_is_judged_otherwise(before: str, more: str, same: bool) -> None:  # noqa: FBT001
    judge = a_judge(before)
    judged(judge, "TW", "1")
    judged(judge, "JP", "2")
    assert is_same(judge, more) is same


def test_verdicts_held_by_country_do_not_outlive_a_policy_that_knows_ids() -> None:
    judge = a_judge()
    judged(judge, "TW")
    assert not judge.tells_ids
    assert not is_same(judge, ID_ALLOWS)


def test_what_comes_then_is_judged_by_the_other_policy() -> None:
    judge = a_judge()
    judged(judge, "TW")
    assert is_same(judge, "  - {id: x, effect: deny, when: {subject.country: KR}}\n")
    assert not judged(judge, "KR").is_allowed


def test_more_than_can_be_remembered_is_never_the_same() -> None:
    judge = a_judge(BY_ID)
    for number in range(MAX_KEPT):
        judged(judge, "TW", str(number))
    assert not is_same(judge, BY_ID)


# A request that knows its subject.


def test_what_is_claimed_is_confirmed_by_each_record() -> None:
    decision = decide(a_policy(), msgspec.structs.replace(FACTS, subject=Subject(country="KR")))
    judge = FixedJudge(decision, "KR", frozenset({"KR"}))
    assert judge.judge("KR", "1").transforms == decision.transforms
    for country in ("TW", UNKNOWN):
        with pytest.raises(AnswerRefusedError) as refused:
            judge.judge(country, "1")
        assert refused.value.reason is Reason.SUBJECT_NOT_CONFIRMED
    assert judge.name(Verdict(decision, is_allowed=True)) == "KR"


def test_where_nothing_is_claimed_every_record_leaves_as_the_request_was_decided() -> None:
    decision = decide(a_policy(), msgspec.structs.replace(FACTS, subject=Subject(country="KR")))
    judge = FixedJudge(decision, UNKNOWN)
    assert judge.judge("JP", UNKNOWN) is judge.judge(UNKNOWN, "1")
    assert judge.name(Verdict(decision, is_allowed=True)) == SEVERAL
    assert judge.take_shown() == []


def test_a_claim_of_no_country_is_confirmed_by_nobody() -> None:
    judge = FixedJudge(decide(a_policy(), FACTS), UNKNOWN, frozenset())
    with pytest.raises(AnswerRefusedError):
        judge.judge(UNKNOWN, "1")


# Several decisions.


def _decisions(*countries: str) -> list[Any]:
    return [decide(a_policy(), msgspec.structs.replace(FACTS, subject=Subject(country=each))) for each in countries]


def test_any_that_denies_denies() -> None:
    assert find_strictest(_decisions("TW", "JP", "KR")).effect is Effect.DENY
    assert find_strictest(_decisions("JP")).effect is Effect.DENY


def test_transforms_add_up_and_the_first_to_end_ends_all() -> None:
    one, other = _decisions("TW", "KR")
    both = find_strictest([msgspec.structs.replace(one, until=9.0), msgspec.structs.replace(other, until=7.0)])
    assert (dict(both.transforms), both.until) == ({"user.contact": Transform.MASK}, 7.0)
    assert {rule.id for rule in both.applied} == {"ly-reads-three", "korean-phones"}
