# SPDX-License-Identifier: Apache-2.0
"""The law of client certificates: one becomes the identity of a service, or a reason why not.

In this order:

 1. it reads as one certificate (RFC 5280), with no critical extension that is not understood, with a key and a
    signature that are not weak;
 2. it is a client's: no CA certificate, ``digitalSignature`` and ``clientAuth`` where its usages are told;
 3. a CA certificate of a declared authority signed it directly, and is valid now;
 4. it is valid now;
 5. it is in no revocation list, and neither is the CA certificate; a list that is not current says nothing;
 6. it has exactly one subject alternative name of the kind that the authority's services go by, written in the one
    form that reads the same for everybody, and inside the authority's trust domain and name constraints.

The subject's common name and e-mail addresses identify nobody. No certificate of one authority identifies for another.
"""

import hashlib
import re
from base64 import urlsafe_b64encode
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from proxy.caller.authorities import (
    Authority,
    RevocationList,
    SigningCa,
    Subtrees,
    find_extension,
    has_signed,
    is_weak,
)
from proxy.model.decision import Reason

MAX_BYTES: Final = 16 * 1024
"""Of a certificate; those of services have one or two thousand."""
MAX_KEPT: Final = 10_000
"""Identities kept in memory: some twenty megabytes."""
CLOCK_SECONDS: Final = 60
"""How far a revocation list may come from the future: clocks differ, and an early list only takes away."""

_EXTENSIONS: Final = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    }
)
"""What may be critical: what is read here (RFC 5280 4.2)."""
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DNS: Final = re.compile(rf"(?=.{{1,253}}\Z)(?!(?:.*\.)?[0-9]+\Z)(?:{_LABEL}\.)*{_LABEL}")
"""RFC 1123 2.1 in lower case, without wildcard or ending dot, and no IPv4 address."""
_SPIFFE: Final = re.compile(
    r"spiffe://([a-z0-9](?:[a-z0-9._-]{0,253}[a-z0-9])?)((?:/(?!\.\.?(?:/|\Z))[A-Za-z0-9._-]+)+)"
)
"""SPIFFE-ID 2: no query, fragment, port, user, percent-encoding, empty or dot segment, and of a workload some path."""
_MAX_URI: Final = 2048
_URI: Final = re.compile(
    rf"(?:[a-z][a-z0-9+-]*://(?P<host>(?:{_LABEL}\.)*{_LABEL})(?::[1-9][0-9]{{0,4}})?"
    r"(?:/(?!\.\.?(?:/|\Z))[A-Za-z0-9._~-]+)*|urn:[a-z0-9][a-z0-9-]{0,30}[a-z0-9]:[A-Za-z0-9][A-Za-z0-9._:/-]*)"
)
"""A URI with a host, or a URN, that no normalising (RFC 3986 6.2) would change."""
_HOST: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?([^/?#:@]+)(?::[0-9]*)?(?:[/?#].*)?", re.DOTALL)


class Certificate(msgspec.Struct, frozen=True):
    """A certificate that reads as one. Nothing it says is to be believed yet."""

    thumbprint: str
    """SHA-256 of the whole, in base64url: ``x5t#S256`` (RFC 8705 3.1)."""
    serial: int
    issuer: bytes
    """The name of who issued it, in DER."""
    since: float
    until: float
    dns: tuple[str, ...]
    uris: tuple[str, ...]
    is_client: bool
    """Whether its usages are those of a client."""
    is_weak: bool
    read: Any
    """As the library reads it, for signatures."""


class CertificateIdentity(msgspec.Struct, frozen=True):
    """Who showed a certificate that was found right."""

    authority_id: str
    operator: str
    """The affiliate that administers the authority."""
    assertable: frozenset[str] | None
    """Affiliates that the authority may vouch for; None: any."""
    name: str
    """The service's name: a SPIFFE id, a DNS name or a URI."""
    thumbprint: str
    """``x5t#S256``, to which a token can be bound (RFC 8705 3)."""
    since: float
    until: float
    """Seconds since 1970 when what vouches for it ends: its own validity, its authority's, a revocation list's."""

    @property
    def id(self) -> str:
        """The authority's, as of an issuer."""
        return self.authority_id

    @property
    def mappings(self) -> tuple[()]:
        """None: a certificate says a name and nothing else."""
        return ()

    @property
    def principal(self) -> str:
        """Identity for pseudonyms."""
        return f"{self.authority_id}|{self.name}"


def read_certificate(der: bytes) -> Certificate | Reason:
    """Read a certificate (step 1)."""
    if len(der) > MAX_BYTES:
        return Reason.CERTIFICATE_MALFORMED
    try:
        read = x509.load_der_x509_certificate(der)
        if any(each.critical and each.oid not in _EXTENSIONS for each in read.extensions):
            return Reason.CERTIFICATE_MALFORMED
        named = find_extension(read, x509.SubjectAlternativeName)
        return Certificate(
            thumbprint=take_thumbprint(der),
            serial=read.serial_number,
            issuer=read.issuer.public_bytes(),
            since=read.not_valid_before_utc.timestamp(),
            until=read.not_valid_after_utc.timestamp(),
            dns=() if named is None else tuple(named.get_values_for_type(x509.DNSName)),
            uris=() if named is None else tuple(named.get_values_for_type(x509.UniformResourceIdentifier)),
            is_client=_is_client(read),
            is_weak=is_weak(read),
            read=read,
        )
    except Exception:  # noqa: BLE001 - whatever the library makes of it, it is no certificate
        return Reason.CERTIFICATE_MALFORMED


def take_thumbprint(der: bytes) -> str:
    """Return the ``x5t#S256`` of a certificate (RFC 8705 3.1)."""
    return urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()


def _is_client(read: x509.Certificate) -> bool:
    constraints = find_extension(read, x509.BasicConstraints)
    usage = find_extension(read, x509.KeyUsage)
    extended = find_extension(read, x509.ExtendedKeyUsage)
    if constraints is not None and constraints.ca:
        return False
    if usage is not None and (not usage.digital_signature or usage.key_cert_sign or usage.crl_sign):
        return False
    return extended is None or ExtendedKeyUsageOID.CLIENT_AUTH in extended


class _Signer(msgspec.Struct, frozen=True):
    authority: Authority
    ca: SigningCa
    read: Any
    since: float
    until: float


class Authorities:
    """Identifies services by their certificates for one snapshot.

    What was found right is kept by the whole certificate, and dies with the snapshot or when what vouches for it ends.

    Args:
        authorities: the compiled register.
    """

    def __init__(self, authorities: Iterable[Authority]) -> None:
        self._signers: dict[bytes, list[_Signer]] = {}
        self._kept: dict[bytes, CertificateIdentity] = {}
        for authority in authorities:
            for ca in authority.cas:
                read = x509.load_der_x509_certificate(ca.der)
                since, until = read.not_valid_before_utc.timestamp(), read.not_valid_after_utc.timestamp()
                self._signers.setdefault(read.subject.public_bytes(), []).append(
                    _Signer(authority, ca, read, since, until)
                )

    def identify(self, der: bytes, now: float) -> CertificateIdentity | Reason:
        """Say whose certificate it is, or why it is nobody's.

        Args:
            der: the certificate; whoever showed it has proved that it holds the key.
            now: the request's reading of the clock.
        """
        kept = self._kept.get(der)
        if kept is not None and kept.since <= now < kept.until:
            return kept
        certificate = read_certificate(der)
        found = certificate if isinstance(certificate, Reason) else self.judge(certificate, now)
        if isinstance(found, CertificateIdentity):
            if len(self._kept) >= MAX_KEPT:
                for oldest in list(self._kept)[: MAX_KEPT // 8]:
                    del self._kept[oldest]
            self._kept[der] = found
        return found

    def judge(self, certificate: Certificate, now: float) -> CertificateIdentity | Reason:
        """Say whose certificate it is (steps 2 to 6)."""
        if certificate.is_weak:
            return Reason.CERTIFICATE_WEAK
        if not certificate.is_client:
            return Reason.CERTIFICATE_USAGE_OTHER
        signers = [
            each for each in self._signers.get(certificate.issuer, ()) if has_signed(each.read, certificate.read)
        ]
        if not signers:
            return Reason.CERTIFICATE_AUTHORITY_UNDECLARED
        # A CA certificate that was renewed with its key has two: any that is valid will do.
        found = [_judge_signed(certificate, signer, now) for signer in signers]
        return next((each for each in found if isinstance(each, CertificateIdentity)), found[0])


def _judge_signed(certificate: Certificate, signer: _Signer, now: float) -> CertificateIdentity | Reason:
    authority = signer.authority
    if not signer.since <= now < signer.until:
        return Reason.CERTIFICATE_AUTHORITY_EXPIRED
    if now < certificate.since:
        return Reason.CERTIFICATE_NOT_YET_VALID
    if now >= certificate.until:
        return Reason.CERTIFICATE_EXPIRED
    known_until = _find_revocation(certificate, signer, now)
    if isinstance(known_until, Reason):
        return known_until
    name = find_name(authority, signer.ca, certificate)
    if isinstance(name, Reason):
        return name
    return CertificateIdentity(
        authority_id=authority.id,
        operator=authority.operator,
        assertable=authority.assertable,
        name=str(name),
        thumbprint=certificate.thumbprint,
        since=max(certificate.since, signer.since),
        until=min(certificate.until, signer.until, known_until),
    )


def _find_revocation(certificate: Certificate, signer: _Signer, now: float) -> float | Reason:
    """Return until when a certificate is known not to be revoked (step 5)."""
    until = float("inf")
    if not signer.authority.checks_revocation:
        return until
    lists = [*signer.ca.lists]
    if not lists:
        return Reason.CERTIFICATE_REVOCATION_UNKNOWN
    asked = [(certificate.serial, lists), *_find_above(signer)]
    if any(_lists_serial(each, serial) for serial, found in asked for each in found):
        return Reason.CERTIFICATE_REVOKED
    for _, found in asked:
        for each in found:
            if not each.since - CLOCK_SECONDS <= now < each.until:
                return Reason.CERTIFICATE_REVOCATION_UNKNOWN
            until = min(until, each.until)
    return until


def _find_above(signer: _Signer) -> Iterator[tuple[int, list[RevocationList]]]:
    """Yield the serial of each CA certificate from the signer upwards, with the lists of who signed it."""
    cas = signer.authority.cas
    waiting, seen = [signer.ca], {signer.ca.der}
    while waiting:
        ca = waiting.pop()
        parents = [cas[place] for place in ca.parents]
        serial = x509.load_der_x509_certificate(ca.der).serial_number
        yield serial, [each for parent in parents for each in parent.lists]
        waiting += [parent for parent in parents if parent.der not in seen]
        seen |= {parent.der for parent in parents}


def _lists_serial(revoked: RevocationList, serial: int) -> bool:
    place = bisect_left(revoked.serials, serial)
    return place < len(revoked.serials) and revoked.serials[place] == serial


def find_name(authority: Authority, ca: SigningCa, certificate: Certificate) -> str | Reason:
    """Return the one name that a certificate's holder goes by (step 6)."""
    names = certificate.dns if authority.identity == "dns" else certificate.uris
    if not names:
        return Reason.CERTIFICATE_NAME_MISSING
    if len(names) > 1:
        return Reason.CERTIFICATE_NAME_REPEATED
    name = names[0]
    match = _FORMS[authority.identity].fullmatch(name)
    if match is None or len(name) > _MAX_URI:
        return Reason.CERTIFICATE_NAME_MALFORMED
    if authority.identity == "spiffe" and match[1] != authority.trust_domain:
        return Reason.CERTIFICATE_NAME_FOREIGN
    is_inside = all(_permits(ca.dns, each, suffixes=True) for each in certificate.dns) and all(
        _permits(ca.uris, _host_of(each), suffixes=False) for each in certificate.uris
    )
    return name if is_inside else Reason.CERTIFICATE_NAME_FOREIGN


def can_name(authority: Authority, name: str) -> bool:
    """Return whether a certificate of this authority could bear that name, in the form that counts."""
    match = _FORMS[authority.identity].fullmatch(name)
    is_own = authority.identity != "spiffe" or (match is not None and match[1] == authority.trust_domain)
    return match is not None and len(name) <= _MAX_URI and is_own


_FORMS: Final[Mapping[str, re.Pattern[str]]] = {"dns": _DNS, "spiffe": _SPIFFE, "uri": _URI}


def _host_of(uri: str) -> str | None:
    match = _HOST.fullmatch(uri)
    return match[1] if match else None


def _permits(subtrees: Subtrees, name: str | None, *, suffixes: bool) -> bool:
    """Say whether name constraints let a name pass (RFC 5280 4.2.1.10).

    Args:
        subtrees: of the name's kind.
        name: a DNS name, or a URI's host; None where the URI has none.
        suffixes: whether a constraint without a leading dot covers what is below it, too.
    """
    if subtrees.permitted is None and not subtrees.excluded:
        return True
    if name is None:
        return False
    if any(_covers(each, name, suffixes=suffixes) for each in subtrees.excluded):
        return False
    return subtrees.permitted is None or any(_covers(each, name, suffixes=suffixes) for each in subtrees.permitted)


def _covers(constraint: str, name: str, *, suffixes: bool) -> bool:
    constraint, name = constraint.lower(), name.lower()
    if constraint.startswith("."):
        return name.endswith(constraint)
    return name == constraint or (suffixes and (not constraint or name.endswith(f".{constraint}")))
