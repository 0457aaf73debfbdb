# SPDX-License-Identifier: Apache-2.0
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.bundle.api_routes import parse_template
from proxy.bundle.apis import ApiEntry, check_apis, compile_apis, parse_upstream_url
from proxy.bundle.check import load_bundle
from proxy.model.api import AssertionMode, Upstream
from proxy.model.problem import Problem
from proxy.request.catalog import Catalog, Match
from tests.support.bundle_folder import edited, problems_after, write_bundle

SUBJECT = {
    "country": "{country}",
    "id": "{user_id}",
    "authoritative": {"by": "users-team", "review_by": "2027-06-30"},
}


def a_route(id_: str = "user", path: str = "/v1/{country}/users/{user_id}", **changes: Any) -> dict[str, Any]:
    route = {"id": id_, "methods": ["GET"], "path": path, "action": "read", "subject": SUBJECT, **changes}
    return {key: value for key, value in route.items() if value is not None}


def an_api(*routes: dict[str, Any], id_: str = "users", hosts: Sequence[str] = ()) -> ApiEntry:
    upstream = {"url": "http://127.0.0.1:9000", "hosted_in": "JP"}
    return ApiEntry.model_validate({"id": id_, "hosts": list(hosts), "upstream": upstream, "routes": list(routes)})


NONE: dict[str, Any] = {"subject": "none", "reason": "nothing in it", "owner": "users-team"}


@pytest.mark.parametrize(
    ("route", "path", "words"),
    [
        pytest.param(a_route(path="v1"), ("path",), "begin with a slash", id="no slash"),
        pytest.param(a_route(path="/v1//x"), ("path",), "segment ''", id="an empty segment"),
        pytest.param(a_route(path="/v1/"), ("path",), "segment ''", id="a slash at the end"),
        pytest.param(a_route(path="/v1/../x"), ("path",), "segment '..'", id="dots"),
        pytest.param(a_route(path="/v1/x{y}"), ("path",), "whole {parameter}", id="half a parameter"),
        pytest.param(a_route(path="/v1/{Y}"), ("path",), "whole {parameter}", id="a parameter with a capital"),
        pytest.param(a_route(path="/v1/*"), ("path",), "segment '*'", id="a star"),
        pytest.param(a_route(path="/v1/a%20b"), ("path",), "segment", id="percent-encoded"),
        pytest.param(a_route(path="/{country}/{country}/{user_id}"), ("path",), "stands twice", id="a parameter twice"),
        pytest.param(a_route(parameters={"contry": "x"}), ("parameters", "contry"), "'country'", id="no parameter"),
        pytest.param(a_route(methods=["GET", "PUT"]), ("action",), "PUT", id="a read that writes"),
        pytest.param(a_route(subject={**SUBJECT, "country": "{contry}"}), ("subject", "country"), "'country'",
                     id="a misspelt country parameter"),
        pytest.param(a_route(subject={**SUBJECT, "id": "{userid}"}), ("subject", "id"), "'user_id'",
                     id="a misspelt id parameter"),
        pytest.param(a_route(subject={**SUBJECT, "id": "42"}), ("subject", "id"), "a parameter", id="a literal id"),
        pytest.param(a_route(subject={**SUBJECT, "country": "UK"}), ("subject", "country"), "GB", id="UK"),
        pytest.param(a_route(subject={**SUBJECT, "country": "jp"}), ("subject", "country"), "JP", id="lower case"),
        pytest.param(a_route(fields={"name": "user.name"}), ("fields", "name"), "no JSONPath", id="no JSONPath"),
        pytest.param(a_route(unauthenticated="true"), ("unauthenticated",), "subject: none", id="open personal data"),
        pytest.param(a_route(path="/s", **{**NONE, "fields": {"$.a": "user.name"}}), ("fields",), "no fields",
                     id="fields without personal data"),
        pytest.param(a_route(upgrade=["websocket"], methods=["GET", "HEAD"]), ("methods",), "write [GET]",
                     id="a tunnel by another method, too"),
        pytest.param(a_route(upgrade=["websocket"], fields={"$.name": "user.name"}), ("fields",), "no fields",
                     id="fields of a tunnel"),
        pytest.param(a_route(path="/s", **{**NONE, "reason": None}), ("subject",), "`reason` is missing",
                     id="no reason"),
        pytest.param(a_route(path="/s", **{**NONE, "owner": None}), ("subject",), "`owner` is missing", id="no owner"),
    ],
)  # fmt: skip
def test_a_route_that_is_wrong(route: dict[str, Any], path: tuple[str, ...], words: str) -> None:
    (problem,) = check_apis([an_api(route)])
    assert problem.path == (0, "routes", 0, *path)
    assert words in problem.message


@pytest.mark.parametrize(
    "route",
    [
        a_route(),
        a_route(path="/", **NONE),
        a_route(path="/s", **NONE, unauthenticated="true"),
        a_route(path="/v1/{user_id}", subject={**SUBJECT, "country": "JP"}),
        a_route(methods=["PUT", "PATCH"], action="update"),
        a_route(fields={"$.a[*].b": "user.name", "$.c": "user"}),
        a_route(upgrade=["websocket"]),
    ],
    ids=["a user", "the root", "open to all", "one country", "a change", "fields", "a tunnel"],
)
def test_a_sound_route(route: dict[str, Any]) -> None:
    assert check_apis([an_api(route)]) == []


@pytest.mark.parametrize(
    ("first", "second", "overlaps"),
    [
        pytest.param("/a/{x}", "/a/{y}", True, id="two parameters in one place"),
        pytest.param("/a/b", "/a/b", True, id="the same literal"),
        pytest.param("/a/{x}", "/a/b", False, id="a literal beats a parameter"),
        pytest.param("/a/b", "/a/{x}", False, id="in either order"),
        pytest.param("/a/{x}", "/{y}/b", True, id="each is more literal somewhere"),
        pytest.param("/a/{x}", "/b/{x}", False, id="told apart by a literal"),
        pytest.param("/a/{x}", "/a/{x}/b", False, id="of another length"),
        pytest.param("/{x}/{y}", "/a/b", False, id="a literal beats parameters"),
        pytest.param("/", "/{x}", False, id="the root and one segment"),
    ],
)
def test_two_routes_overlap_only_where_one_is_the_more_literal(first: str, second: str, overlaps: bool) -> None:  # noqa: FBT001
    routes = [a_route("one", first, **NONE), a_route("two", second, **NONE)]
    found = check_apis([an_api(*routes)])
    assert bool(found) is overlaps
    assert all(problem.path == (0, "routes", 1, "path") and "'one' for GET" in problem.message for problem in found)
    routes[1]["methods"] = ["PUT"]
    routes[1]["action"] = "update"
    assert not check_apis([an_api(*routes)]), "other methods never overlap"


SEGMENTS = st.sampled_from(["a", "b", "{x}", "{y}"])
PATHS = st.lists(SEGMENTS, max_size=3, unique=True).map(lambda segments: "/" + "/".join(segments))


@settings(max_examples=150)
@given(st.lists(PATHS, min_size=1, max_size=4), st.lists(st.sampled_from("abc"), max_size=3))
def test_with_no_overlap_the_order_of_routes_does_not_matter(paths: list[str], segments: list[str]) -> None:
    entries = [a_route(f"r{number}", path, **NONE) for number, path in enumerate(paths)]
    if check_apis([an_api(*entries)]):
        return
    found = set()
    for order in (entries, entries[::-1]):
        catalog = Catalog(*compile_apis([an_api(*order)], {}))
        match = catalog.match(catalog.apis[0], "GET", segments)
        found.add((match.route.id, tuple(sorted(match.parameters.items()))) if isinstance(match, Match) else None)
    assert len(found) == 1


JAPAN: Final = {"url": "http://127.0.0.1:9001", "hosted_in": "JP"}
KOREA: Final = {"url": "http://127.0.0.1:9002", "hosted_in": "KR"}


def served(**changes: Any) -> ApiEntry:
    return ApiEntry.model_validate({"id": "users", "routes": [a_route()], **changes})


def test_an_api_is_served_where_the_subjects_country_says() -> None:
    entry = served(upstreams={"JP": JAPAN, "default": KOREA})
    assert check_apis([entry]) == []
    ((api,), _, _) = compile_apis([entry], {})
    assert api.upstream == Upstream("http://127.0.0.1:9002", "KR")
    assert api.find_upstream("JP") == Upstream("http://127.0.0.1:9001", "JP")
    assert api.find_upstream("TW") == api.upstream


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        pytest.param({}, (), "`upstream` is missing", id="nowhere"),
        pytest.param({"upstream": JAPAN, "upstreams": {"default": KOREA}}, ("upstream",),
                     "`upstream` and `upstreams` do not go together: write it as `default` among them", id="both"),
        pytest.param({"upstreams": {"JP": JAPAN}}, ("upstreams",),
                     "`default` is missing: where is it served for subjects of all other countries, or of none that is "
                     "known?", id="no default"),
        pytest.param({"upstreams": {"default": JAPAN, "Japan": JAPAN}}, ("upstreams", "Japan"),
                     "'Japan' is no ISO 3166-1 country code: write JP (Japan)", id="no code"),
        pytest.param({"upstreams": {"default": JAPAN, "defalt": JAPAN}}, ("upstreams", "defalt"),
                     "'defalt' is no ISO 3166-1 country code (did you mean 'default'?)", id="a misspelt default"),
    ],
)  # fmt: skip
def test_where_an_api_is_served_is_said_once(changes: dict[str, Any], path: tuple[Any, ...], message: str) -> None:
    (problem,) = check_apis([served(**changes)])
    assert (problem.path, problem.message) == ((0, *path), message)


def test_several_apis_name_their_hosts() -> None:
    apis = [an_api(a_route("one")), an_api(a_route("two"), id_="talks", hosts=["talks.internal"])]
    (problem,) = check_apis(apis)
    assert problem == Problem((0,), "`hosts` is missing: with more than one API, each names its own")


def test_a_host_is_one_apis() -> None:
    apis = [an_api(a_route("one"), hosts=["x"]), an_api(a_route("two"), id_="talks", hosts=["y", "x"])]
    (problem,) = check_apis(apis)
    assert problem == Problem((1, "hosts", 1), "'x' is 'users''s, too")


def test_a_route_id_is_unique_over_all_apis() -> None:
    apis = [an_api(a_route("one"), hosts=["x"]), an_api(a_route("one"), id_="talks", hosts=["y"])]
    (problem,) = check_apis(apis)
    assert problem.path == (1, "routes", 0, "id")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("https://users.internal/", "https://users.internal"),
        ("http://[::1]:9000", "http://[::1]:9000"),
        ("unix:/run/users.sock", "unix:/run/users.sock"),
    ],
)
def test_an_upstream_is_a_scheme_a_host_and_a_port_or_a_unix_socket(text: str, expected: str) -> None:
    assert parse_upstream_url(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "127.0.0.1:9000", "ftp://x", "http://", "http://x/path", "http://x?q", "http://x#f", "http://u:p@x",
        "http://x:0", "http://x:99999", "http://x:y", "http://[::1", "http://a b", "http://a\tb", "http://a\\b",
    ],
)  # fmt: skip
def test_an_upstream_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="http"):
        parse_upstream_url(text)


@pytest.mark.parametrize(
    "text",
    ["unix:", "unix:run/api.sock", "unix:///run/api.sock", "unix:/run/a b", "unix:/run/\n", "unix:/" + 107 * "x"],
)
def test_a_unix_socket_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="Unix socket"):
        parse_upstream_url(text)


@settings(max_examples=150)
@given(st.text(st.sampled_from("/ab{}*.%_~ \n"), max_size=12))
def test_any_path_is_a_template_or_a_sentence(path: str) -> None:
    template = parse_template(path)
    assert isinstance(template, (tuple, str))
    if isinstance(template, tuple):
        assert "/" + "/".join(f"{{{s.text}}}" if s.is_parameter else s.text for s in template) == path


@pytest.mark.parametrize("value", ["jp,kr", "jp:8", "a@b", "(x)", "x" * 257], ids=str)
def test_a_pattern_never_widens_what_a_parameter_may_be(tmp_path: Path, value: str) -> None:
    """DESIGN.md 3, Paths: unreserved ASCII unless ``parameters`` gives a *narrower* pattern."""
    folder = write_bundle(tmp_path, edited(("apis.yaml", '"[a-z]{2}"', '".*"')))
    catalog = load_bundle(folder).catalog
    assert not isinstance(catalog.match(catalog.apis[0], "GET", ("v1", value, "users", "42")), Match)


@pytest.mark.parametrize(
    ("fields", "is_open"),
    [pytest.param({"$.a": "user.name"}, False, id="declared"), pytest.param({}, True, id="nobody declared any")],
)
def test_undeclared_fields_may_hold_anything(fields: dict[str, str], is_open: bool) -> None:  # noqa: FBT001
    (route,) = compile_apis([an_api(a_route(fields=fields))], {})[1]
    assert route.data.is_open is is_open


@pytest.mark.parametrize(
    ("old", "new", "place", "words"),
    [
        pytest.param("hosted_in: JP", "hosted_in: UK", "apis.yaml:3:57:", "GB", id="where it is hosted"),
        pytest.param("action: read", "action: raed", "apis.yaml:8:17:", "read, create", id="no action"),
        pytest.param("[GET]", "[GET, FETCH]", "apis.yaml:6:24:", "GET, HEAD", id="no method"),
        pytest.param("[GET]", "[]", "apis.yaml:6:18:", "at least one", id="no methods"),
        pytest.param('          country: "{country}"', "          persona: x", "apis.yaml:10:11:", "not yet", id="x"),
        pytest.param("review_by: 2027-06-30", "review_by: 30/06/2027", "apis.yaml:12:54:", "no date", id="no date"),
        pytest.param("review_by: 2027-06-30", "review_by: ~", "apis.yaml:12:54:", "no date", id="null"),
        pytest.param('"[a-z]{2}"', '"[a-z"', "apis.yaml:13:31:", "no regular expression", id="no pattern"),
        pytest.param('{country: "[a-z]{2}"}', '["[a-z]"]', "apis.yaml:13:21:", "expected a mapping", id="a list"),
        pytest.param("user.name", "User.Name", "apis.yaml:14:28:", "no data category", id="no category"),
    ],
)  # fmt: skip
def test_a_problem_names_its_line_and_column(tmp_path: Path, old: str, new: str, place: str, words: str) -> None:
    problems = problems_after(tmp_path, ("apis.yaml", old, new))
    assert any(problem.startswith(place) and words in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("old", "new", "place", "message"),
    [
        pytest.param('country: "{country}"', "country: {quer: c}", "10:21",
                     "unknown key 'quer' (did you mean 'query'?)", id="a misspelt place"),
        pytest.param('country: "{country}"', "country: {query: c, form: c}", "10:20",
                     "expected exactly one of: value, query, header, body, form, answer_header", id="two places"),
        pytest.param('country: "{country}"', "country: [JP]", "10:20", "expected a mapping", id="a list of places"),
        pytest.param('country: "{country}"', "country: {value: JP, format: x}", "10:40", "'x' is not one of: alpha2",
                     id="no form"),
        pytest.param('id: "{user_id}"', "id: {quer: c}", "11:16", "unknown key 'quer'", id="a misspelt place of an id"),
        pytest.param("authoritative: {by: users-team, review_by: 2027-06-30}", "confirm: {valu: $.c}", "12:21",
                     "unknown key 'valu' (did you mean 'value'?)", id="a misspelt confirmation"),
        pytest.param("by: users-team, ", "", "12:26", "`by` is missing", id="nobody who vouches"),
        pytest.param("{by: users-team, review_by: 2027-06-30}", "users-team", "12:26", "expected a mapping",
                     id="somebody without a date"),
    ],
)  # fmt: skip
def test_one_mistake_in_a_subject_is_told_once(tmp_path: Path, old: str, new: str, place: str, message: str) -> None:
    (problem,) = problems_after(tmp_path, ("apis.yaml", old, new))
    assert problem.startswith(f"apis.yaml:{place}: {message}")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("action: read", "action: read\n        max_body_bytes: 1e6", "'1e6' is no number of bytes"),
        ("action: read", "action: read\n        max_body_bytes: -1", "'-1' is no number of bytes"),
        ("action: read", "action: read\n        max_body_bytes: 1_000", "'1_000' is no number of bytes"),
        ("action: read", "action: read\n        max_body_bites: 1", "(did you mean 'max_body_bytes'?)"),
        ("action: read", "action: read\n        upgrade: [WebSocket]", "(did you mean 'websocket'?)"),
        ("action: read", "action: read\n        upgrade: websocket", "write [websocket]"),
        ("    routes:", "    assertion: caller-id\n    routes:", "(did you mean 'caller'?)"),
        ("    routes:", "    assertions: caller\n    routes:", "(did you mean 'assertion'?)"),
    ],
    ids=[
        "a float", "less than none", "an underscore", "a misspelt size", "a capital", "no list", "a misspelt mode",
        "a misspelt key",
    ],
)  # fmt: skip
def test_what_is_wrong_with_sizes_tunnels_and_assertions_is_told_with_its_place(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    (problem,) = problems_after(tmp_path, ("apis.yaml", old, new))
    assert problem.startswith("apis.yaml:9:" if old.startswith("action") else "apis.yaml:4:")
    assert message in problem


def test_sizes_tunnels_and_assertions_are_compiled_and_are_policy(tmp_path: Path) -> None:
    plain = load_bundle(write_bundle(tmp_path / "plain"))
    (api,), (route,) = plain.catalog.apis, plain.catalog.routes
    assert (api.assertion, route.max_body_bytes, route.upgrades) == (None, None, ())
    edits = {
        "assertion": ("    routes:", "    assertion: request\n    routes:"),
        "body": ("action: read", "action: read\n        max_body_bytes: 0"),
        "upgrade": ('\n        fields: {"$.name": user.name}', "\n        upgrade: [websocket]"),
    }
    made = {
        name: load_bundle(write_bundle(tmp_path / name, edited(("apis.yaml", *edit)))) for name, edit in edits.items()
    }
    assert made["assertion"].catalog.apis[0].assertion is AssertionMode.REQUEST
    assert made["body"].catalog.routes[0].max_body_bytes == 0
    assert made["upgrade"].catalog.routes[0].upgrades == ("websocket",)
    assert len({plain.policy_digest, *(snapshot.policy_digest for snapshot in made.values())}) == 4
