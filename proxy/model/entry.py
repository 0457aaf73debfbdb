# SPDX-License-Identifier: Apache-2.0
"""What the schemas of all registers share: the base of an entry and the scalar types.

YAML scalars arrive as text and become typed here, never by YAML's guesses: ``NO`` is Norway, ``yes`` is no
boolean, an instant without offset is an error.
"""

import re
from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, ClassVar, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic_core import PydanticCustomError

from proxy.model.country import NAMES, refuse_country

_ID: Final = re.compile(r"[a-z0-9]+(?:[-.][a-z0-9]+)*")
_INSTANT: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|[+-][0-9]{2}:[0-5][0-9])"
)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_RESERVED: Final = frozenset({"absent", "any", "default", "none", "not-applicable", "other", "unknown"})
"""Words that records and metrics say themselves."""
_MAX_ID_LENGTH: Final = 64
_MAX_TEXT_LENGTH: Final = 2000


class Entry(BaseModel):
    """The base of everything a policy folder declares: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

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
    if len(raw) > _MAX_TEXT_LENGTH:
        raise refuse(f"the value is longer than {_MAX_TEXT_LENGTH} characters")
    return raw


def scalar(parse: Callable[[str], Any]) -> BeforeValidator:
    """Make a validator of a function that reads text and raises ValueError with a sentence."""

    def read(raw: object) -> Any:
        text = _require_text(raw)
        try:
            return parse(text)
        except ValueError as error:
            raise refuse(str(error)) from error

    return BeforeValidator(read)


def choice(*allowed: str, not_yet: Collection[str] = ()) -> BeforeValidator:
    """Make a validator that takes one of the words given, and refuses by name those that come later."""

    def parse(text: str) -> str:
        if text in not_yet:
            raise ValueError(f"`{text}` is not yet supported")
        if text not in allowed:
            raise ValueError(f"{text!r} is not one of: {', '.join(allowed)}")
        return text

    return scalar(parse)


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


def _parse_flag(text: str) -> bool:
    if text not in {"true", "false"}:
        raise ValueError(f"{text!r} is neither true nor false")
    return text == "true"


def _parse_instant(text: str) -> datetime:
    if not _INSTANT.fullmatch(text):
        raise ValueError(f"{text!r} is no RFC 3339 instant with an offset, such as 2027-06-30T00:00:00+09:00")
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no day or time that exists") from error


def _parse_date(text: str) -> date:
    if not _DATE.fullmatch(text):
        raise ValueError(f"{text!r} is no date, such as 2027-06-30")
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no day that exists") from error


def _parse_share(text: str) -> Decimal:
    try:
        share = Decimal(text)
    except InvalidOperation:
        share = Decimal(-1)
    if not re.fullmatch(r"[0-9]{1,3}(?:\.[0-9]{1,6})?", text) or not 0 < share <= 100:
        raise ValueError(f"{text!r} is no share: a number of per cent above 0 and at most 100")
    return share


Text = Annotated[str, scalar(str)]
Id = Annotated[str, scalar(parse_id)]
Country = Annotated[str, scalar(_parse_country)]
Flag = Annotated[bool, scalar(_parse_flag)]
Instant = Annotated[datetime, scalar(_parse_instant)]
Date = Annotated[date, scalar(_parse_date)]
Share = Annotated[Decimal, scalar(_parse_share)]
