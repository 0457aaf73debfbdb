# SPDX-License-Identifier: Apache-2.0
"""A bearer token becomes a ``Caller``, or a reason why not, or the need for an issuer's keys.

- Verified callers are kept in memory inside one snapshot, by the whole token. A kept caller dies with the
  snapshot, with the token's ``exp``, and with the generation of the key set that verified it.
- The cache is bounded; the oldest go first.
"""

from typing import Final

import msgspec

from proxy.caller.issuers import Issuer
from proxy.caller.keys import KeySet
from proxy.caller.parties import join
from proxy.caller.speaking import Registers, speak
from proxy.caller.tokens import LEEWAY_SECONDS, parse_token, verify_token
from proxy.model.caller import Caller
from proxy.model.decision import Reason
from proxy.model.ports import KeySets

MAX_KEPT: Final = 20_000
"""Callers kept in memory: some twenty megabytes with tokens of a common size, 160 with the largest."""


class KeysNeeded(msgspec.Struct, frozen=True):
    """The issuer's keys as they stand do not do: it has none, or not the one that a token names."""

    issuer_id: str


class _Kept(msgspec.Struct, frozen=True):
    caller: Caller
    issuer_id: str
    generation: str


class Callers:
    """Resolves tokens for one snapshot.

    Args:
        issuers: the declared issuers.
        registers: what the bundle says of people and programs.
    """

    def __init__(self, issuers: tuple[Issuer, ...], registers: Registers) -> None:
        self._issuers = {issuer.issuer: issuer for issuer in issuers}
        self._registers = registers
        self._kept: dict[str, _Kept] = {}

    def resolve(self, raw_token: str, keys: KeySets, now: float, *, refreshed: bool) -> Caller | Reason | KeysNeeded:
        """Resolve one raw token.

        Args:
            raw_token: the bearer credential.
            keys: the issuers' key sets.
            now: the request's reading of the clock.
            refreshed: whether a need for keys has been met for this request already; then it is not raised again.
        """
        kept = self._kept.get(raw_token)
        if kept is not None and now < kept.caller.until:
            current: KeySet | None = keys.current(kept.issuer_id, now)
            if current is not None and current.generation == kept.generation:
                return kept.caller
        return self._verify(raw_token, keys, now, refreshed=refreshed)

    def _verify(self, raw_token: str, keys: KeySets, now: float, *, refreshed: bool) -> Caller | Reason | KeysNeeded:
        token = parse_token(raw_token, self._issuers)
        if isinstance(token, Reason):
            return token
        current: KeySet | None = keys.current(token.issuer.id, now)
        if current is None:
            return Reason.KEYS_UNAVAILABLE if refreshed else KeysNeeded(token.issuer.id)
        claims = verify_token(token, current, now)
        if claims is Reason.TOKEN_KEY_UNKNOWN and not refreshed:
            return KeysNeeded(token.issuer.id)
        if isinstance(claims, Reason):
            return claims
        speaking = speak(token.issuer, claims, self._issuers, self._registers, now)
        until = min(speaking.until, token.unverified_claims["exp"] + LEEWAY_SECONDS)
        caller = join(msgspec.structs.replace(speaking, until=until), self._registers.affiliates)
        self._keep(raw_token, token.issuer.id, current, caller)
        return caller

    def _keep(self, raw_token: str, issuer_id: str, keys: KeySet, caller: Caller) -> None:
        if len(self._kept) >= MAX_KEPT:
            for oldest in list(self._kept)[: MAX_KEPT // 8]:
                del self._kept[oldest]
        self._kept[raw_token] = _Kept(caller, issuer_id, keys.generation)
