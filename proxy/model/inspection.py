# SPDX-License-Identifier: Apache-2.0
"""What the answers of a route may hold, as its API declares it. Whatever is not declared does not leave."""

import enum
from typing import Final

import msgspec

from proxy.model.country import CountryForm
from proxy.model.json_path import JsonPath

DEFAULT_KEPT: Final = 4
"""Characters that ``mask`` and ``truncate`` leave where a field does not say."""


class Media(enum.StrEnum):
    """What the body of an answer is."""

    JSON = "json"
    """One document (RFC 8259)."""
    LINES = "ndjson"
    """A document a line."""
    EVENTS = "events"
    """Server-sent events, each with a document as its data."""


class OnDenied(enum.StrEnum):
    """What becomes of an answer with a record that is denied."""

    DROP = "drop"
    """The record goes, the rest stays."""
    REFUSE = "refuse"


class Beyond(enum.StrEnum):
    """What a declared member outside of the records says of what is not in this answer."""

    NOTHING = "keep"
    TOTAL = "total"
    """It counts records, those that are dropped, too: it goes wherever a record could be dropped."""
    CURSOR = "cursor"
    """It names a place among all records: given out anew, sealed, wherever a record could be dropped."""


class Field(msgspec.Struct, frozen=True):
    """A declared field of a record."""

    path: JsonPath
    """From the record."""
    category: str
    keep: int = DEFAULT_KEPT
    """Characters that ``mask`` leaves at the end, and ``truncate`` at the beginning."""


class Member(msgspec.Struct, frozen=True):
    """A declared member outside of the records."""

    path: JsonPath
    """From the document."""
    beyond: Beyond = Beyond.NOTHING
    parameter: str = ""
    """Of a cursor: the query parameter in which it comes back."""


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """What the answers of a route may hold. Whatever is not declared does not leave."""

    media: Media = Media.JSON
    records: JsonPath = ()
    """Where the records stand: in the document, in each line, in each event's data."""
    country: JsonPath | None = None
    """From the record: its subject's country; None where the request or a look-up tells it."""
    form: CountryForm = CountryForm.ALPHA2
    """How the country is written there."""
    id: JsonPath | None = None
    """From the record: its subject's id."""
    is_id_key: bool = False
    """Whether the subject's id is the name under which the record stands."""
    fields: tuple[Field, ...] = ()
    members: tuple[Member, ...] = ()
    on_denied: OnDenied = OnDenied.DROP
    refuses_undeclared: bool = False
    """Whether an answer with an undeclared member is refused, rather than let go without it."""
    headers: frozenset[str] = frozenset()
    """Fields of the answer's head that leave beside the usual ones, in lower case."""
