# SPDX-License-Identifier: Apache-2.0
"""Reads what a directory said of ids.

- A country stands there in one form and no other: what is none makes the whole answer on that id a failure. One country
  beside another that nobody can read would be half of the truth.
- No country at all (no such id, null, an empty list) is *not found*.
- What was not asked is not listened to.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from proxy.model.country import CountryForm, read_country
from proxy.model.json_path import Every, JsonPath
from proxy.model.strict_json import read_json
from proxy.model.subject import Located, Told

BETWEEN: Final = ";"
"""Stands between the countries of one cell or value."""
FAILED: Final = Located(Told.FAILED)
NOT_FOUND: Final = Located(Told.NOT_FOUND)


def locate(values: Iterable[Any], form: CountryForm) -> Located:
    """Return what the countries that are told of one id come to."""
    told = [*values]
    if all(each is None for each in told):
        return NOT_FOUND
    countries = {read_country(each, form) if isinstance(each, str) else None for each in told}
    known = sorted(each for each in countries if each is not None)
    return Located(Told.FOUND, tuple(known)) if len(known) == len(countries) else FAILED


def read_cell(text: str | None, form: CountryForm) -> Located:
    """Return what one cell or value says, in which several countries may stand."""
    return NOT_FOUND if text is None else locate(text.split(BETWEEN), form)


def read_rows(rows: Iterable[Sequence[Any]], form: CountryForm) -> dict[str, Located]:
    """Return what rows of an id and a country say, by id."""
    cells: dict[str, list[Any]] = {}
    for id_, country in rows:
        told = cells.setdefault(id_, []) if isinstance(id_, str) else []
        told.extend(country.split(BETWEEN) if isinstance(country, str) else [country])
    return {id_: locate(told, form) for id_, told in cells.items()}


def read_document(data: bytes, select: JsonPath, form: CountryForm) -> Located:
    """Return what a document of JSON says of the one id that was asked.

    Raises:
        ValueError: it is no JSON that reads the same for everybody.
    """
    return locate(_select(read_json(data), select), form)


def read_records(
    data: bytes, records: JsonPath, record_id: JsonPath | None, select: JsonPath, form: CountryForm
) -> dict[str, Located]:
    """Return what a document of JSON says of several ids.

    Args:
        data: the document.
        records: where the records stand.
        record_id: where the id stands in a record; None: it is the name under which the record stands.
        select: where the countries stand in a record.
        form: how they are written.

    Raises:
        ValueError: it is no JSON that reads the same for everybody.
    """
    told: dict[str, list[Any]] = {}
    for name, record in _follow(read_json(data), records):
        ids = [name] if record_id is None else [_as_text(value) for _, value in _follow(record, record_id)]
        for id_ in ids:
            if id_ is not None:
                told.setdefault(id_, []).extend(_select(record, select))
    return {id_: locate(values, form) for id_, values in told.items()}


def _select(value: Any, select: JsonPath) -> list[Any]:
    """Return the countries that stand somewhere, or None where there are none."""
    found: list[Any] = []
    for _, each in _follow(value, select):
        found += each if isinstance(each, list) else [each]
    return found or [None]


def _follow(value: Any, path: JsonPath) -> list[tuple[str | None, Any]]:
    """Return what stands at a path, each with the name under which it stands."""
    found: list[tuple[str | None, Any]] = [(None, value)]
    for step in path:
        found = [pair for _, each in found for pair in _step(each, step)]
    return found


def _step(value: Any, step: str | Every) -> Iterable[tuple[str | None, Any]]:
    if isinstance(step, str):
        return [(step, value[step])] if isinstance(value, Mapping) and step in value else []
    if isinstance(value, Mapping):
        return value.items()
    return [(None, each) for each in value] if isinstance(value, list) else []


def _as_text(value: Any) -> str | None:
    """Return an id that is a text or a whole number, as a text; None for what is no id."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None
