# SPDX-License-Identifier: Apache-2.0
"""A route as a whole: what it does with data, and the keys that belong to it. Paths and overlaps: ``test_apis``."""

from typing import Any, Final

import pytest

from proxy.bundle.api_answers import LEAVING
from proxy.model.facts import FactSet
from tests.support.api_entries import FIELDS, KNOWN, SEARCH, VOUCHED, a_route, compiled, problems_of_route

POST: Final[dict[str, Any]] = {"methods": ["POST"], "action": "create"}
VOUCHES: Final[dict[str, tuple[dict[str, Any], tuple[Any, ...], str]]] = {
    "no POST": ({}, ("reads_only",), "it vouches for a POST, and there is none: leave it out"),
    "a POST that creates": (POST, ("reads_only",), "the action create says something"),
    "a PUT beside it": (
        {"methods": ["POST", "PUT"], "action": "export"}, ("reads_only",), "PUT changes something: `reads_only` stands"
    ),
    "a DELETE that reads": (
        {"methods": ["POST", "DELETE"]}, ("action",), "a route with DELETE may not call itself read"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "path", "words"), VOUCHES.values(), ids=VOUCHES)
def test_nobody_vouches_that_a_change_is_none(changes: dict[str, Any], path: tuple[Any, ...], words: str) -> None:
    problems = problems_of_route(a_route(KNOWN, reads_only=VOUCHED, **changes))
    assert [problem.path for problem in problems if words in problem.message] == [path], problems


def test_a_search_by_post_is_read_where_an_owner_vouches_for_it() -> None:
    (problem,) = problems_of_route(a_route(KNOWN, methods=["POST"]))
    assert problem.message == (
        "a route with POST may not call itself read, unless an owner vouches that it changes nothing (`reads_only`)"
    )
    compiled(a_route(KNOWN, methods=["POST"], reads_only=VOUCHED))
    compiled(a_route(SEARCH, methods=["GET", "POST"], reads_only=VOUCHED))
    compiled(a_route(SEARCH, methods=["POST"], action="export", reads_only=VOUCHED))


NOTHING: Final = {"reason": "nothing in it", "owner": "users-team", "fields": None, "searchable_by": None}
SAID: Final[dict[str, Any]] = {
    "answers": "ndjson", "envelope": {"$.page": "keep"}, "on_denied": "refuse", "undeclared": "refuse",
    "searchable_by": [], "answer_headers": ["X-Version"],
}  # fmt: skip


@pytest.mark.parametrize("key", sorted(LEAVING))
def test_what_is_said_of_answers_needs_fields(key: str) -> None:
    bare = {"fields": None, "searchable_by": None, key: SAID[key]}
    (problem,) = problems_of_route(a_route(KNOWN, **bare))
    assert problem.path == (key,)
    assert problem.at_key
    assert problem.message == "it says what leaves of an answer that is looked into, and `fields` is missing"


@pytest.mark.parametrize("key", sorted(LEAVING | {"fields", "data"}))
def test_a_route_without_personal_data_says_nothing_of_its_answers(key: str) -> None:
    said = {**SAID, "fields": FIELDS, "data": ["user.name"]}
    (problem,) = problems_of_route(a_route("none", **{**NOTHING, key: said[key]}))
    assert (problem.path, problem.at_key) == ((key,), True)
    assert "declares no fields, and nothing of its answers" in problem.message


def test_what_no_field_could_locate_is_declared_as_a_whole() -> None:
    bare = {"fields": None, "searchable_by": None, "data": ["user.content.private.image"]}
    image = compiled(a_route(KNOWN, **bare))
    assert (image.data, image.inspection) == (FactSet(frozenset({"user.content.private.image"})), None)
    assert compiled(a_route(KNOWN, methods=["GET"], upgrade=["websocket"], **bare)).data == image.data


def test_what_fields_say_is_not_said_again() -> None:
    (problem,) = problems_of_route(a_route(KNOWN, data=["user.name"]))
    assert (problem.path, problem.at_key) == (("data",), True)
    assert problem.message == "`fields` says already what it carries, and where: declare it there"


def test_a_route_without_personal_data_is_not_looked_into() -> None:
    assert compiled(a_route("none", **NOTHING)).inspection is None
    assert compiled(a_route(KNOWN, fields=None, searchable_by=None)).inspection is None


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_the_answer_of_a_change_is_looked_into_as_well(method: str) -> None:
    assert compiled(a_route(KNOWN, methods=[method], action="update")).inspection is not None


def test_the_categories_of_a_route_are_those_of_its_fields() -> None:
    fields = {"$.name": "user.name", "$.phone": {"category": "user.contact", "keep": "2"}}
    data = compiled(a_route(KNOWN, fields=fields)).data
    assert data == FactSet(frozenset({"user.name", "user.contact"}))
