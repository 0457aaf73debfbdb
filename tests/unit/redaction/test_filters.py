# SPDX-License-Identifier: Apache-2.0
import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from proxy.model.api import Transform
from proxy.model.country import CountryForm
from proxy.model.decision import Reason
from proxy.model.facts import UNKNOWN
from proxy.model.filtering import AnswerRefusedError
from proxy.model.inspection import Beyond, Inspection, Media, OnDenied
from proxy.redaction import kept_shapes
from proxy.redaction.filters import make_filter
from proxy.redaction.treatment import Treatment
from tests.support.filtering import (
    ALLOWED,
    DENIED,
    TREATMENT,
    ByCountry,
    ByDirectory,
    declare,
    masking,
    parts_of,
    run,
)

MASKED: Final = masking({"user.name": Transform.MASK, "user.id": Transform.REMOVE})
JUDGE: Final = ByCountry({"TW": ALLOWED, "KR": MASKED, "SG": masking({"user": Transform.REDACT}), UNKNOWN: DENIED})
LIST: Final = declare(
    records="$.users[*]",
    country="$.country",
    id="$.id",
    members={"$.page": Beyond.NOTHING, "$.total": Beyond.TOTAL, "$.next": "after"},
)
ALONE: Final = declare(records="$", country="$.country", id="$.id")
WRAPPED: Final = declare(records="$.user", country="$.country", id="$.id", members={"$.meta": Beyond.NOTHING})
EDGES: Final = declare(records="$.data.edges[*].node", country="$.country", members={"$.data.edges[*].cursor": "after"})
NESTED: Final = declare(
    records="$.groups[*].users[*]", country="$.country", members={"$.groups[*].title": Beyond.NOTHING}
)
BY_KEY: Final = declare(records="$.users.*", country="$.country", is_id_key=True)
LINES: Final = declare(records="$", country="$.country", id="$.id", media=Media.LINES)
EVENTS: Final = declare(records="$", country="$.country", id="$.id", media=Media.EVENTS)
TAGGED: Final = declare(
    {"$.tags[*]": "user.tag", "$.address": "user.address", "$.orders[*].id": "user.order", "$.country": "user.country"},
    records="$.users[*]",
    country="$.country",
)


class Row(NamedTuple):
    says: str
    declared: Inspection
    body: str | bytes
    comes_to: str | Reason
    judge: Any = JUDGE
    treatment: Treatment = TREATMENT


TW: Final = '{"id":"1","name":"Mei","country":"TW"}'
JP: Final = '{"id":"2","name":"Taro","country":"JP"}'
KR: Final = '{"id":"3","name":"Minjun","country":"KR"}'
KR_LEFT: Final = '{"name":"**njun","country":"KR"}'
OPEN: Final = Treatment(name=TREATMENT.name, seal=None, hides=False)
UNSEALED: Final = Treatment(name=TREATMENT.name, seal=None, hides=True)


def lists(*records: str) -> str:
    return '{"users":[' + ",".join(records) + "]}"


ROWS: Final = (
    Row("an allowed record leaves as it is", LIST, lists(TW), lists(TW)),
    Row("a denied record goes", LIST, lists(JP), lists()),
    Row("the first goes, and its comma", LIST, lists(JP, TW), lists(TW)),
    Row("the last goes, and its comma", LIST, lists(TW, JP), lists(TW)),
    Row("one in the middle goes, and its comma", LIST, lists(TW, JP, TW), lists(TW, TW)),
    Row("all go", LIST, lists(JP, JP, JP), lists()),
    Row("fields are changed", LIST, lists(KR, TW, JP, KR), lists(KR_LEFT, TW, KR_LEFT)),
    Row("no records is fine", LIST, ' { "users" : [ ] } ', lists()),
    Row("no record in a map is fine", LIST, '{"users":{}}', '{"users":{}}'),
    Row(
        "bytes of a record stay, spaces and all",
        LIST,
        '{"users": [ { "id" :"1" , "country":"TW" } ] }',
        '{"users":[{ "id" :"1" , "country":"TW" }]}',
    ),
    Row(
        "spellings of a value stay",
        LIST,
        lists(r'{"id":1e400,"name":"\u0041\/","country":"\u0054W"}'),
        Reason.ANSWER_SHAPE_UNDECLARED,
    ),
    Row(
        "an integer of many digits stays",
        LIST,
        lists('{"id":123456789012345678901234567890,"country":"TW"}'),
        lists('{"id":123456789012345678901234567890,"country":"TW"}'),
    ),
    Row(
        "a country is known by its text, however it is escaped",
        LIST,
        lists(r'{"id":"2","country":"\u004a\u0050"}'),
        lists(),
    ),
    Row(
        "an undeclared member does not leave",
        LIST,
        lists('{"x":1,"id":"1","y":{"z":[1]},"country":"TW","z":null}'),
        lists('{"id":"1","country":"TW"}'),
    ),
    Row("nor does one outside of the records", LIST, '{"debug":{"sql":["x"]},"users":[],"count":3}', '{"users":[]}'),
    Row(
        "declared members stay in their order",
        LIST,
        '{"page":[1,2],"users":[],"next":null}',
        '{"page":[1,2],"users":[],"next":null}',
    ),
    Row(
        "an object at a declared member does not leave",
        LIST,
        '{"page":{"n":1,"top":' + JP + '},"users":[]}',
        '{"users":[]}',
    ),
    Row("nor does a list with an object in it", LIST, '{"users":[],"page":[1,' + JP + "]}", '{"users":[]}'),
    Row("nor does a list of lists", LIST, '{"page":[[]],"users":[]}', '{"users":[]}'),
    Row(
        "nor does one that is no total and no cursor, where no record can be dropped",
        LIST,
        '{"total":{"by":' + JP + '},"next":[' + JP + '],"users":[]}',
        '{"users":[]}',
        treatment=OPEN,
    ),
    Row(
        "an object at a declared member may refuse",
        replace(LIST, refuses_undeclared=True),
        '{"page":{"n":1},"users":[]}',
        Reason.ANSWER_MEMBER_UNDECLARED,
    ),
    Row(
        "an object at the cursor of an edge goes",
        EDGES,
        '{"data":{"edges":[{"node":' + TW + ',"cursor":{"of":' + JP + "}}]}}",
        '{"data":{"edges":[{"node":' + TW + "}]}}",
    ),
    Row(
        "a total goes, a cursor is sealed",
        LIST,
        '{"total":9,"next":"abc","users":[]}',
        '{"next":"after!abc","users":[]}',
    ),
    Row("a cursor may be a number", LIST, '{"next":17,"users":[]}', '{"next":"after!17","users":[]}'),
    Row("what can be no cursor goes", LIST, '{"next":{"a":1},"users":[]}', '{"users":[]}'),
    Row("so does a list", LIST, '{"next":["a"],"users":[]}', '{"users":[]}'),
    Row("a total goes, whatever it is", LIST, '{"total":{"a":1},"users":[]}', '{"users":[]}'),
    Row("nothing to seal with: cursors go", LIST, '{"next":"abc","users":[]}', '{"users":[]}', treatment=UNSEALED),
    Row(
        "no record can be dropped: totals and cursors stay",
        LIST,
        '{"total":9,"next":"abc","users":[]}',
        '{"total":9,"next":"abc","users":[]}',
        treatment=OPEN,
    ),
    Row(
        "a name that is escaped is the same name",
        LIST,
        lists(r'{"\u0069d":"1","country":"TW"}'),
        lists(r'{"\u0069d":"1","country":"TW"}'),
    ),
    Row("a record of a member alone", TAGGED, '{"users":[{"country":"TW"}]}', '{"users":[{"country":"TW"}]}'),
    Row(
        "a list of scalars at a declared path leaves whole",
        TAGGED,
        '{"users":[{"address":["a", 1,null],"country":"TW"}]}',
        '{"users":[{"address":["a", 1,null],"country":"TW"}]}',
    ),
    Row(
        "an object at a declared path does not leave",
        TAGGED,
        '{"users":[{"address":{"of":' + JP + '},"country":"TW"},{"address":{},"country":"TW"}]}',
        '{"users":[{"country":"TW"},{"country":"TW"}]}',
    ),
    Row(
        "nor does a list with an object in it, or with a list",
        TAGGED,
        '{"users":[{"address":["a",{}],"country":"TW"},{"country":"TW","address":[["a"]]}]}',
        '{"users":[{"country":"TW"},{"country":"TW"}]}',
    ),
    Row(
        "of declared elements those leave that are scalars, or lists of scalars",
        TAGGED,
        '{"users":[{"tags":["a",{"b":1},["c"],[["d"]],null],"country":"TW"}]}',
        '{"users":[{"tags":["a",["c"],null],"country":"TW"}]}',
    ),
    Row(
        "a record that is a value is no object",
        declare({"$": "user.name"}, records="$.users[*]"),
        '{"users":["Mei",["Mei"],{"name":"Mei"}]}',
        Reason.ANSWER_SHAPE_UNDECLARED,
        ByCountry({UNKNOWN: ALLOWED}),
    ),
    Row(
        "a record that is a value leaves",
        declare({"$": "user.name"}, records="$.users[*]"),
        '{"users":["Mei",["Mei"],null]}',
        '{"users":["Mei",["Mei"],null]}',
        ByCountry({UNKNOWN: ALLOWED}),
    ),
    Row(
        "nor is one within an element",
        declare({"$": "user.name"}, records="$[*].node"),
        '[{"node":{"name":"Mei"}}]',
        Reason.ANSWER_SHAPE_UNDECLARED,
        ByCountry({UNKNOWN: ALLOWED}),
    ),
    Row(
        "an object at a declared path may refuse",
        replace(TAGGED, refuses_undeclared=True),
        '{"users":[{"address":{"a":1},"country":"TW"}]}',
        Reason.ANSWER_MEMBER_UNDECLARED,
    ),
    Row(
        "so may an object among declared elements",
        replace(TAGGED, refuses_undeclared=True),
        '{"users":[{"tags":["a",{}],"country":"TW"}]}',
        Reason.ANSWER_MEMBER_UNDECLARED,
    ),
    Row(
        "undeclared members of elements go",
        TAGGED,
        '{"users":[{"orders":[{"id":1,"x":2},{"x":3}],"country":"TW"}]}',
        '{"users":[{"orders":[{"id":1},{}],"country":"TW"}]}',
    ),
    Row(
        "undeclared elements go",
        TAGGED,
        '{"users":[{"orders":["x",{"id":1},7,[8],null],"country":"TW"}]}',
        '{"users":[{"orders":[{"id":1},null],"country":"TW"}]}',
    ),
    Row(
        "a scalar where a container is declared goes",
        TAGGED,
        '{"users":[{"orders":"x","country":"TW"}]}',
        '{"users":[{"country":"TW"}]}',
    ),
    Row(
        "null in place of a container stays",
        TAGGED,
        '{"users":[{"orders":null,"country":"TW"}]}',
        '{"users":[{"orders":null,"country":"TW"}]}',
    ),
    Row(
        "null in place of an element that is removed",
        TAGGED,
        '{"users":[{"tags":["a","b"],"country":"TW"}]}',
        '{"users":[{"tags":[null,null],"country":"TW"}]}',
        ByCountry({"TW": masking({"user.tag": Transform.REMOVE})}),
    ),
    Row(
        "each element is changed",
        TAGGED,
        '{"users":[{"tags":["abcdef",null],"country":"TW"}]}',
        '{"users":[{"tags":["**cdef",null],"country":"TW"}]}',
        ByCountry({"TW": masking({"user.tag": Transform.MASK})}),
    ),
    Row(
        "a list of scalars is redacted whole",
        TAGGED,
        '{"users":[{"address":["a",1],"country":"TW"}]}',
        '{"users":[{"address":"[redacted]","country":"TW"}]}',
        ByCountry({"TW": masking({"user.address.city": Transform.REDACT})}),
    ),
    *(
        Row(
            f"an object is nothing to {transform}: it goes",
            TAGGED,
            '{"users":[{"address":{"a":1},"country":"TW"},{"country":"TW","address":[{}]}]}',
            '{"users":[{"country":"TW"},{"country":"TW"}]}',
            ByCountry({"TW": masking({"user.address": transform})}),
        )
        for transform in (Transform.REMOVE, Transform.REDACT, Transform.MASK)
    ),
    Row(
        "a transform above a field acts on it",
        LIST,
        lists('{"id":"1","country":"SG"}'),
        lists('{"id":"[redacted]","country":"[redacted]"}'),
    ),
    Row("a transform that does not fit drops the record", LIST, lists('{"name":7,"country":"KR"}', TW), lists(TW)),
    Row("a record without a country has an unknown one", LIST, lists('{"id":"1"}', TW), lists(TW)),
    Row("so has one of null", LIST, lists('{"id":"1","country":null}', TW), lists(TW)),
    Row("any of several countries that is denied", LIST, lists('{"id":"1","country":["TW","JP"]}', TW), lists(TW)),
    Row(
        "several that are allowed",
        LIST,
        lists('{"id":"1","country":["TW","TW"]}'),
        lists('{"id":"1","country":["TW","TW"]}'),
    ),
    Row(
        "several, of which one masks",
        LIST,
        lists('{"id":"1","name":"Minjun","country":["TW","KR"]}'),
        lists('{"name":"**njun","country":["TW","KR"]}'),
    ),
    Row(
        "several, which mask in two ways",
        LIST,
        lists('{"id":"1","name":"Minjun","country":["SG","KR"]}'),
        lists('{"name":"[redacted]","country":"[redacted]"}'),
    ),
    Row("no country in a list is an unknown one", LIST, lists('{"id":"1","country":[]}', TW), lists(TW)),
    Row("null in a list is an unknown one", LIST, lists('{"id":"1","country":["TW",null]}', TW), lists(TW)),
    Row("a country in lower case is none", LIST, lists('{"country":"tw"}'), Reason.ANSWER_COUNTRY_MALFORMED),
    Row("a country of three letters is none", LIST, lists('{"country":"TWN"}'), Reason.ANSWER_COUNTRY_MALFORMED),
    Row("a number is no country", LIST, lists('{"country":7}'), Reason.ANSWER_COUNTRY_MALFORMED),
    Row("an object is no country", LIST, lists('{"country":{}}'), Reason.ANSWER_COUNTRY_MALFORMED),
    Row("a list of lists is no country", LIST, lists('{"country":[["TW"]]}'), Reason.ANSWER_COUNTRY_MALFORMED),
    Row(
        "a country as it is declared",
        declare(records="$[*]", country="$.country", form=CountryForm.ALPHA3),
        '[{"country":"TWN"},{"country":"JPN"}]',
        '[{"country":"TWN"}]',
    ),
    Row("an id of another kind", LIST, lists('{"id":true,"country":"TW"}'), Reason.ANSWER_SHAPE_UNDECLARED),
    Row(
        "records as a map",
        LIST,
        '{"users":{"a":' + TW + ',"b":' + JP + ',"c":' + KR + "}}",
        '{"users":{"a":' + TW + ',"c":' + KR_LEFT + "}}",
    ),
    Row(
        "the name is the id",
        BY_KEY,
        '{"users":{"u\\u0031":{"country":"TW"},"u2":{"country":"JP"}}}',
        '{"users":{"u\\u0031":{"country":"TW"}}}',
    ),
    Row(
        "records in groups",
        NESTED,
        '{"groups":[{"title":"a","users":[' + JP + "," + TW + ']},{"users":[' + JP + '],"x":1}]}',
        '{"groups":[{"title":"a","users":[' + TW.replace('"id":"1",', '"id":"1",') + ']},{"users":[]}]}',
    ),
    Row(
        "what a record stands in goes with it",
        EDGES,
        '{"data":{"edges":[{"node":' + JP + ',"cursor":"a"},{"cursor":"b","node":' + TW + ',"x":1}]}}',
        '{"data":{"edges":[{"cursor":"after!b","node":' + TW + "}]}}",
    ),
    Row("a document as the record", ALONE, TW, TW),
    Row("a document that is denied", ALONE, JP, Reason.RULE_DENIES),
    Row(
        "a document of which a transform does not fit",
        ALONE,
        '{"name":7,"country":"KR"}',
        Reason.TRANSFORMS_NOT_APPLIED,
    ),
    Row("one record in an envelope", WRAPPED, '{"meta":[1],"user":' + TW + ',"x":2}', '{"meta":[1],"user":' + TW + "}"),
    Row("one record in an envelope that is denied", WRAPPED, '{"meta":[1],"user":' + JP + "}", Reason.RULE_DENIES),
    Row(
        "a denied record refuses",
        declare(records="$[*]", country="$.country", on_denied=OnDenied.REFUSE),
        "[" + TW + "," + JP + "]",
        Reason.RULE_DENIES,
    ),
    Row(
        "an undeclared member refuses",
        declare(records="$[*]", country="$.country", refuses_undeclared=True),
        '[{"country":"TW","x":1}]',
        Reason.ANSWER_MEMBER_UNDECLARED,
    ),
    Row(
        "an undeclared member of the envelope refuses",
        declare(records="$.u[*]", refuses_undeclared=True),
        '{"x":1,"u":[]}',
        Reason.ANSWER_MEMBER_UNDECLARED,
    ),
    Row("records that are no container", LIST, '{"users":7}', Reason.ANSWER_SHAPE_UNDECLARED),
    Row("null in place of the records", LIST, '{"users":null}', Reason.ANSWER_SHAPE_UNDECLARED),
    Row("no records at all", LIST, '{"page":1}', Reason.ANSWER_SHAPE_UNDECLARED),
    Row("an array where a name leads on", LIST, '[{"users":[]}]', Reason.ANSWER_SHAPE_UNDECLARED),
    Row("a group without records", NESTED, '{"groups":[{}]}', Reason.ANSWER_SHAPE_UNDECLARED),
    Row("a record that is no object", LIST, '{"users":["x"]}', Reason.ANSWER_SHAPE_UNDECLARED),
    Row("a record that is null", LIST, '{"users":[null]}', Reason.ANSWER_SHAPE_UNDECLARED),
    Row("an edge without a node", EDGES, '{"data":{"edges":[{"cursor":"a"}]}}', Reason.ANSWER_SHAPE_UNDECLARED),
    Row(
        "records that are scalars", declare({"$": "user.id"}, records="$[*]", id="$"), '["a","b"]', "[]", ByCountry({})
    ),
    Row(
        "records that are scalars, changed",
        declare({"$": "user.id"}, records="$[*]", id="$"),
        '["a",7]',
        '["user.id/a","user.id/7"]',
        ByCountry({UNKNOWN: masking({"user.id": Transform.PSEUDONYMISE})}),
    ),
    Row("a name twice", LIST, lists('{"id":"1","id":"2","country":"TW"}'), Reason.ANSWER_KEY_REPEATED),
    Row("a name twice, escaped", LIST, lists(r'{"country":"TW","\u0063ountry":"JP"}'), Reason.ANSWER_KEY_REPEATED),
    Row(
        "a name twice in what does not leave",
        LIST,
        lists('{"x":{"a":1,"a":2},"country":"TW"}'),
        Reason.ANSWER_KEY_REPEATED,
    ),
    Row("a name twice in the envelope", LIST, '{"users":[],"users":[]}', Reason.ANSWER_KEY_REPEATED),
    Row(
        "a name twice as a pair of surrogates",
        LIST,
        lists('{"\\ud83d\\ude00":1,"\U0001f600":2}'),
        Reason.ANSWER_KEY_REPEATED,
    ),
    Row("nothing", LIST, "", Reason.ANSWER_EMPTY),
    Row("only spaces", LIST, " \r\n\t", Reason.ANSWER_EMPTY),
    Row("the end in a string", LIST, '{"users":[{"id":"1', Reason.ANSWER_INCOMPLETE),
    Row("the end between records", LIST, '{"users":[' + TW + ",", Reason.ANSWER_INCOMPLETE),
    Row("the end in a character", LIST, b'{"users":[{"id":"\xe3\x81', Reason.ANSWER_INCOMPLETE),
    Row("something behind the document", LIST, lists(TW) + "x", Reason.ANSWER_MALFORMED),
    Row("another document behind it", LIST, lists(TW) + lists(JP), Reason.ANSWER_MALFORMED),
    Row("NUL behind it", LIST, lists(TW) + "\0", Reason.ANSWER_MALFORMED),
    Row("spaces behind it", LIST, lists(TW) + " \r\n", lists(TW)),
    Row("a byte order mark", LIST, b"\xef\xbb\xbf" + lists(TW).encode(), Reason.ANSWER_MALFORMED),
    Row("a lone byte", LIST, b'{"users":[{"id":"\xff","country":"TW"}]}', Reason.ANSWER_MALFORMED),
    Row("half a surrogate pair in UTF-8", LIST, b'{"users":[{"id":"\xed\xa0\x80"}]}', Reason.ANSWER_MALFORMED),
    Row("an overlong character", LIST, b'{"users":[{"id":"\xc0\xaf"}]}', Reason.ANSWER_MALFORMED),
    Row(
        "half a surrogate pair as an escape",
        LIST,
        lists(r'{"id":"\ud800","country":"TW"}'),
        lists(r'{"id":"\ud800","country":"TW"}'),
    ),
    Row(
        "deep enough",
        declare({"$.a": "user"}, records="$[*]"),
        "[" + '{"x":' + "[" * 62 + "]" * 62 + ',"a":[]}' + "]",
        '[{"a":[]}]',
        ByCountry({UNKNOWN: ALLOWED}),
    ),
    Row("too deep", declare({"$.a": "user"}, records="$[*]"), "[" + '{"a":' + "[" * 63, Reason.ANSWER_TOO_DEEP),
    Row(
        "a number that is long enough",
        LIST,
        '{"users":[],"page":' + "1" * 128 + "}",
        '{"users":[],"page":' + "1" * 128 + "}",
    ),
    Row("a number that is too long", LIST, '{"users":[],"page":' + "1" * 129 + "}", Reason.ANSWER_NUMBER_TOO_LONG),
    Row(
        "a number in a record that is too long",
        LIST,
        lists('{"id":' + "1" * 129 + ',"country":"TW"}'),
        Reason.ANSWER_NUMBER_TOO_LONG,
    ),
    Row(
        "a record that is too large",
        LIST,
        lists('{"id":"' + "x" * 200 + '","country":"TW"}'),
        Reason.ANSWER_RECORD_TOO_LARGE,
        treatment=Treatment(name=TREATMENT.name, seal=None, hides=True, record_bytes=100),
    ),
    Row(
        "a record that never ends",
        LIST,
        '{"users":[{"id":"' + "x" * 200,
        Reason.ANSWER_RECORD_TOO_LARGE,
        treatment=Treatment(name=TREATMENT.name, seal=None, hides=True, record_bytes=100),
    ),
    *(
        Row(f"no JSON: {text}", LIST, lists('{"id":' + text + "}"), Reason.ANSWER_MALFORMED)
        for text in (
            "01",
            "-",
            "+1",
            ".5",
            "1.",
            "1e",
            "0x1",
            "1_0",
            "NaN",
            "Infinity",
            "nul",
            "True",
            "nulll",
            "'a'",
            '"\t"',
            '"\\x"',
            '"\\u12g4"',
            "[1,]",
            "[,1]",
            "[1 2]",
            '{"a"}',
            '{"a":}',
            "{a:1}",
            '{"a":1,}',
            '{"a" 1}',
            "]",
            "",
            "//",
            "{1:2}",
            "[1}",
        )
    ),
    Row("a comma too many", LIST, lists(TW, ""), Reason.ANSWER_MALFORMED),
    Row("no comma between records", LIST, '{"users":[' + TW + TW + "]}", Reason.ANSWER_MALFORMED),
    Row("the first fault is told", LIST, lists('{"country":"tw"}') + "x", Reason.ANSWER_COUNTRY_MALFORMED),
    Row("lines", LINES, f"{TW}\n{JP}\n{KR}\n", f"{TW}\n{KR_LEFT}\n"),
    Row(
        "lines that end in CR and LF, and empty ones",
        LINES,
        f"\r\n{TW}\r\n\r\n{JP}\r\n \n{KR}\r\n",
        f"{TW}\n{KR_LEFT}\n",
    ),
    Row("a last line without its end", LINES, f"{TW}\n{KR}", f"{TW}\n{KR_LEFT}\n"),
    Row("no lines", LINES, "", ""),
    Row("a document over two lines", LINES, '{"id":"1",\n"country":"TW"}\n', Reason.ANSWER_MALFORMED),
    Row("two documents in a line", LINES, f"{TW} {TW}\n", Reason.ANSWER_MALFORMED),
    Row("a last line that is not whole", LINES, f"{TW}\n" + '{"id":"1"', Reason.ANSWER_INCOMPLETE),
    Row(
        "a denied line refuses",
        declare(country="$.country", media=Media.LINES, on_denied=OnDenied.REFUSE),
        f"{TW}\n{JP}\n",
        Reason.RULE_DENIES,
    ),
    Row("a fault in a line", LINES, f'{TW}\n{{"country":"tw"}}\n', Reason.ANSWER_COUNTRY_MALFORMED),
    Row(
        "lists in lines",
        declare(records="$[*]", country="$.country", media=Media.LINES),
        f"[{TW},{JP}]\n[{JP}]\n[]\n",
        f"[{TW}]\n[]\n[]\n",
    ),
    Row(
        "maps in lines",
        declare(records="$.*", country="$.country", media=Media.LINES),
        "{" + f'"a":{TW},"b":{TW},"c":{TW},"d":{JP}' + "}\n",
        "{" + f'"a":{TW},"b":{TW},"c":{TW}' + "}\n",
    ),
    Row(
        "events",
        EVENTS,
        f"data: {TW}\n\ndata:{JP}\n\nevent: user\nid: 7\ndata: {KR}\nretry: 30\n\n",
        f"data: {TW}\n\nretry: 30\nevent: user\ndata: {KR_LEFT}\n\n",
    ),
    Row(
        "data over several lines",
        EVENTS,
        'data: {"id":"1",\r\ndata: "country":"TW"}\r\r',
        'data: {"id":"1",\ndata: "country":"TW"}\n\n',
    ),
    Row(
        "comments and events without data",
        EVENTS,
        f": secret\nevent: ping\n\nfoo\nbar: 1\n\ndata: {TW}\n\n",
        f":\ndata: {TW}\n\n",
    ),
    Row("a type that could hold anything", EVENTS, f"event: user 42\ndata: {TW}\n\n", Reason.ANSWER_SHAPE_UNDECLARED),
    Row("an event without its end", EVENTS, f"data: {TW}\n\ndata: {TW}\n", Reason.ANSWER_INCOMPLETE),
    Row("an event that is no document", EVENTS, "data: [DONE]\n\n", Reason.ANSWER_MALFORMED),
    Row("an event with nothing in it", EVENTS, "data:\n\n", Reason.ANSWER_EMPTY),
    Row("an event that is not whole", EVENTS, 'data: {"id":\n\n', Reason.ANSWER_INCOMPLETE),
    Row("no event", EVENTS, "", ""),
)


@pytest.fixture(params=[4, 1], ids=["by the book", "at a glance"])
def _sightings(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_shapes, "SIGHTINGS", request.param)


def body_of(row: Row) -> bytes:
    return row.body if isinstance(row.body, bytes) else row.body.encode()


@pytest.mark.usefixtures("_sightings")
@pytest.mark.parametrize("row", ROWS, ids=[row.says for row in ROWS])
def test_what_leaves(row: Row) -> None:
    expected = row.comes_to if isinstance(row.comes_to, Reason) else row.comes_to.encode()
    for size in (1_000_000, 1, 2, 7, 1_000_000):
        assert run(row.declared, row.judge, parts_of(body_of(row), size), row.treatment)[0] == expected, f"by {size}"


def test_an_empty_part_changes_nothing() -> None:
    parts = [part for each in parts_of(lists(JP, TW).encode(), 3) for part in (b"", each)]
    assert run(LIST, JUDGE, parts)[0] == lists(TW).encode()


def test_what_was_found_is_counted() -> None:
    unfit = '{"id":"9","name":7,"country":"KR"}'
    body = lists(TW, JP, KR, unfit, '{"id":5,"country":"TW"}', '{"country":"TW"}').encode()
    content = run(LIST, JUDGE, [body])[1]
    assert (content.seen, content.dropped, content.masked, content.unfit) == (6, 2, 1, 1)
    assert content.ids == ("1", "3", "5")
    assert [(verdict, number) for verdict, number in content.by_verdict] == [(ALLOWED, 3), (DENIED, 1), (MASKED, 2)]


@pytest.mark.usefixtures("_sightings")
@pytest.mark.parametrize("size", [1, 100, 10_000])
def test_counts_do_not_hang_on_how_records_are_read(size: int) -> None:
    body = lists(*[TW, JP, KR, '{"id":"9","name":7,"country":"KR"}'] * 40).encode()
    content = run(LIST, JUDGE, parts_of(body, size))[1]
    assert (content.seen, content.dropped, content.masked, content.unfit) == (160, 80, 40, 40)
    assert content.ids == ("1", "3") * 40
    assert {id(verdict): number for verdict, number in content.by_verdict} == {
        id(ALLOWED): 40,
        id(DENIED): 40,
        id(MASKED): 80,
    }


def test_content_is_told_once() -> None:
    filter_ = make_filter(LIST, JUDGE, TREATMENT)
    filter_.feed(b'{"users":[' + TW.encode())
    assert filter_.take_content().seen == 1
    filter_.feed(b"," + JP.encode() + b"]}")
    content = filter_.take_content()
    assert (content.seen, content.dropped, content.ids) == (1, 1, ())


@pytest.mark.usefixtures("_sightings")
@pytest.mark.parametrize("size", [1, 50, 10_000])
def test_whoever_must_ask_asks_for_all_of_a_part_at_once(size: int) -> None:
    declared = declare(records="$.users[*]", id="$.id", members={"$.page": Beyond.NOTHING})
    records = [f'{{"id":"u{number}","name":"x"}}' for number in range(20)]
    judge = ByDirectory({f"u{number}": ALLOWED for number in range(0, 20, 2)})
    body = ('{"users":[' + ",".join(records) + '],"page":1}').encode()
    left, content = run(declared, judge, parts_of(body, size))
    assert left == ('{"users":[' + ",".join(records[::2]) + '],"page":1}').encode()
    assert content.ids == tuple(f"u{number}" for number in range(0, 20, 2))


def test_it_waits_with_all_that_stands_behind() -> None:
    judge = ByDirectory({"1": ALLOWED, "2": DENIED, "3": ALLOWED})
    filter_ = make_filter(declare({"$.id": "user.id"}, records="$[*]", id="$.id"), judge, TREATMENT)
    assert filter_.feed(b'[{"id":"1"},{"id":"2"},') == b"["
    assert filter_.is_waiting
    assert judge.ask() == ("1", "2")
    assert filter_.feed(b'{"id":"3"}]') == b'{"id":"1"}'
    assert filter_.is_waiting
    assert filter_.end() == b""
    assert judge.ask() == ("3",)
    assert filter_.feed(b"") == b',{"id":"3"}]'
    assert not filter_.is_waiting


def test_a_fault_behind_a_record_that_waits_is_told_after_it() -> None:
    judge = ByDirectory({"1": ALLOWED})
    filter_ = make_filter(declare({"$.id": "user.id"}, records="$[*]", id="$.id"), judge, TREATMENT)
    filter_.feed(b'[{"id":"1"}x')
    assert filter_.is_waiting
    judge.ask()
    with pytest.raises(AnswerRefusedError) as refused:
        filter_.feed(b"")
    assert refused.value.reason is Reason.ANSWER_MALFORMED


def test_a_denial_that_refuses_names_its_verdict() -> None:
    filter_ = make_filter(ALONE, JUDGE, TREATMENT)
    with pytest.raises(AnswerRefusedError) as refused:
        filter_.feed(JP.encode())
    assert (refused.value.reason, refused.value.verdict) == (Reason.RULE_DENIES, DENIED)


def test_the_judge_is_asked_once_for_a_country() -> None:
    judge = ByCountry({"TW": ALLOWED})
    run(LIST, judge, parts_of(lists(*[TW, JP] * 50).encode(), 700))
    assert sorted(map(str, judge.asked)) == ["JP", "TW"]


@pytest.mark.parametrize("text", ["x" * 1_000_000, "\\u0041" * 170_000, "\\\\" * 500_000, "あ" * 300_000])
def test_a_long_record_is_read_once_however_small_its_parts(text: str) -> None:
    """Byte by byte it is a million feeds: quadratic work would take hours, not seconds."""
    body = b'{"users":[{"country":"TW","name":"' + text.encode() + b'"}]}'
    assert run(LIST, JUDGE, parts_of(body, 16))[0] == body


SCALARS: Final = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=6)
)
VALUES: Final = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
RECORDS: Final = st.fixed_dictionaries(
    {"country": st.sampled_from(["TW", "JP", "KR", None, ["TW", "KR"], []])},
    optional={"id": st.text(max_size=4) | st.integers(), "name": SCALARS, "x": VALUES, "y": VALUES},
)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[bytes, list[Mapping[str, Any]]]:
    kinds = draw(st.lists(RECORDS, min_size=1, max_size=4))
    records = draw(st.lists(st.sampled_from(kinds), max_size=12))
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", " :\t")]))
    text = json.dumps(
        {"users": records, "z": draw(VALUES)},
        ensure_ascii=draw(st.booleans()),
        separators=separators,
        indent=draw(st.sampled_from([None, 1])),
    )
    return text.encode("utf-8", "replace" if "\ud800" <= max(text) <= "\udfff" else "strict"), records


def left_of(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what should leave of a record, by the rules of ``JUDGE``."""
    countries = record["country"] if isinstance(record["country"], list) else [record["country"]]
    if not countries or not set(countries) <= {"TW", "KR"}:
        return None
    left = {name: record[name] for name in ("country", "id", "name") if name in record}
    if "KR" in countries:
        left.pop("id", None)
        if isinstance(name := left.get("name", ""), str):
            kept = name[-4:] if len(name) > 4 else ""
            left["name"] = "*" * (len(name) - len(kept)) + kept
        elif name is not None:
            return None
        if "name" not in record:
            left.pop("name")
    return left


@settings(max_examples=150)
@given(bodies(), st.lists(st.integers(1, 40), max_size=20))
def test_it_agrees_with_a_plain_reading(drawn: tuple[bytes, list[Mapping[str, Any]]], sizes: list[int]) -> None:
    body, records = drawn
    expected = [left for record in records if (left := left_of(record)) is not None]
    parts, at = [], 0
    for size in sizes:
        parts.append(body[at : at + size])
        at += size
    with pytest.MonkeyPatch.context() as patch:
        for sightings in (1_000, 1):
            patch.setattr(kept_shapes, "SIGHTINGS", sightings)
            for each in ([*parts, body[at:]], [body]):
                comes_to, content = run(LIST, JUDGE, each)
                assert isinstance(comes_to, bytes), comes_to
                found = json.loads(comes_to)["users"]
                assert [strip_marks(one) for one in found] == [strip_marks(one) for one in expected]
                assert content.seen == len(records)
                assert content.dropped == len(records) - len(expected)


def strip_marks(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a record but for a masked name of characters that are more than one code point: tests of transforms."""
    name = record.get("name")
    return {**record, "name": len(name)} if isinstance(name, str) and not name.isascii() else record
