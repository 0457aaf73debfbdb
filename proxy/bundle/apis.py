# SPDX-License-Identifier: Apache-2.0
"""The register ``apis``: what is protected, where it is served, route by route (``api_routes``)."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Final
from urllib.parse import urlsplit  # noqa: TID251 - an upstream's address, no request target

from pydantic import Field, WithJsonSchema

from proxy.bundle.api_routes import RouteEntry, check_overlaps, check_route, compile_route
from proxy.model.api import Api, AssertionMode, Route, Upstream, Where
from proxy.model.country import NAMES, refuse_country, suggest_country
from proxy.model.entry import Country, Entry, Id, Text, choice, scalar, spelled, worded
from proxy.model.problem import Problem, nearest

DEFAULT: Final = "default"
"""Where an API is served for whom no other place is named."""
_HOST: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")
_URL: Final = re.compile(r"[!-\[\]-~]+")
_UNIX: Final = "unix:"
_MAX_SOCKET_BYTES: Final = 107
"""Of the path of a Unix socket, on Linux: its address has 108, with a NUL at the end."""


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


class UpstreamEntry(Entry):
    """Where an API is served."""

    NOT_YET: ClassVar[frozenset[str]] = frozenset({"tls", "pool", "timeouts", "ca", "client_certificate"})
    url: Annotated[str, scalar(parse_upstream_url, spelled(re.compile("[Hh][Tt][Tt][Pp][Ss]?://.+|unix:/.+")))]
    hosted_in: Country | None = None


_Served = Annotated[str, WithJsonSchema(worded(*NAMES, DEFAULT))]
"""For whom an API is served somewhere; ``check_apis`` refuses others."""


class ApiEntry(Entry):
    """One protected API as it is written."""

    NOT_YET: ClassVar[frozenset[str]] = frozenset({"cors", "residency"})
    id: Id
    title: Text | None = None
    hosts: list[Annotated[str, scalar(_parse_host, spelled(_HOST, "number", "boolean", "null"))]] = Field(
        default_factory=list
    )
    upstream: UpstreamEntry | None = None
    """Where it is served."""
    upstreams: dict[_Served, UpstreamEntry] | None = None
    """Where it is served for subjects of a country, and of all others (`default`): in place of `upstream`."""
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
        problems += [problem.under(index) for problem in _check_upstreams(api)]
        for place, route in enumerate(api.routes):
            if seen.setdefault(route.id, (index, place)) != (index, place):
                problems.append(Problem((index, "routes", place, "id"), f"{route.id!r} is another route's, too"))
            problems += [problem.under(index, "routes", place) for problem in check_route(route)]
        problems += [problem.under(index, "routes") for problem in check_overlaps(api.routes)]
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


def _check_upstreams(api: ApiEntry) -> list[Problem]:
    if api.upstreams is None:
        return [] if api.upstream is not None else [Problem((), "`upstream` is missing")]
    problems = []
    if api.upstream is not None:
        message = "`upstream` and `upstreams` do not go together: write it as `default` among them"
        problems.append(Problem(("upstream",), message, at_key=True))
    if DEFAULT not in api.upstreams:
        message = (
            "`default` is missing: where is it served for subjects of all other countries, or of none that is known?"
        )
        problems.append(Problem(("upstreams",), message))
    problems += [
        Problem(("upstreams", key), refuse_country(key) + _suggest_default(key), at_key=True)
        for key in api.upstreams
        if key not in {DEFAULT, *NAMES}
    ]
    return problems


def check_token_fields(entries: Sequence[ApiEntry], fields: frozenset[str]) -> list[Problem]:
    """Return the subjects that are looked for where tokens stand.

    Args:
        entries: the register.
        fields: in which issuers' tokens stand, in lower case.
    """
    return [
        Problem((index, "routes", place, "subject", key), f"{found.name!r} carries tokens: name another field")
        for index, api in enumerate(entries)
        for place, route in enumerate(api.routes)
        for key, found in (route.subject.places if route.subject is not None else {}).items()
        if found.where is Where.HEADER and found.name.lower() in fields
    ]


def _suggest_default(key: str) -> str:
    return "" if suggest_country(key) else nearest(key, [DEFAULT])


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
        api = _compile_api(entry, urls)
        apis.append(api)
        for route in entry.routes:
            routes.append(compile_route(api, route))
            patterns[entry.id, route.id] = route.parameters
    return apis, routes, patterns


def _compile_api(entry: ApiEntry, urls: Mapping[str, str]) -> Api:
    written = dict(entry.upstreams) if entry.upstreams is not None else {}
    if entry.upstream is not None:
        written[DEFAULT] = entry.upstream
    places = {
        key: Upstream(urls.get(entry.id if key == DEFAULT else f"{entry.id}/{key}", place.url), place.hosted_in)
        for key, place in written.items()
    }
    return Api(
        id=entry.id,
        hosts=tuple(entry.hosts),
        upstream=places.pop(DEFAULT),
        forwards_authorization=entry.authorization == "forward",
        assertion=None if entry.assertion is None else AssertionMode(entry.assertion),
        upstreams=places,
    )
