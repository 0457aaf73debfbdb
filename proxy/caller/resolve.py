# SPDX-License-Identifier: Apache-2.0
"""A token becomes a ``Caller``, or a reason why not, or the need for what its issuer alone can say.

- Verified callers are kept in memory inside one snapshot, by the whole token. A kept caller dies with the
  snapshot, with the token's ``exp``, with the key that verified it, with its issuer's word that the token is active,
  and when a date comes that changes what the registers say. It is nobody's at another place of the request, nor with
  another certificate than it is bound to.
- The cache is bounded; the oldest go first.
"""

import hashlib
import math
import operator
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import msgspec

from proxy.caller.certificates import CertificateIdentity
from proxy.caller.claims import VerifiedClaims
from proxy.caller.confirmation import bound_certificate
from proxy.caller.delegation import find_actors
from proxy.caller.issuers import Issuer
from proxy.caller.keys import KeySet
from proxy.caller.parties import Speaking, join, speak_both
from proxy.caller.revocation import NOTHING_REVOKED, Introspected, Revoked, judge_introspected
from proxy.caller.speaking import Registers, speak, speak_of_service
from proxy.caller.tokens import UnverifiedToken, parse_token, verify_token
from proxy.model.caller import Caller, Part
from proxy.model.decision import Reason
from proxy.model.ports import Introspections, KeySets
from proxy.model.request import AUTHORIZATION, BEHIND, TokenPlace

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
    sets: Mapping[str, KeySet]
    keys: KeySet
    thumbprint: str


class Shown(msgspec.Struct, frozen=True):
    """What a request shows of who asks; at least one of the first two is there."""

    token: tuple[TokenPlace, str] | None
    """The raw token, and where it stood."""
    identity: CertificateIdentity | None
    """Whose certificate is at the other end of the connection."""
    behind: str | None = None
    """The raw token of the person for whom the caller acts."""


class _Kept(msgspec.Struct, frozen=True):
    caller: Caller
    speaking: Speaking
    since: float
    until: float
    """It is the caller in [since, until), seconds since 1970: no longer than it is vouched for."""
    issuer_id: str
    sets: Mapping[str, KeySet]
    """All key sets as they stood: while they do, nothing has become of these keys."""
    keys: KeySet
    key_id: str | None
    algorithm: str
    thumbprint: str
    """Of the key that verified it."""
    place: TokenPlace
    certificate_thumbprint: str | None
    """Of the certificate that the token is bound to; None: it is bound to none."""


class Callers:
    """Resolves what requests show, for one snapshot.

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
        self._services: dict[tuple[str, Part], Speaking] = {}
        self._joined: dict[tuple[str, str, str], tuple[tuple[Speaking, ...], Caller]] = {}

    def resolve(  # noqa: PLR0917 - defaults by keyword alone cost as much as the look-up
        self,
        raw_token: str,
        keys: KeySets,
        now: float,
        met: frozenset[CallerNeed] = NOTHING_MET,
        place: TokenPlace = AUTHORIZATION,
        certificate_thumbprint: str | None = None,
    ) -> Caller | Reason | CallerNeed:
        """Resolve one raw token, with which nothing else is shown.

        Args:
            raw_token: the credential.
            keys: the issuers' key sets.
            now: the request's reading of the clock.
            met: the needs that have been met for this request already; none of them is raised again.
            place: where the token stood in the request.
            certificate_thumbprint: base64url of the SHA-256 of the caller's TLS certificate, None if it showed none.
        """
        try:
            kept = self._kept[raw_token]
            if (
                kept.since <= now < kept.until
                and (keys.sets is kept.sets or keys.sets[kept.issuer_id] is kept.keys)
                and kept.place == place
                and (kept.certificate_thumbprint is None or kept.certificate_thumbprint == certificate_thumbprint)
            ):
                return kept.caller
        except KeyError:  # nobody is kept, or the issuer has no keys: the common case pays nothing for the question
            pass
        return self._resolve_anew(raw_token, keys, now, met, place, certificate_thumbprint)

    def _resolve_anew(  # noqa: PLR0917 - as above
        self,
        raw_token: str,
        keys: KeySets,
        now: float,
        met: frozenset[CallerNeed],
        place: TokenPlace,
        certificate_thumbprint: str | None,
    ) -> Caller | Reason | CallerNeed:
        kept = self._kept.get(raw_token)
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
        speaking = self._speak(verified, now)
        caller = join(speaking, self._registers.at(now))
        self._keep(raw_token, verified, speaking, caller, min(until, speaking.boundary, speaking.until))
        return caller

    def resolve_shown(
        self, shown: Shown, keys: KeySets, now: float, met: frozenset[CallerNeed] | None = NOTHING_MET
    ) -> Caller | Reason | CallerNeed:
        """Resolve everything that a request shows.

        Args:
            shown: by the request.
            keys: the issuers' key sets.
            now: the request's reading of the clock.
            met: the needs that have been met for this request already; None: nothing can be asked any more.
        """
        thumbprint = None if shown.identity is None else shown.identity.thumbprint
        if shown.identity is None and shown.behind is None and shown.token is not None:
            place, raw_token = shown.token
            if met is not None:
                return self.resolve(raw_token, keys, now, met, place)
            return self.revisit(raw_token, keys, now, place)
        parts = []
        if shown.token is not None:
            place, raw_token = shown.token
            parts.append(self._find(raw_token, keys, now, met, place=place, thumbprint=thumbprint))
        if shown.behind is not None:
            parts.append(self._find(shown.behind, keys, now, met, place=BEHIND, thumbprint=None))
        unresolved = [part for part in parts if not isinstance(part, Speaking)]
        if unresolved:  # nobody is asked about what is refused anyway
            return next((part for part in unresolved if isinstance(part, Reason)), unresolved[0])
        return self._join(shown, tuple(part for part in parts if isinstance(part, Speaking)), now)

    def revisit(
        self,
        raw_token: str,
        keys: KeySets,
        now: float,
        place: TokenPlace = AUTHORIZATION,
        certificate_thumbprint: str | None = None,
    ) -> Caller | Reason | CallerNeed:
        """Resolve the lone token of a request that is under way, when nothing can be asked any more."""
        found = self._find(raw_token, keys, now, None, place=place, thumbprint=certificate_thumbprint)
        if not isinstance(found, Speaking):
            return found
        kept = self._kept.get(raw_token)
        is_kept = kept is not None and kept.speaking is found
        return kept.caller if kept is not None and is_kept else join(found, self._registers.at(now))

    def _join(self, shown: Shown, parts: tuple[Speaking, ...], now: float) -> Caller | Reason:
        """Return the caller that several credentials make up; it is the same value as long as they are."""
        identity = shown.identity
        if identity is not None:
            part = Part.CALLER if shown.token is None else Part.CONNECTION
            parts = (*parts, self._service(identity, part, now))
        token = "" if shown.token is None else shown.token[1]
        key = (token, shown.behind or "", "" if identity is None else identity.thumbprint)
        kept = self._joined.get(key)
        if kept is not None and len(kept[0]) == len(parts) and all(map(operator.is_, kept[0], parts)):
            return kept[1]
        speaking = _speak_together(shown, parts)
        if isinstance(speaking, Reason):
            return speaking
        caller = join(speaking, self._registers.at(now))
        if len(self._joined) >= MAX_KEPT:
            self._joined.clear()
        self._joined[key] = (parts, caller)
        return caller

    def _service(self, identity: CertificateIdentity, part: Part, now: float) -> Speaking:
        """Return the service whose certificate it is; it says its name, and the register of clients the rest."""
        key = (identity.thumbprint, part)
        speaking = self._services.get(key)
        is_current = speaking is not None and speaking.until == identity.until  # else another CA vouches for it now
        if speaking is None or not is_current or not speaking.since <= now < speaking.boundary:
            if len(self._services) >= MAX_KEPT:
                self._services.clear()
            register = self._registers.at(now)
            found = speak_of_service(identity, self._registers, part, now)
            speaking = msgspec.structs.replace(found, since=register.since, boundary=register.until)
            self._services[key] = speaking
        return speaking

    def _find(
        self,
        raw_token: str,
        keys: KeySets,
        now: float,
        met: frozenset[CallerNeed] | None,
        *,
        place: TokenPlace,
        thumbprint: str | None,
    ) -> Speaking | Reason | CallerNeed:
        """Return everybody of whom one raw token speaks.

        Where nothing can be asked any more (``met`` is None): that its issuer has not been asked of late does not end a
        request; that it last said no does.
        """
        asked: frozenset[CallerNeed] = NOTHING_MET if met is None else met
        found = self.resolve(raw_token, keys, now, asked, place, thumbprint)
        if met is None and isinstance(found, KeysNeeded):
            asked = frozenset({found})
            found = self.resolve(raw_token, keys, now, asked, place, thumbprint)
        if isinstance(found, Caller):
            return self._kept[raw_token].speaking
        if met is not None or isinstance(found, Reason):
            return found
        verified = self._verify(raw_token, keys, now, met=asked, place=place, certificate_thumbprint=thumbprint)
        if not isinstance(verified, _Verified):
            return Reason.KEYS_UNAVAILABLE if isinstance(verified, KeysNeeded) else verified
        answer = self._last_answer(verified.token.issuer, raw_token)
        refused = None if answer is None else judge_introspected(answer, verified.claims, verified.token.issuer)
        return refused or self._speak(verified, now)

    def _carry_over(self, raw_token: str, kept: _Kept, keys: KeySets) -> bool:
        """Keep a caller under another set of keys, if there too its key is the one that would verify its token."""
        sets = keys.sets
        current: KeySet | None = sets.get(kept.issuer_id)
        if current is None or current is kept.keys:
            return False
        key = current.find(kept.key_id, kept.algorithm)
        if key is None or key.thumbprint != kept.thumbprint:
            del self._kept[raw_token]
            return False
        self._kept[raw_token] = msgspec.structs.replace(kept, sets=sets, keys=current)
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
        sets = keys.sets
        current: KeySet | None = sets.get(token.issuer.id)
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
        revoked = self._revoked.judge(token.issuer.id, claims, self._name_actors(token.issuer, claims))
        return revoked or _Verified(token, claims, sets, current, key.thumbprint)

    def _name_actors(self, issuer: Issuer, claims: VerifiedClaims) -> list[tuple[str, str]]:
        """Return issuer id and ``sub`` of a token's actors, as far as their issuers are declared."""
        actors = find_actors(claims) or ()
        named = [(self._issuers.get(each["iss"]) if "iss" in each else issuer, each["sub"]) for each in actors]
        return [(known.id, subject) for known, subject in named if known is not None]

    def _ask(
        self, verified: _Verified, raw_token: str, now: float, met: frozenset[CallerNeed]
    ) -> float | Reason | IntrospectionNeeded:
        """Return until when the issuer's word holds that the token is active."""
        issuer = verified.token.issuer
        if issuer.introspection is None:
            return math.inf
        answer = self._last_answer(issuer, raw_token)
        if answer is None or not now < answer.until:
            need = IntrospectionNeeded(issuer.id, _digest(raw_token), raw_token)
            return Reason.INTROSPECTION_UNAVAILABLE if need in met else need
        return judge_introspected(answer, verified.claims, issuer) or answer.until

    def _last_answer(self, issuer: Issuer, raw_token: str) -> Introspected | None:
        if issuer.introspection is None or self._introspections is None:
            return None
        answer: Introspected | None = self._introspections.find(issuer.id, _digest(raw_token))
        return answer

    def _speak(self, verified: _Verified, now: float) -> Speaking:
        """Return everybody of whom a verified token speaks."""
        issuer, claims = verified.token.issuer, verified.claims
        speaking = speak(issuer, claims, self._issuers, self._registers, now)
        register = self._registers.at(now)
        return msgspec.structs.replace(
            speaking,
            until=min(speaking.until, claims["exp"] + issuer.leeway),
            since=max(speaking.since, register.since),
            boundary=min(speaking.boundary, register.until),
        )

    def _keep(self, raw_token: str, verified: _Verified, speaking: Speaking, caller: Caller, until: float) -> None:
        if len(self._kept) >= MAX_KEPT:
            for oldest in list(self._kept)[: MAX_KEPT // 8]:
                del self._kept[oldest]
        token = verified.token
        self._kept[raw_token] = _Kept(
            caller=caller,
            speaking=speaking,
            since=speaking.since,
            until=float(until),  # an int is slower to compare with
            issuer_id=token.issuer.id,
            sets=verified.sets,
            keys=verified.keys,
            key_id=token.key_id,
            algorithm=token.algorithm,
            thumbprint=verified.thumbprint,
            place=token.place,
            certificate_thumbprint=bound_certificate(verified.claims),
        )


def _speak_together(shown: Shown, parts: Sequence[Speaking]) -> Speaking | Reason:
    """Return everybody of whom the parts speak: the caller's token, that of the person behind, the connection."""
    left = list(parts)
    service = left.pop() if shown.identity is not None else None
    person = left.pop() if shown.behind is not None else None
    speaking = left.pop() if left else service
    if speaking is None:
        return Reason.TOKEN_MISSING
    if service is not None and speaking is not service:
        others = (*speaking.others, service.caller)
        until = min(speaking.until, service.until)
        speaking = msgspec.structs.replace(speaking, others=others, until=until)
    return speaking if person is None else speak_both(speaking, person)


def _digest(raw_token: str) -> str:
    """Return what a token is known by where it is not kept itself."""
    return hashlib.sha256(raw_token.encode()).hexdigest()
