# SPDX-License-Identifier: Apache-2.0
from collections.abc import Mapping
from typing import Any, Final

import pytest

from proxy.ledger.record import Recorder
from proxy.model.caller import UNAUTHENTICATED, Caller
from proxy.model.counts import TALLIES, UNAVAILABLE, Asked, Counted, CountsNeeded
from proxy.model.decision import Reason
from proxy.model.facts import NOT_APPLICABLE, UNKNOWN
from proxy.model.subject import NO_SUBJECT, Subject
from proxy.pipeline.counting import Counting, as_first
from proxy.pipeline.counting_questions import make_question
from proxy.policy.attributes import Facts
from tests.support.keys import RING
from tests.support.policy_facts import facts_of

ID: Final = "01MCC5RM000000000000000001"
RECORDER: Final = Recorder(RING, "digest")
ASKED: Final = tuple(Asked(TALLIES[name], 11, 6) for name in ("subjects_1h", "country_subjects_1h", "requests_1m"))
NAMES: Final = [each.tally.name for each in ASKED]
ALICE: Final = {"principal": "corp|alice"}
FACTS: Final = facts_of(caller=ALICE, subject={"country": "JP", "id": "42"})


class Told:
    """Says the numbers that it is told, and remembers what was settled."""

    def __init__(self, *numbers: int, counted: Counted | None = None) -> None:
        self.counted = counted or Counted(numbers)
        self.settled: list[bool] = []

    def count(self, needed: CountsNeeded) -> Counted | None:
        return self.counted

    def settle(self, needed: CountsNeeded, counted: Counted, *, is_allowed: bool) -> None:
        self.settled.append(is_allowed)


def ask(facts: Facts = FACTS) -> CountsNeeded:
    return make_question(ASKED, facts, ID, RECORDER)


def test_a_question_asks_for_each_tally() -> None:
    subjects, by_country, requests = ask().counts
    assert [count.asked for count in (subjects, by_country, requests)] == list(ASKED)
    assert (subjects.group, by_country.group, requests.group) == ("", "JP", "")
    assert subjects.members == by_country.members != requests.members == (ID.encode(),)
    assert len({count.caller for count in ask().counts}) == 1


DIFFERENT: Final[dict[str, Facts]] = {
    "another caller": facts_of(caller={"principal": "corp|bob"}, subject={"country": "JP", "id": "42"}),
    "another issuer's": facts_of(caller={"principal": "naver|alice"}, subject={"country": "JP", "id": "42"}),
    "another API": facts_of(caller=ALICE, subject={"country": "JP", "id": "42"}, resource={"api": "orders"}),
}


@pytest.mark.parametrize("facts", DIFFERENT.values(), ids=DIFFERENT)
def test_callers_are_told_apart(facts: Facts) -> None:
    assert ask(facts).counts[0].caller != ask().counts[0].caller


def test_subjects_are_told_apart_and_by_api() -> None:
    other = facts_of(caller=ALICE, subject={"country": "JP", "id": "43"})
    assert ask(other).counts[0].members[0] != ask().counts[0].members[0]
    assert ask(DIFFERENT["another API"]).counts[0].members[0] != ask().counts[0].members[0]


STATES: Final[dict[str, tuple[Facts, Mapping[str, Any], int]]] = {
    "nobody knows who": (
        facts_of(subject={"id": "42"}),
        dict.fromkeys(NAMES, UNKNOWN),
        0,
    ),
    "nobody in particular": (
        Facts(UNAUTHENTICATED, FACTS.origin, NO_SUBJECT, FACTS.resource),
        dict.fromkeys(NAMES, NOT_APPLICABLE),
        0,
    ),
    "nobody's data": (
        Facts(Caller(principal="a|b"), FACTS.origin, NO_SUBJECT, FACTS.resource),
        {"subjects_1h": NOT_APPLICABLE, "country_subjects_1h": NOT_APPLICABLE},
        1,
    ),
    "whose data is not known": (
        Facts(Caller(principal="a|b"), FACTS.origin, Subject(), FACTS.resource),
        {"subjects_1h": UNKNOWN, "country_subjects_1h": UNKNOWN},
        1,
    ),
}


@pytest.mark.parametrize(("facts", "states", "asked"), STATES.values(), ids=STATES)
def test_what_nobody_can_count_is_not_asked(facts: Facts, states: Mapping[str, Any], asked: int) -> None:
    needed = ask(facts)
    assert (needed.settled, len(needed.counts)) == (states, asked)


def test_the_counts_become_facts() -> None:
    counting = Counting(Told(3, 2, 9), ASKED)
    found = counting.find(FACTS, ID, RECORDER)
    assert isinstance(found, Facts)
    assert (found.counts.subjects_1h, found.counts.country_subjects_1h, found.counts.requests_1m) == (3, 2, 9)
    assert found.counts.subjects_24h is UNKNOWN, "nobody asked"
    assert found.counts is counting.counts


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        pytest.param((1, 1, 1), True, id="the first"),
        pytest.param((5, 5, 5), True, id="just below what a rule asks for"),
        pytest.param((5, 5, 6), False, id="one of them there"),
        pytest.param((6, 1, 1), False, id="another there"),
    ],
)
def test_low_counts_are_as_those_of_a_first_request(numbers: tuple[int, ...], expected: bool) -> None:  # noqa: FBT001
    counting = Counting(Told(*numbers), ASKED)
    counting.find(FACTS, ID, RECORDER)
    assert counting.is_as_first is expected


def test_what_is_not_known_is_not_as_a_first_request() -> None:
    for counting, facts in (
        (Counting(Told(counted=UNAVAILABLE), ASKED), FACTS),
        (Counting(Told(1), ASKED), STATES["whose data is not known"][0]),
    ):
        counting.find(facts, ID, RECORDER)
        assert not counting.is_as_first


@pytest.mark.parametrize(
    ("refusal", "settled"),
    [pytest.param(None, [True], id="allowed"), pytest.param(Reason.RULE_DENIES, [False], id="denied")],
)
def test_what_was_counted_is_settled(refusal: Reason | None, settled: list[bool]) -> None:
    volume = Told(3, 2, 9)
    counting = Counting(volume, ASKED)
    counting.find(FACTS, ID, RECORDER)
    assert counting.settle(refusal) is refusal
    assert volume.settled == settled


def test_without_a_number_nothing_is_settled_and_the_refusal_says_so() -> None:
    volume = Told(counted=UNAVAILABLE)
    counting = Counting(volume, ASKED)
    counting.find(FACTS, ID, RECORDER)
    assert counting.settle(Reason.RULE_DENIES) is Reason.COUNTS_UNAVAILABLE
    assert counting.settle(None) is None
    assert not volume.settled


def test_a_first_request_has_read_one_of_everything() -> None:
    assert {getattr(as_first(FACTS).counts, name) for name in TALLIES} == {1}
