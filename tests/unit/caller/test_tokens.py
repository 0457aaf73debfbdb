# SPDX-License-Identifier: Apache-2.0
"""The law of tokens, attacked: one row an attack, each with the reason it is refused for."""

import json
from base64 import b64encode
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import HMACAlgorithm

from proxy.caller.claims import VerifiedClaims
from proxy.caller.issuers import LEEWAY_SECONDS
from proxy.caller.keys import KeySet
from proxy.caller.tokens import MAX_TOKEN_LENGTH, parse_token, read_credentials, verify_token
from proxy.demo.issuer import Issuer as IdentityProvider
from proxy.model.decision import Reason
from tests.support.tokens import (
    CORP,
    NOW,
    PARTNER,
    a_partner,
    a_provider,
    a_token,
    an_issuer,
    base64url,
    claims,
    corp_keys,
    header,
    jwk,
    key_set,
    partner_keys,
    seal,
)

ISSUERS = {CORP: an_issuer(), PARTNER: a_partner()}
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def judge(raw_token: str, now: float = NOW, keys: KeySet | None = None) -> VerifiedClaims | Reason:
    token = parse_token(raw_token, ISSUERS)
    if isinstance(token, Reason):
        return token
    return verify_token(token, keys or {"corp": corp_keys(), "partner": partner_keys()}[token.issuer.id], now)


def by_hmac(secret: bytes, **changes: Any) -> str:
    signing_input = ".".join(base64url(json.dumps(part).encode()) for part in (header("HS256", **changes), claims()))
    return f"{signing_input}.{base64url(HMACAlgorithm(HMACAlgorithm.SHA256).sign(signing_input.encode(), secret))}"


def with_loose_bits(part: str) -> str:
    """Return other base64url of the same bytes, with bits set that nobody reads (RFC 4648 3.5)."""
    assert len(part) % 4 in {2, 3}
    return part[:-1] + ALPHABET[ALPHABET.index(part[-1]) | 1]


def sealed_parts(head: str, body: str, provider: IdentityProvider | None = None) -> str:
    provider = provider or a_provider()
    signature = jwt.algorithms.get_default_algorithms()[provider.algorithm].sign(
        f"{head}.{body}".encode(), provider.key
    )
    return f"{head}.{body}.{base64url(signature)}"


def odd_length(part: dict[str, Any]) -> str:
    """Return JSON as base64url that leaves bits over."""
    data = json.dumps(part).encode()
    return base64url(data + b" " * ((1 - len(data)) % 3))


RSA, EC, ED = (a_provider(algorithm=algorithm) for algorithm in ("RS256", "ES256", "EdDSA"))
RSA_PEM = RSA.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
HEAD, BODY, SIGNATURE = a_token().split(".")
OPEN_CLAIMS = json.dumps(claims()).encode()[:-1]
UNSIGNED = base64url(b'{"alg":"none"}')
PLUS_AND_SLASH = b64encode(b"\xfb\xff" * 33).decode()
MALFORMED, UNSUPPORTED = Reason.TOKEN_MALFORMED, Reason.TOKEN_HEADER_UNSUPPORTED
INCOMPLETE, UNDECLARED = Reason.TOKEN_CLAIM_MISSING, Reason.TOKEN_ALGORITHM_UNDECLARED
STRANGER = IdentityProvider(CORP, key_id="key-ES256")

ALGORITHM_ATTACKS: dict[str, tuple[str, Reason]] = {
    "alg none without a signature": (f"{UNSIGNED}.{BODY}.", MALFORMED),
    "alg none with a signature": (seal(header(alg="none"), claims()), UNDECLARED),
    "alg none in odd capitals": (seal(header(alg="nOnE"), claims()), UNDECLARED),
    "alg in lower case": (seal(header(alg="es256"), claims()), UNDECLARED),
    "HS256 with the RSA public key as secret": (by_hmac(RSA_PEM, kid="key-RS256"), UNDECLARED),
    "HS256 with the published JWK as secret": (by_hmac(json.dumps(jwk(RSA)).encode()), UNDECLARED),
    "HS256 with an empty-ish secret": (by_hmac(b"\0"), UNDECLARED),
    "an algorithm the issuer does not declare": (seal(header(alg="PS256", kid="key-RS256"), claims(), RSA), UNDECLARED),
    "an algorithm that another issuer declares": (
        seal(header("RS256"), claims(iss=PARTNER), RSA), UNDECLARED,
    ),
    "an algorithm the issuer declares but the key does not": (
        seal(header(alg="RS384", kid="key-RS256"), claims(), RSA), Reason.TOKEN_KEY_UNKNOWN,
    ),
    "RS256 with the id of an EC key": (seal(header("RS256", kid="key-ES256"), claims(), RSA), Reason.TOKEN_KEY_UNKNOWN),
    "no alg": (seal({"kid": "key-ES256"}, claims()), UNSUPPORTED),
    "alg null": (seal(header(alg=None), claims()), UNSUPPORTED),
    "alg a list": (seal(header(alg=["ES256"]), claims()), UNSUPPORTED),
    "alg an object": (seal(header(alg={}), claims()), UNSUPPORTED),
    "alg true": (seal(header(alg=True), claims()), UNSUPPORTED),
}  # fmt: skip

KEY_ATTACKS: dict[str, tuple[str, Reason]] = {
    "a stranger's key under a good id": (seal(header(), claims(), STRANGER), Reason.TOKEN_SIGNATURE_WRONG),
    "a key that only another issuer has": (
        seal(header(kid="partner-only"), claims(), a_provider(PARTNER, key_id="partner-only")),
        Reason.TOKEN_KEY_UNKNOWN,
    ),
    "another issuer's key under an id that both have": (
        seal(header(), claims(), a_provider(PARTNER)), Reason.TOKEN_SIGNATURE_WRONG,
    ),
    "our key for another issuer's name": (seal(header(), claims(iss=PARTNER)), Reason.TOKEN_SIGNATURE_WRONG),
    "no kid where the issuer has two keys": (
        seal({"alg": "ES256"}, claims(iss=PARTNER), a_provider(PARTNER)), Reason.TOKEN_KEY_UNKNOWN,
    ),
    "a kid of another letter case": (seal(header(kid="KEY-ES256"), claims()), Reason.TOKEN_KEY_UNKNOWN),
    "an empty kid": (seal(header(kid=""), claims()), Reason.TOKEN_KEY_UNKNOWN),
    "a kid that is a path": (seal(header(kid="../../../dev/null"), claims()), Reason.TOKEN_KEY_UNKNOWN),
    "a kid that is a number": (seal(header(kid=0), claims()), UNSUPPORTED),
    "a kid that is null": (seal(header(kid=None), claims()), UNSUPPORTED),
    "a kid that is a list": (seal(header(kid=["key-ES256"]), claims()), UNSUPPORTED),
    "a kid that is an object": (seal(header(kid={}), claims()), UNSUPPORTED),
    "a kid that is true": (seal(header(kid=True), claims()), UNSUPPORTED),
    "an embedded key": (seal(header(jwk=jwk(STRANGER)), claims(), STRANGER), UNSUPPORTED),
    "an embedded key of our own": (seal(header(jwk=jwk(EC)), claims()), UNSUPPORTED),
    "a linked key set": (seal(header(jku="https://evil.example/jwks.json"), claims()), UNSUPPORTED),
    "a linked certificate": (seal(header(x5u="https://evil.example/cert"), claims()), UNSUPPORTED),
    "an embedded certificate": (seal(header(x5c=["MIIB"]), claims()), UNSUPPORTED),
    "a signature of other claims": (f"{HEAD}.{base64url(json.dumps(claims(sub='bob')).encode())}.{SIGNATURE}",
                                    Reason.TOKEN_SIGNATURE_WRONG),
    "a signature of another header": (f"{base64url(json.dumps(header(typ='at+jwt')).encode())}.{BODY}.{SIGNATURE}",
                                      Reason.TOKEN_SIGNATURE_WRONG),
    "a signature a byte short": (f"{HEAD}.{BODY}.{base64url(bytes(63))}", Reason.TOKEN_SIGNATURE_WRONG),
    "a signature of zeros": (f"{HEAD}.{BODY}.{base64url(bytes(64))}", Reason.TOKEN_SIGNATURE_WRONG),
}  # fmt: skip

HEADER_ATTACKS: dict[str, tuple[str, Reason]] = {
    "crit with an extension": (seal(header(crit=["exp"], exp=1), claims()), UNSUPPORTED),
    "an empty crit": (seal(header(crit=[]), claims()), UNSUPPORTED),
    "crit null": (seal(header(crit=None), claims()), UNSUPPORTED),
    "an unencoded payload": (seal(header(crit=["b64"], b64=False), claims()), UNSUPPORTED),
    "b64 without crit": (seal(header(b64=False), claims()), UNSUPPORTED),
    "b64 true": (seal(header(b64=True), claims()), UNSUPPORTED),
    "a nested token, announced": (seal(header(cty="JWT"), claims()), UNSUPPORTED),
    "a nested token, not announced": (seal(header(), a_token().encode()), MALFORMED),
    "a nested token as a JSON text": (seal(header(), json.dumps(a_token()).encode()), MALFORMED),
    "compression": (seal(header(zip="DEF"), claims()), UNSUPPORTED),
    "a header of a JWE": (seal(header(enc="A256GCM"), claims()), UNSUPPORTED),
    "a proof of possession": (seal(header(typ="dpop+jwt"), claims()), Reason.TOKEN_TYPE_OTHER),
    "a logout token": (seal(header(typ="logout+jwt"), claims()), Reason.TOKEN_TYPE_OTHER),
    "a security event": (seal(header(typ="secevent+jwt"), claims()), Reason.TOKEN_TYPE_OTHER),
    "a JOSE object": (seal(header(typ="JOSE"), claims()), Reason.TOKEN_TYPE_OTHER),
    "an empty typ": (seal(header(typ=""), claims()), Reason.TOKEN_TYPE_OTHER),
    "a typ that is null": (seal(header(typ=None), claims()), UNSUPPORTED),
    "a typ that is a list": (seal(header(typ=["JWT"]), claims()), UNSUPPORTED),
    "a typ with a space": (seal(header(typ="JWT "), claims()), Reason.TOKEN_TYPE_OTHER),
    "a typ in letters that look alike": (seal(header(typ="\uff2a\uff37\uff34"), claims()), Reason.TOKEN_TYPE_OTHER),
}

FORM_ATTACKS: dict[str, tuple[str, Reason]] = {
    "nothing": ("", MALFORMED),
    "dots": ("..", MALFORMED),
    "two parts": (f"{HEAD}.{BODY}", MALFORMED),
    "an empty signature": (f"{HEAD}.{BODY}.", MALFORMED),
    "an empty header": (f".{BODY}.{SIGNATURE}", MALFORMED),
    "four parts": (f"{a_token()}.{SIGNATURE}", MALFORMED),
    "the five parts of a JWE": (f"{HEAD}.{BODY}.{SIGNATURE}.{SIGNATURE}.{SIGNATURE}", Reason.TOKEN_ENCRYPTED),
    "JSON serialisation": (json.dumps({"payload": BODY, "protected": HEAD, "signature": SIGNATURE}), MALFORMED),
    "a newline at the end": (a_token() + "\n", MALFORMED),
    "a space in front": (" " + a_token(), MALFORMED),
    "padding": (a_token() + "==", MALFORMED),
    "base64 that is not base64url": (f"{HEAD}.{BODY}.{PLUS_AND_SLASH}", MALFORMED),
    "a length no base64 has": (f"{HEAD}.{BODY}.A", MALFORMED),
    "letters that look like digits": (a_token()[:-1] + "\uff11", MALFORMED),
    "a zero byte": (a_token() + "\0", MALFORMED),
    "more than a header field takes": (a_token(x="x" * MAX_TOKEN_LENGTH), MALFORMED),
    "a signature with bits that nobody reads": (f"{HEAD}.{BODY}.{with_loose_bits(SIGNATURE)}", MALFORMED),
    "claims with bits that nobody reads": (sealed_parts(HEAD, with_loose_bits(odd_length(claims()))), MALFORMED),
    "a header with bits that nobody reads": (sealed_parts(with_loose_bits(odd_length(header())), BODY), MALFORMED),
    "a header that is a list": (seal(b'["ES256"]', claims()), MALFORMED),
    "claims that are a list": (seal(header(), b"[]"), MALFORMED),
    "claims that are null": (seal(header(), b"null"), MALFORMED),
    "claims that are empty": (seal(header(), b" "), MALFORMED),
    "claims that are no JSON": (seal(header(), b"iss=corp"), MALFORMED),
    "claims that are no UTF-8": (seal(header(), b'{"iss":"\xff"}'), MALFORMED),
    "claims in UTF-16": (seal(header(), json.dumps(claims()).encode("utf-16")), MALFORMED),
    "claims in UTF-32": (seal(header(), json.dumps(claims()).encode("utf-32-le")), MALFORMED),
    "claims behind a byte order mark": (seal(header(), json.dumps(claims()).encode("utf-8-sig")), MALFORMED),
    "a header in UTF-16": (seal(json.dumps(header()).encode("utf-16"), claims()), MALFORMED),
    "claims with text behind them": (seal(header(), json.dumps(claims()).encode() + b"{}"), MALFORMED),
    "a claim twice": (seal(header(), OPEN_CLAIMS + b',"sub":"bob"}'), MALFORMED),
    "a claim twice, once escaped": (seal(header(), OPEN_CLAIMS + b',"s\\u0075b":"b"}'), MALFORMED),
    "a claim twice further down": (seal(header(), OPEN_CLAIMS + b',"x":{"a":1,"a":2}}'), MALFORMED),
    "alg twice": (seal(b'{"alg":"none","alg":"ES256","kid":"key-ES256"}', claims()), MALFORMED),
    "NaN for a date": (seal(header(), json.dumps(claims(exp=float("nan"))).encode()), MALFORMED),
    "infinity for a date": (seal(header(), json.dumps(claims(exp=float("inf"))).encode()), MALFORMED),
    "minus infinity where nobody looks": (seal(header(), json.dumps(claims(x=-float("inf"))).encode()), MALFORMED),
    "infinity spelled as a number": (seal(header(), OPEN_CLAIMS + b',"x":1e999}'), MALFORMED),
    "five thousand digits": (seal(header(), OPEN_CLAIMS + b',"x":' + b"9" * 5000 + b"}"), MALFORMED),
    "nesting without end": (seal(header(), OPEN_CLAIMS + b',"x":' + b"[" * 5000), MALFORMED),
    "nesting that ends": (
        seal(header(), OPEN_CLAIMS + b',"x":' + b"[" * 2500 + b"]" * 2500 + b"}"), MALFORMED,
    ),
}  # fmt: skip

CLAIM_ATTACKS: dict[str, tuple[dict[str, Any], Reason]] = {
    "no iss": ({"iss": None}, Reason.TOKEN_ISSUER_UNDECLARED),
    "iss with a slash more": ({"iss": CORP + "/"}, Reason.TOKEN_ISSUER_UNDECLARED),
    "iss that begins like ours": ({"iss": CORP + ".evil.example"}, Reason.TOKEN_ISSUER_UNDECLARED),
    "iss that is part of ours": ({"iss": CORP[:-1]}, Reason.TOKEN_ISSUER_UNDECLARED),
    "iss in capitals": ({"iss": CORP.upper()}, Reason.TOKEN_ISSUER_UNDECLARED),
    "iss with a space": ({"iss": CORP + " "}, Reason.TOKEN_ISSUER_UNDECLARED),
    "iss that is our id of it": ({"iss": "corp"}, Reason.TOKEN_ISSUER_UNDECLARED),
    "iss in a list": ({"iss": [CORP]}, Reason.TOKEN_ISSUER_UNDECLARED),
    "iss an object": ({"iss": {CORP: 1}}, Reason.TOKEN_ISSUER_UNDECLARED),
    "iss empty": ({"iss": ""}, Reason.TOKEN_ISSUER_UNDECLARED),
    "no aud": ({"aud": None}, INCOMPLETE),
    "aud an empty list": ({"aud": []}, INCOMPLETE),
    "aud a number": ({"aud": 1}, INCOMPLETE),
    "aud an object with our name": ({"aud": {"pii-gateway": 1}}, INCOMPLETE),
    "aud a list with a number in it": ({"aud": ["pii-gateway", 1]}, INCOMPLETE),
    "aud a list of lists": ({"aud": [["pii-gateway"]]}, INCOMPLETE),
    "aud empty": ({"aud": ""}, Reason.TOKEN_AUDIENCE_OTHER),
    "aud another's": ({"aud": "billing"}, Reason.TOKEN_AUDIENCE_OTHER),
    "aud in capitals": ({"aud": "PII-Gateway"}, Reason.TOKEN_AUDIENCE_OTHER),
    "aud that begins like ours": ({"aud": "pii-gateway-staging"}, Reason.TOKEN_AUDIENCE_OTHER),
    "aud that holds ours in a text": ({"aud": "billing pii-gateway"}, Reason.TOKEN_AUDIENCE_OTHER),
    "no sub": ({"sub": None}, INCOMPLETE),
    "sub empty": ({"sub": ""}, INCOMPLETE),
    "sub a number": ({"sub": 42}, INCOMPLETE),
    "sub a list": ({"sub": ["alice"]}, INCOMPLETE),
    "no exp": ({"exp": None}, INCOMPLETE),
    "exp a text": ({"exp": str(int(NOW) + 600)}, INCOMPLETE),
    "exp true": ({"exp": True}, INCOMPLETE),
    "exp a list": ({"exp": [int(NOW) + 600]}, INCOMPLETE),
    "exp negative": ({"exp": -1}, INCOMPLETE),
    "exp in milliseconds": ({"exp": (int(NOW) + 600) * 1000}, INCOMPLETE),
    "exp of four hundred digits": ({"exp": 10**400}, INCOMPLETE),
    "exp as large as a float can be": ({"exp": 1.7e308}, INCOMPLETE),
    "exp long ago": ({"exp": int(NOW) - 3600}, Reason.TOKEN_EXPIRED),
    "exp zero": ({"exp": 0}, Reason.TOKEN_EXPIRED),
    "exp at the end of the leeway": ({"exp": int(NOW) - LEEWAY_SECONDS}, Reason.TOKEN_EXPIRED),
    "no iat": ({"iat": None}, INCOMPLETE),
    "iat false": ({"iat": False}, INCOMPLETE),
    "iat a text": ({"iat": "now"}, INCOMPLETE),
    "iat ahead": ({"iat": int(NOW) + LEEWAY_SECONDS + 1}, Reason.TOKEN_NOT_YET_VALID),
    "nbf ahead": ({"nbf": int(NOW) + LEEWAY_SECONDS + 1}, Reason.TOKEN_NOT_YET_VALID),
    "nbf a text": ({"nbf": "2020-01-01"}, INCOMPLETE),
    "nbf true": ({"nbf": True}, INCOMPLETE),
}

SEALED = ALGORITHM_ATTACKS | KEY_ATTACKS | HEADER_ATTACKS | FORM_ATTACKS


@pytest.mark.parametrize(("raw_token", "reason"), SEALED.values(), ids=SEALED)
def test_a_token_is_refused_with(raw_token: str, reason: Reason) -> None:
    assert judge(raw_token) is reason


@pytest.mark.parametrize(("changes", "reason"), CLAIM_ATTACKS.values(), ids=CLAIM_ATTACKS)
def test_a_token_is_refused_that_says(changes: dict[str, Any], reason: Reason) -> None:
    assert judge(a_token(**changes)) is reason


def test_an_nbf_of_null_is_no_date() -> None:
    assert judge(seal(header(), {**claims(), "nbf": None})) is INCOMPLETE


ACCEPTED: dict[str, str] = {
    "ES256": a_token(),
    "RS256": seal(header("RS256"), claims(), RSA),
    "EdDSA": seal(header("EdDSA"), claims(), ED),
    "no typ": seal({"alg": "ES256", "kid": "key-ES256"}, claims()),
    "an access token's typ": seal(header(typ="at+JWT"), claims()),
    "no kid where the issuer has one key of the algorithm": seal({"alg": "ES256"}, claims()),
    "ours among the audiences": a_token(aud=["billing", "pii-gateway"]),
    "a date with a fraction": a_token(exp=NOW + 0.5, iat=NOW - 0.5),
    "exp a second before the end of the leeway": a_token(exp=int(NOW) - LEEWAY_SECONDS + 1),
    "iat at the end of the leeway": a_token(iat=int(NOW) + LEEWAY_SECONDS),
    "nbf at the end of the leeway": a_token(nbf=int(NOW) + LEEWAY_SECONDS),
    "text of any script": a_token(sub="\u65e5\u672c \U0001f5fe"),
}


@pytest.mark.parametrize("raw_token", ACCEPTED.values(), ids=ACCEPTED)
def test_a_token_passes_with(raw_token: str) -> None:
    assert isinstance(judge(raw_token), dict)


def test_the_leeway_ends_to_the_fraction_of_a_second() -> None:
    end = claims()["exp"] + LEEWAY_SECONDS
    assert isinstance(judge(a_token(), now=end - 0.001), dict)
    assert judge(a_token(), now=end) is Reason.TOKEN_EXPIRED


def test_whoever_a_token_names_can_be_written_down() -> None:
    """Half a surrogate is no text: the ledger's pseudonym could not be made, and nobody would be recorded."""
    for sub in (b'"\\ud800"', b'"a\\udfff"', b'"\xed\xa0\x80"'):
        raw = seal(header(), json.dumps(claims()).encode().replace(b'"alice"', sub))
        assert judge(raw) in {MALFORMED, INCOMPLETE}


def test_half_a_surrogate_names_no_key() -> None:
    raw = seal(b'{"alg":"ES256","kid":"\\ud800"}', claims())
    assert judge(raw) in {MALFORMED, Reason.TOKEN_KEY_UNKNOWN}


def test_a_key_of_small_order_lets_nobody_in() -> None:
    neutral = (1).to_bytes(32, "little")
    document = [jwk(ED, x=base64url(neutral)), jwk(EC)]
    signing_input = ".".join(base64url(json.dumps(part).encode()) for part in (header("EdDSA"), claims()))
    forged = f"{signing_input}.{base64url(neutral + bytes(32))}"
    assert isinstance(judge(forged, keys=key_set(*document)), Reason)


def test_no_letter_of_a_token_can_be_changed() -> None:
    raw = f"{HEAD}.{BODY}.{SIGNATURE}"
    changed = [raw[:place] + _another(letter) + raw[place + 1 :] for place, letter in enumerate(raw)]
    assert [other for other in changed if not isinstance(judge(other), Reason)] == []


def _another(letter: str) -> str:
    return "A" if letter == "." else ALPHABET[ALPHABET.index(letter) ^ 1]


CREDENTIALS: dict[str, tuple[str | None, str | Reason]] = {
    "no field": (None, Reason.TOKEN_MISSING),
    "a token": ("Bearer a.b.c", "a.b.c"),
    "the scheme in any letter case": ("bEARER a.b.c", "a.b.c"),
    "several spaces": ("Bearer   a.b.c", "a.b.c"),
    "an empty field": ("", Reason.AUTHORIZATION_MALFORMED),
    "the scheme alone": ("Bearer", Reason.AUTHORIZATION_MALFORMED),
    "the scheme and a space": ("Bearer ", Reason.AUTHORIZATION_MALFORMED),
    "another scheme": ("Basic YTpi", Reason.AUTHORIZATION_MALFORMED),
    "a proof of possession": ("DPoP a.b.c", Reason.AUTHORIZATION_MALFORMED),
    "two tokens": ("Bearer a.b.c d.e.f", Reason.AUTHORIZATION_MALFORMED),
    "two tokens and a comma": ("Bearer a.b.c, Bearer d.e.f", Reason.AUTHORIZATION_MALFORMED),
    "a tab": ("Bearer\ta.b.c", Reason.AUTHORIZATION_MALFORMED),
    "a space behind": ("Bearer a.b.c ", Reason.AUTHORIZATION_MALFORMED),
    "a space in front": (" Bearer a.b.c", Reason.AUTHORIZATION_MALFORMED),
    "a newline behind": ("Bearer a.b.c\n", Reason.AUTHORIZATION_MALFORMED),
    "quotes": ('Bearer "a.b.c"', Reason.AUTHORIZATION_MALFORMED),
    "a no-break space": ("Bearer\xa0a.b.c", Reason.AUTHORIZATION_MALFORMED),
    "a long s in the scheme's place": ("\u017fearer a.b.c", Reason.AUTHORIZATION_MALFORMED),
}


@pytest.mark.parametrize(("field", "read"), CREDENTIALS.values(), ids=CREDENTIALS)
def test_one_bearer_credential_is_read_from(field: str | None, read: str | Reason) -> None:
    assert read_credentials(field) == (("authorization", read) if not isinstance(read, Reason) else read)


_LETTERS = "aA0-_=+./ \n\0\u6771\ud800"
_PARTS = st.lists(st.text(ALPHABET, min_size=1, max_size=20), min_size=3, max_size=3)


@given(st.text(_LETTERS, max_size=99) | _PARTS.map(".".join))
def test_no_text_raises(text: str) -> None:
    assert isinstance(judge(text), Reason)


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(_LETTERS, max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(_LETTERS, max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(
    st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "x"]), _JSON, max_size=2),
    st.dictionaries(st.sampled_from(["iss", "aud", "sub", "exp", "iat", "nbf", "x"]), _JSON, max_size=2),
)
def test_no_header_and_no_claim_raises(head: dict[str, Any], body: dict[str, Any]) -> None:
    result = judge(seal(header() | head, claims() | body))
    assert isinstance(result, (Reason, dict))
    if isinstance(result, dict):
        assert (result["iss"], result["exp"] > NOW - LEEWAY_SECONDS) == (CORP, True)


def judged_by(
    changes: dict[str, Any], raw_token: str, place: str = "authorization", shown: str | None = None
) -> object:
    """Judge by an issuer that says more of its tokens; a passing token is True."""
    token = parse_token(raw_token, {CORP: an_issuer(**changes)}, place)
    if isinstance(token, Reason):
        return token
    result = verify_token(token, corp_keys(), NOW, shown)
    return result if isinstance(result, Reason) else True


def of_type(kind: object, **changes: Any) -> str:
    return seal(header(typ=kind), claims(**changes))


UNTYPED = seal({"alg": "ES256", "kid": "key-ES256"}, claims())
RFC_9068 = {"client_id": "console", "jti": "t1"}
OTHER_TYPE = Reason.TOKEN_TYPE_OTHER
TYPES: dict[str, tuple[Any, str, object]] = {
    "nothing, of a JWT": (None, of_type("JWT"), True),
    "nothing, of an access token": (None, of_type("at+jwt"), True),
    "nothing, of an access token with its media type": (None, of_type("application/at+jwt"), True),
    "nothing, without a type": (None, UNTYPED, True),
    "nothing, of something else": (None, of_type("vnd.corp+jwt"), OTHER_TYPE),
    "access tokens, of one": ("at+jwt", of_type("at+jwt", **RFC_9068), True),
    "access tokens, of one in capitals": ("at+jwt", of_type("AT+JWT", **RFC_9068), True),
    "access tokens, of one with its media type": ("at+jwt", of_type("application/at+jwt", **RFC_9068), True),
    "access tokens, of an id token": ("at+jwt", of_type("JWT", **RFC_9068), OTHER_TYPE),
    "access tokens, without a type": ("at+jwt", UNTYPED, OTHER_TYPE),
    "access tokens, of half a media type": ("at+jwt", of_type("at", **RFC_9068), OTHER_TYPE),
    "access tokens, of another tree": ("at+jwt", of_type("text/at+jwt", **RFC_9068), OTHER_TYPE),
    "access tokens, without client_id": ("at+jwt", of_type("at+jwt", jti="t1"), INCOMPLETE),
    "access tokens, without jti": ("at+jwt", of_type("at+jwt", client_id="console"), INCOMPLETE),
    "access tokens, with a jti that is a number": ("at+jwt", of_type("at+jwt", client_id="c", jti=1), INCOMPLETE),
    "access tokens, with an empty client_id": ("at+jwt", of_type("at+jwt", client_id="", jti="t1"), INCOMPLETE),
    "JWTs, of one": ("jwt", of_type("JWT"), True),
    "JWTs, without a type": ("jwt", UNTYPED, True),
    "JWTs, of an access token": ("jwt", of_type("at+jwt"), OTHER_TYPE),
    "a type of its own, of one": ("vnd.corp+jwt", of_type("vnd.corp+jwt"), True),
    "a type of its own, of a JWT": ("vnd.corp+jwt", of_type("JWT"), OTHER_TYPE),
    "two types, of the one": (["jwt", "at+jwt"], of_type("JWT"), True),
    "two types, of the other, which has claims of its own": (["jwt", "at+jwt"], of_type("at+jwt"), INCOMPLETE),
}


@pytest.mark.parametrize(("asked", "raw_token", "result"), TYPES.values(), ids=TYPES)
def test_a_token_is_taken_by_its_type_where_its_issuer_states(asked: Any, raw_token: str, result: object) -> None:
    assert judged_by({"token_type": asked}, raw_token) is result


@pytest.mark.parametrize("jti", [1, None, "", [], {}], ids=repr)
def test_a_jti_by_which_nobody_could_revoke_is_refused(jti: object) -> None:
    assert judge(seal(header(), {**claims(), "jti": jti})) is INCOMPLETE


PLACES = {"authorization": "authorization", "a cookie": "cookie id_token", "a header": "header x-id-token"}
STATED = {
    "authorization": "authorization", "cookie id_token": {"cookie": "id_token"},
    "header x-id-token": {"header": "X-Id-Token"},
}  # fmt: skip


@pytest.mark.parametrize("stated", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("found", PLACES.values(), ids=PLACES)
def test_a_token_opens_at_its_issuers_place_alone(stated: str, found: str) -> None:
    result = judged_by({"token_place": STATED[stated]}, a_token(), found)
    assert result is (True if found == stated else Reason.TOKEN_MISPLACED)


def aged(lifetime: float, iat: float = NOW - 60) -> str:
    return a_token(iat=iat, exp=iat + lifetime)


AGES: dict[str, tuple[dict[str, Any], str, object]] = {
    "a day, unless told": ({}, aged(86400), True),
    "a second more than a day": ({}, aged(86401), Reason.TOKEN_LIFETIME_TOO_LONG),
    "a year": ({}, aged(365 * 86400), Reason.TOKEN_LIFETIME_TOO_LONG),
    "as long as its issuer states": ({"max_age": "15m"}, aged(900), True),
    "a fraction longer than its issuer states": ({"max_age": "15m"}, aged(900.5), Reason.TOKEN_LIFETIME_TOO_LONG),
    "an exp before its iat": ({}, a_token(iat=NOW + 20, exp=NOW + 10), True),
    "an exp that its issuer's leeway spares": ({"leeway": "2m"}, a_token(exp=NOW - 119), True),
    "an exp at the end of its issuer's leeway": ({"leeway": "2m"}, a_token(exp=NOW - 120), Reason.TOKEN_EXPIRED),
    "an exp that the ordinary leeway would spare": ({"leeway": "1s"}, a_token(exp=NOW - 2), Reason.TOKEN_EXPIRED),
    "an iat that its issuer's leeway spares": ({"leeway": "2m"}, a_token(iat=NOW + 120), True),
    "an iat behind its issuer's leeway": ({"leeway": "2m"}, a_token(iat=NOW + 121), Reason.TOKEN_NOT_YET_VALID),
    "an nbf behind its issuer's leeway": ({"leeway": "1s"}, a_token(nbf=NOW + 2), Reason.TOKEN_NOT_YET_VALID),
}


@pytest.mark.parametrize(("said", "raw_token", "result"), AGES.values(), ids=AGES)
def test_a_token_is_judged_by_its_time_that_lives(said: dict[str, Any], raw_token: str, result: object) -> None:
    assert judged_by(said, raw_token) is result


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.sampled_from(["15m", "24h"]), st.sampled_from(["1s", "5m"]))
def test_no_token_is_older_than_max_age(lifetime: int, age: int, max_age: str, leeway: str) -> None:
    issuer = an_issuer(max_age=max_age, leeway=leeway)
    if judged_by({"max_age": max_age, "leeway": leeway}, aged(lifetime, NOW - age)) is True:
        assert lifetime <= issuer.max_age
        assert age < issuer.max_age + issuer.leeway


BOUND = {"cnf": {"x5t#S256": "mine"}}
BINDINGS: dict[str, tuple[dict[str, Any], dict[str, Any], str | None, object]] = {
    "to the certificate shown": ({}, BOUND, "mine", True),
    "to another than the one shown": ({}, BOUND, "other", Reason.TOKEN_CERTIFICATE_OTHER),
    "to one, and none is shown": ({}, BOUND, None, Reason.TOKEN_CERTIFICATE_MISSING),
    "to nothing, which its issuer promises": (
        {"sender_constrained": "certificate"}, {}, "mine", Reason.TOKEN_UNBOUND,
    ),
    "to a DPoP key": ({}, {"cnf": {"jkt": "mine"}}, "mine", Reason.TOKEN_CONFIRMATION_UNSUPPORTED),
}  # fmt: skip


@pytest.mark.parametrize(("said", "changes", "shown", "result"), BINDINGS.values(), ids=BINDINGS)
def test_a_token_is_bound(said: dict[str, Any], changes: dict[str, Any], shown: str | None, result: object) -> None:
    assert judged_by(said, a_token(**changes), shown=shown) is result


def test_what_is_wrong_with_the_signature_comes_before_what_the_claims_say() -> None:
    """Else a stranger learns from reasons what only the issuer's tokens should bring out."""
    forged = seal(header(), claims(exp=0, aud="x", act={}, cnf={"jkt": "x"}), STRANGER)
    assert judge(forged) is Reason.TOKEN_SIGNATURE_WRONG


CARRIED: dict[str, tuple[str | None, tuple[tuple[str, str], ...], object]] = {
    "nowhere": (None, (), Reason.TOKEN_MISSING),
    "in a cookie": (None, (("cookie id", "a.b.c"),), ("cookie id", "a.b.c")),
    "in a header": (None, (("header x-id", "a.b.c"),), ("header x-id", "a.b.c")),
    "in Authorization and a cookie": ("Bearer a.b.c", (("cookie id", "a.b.c"),), Reason.AUTHORIZATION_AMBIGUOUS),
    "in an Authorization of another scheme and a cookie": (
        "Basic YTpi", (("cookie id", "a.b.c"),), Reason.AUTHORIZATION_AMBIGUOUS,
    ),
    "in an empty Authorization and a cookie": ("", (("cookie id", "a"),), Reason.AUTHORIZATION_AMBIGUOUS),
    "in two cookies": (None, (("cookie a", "t"), ("cookie b", "t")), Reason.AUTHORIZATION_AMBIGUOUS),
    "in a header and a cookie": (None, (("header a", "t"), ("cookie b", "t")), Reason.AUTHORIZATION_AMBIGUOUS),
}  # fmt: skip


@pytest.mark.parametrize(("authorization", "carried", "read"), CARRIED.values(), ids=CARRIED)
def test_lessons_row_9_credentials_stand_at_one_place(
    authorization: str | None, carried: tuple[tuple[str, str], ...], read: object
) -> None:
    assert read_credentials(authorization, carried) == read


@given(st.none() | st.text(max_size=30), st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), max_size=3))
def test_no_credentials_raise(authorization: str | None, carried: list[tuple[str, str]]) -> None:
    found = read_credentials(authorization, tuple(carried))
    assert isinstance(found, Reason) or found[0] == "authorization" or found in carried


FIVE_PARTS = {
    "a JWE": "eyJhbGciOiJSU0EtT0FFUCJ9.a.b.c.d", "a JWE with a direct key": "eyJhbGciOiJkaXIifQ..b.c.d",
    "a JWE of a token": f"{HEAD}.{BODY}.{SIGNATURE}.{SIGNATURE}.",
}  # fmt: skip


@pytest.mark.parametrize("raw_token", FIVE_PARTS.values(), ids=FIVE_PARTS)
def test_an_encrypted_token_has_a_reason_of_its_own(raw_token: str) -> None:
    assert judge(raw_token) is Reason.TOKEN_ENCRYPTED


def test_an_encrypted_token_without_end_is_just_malformed() -> None:
    assert judge("a.b.c.d." + "e" * MAX_TOKEN_LENGTH) is MALFORMED


def test_lessons_row_12_no_key_of_one_issuer_verifies_for_another() -> None:
    """Every pair of issuer and key, also where both publish one id."""
    providers = {CORP: a_provider(), PARTNER: a_provider(PARTNER)}
    for iss, sets in ((CORP, corp_keys()), (PARTNER, partner_keys())):
        for signer, provider in providers.items():
            result = judge(seal(header(), claims(iss=iss), provider), keys=sets)
            assert isinstance(result, dict) == (iss == signer)


def test_lessons_row_13_no_needed_claim_can_be_left_out() -> None:
    for name in ("iss", "aud", "sub", "exp", "iat"):
        for empty in (None, "", [], {}):
            changed = {**claims(), name: empty}
            if empty is None:
                del changed[name]
            assert isinstance(judge(seal(header(), changed)), Reason), name
