# SPDX-License-Identifier: Apache-2.0
"""A grid of the law of client certificates: one case for each way in which one is nobody's."""

from base64 import urlsafe_b64decode
from collections.abc import Callable
from hashlib import sha256

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID, ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st

from proxy.caller.certificates import (
    MAX_BYTES,
    MAX_KEPT,
    Authorities,
    Certificate,
    CertificateIdentity,
    find_name,
    read_certificate,
)
from proxy.model.decision import Reason
from tests.support.certificates import (
    BILLING,
    CLIENT,
    NOW,
    REPORTS,
    SERVER,
    Held,
    a_ca,
    a_leaf,
    a_list,
    a_name,
    an_authority,
    billing,
    corp_ca,
    corp_intermediate,
    key_usage,
    partner_ca,
)


def identify(leaf: Held | bytes, *authorities: object, now: float = NOW) -> CertificateIdentity | Reason:
    der = leaf if isinstance(leaf, bytes) else leaf.der
    return Authorities(authorities or [an_authority(corp_ca())]).identify(der, now)  # type: ignore[arg-type]


# Who somebody is.


def test_a_service_is_who_its_spiffe_id_says() -> None:
    found = identify(billing())
    assert isinstance(found, CertificateIdentity)
    assert (found.authority_id, found.operator, found.name) == ("mesh", "ly", BILLING)
    assert found.principal == f"mesh|{BILLING}"
    assert (found.since, found.until) == (NOW - 3600, NOW + 3600)


def test_the_thumbprint_is_that_of_rfc_8705() -> None:
    found = identify(billing())
    assert isinstance(found, CertificateIdentity)
    assert "=" not in found.thumbprint
    assert urlsafe_b64decode(found.thumbprint + "=") == sha256(billing().der).digest()


NAMED = {
    "a DNS name": ("dns", "billing.prod.corp.example"),
    "a DNS name of one label": ("dns", "billing"),
    "a DNS name that ends with a digit": ("dns", "billing1.prod2"),
    "an internationalised DNS name as it is written in DNS": ("dns", "xn--ls8h.corp.example"),
    "a URI with a host": ("uri", "https://billing.corp.example/api"),
    "a URI with a port": ("uri", "https://billing.corp.example:8443/api"),
    "a URN": ("uri", "urn:corp:service:billing"),
    "a SPIFFE id": ("spiffe", BILLING),
    "a SPIFFE id with every character that one may have": ("spiffe", "spiffe://corp.example/Aa0._-/.a/..."),
}


@pytest.mark.parametrize(("identity", "name"), NAMED.values(), ids=NAMED)
def test_a_service_is_who_its_name_says(identity: str, name: str) -> None:
    authority = an_authority(
        corp_ca(), identity=identity, trust_domain="corp.example" if identity == "spiffe" else None
    )
    found = identify(a_leaf(corp_ca(), name), authority)
    assert isinstance(found, CertificateIdentity), found
    assert found.name == name


# Names that identify nobody: LESSONS rows 19 (CVE-2026-47778) and 24.

MALFORMED_NAMES = {
    "a NUL byte, and then a name that would do": ("dns", "billing.corp.example\0.evil.example"),
    "a NUL byte at the end": ("dns", "billing.corp.example\0"),
    "a wildcard": ("dns", "*.corp.example"),
    "upper case": ("dns", "Billing.corp.example"),
    "a dot at the end": ("dns", "billing.corp.example."),
    "a dot at the beginning": ("dns", ".corp.example"),
    "an empty label": ("dns", "billing..corp.example"),
    "an empty name": ("dns", ""),
    "an underscore": ("dns", "_billing.corp.example"),
    "a label that begins with a hyphen": ("dns", "-billing.corp.example"),
    "a label of 64 characters": ("dns", f"{'a' * 64}.example"),
    "254 characters": ("dns", ".".join(["a" * 50] * 5)),
    "an IPv4 address": ("dns", "10.0.0.1"),
    "a space": ("dns", "billing corp.example"),
    "a line feed at the end": ("dns", "billing.corp.example\n"),
    "an e-mail address": ("dns", "billing@corp.example"),
    "two @, the second of which is ours": ("dns", "billing@evil.example@corp.example"),
    "a NUL byte in a SPIFFE id": ("spiffe", f"{BILLING}\0"),
    "a NUL byte in a trust domain": ("spiffe", "spiffe://corp.example\0.evil.example/billing"),
    "a SPIFFE id without path": ("spiffe", "spiffe://corp.example"),
    "a SPIFFE id with a root path": ("spiffe", "spiffe://corp.example/"),
    "a SPIFFE id that ends with a slash": ("spiffe", f"{BILLING}/"),
    "a SPIFFE id with an empty segment": ("spiffe", "spiffe://corp.example//billing"),
    "a SPIFFE id with a dot segment": ("spiffe", "spiffe://corp.example/reports/../billing"),
    "a SPIFFE id that ends with dots": ("spiffe", "spiffe://corp.example/billing/.."),
    "a SPIFFE id with a query": ("spiffe", f"{BILLING}?admin"),
    "a SPIFFE id with a fragment": ("spiffe", f"{BILLING}#admin"),
    "a SPIFFE id with a port": ("spiffe", "spiffe://corp.example:443/billing"),
    "a SPIFFE id with a user": ("spiffe", "spiffe://me@corp.example/billing"),
    "a percent-encoded SPIFFE id": ("spiffe", "spiffe://corp.example/b%69lling"),
    "a SPIFFE id with an upper-case scheme": ("spiffe", "SPIFFE://corp.example/billing"),
    "a SPIFFE id with an upper-case trust domain": ("spiffe", "spiffe://Corp.example/billing"),
    "a SPIFFE id of 2049 characters": ("spiffe", f"spiffe://corp.example/{'a' * 2027}"),
    "another URI in place of a SPIFFE id": ("spiffe", "https://corp.example/billing"),
    "a NUL byte in a URI": ("uri", "https://corp.example\0/billing"),
    "a URI with an upper-case host": ("uri", "https://Corp.example/billing"),
    "a URI with a user": ("uri", "https://me@corp.example/billing"),
    "a URI with an empty port": ("uri", "https://corp.example:/billing"),
    "a URI with a dot segment": ("uri", "https://corp.example/./billing"),
    "a URI that ends with a slash": ("uri", "https://corp.example/billing/"),
    "a percent-encoded URI": ("uri", "https://corp.example/b%69lling"),
    "a URI with a fragment": ("uri", "https://corp.example/billing#x"),
    "a URI that is a script": ("uri", "javascript://%0aalert(1)"),
}


@pytest.mark.parametrize(("identity", "name"), MALFORMED_NAMES.values(), ids=MALFORMED_NAMES)
def test_no_certificate_identifies_anybody_by_a_name_with(identity: str, name: str) -> None:
    authority = an_authority(
        corp_ca(), identity=identity, trust_domain="corp.example" if identity == "spiffe" else None
    )
    assert identify(a_leaf(corp_ca(), general=[_raw(identity, name)]), authority) == Reason.CERTIFICATE_NAME_MALFORMED


def _raw(identity: str, name: str) -> x509.GeneralName:
    kind = x509.DNSName if identity == "dns" else x509.UniformResourceIdentifier
    return kind._init_without_validation(name)


@pytest.mark.parametrize("name", [b"billing.c\xc3\xb6rp.exampl", b"billing.c\xf6\xf6rp.exampl"])
def test_a_name_that_is_no_ascii_identifies_nobody(name: bytes) -> None:
    authority = an_authority(corp_ca(), identity="dns", trust_domain=None)
    certificate = read_certificate(a_leaf(corp_ca(), "billing.corp.example").der.replace(b"billing.corp.example", name))
    if certificate is not Reason.CERTIFICATE_MALFORMED:  # the signature is wrong, too: the name is asked alone
        assert isinstance(certificate, Certificate)
        assert find_name(authority, authority.cas[0], certificate) == Reason.CERTIFICATE_NAME_MALFORMED


OTHERS_NAMES = {
    "no alternative name, a common name that would do": ([], Reason.CERTIFICATE_NAME_MISSING),
    "a DNS name where services go by SPIFFE id": (["corp.example"], Reason.CERTIFICATE_NAME_MISSING),
    "two SPIFFE ids": ([BILLING, REPORTS], Reason.CERTIFICATE_NAME_REPEATED),
    "a SPIFFE id and another URI (X.509-SVID 2)": ([BILLING, "https://x.example"], Reason.CERTIFICATE_NAME_REPEATED),
    "the same SPIFFE id twice": ([BILLING, BILLING], Reason.CERTIFICATE_NAME_REPEATED),
    "another trust domain": (["spiffe://evil.example/ns/prod/sa/billing"], Reason.CERTIFICATE_NAME_FOREIGN),
    "a trust domain below ours": (["spiffe://a.corp.example/billing"], Reason.CERTIFICATE_NAME_FOREIGN),
    "a trust domain that begins like ours": (["spiffe://corp.example.evil/b"], Reason.CERTIFICATE_NAME_FOREIGN),
}


@pytest.mark.parametrize(("names", "reason"), OTHERS_NAMES.values(), ids=OTHERS_NAMES)
def test_no_certificate_identifies_anybody_with(names: list[str], reason: Reason) -> None:
    assert identify(a_leaf(corp_ca(), *names, common=BILLING)) == reason


def test_a_dns_name_beside_the_spiffe_id_does_no_harm() -> None:
    assert isinstance(identify(a_leaf(corp_ca(), BILLING, "billing.corp.example")), CertificateIdentity)


def test_an_email_address_identifies_nobody() -> None:
    leaf = a_leaf(corp_ca(), general=[x509.RFC822Name("alice@corp.example")])
    for identity in ("dns", "uri"):
        authority = an_authority(corp_ca(), identity=identity, trust_domain=None)
        assert identify(leaf, authority) == Reason.CERTIFICATE_NAME_MISSING


# Who signed it.


def _resigned(leaf: Held, common: str) -> Held:
    """Return a certificate that a stranger signed, under a name that is ours."""
    return a_leaf(a_ca(common), BILLING, serial=leaf.certificate.serial_number)


SIGNERS: dict[str, tuple[Callable[[], Held], Reason]] = {
    "another authority": (lambda: a_leaf(partner_ca(), BILLING), Reason.CERTIFICATE_AUTHORITY_UNDECLARED),
    "a stranger who bears our CA's name": (
        lambda: _resigned(billing(), "Corp CA"),
        Reason.CERTIFICATE_AUTHORITY_UNDECLARED,
    ),
    "itself": (lambda: a_ca("me", is_ca=False), Reason.CERTIFICATE_AUTHORITY_UNDECLARED),
    "an intermediate that is not listed": (
        lambda: a_leaf(corp_intermediate(), BILLING),
        Reason.CERTIFICATE_AUTHORITY_UNDECLARED,
    ),
    "another service": (lambda: a_leaf(billing(), REPORTS), Reason.CERTIFICATE_AUTHORITY_UNDECLARED),
}


@pytest.mark.parametrize(("make", "reason"), SIGNERS.values(), ids=SIGNERS)
def test_a_certificate_is_nobodys_that_is_signed_by(make: Callable[[], Held], reason: Reason) -> None:
    assert identify(make()) == reason


def test_a_listed_intermediate_is_enough() -> None:
    leaf = a_leaf(corp_intermediate(), BILLING)
    assert isinstance(identify(leaf, an_authority(corp_intermediate())), CertificateIdentity)
    assert isinstance(identify(leaf, an_authority(corp_ca(), corp_intermediate())), CertificateIdentity)


def test_a_certificate_of_one_authority_never_identifies_for_another() -> None:
    own = an_authority(corp_ca())
    partner = an_authority(partner_ca(), id="partner", operated_by="naver", trust_domain="partner.example")
    found = identify(a_leaf(partner_ca(), "spiffe://partner.example/x"), own, partner)
    assert isinstance(found, CertificateIdentity)
    assert (found.authority_id, found.operator) == ("partner", "naver")
    assert identify(a_leaf(partner_ca(), BILLING), own, partner) == Reason.CERTIFICATE_NAME_FOREIGN


def test_two_authorities_whose_cas_bear_one_name_are_told_apart_by_their_keys() -> None:
    own, twin = a_ca("The CA"), a_ca("The CA")
    authorities = an_authority(own), an_authority(twin, id="twin")
    for ca, expected in ((own, "mesh"), (twin, "twin")):
        found = identify(a_leaf(ca, BILLING), *authorities)
        assert isinstance(found, CertificateIdentity)
        assert found.authority_id == expected


def test_nobody_is_known_where_no_authority_is_declared() -> None:
    assert Authorities([]).identify(billing().der, NOW) == Reason.CERTIFICATE_AUTHORITY_UNDECLARED


def test_a_renewed_ca_certificate_with_the_same_key_takes_over_from_the_expired_one() -> None:
    old = a_ca("Corp CA", until=-60)
    new = a_ca("Corp CA", key=old.key)
    leaf = a_leaf(old, BILLING)
    assert identify(leaf, an_authority(old)) == Reason.CERTIFICATE_AUTHORITY_EXPIRED
    assert isinstance(identify(leaf, an_authority(old, new)), CertificateIdentity)


# What it is for, and when.

LEAVES: dict[str, tuple[Callable[[], Held], Reason]] = {
    "is for servers": (lambda: a_leaf(corp_ca(), BILLING, usages=[SERVER]), Reason.CERTIFICATE_USAGE_OTHER),
    "is for anything by anyExtendedKeyUsage": (
        lambda: a_leaf(corp_ca(), BILLING, usages=[ObjectIdentifier("2.5.29.37.0")]),
        Reason.CERTIFICATE_USAGE_OTHER,
    ),
    "is a CA's": (lambda: a_leaf(corp_ca(), BILLING, is_ca=True), Reason.CERTIFICATE_USAGE_OTHER),
    "may sign certificates": (
        lambda: a_leaf(corp_ca(), BILLING, extensions=[(key_usage(digital_signature=True, key_cert_sign=True), True)]),
        Reason.CERTIFICATE_USAGE_OTHER,
    ),
    "may sign revocation lists": (
        lambda: a_leaf(corp_ca(), BILLING, extensions=[(key_usage(digital_signature=True, crl_sign=True), True)]),
        Reason.CERTIFICATE_USAGE_OTHER,
    ),
    "may not sign a handshake": (
        lambda: a_leaf(corp_ca(), BILLING, extensions=[(key_usage(key_encipherment=True), True)]),
        Reason.CERTIFICATE_USAGE_OTHER,
    ),
    "has expired": (lambda: a_leaf(corp_ca(), BILLING, until=-1), Reason.CERTIFICATE_EXPIRED),
    "expires this instant": (lambda: a_leaf(corp_ca(), BILLING, until=0), Reason.CERTIFICATE_EXPIRED),
    "is not yet valid": (lambda: a_leaf(corp_ca(), BILLING, since=1), Reason.CERTIFICATE_NOT_YET_VALID),
    "has a small RSA key": (
        lambda: a_leaf(corp_ca(), BILLING, key=rsa.generate_private_key(65537, 1024)),  # noqa: S505 - too small on purpose
        Reason.CERTIFICATE_WEAK,
    ),
    "has a key on a small curve": (
        lambda: a_leaf(corp_ca(), BILLING, key=ec.generate_private_key(ec.SECP192R1())),
        Reason.CERTIFICATE_WEAK,
    ),
    "has a critical extension that nobody knows": (
        lambda: a_leaf(
            corp_ca(),
            BILLING,
            extensions=[(x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)],
        ),
        Reason.CERTIFICATE_MALFORMED,
    ),
}


@pytest.mark.parametrize(("make", "reason"), LEAVES.values(), ids=LEAVES)
def test_a_certificate_is_nobodys_that(make: Callable[[], Held], reason: Reason) -> None:
    assert identify(make()) == reason


SOUND: dict[str, Callable[[], Held]] = {
    "is for clients and servers": lambda: a_leaf(corp_ca(), BILLING, usages=[SERVER, CLIENT]),
    "says nothing of its usage": lambda: a_leaf(corp_ca(), BILLING, usages=None),
    "may sign handshakes alone": lambda: a_leaf(
        corp_ca(), BILLING, extensions=[(key_usage(digital_signature=True), True)]
    ),
    "has an Ed25519 key": lambda: a_leaf(corp_ca(), BILLING, key=ed25519.Ed25519PrivateKey.generate()),
    "has an RSA key": lambda: a_leaf(corp_ca(), BILLING, key=rsa.generate_private_key(65537, 2048)),
    "has an extension that nobody needs to know": lambda: a_leaf(
        corp_ca(), BILLING, extensions=[(x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00"), False)]
    ),
}


@pytest.mark.parametrize("make", SOUND.values(), ids=SOUND)
def test_a_certificate_is_its_services_that(make: Callable[[], Held]) -> None:
    assert isinstance(identify(make()), CertificateIdentity)


def test_a_ca_that_has_expired_or_has_not_begun_vouches_for_nobody() -> None:
    for ca in (a_ca("Corp CA", until=-1), a_ca("Corp CA", since=1)):
        assert identify(a_leaf(ca, BILLING), an_authority(ca)) == Reason.CERTIFICATE_AUTHORITY_EXPIRED


# Name constraints of a CA (RFC 5280 4.2.1.10).


def _constrained(*permitted: x509.GeneralName, excluded: tuple[x509.GeneralName, ...] = ()) -> Held:
    return a_ca("Narrow CA", extensions=[(x509.NameConstraints(permitted or None, excluded or None), True)])


DNS, URI = x509.DNSName, x509.UniformResourceIdentifier
CONSTRAINTS = {
    "the permitted name itself": (_constrained(DNS("corp.example")), "corp.example", True),
    "a name below the permitted one": (_constrained(DNS("corp.example")), "a.corp.example", True),
    "a name that ends like the permitted one": (_constrained(DNS("corp.example")), "evilcorp.example", False),
    "a name beside the permitted one": (_constrained(DNS("corp.example")), "partner.example", False),
    "an excluded name": (_constrained(excluded=(DNS("prod.corp.example"),)), "a.prod.corp.example", False),
    "a name that is not excluded": (_constrained(excluded=(DNS("prod.corp.example"),)), "a.test.example", True),
    "an excluded name inside a permitted one": (
        _constrained(DNS("corp.example"), excluded=(DNS("prod.corp.example"),)),
        "prod.corp.example",
        False,
    ),
    "a URI of the permitted host": (_constrained(URI("corp.example")), "https://corp.example/x", True),
    "a URI below the permitted host": (_constrained(URI("corp.example")), "https://a.corp.example/x", False),
    "a URI below the permitted domain": (_constrained(URI(".corp.example")), "https://a.corp.example/x", True),
    "a URN, which has no host": (_constrained(URI("corp.example")), "urn:corp:x", False),
    "a kind of name that is not constrained": (_constrained(DNS("corp.example")), "https://evil.example/x", True),
}


@pytest.mark.parametrize(("ca", "name", "is_inside"), CONSTRAINTS.values(), ids=CONSTRAINTS)
def test_a_ca_vouches_inside_its_name_constraints_alone(ca: Held, name: str, is_inside: bool) -> None:  # noqa: FBT001
    identity = "uri" if ":" in name else "dns"
    found = identify(a_leaf(ca, name), an_authority(ca, identity=identity, trust_domain=None))
    assert isinstance(found, CertificateIdentity) if is_inside else found == Reason.CERTIFICATE_NAME_FOREIGN


# Revocation.

SERIAL = 4711
KNOWN: dict[str, tuple[list[bytes], Reason | None]] = {
    "an empty list": ([a_list(corp_ca())], None),
    "a list of others": ([a_list(corp_ca(), SERIAL - 1, SERIAL + 1, 1, 2**150)], None),
    "a list that names it": ([a_list(corp_ca(), SERIAL)], Reason.CERTIFICATE_REVOKED),
    "two lists, the second of which names it": (
        [a_list(corp_ca(), 1), a_list(corp_ca(), SERIAL)],
        Reason.CERTIFICATE_REVOKED,
    ),
    "a list that has ended": ([a_list(corp_ca(), until=-1)], Reason.CERTIFICATE_REVOCATION_UNKNOWN),
    "a list that ends this instant": ([a_list(corp_ca(), until=0)], Reason.CERTIFICATE_REVOCATION_UNKNOWN),
    "a list that has ended and names it": ([a_list(corp_ca(), SERIAL, until=-1)], Reason.CERTIFICATE_REVOKED),
    "a list of tomorrow": ([a_list(corp_ca(), since=86400, until=2 * 86400)], Reason.CERTIFICATE_REVOCATION_UNKNOWN),
    "a list of a clock that is ahead": ([a_list(corp_ca(), since=30)], None),
    "a current list beside one that has ended": (
        [a_list(corp_ca()), a_list(corp_ca(), until=-1)],
        Reason.CERTIFICATE_REVOCATION_UNKNOWN,
    ),
}


@pytest.mark.parametrize(("lists", "reason"), KNOWN.values(), ids=KNOWN)
def test_a_service_is_told_by(lists: list[bytes], reason: Reason | None) -> None:
    found = identify(a_leaf(corp_ca(), BILLING, serial=SERIAL), an_authority(corp_ca(), lists=lists))
    assert found == reason if reason else isinstance(found, CertificateIdentity)


def test_nothing_is_known_of_a_ca_certificate_without_a_list_where_others_have_one() -> None:
    authority = an_authority(corp_ca(), corp_intermediate(), lists=[a_list(corp_ca())])
    assert identify(a_leaf(corp_intermediate(), BILLING), authority) == Reason.CERTIFICATE_REVOCATION_UNKNOWN
    assert isinstance(identify(a_leaf(corp_ca(), BILLING), authority), CertificateIdentity)


@pytest.mark.parametrize(
    ("above", "reason"),
    [
        pytest.param([], None, id="it is not in its parent's list"),
        pytest.param(["revoked"], Reason.CERTIFICATE_REVOKED, id="it is in its parent's list"),
        pytest.param(["ended"], Reason.CERTIFICATE_REVOCATION_UNKNOWN, id="its parent's list has ended"),
    ],
)
def test_an_intermediate_vouches_if(above: list[str], reason: Reason | None) -> None:
    serial = corp_intermediate().certificate.serial_number
    own = a_list(corp_ca(), *([serial] if "revoked" in above else []), until=-1 if "ended" in above else 3600)
    authority = an_authority(corp_ca(), corp_intermediate(), lists=[own, a_list(corp_intermediate())])
    found = identify(a_leaf(corp_intermediate(), BILLING), authority)
    assert found == reason if reason else isinstance(found, CertificateIdentity)


# What is kept.


def test_an_identity_that_is_kept_ends_with_what_ends_first() -> None:
    ends = {
        "the certificate": (an_authority(corp_ca()), NOW + 3600),
        "a revocation list": (an_authority(corp_ca(), lists=[a_list(corp_ca(), until=60)]), NOW + 60),
    }
    ca = a_ca("Short CA", until=30)
    for authority, leaf, until in (*((a, billing(), u) for a, u in ends.values()), (an_authority(ca), None, NOW + 30)):
        authorities = Authorities([authority])
        der = (leaf or a_leaf(ca, BILLING)).der
        first = authorities.identify(der, NOW)
        assert isinstance(first, CertificateIdentity)
        assert first.until == until
        assert authorities.identify(der, until - 1) is first
        assert isinstance(authorities.identify(der, until), Reason)
        assert isinstance(authorities.identify(der, NOW - 7200), Reason), "a clock that goes back"


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_KEPT == 10_000
    monkeypatch.setattr("proxy.caller.certificates.MAX_KEPT", 8)
    authorities = Authorities([an_authority(corp_ca())])
    key = billing().key
    for number in range(20):
        authorities.identify(a_leaf(corp_ca(), f"spiffe://corp.example/{number}", key=key).der, NOW)
        assert len(authorities._kept) <= 8


# Bytes of anybody.


def test_a_certificate_that_is_too_large_is_none() -> None:
    assert read_certificate(b"\x30" * (MAX_BYTES + 1)) == Reason.CERTIFICATE_MALFORMED


@given(st.binary(max_size=400))
def test_any_bytes_are_no_certificate(data: bytes) -> None:
    assert read_certificate(data) == Reason.CERTIFICATE_MALFORMED


@given(st.integers(0, len(billing().der) - 1), st.integers(1, 255))
def test_a_certificate_of_which_a_byte_is_changed_identifies_nobody(place: int, change: int) -> None:
    der = bytearray(billing().der)
    der[place] ^= change
    assert isinstance(identify(bytes(der)), Reason)


@given(st.integers(0, len(billing().der) - 1))
def test_a_part_of_a_certificate_and_one_with_more_behind_it_are_none(length: int) -> None:
    der = billing().der
    assert read_certificate(der[:length]) == Reason.CERTIFICATE_MALFORMED
    assert read_certificate(der + der[:length] + b"\0") == Reason.CERTIFICATE_MALFORMED


@given(st.text(st.characters(max_codepoint=0x7F), max_size=40))
def test_a_dns_name_identifies_in_one_form_alone(name: str) -> None:
    authority = an_authority(corp_ca(), identity="dns", trust_domain=None)
    found = identify(a_leaf(corp_ca(), general=[_raw("dns", name)], key=billing().key), authority)
    if isinstance(found, CertificateIdentity):
        assert found.name == name == name.lower().strip(".")
        assert name.replace(".", "").replace("-", "").isalnum()


def test_what_a_certificate_says_is_read_as_it_stands() -> None:
    leaf = a_leaf(corp_ca(), BILLING, "a.example", serial=7, common="x")
    found = read_certificate(leaf.der)
    assert isinstance(found, Certificate)
    assert (found.serial, found.dns, found.uris, found.is_client) == (7, ("a.example",), (BILLING,), True)
    assert found.issuer == a_name("Corp CA").public_bytes()
    assert leaf.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "x"
