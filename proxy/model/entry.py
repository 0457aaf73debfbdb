# SPDX-License-Identifier: Apache-2.0
"""What the schemas of all registers share: the base of an entry and the scalar types.

YAML scalars arrive as text and become typed here, never by YAML's guesses: ``NO`` is Norway, ``yes`` is no
boolean, an instant without offset is an error.
"""

import difflib
import json
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, ClassVar, Final, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema
from pydantic_core import PydanticCustomError

from proxy.model.country import NAMES, refuse_country

_ID: Final = re.compile(r"[a-z0-9]+(?:[-.][a-z0-9]+)*")
_REFERENCE: Final = re.compile(r"[A-Za-z0-9]+(?:[-._][A-Za-z0-9]+)*")
_INSTANT: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|[+-][0-9]{2}:[0-5][0-9])"
)
_CATEGORY: Final = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*")
_DURATION: Final = re.compile(r"([1-9][0-9]{0,4})(s|m|h)")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_SYSTEM: Final = re.compile(r"AS[1-9][0-9]{0,9}")
_MAX_SYSTEM: Final = 2**32 - 1
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,5}")
_SHARE: Final = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,6})?")
_RESERVED: Final = frozenset({"absent", "any", "default", "none", "not-applicable", "other", "unknown"})
"""Words that records and metrics say themselves."""
FILL_IN: Final = "FILL-IN"
"""What a draft says where a person decides; nothing loads while it stands."""
_MAX_ID_LENGTH: Final = 64
_MAX_TEXT_LENGTH: Final = 2000

Shape: TypeAlias = dict[str, Any]
"""A JSON Schema of what an editor sees where our reader sees a text: it takes YAML's guesses.

One with a title stands once in a schema, under that name.
"""
_GUESSES: Final = ("number", "boolean", "null")
ANY_TEXT: Final[Shape] = {
    "title": "text",
    "type": ["string", *_GUESSES],
    "pattern": r"\S",
    "maxLength": _MAX_TEXT_LENGTH,
    "not": {"const": FILL_IN},
}
_NAME: Final[Shape] = {"maxLength": _MAX_ID_LENGTH, "not": {"enum": sorted(_RESERVED)}}


class Entry(BaseModel):
    """The base of everything a policy folder declares: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, use_attribute_docstrings=True)

    NOT_YET: ClassVar[frozenset[str]] = frozenset()
    """Keys of the language that this version does not take yet; they are refused by name."""
    ASSUMED: ClassVar[Mapping[str, Any]] = {}
    """What is taken for a needed value that is wrong or missing, so that the rest can still be looked at."""


def refuse(message: str) -> PydanticCustomError:
    """Return the error that carries one sentence, unchanged, to the author of the file."""
    return PydanticCustomError("sekisho", "{message}", {"message": message})


def _require_text(raw: object) -> str:
    if not isinstance(raw, str):
        raise refuse(f"expected a single value, found a {'list' if isinstance(raw, list) else 'mapping'}")
    if not raw.strip():
        raise refuse("the value is empty")
    if raw == FILL_IN:
        raise refuse(f"{FILL_IN} still stands here: decide what is true, and write that")
    if len(raw) > _MAX_TEXT_LENGTH:
        raise refuse(f"the value is longer than {_MAX_TEXT_LENGTH} characters")
    return raw


def spelled(pattern: re.Pattern[str], *guesses: str) -> Shape:
    """Return the shape of texts that match; ``guesses`` are other types that YAML takes some of them for."""
    return {"type": ["string", *guesses], "pattern": f"^(?:{pattern.pattern})$"}


def worded(*words: str) -> Shape:
    """Return the shape of one of the words; ``1`` and ``null`` are also what YAML takes them for."""
    guessed = [json.loads(word) for word in words if re.fullmatch(r"null|true|false|[1-9][0-9]*", word)]
    return {"enum": [*words, *guessed]}


def scalar(parse: Callable[[str], Any], shape: Shape = ANY_TEXT) -> BeforeValidator:
    """Make a validator of a function that reads text and raises ValueError with a sentence.

    Args:
        parse: the function.
        shape: what it takes, for editors. It may take more than the function, never less.
    """

    def read(raw: object) -> Any:
        text = _require_text(raw)
        try:
            return parse(text)
        except ValueError as error:
            raise refuse(str(error)) from error

    return BeforeValidator(read, json_schema_input_type=Annotated[Any, WithJsonSchema(shape)])


def choice(*allowed: str) -> BeforeValidator:
    """Make a validator that takes one of the words given."""

    def parse(text: str) -> str:
        if text not in allowed:
            meant = difflib.get_close_matches(text.lower(), allowed, n=1)
            hint = f" (did you mean {str(meant[0])!r}?)" if meant else ""
            raise ValueError(f"{text!r} is not one of: {', '.join(allowed)}{hint}")
        return text

    return scalar(parse, worded(*allowed))


def parse_id(text: str) -> str:
    """Return an id; ValueError with a sentence if the text is none."""
    if not _ID.fullmatch(text) or len(text) > _MAX_ID_LENGTH:
        raise ValueError(
            f"{text!r} is no id: lower-case letters, digits, '-' and '.' between them, at most {_MAX_ID_LENGTH}"
        )
    if text in _RESERVED:
        raise ValueError(f"{text!r} is a word of ours: records and metrics say it where there is no id")
    return text


def _parse_country(text: str) -> str:
    if text not in NAMES:
        raise ValueError(refuse_country(text))
    return text


def parse_reference(text: str) -> str:
    """Return the number of a case, a ticket or a grant; ValueError with a sentence if the text is none."""
    if not _REFERENCE.fullmatch(text) or len(text) > _MAX_ID_LENGTH:
        raise ValueError(
            f"{text!r} is no reference: letters, digits, '-', '.' and '_' between them, at most {_MAX_ID_LENGTH}"
        )
    if text in _RESERVED:
        raise ValueError(f"{text!r} is a word of ours: records and metrics say it where there is no id")
    return text


def parse_category(text: str) -> str:
    """Return a data category; ValueError with a sentence if the text is none."""
    if not _CATEGORY.fullmatch(text):
        raise ValueError(f"{text!r} is no data category, such as user.contact.phone_number")
    return text


def parse_system(text: str) -> str:
    """Return the number of an autonomous system; ValueError with a sentence if the text is none."""
    if not _SYSTEM.fullmatch(text) or int(text[2:]) > _MAX_SYSTEM:
        raise ValueError(f"{text!r} is no autonomous system, such as AS4134")
    return text


def parse_flag(text: str) -> bool:
    """Return a flag; ValueError with a sentence if the text is none."""
    if text not in {"true", "false"}:
        raise ValueError(f"{text!r} is neither true nor false")
    return text == "true"


def parse_instant(text: str) -> datetime:
    """Return an instant; ValueError with a sentence if the text is none."""
    if not _INSTANT.fullmatch(text):
        raise ValueError(f"{text!r} is no RFC 3339 instant with an offset, such as 2027-06-30T00:00:00+09:00")
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no day or time that exists") from error


def parse_duration(text: str) -> int:
    """Return seconds; ValueError with a sentence if the text is no duration."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no duration, such as 30s, 15m or 2h")
    return int(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


def parse_number(text: str) -> int:
    """Return a whole number from 1 on; ValueError with a sentence if the text is none."""
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text!r} is no whole number from 1 to 999999")
    return int(text)


def _parse_date(text: str) -> date:
    if not _DATE.fullmatch(text):
        raise ValueError(f"{text!r} is no date, such as 2027-06-30")
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no day that exists") from error


def parse_share(text: str) -> Decimal:
    """Return a number of per cent; ValueError with a sentence if the text is none."""
    try:
        share = Decimal(text)
    except InvalidOperation:
        share = Decimal(-1)
    if not _SHARE.fullmatch(text) or not 0 < share <= 100:
        raise ValueError(f"{text!r} is no share: a number of per cent above 0 and at most 100")
    return share


Text = Annotated[str, scalar(str)]
Id = Annotated[str, scalar(parse_id, {"title": "id"} | _NAME | spelled(_ID, *_GUESSES))]
Reference = Annotated[str, scalar(parse_reference, {"title": "reference"} | _NAME | spelled(_REFERENCE, *_GUESSES))]
Country = Annotated[str, scalar(_parse_country, {"title": "country"} | worded(*NAMES))]
System = Annotated[str, scalar(parse_system, {"title": "autonomous system"} | spelled(_SYSTEM))]
Flag = Annotated[bool, scalar(parse_flag, spelled(re.compile("true|false"), "boolean"))]
Instant = Annotated[datetime, scalar(parse_instant, {"title": "instant"} | spelled(_INSTANT))]
Date = Annotated[date, scalar(_parse_date, spelled(_DATE))]
Duration = Annotated[int, scalar(parse_duration, spelled(_DURATION))]
Number = Annotated[int, scalar(parse_number, spelled(_NUMBER, "integer") | {"minimum": 1})]
Category = scalar(parse_category, spelled(_CATEGORY, "boolean", "null"))
Share = Annotated[Decimal, scalar(parse_share, spelled(_SHARE, "number") | {"exclusiveMinimum": 0, "maximum": 100})]
