# SPDX-License-Identifier: Apache-2.0
"""What whoever counts is asked where the answer tells the subjects."""

from typing import Any, Final

import pytest

from proxy.ledger.record import Recorder
from proxy.model.caller import UNAUTHENTICATED
from proxy.model.counts import TALLIES, Asked, CountsNeeded
from proxy.model.facts import NOT_APPLICABLE, UNKNOWN
from proxy.model.subject import Subject
from proxy.pipeline.counting_questions import make_question, make_question_of
from proxy.policy.attributes import Facts
from tests.support.keys import RING
from tests.support.policy_facts import facts_of

ID: Final = "01MCC5RM000000000000000001"
RECORDER: Final = Recorder(RING, "digest")
ASKED: Final = tuple(Asked(TALLIES[name], 4, 3) for name in ("subjects_1h", "country_subjects_1h", "requests_1m"))
ALICE: Final = {"principal": "corp|alice"}


def a_search(**subject: Any) -> Facts:
    return facts_of(caller=ALICE, subject=subject)


def ask_of(*subjects: tuple[Any, Any], facts: Facts | None = None) -> CountsNeeded:
    shown = [Subject(country=country, id=id_) for country, id_ in subjects]
    return make_question_of(shown, ASKED, facts or a_search(), f"{ID}/1", RECORDER)


def numbers_of(needed: CountsNeeded) -> dict[tuple[str, str], int]:
    """Return how many members each tally is asked for."""
    return {(count.asked.tally.name, count.group): len(count.members) for count in needed.counts}


def test_a_request_that_awaits_its_subjects_looks_and_counts_itself() -> None:
    needed = make_question(ASKED, a_search(), ID, RECORDER, awaits=True)
    assert numbers_of(needed) == {("subjects_1h", ""): 0, ("requests_1m", ""): 1}
    assert needed.settled == {"country_subjects_1h": 1}, "of which country is not known yet"


def test_where_the_request_tells_the_country_its_number_is_looked_at() -> None:
    needed = make_question(ASKED, a_search(country="JP"), ID, RECORDER, awaits=True)
    assert numbers_of(needed) == {("subjects_1h", ""): 0, ("country_subjects_1h", "JP"): 0, ("requests_1m", ""): 1}
    assert not needed.settled


def test_those_whom_a_part_shows_are_asked_for_together_and_by_country() -> None:
    needed = ask_of(("JP", "1"), ("TW", "2"), ("JP", "3"), ("JP", "1"))
    assert numbers_of(needed) == {
        ("subjects_1h", ""): 3, ("country_subjects_1h", "JP"): 2, ("country_subjects_1h", "TW"): 1
    }  # fmt: skip
    assert needed.id == f"{ID}/1"


def test_they_are_the_same_as_those_of_requests_for_one_each() -> None:
    single = make_question(ASKED, a_search(country="JP", id="1"), ID, RECORDER)
    assert ask_of(("JP", "1")).counts == single.counts[:2]


def test_no_more_are_asked_for_than_rules_tell_apart() -> None:
    needed = ask_of(*(("JP", f"{number}") for number in range(9)))
    assert numbers_of(needed) == {("subjects_1h", ""): 4, ("country_subjects_1h", "JP"): 4}


@pytest.mark.parametrize(
    ("subjects", "numbers"),
    [
        pytest.param([], {}, id="nobody"),
        pytest.param([("JP", UNKNOWN)], {}, id="somebody without an id"),
        pytest.param([(UNKNOWN, "1")], {("subjects_1h", ""): 1}, id="somebody of no known country"),
    ],
)
def test_who_cannot_be_counted_is_not_asked_for(subjects: list[Any], numbers: dict[tuple[str, str], int]) -> None:
    assert numbers_of(ask_of(*subjects)) == numbers


def test_for_nobody_in_particular_nothing_is_asked() -> None:
    facts = Facts(UNAUTHENTICATED, a_search().origin, Subject(), a_search().resource)
    needed = ask_of(("JP", "1"), facts=facts)
    assert (needed.counts, set(needed.settled.values())) == ((), {NOT_APPLICABLE})
