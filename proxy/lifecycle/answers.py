# SPDX-License-Identifier: Apache-2.0
"""What becomes of a sample answer, record by record: the filter and the judge of requests, asked about a text.

Of values nothing is told but countries: a record is named by its place.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from proxy.model.decision import Certainty, Decision, Effect, Reason
from proxy.model.facts import Fact
from proxy.model.filtering import DROPPED, LEFT, MASKED, AnswerRefusedError, Content, Filter, Verdict
from proxy.model.inspection import Inspection, Media, Member, OnDenied
from proxy.model.json_path import EVERY, JsonPath, render_json_path
from proxy.model.subject import LookupNeeded, Subject
from proxy.pipeline.judge import AnswerJudge
from proxy.policy.attributes import Facts
from proxy.policy.partial import Partial
from proxy.policy.policy import Policy
from proxy.redaction.filters import make_filter
from proxy.redaction.places import unit_steps
from proxy.redaction.rulings import changes_of
from proxy.redaction.treatment import Treatment

_PARTS: Final = re.compile(rb"[^,}\]\n]*(?:[,}\]\n]|$)")
"""A text in parts of which none ends more than one record: each ends where one might."""


class FieldChange(msgspec.Struct, frozen=True):
    """A declared field that does not leave as it is."""

    path: str
    """From the record."""
    transform: str


class RecordTold(msgspec.Struct, frozen=True):
    """What became of a record."""

    place: str
    country: str
    """A code, ``unknown``, or ``several``."""
    what: str
    """``left``, ``masked`` or ``dropped``."""
    rule: str
    """The determining rule, or ``default``."""
    reason: str
    is_by_unknown: bool = False
    masking: tuple[str, ...] = ()
    """Rules that mask."""
    fields: tuple[FieldChange, ...] = ()
    """Declared ones that are changed in such a record."""

    def describe(self) -> str:
        """Say in words what became of it, by its place and its country."""
        by = " and ".join(self.masking) if self.what == MASKED and self.masking else self.rule
        how = " (by unknown)" if self.is_by_unknown else ""
        why = f", {self.reason}" if self.reason == Reason.TRANSFORMS_NOT_APPLIED else ""
        return f"{self.place or 'a record'}: {self.country}, {self.what} by {by}{how}{why}"


class AnswerTold(msgspec.Struct, frozen=True):
    """What became of an answer."""

    records: tuple[RecordTold, ...]
    leaving: str | None
    """The body that reaches the caller; None where it is refused."""
    refused: str = ""
    """Why it is refused; empty where it is not."""
    rule: str = ""
    """The rule by which it is."""
    subjects: tuple[Subject, ...] = ()
    """Whose records were judged, each once."""

    def count(self, *kinds: str) -> int:
        """Return how many records came to one of these."""
        return sum(each.what in kinds for each in self.records)

    def describe(self) -> str:
        """Say in words what became of the records."""
        return f"left {self.count(LEFT, MASKED)}, dropped {self.count(DROPPED)}, masked {self.count(MASKED)}"


class NotingJudge:
    """Asks another judge, and takes note of whom it was asked about.

    Args:
        judge: who decides.
    """

    def __init__(self, judge: AnswerJudge) -> None:
        self._judge = judge
        self.tells_ids = judge.tells_ids
        self.asked: dict[Subject, None] = {}

    @property
    def missing(self) -> tuple[LookupNeeded, ...]:
        """What must be asked before the next record can be judged."""
        return self._judge.missing

    def judge(self, country: Fact[str], id_: Fact[str]) -> Verdict | None:
        """Return what becomes of a record."""
        self.asked[Subject(country=country, id=id_, source="answer")] = None
        return self._judge.judge(country, id_)

    def take_shown(self) -> list[Subject]:
        """Return whose records were let go since this was called last, where that is noted."""
        return self._judge.take_shown()

    def name(self, verdict: Verdict) -> str:
        """Return the country of the records of a verdict."""
        return self._judge.name(verdict)

    def is_same_under(self, policy: Policy, facts: Facts, partial: Partial | None) -> bool:
        """Decide by another policy from now on, and say whether each verdict so far stays what it is."""
        return self._judge.is_same_under(policy, facts, partial)


def tell_answer(inspection: Inspection, judge: AnswerJudge, body: str, *, hides: bool) -> AnswerTold:
    """Say what becomes of an answer.

    Pseudonyms and sealed cursors, which are the deployment's, are told in words.

    Args:
        inspection: what its route declares.
        judge: decides records; nobody has to be asked for it.
        body: of the answer.
        hides: whether a record could be dropped.
    """
    noting = NotingJudge(judge)
    treatment = Treatment(name=_name, seal=_seal, hides=hides)
    told = _Telling(inspection, noting, make_filter(inspection, noting, treatment), body)
    answer = told.tell()
    return msgspec.structs.replace(answer, subjects=tuple(noting.asked))


def tell_subjects(inspection: Inspection, judge: AnswerJudge, subjects: Iterable[Subject]) -> AnswerTold:
    """Say what becomes of records, of which it is known whose they are and nothing else."""
    asked = tuple(subjects)
    try:
        verdicts = [judge.judge(subject.country, subject.id) for subject in asked]
    except AnswerRefusedError as error:
        return AnswerTold((), None, str(error.reason), subjects=asked)
    told = tuple(_tell(inspection, judge, verdict) for verdict in verdicts if verdict is not None)
    refusing = next((each for each in told if each.what == DROPPED), None)
    if refusing is not None and refuses_whole(inspection):
        return AnswerTold(told, None, refusing.reason, refusing.rule, asked)
    return AnswerTold(told, None, subjects=asked)


def refuses_whole(inspection: Inspection) -> bool:
    """Say whether an answer with a denied record is refused: as declared, and wherever the document is the record."""
    is_single = inspection.media is Media.JSON and not unit_steps(inspection.records)
    return is_single or inspection.on_denied is OnDenied.REFUSE


def _name(_category: str, text: str) -> str:
    return f"pseudonym of {text}"


def _seal(_member: Member, text: str) -> str:
    return f"sealed {text}"


class _Telling:
    def __init__(self, inspection: Inspection, judge: AnswerJudge, filter_: Filter, body: str) -> None:
        self._inspection = inspection
        self._judge = judge
        self._filter = filter_
        self._body = body
        self._places = list_places(inspection, body)
        self._records: list[RecordTold] = []

    def tell(self) -> AnswerTold:
        leaving = []
        try:
            for part in _PARTS.findall(self._body.encode()):
                leaving.append(self._filter.feed(part))
                self._take()
            leaving.append(self._filter.end())
            self._take()
        except AnswerRefusedError as error:
            self._take()
            return self._refuse(error)
        return AnswerTold(tuple(self._records), b"".join(leaving).decode())

    def _refuse(self, error: AnswerRefusedError) -> AnswerTold:
        rule = "" if error.verdict is None else error.verdict.decision.rule_id
        return AnswerTold(tuple(self._records), None, str(error.reason), rule)

    def _take(self) -> None:
        """Tell the records that were found since this was called last."""
        content = self._filter.take_content()
        for verdict, number in content.by_verdict:
            for _ in range(number):
                at = len(self._records)
                place = self._places[at] if at < len(self._places) else f"record {at + 1}"
                what, reason = _find_what(content, verdict)
                told = _tell(self._inspection, self._judge, verdict, place)
                self._records.append(msgspec.structs.replace(told, what=what, reason=str(reason)))


def _find_what(content: Content, verdict: Verdict) -> tuple[str, Reason]:
    """Return what became of records, and why.

    An event may hold several; then what is said of them together is taken for each.
    """
    reason = verdict.decision.reason
    if content.unfit and verdict.is_allowed:
        return DROPPED, Reason.TRANSFORMS_NOT_APPLIED
    if not verdict.is_allowed:
        return DROPPED, reason
    return (MASKED if content.masked and verdict.transforms else LEFT), reason


def _tell(inspection: Inspection, judge: AnswerJudge, verdict: Verdict, place: str = "") -> RecordTold:
    """Say what a verdict means for a record."""
    decision, fields = verdict.decision, inspection.fields
    changes = changes_of(fields, verdict.transforms) if verdict.is_allowed else {}
    return RecordTold(
        place,
        judge.name(verdict),
        DROPPED if not verdict.is_allowed else MASKED if verdict.transforms else LEFT,
        decision.rule_id,
        str(decision.reason),
        is_by_unknown=_is_by_unknown(decision),
        masking=tuple(rule.id for rule in decision.applied if rule.effect is Effect.MASK),
        fields=tuple(
            FieldChange(render_json_path(field.path), str(changes[id(field)]))
            for field in fields
            if id(field) in changes
        ),
    )


def _is_by_unknown(decision: Decision) -> bool:
    return decision.rule is not None and decision.rule.certainty is Certainty.BY_UNKNOWN


# Where the records stand.


def list_places(inspection: Inspection, body: str) -> list[str]:
    """Return where the records of an answer stand, in their order; as far as it can be read."""
    path = inspection.records[: unit_steps(inspection.records)]
    found: list[str] = []
    for prefix, text in _divide(inspection.media, body):
        try:
            document = json.loads(text)
        except ValueError:
            break
        found += [f"{prefix}{place}" for place in _walk(document, path, "$")]
    return found


def _divide(media: Media, body: str) -> Iterator[tuple[str, str]]:
    """Yield each document of an answer with the words that name it."""
    if media is Media.JSON:
        yield "", body
    elif media is Media.LINES:
        yield from ((f"line {at}, ", line) for at, line in enumerate(body.split("\n"), start=1) if line.strip())
    else:
        events = [re.findall(r"(?m)^data: ?(.*)$", event) for event in re.split(r"\n\n", body.replace("\r\n", "\n"))]
        yield from ((f"event {at}, ", "\n".join(data)) for at, data in enumerate(events, start=1) if data)


def list_undeclared(inspection: Inspection, body: str) -> list[str]:
    """Return the paths of members of an answer that nobody declared, each once: they do not leave."""
    declared = [inspection.records + field.path for field in inspection.fields]
    declared += [member.path for member in inspection.members]
    found: dict[JsonPath, None] = {}
    for _, text in _divide(inspection.media, body):
        try:
            found |= dict.fromkeys(_find_undeclared(json.loads(text), (), declared))
        except ValueError:
            break
    return [render_json_path(path) for path in found]


def _find_undeclared(value: Any, path: JsonPath, declared: Sequence[JsonPath]) -> Iterator[JsonPath]:
    """Yield the shortest paths below which nothing is declared; elements of arrays are not told apart."""
    if any(each == path for each in declared):
        return
    if not any(each[: len(path)] == path for each in declared):
        yield path
    elif isinstance(value, dict):
        is_map = any(each[: len(path) + 1] == (*path, EVERY) for each in declared)
        for name, member in value.items():
            yield from _find_undeclared(member, (*path, EVERY if is_map else name), declared)
    elif isinstance(value, list):
        for element in value:
            yield from _find_undeclared(element, (*path, EVERY), declared)


def _walk(value: Any, path: JsonPath, place: str) -> Iterator[str]:
    if not path:
        yield place
        return
    step, *rest = path
    if step is not EVERY:
        if isinstance(value, dict) and step in value:
            yield from _walk(value[step], tuple(rest), place + render_json_path((step,))[1:])
    elif isinstance(value, list):
        for at, each in enumerate(value):
            yield from _walk(each, tuple(rest), f"{place}[{at}]")
    elif isinstance(value, dict):
        for at, each in enumerate(value.values()):
            yield from _walk(each, tuple(rest), f"{place}.*{at}")


def says_the_same(expected: str, leaving: str | None) -> bool:
    """Say whether what leaves is what was expected: the same values, however they are laid out."""
    if leaving is None:
        return False
    try:
        return _read_all(expected) == _read_all(leaving)
    except ValueError:
        return expected.split() == leaving.split()


def _read_all(text: str) -> list[Any]:
    """Return the documents that follow one another in a text.

    Raises:
        ValueError: something else stands there.
    """
    documents, decoder, at = [], json.JSONDecoder(), 0
    while at < len(text.rstrip()):
        at += len(text[at:]) - len(text[at:].lstrip())
        document, at = decoder.raw_decode(text, at)
        documents.append(document)
    return documents
