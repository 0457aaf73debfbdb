# SPDX-License-Identifier: Apache-2.0
"""What broke the gateways before us, sent as bytes to a running gateway: what its caller hears, what the API gets.

Behind each message that is to be refused stands a request that is sound and allowed. Where a request ends is in doubt
then, so that it must not be answered either: it may be part of what somebody else takes for the first one's body. The
numbers are those of the table in docs/threat-model.md.
"""

import json
from collections.abc import Iterator
from typing import Final

import msgspec
import pytest

from tests.support.edge import CLIENT, HOST, NOBODY_S, PHONE, STAFF_S, USER, Edge, chunked, get, lines, put, run_edge
from tests.support.raw_http import Message

NEXT: Final = "/v1/jp/users/777"
CLOSING: Final = frozenset({400, 431, 501, 505})
"""After these it is not known, or not to be believed, where the request ends: the connection closes."""
OPEN: Final = frozenset({401, 403, 404})
"""After these it stays open: what was asked is beyond doubt. After others either will do."""
FRAMING: Final = {"content-length", "transfer-encoding"}


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    old = "      - id: user\n        methods: [GET]"
    with run_edge(tmp_path_factory.mktemp("edge"), ("apis/users.yaml", old, old.replace("GET", "GET, HEAD"))) as edge:
        yield edge


class Refused(msgspec.Struct, frozen=True):
    """Bytes that are answered by the gateway alone."""

    data: bytes
    status: int = 400
    other: int = 0
    """Another status that will do, where two things are wrong and either may be told."""


REFUSED: Final = {
    # 1: a path that servers read differently.
    "1: an encoded slash": Refused(get("/v1/jp%2Fusers/42")),
    "1: an encoded slash in lower case": Refused(get("/v1/jp%2fusers/42")),
    "1: an encoded backslash": Refused(get("/v1/jp/users%5C42")),
    "1: an encoded letter": Refused(get("/v1/%6ap/users/42")),
    "1: encoded twice": Refused(get("/v1/%252e%252e/jp/users/42")),
    "1: an encoded dot segment": Refused(get("/v1/tw/%2e%2e/jp/users/42")),
    "1: an overlong slash": Refused(get("/v1/jp%C0%AFusers/42")),
    "1: an encoded NUL": Refused(get("/v1/jp/users/42%00")),
    "1: a percent sign alone": Refused(get("/v1/jp/users/42%")),
    "1: a parent": Refused(get("/v1/tw/../jp/users/42")),
    "1: this folder": Refused(get("/v1/./jp/users/42")),
    "1: a parent at the end": Refused(get(f"{USER}/..")),
    "1: a double slash": Refused(get("/v1//jp/users/42")),
    "1: a double slash in front, which reads as a host": Refused(get(f"/{USER}")),
    "1: a slash at the end": Refused(get(f"{USER}/")),
    "1: a matrix parameter": Refused(get("/v1/jp;x=1/users/42")),
    "1: a parent with a matrix parameter": Refused(get("/v1/tw/..;/jp/users/42")),
    "1: a backslash": Refused(get("/v1/jp\\users/42")),
    "1: full-width digits": Refused(get("/v1/jp/users/４２")),
    "1: a byte that is no UTF-8": Refused(get(b"/v1/jp/users/\xff")),
    "1: an overlong slash in raw bytes": Refused(get(b"/v1/jp\xc0\xafusers/42")),
    "1: a NUL": Refused(get(b"/v1/jp/users/42\x00")),
    "1: a DEL": Refused(get(b"/v1/jp/users/42\x7f")),
    "1: a NUL in the query": Refused(get(f"{USER}?x=%00")),
    "1: a quote in the query": Refused(get(f'{USER}?x="')),
    "1: an escape that is none in the query": Refused(get(f"{USER}?x=%zz")),
    "1: a query of nothing": Refused(get(f"{USER}?")),
    "1: more than a target may be": Refused(get(f"{USER}?x={'a' * 8_000}"), 414),
    # 2: another request than the one that is judged.
    "2: a path that only a lax server finds": Refused(get("/v1/jp/EXPORT"), 404),
    "2: a suffix that a lax server drops": Refused(get("/v1/jp/export.json"), 404),
    "2: a parameter that Python reads as 1001": Refused(get("/v1/jp/users/1_001"), 404),
    # 3 and 4: fragment and query.
    "3: a fragment": Refused(get(f"{USER}#x")),
    "3: an empty fragment": Refused(get(f"{USER}#")),
    "3: a fragment behind the query": Refused(get(f"{USER}?x#y")),
    "4: a declared path behind the query": Refused(get(f"/v1/secret?{USER}"), 404),
    "4: a declared path as a value": Refused(get(f"/secret?path={USER}"), 404),
    # 5: forms of the target and of the request line.
    "5: no leading slash": Refused(get(USER[1:])),
    "5: absolute form": Refused(get(f"http://{HOST}{USER}")),
    "5: absolute form of another host": Refused(get(f"http://evil.example{USER}")),
    "5: absolute form of another scheme": Refused(get(f"HTTPS://{HOST}{USER}")),
    "5: authority form": Refused(get(f"{HOST}:80")),
    "5: asterisk form": Refused(get("*")),
    "5: no target": Refused(get("")),
    "5: a blank in the target": Refused(get(f"{USER} x")),
    "5: two blanks before the target": Refused(get(f" {USER}")),
    "5: two blanks behind the target": Refused(get(f"{USER} ")),
    "5: a tab behind the target": Refused(lines(f"GET {USER}\tHTTP/1.1", *STAFF_S, "")),
    "5: a blank before the method": Refused(lines(f" GET {USER} HTTP/1.1", *STAFF_S, "")),
    "5: a blank at the end of the line": Refused(lines(f"GET {USER} HTTP/1.1 ", *STAFF_S, "")),
    "5: a form feed for a blank": Refused(lines(f"GET\x0c{USER}\x0cHTTP/1.1", *STAFF_S, "")),
    "5: no version, as in HTTP/0.9": Refused(lines(f"GET {USER}", *STAFF_S, ""), 505, 400),
    "5: a version that is none": Refused(lines(f"GET {USER} HTTP/1.x", *STAFF_S, "")),
    "5: a version in lower case": Refused(lines(f"GET {USER} http/1.1", *STAFF_S, "")),
    "5: a version of two digits": Refused(lines(f"GET {USER} HTTP/1.10", *STAFF_S, "")),
    "5: HTTP/1.2": Refused(lines(f"GET {USER} HTTP/1.2", *STAFF_S, ""), 505),
    "5: HTTP/2.0": Refused(lines(f"GET {USER} HTTP/2.0", *STAFF_S, ""), 505),
    "5: the preface of HTTP/2": Refused(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0", 505),
    "5: a method that is no token": Refused(lines(f"GE(T {USER} HTTP/1.1", *STAFF_S, "")),
    "5: a method in lower case": Refused(lines(f"get {USER} HTTP/1.1", *STAFF_S, ""), 501, 400),
    "5: CONNECT": Refused(lines("CONNECT api:443 HTTP/1.1", *STAFF_S, ""), 501),
    "5: TRACE": Refused(lines(f"TRACE {USER} HTTP/1.1", *STAFF_S, ""), 501),
    # 6: the host.
    "6: no Host": Refused(lines(f"GET {USER} HTTP/1.1", *STAFF_S[1:], "")),
    "6: no Host in HTTP/1.0": Refused(lines(f"GET {USER} HTTP/1.0", *STAFF_S[1:], "")),
    "6: an empty Host": Refused(lines(f"GET {USER} HTTP/1.1", "Host:", *STAFF_S[1:], "")),
    "6: a Host with user information": Refused(lines(f"GET {USER} HTTP/1.1", f"Host: {HOST}@evil", *STAFF_S[1:], "")),
    "6: a Host with a path": Refused(lines(f"GET {USER} HTTP/1.1", f"Host: {HOST}/x", *STAFF_S[1:], "")),
    "6: a Host with a list": Refused(lines(f"GET {USER} HTTP/1.1", f"Host: {HOST}, evil", *STAFF_S[1:], "")),
    "6: a Host with an escape": Refused(lines(f"GET {USER} HTTP/1.1", "Host: users%2einternal", *STAFF_S[1:], "")),
    "6: a Host with an ending dot": Refused(lines(f"GET {USER} HTTP/1.1", f"Host: {HOST}.", *STAFF_S[1:], "")),
    "6: a Host with a port that is none": Refused(lines(f"GET {USER} HTTP/1.1", f"Host: {HOST}:x", *STAFF_S[1:], "")),
    "6: a Host that nobody declared": Refused(lines(f"GET {USER} HTTP/1.1", "Host: evil", *STAFF_S[1:], ""), 421),
    # 8: what Connection may not name.
    "8: Connection names the token": Refused(get(USER, "Connection: close, Authorization")),
    "8: Connection names the address in another case": Refused(get(USER, "connection: X-FORWARDED-FOR")),
    "8: Connection names a field of ours by its alias": Refused(get(USER, "Connection: sekisho_decision_id")),
    "8: Connection names the host": Refused(get(USER, "Connection: keep-alive", "Connection: ,\thost")),
    "8: Connection names the length": Refused(put("Connection: Content-Length", "Content-Length: 2", body=b"{}")),
    "8: Connection names the cookie": Refused(get(USER, "Connection: cookie", "Cookie: a=1")),
    # 9: what stands once.
    "9: two Hosts": Refused(get(USER, f"Host: {HOST}")),
    "9: two Hosts of which one is another": Refused(get(USER, "host: evil")),
    "9: two tokens": Refused(get(USER, "authorization: Bearer <engineer>")),
    "9: two tokens in one field": Refused(
        lines(f"GET {USER} HTTP/1.1", *NOBODY_S, "Authorization: Bearer <engineer>, Bearer <staff>", "")
    ),
    "9: two types of content": Refused(
        put("Content-Type: text/plain", "content-type: a/b", "Content-Length: 2", body=b"{}")
    ),
    "9: two cookies": Refused(get(USER, "Cookie: a=1", "Cookie: a=2")),
    "9: two ranges": Refused(get(USER, "Range: bytes=0-1", "Range: bytes=5-")),
    "9: two purposes": Refused(get(USER, "Sekisho-Purpose: a", "Sekisho-Purpose: b")),
    # 10 and 11: where from.
    "10: a forged address in front of the real one": Refused(
        lines(f"GET {USER} HTTP/1.1", f"Host: {HOST}", f"X-Forwarded-For: {CLIENT}, 61.135.169.10", STAFF_S[2], ""), 403
    ),
    "10: the address in a field that is not configured": Refused(
        lines(
            f"GET {USER} HTTP/1.1", f"Host: {HOST}", f"Forwarded: for={CLIENT}", f"X-Real-IP: {CLIENT}", STAFF_S[2], ""
        ),
        403,
    ),
    "10: the address in an alias of its field": Refused(
        lines(f"GET {USER} HTTP/1.1", f"Host: {HOST}", f"X_Forwarded_For: {CLIENT}", STAFF_S[2], ""), 403
    ),
    "11: an address of China mapped into IPv6": Refused(
        lines(f"GET {USER} HTTP/1.1", f"Host: {HOST}", "X-Forwarded-For: ::ffff:61.135.169.10", STAFF_S[2], ""), 403
    ),
    "11: an address with octal octets": Refused(
        lines(f"GET {USER} HTTP/1.1", f"Host: {HOST}", "X-Forwarded-For: 012.024.003.007", STAFF_S[2], ""), 403
    ),
    # 12 to 15: who.
    "13: no token": Refused(lines(f"GET {USER} HTTP/1.1", *NOBODY_S, ""), 401),
    "13: another scheme": Refused(lines(f"GET {USER} HTTP/1.1", *NOBODY_S, "Authorization: Basic <staff>", "")),
    "15: somebody else's token behind an allowed one's cache": Refused(
        lines(f"GET {USER} HTTP/1.1", *NOBODY_S, "Authorization: Bearer <engineer>", ""), 403
    ),
    # 17 and 23: no special caller, nothing of the admin's here.
    "17: a probe's name opens nothing": Refused(
        lines(f"GET {USER} HTTP/1.1", *NOBODY_S, "User-Agent: kube-probe/1", ""), 401
    ),
    "17: a probe's path opens nothing": Refused(lines("GET /livez HTTP/1.1", *NOBODY_S, ""), 401),
    "23: metrics are not here": Refused(get("/metrics"), 404),
    "23: readiness is not here": Refused(get("/readyz"), 404),
    "23: the decision API is not here": Refused(
        lines("POST /access/v1/evaluation HTTP/1.1", *STAFF_S, "Content-Length: 0", ""), 404
    ),
    # 20: where a request ends. Content-Length and Transfer-Encoding in every combination.
    "20: length and chunks": Refused(chunked(b"2\r\n{}\r\n0\r\n\r\n", "Content-Length: 2")),
    "20: length and chunks, the other way round": Refused(
        put("Content-Length: 12", "Transfer-Encoding: chunked", body=b"2\r\n{}\r\n0\r\n\r\n")
    ),
    "20: length and a coding that is not understood": Refused(
        put("Content-Length: 2", "Transfer-Encoding: xchunked", body=b"{}"), 400, 501
    ),
    "20: length and an empty coding": Refused(put("Content-Length: 2", "Transfer-Encoding:", body=b"{}"), 400, 501),
    "20: two lengths": Refused(put("Content-Length: 2", "Content-Length: 3", body=b"{}x")),
    "20: two lengths that agree": Refused(put("Content-Length: 2", "Content-Length: 2", body=b"{}")),
    "20: two lengths in one field": Refused(put("Content-Length: 2, 2", body=b"{}")),
    "20: a length with a sign": Refused(put("Content-Length: +2", body=b"{}")),
    "20: a negative length": Refused(put("Content-Length: -2", body=b"{}")),
    "20: a length in hexadecimal": Refused(put("Content-Length: 0x2", body=b"{}")),
    "20: a length with an underscore": Refused(put("Content-Length: 1_0", body=b"{}        ")),
    "20: a length with a fraction": Refused(put("Content-Length: 2.0", body=b"{}")),
    "20: a length in full-width digits": Refused(put("Content-Length: ２", body=b"{}")),
    "20: a length with a blank inside": Refused(put("Content-Length: 1 0", body=b"{}        ")),
    "20: an empty length": Refused(put("Content-Length:", body=b"{}")),
    "20: a length beyond 64 bits": Refused(put("Content-Length: 18446744073709551618", body=b"{}")),
    "20: a length of four hundred digits": Refused(put(f"Content-Length: {'9' * 400}", body=b"{}")),
    "20: another coding": Refused(put("Transfer-Encoding: gzip", body=b"{}"), 501),
    "20: a coding before chunked": Refused(put("Transfer-Encoding: gzip, chunked", body=b"2\r\n{}\r\n0\r\n\r\n"), 501),
    "20: a coding behind chunked": Refused(put("Transfer-Encoding: chunked, gzip", body=b"2\r\n{}\r\n0\r\n\r\n"), 501),
    "20: identity": Refused(put("Transfer-Encoding: identity", body=b"{}"), 501),
    "20: chunked twice in one field": Refused(
        put("Transfer-Encoding: chunked, chunked", body=b"2\r\n{}\r\n0\r\n\r\n"), 501
    ),
    "20: two codings": Refused(
        put("Transfer-Encoding: chunked", "Transfer-Encoding: chunked", body=b"2\r\n{}\r\n0\r\n\r\n")
    ),
    "20: two codings of which one is none": Refused(
        put("Transfer-Encoding: chunked", "Transfer-encoding: cow", body=b"2\r\n{}\r\n0\r\n\r\n"), 400, 501
    ),
    "20: chunked with a vertical tab": Refused(put(b"Transfer-Encoding: \x0bchunked", body=b"2\r\n{}\r\n0\r\n\r\n")),
    "20: chunked with a parameter": Refused(put("Transfer-Encoding: chunked;x=1", body=b"2\r\n{}\r\n0\r\n\r\n"), 501),
    "20: chunked in quotes": Refused(put('Transfer-Encoding: "chunked"', body=b"2\r\n{}\r\n0\r\n\r\n"), 501),
    "20: chunks from HTTP/1.0": Refused(
        put("Transfer-Encoding: chunked", body=b"2\r\n{}\r\n0\r\n\r\n", start=f"PUT {PHONE} HTTP/1.0")
    ),
    # 20: the grammar of lines and fields.
    "20: a blank before the colon": Refused(put("Content-Length : 2", body=b"{}")),
    "20: a tab before the colon": Refused(put("Transfer-Encoding\t: chunked", body=b"2\r\n{}\r\n0\r\n\r\n")),
    "20: a blank before the name": Refused(lines(f"GET {USER} HTTP/1.1", f" Host: {HOST}", *STAFF_S[1:], "")),
    "20: a folded line": Refused(get(USER, "X-A: 1", " Content-Length: 5")),
    "20: a line folded with a tab": Refused(get(USER, "X-A: 1", "\tb")),
    "20: a folded coding": Refused(put("Transfer-Encoding:", " chunked", body=b"2\r\n{}\r\n0\r\n\r\n")),
    "20: no name": Refused(get(USER, ": 1")),
    "20: no colon": Refused(get(USER, "X-A")),
    "20: a name that is no token": Refused(get(USER, "X(A): 1")),
    "20: a name outside ASCII": Refused(get(USER, "X-Ä: 1")),
    "20: a line feed alone ends the request line": Refused(f"GET {USER} HTTP/1.1\n".encode() + lines(*STAFF_S, "")),
    "20: line feeds alone": Refused(get().replace(b"\r\n", b"\n")),
    "20: a line feed alone ends a field": Refused(get(USER, b"X-A: 1\nX-B: 2")),
    "20: a line feed alone ends the head": Refused(get()[:-2] + b"\n"),
    "20: a carriage return alone within a field": Refused(get(USER, b"X-A: 1\rX-B: 2")),
    "20: a carriage return alone ends the request line": Refused(
        f"GET {USER} HTTP/1.1\r".encode() + lines(*STAFF_S, "")
    ),
    "20: two carriage returns": Refused(get(USER, b"X-A: 1\r")),
    "20: a NUL in a value": Refused(get(USER, b"X-A: a\x00b")),
    "20: a NUL in a name": Refused(get(USER, b"X-\x00A: 1")),
    "20: a control character in a value": Refused(get(USER, b"X-A: a\x01b")),
    "20: a value that is no UTF-8": Refused(get(USER, b"X-A: \xff\xfe")),
    # 20: chunks.
    "20: a chunk's size with a sign": Refused(chunked(b"+2\r\n{}\r\n0\r\n\r\n")),
    "20: a chunk's size with 0x": Refused(chunked(b"0x2\r\n{}\r\n0\r\n\r\n")),
    "20: a chunk's size with an underscore": Refused(chunked(b"0_2\r\n{}\r\n0\r\n\r\n")),
    "20: no chunk's size": Refused(chunked(b"\r\n{}\r\n0\r\n\r\n")),
    "20: a chunk's size that is none": Refused(chunked(b"zz\r\n{}\r\n0\r\n\r\n")),
    "20: a chunk's size beyond 64 bits": Refused(chunked(b"10000000000000002\r\n{}\r\n0\r\n\r\n")),
    "20: a blank before a chunk's size": Refused(chunked(b" 2\r\n{}\r\n0\r\n\r\n")),
    "20: a line feed alone behind a chunk's size": Refused(chunked(b"2\n{}\r\n0\r\n\r\n")),
    "20: a carriage return alone behind a chunk's size": Refused(chunked(b"2\r{}\r\n0\r\n\r\n")),
    "20: a line feed alone behind a chunk": Refused(chunked(b"2\r\n{}\n0\r\n\r\n")),
    "20: a chunk longer than its size": Refused(chunked(b"2\r\n{}}\r\n0\r\n\r\n")),
    "20: a line feed alone in a chunk's extension": Refused(chunked(b"2;a\nb\r\n{}\r\n0\r\n\r\n")),
    "20: a NUL in a chunk's extension": Refused(chunked(b"2;a\x00b\r\n{}\r\n0\r\n\r\n")),
    "20: an extension of a chunk without an end": Refused(chunked(b"2;" + b"a" * 20_000 + b"\r\n{}\r\n0\r\n\r\n")),
    "20: a line feed alone behind the last chunk": Refused(chunked(b"2\r\n{}\r\n0\n\r\n")),
    "20: a trailer that is no field": Refused(chunked(b"2\r\n{}\r\n0\r\nno field\r\n\r\n")),
    "20: a trailer with a line feed alone": Refused(chunked(b"2\r\n{}\r\n0\r\nX-A: 1\n\r\n")),
    "20: trailers without an end": Refused(chunked(b"2\r\n{}\r\n0\r\n" + b"X-A: 1\r\n" * 20_000 + b"\r\n")),
    # 20: too much of it.
    "20: a field beyond the limit": Refused(get(USER, f"X-A: {'a' * 70_000}"), 431),
    "20: more fields than the limit": Refused(get(USER, *(f"X-A{number}: 1" for number in range(200))), 431),
    "20: a request line beyond the limit": Refused(get(f"{USER}?x={'a' * 70_000}"), 431, 414),
    # 20: what would make another protocol of the connection.
    "20: an expectation that nobody knows": Refused(get(USER, "Expect: 200-ok"), 417),
}
"""What the API must get nothing of."""


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED.keys())
def test_it_is_refused_and_counted_and_the_api_gets_nothing_of_it(edge: Edge, case: Refused) -> None:
    before = edge.refusals()
    must_close = case.status in CLOSING
    heard = edge.play(case.data + get(NEXT), answers=None if must_close else 2)
    status = heard.statuses[0]
    assert status in {case.status, case.other}
    assert heard.is_closed or not must_close
    assert not heard.is_closed or case.status not in OPEN
    assert not heard.is_cut
    assert heard.statuses[1:] == ([] if heard.is_closed else [200])
    assert [request.target for request in edge.api.requests] == ([] if heard.is_closed else [NEXT])
    assert edge.api.malformed == []
    answer = heard.answers[0]
    assert answer.values("content-type") == ["application/problem+json"]
    assert edge.refusals() - before == {(json.loads(answer.body)["reason"], str(status)): 1}


class Passed(msgspec.Struct, frozen=True):
    """Bytes that make a request of the API, and all that it gets of them besides what the gateway writes."""

    data: bytes
    method: str = "GET"
    target: str = USER
    fields: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


JSON: Final = ("content-type", "application/json")
INNER: Final = b"GET /v1/jp/export HTTP/1.1\r\nHost: users.internal\r\n\r\n"
ALIASES: Final = (
    "X_Forwarded_For: 1.2.3.4", "x-forwarded_for: 1.2.3.4", "X.Forwarded.For: 1.2.3.4", "X_Real_IP: 1.2.3.4",
    "Sekisho_Decision_Id: forged", "sekisho.decision.id: forged", "SEKISHO-DECISION_ID: forged", "Remote_User: root",
    "X_Auth_Request_User: root", "X~User~Id: 1", "Transfer_Encoding: chunked",
    "Content_Length: 999", "Content.Length: 999", "X_HTTP_Method_Override: DELETE", "Sekisho_On.Behalf_Of: <engineer>",
)  # fmt: skip
FORGED: Final = (
    "Sekisho-Decision-Id: forged", "Sekisho-Assertion: forged", "X-Forwarded-Host: evil", "X-Forwarded-Proto: https",
    "X-Forwarded-Prefix: /admin", "Forwarded: for=1.2.3.4;host=evil", "Via: 1.1 evil", "X-Real-IP: 1.2.3.4",
    "X-Client-IP: 1.2.3.4", "True-Client-IP: 1.2.3.4", "CF-Connecting-IP: 1.2.3.4", "X-Remote-User: root",
    "X-Auth-Request-Email: root@ly", "X-Goog-Authenticated-User-Email: root", "X-Envoy-Original-Path: /admin",
    "X-Forwarded-Client-Cert: By=x", "Proxy: http://evil", "Impersonate-User: root",
)  # fmt: skip
OVERRIDES: Final = (
    "X-HTTP-Method-Override: DELETE", "X-HTTP-Method: DELETE", "X-Method-Override: DELETE",
    "X-Original-URL: /v1/jp/export", "X-Rewrite-URL: /v1/jp/export", "X-Original-Method: DELETE",
    "X-Accel-Redirect: /etc", "X-Sendfile: /etc/passwd",
)  # fmt: skip

PASSED: Final = {
    "a plain read": Passed(get()),
    "ordinary fields pass as they came": Passed(
        get(USER, "Accept: */*", "X-A:  b\tc ", "x-a: d", "Cookie: a=1; b=2"),
        fields=(("accept", "*/*"), ("x-a", "b\tc"), ("x-a", "d"), ("cookie", "a=1; b=2")),
    ),
    "a value in UTF-8": Passed(get(USER, "X-Name: 山田"), fields=(("x-name", "山田"),)),
    "2: fields that would make another request of it": Passed(get(USER, *OVERRIDES)),
    "4: a query passes byte by byte": Passed(
        get(f"{USER}?path=/v1/../x//y&q=%2F%2e;%20[]?"), target=f"{USER}?path=/v1/../x//y&q=%2F%2e;%20[]?"
    ),
    "6: Host in another case": Passed(lines(f"GET {USER} HTTP/1.1", "hOST: Users.INTERNAL:8080", *STAFF_S[1:], "")),
    "7: aliases of protected fields": Passed(get(USER, *ALIASES)),
    "8: Connection drops what it names": Passed(
        get(USER, "Connection: X-Hop, TE", "X-Hop: 1", "x_hop: 2", "TE: trailers", "X-A: 1"), fields=(("x-a", "1"),)
    ),
    "8: fields of one connection": Passed(
        get(USER, "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive", "Proxy-Authorization: Basic eDp5")
    ),
    "10: what a caller says of itself": Passed(get(USER, *FORGED)),
    "10: a chain to the left of the client": Passed(
        lines(f"GET {USER} HTTP/1.1", f"Host: {HOST}", f"X-Forwarded-For: 61.135.169.10, {CLIENT}", STAFF_S[2], "")
    ),
    "11: a mapped address is the address": Passed(
        lines(f"GET {USER} HTTP/1.1", f"Host: {HOST}", f"X-Forwarded-For: ::ffff:{CLIENT}", STAFF_S[2], "")
    ),
    "18: a body passes byte by byte": Passed(
        put("Content-Type: application/json", "Content-Length: 17", body=b'{"a": 1, "a": 2}\n'),
        "PUT", PHONE, (JSON,), b'{"a": 1, "a": 2}\n',
    ),
    "18: an encoded body is not looked into": Passed(
        put("Content-Encoding: zstd", "Content-Length: 4", body=b"\x28\xb5\x2f\xfd"),
        "PUT", PHONE, (("content-encoding", "zstd"),), b"\x28\xb5\x2f\xfd",
    ),
    "20: chunks": Passed(
        chunked(b"1\r\n{\r\n001;a=b\r\n}\r\n0\r\n\r\n", "Content-Type: application/json"), "PUT", PHONE, (JSON,), b"{}"
    ),
    "20: chunks that hold a request": Passed(
        chunked(b"%X\r\n%s\r\n0\r\n\r\n" % (len(INNER), INNER)), "PUT", PHONE, (), INNER
    ),
    "20: trailers are dropped": Passed(
        chunked(b"2\r\n{}\r\n0\r\nX-Forwarded-For: 1.2.3.4\r\nX-A: 1\r\n\r\n", "Trailer: X-A"),
        "PUT", PHONE, (), b"{}",
    ),
    "20: Chunked in another case": Passed(
        put("Transfer-Encoding: Chunked", body=b"2\r\n{}\r\n0\r\n\r\n"), "PUT", PHONE, (), b"{}"
    ),
    "20: a length with zeros in front": Passed(put("Content-Length: 002", body=b"{}"), "PUT", PHONE, (), b"{}"),
    "20: a body that holds a request": Passed(
        put(f"Content-Length: {len(INNER)}", body=INNER), "PUT", PHONE, (), INNER
    ),
    "20: a read with a body": Passed(
        lines(f"GET {USER} HTTP/1.1", *STAFF_S, "Content-Length: 2", "") + b"{}", body=b"{}"
    ),
    "20: a head without an answer's body": Passed(lines(f"HEAD {USER} HTTP/1.1", *STAFF_S, ""), "HEAD"),
    "20: a wish for HTTP/2 is not heard": Passed(
        get(USER, "Connection: HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA")
    ),
}  # fmt: skip


def check_passed(case: Passed, request: Message, decision_id: str) -> None:
    """Hold what the API got against what it is to get: exactly that, and what the gateway writes."""
    assert (request.method, request.target, request.body) == (case.method, case.target, case.body)
    written = [
        ("host", HOST),
        ("x-forwarded-for", CLIENT),
        ("x-forwarded-host", HOST),
        ("sekisho-decision-id", decision_id),
    ]
    got = [field for field in request.fields if field[0] not in FRAMING]
    assert sorted(got) == sorted([*written, *case.fields])
    assert [field for field in got if field in case.fields] == list(case.fields), "in another order"


@pytest.mark.parametrize("case", PASSED.values(), ids=PASSED.keys())
def test_the_api_gets_exactly_that(edge: Edge, case: Passed) -> None:
    heard = edge.play(case.data + get(NEXT), answers=2, methods=[case.method])
    assert heard.statuses == [200, 200]
    first, follower = edge.api.requests
    ids = [answer.values("sekisho-decision-id")[0] for answer in heard.answers]
    check_passed(case, first, ids[0])
    check_passed(Passed(b"", target=NEXT), follower, ids[1])  # nothing of the first is in it
    if case.method != "HEAD":
        assert heard.answers[0].body == f"{case.method} {case.target}".encode()
    assert heard.answers[1].body == f"GET {NEXT}".encode()
    assert edge.api.malformed == []


@pytest.mark.parametrize(
    "fields",
    [
        ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: YQ=="),
        ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"),
        ("Connection: Upgrade", "Upgrade: sekisho, TLS/1.3"),
        ("Upgrade: h2c",),
    ],
    ids=["WebSocket", "h2c", "what nobody speaks", "without Connection"],
)
def test_row_20_an_upgrade_that_nobody_declared_makes_no_tunnel(edge: Edge, fields: tuple[str, ...]) -> None:
    """Refused, or answered as if it had not been asked for (RFC 9110 7.8); never 101, and the API is never asked."""
    heard = edge.play(get(USER, *fields) + lines(b"PRI * HTTP/2.0", b""))
    assert heard.interim == ()
    assert heard.statuses in ([400], [200, 400], [200, 505])
    assert heard.is_closed
    assert all(not request.values("upgrade") for request in edge.api.requests)


def test_row_15_each_request_of_a_connection_is_judged_by_what_it_carries(edge: Edge) -> None:
    """The same bytes but for the token, one behind the other: nothing that was kept answers for somebody else."""
    allowed, denied = get(), get().replace(b"<staff>", b"<engineer>")
    nobody = lines(f"GET {USER} HTTP/1.1", *NOBODY_S, "")
    elsewhere = allowed.replace(CLIENT.encode(), b"61.135.169.10")
    heard = edge.play(b"".join([allowed, denied, nobody, elsewhere] * 3), answers=12)
    assert heard.statuses == [200, 403, 401, 403] * 3
    assert len(edge.api.requests) == 3


def test_row_21_nothing_that_is_sent_makes_a_line_of_ledger_or_log(edge: Edge) -> None:
    marks = b'FORGED\x1b[31m\x07\x08\xc2\x85\xe2\x80\xa8 "}\\n{"line":"decision"}'
    for data in (
        get(b"/v1/" + marks),
        get("/v1/jp/users/FORGED%0A%7B"),
        get(USER, b"X-A: " + marks),
        lines(b"FORGED" + marks + b" / HTTP/1.1", *STAFF_S, ""),
        get(USER, b"Sekisho-Purpose: " + marks.replace(b"\x1b", b"").replace(b"\x07\x08", b"")),
        lines(f"GET {USER} HTTP/1.1", "Host: FORGED\u2028", *STAFF_S[1:], ""),
        get(f"{USER}?x=FORGED"),
        put("Content-Type: text/plain", f"Content-Length: {len(marks)}", body=marks),
    ):
        edge.play(data + get(NEXT, "Connection: close"))
    for path in [edge.command.folder / "log", *(edge.command.folder / "ledger").glob("*.jsonl")]:
        for line in path.read_bytes().split(b"\n")[:-1]:
            assert json.loads(line)
            assert line.decode().isprintable()
            assert b"FORGED" not in line
