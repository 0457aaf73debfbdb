# SPDX-License-Identifier: Apache-2.0
"""The register ``certificate_authorities``: whose client certificates say who a service is, and what it is called.

- An authority is trusted by the CA certificates that it lists, each for itself: a certificate identifies somebody only
  if one of them signed it directly. What they were signed by, and what else they sign, does not matter.
- A CA certificate, or its key, belongs to one authority.
- Revocation lists (RFC 5280 5) are checked while the folder is loaded: signed by a listed CA certificate, whole, not
  a part of one. An authority that names any must have a current one for each CA certificate that it is asked about.
- Everything here is plain values, so that a snapshot can travel to the process that serves.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID
from pydantic import Field

from proxy.caller.issuers import Assertable
from proxy.model.entry import Entry, Id, choice, scalar, spelled
from proxy.model.problem import Problem, nearest

MIN_RSA_BITS: Final = 2048
CURVES: Final = frozenset({"secp256r1", "secp384r1", "secp521r1"})
DIGESTS: Final = frozenset({"sha256", "sha384", "sha512"})

_FILE: Final = re.compile(r"file:.+")
_NO_CERTIFICATES: Final = "holds no PEM certificates that can be read: put the CA certificates there"
_KEY: Final = b"PRIVATE KEY-----"
_HOLDS_KEY: Final = ", and take the private key away: it does not belong in this folder"
_TRUST_DOMAIN: Final = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,253}[a-z0-9])?")
"""SPIFFE-ID 2.1, without an end that is no letter or digit."""
_CA_EXTENSIONS: Final = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.NAME_CONSTRAINTS,
        ExtensionOID.EXTENDED_KEY_USAGE,
    }
)
"""What may be critical in a CA certificate: what is read here (RFC 5280 4.2)."""
_CRL_EXTENSIONS: Final = frozenset({ExtensionOID.ISSUING_DISTRIBUTION_POINT})


def parse_file_place(text: str) -> str:
    """Return ``file:PATH``; ValueError with a sentence for anything else."""
    if not _FILE.fullmatch(text):
        mend = "" if ":" in text or text.startswith("/") else f": write file:{text}"
        raise ValueError(f"{text!r} is not file:PATH inside the policy folder{mend}")
    return text


def parse_trust_domain(text: str) -> str:
    """Return a SPIFFE trust domain; ValueError with a sentence if the text is none."""
    if not _TRUST_DOMAIN.fullmatch(text):
        raise ValueError(
            f"{text!r} is no trust domain: lower-case letters, digits, '.', '-' and '_', such as corp.example"
        )
    return text


Place = Annotated[str, scalar(parse_file_place, spelled(_FILE))]


class AuthorityAssertions(Entry):
    """What the services of one authority may be."""

    affiliate: Assertable
    """The affiliates whose services it may vouch for."""


class AuthorityEntry(Entry):
    """One authority over client certificates."""

    id: Id
    operated_by: Id
    """The affiliate that administers it: a fact of its own."""
    ca: Place
    """A PEM file with its CA certificates; the one that signs a client's certificate must be among them."""
    crl: Annotated[list[Place], Field(min_length=1)] | None = None
    """Its revocation lists, PEM or DER: all of them count, and all of them must be current."""
    identity: Annotated[str, choice("spiffe", "dns", "uri")]
    """Which subject alternative name is the service's name; there must be exactly one of its kind."""
    trust_domain: Annotated[str, scalar(parse_trust_domain, spelled(_TRUST_DOMAIN))] | None = None
    """The SPIFFE trust domain; needed with ``identity: spiffe``, and only there."""
    may_assert: AuthorityAssertions


class Subtrees(msgspec.Struct, frozen=True):
    """What a CA certificate's name constraints say of one kind of name (RFC 5280 4.2.1.10)."""

    permitted: tuple[str, ...] | None = None
    """None: any."""
    excluded: tuple[str, ...] = ()


class RevocationList(msgspec.Struct, frozen=True):
    """A revocation list whose signature was right when the folder was loaded."""

    since: float
    until: float
    """Seconds since 1970 of ``nextUpdate``: behind it nothing is known."""
    serials: tuple[int, ...]
    """What is revoked, ascending."""


class SigningCa(msgspec.Struct, frozen=True):
    """A CA certificate of an authority."""

    der: bytes
    parents: tuple[int, ...]
    """Those of the authority's other CA certificates that signed this one, by place."""
    lists: tuple[RevocationList, ...]
    dns: Subtrees
    uris: Subtrees


class Authority(msgspec.Struct, frozen=True):
    """An authority, ready for requests."""

    id: str
    operator: str
    identity: str
    trust_domain: str
    assertable: frozenset[str] | None
    """Affiliates that its services may be of; None: any."""
    checks_revocation: bool
    cas: tuple[SigningCa, ...]


def check_authorities(
    entries: Sequence[AuthorityEntry], affiliate_ids: frozenset[str], issuer_ids: frozenset[str]
) -> list[Problem]:
    """Return what is wrong across registers and keys."""
    problems = []
    for index, entry in enumerate(entries):
        if entry.operated_by not in affiliate_ids:
            hint = nearest(entry.operated_by, affiliate_ids)
            problems.append(Problem((index, "operated_by"), f"no affiliate {entry.operated_by!r}{hint}"))
        if entry.id in issuer_ids:
            problems.append(
                Problem((index, "id"), f"the id {entry.id!r} is an issuer's, too: one of them names a caller")
            )
        if entry.identity == "spiffe" and entry.trust_domain is None:
            problems.append(Problem((index, "identity"), "`identity: spiffe` needs `trust_domain`"))
        if entry.identity != "spiffe" and entry.trust_domain is not None:
            problems.append(Problem((index, "trust_domain"), "`trust_domain` goes with `identity: spiffe` alone"))
        problems += [
            Problem((index, "may_assert", "affiliate", place), f"no affiliate {value!r}{nearest(value, affiliate_ids)}")
            for place, value in enumerate(entry.may_assert.affiliate or ())
            if value not in affiliate_ids
        ]
    return problems


def find_files(entry: AuthorityEntry) -> list[tuple[tuple[str | int, ...], str]]:
    """Return the files that an entry names, each with where it names it."""
    named: list[tuple[tuple[str | int, ...], str]] = [(("ca",), entry.ca.removeprefix("file:"))]
    named += [(("crl", place), name.removeprefix("file:")) for place, name in enumerate(entry.crl or ())]
    return named


def compile_authorities(
    entries: Sequence[AuthorityEntry], files: Mapping[str, bytes]
) -> tuple[tuple[Authority, ...], list[Problem]]:
    """Return the authorities as requests need them, and what is wrong with their files.

    Args:
        entries: the register.
        files: content by name, of those files that could be read.
    """
    compiled, problems = [], []
    owners: dict[bytes, str] = {}
    for index, entry in enumerate(entries):
        reading = _Reading(entry, files)
        authority = reading.compile()
        problems += [problem.under(index) for problem in reading.problems]
        for key in reading.keys:
            if owners.setdefault(key, entry.id) != entry.id:
                message = (
                    f"a key of {entry.ca} is of the authority {owners[key]!r}, too: whose names would it vouch for?"
                )
                problems.append(Problem((index, "ca"), message))
        compiled.append(authority)
    return tuple(compiled), problems


class _Reading:
    """Reads the files of one authority."""

    def __init__(self, entry: AuthorityEntry, files: Mapping[str, bytes]) -> None:
        self.entry = entry
        self.files = files
        self.problems: list[Problem] = []
        self.keys: set[bytes] = set()

    def compile(self) -> Authority:
        entry = self.entry
        certificates = self._read_cas()
        lists = self._read_lists(certificates)
        cas = tuple(
            SigningCa(
                der=certificate.public_bytes(Encoding.DER),
                parents=tuple(
                    place
                    for place, other in enumerate(certificates)
                    if other is not certificate and has_signed(other, certificate)
                ),
                lists=tuple(lists[index]),
                dns=_subtrees(certificate, x509.DNSName),
                uris=_subtrees(certificate, x509.UniformResourceIdentifier),
            )
            for index, certificate in enumerate(certificates)
        )
        assertable = entry.may_assert.affiliate
        return Authority(
            id=entry.id,
            operator=entry.operated_by,
            identity=entry.identity,
            trust_domain=entry.trust_domain or "",
            assertable=None if assertable is None else frozenset(assertable),
            checks_revocation=entry.crl is not None,
            cas=cas,
        )

    def _fail(self, message: str, *path: str | int) -> None:
        self.problems.append(Problem(path, message))

    def _read_cas(self) -> list[x509.Certificate]:
        data = self.files.get(self.entry.ca.removeprefix("file:"))
        if data is None:
            return []
        try:
            found = x509.load_pem_x509_certificates(data)
        except Exception:  # noqa: BLE001 - whatever the library makes of it, it is no certificate
            self._fail(f"{self.entry.ca} {_NO_CERTIFICATES}{_HOLDS_KEY if _KEY in data else ''}", "ca")
            return []
        sound: list[x509.Certificate] = []
        for certificate in found:
            fault = find_ca_fault(certificate)
            if fault:
                self._fail(f"{self.entry.ca}: the certificate of {_subject(certificate)} {fault}", "ca")
            elif certificate not in sound:
                sound.append(certificate)
                key = certificate.public_key()
                self.keys.add(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
        return sound

    def _read_lists(self, cas: Sequence[x509.Certificate]) -> list[list[RevocationList]]:
        lists: list[list[RevocationList]] = [[] for _ in cas]
        for place, name in enumerate(self.entry.crl or ()):
            data = self.files.get(name.removeprefix("file:"))
            if data is None:
                continue
            try:
                read = x509.load_pem_x509_crl(data) if b"-----BEGIN" in data else x509.load_der_x509_crl(data)
                found = self._take_list(read, cas, lists)
            except Exception:  # noqa: BLE001 - whatever the library makes of it, it is no list
                found = "is no revocation list that can be read: have the CA write it anew, as PEM or DER"
            if found:
                self._fail(f"{name} {found}", "crl", place)
        return lists

    def _take_list(
        self, read: x509.CertificateRevocationList, cas: Sequence[x509.Certificate], lists: list[list[RevocationList]]
    ) -> str:
        """Note a list under each CA certificate whose key has signed it; return what is wrong with it."""
        fault = find_list_fault(read)
        if fault or not cas:
            return fault
        signers = [
            index
            for index, ca in enumerate(cas)
            if ca.subject == read.issuer and read.is_signature_valid(ca.public_key())  # type: ignore[arg-type]
        ]
        if not signers:
            return f"is signed by none of the CA certificates of {self.entry.ca}"
        if read.next_update_utc is None:
            return "does not say when the next one comes (nextUpdate)"
        compiled = RevocationList(
            since=read.last_update_utc.timestamp(),
            until=read.next_update_utc.timestamp(),
            serials=tuple(sorted({revoked.serial_number for revoked in read})),
        )
        for index in signers:
            lists[index].append(compiled)
        return ""


def find_ca_fault(certificate: x509.Certificate) -> str:
    """Return why a certificate cannot be trusted to sign others, empty if it can."""
    try:
        extensions = certificate.extensions
        if is_weak(certificate):
            return "has a key or a signature that is too weak"
        if any(each.critical and each.oid not in _CA_EXTENSIONS for each in extensions):
            return "has a critical extension that is not understood here"
        named = find_extension(certificate, x509.NameConstraints)
        subtrees = () if named is None else (*(named.permitted_subtrees or ()), *(named.excluded_subtrees or ()))
        if any(not isinstance(each, x509.DNSName | x509.UniformResourceIdentifier) for each in subtrees):
            return "constrains names of a kind that is not understood here: only DNS names and URIs are"
        return _find_usage_fault(certificate)
    except Exception as error:  # noqa: BLE001 - whatever the library makes of it, it is no CA certificate
        return f"cannot be read: {error}"


def _find_usage_fault(certificate: x509.Certificate) -> str:
    constraints = find_extension(certificate, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        return "is not one of a CA (basicConstraints)"
    usage = find_extension(certificate, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        return "may not sign certificates (keyUsage)"
    extended = find_extension(certificate, x509.ExtendedKeyUsage)
    if extended is not None and ExtendedKeyUsageOID.CLIENT_AUTH not in extended:
        return "may not sign certificates of clients (extendedKeyUsage)"
    return ""


def find_list_fault(read: x509.CertificateRevocationList) -> str:
    """Return why a revocation list does not say all that it should, empty if it does."""
    for extension in read.extensions:
        if extension.oid == ExtensionOID.DELTA_CRL_INDICATOR:
            return "is a delta: name the whole list"
        if extension.critical and extension.oid not in _CRL_EXTENSIONS:
            return "has a critical extension that is not understood here"
        if isinstance(extension.value, x509.IssuingDistributionPoint) and _is_partial(extension.value):
            return "covers only some certificates, or others' (issuingDistributionPoint): name the whole list"
    digest = read.signature_hash_algorithm
    return "has a signature that is too weak" if digest is not None and digest.name not in DIGESTS else ""


def _is_partial(point: x509.IssuingDistributionPoint) -> bool:
    return bool(
        point.only_contains_ca_certs
        or point.only_contains_attribute_certs
        or point.only_some_reasons
        or point.indirect_crl
    )


def is_weak(certificate: x509.Certificate) -> bool:
    """Say whether a certificate's key, or the digest of its signature, is below what is taken today."""
    digest = certificate.signature_hash_algorithm
    if digest is not None and digest.name not in DIGESTS:
        return True
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return key.key_size < MIN_RSA_BITS
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.curve.name not in CURVES
    return not isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey)


def has_signed(ca: x509.Certificate, certificate: x509.Certificate) -> bool:
    """Say whether one certificate names another as its issuer, and bears its signature."""
    try:
        certificate.verify_directly_issued_by(ca)
    except Exception:  # noqa: BLE001 - wrong name, wrong signature, wrong kind of key: it has not
        return False
    return True


def find_extension(certificate: x509.Certificate, kind: type[Any]) -> Any:
    """Return the value of an extension, None if there is none."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _subtrees(certificate: x509.Certificate, kind: type[x509.GeneralName]) -> Subtrees:
    named = find_extension(certificate, x509.NameConstraints)
    if named is None:
        return Subtrees()
    permitted = [str(each.value) for each in named.permitted_subtrees or () if isinstance(each, kind)]
    excluded = [str(each.value) for each in named.excluded_subtrees or () if isinstance(each, kind)]
    return Subtrees(tuple(permitted) or None, tuple(excluded))


def _subject(certificate: x509.Certificate) -> str:
    return repr(certificate.subject.rfc4514_string()[:200])
