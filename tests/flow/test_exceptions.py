# SPDX-License-Identifier: Apache-2.0
"""Masks, shadow rules, grants, purposes, invariants and deadlines, from a request's head to its record."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from proxy.bundle.check import load_bundle
from proxy.bundle.snapshot import Snapshot
from proxy.ledger.entry import encode_body
from proxy.lifecycle.recorded import read_recorded
from proxy.model.decision import Reason
from proxy.model.request import RequestHead
from proxy.pipeline.checkpoint import Checkpoint
from proxy.pipeline.passage import Passage
from proxy.pipeline.steps import Forward, Refuse, Step
from proxy.telemetry import Metrics
from tests.support.bundle_folder import a_bundle
from tests.support.keys import GRANTED
from tests.support.ledger import decode_decision
from tests.support.passages import NOW, REQUEST_ID, a_checkpoint, a_head, a_token, read_lines
from tests.support.world import STAFF

FOR_42 = GRANTED.of_subject("users", "42")
GRANT = f"""\
  - id: LE-1
    lifts: [only-when-asked]
    when: {{caller.affiliate: ly}}
    subjects: ["{FOR_42}"]
    approved_by: ["corp|alice", "corp|bob"]
    from: 2027-01-15T17:00:00+09:00
    until: 2027-01-15T17:10:00+09:00
"""
"""Around NOW, 2027-01-15T17:00:00+09:00: it begins at that very moment."""


def a_line(step: Step) -> dict[str, Any]:
    assert isinstance(step, Refuse)
    (line,) = step.lines
    line = decode_decision(line)
    record: dict[str, Any] = json.loads(encode_body(line))
    return record


def counted(step: Refuse) -> dict[str, float]:
    metrics = Metrics()
    metrics.count_outcome(step.outcome)
    return {
        f"{sample.name}{{{','.join(sample.labels.values())}}}": sample.value
        for family in metrics.registry.collect() for sample in family.samples
        if sample.name.endswith("_total") and sample.value
    }  # fmt: skip


def begin(snapshot: Snapshot, head: RequestHead | None = None, now: float = NOW) -> tuple[Passage, Step]:
    passage = Passage(a_checkpoint(snapshot), REQUEST_ID, now)
    return passage, passage.begin(head or a_head())


# Masks.

MASK = "  - {id: mask-phone, effect: mask, when: {resource.route: user}, transforms: {user.contact: redact}}\n"


def test_a_mask_that_no_declared_field_can_take_is_a_refusal_that_says_so(tmp_path: Path) -> None:
    passage, step = begin(
        a_bundle(tmp_path, rules=MASK.replace("user.contact: redact", "user.contact: redact, user.content: redact"))
    )
    assert isinstance(step, Refuse)
    line = a_line(step)
    assert (line["effect"], line["reason"], line["status"]) == ("deny", "transforms-not-applied", 403)
    assert line["transforms"] == {"user.contact": "redact", "user.content": "redact"}
    assert line["rule"] == "ly-staff-read-japan"
    assert not passage.is_under_way
    assert counted(step)["sekisho_refusals_total{403,transforms-not-applied}"] == 1


# Shadow rules.

SHADOWS = {
    "a deny": ("  - {id: s, effect: deny, mode: shadow, when: {subject.country: JP}}\n", "deny", True),
    "a mask": (MASK.replace("mask-phone, effect: mask", "s, effect: mask, mode: shadow"), "allow", True),
    "an allow that adds nothing": ("  - {id: s, effect: allow, mode: shadow, when: {subject.country: JP}}\n", "allow",
                                   False),
}  # fmt: skip


@pytest.mark.parametrize(("rule", "would", "changes"), SHADOWS.values(), ids=SHADOWS.keys())
def test_a_rule_in_shadow_mode_is_recorded_and_changes_nothing(
    tmp_path: Path, rule: str, would: str, changes: bool  # noqa: FBT001
) -> None:  # fmt: skip
    passage, step = begin(a_bundle(tmp_path, rules=rule))
    assert isinstance(step, Forward)
    refused = passage.fail(Reason.CLIENT_GONE)
    line = a_line(refused)
    assert line["rule"] == "ly-staff-read-japan"
    assert (line["shadow"]["would"], line["shadow"]["changes"]) == (would, changes)
    assert [each["id"] for each in line["shadow"]["rules"]] == ["s"]
    assert counted(refused).get(f"sekisho_shadow_decisions_total{{s,allow,{would}}}", 0) == int(changes)


def test_a_shadow_rule_that_does_not_apply_is_not_recorded(tmp_path: Path) -> None:
    rule = "  - {id: s, effect: deny, mode: shadow, when: {subject.country: KR}}\n"
    passage, step = begin(a_bundle(tmp_path, rules=rule))
    assert isinstance(step, Forward)
    assert "shadow" not in a_line(passage.fail(Reason.CLIENT_GONE))


# Grants.

LIFTABLE = "  - {id: only-when-asked, effect: deny, liftable: true, when: {resource.route: user}}\n"
FIXED = f"{LIFTABLE}  - {{id: never, effect: deny, when: {{resource.route: user}}}}\n"
LIFTS: dict[str, tuple[dict[str, Any], str, float, bool]] = {
    "at its first moment": ({}, "/v1/jp/users/42", NOW, True),
    "just before it begins": ({}, "/v1/jp/users/42", NOW - 0.001, False),
    "in its last second": ({}, "/v1/jp/users/42", NOW + 599.9, True),
    "at the moment it ends": ({}, "/v1/jp/users/42", NOW + 600, False),
    "for one who approved it": ({"sub": "alice"}, "/v1/jp/users/42", NOW, False),
    "for the other who approved it": ({"sub": "bob"}, "/v1/jp/users/42", NOW, False),
    "for another subject": ({}, "/v1/jp/users/4", NOW, False),
    "for a subject of that name in another case": ({}, "/v1/jp/users/42x", NOW, False),
    "for whom its conditions do not know": ({"affiliate": None}, "/v1/jp/users/42", NOW, False),
}


@pytest.mark.parametrize(("claims", "target", "now", "lifts"), LIFTS.values(), ids=LIFTS.keys())
def test_a_grant_lifts(
    tmp_path: Path,
    claims: dict[str, Any],
    target: str,
    now: float,
    lifts: bool,  # noqa: FBT001
) -> None:
    snapshot = a_bundle(tmp_path, rules=LIFTABLE, grants=GRANT)
    token = a_token({**STAFF, "sub": "carol", **claims}, exp=int(NOW) + 3600)
    passage, step = begin(snapshot, a_head(target, token=token), now)
    assert isinstance(step, Forward if lifts else Refuse)
    refused = passage.fail(Reason.CLIENT_GONE) if lifts else step
    assert isinstance(refused, Refuse)
    line = a_line(refused)
    assert line.get("lifted", []) == ([["only-when-asked", "LE-1"]] if lifts else [])
    assert counted(refused).get("sekisho_grants_used_total{LE-1,only-when-asked}", 0) == int(lifts)
    assert FOR_42 not in json.dumps(line), "a record names people by its month's key alone"
    if line.get("route"):
        assert read_recorded(json.dumps(line).encode(), snapshot).facts.subject.reference == (FOR_42 if lifts else "")


def test_what_two_grants_lifted_was_of_a_subject_of_both(tmp_path: Path) -> None:
    other = GRANT.replace("LE-1", "LE-2").replace("[only-when-asked]", "[nor-then]")
    other = other.replace(f'["{FOR_42}"]', f'["{FOR_42}", "users:0"]')
    more = LIFTABLE + LIFTABLE.replace("only-when-asked", "nor-then")
    snapshot = a_bundle(tmp_path, rules=more, grants=GRANT.replace(f'["{FOR_42}"]', f'["{FOR_42}", "users:1"]') + other)
    passage, step = begin(snapshot, a_head(token=a_token({**STAFF, "sub": "carol"})))
    assert isinstance(step, Forward)
    line = a_line(passage.fail(Reason.CLIENT_GONE))
    assert [grant for _, grant in line["lifted"]] == ["LE-1", "LE-2"]
    assert read_recorded(json.dumps(line).encode(), snapshot).facts.subject.reference == FOR_42
    line["lifted"] = [["only-when-asked", "LE-9"]]
    assert read_recorded(json.dumps(line).encode(), snapshot).facts.subject.reference == "", "a grant that is gone"


def test_a_grant_lifts_nothing_that_does_not_say_so(tmp_path: Path) -> None:
    _, step = begin(a_bundle(tmp_path, rules=FIXED, grants=GRANT), a_head(token=a_token({**STAFF, "sub": "carol"})))
    line = a_line(step)
    assert (line["rule"], line["lifted"]) == ("never", [["only-when-asked", "LE-1"]])


DEADLINES = {
    "the route's limit, where all else is longer": (NOW, 43_200, 900.0),
    "the token's, where it ends first": (NOW, 60, 90.0),
    "the grant's, where it ends first": (NOW + 590, 43_200, 10.0),
}


@pytest.mark.parametrize(("now", "token_seconds", "expected"), DEADLINES.values(), ids=DEADLINES.keys())
def test_a_request_may_take_as_long_as(tmp_path: Path, now: float, token_seconds: int, expected: float) -> None:
    grant = GRANT if expected != 900 else GRANT.replace("17:10:00", "23:00:00")
    token = a_token({**STAFF, "sub": "carol"}, iat=int(NOW), exp=int(now) + token_seconds)
    _, step = begin(a_bundle(tmp_path, rules=LIFTABLE, grants=grant), a_head(token=token), now)
    assert isinstance(step, Forward)
    assert step.seconds == pytest.approx(expected)


# Purposes.

PURPOSES = """\
  - {id: law-enforcement, may_claim: {caller.affiliate: ly}, needs: case}
  - {id: audit, may_claim: {caller.affiliate: naver}}
"""
ASKS = "  - {id: only-for-police, effect: deny, when: {resource.route: user}, unless: [{purpose: law-enforcement}]}\n"
CLAIMED: dict[str, tuple[tuple[tuple[str, str], ...], str]] = {
    "a purpose with its case": ((("Sekisho-Purpose", "law-enforcement"), ("Sekisho-Case", "2027-003")), "forward"),
    "a name in another case": ((("sekisho-purpose", "law-enforcement"), ("SEKISHO-CASE", "2027-003")), "forward"),
    "no purpose": ((), "only-for-police"),
    "a case without a purpose": ((("Sekisho-Case", "2027-003"),), "only-for-police"),
    "a purpose without the case it needs": ((("Sekisho-Purpose", "law-enforcement"),), "only-for-police"),
    "a purpose that is none": ((("Sekisho-Purpose", "fun"), ("Sekisho-Case", "1")), "only-for-police"),
    "a purpose that others may claim": ((("Sekisho-Purpose", "audit"),), "only-for-police"),
    "a purpose twice": ((("Sekisho-Purpose", "law-enforcement"),) * 2, "header-repeated"),
    "a case twice": ((("Sekisho-Case", "1"), ("sekisho-case", "2")), "header-repeated"),
    "an empty purpose": ((("Sekisho-Purpose", ""),), "header-malformed"),
    "a list of purposes": ((("Sekisho-Purpose", "audit, law-enforcement"),), "header-malformed"),
    "a case with a line end": ((("Sekisho-Case", "1\r\nX: y"),), "header-malformed"),
    "a case that is too long": ((("Sekisho-Case", "1" * 65),), "header-malformed"),
    "a case in letters of others": ((("Sekisho-Case", "\uff11"),), "header-malformed"),
}


@pytest.mark.parametrize(("fields", "expected"), CLAIMED.values(), ids=CLAIMED.keys())
def test_a_request_that_claims(tmp_path: Path, fields: tuple[tuple[str, str], ...], expected: str) -> None:
    passage, step = begin(a_bundle(tmp_path, rules=ASKS, purposes=PURPOSES), a_head("/v1/jp/users/42", *fields))
    if isinstance(step, Forward):
        assert expected == "forward"
        assert not [name for name, _ in read_lines(step.fields) if name.lower() in {"sekisho-purpose", "sekisho-case"}]
        assert a_line(passage.fail(Reason.CLIENT_GONE))["purpose"] == "law-enforcement"
        return
    line = a_line(step)
    assert (line.get("rule") or line["reason"]) == expected
    assert line["status"] == (400 if expected.startswith("header") else 403)
    assert "fun" not in str(line), "a word that a caller chose stands in no record"


# Invariants.


def test_an_invariant_refuses_by_its_own_reason_and_nothing_lifts_it(tmp_path: Path) -> None:
    invariants = "  - {id: nobody-at-all, never: allow, when: {resource.route: user}}\n"
    _, step = begin(a_bundle(tmp_path, rules=LIFTABLE, grants=GRANT, invariants=invariants),
                    a_head(token=a_token({**STAFF, "sub": "carol"})))  # fmt: skip
    line = a_line(step)
    assert (line["reason"], line["rule"], line["status"]) == ("invariant-denies", "nobody-at-all", 403)


# Requests under way, decided once more.

Edits = tuple[str, str, str]
UNDER: Mapping[str, tuple[Edits | None, float, bool]] = {
    "the same bundle": (None, NOW + 1, False),
    "a deny rule that is new": (
        ("rules/deny.yaml", "rules:\n", "rules:\n  - {id: now, effect: deny, when: {resource.route: user}}\n"),
        NOW + 1, True),
    "no allow rule any more": (("rules/allow.yaml", "caller.kind: employee", "caller.kind: service"), NOW + 1, True),
    "the route gone": (("apis/users.yaml", "path: /v1/{country}/users/{user_id}\n",
                        "path: /v2/{country}/users/{user_id}\n"), NOW + 1, True),
    "the API under another id": (("apis/users.yaml", "- id: users\n", "- id: people\n"), NOW + 1, True),
    "the issuer's name gone": (("issuers.yaml", "issuer: https://idp.ly.example", "issuer: https://other.example"),
                               NOW + 1, True),
    "the network gone": (("networks.yaml", "10.20.0.0/16", "10.21.0.0/16"), NOW + 1, True),
    "the token expired": (None, NOW + 7200, True),
    "the token expired, and nothing blocked": (("bundle.yaml", "mode: enforce ",
                                                "mode: observe\nobserve_until: 2030-01-01T00:00:00Z\n#"),
                                               NOW + 7200, False),
}  # fmt: skip


@pytest.mark.parametrize(("edit", "now", "denied"), UNDER.values(), ids=UNDER.keys())
def test_a_request_under_way_is_decided_once_more_under(
    tmp_path: Path,
    edit: Edits | None,
    now: float,
    denied: bool,  # noqa: FBT001
) -> None:
    passage, step = begin(a_bundle(tmp_path / "one"), a_head(token=a_token(exp=int(NOW) + 3600)))
    assert isinstance(step, Forward)
    a_bundle(tmp_path / "two")
    if edit is not None:
        file = tmp_path / "two" / edit[0]
        text = file.read_text(encoding="utf-8")
        assert edit[1] in text
        file.write_text(text.replace(edit[1], edit[2], 1), encoding="utf-8")
    if edit is not None and edit[0] == "apis/users.yaml" and "people" in edit[2]:
        allow = tmp_path / "two" / "rules" / "allow.yaml"
        allow.write_text(allow.read_text(encoding="utf-8").replace("resource.api: users", "resource.api: people"))
    assert passage.is_denied_under(a_checkpoint(load_bundle(tmp_path / "two")), now) is denied


BREAKS: Mapping[str, Callable[[Checkpoint], object]] = {
    "keys that are gone": lambda checkpoint: checkpoint.keys.sets.clear(),  # type: ignore[attr-defined]
    "an error inside": lambda checkpoint: setattr(checkpoint, "origins", None),
    "no callers": lambda checkpoint: setattr(checkpoint, "callers", None),
}


@pytest.mark.parametrize("break_", BREAKS.values(), ids=BREAKS.keys())
def test_what_cannot_be_decided_once_more_is_denied(tmp_path: Path, break_: Callable[[Checkpoint], object]) -> None:
    snapshot = a_bundle(tmp_path)
    passage, step = begin(snapshot)
    assert isinstance(step, Forward)
    checkpoint = a_checkpoint(snapshot)
    break_(checkpoint)
    assert passage.is_denied_under(checkpoint, NOW)
