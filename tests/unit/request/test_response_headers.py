# SPDX-License-Identifier: Apache-2.0
"""What of an API's answer reaches the caller, whatever the API says."""

import tracemalloc
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model.request import Headers, canonical_name
from proxy.request.headers import CONTROL, NAME
from proxy.request.response_headers import CACHE_FIELDS, RESPONSE_DROPPED, render_response_fields
from tests.support.passages import read_lines

DATE: Final = "Sun, 06 Nov 1994 08:49:37 GMT"


def select_response_fields(headers: Headers, *, personal_data: bool) -> Headers:
    """Return what passes, without the date that we add."""
    lines = read_lines(render_response_fields(headers, DATE, personal_data=personal_data))
    return tuple(line for line in lines if line != ("Date", DATE))


@pytest.mark.parametrize("name", ["Date", "date", "DATE"])
def test_an_answer_keeps_its_own_date(name: str) -> None:
    answer = ((name, "Mon, 07 Nov 1994 08:49:37 GMT"),)

    assert read_lines(render_response_fields(answer, DATE, personal_data=False)) == answer


def test_an_answer_without_a_date_gets_ours() -> None:
    assert read_lines(render_response_fields((("ETag", "x"),), DATE, personal_data=False))[-1] == ("Date", DATE)
    assert read_lines(render_response_fields((), DATE, personal_data=False)) == (("Date", DATE),)


@pytest.mark.parametrize("name", sorted(RESPONSE_DROPPED | {"sekisho-decision-id", "sekisho_mode"}))
def test_an_answer_keeps_nothing_of_its_own_connection(name: str) -> None:
    for personal in (True, False):
        kept = select_response_fields(((name.title(), "a"), ("ETag", "x")), personal_data=personal)

        assert [field for field, _ in kept if field != "Cache-Control"] == ["ETag"]


def test_an_answer_loses_what_its_connection_names() -> None:
    answer = (("Connection", "close, X-A"), ("X-A", "1"), ("x_a", "2"), ("X-B", "3"))

    assert select_response_fields(answer, personal_data=False) == (("X-B", "3"),)


@pytest.mark.parametrize("name", sorted(CACHE_FIELDS))
def test_an_answer_with_personal_data_is_never_stored(name: str) -> None:
    answer = ((name.title(), "public, max-age=9"), (name.upper(), "1"), ("ETag", "x"))

    assert select_response_fields(answer, personal_data=True) == (("ETag", "x"), ("Cache-Control", "no-store"))
    assert select_response_fields(answer, personal_data=False) == answer


@pytest.mark.parametrize(
    "name",
    [
        "X-Accel-Expires",
        "Cloudflare-CDN-Cache-Control",
        "Vercel-CDN-Cache-Control",
        "Akamai-Cache-Control",
        "Edge-Control",
    ],
)
def test_no_field_that_an_edge_prefers_to_cache_control_leaves_with_personal_data(name: str) -> None:
    # nginx stores by X-Accel-Expires whatever Cache-Control says, and would answer the next caller from its store.
    assert select_response_fields(((name, "3600"),), personal_data=True) == (("Cache-Control", "no-store"),)


@pytest.mark.parametrize("name", ["X-A\r\nSet-Cookie", "X-A:", "", "X A", "X-\u0130"])
def test_an_answer_cannot_split_itself_by_a_name(name: str) -> None:
    assert select_response_fields(((name, "b"),), personal_data=False) == ()


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: b=c", "a\x00", "\udcff"])
def test_an_answer_cannot_split_itself(value: str) -> None:
    assert select_response_fields((("X-A", value),), personal_data=False) == ()


NAMES = st.sampled_from(
    [
        *sorted(RESPONSE_DROPPED),
        *sorted(CACHE_FIELDS),
        "Sekisho-Mode",
        "X-Accel-Redirect",
        "X-A",
        "x_a",
        "ETag",
        "X B",
        "",
    ]
) | st.text(max_size=8)
VALUES = st.sampled_from(["close, X-A", "etag", "keep-alive", ",\tX_A ,", "a", "", "\u00a0", "\u200b"]) | st.text()


@given(st.lists(st.tuples(NAMES, VALUES)), st.booleans())
def test_an_answer_is_sorted_field_by_field_as_the_table_says(fields: list[tuple[str, str]], personal: bool) -> None:  # noqa: FBT001
    """The same by the shortest way to say it, which keeps nothing from one answer to the next."""
    named = {
        canonical_name(option.strip())
        for name, value in fields
        if name.lower() == "connection"
        for option in value.split(",")
    }
    dropped = RESPONSE_DROPPED | named | (CACHE_FIELDS if personal else frozenset())
    expected = [
        (name, value)
        for name, value in fields
        if canonical_name(name) not in dropped
        and not canonical_name(name).startswith(("sekisho-", "x-accel-"))
        and NAME.fullmatch(name)
        and not CONTROL.search(value)
    ]
    added = [("Cache-Control", "no-store")] if personal else []

    assert list(select_response_fields(tuple(fields), personal_data=personal)) == expected + added


def test_an_api_that_makes_up_names_takes_a_bounded_memory() -> None:
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(400):
            headers = tuple((f"{number}-{field}-{'x' * 600}", "") for field in range(99))
            assert render_response_fields(headers, DATE, personal_data=True)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 24 * 1024 * 1024
