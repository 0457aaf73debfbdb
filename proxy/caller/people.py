# SPDX-License-Identifier: Apache-2.0
"""The register ``people``: for whom somebody works, and where, as the organisation knows it and tokens rarely say.

- A row is an engagement: it is in force in ``[from, until)``. Somebody may have several, one after the other.
- Subjects are compared byte for byte, and only within their issuer (RFC 7519 4.1.2: a ``sub`` is the issuer's own).
- What a row leaves out is unknown, not none; only an interval without an end has none.
- Small registers are YAML, large ones tables; both mean the same.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice
from operator import eq, itemgetter
from typing import Annotated, Any, Final, Protocol, TypeAlias

import msgspec
from pydantic import Field

from proxy.model.caller import KINDS
from proxy.model.country import NAMES, refuse_country
from proxy.model.entry import Country, Entry, Id, Instant, choice, parse_instant, scalar
from proxy.model.facts import UNKNOWN, Fact, FactSet
from proxy.model.problem import Problem, nearest
from proxy.model.table import Column, Rows, explain_key, parse_key

BETWEEN: Final = ";"
"""Stands between the citizenships of one cell."""
KEY: Final = ("issuer", "subject")
REST: Final = ("affiliate", "kind", "site_country", "residence", "citizenships", "from", "until")
COLUMNS: Final = (*KEY, *REST)


class Engagement(msgspec.Struct, frozen=True):
    """One row: what somebody is, from one moment until another."""

    affiliate: Fact[str] = UNKNOWN
    kind: Fact[str] = UNKNOWN
    site_country: Fact[str] = UNKNOWN
    residence: Fact[str] = UNKNOWN
    citizenships: Fact[FactSet] = UNKNOWN
    since: float = -math.inf
    """Seconds since 1970 at which it begins; minus infinity if it always was."""
    until: float = math.inf
    """Seconds since 1970 at which it has ended."""
    place: str = ""
    """Where the row stands, ``file:line``."""


class People(Protocol):
    """The register, ready for requests."""

    def find(self, issuer_id: str, subject: str) -> tuple[Engagement, ...]:
        """Return every row of somebody, the earliest first: also those that are over, and those to come.

        Raises:
            Exception: it cannot be told. That must not be taken for a person without rows.
        """
        ...


def _parse_subject(text: str) -> str:
    if parse_key(text) is None:
        raise ValueError(explain_key(text))
    return text


class PersonEntry(Entry):
    """One engagement of a person."""

    issuer: Id
    subject: Annotated[str, scalar(_parse_subject)]
    """The exact `sub` of the issuer's tokens."""
    affiliate: Id | None = None
    """For whom the person works."""
    kind: Annotated[str, choice(*KINDS)] | None = None
    site_country: Country | None = None
    residence: Country | None = None
    citizenships: list[Country] | None = Field(default=None, min_length=1)
    from_: Instant | None = Field(default=None, alias="from")
    until: Instant | None = None

    @property
    def since(self) -> float:
        """Seconds since 1970 at which it begins."""
        return -math.inf if self.from_ is None else self.from_.timestamp()

    @property
    def end(self) -> float:
        """Seconds since 1970 at which it has ended."""
        return math.inf if self.until is None else self.until.timestamp()


# The law of a row


def _parse_country(text: str) -> str | None:
    return text if text in NAMES else None


def _parse_citizenships(text: str) -> FactSet | None:
    members = text.split(BETWEEN)
    return FactSet(frozenset(members)) if all(member in NAMES for member in members) else None


def _explain_citizenships(text: str) -> str:
    wrong = next(member for member in text.split(BETWEEN) if member not in NAMES)
    hint = f"; several stand as JP{BETWEEN}KR" if len(text) > 2 else ""
    return f"{refuse_country(wrong[:40])}{hint}"


def _parse_seconds(text: str) -> float | None:
    try:
        return parse_instant(text).timestamp()
    except ValueError:
        return None


def _explain_seconds(text: str) -> str:
    try:
        parse_instant(text[:40])
    except ValueError as error:
        return str(error)
    return f"{text[:40]!r}... is longer than any instant"


def _one_of(what: str, ids: Collection[str]) -> tuple[Callable[[str], str | None], Callable[[str], str]]:
    def parse(text: str) -> str | None:
        return text if text in ids else None

    def explain(text: str) -> str:
        word = text[:64]
        return f"no {what} {word!r}{nearest(word, ids)}"

    return parse, explain


def _any(text: str) -> str:
    return text


def make_columns(issuer_ids: Collection[str], affiliate_ids: Collection[str]) -> tuple[Column, ...]:
    """Return the columns of a table of people, in the order of ``COLUMNS``.

    Args:
        issuer_ids: the issuers that are declared.
        affiliate_ids: the affiliates that are declared.
    """
    return (
        Column("issuer", *_one_of("issuer", issuer_ids), empty=None),
        Column("subject", parse_key, explain_key, empty=None),
        Column("affiliate", *_one_of("affiliate", affiliate_ids)),
        Column("kind", *_one_of("kind", KINDS)),
        Column("site_country", _parse_country, refuse_country),
        Column("residence", _parse_country, refuse_country),
        Column("citizenships", _parse_citizenships, _explain_citizenships),
        Column("from", _parse_seconds, _explain_seconds, empty=-math.inf),
        Column("until", _parse_seconds, _explain_seconds, empty=math.inf),
    )


_REST_LAW: Final[Mapping[str, tuple[Callable[[str], Any], Any]]] = {
    "affiliate": (_any, UNKNOWN),
    "kind": (_any, UNKNOWN),
    **{
        column.name: (column.parse, column.empty)
        for column in make_columns((), ())
        if column.name in REST and column.name not in {"affiliate", "kind"}
    },
}


def check_people(
    entries: Sequence[PersonEntry], issuer_ids: Collection[str], affiliate_ids: Collection[str]
) -> list[Problem]:
    """Return what is wrong across registers: issuers and affiliates that do not exist, intervals, overlaps."""
    problems = []
    for index, entry in enumerate(entries):
        if entry.issuer not in issuer_ids:
            problems.append(
                Problem((index, "issuer"), f"no issuer {entry.issuer!r}{nearest(entry.issuer, issuer_ids)}")
            )
        if entry.affiliate is not None and entry.affiliate not in affiliate_ids:
            hint = nearest(entry.affiliate, affiliate_ids)
            problems.append(Problem((index, "affiliate"), f"no affiliate {entry.affiliate!r}{hint}"))
        if entry.since >= entry.end:
            problems.append(Problem((index, "until"), BACKWARDS))
    return problems


BACKWARDS: Final = "`until` is not after `from`: the engagement would never be in force"


def explain_overlap(first: str) -> str:
    """Say that somebody is engaged twice at once.

    Args:
        first: where the other row stands.
    """
    return f"the same person is engaged at the same time in {first}: end one engagement before the next begins"


Row: TypeAlias = tuple[Any, ...]
"""Subject, issuer, and whatever else: the issuer is any value that can be ordered."""
Spans: TypeAlias = Callable[[Row], tuple[float, float]]
"""Returns the interval of a row."""


def order_rows(rows: list[Row], spans: Spans) -> list[tuple[Row, Row]]:
    """Put rows in the order of subject, issuer and begin; return those that overlap, each with an earlier one."""
    rows.sort(key=_SUBJECT)
    subjects = [row[0] for row in rows]
    repeated = [place for place, is_same in enumerate(map(eq, subjects, islice(subjects, 1, None))) if is_same]
    overlaps: list[tuple[Row, Row]] = []
    done = -1
    for place in repeated:
        if place < done:
            continue
        done = place + 1
        while done < len(rows) and subjects[done] == subjects[place]:
            done += 1
        group = sorted(rows[place:done], key=lambda row: (row[1], spans(row)))
        rows[place:done] = group
        overlaps += _find_overlaps(group, spans)
    return overlaps


_SUBJECT: Final = itemgetter(0)


def _find_overlaps(group: list[Row], spans: Spans) -> list[tuple[Row, Row]]:
    """Return every row of one subject that begins before an earlier one has ended, with the one that ends last."""
    overlaps = []
    last = group[0]
    for row in group[1:]:
        if row[1] != last[1]:
            last = row
            continue
        (since, until), (_, end) = spans(row), spans(last)
        if since < end:
            overlaps.append((last, row))
        if until > end:
            last = row
    return overlaps


# The register in force


class PeopleInMemory:
    """A small register.

    Args:
        engagements: by issuer id and subject.
    """

    def __init__(self, engagements: Mapping[tuple[str, str], tuple[Engagement, ...]]) -> None:
        self._engagements = engagements

    def find(self, issuer_id: str, subject: str) -> tuple[Engagement, ...]:
        """Return every row of somebody, the earliest first."""
        return self._engagements.get((issuer_id, subject), ())


def compute_people(entries: Sequence[PersonEntry], places: Sequence[str]) -> PeopleInMemory:
    """Return the register of entries that have been checked.

    Args:
        entries: the entries.
        places: where each stands.
    """
    found: dict[tuple[str, str], list[Engagement]] = {}
    for entry, place in zip(entries, places, strict=True):
        found.setdefault((entry.issuer, entry.subject), []).append(_engage(entry, place))
    return PeopleInMemory({key: tuple(sorted(rows, key=lambda row: row.since)) for key, rows in found.items()})


def _engage(entry: PersonEntry, place: str) -> Engagement:
    return Engagement(
        affiliate=entry.affiliate or UNKNOWN,
        kind=entry.kind or UNKNOWN,
        site_country=entry.site_country or UNKNOWN,
        residence=entry.residence or UNKNOWN,
        citizenships=FactSet(frozenset(entry.citizenships)) if entry.citizenships else UNKNOWN,
        since=entry.since,
        until=entry.end,
        place=place,
    )


class PeopleInRows:
    """A large register, whose rows are kept in a file.

    Args:
        rows: its rows by subject and issuer; the other cells in the order of ``REST``, and then the place.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def __reduce__(self) -> tuple[Any, ...]:
        return PeopleInRows, (self._rows,)

    def find(self, issuer_id: str, subject: str) -> tuple[Engagement, ...]:
        """Return every row of somebody, the earliest first."""
        found = [_read_row(cells) for cells in self._rows.find(subject, issuer_id)]
        return tuple(sorted(found, key=lambda row: row.since)) if len(found) > 1 else tuple(found)


_LAW: Final = tuple(_REST_LAW[name] for name in REST)


def _read_row(cells: Sequence[str]) -> Engagement:
    """Return the engagement of one row.

    Raises:
        ValueError: a cell is not what was written there.
    """
    *texts, place = cells
    values = [parse(text) if text else empty for text, (parse, empty) in zip(texts, _LAW, strict=True)]
    if None in values:
        raise ValueError("a row of the people register does not read as it was written")
    affiliate, kind, site, residence, citizenships, since, until = values
    return Engagement(affiliate, kind, site, residence, citizenships, since, until, place)
