# SPDX-License-Identifier: Apache-2.0
"""The certificate that contenders show where a benchmark speaks TLS: ECDSA on P-256, its own issuer, a day long."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bench.processes import LOOPBACK
from proxy.clock import unix_seconds


@dataclass(frozen=True, slots=True)
class Certificate:
    """Name the files of one certificate."""

    chain: Path
    key: Path
    both: Path
    """The two in one file, as HAProxy wants them."""


def write_certificate(folder: Path) -> Certificate:
    """Write a new certificate and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, LOOPBACK)])
    now = datetime.fromtimestamp(unix_seconds(), UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(LOOPBACK))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    pem = made.public_bytes(encoding), key.private_bytes(encoding, form, serialization.NoEncryption())
    files = Certificate(folder / "chain.pem", folder / "key.pem", folder / "both.pem")
    for file, data in ((files.chain, pem[0]), (files.key, pem[1]), (files.both, b"".join(pem))):
        file.touch(mode=0o600)
        file.write_bytes(data)
    return files
