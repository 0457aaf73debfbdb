# SPDX-License-Identifier: Apache-2.0
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.bundle.check import load_bundle
from proxy.bundle.openapi import MAX_OPERATIONS, draft_apis
from proxy.bundle.read import parse_document
from proxy.model.entry import FILL_IN
from tests.support.bundle_folder import SMALL, problems_of, write_bundle

USER = {"type": "object", "properties": {"name": {"type": "string"}, "status": {"type": "string"}}}
ANSWER = {"responses": {"200": {"content": {"application/json": {"schema": USER}}}}}
BY_COUNTRY = "/{country}/users/{userId}"
HOSTILE = [
    "x\nroutes: []",
    "# x",
    "a: b",
    '"',
    "'",
    "\\",
    "\x00\x1b[2J",
    "\u2028\u2029\x85\ufeff\u202e",
    "{x}",
    "*a",
    "!t",
]


def a_document(paths: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"openapi": "3.0.3", "info": {"title": "Users"}, "paths": paths, **more}


def draft(paths: dict[str, Any], **more: Any) -> str:
    return draft_apis(a_document(paths, **more), source="openapi.yaml").text


def routes_of(text: str) -> list[dict[str, Any]]:
    document, problems = parse_document(text.encode(), "draft.yaml")
    assert document is not None, problems
    routes: list[dict[str, Any]] = document.value["apis"][0]["routes"]
    return routes


def decide(text: str) -> str:
    """Write something sound in place of every FILL-IN."""
    text = text.replace(f"url: {FILL_IN}", 'url: "http://127.0.0.1:9000"')
    text = text.replace(f"subject: {FILL_IN}", "subject: {country: JP, authoritative: {by: us, review_by: 2027-06-30}}")
    return text.replace(f"{{by: {FILL_IN}, review_by: {FILL_IN}}}", "{by: us, review_by: 2027-06-30}")


def problems_with(folder: Path, text: str) -> list[str]:
    return problems_of(write_bundle(folder, {**SMALL, "apis.yaml": text, "cases.yaml": "tests: []\n"}))


def test_the_draft_loads_once_every_fill_in_is_decided(tmp_path: Path) -> None:
    text = draft(
        {
            BY_COUNTRY: {"get": {"operationId": "getUser", **ANSWER}, "delete": {}},
            "/users/export": {"get": ANSWER},
            "/": {"head": {}},
            "/orders/{orderId}": {"get": {}, "post": {}, "put": {}, "patch": {}, "trace": {}},
        }
    )
    assert problems_with(tmp_path, decide(text)) == []
    routes = {route.id: route for route in load_bundle(tmp_path).catalog.routes}
    assert routes["get-user"].action == "read"
    assert routes["get-user"].data.members == {"user.name"}
    assert routes["delete-country-users-user-id"].data.is_open
    assert routes["get-users-export"].action == "export"
    assert len(routes) == 8


def test_the_draft_does_not_load_while_any_one_fill_in_stands(tmp_path: Path) -> None:
    text = draft({BY_COUNTRY: {"get": {}}, "/orders": {"get": {}}})
    whole = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    places = [match.span() for match in re.finditer(FILL_IN, whole)]
    assert len(places) == 4
    sound = {
        "url": '"http://127.0.0.1:9000"',
        "subject": "{country: JP, authoritative: {by: us, review_by: 2027-06-30}}",
    }
    for left, (start, _) in enumerate(places):
        filled, last = "", 0
        for number, (begin, end) in enumerate(places):
            key = re.findall(r"(\w+): $", whole[:begin])[0]
            value = FILL_IN if number == left else sound.get(key, "2027-06-30")
            filled, last = filled + whole[last:begin] + value, end
        filled += whole[last:]
        (problem,) = problems_with(tmp_path / str(left), filled)
        line = whole[:start].count("\n") + 1
        assert problem.startswith(f"apis.yaml:{line}:"), problem


@pytest.mark.parametrize(
    ("path", "said"),
    [
        pytest.param("/a/{userId}", "/a/{user_id}", id="camel case becomes our own"),
        pytest.param("/a/{User-ID}", "/a/{user_id}", id="so do hyphens"),
        pytest.param("/a/{userId}/{user_id}", "/a/{user_id}/{user_id_2}", id="two that become one are told apart"),
        pytest.param("/a/{id}/b/{id}", "/a/{id}/b/{id_2}", id="one that stands twice"),
        pytest.param("/a/{1st}", "/a/{p_1_st}", id="one that begins with a digit"),
        pytest.param("/a/{\u540d\u524d}", "/a/{p}", id="one without a letter of ours"),
        pytest.param("/a:b/c,d", "/a:b/c,d", id="what YAML would read"),
    ],
)
def test_a_path_in_our_grammar(tmp_path: Path, path: str, said: str) -> None:
    text = draft({path: {"get": {}}})
    assert [route["path"] for route in routes_of(text)] == [said]
    assert problems_with(tmp_path, decide(text)) == []


@pytest.mark.parametrize(
    ("path", "words"),
    [
        pytest.param("/files/{id}.json", "segment {id}.json", id="a parameter and a suffix"),
        pytest.param("/{a}-{b}", "segment {a}-{b}", id="two parameters in a segment"),
        pytest.param("/{rest*}", "segment {rest*}", id="a parameter of several segments"),
        pytest.param("/users/", "segment ''", id="a slash at the end"),
        pytest.param("users", "begin with a slash", id="no slash"),
        pytest.param("/a b", "segment 'a b'", id="a space"),
        pytest.param("/a?b=c", "segment 'a?b=c'", id="a query"),
        pytest.param("/../x", "segment '..'", id="dots"),
        pytest.param("/ok/{other}", "overlaps route 'get-ok-id'", id="the same as another"),
        pytest.param("/" + "x" * 1500, "longer than 1000", id="one without end"),
    ],
)
def test_a_path_that_cannot_be_said_is_left_out_with_the_reason(path: str, words: str) -> None:
    text = draft({"/ok/{id}": {"get": {}}, path: {"get": {}}})
    assert [route["path"] for route in routes_of(text)] == ["/ok/{id}"]
    (line,) = (line for line in text.splitlines() if line.startswith("#   GET "))
    assert words in line


@pytest.mark.parametrize(
    ("method", "path", "operation", "action"),
    [
        ("get", "/users", {}, "read"),
        ("head", "/users", {}, "read"),
        ("post", "/users", {}, "create"),
        ("put", "/users", {}, "update"),
        ("patch", "/users", {}, "update"),
        ("delete", "/users", {}, "delete"),
        ("get", "/users/export", {}, "export"),
        ("post", "/users", {"operationId": "bulkFetch"}, "export"),
        ("get", "/users", {"operationId": "DownloadUsers"}, "export"),
        ("delete", "/users/bulk", {}, "delete"),
        ("get", "/exporters", {}, "read"),
    ],
)
def test_the_action(method: str, path: str, operation: dict[str, Any], action: str) -> None:
    (route,) = routes_of(draft({path: {method: operation}}))
    assert route["action"] == action
    assert route["methods"] == [method.upper()]


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        pytest.param(["getUser", "get_user", "get-user-2"], ["get-user", "get-user-3", "get-user-2"], id="one name"),
        pytest.param(["default", "none"], ["default-route", "none-route"], id="words of ours"),
        pytest.param(["\u53d6\u5f97"], ["get-r0"], id="no letter of ours"),
        pytest.param(["x" * 500], ["x" * 56], id="one without end"),
        pytest.param([["x"]], ["get-r0"], id="a list"),
    ],
)
def test_ids_are_ours_and_unique(ids: list[Any], said: list[str]) -> None:
    text = draft({f"/r{number}": {"get": {"operationId": id_}} for number, id_ in enumerate(ids)})
    assert [route["id"] for route in routes_of(text)] == said


@pytest.mark.parametrize(
    ("servers", "url", "path", "note"),
    [
        pytest.param([], FILL_IN, "/x", "", id="none"),
        pytest.param([{"url": "/v1/"}], FILL_IN, "/v1/x", "", id="a path alone"),
        pytest.param([{"url": "https://a.example:8443/v1"}], "https://a.example:8443", "/v1/x", "", id="a whole one"),
        pytest.param([{"url": "http://a/{v}", "variables": {"v": {"default": "v2"}}}], "http://a", "/v2/x",
                     "variable v was taken as v2", id="a variable"),
        pytest.param([{"url": "http://a/{v}"}], FILL_IN, "/x", "was not taken", id="a variable without a value"),
        pytest.param([{"url": "http://a"}, {"url": "http://b"}], "http://a", "/x", "first of 2", id="several"),
        pytest.param([{"url": "ftp://a/v1"}], FILL_IN, "/x", "was not taken", id="another scheme"),
        pytest.param([{"url": "http://u:p@a/v1"}], FILL_IN, "/v1/x", "was not taken", id="a password"),
        pytest.param([{"url": ["x"]}], FILL_IN, "/x", "", id="a list"),
        pytest.param("x", FILL_IN, "/x", "", id="a text"),
    ],
)  # fmt: skip
def test_the_server(servers: Any, url: str, path: str, note: str) -> None:
    text = draft({"/x": {"get": {}}}, servers=servers)
    assert f"upstream: {{url: {url if url == FILL_IN else f'{chr(34)}{url}{chr(34)}'}}}\n" in text
    assert routes_of(text)[0]["path"] == path
    assert note in text


@pytest.mark.parametrize("path", ["/users/{userId}", "/{country}/users", "/users"])
def test_whose_data_is_left_open_where_the_path_does_not_say_it(path: str) -> None:
    assert routes_of(draft({path: {"get": {}}}))[0]["subject"] == FILL_IN


def test_whose_data_is_proposed_where_the_path_says_country_and_id() -> None:
    (route,) = routes_of(draft({"/{countryCode}/reports/{report_id}/by/{memberId}": {"get": {}}}))
    vouched = {"by": FILL_IN, "review_by": FILL_IN}
    assert route["subject"] == {"country": "{country_code}", "id": "{member_id}", "authoritative": vouched}


def test_references_are_followed_to_parameters_answers_and_path_items() -> None:
    components = {
        "parameters": {"Id": {"name": "userId", "in": "path", "schema": {"$ref": "#/components/schemas/Id"}}},
        "schemas": {"Id": {"type": "integer"}, "User": USER},
        "responses": {"User": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/User"}}}}},
        "pathItems": {"user": {"parameters": [{"$ref": "#/components/parameters/Id"}], "get": {
            "responses": {"200": {"$ref": "#/components/responses/User"}}}}},
    }  # fmt: skip
    paths = {"/users/{userId}": {"$ref": "#/components/pathItems/user"}, "/far": {"$ref": "far.yaml"}}
    text = draft(paths, components=components)
    (route,) = routes_of(text)
    assert route["parameters"] == {"user_id": "0|[1-9][0-9]{0,18}"}
    assert route["fields"] == {"$.name": "user.name"}
    assert "/far: the reference far.yaml leads out of the document" in text


@pytest.mark.parametrize(
    ("value", "words"),
    [
        pytest.param("x", "no OpenAPI document", id="a text"),
        pytest.param({}, "no OpenAPI document", id="an empty mapping"),
        pytest.param({"openapi": ["3.0.0"]}, "no OpenAPI document", id="a list for a version"),
        pytest.param({"openapi": "4.0.0"}, "no OpenAPI document", id="a version to come"),
        pytest.param({"swagger": "2.0"}, "Swagger 2", id="an old one"),
        pytest.param({"openapi": "3.1.0"}, "no paths", id="no paths"),
        pytest.param({"openapi": "3.1.0", "paths": []}, "no paths", id="a list of paths"),
        pytest.param({"openapi": "3.1.0", "paths": {"/{a}-{b}": {"get": {}}}}, "the first because: GET",
                     id="none sound"),
        pytest.param({"openapi": "3.1.0", "paths": {"/a": {}}}, "no operation", id="no operations"),
        pytest.param({"openapi": "3.1.0", "paths": {"/a": {"get": "x"}}}, "no mapping", id="a text for an operation"),
        pytest.param({"openapi": "3.1.0", "paths": {"/a": "x"}}, "no mapping", id="a text for a path"),
        pytest.param({"openapi": "3.1.0", "paths": {f"/{n}": {"get": {}} for n in range(MAX_OPERATIONS + 1)}},
                     "more than 5000", id="too many"),
    ],
)  # fmt: skip
def test_what_no_draft_can_be_made_of(value: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words) as error:
        draft_apis(value, source="openapi.yaml")
    assert str(error.value).isprintable()


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_stay_texts(tmp_path: Path, text: str) -> None:
    operation = {"operationId": text, "summary": text, "servers": [], **ANSWER}
    schema = {"type": "object", "properties": {text: {}, "name": {}}}
    parameter = {"name": text, "in": "path", "schema": {"enum": [text]}}
    paths = {
        "/ok": {"get": operation},
        f"/{text}": {"get": operation},
        "/x/{" + text + "}": {
            "get": operation,
            "parameters": [parameter],
        },
        "/y": {"get": {"responses": {"200": {"content": {"application/json": {"schema": schema}, text: {}}}}}},
        "/z": {"$ref": text},
    }
    made = draft_apis(a_document(paths, info={"title": text}, servers=[{"url": text}]), source=text)
    assert problems_with(tmp_path, decide(made.text)) == []
    assert all(line.isprintable() for line in (*made.text.split("\n"), *made.notes))


KEYS = st.sampled_from(
    ["get", "parameters", "responses", "200", "content", "application/json", "schema", "properties", "items", "allOf",
     "type", "enum", "pattern", "name", "in", "$ref", "additionalProperties", "servers", "url", "x", "/a/{b}"]
)  # fmt: skip
TEXTS = st.one_of(
    st.sampled_from(["path", "object", "array", "#/paths", "#/paths/~1a", "^a$", "", *HOSTILE]), st.text()
)
VALUES = st.recursive(TEXTS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4))
PATHS = st.dictionaries(st.text("/{}ab.: #\n*", max_size=12).map(lambda text: f"/{text}"), VALUES, max_size=3)
OPERATIONS = st.fixed_dictionaries({"get": st.dictionaries(KEYS, VALUES, max_size=4)}, optional={"parameters": VALUES})


@settings(max_examples=200)
@given(PATHS, OPERATIONS, VALUES, VALUES)
def test_whatever_it_is_the_draft_is_yaml_or_there_is_a_sentence(
    paths: Any, item: Any, info: Any, servers: Any
) -> None:
    value = a_document({**paths, "/a/{b}": item}, info=info, servers=servers)
    try:
        text = draft_apis(value, source="x").text
    except ValueError as error:
        assert str(error)  # noqa: PT017 - either is fine
        return
    assert routes_of(text)
