# SPDX-License-Identifier: Apache-2.0
"""How much a caller has read with those whom an answer shows."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.ledger.record import Recorder
from proxy.model.caller import UNAUTHENTICATED
from proxy.model.counts import TALLIES, UNAVAILABLE, Asked, Counted, CountsNeeded
from proxy.model.decision import Reason
from proxy.model.facts import UNKNOWN
from proxy.model.ports import Volume
from proxy.model.subject import Subject
from proxy.pipeline.counting import Counting
from proxy.pipeline.counting_answers import AnswerCounting, Crossing
from proxy.policy.attributes import Facts
from proxy.volume.memory import MemoryCounts
from tests.support.counts import HeldClock
from tests.support.keys import RING
from tests.support.policy_facts import facts_of

ID: Final = "01MCC5RM000000000000000001"
RECORDER: Final = Recorder(RING, "digest")
LIMIT: Final = 3
ASKED: Final = tuple(
    Asked(TALLIES[name], LIMIT + 1, LIMIT + 1) for name in ("subjects_1h", "country_subjects_1h", "requests_1m")
)
SEARCH: Final = facts_of(caller={"principal": "corp|alice"}, subject={})


class Elsewhere:
    """Counts in memory, but has to be asked."""

    def __init__(self) -> None:
        self.held = MemoryCounts(1000, HeldClock())
        self.settled: list[bool] = []

    def count(self, needed: CountsNeeded) -> Counted | None:
        return needed.answer

    def settle(self, needed: CountsNeeded, counted: Counted, *, is_allowed: bool) -> None:
        self.settled.append(is_allowed)
        self.held.settle(needed, counted, is_allowed=is_allowed)


class Nobody:
    """Counts nothing, and settles nothing."""

    def count(self, needed: CountsNeeded) -> Counted:
        return UNAVAILABLE

    def settle(self, needed: CountsNeeded, counted: Counted, *, is_allowed: bool) -> None:
        raise AssertionError("there is nothing to settle")


def memory() -> MemoryCounts:
    return MemoryCounts(1000, HeldClock())


def begun(volume: Volume, facts: Facts = SEARCH) -> AnswerCounting:
    """Return the counts of an answer to a search that was let through."""
    counting = Counting(volume, ASKED)
    found = counting.find(facts, ID, RECORDER, awaits=True)
    if isinstance(found, CountsNeeded):
        found.answer = Counted((1,) * len(found.counts))
        found = counting.find(facts, ID, RECORDER, awaits=True)
    assert isinstance(found, Facts)
    counting.settle(None)
    return AnswerCounting(volume, ASKED, counting=counting, facts=found, request_id=ID, recorder=RECORDER)


def shown(text: str) -> list[Subject]:
    """Return subjects that are written as ``JP1 JP2 TW3``."""
    return [Subject(country=word[:2], id=word[2:]) for word in text.split()]


def no_more_than_three(facts: Facts) -> object:
    """Deny as a limit on subjects does: also where the count is not known."""
    count = facts.counts.subjects_1h
    return "deny" if not isinstance(count, int) or count > LIMIT else "allow"


def no_more_than_three_japanese(facts: Facts) -> object:
    count = facts.counts.country_subjects_1h
    return "deny" if facts.subject.country == "JP" and (not isinstance(count, int) or count > LIMIT) else "allow"


def left(answers: AnswerCounting, parts: Iterable[str], verdict: Any = no_more_than_three) -> list[bool]:
    """Return which parts left."""
    said = []
    for part in parts:
        assert answers.ask(shown(part)) is None
        said.append(answers.judge(verdict) is None)
    return said


def test_an_answer_leaves_up_to_the_limit_and_not_beyond() -> None:
    assert left(begun(memory()), ["JP1 JP2 JP3"]) == [True]
    assert left(begun(memory()), ["JP1 JP2 JP3 JP4"]) == [False]


def test_what_did_not_leave_was_not_read() -> None:
    volume = memory()
    assert left(begun(volume), ["JP1 JP2 JP3 JP4"]) == [False]
    assert left(begun(volume), ["JP1 JP2 JP3"]) == [True]


def test_who_was_read_before_is_not_one_more() -> None:
    volume = memory()
    assert left(begun(volume), ["JP1 JP2 JP3"]) == [True]
    assert left(begun(volume), ["JP3 JP2", "JP1 JP4"]) == [True, False]


def test_parts_add_up_and_those_that_left_stay_counted() -> None:
    volume = memory()
    assert left(begun(volume), ["JP1 JP2", "JP3", "JP4"]) == [True, True, False]
    assert left(begun(volume), ["JP5"]) == [False]


def test_countries_are_counted_apart() -> None:
    parts = ["JP1 TW1 TW2 TW3 TW4 TW5", "JP2 JP3", "TW6", "TW7 JP4"]
    assert left(begun(memory()), parts, no_more_than_three_japanese) == [True, True, True, False]


def test_a_limit_on_others_says_nothing() -> None:
    assert left(begun(memory()), ["JP1 JP2 JP3 JP4 JP5"], lambda _: "allow") == [True]


def test_the_crossing_says_by_which_facts() -> None:
    answers = begun(memory())
    answers.ask(shown("TW1 JP1 JP2 JP3 JP4"))
    crossing = answers.judge(no_more_than_three_japanese)
    assert crossing is not None
    assert (crossing.facts.subject.country, crossing.facts.counts.country_subjects_1h) == ("JP", LIMIT + 1)
    assert crossing.facts.counts.requests_1m == 1, "the request was counted before"
    assert answers.counts == crossing.facts.counts


def test_the_ledger_has_the_counts_so_far() -> None:
    answers = begun(memory())
    left(answers, ["JP1 TW9", "JP2"], lambda _: "allow")
    assert (answers.counts.subjects_1h, answers.counts.country_subjects_1h, answers.counts.requests_1m) == (3, 2, 1)


def test_low_counts_are_not_decided_by_again() -> None:
    def never(facts: Facts) -> object:
        raise AssertionError(facts)

    assert left(begun(memory()), ["JP1 JP2", "JP3"], never) == [True, True]


def test_a_mask_that_comes_with_the_count_is_a_crossing_too() -> None:
    def masked(facts: Facts) -> object:
        return facts.counts.subjects_1h == LIMIT + 1

    assert left(begun(memory()), ["JP1 JP2 JP3", "JP4"], masked) == [True, False]


@pytest.mark.parametrize(
    ("is_counted", "refusal", "reason"),
    [
        pytest.param(True, Reason.RULE_DENIES, Reason.RULE_DENIES, id="a limit"),
        pytest.param(True, None, Reason.TRANSFORMS_NOT_APPLIED, id="a mask"),
        pytest.param(False, Reason.RULE_DENIES, Reason.COUNTS_UNAVAILABLE, id="nobody can tell"),
        pytest.param(False, None, Reason.COUNTS_UNAVAILABLE, id="nobody can tell what to mask"),
    ],
)
def test_a_crossing_has_its_reason(is_counted: bool, refusal: Reason | None, reason: Reason) -> None:  # noqa: FBT001
    assert Crossing(SEARCH, is_counted).find_reason(refusal) is reason


class TestNobodyCanTell:
    """What leaves where nobody counts."""

    def test_whom_a_limit_concerns_does_not_leave(self) -> None:
        answers = begun(Nobody())
        assert answers.ask(shown("JP1")) is None
        crossing = answers.judge(lambda facts: facts.counts.subjects_1h is UNKNOWN and facts.subject.id)
        assert crossing is None, "it was judged by unknown counts before"

    def test_what_was_known_and_is_no_longer_is_a_crossing(self) -> None:
        volume = Elsewhere()
        answers = begun(volume)
        assert answers.ask(shown("JP1")) is not None
        crossing = answers.judge(no_more_than_three)  # nobody answered
        assert crossing is not None
        assert not crossing.is_counted
        assert crossing.facts.counts.subjects_1h is UNKNOWN

    def test_others_leave(self) -> None:
        answers = begun(Elsewhere())
        answers.ask(shown("TW1"))
        assert answers.judge(no_more_than_three_japanese) is None
        assert answers.counts.subjects_1h is UNKNOWN, "and the ledger says so"

    def test_somebody_without_an_id_cannot_be_counted(self) -> None:
        answers = begun(memory())
        assert answers.ask([Subject(country="JP"), *shown("JP1")]) is None
        crossing = answers.judge(no_more_than_three)
        assert crossing is not None
        assert crossing.facts.subject.id is UNKNOWN

    def test_for_nobody_in_particular_nothing_is_counted(self) -> None:
        facts = msgspec.structs.replace(SEARCH, caller=UNAUTHENTICATED)
        assert left(begun(Nobody(), facts), ["JP1 JP2 JP3 JP4"], lambda facts: facts.counts) == [True]


class TestAsked:
    """Counts that must be waited for."""

    def test_each_part_is_asked_for_by_a_word_of_its_own(self) -> None:
        volume = Elsewhere()
        answers = begun(volume)
        words = []
        for part in ("JP1", "JP2"):
            needed = answers.ask(shown(part))
            assert needed is not None
            words.append(needed.id)
            needed.answer = Counted((2, 2))
            assert answers.judge(no_more_than_three) is None
        assert words == [f"{ID}/1", f"{ID}/2"]
        assert volume.settled == [True] * 3, "the request's own question, too"

    def test_what_does_not_leave_is_taken_back(self) -> None:
        volume = Elsewhere()
        answers = begun(volume)
        needed = answers.ask(shown("JP1"))
        assert needed is not None
        needed.answer = Counted((LIMIT + 1, 1))
        assert answers.judge(no_more_than_three) is not None
        assert volume.settled == [True, False]

    def test_a_part_without_subjects_asks_nobody(self) -> None:
        answers = begun(Elsewhere())
        assert answers.ask([]) is None
        assert answers.judge(no_more_than_three) is None


@given(st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=8))
def test_however_it_is_cut_no_more_leave_than_the_limit(parts: list[list[int]]) -> None:
    """Answers after answers: whoever leaves is within the limit, and a part is held back only where it would cross."""
    volume = memory()
    gone: set[int] = set()
    for part in parts:
        answers = begun(volume)
        assert answers.ask(shown(" ".join(f"JP{each}" for each in part))) is None
        leaves = answers.judge(no_more_than_three) is None
        assert leaves is (not part or len(gone | set(part)) <= LIMIT)
        gone |= set(part) if leaves else set()
    assert len(gone) <= LIMIT
