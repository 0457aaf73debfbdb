# SPDX-License-Identifier: Apache-2.0
"""What a checkpoint keeps never changes what comes of a request: each is judged as if it were the first (LESSONS 1.15).

A long-lived checkpoint and one that is made for each request see the same requests, in any order: of callers who come
again with the same fields, at other times, through other peers, with other certificates, keys and clocks.
"""

import functools
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.bundle.snapshot import Snapshot
from proxy.caller.clients import Client, Clients
from proxy.caller.keys import KeySet
from proxy.ledger.record import Recorder
from proxy.model.decision import Reason
from proxy.model.origin import ClientAddress
from proxy.model.request import Headers, RequestHead, ResponseHead
from proxy.origin.geoip import RegistryGeolocator
from proxy.pipeline import approach as memory
from proxy.pipeline.approach import Approaches
from proxy.pipeline.checkpoint import Checkpoint
from proxy.pipeline.passage import Passage
from proxy.pipeline.steps import Forward, Need, Refuse, Release
from tests.support.bundle_folder import a_bundle
from tests.support.certificates import BILLING, a_leaf, an_authority, billing, corp_ca, partner_ca
from tests.support.keys import GRANTED, RING
from tests.support.passages import NOW, REQUEST_ID, HeldKeys, a_head, a_token
from tests.support.world import ENGINEER, SUPPORT

RULES = """\
  - {id: only-when-asked, effect: deny, liftable: true, when: {subject.id: "42", caller.affiliate: ly}}
  - {id: watched, effect: deny, mode: shadow, when: {subject.country: KR}}
  - {id: masked, effect: mask, when: {resource.route: user, purpose: law-enforcement}, transforms: {user.name: redact}}
  - {id: ends, effect: allow, effective: {until: 2027-01-15T08:30:00Z}, when: {caller.affiliate: shanghai-digital}}
"""
GRANT = f"""\
  - id: LE-1
    lifts: [only-when-asked]
    when: {{caller.affiliate: ly}}
    subjects: ["{GRANTED.of_subject("users", "42")}"]
    approved_by: ["corp|alice", "corp|bob"]
    from: 2027-01-15T17:00:00+09:00
    until: 2027-01-15T17:10:00+09:00
"""
PURPOSES = "  - {id: law-enforcement, may_claim: {caller.affiliate: ly}, needs: case}\n"


@functools.cache
def a_snapshot(_which: int, observes: bool) -> Snapshot:  # noqa: FBT001 - one of two
    """Load the same bundle once more: what one of them keeps, the other has not seen."""
    with TemporaryDirectory() as folder:
        snapshot = a_bundle(Path(folder), rules=RULES, grants=GRANT, purposes=PURPOSES)
    clients = Clients({("mesh", BILLING): Client("billing", "ly", autonomous=False)})
    return msgspec.structs.replace(
        snapshot,
        authorities=(an_authority(corp_ca()),),
        clients=clients,
        observe_until=NOW + 100 if observes else None,
    )


class Both:
    """A checkpoint that lives on, and as many as are wanted that have seen nothing."""

    def __init__(self, *, observes: bool, address: ClientAddress, source: str) -> None:
        self.keys = HeldKeys(a_snapshot(0, observes))
        self._options: dict[str, Any] = {"client_address": address, "client_certificate": source}
        self._observes = observes
        self.warm = self._make(0)

    def _make(self, which: int) -> Checkpoint:
        snapshot = a_snapshot(which, self._observes)
        return Checkpoint(snapshot, self.keys, RegistryGeolocator(), Recorder(RING, snapshot.digest), **self._options)

    def agree(self, head: RequestHead, answer: ResponseHead, now: float) -> object:
        """Assert that both say the same; return what they say."""
        fresh = self._make(1)
        for tier in (fresh.snapshot.policy.tier, fresh.snapshot.policy.shadow):
            assert tier is not None
            tier.settled.clear()
            tier.index._revive()
        expected = run(fresh, head, answer, now)
        said = run(self.warm, head, answer, now)
        assert said == expected
        return said


def run(checkpoint: Checkpoint, head: RequestHead, answer: ResponseHead, now: float) -> list[object]:
    """Return all that a request comes to, as far as it goes."""
    passage = Passage(checkpoint, REQUEST_ID, now)
    steps: list[object] = [passage.begin(head)]
    while isinstance(steps[-1], Need):
        steps.append(passage.supply(steps[-1]))
    if isinstance(steps[-1], Forward):
        steps += [passage.answer(answer, 12, 0.5), passage.is_denied_under(checkpoint, now + 1), passage.ends_at]
    return steps


def outcome_of(steps: object) -> Any:
    assert isinstance(steps, list)
    return next(step.outcome for step in steps if isinstance(step, (Refuse, Release)))


TOKENS = (a_token(), a_token(ENGINEER), a_token(SUPPORT), a_token(exp=int(NOW) + 30), a_token()[:-6] + "AAAAAA")
MORE: tuple[tuple[tuple[str, str], ...], ...] = (
    (),
    (("Sekisho-Purpose", "law-enforcement"), ("Sekisho-Case", "2027-003"), ("Accept", "a")),
    (("Sekisho-On-Behalf-Of", TOKENS[0]),),
    (
        ("Connection", "X-Hop"),
        ("X-Hop", "1"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ),
    (("Transfer-Encoding", "chunked"), ("Expect", "100-continue")),
    (("X-Forwarded-For", "203.0.113.9"), ("X-Real-IP", "10.86.0.1")),
    (("Connection", "Host"),),
    (("Host", "again"),),
)
FIELDS: list[Headers] = [
    a_head("/", *more, token=token, address=address, host=host).headers
    for more in MORE
    for token in (*TOKENS, None)
    for address, host in (("10.20.3.7", "users.internal"), ("10.86.3.7", "users.internal"), (None, "elsewhere"))
]
"""Each is one object, as whoever parses heads gives it."""
CERTIFICATES = (None, billing().der, a_leaf(partner_ca(), BILLING).der)
TARGETS = (
    "/v1/jp/users/42", "/v1/jp/users/43", "/v1/kr/users/42", "/v1/jp/users/42/phone", "/v1/jp/export", "/v1/status",
    "/v1/jp/users/42?fields=name", "/v1/nowhere", "/v1/jp//users",
)  # fmt: skip
MOMENTS = (NOW, NOW + 1, NOW + 45, NOW + 99, NOW + 101, NOW + 601, NOW + 1801, NOW + 40 * 86400, NOW - 5)

HEADS = st.builds(
    RequestHead,
    st.sampled_from(("GET", "GET", "GET", "PUT", "DELETE", "BREW")),
    st.sampled_from(TARGETS),
    st.sampled_from(FIELDS[:24]) | st.sampled_from(FIELDS),
    st.sampled_from(("127.0.0.1", "127.0.0.1", "10.82.0.9", "203.0.113.9", "")),
    st.sampled_from(((1, 1), (1, 1), (1, 0))),
    st.sampled_from((None, *CERTIFICATES)),
    st.sampled_from(((), (), ("10.82.3.7",), ("10.20.3.7",))),
)
ANSWERS = st.builds(
    ResponseHead,
    st.sampled_from((200, 200, 404, 500, 101)),
    st.sampled_from(((), (("ETag", "1"), ("Cache-Control", "public")), (("Connection", "ETag"), ("ETag", "2")))),
)
REQUESTS = st.tuples(HEADS, ANSWERS, st.sampled_from(MOMENTS), st.sampled_from((None,) * 6 + ("away", "other", "back")))


@settings(max_examples=40)
@given(
    st.lists(REQUESTS, min_size=2, max_size=14),
    st.booleans(),
    st.sampled_from(ClientAddress),
    st.sampled_from(("tls", "xfcc")),
)
def test_whoever_came_before_changes_nothing(
    requests: list[tuple[RequestHead, ResponseHead, float, str | None]],
    observes: bool,  # noqa: FBT001 - drawn
    address: ClientAddress,
    source: str,
) -> None:
    both = Both(observes=observes, address=address, source=source)
    held = both.keys.sets["corp"]
    for head, answer, now, change in requests:
        change_keys(both.keys, held, change)
        both.agree(head, answer, now)


def change_keys(keys: HeldKeys, held: KeySet, change: str | None) -> None:
    """Take the issuer's keys away, replace them, or put them back."""
    if change == "away":
        keys.sets.clear()
    elif change == "other":
        keys.sets["corp"] = msgspec.structs.replace(held, generation="other", keys=())
    elif change == "back":
        keys.sets["corp"] = held


STAFF_FIELDS = a_head().headers
FORWARDED = msgspec.structs.replace(a_head("/v1/jp/users/43"), headers=STAFF_FIELDS)
OK = ResponseHead(200, (("ETag", "1"),))
FLIPS: dict[str, tuple[dict[str, Any], float]] = {
    "another peer, whose word on the address is not taken": ({"peer_ip": "10.86.0.1"}, NOW),
    "a certificate beside the token": ({"certificate": billing().der}, NOW),
    "another certificate, which is nobody's": ({"certificate": CERTIFICATES[2]}, NOW),
    "another path": ({"raw_target": "/v1/jp/users/42"}, NOW + 700),
    "another method": ({"method": "DELETE"}, NOW),
    "an earlier version": ({"version": (1, 0), "headers": FIELDS[4 * 18]}, NOW),
    "other fields": ({"headers": a_head(token=a_token(ENGINEER)).headers}, NOW),
    "fields that are equal but for one value": ({"headers": a_head(address="10.86.3.7").headers}, NOW),
    "a later time, at which the token has ended": ({}, NOW + 86400),
}


@pytest.mark.parametrize(("changes", "now"), FLIPS.values(), ids=FLIPS)
def test_what_differs_in_one_thing_is_told_apart(changes: dict[str, Any], now: float) -> None:
    both = Both(observes=False, address=ClientAddress.X_FORWARDED_FOR, source="tls")
    first = both.agree(FORWARDED, OK, NOW)
    other = both.agree(msgspec.structs.replace(FORWARDED, **changes), OK, now)
    assert outcome_of(first).reason is Reason.RULE_ALLOWS
    assert outcome_of(other) != outcome_of(first)
    assert both.agree(FORWARDED, OK, NOW) == first


def test_an_address_that_the_connection_says_is_told_apart() -> None:
    both = Both(observes=False, address=ClientAddress.PROXY_PROTOCOL, source="tls")
    heads = [msgspec.structs.replace(FORWARDED, proxied=(ip,)) for ip in ("10.20.3.7", "10.86.3.7", "10.20.3.7")]
    countries = [outcome_of(both.agree(head, OK, NOW)).origin.country for head in heads]
    assert countries == ["JP", "CN", "JP"]


def test_the_same_fields_are_worked_out_once_and_equal_ones_anew() -> None:
    checkpoint = Both(observes=False, address=ClientAddress.X_FORWARDED_FOR, source="tls").warm
    first = checkpoint.find_approach(FORWARDED)
    assert checkpoint.find_approach(msgspec.structs.replace(FORWARDED, raw_target="/other")) is first
    equal: Headers = (*STAFF_FIELDS, *())
    again = checkpoint.find_approach(msgspec.structs.replace(FORWARDED, headers=equal))
    assert again == first
    assert again is not first


def test_fields_that_are_refused_are_not_kept() -> None:
    checkpoint = Both(observes=False, address=ClientAddress.X_FORWARDED_FOR, source="tls").warm
    refused = a_head("/", ("Host", "again"))
    assert checkpoint.find_approach(refused) is Reason.HOST_REPEATED
    assert checkpoint._approaches.find(refused) is None


def test_what_is_kept_is_bounded_and_stays_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MAX_KEPT", 3)
    checkpoint = Both(observes=False, address=ClientAddress.X_FORWARDED_FOR, source="tls").warm
    heads = [a_head("/v1/jp/users/43", ("X-N", str(number))) for number in range(8)]
    found = [checkpoint.find_approach(head) for head in heads]
    kept = [head for head in heads if checkpoint._approaches.find(head) is not None]
    assert 0 < len(kept) <= 3
    assert [checkpoint.find_approach(head) for head in heads] == found


@pytest.mark.parametrize(
    "fields", [[("X-Long", "x" * 4000)], [(f"X{n}", "") for n in range(20)]], ids=["characters", "fields"]
)
def test_what_is_kept_is_bounded_by_the_memory_that_it_takes(
    monkeypatch: pytest.MonkeyPatch, fields: list[tuple[str, str]]
) -> None:
    checkpoint = Both(observes=False, address=ClientAddress.X_FORWARDED_FOR, source="tls").warm
    monkeypatch.setattr(memory, "MAX_KEPT_BYTES", 10_000)
    heads = [a_head("/", *fields) for _ in range(5)]
    for head in heads:
        checkpoint.find_approach(head)
    assert len([head for head in heads if checkpoint._approaches.find(head) is not None]) == 1
    assert isinstance(checkpoint._approaches, Approaches)
