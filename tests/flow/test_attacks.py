# SPDX-License-Identifier: Apache-2.0
import json
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Any

import pytest

from proxy.caller.resolve import KeysNeeded
from proxy.demo.issuer import make_key
from proxy.model.request import RequestHead
from proxy.pipeline.steps import Forward, Need, Refuse
from tests.support.ledger import decode_decision
from tests.support.passages import NOW, a_head, a_passage, a_token
from tests.support.world import ENGINEER, STAFF


@dataclass(frozen=True)
class Attack:
    head: RequestHead
    status: int
    by: str
    more: dict[str, Any] = field(default_factory=dict)


def _unsigned(claims: dict[str, Any]) -> str:
    parts = [{"alg": "none", "typ": "JWT"}, {"iss": "https://idp.ly.example", "aud": "pii-gateway", **claims}]
    return ".".join(urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


CONSOLE = "/v1/law-enforcement/jp/users/42"
PARENT = {"company": "naver-cloud", "employment_type": "employee", "residence_country": "KR"}

ATTACKS = {
    # The LINE case.
    "an engineer of the Shanghai subsidiary reads through the Tokyo VPN": Attack(
        a_head(token=a_token(ENGINEER), address="203.0.113.24"), 403, "jp-no-china"
    ),
    "an engineer of the Shanghai subsidiary who lives in Japan reads from the office": Attack(
        a_head(token=a_token(ENGINEER, residence_country="JP")), 403, "jp-no-china"
    ),
    "a subcontractor's engineer in Dalian reads a reported message": Attack(
        a_head("/v1/jp/reports/42", token=a_token(ENGINEER, affiliate="dalian-bpo")), 403, "jp-no-china"
    ),
    "an employee reads while in China": Attack(a_head(address="61.135.169.10"), 403, "jp-not-from-china"),
    "an employee who moved to Macao reads from the office": Attack(
        a_head(token=a_token(residence_country="MO")), 403, "jp-no-china"
    ),
    "the parent's engineer reads from Seoul": Attack(
        a_head(token=a_token(PARENT, "naver-sso"), address="10.82.0.9"), 403, "jp-parent-kept-apart"
    ),
    "the developer of the console in China uses it": Attack(
        a_head(CONSOLE, token=a_token(ENGINEER), address="10.86.4.2"), 403, "console-is-the-privacy-teams"
    ),
    # Unknown is no excuse.
    "an affiliate that is in no register": Attack(a_head(token=a_token(affiliate="ghost")), 403, "jp-no-china"),
    "a token without an affiliate": Attack(a_head(token=a_token(affiliate=None)), 403, "jp-no-china"),
    "an affiliate written as a list": Attack(a_head(token=a_token(affiliate=["ly"])), 403, "jp-no-china"),
    "a token without a residence": Attack(a_head(token=a_token(residence_country=None)), 403, "jp-no-china"),
    "a residence that is no country": Attack(a_head(token=a_token(residence_country="Japan")), 403, "jp-no-china"),
    "the parent's issuer asserts that its caller is LY's": Attack(
        a_head(token=a_token(PARENT, "naver-sso", company="ly", residence_country="JP")), 403, "jp-no-china"
    ),
    "a private address that no network declares": Attack(a_head(address="192.168.7.7"), 403, "jp-not-from-china"),
    "a forwarded chain that is no address": Attack(a_head(address="unknown"), 403, "jp-not-from-china"),
    "a trusted proxy that says nothing of the client": Attack(a_head(address=None), 403, "jp-not-from-china"),
    "a kind that is none of ours": Attack(a_head(token=a_token(employment_type="alien")), 403, "jp-no-china"),
    # LESSONS rows 1 to 6: one canonical request.
    "a path with an encoded slash": Attack(a_head("/v1/jp%2fusers/42"), 400, "target-percent-encoded"),
    "a path with an encoded letter": Attack(a_head("/v1/%6ap/users/42"), 400, "target-percent-encoded"),
    "a path with a dot segment": Attack(a_head("/v1/tw/../jp/users/42"), 400, "target-dot-segment"),
    "a path with a double slash": Attack(a_head("/v1//jp/users/42"), 400, "target-empty-segment"),
    "a path with a slash at its end": Attack(a_head("/v1/jp/users/42/"), 400, "target-empty-segment"),
    "a path with a matrix parameter": Attack(a_head("/v1/jp;x=1/users/42"), 400, "target-character"),
    "a path with a backslash": Attack(a_head("/v1/jp\\users/42"), 400, "target-character"),
    "a path with full-width digits": Attack(a_head("/v1/jp/users/４２"), 400, "target-character"),
    "a fragment in the target": Attack(a_head("/v1/jp/users/42#x"), 400, "target-has-fragment"),
    "a target in absolute form": Attack(a_head("http://evil/v1/jp/users/42"), 400, "target-not-origin-form"),
    "a target without a slash": Attack(a_head("v1/jp/users/42"), 400, "target-not-origin-form"),
    "a NUL in the query": Attack(a_head("/v1/jp/users/42?x=%00"), 400, "query-character"),
    "an upper-case country in the path": Attack(a_head("/v1/JP/users/42"), 404, "route-undeclared"),
    "an id that some servers read as 1001": Attack(a_head("/v1/jp/users/1_001"), 404, "route-undeclared"),
    "a declared path behind the query": Attack(a_head("/v1/secret?/v1/jp/users/42"), 404, "route-undeclared"),
    # Rows 6 to 9: headers.
    "no Host": Attack(a_head(host=None), 400, "host-missing"),
    "two Hosts": Attack(a_head("/v1/jp/users/42", ("host", "evil")), 400, "host-repeated"),
    "a Host with user information": Attack(a_head(host="users.internal@evil"), 400, "host-malformed"),
    "two Authorization fields": Attack(
        a_head("/v1/jp/users/42", ("authorization", "Bearer x")), 400, "authorization-repeated"
    ),
    "two tokens in one Authorization field": Attack(
        a_head("/v1/jp/users/42", ("Authorization", f"Bearer {a_token()}, Bearer {a_token()}"), token=None),
        400,
        "authorization-malformed",
    ),
    "Connection that names Authorization": Attack(
        a_head("/v1/jp/users/42", ("Connection", "close, Authorization")), 400, "connection-names-protected"
    ),
    "a header value with a line feed": Attack(a_head("/v1/jp/users/42", ("X-A", "a\nb")), 400, "header-malformed"),
    "a method of its own": Attack(a_head(method="CONNECT"), 501, "method-unsupported"),
    "a method that is not declared": Attack(a_head(method="DELETE"), 405, "method-undeclared"),
    # Row 10 and 11: where from.
    "a forged address in front of the real one": Attack(
        a_head(address="10.20.3.7, 61.135.169.10"), 403, "jp-not-from-china"
    ),
    "a forged chain from a peer that is no proxy": Attack(
        a_head(address="10.20.3.7", peer="61.135.169.10"), 403, "jp-not-from-china"
    ),
    "an IPv4-mapped address in China": Attack(a_head(address="::ffff:61.135.169.10"), 403, "jp-not-from-china"),
    # Rows 12 and 13: tokens.
    "no token": Attack(a_head(token=None), 401, "token-missing"),
    "a scheme that is not Bearer": Attack(
        a_head("/v1/jp/users/42", ("Authorization", "Basic eDp5"), token=None), 400, "authorization-malformed"
    ),
    "a token without a signature": Attack(a_head(token=_unsigned(STAFF)), 401, "token-malformed"),
    "a token signed by another key": Attack(a_head(token=a_token(key=make_key("ES256"))), 401, "token-signature-wrong"),
    "a token of an issuer nobody declared": Attack(
        a_head(token=a_token(iss="https://evil.example")), 401, "token-issuer-undeclared"
    ),
    "a token that names another issuer than its key's": Attack(
        a_head(token=a_token(iss="https://sso.naver.example")), 401, "token-signature-wrong"
    ),
    "a token for another audience": Attack(a_head(token=a_token(aud="other")), 401, "token-audience-other"),
    "a token without an audience": Attack(a_head(token=a_token(aud=None)), 401, "token-claim-missing"),
    "a token without a subject": Attack(a_head(token=a_token(sub=None)), 401, "token-claim-missing"),
    "an expired token": Attack(a_head(token=a_token(exp=int(NOW) - 31)), 401, "token-expired"),
    "a token that never expires": Attack(a_head(token=a_token(exp=None)), 401, "token-claim-missing"),
    "a token from the future": Attack(a_head(token=a_token(iat=int(NOW) + 60)), 401, "token-not-yet-valid"),
    "a token with a critical extension": Attack(
        a_head(token=a_token(header={"crit": ["b64"], "b64": True})), 401, "token-header-unsupported"
    ),
    "a token with a key of its own": Attack(
        a_head(token=a_token(header={"jwk": {"kty": "oct"}})), 401, "token-header-unsupported"
    ),
    # Row 24: an affiliate is what a register knows, never the ending of an address.
    "an e-mail address of ours and no affiliate": Attack(
        a_head(token=a_token(affiliate=None, email="a@ly.example")), 403, "jp-no-china"
    ),
    "an affiliate written as an e-mail address of ours": Attack(
        a_head(token=a_token(affiliate="a@ly")), 403, "jp-no-china"
    ),
    "an affiliate behind a second @": Attack(a_head(token=a_token(affiliate="a@evil@ly")), 403, "jp-no-china"),
    "a token of another type": Attack(a_head(token=a_token(header={"typ": "logout+jwt"})), 401, "token-type-other"),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_an_attack_is_refused_and_recorded(attack: Attack) -> None:
    step = a_passage().begin(attack.head)
    assert isinstance(step, Refuse)
    (line,) = step.lines
    line = decode_decision(line)
    assert (step.outcome.status, line.rule or line.reason) == (attack.status, attack.by)
    assert (line.effect, line.released, line.status) == ("deny", False, attack.status)


def test_without_any_of_it_the_request_is_forwarded() -> None:
    assert isinstance(a_passage().begin(a_head()), Forward)


def test_a_key_id_that_is_not_known_needs_the_issuers_keys_once() -> None:
    passage = a_passage()
    need = passage.begin(a_head(token=a_token(header={"kid": "rotated"})))
    assert isinstance(need, Need)
    assert isinstance(need.what, KeysNeeded)
    assert need.what.issuer_id == "corp"
    step = passage.supply(need)
    assert isinstance(step, Refuse)
    assert step.outcome.reason == "token-key-unknown"
