# SPDX-License-Identifier: Apache-2.0
"""What an authority over client certificates must say before it is trusted, and which of its files are refused."""

import pickle
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from proxy.caller.authorities import (
    Authority,
    AuthorityEntry,
    check_authorities,
    compile_authorities,
    find_files,
)
from tests.support.certificates import (
    NOW,
    SERVER,
    Held,
    a_ca,
    a_list,
    an_authority,
    an_authority_entry,
    billing,
    corp_ca,
    corp_intermediate,
    key_usage,
    partner_ca,
)

REFUSED: dict[str, dict[str, Any]] = {
    "no operator": {"operated_by": None},
    "no CA certificates": {"ca": None},
    "CA certificates from a bare path": {"ca": "ca.pem"},
    "CA certificates from a URL": {"ca": "https://ca.example/ca.pem"},
    "CA certificates written out": {"ca": ["file:ca.pem"]},
    "an empty path": {"ca": "file:"},
    "an empty list of revocation lists": {"crl": []},
    "a revocation list that is no list": {"crl": "file:a.crl"},
    "a revocation list from a URL": {"crl": ["http://ca.example/a.crl"]},
    "no identity": {"identity": None},
    "identity from the common name": {"identity": "cn"},
    "identity from e-mail addresses": {"identity": "email"},
    "an upper-case trust domain": {"trust_domain": "Corp.example"},
    "a trust domain that is a SPIFFE id": {"trust_domain": "spiffe://corp.example"},
    "an empty trust domain": {"trust_domain": ""},
    "nothing it may assert": {"may_assert": None},
    "nothing of affiliates that it may assert": {"may_assert": {}},
    "an empty list of affiliates": {"may_assert": {"affiliate": []}},
    "something else that it may assert": {"may_assert": {"affiliate": "any", "kind": "any"}},
    "a key that nobody knows": {"issuer": "x"},
}


@pytest.mark.parametrize("wrong", REFUSED.values(), ids=REFUSED)
def test_an_authority_does_not_load_with(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AuthorityEntry.model_validate(an_authority_entry(**wrong))


ACROSS: dict[str, tuple[dict[str, Any], tuple[str, ...], str]] = {
    "an operator that nobody declares": ({"operated_by": "naver"}, ("operated_by",), "no affiliate 'naver'"),
    "an id that is an issuer's": ({"id": "corp"}, ("id",), "is an issuer's, too"),
    "spiffe without trust domain": ({"trust_domain": None}, ("identity",), "needs `trust_domain`"),
    "a trust domain with DNS names": ({"identity": "dns"}, ("trust_domain",), "goes with `identity: spiffe` alone"),
    "an affiliate that nobody declares": (
        {"may_assert": {"affiliate": ["ly", "lyy"]}},
        ("may_assert", "affiliate", 1),  # type: ignore[dict-item]
        "did you mean 'ly'?",
    ),
}


@pytest.mark.parametrize(("changes", "path", "words"), ACROSS.values(), ids=ACROSS)
def test_across_registers_it_is_an_error_to_have(changes: dict[str, Any], path: tuple[str, ...], words: str) -> None:
    entry = AuthorityEntry.model_validate(an_authority_entry(**changes))
    (problem,) = check_authorities([entry], frozenset({"ly"}), frozenset({"corp"}))
    assert problem.path == (0, *path)
    assert words in problem.message


def test_a_sound_entry_has_no_problem() -> None:
    assert (
        check_authorities([AuthorityEntry.model_validate(an_authority_entry())], frozenset({"ly"}), frozenset()) == []
    )


def test_an_authority_compiles_to_plain_values_that_can_travel() -> None:
    authority = an_authority(
        corp_ca(), corp_intermediate(), lists=[a_list(corp_ca(), 3, 1, 2, 2)], may_assert={"affiliate": ["ly"]}
    )
    assert pickle.loads(pickle.dumps(authority)) == authority  # noqa: S301 - our own bytes
    assert (authority.id, authority.operator, authority.trust_domain) == ("mesh", "ly", "corp.example")
    assert (authority.assertable, authority.checks_revocation) == (frozenset({"ly"}), True)
    root, intermediate = authority.cas
    assert (root.der, root.parents, intermediate.parents) == (corp_ca().der, (), (0,))
    assert [(each.serials, each.until) for each in root.lists] == [((1, 2, 3), NOW + 3600)]
    assert intermediate.lists == ()
    assert an_authority(corp_ca()).assertable is None
    assert not an_authority(corp_ca()).checks_revocation


def test_the_files_of_an_entry_are_found_with_their_places() -> None:
    entry = AuthorityEntry.model_validate(an_authority_entry(crl=["file:a.crl", "file:b.crl"]))
    assert find_files(entry) == [(("ca",), "ca.pem"), (("crl", 0), "a.crl"), (("crl", 1), "b.crl")]


# CA certificates.


def compile_one(data: bytes, *lists: bytes) -> tuple[Authority, list[str]]:
    files = {"ca.pem": data} | {f"{place}.crl": each for place, each in enumerate(lists)}
    entry = AuthorityEntry.model_validate(
        an_authority_entry(crl=[f"file:{place}.crl" for place in range(len(lists))] or None)
    )
    (authority,), problems = compile_authorities([entry], files)
    return authority, [f"{'.'.join(map(str, problem.path))}: {problem.message}" for problem in problems]


def _odd(**changes: Any) -> Held:
    return a_ca("Odd CA", **changes)


UNKNOWN_EXTENSION = x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00")
BAD_CAS: dict[str, tuple[bytes, str]] = {
    "is empty": (b"", "holds no PEM certificates"),
    "is no PEM": (corp_ca().der, "holds no PEM certificates"),
    "is a broken PEM": (corp_ca().pem[:300].encode(), "holds no PEM certificates"),
    "holds a key": (corp_ca().key_pem.encode(), "take the private key away"),
    "holds a service's certificate": (billing().pem.encode(), "is not one of a CA (basicConstraints)"),
    "holds a sound one and a service's": ((corp_ca().pem + billing().pem).encode(), "is not one of a CA"),
    "may not sign certificates": (_odd(extensions=[(key_usage(crl_sign=True), True)]).pem.encode(), "(keyUsage)"),
    "signs for servers alone": (
        _odd(extensions=[(x509.ExtendedKeyUsage([SERVER]), False)]).pem.encode(),
        "may not sign certificates of clients",
    ),
    "has a small RSA key": (_odd(key=rsa.generate_private_key(65537, 1024)).pem.encode(), "too weak"),  # noqa: S505 - too small on purpose
    "has a key on a small curve": (_odd(key=ec.generate_private_key(ec.SECP192R1())).pem.encode(), "too weak"),
    "has a critical extension of somebody's": (
        _odd(extensions=[(UNKNOWN_EXTENSION, True)]).pem.encode(),
        "critical extension that is not understood",
    ),
    "constrains e-mail addresses": (
        _odd(extensions=[(x509.NameConstraints([x509.RFC822Name("corp.example")], None), True)]).pem.encode(),
        "constrains names of a kind",
    ),
}


@pytest.mark.parametrize(("data", "words"), BAD_CAS.values(), ids=BAD_CAS)
def test_a_file_of_ca_certificates_is_refused_that(data: bytes, words: str) -> None:
    _, problems = compile_one(data)
    assert len(problems) == 1
    assert problems[0].startswith("0.ca: file:ca.pem")
    assert words in problems[0]


def test_a_ca_certificate_that_stands_twice_counts_once() -> None:
    authority, problems = compile_one((corp_ca().pem * 2).encode())
    assert (len(authority.cas), problems) == (1, [])


def test_a_key_belongs_to_one_authority() -> None:
    entries = [
        AuthorityEntry.model_validate(an_authority_entry(id=id_, ca=f"file:{id_}.pem")) for id_ in ("mesh", "partner")
    ]
    renewed = a_ca("Another name", key=corp_ca().key)
    files = {"mesh.pem": corp_ca().pem.encode(), "partner.pem": (partner_ca().pem + renewed.pem).encode()}
    _, (problem,) = compile_authorities(entries, files)
    assert problem.path == (1, "ca")
    assert "is of the authority 'mesh', too" in problem.message


# Revocation lists.

DELTA = (x509.DeltaCRLIndicator(1), True)


def _point(**changes: Any) -> tuple[x509.ExtensionType, bool]:
    said = {
        "full_name": None,
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }
    return x509.IssuingDistributionPoint(**{**said, **changes}), True


BAD_LISTS: dict[str, tuple[bytes, str]] = {
    "is empty": (b"", "is no revocation list"),
    "is a certificate": (corp_ca().pem.encode(), "is no revocation list"),
    "is cut off": (a_list(corp_ca())[:200], "is no revocation list"),
    "another CA has signed": (a_list(partner_ca()), "is signed by none of the CA certificates"),
    "a stranger has signed under our CA's name": (a_list(partner_ca(), name="Corp CA"), "is signed by none"),
    "our CA has signed under another name": (a_list(corp_ca(), name="Partner CA"), "is signed by none"),
    "is a delta": (a_list(corp_ca(), extensions=[DELTA]), "is a delta"),
    "covers CA certificates alone": (
        a_list(corp_ca(), extensions=[_point(only_contains_ca_certs=True)]),
        "covers only",
    ),
    "covers some reasons alone": (
        a_list(corp_ca(), extensions=[_point(only_some_reasons=frozenset({x509.ReasonFlags.key_compromise}))]),
        "covers only",
    ),
    "is an indirect one": (a_list(corp_ca(), extensions=[_point(indirect_crl=True)]), "covers only"),
    "covers attribute certificates": (
        a_list(corp_ca(), extensions=[_point(only_contains_attribute_certs=True)]),
        "covers only",
    ),
    "has a critical extension of somebody's": (a_list(corp_ca(), extensions=[(UNKNOWN_EXTENSION, True)]), "critical"),
}


@pytest.mark.parametrize(("data", "words"), BAD_LISTS.values(), ids=BAD_LISTS)
def test_a_revocation_list_is_refused_that(data: bytes, words: str) -> None:
    _, problems = compile_one(corp_ca().pem.encode(), a_list(corp_ca()), data)
    assert len(problems) == 1
    assert problems[0].startswith("0.crl.1: file:1.crl ")
    assert words in problems[0]


def test_a_revocation_list_whose_signature_was_changed_is_refused() -> None:
    der = bytearray(x509.load_pem_x509_crl(a_list(corp_ca(), 1)).public_bytes(Encoding.DER))
    der[-1] ^= 1
    _, problems = compile_one(corp_ca().pem.encode(), bytes(der))
    assert len(problems) == 1


@pytest.mark.parametrize("extensions", [(), (_point(only_contains_user_certs=True),), ((x509.CRLNumber(7), False),)])
def test_a_whole_list_is_taken_in_pem_and_der(extensions: Any) -> None:
    pem = a_list(corp_ca(), 5, extensions=extensions)
    der = x509.load_pem_x509_crl(pem).public_bytes(Encoding.DER)
    for data in (pem, der):
        authority, problems = compile_one(corp_ca().pem.encode(), data)
        assert problems == []
        assert authority.cas[0].lists[0].serials == (5,)


@given(st.binary(max_size=300), st.booleans())
def test_no_bytes_make_the_reader_raise(data: bytes, armour: bool) -> None:  # noqa: FBT001
    framed = b"-----BEGIN X509 CRL-----\n" + data + b"\n-----END X509 CRL-----\n" if armour else data
    _, problems = compile_one(corp_ca().pem.encode(), framed)
    assert len(problems) == 1
    _, problems = compile_one(framed)
    assert len(problems) == 1
