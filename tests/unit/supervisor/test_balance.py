# SPDX-License-Identifier: Apache-2.0
"""Who accepts on which gate."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.supervisor.balance import share_gates

WORKERS = st.lists(st.integers(1, 12), unique=True, max_size=8)


@st.composite
def holdings(draw: st.DrawFn) -> tuple[int, dict[int, list[int]], list[int]]:
    """Return how many gates there are, who has which, each at most one worker, and who serves."""
    count = draw(st.integers(1, 8))
    held: dict[int, list[int]] = {}
    for gate in range(count):
        owner = draw(st.integers(0, 12))
        if owner:
            held.setdefault(owner, []).append(gate)
    return count, held, draw(WORKERS.filter(bool))


@given(holdings())
def test_every_gate_is_served_by_one_worker_and_none_has_two_more_than_another(
    drawn: tuple[int, dict[int, list[int]], list[int]],
) -> None:
    count, held, workers = drawn
    shares = share_gates(count, held, workers)
    assert shares.keys() == {*workers}
    assert sorted(gate for gates in shares.values() for gate in gates) == [*range(count)]
    sizes = [len(gates) for gates in shares.values()]
    assert max(sizes) - min(sizes) <= 1


@given(holdings())
def test_asked_again_nothing_moves(drawn: tuple[int, dict[int, list[int]], list[int]]) -> None:
    count, held, workers = drawn
    shares = share_gates(count, held, workers)
    assert share_gates(count, shares, workers) == shares


def test_who_is_left_takes_over_what_a_worker_had_and_gives_it_to_the_next() -> None:
    alone = share_gates(2, {1: [0], 2: [1]}, [1])
    assert alone == {1: (0, 1)}
    assert share_gates(2, alone, [1, 3]) == {1: (0,), 3: (1,)}


def test_where_nobody_serves_nobody_has_a_gate() -> None:
    assert share_gates(2, {1: [0, 1]}, []) == {}
