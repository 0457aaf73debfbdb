# SPDX-License-Identifier: Apache-2.0
"""The schema of lines: every kind has its own name, is read back as it was, and grows without breaking old readers."""

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from proxy.ledger.entry import FIRST_PREV, encode_body, frame, read_frame
from proxy.ledger.lines import (
    LINES,
    NEVER,
    BundleLine,
    CheckpointLine,
    ClockLine,
    ContentRecorded,
    DatabaseRecorded,
    DecisionLine,
    EndLine,
    GeolocationLine,
    KeysLine,
    Line,
    RecoveredLine,
    RefusalsLine,
    ReleasedLine,
    RetentionLine,
    SegmentLine,
    StartLine,
    StopLine,
)
from tests.support.ledger_lines import a_decision, an_allowance

SAMPLES: list[Line] = [
    a_decision(),
    an_allowance(content=ContentRecorded(seen=3, dropped=1, subject_ids=("users:ab",))),
    ReleasedLine(id="01F", bytes=7),
    EndLine(id="01F", status=200, complete=True, bytes=7, bytes_in=9, seconds=0.25),
    RefusalsLine(ip="192.0.2.1", count=3, reasons={"token-missing": 3}, since="", until=""),
    StartLine(version="1", durability="synced", geolocation="", upstreams={"a": "http://a"}, key_places={}),
    StopLine(),
    BundleLine(bundle="sha256:b", name="line", policy="sha256:p", registers="sha256:r", mode="enforce"),
    GeolocationLine(version="v", databases=(DatabaseRecorded("asn", "GeoLite2-ASN", "", "sha256:d"),)),
    KeysLine(pseudonyms="2026-11"),
    SegmentLine(format=1, origin="ledger.example", segment=2, peaks=("AA==",)),
    CheckpointLine(note="text\n\n\N{EM DASH} ledger.example AAAA\n"),
    RecoveredLine(cut_bytes=17),
    ClockLine(was="2026-11-22T06:04:01.123Z"),
    RetentionLine(first=104729),
]

SAMPLE = pytest.mark.parametrize("line", SAMPLES, ids=lambda line: type(line).__name__)
KINDS = [pytest.param(kind, id=msgspec.inspect.type_info(kind).tag) for kind in LINES]  # type: ignore[attr-defined]


def subclasses(kind: type[Line]) -> Iterator[type[Line]]:
    for each in kind.__subclasses__():
        yield each
        yield from subclasses(each)


def test_every_kind_of_line_is_listed_once() -> None:
    ours = [kind for kind in subclasses(Line) if kind.__module__.startswith("proxy.")]  # tests have made others
    assert sorted(kind.__name__ for kind in ours) == sorted(kind.__name__ for kind in LINES)


def test_no_two_kinds_have_one_name_and_frames_take_each() -> None:
    tags = [msgspec.inspect.type_info(kind).tag for kind in LINES]  # type: ignore[attr-defined]
    assert len(set(tags)) == len(LINES)
    assert [tag for tag in tags if not re.fullmatch("[a-z-]{1,32}", tag)] == []


def test_the_samples_are_of_all_kinds() -> None:
    assert {type(line) for line in SAMPLES} == set(LINES)


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_says_what_it_is_or_its_name_does(kind: type[Line]) -> None:
    assert kind.__doc__
    assert kind.__struct_config__.frozen
    assert {"n", "prev", "time", "line"}.isdisjoint(kind.__struct_fields__), "the frame has it"


@SAMPLE
def test_a_line_is_read_back_as_it_was_from_behind_its_frame(line: Line) -> None:
    entry = frame(0, FIRST_PREV, b"2026-11-22T06:04:01.123Z", encode_body(line))
    assert msgspec.json.decode(entry, type=type(line)) == line
    read = read_frame(entry)
    assert read is not None
    assert read.kind == json.loads(entry)["line"]


@SAMPLE
def test_a_later_version_may_add_fields(line: Line) -> None:
    later: dict[str, Any] = json.loads(encode_body(line)) | {"later": {"added": [1, None]}}
    assert msgspec.json.decode(json.dumps(later).encode(), type=type(line)) == line


def test_a_word_of_a_later_version_is_taken() -> None:
    line = b'{"line":"end","id":"01F","complete":false,"reason":"a-reason-of-next-year"}'
    assert msgspec.json.decode(line, type=EndLine).reason == "a-reason-of-next-year"


def test_what_may_never_be_written_is_said_and_has_no_field() -> None:
    assert len(NEVER) >= 8
    names = set(DecisionLine.__struct_fields__)
    assert names.isdisjoint({"token", "headers", "cookies", "body", "path", "query", "name", "email", "claims", "key"})
