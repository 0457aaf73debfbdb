# SPDX-License-Identifier: Apache-2.0
"""Keys of assertions that tests know, something that was decided, and assertions as an API reads them: by PyJWT."""

import json
from pathlib import Path
from typing import Any, Final

import jwt
import msgspec

from proxy.assertion.assertions import Judged
from proxy.assertion.keys import EDDSA, ES256, AssertionKey, AssertionKeys, make_ring_text
from proxy.model.api import Action, Api, Route, Upstream
from proxy.model.caller import Caller
from proxy.model.decision import AppliedRule, Certainty, Decision, Effect, Reason
from proxy.model.facts import FactSet

SINCE: Final = 1_600_000_000.0
KEY: Final = AssertionKey(SINCE, EDDSA, b"a" * 32)
NEXT: Final = AssertionKey(SINCE + 1000, ES256, b"b" * 32)
KEYS: Final = AssertionKeys([KEY])


NOW: Final = 1_800_000_000.25
API: Final = Api("users", (), Upstream("http://127.0.0.1:1", None), forwards_authorization=False)
ROUTE: Final = Route(
    api=API, id="get-user", methods=("GET",), segments=(), action=Action.READ, subject=None,
    data=FactSet(frozenset()), unauthenticated=False, max_duration_seconds=30,
)  # fmt: skip
CALLER: Final = Caller(principal="corp|alice", affiliate="ly", affiliate_country="JP", until=NOW + 900)
RULE: Final = AppliedRule("staff", Effect.ALLOW, Certainty.MATCHED, "")
DECISION: Final = Decision(Effect.ALLOW, Reason.RULE_ALLOWS, RULE, (RULE,), ())
TARGET: Final = "/v1/jp/users/42?full=1"
JUDGED: Final = Judged(
    caller=CALLER, route=ROUTE, decision=DECISION, effect=Effect.ALLOW, now=NOW,
    request_id="01MCC5RM000000000000000001", method="GET", target=TARGET,
)  # fmt: skip


def replaced(value: Any, **changes: Any) -> Any:
    return msgspec.structs.replace(value, **changes)


def judged(caller: dict[str, Any] | None = None, decision: dict[str, Any] | None = None, **changes: Any) -> Judged:
    """Return what was decided, of which a part is changed."""
    given = {
        "caller": replaced(CALLER, **(caller or {})),
        "decision": replaced(DECISION, **(decision or {})),
        **changes,
    }
    made: Judged = replaced(JUDGED, **given)
    return made


def write_assertion_keys(path: Path, *more: AssertionKey) -> Path:
    """Write a file of keys, and return where."""
    path.write_text(make_ring_text(KEY) + "".join(f"{key.render()}\n" for key in more), encoding="ascii")
    path.chmod(0o600)
    return path


def read_assertion(
    token: str, audience: str = "users", *, now: float | None = None, keys: AssertionKeys = KEYS
) -> dict[str, Any]:
    """Return the claims of an assertion that one of these keys has signed, for this API.

    Args:
        token: the assertion.
        audience: the API.
        now: when it must be valid; None: at this moment of the wall clock.
        keys: whose public part was published.
    """
    published = jwt.PyJWKSet.from_dict(json.loads(keys.publish()))
    header = jwt.get_unverified_header(token)
    assert header.keys() == {"alg", "kid", "typ"}
    assert header["typ"] == "sekisho-decision+jwt"
    key = published[header["kid"]]
    claims: dict[str, Any] = jwt.decode(
        token, key, algorithms=[key.algorithm_name], audience=audience, issuer="sekisho",
        options={"require": ["exp", "iat", "jti"], "verify_exp": now is None, "verify_iat": now is None},
    )  # fmt: skip
    assert now is None or claims["iat"] <= now < claims["exp"]
    return claims
