# SPDX-License-Identifier: Apache-2.0
"""Whether connecting is worth while."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.gateway.upstream.health import Health

FAILED, MADE = "failed", "made"
CASES = [
    # what came, each with its time; a time, tries under way: may one connect?
    pytest.param([], 0, 5, True, id="at first, as often as anybody likes"),
    pytest.param([(FAILED, 1), (FAILED, 1)], 1, 5, True, id="after fewer failures than it takes"),
    pytest.param([(FAILED, 1), (FAILED, 1), (FAILED, 1)], 5.9, 0, False, id="not after as many as it takes"),
    pytest.param([(FAILED, 1), (FAILED, 1), (FAILED, 1)], 6, 0, True, id="once its time is over"),
    pytest.param([(FAILED, 1), (FAILED, 1), (FAILED, 1)], 6, 1, False, id="then one at a time"),
    pytest.param([(FAILED, 1), (FAILED, 1), (FAILED, 1), (FAILED, 5)], 6, 0, True, id="late failures change nothing"),
    pytest.param([(FAILED, 1), (FAILED, 1), (FAILED, 1), (FAILED, 6)], 10.9, 0, False, id="a try that failed does"),
    pytest.param([(FAILED, 1), (FAILED, 1), (MADE, 1), (FAILED, 1)], 1, 5, True, id="a success between starts anew"),
    pytest.param([(FAILED, 1), (FAILED, 1), (FAILED, 1), (MADE, 2)], 2, 5, True, id="a success ends it at once"),
]


@pytest.mark.parametrize(("events", "now", "connecting", "allowed"), CASES)
def test_one_may_connect(events: list[tuple[str, float]], now: float, connecting: int, *, allowed: bool) -> None:
    health = Health(failures=3, seconds=5)
    for what, at in events:
        if what == FAILED:
            health.note_failure(at)
        else:
            health.note_success()
    assert health.allows(now, connecting) is allowed


def test_it_is_told_each_time_that_it_is_given_up_and_only_then() -> None:
    health = Health(failures=2, seconds=5)
    assert [health.note_failure(at) for at in (0, 1, 2, 5.9, 6, 7, 11)] == [
        False,
        True,
        False,
        False,
        True,
        False,
        True,
    ]


@settings(max_examples=200)
@given(st.lists(st.tuples(st.booleans(), st.floats(0, 3)), max_size=30))
def test_it_is_never_down_for_ever(steps: list[tuple[bool, float]]) -> None:
    health, now = Health(failures=2, seconds=5), 0.0
    for made, pause in steps:
        now += pause
        if made:
            health.note_success()
        else:
            health.note_failure(now)
        assert health.allows(now + 5, 0)
