# SPDX-License-Identifier: Apache-2.0

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model.api import Selector, SubjectSource, Where
from proxy.model.country import NAMES
from proxy.model.facts import NOT_APPLICABLE, UNKNOWN, Fact
from proxy.model.subject import NO_SUBJECT, Subject
from proxy.subject.selectors import select_subject

COUNTRY = Selector(Where.PATH, "country")
USER = Selector(Where.PATH, "user_id")
SOURCE = SubjectSource(country=COUNTRY, id=USER)

COUNTRIES: dict[str, tuple[str, Fact[str]]] = {
    "upper case": ("JP", "JP"),
    "lower case, as most APIs write it": ("jp", "JP"),
    "mixed case": ("jP", "JP"),
    "Norway is no boolean": ("no", "NO"),
    "Hong Kong is not China": ("hk", "HK"),
    "no country": ("zz", UNKNOWN),
    "reserved for the United Kingdom, whose code is GB": ("uk", UNKNOWN),
    "a union": ("EU", UNKNOWN),
    "alpha-3": ("JPN", UNKNOWN),
    "a name": ("Japan", UNKNOWN),
    "a number of ISO 3166": ("392", UNKNOWN),
    "an ending dot": ("jp.", UNKNOWN),
    "a dot in front": (".jp", UNKNOWN),
    "a tilde": ("~jp", UNKNOWN),
    "a subdivision": ("JP-13", UNKNOWN),
    "a word of ours": ("unknown", UNKNOWN),
    "nothing": ("", UNKNOWN),
    "a space behind": ("jp ", UNKNOWN),
    "full-width letters": ("\uff2a\uff30", UNKNOWN),
    "a dotless i, whose upper case is I": ("\u0131d", UNKNOWN),
    "a ligature, whose upper case is FI": ("\ufb01", UNKNOWN),
    "a sharp s, whose upper case is SS": ("\u00df", UNKNOWN),
}


@pytest.mark.parametrize(("text", "country"), COUNTRIES.values(), ids=COUNTRIES)
def test_a_country_of_the_path_is_normalised_or_unknown(text: str, country: Fact[str]) -> None:
    assert select_subject(SOURCE, {"country": text, "user_id": "42"}) == Subject(
        country=country, id="42", source="path"
    )


@pytest.mark.parametrize("user_id", ["42", "042", "a.b", "...", "unknown", "A"])
def test_an_id_is_what_the_caller_wrote(user_id: str) -> None:
    assert select_subject(SOURCE, {"country": "jp", "user_id": user_id}).id == user_id


def test_a_declared_country_is_not_read_from_the_path() -> None:
    source = SubjectSource(country=Selector(Where.LITERAL, "JP"), id=USER)

    assert select_subject(source, {"JP": "CN", "country": "CN", "user_id": "42"}) == Subject(
        country="JP", id="42", source="literal"
    )


def test_what_a_route_does_not_say_is_unknown() -> None:
    assert select_subject(SubjectSource(), {"country": "jp"}) == Subject(country=UNKNOWN, id=UNKNOWN)


def test_a_route_without_personal_data_has_no_subject() -> None:
    assert select_subject(None, {"country": "jp", "user_id": "42"}) == NO_SUBJECT
    assert (NO_SUBJECT.country, NO_SUBJECT.id) == (NOT_APPLICABLE, NOT_APPLICABLE)


@given(st.text(max_size=6), st.text(max_size=6))
def test_selecting_never_raises_and_says_only_countries(country: str, user_id: str) -> None:
    subject = select_subject(SOURCE, {"country": country, "user_id": user_id})

    assert subject.country is UNKNOWN or subject.country in NAMES
    assert subject.id == user_id
