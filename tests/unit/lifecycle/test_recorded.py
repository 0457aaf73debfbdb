# SPDX-License-Identifier: Apache-2.0
import json
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.caller.clients import Client
from proxy.caller.parties import Party, Speaking, join, make_party, make_program
from proxy.caller.people import Engagement
from proxy.errors import UsageError
from proxy.ledger.entry import encode_body
from proxy.ledger.record import Recorder
from proxy.lifecycle.explanation import explain_facts
from proxy.lifecycle.recorded import read_recorded
from proxy.model.caller import Part
from proxy.model.facts import ABSENT, NOT_APPLICABLE, UNKNOWN, FactSet
from proxy.pipeline.steps import Refuse
from proxy.policy.evaluate import decide
from tests.support.keys import RING
from tests.support.passages import a_head, a_passage, a_token, reference_bundle
from tests.support.world import ENGINEER


def a_record(**changes: Any) -> dict[str, Any]:
    step = a_passage().begin(a_head(token=a_token(ENGINEER)))
    assert isinstance(step, Refuse)
    record: dict[str, Any] = json.loads(encode_body(step.lines[0]))
    for path, value in changes.items():
        place, *steps = record, *path.split("__")
        for each in steps[:-1]:
            place = place[each]
        place[steps[-1]] = value
    return record


def test_a_line_decides_as_it_says() -> None:
    record = a_record()
    read = read_recorded(json.dumps(record).encode(), reference_bundle())
    decision = decide(reference_bundle().policy, read.facts)
    assert (decision.effect, decision.rule_id) == (record["effect"], record["rule"])
    assert read.facts.subject.reference == "", "a key of its month names it, under which grants know nobody"
    assert read.facts.purpose is ABSENT
    assert read.facts.case is UNKNOWN
    assert "effect deny, rule jp-no-china (matched), reason rule-denies" in read.remarks[0]
    assert len(read.remarks) == 2


def test_a_line_of_another_bundle_is_remarked_on() -> None:
    read = read_recorded(json.dumps(a_record(bundle="0" * 32)).encode(), reference_bundle())
    assert any("under another bundle" in remark for remark in read.remarks)


def test_a_line_of_a_list_says_what_its_answer_held_and_that_the_answer_told_whose() -> None:
    content = {"seen": 5, "dropped": 2, "masked": 1, "rules": {"jp-no-china": 2, "kr-masked": 1}}
    record = a_record() | {"content": content, "subject": {"source": "answer"}}
    read = read_recorded(json.dumps(record).encode(), reference_bundle())
    assert read.remarks[-1] == "its answer held 5 records, 2 dropped, 1 masked, 2 by jp-no-china, 1 by kr-masked"
    explained = explain_facts("a", read.facts, reference_bundle())
    assert [each.effect for each in explained.classes if each.subjects == "JP"] == ["deny"]


GARBAGE = {
    "nothing": b"", "a line end": b"\n", "no JSON": b"hello", "no object": b"[]", "null": b"null",
    "no UTF-8": b"\xff\xfe", "an end line": b'{"line":"end","time":"x"}', "brackets without end": b"[" * 100_000,
    "a lone surrogate": json.dumps(a_record(id="\ud800")).encode(),
    "no instant in its id, and no frame": json.dumps(a_record(id="R1")).encode(),
    "brackets without end in a field that is none of ours":
        json.dumps(a_record())[:-1].encode() + b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a route of others": json.dumps(a_record(route="nosuch")).encode(),
    "a number for a text": json.dumps(a_record(caller__kind=1)).encode(),
}  # fmt: skip


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE.keys())
def test_what_is_no_line_of_ours_is_refused_in_a_sentence(data: bytes) -> None:
    with pytest.raises(UsageError):
        read_recorded(data, reference_bundle())


HOSTILE = {
    "ties that are none": {"caller__ties": ["residence", "::", "site:ZZ", ""]},
    "an affiliate that is none": {"caller__affiliate": "nosuch"},
    "an issuer that is none": {"caller__issuer": "nosuch"},
    "a network that is none": {"origin__network": "nosuch"},
    "a source that is none": {"origin__source": "nosuch"},
    "a purpose that is none": {"purpose": "nosuch"},
    "a kind that is none": {"caller__kind": "alien"},
    "a subject that does not apply": {"subject__country": "not applicable", "subject__id": "not applicable"},
}


@pytest.mark.parametrize("changes", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_line_that_says_what_nobody_declared_is_decided_and_never_allowed(changes: dict[str, Any]) -> None:
    read = read_recorded(json.dumps(a_record(**changes)).encode(), reference_bundle())
    assert decide(reference_bundle().policy, read.facts).effect == "deny"


@given(st.binary(max_size=200))
def test_bytes_are_read_or_refused(data: bytes) -> None:
    with pytest.raises(UsageError):
        read_recorded(data, reference_bundle())


SETS = {
    "nobody knew": ({"origin__anonymous": "unknown"}, UNKNOWN),
    "known to be nothing": ({"origin__anonymous": []}, FactSet(frozenset())),
    "a VPN": ({"origin__anonymous": ["vpn"]}, FactSet(frozenset({"vpn"}))),
    "a VPN and perhaps more": (
        {"origin__anonymous": ["vpn"], "origin__anonymous_open": True}, FactSet(frozenset({"vpn"}), is_open=True)),
    "a state": ({"origin__anonymous": "not applicable"}, NOT_APPLICABLE),
    "a text that is no state": ({"origin__anonymous": "vpn"}, UNKNOWN),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "expected"), SETS.values(), ids=SETS)
def test_what_an_address_hid_is_read_again(changes: dict[str, Any], expected: Any) -> None:
    origin = read_recorded(json.dumps(a_record(**changes)).encode(), reference_bundle()).facts.origin
    assert origin.anonymous == expected


def test_what_geolocation_said_is_read_again() -> None:
    changes = {"origin__asn": "AS4134", "origin__registered_country": "US"}
    origin = read_recorded(json.dumps(a_record(**changes)).encode(), reference_bundle()).facts.origin
    assert (origin.asn, origin.registered_country) == ("AS4134", "US")


JAPANESE: Final[dict[str, Any]] = {"affiliate": "ly", "kind": "employee", "residence": "JP", "site_country": "JP"}
ROUND: Final = (
    JAPANESE,
    {**JAPANESE, "affiliate": "shanghai-digital", "residence": "CN"},
    {**JAPANESE, "kind": "service"},
    {**JAPANESE, "residence": UNKNOWN},
    {"affiliate": UNKNOWN},
)
SOMEBODY: Final = st.builds(
    lambda facts, row, client: make_party(
        None, facts, reference_bundle().affiliates.current, principal="corp|x", row=row, client=client
    ),
    st.sampled_from(ROUND),
    st.sampled_from((None, Engagement("shanghai-digital", residence="CN"))),
    st.sampled_from((None, Client("batch", "ly", autonomous=True))),
)
PROGRAM: Final = st.sampled_from((None, "ly", "shanghai-digital")).map(
    lambda each: make_program(
        None if each is None else Client(each, each, autonomous=False),
        reference_bundle().affiliates.current,
        Part.CLIENT,
    )
)


@settings(max_examples=60)
@given(SOMEBODY, st.lists(SOMEBODY | PROGRAM, max_size=2), st.none() | SOMEBODY)
def test_everybody_who_took_part_is_read_back(caller: Party, others: list[Party], person: Party | None) -> None:
    """Nobody is tied to less than what the line says, and who acted for whom is the same."""
    before = join(Speaking(caller, tuple(others), person), reference_bundle().affiliates.current)
    record = a_record()
    passage = a_passage()
    step = passage.begin(a_head(token=a_token(ENGINEER)))
    assert isinstance(step, Refuse)
    recorder = Recorder(RING, record["bundle"])
    line = recorder.decision(msgspec.structs.replace(step.outcome, caller=before), released=False)
    after = read_recorded(encode_body(line), reference_bundle()).facts.caller
    assert isinstance(before.countries, FactSet)
    assert isinstance(after.countries, FactSet)
    assert before.countries.members <= after.countries.members
    assert after.countries.is_open or not before.countries.is_open
    assert (after.affiliate, after.kind) == (before.affiliate, before.kind)
    behind, was = after.on_behalf_of, before.on_behalf_of
    assert (behind.affiliate, behind.kind, behind.id is ABSENT) == (was.affiliate, was.kind, was.id is ABSENT)
