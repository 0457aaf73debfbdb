# SPDX-License-Identifier: Apache-2.0
"""What the sample issuers keep: the keys that sign tokens, and a certificate for the service that publishes them.

Made once and kept in files, so that a token outlives a restart, and so that whoever trusts the certificate goes on
doing so. The certificate signs itself and nothing else: whoever trusts it trusts this one service.
"""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from proxy.clock import unix_seconds
from proxy.demo.issuer import Issuer, make_key
from proxy.demo.story import ISSUERS
from proxy.disk import write_new_file
from proxy.errors import UsageError

CERTIFICATE_DAYS: Final = 3650
"""A sample that is left running shall not fail for that."""
_TLS_KEY: Final = "tls.pem"
_TLS_ALGORITHM: Final = "ES256"


def open_issuers(folder: Path) -> dict[str, Issuer]:
    """Return the reference bundle's issuers, with the keys that the folder keeps; those that it lacks are made.

    Raises:
        UsageError: a key cannot be made or read.
    """
    return {
        name: Issuer(issuer, algorithm, key=_open_key(folder / f"{name}.pem", algorithm))
        for name, (issuer, algorithm) in ISSUERS.items()
    }


def open_tls(folder: Path, certificate: Path, host: str) -> ssl.SSLContext:
    """Return what serves TLS by the certificate; one that is not there yet is made.

    Args:
        folder: keeps its key.
        certificate: where it is, for others to trust.
        host: the name that it has, beside ``localhost``.

    Raises:
        UsageError: it cannot be made or used.
    """
    key = _open_key(folder / _TLS_KEY, _TLS_ALGORITHM)
    if not certificate.exists():
        _write(certificate, _make_certificate(key, host), 0o644)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, folder / _TLS_KEY)
    except OSError as error:
        raise UsageError(
            f"{certificate} is no certificate of the key in {folder}: remove it, and another one is made."
        ) from error
    return context


def _open_key(path: Path, algorithm: str) -> Any:
    if not path.exists():
        key = make_key(algorithm)
        _write(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
        return key
    try:
        return load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"{path} is no key that can be read: remove it, and another one is made.") from error


def _write(path: Path, pem: bytes, mode: int) -> None:
    try:
        write_new_file(path, pem.decode("ascii"), mode)
    except OSError as error:
        raise UsageError(f"{path} cannot be made: {error.strerror}. Name another folder.") from error


def _make_certificate(key: Any, host: str) -> bytes:
    now = datetime.fromtimestamp(unix_seconds(), UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    names = [x509.DNSName(each) for each in dict.fromkeys((host, "localhost"))]
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=CERTIFICATE_DAYS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
