# SPDX-License-Identifier: Apache-2.0
"""Sealed cursors: they tell nothing, cannot be forged, and open where they were given out alone."""

from collections.abc import Callable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from proxy.model.decision import Reason
from proxy.model.query import Query, encode, parse_query_text
from proxy.model.request import Target
from proxy.request.cursors import Seal, unseal_query
from proxy.request.target import parse_target

KEY = bytes(range(64))
SEAL = Seal(KEY)
BOUND = ("corp|alice", "search-users", "after")
TEXTS = st.text(max_size=20)


def an_opener(seal: Seal = SEAL, audience: str = BOUND[0], route: str = BOUND[1]) -> Callable[[str, str], str | None]:
    return lambda parameter, sealed: seal.open(audience, route, parameter, sealed)


def read(text: str) -> Query:
    query = parse_query_text(text)
    assert query is not None
    return query


@given(TEXTS, TEXTS, TEXTS, TEXTS)
def test_what_was_sealed_opens_where_it_was_sealed_for(audience: str, route: str, parameter: str, text: str) -> None:
    assert SEAL.open(audience, route, parameter, SEAL.seal(audience, route, parameter, text)) == text


@given(st.tuples(TEXTS, TEXTS, TEXTS), st.tuples(TEXTS, TEXTS, TEXTS))
def test_what_was_sealed_for_one_opens_for_no_other(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    assume(one != other)
    assert SEAL.open(*other, SEAL.seal(*one, "42")) is None


@given(TEXTS, TEXTS)
def test_the_same_cursor_is_sealed_alike_and_another_is_not(one: str, other: str) -> None:
    assert (SEAL.seal(*BOUND, one) == SEAL.seal(*BOUND, other)) == (one == other)


@given(TEXTS)
def test_a_sealed_cursor_needs_no_encoding_and_shows_nothing(text: str) -> None:
    sealed = SEAL.seal(*BOUND, text)
    assert encode(sealed) == sealed
    assert len(text) < 4 or text not in sealed


def test_under_another_key_nothing_opens() -> None:
    assert Seal(bytes(64)).open(*BOUND, SEAL.seal(*BOUND, "42")) is None


def test_a_sealed_cursor_opens_in_later_releases() -> None:
    assert SEAL.open(*BOUND, "ZqDWakFx1AoqZ4yKSRwmRe7-pZvSr3M") == "page 2"


@given(st.data())
def test_a_sealed_cursor_with_any_character_changed_opens_no_more(data: st.DataObject) -> None:
    sealed = SEAL.seal(*BOUND, data.draw(TEXTS))
    at = data.draw(st.integers(0, len(sealed) - 1))
    other = data.draw(st.sampled_from("ABCdef019-_="))
    changed = sealed[:at] + other + sealed[at + 1 :]
    assume(changed != sealed)
    assert SEAL.open(*BOUND, changed) is None


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda data: data.hex()))
def test_what_was_never_sealed_does_not_open(text: str) -> None:
    assert SEAL.open(*BOUND, text) is None


@pytest.mark.parametrize("added", ["=", "==", "\n", " ", "A", "%"])
def test_a_sealed_cursor_has_one_spelling(added: str) -> None:
    sealed = SEAL.seal(*BOUND, "42")
    assert SEAL.open(*BOUND, sealed + added) is None
    assert SEAL.open(*BOUND, added + sealed) is None


def test_the_key_is_not_shown() -> None:
    assert repr(SEAL) == "Seal(key=***)"


RAW = st.lists(
    st.sampled_from(["limit=5", "country=%4aP", "", "a", "=", "x[]=1&x[]=2", "b=c+d", "q=%E6%97%A5", "afterwards=1"]),
    max_size=4,
)


@given(RAW, RAW, st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_the_forwarded_query_differs_in_the_cursor_alone(before: list[str], behind: list[str], text: str) -> None:
    raw = "&".join([*before, f"after={SEAL.seal(*BOUND, text)}", *behind])

    forwarded = unseal_query(read(raw), ["after"], an_opener())

    assert forwarded == "&".join([*before, f"after={encode(text)}", *behind])
    assert [each.value for each in read(forwarded).find("after") or ()] == [text]
    assert isinstance(parse_target(f"/v1/users?{forwarded}"), Target)


@given(RAW)
def test_a_query_without_a_cursor_goes_on_as_it_came(pieces: list[str]) -> None:
    assert unseal_query(read("&".join(pieces)), ["after"], an_opener()) == "&".join(pieces)


def test_two_cursors_of_one_query_are_each_opened() -> None:
    raw = f"before={SEAL.seal(*BOUND[:2], 'before', 'p1')}&after={SEAL.seal(*BOUND, 'p/3')}"
    assert unseal_query(read(raw), ["after", "before"], an_opener()) == "before=p1&after=p%2F3"


SEALED = SEAL.seal(*BOUND, "42")
INVALID = {
    "the API's own": "after=42",
    "nothing": "after=",
    "no equals sign": "after",
    "twice": f"after={SEALED}&after={SEALED}",
    "one of ours and the API's own": f"after={SEALED}&after=42",
    "in another letter case": "After=42",
    "in another letter case beside it": f"after={SEALED}&AFTER=42",
    "as a list beside it": f"after={SEALED}&after[]=42",
    "with an encoded letter": f"%61fter={SEALED}",
    "of another parameter": f"after={SEAL.seal(*BOUND[:2], 'before', '42')}",
    "of another route": f"after={SEAL.seal(BOUND[0], 'search-orders', BOUND[2], '42')}",
    "of another caller": f"after={SEAL.seal('corp|bob', *BOUND[1:], '42')}",
}


@pytest.mark.parametrize("raw", INVALID.values(), ids=INVALID)
def test_a_cursor_that_was_not_given_out_so_is_refused(raw: str) -> None:
    assert unseal_query(read(raw), ["after"], an_opener()) is Reason.CURSOR_INVALID


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="AESSIV key must be"):
        Seal(b"short")
