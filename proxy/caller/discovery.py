# SPDX-License-Identifier: Apache-2.0
"""Where an issuer's keys are, by its own metadata (OpenID Connect Discovery 1.0, RFC 8414).

- The metadata must be of that very issuer, to the letter (Discovery 4.3, RFC 8414 3.3): else one issuer's keys would
  verify for another.
- It leads to ``https`` or loopback, and to the issuer's own host unless the policy names another: whoever can write
  the document does not choose whom the gateway asks.
"""

from typing import Any, Final
from urllib.parse import SplitResult, urlsplit  # noqa: TID251 - places of keys, not request targets

from proxy.caller.issuers import Issuer, parse_endpoint
from proxy.caller.json_object import read_object
from proxy.errors import KeySetError

_OPENID: Final = "/.well-known/openid-configuration"
_OAUTH: Final = "/.well-known/oauth-authorization-server"


def metadata_places(issuer: str) -> tuple[str, str]:
    """Return where an issuer's metadata is: by OpenID Connect (4.1, behind its path), by RFC 8414 (3.1, before)."""
    parts = urlsplit(issuer)
    return issuer.rstrip("/") + _OPENID, f"{parts.scheme}://{parts.netloc}{_OAUTH}{parts.path.rstrip('/')}"


def read_metadata(document: bytes, issuer: Issuer) -> str:
    """Return where the metadata says that the keys are.

    Raises:
        KeySetError: it is no metadata of this issuer, or leads to where keys may not be fetched.
    """
    metadata: dict[str, Any] | None = read_object(document)
    if metadata is None:
        raise KeySetError("its metadata is no JSON object")
    if metadata.get("issuer") != issuer.issuer:
        raise KeySetError("its metadata is another issuer's")
    place = metadata.get("jwks_uri")
    if not isinstance(place, str):
        raise KeySetError("its metadata names no jwks_uri")
    try:
        parse_endpoint(place)
        found, own = urlsplit(place), urlsplit(issuer.issuer)
        is_known = _host(found) in {_host(own), *issuer.key_hosts}
    except ValueError as error:
        raise KeySetError("its metadata names a jwks_uri that is no https:// URL") from error
    if not is_known or not place.isascii() or not place.isprintable():
        raise KeySetError("its metadata names a jwks_uri on a host that `jwks_hosts` does not list")
    return place


def _host(parts: SplitResult) -> str:
    """Return host and port, the scheme's own port left out."""
    port = parts.port
    host = (parts.hostname or "").lower()
    return host if port in {None, 443 if parts.scheme == "https" else 80} else f"{host}:{port}"
