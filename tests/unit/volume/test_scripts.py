# SPDX-License-Identifier: Apache-2.0
"""What is asked and answered, as bytes. The scripts themselves run in ``tests/e2e``, in a real Redis."""

from typing import Any, Final

import pytest

from proxy.errors import FetchError
from proxy.model.counts import Counted
from proxy.volume.scripts import name_keys, read_answer, render_question
from tests.support.counts import a_look, a_question

ID: Final = b"01MCC5RM000000000000000001"
BOTH: Final = a_question("alice", caller="clerk", tallies=("subjects_1h", "subjects_24h"), at_most=4)
CALLER: Final = b"clerk".ljust(16).hex().encode()
AT: Final = b"1800000000000000"


def test_keys_of_one_caller_lie_at_one_place_and_say_what_they_count() -> None:
    assert name_keys(BOTH) == [b"sekisho:{%b}:subjects_1h" % CALLER, b"sekisho:{%b}:subjects_24h" % CALLER]
    by_country = a_question(tallies=("country_subjects_1h",), group="JP")
    assert name_keys(by_country) == [b"sekisho:{%b}:country_subjects_1h:JP" % CALLER]


def test_the_question_gives_window_number_and_member_of_each() -> None:
    member = b"alice".ljust(16)
    assert render_question(BOTH) == [ID, b"3600", b"4", b"1", member, b"86400", b"4", b"1", member]


def test_the_answer_holds_numbers_and_what_takes_them_back() -> None:
    counted = read_answer(BOTH, [ID, 1, AT, b"", 4, AT, b"1799999999999999"])
    member = b"alice".ljust(16)
    assert counted.numbers == (1, 4)
    assert counted.undo == (b"1", member, AT, b"", b"1", member, AT, b"1799999999999999")


def test_members_stand_behind_how_many_they_are_and_a_look_has_none() -> None:
    alice, bob = (name.ljust(16) for name in (b"alice", b"bob"))
    both, look = a_question("alice", "bob", at_most=4), a_look(at_most=4)
    assert render_question(both) == [ID, b"3600", b"4", b"2", alice, bob]
    assert render_question(look) == [ID, b"3600", b"4", b"0"]
    counted = read_answer(both, [ID, 3, AT, b"", AT, b"17"])
    assert (counted.numbers, counted.undo) == ((3,), (b"2", alice, AT, b"", bob, AT, b"17"))
    assert read_answer(look, [ID, 3]) == Counted((3,), (b"0",))


WRONG: Final[dict[str, Any]] = {
    "nothing": None,
    "a text": b"OK",
    "an empty list": [],
    "the answer to another question": [b"01MCC5RM000000000000000002", 1, AT, b"", 1, AT, b""],
    "too short": [ID, 1, AT, b""],
    "too long": [ID, 1, AT, b"", 1, AT, b"", 1],
    "nobody, not even the one who asks": [ID, 0, AT, b"", 1, AT, b""],
    "a negative number": [ID, -1, AT, b"", 1, AT, b""],
    "more than rules tell apart": [ID, 1, AT, b"", 5, AT, b""],
    "a number as text": [ID, b"1", AT, b"", 1, AT, b""],
    "a truth": [ID, 1, AT, b"", None, AT, b""],
    "a score that is none": [ID, 1, b"1.8e+15", b"", 1, AT, b""],
    "a score that is missing": [ID, 1, b"", b"", 1, AT, b""],
    "a score before that is none": [ID, 1, AT, b"nan", 1, AT, b""],
}


@pytest.mark.parametrize("raw", WRONG.values(), ids=WRONG)
def test_what_is_no_answer_is_refused(raw: Any) -> None:
    with pytest.raises(FetchError, match=r"is no|is none"):
        read_answer(BOTH, raw)
