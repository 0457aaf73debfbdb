# SPDX-License-Identifier: Apache-2.0
"""A token becomes a ``Caller``, or a reason why not, or the need for what its issuer alone can say.

- Verified callers are kept in memory inside one snapshot, by the whole token. A kept caller dies with the
  snapshot, with the token's ``exp``, with the key that verified it, and with its issuer's word that the token is
  active. It is nobody's at another place of the request, nor with another certificate than it is bound to.
- The cache is bounded; the oldest go first.
"""

import hashlib
import math
from typing import Final, TypeAlias

import msgspec

from proxy.caller.claims import VerifiedClaims
from proxy.caller.confirmation import bound_certificate
from proxy.caller.issuers import Issuer
from proxy.caller.keys import KeySet
from proxy.caller.parties import join
from proxy.caller.revocation import NOTHING_REVOKED, Introspected, Revoked, judge_introspected
from proxy.caller.speaking import Registers, speak
from proxy.caller.tokens import UnverifiedToken, parse_token, verify_token
from proxy.model.caller import Caller
from proxy.model.decision import Reason
from proxy.model.ports import Introspections, KeySets
from proxy.model.request import AUTHORIZATION, TokenPlace

MAX_KEPT: Final = 20_000
"""Callers kept in memory: some twenty megabytes with tokens of a common size, 160 with the largest."""


class KeysNeeded(msgspec.Struct, frozen=True):
    """The issuer's keys as they stand do not do: it has none, or not the one that a token names."""

    issuer_id: str


class IntrospectionNeeded(msgspec.Struct, frozen=True):
    """The issuer must be asked whether a token is active (RFC 7662)."""

    issuer_id: str
    token_digest: str
    raw_token: str
    """For the question alone; it is never shown."""

    def __repr__(self) -> str:
        return f"IntrospectionNeeded({self.issuer_id!r})"


CallerNeed: TypeAlias = KeysNeeded | IntrospectionNeeded
NOTHING_MET: Final[frozenset[CallerNeed]] = frozenset()


class _Verified(msgspec.Struct, frozen=True):
    """A token that has passed every check but its issuer's own word."""

    token: UnverifiedToken
    claims: VerifiedClaims
    keys: KeySet
    thumbprint: str


class _Kept(msgspec.Struct, frozen=True):
    caller: Caller
    until: float
    """Seconds since 1970: no later than the caller's own."""
    issuer_id: str
    keys: KeySet
    key_id: str | None
    algorithm: str
    thumbprint: str
    """Of the key that verified it."""
    place: TokenPlace
    certificate_thumbprint: str | None
    """Of the certificate that the token is bound to; None: it is bound to none."""


class Callers:
    """Resolves tokens for one snapshot.

    Args:
        issuers: the declared issuers.
        registers: what the bundle says of people and programs.
        revoked: the register of revoked tokens.
        introspections: what issuers said of tokens; needed only where an issuer is to be asked.
    """

    def __init__(
        self,
        issuers: tuple[Issuer, ...],
        registers: Registers,
        revoked: Revoked = NOTHING_REVOKED,
        introspections: Introspections | None = None,
    ) -> None:
        self._issuers = {issuer.issuer: issuer for issuer in issuers}
        self._registers = registers
        self._revoked = revoked
        self._introspections = introspections
        self._kept: dict[str, _Kept] = {}

    def resolve(  # noqa: PLR0917 - defaults by keyword alone cost as much as the look-up
        self,
        raw_token: str,
        keys: KeySets,
        now: float,
        met: frozenset[CallerNeed] = NOTHING_MET,
        place: TokenPlace = AUTHORIZATION,
        certificate_thumbprint: str | None = None,
    ) -> Caller | Reason | CallerNeed:
        """Resolve one raw token.

        Args:
            raw_token: the credential.
            keys: the issuers' key sets.
            now: the request's reading of the clock.
            met: the needs that have been met for this request already; none of them is raised again.
            place: where the token stood in the request.
            certificate_thumbprint: base64url of the SHA-256 of the caller's TLS certificate, None if it showed none.
        """
        kept = self._kept.get(raw_token)
        if (
            kept is not None
            and now < kept.until
            and keys.sets.get(kept.issuer_id) is kept.keys
            and kept.place == place
            and (kept.certificate_thumbprint is None or kept.certificate_thumbprint == certificate_thumbprint)
        ):
            return kept.caller
        if kept is not None and self._carry_over(raw_token, kept, keys):
            return self.resolve(raw_token, keys, now, met, place, certificate_thumbprint)
        verified = self._verify(
            raw_token, keys, now, met=met, place=place, certificate_thumbprint=certificate_thumbprint
        )
        if not isinstance(verified, _Verified):
            return verified
        until = self._ask(verified, raw_token, now, met)
        if isinstance(until, (Reason, IntrospectionNeeded)):
            return until
        caller, boundary = self._assemble(verified, now)
        self._keep(raw_token, verified, caller, min(until, boundary, caller.until))
        return caller

    def revisit(
        self,
        raw_token: str,
        keys: KeySets,
        now: float,
        place: TokenPlace = AUTHORIZATION,
        certificate_thumbprint: str | None = None,
    ) -> Caller | Reason:
        """Resolve the token of a request that is under way, when nothing can be asked any more.

        That its issuer has not been asked of late does not end the request; that it last said no does.
        """
        met: frozenset[CallerNeed] = NOTHING_MET
        found = self.resolve(raw_token, keys, now, met, place, certificate_thumbprint)
        if isinstance(found, KeysNeeded):
            met = frozenset({found})
            found = self.resolve(raw_token, keys, now, met, place, certificate_thumbprint)
        if not isinstance(found, (KeysNeeded, IntrospectionNeeded)):
            return found
        verified = self._verify(
            raw_token, keys, now, met=met, place=place, certificate_thumbprint=certificate_thumbprint
        )
        if not isinstance(verified, _Verified):
            return Reason.KEYS_UNAVAILABLE if isinstance(verified, KeysNeeded) else verified
        answer = self._last_answer(verified.token.issuer, raw_token)
        refused = None if answer is None else judge_introspected(answer, verified.claims, verified.token.issuer)
        return refused or self._assemble(verified, now)[0]

    def _carry_over(self, raw_token: str, kept: _Kept, keys: KeySets) -> bool:
        """Keep a caller under another set of keys, if there too its key is the one that would verify its token."""
        current: KeySet | None = keys.sets.get(kept.issuer_id)
        if current is None or current is kept.keys:
            return False
        key = current.find(kept.key_id, kept.algorithm)
        if key is None or key.thumbprint != kept.thumbprint:
            del self._kept[raw_token]
            return False
        self._kept[raw_token] = msgspec.structs.replace(kept, keys=current)
        return True

    def _verify(
        self,
        raw_token: str,
        keys: KeySets,
        now: float,
        *,
        met: frozenset[CallerNeed],
        place: TokenPlace,
        certificate_thumbprint: str | None,
    ) -> _Verified | Reason | KeysNeeded:
        token = parse_token(raw_token, self._issuers, place)
        if isinstance(token, Reason):
            return token
        need = KeysNeeded(token.issuer.id)
        current: KeySet | None = keys.sets.get(token.issuer.id)
        if current is None:
            return Reason.KEYS_UNAVAILABLE if need in met else need
        claims = verify_token(token, current, now, certificate_thumbprint)
        if claims is Reason.TOKEN_KEY_UNKNOWN:
            if need not in met:
                return need
            return Reason.KEYS_UNAVAILABLE if token.issuer.id in keys.failed else claims
        key = current.find(token.key_id, token.algorithm)
        if isinstance(claims, Reason) or key is None:
            return claims if isinstance(claims, Reason) else Reason.TOKEN_KEY_UNKNOWN
        revoked = self._revoked.judge(token.issuer.id, claims)
        return revoked or _Verified(token, claims, current, key.thumbprint)

    def _ask(
        self, verified: _Verified, raw_token: str, now: float, met: frozenset[CallerNeed]
    ) -> float | Reason | IntrospectionNeeded:
        """Return until when the issuer's word holds that the token is active."""
        issuer = verified.token.issuer
        if issuer.introspection is None:
            return math.inf
        answer = self._last_answer(issuer, raw_token)
        if answer is None or now >= answer.until:
            need = IntrospectionNeeded(issuer.id, _digest(raw_token), raw_token)
            return Reason.INTROSPECTION_UNAVAILABLE if need in met else need
        return judge_introspected(answer, verified.claims, issuer) or answer.until

    def _last_answer(self, issuer: Issuer, raw_token: str) -> Introspected | None:
        if issuer.introspection is None or self._introspections is None:
            return None
        answer: Introspected | None = self._introspections.find(issuer.id, _digest(raw_token))
        return answer

    def _assemble(self, verified: _Verified, now: float) -> tuple[Caller, float]:
        """Return the caller, and until when the registers say nothing else of those who take part."""
        issuer, claims = verified.token.issuer, verified.claims
        speaking = speak(issuer, claims, self._issuers, self._registers, now)
        until = min(speaking.until, claims["exp"] + issuer.leeway)
        return join(msgspec.structs.replace(speaking, until=until), self._registers.affiliates), speaking.boundary

    def _keep(self, raw_token: str, verified: _Verified, caller: Caller, until: float) -> None:
        if len(self._kept) >= MAX_KEPT:
            for oldest in list(self._kept)[: MAX_KEPT // 8]:
                del self._kept[oldest]
        token = verified.token
        self._kept[raw_token] = _Kept(
            caller=caller,
            until=until,
            issuer_id=token.issuer.id,
            keys=verified.keys,
            key_id=token.key_id,
            algorithm=token.algorithm,
            thumbprint=verified.thumbprint,
            place=token.issuer.place,
            certificate_thumbprint=bound_certificate(verified.claims),
        )


def _digest(raw_token: str) -> str:
    """Return what a token is known by where it is not kept itself."""
    return hashlib.sha256(raw_token.encode()).hexdigest()
