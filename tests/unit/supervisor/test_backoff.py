# SPDX-License-Identifier: Apache-2.0
from hypothesis import given
from hypothesis import strategies as st

from proxy.supervisor.backoff import FIRST_SECONDS, LONGEST_SECONDS, find_delay


@given(st.integers(0, 1000), st.floats(0, 1))
def test_a_wait_is_never_none_and_never_longer_than_the_longest(failures: int, chance: float) -> None:
    assert FIRST_SECONDS / 2 <= find_delay(failures, chance) <= LONGEST_SECONDS


def test_waits_double_up_to_the_longest() -> None:
    assert [find_delay(failures, 1.0) for failures in range(9)] == [0.25, 0.5, 1, 2, 4, 8, 16, 30, 30]
