# SPDX-License-Identifier: Apache-2.0
"""The actors of a delegated token, as RFC 8693 4.1 nests them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.caller.delegation import MAX_ACTORS, find_actors


def nested(depth: int) -> dict[str, Any]:
    claims: dict[str, Any] = {"sub": "alice"}
    for number in range(depth):
        claims = {"sub": f"actor-{number}", "act": claims} if number else {"sub": "actor-0"}
    return {"sub": "alice", **({"act": claims} if depth else {})}


def test_a_token_that_is_not_delegated_has_no_actors() -> None:
    assert find_actors({"sub": "alice"}) == []


def test_who_acts_now_comes_first() -> None:
    claims = {"sub": "alice", "act": {"sub": "console", "act": {"sub": "portal", "iss": "https://other"}}}
    assert [actor["sub"] for actor in find_actors(claims) or ()] == ["console", "portal"]


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(None, id="null"),
        pytest.param("console", id="a text"),
        pytest.param(["console"], id="a list"),
        pytest.param({}, id="nobody"),
        pytest.param({"sub": ""}, id="an empty name"),
        pytest.param({"sub": 7}, id="a number for a name"),
        pytest.param({"iss": "https://idp"}, id="an issuer without a name"),
        pytest.param({"sub": "console", "iss": ["https://idp"]}, id="a list of issuers"),
        pytest.param({"sub": "console", "client_id": None}, id="a client that is null"),
        pytest.param({"sub": "console", "act": {"iss": "https://idp"}}, id="an actor before it without a name"),
        pytest.param({"sub": "console", "act": None}, id="an actor before it that is null"),
    ],
)
def test_actors_that_are_not_as_the_rfc_has_them_are_none(act: object) -> None:
    assert find_actors({"sub": "alice", "act": act}) is None


@pytest.mark.parametrize(("depth", "expected"), [(1, 1), (MAX_ACTORS, MAX_ACTORS), (MAX_ACTORS + 1, None)])
def test_there_is_a_bound(depth: int, expected: int | None) -> None:
    actors = find_actors(nested(depth))
    assert (None if actors is None else len(actors)) == expected


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda children: st.lists(children) | st.dictionaries(st.sampled_from(["sub", "act", "iss", "x"]), children),
    )
)
def test_whatever_stands_there_is_read_or_refused(act: object) -> None:
    actors = find_actors({"act": act})
    assert actors is None or all(isinstance(actor["sub"], str) and actor["sub"] for actor in actors)
