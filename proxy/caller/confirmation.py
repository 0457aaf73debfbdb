# SPDX-License-Identifier: Apache-2.0
"""Tokens that are bound to who may use them (``cnf``, RFC 7800): here, to a TLS certificate (RFC 8705 3.1).

A token that says it is bound is always held to it, whether its issuer promises that or not. One that is bound to what
cannot be checked here (a DPoP key, say) is refused: it would be worth as much to whoever stole it.
"""

from collections.abc import Mapping
from typing import Any, Final

from proxy.model.decision import Reason

_CERTIFICATE: Final = "x5t#S256"
"""Base64url of the SHA-256 of the certificate's DER form."""


def check_confirmation(
    claims: Mapping[str, Any], certificate_thumbprint: str | None, *, is_required: bool
) -> Reason | None:
    """Return why a token may not be used by this caller; None if it may.

    Args:
        claims: of a token whose signature verifies.
        certificate_thumbprint: base64url of the SHA-256 of the caller's certificate; None if it showed none.
        is_required: whether its issuer promises that its tokens are bound.
    """
    if "cnf" not in claims:
        return Reason.TOKEN_UNBOUND if is_required else None
    bound_to = bound_certificate(claims)
    if bound_to is None:
        return Reason.TOKEN_CONFIRMATION_UNSUPPORTED
    if certificate_thumbprint is None:
        return Reason.TOKEN_CERTIFICATE_MISSING
    return None if certificate_thumbprint == bound_to else Reason.TOKEN_CERTIFICATE_OTHER


def bound_certificate(claims: Mapping[str, Any]) -> str | None:
    """Return the thumbprint of the one certificate that a token is bound to; None if there is none, or more."""
    confirmation = claims.get("cnf")
    if not isinstance(confirmation, dict) or confirmation.keys() != {_CERTIFICATE}:
        return None
    thumbprint = confirmation[_CERTIFICATE]
    return thumbprint if isinstance(thumbprint, str) and thumbprint else None
