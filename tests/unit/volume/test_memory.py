# SPDX-License-Identifier: Apache-2.0
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.model.counts import TALLIES, UNAVAILABLE
from proxy.volume.memory import SWEEP_SECONDS, MemoryCounts
from tests.support.counts import HeldClock, a_look, a_question, see

HOUR: Final = 3600.0


def counts(clock: HeldClock | None = None, max_members: int = 1000) -> MemoryCounts:
    return MemoryCounts(max_members, clock or HeldClock())


def test_the_first_subject_is_number_one_and_each_counts_once() -> None:
    volume = counts()
    seen = [see(volume, a_question(member)) for member in ("a", "b", "a", "c", "b")]
    assert seen == [(1,), (2,), (2,), (3,), (3,)]


def test_many_members_are_one_step_each_once_with_those_before() -> None:
    volume = counts()
    seen = [see(volume, a_question(*members)) for members in ("ab", "bc", "a", "abcde")]
    assert seen == [(2,), (3,), (3,), (5,)]
    assert volume.members == 5


def test_many_members_that_are_denied_do_not_count() -> None:
    volume = counts()
    see(volume, a_question("a"))
    assert see(volume, a_question(*"bcd"), is_allowed=False) == (4,)
    assert (see(volume, a_look()), volume.members) == ((1,), 1)


def test_a_look_is_at_least_one_and_holds_nobody() -> None:
    volume = counts()
    assert (see(volume, a_look()), volume.members) == ((1,), 0)
    see(volume, a_question(*"abc"))
    assert (see(volume, a_look()), volume.members) == ((3,), 3)


def test_of_many_members_no_more_are_held_than_rules_tell_apart() -> None:
    volume = counts()
    assert see(volume, a_question(*"abcde", at_most=3)) == (3,)
    assert volume.members == 3


def test_for_many_members_there_must_be_room_for_all() -> None:
    volume = counts(max_members=3)
    assert see(volume, a_question(*"abc")) == (3,)
    assert volume.count(a_question("d")) is UNAVAILABLE
    assert counts(max_members=2).count(a_question(*"abc")) is UNAVAILABLE


def test_what_was_denied_does_not_count() -> None:
    volume = counts()
    see(volume, a_question("a"))
    assert [see(volume, a_question("b"), is_allowed=False) for _ in range(3)] == [(2,)] * 3
    assert see(volume, a_question("c")) == (2,)


def test_a_denied_request_for_a_known_subject_does_not_prolong_it() -> None:
    clock = HeldClock()
    volume = counts(clock)
    see(volume, a_question("a"))
    clock.now += HOUR - 1
    see(volume, a_question("a"), is_allowed=False)
    clock.now += 1
    assert see(volume, a_question("b")) == (1,)


@pytest.mark.parametrize(
    ("after", "number"),
    [
        pytest.param(HOUR - 0.001, 2, id="just inside"),
        pytest.param(HOUR, 1, id="the window is over to the second"),
        pytest.param(HOUR + 1, 1, id="long gone"),
    ],
)
def test_the_window_slides(after: float, number: int) -> None:
    clock = HeldClock()
    volume = counts(clock)
    see(volume, a_question("a"))
    clock.now += after
    assert see(volume, a_question("b")) == (number,)


def test_a_subject_that_is_read_again_stays() -> None:
    clock = HeldClock()
    volume = counts(clock)
    for member in "ab":
        see(volume, a_question(member))
    clock.now += HOUR / 2
    see(volume, a_question("a"))
    clock.now += HOUR / 2
    assert see(volume, a_question("c")) == (2,)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"caller": "somebody else"}, id="another caller"),
        pytest.param({"group": "JP"}, id="another country"),
        pytest.param({"tallies": ["subjects_24h"]}, id="another tally"),
    ],
)
def test_counts_are_kept_apart(other: dict[str, str]) -> None:
    volume = counts()
    see(volume, a_question("a"))
    assert see(volume, a_question("b", **other)) == (1,)  # type: ignore[arg-type]


def test_several_tallies_are_counted_by_one_question() -> None:
    clock = HeldClock()
    volume = counts(clock)
    both = ("subjects_1h", "subjects_24h")
    see(volume, a_question("a", tallies=both))
    clock.now += 2 * HOUR
    assert see(volume, a_question("b", tallies=both)) == (1, 2)


def test_no_more_is_held_than_rules_tell_apart_and_the_number_stays_right() -> None:
    clock = HeldClock()
    volume = counts(clock)
    for place in range(10):
        see(volume, a_question(f"{place}", at_most=3))
        clock.now += 1
    assert volume.members == 3
    assert see(volume, a_question("new", at_most=3), is_allowed=False) == (3,)
    clock.now += HOUR - 3  # those before the last two are gone; had the first three been kept, all were
    assert see(volume, a_question("new", at_most=3), is_allowed=False) == (3,)
    clock.now += 1
    assert see(volume, a_question("new", at_most=3), is_allowed=False) == (2,)


def test_beyond_the_bound_nobody_can_tell() -> None:
    volume = counts(max_members=3)
    for member in "abc":
        see(volume, a_question(member))
    assert volume.count(a_question("d")) is UNAVAILABLE
    assert volume.count(a_question("d", caller="another")) is UNAVAILABLE
    assert volume.members == 3


def test_members_whose_window_is_over_make_room() -> None:
    clock = HeldClock()
    volume = counts(clock, max_members=3)
    for member in "abc":
        see(volume, a_question(member, caller=member))
    assert volume.count(a_question("d")) is UNAVAILABLE
    clock.now += HOUR
    assert see(volume, a_question("d")) == (1,)
    assert volume.members == 1


def test_looking_for_room_is_not_done_again_for_every_request() -> None:
    clock = HeldClock()
    volume = counts(clock, max_members=2)
    see(volume, a_question("a"))
    clock.now += HOUR - SWEEP_SECONDS / 2
    see(volume, a_question("b", caller="another"))
    assert volume.count(a_question("c", caller="third")) is UNAVAILABLE
    clock.now += SWEEP_SECONDS / 2
    assert volume.count(a_question("c", caller="third")) is UNAVAILABLE
    clock.now += SWEEP_SECONDS / 2
    assert see(volume, a_question("c", caller="third")) == (1,)


def test_callers_who_are_gone_are_forgotten_as_others_come() -> None:
    clock = HeldClock()
    volume = counts(clock)
    for place in range(100):
        see(volume, a_question("a", caller=f"{place}"))
        clock.now += HOUR / 10
    assert volume.members <= 11


_STEPS: Final = st.lists(
    st.tuples(
        st.sampled_from("abcdefgh"), st.sampled_from((0.0, 1.0, 600.0, 1800.0, HOUR)), st.booleans()
    ),
    max_size=60,
)  # fmt: skip


@given(_STEPS, st.integers(2, 9))
@settings(max_examples=200)
def test_the_number_is_that_of_a_list_of_everything(steps: list[tuple[str, float, bool]], at_most: int) -> None:
    clock = HeldClock()
    volume = counts(clock)
    read: list[tuple[float, str]] = []
    for member, pause, is_allowed in steps:
        clock.now += pause
        window = {each for at, each in read if at > clock.now - TALLIES["subjects_1h"].seconds}
        expected = min(len(window | {member}), at_most)
        assert see(volume, a_question(member, at_most=at_most), is_allowed=is_allowed) == (expected,)
        if is_allowed:
            read.append((clock.now, member))
        assert volume.members <= at_most
