# SPDX-License-Identifier: Apache-2.0
"""Lines as events of OCSF 1.8, class API Activity (6003) with the profile ``security_control``.

OCSF has no class for decisions of an authorisation. What a line says and OCSF has a place for stands there; the rest
stands under ``unmapped``, as the line has it. ``prev`` alone is left out: an event proves nothing, the ledger does.
What a line does not say is left out or, where OCSF requires it, said to be unknown: never a path, a host or a header,
which no line holds.

Names of attributes are those of the schema's repository. Which severity a refusal has, that ``export`` is activity 99
(Other), and what is success are ours: OCSF leaves them to the producer.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from proxy.clock import parse_instant
from proxy.ledger.query import Row, find_value
from proxy.model.api import Action
from proxy.model.country import NAMES
from proxy.model.decision import Effect, Reason
from proxy.model.facts import State
from proxy.model.request_id import read_instant

VERSION: Final = "1.8.0"
CLASS: Final = 6003

Event: TypeAlias = dict[str, Any]

_ACTIVITIES: Final[Mapping[str, tuple[int, str]]] = {
    Action.CREATE: (1, "Create"),
    Action.READ: (2, "Read"),
    Action.UPDATE: (3, "Update"),
    Action.DELETE: (4, "Delete"),
    Action.EXPORT: (99, "Export"),
}
_UNKNOWN: Final = (0, "Unknown")
_SEVERITIES: Final = ("", "Informational", "Low", "Medium")
_BY_RULE: Final = frozenset({Reason.RULE_DENIES, Reason.INVARIANT_DENIES})
_USER_TYPES: Final = {"employee": (1, "User"), "contractor": (1, "User"), "service": (4, "Service")}
_CHANGES: Final = ("transforms", "records_dropped", "records_masked")
"""What says that not all of an answer left as it was."""
_STATES: Final = frozenset(state.value for state in State)
_MAPPED: Final = frozenset({"n", "prev", "line", "id", "method", "status", "trace", "bytes", "seconds"})
_LONGEST_SECONDS: Final = 1e9
_ASN: Final = re.compile(r"AS([0-9]{1,10})")


def convert_decision(row: Row, product_version: str) -> Event:
    """Return a decision as an event.

    Args:
        row: a decision line, with what the line of its end says, as ``query.Search`` gives it.
        product_version: of Sekisho.
    """
    time, request_id = _instant(row.get("time")), str(find_value(row, "id"))
    asked = read_instant(request_id)
    event = _make(
        _ACTIVITIES.get(str(find_value(row, "action")), _UNKNOWN),
        time if asked is None else round(asked * 1000),
        _severity(row),
        _metadata(row, product_version, logged=time),
    )
    event["metadata"]["uid"] = request_id
    if find_value(row, "trace"):
        event["metadata"]["profiles"].append("trace")
        event["trace"] = {"uid": find_value(row, "trace")}
    event |= _status(row) | _control(row) | {"actor": _actor(row), "api": _api(row), "src_endpoint": _source(row)}
    event["http_request"] = {"uid": request_id, "http_method": find_value(row, "method")}
    if isinstance(status := find_value(row, "status"), int):
        length = find_value(row, "bytes")
        event["http_response"] = {"code": status} | ({"length": length} if isinstance(length, int) else {})
    seconds = find_value(row, "seconds")
    if isinstance(seconds, int | float) and 0 < seconds < _LONGEST_SECONDS:
        event["duration"] = round(seconds * 1000)
    if (subject := _fact(row, "subject")) or find_value(row, "data"):
        event["resources"] = [_leave_out({"type": "personal data", "uid": subject, "labels": find_value(row, "data")})]
    event["unmapped"] = {key: value for key, value in row.items() if key not in _MAPPED}
    return event


def convert_refusals(row: Row, product_version: str) -> Event:
    """Return counted refusals of unknown callers as one event with their count.

    Args:
        row: a line of that kind.
        product_version: of Sekisho.
    """
    time, address = _instant(row.get("time")), str(row.get("ip", State.UNKNOWN.value))
    is_address = "/" not in address and ("." in address or ":" in address)
    return _make(_UNKNOWN, _instant(row.get("since")), 2, _metadata(row, product_version, logged=time)) | {
        "count": row.get("count", 0),
        "start_time": _instant(row.get("since")),
        "end_time": _instant(row.get("until")),
        "status_id": 2,
        "status": "Failure",
        "action_id": 2,
        "action": "Denied",
        "disposition_id": 2,
        "disposition": "Blocked",
        "actor": {"user": {"name": State.UNKNOWN.value, "type_id": 0}},
        "api": {"operation": State.UNKNOWN.value},
        "src_endpoint": {"ip" if is_address else "name": address},
        "unmapped": {key: value for key, value in row.items() if key not in _MAPPED},
    }


def _make(activity: tuple[int, str], time: int, severity: int, metadata: Event) -> Event:
    number, name = activity
    return {
        "category_uid": CLASS // 1000,
        "category_name": "Application Activity",
        "class_uid": CLASS,
        "class_name": "API Activity",
        "activity_id": number,
        "activity_name": name,
        "type_uid": CLASS * 100 + number,
        "time": time,
        "severity_id": severity,
        "severity": _SEVERITIES[severity],
        "metadata": metadata,
    }


def _metadata(row: Row, product_version: str, *, logged: int) -> Event:
    return {
        "version": VERSION,
        "product": {"name": "Sekisho", "vendor_name": "Sekisho", "version": product_version},
        "profiles": ["security_control"],
        "sequence": row.get("n", 0),
        "logged_time": logged,
    }


def _instant(text: object) -> int:
    """Return milliseconds since 1970; 0 for what is no instant."""
    try:
        return round(parse_instant(str(text)) * 1000)
    except (ValueError, OverflowError):
        return 0


def _severity(row: Row) -> int:
    if find_value(row, "effect") == Effect.ALLOW:
        return 1
    return 3 if str(find_value(row, "reason")) in _BY_RULE else 2


def _status(row: Row) -> Event:
    """Say whether the caller got what it asked for; 0 where no line tells."""
    status, complete = find_value(row, "status"), find_value(row, "complete")
    if not find_value(row, "released") or complete is False or (isinstance(status, int) and status >= 400):
        number, name = 2, "Failure"
    else:
        number, name = (1, "Success") if complete is True else (0, "Unknown")
    detail = find_value(row, "end_reason") or find_value(row, "reason")
    said = {"status_id": number, "status": name, "status_detail": detail}
    return said | ({"status_code": str(status)} if isinstance(status, int) else {})


def _control(row: Row) -> Event:
    """Say what the gateway did, in the words of the profile ``security_control``."""
    if find_value(row, "effect") == Effect.ALLOW:
        action, disposition = (1, "Allowed"), (1, "Allowed")
        if any(find_value(row, name) for name in _CHANGES):
            action, disposition = (4, "Modified"), (11, "Corrected")
    elif find_value(row, "enforced") is False:
        action, disposition = (3, "Observed"), (17, "Logged")
    else:
        action, disposition = (2, "Denied"), (2, "Blocked")
    said: Event = {
        "action_id": action[0],
        "action": action[1],
        "disposition_id": disposition[0],
        "disposition": disposition[1],
        "is_alert": _severity(row) >= 3,
    }
    if rule := find_value(row, "rule"):
        said["policy"] = {"uid": rule, "version": find_value(row, "bundle"), "is_applied": True}
        applied = find_value(row, "rules") or [{"id": rule, "effect": find_value(row, "effect")}]
        said["authorizations"] = [
            {"decision": each.get("effect", ""), "policy": {"uid": each.get("id", "")}}
            for each in (applied if isinstance(applied, list) else ())
            if isinstance(each, dict)
        ]
    return said


def _actor(row: Row) -> Event:
    who, affiliate = find_value(row, "who"), _fact(row, "affiliate")
    number, name = _USER_TYPES.get(str(find_value(row, "kind")), _UNKNOWN)
    user: Event = {"type_id": number, "type": name} | ({"uid": who} if who else {"name": State.UNKNOWN.value})
    if affiliate:
        user["org"] = {"uid": affiliate}
    issuer = _fact(row, "issuer")
    return {"user": user} | ({"idp": {"uid": issuer}} if issuer else {})


def _api(row: Row) -> Event:
    api = find_value(row, "api")
    operation = {"operation": find_value(row, "route") or find_value(row, "shape") or State.UNKNOWN.value}
    return operation | ({"service": {"name": api}} if api else {})


def _source(row: Row) -> Event:
    """Return where it came from; one attribute at least must be there."""
    said: Event = {"ip": ip} if (ip := _fact(row, "ip")) else {"name": State.UNKNOWN.value}
    if (country := _fact(row, "origin_country")) in NAMES:
        said["location"] = {"country": country}
    if number := _ASN.fullmatch(_fact(row, "asn")):
        said["autonomous_system"] = {"number": int(number[1])}
    if network := _fact(row, "network"):
        said["subnet_uid"] = network
    return said


def _fact(row: Row, name: str) -> str:
    """Return a fact that is a value, nothing for the other states."""
    value = str(find_value(row, name))
    return "" if value in _STATES else value


def _leave_out(values: Event) -> Event:
    return {key: value for key, value in values.items() if value}
