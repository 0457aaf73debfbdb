# SPDX-License-Identifier: Apache-2.0
"""Proof before timing: a gateway that does not do its duty is fast for the wrong reason, and is not measured.

- What is allowed comes back with the upstream's own body; each thing that must be refused is sent twice, and
  after the allowed one, so that a cache of verified tokens cannot let it through.
- A gateway without a duty is not asked for it; the table says which duties each has.
"""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import jwt

from bench.answers import ASSERTED_PATH, SMALL_BODY
from bench.countries import CLIENT_ADDRESS, LISTED_ADDRESS
from bench.harness import BenchError, wait_until
from bench.identity import LISTED_AFFILIATE
from bench.processes import LOOPBACK
from bench.setting import Duty
from proxy.assertion.key_file import read_keys
from proxy.ledger.segments import list_segments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.identity import Issuer
    from bench.setting import Contender

REFUSED: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
"""Which of the two is a matter of taste between products (Envoy answers a wrong audience with 403)."""

API: Final = "users"
PASSING_RULE: Final = "own-staff"
"""Of Sekisho's policy."""

LOG_SECONDS: Final = 15.0
"""How long a buffered log may take to reach its file."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """Describe a request that a duty forbids."""

    duty: Duty
    what: str
    token: str | None
    address: str = CLIENT_ADDRESS


def request_headers(token: str | None, address: str = CLIENT_ADDRESS) -> dict[str, str]:
    """Return the headers of one request as the trusted proxy before us would send them."""
    credentials = {} if token is None else {"Authorization": f"Bearer {token}"}
    return {**credentials, "X-Forwarded-For": address, "Accept": "application/json"}


def attempts(issuer: Issuer) -> Iterator[Attempt]:
    """Yield everything that must be refused."""
    yield Attempt(Duty.TOKEN, "no token", None)
    yield Attempt(Duty.TOKEN, "a forged signature", issuer.forged_token())
    yield Attempt(Duty.TOKEN, "an expired token", issuer.expired_token())
    yield Attempt(Duty.TOKEN, "another audience", issuer.token(aud="https://other.example.com"))
    yield Attempt(Duty.TOKEN, "another issuer", issuer.token(iss="https://other.example.com"))
    yield Attempt(Duty.CLAIM_RULE, "a listed affiliate", issuer.token(affiliate=LISTED_AFFILIATE))
    yield Attempt(Duty.COUNTRY_RULE, "a listed country", issuer.token(), LISTED_ADDRESS)


def verify_duties(contender: Contender, issuer: Issuer) -> None:
    """Prove that a contender passes what it must and refuses what it must.

    Raises:
        BenchError: If it does not; nothing may be timed then.
    """
    verify_passes(contender, issuer.token())
    for attempt in attempts(issuer):
        if attempt.duty in contender.duties:
            verify_refused(contender, attempt)
            verify_refused(contender, attempt)
    verify_passes(contender, issuer.token())
    verify_asserted(contender, issuer.token())


def verify_asserted(contender: Contender, token: str) -> None:
    """Prove that the API is told, with a signature that holds, by which rule the caller was let pass.

    Raises:
        BenchError: If it is not.
    """
    if contender.assertion_keys is None:
        return
    _, body = fetch(contender, request_headers(token), ASSERTED_PATH)
    keys = jwt.PyJWKSet.from_json(read_keys(contender.assertion_keys).publish().decode())
    try:
        claims = jwt.decode(body, keys.keys[0], audience=API)
    except jwt.InvalidTokenError as error:
        raise BenchError(f"{contender.name} told the API {body[:200]!r}: {error}") from error
    if claims.get("rule") != PASSING_RULE:
        raise BenchError(f"{contender.name} told the API of another rule: {claims}")


def verify_passes(contender: Contender, token: str) -> None:
    """Prove that the allowed request comes back with the upstream's body."""
    status, body = fetch(contender, request_headers(token))
    if status != HTTPStatus.OK or body != SMALL_BODY:
        raise BenchError(f"{contender.name} answered the allowed request with {status}: {body[:200]!r}")


def verify_refused(contender: Contender, attempt: Attempt) -> None:
    """Prove that one forbidden request is refused, and that nothing of the upstream leaks."""
    status, body = fetch(contender, request_headers(attempt.token, attempt.address))
    if status not in REFUSED or SMALL_BODY in body:
        raise BenchError(f"{contender.name} answered {status} to {attempt.what}: it does not do its duty")


def fetch(contender: Contender, headers: dict[str, str], path: str = "/v1/users/417") -> tuple[int, bytes]:
    """Send one GET on a connection of its own."""
    connection = http.client.HTTPConnection(LOOPBACK, contender.port, timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def verify_recorded(contender: Contender, requests: int) -> None:
    """Prove that the ledger has a decision for each request so far, and its last one tells what was decided.

    Raises:
        BenchError: If decisions are missing.
    """
    if Duty.RECORD not in contender.duties or contender.record is None:
        return
    lines = [line for each in list_segments(contender.record) for line in each.path.read_bytes().splitlines()]
    decisions = [line for line in lines if b'","line":"decision","id":"' in line]
    if len(decisions) < requests:
        raise BenchError(f"{contender.name} recorded {len(decisions)} decisions on {requests} requests")
    if not {"effect", "rule", "caller", "origin", "subject"} <= json.loads(decisions[-1]).keys():
        raise BenchError(f"{contender.name} records too little: {decisions[-1]!r}")


def verify_logged(contender: Contender, requests: int) -> None:
    """Prove that the access log has a line of JSON for each request since it was emptied.

    Raises:
        BenchError: If lines are missing or are no JSON.
    """
    log = contender.log
    if Duty.LOG not in contender.duties or log is None:
        return
    # HAProxy takes O_APPEND off its standard output: once emptied, its file begins with a hole, of no lines.
    waited_for = f"{requests} lines in the log of {contender.name}"
    wait_until(lambda: log.read_bytes().count(b"\n") >= requests, waited_for, LOG_SECONDS)
    line = json.loads(log.read_bytes().splitlines()[-1])
    if not {"status", "affiliate", "country"} <= line.keys():
        raise BenchError(f"{contender.name} logs too little: {line}")
