# SPDX-License-Identifier: Apache-2.0
"""The law of bearer tokens: signed JWTs in compact form (RFC 7519, RFC 7515), checked by RFC 8725.

The steps, numbered as below. PyJWT's algorithms do step 6 and nothing else.

1. The ``Authorization`` field is one ``Bearer`` credential (RFC 6750 2.1, RFC 7235 2.1).
2. The token is three base64url parts of bounded length.
3. The header is one JSON object without repeated names. ``alg`` is text; ``typ``, if there, says JWT; ``crit``,
   ``b64``, ``cty`` and every embedded or linked key (``jwk``, ``jku``, ``x5u``, ``x5c``) are refused
   (RFC 8725 3.1, 3.10; RFC 7515 4.1.11).
4. ``iss`` is, to the letter, that of a declared issuer (RFC 8725 3.8), which declares the algorithm.
5. The key is one of that issuer's, by ``kid``, and pinned to the algorithm (RFC 8725 3.5).
6. The signature verifies.
7. ``iss``, ``aud``, ``exp``, ``iat`` and ``sub`` are there and of their types; so are the actors of a token that
   speaks for somebody else (``act``, RFC 8693 4.1): ``speaking`` judges whoever acts, and whom they act for.
8. ``aud`` names us (RFC 8725 3.9).
9. ``exp`` is ahead; ``iat`` and ``nbf`` are not, beyond a small leeway.

What it does not do: fetch keys (``jwks``), map claims (``claims``).
"""

import json
import math
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from proxy.caller.claims import VerifiedClaims
from proxy.caller.delegation import find_actors
from proxy.caller.issuers import Issuer
from proxy.caller.keys import KeySet, verify_signature
from proxy.model.decision import Reason

MAX_TOKEN_LENGTH: Final = 8192
"""As much as servers commonly take for one header field."""
LEEWAY_SECONDS: Final = 30
"""For clocks that differ; RFC 7519 4.1.4: "usually no more than a few minutes"."""
MAX_NUMERIC_DATE: Final = 253402300799
"""The end of the year 9999: a date behind it is a mistake."""

_CREDENTIALS: Final = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9._~+/-]+=*)")
"""RFC 6750 2.1 ``b64token``; the scheme's letter case does not matter (RFC 7235 2.1)."""
_COMPACT: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
"""RFC 7515 7.1, without an empty signature."""
_REFUSED_HEADER: Final = frozenset({"crit", "b64", "cty", "jwk", "jku", "x5u", "x5c", "enc", "zip"})
_TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt", "application/jwt"})


class UnverifiedToken(msgspec.Struct, frozen=True):
    """A token that reads as one. Nothing it says is to be believed yet."""

    issuer: Issuer
    """The declared issuer that it claims to be of."""
    algorithm: str
    key_id: str | None
    signing_input: bytes
    signature: bytes
    unverified_claims: Mapping[str, Any]


def read_credentials(authorization: str | None) -> str | Reason:
    """Return the raw token of an ``Authorization`` field (step 1)."""
    if authorization is None:
        return Reason.TOKEN_MISSING
    match = _CREDENTIALS.fullmatch(authorization)
    if match is None:
        return Reason.AUTHORIZATION_MALFORMED
    return match[1]


def parse_token(raw_token: str, issuers: Mapping[str, Issuer]) -> UnverifiedToken | Reason:
    """Read a raw token up to the issuer it claims to be of (steps 2 to 4).

    Args:
        raw_token: the credential.
        issuers: the declared issuers by ``iss``.
    """
    parts = _COMPACT.fullmatch(raw_token) if len(raw_token) <= MAX_TOKEN_LENGTH else None
    if parts is None:
        return Reason.TOKEN_MALFORMED
    header, claims, signature = _read_object(parts[1]), _read_object(parts[2]), _decode(parts[3])
    if header is None or claims is None or not signature:
        return Reason.TOKEN_MALFORMED
    if not _is_header_supported(header):
        return Reason.TOKEN_HEADER_UNSUPPORTED
    claimed = claims.get("iss")
    issuer = issuers.get(claimed) if isinstance(claimed, str) else None
    if issuer is None:
        return Reason.TOKEN_ISSUER_UNDECLARED
    if header["alg"] not in issuer.algorithms:
        return Reason.TOKEN_ALGORITHM_UNDECLARED
    signing_input = raw_token[: parts.start(3) - 1].encode("ascii")
    return UnverifiedToken(issuer, header["alg"], header.get("kid"), signing_input, signature, claims)


def verify_token(  # noqa: PLR0911 - one return a step
    token: UnverifiedToken, keys: KeySet, now: float
) -> VerifiedClaims | Reason:
    """Check a token against its issuer's keys and the clock (steps 5 to 9)."""
    key = keys.find(token.key_id, token.algorithm)
    if key is None:
        return Reason.TOKEN_KEY_UNKNOWN
    if not verify_signature(key, token.algorithm, token.signing_input, token.signature):
        return Reason.TOKEN_SIGNATURE_WRONG
    claims = token.unverified_claims
    audiences = _read_audiences(claims.get("aud"))
    if not audiences or not _has_text(claims, "sub") or not _has_dates(claims):
        return Reason.TOKEN_CLAIM_MISSING
    if find_actors(claims) is None:
        return Reason.TOKEN_DELEGATION_MALFORMED
    if not audiences & token.issuer.audiences:
        return Reason.TOKEN_AUDIENCE_OTHER
    if now >= claims["exp"] + LEEWAY_SECONDS:
        return Reason.TOKEN_EXPIRED
    if max(claims["iat"], claims.get("nbf", 0)) > now + LEEWAY_SECONDS:
        return Reason.TOKEN_NOT_YET_VALID
    return VerifiedClaims(dict(claims))


def _is_header_supported(header: Mapping[str, Any]) -> bool:
    kind = header.get("typ", "JWT")
    return (
        isinstance(header.get("alg"), str)
        and isinstance(header.get("kid", ""), str)
        and isinstance(kind, str)
        and kind.lower() in _TYPES
        and not _REFUSED_HEADER & header.keys()
    )


def _has_text(claims: Mapping[str, Any], name: str) -> bool:
    value = claims.get(name)
    return isinstance(value, str) and bool(value)


def _has_dates(claims: Mapping[str, Any]) -> bool:
    """Say whether ``exp`` and ``iat`` are there, and all dates are NumericDates (RFC 7519 2)."""
    dates = [claims.get("exp"), claims.get("iat"), claims.get("nbf", 0)]
    return all(type(value) in {int, float} and 0 <= value <= MAX_NUMERIC_DATE for value in dates)


def _read_audiences(value: object) -> frozenset[str]:
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


def _read_object(part: str) -> dict[str, Any] | None:
    """Read a JSON object without repeated names, NaN or infinities; None if it is none."""
    data = _decode(part)
    try:
        text = (data or b"").decode("utf-8")
        value = json.loads(text, object_pairs_hook=_unrepeated, parse_constant=_refuse_constant, parse_float=_finite)
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate is no text
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse repeated names, which readers resolve differently (RFC 7519 4)."""
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name stands twice")
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no finite number")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
