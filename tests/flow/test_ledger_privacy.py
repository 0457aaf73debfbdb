# SPDX-License-Identifier: Apache-2.0
"""Real requests through the real bundle: what a caller wrote is in no line, and every answer has its line."""

import json
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.bundle.check import load_bundle
from proxy.caller.keys import parse_key_set
from proxy.demo.issuer import Issuer
from proxy.demo.stage import REFERENCE_BUNDLE
from proxy.demo.story import CLOUD, OFFICE, SATO, SUPPORT, Person
from proxy.ledger.entry import encode_body
from proxy.ledger.lines import Line
from proxy.ledger.record import Recorder
from proxy.model.request import Headers, RequestHead, ResponseHead
from proxy.origin.geoip import RegistryGeolocator
from proxy.pipeline.checkpoint import Checkpoint
from proxy.pipeline.passage import Forward, Need, Passage, Refuse
from tests.support.keys import RING

NOW = 1616457600.0
SECRET = st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789", min_size=4, max_size=20).map("zqx{}".format)
READ = "GET /v1/jp/users/{}"
REQUESTS = [READ, "PUT /v1/jp/users/{}/phone", "GET /v1/{}/users/42", "GET /v1/friends/{}", "DELETE /v1/jp/users/{}",
            "GET /v1/jp/users/%{}", "{} /v1/status", "GET {}", "GET /v1/status?q={}"]  # fmt: skip
FIELDS = ("Cookie", "Referer", "User-Agent", "X-Secret", "Forwarded", "Origin", "X-Forwarded-Host", "X-Request-Id")


ISSUERS = {"corp": Issuer("https://idp.ly.example", "RS256"), "naver-sso": Issuer("https://sso.naver.example")}


class Keys:
    def __init__(self) -> None:
        self.failed: set[str] = set()
        self.sets = {
            issuer_id: parse_key_set(json.dumps(issuer.key_set()).encode(), frozenset({issuer.algorithm}))
            for issuer_id, issuer in ISSUERS.items()
        }


@cache
def checkpoint() -> Checkpoint:
    recorder = Recorder(RING, "policy", "registers")
    return Checkpoint(load_bundle(REFERENCE_BUNDLE), Keys(), RegistryGeolocator(), recorder)


def send(request: str, headers: Headers, status: int = 200) -> tuple[list[Line], int]:
    """Take a request all the way; return its lines and the answer's status."""
    passage = Passage(checkpoint(), "0" * 26, NOW)
    method, _, target = request.partition(" ")
    step = passage.begin(RequestHead(method, target, headers, "127.0.0.1"))
    assert not isinstance(step, Need)
    lines = list(step.lines)
    if isinstance(step, Forward):
        answered = passage.answer(ResponseHead(status, (("Set-Cookie", "zqx"), ("Location", "/zqx"))))
        lines += answered.lines
        if not isinstance(answered, Refuse):
            lines += passage.end(complete=True, bytes_sent=5, seconds=1).lines
        return lines, answered.outcome.status or 0
    return lines, step.outcome.status or 0


def fields(person: Person, **claims: Any) -> Headers:
    token = ISSUERS[person.issuer].token(NOW, **(person.claims() | claims))
    return (("Host", "gateway"), ("X-Forwarded-For", OFFICE), ("Authorization", f"Bearer {token}"))


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(REQUESTS),
    st.sampled_from([SATO, SUPPORT, CLOUD]),
    st.booleans(),
    SECRET,
    st.lists(st.tuples(st.sampled_from(FIELDS), SECRET), max_size=5),
)
def test_no_text_that_a_caller_wrote_is_in_any_line(
    request: str,
    person: Person,
    is_bare: bool,  # noqa: FBT001
    secret: str,
    extra: list[tuple[str, str]],
) -> None:
    claims = dict.fromkeys(("sub", "email", "name", "client_id", "nonce", "jti"), secret)
    known = fields(person, groups=[secret, "support"], **claims)
    headers = (*known[: 2 if is_bare else 3], *extra)
    lines, _ = send(request.format(secret), headers)
    written = b"".join(map(encode_body, lines)).decode()
    assert lines
    assert secret not in written
    assert "zqx" not in written
    assert [name for name, value in headers[2:] if value in written or value.removeprefix("Bearer ") in written] == []


SUBS = [
    pytest.param("sato", id="a name"),
    pytest.param("zq\n\x00\u2028", id="control characters"),
    pytest.param("\U0001f600" * 50, id="characters outside the basic plane"),
    pytest.param("\ud800", id="half a surrogate pair"),
]
OUTCOMES = [
    pytest.param(SATO, READ.format(42), id="a read that is allowed"),
    pytest.param(CLOUD, READ.format(42), id="a read that is denied"),
    pytest.param(SUPPORT, "PUT /v1/jp/users/42/phone", id="a change that is allowed"),
    pytest.param(CLOUD, "GET /v1/jp/friends/42", id="a route that nobody declared"),
]


@pytest.mark.parametrize("sub", SUBS)
@pytest.mark.parametrize(("person", "request_line"), OUTCOMES)
def test_every_answer_has_its_decision_line_whatever_an_issuer_signs_as_sub(
    person: Person, request_line: str, sub: str
) -> None:
    lines, status = send(request_line, fields(person, sub=sub))
    written = [json.loads(encode_body(line)) for line in lines]
    assert [(line.get("status") or status) for line in written if line["line"] == "decision"] == [status]
