# SPDX-License-Identifier: Apache-2.0
"""What becomes of records: the judge's verdict, and what it means for each declared field.

One verdict for each distinct country, or country and id where ids matter, asked once an answer.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, TypeAlias

import msgspec

from proxy.model.api import Transform, combine_transforms
from proxy.model.country import CountryForm, read_country
from proxy.model.decision import Reason
from proxy.model.facts import UNKNOWN, Fact
from proxy.model.filtering import AnswerRefusedError, Judge, Verdict
from proxy.model.inspection import Beyond, Field, Inspection, Member
from proxy.redaction.grammar import DOCUMENT, is_integer, read_string
from proxy.redaction.survey import follow
from proxy.redaction.transforms import bind
from proxy.redaction.treatment import Treatment
from proxy.redaction.values import ARRAY, Node, ValueReader

Countries: TypeAlias = tuple[Fact[str], ...]
"""Of a record, at least one."""
NOWHERE: Final[Countries] = (UNKNOWN,)
How: TypeAlias = Transform | Beyond
Change: TypeAlias = Callable[[bytes], bytes | None]


class Ruling(msgspec.Struct, frozen=True, gc=False):
    """What becomes of records of one subject, or of many that no rule tells apart."""

    verdict: Verdict
    changes: Mapping[int, How]
    """What is done to declared values that do not leave as they are, by identity of their declaration."""
    key: str
    """The same in a word, empty where all leave as they are: rulings of one key change the same values likewise."""


class Rulings:
    """Asks the judge, and remembers for one answer.

    Args:
        inspection: what is declared.
        judge: decides.
        treatment: of the answer.
    """

    def __init__(self, inspection: Inspection, judge: Judge, treatment: Treatment) -> None:
        self._inspection = inspection
        self._judge = judge
        self._treatment = treatment
        self._by_country: dict[Countries, Ruling] = {}
        self._made: dict[int, Ruling] = {}
        """By identity of a verdict, which the ruling holds on to."""
        self._combined: dict[tuple[int, ...], tuple[list[Verdict], Verdict]] = {}
        """By identity of several verdicts, which are held on to."""
        self._read: dict[bytes, Countries] = {b"": NOWHERE}
        self._beyond: dict[int, How] = {}
        if treatment.hides:
            self._beyond = {id(each): each.beyond for each in inspection.members if each.beyond is not Beyond.NOTHING}
        self.tells_ids = judge.tells_ids

    def of(self, countries: Countries, id_: Fact[str]) -> Ruling | None:
        """Return what becomes of a record, None where the judge has to ask somebody first."""
        if not self.tells_ids and (kept := self._by_country.get(countries)) is not None:
            return kept
        verdicts = [self._judge.judge(country, id_) for country in countries]
        known = [verdict for verdict in verdicts if verdict is not None]
        if len(known) < len(verdicts):
            return None
        ruling = self._rule(known[0] if len(known) == 1 else self._combine(known))
        if not self.tells_ids:
            self._by_country[countries] = ruling
        return ruling

    def _combine(self, verdicts: list[Verdict]) -> Verdict:
        key = tuple(map(id, verdicts))
        held = self._combined.get(key)
        if held is None:
            held = (verdicts, combine(verdicts))
            if len(self._combined) < _MAX_KEPT:
                self._combined[key] = held
        return held[1]

    def _rule(self, verdict: Verdict) -> Ruling:
        ruling = self._made.get(id(verdict))
        if ruling is None:
            changes = {**self._beyond, **changes_of(self._inspection.fields, verdict.transforms)}
            key = ",".join(f"{declared}={how}" for declared, how in changes.items())
            ruling = Ruling(verdict, changes, key)
            if len(self._made) < _MAX_KEPT:
                self._made[id(verdict)] = ruling
        return ruling

    def read_countries(self, raw: bytes) -> Countries:
        """Return the countries that a value is, a scalar or a list of scalars; of nothing, unknown ones.

        Raises:
            AnswerRefusedError: it is something else.
        """
        held = self._read.get(raw)
        if held is None:
            held = countries_in(self._inspection, raw)
            if len(self._read) < _MAX_KEPT:
                self._read[raw] = held
        return held

    def beyond(self, member: Member) -> How | None:
        """Return what is done to a member outside of the records; None where it leaves as it is."""
        return self._beyond.get(id(member))

    def changer(self, declared: Field | Member, how: How) -> Change:
        """Return what makes of a value what takes its place; None where nothing can."""
        if isinstance(declared, Field):
            return bind(Transform(how), declared, self._treatment.name)
        return partial(self._seal, declared)

    def _seal(self, member: Member, raw: bytes) -> bytes | None:
        """Return a cursor given out anew; ``null`` is none and stays. None where it can be no cursor."""
        if raw == b"null":
            return raw
        if self._treatment.seal is None or not (raw[:1] == b'"' or is_integer(raw)):
            return None
        return msgspec.json.encode(self._treatment.seal(member, read_string(raw) if raw[:1] == b'"' else raw.decode()))


_MAX_KEPT: Final = 1024


def changes_of(fields: tuple[Field, ...], transforms: Mapping[str, Transform]) -> dict[int, Transform]:
    """Return what is done to which fields: of its category, of one below it, and of one above it."""
    changes: dict[int, Transform] = {}
    for category, each in transforms.items():
        for field in fields:
            if _is_within(field.category, category) or _is_within(category, field.category):
                held = changes.get(id(field))
                changes[id(field)] = each if held is None else combine_transforms(held, each)
    return changes


def _is_within(category: str, above: str) -> bool:
    return category == above or category.startswith(f"{above}.")


def combine(verdicts: list[Verdict]) -> Verdict:
    """Return the strictest of the verdicts on one record: any that denies, else all transforms of all."""
    first = verdicts[0]
    for verdict in verdicts:
        if not verdict.is_allowed:
            return verdict
    transforms = dict(first.transforms)
    for verdict in verdicts[1:]:
        for category, each in verdict.transforms.items():
            held = transforms.get(category)
            transforms[category] = each if held is None else combine_transforms(held, each)
    return first if transforms == dict(first.transforms) else Verdict(first.decision, True, transforms)  # noqa: FBT003


def countries_of(inspection: Inspection, record: Node, raw: bytes) -> Countries:
    """Return the countries of a record.

    Raises:
        AnswerRefusedError: something else stands there, or one that is written otherwise.
    """
    if inspection.country is None:
        return NOWHERE
    found: list[Fact[str]] = []
    for node in follow(inspection.country, record, Reason.ANSWER_COUNTRY_MALFORMED):
        each = node.children if node.kind == ARRAY else (node,)
        found.extend(_read_country(raw[one.start : one.end], inspection.form) for one in each)
    return tuple(dict.fromkeys(found)) or NOWHERE


def countries_in(inspection: Inspection, raw: bytes) -> Countries:
    """Return the countries that a value is, a scalar or a list of scalars, that stands where they are declared."""
    if raw[:1] != b"[":
        return (_read_country(raw, inspection.form),)
    reader = ValueReader(DOCUMENT, len(raw), 1, len(raw))
    node = reader.read(raw, 0, is_ended=True)
    if node is None:
        raise AnswerRefusedError(Reason.ANSWER_COUNTRY_MALFORMED)
    found = [_read_country(raw[each.start : each.end], inspection.form) for each in node.children]
    return tuple(dict.fromkeys(found)) or NOWHERE


def _read_country(raw: bytes, form: CountryForm) -> Fact[str]:
    if raw == b"null":
        return UNKNOWN
    code = read_country(read_string(raw), form) if raw[:1] == b'"' else None
    if code is None:
        raise AnswerRefusedError(Reason.ANSWER_COUNTRY_MALFORMED)
    return code


def id_of(inspection: Inspection, record: Node, raw: bytes) -> Fact[str]:
    """Return the id in a record.

    Raises:
        AnswerRefusedError: something else stands there, or several.
    """
    if inspection.id is None:
        return UNKNOWN
    found = list(follow(inspection.id, record, Reason.ANSWER_SHAPE_UNDECLARED))
    if len(found) > 1:
        raise AnswerRefusedError(Reason.ANSWER_SHAPE_UNDECLARED)
    return read_id(raw[found[0].start : found[0].end]) if found else UNKNOWN


def read_id(raw: bytes) -> Fact[str]:
    """Return the id that a value is: the text of a string or of an integer.

    Raises:
        AnswerRefusedError: it is another value.
    """
    if raw == b"null":
        return UNKNOWN
    if raw[:1] == b'"':
        return read_string(raw)
    if not is_integer(raw):
        raise AnswerRefusedError(Reason.ANSWER_SHAPE_UNDECLARED)
    return raw.decode()
