# SPDX-License-Identifier: Apache-2.0
"""``X-Forwarded-Client-Cert``, as Envoy and Istio write it: a certificate that a trusted proxy has seen.

- One field, one element: a second one was written by somebody before our peer, who is not ours to believe.
- ``Cert`` alone is believed, and only as bytes that are then judged by the law of certificates; ``Subject``, ``URI``,
  ``DNS`` and ``By`` are somebody's reading of it.
- ``Hash`` must be there, once, and be the certificate's: proxies write names of a certificate without quotes, and a
  name that holds ``;Cert=`` would otherwise pass for the proxy's own words.
- Whoever shows no certificate has none; an element that has no ``Cert`` is refused.

Source: Envoy's manual, "HTTP header manipulation", x-forwarded-client-cert.
"""

import functools
import hashlib
import re
from base64 import b64decode
from typing import Final

from proxy.model.decision import Reason

MAX_KEPT: Final = 1024
"""Values kept as they were read: some twenty megabytes at most."""
ONCE: Final = frozenset({"hash", "cert", "chain", "subject"})
KEYS: Final = ONCE | {"by", "uri", "dns"}

_PAIR: Final = re.compile(r'([A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^",;]*))')
_ENCODED: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+/:@ -]|=|%[0-9A-Fa-f]{2})+")
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_PEM: Final = re.compile(
    r"-----BEGIN CERTIFICATE-----\r?\n((?:[A-Za-z0-9+/=]{1,76}\r?\n)+)-----END CERTIFICATE-----(?:\r?\n)?"
)
_HASH: Final = re.compile(r"[0-9A-Fa-f]{64}")


@functools.lru_cache(maxsize=MAX_KEPT)
def read_forwarded_certificate(value: str) -> bytes | Reason:
    """Return the certificate of a field's value, in DER, or the reason to refuse the request."""
    pairs = _split(value)
    if isinstance(pairs, Reason):
        return pairs
    said: dict[str, str] = {}
    for name, text in pairs:
        key = name.lower()
        if key not in KEYS or (key in ONCE and key in said):
            return Reason.FORWARDED_CERTIFICATE_MALFORMED
        said[key] = text
    if not said.get("cert"):
        return Reason.FORWARDED_CERTIFICATE_MISSING
    der = _decode(said["cert"])
    digest = said.get("hash", "")
    if der is None or not _HASH.fullmatch(digest) or hashlib.sha256(der).hexdigest() != digest.lower():
        return Reason.FORWARDED_CERTIFICATE_MALFORMED
    return der


def _split(value: str) -> list[tuple[str, str]] | Reason:
    """Return the pairs of the only element."""
    pairs = []
    place = 0
    while True:
        match = _PAIR.match(value, place)
        if match is None:
            return Reason.FORWARDED_CERTIFICATE_MALFORMED
        quoted = match[2]
        pairs.append((match[1], match[3] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)))
        place = match.end()
        if place == len(value):
            return pairs
        if value[place] == ",":
            return Reason.FORWARDED_CERTIFICATE_REPEATED
        if value[place] != ";":
            return Reason.FORWARDED_CERTIFICATE_MALFORMED
        place += 1


def _decode(text: str) -> bytes | None:
    """Return the DER of a percent-encoded PEM of one certificate."""
    if not _ENCODED.fullmatch(text):
        return None
    match = _PEM.fullmatch(_ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), text))
    if match is None:
        return None
    try:
        return b64decode("".join(match[1].split()), validate=True)
    except ValueError:
        return None
