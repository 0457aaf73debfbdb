# SPDX-License-Identifier: Apache-2.0
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model.country import NAMES, CountryForm
from proxy.model.json_path import parse_json_path
from proxy.model.subject import Located, Told
from proxy.subject.told import FAILED, NOT_FOUND, locate, read_cell, read_document, read_records, read_rows

JP = Located(Told.FOUND, ("JP",))
BOTH = Located(Told.FOUND, ("JP", "TW"))


@pytest.mark.parametrize(
    ("values", "form", "said"),
    [
        pytest.param(["JP"], "alpha2", JP, id="one country"),
        pytest.param(["TW", "JP", "JP"], "alpha2", BOTH, id="two, one of them twice"),
        pytest.param([], "alpha2", NOT_FOUND, id="none"),
        pytest.param([None], "alpha2", NOT_FOUND, id="null"),
        pytest.param(["JP", None], "alpha2", FAILED, id="one, and one that is not told"),
        pytest.param(["JP", "XX"], "alpha2", FAILED, id="one, and one that is none"),
        pytest.param([""], "alpha2", FAILED, id="an empty text"),
        pytest.param(["jp"], "alpha2", FAILED, id="lower case where upper case stands"),
        pytest.param(["jp"], "alpha2-lower", JP, id="lower case where it stands"),
        pytest.param(["JP"], "alpha2-lower", FAILED, id="upper case where lower case stands"),
        pytest.param(["Jp"], "alpha2-any-case", JP, id="any case"),
        pytest.param(["JPN"], "alpha3", JP, id="three letters"),
        pytest.param(["JP"], "alpha3", FAILED, id="two letters where three stand"),
        pytest.param(["Japan"], "name", JP, id="a name"),
        pytest.param([81], "alpha2", FAILED, id="a number"),
        pytest.param([True], "alpha2", FAILED, id="true"),
        pytest.param([{"code": "JP"}], "alpha2", FAILED, id="an object"),
        pytest.param([["JP"]], "alpha2", FAILED, id="a list in a list"),
    ],
)
def test_what_is_told_of_one_id(values: list[Any], form: str, said: Located) -> None:
    assert locate(values, CountryForm(form)) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("JP", JP),
        ("JP;TW", BOTH),
        (None, NOT_FOUND),
        ("", FAILED),
        ("JP;", FAILED),
        ("JP|TW", FAILED),
        ("JP; TW", FAILED),
        (" JP", FAILED),
    ],
)
def test_what_a_cell_says(text: str | None, said: Located) -> None:
    assert read_cell(text, CountryForm.ALPHA2) == said


def test_rows_are_put_together_by_their_ids() -> None:
    rows = [("1", "JP"), ("2", None), ("1", "TW"), ("3", "JP"), ("3", None), ("4", "XX"), (5, "JP"), ("6", 7)]
    said = {"1": BOTH, "2": NOT_FOUND, "3": FAILED, "4": FAILED, "6": FAILED}
    told = read_rows(rows, CountryForm.ALPHA2)
    assert {id_: told[id_] for id_ in said} == said
    assert "5" not in told


@pytest.mark.parametrize(
    ("document", "path", "said"),
    [
        pytest.param({"country": "JP"}, "$.country", JP, id="a member"),
        pytest.param("JP", "$", JP, id="the document"),
        pytest.param({"homes": [{"in": "JP"}, {"in": "TW"}]}, "$.homes[*].in", BOTH, id="of each of several"),
        pytest.param({"countries": ["TW", "JP"]}, "$.countries", BOTH, id="a list"),
        pytest.param({"countries": ["TW", "JP"]}, "$.countries[*]", BOTH, id="the members of a list"),
        pytest.param({"country": None}, "$.country", NOT_FOUND, id="null"),
        pytest.param({}, "$.country", NOT_FOUND, id="no member"),
        pytest.param({"countries": []}, "$.countries", NOT_FOUND, id="an empty list"),
        pytest.param([], "$.country", NOT_FOUND, id="a list where an object stands"),
        pytest.param({"homes": [{"in": "JP"}, {"in": None}]}, "$.homes[*].in", FAILED, id="one of several unknown"),
    ],
)
def test_what_a_document_says(document: Any, path: str, said: Located) -> None:
    assert read_document(json.dumps(document).encode(), parse_json_path(path), CountryForm.ALPHA2) == said


@pytest.mark.parametrize(
    "data",
    [b"", b"<html>", b'{"country":"JP","country":"TW"}', b'{"country":"JP"', b'{"country":"\xff"}', b"[" * 100_000],
    ids=["nothing", "a page", "a name twice", "cut short", "no UTF-8", "too deep"],
)
def test_a_document_that_readers_read_differently_is_none(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever the sentence
        read_document(data, parse_json_path("$.country"), CountryForm.ALPHA2)


def read(document: Any, record_id: str | None, records: str = "$.users[*]") -> dict[str, Located]:
    path = None if record_id is None else parse_json_path(record_id)
    data = json.dumps(document).encode()
    return read_records(data, parse_json_path(records), path, parse_json_path("$.country"), CountryForm.ALPHA2)


def test_records_say_whose_they_are() -> None:
    users = [
        {"id": "a", "country": "JP"},
        {"id": 7, "country": "TW"},
        {"id": "b"},
        {"id": "a", "country": "TW"},
        {"id": "c", "country": "JP"},
        {"id": "c"},
        {"id": None, "country": "JP"},
        {"id": True, "country": "JP"},
        {"country": "JP"},
        "a",
    ]
    found = {"a": BOTH, "7": Located(Told.FOUND, ("TW",)), "b": NOT_FOUND, "c": FAILED}
    assert read({"users": users}, "$.id") == found


def test_records_stand_under_names() -> None:
    assert read({"users": {"a": {"country": "JP"}, "b": {}}}, None) == {"a": JP, "b": NOT_FOUND}
    assert read({"users": [{"country": "JP"}]}, None) == {}


def test_an_answer_without_records_says_nothing() -> None:
    assert read({"error": "down"}, "$.id") == {}
    assert read([], "$.id") == {}


@given(st.lists(st.none() | st.text(max_size=3) | st.sampled_from(sorted(NAMES)) | st.integers(), max_size=5))
def test_what_was_found_is_whole(values: list[Any]) -> None:
    said = locate(values, CountryForm.ALPHA2)
    assert (said.told is Told.FOUND) == bool(values and all(value in NAMES for value in values))
    assert set(said.countries) == (set(values) if said.told is Told.FOUND else set())
