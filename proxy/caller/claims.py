# SPDX-License-Identifier: Apache-2.0
"""Verified claims become caller attributes: mapped, typed, and cut down to what the issuer may assert.

A claim that is missing, of another type than its attribute, or outside what the issuer may assert is unknown.
Nothing is repaired: a number is no id, a country name is no country.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NewType

from jmespath.exceptions import JMESPathError

from proxy.caller.issuers import COUNTRIES, COUNTRY_SETS, TEXT_SETS, ClaimMapping, Issuer
from proxy.model.caller import KINDS
from proxy.model.country import parse_country
from proxy.model.facts import UNKNOWN, Fact, FactSet, State

VerifiedClaims = NewType("VerifiedClaims", dict[str, Any])
"""Claims of a token whose signature and every check of ``tokens`` have passed."""

MAX_VALUE_LENGTH: Final = 256
MAX_MEMBERS: Final = 1000


def map_claims(issuer: Issuer, claims: VerifiedClaims) -> dict[str, Fact[Any]]:
    """Return the caller attributes that the issuer's claims give; every declared one is there."""
    return {mapping.attribute: _read(mapping, claims) for mapping in issuer.mappings}


def assert_fact(attribute: str, raw: object, assertable: frozenset[str] | None) -> Fact[Any]:
    """Type one raw value of an attribute and cut it down to what may be asserted (None: anything)."""
    fact = _type(attribute, raw)
    if assertable is None or isinstance(fact, State):
        return fact
    if isinstance(fact, FactSet):
        allowed = fact.members & assertable
        return FactSet(allowed, fact.is_open or allowed != fact.members)
    return fact if fact in assertable else UNKNOWN


def _read(mapping: ClaimMapping, claims: Mapping[str, Any]) -> Fact[Any]:
    try:
        raw = mapping.claim.search(claims)
    except (JMESPathError, TypeError, ValueError, ArithmeticError, RecursionError):
        return UNKNOWN
    if raw is None:  # a claim that is kept elsewhere is not absent (OpenID Connect Core 5.6.2)
        return UNKNOWN if "_claim_names" in claims else mapping.absent
    return assert_fact(mapping.attribute, raw, mapping.assertable)


def _type(attribute: str, raw: object) -> Fact[Any]:
    if attribute in TEXT_SETS:
        return _type_set(raw, _text)
    if attribute in COUNTRY_SETS:
        return _type_set(raw, _country)
    read = _country if attribute in COUNTRIES else _kind if attribute == "kind" else _text
    value = read(raw)
    return UNKNOWN if value is None else value


def _type_set(raw: object, read: Callable[[object], str | None]) -> Fact[FactSet]:
    if not isinstance(raw, list) or len(raw) > MAX_MEMBERS:
        return UNKNOWN
    members = [read(value) for value in raw]
    return FactSet(frozenset(value for value in members if value is not None), None in members)


def _text(raw: object) -> str | None:
    return raw if isinstance(raw, str) and 0 < len(raw) <= MAX_VALUE_LENGTH else None


def _country(raw: object) -> str | None:
    return parse_country(raw) if isinstance(raw, str) else None


def _kind(raw: object) -> str | None:
    return raw if isinstance(raw, str) and raw in KINDS else None
