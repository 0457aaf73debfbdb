# SPDX-License-Identifier: Apache-2.0
import json
from collections.abc import Iterator
from typing import Any, Final

import jsonschema
import msgspec
import pytest

from proxy.ledger.chain import Chain
from proxy.ledger.json_schema import make_schema, read_field_docs
from proxy.ledger.lines import (
    LINES,
    BundleLine,
    CallerRecorded,
    CheckpointLine,
    ClockLine,
    ContentRecorded,
    DatabaseRecorded,
    DecisionLine,
    EndLine,
    GeolocationLine,
    KeysLine,
    Line,
    PersonRecorded,
    RecoveredLine,
    RefusalsLine,
    ReleasedLine,
    RetentionLine,
    RuleRecorded,
    SegmentLine,
    ShadowRecorded,
    StartLine,
    StopLine,
)

SCHEMA: Final = make_schema()
VALIDATOR: Final = jsonschema.Draft202012Validator(SCHEMA)
ID: Final = "01JDCXJBN8T5V2C7Q0ZK3R9M4A"
TIME: Final = "2026-11-22T06:04:01.123Z"
HASH: Final = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
CONTENT: Final = ContentRecorded(seen=3, dropped=1, masked=1, subjects=2, subject_ids=("users:" + "0" * 32,))
RULE: Final = RuleRecorded("jp-no-china", "deny", "by-unknown", ("caller.countries",))
PLAIN: Final = DecisionLine(
    id=ID, effect="allow", reason="rule-allows", released=True, method="GET", bundle="0" * 32
)  # fmt: skip
FULL: Final = msgspec.structs.replace(
    PLAIN,
    effect="deny", reason="rule-denies", enforced=False, released=False, status=403, rule="jp-no-china",
    certainty="by-unknown", rules=(RULE,), unlisted=1, unknown=("caller.countries",), transforms={"user.name": "mask"},
    lifted=(("jp-no-china", "grant-1"),), shadow=ShadowRecorded("deny", True, (RULE,)), purpose="support", api="users",  # noqa: FBT003
    route="user", action="read", data=("user.name",), shape="/v1/*",
    caller=CallerRecorded(who="0" * 32, countries=("CN",), on_behalf_of=PersonRecorded(who="1" * 32)),
    content=CONTENT, geolocation="x", trace="a" * 32, upstream=200, complete=True, bytes=5, seconds=0.25,
)  # fmt: skip
EXAMPLES: Final[tuple[Line, ...]] = (
    SegmentLine(format=1, origin="sekisho.example/tokyo-1", segment=0, peaks=(HASH,)),
    CheckpointLine(note="a note\n"),
    RecoveredLine(cut_bytes=5),
    ClockLine(was=TIME),
    RetentionLine(first=7),
    StartLine(version="1", durability="synced", geolocation="", upstreams={"users": "http://u"}, key_places={}),
    StopLine(),
    BundleLine(bundle="0" * 64, name="n", policy="1" * 64, registers="2" * 64, mode="observe", observe_until=TIME),
    GeolocationLine(version="v", databases=(DatabaseRecorded("country", "GeoLite2", TIME, "d"),)),
    KeysLine(pseudonyms="2026-11"),
    PLAIN,
    FULL,
    ReleasedLine(id=ID, bytes=5, content=CONTENT),
    EndLine(id=ID, status=200, complete=False, reason="client-gone", upstream=206, bytes=5, bytes_in=7, seconds=0.5),
    RefusalsLine(ip="192.0.2.1", count=2, reasons={"token-missing": 2}, since=TIME, until=TIME),
)


def _render() -> list[dict[str, Any]]:
    staged = Chain("sekisho.example/tokyo-1").stage(EXAMPLES, 1.0)
    return [json.loads(line) for line in staged.data.splitlines()]


def _spoil(line: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for field in SCHEMA["required"]:
        yield f"without {field}", {name: value for name, value in line.items() if name != field}
    yield "with a field that nobody declared", line | {"user": "sato"}
    yield "of a kind that nobody declared", line | {"line": "note"}
    yield "with a number below 0", line | {"n": -1}
    yield "with half a hash", line | {"prev": "47DEQ"}
    yield "with a time without milliseconds", line | {"time": "2026-11-22T06:04:01Z"}


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("line", _render(), ids=lambda line: f"{line['line']} {line['n']}")
def test_what_the_writer_renders_is_valid_and_nothing_beside_it(line: dict[str, Any]) -> None:
    VALIDATOR.validate(line)
    for how, spoilt in _spoil(line):
        assert not VALIDATOR.is_valid(spoilt), how


SPOILT = [
    pytest.param({"reason": "because"}, id="a reason that is in no enumeration"),
    pytest.param({"reason": ""}, id="a reason left empty rather than out"),
    pytest.param({"upstream": None}, id="null where the field is left out"),
    pytest.param({"id": "sato"}, id="an id that is none of ours"),
    pytest.param({"trace": "not-a-trace-id"}, id="a trace id with other characters"),
    pytest.param({"bytes": -1}, id="fewer bytes than none"),
    pytest.param({"caller": {"who": "x", "name": "sato"}}, id="a member of the caller that nobody declared"),
    pytest.param({"rules": [{"id": "r", "effect": "perhaps", "certainty": "matched"}]}, id="an effect that is none"),
]


@pytest.mark.parametrize("changed", SPOILT)
def test_drift_inside_a_decision_shows(changed: dict[str, Any]) -> None:
    full = next(line for line in _render() if line.get("rule"))
    assert VALIDATOR.is_valid(full)
    assert not VALIDATOR.is_valid(full | changed)


def test_every_kind_of_line_is_in_the_schema_and_tried_here() -> None:
    assert {type(line) for line in EXAMPLES} == set(LINES)
    assert {choice["$ref"] for choice in SCHEMA["oneOf"]} == {f"#/$defs/{kind.__name__}" for kind in LINES}


def test_nothing_in_the_schema_takes_members_that_it_does_not_name() -> None:
    assert all(definition["additionalProperties"] is False for definition in SCHEMA["$defs"].values())


def test_fields_are_described_as_the_code_describes_them() -> None:
    import proxy.ledger.lines as module  # noqa: PLC0415 - the module, not what is in it

    told = read_field_docs(module)
    assert told["EndLine", "seconds"] == "From the request's head."
    assert SCHEMA["$defs"]["EndLine"]["properties"]["seconds"]["description"] == told["EndLine", "seconds"]
    assert ("EndLine", "complete") not in told
