# SPDX-License-Identifier: Apache-2.0
"""What an API is told of a decision, signed: a JSON Web Token (RFC 7519) in the field ``Sekisho-Assertion``.

- ``caller``: what is said is the same for a caller, a route and a rule, so it is signed once and used again for a few
  seconds. It does not tell one request from another: whoever else gets hold of it can show it while it is valid.
- ``request``: it is bound to one request by its method, the SHA-256 of its target, and the decision's id.
- None is valid longer than what vouches for the caller, nor than the grant that the decision rests on.
- What is said of nobody (no caller, no affiliate, no rule) is left out, never written as an empty text.
"""

import hashlib
import math
from typing import Any, Final

import msgspec

from proxy.assertion.keys import AssertionKeys, encode_base64url
from proxy.model.api import Api, AssertionMode, Route
from proxy.model.caller import Caller
from proxy.model.decision import Decision, Effect
from proxy.model.facts import known

FIELD: Final = "Sekisho-Assertion"
LIFETIME_SECONDS: Final = 60
"""From ``iat`` to ``exp``: room for clocks that differ, and for a request that waits in the API's queue."""
REUSE_SECONDS: Final = 10
"""How long an assertion by ``caller`` is used again."""
MAX_HELD: Final = 16_384
"""Assertions held: one takes about a kilobyte."""
_JTI_BYTES: Final = 16
_CALLER, _REQUEST = AssertionMode.CALLER, AssertionMode.REQUEST
_ALLOW: Final = Effect.ALLOW


class Judged(msgspec.Struct, frozen=True):
    """What was decided of one request, as far as an API is told."""

    caller: Caller
    route: Route | None
    decision: Decision | None
    """None where it did not come to one, and observe mode lets it pass."""
    effect: Effect
    """Of the gateway as a whole: ``deny`` where observe mode lets a refusal pass."""
    now: float
    """The request's one reading of the clock, seconds since 1970."""
    request_id: str
    method: str
    target: str
    """As it is forwarded."""


class _Held(msgspec.Struct, frozen=True):
    """A field line that may be used again."""

    line: bytes
    since: float
    ends: int
    """``exp``."""
    is_whole: bool
    """Whether it is valid for its whole lifetime: nothing that it rests on cut it short."""
    again_until: float


class Assertions:
    """Signs what was decided under one bundle.

    Args:
        keys: sign, each in its time.
        issuer: ``iss``.
        bundle: the digest that names the bundle.
    """

    def __init__(self, keys: AssertionKeys, issuer: str, bundle: str) -> None:
        self._keys = keys
        self._issuer = issuer
        self._bundle = bundle
        self._young: dict[tuple[object, ...], _Held] = {}
        self._old: dict[tuple[object, ...], _Held] = {}
        """What was held before the young ones were too many."""

    def render_field(self, api: Api, judged: Judged) -> bytes:
        """Return the field line for a request that goes to an API; empty where its declaration turns that off.

        Args:
            api: to which it goes.
            judged: what was decided.
        """
        mode = api.assertion
        if mode is None or mode is _CALLER:
            return self._find(api, judged)
        if mode is _REQUEST:
            claims = self._claim(api, judged)
            claims["jti"] = claims["decision"] = judged.request_id
            claims["htm"] = judged.method
            claims["target_sha256"] = hashlib.sha256(judged.target.encode()).hexdigest()
            return self._sign(claims, judged.now)
        return b""

    def _find(self, api: Api, judged: Judged) -> bytes:
        """Return what was signed for this caller, route and rule a few seconds ago, or sign it now.

        The key holds everything that stands in the claims but the bundle, of which this is, and their times.
        """
        caller, decision, route, now = judged.caller, judged.decision, judged.route, judged.now
        key = (
            caller.principal,
            None if route is None else route.id,
            None if decision is None else decision.rule_id,
            caller.affiliate,
            caller.affiliate_country,
            caller.on_behalf_of.principal,
            judged.effect is _ALLOW,  # of two: a mask is of rules alone
            api.id,
        )
        held = self._young.get(key) or self._old.get(key)
        if held is not None and held.since <= now < held.again_until:
            until = _until(judged)
            if held.ends <= until and (held.is_whole or held.ends == math.floor(until)):
                return held.line
        claims = self._claim(api, judged)
        claims["jti"] = encode_base64url(hashlib.sha256(_encode(claims)).digest()[:_JTI_BYTES]).decode()
        ends = claims["exp"]
        is_whole = ends == math.floor(now + LIFETIME_SECONDS)
        held = _Held(self._sign(claims, now), now, ends, is_whole, now + REUSE_SECONDS)
        if len(self._young) >= MAX_HELD // 2:
            self._old, self._young = self._young, {}
        self._young[key] = held
        return held.line

    def _claim(self, api: Api, judged: Judged) -> dict[str, Any]:
        """Return what is said in either mode."""
        caller, now = judged.caller, judged.now
        said = {
            "iss": self._issuer,
            "aud": api.id,
            "iat": math.floor(now),
            "exp": math.floor(min(now + LIFETIME_SECONDS, _until(judged))),
            "sub": caller.principal,
            "on_behalf_of": caller.on_behalf_of.principal,
            "affiliate": known(caller.affiliate),
            "affiliate_country": known(caller.affiliate_country),
            "route": judged.route.id if judged.route else None,
            "rule": judged.decision.rule_id if judged.decision else None,
            "effect": judged.effect.value,
            "bundle": self._bundle,
        }
        return {name: value for name, value in said.items() if value not in {None, ""}}

    def _sign(self, claims: dict[str, Any], now: float) -> bytes:
        key = self._keys.at(now)
        content = key.head + b"." + encode_base64url(_encode(claims))
        return f"{FIELD}: ".encode() + content + b"." + encode_base64url(key.sign(content)) + b"\r\n"


_encode: Final = msgspec.json.Encoder().encode


def _until(judged: Judged) -> float:
    """Return when the last thing ends that the decision rests on, seconds since 1970."""
    until, decision = judged.caller.until, judged.decision
    return until if decision is None or until <= decision.until else decision.until
