# SPDX-License-Identifier: Apache-2.0
"""Key sets (RFC 7517): which keys of an issuer may verify which algorithms.

- The algorithms of a key are pinned here, from its type, curve and ``alg``, cut down to the issuer's own: a token
  never chooses (RFC 8725 3.1).
- A key that does not fit is left out, and why is kept for the operator. A set without a fitting key is an error.
- Private or symmetric material in a published set is refused: whoever can read it can sign.
"""

import hashlib
import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import get_default_algorithms
from jwt.exceptions import PyJWTError

from proxy.errors import KeySetError, KeysWithdrawnError

MAX_KEYS: Final = 100
MIN_RSA_BITS: Final = 2048
"""RFC 7518 3.3: a key of 2048 bits or larger MUST be used."""
MAX_RSA_BITS: Final = 8192
"""To verify costs the square of it: a key of a million bits would stop the gateway."""
MAX_EXPONENT_BITS: Final = 32
"""To verify costs as many steps; everybody uses 65537."""

_RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_BY_CURVE: Final = {
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
_P: Final = 2**255 - 19
"""The prime of Curve25519 (RFC 8032 5.1)."""
_EIGHTH: Final = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD83D3D706A17C7
_SMALL_ORDER: Final = frozenset({0, 1, _P - 1, _P, _P + 1, _EIGHTH, _P - _EIGHTH})
"""The y of all points of small order: a signature for such a key verifies whoever made it (RFC 8032 8.9)."""
_SECRET_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_IDENTIFYING: Final = {"RSA": ("e", "kty", "n"), "EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x")}
"""RFC 7638 3.2, RFC 8037 2."""
_VERIFIERS: Final = get_default_algorithms()


class VerificationKey(msgspec.Struct, frozen=True):
    """One public key, and the algorithms it may verify."""

    id: str | None
    algorithms: frozenset[str]
    material: Any
    thumbprint: str
    """RFC 7638: the same for the same key, whatever else is published of it."""


class KeySet(msgspec.Struct, frozen=True):
    """An issuer's keys as of one fetch."""

    generation: str
    """Changes whenever the content does."""
    keys: tuple[VerificationKey, ...]
    left_out: tuple[str, ...]
    """Why keys of the document were left out."""

    def find(self, key_id: str | None, algorithm: str) -> VerificationKey | None:
        """Return the key of that id, or the only one of the algorithm where a token names none."""
        fitting = [key for key in self.keys if algorithm in key.algorithms and key_id in {None, key.id}]
        return fitting[0] if len(fitting) == 1 else None


def verify_signature(key: VerificationKey, algorithm: str, signing_input: bytes, signature: bytes) -> bool:
    """Say whether the signature is the key's, by an algorithm that is pinned to it."""
    if algorithm not in key.algorithms:
        return False
    try:
        return bool(_VERIFIERS[algorithm].verify(signing_input, key.material, signature))
    except (PyJWTError, ValueError, TypeError):
        return False


def parse_key_set(document: bytes, algorithms: frozenset[str]) -> KeySet:
    """Read a JWK Set for an issuer that declares ``algorithms``.

    Raises:
        KeySetError: it is no JWK Set, or holds no key that fits.
    """
    try:
        parsed = json.loads(document)
        entries = parsed["keys"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise KeySetError("it is no JSON Web Key Set (RFC 7517): no list under `keys`") from error
    if not isinstance(entries, list) or len(entries) > MAX_KEYS:
        raise KeySetError(f"`keys` is no list of at most {MAX_KEYS} keys")
    keys: list[VerificationKey] = []
    left_out: list[str] = []
    for index, entry in enumerate(entries):
        read = _read_key(entry, algorithms)
        if isinstance(read, str):
            left_out.append(f"key {index}: {read}")
        elif read.id is not None and any(key.id == read.id for key in keys):
            left_out.append(f"key {index}: its kid stands twice")
        else:
            keys.append(read)
    if not entries:
        raise KeysWithdrawnError("it publishes no key at all")
    if not keys:
        raise KeySetError("it holds no key that fits" + (f" ({'; '.join(left_out[:3])})" if left_out else ""))
    content = document + " ".join(sorted(algorithms)).encode()
    return KeySet(hashlib.sha256(content).hexdigest()[:16], tuple(keys), tuple(left_out))


def _read_key(entry: object, algorithms: frozenset[str]) -> VerificationKey | str:
    """Return the key, or why it does not fit."""
    if not isinstance(entry, dict):
        return "no JSON object"
    misfit = _find_misfit(entry)
    if misfit:
        return misfit
    pinned = _pin(entry) & algorithms
    if not pinned:
        return f"its type {entry.get('kty')!a:.16} fits none of the issuer's algorithms"
    try:
        material: Any = _VERIFIERS[min(pinned)].from_jwk(entry)  # type: ignore[attr-defined,unused-ignore]
    except (PyJWTError, ValueError, TypeError, KeyError) as error:
        return f"unreadable ({type(error).__name__})"
    weakness = _find_weakness(material)
    return weakness or VerificationKey(entry.get("kid"), pinned, material, _thumbprint(material, min(pinned)))


def _thumbprint(material: Any, algorithm: str) -> str:
    """Return the SHA-256 of the key's own members, in their one form (RFC 7638 3)."""
    published = _VERIFIERS[algorithm].to_jwk(material, as_dict=True)
    members = {name: published[name] for name in _IDENTIFYING[published["kty"]]}
    digest = hashlib.sha256(json.dumps(members, sort_keys=True, separators=(",", ":")).encode()).digest()
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def _find_weakness(material: Any) -> str:
    if isinstance(material, RSAPublicKey) and material.key_size < MIN_RSA_BITS:
        return f"{material.key_size} bits are too few"
    if isinstance(material, RSAPublicKey) and material.key_size > MAX_RSA_BITS:
        return f"{material.key_size} bits are too many"
    if isinstance(material, RSAPublicKey) and not _is_exponent(material.public_numbers().e):
        return "its exponent is none that anybody uses"
    if isinstance(material, Ed25519PublicKey) and _is_small_order(material.public_bytes_raw()):
        return "anyone can sign for it: it is of small order"
    return ""


def _is_exponent(exponent: int) -> bool:
    return exponent >= 3 and exponent % 2 == 1 and exponent.bit_length() <= MAX_EXPONENT_BITS


def _is_small_order(point: bytes) -> bool:
    return int.from_bytes(point, "little") & (1 << 255) - 1 in _SMALL_ORDER


def _find_misfit(entry: Mapping[str, Any]) -> str:
    if _SECRET_MEMBERS & entry.keys():
        return "it publishes secret material"
    if entry.get("use", "sig") != "sig":
        return "its use is not sig"
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return "its key_ops lack verify"
    if not isinstance(entry.get("kid", ""), str):
        return "its kid is no text"
    return ""


def _pin(entry: Mapping[str, Any]) -> frozenset[str]:
    """Return the algorithms that a key's type, curve and ``alg`` leave."""
    kind, curve = entry.get("kty"), entry.get("crv")
    fitting = _RSA if kind == "RSA" else _BY_CURVE.get((str(kind), str(curve)), ())
    declared = entry.get("alg")
    return frozenset(name for name in fitting if declared is None or name == declared)
