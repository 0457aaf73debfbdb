# SPDX-License-Identifier: Apache-2.0
"""Pseudonyms: keyed, stable over releases, apart by kind, and useless without the key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.ledger.pseudonym import KEY_BYTES, Pseudonyms

KEY = bytes(range(KEY_BYTES))
NAMES = Pseudonyms(KEY)
IDS = st.text(alphabet="abc0123456789-_.~|:", max_size=20)

WRONG_KEYS = [
    pytest.param(b"", id="no key"),
    pytest.param(bytes(KEY_BYTES - 1), id="one byte short"),
    pytest.param(bytes(KEY_BYTES + 1), id="one byte long"),
    pytest.param(KEY.hex().encode(), id="the hexadecimal digits in place of the bytes"),
]


def test_a_caller_keeps_the_name_that_earlier_releases_gave() -> None:
    assert NAMES.of_caller("corp|sato") == "4f9cdf4c7eb4c5a5bca0274836f4ea99"


def test_a_subject_keeps_the_name_that_earlier_releases_gave() -> None:
    assert NAMES.of_subject("users", "42") == "users:ad2c04a967f52debb2a76b294fa24714"


@given(st.text(), st.text())
def test_names_agree_exactly_when_the_callers_do(one: str, other: str) -> None:
    assert (NAMES.of_caller(one) == NAMES.of_caller(other)) == (one == other)


@given(IDS)
def test_another_key_gives_other_names(text: str) -> None:
    other = Pseudonyms(bytes(KEY_BYTES))
    assert other.of_caller(text) != NAMES.of_caller(text)
    assert other.of_subject("users", text) != NAMES.of_subject("users", text)


@given(IDS)
def test_the_same_key_gives_the_same_names_again(text: str) -> None:
    assert Pseudonyms(KEY).of_caller(text) == NAMES.of_caller(text)
    assert Pseudonyms(KEY).of_subject("users", text) == NAMES.of_subject("users", text)


@given(IDS)
def test_a_caller_and_a_subject_of_one_identifier_share_no_name(text: str) -> None:
    assert NAMES.of_subject("users", text).removeprefix("users:") != NAMES.of_caller(f"users|{text}")


@given(IDS)
def test_one_id_in_two_apis_is_two_subjects(text: str) -> None:
    assert NAMES.of_subject("users", text).split(":")[1] != NAMES.of_subject("orders", text).split(":")[1]


@given(IDS, IDS)
def test_naming_one_person_does_not_change_the_name_of_the_next(one: str, other: str) -> None:
    names = Pseudonyms(KEY)
    names.of_caller(one)
    names.of_subject("users", one)
    assert (names.of_caller(other), names.of_subject("users", other)) == (
        NAMES.of_caller(other),
        NAMES.of_subject("users", other),
    )


@given(st.text(alphabet=st.characters(categories=["L", "Cc", "Cs"]), max_size=20))
def test_whatever_text_an_issuer_signs_has_a_name_half_a_surrogate_pair_too(text: str) -> None:
    assert len(NAMES.of_caller(f"corp|{text}")) == 32


@pytest.mark.parametrize("key", WRONG_KEYS)
def test_a_key_of_another_length_is_refused_without_being_told(key: bytes) -> None:
    with pytest.raises(ValueError, match=f"has 32 bytes, not {len(key)}$"):
        Pseudonyms(key)


@pytest.mark.parametrize("render", [repr, str, "{}".format, lambda names: repr(vars(names))])
def test_no_rendering_shows_the_key(render: object) -> None:
    assert callable(render)
    shown = render(NAMES)
    assert KEY.hex() not in shown
    assert repr(KEY)[2:-1] not in shown
