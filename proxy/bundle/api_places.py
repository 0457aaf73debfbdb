# SPDX-License-Identifier: Apache-2.0
"""Where a value of a subject stands: in the request, or in the answer.

A place is written as a text that says itself what it is (``JP``, ``{country}``, ``$.country``, ``key``), or as a
mapping that names it (``{query: ids, split: ","}``).
"""

import enum
import re
from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any, ClassVar, Final, TypeAlias

import msgspec
from pydantic import BeforeValidator

from proxy.model.api import Selector, Where
from proxy.model.country import NAMES, CountryForm, suggest_country
from proxy.model.entry import Entry, Text, choice, refuse, scalar, spelled
from proxy.model.json_path import EVERY, parse_json_path
from proxy.model.problem import Problem, nearest
from proxy.model.request import VARYING, canonical_name
from proxy.request.headers import REQUEST_FIELDS, REQUEST_PREFIXES
from proxy.request.response_headers import CACHE_FIELDS, RESPONSE_DROPPED
from proxy.subject.paths import compile_selector

PARAMETER: Final = re.compile(r"\{([a-z][a-z0-9_]*)\}")
"""A parameter of a path, as routes and subjects write it."""
KEY: Final = "key"
_GUESSES: Final = ("number", "boolean", "null")
_HEADER: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
"""Of RFC 9110 5.6.2 ``token`` what every server reads alike."""
_QUERY: Final = re.compile(r"[A-Za-z0-9_$@:.\[\]-]{1,64}")
_SPLIT: Final = re.compile(r"[!-/:-@\[-`{-~]")
_IN_PATH: Final = "._~-"
"""RFC 3986 2.3: of what may stand between values, a parameter of a path holds no more."""
OF_THE_BODY: Final = frozenset(
    {
        "accept-ranges", "content-digest", "content-encoding", "content-length", "content-location", "content-md5",
        "content-range", "content-type", "digest", "etag", "last-modified", "link", "repr-digest", "x-total",
        "x-total-count",
    }
)  # fmt: skip
"""Fields that tell of an answer as the API made it, or of records beyond it: they are dropped, or written anew."""


class InAnswer(enum.Enum):
    """Where in an answer a value stands."""

    RECORD = "record"
    """In each record, at a JSONPath."""
    KEY = "key"
    """It is the name under which a record stands in a map."""
    HEAD = "head"
    """In a field of the head."""


class Place(msgspec.Struct, frozen=True):
    """Where a value stands, as a route says it."""

    where: Where | InAnswer
    name: str

    @property
    def is_in_request(self) -> bool:
        """Whether it is known before the API is asked."""
        return isinstance(self.where, Where)


def _parse_header(text: str) -> str:
    if not _HEADER.fullmatch(text):
        raise ValueError(f"{text!r} is no name of a header field: letters, digits and '-'")
    return text


def _parse_query(text: str) -> str:
    if not _QUERY.fullmatch(text):
        raise ValueError(f"{text!r} is no name of a parameter: letters, digits and any of _ $ @ : . [ ] -")
    return text


def _parse_split(text: str) -> str:
    if not _SPLIT.fullmatch(text):
        raise ValueError(f"{text!r} does not tell values apart: one character that is neither letter nor digit")
    return text


HeaderName = Annotated[str, scalar(_parse_header, spelled(_HEADER, *_GUESSES))]
ParameterName = Annotated[str, scalar(_parse_query, spelled(_QUERY, *_GUESSES))]
_Form: TypeAlias = Annotated[CountryForm, choice(*CountryForm)]


def _read_place(*ways: str, beside: Collection[str] = ()) -> Callable[[Any], Any]:
    """Make what writes the short form of a place in full, and refuses one that is said in no way or in several."""

    def read(raw: Any) -> Any:
        if isinstance(raw, str):
            return {"value": raw}
        if isinstance(raw, dict) and raw.keys() <= {*ways, *beside} and len(raw.keys() & set(ways)) != 1:
            raise refuse(f"expected exactly one of: {', '.join(ways)}")
        return raw

    return read


class PlaceEntry(Entry):
    """Where a value stands. One that says nothing stands for one that was wrong."""

    WAYS: ClassVar[tuple[str, ...]] = ("value", "query", "header", "body", "form")
    value: Text | None = None
    """``{name}`` of the path, ``$.name`` of the record."""
    query: ParameterName | None = None
    """The name of a query parameter."""
    header: HeaderName | None = None
    """The name of a field of the request's head."""
    body: Text | None = None
    """A JSONPath of the request's body."""
    form: ParameterName | None = None
    """The name of a field of the request's body, a form."""
    split: Annotated[str, scalar(_parse_split, spelled(_SPLIT, "null"))] | None = None
    """What stands between several values in one text."""

    @property
    def place(self) -> Place | None:
        """Where the value stands; None where nobody knows, since what was written is wrong."""
        for way in self.WAYS:
            said = getattr(self, way)
            if said is not None:
                return _read_text(said) if way == "value" else Place(_NAMED[way], said)
        return None


class CountryEntry(PlaceEntry):
    """Where the country of the subject stands, and how it is written there."""

    WAYS: ClassVar[tuple[str, ...]] = (*PlaceEntry.WAYS, "answer_header")
    answer_header: HeaderName | None = None
    """The name of a field of the answer's head; it does not reach the caller."""
    format: _Form | None = None
    """How it is written; without: ``JP`` in the answer, and in any letter case in the request."""


class ConfirmEntry(Entry):
    """Where the answer says the country, too."""

    value: Text | None = None
    """A JSONPath in each record."""
    answer_header: HeaderName | None = None
    """The name of a field of the answer's head; it does not reach the caller."""
    format: _Form = CountryForm.ALPHA2

    @property
    def place(self) -> Place | None:
        """Where the country stands; None where nobody knows, since what was written is wrong."""
        if self.answer_header is not None:
            return Place(InAnswer.HEAD, self.answer_header)
        return None if self.value is None else _read_text(self.value)


CountryPlace = Annotated[
    CountryEntry,
    BeforeValidator(
        _read_place(*CountryEntry.WAYS, beside=("split", "format")), json_schema_input_type=CountryEntry | Text
    ),
]
IdPlace = Annotated[
    PlaceEntry,
    BeforeValidator(_read_place(*PlaceEntry.WAYS, beside=("split",)), json_schema_input_type=PlaceEntry | Text),
]
ConfirmPlace = Annotated[
    ConfirmEntry,
    BeforeValidator(
        _read_place("value", "answer_header", beside=("format",)), json_schema_input_type=ConfirmEntry | Text
    ),
]


_NAMED: Final[Mapping[str, Where | InAnswer]] = {
    "query": Where.QUERY,
    "header": Where.HEADER,
    "body": Where.JSON,
    "form": Where.FORM,
    "answer_header": InAnswer.HEAD,
}


def _read_text(text: str) -> Place:
    if text.startswith("$"):
        return Place(InAnswer.RECORD, text)
    if text == KEY:
        return Place(InAnswer.KEY, text)
    match = PARAMETER.fullmatch(text)
    return Place(Where.LITERAL, text) if match is None else Place(Where.PATH, match[1])


def check_place(key: str, place: Place, names: Collection[str]) -> list[str]:
    """Return what is wrong with where a value stands, in sentences.

    Args:
        key: what stands there: ``country``, ``id``, or ``confirm``.
        place: where.
        names: the parameters of the route's path.
    """
    is_nowhere = (
        (place.where is Where.LITERAL and (key != "country" or place.name not in NAMES))
        or (place.where is InAnswer.KEY and key != "id")
        or (key == "confirm" and place.is_in_request)
    )
    return [_refuse_text(key, place)] if is_nowhere else _CHECKS[place.where](place, names)


def _refuse_text(key: str, place: Place) -> str:
    """Say that a text is no place where such a value could stand, and what is."""
    text = f"{{{place.name}}}" if place.where is Where.PATH else place.name
    if key == "confirm":
        return (
            f"{text!r} is not in the answer: a member of each record is, such as $.country, or {{answer_header: NAME}}"
        )
    ways = f"a parameter of the path, such as {{{key}}}, or a member of the record, such as $.{key}"
    if key == "id":
        return f"{text!r} is not {ways}, or `key`"
    meant = suggest_country(text)
    return f"{text!r} is not {ways}, or a country code" + (f": {meant}" if meant else "")


def _check_parameter(place: Place, names: Collection[str]) -> list[str]:
    return [] if place.name in names else [f"no parameter {place.name!r} in the path{nearest(place.name, names)}"]


def _check_header(place: Place, _names: Collection[str]) -> list[str]:
    name = canonical_name(place.name)
    if name in REQUEST_FIELDS or name in VARYING or name.startswith(tuple(REQUEST_PREFIXES)):
        return [f"{place.name!r} means something else, or does not reach the API: name a field that is the API's own"]
    return []


def _check_body(place: Place, _names: Collection[str]) -> list[str]:
    try:
        compile_selector(place.name)
    except ValueError as error:
        return [str(error)]
    return []


def _check_head(place: Place, _names: Collection[str]) -> list[str]:
    return [refuse_answer_field(place.name)] if refuse_answer_field(place.name) else []


def refuse_answer_field(name: str) -> str:
    """Say why a field of the answer's head is not the API's own to say something in; empty if it is."""
    canonical = canonical_name(name)
    is_ours = canonical in RESPONSE_DROPPED | CACHE_FIELDS | OF_THE_BODY or canonical.startswith("sekisho-")
    return f"{name!r} belongs to the connection, to caches or to the body: name a field that is the API's own" * is_ours


def _check_record(place: Place, _names: Collection[str]) -> list[str]:
    try:
        path = parse_json_path(place.name)
    except ValueError as error:
        return [str(error)]
    if not path:
        return ["'$' is the whole record: name a member of it"]
    if EVERY in path:
        return [f"{place.name!r} is several values: name one member; of an array that it holds, each counts"]
    return []


def _take_as_it_is(_place: Place, _names: Collection[str]) -> list[str]:
    return []


_CHECKS: Final[Mapping[Where | InAnswer, Callable[[Place, Collection[str]], list[str]]]] = {
    Where.LITERAL: _take_as_it_is,
    Where.PATH: _check_parameter,
    Where.QUERY: _take_as_it_is,
    Where.HEADER: _check_header,
    Where.JSON: _check_body,
    Where.FORM: _take_as_it_is,
    InAnswer.RECORD: _check_record,
    InAnswer.KEY: _take_as_it_is,
    InAnswer.HEAD: _check_head,
}


def check_beside(key: str, entry: PlaceEntry | ConfirmEntry, place: Place, names: Collection[str]) -> list[Problem]:
    """Return what is said of how a value is written, where it cannot be written so."""
    problems = []
    if isinstance(entry, CountryEntry) and entry.format is not None and place.where is Where.LITERAL:
        message = "a code that the route itself says is written one way: leave `format` out"
        problems.append(Problem((key, "format"), message, at_key=True))
    if not isinstance(entry, PlaceEntry) or entry.split is None:
        return problems
    if place.where is Where.LITERAL or not place.is_in_request:
        message = "several values in one text stand in a request: leave `split` out"
        problems.append(Problem((key, "split"), message, at_key=True))
    elif place.where is Where.PATH and place.name in names and entry.split not in _IN_PATH:
        message = f"a parameter of the path never holds {entry.split!r}, but any of {' '.join(_IN_PATH)}"
        problems.append(Problem((key, "split"), message))
    return problems


def compile_place(entry: PlaceEntry) -> Selector | None:
    """Return where in a request a value stands; None where it stands in the answer."""
    place = entry.place
    if place is None or not isinstance(place.where, Where):
        return None
    name = place.name.lower() if place.where is Where.HEADER else place.name
    return Selector(place.where, name, entry.split or "")
