# SPDX-License-Identifier: Apache-2.0
"""The law of tokens: signed JWTs in compact form (RFC 7519, RFC 7515), checked by RFC 8725.

The steps, numbered as below. PyJWT's algorithms do step 6 and nothing else.

1. The credential stands at one place: one ``Bearer`` in ``Authorization`` (RFC 6750 2.1, RFC 7235 2.1), or alone in a
   field or a cookie that the policy names. At two places it is refused (RFC 6750 2).
2. The token is three base64url parts of bounded length. Five parts are an encrypted token, and refused.
3. The header is one JSON object without repeated names. ``alg`` and ``typ`` are texts; ``crit``, ``b64``, ``cty``
   and every embedded or linked key (``jwk``, ``jku``, ``x5u``, ``x5c``) are refused.
4. ``iss`` is, to the letter, that of a declared issuer, which declares the place, the ``typ`` and the algorithm.
5. The key is one of that issuer's, by ``kid``, and pinned to the algorithm.
6. The signature verifies.
7. ``iss``, ``aud``, ``exp``, ``iat`` and ``sub`` are there and of their types, with ``typ: at+jwt`` stated also
   ``client_id`` and ``jti`` (RFC 9068 2.2). A token that speaks for somebody else (``act``, RFC 8693 4.1) is refused:
   whoever acts would be judged as whom they act for.
8. ``aud`` names us.
9. ``exp`` is ahead; ``iat`` and ``nbf`` are not, beyond the issuer's leeway; between ``iat`` and ``exp`` lies no more
   than its ``max_age``, so that no token is older than that either.
10. What it is bound to is shown (``confirmation``).
11. It is not revoked, and its issuer says so where it is to be asked (``revocation``).

RFC 8725, point by point: 3.1 algorithms, steps 4 and 5; 3.2 appropriate ones, ``issuers`` (asymmetric alone) and
``keys``; 3.3 all signatures, step 6 (nothing is nested, step 3); 3.4 inputs of curves, ``keys``; 3.5 keys, step 5 and
``keys``; 3.6 no compression, step 3 (``zip``); 3.7 UTF-8, steps 3 and 7 (``json_object``); 3.8 issuer and subject,
steps 4, 5 and 7; 3.9 audience, step 8; 3.10 no claim leads anywhere: ``kid`` is only compared, ``jku`` and ``x5u``
are refused, step 3; 3.11 explicit type, step 4; 3.12 rules that exclude each other, steps 1, 4 and 8.

What it does not do: fetch keys (``jwks``), map claims (``claims``).
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from proxy.caller.claims import VerifiedClaims
from proxy.caller.confirmation import check_confirmation
from proxy.caller.delegation import find_actors
from proxy.caller.issuers import ACCESS_TOKEN, PLAIN_TOKEN, Issuer
from proxy.caller.json_object import read_object
from proxy.caller.keys import KeySet, verify_signature
from proxy.model.decision import Reason
from proxy.model.request import AUTHORIZATION, BEHIND, Carried, TokenPlace

MAX_TOKEN_LENGTH: Final = 8192
"""As much as servers commonly take for one header field."""
MAX_NUMERIC_DATE: Final = 253402300799
"""The end of the year 9999: a date behind it is a mistake."""

_CREDENTIALS: Final = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9._~+/-]+=*)")
"""RFC 6750 2.1 ``b64token``; the scheme's letter case does not matter (RFC 7235 2.1)."""
_COMPACT: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
"""RFC 7515 7.1, without an empty signature."""
_ENCRYPTED: Final = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*){4}")
"""RFC 7516 7.1."""
_REFUSED_HEADER: Final = frozenset({"crit", "b64", "cty", "jwk", "jku", "x5u", "x5c", "enc", "zip"})


class UnverifiedToken(msgspec.Struct, frozen=True):
    """A token that reads as one. Nothing it says is to be believed yet."""

    issuer: Issuer
    """The declared issuer that it claims to be of."""
    algorithm: str
    type: str
    """In lower case, without ``application/`` (RFC 7515 4.1.9)."""
    place: TokenPlace
    key_id: str | None
    signing_input: bytes
    signature: bytes
    unverified_claims: Mapping[str, Any]


def read_credentials(authorization: str | None, carried: Carried = ()) -> tuple[TokenPlace, str] | Reason:
    """Return the raw token and where it stands (step 1).

    Args:
        authorization: the ``Authorization`` field.
        carried: what stands at the other places that the policy names.
    """
    if carried:
        return Reason.AUTHORIZATION_AMBIGUOUS if len(carried) > 1 or authorization is not None else carried[0]
    if authorization is None:
        return Reason.TOKEN_MISSING
    match = _CREDENTIALS.fullmatch(authorization)
    if match is None:
        return Reason.AUTHORIZATION_MALFORMED
    return AUTHORIZATION, match[1]


def parse_token(
    raw_token: str, issuers: Mapping[str, Issuer], place: TokenPlace = AUTHORIZATION
) -> UnverifiedToken | Reason:
    """Read a raw token up to the issuer it claims to be of (steps 2 to 4).

    Args:
        raw_token: the credential.
        issuers: the declared issuers by ``iss``.
        place: where it stood.
    """
    parts = _COMPACT.fullmatch(raw_token) if len(raw_token) <= MAX_TOKEN_LENGTH else None
    if parts is None:
        is_encrypted = len(raw_token) <= MAX_TOKEN_LENGTH and _ENCRYPTED.fullmatch(raw_token)
        return Reason.TOKEN_ENCRYPTED if is_encrypted else Reason.TOKEN_MALFORMED
    header, claims, signature = _read_part(parts[1]), _read_part(parts[2]), _decode(parts[3])
    if header is None or claims is None or not signature:
        return Reason.TOKEN_MALFORMED
    if not _is_header_supported(header):
        return Reason.TOKEN_HEADER_UNSUPPORTED
    claimed = claims.get("iss")
    issuer = issuers.get(claimed) if isinstance(claimed, str) else None
    if issuer is None:
        return Reason.TOKEN_ISSUER_UNDECLARED
    kind = header.get("typ", PLAIN_TOKEN).lower().removeprefix("application/")
    undeclared = _find_undeclared(issuer, place, kind, header["alg"])
    if undeclared is not None:
        return undeclared
    signing_input = raw_token[: parts.start(3) - 1].encode("ascii")
    return UnverifiedToken(issuer, header["alg"], kind, place, header.get("kid"), signing_input, signature, claims)


def _find_undeclared(issuer: Issuer, place: TokenPlace, kind: str, algorithm: str) -> Reason | None:
    if place not in {issuer.place, BEHIND}:
        return Reason.TOKEN_MISPLACED
    if kind not in issuer.types:
        return Reason.TOKEN_TYPE_OTHER
    return None if algorithm in issuer.algorithms else Reason.TOKEN_ALGORITHM_UNDECLARED


def verify_token(
    token: UnverifiedToken, keys: KeySet, now: float, certificate_thumbprint: str | None = None
) -> VerifiedClaims | Reason:
    """Check a token against its issuer's keys, the clock and what the caller has shown (steps 5 to 10).

    Args:
        token: as it was read.
        keys: its issuer's.
        now: the request's reading of the clock.
        certificate_thumbprint: of the caller's TLS certificate (``x5t#S256``); None if it showed none.
    """
    key = keys.find(token.key_id, token.algorithm)
    if key is None:
        return Reason.TOKEN_KEY_UNKNOWN
    if not verify_signature(key, token.algorithm, token.signing_input, token.signature):
        return Reason.TOKEN_SIGNATURE_WRONG
    claims, issuer = token.unverified_claims, token.issuer
    reason = (
        _check_claims(token)
        or _check_dates(claims, issuer, now)
        or check_confirmation(claims, certificate_thumbprint, is_required=issuer.is_bound)
    )
    return reason or VerifiedClaims(dict(claims))


def _check_claims(token: UnverifiedToken) -> Reason | None:
    """Return what is wrong with the claims themselves (steps 7 and 8)."""
    claims, issuer = token.unverified_claims, token.issuer
    audiences = read_audiences(claims.get("aud"))
    needed = ("sub", "client_id", "jti") if issuer.is_rfc9068 and token.type == ACCESS_TOKEN else ("sub",)
    if not audiences or not all(_has_text(claims, name) for name in needed) or not _has_dates(claims):
        return Reason.TOKEN_CLAIM_MISSING
    if "jti" in claims and not _has_text(claims, "jti"):
        return Reason.TOKEN_CLAIM_MISSING
    if find_actors(claims) is None:
        return Reason.TOKEN_DELEGATION_MALFORMED
    return None if audiences & issuer.audiences else Reason.TOKEN_AUDIENCE_OTHER


def _check_dates(claims: Mapping[str, Any], issuer: Issuer, now: float) -> Reason | None:
    """Return what is wrong with a token's time (step 9)."""
    if not now < claims["exp"] + issuer.leeway:  # also at a time that is not known (NaN)
        return Reason.TOKEN_EXPIRED
    if max(claims["iat"], claims.get("nbf", 0)) > now + issuer.leeway:
        return Reason.TOKEN_NOT_YET_VALID
    return Reason.TOKEN_LIFETIME_TOO_LONG if claims["exp"] - claims["iat"] > issuer.max_age else None


def _is_header_supported(header: Mapping[str, Any]) -> bool:
    kind = header.get("typ", PLAIN_TOKEN)
    return (
        isinstance(header.get("alg"), str)
        and isinstance(header.get("kid", ""), str)
        and isinstance(kind, str)
        and not _REFUSED_HEADER & header.keys()
    )


def _has_text(claims: Mapping[str, Any], name: str) -> bool:
    value = claims.get(name)
    return isinstance(value, str) and bool(value)


def _has_dates(claims: Mapping[str, Any]) -> bool:
    """Say whether ``exp`` and ``iat`` are there, and all dates are NumericDates (RFC 7519 2)."""
    dates = [claims.get("exp"), claims.get("iat"), claims.get("nbf", 0)]
    return all(type(value) in {int, float} and 0 <= value <= MAX_NUMERIC_DATE for value in dates)


def read_audiences(value: object) -> frozenset[str]:
    """Return the audiences (RFC 7519 4.1.3: one text or a list of them), none if they are neither."""
    if isinstance(value, str):
        return frozenset({value})
    if isinstance(value, list) and all(isinstance(audience, str) for audience in value):
        return frozenset(value)
    return frozenset()


def _decode(part: str) -> bytes | None:
    """Decode base64url without padding (RFC 7515 2); None if it is none."""
    try:
        data = urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        return None
    return data if urlsafe_b64encode(data).rstrip(b"=") == part.encode() else None


def _read_part(part: str) -> dict[str, Any] | None:
    """Read the JSON object of a part; None if it is none."""
    data = _decode(part)
    return None if data is None else read_object(data)
