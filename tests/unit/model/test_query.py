# SPDX-License-Identifier: Apache-2.0
"""Forms and queries: read in the one way in which all servers read them, or not at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model.query import MAX_PARAMETERS, Query, encode, fold_name, parse_query_text

READ: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "nothing": ("", []),
    "one": ("a=1", [("a", "1")]),
    "two, in their order": ("b=2&a=1", [("b", "2"), ("a", "1")]),
    "one name twice": ("a=1&a=2", [("a", "1"), ("a", "2")]),
    "no equals sign": ("a", [("a", "")]),
    "no value": ("a=", [("a", "")]),
    "no name": ("=1", [("", "1")]),
    "an equals sign in the value": ("a=b=c", [("a", "b=c")]),
    "nothing between two ampersands": ("&a=1&&b=2&", [("a", "1"), ("b", "2")]),
    "a plus sign is a blank": ("a=b+c", [("a", "b c")]),
    "in a name, too": ("a+b=c", [("a b", "c")]),
    "an encoded plus sign": ("a=b%2Bc", [("a", "b+c")]),
    "an encoded ampersand is none": ("a=1%262", [("a", "1&2")]),
    "an encoded equals sign is none": ("a%3D1=2", [("a=1", "2")]),
    "an encoded semicolon is no separator": ("a=1%3Bb=2", [("a", "1;b=2")]),
    "an encoded name": ("%61=1", [("a", "1")]),
    "small hexadecimal digits": ("a=%e6%97%a5", [("a", "日")]),
    "decoded once": ("a=%2541", [("a", "%41")]),
    "square brackets as they are": ("a[b]=1", [("a[b]", "1")]),
}

DIFFERS = {
    "a percent sign alone": "a=%",
    "one digit": "a=%4",
    "no digits": "a=%zz",
    "NUL": "a=1%00",
    "NUL in a name": "a%00b=1",
    "no UTF-8": "a=%ff",
    "half of a character": "a=%e6%97",
    "an overlong slash": "a=%c0%af",
    "half a surrogate pair": "a=%ed%a0%80",
    "a semicolon, which some take for an ampersand": "a=1;b=2",
    "a letter that is not encoded": "a=é",
    "a blank": "a=b c",
    "a quotation mark": 'a="1"',
    "a fragment": "a=1#b",
    "more than many servers take": "&".join(["a=1"] * (MAX_PARAMETERS + 1)),
}


@pytest.mark.parametrize(("text", "pairs"), READ.values(), ids=READ)
def test_what_every_server_reads_alike_is_read(text: str, pairs: list[tuple[str, str]]) -> None:
    query = parse_query_text(text)

    assert query is not None
    assert [(each.name, each.value) for each in query.parameters] == pairs
    assert query.raw == text


@pytest.mark.parametrize("text", DIFFERS.values(), ids=DIFFERS)
def test_what_servers_read_differently_is_not_read(text: str) -> None:
    assert parse_query_text(text) is None


def test_as_many_parameters_as_many_servers_take_are_read() -> None:
    assert parse_query_text("&".join(["a=1"] * MAX_PARAMETERS)) is not None


TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=5))
def test_what_was_rendered_is_read_again(pairs: list[tuple[str, str]]) -> None:
    query = parse_query_text("&".join(f"{encode(name)}={encode(value)}" for name, value in pairs))

    assert query is not None
    assert [(each.name, each.value) for each in query.parameters] == pairs
    assert all(each.is_plain for each in query.parameters)


@given(st.text(max_size=30) | st.text(alphabet="a%&=+;[]0fF", max_size=30))
def test_whatever_stands_there_reading_never_raises_and_keeps_what_came(text: str) -> None:
    query = parse_query_text(text)

    assert query is None or query.raw == text
    assert query is None or "&".join(each.raw for each in query.parameters) == "&".join(filter(None, text.split("&")))


ALIKE = {
    "another letter case": "IDS",
    "a list of PHP and Rails": "ids[]",
    "its first element": "ids[0]",
    "its member": "ids[x]",
    "an encoded letter": "%69ds",
    "encoded brackets": "ids%5B%5D",
    "a blank in front, which PHP takes away": "+ids",
    "an underscore": "i_ds",
    "a dot, which PHP takes for an underscore": "ids.",
    "full-width letters": "%EF%BD%89%EF%BD%84%EF%BD%93",
    "a long s": "id%C5%BF",
    "one bracket": "ids[",
}


@pytest.mark.parametrize("raw", ALIKE.values(), ids=ALIKE)
def test_beside_a_name_that_some_server_takes_for_it_nothing_is_found(raw: str) -> None:
    for text in (f"ids=1&{raw}=2", f"{raw}=2&ids=1", f"{raw}=2"):
        query = parse_query_text(text)
        assert query is not None
        assert query.find("ids") is None


@pytest.mark.parametrize("raw", ["id", "ident", "x", "idsx", "users[ids]", ""])
def test_another_name_beside_it_is_another_name(raw: str) -> None:
    query = parse_query_text(f"ids=1&{raw}=2")

    assert query is not None
    assert query.find("ids") == (query.parameters[0],)


def test_a_name_with_brackets_stands_beside_other_members() -> None:
    query = parse_query_text("user[id]=1&user[name]=x&user%5Bage%5D=3")
    assert query is not None
    found = query.find("user[id]")
    assert found is not None
    assert [each.value for each in found] == ["1"]
    for other in ("user[ID]=2", "user[id][]=2", "user=2"):
        beside = parse_query_text(f"user[id]=1&{other}")
        assert beside is not None
        assert beside.find("user[id]") is None


def test_brackets_may_be_encoded_or_not() -> None:
    for text in ("user[id]=1", "user%5Bid%5D=1"):
        query = parse_query_text(text)
        assert query is not None
        assert query.find("user[id]") == query.parameters


def test_what_does_not_stand_there_is_not_found() -> None:
    assert Query().find("ids") == ()


@given(st.text(max_size=12))
def test_a_folded_name_is_folded(name: str) -> None:
    folded = fold_name(name)

    assert fold_name("[".join(folded)) == folded
    assert fold_name(name.swapcase()) == folded or not name.isascii()
