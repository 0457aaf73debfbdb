# SPDX-License-Identifier: Apache-2.0
"""The register of countries by ids as requests need it: in memory, or what must be known to ask somebody elsewhere."""

from bisect import bisect_right
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import msgspec

from proxy.model.country import CountryForm
from proxy.model.json_path import JsonPath
from proxy.subject.told import BETWEEN

Countries: TypeAlias = tuple[str, ...]
"""Each once, sorted; empty: the id is not known."""
NOBODY: Final[Countries] = ()


class Table(msgspec.Struct, frozen=True):
    """Ids, each with its countries."""

    rows: Mapping[str, tuple[Any, ...]]
    """Id to one cell: its countries."""

    def find(self, id_: str) -> Countries:
        """Return the countries of an id."""
        row = self.rows.get(id_)
        return NOBODY if row is None else tuple(row[0].split(BETWEEN))


class Prefixes(msgspec.Struct, frozen=True):
    """Beginnings of ids; the longest that fits counts."""

    countries: Mapping[str, Countries]
    lengths: tuple[int, ...]
    """How long prefixes are, the longest first."""

    def find(self, id_: str) -> Countries:
        """Return the countries of an id."""
        for length in self.lengths:
            found = self.countries.get(id_[:length])
            if found is not None:
                return found
        return NOBODY


class Ranges(msgspec.Struct, frozen=True):
    """Ids that are whole numbers, in ranges that do not overlap."""

    starts: tuple[int, ...]
    ends: tuple[int, ...]
    countries: tuple[Countries, ...]
    digits: int
    """How many a number in a range has at most."""

    def find(self, id_: str) -> Countries:
        """Return the countries of an id; a number with zeros or a sign before it is none, as texts go."""
        if not (id_.isascii() and id_.isdigit()) or len(id_) > self.digits or (id_[0] == "0" and id_ != "0"):
            return NOBODY
        number = int(id_)
        at = bisect_right(self.starts, number) - 1
        return self.countries[at] if at >= 0 and number <= self.ends[at] else NOBODY


class SqliteQuery(msgspec.Struct, frozen=True):
    """A question to an SQLite database."""

    file: str
    """From the root on."""
    query: str


class PostgresqlQuery(msgspec.Struct, frozen=True):
    """A question to a PostgreSQL database."""

    url: str
    """Empty where the whole URL is a secret."""
    query: str
    url_secret: str = ""
    """Where the URL is kept; empty: it is no secret."""
    password: str = ""
    """Where the password is kept; empty for none."""


class RedisKey(msgspec.Struct, frozen=True):
    """A question to a Redis: the values of keys."""

    url: str
    key: str
    """With a mark where the id stands."""
    select: JsonPath | None
    """Where the countries stand in a value of JSON; None: the value is a cell."""
    password: str = ""
    """Where the password is kept; empty for none."""


class HttpQuestion(msgspec.Struct, frozen=True):
    """A question to a directory over HTTP."""

    url: str
    """With a mark where the id stands, or several."""
    select: JsonPath
    records: JsonPath | None = None
    """Where the records of an answer on several ids stand; None: the answer is on one id."""
    record_id: JsonPath | None = None
    """Where the id stands in a record; None: it is the name under which the record stands."""
    token: str = ""
    """Where the bearer token is kept; empty for none."""


How: TypeAlias = SqliteQuery | PostgresqlQuery | RedisKey | HttpQuestion


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody elsewhere, who is asked."""

    id: str
    how: How
    form: CountryForm
    """How countries are written there."""
    fresh_seconds: float
    """How long an answer is believed."""
    fresh_not_found_seconds: float
    """How long it is believed that an id is not known there."""
    timeout_seconds: float
    batch: int
    """How many ids are asked for at once."""
    at_once: int
    """How many questions are under way at once."""
    kept: int
    """How many answers are kept."""


InMemory: TypeAlias = Table | Prefixes | Ranges
Lookup: TypeAlias = InMemory | Asked
