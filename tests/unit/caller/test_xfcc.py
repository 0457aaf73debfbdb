# SPDX-License-Identifier: Apache-2.0
"""``X-Forwarded-Client-Cert``: one element, its certificate, and nothing else of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.caller.xfcc import read_forwarded_certificate
from proxy.model.decision import Reason
from tests.support.certificates import BILLING, REPORTS, a_leaf, billing, corp_ca, encode

REPEATED, MALFORMED, MISSING = (
    Reason.FORWARDED_CERTIFICATE_REPEATED,
    Reason.FORWARDED_CERTIFICATE_MALFORMED,
    Reason.FORWARDED_CERTIFICATE_MISSING,
)
OWN = billing()
HASH = f"Hash={OWN.certificate.fingerprint(OWN.certificate.signature_hash_algorithm).hex()}"  # type: ignore[arg-type]
PEM = encode(OWN.pem, safe="")
CERT = f'Cert="{PEM}"'
OTHER = a_leaf(corp_ca(), REPORTS)
OTHER_CERT = f'Cert="{encode(OTHER.pem, safe="")}"'

TAKEN = {
    "all that Envoy writes": OWN.forwarded(),
    "the certificate and its hash": f"{HASH};{CERT}",
    "another order": f"{CERT};{HASH}",
    "no quotes": f"{HASH};Cert={PEM}",
    "keys in another letter case": f'{HASH.upper().replace("HASH", "hASH")};cert="{PEM}"',
    "only what must be is encoded": f'{HASH};Cert="{encode(OWN.pem, safe="/+= -")}"',
    "lower-case escapes": f'{HASH};Cert="{PEM.replace("%2B", "%2b").replace("%0A", "%0a")}"',
    "a chain beside it": f'{HASH};{CERT};Chain="{PEM}"',
    "several DNS names": f"{HASH};{CERT};DNS=a.example;DNS=b.example",
    "several URIs": f"By=spiffe://x/y;{HASH};{CERT};URI={BILLING};URI=https://x.example/",
    "a subject with quotes inside": rf'{HASH};{CERT};Subject="CN=\"a, b; Cert=x\",O=\\"',
    "an empty subject": f'{HASH};{CERT};Subject=""',
    "an empty URI": f"{HASH};{CERT};URI=",
    "a URI with an equals sign": f"{HASH};{CERT};URI=https://x.example/?a=b",
}


@pytest.mark.parametrize("value", TAKEN.values(), ids=TAKEN)
def test_the_certificate_is_taken_from(value: str) -> None:
    assert read_forwarded_certificate(value) == OWN.der


REFUSED = {
    "two elements": (f"{HASH};{CERT},{HASH};{CERT}", REPEATED),
    "an element of a proxy before ours": (f'By=a;{HASH};{CERT},By=b;Hash={"0" * 64};Subject="x"', REPEATED),
    "an empty second element": (f"{HASH};{CERT},", REPEATED),
    "an empty first element": (f",{HASH};{CERT}", MALFORMED),
    "nothing": ("", MALFORMED),
    "a space": (" ", MALFORMED),
    "no certificate": (f'By=a;{HASH};Subject="CN=billing";URI={BILLING}', MISSING),
    "an empty certificate": (f'{HASH};Cert=""', MISSING),
    "no hash": (CERT, MALFORMED),
    "the hash of another certificate": (f"{HASH};{OTHER_CERT}", MALFORMED),
    "a hash that is too short": (f"{HASH[:-2]};{CERT}", MALFORMED),
    "two hashes": (f"{HASH};{HASH};{CERT}", MALFORMED),
    "two certificates": (f"{HASH};{CERT};{OTHER_CERT}", MALFORMED),
    "the same certificate twice": (f"{HASH};{CERT};{CERT}", MALFORMED),
    "a second key in another letter case": (f"{HASH};{CERT};CERT={PEM}", MALFORMED),
    "a key that nobody knows": (f"{HASH};{CERT};Email=x", MALFORMED),
    "a key without value": (f"{HASH};{CERT};URI", MALFORMED),
    "a value without key": (f"{HASH};{CERT};=x", MALFORMED),
    "an ending semicolon": (f"{HASH};{CERT};", MALFORMED),
    "two semicolons": (f"{HASH};;{CERT}", MALFORMED),
    "a space before a key": (f"{HASH}; {CERT}", MALFORMED),
    "an open quote": (f'{HASH};{CERT};Subject="x', MALFORMED),
    "an escape at the end": (f'{HASH};{CERT};Subject="x\\', MALFORMED),
    "something behind a quote": (f'{HASH};{CERT};Subject="x"y', MALFORMED),
    "a quote inside a bare value": (f'{HASH};{CERT};Subject=x"y"', MALFORMED),
    "two certificates in one PEM": (f'{HASH};Cert="{encode(OWN.pem * 2, safe="")}"', MALFORMED),
    "a certificate and its key": (f'{HASH};Cert="{encode(OWN.pem + OWN.key_pem, safe="")}"', MALFORMED),
    "text before the PEM": (f'{HASH};Cert="{encode("x" + OWN.pem, safe="")}"', MALFORMED),
    "bare base64": (f'{HASH};Cert="{encode("".join(OWN.pem.splitlines()[1:-1]), safe="")}"', MALFORMED),
    "a broken escape": (f'{HASH};Cert="{PEM}%2"', MALFORMED),
    "base64 that is none": (f'{HASH};Cert="{PEM.replace("MII", "M=I", 1)}"', MALFORMED),
    "a PEM that is encoded twice": (f'{HASH};Cert="{encode(PEM, safe="")}"', MALFORMED),
}


@pytest.mark.parametrize(("value", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_request_is_refused_for(value: str, reason: Reason) -> None:
    assert read_forwarded_certificate(value) == reason


def test_a_name_in_a_certificate_cannot_pass_for_the_proxys_words() -> None:
    """Envoy writes URIs bare: one that holds ``;Cert=`` must not bring in another service's certificate."""
    stolen = f'spiffe://corp.example/x;Cert="{encode(OTHER.pem, safe="")}"'
    shown = f"Hash={'ab' * 32};URI={stolen}"
    assert read_forwarded_certificate(shown) == MALFORMED
    assert read_forwarded_certificate(f"{shown};{CERT}") == MALFORMED
    own_hash = OTHER.certificate.fingerprint(OTHER.certificate.signature_hash_algorithm).hex()  # type: ignore[arg-type]
    assert read_forwarded_certificate(f"{shown};Hash={own_hash}") == MALFORMED


@given(st.text(max_size=200))
def test_any_text_is_refused_with_a_reason_and_never_raises(value: str) -> None:
    assert read_forwarded_certificate(value) in {REPEATED, MALFORMED, MISSING}


PIECES = st.sampled_from([HASH, CERT, OTHER_CERT, "By=a", "URI=x", "DNS=", 'Subject="a;b,c"', ";", ",", '"', "\\", "="])


@given(st.lists(PIECES, max_size=8).map("".join) | st.lists(PIECES, max_size=6).map(";".join))
def test_whatever_stands_there_only_the_one_certificate_with_its_hash_is_taken(value: str) -> None:
    found = read_forwarded_certificate(value)
    if isinstance(found, bytes):
        assert found == OWN.der
        assert value.count("Cert=") == value.count("Hash=") == 1
    else:
        assert found in {REPEATED, MALFORMED, MISSING}


QUOTED = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20)


@given(QUOTED, QUOTED)
def test_what_is_quoted_is_never_read_as_more(subject: str, name: str) -> None:
    subject, name = (text.replace("\\", "\\\\").replace('"', '\\"') for text in (subject, name))
    assert read_forwarded_certificate(f'Subject="{subject}";{HASH};DNS="{name}";{CERT}') == OWN.der
