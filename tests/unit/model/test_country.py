# SPDX-License-Identifier: Apache-2.0

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model.country import NAMES, parse_country, suggest_country

PARSED = {
    "a code": ("JP", "JP"),
    "a code in lower case": ("jp", "JP"),
    "a code in mixed case": ("Jp", "JP"),
    "Norway, which YAML 1.1 calls false": ("NO", "NO"),
    "Kosovo, which geolocation databases say": ("XK", "XK"),
    "Hong Kong": ("hk", "HK"),
    "Macao": ("mo", "MO"),
    "Taiwan": ("tw", "TW"),
    "the United Kingdom is GB": ("UK", None),
    "Greece is GR": ("EL", None),
    "a union": ("EU", None),
    "the region of a registry": ("AP", None),
    "unknown, as registries say": ("ZZ", None),
    "user-assigned": ("XX", None),
    "withdrawn": ("SU", None),
    "alpha-3": ("JPN", None),
    "a name": ("Japan", None),
    "padded": (" JP", None),
    "with a line feed": ("JP\n", None),
    "with a NUL": ("JP\x00", None),
    "one letter": ("J", None),
    "nothing": ("", None),
    "full-width": ("\uff2a\uff30", None),
    "a dotless i": ("\u0131n", None),
    "a long s": ("u\u017f", None),
    "a Kelvin sign": ("\u212ar", None),
    "a ligature": ("\ufb01", None),
}

SUGGESTED = {
    "the United Kingdom": ("UK", "the code is GB (United Kingdom)"),
    "Greece": ("el", "the code is GR (Greece)"),
    "lower case": ("jp", "write JP (upper case)"),
    "padded": (" JP ", "write JP (upper case)"),
    "a name": ("japan", "write JP (Japan)"),
    "a name with a letter outside ASCII": ("T\u00dcRKIYE", "write TR (T\u00fcrkiye)"),
    "a set": ("EU", "EU is no country: declare a set under country_sets and write $eu"),
    "nothing near": ("Atlantis", ""),
    "nothing": ("", ""),
}


@pytest.mark.parametrize(("text", "code"), PARSED.values(), ids=PARSED)
def test_parse_country(text: str, code: str | None) -> None:
    assert parse_country(text) == code


@pytest.mark.parametrize(("text", "sentence"), SUGGESTED.values(), ids=SUGGESTED)
def test_suggest_country(text: str, sentence: str) -> None:
    assert suggest_country(text) == sentence


def test_the_list_is_iso_3166_1_and_kosovo() -> None:
    assert len(NAMES) == 249 + 1
    assert all(len(code) == 2 and code.isascii() and code.isalpha() and code.isupper() for code in NAMES)
    assert all(name == name.strip() != "" for name in NAMES.values())
    assert len({name.casefold() for name in NAMES.values()}) == len(NAMES)


@given(st.one_of(st.text(max_size=4), st.sampled_from(sorted(NAMES)).map(str.swapcase)))
def test_a_parsed_country_is_a_code_and_stays_it(text: str) -> None:
    code = parse_country(text)

    assert code is None or (code in NAMES and code == text.upper() and parse_country(code) == code)
    assert isinstance(suggest_country(text), str)


@given(st.sampled_from(sorted(NAMES)))
def test_every_name_suggests_its_code(code: str) -> None:
    assert suggest_country(NAMES[code]) == f"write {code} ({NAMES[code]})"
