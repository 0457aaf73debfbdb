# SPDX-License-Identifier: Apache-2.0

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model.problem import Problem, nearest


def test_a_problem_is_seen_from_further_up() -> None:
    problem = Problem(("cidr", 0), "no block", at_key=True)

    assert problem.under("networks", 3) == Problem(("networks", 3, "cidr", 0), "no block", at_key=True)
    assert problem.under() == problem
    assert problem.path == ("cidr", 0)


NEAREST = {
    "a slip of the pen": ("contry", ["country", "cidr"], " (did you mean 'country'?)"),
    "nothing near, but little to choose from": ("x", ["cidr", "country"], " (there is: cidr, country)"),
    "what there is stands in order": ("x", ["b", "a"], " (there is: a, b)"),
    "nothing near, and too much to list": ("x", [f"word-{n}" for n in range(13)], ""),
    "a dozen are listed": ("x", [f"w{n}y" for n in range(12)], None),
    "nothing to choose from": ("x", [], ""),
    "nothing was written": ("", ["a"], " (there is: a)"),
}


@pytest.mark.parametrize(("word", "candidates", "hint"), NEAREST.values(), ids=NEAREST)
def test_nearest(word: str, candidates: list[str], hint: str | None) -> None:
    found = nearest(word, candidates)

    assert found == hint if hint is not None else found.startswith(" (there is: ")


@given(st.text(max_size=10), st.lists(st.text(max_size=10), max_size=15))
def test_nearest_says_only_what_there_is_and_does_not_mind_the_order(word: str, candidates: list[str]) -> None:
    hint = nearest(word, candidates)

    assert hint == nearest(word, reversed(candidates))
    assert not hint or any(candidate in hint or repr(candidate) in hint for candidate in candidates)
