# SPDX-License-Identifier: Apache-2.0
"""One line, one row, whatever stands in it."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.cli.ledger.telling import HEADING, describe_line, render_json, tell_line
from proxy.ledger import lines
from proxy.ledger.entry import encode_body
from proxy.ledger.lines import (
    LINES,
    BundleLine,
    CallerRecorded,
    CheckpointLine,
    ClockLine,
    ContentRecorded,
    DatabaseRecorded,
    DecisionLine,
    GeolocationLine,
    KeysLine,
    Line,
    OriginRecorded,
    PersonRecorded,
    RecoveredLine,
    RefusalsLine,
    ReleasedLine,
    RetentionLine,
    SegmentLine,
    ShadowRecorded,
    StartLine,
    StopLine,
    SubjectRecorded,
)
from tests.support.ledger_lines import SATO, TOKYO, WANG, a_decision, an_allowance, an_end

FRAME = {"n": 7, "prev": "x", "time": "2021-03-23T00:00:00.000Z"}
ID = "01F1E67NFFQH49ZT7AY7HWJ234"

ROWS = [
    pytest.param(
        a_decision(),
        "deny 403 a1a1a1a1 shanghai-digital CN,JP 203.0.113.9 CN GET users/user JP jp-no-china rule-denies",
        id="a denial",
    ),
    pytest.param(
        an_allowance(action="export", complete=True),
        "allow 200 b2b2b2b2 ly JP 198.51.100.7 JP tokyo-vpn GET users/user (export) JP ly-staff-read-japan rule-allows",
        id="an export from a declared network",
    ),
    pytest.param(
        a_decision(
            certainty="by-unknown",
            unknown=("caller.countries", "origin.country"),
            origin=OriginRecorded(),
            caller=CallerRecorded(who=WANG, affiliate="absent", countries=(), countries_open=True),
        ),
        "deny 403 a1a1a1a1 - -+? unknown unknown GET users/user JP "
        "jp-no-china (not known: caller.countries, origin.country) rule-denies",
        id="a denial by what is unknown",
    ),
    pytest.param(
        a_decision(enforced=False, status=200),
        "observed 200 a1a1a1a1 shanghai-digital CN,JP 203.0.113.9 CN GET users/user JP jp-no-china rule-denies",
        id="a refusal that was only observed",
    ),
    pytest.param(
        a_decision(
            api="",
            route="",
            action="",
            shape="/v1/*",
            rule="",
            certainty="",
            reason="route-undeclared",
            status=404,
            caller=CallerRecorded(),
            subject=SubjectRecorded(country="not applicable", id="not applicable"),
        ),
        "deny 404 - unknown unknown 203.0.113.9 CN GET /v1/* - route-undeclared",
        id="a path that no route declares",
    ),
    pytest.param(
        an_allowance(
            caller=CallerRecorded(who=WANG, affiliate="bot", on_behalf_of=PersonRecorded(who=SATO)),
            shadow=ShadowRecorded("deny", changes=True),
        ),
        "allow 200 a1a1a1a1 for b2b2b2b2 bot unknown 198.51.100.7 JP tokyo-vpn GET users/user JP "
        "ly-staff-read-japan rule-allows (shadow: would deny)",
        id="a program for a person, and rules that are tried out",
    ),
]
WORDS = [
    pytest.param(
        StartLine(version="1.2", durability="synced", geolocation="g", upstreams={}, key_places={}),
        "start: gateway 1.2 begins to take requests",
        id="start",
    ),
    pytest.param(
        StartLine(version="1.2", replica="pod-a", durability="synced", geolocation="g", upstreams={}, key_places={}),
        "start: gateway 1.2, replica pod-a, begins to take requests",
        id="the start of a replica",
    ),
    pytest.param(StopLine(), "stop: the gateway ends in order", id="stop"),
    pytest.param(
        BundleLine(bundle="ab" * 32, name="n", policy="p", registers="r", mode="enforce"),
        f"bundle: bundle {'ab' * 32} is put in force, mode enforce",
        id="bundle",
    ),
    pytest.param(
        GeolocationLine(version="v", databases=(DatabaseRecorded("country", "GeoLite2", "2021-03-01", "d"),)),
        "geolocation: data v are put in force: country: GeoLite2 of 2021-03-01",
        id="geolocation",
    ),
    pytest.param(
        KeysLine(pseudonyms="2021-03"), "keys: people are named by the key of 2021-03 from here on", id="keys"
    ),
    pytest.param(
        SegmentLine(format=1, origin="gw/1", segment=3, peaks=()),
        "segment: segment 3 of the ledger gw/1 begins",
        id="segment",
    ),
    pytest.param(
        CheckpointLine(note="gw/1\n17\nroot=\n\n— gw/1 sig\n"),
        "checkpoint: signed over the 17 lines before this one; origin gw/1, root root=",
        id="checkpoint",
    ),
    pytest.param(CheckpointLine(note="?"), "checkpoint: signed, over all lines before this one", id="a strange note"),
    pytest.param(
        ClockLine(was="2021-03-24T00:00:00.000Z"),
        "clock: the clock was set back: it was 2021-03-24T00:00:00.000Z before",
        id="clock",
    ),
    pytest.param(
        RecoveredLine(cut_bytes=17),
        "recovered: after a crash, 17 bytes of an unfinished line were cut off",
        id="recovered",
    ),
    pytest.param(RetentionLine(first=1000), "retention: lines before line 1000 are no longer kept", id="retention"),
    pytest.param(
        RefusalsLine(ip="192.0.2.1", count=7, reasons={"token-missing": 5, "token-expired": 2}, since="s", until="u"),
        "refusals: 7 more from 192.0.2.1 were counted only, s to u: token-missing 5, token-expired 2",
        id="refusals",
    ),
    pytest.param(
        ReleasedLine(id=ID, bytes=900, content=ContentRecorded(seen=3, masked=1)),
        f"released: request {ID}: about to leave up to byte 900, 3 records, 1 masked",
        id="released",
    ),
    pytest.param(an_end(ID), f"end: request {ID}: 200, whole, 512 bytes, 0.012 seconds", id="end"),
    pytest.param(
        an_end(ID, complete=False, reason="client-gone", status=None, bytes=0),
        f"end: request {ID}: no status, broke off (client-gone), 0 bytes, 0.012 seconds",
        id="a broken end",
    ),
    pytest.param(
        an_end(ID, status=101, bytes_in=7),
        f"end: request {ID}: 101, whole, 512 bytes and 7 from the caller, 0.012 seconds",
        id="the end of a tunnel",
    ),
]
STRANGE = [
    pytest.param(
        {"line": "weather", "sky": {"clouds": 3}}, 'weather: {"sky":{"clouds":3}}', id="a kind of a newer version"
    ),
    pytest.param({"line": "start"}, "start: gateway  begins to take requests", id="a start that says nothing"),
    pytest.param({"line": "checkpoint", "note": 7}, "checkpoint: signed, over all", id="a note that is none"),
    pytest.param({"line": "geolocation", "databases": [7, {}]}, "geolocation: data  are put in force", id="databases"),
    pytest.param({"line": "refusals", "reasons": ["x"]}, "refusals:  more from ", id="reasons that are no object"),
]


def as_row(line: Line) -> dict[str, Any]:
    decoded: dict[str, Any] = FRAME | json.loads(encode_body(line))
    return decoded


def squeeze(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize(("line", "row"), ROWS)
def test_a_decision_is_one_row(line: DecisionLine, row: str) -> None:
    assert squeeze(tell_line(as_row(line))) == f"2021-03-23T00:00:00.000Z {line.id} {row}"


def test_who_is_recorded_in_clear_is_shown_whole() -> None:
    row = as_row(a_decision(caller=CallerRecorded(who="corp|wang-xiaoming", affiliate="bot")))
    assert " corp|wang-xiaoming  bot " in tell_line(row)


def test_columns_stand_beneath_their_headings() -> None:
    row = tell_line(as_row(a_decision()))
    for heading, value in (
        ("answer", "deny"),
        ("who", WANG[:8]),
        ("affiliate", "shanghai"),
        ("from", "203."),
        ("of", "JP "),
    ):
        assert row.startswith(value, HEADING.index(heading)), heading


@pytest.mark.parametrize(("line", "row"), WORDS)
def test_other_lines_are_told_in_words(line: Line, row: str) -> None:
    assert squeeze(tell_line(as_row(line))) == f"2021-03-23T00:00:00.000Z {row}"


@pytest.mark.parametrize(("line", "beginning"), STRANGE)
def test_what_this_version_does_not_know_is_shown(line: dict[str, Any], beginning: str) -> None:
    assert tell_line(FRAME | line).startswith(f"2021-03-23T00:00:00.000Z  {beginning}")


def test_every_kind_has_its_words() -> None:
    unknown = describe_line({"line": "weather"})
    for kind in LINES:
        assert describe_line({"line": kind.__struct_config__.tag}) != unknown, kind


def test_an_answer_that_broke_off_says_why() -> None:
    row = as_row(an_allowance(caller=TOKYO)) | {"complete": False, "end": {"reason": "client-gone"}}
    assert tell_line(row).endswith("rule-allows (broke off: client-gone)")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KINDS = sorted({str(kind.__struct_config__.tag) for kind in LINES} | {"new"})
NAMES = sorted({field.name for kind in LINES for field in msgspec.structs.fields(kind)} | {"time"})


@given(st.sampled_from(KINDS), st.dictionaries(st.sampled_from(NAMES), JSON))
def test_whatever_a_line_holds_it_is_one_printable_row(kind: str, fields: dict[str, Any]) -> None:
    assert tell_line(fields | {"line": kind}).isprintable()


# JSON.


def test_a_line_is_printed_byte_for_byte() -> None:
    data = encode_body(a_decision())
    assert render_json(data, json.loads(data)).encode() == data


@given(
    st.dictionaries(
        st.text(max_size=5),
        st.text(max_size=9).filter(lambda text: text.isprintable() or text.encode("utf-8", "replace")),
    )
)
def test_json_commands_no_terminal_and_means_the_same(line: dict[str, str]) -> None:
    data = msgspec.json.encode(line)
    shown = render_json(data, line)
    assert shown.isprintable()
    assert json.loads(shown) == line


def test_spaces_between_that_are_no_spaces_are_left_out() -> None:
    data = b'{"line":\t"stop"\r}'
    assert render_json(data, json.loads(data)) == '{"line":"stop"}'


def test_the_schema_that_is_told_here_is_the_whole_schema() -> None:
    assert {kind for kind in vars(lines).values() if isinstance(kind, type) and issubclass(kind, Line)} - {Line} == set(
        LINES
    )
