# SPDX-License-Identifier: Apache-2.0
"""What owns comes before what it owns, whatever the graph, and a long path is told with its ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.caller.holdings import LEFT_OUT, MAX_PATH, abridge, make_order

GRAPHS = st.integers(1, 8).flatmap(
    lambda size: st.dictionaries(
        st.integers(0, size - 1).map(str), st.sets(st.integers(0, size - 1).map(str), max_size=4), max_size=size
    ).map(lambda needs: {str(n): sorted(needs.get(str(n), set()) - {str(n)}) for n in range(size)})
)


def reach(needs: dict[str, list[str]], start: str) -> set[str]:
    found, left = set[str](), list(needs[start])
    while left:
        id_ = left.pop()
        if id_ not in found:
            found.add(id_)
            left += needs[id_]
    return found


@given(GRAPHS)
def test_everything_stands_once_after_what_it_needs(needs: dict[str, list[str]]) -> None:
    order = make_order(needs)
    assert sorted(id_ for part in order.parts for id_ in part) == sorted(needs)
    done: set[str] = set()
    for part in order.parts:
        done |= set(part)
        assert all(set(needs[id_]) <= done for id_ in part)


@given(GRAPHS)
def test_ids_stand_together_if_they_reach_each_other(needs: dict[str, list[str]]) -> None:
    for part in make_order(needs).parts:
        for id_ in needs:
            together = id_ in reach(needs, part[0]) and part[0] in reach(needs, id_)
            assert (id_ in part) == (together or id_ == part[0])


def test_a_chain_and_a_circle_of_a_hundred_thousand_do_not_recurse() -> None:
    chain = {f"e{n}": [f"e{n - 1}"] if n else [] for n in range(100_000)}
    assert len(make_order(chain).parts) == 100_000
    assert [len(part) for part in make_order({**chain, "e0": ["e99999"]}).circles] == [100_000]


@pytest.mark.parametrize("length", [1, MAX_PATH, MAX_PATH + 1, 1000])
def test_a_long_path_keeps_its_ends(length: int) -> None:
    path = tuple(map(str, range(length)))
    told = abridge(path)
    assert len(told) <= MAX_PATH
    assert (told[0], told[-1]) == (path[0], path[-1])
    assert (LEFT_OUT in told) is (length > MAX_PATH)
    assert abridge(told) == told
