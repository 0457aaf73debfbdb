# SPDX-License-Identifier: Apache-2.0
"""Tokens through the whole passage: where they stand, what must be asked about them, and what the caller is told."""

import functools
from pathlib import Path
from typing import Any

import msgspec
import pytest

from proxy.bundle.snapshot import Snapshot
from proxy.caller.issuers import Introspection
from proxy.caller.resolve import IntrospectionNeeded, KeysNeeded
from proxy.caller.revocation import Introspected, Revoked
from proxy.ledger.record import Recorder
from proxy.model.decision import Reason
from proxy.model.request import RequestHead
from proxy.origin.geoip import RegistryGeolocator
from proxy.pipeline.answers import ANSWERS, BEARER_CHALLENGE
from proxy.pipeline.checkpoint import Checkpoint
from proxy.pipeline.passage import Passage
from proxy.pipeline.steps import Forward, Need, Refuse
from tests.support.keys import RING
from tests.support.passages import NOW, HeldKeys, a_checkpoint, a_head, a_token, read_lines, reference_bundle

TOKEN = a_token()
"""One token: signatures by ES256 differ each time."""


class Said:
    """What issuers said, held by a test."""

    def __init__(self) -> None:
        self.answers: dict[str, Introspected] = {}

    def find(self, issuer_id: str, token_digest: str) -> Introspected | None:
        return self.answers.get(token_digest)


def changed(**changes: Any) -> Snapshot:
    """Return the reference bundle with its first issuer changed."""
    snapshot = reference_bundle()
    corp, *others = snapshot.issuers
    return msgspec.structs.replace(snapshot, issuers=(msgspec.structs.replace(corp, **changes), *others))


def checkpoint(snapshot: Snapshot, said: Said | None = None) -> Checkpoint:
    recorder = Recorder(RING, snapshot.policy_digest, snapshot.registers_digest)
    return Checkpoint(snapshot, HeldKeys(snapshot), RegistryGeolocator(), recorder, introspections=said)


def begun(under: Checkpoint, head: RequestHead) -> tuple[Passage, object]:
    passage = Passage(under, "R1", NOW)
    return passage, passage.begin(head)


@functools.cache
def by_cookie() -> Checkpoint:
    return checkpoint(changed(place="cookie id_token"))


def with_cookie(cookie: str, **options: Any) -> RequestHead:
    return a_head("/v1/jp/users/42", ("Cookie", cookie), **{"token": None, **options})


def test_a_token_in_its_cookie_opens_and_goes_no_further() -> None:
    _, step = begun(by_cookie(), with_cookie(f"theme=dark; id_token={TOKEN}; lang=ja"))
    assert isinstance(step, Forward)
    assert [value for name, value in read_lines(step.fields) if name == "Cookie"] == ["theme=dark; lang=ja"]
    assert TOKEN.encode() not in step.fields


REFUSALS: dict[str, tuple[RequestHead, Reason]] = {
    "no token": (with_cookie("theme=dark"), Reason.TOKEN_MISSING),
    "its token in Authorization": (a_head(token=TOKEN), Reason.TOKEN_MISPLACED),
    "its token in both": (with_cookie(f"id_token={TOKEN}", token=TOKEN), Reason.AUTHORIZATION_AMBIGUOUS),
    "its token in a cookie and another scheme beside": (
        a_head("/v1/jp/users/42", ("Cookie", f"id_token={TOKEN}"), ("Authorization", "Basic YTpi"), token=None),
        Reason.AUTHORIZATION_AMBIGUOUS,
    ),
    "its token in the cookie twice": (
        with_cookie(f"id_token={TOKEN}; id_token={TOKEN}"), Reason.AUTHORIZATION_COOKIE_REPEATED,
    ),
    "its token with a scheme": (with_cookie(f"id_token=Bearer {TOKEN}"), Reason.TOKEN_MALFORMED),
    "its token in quotes": (with_cookie(f'id_token="{TOKEN}"'), Reason.TOKEN_MALFORMED),
    "an empty cookie": (with_cookie("id_token="), Reason.TOKEN_MALFORMED),
    "another issuer's token, whose place is Authorization": (
        with_cookie(f"id_token={a_token(issuer='naver-sso')}"), Reason.TOKEN_MISPLACED,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("head", "reason"), REFUSALS.values(), ids=REFUSALS)
def test_lessons_row_9_where_an_issuers_place_is_a_cookie_it_is_refused_to_send(
    head: RequestHead, reason: Reason
) -> None:
    _, step = begun(by_cookie(), head)
    assert isinstance(step, Refuse)
    assert step.outcome.reason is reason
    assert len(step.lines) == 1
    assert TOKEN not in repr(step.lines)


def test_issuers_may_have_their_places_side_by_side() -> None:
    _, step = begun(by_cookie(), a_head(token=a_token({"company": "naver"}, issuer="naver-sso")))
    assert isinstance(step, Refuse)
    assert step.outcome.reason is Reason.RULE_DENIES, "it is known who asks, and that they may not"


def test_a_joined_authorization_is_no_credential() -> None:
    """LESSONS row 9: two fields that some hop has joined are two credentials."""
    _, step = begun(a_checkpoint(), a_head(token=f"{TOKEN}, Bearer {TOKEN}"))
    assert isinstance(step, Refuse)
    assert (step.outcome.reason, step.outcome.status) == (Reason.AUTHORIZATION_MALFORMED, 400)


ASKED = Introspection("https://idp.ly.example/introspect", "sekisho", "env:S", 30)


def asking() -> tuple[Checkpoint, Said]:
    said = Said()
    return checkpoint(changed(introspection=ASKED), said), said


def test_an_issuer_is_asked_and_its_word_is_taken() -> None:
    under, said = asking()
    passage, need = begun(under, a_head(token=TOKEN))
    assert isinstance(need, Need)
    assert isinstance(need.what, IntrospectionNeeded)
    assert TOKEN not in repr(need)
    said.answers[need.what.token_digest] = Introspected(is_active=True, said={}, until=NOW + 30)
    assert isinstance(passage.supply(need), Forward)
    assert isinstance(begun(under, a_head(token=TOKEN))[1], Forward)


ANSWERED: dict[str, tuple[Introspected | None, Reason, int]] = {
    "nothing": (None, Reason.INTROSPECTION_UNAVAILABLE, 503),
    "no": (Introspected(is_active=False, said={}, until=NOW + 30), Reason.TOKEN_REVOKED, 401),
    "something about somebody else": (
        Introspected(is_active=True, said={"sub": "eve"}, until=NOW + 30), Reason.TOKEN_INTROSPECTED_OTHERWISE, 401,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("answer", "reason", "status"), ANSWERED.values(), ids=ANSWERED)
def test_nobody_passes_whose_issuer_says(answer: Introspected | None, reason: Reason, status: int) -> None:
    under, said = asking()
    passage, need = begun(under, a_head(token=TOKEN))
    assert isinstance(need, Need)
    assert isinstance(need.what, IntrospectionNeeded)
    if answer is not None:
        said.answers[need.what.token_digest] = answer
    step = passage.supply(need)
    assert isinstance(step, Refuse), "it is asked once"
    assert (step.outcome.reason, step.outcome.status) == (reason, status)


def test_keys_and_an_introspection_are_each_asked_once() -> None:
    under, said = asking()
    assert isinstance(under.keys, HeldKeys)
    held = under.keys.sets.pop("corp")
    passage, first = begun(under, a_head(token=TOKEN))
    assert isinstance(first, Need)
    assert first.what == KeysNeeded("corp")
    under.keys.sets["corp"] = held
    second = passage.supply(first)
    assert isinstance(second, Need)
    assert isinstance(second.what, IntrospectionNeeded)
    del under.keys.sets["corp"]
    third = passage.supply(second)
    assert isinstance(third, Refuse)
    assert third.outcome.reason is Reason.KEYS_UNAVAILABLE
    assert said.answers == {}


def test_lessons_row_14_keys_that_cannot_be_looked_for_are_503_and_a_stranger_is_401() -> None:
    for failed, expected in ((True, (503, "keys-unavailable")), (False, (401, "token-key-unknown"))):
        under = a_checkpoint()
        assert isinstance(under.keys, HeldKeys)
        passage, need = begun(under, a_head(token=a_token(header={"kid": "rotated"})))
        assert isinstance(need, Need)
        if failed:
            under.keys.failed.add("corp")
        step = passage.supply(need)
        assert isinstance(step, Refuse)
        assert (step.outcome.status, step.outcome.reason) == expected


UNDER_WAY: dict[str, tuple[bool | None, bool]] = {
    "nobody knows": (None, False), "it is active": (True, False), "it is not": (False, True),
}  # fmt: skip


@pytest.mark.parametrize(("is_active", "denied"), UNDER_WAY.values(), ids=UNDER_WAY)
def test_what_is_under_way_is_cut_where_its_token_is_known_to_be_inactive(
    is_active: bool | None,  # noqa: FBT001
    denied: bool,  # noqa: FBT001
) -> None:
    passage, step = begun(a_checkpoint(), a_head(token=TOKEN))
    assert isinstance(step, Forward)
    after, said = asking()
    need = begun(after, a_head(token=TOKEN))[1]
    assert isinstance(need, Need)
    assert isinstance(need.what, IntrospectionNeeded)
    if is_active is not None:
        said.answers[need.what.token_digest] = Introspected(is_active, {}, NOW)
    assert passage.is_denied_under(after, NOW + 1) is denied


def test_what_is_under_way_is_cut_by_the_register_of_revoked_tokens() -> None:
    passage, step = begun(a_checkpoint(), a_head(token=TOKEN))
    assert isinstance(step, Forward)
    revoked = msgspec.structs.replace(reference_bundle(), revoked=Revoked(issuers={"corp": NOW + 1}))
    assert passage.is_denied_under(checkpoint(revoked), NOW + 1)
    _, again = begun(checkpoint(revoked), a_head(token=TOKEN))
    assert isinstance(again, Refuse)
    assert again.outcome.reason is Reason.TOKEN_REVOKED


def test_what_is_under_way_is_cut_when_its_token_should_stand_elsewhere() -> None:
    passage, step = begun(a_checkpoint(), a_head(token=TOKEN))
    assert isinstance(step, Forward)
    assert passage.is_denied_under(by_cookie(), NOW + 1)


def test_a_bound_token_is_refused_without_its_certificate() -> None:
    _, step = begun(a_checkpoint(), a_head(token=a_token(cnf={"x5t#S256": "x"})))
    assert isinstance(step, Refuse)
    assert step.outcome.reason is Reason.TOKEN_CERTIFICATE_MISSING


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason.startswith("token-")])
def test_the_caller_of_a_token_is_told_what_rfc_6750_allows(reason: Reason) -> None:
    answer = ANSWERS[reason]
    assert answer.status == 401
    error = "" if reason is Reason.TOKEN_MISSING else ', error="invalid_token"'
    assert answer.challenge == f"{BEARER_CHALLENGE}{error}"


def test_no_module_of_this_house_hands_a_token_to_a_log() -> None:
    for name in ("introspection", "jwks"):
        text = (Path(__file__).parents[2] / "proxy" / "caller" / f"{name}.py").read_text(encoding="utf-8")
        logged = [line for line in text.splitlines() if "log." in line or "extra=" in line]
        assert [line for line in logged if "raw_token" in line or "secret" in line.lower()] == []
