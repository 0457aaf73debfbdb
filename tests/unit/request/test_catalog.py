# SPDX-License-Identifier: Apache-2.0

import re
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model.api import Action, Api, Route, Template, Upstream
from proxy.model.decision import Reason
from proxy.model.facts import EMPTY_SET
from proxy.request.catalog import Catalog, Match, NoMatch

Patterns = Mapping[str, str]

API = Api("users", (), Upstream("http://127.0.0.1:9000", None), forwards_authorization=False)


def a_route(id_: str, method: str, path: str, api: Api = API) -> Route:
    words = path[1:].split("/") if path != "/" else []
    return Route(
        api=api,
        id=id_,
        methods=(method,),
        segments=tuple(Template(word.strip("{}"), word.startswith("{")) for word in words),
        action=Action.READ,
        subject=None,
        data=EMPTY_SET,
        unauthenticated=False,
        max_duration_seconds=60,
    )


def a_catalog(*routes: tuple[str, str, str], patterns: Mapping[str, Patterns] | None = None) -> Catalog:
    compiled = {
        (API.id, route): {name: re.compile(text) for name, text in by_name.items()}
        for route, by_name in (patterns or {}).items()
    }
    return Catalog([API], [a_route(*route) for route in routes], compiled)


def match(catalog: Catalog, method: str, path: str) -> str | Reason:
    found = catalog.match(API, method, tuple(path[1:].split("/")) if path != "/" else ())
    return found.route.id if isinstance(found, Match) else found.reason


USERS = a_catalog(
    ("root", "GET", "/"),
    ("user", "GET", "/v1/{country}/users/{user_id}"),
    ("phone", "PUT", "/v1/{country}/users/{user_id}/phone"),
    ("me", "GET", "/v1/{country}/users/me"),
    ("export", "GET", "/v1/{country}/export"),
    ("console", "GET", "/v1/law-enforcement/{country}/users/{user_id}"),
    ("backtrack", "GET", "/v1/law-enforcement/reports"),
    patterns={"phone": {"user_id": "[0-9]{1,12}"}},
)

MATCHES = {
    "the root": ("GET", "/", "root"),
    "a route with two parameters": ("GET", "/v1/jp/users/42", "user"),
    "a literal beats a parameter": ("GET", "/v1/jp/users/me", "me"),
    "a literal beats a parameter further up, too": ("GET", "/v1/law-enforcement/jp/users/42", "console"),
    "a literal that leads nowhere gives way to a parameter": ("GET", "/v1/law-enforcement/export", "export"),
    "a parameter of a narrower pattern": ("PUT", "/v1/jp/users/42/phone", "phone"),
    "as long as a parameter may be": ("GET", "/v1/jp/users/" + "a" * 256, "user"),
    "three dots are a value": ("GET", "/v1/jp/users/...", "user"),
}

MISSES = {
    "an undeclared path": ("GET", "/v2/jp/users/42", Reason.ROUTE_UNDECLARED),
    "the front of a route": ("GET", "/v1/jp/users", Reason.ROUTE_UNDECLARED),
    "a route and more": ("GET", "/v1/jp/users/42/x", Reason.ROUTE_UNDECLARED),
    "row 6: a literal in other letter case": ("GET", "/V1/jp/users/42", Reason.ROUTE_UNDECLARED),
    "row 6: a literal in other letter case at the end": ("GET", "/v1/jp/EXPORT", Reason.ROUTE_UNDECLARED),
    "another method": ("DELETE", "/v1/jp/users/42", Reason.METHOD_UNDECLARED),
    "HEAD is not GET unless declared": ("HEAD", "/v1/jp/users/42", Reason.METHOD_UNDECLARED),
    "a method in lower case": ("get", "/v1/jp/users/42", Reason.METHOD_UNDECLARED),
    "a value that its pattern does not take": ("PUT", "/v1/jp/users/4x/phone", Reason.ROUTE_UNDECLARED),
    "a value with a full-width digit": ("PUT", "/v1/jp/users/\uff14/phone", Reason.ROUTE_UNDECLARED),
    "a value that ends in a line feed": ("PUT", "/v1/jp/users/4\n/phone", Reason.ROUTE_UNDECLARED),
    "a value one character too long": ("GET", "/v1/jp/users/" + "a" * 257, Reason.ROUTE_UNDECLARED),
    "an empty value": ("GET", "/v1/jp/users/", Reason.ROUTE_UNDECLARED),
    "row 1: a value with a sub-delimiter, which some servers split": (
        "GET",
        "/v1/jp/users/42,43",
        Reason.ROUTE_UNDECLARED,
    ),
    "row 1: a value with a colon": ("GET", "/v1/jp/users/42:purge", Reason.ROUTE_UNDECLARED),
    "row 1: an encoded value": ("GET", "/v1/jp/users/%34%32", Reason.ROUTE_UNDECLARED),
    "a template of ours is no value": ("GET", "/v1/{country}/users/42", Reason.ROUTE_UNDECLARED),
    "row 17: a probe's path is a path as any other": ("GET", "/livez", Reason.ROUTE_UNDECLARED),
}


@pytest.mark.parametrize(("method", "path", "route"), MATCHES.values(), ids=MATCHES)
def test_match_finds_the_declared_route(method: str, path: str, route: str) -> None:
    assert match(USERS, method, path) == route


@pytest.mark.parametrize(("method", "path", "reason"), MISSES.values(), ids=MISSES)
def test_match_has_no_fallback(method: str, path: str, reason: Reason) -> None:
    assert match(USERS, method, path) is reason


def test_match_tells_what_stands_at_each_parameter() -> None:
    found = USERS.match(API, "GET", ("v1", "law-enforcement", "jp", "users", "42"))

    assert isinstance(found, Match)
    assert found.parameters == {"country": "jp", "user_id": "42"}


def test_a_miss_tells_the_methods_and_nothing_personal() -> None:
    found = USERS.match(API, "POST", ("v1", "jp", "users", "tanaka"))

    assert found == NoMatch(Reason.METHOD_UNDECLARED, ("GET",), "/v1/*/users/*")


def test_a_long_shape_is_cut() -> None:
    assert USERS.shape(API, ["users"] * 8) == "/users" * 8
    assert USERS.shape(API, ["users"] * 9) == "/users" * 8 + "/…"


ORDERS = {"the literal is declared first": (0, 1), "the literal is declared last": (1, 0)}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_a_literal_beats_a_parameter_whatever_patterns_stand_before_it(order: tuple[int, int]) -> None:
    routes = (("me", "GET", "/v1/{country}/users/me"), ("user", "GET", "/v1/{country}/users/{user_id}"))
    catalog = a_catalog(*(routes[index] for index in order), patterns={"user": {"country": "[a-z]{2}"}})

    assert match(catalog, "GET", "/v1/jp/users/me") == "me"


def test_a_literal_beats_a_parameter_whatever_its_method() -> None:
    catalog = a_catalog(("change-me", "PUT", "/users/me"), ("user", "GET", "/users/{user_id}"))

    assert match(catalog, "GET", "/users/me") is Reason.METHOD_UNDECLARED


WIDE = {
    "anything": ".+",
    "anything but a slash": "[^/]+",
    "an alternative that is wider than it looks": "[0-9]+|.*",
    "everything that is printed": r"\S+",
}


@pytest.mark.parametrize("pattern", WIDE.values(), ids=WIDE)
@pytest.mark.parametrize("value", ["42,43", "a@b", "42:purge", "a=b", "a" * 257, "\u65e5"])
def test_a_declared_pattern_only_narrows(pattern: str, value: str) -> None:
    catalog = a_catalog(("user", "GET", "/users/{user_id}"), patterns={"user": {"user_id": pattern}})

    assert match(catalog, "GET", f"/users/{value}") is Reason.ROUTE_UNDECLARED


@pytest.mark.parametrize(
    "value",
    ["EXPORT", "Export", "export.json", "export."],
    ids=[
        "Express and ASP.NET match in any letter case",
        "so they do for one letter",
        "Rails and older Spring take a suffix off",
        "Windows takes an ending dot off",
    ],
)
def test_row_2_a_value_that_a_lax_server_reads_as_a_declared_word_is_no_value(value: str) -> None:
    catalog = a_catalog(("export", "GET", "/users/export"), ("user", "GET", "/users/{user_id}"))

    assert match(catalog, "GET", f"/users/{value}") is Reason.ROUTE_UNDECLARED


def test_find_api_goes_by_host_once_hosts_are_declared() -> None:
    users = Api("users", ("users.internal", "u.internal"), API.upstream, forwards_authorization=False)
    mail = Api("mail", ("mail.internal",), API.upstream, forwards_authorization=False)
    catalog = Catalog([users, mail], [a_route("a", "GET", "/a", users), a_route("b", "GET", "/b", mail)], {})

    assert catalog.find_api("u.internal") is users
    assert catalog.find_api("mail.internal") is mail
    assert catalog.find_api("evil") is None
    assert isinstance(catalog.match(mail, "GET", ("a",)), NoMatch)


def test_find_api_with_one_api_of_declared_hosts_takes_no_other_host() -> None:
    users = Api("users", ("users.internal",), API.upstream, forwards_authorization=False)

    assert Catalog([users], [], {}).find_api("evil") is None


def test_find_api_with_one_api_of_no_hosts_takes_every_host() -> None:
    assert USERS.find_api("anything") is API


DECLARED = {"v1", "users", "me", "export", "law-enforcement", "reports", "phone"}
WORDS = st.sampled_from(["v1", "users", "me", "jp", "export", "law-enforcement", "42", "a,b", "", "..", "\n", "EXPORT"])


@given(st.sampled_from(["GET", "PUT", "HEAD"]), st.lists(st.one_of(WORDS, st.text(max_size=5)), max_size=6))
def test_whatever_matches_is_declared_word_for_word(method: str, segments: list[str]) -> None:
    found = USERS.match(API, method, segments)
    if isinstance(found, NoMatch):
        assert set(re.findall(r"[^/*…]+", found.shape)) <= DECLARED
        return

    assert method in found.route.methods
    assert len(found.route.segments) == len(segments)
    for template, segment in zip(found.route.segments, segments, strict=True):
        assert (found.parameters[template.text] if template.is_parameter else template.text) == segment
        assert re.fullmatch(r"[A-Za-z0-9._~-]{1,256}", segment)
