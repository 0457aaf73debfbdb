# SPDX-License-Identifier: Apache-2.0
"""Where a value stands: how a short form is read, and which fields of heads mean something else."""

from typing import Any, Final

import pytest

from proxy.bundle.api_places import (
    OF_THE_BODY,
    CountryEntry,
    InAnswer,
    Place,
    PlaceEntry,
    check_place,
    compile_place,
    refuse_answer_field,
)
from proxy.model.api import Selector, Where
from proxy.request.headers import REQUEST_FIELDS, REQUEST_PREFIXES
from proxy.request.response_headers import CACHE_FIELDS, RESPONSE_DROPPED

PLACES: Final[dict[str, tuple[dict[str, Any], Place, Selector | None]]] = {
    "a code": ({"value": "JP"}, Place(Where.LITERAL, "JP"), Selector(Where.LITERAL, "JP")),
    "a parameter": ({"value": "{a_1}"}, Place(Where.PATH, "a_1"), Selector(Where.PATH, "a_1")),
    "half a parameter": ({"value": "{a"}, Place(Where.LITERAL, "{a"), Selector(Where.LITERAL, "{a")),
    "a member": ({"value": "$.a"}, Place(InAnswer.RECORD, "$.a"), None),
    "a key": ({"value": "key"}, Place(InAnswer.KEY, "key"), None),
    "a query": ({"query": "Ids", "split": ","}, Place(Where.QUERY, "Ids"), Selector(Where.QUERY, "Ids", ",")),
    "a field of the head": ({"header": "X-Id"}, Place(Where.HEADER, "X-Id"), Selector(Where.HEADER, "x-id")),
    "a field of the answer's head": ({"answer_header": "X-Id"}, Place(InAnswer.HEAD, "X-Id"), None),
    "a body": ({"body": "$.a"}, Place(Where.JSON, "$.a"), Selector(Where.JSON, "$.a")),
    "a form": ({"form": "A"}, Place(Where.FORM, "A"), Selector(Where.FORM, "A")),
}


@pytest.mark.parametrize(("raw", "place", "selector"), PLACES.values(), ids=PLACES)
def test_a_place_says_itself_what_it_is(raw: dict[str, Any], place: Place, selector: Selector | None) -> None:
    entry = CountryEntry.model_validate(raw)
    assert entry.place == place
    assert place.is_in_request is (selector is not None)
    assert compile_place(entry) == selector


def test_one_that_was_wrong_stands_nowhere() -> None:
    entry = PlaceEntry.model_construct()
    assert entry.place is None
    assert compile_place(entry) is None


@pytest.mark.parametrize("name", sorted({*REQUEST_FIELDS, *(f"{prefix}any" for prefix in REQUEST_PREFIXES)}))
def test_a_field_that_the_gateway_reads_or_drops_names_nobody(name: str) -> None:
    assert check_place("id", Place(Where.HEADER, name.title()), ())


@pytest.mark.parametrize("name", sorted({*RESPONSE_DROPPED, *CACHE_FIELDS, *OF_THE_BODY, "sekisho-decision-id"}))
def test_a_field_that_does_not_leave_as_it_came_says_nothing_of_the_apis(name: str) -> None:
    assert refuse_answer_field(name.title())
    assert check_place("country", Place(InAnswer.HEAD, name), ())


@pytest.mark.parametrize("name", ["X-Tenant-Country", "X-Api-Version", "Content-Language", "Country"])
def test_a_field_of_the_apis_own(name: str) -> None:
    assert not refuse_answer_field(name)
    assert not check_place("country", Place(InAnswer.HEAD, name), ())
    assert not check_place("country", Place(Where.HEADER, name), ())
