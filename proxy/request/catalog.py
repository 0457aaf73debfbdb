# SPDX-License-Identifier: Apache-2.0
"""The declared routes: which one a method and a canonical path are, or that they are none.

- Segments match whole and exactly. A literal segment beats a parameter, also where its route lacks the method:
  the API would route by the path first. The loader refuses any other overlap.
- A parameter's value is unreserved ASCII (RFC 3986 2.3), and of its declared pattern where there is one; a value
  outside is no match: refused, not repaired.
- What is undeclared is no route. There is no fallback.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import compress
from typing import Final, TypeAlias

import msgspec

from proxy.model.api import Api, Route
from proxy.model.decision import Reason

UNRESERVED: Final = re.compile(r"[A-Za-z0-9._~-]{1,256}")
_is_unreserved: Final = UNRESERVED.fullmatch
_MAX_SHAPE_SEGMENTS: Final = 8

_Fits: TypeAlias = Callable[[str], object]


class Match(msgspec.Struct, frozen=True, gc=False):
    """A declared route, and what stands at its parameters."""

    route: Route
    parameters: Mapping[str, str]


class NoMatch(msgspec.Struct, frozen=True):
    """No declared route, and what an operator may be told of it."""

    reason: Reason
    allowed: tuple[str, ...]
    """Methods that are declared for the path."""
    shape: str
    """The path with everything but the API's declared words replaced by ``*``: it holds nothing personal."""


class _Node:
    __slots__ = ("literals", "only", "parameters", "routes", "ways", "words")

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.words: set[str] = set()
        """The literals as a lax reader reads them."""
        self.parameters: dict[re.Pattern[str], _Node] = {}
        self.ways: list[tuple[_Fits, _Node]] = []
        """What the patterns say of a value, and where it then leads."""
        self.only: tuple[_Fits, _Node] | None = None
        """The one way on, where nothing but a single parameter leads on."""
        self.routes: dict[str, tuple[Route, tuple[str, ...], tuple[bool, ...]]] = {}
        """By method, with the names of the parameters, and at which segments they stand."""

    def literal(self, word: str) -> "_Node":
        self.words.add(_lax(word))
        self.only = None
        return self.literals.setdefault(word, _Node())

    def parameter(self, pattern: re.Pattern[str]) -> "_Node":
        child = self.parameters.get(pattern)
        if child is None:
            child = self.parameters[pattern] = _Node()
            self.ways.append((pattern.fullmatch, child))
            self.only = None if self.literals or len(self.ways) > 1 else self.ways[0]
        return child

    def find_parameters(self, value: str) -> list["_Node"]:
        """Return where a value leads as a parameter.

        A value that a lax API may read as one of the literals beside it is none: many compare paths without
        regard to case, and drop what looks like a suffix (``export.json``).
        """
        if not _is_unreserved(value):
            return []
        if self.words and value not in self.literals and _lax(value) in self.words:
            return []
        ways = []
        for fits, child in self.ways:
            if fits(value):
                ways.append(child)
        return ways


def _lax(segment: str) -> str:
    return segment.casefold().partition(".")[0]


class Catalog:
    """Every declared route of every API.

    Args:
        routes: the routes; the loader has made sure that no two of them overlap.
        apis: the APIs, in any order.
        patterns: for each API and route id the declared patterns of its parameters.
    """

    def __init__(
        self,
        apis: Iterable[Api],
        routes: Iterable[Route],
        patterns: Mapping[tuple[str, str], Mapping[str, re.Pattern[str]]],
    ) -> None:
        self.apis = tuple(apis)
        self.routes = tuple(routes)
        self._by_id = {route.id: route for route in self.routes}
        self._by_host = {host: api for api in self.apis for host in api.hosts}
        self._only = self.apis[0] if len(self.apis) == 1 and not self.apis[0].hosts else None
        self._roots = {api.id: _Node() for api in self.apis}
        self._words = {api.id: set[str]() for api in self.apis}
        for route in self.routes:
            self._insert(route, patterns.get((route.api.id, route.id), {}))

    def _insert(self, route: Route, patterns: Mapping[str, re.Pattern[str]]) -> None:
        node = self._roots[route.api.id]
        for segment in route.segments:
            if segment.is_parameter:
                node = node.parameter(patterns.get(segment.text, UNRESERVED))
            else:
                self._words[route.api.id].add(segment.text)
                node = node.literal(segment.text)
        names = tuple(each.text for each in route.segments if each.is_parameter)
        places = tuple(each.is_parameter for each in route.segments)
        node.routes.update(dict.fromkeys(route.methods, (route, names, places)))

    def find_api(self, host: str | None) -> Api | None:
        """Return the API that is served under a lower-case host name; None stands for the only one there is."""
        if host is None:
            return self.apis[0] if len(self.apis) == 1 else None
        return self._by_host.get(host, self._only)

    def find_route(self, route_id: str) -> Route | None:
        """Return the declared route of an id."""
        return self._by_id.get(route_id)

    def match(self, api: Api, method: str, segments: Sequence[str]) -> Match | NoMatch:
        """Return the declared route, or why there is none."""
        node = self._find_node(api, segments)
        found = node.routes.get(method) if node else None
        if found is not None:
            route, names, places = found
            return Match(route, dict(zip(names, compress(segments, places), strict=True)))
        shape = self.shape(api, segments)
        if node is None:
            return NoMatch(Reason.ROUTE_UNDECLARED, (), shape)
        return NoMatch(Reason.METHOD_UNDECLARED, tuple(sorted(node.routes)), shape)

    def _find_node(self, api: Api, segments: Sequence[str]) -> _Node | None:
        """Return the most literal declared path that this one is, whatever its methods.

        Where one way leads on, it is gone alone: so it is with nearly every path, at each of its segments.
        """
        node = self._roots[api.id]
        left = iter(segments)
        for segment in left:
            if node.only is not None:
                fits, node = node.only
                if not (_is_unreserved(segment) and fits(segment)):
                    return None
                continue
            literal = node.literals.get(segment)
            if node.ways:
                nodes = node.find_parameters(segment)
                if literal is not None:
                    nodes.insert(0, literal)
                if len(nodes) != 1:
                    return _find_among(nodes, left)
                node = nodes[0]
            elif literal is not None:
                node = literal
            else:
                return None
        return node if node.routes else None

    def shape(self, api: Api, segments: Sequence[str]) -> str:
        """Return a path's shape: declared words stay, everything else is ``*``."""
        words = self._words[api.id]
        shown = [segment if segment in words else "*" for segment in segments[:_MAX_SHAPE_SEGMENTS]]
        return "/" + "/".join(shown) + ("/…" if len(segments) > _MAX_SHAPE_SEGMENTS else "")


def _find_among(nodes: list[_Node], segments: Iterable[str]) -> _Node | None:
    """Return where the rest of a path leads from several places, the most literal way first."""
    for segment in segments:
        literals = [node.literals[segment] for node in nodes if segment in node.literals]
        nodes = literals + [child for node in nodes for child in node.find_parameters(segment)]
    return next((node for node in nodes if node.routes), None)
