# SPDX-License-Identifier: Apache-2.0
"""Attributes and numbers are those that OCSF 1.8 names; which severity a refusal has is ours."""

import copy
import json
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.ledger.ocsf import convert_decision, convert_refusals
from proxy.ledger.query import FIELDS
from proxy.ledger.search import join_end

ID: Final = "01M8100N6S48F2RFAX2ETFWA2C"
READ: Final[dict[str, Any]] = {
    "n": 17, "prev": "x", "time": "2026-11-22T06:45:05.882Z", "line": "decision", "id": ID, "effect": "allow",
    "reason": "rule-allows", "released": True, "status": 200, "rule": "staff-read", "certainty": "matched",
    "method": "GET", "api": "users", "route": "user", "action": "read", "data": ["user.name"],
    "caller": {"who": "c" * 32, "issuer": "corp", "affiliate": "ly", "kind": "employee", "countries": ["JP"]},
    "origin": {"ip": "10.20.3.7", "country": "JP", "network": "office", "asn": "AS2516"},
    "subject": {"country": "JP", "id": "users:" + "5" * 32}, "bundle": "b" * 32, "trace": "a" * 32,
    "complete": True, "bytes": 12, "seconds": 0.0072,
}  # fmt: skip
DENIED: Final = {"effect": "deny", "reason": "rule-denies", "released": False, "status": 403, "complete": None}
NOBODY: Final = DENIED | {"reason": "token-missing", "status": 401, "rule": None, "caller": {}, "origin": {}}


def change(**changes: Any) -> dict[str, Any]:
    """Return the line of a read, with fields changed, those that are None left out."""
    return {key: value for key, value in (copy.deepcopy(READ) | changes).items() if value is not None}


def look(event: dict[str, Any], path: str) -> Any:
    value: Any = event
    for key in path.split("."):
        value = value[int(key)] if isinstance(value, list) else value.get(key)
        if value is None:
            return None
    return value


ALLOWED = [
    ("category_uid", 6), ("class_uid", 6003), ("activity_id", 2), ("type_uid", 600302), ("time", 1795329905881),
    ("severity_id", 1), ("metadata.version", "1.8.0"), ("metadata.product.name", "Sekisho"),
    ("metadata.product.version", "9.9"), ("metadata.uid", ID), ("metadata.sequence", 17),
    ("metadata.logged_time", 1795329905882), ("actor.user.uid", "c" * 32), ("actor.user.type_id", 1),
    ("actor.user.org.uid", "ly"), ("actor.idp.uid", "corp"), ("api.operation", "user"), ("api.service.name", "users"),
    ("src_endpoint.ip", "10.20.3.7"), ("src_endpoint.location.country", "JP"), ("src_endpoint.subnet_uid", "office"),
    ("src_endpoint.autonomous_system.number", 2516), ("http_request.http_method", "GET"), ("http_request.url", None),
    ("http_response.code", 200), ("http_response.length", 12), ("duration", 7), ("status_id", 1),
    ("status_code", "200"), ("status_detail", "rule-allows"),
    ("action_id", 1), ("disposition_id", 1), ("is_alert", False),
    ("policy.uid", "staff-read"), ("policy.version", "b" * 32), ("policy.is_applied", True),
    ("authorizations.0.decision", "allow"), ("authorizations.0.policy.uid", "staff-read"),
    ("resources.0.uid", "users:" + "5" * 32), ("resources.0.labels.0", "user.name"), ("trace.uid", "a" * 32),
    ("unmapped.subject.country", "JP"), ("unmapped.caller.countries.0", "JP"), ("unmapped.bundle", "b" * 32),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value"), ALLOWED, ids=[path for path, _ in ALLOWED])
def test_a_read_that_was_allowed(path: str, value: Any) -> None:
    assert look(convert_decision(READ, "9.9"), path) == value


CASES = [
    pytest.param({"action": "create"}, "type_uid", 600301, id="create"),
    pytest.param({"action": "update"}, "type_uid", 600303, id="update"),
    pytest.param({"action": "delete"}, "type_uid", 600304, id="delete"),
    pytest.param({"action": "export"}, "type_uid", 600399, id="export is Other"),
    pytest.param({"action": "export"}, "activity_name", "Export", id="and says which"),
    pytest.param({"action": None}, "activity_id", 0, id="a route that nobody declared"),
    pytest.param({"api": None, "route": None, "shape": "/v1/*"}, "api.operation", "/v1/*", id="its shape"),
    pytest.param({"api": None, "route": None}, "api.operation", "unknown", id="nothing is known of what was asked"),
    pytest.param(DENIED, "action_id", 2, id="denied"),
    pytest.param(DENIED, "disposition_id", 2, id="denied: blocked"),
    pytest.param(DENIED, "status_id", 2, id="denied: failure"),
    pytest.param(DENIED, "severity_id", 3, id="denied by a rule: medium"),
    pytest.param(DENIED, "is_alert", True, id="denied by a rule: an alert"),
    pytest.param(NOBODY, "severity_id", 2, id="no token: low"),
    pytest.param(NOBODY, "policy", None, id="no token: no policy was asked"),
    pytest.param(NOBODY, "actor", {"user": {"type_id": 0, "type": "Unknown", "name": "unknown"}}, id="nobody"),
    pytest.param(NOBODY, "src_endpoint", {"name": "unknown"}, id="from nowhere that is known"),
    pytest.param(DENIED | {"enforced": False, "released": True, "status": 200}, "action_id", 3, id="observed"),
    pytest.param(DENIED | {"enforced": False, "released": True, "status": 200}, "disposition_id", 17, id="logged"),
    pytest.param({"transforms": {"user.name": "mask"}}, "action_id", 4, id="modified"),
    pytest.param({"transforms": {"user.name": "mask"}}, "disposition_id", 11, id="corrected"),
    pytest.param({"content": {"seen": 3, "dropped": 1}}, "action_id", 4, id="a record was dropped: modified"),
    pytest.param({"content": {"seen": 3, "masked": 1}}, "disposition_id", 11, id="a record was masked: corrected"),
    pytest.param({"content": {"seen": 3}}, "action_id", 1, id="all records left as they were: allowed"),
    pytest.param({"content": {"seen": 3}}, "unmapped.content.seen", 3, id="how many were found"),
    pytest.param(
        DENIED | {"enforced": False, "content": {"seen": 3, "dropped": 1}}, "action_id", 3, id="only observed"
    ),
    pytest.param({"status": 404}, "status_id", 2, id="the API had no such record"),
    pytest.param({"complete": None}, "status_id", 0, id="nobody recorded how it ended"),
    pytest.param({"complete": False}, "status_id", 2, id="it broke off"),
    pytest.param({"trace": None}, "trace", None, id="no trace"),
    pytest.param({"trace": None}, "metadata.profiles", ["security_control"], id="then not its profile either"),
    pytest.param({"origin": {"country": "unknown", "asn": "absent"}}, "src_endpoint.location", None, id="no country"),
    pytest.param({"origin": {"asn": "absent"}}, "src_endpoint.autonomous_system", None, id="no autonomous system"),
    pytest.param({"caller": {"who": "c", "kind": "service"}}, "actor.user.type_id", 4, id="a service"),
    pytest.param(
        {"rules": [{"id": "a", "effect": "deny"}, {"id": "b", "effect": "allow"}]},
        "authorizations", [{"decision": "deny", "policy": {"uid": "a"}}, {"decision": "allow", "policy": {"uid": "b"}}],
        id="every rule that applied",
    ),
    pytest.param({"id": "none of ours"}, "time", 1795329905882, id="an id without an instant: when it was written"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "path", "value"), CASES)
def test_decisions(changes: dict[str, Any], path: str, value: Any) -> None:
    assert look(convert_decision(change(**changes), "9.9"), path) == value


def test_what_the_end_says_is_beside_the_decision() -> None:
    row = change(complete=None, bytes=None, seconds=None)
    join_end(row, {"line": "end", "id": ID, "complete": False, "reason": "client-gone", "bytes": 5, "seconds": 1.5})
    event = convert_decision(row, "9.9")
    assert (event["status_id"], event["status_detail"], event["duration"]) == (2, "client-gone", 1500)
    assert event["http_response"] == {"code": 200, "length": 5}


def test_counted_refusals_are_one_event_with_their_count() -> None:
    line = {
        "n": 3, "time": "2026-11-22T06:46:00.000Z", "line": "refusals", "ip": "192.0.2.1", "count": 80,
        "reasons": {"token-missing": 80}, "since": "2026-11-22T06:45:00.000Z", "until": "2026-11-22T06:45:59.000Z",
    }  # fmt: skip
    event = convert_refusals(line, "9.9")
    assert (event["type_uid"], event["count"], event["action_id"], event["status_id"]) == (600300, 80, 2, 2)
    assert event["end_time"] - event["start_time"] == 59_000
    assert event["src_endpoint"] == {"ip": "192.0.2.1"}
    assert event["unmapped"]["reasons"] == {"token-missing": 80}


@pytest.mark.parametrize("address", ["2001:db8::/64", "other"])
def test_what_is_no_single_address_is_a_name(address: str) -> None:
    assert convert_refusals({"ip": address}, "9.9")["src_endpoint"] == {"name": address}


REQUIRED = ("activity_id", "category_uid", "class_uid", "type_uid", "severity_id", "time", "metadata", "actor", "api",
            "src_endpoint")  # fmt: skip
TEXT = st.text("aé/:.Z0\n", max_size=6)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
ROWS = st.dictionaries(st.sampled_from([field.path[0] for field in FIELDS.values()]), ANYTHING)


@given(ROWS)
def test_whatever_a_damaged_line_says_the_event_has_what_ocsf_requires(row: dict[str, Any]) -> None:
    for event in (convert_decision(READ | row, "9.9"), convert_decision(row, "9.9"), convert_refusals(row, "9.9")):
        assert event.keys() >= set(REQUIRED)
        assert event["type_uid"] == event["class_uid"] * 100 + event["activity_id"]
        assert len(event["actor"]["user"]) >= 2
        assert json.loads(msgspec.json.encode(event))
