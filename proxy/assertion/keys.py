# SPDX-License-Identifier: Apache-2.0
"""The ring of keys that sign assertions: which of them signs when, and what of them is published.

A **ring** is a text file, one key a line: from when on it signs, its algorithm, its secret, 64 hexadecimal digits::

    2026-11-22T09:00:00.000Z EdDSA <secret>     Ed25519 (RFC 8037): the seed
    2026-12-22T09:00:00.000Z ES256 <secret>     ECDSA on P-256 (RFC 7518 3.4): the private scalar
    # comments and blank lines

The newest key that has begun signs; all are published, those to come as well, so that whoever verifies has them in
time. A key is named by its thumbprint (RFC 7638). No message holds a secret.
"""

import hashlib
import re
from base64 import urlsafe_b64encode
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

from proxy.clock import parse_instant, render_instant

TYPE: Final = "sekisho-decision+jwt"
"""``typ`` of every assertion (RFC 8725 3.11): no other kind of token is taken for one, nor one for another kind."""
EDDSA: Final = "EdDSA"
ES256: Final = "ES256"
ALGORITHMS: Final = (EDDSA, ES256)
MAX_KEYS: Final = 100
"""More are refused by others that read key sets, too."""
RETIRED_SECONDS: Final = 3600
"""How long a key is published after another signs: far longer than what it signed is valid."""
_SECRET_BYTES: Final = 32
_SECRET: Final = re.compile(rf"[0-9a-fA-F]{{{_SECRET_BYTES * 2}}}")
_SINCE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?Z")
_HEADER: Final = """\
# Keys that sign decisions for APIs: from when on each signs, its algorithm, its secret. Whoever has this file can make
# an API believe that the gateway let a request pass. `sekisho keys rotate FILE` adds a key, `sekisho keys export FILE`
# prints what whoever verifies needs.
"""


class AssertionKeyError(ValueError):
    """A text is no ring of keys; the message is a clause with the mend, without any secret."""


class AssertionKey:
    """One key that signs.

    Args:
        since: from when on, seconds since 1970.
        algorithm: of ``ALGORITHMS``.
        secret: 32 bytes.

    Raises:
        AssertionKeyError: these bytes are no key of the algorithm.
    """

    __slots__ = ("_ed25519", "_p256", "_secret", "algorithm", "head", "id", "public", "since")

    def __init__(self, since: float, algorithm: str, secret: bytes) -> None:
        self.since = since
        self.algorithm = algorithm
        self._secret = secret
        self._ed25519: Ed25519PrivateKey | None = None
        self._p256: ec.EllipticCurvePrivateKey | None = None
        try:
            if algorithm == EDDSA:
                self._ed25519 = Ed25519PrivateKey.from_private_bytes(secret)
            else:
                self._p256 = ec.derive_private_key(int.from_bytes(secret, "big"), ec.SECP256R1())
        except ValueError:
            raise AssertionKeyError(f"these digits are no key of {algorithm}") from None
        members = self._members()
        digest = hashlib.sha256(msgspec.json.encode(members, order="sorted")).digest()
        self.id = encode_base64url(digest).decode()
        """RFC 7638: the SHA-256 of the public key's own members, in their one form."""
        self.public: Mapping[str, str] = {**members, "use": "sig", "alg": algorithm, "kid": self.id}
        """As a JWK (RFC 7517)."""
        self.head = encode_base64url(msgspec.json.encode({"alg": algorithm, "kid": self.id, "typ": TYPE}))
        """The first part of all that it signs."""

    def __repr__(self) -> str:
        return f"AssertionKey(since={render_instant(self.since)}, algorithm={self.algorithm}, secret=***)"

    def _members(self) -> dict[str, str]:
        """Return what of the public key its thumbprint is made of (RFC 7638 3.2, RFC 8037 2)."""
        if self._ed25519 is not None:
            public = self._ed25519.public_key().public_bytes_raw()
            return {"crv": "Ed25519", "kty": "OKP", "x": encode_base64url(public).decode()}
        if self._p256 is None:
            raise AssertionError("a key is one of two kinds")
        point = self._p256.public_key().public_numbers()
        x, y = (encode_base64url(each.to_bytes(_SECRET_BYTES, "big")).decode() for each in (point.x, point.y))
        return {"crv": "P-256", "kty": "EC", "x": x, "y": y}

    @classmethod
    def generate(cls, since: float, algorithm: str) -> "AssertionKey":
        """Make a new key from the system's randomness."""
        if algorithm == EDDSA:
            return cls(since, algorithm, Ed25519PrivateKey.generate().private_bytes_raw())
        scalar = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value
        return cls(since, algorithm, scalar.to_bytes(_SECRET_BYTES, "big"))

    def sign(self, content: bytes) -> bytes:
        """Return the signature of RFC 8037 3.1 or RFC 7518 3.4: 64 bytes."""
        if self._ed25519 is not None:
            return self._ed25519.sign(content)
        if self._p256 is None:
            raise AssertionError("a key is one of two kinds")
        r, s = utils.decode_dss_signature(self._p256.sign(content, ec.ECDSA(SHA256())))
        return r.to_bytes(_SECRET_BYTES, "big") + s.to_bytes(_SECRET_BYTES, "big")

    def render(self) -> str:
        """Return its line."""
        return f"{render_instant(self.since)} {self.algorithm} {self._secret.hex()}"


class AssertionKeys:
    """A ring of keys.

    Args:
        keys: at least one.
    """

    def __init__(self, keys: Iterable[AssertionKey]) -> None:
        self._keys = tuple(sorted(keys, key=lambda key: key.since))
        if not self._keys:
            raise AssertionKeyError("it holds no key: `sekisho keys new FILE` makes a file that does")
        self._begins = [key.since for key in self._keys][1:]

    def __repr__(self) -> str:
        return f"AssertionKeys({self._keys})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AssertionKeys):
            return NotImplemented
        return self._begun == other._begun

    def __hash__(self) -> int:
        return hash(self._begun)

    @property
    def _begun(self) -> tuple[tuple[float, str], ...]:
        return tuple((key.since, key.id) for key in self._keys)

    def __iter__(self) -> Iterator[AssertionKey]:
        return iter(self._keys)

    def at(self, now: float) -> AssertionKey:
        """Return the key that signs at a moment, seconds since 1970; before the first has begun it is that one."""
        return self._keys[bisect_right(self._begins, now)]

    def publish(self) -> bytes:
        """Return the public keys as a JWK Set (RFC 7517 5)."""
        return msgspec.json.encode({"keys": [key.public for key in self._keys]})

    @classmethod
    def parse(cls, text: str) -> "AssertionKeys":
        """Read a ring.

        Raises:
            AssertionKeyError: it is none; names the line and the mend, never a secret.
        """
        keys: dict[str, AssertionKey] = {}
        for number, line in enumerate(text.split("\n"), start=1):
            if not _is_key_line(line):
                continue
            key = _read_key(number, line.split())
            if key.id in keys:
                raise AssertionKeyError(f"line {number}: this key stands in another line, too: delete one of them")
            if any(key.since == other.since for other in keys.values()):
                raise AssertionKeyError(f"line {number}: another key begins at the same instant: give them an order")
            keys[key.id] = key
        if len(keys) > MAX_KEYS:
            raise AssertionKeyError(f"it holds {len(keys)} keys, and {MAX_KEYS} are the most: delete old ones")
        return cls(keys.values())

    def rotate(self, text: str, new: AssertionKey, now: float) -> str:
        """Return the text of this ring with a new key, without those that have not signed for an hour.

        Comments stay as they are.

        Args:
            text: that this ring was read from.
            new: begins at an instant of its own.
            now: seconds since 1970.
        """
        begins = sorted([*self._begins, new.since])
        retired = {key.id for key in self._keys if _is_over(key, begins, now)}
        kept = [
            line
            for line in text.rstrip().split("\n")
            if not _is_key_line(line) or _read_key(0, line.split()).id not in retired
        ]
        return "".join(f"{line}\n" for line in (*kept, new.render()))


def make_ring_text(key: AssertionKey) -> str:
    """Return the text of a ring of one key."""
    return f"{_HEADER}{key.render()}\n"


def encode_base64url(data: bytes) -> bytes:
    """Return base64url without padding (RFC 7515 2)."""
    return urlsafe_b64encode(data).rstrip(b"=")


def _is_over(key: AssertionKey, begins: Iterable[float], now: float) -> bool:
    """Say whether another key has signed in the place of this one for long enough."""
    return any(key.since < begin <= now - RETIRED_SECONDS for begin in begins)


def _is_key_line(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _read_key(number: int, words: list[str]) -> AssertionKey:
    # Whatever stands there may be a secret, so it is not shown.
    if len(words) != 3:
        raise AssertionKeyError(
            f"line {number}: {len(words)} words where three stand: an instant, an algorithm and a secret; put # before "
            "a comment"
        )
    since, algorithm, secret = words
    if not _SINCE.fullmatch(since):
        raise AssertionKeyError(f"line {number}: it does not begin with an instant such as 2026-11-22T09:00:00Z")
    if algorithm not in ALGORITHMS:
        raise AssertionKeyError(f"line {number}: its second word is neither {EDDSA} nor {ES256}")
    if not _SECRET.fullmatch(secret):
        raise AssertionKeyError(
            f"line {number}: the secret is not {_SECRET_BYTES * 2} hexadecimal digits, but {len(secret)} characters: "
            "take the line from a copy"
        )
    try:
        return AssertionKey(parse_instant(since), algorithm, bytes.fromhex(secret))
    except AssertionKeyError as error:
        raise AssertionKeyError(f"line {number}: {error}: take the line from a copy") from None
    except ValueError:
        raise AssertionKeyError(f"line {number}: it begins with no instant that exists") from None
