# SPDX-License-Identifier: Apache-2.0
"""The tree over lines of which some were changed."""

from proxy.ledger.merkle import Frontier
from proxy.ledger.readings import MAX_READINGS, Readings, tell_apart

LEAVES = [bytes([n]) * 32 for n in range(40)]
WRONG = b"x" * 32


def root_of(size: int) -> bytes:
    return frontier_of(size).root()


def frontier_of(size: int) -> Frontier:
    frontier = Frontier()
    frontier.extend(LEAVES[:size])
    return frontier


def test_leaves_that_are_certain_make_the_tree() -> None:
    readings = Readings(Frontier(), [0, 3, 3, 7, 100])
    readings.confirm(LEAVES[0])
    readings.extend(LEAVES[1:5])
    readings.extend(LEAVES[5:9])
    (end,) = readings.ends()
    assert end.peaks == tuple(frontier_of(9).peaks)
    assert end.roots == {0: root_of(0), 3: root_of(3), 7: root_of(7)}
    assert readings.is_plain
    assert readings.holds(root_of(9))
    assert readings.roots == {0: root_of(0), 3: root_of(3), 7: root_of(7)}
    assert not readings.holds(WRONG)


def test_a_tree_may_begin_in_the_middle() -> None:
    readings = Readings(frontier_of(5), [3, 5, 6])
    readings.extend(LEAVES[5:7])
    assert readings.ends()[0].roots == {5: root_of(5), 6: root_of(6)}
    assert readings.peaks_of(7) == {tuple(frontier_of(7).peaks)}
    assert readings.peaks_of(6) == set()


def test_a_changed_line_goes_in_as_what_it_was() -> None:
    readings = Readings(frontier_of(5))
    readings.differ(WRONG, LEAVES[5], (6, 5))
    assert not readings.is_plain
    readings.confirm(LEAVES[6])
    assert readings.is_plain
    assert readings.holds(root_of(7))
    assert readings.settled == [(6, 5)]


def test_a_line_that_lies_about_the_one_before_is_the_changed_one() -> None:
    readings = Readings(frontier_of(5))
    readings.differ(LEAVES[5], WRONG, (6, 5))
    readings.differ(WRONG, LEAVES[6], (7, 6))
    readings.confirm(LEAVES[7])
    assert readings.holds(root_of(8))
    assert readings.settled == [(7, 6)]


def test_what_no_signature_decides_is_doubtful() -> None:
    readings = Readings(frontier_of(5))
    readings.differ(LEAVES[5], WRONG, (6, 5))
    readings.differ(WRONG, WRONG, (7, 6))
    readings.confirm(LEAVES[7])
    assert not readings.holds(root_of(8))
    readings.lose()
    assert (readings.settled, readings.doubtful) == ([(7, 6)], [(6, 5)])
    assert readings.is_lost
    readings.differ(LEAVES[8], WRONG, (9, 8))
    assert readings.settled == [(7, 6), (9, 8)]
    readings.extend(LEAVES[9:])
    assert readings.ends() == ()
    assert not readings.holds(root_of(40))


def test_no_more_readings_are_carried_than_a_few() -> None:
    readings = Readings(Frontier())
    for n in range(30):
        readings.differ(WRONG, LEAVES[n], (n + 1, n))
    assert len(readings.ends()) <= MAX_READINGS
    assert readings.holds(root_of(30))
    assert readings.settled == [(n + 1, n) for n in range(30)]


def test_a_line_that_is_certainly_changed_leaves_one_reading() -> None:
    readings = Readings(frontier_of(3))
    readings.differ(LEAVES[3], WRONG, (4, 3))
    readings.replace(LEAVES[4])
    assert readings.holds(root_of(5))
    assert readings.settled == []


def test_what_all_readings_say_is_sure() -> None:
    assert tell_apart([[(1, 1), (2, 2)], [(2, 2)]]) == ([(2, 2)], [(1, 1)])
