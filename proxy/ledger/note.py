# SPDX-License-Identifier: Apache-2.0
"""Signed notes (c2sp.org/signed-note) with Ed25519: a text, a blank line, and a line for each signature.

A key is called by its name and its id together; the id is made of name and public key. Keys are written as Go's
``sumdb/note`` writes them, so that other tools of transparency logs can read them::

    example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k     a verifier key
    PRIVATE+KEY+<name>+<id>+<base64 of 0x01 and the 32 secret bytes>          a signing key
"""

import base64
import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from proxy.ledger.parts import find_part, join_name

MAX_NOTE_CHARS: Final = 1_000_000
MAX_SIGNATURES: Final = 100
"""More are refused; the specification asks for at least 16."""
_ED25519: Final = b"\x01"
_KEY_BYTES: Final = 32
_ID_BYTES: Final = 4
_DASH: Final = "\u2014 "
_SECRET: Final = "PRIVATE+KEY+"  # noqa: S105 - how a signing key begins, not one
_CONTROLS: Final = frozenset(map(chr, range(0x20))) - {"\n"}


class NoteError(ValueError):
    """A note, a key or a checkpoint is not well formed, or not to be believed; says why in a clause."""


class UnverifiedError(NoteError):
    """A note in good order that nobody signed who is believed."""


class VerifierKey(msgspec.Struct, frozen=True):
    """What tells whether a signature of a name is true."""

    name: str
    public: bytes
    """32 bytes (RFC 8032)."""

    @property
    def key_id(self) -> bytes:
        """The four bytes that stand before each of its signatures."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:_ID_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(_ED25519 + self.public)}"

    @classmethod
    def parse(cls, text: str) -> "VerifierKey":
        """Read a verifier key.

        Raises:
            NoteError: it is none.
        """
        if text.startswith(_SECRET):
            raise NoteError("this is a signing key, which is secret; a verifier key is asked for")
        key = cls(*_split_key(text, "a verifier key has the form NAME+ID+KEY"))
        _check_id(text.split("+")[1], key)
        return key

    def of_part(self, part: str) -> "VerifierKey":
        """Return what verifies the ledger of one replica or worker, which this key signs under a name of its own."""
        return VerifierKey(join_name(self.name, part), self.public)

    def accepts(self, text: str, signature: bytes) -> bool:
        """Tell whether this key made a signature over a note's text."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text.encode())
        except (InvalidSignature, ValueError):
            return False
        return True


class SigningKey:
    """Signs notes under a name.

    Args:
        name: as verifiers know it.
        seed: 32 secret bytes (RFC 8032).

    Raises:
        NoteError: the name or the seed cannot be one.
    """

    __slots__ = ("_private", "_seed", "_signs_as", "verifier")

    def __init__(self, name: str, seed: bytes) -> None:
        problem = check_name(name)
        if problem:
            raise NoteError(problem)
        if len(seed) != _KEY_BYTES:
            raise NoteError(f"a signing key has {_KEY_BYTES} secret bytes, not {len(seed)}")
        self._seed = seed
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = VerifierKey(name, self._private.public_key().public_bytes_raw())
        self._signs_as = self.verifier.key_id

    def __repr__(self) -> str:
        return f"SigningKey(name={self.name!r}, seed=***)"

    @property
    def name(self) -> str:
        """The name under which it signs."""
        return self.verifier.name

    def of_part(self, part: str) -> "SigningKey":
        """Return this key under the name of a replica's or worker's ledger: no two trees may have one name."""
        return SigningKey(join_name(self.name, part), self._seed)

    @classmethod
    def generate(cls, name: str) -> "SigningKey":
        """Make a new key from the system's randomness.

        Raises:
            NoteError: the name cannot be one.
        """
        return cls(name, Ed25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def parse(cls, text: str) -> "SigningKey":
        """Read a signing key. No message ever holds a part of it.

        Raises:
            NoteError: it is none.
        """
        form = "a signing key has the form PRIVATE+KEY+NAME+ID+SECRET"
        if not text.startswith(_SECRET):
            meant = "; this looks like the verifier key that goes with it" if text.count("+") > 1 else ""
            raise NoteError(f"{form}{meant}")
        rest = text.removeprefix(_SECRET)
        key = cls(*_split_key(rest, form))
        _check_id(rest.split("+")[1], key.verifier)
        return key

    def render(self) -> str:
        """Return the secret text that ``parse`` reads."""
        verifier = self.verifier
        return f"{_SECRET}{verifier.name}+{verifier.key_id.hex()}+{encode_base64(_ED25519 + self._seed)}"

    def sign(self, text: str) -> str:
        """Return a note: the text with this key's signature under it.

        Raises:
            NoteError: the text cannot be a note's.
        """
        problem = _check_text(text)
        if problem:
            raise NoteError(problem)
        signature = encode_base64(self._signs_as + self._private.sign(text.encode()))
        return f"{text}\n{_DASH}{self.name} {signature}\n"


class OpenedNote(msgspec.Struct, frozen=True):
    """A note whose text is believed."""

    text: str
    keys: tuple[VerifierKey, ...]
    """Those of the asked keys that signed it."""


def open_note(note: str, keys: Sequence[VerifierKey]) -> OpenedNote:
    """Verify a note.

    Signatures of keys that are not asked for are passed over, also where they share a name or an id with one that is.
    A key that is asked for signs for the ledgers of its replicas and workers, too (``parts``).

    Args:
        note: the whole note.
        keys: those that are believed.

    Raises:
        NoteError: it is no note, one of ``keys`` did not make the signature that is under its name, or none signed.
    """
    text, signatures = _split_note(note)
    known = {(key.name, key.key_id): key for key in keys}
    verified: dict[VerifierKey, None] = {}
    for name, key_id, signature in signatures:
        key = known.get((name, key_id)) or _find_of_part(name, key_id, keys)
        if key is None:
            continue
        if not key.accepts(text, signature):
            raise NoteError(f"the signature of {name}+{key_id.hex()} does not fit the text")
        verified[key] = None
    if not verified:
        signed = ", ".join(f"{name}+{key_id.hex()}" for name, key_id, _ in signatures[:3])
        more = ", and others" if len(signatures) > 3 else ""
        raise UnverifiedError(f"none of the given keys signed the note; it is signed by {signed}{more}")
    return OpenedNote(text, tuple(verified))


def _find_of_part(name: str, key_id: bytes, keys: Sequence[VerifierKey]) -> VerifierKey | None:
    """Return the key of a replica's or worker's ledger where one of ``keys`` is that key but for the name."""
    found = (key.of_part(part) for key in keys if (part := find_part(name, key.name)))
    return next((key for key in found if key.key_id == key_id), None)


def read_unverified(note: str) -> str:
    """Return the text of a note that nobody vouches for: what it says may be anybody's.

    Raises:
        NoteError: it is no note.
    """
    return _split_note(note)[0]


def check_name(name: str) -> str:
    """Return why a text cannot be the name of a key; empty where it can."""
    if not name:
        return "the name of a key is not empty"
    if any(each.isspace() or each == "+" or each in _CONTROLS for each in name):
        return f"the name of a key has no space, no plus and no control character: {name!r}"
    if not _is_utf8(name):
        return f"the name of a key is valid UTF-8: {name!r}"
    return ""


def encode_base64(data: bytes) -> str:
    """Return the Base 64 of RFC 4648 section 4."""
    return base64.b64encode(data).decode("ascii")


def decode_base64(text: str) -> bytes:
    """Read the Base 64 of RFC 4648 section 4, in the one form that an encoder writes.

    Raises:
        NoteError: it is not that.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise NoteError("it is no base64") from None
    if encode_base64(data) != text:
        raise NoteError("it is no base64 as an encoder writes it")
    return data


def _split_key(text: str, form: str) -> tuple[str, bytes]:
    """Return name and key bytes of ``NAME+ID+base64(0x01 ‖ key)``."""
    name, _, rest = text.partition("+")
    encoded = rest.partition("+")[2]
    if not encoded:
        raise NoteError(form)
    problem = check_name(name)
    if problem:
        raise NoteError(problem)
    try:
        data = decode_base64(encoded)
    except NoteError:
        raise NoteError(f"{form}, KEY or SECRET in base64") from None
    if data[:1] != _ED25519:
        raise NoteError("the key is of another kind than Ed25519 (type 1)")
    if len(data) != 1 + _KEY_BYTES:
        raise NoteError(f"an Ed25519 key has {_KEY_BYTES} bytes, not {len(data) - 1}")
    return name, data[1:]


def _check_id(written: str, key: VerifierKey) -> None:
    if written != key.key_id.hex():
        raise NoteError(
            f"the key of {key.name} has the id {key.key_id.hex()}, not {written!r}: a part of it was changed"
        )


def _check_text(text: str) -> str:
    """Return why a text cannot be that of a note; empty where it can."""
    if not text.endswith("\n"):
        return "the text of a note ends with a newline"
    if not _CONTROLS.isdisjoint(text):
        return "a note has no control characters but newlines"
    if not _is_utf8(text):
        return "a note is valid UTF-8"
    return ""


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _split_note(note: str) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    """Return the text and the signatures, each as name, key id and signature."""
    if len(note) > MAX_NOTE_CHARS:
        raise NoteError(f"a note has at most {MAX_NOTE_CHARS} characters")
    text, blank, end = note.rpartition("\n\n")
    if not blank or not end:
        raise NoteError("it is no signed note: text, a blank line, signatures")
    problem = _check_text(note)
    if problem:
        raise NoteError(problem)
    lines = end.removesuffix("\n").split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteError(f"a note has at most {MAX_SIGNATURES} signatures")
    return text + "\n", [_split_signature(line) for line in lines]


def _split_signature(line: str) -> tuple[str, bytes, bytes]:
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space or check_name(name):
        raise NoteError(f"a signature has the form `{_DASH}NAME BASE64`, not {line[:80]!r}")
    try:
        data = decode_base64(encoded)
    except NoteError:
        raise NoteError(f"the signature of {name[:80]} is no base64") from None
    if len(data) <= _ID_BYTES:
        raise NoteError(f"the signature of {name[:80]} is too short")
    return name, data[:_ID_BYTES], data[_ID_BYTES:]
