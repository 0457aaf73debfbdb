# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model.decision import Reason
from proxy.model.query import Query
from proxy.request.query import check_searchable, parse_query

ALLOWED = frozenset({"country", "limit", "filter[name]"})

MALFORMED = {
    "a percent sign alone": "a=%",
    "no UTF-8": "a=%ff",
    "a semicolon": "a=1;b=2",
    "a line feed": "a=%0A",
    "a tab in a name": "a%09=1",
    "delete": "a=%7F",
    "escape": "a=%1b",
}

SEARCHED = {
    "nothing": ("", None),
    "what is declared": ("country=JP&limit=5", None),
    "twice": ("country=JP&country=TW", None),
    "with brackets": ("filter[name]=sato", None),
    "with encoded brackets": ("filter%5Bname%5D=sato", None),
    "nothing between ampersands": ("limit=5&", None),
    "without a value": ("limit", None),
    "what is not declared": ("limit=5&name=sato", Reason.QUERY_UNDECLARED),
    "no name": ("=5", Reason.QUERY_UNDECLARED),
    "another letter case": ("Country=JP", Reason.QUERY_UNDECLARED),
    "a list": ("country[]=JP", Reason.QUERY_UNDECLARED),
    "an encoded letter": ("%63ountry=JP", Reason.QUERY_UNDECLARED),
    "a blank behind": ("country+=JP", Reason.QUERY_UNDECLARED),
    "another member": ("filter[phone]=1", Reason.QUERY_UNDECLARED),
}


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
def test_a_query_that_servers_read_differently_is_refused(text: str) -> None:
    assert parse_query(text) is Reason.QUERY_MALFORMED


@pytest.mark.parametrize(("text", "reason"), SEARCHED.values(), ids=SEARCHED)
def test_only_what_is_declared_may_be_searched_for(text: str, reason: Reason | None) -> None:
    query = parse_query(text)

    assert isinstance(query, Query)
    assert check_searchable(query, ALLOWED) is reason


def test_where_nothing_may_be_searched_for_an_empty_query_may_stand() -> None:
    assert check_searchable(Query(), frozenset()) is None
    assert check_searchable(Query(), ()) is None


@given(st.text(max_size=30))
def test_whatever_stands_there_is_read_or_refused(text: str) -> None:
    query = parse_query(text)

    assert query is Reason.QUERY_MALFORMED or isinstance(query, Query)
