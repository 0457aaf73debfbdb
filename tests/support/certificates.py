# SPDX-License-Identifier: Apache-2.0
"""CAs with real keys, and the certificates and revocation lists that they sign, right and wrong."""

import functools
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote  # noqa: TID251 - as Envoy writes a PEM

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from proxy.caller.authorities import Authority, AuthorityEntry, compile_authorities

NOW: Final = 1_800_000_000.0
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
BILLING: Final = "spiffe://corp.example/ns/prod/sa/billing"
REPORTS: Final = "spiffe://corp.example/ns/prod/sa/reports"
MESH: Final = """\
certificate_authorities:
  - id: mesh
    operated_by: home-co
    ca: file:ca.pem
    crl: [file:mesh.crl]
    identity: spiffe
    trust_domain: corp.example
    may_assert: {affiliate: any}
"""
"""An authority over callers' certificates, ``ca.pem`` with the list ``mesh.crl``, as it stands in a bundle."""


def encode(text: str, safe: str = "") -> str:
    """Return a text percent-encoded."""
    return quote(text, safe=safe)


class Held(msgspec.Struct, frozen=True):
    """A certificate, and the key that belongs to it."""

    certificate: x509.Certificate
    key: Any

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def key_pem(self) -> str:
        return str(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())

    def write(self, folder: Path, name: str, *chain: "Held") -> tuple[Path, Path]:
        """Write certificate and key as PEM, and return where."""
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        certificate.write_text("".join([self.pem, *(each.pem for each in chain)]), encoding="ascii")
        key.touch(mode=0o600)
        key.write_text(self.key_pem, encoding="ascii")
        return certificate, key

    def forwarded(self) -> str:
        """Return what Envoy writes of it."""
        digest = self.certificate.fingerprint(hashes.SHA256()).hex()
        return f'By=spiffe://corp.example/mesh;Hash={digest};Cert="{encode(self.pem)}";Subject="";URI={BILLING}'


def when(seconds: float) -> datetime:
    """Return an instant that many seconds from ``NOW``."""
    return datetime.fromtimestamp(NOW + seconds, UTC)


def a_name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def a_key() -> Any:
    return ec.generate_private_key(ec.SECP256R1())


def a_ca(
    common: str = "Corp CA",
    issuer: Held | None = None,
    *,
    key: Any = None,
    since: float = -3650 * 86400,
    until: float = 3650 * 86400,
    is_ca: bool = True,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    digest: Any = None,
) -> Held:
    """Return a CA certificate, its own issuer unless one is given."""
    own = key or a_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(a_name(common))
        .issuer_name(issuer.certificate.subject if issuer else a_name(common))
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(when(since))
        .not_valid_after(when(until))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return Held(builder.sign(issuer.key if issuer else own, digest or hashes.SHA256()), own)


def a_leaf(
    issuer: Held,
    *names: str,
    serial: int | None = None,
    since: float = -3600,
    until: float = 3600,
    usages: Sequence[x509.ObjectIdentifier] | None = (CLIENT,),
    common: str = "somebody",
    key: Any = None,
    is_ca: bool = False,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    general: Sequence[x509.GeneralName] = (),
    digest: Any = None,
) -> Held:
    """Return a certificate of a service: a name with ``://`` or ``urn:`` is a URI, another one a DNS name."""
    own = key or a_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(a_name(common))
        .issuer_name(issuer.certificate.subject)
        .public_key(own.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(when(since))
        .not_valid_after(when(until))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    )
    alternative = [*map(general_name, names), *general]
    if alternative:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternative), critical=False)
    if usages is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return Held(builder.sign(issuer.key, digest or hashes.SHA256()), own)


def general_name(name: str) -> x509.GeneralName:
    """Return a subject alternative name with exactly these characters, right or wrong."""
    is_uri = "://" in name or name.startswith("urn:")
    kind: Any = x509.UniformResourceIdentifier if is_uri else x509.DNSName
    return kind._init_without_validation(name)  # type: ignore[no-any-return]


def key_usage(**named: bool) -> x509.KeyUsage:
    """Return a key usage with nothing but what is named."""
    every = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{name: named.get(name, False) for name in every})


def a_list(
    issuer: Held,
    *serials: int,
    since: float = -3600,
    until: float | None = 3600,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    name: str | None = None,
    digest: Any = None,
) -> bytes:
    """Return a revocation list in PEM."""
    builder = x509.CertificateRevocationListBuilder().last_update(when(since))
    builder = builder.issuer_name(a_name(name) if name else issuer.certificate.subject)
    builder = builder.next_update(when(3600 if until is None else until))
    for serial in serials:
        revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(when(since))
        builder = builder.add_revoked_certificate(revoked.build())
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(issuer.key, digest or hashes.SHA256()).public_bytes(Encoding.PEM)


def an_authority_entry(**changes: Any) -> dict[str, Any]:
    """Return an entry of the register as it is written; a key given as None is left out."""
    entry = {
        "id": "mesh",
        "operated_by": "ly",
        "ca": "file:ca.pem",
        "identity": "spiffe",
        "trust_domain": "corp.example",
        "may_assert": {"affiliate": "any"},
    }
    return {name: value for name, value in (entry | changes).items() if value is not None}


def an_authority(*cas: Held, lists: Sequence[bytes] | None = None, **changes: Any) -> Authority:
    """Return a compiled authority over these CA certificates."""
    files = {"ca.pem": "".join(ca.pem for ca in cas).encode()}
    if lists is not None:
        files |= {f"{place}.crl": data for place, data in enumerate(lists)}
        changes["crl"] = [f"file:{place}.crl" for place in range(len(lists))]
    entry = AuthorityEntry.model_validate(an_authority_entry(**changes))
    (authority,), problems = compile_authorities([entry], files)
    assert problems == []
    return authority


@functools.cache
def corp_ca() -> Held:
    return a_ca()


@functools.cache
def corp_intermediate() -> Held:
    return a_ca("Corp Issuing CA", corp_ca())


@functools.cache
def partner_ca() -> Held:
    return a_ca("Partner CA")


@functools.cache
def billing() -> Held:
    return a_leaf(corp_ca(), BILLING)
