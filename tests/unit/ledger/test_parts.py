# SPDX-License-Identifier: Apache-2.0
"""What the ledgers of workers are called."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.ledger.parts import join_name, part_name, part_number, split_name


@given(st.integers(1, 9999), st.text(min_size=1))
def test_a_name_that_was_joined_is_split_again(number: int, name: str) -> None:
    assert part_number(part_name(number)) == number
    assert split_name(join_name(name, part_name(number))) == (name, part_name(number))


@pytest.mark.parametrize(
    "name",
    ["worker", "worker-", "worker-0", "worker-01", "worker-x", "worker-12345", "Worker-1", "worker-1 ", "worker-１"],
)
def test_what_is_called_otherwise_is_no_part(name: str) -> None:
    assert part_number(name) is None
    assert split_name(f"ledger.example/{name}") is None


@pytest.mark.parametrize("name", ["worker-1", "/worker-1", "ledger.example/worker-1/x", ""])
def test_a_name_without_a_whole_before_it_is_not_split(name: str) -> None:
    assert split_name(name) is None
