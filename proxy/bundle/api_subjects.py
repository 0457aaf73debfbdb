# SPDX-License-Identifier: Apache-2.0
"""``subject`` of a route: whose data it carries, as the request, the answer or a register tells it.

- A country of the request was written by whoever asks: it is a claim. An owner vouches for the API (``authoritative``),
  or the answer has to say the same (``confirm``), or a register tells it in its place (``lookup``).
- What the answer tells comes after the API has acted: it is for routes that read.
"""

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from proxy.bundle.api_places import (
    ConfirmEntry,
    ConfirmPlace,
    CountryEntry,
    CountryPlace,
    IdPlace,
    InAnswer,
    Place,
    PlaceEntry,
    check_beside,
    check_place,
    compile_place,
)
from proxy.model.api import SubjectSource, Where
from proxy.model.country import CountryForm
from proxy.model.entry import Date, Entry, Id, Text
from proxy.model.json_path import EVERY, JsonPath, parse_json_path
from proxy.model.problem import Problem


class Vouched(Entry):
    """Who vouches for something, and when that is looked at again."""

    ASSUMED: ClassVar[Mapping[str, Any]] = {"by": "assumed", "review_by": "9999-12-31"}
    by: Text
    review_by: Date


class SubjectEntry(Entry):
    """Whose data a route carries."""

    NOT_YET: ClassVar[frozenset[str]] = frozenset({"persona"})
    ASSUMED: ClassVar[Mapping[str, Any]] = {
        "records": "$[*]",
        "authoritative": Vouched.ASSUMED,
        "country": CountryEntry.model_construct(),
        "id": PlaceEntry.model_construct(),
        "confirm": ConfirmEntry.model_construct(),
    }
    records: Text | None = None
    """JSONPath of the records in the answer; without: the whole document is one."""
    country: CountryPlace | None = None
    id: IdPlace | None = None
    """Of the subject; ``key`` is the name under which a record stands in a map."""
    authoritative: Vouched | None = None
    """Who vouches that the API answers for no other country than the request's."""
    confirm: ConfirmPlace | None = None
    """Where the answer says the country that the request claims."""
    lookup: Id | None = None
    """The register that tells the country of the id."""

    @property
    def places(self) -> dict[str, Place]:
        """Where what is said of the subject stands, by the key that says it."""
        entries = {"country": self.country, "id": self.id, "confirm": self.confirm}
        return {key: place for key, entry in entries.items() if entry is not None and (place := entry.place)}

    @property
    def late(self) -> str:
        """The key that names what of the country only the answer tells; empty where the request tells all of it."""
        deciding = ("country", "confirm", *(["id"] if self.lookup else []))
        return next((key for key in deciding if key in self.places and not self.places[key].is_in_request), "")

    @property
    def is_in_records(self) -> bool:
        """Whether records tell whose they are, rather than the request or the head of the answer."""
        return bool(self.late) and self.places[self.late].where is not InAnswer.HEAD


def check_subject(subject: SubjectEntry, names: Collection[str]) -> list[Problem]:
    """Return what is wrong with a subject by itself: its places, and what does not go together.

    Args:
        subject: as it is written.
        names: the parameters of the route's path.
    """
    problems = _check_records(subject)
    for key, place in subject.places.items():
        problems += [Problem((key,), message) for message in check_place(key, place, names)]
        problems += check_beside(key, getattr(subject, key), place, names)
    is_told = not any(problem.path[:1] == ("country",) for problem in problems)
    return problems + (_check_pairs(subject) if is_told else [])


def _check_records(subject: SubjectEntry) -> list[Problem]:
    path = None
    if subject.records is not None:
        try:
            path = parse_json_path(subject.records)
        except ValueError as error:
            return [Problem(("records",), str(error))]
    id_ = subject.places.get("id")
    if id_ is not None and id_.where is InAnswer.KEY and (not path or path[-1] is not EVERY):
        message = "`key` is the name under which a record stands in a map: `records` ends in [*], such as $.users[*]"
        return [Problem(("id",), message)]
    return []


def _check_pairs(subject: SubjectEntry) -> list[Problem]:
    """Return what is missing of a subject, and what does not go together."""
    said = [key for key in ("authoritative", "confirm") if getattr(subject, key) is not None]
    if subject.lookup is not None:
        return _check_lookup(subject, said)
    country = subject.country
    if country is None:
        message = "`country` is missing: say where it stands, or which register tells it of the id (`lookup`)"
        return [Problem((), message)]
    place = country.place
    if place is not None and not place.is_in_request:
        message = "the country comes from the answer, not from whoever asks: leave this out"
        return [Problem((key,), message, at_key=True) for key in said]
    if place is not None and not said:
        what = "this country is a claim" if place.where is not Where.LITERAL else "the route says the country itself"
        message = f"{what}: `authoritative` (who vouches that the API answers for no other) or `confirm` is missing"
        return [Problem((), message)]
    if len(said) > 1:
        message = "what the answer confirms needs nobody who vouches for it: leave out `confirm`, or `authoritative`"
        return [Problem(("confirm",), message, at_key=True)]
    return []


def _check_lookup(subject: SubjectEntry, said: Collection[str]) -> list[Problem]:
    problems = []
    if subject.id is None:
        problems.append(Problem(("lookup",), "a register tells the country of an id: `id` is missing"))
    if subject.country is not None:
        message = "the register tells the country: leave out `lookup`, or `country` with what belongs to it"
        return [*problems, Problem(("lookup",), message, at_key=True)]
    message = "the register tells the country, and nobody claims one: leave this out"
    return problems + [Problem((key,), message, at_key=True) for key in said]


def compile_subject(subject: SubjectEntry) -> SubjectSource:
    """Return where a route says whose data it carries. The entry has been checked."""
    country, id_, confirm = subject.country, subject.id, subject.confirm
    place = country.place if country is not None else None
    head, form = _find_head(subject)
    is_claimed = place is not None and place.is_in_request
    said = country.format if country is not None and is_claimed else None
    return SubjectSource(
        country=None if country is None else compile_place(country),
        id=None if id_ is None else compile_place(id_),
        form=said or CountryForm.ANY_CASE,
        is_authoritative=is_claimed and confirm is None,
        lookup=subject.lookup or "",
        header=head,
        header_form=form,
        is_in_answer=subject.is_in_records,
    )


def _find_head(subject: SubjectEntry) -> tuple[str, CountryForm]:
    """Return the field of the answer's head that tells the country, and how it is written there."""
    for entry in (subject.country, subject.confirm):
        if entry is not None and entry.answer_header is not None:
            return entry.answer_header.lower(), entry.format or CountryForm.ALPHA2
    return "", CountryForm.ALPHA2


def find_record_country(subject: SubjectEntry) -> tuple[JsonPath | None, CountryForm]:
    """Return where in a record its subject's country stands, and how it is written there; None: it does not."""
    for entry in (subject.country, subject.confirm):
        place = entry.place if entry is not None else None
        if entry is not None and place is not None and place.where is InAnswer.RECORD:
            return parse_json_path(place.name), entry.format or CountryForm.ALPHA2
    return None, CountryForm.ALPHA2
