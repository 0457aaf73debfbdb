# SPDX-License-Identifier: Apache-2.0
"""The gateway and a plain reference agree on what the API sees, whatever is sent, however it is cut into pieces.

More examples than by default: ``TEST_EXAMPLES=5000 pytest tests/server/test_differential.py``.
"""

import os
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Final

import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from tests.support.edge import CLIENT, HOST, Edge, Heard, fill_in, get, lines, run_edge
from tests.support.http_reference import Denied, Doubt, Open, Outcome, Passed, Unsaid, read_connection
from tests.support.raw_http import Message

DEFAULT: Final = 150
EXAMPLES: Final = int(os.environ.get("TEST_EXAMPLES", DEFAULT))  # noqa: TID251 - how long a test takes
FRAMING: Final = {"content-length", "transfer-encoding"}
SENTINEL: Final = get("/v1/jp/users/777")
"""Ends each connection: sound, allowed, and to be answered only where nothing before it is in doubt."""

TARGETS: Final = (
    "/v1/jp/users/{n}", "/v1/jp/users/{n}?x={n}", "/v1/jp/users/{n}?a=%2F..//;b", "/v1/jp/users/{n}/phone",
    "/v1/jp/secrets/{n}", "/v1//jp/users/{n}", "/v1/jp/users/{n}/", "/v1/jp/users/%34{n}",
    "/v1/jp/users/../users/{n}", "/v1/jp/users/{n}#f", "/v1/jp/users/{n};a", "http://users.internal/v1/jp/users/{n}",
    "*", "/v1/jp/users/{n}?", "/v1/jp/users/{n}?%0", "/v1/jp/users/{n}\\", "/v1/jp/users/é{n}",
)  # fmt: skip
NAMES: Final = (
    "X-A", "x-a", "Accept", "Cookie", "Content-Type", "Range", "Via", "TE", "Trailer", "Keep-Alive", "X-Real-IP",
    "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "X_Forwarded_For", "x.real.ip", "Sekisho-Decision-Id",
    "sekisho_decision_id", "Content_Length", "Transfer_Encoding", "X-HTTP-Method-Override", "X-Original-URL",
    "Proxy-Authorization", "X-Forwarded-Client-Cert", "traceparent", "Remote_User", "X-User-Id", "X-User",
)  # fmt: skip
VALUES: Final = ("1", "", "a, b", "61.135.169.10", "a=1; b=2", "x\ty", "日本", "DELETE", "text/plain", '"', "close")
CONNECTION: Final = (
    "keep-alive", "close", "X-A", "x_a, TE", ", ,", "Keep-Alive, X-A", "Authorization", "X-Forwarded-For", "Cookie",
    "content-length",
)  # fmt: skip
BROKEN_LINES: Final = (
    b"X-A : 1", b" folded", b"X-A", b": 1", b"X-\xff: 1", b"X-A: \xff", b"X-A: \x00", b"X-A: a\rb", b"X-A: a\nX-B: b",
    b"X-(: 1", b"X-A: \x1f", b"Content-Length : 3", b"\x0bX-A: 1",
)  # fmt: skip
PAYLOADS: Final = (
    b"", b"{}", b"x", b"0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n", b"GET /v1/jp/users/666 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\x00\xff\n\r", b"x" * 300,
)  # fmt: skip
EXTENSIONS: Final = (b"", b"", b"", b";a", b";a=b;c", b" ", b";", b";a b", b";a\n")


@st.composite
def chunks(draw: st.DrawFn, body: bytes) -> bytes:
    """Write a body in chunks, mostly well."""
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(body) - 1)), max_size=3)))
    parts = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    data = b""
    for part in filter(None, parts):
        size = draw(st.sampled_from([b"%x", b"%X", b"%x", b"00%x", b"%x"])) % len(part)
        data += size + draw(st.sampled_from(EXTENSIONS)) + b"\r\n" + part + b"\r\n"
    end = st.sampled_from([b"\r\n"] * 6 + [b"X-T: 1\r\n\r\n", b"X-T:\r\nX-U: 2\r\n\r\n", b"T\r\n\r\n", b"\n", b"x"])
    return data + b"0\r\n" + draw(end)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[list[str], bytes]:
    """Draw the fields that frame a body, and what stands where it should."""
    body = draw(st.sampled_from(PAYLOADS))
    kind = draw(st.sampled_from(["length"] * 4 + ["chunked"] * 5 + ["none", "odd length", "odd coding", "both"]))
    if kind == "length":
        return [f"Content-Length: {len(body)}"], body
    if kind == "chunked":
        coding = draw(st.sampled_from(["chunked", "chunked", "Chunked", "  chunked\t"]))
        return [f"Transfer-Encoding: {coding}"], draw(chunks(body))
    if kind == "odd length":
        odd = ("+{n}", "{n}, {n}", "0x{n}", "", "{n}.0", "1{n}", "00{n}", "{n}\r\nContent-Length: {n}")
        return [f"content-length: {draw(st.sampled_from(odd))}".format(n=len(body))], body
    if kind == "odd coding":
        codings = (
            "gzip, chunked",
            "identity",
            "chunked, chunked",
            "xchunked",
            "",
            "chunked\r\nTransfer-Encoding: chunked",
        )
        return [f"Transfer-Encoding: {draw(st.sampled_from(codings))}"], draw(chunks(body))
    if kind == "both":
        return [f"Content-Length: {len(body)}", "Transfer-Encoding: chunked"], draw(chunks(body))
    return [], body


def rarely(draw: st.DrawFn) -> bool:
    """Say yes in one of sixteen."""
    return draw(st.integers(0, 15)) == 15


@st.composite
def requests(draw: st.DrawFn, number: int) -> bytes:
    """Draw a request that is sound, or almost; its number is part of its target."""
    has_body = draw(st.booleans())
    method = "PUT" if has_body else "GET"
    target = f"/v1/jp/users/{number}" + ("/phone" if has_body else "")
    version, host, who = "1.1", [f"Host: {HOST}"], ["Authorization: Bearer <support>"]
    if rarely(draw):
        method = draw(st.sampled_from(["GET", "PUT", "POST", "DELETE", "get", "G(T", "GET ", "CONNECT"]))
    if rarely(draw):
        target = draw(st.sampled_from(TARGETS)).replace("{n}", str(number))
    if rarely(draw):
        version = draw(st.sampled_from(["1.0", "1.0", "1.2", "2.0", "1.1 ", "1"]))
    if rarely(draw):
        hosts = (
            "Host: Users.Internal",
            f"Host: {HOST}:80",
            "Host: a@b",
            "Host:",
            f"Host: {HOST}\r\nHost: {HOST}",
            "X: y",
        )
        host = [draw(st.sampled_from(hosts))]
    if rarely(draw):
        others: tuple[list[str], ...] = (
            ["Authorization: Bearer <engineer>"],
            [],
            who * 2,
            ["authorization: Bearer <support>"],
        )
        who = draw(st.sampled_from(others))
    fields: list[str | bytes] = [*host, f"X-Forwarded-For: {CLIENT}", *who]
    fields += [f"{name}: {value}" for name, value in draw(st.lists(pairs(), max_size=4))]
    if rarely(draw):
        fields.append(f"Connection: {draw(st.sampled_from(CONNECTION))}")
    if rarely(draw):
        fields.append(
            f"X-Forwarded-For: {draw(st.sampled_from([CLIENT, '61.135.169.10', f'61.135.169.10, {CLIENT}']))}"
        )
    framing, body = draw(bodies()) if has_body else ([], b"")
    if has_body and rarely(draw):
        fields.append("Expect: 100-continue")
    fields = draw(st.permutations([*fields, *framing]))
    if rarely(draw):
        fields.insert(draw(st.integers(0, len(fields))), draw(st.sampled_from(BROKEN_LINES)))
    return lines(f"{method} {target} HTTP/{version}", *fields, b"") + body


def pairs() -> st.SearchStrategy[tuple[str, str]]:
    return st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES))


@st.composite
def connections(draw: st.DrawFn, base: int) -> bytes:
    """Draw what is sent on one connection."""
    count = draw(st.integers(1, 4))
    return b"".join(draw(requests(base + number)) for number in range(count)) + SENTINEL


@st.composite
def plays(draw: st.DrawFn) -> list[tuple[bytes, list[int]]]:
    """Draw what is sent on several connections at once, and where each is cut into writes."""
    drawn = [draw(connections(100 * (number + 1))) for number in range(draw(st.integers(1, 3)))]
    return [(data, sorted(draw(st.sets(st.integers(1, len(data) - 1), max_size=6)))) for data in drawn]


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with run_edge(tmp_path_factory.mktemp("edge")) as edge:
        yield edge


@cache
def tokens() -> dict[bytes, bytes]:
    """Return tokens that stay the same: the reference and the gateway must see the same bytes."""
    return {name: fill_in(name) for name in (b"<support>", b"<engineer>", b"<staff>")}


def sign_in(data: bytes) -> bytes:
    for name, token in tokens().items():
        data = data.replace(name, token)
    return data


def cut(data: bytes, places: list[int]) -> list[bytes]:
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


def read(data: bytes) -> list[Outcome]:
    names = {b"<support>": "support", b"<staff>": "support", b"<engineer>": "engineer"}
    callers = {f"Bearer {token.decode()}": names[name] for name, token in tokens().items()}
    return list(read_connection(data, callers))


def count_answers(outcomes: list[Outcome]) -> int | None:
    """Return how many answers to wait for, None where the gateway has to close."""
    match outcomes[-1]:
        case Doubt():
            return None
        case Open() | Unsaid() | Denied(is_whole=False):
            return len(outcomes) - 1
        case _:
            return len(outcomes)


def check(outcomes: list[Outcome], heard: Heard, seen: list[Message]) -> None:
    """Hold one connection's answers, and what the API got for them, against the reference."""
    answers, requests = list(heard.answers), list(seen)
    was_denied = False
    for outcome in outcomes:
        may_have_closed, was_denied = was_denied, isinstance(outcome, Denied)
        match outcome:
            case _ if may_have_closed and not answers:
                break
            case Passed():
                answer, request = answers.pop(0), requests.pop(0)
                assert (answer.status, answer.body) == (200, f"{outcome.method} {outcome.target}".encode())
                check_fields(outcome, request, answer)
            case Denied(is_whole=True) if answers:
                assert 400 <= answers.pop(0).status < 500
            case Denied():
                break
            case Doubt(may_be_cut=may):
                assert heard.is_closed
                assert answers or may
                break
            case _:
                return
    assert requests == [], "the API got what it should not have"
    assert all(400 <= answer.status < 600 for answer in answers)


def check_fields(expected: Passed, request: Message, answer: Message) -> None:
    (decision_id,) = answer.values("sekisho-decision-id")
    written = [
        ("host", HOST), ("x-forwarded-for", CLIENT), ("x-forwarded-host", HOST), ("sekisho-decision-id", decision_id)
    ]  # fmt: skip
    got = [field for field in request.fields if field[0] not in FRAMING]
    assert (request.method, request.target, request.body) == (expected.method, expected.target, expected.body)
    assert sorted(got) == sorted([*written, *expected.fields])
    assert [field for field in got if field in expected.fields] == list(expected.fields)


@settings(
    max_examples=EXAMPLES, derandomize=EXAMPLES == DEFAULT,
    phases=[Phase.generate] if EXAMPLES == DEFAULT else [Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(drawn=plays())
@pytest.mark.timeout(0)
def test_the_api_sees_what_the_reference_says(edge: Edge, drawn: list[tuple[bytes, list[int]]]) -> None:
    signed = [(sign_in(data), places) for data, places in drawn]
    expected = [read(data) for data, _ in signed]
    heard = edge.play_all(
        [(cut(data, places), count_answers(each)) for (data, places), each in zip(signed, expected, strict=True)]
    )
    assert edge.api.malformed == []
    ids = Counter(value for request in edge.api.requests for value in request.values("sekisho-decision-id"))
    assert set(ids.values()) <= {1}, "one decision, two requests"
    for outcomes, each in zip(expected, heard, strict=True):
        for outcome in outcomes:
            event(type(outcome).__name__)
        mine = {value for answer in each.answers for value in answer.values("sekisho-decision-id")}
        seen = [request for request in edge.api.requests if mine & set(request.values("sekisho-decision-id"))]
        check(outcomes, each, seen)
