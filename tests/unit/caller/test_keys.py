# SPDX-License-Identifier: Apache-2.0
"""A key set is written by somebody else: whatever it holds is a key that fits, or left out, or a KeySetError."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import example, given
from hypothesis import strategies as st
from jwt.algorithms import get_default_algorithms

from proxy.caller.keys import MAX_KEYS, parse_key_set, verify_signature
from proxy.errors import KeySetError
from tests.support.tokens import ANY_ALGORITHM, a_provider, base64url, jwk, key_set

RSA, EC, ED = (a_provider(algorithm=algorithm) for algorithm in ("RS256", "ES256", "EdDSA"))
GOOD = jwk(EC, kid="good")
P = 2**255 - 19

ODD_DOCUMENTS: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"<html>sign in</html>",
    "no UTF-8": b"\xff\xfe\xfa",
    "a JSON null": b"null",
    "a number": b"1",
    "a text": b'"keys"',
    "a list": b"[]",
    "an object without keys": b"{}",
    "null under keys": b'{"keys": null}',
    "an object under keys": b'{"keys": {"kty": "RSA"}}',
    "a text under keys": b'{"keys": "abc"}',
    "a number under keys": b'{"keys": 7}',
    "no keys at all": b'{"keys": []}',
    "nulls for keys": b'{"keys": [null]}',
    "numbers, texts and lists for keys": b'{"keys": [1, "a", [], true, 1e999, NaN]}',
    "an empty key": b'{"keys": [{}]}',
    "nesting without end": b"[" * 100_000,
    "a key nested without end": b'{"keys": [{"kty": ' + b"[" * 100_000,
    "a number of five thousand digits": b'{"keys": [' + b"9" * 5000 + b"]}",
    "bytes of zero": b"\0" * 16,
    "half a surrogate": b'{"keys": [{"kty": "\\ud800"}]}',
    "too many keys": json.dumps({"keys": [GOOD] * (MAX_KEYS + 1)}).encode(),
    "a PEM": b"-----BEGIN PUBLIC KEY-----",
}


@pytest.mark.parametrize("document", ODD_DOCUMENTS.values(), ids=ODD_DOCUMENTS)
def test_a_document_is_refused_that_is(document: bytes) -> None:
    with pytest.raises(KeySetError):
        parse_key_set(document, ANY_ALGORITHM)


def test_what_is_told_of_a_foreign_document_can_be_printed() -> None:
    with pytest.raises(KeySetError) as caught:
        key_set({"kty": "\x1b[2J\n\ud800"})
    assert str(caught.value).isprintable()


def low_order_points() -> list[str]:
    """Return every encoding of a point of small order, canonical or not (RFC 7748 7, RFC 8032 5.1.7)."""
    eighth = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD83D3D706A17C7
    ordinates = {0, 1, P - 1, P, P + 1, eighth, P - eighth}
    return [base64url((y | sign << 255).to_bytes(32, "little")) for y in sorted(ordinates) for sign in (0, 1)]


def small_rsa() -> dict[str, Any]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - to be refused
    return get_default_algorithms()["RS256"].to_jwk(key.public_key(), as_dict=True)


MISFITS: dict[str, dict[str, Any]] = {
    "for encryption": jwk(EC, use="enc"),
    "of a use in capitals": jwk(EC, use="SIG"),
    "of a use that is no text": jwk(EC, use=["sig"]),
    "for signing alone": jwk(EC, key_ops=["sign"]),
    "for no operation": jwk(EC, key_ops=[]),
    "of operations that are a text": jwk(EC, key_ops="verify"),
    "of operations that are null": {**jwk(EC), "key_ops": None},
    "that is symmetric": {"kty": "oct", "k": base64url(b"k" * 32), "alg": "HS256"},
    "that is symmetric and says RS256": {"kty": "oct", "k": base64url(b"k" * 32), "alg": "RS256"},
    "that is private, RSA": get_default_algorithms()["RS256"].to_jwk(RSA.key, as_dict=True),
    "that is private, EC": get_default_algorithms()["ES256"].to_jwk(EC.key, as_dict=True),
    "that is private, Ed25519": get_default_algorithms()["EdDSA"].to_jwk(ED.key, as_dict=True),
    "that is public but for an empty d": {**jwk(EC), "d": ""},
    "whose alg is of another type of key": jwk(EC, alg="RS256"),
    "whose alg is of another curve": jwk(EC, alg="ES384"),
    "whose alg is symmetric": jwk(RSA, alg="HS256"),
    "whose alg is none": jwk(RSA, alg="none"),
    "whose alg is no text": jwk(EC, alg=1),
    "whose alg is a list": jwk(EC, alg=["ES256"]),
    "whose alg is an object": jwk(EC, alg={}),
    "whose kid is a number": jwk(EC, kid=1),
    "whose kid is null": {**jwk(EC), "kid": None},
    "whose kid is a list": jwk(EC, kid=["a"]),
    "whose kty is missing": jwk(EC, kty=None),
    "whose kty is a list": jwk(EC, kty=["EC"]),
    "whose kty is in lower case": jwk(EC, kty="ec"),
    "whose curve is another": jwk(EC, crv="P-384"),
    "whose curve is a list": jwk(EC, crv=["P-256"]),
    "whose curve nobody signs with": {"kty": "OKP", "crv": "X25519", "x": base64url(b"x" * 32)},
    "whose point is not on the curve": jwk(EC, x=base64url(b"x" * 32)),
    "whose point is a number": jwk(EC, x=7),
    "whose point is missing": jwk(EC, y=None),
    "whose point is not base64": jwk(ED, x="!!"),
    "whose point is not ASCII": jwk(ED, x="\u6771\u4eac"),
    "whose point is too short": jwk(ED, x=base64url(b"x" * 31)),
    "of 1024 bits": small_rsa(),
    "of an exponent of one": jwk(RSA, e="AQ"),
    "of an even exponent": jwk(RSA, e="BA"),
    "of an exponent that is a number": jwk(RSA, e=65537),
    "of no modulus": jwk(RSA, n=None),
    "of an exponent as long as the modulus": jwk(RSA, e=base64url((2**2047 + 1).to_bytes(256))),
    "of an exponent that nobody uses": jwk(RSA, e=base64url((2**33 + 1).to_bytes(5))),
    "of 16384 bits": jwk(RSA, n=base64url((2**16384 - 1).to_bytes(2048))),
    "of Ed448": {"kty": "OKP", "crv": "Ed448", "x": base64url(b"x" * 57)},
    "of secp256k1": jwk(EC, crv="secp256k1"),
    "whose point is at infinity": jwk(EC, x=base64url(bytes(32)), y=base64url(bytes(32))),
    "of an empty modulus": jwk(RSA, n=""),
    "of a modulus that is a list": jwk(RSA, n=["AQAB"]),
} | {f"of small order, {x[:6]}{x[-2:]}": jwk(ED, x=x) for x in low_order_points()}  # fmt: skip


@pytest.mark.parametrize("misfit", MISFITS.values(), ids=MISFITS)
def test_a_key_is_left_out(misfit: dict[str, Any]) -> None:
    keys = key_set(misfit, GOOD)
    assert [key.id for key in keys.keys] == ["good"]
    assert len(keys.left_out) == 1
    with pytest.raises(KeySetError, match="no key that fits"):
        key_set(misfit)


def test_nobody_can_sign_for_a_key_that_an_operator_forgot_to_fill_in() -> None:
    """The neutral element as key: R = neutral, S = 0 verifies whatever is signed, by anyone."""
    neutral = (1).to_bytes(32, "little")
    try:
        keys = key_set(jwk(ED, x=base64url(neutral)))
    except KeySetError:
        return
    assert not verify_signature(keys.keys[0], "EdDSA", b"anything", neutral + bytes(32))


PINNED: dict[str, tuple[dict[str, Any], frozenset[str], set[str]]] = {
    "an RSA key that says nothing fits what the issuer declares": (
        jwk(RSA, alg=None, use=None), frozenset({"RS256", "PS256", "ES256"}), {"RS256", "PS256"},
    ),
    "an RSA key that says RS256 fits nothing else": (jwk(RSA), frozenset({"RS256", "PS256"}), {"RS256"}),
    "a P-256 key fits ES256 alone": (jwk(EC, alg=None), ANY_ALGORITHM, {"ES256"}),
    "an Ed25519 key fits EdDSA alone": (jwk(ED, alg=None), ANY_ALGORITHM, {"EdDSA"}),
    "verify among other operations fits": (jwk(EC, key_ops=["sign", "verify"]), ANY_ALGORITHM, {"ES256"}),
}  # fmt: skip


@pytest.mark.parametrize(("key", "declared", "algorithms"), PINNED.values(), ids=PINNED)
def test_algorithms_are_pinned_to_a_key(key: dict[str, Any], declared: frozenset[str], algorithms: set[str]) -> None:
    assert key_set(key, algorithms=declared).keys[0].algorithms == algorithms


def test_a_key_that_fits_no_declared_algorithm_is_left_out() -> None:
    with pytest.raises(KeySetError):
        key_set(jwk(EC), algorithms=frozenset({"RS256"}))


def test_of_two_keys_with_one_id_the_second_is_left_out() -> None:
    keys = key_set(jwk(EC, kid="k"), jwk(RSA, kid="k"))
    assert [key.algorithms for key in keys.keys] == [frozenset({"ES256"})]
    assert keys.left_out == ("key 1: its kid stands twice",)


FOUND: dict[str, tuple[str | None, str, str | None]] = {
    "by its id": ("ec", "ES256", "ec"),
    "by its id for an algorithm that is not its own": ("ec", "RS256", None),
    "by an id that is nobody's": ("other", "ES256", None),
    "by an empty id": ("", "ES256", None),
    "without an id, where it is the only one of the algorithm": (None, "RS256", "rsa"),
    "without an id, where there are two": (None, "ES256", None),
    "without an id, where there is none": (None, "EdDSA", None),
}


@pytest.mark.parametrize(("key_id", "algorithm", "found"), FOUND.values(), ids=FOUND)
def test_a_key_is_found(key_id: str | None, algorithm: str, found: str | None) -> None:
    other = get_default_algorithms()["ES256"].to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key(), as_dict=True)
    keys = key_set(jwk(EC, kid="ec"), {**other, "kid": "ec2"}, jwk(RSA, kid="rsa"))
    key = keys.find(key_id, algorithm)
    assert (key.id if key else None) == found


def test_a_key_without_an_id_is_not_found_by_one() -> None:
    assert key_set(jwk(EC, kid=None)).find("key-ES256", "ES256") is None


def test_the_generation_changes_with_the_content() -> None:
    assert key_set(GOOD).generation == key_set(GOOD).generation
    assert key_set(GOOD).generation != key_set(GOOD, jwk(RSA)).generation


def raw_signature(message: bytes = b"message") -> bytes:
    return bytes(get_default_algorithms()["ES256"].sign(message, EC.key))


N256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
SIGNATURES: dict[str, bytes] = {
    "empty": b"",
    "DER, as OpenSSL writes it": encode_dss_signature(
        int.from_bytes(raw_signature()[:32]), int.from_bytes(raw_signature()[32:])
    ),
    "all zeros (CVE-2022-21449)": bytes(64),
    "the order of the curve, twice": N256.to_bytes(32) * 2,
    "a byte longer": raw_signature() + b"\0",
    "a byte shorter": raw_signature()[:-1],
    "of another message": raw_signature(b"other"),
    "its halves exchanged": raw_signature()[32:] + raw_signature()[:32],
    "a megabyte": bytes(2**20),
}


@pytest.mark.parametrize("signature", SIGNATURES.values(), ids=SIGNATURES)
def test_a_signature_does_not_verify_that_is(signature: bytes) -> None:
    key = key_set(GOOD).keys[0]
    assert verify_signature(key, "ES256", b"message", raw_signature())
    assert not verify_signature(key, "ES256", b"message", signature)


@pytest.mark.parametrize("algorithm", ["PS256", "RS384", "HS256", "none", "ES256", ""])
def test_a_good_signature_does_not_verify_by_another_algorithm(algorithm: str) -> None:
    key = key_set(jwk(RSA)).keys[0]
    signature = get_default_algorithms()["RS256"].sign(b"message", RSA.key)
    assert verify_signature(key, "RS256", b"message", signature)
    assert not verify_signature(key, algorithm, b"message", signature)


def test_an_ed25519_signature_has_one_form() -> None:
    order = 2**252 + 27742317777372353535851937790883648493
    key = key_set(jwk(ED)).keys[0]
    signature = get_default_algorithms()["EdDSA"].sign(b"message", ED.key)
    other = signature[:32] + (int.from_bytes(signature[32:], "little") + order).to_bytes(32, "little")
    assert verify_signature(key, "EdDSA", b"message", signature)
    assert not verify_signature(key, "EdDSA", b"message", other)


_MEMBERS = ("kty", "crv", "x", "y", "n", "e", "kid", "use", "alg", "key_ops", "x5c", "x5u", "ext")
_LETTERS = "aA0-=+ \0\u6771\ud800"
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(_LETTERS, max_size=4)
    | st.sampled_from(["RSA", "EC", "OKP", "P-256", "Ed25519", "sig", "verify", "RS256", "AQAB"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(_LETTERS, max_size=3), inner, max_size=2),
    max_leaves=5,
)  # fmt: skip


@given(st.sampled_from([RSA, EC, ED]), st.dictionaries(st.sampled_from(_MEMBERS), _VALUES, max_size=3))
@example(EC, {"alg": []})
def test_no_key_raises_anything_but_that_it_does_not_fit(provider: Any, changes: dict[str, Any]) -> None:
    keys = key_set(jwk(provider) | changes, GOOD)
    assert "good" in {key.id for key in keys.keys} or changes.get("kid") == "good"


EXAMPLE_OF_RFC_7638 = {
    "kty": "RSA",
    "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3"
    "oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6q"
    "MQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzK"
    "nqDKgw",
    "e": "AQAB",
    "alg": "RS256",
    "kid": "2011-04-29",
}


def test_the_thumbprint_is_that_of_rfc_7638() -> None:
    assert key_set(EXAMPLE_OF_RFC_7638).keys[0].thumbprint == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def test_the_thumbprint_is_that_of_rfc_8037() -> None:
    key = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    assert key_set(key).keys[0].thumbprint == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_a_key_is_the_same_whatever_else_is_published_of_it() -> None:
    for provider in (RSA, EC, ED):
        one, other = (key_set(key).keys[0] for key in (jwk(provider), jwk(provider, kid="x", use=None, alg=None)))
        assert one.thumbprint == other.thumbprint
    assert len({key_set(jwk(provider)).keys[0].thumbprint for provider in (RSA, EC, ED)}) == 3


def test_a_set_is_another_for_other_algorithms() -> None:
    document = jwk(RSA, alg=None)
    assert key_set(document, algorithms=frozenset({"RS256"})).generation != key_set(document).generation
