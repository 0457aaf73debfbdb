# SPDX-License-Identifier: Apache-2.0
"""The register ``apis``: what is protected, route by route.

- A route says whose data it carries, or says that it carries none, with a reason and an owner.
- A country in a path was written by the caller. It is taken as the subject's only where an owner vouches that the
  API cannot answer otherwise (``authoritative``).
- A route that opens a tunnel (``upgrade``) does nothing else: what passes once it is open nobody inspects.
- Two routes of one method may overlap only where one is, segment by segment, the more literal.
"""

import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal
from urllib.parse import urlsplit  # noqa: TID251 - an upstream's address, no request target

from pydantic import BeforeValidator, Field

from proxy.model.api import Action, Api, AssertionMode, Route, Selector, SubjectSource, Template, Upstream, Where
from proxy.model.country import NAMES, suggest_country
from proxy.model.entry import Category, Country, Date, Duration, Entry, Flag, Id, Text, choice, scalar, spelled
from proxy.model.facts import FactSet
from proxy.model.problem import Problem, nearest

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
UNSAFE_METHODS: Final = frozenset(METHODS) - {"GET", "HEAD"}
"""RFC 9110 9.2.1: the others are safe."""
MAX_DURATION_SECONDS: Final = 15 * 60
UPGRADES: Final = ("websocket",)
"""Protocols of which it is known how a connection is upgraded to them (RFC 6455 4.1), in lower case."""

_PARAMETER: Final = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_LITERAL: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+,=:@-]+")
_HOST: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")
_FIELD: Final = re.compile(r"\$(?:\.[A-Za-z_][A-Za-z0-9_]*|\[\*\])+")
_URL: Final = re.compile(r"[!-\[\]-~]+")
_UNIX: Final = "unix:"
_MAX_SOCKET_BYTES: Final = 107
"""Of the path of a Unix socket, on Linux: its address has 108, with a NUL at the end."""
_BYTES: Final = re.compile(r"0|[1-9][0-9]{0,14}")


def parse_upstream_url(text: str) -> str:
    """Return ``scheme://host:port`` or ``unix:/path``; ValueError with a sentence if the text says anything else."""
    if text.startswith(_UNIX):
        return _parse_socket(text)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{text!r} is no URL: {error}") from error
    if not _URL.fullmatch(text) or parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise ValueError(f"{text!r} is no URL such as http://127.0.0.1:9000 or unix:/run/api.sock")
    if parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError(f"{text!r} says more than a host and a port: paths are forwarded as they come")
    return f"{parts.scheme}://{parts.netloc}"


def _parse_socket(text: str) -> str:
    path = text.removeprefix(_UNIX)
    if not _URL.fullmatch(text) or not path.startswith("/") or path.startswith("//"):
        raise ValueError(f"{text!r} is no Unix socket: write unix:/path/of/socket, from the root")
    if len(path) > _MAX_SOCKET_BYTES:
        raise ValueError(f"{text!r} is too long: the path of a Unix socket has at most {_MAX_SOCKET_BYTES} bytes")
    return text


def _parse_host(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise ValueError(f"{text!r} is no host name: lower-case letters, digits, '.' and '-', without a port")
    return text


def _parse_pattern(text: str) -> re.Pattern[str]:
    try:
        with warnings.catch_warnings(action="error"):
            return re.compile(text)
    except (re.error, OverflowError, RecursionError, FutureWarning) as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from error


def _parse_bytes(text: str) -> int:
    if not _BYTES.fullmatch(text):
        raise ValueError(f"{text!r} is no number of bytes, such as 1048576 (a mebibyte): digits alone")
    return int(text)


class UpstreamEntry(Entry):
    """Where an API is served."""

    NOT_YET: ClassVar[frozenset[str]] = frozenset({"tls", "pool", "timeouts", "ca", "client_certificate"})
    url: Annotated[str, scalar(parse_upstream_url, spelled(re.compile("[Hh][Tt][Tt][Pp][Ss]?://.+|unix:/.+")))]
    hosted_in: Country | None = None


class Authoritative(Entry):
    """Who vouches that the API answers only for the country in the path, and when that is looked at again."""

    by: Text
    review_by: Date


class SubjectEntry(Entry):
    """Whose data a route carries."""

    NOT_YET: ClassVar[frozenset[str]] = frozenset({"records", "confirm", "lookup", "persona", "header"})
    country: Text
    id: Text | None = None
    authoritative: Authoritative


class RouteEntry(Entry):
    """One route as it is written."""

    NOT_YET: ClassVar[frozenset[str]] = frozenset({"on_denied", "undeclared", "searchable_by", "envelope"})
    id: Id
    methods: list[Annotated[str, choice(*METHODS)]] = Field(min_length=1)
    path: Text
    action: Annotated[str, choice(*Action)]
    subject: Annotated[
        SubjectEntry | None,
        BeforeValidator(
            lambda raw: None if raw == "none" else raw, json_schema_input_type=SubjectEntry | Literal["none"]
        ),
    ]
    """Whose data it carries; ``none`` needs ``reason`` and ``owner``."""
    parameters: dict[str, Annotated[re.Pattern[str], scalar(_parse_pattern)]] = Field(default_factory=dict)
    fields_: dict[str, Annotated[str, Category]] = Field(default_factory=dict, alias="fields")
    """JSONPath in the answer to the data category there."""
    reason: Text | None = None
    owner: Text | None = None
    unauthenticated: Flag = False
    max_duration: Duration = MAX_DURATION_SECONDS
    max_body_bytes: Annotated[int, scalar(_parse_bytes, spelled(_BYTES, "integer"))] | None = None
    """The largest body of a request; a setting of the deployment may be smaller."""
    upgrade: list[Annotated[str, choice(*UPGRADES)]] = Field(default_factory=list)
    """Protocols to which the connection may be upgraded: a tunnel, in which nothing is inspected or recorded."""


class ApiEntry(Entry):
    """One protected API as it is written."""

    NOT_YET: ClassVar[frozenset[str]] = frozenset({"upstreams", "cors", "residency"})
    id: Id
    title: Text | None = None
    hosts: list[Annotated[str, scalar(_parse_host, spelled(_HOST, "number", "boolean", "null"))]] = Field(
        default_factory=list
    )
    upstream: UpstreamEntry
    authorization: Annotated[str, choice("strip", "forward")] = "strip"
    """Whether the caller's Authorization header goes on to the API."""
    assertion: Annotated[str, choice(*AssertionMode)] | None = None
    """How the API is told, signed, what was decided; without: `caller` where the deployment has a key for it."""
    routes: list[RouteEntry] = Field(min_length=1)


def check_apis(entries: Sequence[ApiEntry]) -> list[Problem]:
    """Return what is wrong inside and across APIs: hosts, templates, subjects, overlaps."""
    problems = _check_hosts(entries)
    seen: dict[str, tuple[int, int]] = {}
    for index, api in enumerate(entries):
        for place, route in enumerate(api.routes):
            if seen.setdefault(route.id, (index, place)) != (index, place):
                problems.append(Problem((index, "routes", place, "id"), f"{route.id!r} is another route's, too"))
            problems += [problem.under(index, "routes", place) for problem in _check_route(route)]
        problems += [problem.under(index, "routes") for problem in _check_overlaps(api.routes)]
    return problems


def _check_hosts(entries: Sequence[ApiEntry]) -> list[Problem]:
    problems = []
    seen: dict[str, str] = {}
    for index, api in enumerate(entries):
        if len(entries) > 1 and not api.hosts:
            problems.append(Problem((index,), "`hosts` is missing: with more than one API, each names its own"))
        for place, host in enumerate(api.hosts):
            if host in seen:
                problems.append(Problem((index, "hosts", place), f"{host!r} is {seen[host]!r}'s, too"))
            seen[host] = api.id
    return problems


def _check_route(route: RouteEntry) -> list[Problem]:
    template = parse_template(route.path)
    names = [match[1] for segment in route.path.split("/") if (match := _PARAMETER.fullmatch(segment))]
    problems = [Problem(("path",), template)] if isinstance(template, str) else []
    if len(set(names)) != len(names):
        problems.append(Problem(("path",), "a parameter stands twice"))
    problems += [
        Problem(("parameters", name), f"no parameter {name!r} in the path{nearest(name, names)}", at_key=True)
        for name in route.parameters
        if name not in names
    ]
    unsafe = UNSAFE_METHODS & set(route.methods)
    if route.action == Action.READ and unsafe:
        problems.append(Problem(("action",), f"a route with {', '.join(sorted(unsafe))} may not call itself read"))
    if names or not isinstance(template, str):
        problems += _check_subject(route, names)
    return problems + _check_fields(route) + _check_upgrade(route)


def _check_subject(route: RouteEntry, names: Sequence[str]) -> list[Problem]:
    if route.subject is None:
        missing = [key for key in ("reason", "owner") if getattr(route, key) is None]
        return [
            Problem(
                ("subject",),
                f"a route without personal data says why and who answers for it: `{key}` is missing",
            )
            for key in missing
        ]
    problems = []
    if route.unauthenticated:
        problems.append(Problem(("unauthenticated",), "only a route with `subject: none` may be unauthenticated"))
    for key in ("country", "id"):
        text = getattr(route.subject, key)
        match = _PARAMETER.fullmatch(text or "")
        if match and match[1] not in names:
            problems.append(
                Problem(("subject", key), f"no parameter {match[1]!r} in the path{nearest(match[1], names)}")
            )
        elif text and not match and (key == "id" or text not in NAMES):
            meant = f": {suggest_country(text)}" if key == "country" and suggest_country(text) else ""
            either = " or a country code" if key == "country" else ""
            message = f"{text!r} is not a parameter of the path, such as {{user_id}}{either}{meant}"
            problems.append(Problem(("subject", key), message))
    return problems


def _check_fields(route: RouteEntry) -> list[Problem]:
    if route.subject is None and route.fields_:
        return [Problem(("fields",), "a route without personal data declares no fields", at_key=True)]
    return [
        Problem(("fields", field), f"{field!r} is no JSONPath to a field, such as $.user.name", at_key=True)
        for field in route.fields_
        if not _FIELD.fullmatch(field)
    ]


def _check_upgrade(route: RouteEntry) -> list[Problem]:
    """RFC 6455 4.1: the request that opens a tunnel is a GET; another method on the route would be another thing."""
    if not route.upgrade:
        return []
    problems = []
    if route.methods != ["GET"]:
        message = "a route with `upgrade` opens a tunnel, which a GET alone does: write [GET]"
        problems.append(Problem(("methods",), message))
    if route.fields_:
        problems.append(
            Problem(("fields",), "nothing is read of a tunnel: a route with `upgrade` declares no fields", at_key=True)
        )
    return problems


def parse_template(path: str) -> tuple[Template, ...] | str:
    """Return the segments of a route's path, or a sentence that says what is wrong with it."""
    if not path.startswith("/"):
        return f"{path!r} does not begin with a slash"
    if path == "/":
        return ()
    segments = []
    for segment in path[1:].split("/"):
        match = _PARAMETER.fullmatch(segment)
        if match is None and (not _LITERAL.fullmatch(segment) or segment in {".", ".."} or segment == "*"):
            return f"segment {segment!r} is neither a literal nor one whole {{parameter}}"
        segments.append(Template(match[1] if match else segment, match is not None))
    return tuple(segments)


def _check_overlaps(routes: Sequence[RouteEntry]) -> list[Problem]:
    """Compare each route with those before it that could be the same path: a tree of segments, not all pairs."""
    problems = []
    templates = [parse_template(route.path) for route in routes]
    tree: dict[Any, Any] = {}
    for later, second in enumerate(templates):
        if isinstance(second, str):
            continue
        for earlier in sorted(_find_alike(tree, second)):
            shared = set(routes[earlier].methods) & set(routes[later].methods)
            first = templates[earlier]
            if shared and not isinstance(first, str) and _is_ambiguous(first, second):
                message = f"overlaps route {routes[earlier].id!r} for {', '.join(sorted(shared))}"
                problems.append(Problem((later, "path"), message))
        node = tree
        for segment in second:
            node = node.setdefault(None if segment.is_parameter else segment.text, {})
        node.setdefault("/", []).append(later)  # no segment holds a slash
    return problems


def _find_alike(tree: dict[Any, Any], template: Sequence[Template]) -> list[int]:
    """Return the routes of the tree of which no literal segment differs from the template's."""
    nodes = [tree]
    for segment in template:
        step = [node[None] for node in nodes if None in node]
        if segment.is_parameter:
            step += [below for node in nodes for text, below in node.items() if text not in {None, "/"}]
        else:
            step += [node[segment.text] for node in nodes if segment.text in node]
        nodes = step
    return [index for node in nodes for index in node.get("/", ())]


def _is_ambiguous(first: Sequence[Template], second: Sequence[Template]) -> bool:
    """Say whether a path could be both, and neither is the more literal everywhere they differ."""
    if len(first) != len(second):
        return False
    pairs = list(zip(first, second, strict=True))
    if any(not a.is_parameter and not b.is_parameter and a.text != b.text for a, b in pairs):
        return False
    sides = {a.is_parameter for a, b in pairs if a.is_parameter != b.is_parameter}
    return len(sides) != 1


def compile_apis(
    entries: Sequence[ApiEntry], urls: Mapping[str, str]
) -> tuple[list[Api], list[Route], dict[tuple[str, str], Mapping[str, re.Pattern[str]]]]:
    """Return APIs, routes and parameter patterns as requests need them. The entries have been checked.

    Args:
        entries: the register.
        urls: where this deployment finds APIs, by id, in place of what the register says.
    """
    apis: list[Api] = []
    routes: list[Route] = []
    patterns: dict[tuple[str, str], Mapping[str, re.Pattern[str]]] = {}
    for entry in entries:
        upstream = Upstream(urls.get(entry.id, entry.upstream.url), entry.upstream.hosted_in)
        mode = None if entry.assertion is None else AssertionMode(entry.assertion)
        api = Api(entry.id, tuple(entry.hosts), upstream, entry.authorization == "forward", mode)
        apis.append(api)
        for route in entry.routes:
            routes.append(_compile_route(api, route))
            patterns[entry.id, route.id] = route.parameters
    return apis, routes, patterns


def _compile_route(api: Api, entry: RouteEntry) -> Route:
    segments = parse_template(entry.path)
    return Route(
        api=api,
        id=entry.id,
        methods=tuple(entry.methods),
        segments=segments if isinstance(segments, tuple) else (),
        action=Action(entry.action),
        subject=None if entry.subject is None else _compile_subject(entry.subject),
        data=FactSet(frozenset(entry.fields_.values()), is_open=entry.subject is not None and not entry.fields_),
        unauthenticated=entry.unauthenticated,
        max_duration_seconds=entry.max_duration,
        max_body_bytes=entry.max_body_bytes,
        upgrades=tuple(entry.upgrade),
    )


def _compile_subject(entry: SubjectEntry) -> SubjectSource:
    return SubjectSource(
        country=_select(entry.country), id=None if entry.id is None else _select(entry.id), is_authoritative=True
    )


def _select(text: str) -> Selector:
    match = _PARAMETER.fullmatch(text)
    return Selector(Where.LITERAL, text) if match is None else Selector(Where.PATH, match[1])
