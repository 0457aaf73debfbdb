# SPDX-License-Identifier: Apache-2.0
"""A token's cookie is taken out of its field, once; all others pass as they came."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model.decision import Reason
from proxy.request.cookies import take_cookies

NAMES = frozenset({"id_token"})
REPEATED = Reason.AUTHORIZATION_COOKIE_REPEATED
FIELDS: dict[str, tuple[str, tuple[dict[str, str], str] | Reason]] = {
    "the token alone": ("id_token=a.b.c", ({"id_token": "a.b.c"}, "")),
    "the token first": ("id_token=a.b.c; theme=dark", ({"id_token": "a.b.c"}, "theme=dark")),
    "the token between others": ("a=1; id_token=a.b.c; b=2", ({"id_token": "a.b.c"}, "a=1; b=2")),
    "others alone": ("a=1; b=2", ({}, "a=1; b=2")),
    "an empty field": ("", ({}, "")),
    "an empty token": ("id_token=", ({"id_token": ""}, "")),
    "the name without a value": ("id_token; a=1", ({"id_token": ""}, "a=1")),
    "a value with an equals sign": ("id_token=a=b", ({"id_token": "a=b"}, "")),
    "quotes, which stay: no token has any": ('id_token="a.b.c"', ({"id_token": '"a.b.c"'}, "")),
    "no blank behind the semicolon": ("a=1;id_token=t;b=2", ({"id_token": "t"}, "a=1; b=2")),
    "blanks round the name, as lax readers take them": ("a=1;\t id_token =t", ({"id_token": "t"}, "a=1")),
    "another letter case, which is another cookie": ("ID_TOKEN=t", ({}, "ID_TOKEN=t")),
    "a name that ends alike": ("x-id_token=t; id_token2=t", ({}, "x-id_token=t; id_token2=t")),
    "the token's name as a value": ("a=id_token", ({}, "a=id_token")),
    "the token twice": ("id_token=a; id_token=b", REPEATED),
    "the token twice, the same": ("id_token=a; x=1; id_token=a", REPEATED),
    "the token twice, once with a blank": ("id_token=a; id_token =b", REPEATED),
    "the token twice, once without a value": ("id_token; id_token=b", REPEATED),
    "the token inside quotes of another": ('a="x; id_token=t; y"', ({"id_token": "t"}, 'a="x; y"')),
}


@pytest.mark.parametrize(("field", "taken"), FIELDS.values(), ids=FIELDS)
def test_of_a_field_is_taken(field: str, taken: tuple[dict[str, str], str] | Reason) -> None:
    assert take_cookies(field, NAMES) == taken


_FIELD = st.lists(
    st.sampled_from(["id_token", "id_token=t", " id_token =t", "a=1", "b", "", " ", "=", "x=\u6771", '"'])
    | st.text(" \t=;aid_token", max_size=12),
    max_size=6,
).map(";".join)


@given(_FIELD)
def test_what_is_left_holds_no_token_and_reads_the_same_again(field: str) -> None:
    taken = take_cookies(field, NAMES)
    if isinstance(taken, Reason):
        assert field.count("id_token") >= 2
        return
    _, rest = taken
    assert take_cookies(rest, NAMES) == ({}, rest)


@given(st.text(max_size=40))
def test_without_a_named_cookie_the_others_stay(field: str) -> None:
    taken = take_cookies(field, frozenset())
    assert isinstance(taken, tuple)
    kept = [pair.strip(" \t") for pair in field.split(";")]
    assert taken == ({}, "; ".join(pair for pair in kept if pair))
