# SPDX-License-Identifier: Apache-2.0
"""Readers of answers as targets, and of what requests say of subjects: held against slow readers that share nothing.

The first byte of an input chooses what it is read with.
"""

from typing import Final

from msgspec.structs import replace

from proxy.model.api import Selector, SubjectSource, Transform, Where
from proxy.model.decision import Reason
from proxy.model.facts import UNKNOWN
from proxy.model.inspection import Beyond, Field, Inspection, Media, Member, OnDenied
from proxy.model.json_path import parse_json_path
from proxy.redaction.codings import CODINGS
from proxy.redaction.filters import make_filter
from proxy.redaction.transforms import transform
from proxy.redaction.treatment import Treatment
from proxy.request.cursors import unseal_query
from proxy.request.query import parse_query
from proxy.subject.bodies import read_body
from proxy.subject.selectors import select_subjects
from tests.fuzz.parsers import cut
from tests.support.coding_reference import check_alike
from tests.support.json_source import parse
from tests.support.judging import ALLOWED, DENIED, Run, Table, TableJudge, allowed_with, drive, name_value, seal_cursor
from tests.support.query_reference import read_query
from tests.support.reference_filter import expect
from tests.support.reference_model import Setting
from tests.support.reference_output import check_run

_FIELDS: Final = tuple(
    Field(parse_json_path(path), category)
    for path, category in (
        ("$.name", "user.name"),
        ("$.phones[*]", "user.contact.phone_number"),
        ("$.profile.born", "user.date_of_birth"),
        ("$.id", "user.unique_id"),
        ("$.country", "user.country"),
    )
)
_MEMBERS: Final = (
    Member(parse_json_path("$.page")),
    Member(parse_json_path("$.meta.total"), Beyond.TOTAL),
    Member(parse_json_path("$.next"), Beyond.CURSOR, "after"),
)
_TABLE: Final = Table(
    {
        "JP": DENIED,
        "KR": ALLOWED,
        "TW": allowed_with({"user.name": Transform.MASK, "user.contact": Transform.REMOVE, "user": Transform.TRUNCATE}),
        "SG": allowed_with({"user": Transform.PSEUDONYMISE}),
        UNKNOWN: DENIED,
    }
)
_PATH: Final = parse_json_path
_ONE: Final = Inspection(country=_PATH("$.country"), id=_PATH("$.id"), fields=_FIELDS)
_SHAPES: Final = (
    replace(_ONE, records=_PATH("$.users[*]"), members=_MEMBERS),
    replace(_ONE, records=_PATH("$[*]")),
    _ONE,
    Inspection(
        records=_PATH("$.by[*]"), country=_PATH("$.at.country"), is_id_key=True, fields=_FIELDS[:4], members=_MEMBERS
    ),
    replace(_ONE, records=_PATH("$[*].users[*]"), on_denied=OnDenied.REFUSE),
    replace(_ONE, records=_PATH("$.users[*]"), refuses_undeclared=True),
)


def _run(setting: Setting, parts: list[bytes], *, asks: bool) -> Run:
    judge = TableJudge(_TABLE, asks)
    treatment = Treatment(name=name_value, seal=setting.seal, hides=setting.hides)
    return drive(make_filter(setting.inspection, judge, treatment), judge, parts)


def _filter(media: Media, data: bytes) -> None:
    """Filter a body in one part and in many, as the reference does, whether or not the judge has to ask."""
    if not data:
        return
    choice, body = data[0], data[1:]
    seal = None if choice & 64 else seal_cursor
    setting = Setting(
        replace(_SHAPES[choice % 8 % len(_SHAPES)], media=media),
        _TABLE,
        lambda made, raw, field: transform(made, raw, field, name_value),
        seal,
        hides=not choice & 128,
    )
    whole = _run(setting, [body], asks=False)
    check_run(setting, expect(setting, body), whole)
    for asks, parts in ((True, [body]), (False, [*cut(body)]), (True, [*cut(body)])):
        run = _run(setting, parts, asks=asks)
        assert run.outcome == whole.outcome
        shorter, longer = sorted((run.output, whole.output), key=len)
        assert longer.startswith(shorter)


def fuzz_json_answer(data: bytes) -> None:
    _filter(Media.JSON, data)


def fuzz_lines_answer(data: bytes) -> None:
    _filter(Media.LINES, data)


def fuzz_events_answer(data: bytes) -> None:
    _filter(Media.EVENTS, data)


def fuzz_coding(data: bytes) -> None:
    """Decode a body in one part and in many."""
    if not data:
        return
    body = data[1:]
    check_alike(CODINGS[data[0] % len(CODINGS)], body, cut(body))


_QUERY_ID: Final = SubjectSource(id=Selector(Where.QUERY, "id", ","), country=Selector(Where.QUERY, "country"))
_FORM_ID: Final = SubjectSource(id=Selector(Where.FORM, "id"), country=Selector(Where.LITERAL, "JP"))
_JSON_ID: Final = SubjectSource(id=Selector(Where.JSON, "$.users[*].id"), country=Selector(Where.JSON, "$.country"))


def fuzz_query(data: bytes) -> None:
    """Read a query as the slow reader does, find subjects in it, and put a cursor in its place."""
    text = data.decode("latin-1")
    query = parse_query(text)
    if isinstance(query, Reason):
        return
    assert [(each.name, each.value) for each in query.parameters] == read_query(text)
    assert "&".join(each.raw for each in query.parameters) == "&".join(filter(None, text.split("&")))
    select_subjects(_QUERY_ID, {}, query, (), None)
    unsealed = unseal_query(query, ("after",), lambda _, sealed: sealed[::-1])
    if isinstance(unsealed, Reason):
        return
    wanted = [(name, value[::-1] if name == "after" else value) for name, value in read_query(text) or []]
    assert read_query(unsealed) == wanted


def fuzz_request_body(data: bytes) -> None:
    """Read a body as JSON and as a form; what is read, a strict reader reads alike."""
    source, type_ = _JSON_ID, "application/json"
    body = read_body(type_, None, data, source)
    if isinstance(body, Reason):
        assert body is Reason.BODY_MISSING or not _is_sound(data), f"{body} of a sound document"
    else:
        assert not parse(data).flaws - {Reason.ANSWER_NUMBER_TOO_LONG}
        select_subjects(source, {}, None, (), body)
    form = read_body("application/x-www-form-urlencoded", None, data, _FORM_ID)
    if isinstance(form, Reason):
        return
    assert form.form is not None
    assert [(each.name, each.value) for each in form.form.parameters] == read_query(data.decode("latin-1"))
    select_subjects(_FORM_ID, {}, None, (), form)


def _is_sound(data: bytes) -> bool:
    """Say whether a document has no flaw at all, half surrogates among them."""
    return not parse(data).flaws and b"\\u" not in data
