# SPDX-License-Identifier: Apache-2.0
"""One route of an API: its methods and path, whose data it carries, and what may leave.

- A route says whose data it carries, or says that it carries none, with a reason and an owner.
- A route that changes something decides before the API is asked, so nothing that the answer tells decides it.
- A route that opens a tunnel (``upgrade``) does nothing else: what passes once it is open nobody inspects.
- Two routes of one method may overlap only where one is, segment by segment, the more literal.
"""

import re
import warnings
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field

from proxy.bundle.api_answers import AnswerEntry, check_answers, compile_inspection
from proxy.bundle.api_places import PARAMETER, InAnswer
from proxy.bundle.api_subjects import SubjectEntry, Vouched, check_subject, compile_subject
from proxy.model.api import READING, Action, Api, Route, Template, Where
from proxy.model.entry import Duration, Flag, Id, Text, choice, scalar, spelled
from proxy.model.facts import FactSet
from proxy.model.problem import Problem, nearest

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
UNSAFE_METHODS: Final = frozenset(METHODS) - {"GET", "HEAD"}
"""RFC 9110 9.2.1: the others are safe."""
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
"""RFC 9110 9.3.5: a body of DELETE has no meaning of its own, and may be dropped on the way."""
MAX_DURATION_SECONDS: Final = 15 * 60
UPGRADES: Final = ("websocket",)
"""Protocols of which it is known how a connection is upgraded to them (RFC 6455 4.1), in lower case."""

_LITERAL: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+,=:@-]+")
_BYTES: Final = re.compile(r"0|[1-9][0-9]{0,14}")


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


class RouteEntry(AnswerEntry):
    """One route as it is written."""

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
    reads_only: Vouched | None = None
    """Who vouches that a POST changes nothing: a search with its filters in the body."""
    reason: Text | None = None
    owner: Text | None = None
    unauthenticated: Flag = False
    max_duration: Duration = MAX_DURATION_SECONDS
    max_body_bytes: Annotated[int, scalar(_parse_bytes, spelled(_BYTES, "integer"))] | None = None
    """The largest body of a request; a setting of the deployment may be smaller."""
    upgrade: list[Annotated[str, choice(*UPGRADES)]] = Field(default_factory=list)
    """Protocols to which the connection may be upgraded: a tunnel, in which nothing is inspected or recorded."""

    @property
    def changing(self) -> frozenset[str]:
        """Its methods that may change something."""
        vouched = {"POST"} if self.reads_only is not None else set()
        return (UNSAFE_METHODS & set(self.methods)) - vouched


def check_route(route: RouteEntry) -> list[Problem]:
    """Return what is wrong with a route by itself."""
    template = parse_template(route.path)
    names = [match[1] for segment in route.path.split("/") if (match := PARAMETER.fullmatch(segment))]
    problems = [Problem(("path",), template)] if isinstance(template, str) else []
    if len(set(names)) != len(names):
        problems.append(Problem(("path",), "a parameter stands twice"))
    problems += [
        Problem(("parameters", name), f"no parameter {name!r} in the path{nearest(name, names)}", at_key=True)
        for name in route.parameters
        if name not in names
    ]
    problems += _check_action(route)
    if names or not isinstance(template, str):
        problems += _check_whose(route, names)
    return problems + check_answers(route, route.subject) + _check_upgrade(route)


def _check_action(route: RouteEntry) -> list[Problem]:
    if route.action == Action.READ and route.changing:
        mend = ", unless an owner vouches that it changes nothing (`reads_only`)" * (route.changing == {"POST"})
        message = f"a route with {', '.join(sorted(route.changing))} may not call itself read{mend}"
        return [Problem(("action",), message)]
    if route.reads_only is None:
        return []
    if "POST" not in route.methods:
        return [Problem(("reads_only",), "it vouches for a POST, and there is none: leave it out", at_key=True)]
    if route.action not in READING or route.changing:
        what = f"{', '.join(sorted(route.changing))} changes" if route.changing else f"the action {route.action} says"
        message = f"{what} something: `reads_only` stands on a route that reads or exports"
        return [Problem(("reads_only",), message, at_key=True)]
    return []


def _check_whose(route: RouteEntry, names: Sequence[str]) -> list[Problem]:
    subject = route.subject
    if subject is None:
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
    found = [*check_subject(subject, names), *_check_bodies(route, subject), *_check_late(route, subject)]
    problems += [problem.under("subject") for problem in found]
    return problems + _check_looking(route, subject)


def _check_bodies(route: RouteEntry, subject: SubjectEntry) -> list[Problem]:
    """Return the values that are looked for in a body that may not be there."""
    without = sorted(set(route.methods) - _WITH_BODY)
    problems = []
    for key, place in subject.places.items():
        if place.where not in {Where.JSON, Where.FORM}:
            continue
        if without:
            message = f"a {without[0]} has no body to find it in: declare a route for POST, PUT or PATCH alone"
            problems.append(Problem((key,), message))
        elif route.max_body_bytes == 0:
            problems.append(Problem((key,), "it stands in the body, of which `max_body_bytes: 0` takes none"))
    if len({place.where for place in subject.places.values()} & {Where.JSON, Where.FORM}) > 1:
        problems.append(Problem((), "a body is JSON or a form, not both: `body` and `form` do not go together"))
    return problems


def _check_late(route: RouteEntry, subject: SubjectEntry) -> list[Problem]:
    """Return where the answer would tell too late whose data it is."""
    late = subject.late
    if not late:
        return []
    problems = []
    mend = "take it from the request, or from a register (`lookup`) by an id of the request"
    if route.action not in READING or route.changing:
        vouch = " `reads_only` vouches that a POST changes nothing." * (route.changing == {"POST"})
        message = f"the answer tells whose data it is once something has been changed: {mend}.{vouch}".rstrip(".")
        problems.append(Problem((late,), message))
    if route.upgrade:
        problems.append(Problem((late,), f"a tunnel opens before anything of it could tell whose data it is: {mend}"))
    if "HEAD" in route.methods and subject.is_in_records:
        message = "the answer to a HEAD has no records to tell whose data it is: declare the route without HEAD"
        problems.append(Problem((late,), message))
    return problems


def _check_looking(route: RouteEntry, subject: SubjectEntry) -> list[Problem]:
    """Return what is missing where an answer has to be looked into."""
    keys = [key for key, place in subject.places.items() if place.where in {InAnswer.RECORD, InAnswer.KEY}]
    keys += ["records"] if subject.records is not None else []
    if route.fields_ or not keys or route.upgrade:
        return []
    message = f"`{keys[0]}` of the subject stands in the answer, and what is looked into lets nothing undeclared leave"
    return [Problem((), f"{message}: `fields` is missing")]


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
        match = PARAMETER.fullmatch(segment)
        if match is None and (not _LITERAL.fullmatch(segment) or segment in {".", ".."} or segment == "*"):
            return f"segment {segment!r} is neither a literal nor one whole {{parameter}}"
        segments.append(Template(match[1] if match else segment, match is not None))
    return tuple(segments)


def check_overlaps(routes: Sequence[RouteEntry]) -> list[Problem]:
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


def compile_route(api: Api, entry: RouteEntry) -> Route:
    """Return a route as requests need it. The entry has been checked."""
    segments = parse_template(entry.path)
    categories = entry.categories
    searchable = entry.searchable_by
    return Route(
        api=api,
        id=entry.id,
        methods=tuple(entry.methods),
        segments=segments if isinstance(segments, tuple) else (),
        action=Action(entry.action),
        subject=None if entry.subject is None else compile_subject(entry.subject),
        data=FactSet(categories, is_open=entry.subject is not None and not categories),
        unauthenticated=entry.unauthenticated,
        max_duration_seconds=entry.max_duration,
        max_body_bytes=entry.max_body_bytes,
        upgrades=tuple(entry.upgrade),
        inspection=compile_inspection(entry, entry.subject),
        searchable_by=None if searchable is None else frozenset(searchable),
    )
