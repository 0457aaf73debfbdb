# SPDX-License-Identifier: Apache-2.0
"""Real requests through the real bundle: what a caller wrote is in no line, and every answer has its line."""

import base64
import enum
import hashlib
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
from proxy.ledger.entry import Rendered, encode_body
from proxy.ledger.lines import Line
from proxy.ledger.record import Recorder
from proxy.model.decision import Reason
from proxy.model.request import Headers, RequestHead, ResponseHead
from proxy.origin.geoip import RegistryGeolocator
from proxy.pipeline.checkpoint import Checkpoint
from proxy.pipeline.passage import Passage
from proxy.pipeline.steps import Forward, Inspect, Need, Refuse
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


class How(enum.Enum):
    """What becomes of a request that is forwarded."""

    STREAMED = "its answer leaves in parts"
    WHOLE = "its answer was in hand whole"
    BROKEN = "its answer breaks off midway"
    UNREACHED = "the API cannot be reached"
    ODD = "the API answers what is no answer"


def send(request: str, headers: Headers, how: How = How.STREAMED) -> tuple[list[Line | Rendered], int]:
    """Take a request all the way; return its lines and the answer's status."""
    passage = Passage(checkpoint(), "0" * 26, NOW)
    method, _, target = request.partition(" ")
    step = passage.begin(RequestHead(method, target, headers, "127.0.0.1"))
    assert not isinstance(step, Need)
    lines: list[Line | Rendered] = list(step.lines)
    if not isinstance(step, Forward):
        return lines, step.outcome.status or 0
    if how is How.UNREACHED:
        failed = passage.fail(Reason.UPSTREAM_UNREACHABLE, OSError("zqx"))
        return [*lines, *failed.lines], failed.outcome.status or 0
    status = 101 if how is How.ODD else 200
    answer = ResponseHead(status, (("Set-Cookie", "zqx"), ("Location", "/zqx")))
    answered = passage.answer(answer, 5 if how is How.WHOLE else None, 1)
    assert not isinstance(answered, Inspect)
    lines += answered.lines
    if not isinstance(answered, Refuse):
        if how is not How.WHOLE:
            lines.append(passage.part(5))
        reason = Reason.UPSTREAM_BROKEN if how is How.BROKEN else None
        lines += passage.end(complete=reason is None, reason=reason, bytes_sent=5, seconds=1).lines
    return lines, answered.outcome.status or 0


def fields(person: Person, **claims: Any) -> Headers:
    token = ISSUERS[person.issuer].token(NOW, **(person.claims() | claims))
    return (("Host", "gateway"), ("X-Forwarded-For", OFFICE), ("Authorization", f"Bearer {token}"))


@settings(max_examples=150)
@given(
    st.sampled_from(REQUESTS),
    st.sampled_from([SATO, SUPPORT, CLOUD]),
    st.booleans(),
    SECRET,
    st.lists(st.tuples(st.sampled_from(FIELDS), SECRET), max_size=5),
    st.sampled_from(How),
)
def test_no_text_that_a_caller_wrote_is_in_any_line(  # noqa: PLR0917 - what is drawn
    request: str,
    person: Person,
    is_bare: bool,  # noqa: FBT001
    secret: str,
    extra: list[tuple[str, str]],
    how: How,
) -> None:
    claims = dict.fromkeys(("sub", "email", "name", "client_id", "nonce", "jti"), secret)
    known = fields(person, groups=[secret, "support"], **claims)
    headers = (*known[: 2 if is_bare else 3], *extra)
    lines, _ = send(request.format(secret), headers, how)
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


# Every place that a caller, or whoever signs for it, can write in.

MARK = "zqxmarker"
NUMBER = "918273645"
PLACES: dict[str, tuple[str, Headers, dict[str, Any]]] = {
    "the method": (f"{MARK} /v1/jp/users/42", (), {}),
    "the path": (f"GET /v1/jp/{MARK}/42", (), {}),
    "a path parameter": (READ.format(MARK), (), {}),
    "a path parameter that is declared": (READ.format(NUMBER), (), {}),
    "a parameter that names a country": (f"GET /v1/{MARK}/users/42", (), {}),
    "a path in upper case": (READ.format(MARK.upper()), (), {}),
    "a path, percent-encoded": (READ.format("".join(f"%{ord(each):02x}" for each in MARK)), (), {}),
    "the name of a query parameter": (f"GET /v1/jp/users/42?{MARK}=1", (), {}),
    "the value of a query parameter": (f"GET /v1/jp/users/42?q={MARK}", (), {}),
    "a fragment": (f"GET /v1/jp/users/42#{MARK}", (), {}),
    "an absolute target": (f"GET http://{MARK}/v1/jp/users/42", (), {}),
    "the host": (READ.format(42), (("Host", MARK),), {}),
    "a second host": (READ.format(42), (("Host", "gateway"), ("Host", MARK)), {}),
    "a cookie's name": (READ.format(42), (("Cookie", f"{MARK}=1"),), {}),
    "a cookie's value": (READ.format(42), (("Cookie", f"session={MARK}"),), {}),
    "a field's name": (READ.format(42), ((f"X-{MARK}", "1"),), {}),
    "a field that is malformed": (READ.format(42), ((f"X {MARK}", "1"),), {}),
    "the user agent": (READ.format(42), (("User-Agent", MARK),), {}),
    "the referer": (READ.format(42), (("Referer", f"https://example.com/{MARK}"),), {}),
    "a purpose that nobody declared": (READ.format(42), (("Sekisho-Purpose", MARK),), {}),
    "a case": (READ.format(42), (("Sekisho-Purpose", "support"), ("Sekisho-Case", MARK)), {}),
    "for whom it acts": (READ.format(42), (("Sekisho-On-Behalf-Of", MARK),), {}),
    "a traceparent of letters": (READ.format(42), (("Traceparent", f"00-{MARK:z<32}-{MARK:z<16}-01"),), {}),
    "a traceparent's end": (READ.format(42), (("Traceparent", f"01-{'a' * 32}-{'b' * 16}-01-{MARK}"),), {}),
    "the trace state": (READ.format(42), (("Traceparent", f"00-{'a' * 32}-{'b' * 16}-01"), ("Tracestate", MARK)), {}),
    "baggage": (READ.format(42), (("Baggage", f"user={MARK}"),), {}),
    "an address that is none": (READ.format(42), (("X-Forwarded-For", MARK),), {}),
    "another scheme of authorization": (READ.format(42), (("Authorization", f"Basic {MARK}"),), {}),
    "a token that is none": (READ.format(42), (("Authorization", f"Bearer {MARK}.{MARK}.{MARK}"),), {}),
    "a trailing field": (READ.format(42), (("Trailer", MARK), ("Connection", MARK)), {}),
    "a content type": (READ.format(42), (("Content-Type", f"application/{MARK}"),), {}),
    "a transfer coding": (READ.format(42), (("Transfer-Encoding", MARK),), {}),
    "an expectation": (READ.format(42), (("Expect", MARK),), {}),
    "the token's subject": (READ.format(42), (), {"sub": MARK}),
    "the token's issuer": (READ.format(42), (), {"iss": f"https://{MARK}.example"}),
    "the token's audience": (READ.format(42), (), {"aud": MARK}),
    "an affiliate that no register knows": (READ.format(42), (), {"affiliate": MARK}),
    "a kind that is none": (READ.format(42), (), {"employment_type": MARK}),
    "a country that is none": (READ.format(42), (), {"residence_country": MARK}),
    "a group": (READ.format(42), (), {"groups": [MARK]}),
    "who acts": (READ.format(42), (), {"act": {"sub": MARK, "iss": MARK, "client_id": MARK}}),
    "a program": (READ.format(42), (), {"azp": MARK, "client_id": MARK}),
    "a confirmation": (READ.format(42), (), {"cnf": {"x5t#S256": MARK, "jkt": MARK}}),
    "claims that nobody reads": (READ.format(42), (), {MARK: MARK, "email": f"{MARK}@example.com", "name": MARK}),
    "the token's header": (READ.format(42), (), {"header": {"kid": MARK, "jku": MARK, MARK: MARK}}),
}


def _disguises(text: str) -> set[str]:
    """Return what a text could be told by: as it is, encoded, or hashed without a key."""
    data = text.encode()
    plain = {data.hex(), base64.b64encode(data).decode().rstrip("="), base64.b32encode(data).decode().rstrip("=")}
    hashed = {hashlib.new(name, data).hexdigest()[:16] for name in ("md5", "sha1", "sha256", "sha512", "blake2b")}
    return {each.lower() for each in {text, text[::-1], *plain, *hashed}}


@pytest.mark.parametrize("how", How, ids=lambda how: how.value)
@pytest.mark.parametrize("person", [SATO, CLOUD, None], ids=["allowed", "denied", "without a token"])
@pytest.mark.parametrize(("request_line", "sent", "claims"), PLACES.values(), ids=PLACES.keys())
def test_what_is_written_into(
    request_line: str, sent: Headers, claims: dict[str, Any], person: Person | None, how: How
) -> None:
    names = {name for name, _ in sent}
    own = fields(person or SATO, **claims)[: 2 if person is None else 3]
    headers = (*(field for field in own if field[0] not in names), *sent)
    lines, _ = send(request_line, headers, how)
    written = b"".join(map(encode_body, lines)).decode().lower()
    assert lines
    assert [each for each in _disguises(MARK) | _disguises(NUMBER) if each in written] == []
    token = dict(own).get("Authorization", "").removeprefix("Bearer ").lower()
    assert [part for part in token.split(".") if part and part in written] == []


RECORDED = {
    How.STREAMED: (["decision", "released", "end"], 200),
    How.WHOLE: (["decision"], 200),
    How.BROKEN: (["decision", "released", "end"], 200),
    How.UNREACHED: (["decision"], 502),
    How.ODD: (["decision"], 502),
}


@pytest.mark.parametrize("how", How, ids=lambda how: how.value)
def test_each_way_of_an_allowed_read_is_one_of_those_looked_through_here(how: How) -> None:
    lines, status = send(READ.format(42), fields(SATO), how)
    assert ([json.loads(encode_body(line))["line"] for line in lines], status) == RECORDED[how]


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def test_of_a_trace_the_32_digits_are_recorded_that_a_caller_may_choose_and_nothing_else() -> None:
    traced = (*fields(SATO), ("Traceparent", f"00-{TRACE}-00f067aa0ba902b7-01"), ("Tracestate", "rojo=zqx"))
    lines, _ = send(READ.format(42), traced)
    written = [json.loads(encode_body(line)) for line in lines]
    assert [line["trace"] for line in written if "trace" in line] == [TRACE]
    assert "00f067aa0ba902b7" not in str(written)


@given(st.lists(st.sampled_from(["v1", "jp", "users", "friends", "zqx", "42"]), min_size=1, max_size=12))
def test_the_shape_of_a_path_has_declared_words_and_stars_alone(segments: list[str]) -> None:
    api = checkpoint().snapshot.catalog.apis[0]
    declared = {template.text for route in checkpoint().snapshot.catalog.routes for template in route.segments}
    shape = checkpoint().snapshot.catalog.shape(api, segments)
    assert set(shape.split("/")) <= declared | {"*", "", "…"}
    assert not {"zqx", "42", "jp"} & set(shape.split("/"))
