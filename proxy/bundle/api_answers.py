# SPDX-License-Identifier: Apache-2.0
"""What may leave of a route's answers: ``fields`` of the records, ``envelope`` round them, and how they are read.

- Whatever is not declared does not leave an answer that is looked into.
- Paths are followed while an answer is read, so at one place either names stand or a wildcard, and what is declared is
  not declared again below.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Final

from pydantic import BeforeValidator
from pydantic import Field as Key

from proxy.bundle.api_places import HeaderName, InAnswer, ParameterName, refuse_answer_field
from proxy.bundle.api_subjects import SubjectEntry, find_record_country
from proxy.model.api import Where
from proxy.model.entry import Category, Entry, Number, choice, refuse
from proxy.model.inspection import DEFAULT_KEPT, Beyond, Field, Inspection, Media, Member, OnDenied
from proxy.model.json_path import EVERY, JsonPath, Step, parse_json_path
from proxy.model.problem import Problem, nearest
from proxy.model.query import fold_name, is_alike

_PLAIN: Final = (Beyond.NOTHING.value, Beyond.TOTAL.value)
"""What a member outside of the records says of them in one word."""


class FieldEntry(Entry):
    """A declared field of a record."""

    category: Annotated[str, Category]
    keep: Number = DEFAULT_KEPT
    """Characters that `mask` leaves at the end, and `truncate` at the beginning."""


class MemberEntry(Entry):
    """A declared member outside of the records that names a place among them."""

    cursor: ParameterName | None = None
    """The query parameter in which it comes back."""
    says: Annotated[str, choice(*_PLAIN)] = Beyond.NOTHING
    """In place of a cursor: `keep`, or `total` for what counts records."""


def _widen_field(raw: Any) -> Any:
    return {"category": raw} if isinstance(raw, str) else raw


def _widen_member(raw: Any) -> Any:
    if isinstance(raw, str):
        if raw not in _PLAIN:
            raise refuse(f"expected {', '.join(_PLAIN)} or {{cursor: PARAMETER}}{nearest(raw, _PLAIN)}")
        return {"says": raw}
    if isinstance(raw, dict) and raw.keys() <= {"cursor", "says"} and len(raw) != 1:
        raise refuse("expected exactly one of: cursor, says")
    return raw


_FieldPlace = Annotated[
    FieldEntry, BeforeValidator(_widen_field, json_schema_input_type=FieldEntry | Annotated[str, Category])
]
_MemberPlace = Annotated[
    MemberEntry,
    BeforeValidator(_widen_member, json_schema_input_type=MemberEntry | Annotated[str, choice(*_PLAIN)]),
]


class AnswerEntry(Entry):
    """What the answers of a route may hold."""

    answers: Annotated[str, choice(*Media)] = Media.JSON
    """What the body is: one document, a document a line, or events with a document each."""
    fields_: dict[str, _FieldPlace] = Key(default_factory=dict, alias="fields")
    """JSONPath in the record to the data category there."""
    data: list[Annotated[str, Category]] = Key(default_factory=list)
    """The data categories of what it carries, where no field could say where they stand: an image, a file, a tunnel."""
    envelope: dict[str, _MemberPlace] = Key(default_factory=dict)
    """JSONPath in the document to what a member outside of the records says of them."""
    on_denied: Annotated[str, choice(*OnDenied)] = OnDenied.DROP
    """What becomes of an answer with a record that is denied."""
    undeclared: Annotated[str, choice("drop", "refuse")] = "drop"
    """What becomes of an answer with members that nobody declared."""
    searchable_by: list[ParameterName] | None = None
    """The query parameters that may stand where a record could be dropped."""
    answer_headers: list[HeaderName] = Key(default_factory=list)
    """Fields of the answer's head that leave beside the usual ones."""

    @property
    def categories(self) -> frozenset[str]:
        """The data categories of what it carries."""
        return frozenset(self.data) | {field.category for field in self.fields_.values()}


LEAVING: Final = frozenset({"answers", "envelope", "on_denied", "undeclared", "searchable_by", "answer_headers"})
"""Keys that say something of answers that are looked into, and nothing where no fields are declared."""


def check_answers(answers: AnswerEntry, subject: SubjectEntry | None) -> list[Problem]:
    """Return what is wrong with what an answer may hold."""
    written = sorted(LEAVING & answers.model_fields_set)
    if subject is None:
        keys = [*written, *(["fields"] if answers.fields_ else []), *(["data"] if answers.data else [])]
        message = "a route without personal data declares no fields, and nothing of its answers: leave this out"
        return [Problem((key,), message, at_key=True) for key in keys]
    if not answers.fields_:
        message = "it says what leaves of an answer that is looked into, and `fields` is missing"
        return [Problem((key,), message, at_key=True) for key in written]
    problems = [*_check_fields(answers), *_check_envelope(answers, subject), *_check_headers(answers, subject)]
    if answers.data:
        message = "`fields` says already what it carries, and where: declare it there"
        problems.append(Problem(("data",), message, at_key=True))
    return problems + _check_searchable(answers, subject)


def _check_fields(answers: AnswerEntry) -> list[Problem]:
    paths, problems = _read_paths("fields", answers.fields_)
    whole = [text for text, path in paths.items() if not path]
    problems += [
        Problem(
            ("fields", text),
            "'$' is the whole record: declare its members one by one, or what is no JSON under `data`",
            at_key=True,
        )
        for text in whole
    ]
    clashes = find_clashes({text: path for text, path in paths.items() if path})
    return problems + [
        Problem(
            ("fields", text), f"it overlaps {other}: declare the one or the other, or members that differ", at_key=True
        )
        for text, other in clashes.items()
    ]


def _check_envelope(answers: AnswerEntry, subject: SubjectEntry) -> list[Problem]:
    paths, problems = _read_paths("envelope", answers.envelope)
    records = _read_records(subject)
    if records == () and paths:
        message = "the whole document is one record, and nothing is outside: say where the `records` of `subject` stand"
        return [*problems, Problem(("envelope",), message, at_key=True)]
    clashes = find_clashes(({} if records is None else {"`records`": records}) | paths)
    problems += [
        Problem(
            ("envelope", text), f"it overlaps {other}: the envelope is what stands outside of the records", at_key=True
        )
        for text, other in clashes.items()
    ]
    for text, member in answers.envelope.items():
        if member.cursor is not None and answers.searchable_by is not None:
            problems += _check_cursor(text, member.cursor, answers.searchable_by)
    return problems


def _read_paths(key: str, texts: Iterable[str]) -> tuple[dict[str, JsonPath], list[Problem]]:
    """Return the paths that stand as names under a key, and what is wrong with those that are none."""
    paths: dict[str, JsonPath] = {}
    problems = []
    for text in texts:
        path = _read_path(text)
        if isinstance(path, str):
            problems.append(Problem((key, text), path, at_key=True))
        else:
            paths[text] = path
    return paths, problems


def _check_cursor(text: str, parameter: str, searchable: list[str]) -> list[Problem]:
    if parameter in searchable:
        return []
    message = (
        f"the cursor comes back as {parameter!r}, which `searchable_by` does not list{nearest(parameter, searchable)}"
    )
    return [Problem(("envelope", text, "cursor"), message)]


def _check_headers(answers: AnswerEntry, subject: SubjectEntry) -> list[Problem]:
    telling = {place.name.lower() for place in subject.places.values() if place.where is InAnswer.HEAD}
    problems = []
    for index, name in enumerate(answers.answer_headers):
        message = refuse_answer_field(name)
        if name.lower() in telling:
            message = "it tells the country of the subject, and does not reach the caller"
        if message:
            problems.append(Problem(("answer_headers", index), message))
    return problems


def _check_searchable(answers: AnswerEntry, subject: SubjectEntry) -> list[Problem]:
    if answers.searchable_by is None:
        if not could_drop(answers, subject):
            return []
        message = (
            "records could be dropped here, and hidden ones must not be found by probing: `searchable_by` is missing, "
            "the query parameters that may stand (none: [])"
        )
        return [Problem((), message)]
    asked = {key: place.name for key, place in subject.places.items() if place.where is Where.QUERY}
    problems = [
        Problem(("searchable_by",), f"the parameter {name!r}, in which `subject` finds {key}, is not listed")
        for key, name in asked.items()
        if name not in answers.searchable_by
    ]
    exact = {*asked.values(), *(each.cursor for each in answers.envelope.values() if each.cursor is not None)}
    return problems + [
        Problem(
            ("searchable_by", index), f"some servers take {name!r} for {other!r}: a request with it would be refused"
        )
        for index, name in enumerate(answers.searchable_by)
        for other in sorted(exact - {name})
        if is_alike(fold_name(name), fold_name(other))
    ]


def could_drop(answers: AnswerEntry, subject: SubjectEntry) -> bool:
    """Say whether an answer could leave with some of its records alone."""
    records = _read_records(subject)
    is_several = answers.answers != Media.JSON or (records is not None and EVERY in records)
    return subject.is_in_records and is_several and answers.on_denied == OnDenied.DROP


class _Node:
    """A place on the way of paths that do not clash."""

    __slots__ = ("below", "first", "is_end")

    def __init__(self, first: str) -> None:
        self.below: dict[Step, _Node] = {}
        self.first = first
        """The path that was the first to come here."""
        self.is_end = False


def find_clashes(paths: Mapping[str, JsonPath]) -> dict[str, str]:
    """Return the paths that could be of a place that an earlier one names, inside or round it, each with that one."""
    root = _Node(next(iter(paths), ""))
    found = {text: _insert(root, text, path) for text, path in paths.items()}
    return {text: other for text, other in found.items() if other}


def _insert(root: _Node, text: str, path: JsonPath) -> str:
    """Add a path to a tree of others; return the one that it clashes with, if any, and leave it out."""
    node = root
    for step in path:
        if node.is_end or (node.below and (step is EVERY) is not (EVERY in node.below)):
            return node.first
        node = node.below.setdefault(step, _Node(text))
    if node.is_end or node.below:
        return node.first
    node.is_end = True
    return ""


def _read_path(text: str) -> JsonPath | str:
    """Return a path, or the sentence that says why it is none."""
    try:
        return parse_json_path(text)
    except ValueError as error:
        return str(error)


def _read_records(subject: SubjectEntry) -> JsonPath | None:
    """Return where the records stand; None where what is written is no path."""
    path = _read_path(subject.records or "$")
    return None if isinstance(path, str) else path


def compile_inspection(answers: AnswerEntry, subject: SubjectEntry | None) -> Inspection | None:
    """Return what the answers of a route may hold; None where nobody declares it. The entries have been checked."""
    if subject is None or not answers.fields_:
        return None
    country, form = find_record_country(subject)
    id_ = subject.places.get("id")
    return Inspection(
        media=Media(answers.answers),
        records=parse_json_path(subject.records or "$"),
        country=country,
        form=form,
        id=parse_json_path(id_.name) if id_ is not None and id_.where is InAnswer.RECORD else None,
        is_id_key=id_ is not None and id_.where is InAnswer.KEY,
        fields=tuple(
            Field(parse_json_path(text), field.category, field.keep) for text, field in answers.fields_.items()
        ),
        members=tuple(_compile_members(answers.envelope)),
        on_denied=OnDenied(answers.on_denied),
        refuses_undeclared=answers.undeclared == "refuse",
        headers=frozenset(name.lower() for name in answers.answer_headers),
    )


def _compile_members(envelope: Mapping[str, MemberEntry]) -> Iterator[Member]:
    for text, member in envelope.items():
        path = parse_json_path(text)
        if member.cursor is not None:
            yield Member(path, Beyond.CURSOR, member.cursor)
        else:
            yield Member(path, Beyond(member.says))
