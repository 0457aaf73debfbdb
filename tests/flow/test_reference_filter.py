# SPDX-License-Identifier: Apache-2.0
"""What leaves of an answer, in a table: both the filter and the slow one that it is held to must come to it."""

from typing import Final

import msgspec
import pytest
from msgspec.structs import replace

from proxy.model.api import Transform
from proxy.model.country import CountryForm
from proxy.model.decision import Reason
from proxy.model.facts import UNKNOWN
from proxy.model.inspection import Beyond, Field, Inspection, Media, Member, OnDenied
from proxy.model.json_path import parse_json_path
from proxy.redaction.filters import make_filter
from proxy.redaction.transforms import transform
from proxy.redaction.treatment import Treatment
from tests.support.json_source import Limits
from tests.support.judging import ALLOWED, DENIED, Run, Table, TableJudge, allowed_with, drive, name_value, seal_cursor
from tests.support.reference_filter import expect
from tests.support.reference_model import Setting
from tests.support.reference_output import ReferenceFilter, check_run, read_compact

P: Final = parse_json_path
NAME: Final = Field(P("$.name"), "user.name", 2)
COUNTRY: Final = Field(P("$.country"), "user.country")
LIST: Final = Inspection(records=P("$.users[*]"), country=P("$.country"), id=P("$.id"), fields=(NAME, COUNTRY))
BARE: Final = replace(LIST, records=P("$[*]"))
ONE: Final = replace(LIST, records=())
MAP: Final = replace(LIST, records=P("$.by[*]"), id=None, is_id_key=True)
LINES: Final = replace(ONE, media=Media.LINES)
EVENTS: Final = replace(ONE, media=Media.EVENTS)
STRICT: Final = replace(LIST, refuses_undeclared=True)
REFUSING: Final = replace(LIST, on_denied=OnDenied.REFUSE)
PAGED: Final = replace(
    LIST,
    members=(
        Member(P("$.page")), Member(P("$.meta.total"), Beyond.TOTAL), Member(P("$.next"), Beyond.CURSOR, "after"),
    ),
)  # fmt: skip
PHONES: Final = replace(BARE, fields=(NAME, COUNTRY, Field(P("$.phones[*].no"), "user.contact.phone_number", 1)))
TAGS: Final = replace(BARE, fields=(COUNTRY, Field(P("$.tags[*]"), "user.contact")))

TABLE: Final = Table(
    {
        "JP": DENIED,
        "KR": ALLOWED,
        "TW": allowed_with({"user.name": Transform.MASK, "user.contact": Transform.REMOVE}),
        "SG": allowed_with({"user": Transform.NULL}),
        UNKNOWN: DENIED,
    }
)
DEPTH: Final = 5
NUMBER_CHARS: Final = 12
RECORD_BYTES: Final = 200


class Row(msgspec.Struct, frozen=True):
    """An answer, and what leaves of it."""

    inspection: Inspection
    body: bytes
    leaves: bytes | Reason
    hides: bool = True


KR: Final = b'{"country":"KR","name":"Min"}'
JP: Final = b'{"country":"JP","name":"Taro"}'
SECOND: Final = b'{"name" : "M\\u0069n","country":"KR" }'


def users(*records: bytes) -> bytes:
    return b'{"users":[%b]}' % b",".join(records)


ROWS: Final = {
    "a list of none": Row(LIST, users(), users()),
    "one that is allowed": Row(LIST, users(KR), users(KR)),
    "one that is denied": Row(LIST, users(JP), users()),
    "the first goes": Row(LIST, users(JP, KR, SECOND), users(KR, SECOND)),
    "the last goes": Row(LIST, users(KR, SECOND, JP), users(KR, SECOND)),
    "one in the middle goes": Row(LIST, users(KR, JP, SECOND), users(KR, SECOND)),
    "two in a row go": Row(LIST, users(KR, JP, JP, SECOND), users(KR, SECOND)),
    "a list without anything round it": Row(BARE, b"[%b,%b]" % (JP, KR), b"[%b]" % KR),
    "nobody knows of what country": Row(LIST, users(b'{"name":"x"}', KR), users(KR)),
    "the country is null": Row(LIST, users(b'{"country":null,"name":"x"}', KR), users(KR)),
    "several countries, one of them denied": Row(LIST, users(KR.replace(b'"KR"', b'["KR","JP"]'), KR), users(KR)),
    "several countries, all allowed": Row(
        LIST, users(KR.replace(b'"KR"', b'["KR","TW"]')), users(b'{"country":["KR","TW"],"name":"*in"}')
    ),
    "no countries": Row(LIST, users(KR.replace(b'"KR"', b"[]"), KR), users(KR)),
    "a country in small letters": Row(LIST, users(KR, KR.replace(b"KR", b"kr")), Reason.ANSWER_COUNTRY_MALFORMED),
    "a country of three letters": Row(LIST, users(KR.replace(b"KR", b"KOR")), Reason.ANSWER_COUNTRY_MALFORMED),
    "a country that is a number": Row(LIST, users(KR.replace(b'"KR"', b"82")), Reason.ANSWER_COUNTRY_MALFORMED),
    "a country with an escape": Row(
        LIST,
        users(KR.replace(b"KR", b"\\u004bR"), JP.replace(b"JP", b"J\\u0050")),
        users(KR.replace(b"KR", b"\\u004bR")),
    ),
    "a country of three letters where that is declared": Row(
        replace(LIST, form=CountryForm.ALPHA3),
        users(KR.replace(b"KR", b"KOR"), JP.replace(b"JP", b"JPN")),
        users(KR.replace(b"KR", b"KOR")),
    ),
    "members that nothing declares": Row(
        LIST, b'{"users":[{"country":"KR","age":3,"name":"Min"}],"sum":1}', users(KR)
    ),
    "names that only look declared": Row(
        LIST, users(b'{"Name":1,"country":"KR","nam":2,"name":"Min","name ":3,"":4}'), users(KR)
    ),
    "a declared name with an escape": Row(
        LIST, users(b'{"country":"KR","n\\u0061me":"Min"}'), users(b'{"country":"KR","n\\u0061me":"Min"}')
    ),
    "an undeclared member where it is refused": Row(
        STRICT, users(b'{"country":"KR","age":3}'), Reason.ANSWER_MEMBER_UNDECLARED
    ),
    "an undeclared member beside the records where it is refused": Row(
        STRICT, b'{"users":[],"sum":1}', Reason.ANSWER_MEMBER_UNDECLARED
    ),
    "an object at a declared path": Row(
        LIST, users(b'{"country":"KR","name":{"of":%b}}' % JP), users(b'{"country":"KR"}')
    ),
    "a list of scalars at a declared path": Row(
        LIST, users(b'{"country":"KR","name":["a",1,null]}'), users(b'{"country":"KR","name":["a",1,null]}')
    ),
    "a list of lists at a declared path": Row(LIST, users(b'{"country":"KR","name":[[]]}'), users(b'{"country":"KR"}')),
    "a list with an object at a declared path": Row(
        LIST, users(b'{"country":"KR","name":["a",%b]}' % JP), users(b'{"country":"KR"}')
    ),
    "an object among declared elements": Row(
        TAGS, b'[{"tags":["a",{"b":1},["c"]],"country":"KR"}]', b'[{"tags":["a",["c"]],"country":"KR"}]'
    ),
    "an object where it would be masked": Row(LIST, users(b'{"country":"TW","name":{}}'), users(b'{"country":"TW"}')),
    "an object among elements that would be removed": Row(
        TAGS, b'[{"tags":[{"b":1},"a"],"country":"TW"}]', b'[{"tags":[null],"country":"TW"}]'
    ),
    "an object at a declared path where it is refused": Row(
        STRICT, users(b'{"country":"KR","name":{}}'), Reason.ANSWER_MEMBER_UNDECLARED
    ),
    "an object in place of a record that is a value": Row(
        replace(LIST, country=None, id=None, fields=(Field(P("$"), "user.name"),)), users(b"{}"),
        Reason.ANSWER_SHAPE_UNDECLARED,
    ),
    "a denied record where it is refused": Row(REFUSING, users(KR, JP), Reason.RULE_DENIES),
    "a name that stands twice": Row(LIST, users(b'{"country":"JP","country":"KR"}'), Reason.ANSWER_KEY_REPEATED),
    "a name that stands twice by an escape": Row(
        LIST, users(b'{"country":"JP","countr\\u0079":"KR"}'), Reason.ANSWER_KEY_REPEATED
    ),
    "a name that stands twice in what nothing declares": Row(
        LIST, b'{"users":[],"x":{"y":{"a":1,"a":2}}}', Reason.ANSWER_KEY_REPEATED
    ),
    "lists that stand twice": Row(LIST, b'{"users":[%b],"users":[%b]}' % (KR, JP), Reason.ANSWER_KEY_REPEATED),
    "null in place of the list": Row(LIST, b'{"users":null}', Reason.ANSWER_SHAPE_UNDECLARED),
    "no list": Row(LIST, b'{"user":[]}', Reason.ANSWER_SHAPE_UNDECLARED),
    "a text in place of the list": Row(LIST, b'{"users":"none"}', Reason.ANSWER_SHAPE_UNDECLARED),
    "another list round the list": Row(LIST, b'[{"users":[]}]', Reason.ANSWER_SHAPE_UNDECLARED),
    "a map in place of the list": Row(LIST, b'{"users":{"a":%b,"b":%b}}' % (KR, JP), b'{"users":{"a":%b}}' % KR),
    "a text in place of a record": Row(LIST, users(b'"Min"'), Reason.ANSWER_SHAPE_UNDECLARED),
    "a list in place of a record": Row(LIST, users(b"[%b]" % KR), Reason.ANSWER_SHAPE_UNDECLARED),
    "an id that is no text": Row(LIST, users(b'{"id":{},"country":"KR"}'), Reason.ANSWER_SHAPE_UNDECLARED),
    "an id with a fraction": Row(LIST, users(b'{"id":1.0,"country":"KR"}'), Reason.ANSWER_SHAPE_UNDECLARED),
    "a map by id": Row(MAP, b'{"by":{"u1":%b,"u2":%b,"u3":%b}}' % (KR, JP, KR), b'{"by":{"u1":%b,"u3":%b}}' % (KR, KR)),
    "one record, allowed": Row(ONE, KR, KR),
    "one record, denied": Row(ONE, JP, Reason.RULE_DENIES),
    "one record in a member, denied": Row(replace(LIST, records=P("$.user")), b'{"user":%b}' % JP, Reason.RULE_DENIES),
    "declared members, where nothing could be dropped": Row(
        PAGED,
        b'{"page":[1],"users":[],"meta":{"total":3,"x":1},"next":"abc"}',
        b'{"page":[1],"users":[],"meta":{"total":3},"next":"abc"}',
        hides=False,
    ),
    "an object at a declared member": Row(PAGED, b'{"page":{"n":%b},"users":[]}' % JP, users()),
    "a list with an object at a declared member": Row(PAGED, b'{"users":[],"page":[1,%b]}' % JP, users()),
    "a list of lists at a declared member": Row(PAGED, b'{"page":[[]],"users":[]}', users()),
    "an object at a total and at a cursor": Row(
        PAGED, b'{"meta":{"total":{}},"next":{"a":1},"users":[]}', b'{"meta":{},"users":[]}'
    ),
    "an object at a total and at a cursor, where nothing could be dropped": Row(
        PAGED, b'{"meta":{"total":{}},"next":{"a":1},"users":[]}', b'{"meta":{},"users":[]}', hides=False
    ),
    "an object at a declared member where it is refused": Row(
        replace(PAGED, refuses_undeclared=True), b'{"page":{},"users":[]}', Reason.ANSWER_MEMBER_UNDECLARED
    ),
    "declared members, where something could": Row(
        PAGED,
        b'{"page":[1],"users":[],"meta":{"total":3,"x":1},"next":"abc"}',
        b'{"page":[1],"users":[],"meta":{},"next":"%b"}' % seal_cursor(PAGED.members[2], "abc").encode(),
    ),
    "a name that is masked": Row(LIST, users(KR.replace(b"KR", b"TW")), users(b'{"country":"TW","name":"*in"}')),
    "all that is null": Row(LIST, users(KR.replace(b"KR", b"SG")), users(b'{"country":null,"name":null}')),
    "a mask on a number": Row(LIST, users(b'{"country":"TW","name":5}', KR), users(KR)),
    "an element that is removed": Row(
        TAGS, b'[{"tags":["a","b"],"country":"TW"}]', b'[{"tags":[null,null],"country":"TW"}]'
    ),
    "a member of an element that is removed": Row(
        PHONES, b'[{"phones":[{"no":"1","at":2},{}],"country":"TW"}]', b'[{"phones":[{},{}],"country":"TW"}]'
    ),
    "numbers that no computer holds": Row(
        LIST, users(b'{"country":"KR","name":-0.10e+4000}'), users(b'{"country":"KR","name":-0.10e+4000}')
    ),
    "half a surrogate": Row(
        LIST, users(b'{"country":"KR","name":"\\uD83D!"}'), users(b'{"country":"KR","name":"\\uD83D!"}')
    ),
    "gaps everywhere": Row(
        LIST, b' {\t"users" :\r\n [ %b ,%b\n, %b ] } \n' % (JP, SECOND, KR), b'{"users":[%b,%b]}' % (SECOND, KR)
    ),
    "nothing": Row(LIST, b"", Reason.ANSWER_EMPTY),
    "cut off": Row(LIST, users(KR)[:-1], Reason.ANSWER_INCOMPLETE),
    "cut off within a word": Row(BARE, b'[{"country":nul', Reason.ANSWER_INCOMPLETE),
    "something behind it": Row(LIST, users(KR) + b" x", Reason.ANSWER_MALFORMED),
    "a zero byte behind it": Row(LIST, users(KR) + b"\0", Reason.ANSWER_MALFORMED),
    "another document behind it": Row(LIST, users(KR) + users(JP), Reason.ANSWER_MALFORMED),
    "a byte order mark": Row(LIST, b"\xef\xbb\xbf" + users(KR), Reason.ANSWER_MALFORMED),
    "UTF-16": Row(LIST, users(KR).decode().encode("utf-16-le"), Reason.ANSWER_MALFORMED),
    "a byte that is no UTF-8": Row(LIST, users(KR.replace(b"Min", b"M\xfcn")), Reason.ANSWER_MALFORMED),
    "a surrogate in UTF-8": Row(LIST, users(KR.replace(b"Min", b"\xed\xa0\x80")), Reason.ANSWER_MALFORMED),
    "a line break in a text": Row(LIST, users(KR.replace(b"Min", b"M\nin")), Reason.ANSWER_MALFORMED),
    "a comma too many": Row(LIST, users(KR, b""), Reason.ANSWER_MALFORMED),
    "a number that begins with zero": Row(LIST, users(b'{"country":"KR","name":01}'), Reason.ANSWER_MALFORMED),
    "NaN": Row(LIST, users(b'{"country":"KR","name":NaN}'), Reason.ANSWER_MALFORMED),
    "single quotes": Row(LIST, b"{'users':[]}", Reason.ANSWER_MALFORMED),
    "a comment": Row(LIST, b'{"users":[]/**/}', Reason.ANSWER_MALFORMED),
    "as deep as it may be": Row(LIST, users(b'{"country":"KR","name":[[]]}'), users(b'{"country":"KR"}')),
    "deeper than it may be": Row(LIST, users(b'{"country":"KR","name":[[[]]]}'), Reason.ANSWER_TOO_DEEP),
    "deeper than it may be, undeclared": Row(LIST, b'{"users":[],"x":[[[[[]]]]]}', Reason.ANSWER_TOO_DEEP),
    "as long a number as it may be": Row(
        BARE, b'[{"country":"KR","name":123456789012}]', b'[{"country":"KR","name":123456789012}]'
    ),
    "a longer number than it may be": Row(
        BARE, b'[{"country":"KR","name":1234567890123}]', Reason.ANSWER_NUMBER_TOO_LONG
    ),
    "a longer number than it may be, undeclared": Row(
        LIST, b'{"users":[],"x":-123456789012}', Reason.ANSWER_NUMBER_TOO_LONG
    ),
    "a record that is too large": Row(
        BARE, b'[{"country":"KR","name":"%b"}]' % (b"x" * 200), Reason.ANSWER_RECORD_TOO_LARGE
    ),
    "lines, one of them denied": Row(LINES, b"\n".join([KR, JP, SECOND, b""]), b"\n".join([KR, SECOND, b""])),
    "lines, all of them denied": Row(LINES, b"\n".join([JP, JP, b""]), b""),
    "lines of which the last does not end": Row(LINES, b"\r\n".join([KR, b"", SECOND]), b"\n".join([KR, SECOND, b""])),
    "a line that is cut off": Row(LINES, KR + b"\n" + KR[:9], Reason.ANSWER_INCOMPLETE),
    "a line with a list, then one with a map": Row(
        replace(LIST, media=Media.LINES),
        users(KR, KR, KR) + b'\n{"users":{"a":%b,"b":%b,"c":%b}}\n' % (KR, JP, KR),
        users(KR, KR, KR) + b'\n{"users":{"a":%b,"c":%b}}\n' % (KR, KR),
    ),
    "two documents in a line": Row(LINES, KR + KR + b"\n", Reason.ANSWER_MALFORMED),
    "events, one of them denied": Row(
        EVENTS, b"data: %b\n\ndata:%b\n\nevent: x\ndata: %b\n\n" % (KR, JP, SECOND),
        b"data: %b\n\nevent: x\ndata: %b\n\n" % (KR, SECOND),
    ),
    "an event of two lines": Row(
        EVENTS, b'data: {"country":\r\ndata: "KR"}\r\n\r\n', b'data: {"country":\ndata: "KR"}\n\n'
    ),
    "an event that is cut off": Row(EVENTS, b"data: %b\n\ndata: %b\n" % (KR, KR), Reason.ANSWER_INCOMPLETE),
    "an event that is no JSON": Row(EVENTS, b"data: %b\n\ndata: [DONE]\n\n" % KR, Reason.ANSWER_MALFORMED),
}  # fmt: skip


def setting_of(row: Row) -> Setting:
    return Setting(
        row.inspection,
        TABLE,
        lambda made, raw, field: transform(made, raw, field, name_value),
        seal_cursor,
        row.hides,
        RECORD_BYTES,
        Limits(DEPTH, NUMBER_CHARS),
    )


def check_row(row: Row, run: Run) -> None:
    if isinstance(row.leaves, Reason):
        assert run.reason is row.leaves
        return
    assert run.reason is None
    media = row.inspection.media
    assert read_compact(media, run.output) == read_compact(media, row.leaves)
    setting = setting_of(row)
    check_run(setting, expect(setting, row.body), run)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_the_reference_comes_to_the_table(row: Row) -> None:
    judge = TableJudge(TABLE)
    check_row(row, drive(ReferenceFilter(setting_of(row), judge), judge, [row.body]))


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("size", [1, 3, 100_000])
def test_the_filter_comes_to_the_table(row: Row, size: int) -> None:
    judge = TableJudge(TABLE)
    treatment = Treatment(
        name=name_value, seal=seal_cursor, hides=row.hides, record_bytes=RECORD_BYTES, depth=DEPTH,
        number_chars=NUMBER_CHARS,
    )  # fmt: skip
    made = make_filter(row.inspection, judge, treatment)
    check_row(row, drive(made, judge, [row.body[at : at + size] for at in range(0, len(row.body), size)]))


def test_a_record_of_a_map_is_judged_by_its_name_whatever_stood_before_the_map() -> None:
    records = replace(MAP, media=Media.LINES, country=None, records=P("$.users[*]"))
    body = b'{"users":[{"name":"a"},{"name":"b"}]}\n{"users":{"u1":{"name":"secret"},"u2":{"name":"c"}}}\n'
    table = Table({UNKNOWN: ALLOWED}, {"u1": DENIED}, tells_ids=True)
    for cut in range(len(body)):
        judge = TableJudge(table)
        treatment = Treatment(name=name_value, seal=None, hides=True)
        run = drive(make_filter(records, judge, treatment), judge, [body[:cut], body[cut:]])
        assert b"secret" not in run.output
        assert run.reason is None
