# SPDX-License-Identifier: Apache-2.0
"""What TLS is made of on both sides of the gateway: ciphers, and our own certificates and keys, as files.

A private key is held to what every file of keys is: its owner's and its group's alone. This module does I/O.
"""

import re
import ssl
from pathlib import Path
from typing import Final, NoReturn

from proxy.disk import read_key_file
from proxy.errors import UsageError

CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2; those of 1.3 are all sound."""
MAX_FILE_BYTES: Final = 1024 * 1024
_CERTIFICATE: Final = re.compile(rb"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----")
_KEY: Final = re.compile(rb"PRIVATE KEY-----")
_MEND: Final = "Name a file in PEM, not encrypted."


def load_key_pair(context: ssl.SSLContext, certificate: Path, key: Path, names: tuple[str, str]) -> None:
    """Put a certificate and its key into a context.

    Args:
        context: which shows them.
        certificate: PEM: our own, then those between it and its CA.
        key: PEM, not encrypted.
        names: of the settings that say where these files are.

    Raises:
        UsageError: they cannot be used, or the key is open to others; the sentence names file and setting.
    """
    if not _CERTIFICATE.search(_read_certificate(certificate, names[0])):
        raise UsageError(f"The file {certificate} ({names[0]}) holds no certificate: it is PEM.")
    if not _KEY.search(read_key_file(key, f"The private key ({names[1]})", _MEND, limit=MAX_FILE_BYTES)):
        raise UsageError(f"The file {key} ({names[1]}) holds no private key: it is PEM.")

    def refuse_password() -> NoReturn:
        raise UsageError(
            f"The key of {names[1]} is encrypted, and nobody is there to be asked for a password: decrypt it."
        )

    try:
        context.load_cert_chain(certificate, key, password=refuse_password)
    except ssl.SSLError as error:
        fault = (error.reason or "no reason given").lower().replace("_", " ")
        raise UsageError(
            f"The certificate {certificate} and the key {key} cannot be used together ({fault}): both are PEM, our "
            "own certificate first, then those between it and its CA."
        ) from error
    except OSError as error:
        raise UsageError(f"The certificate {certificate} or its key {key} cannot be read: {error.strerror}.") from error


def _read_certificate(path: Path, name: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES)
    except OSError as error:
        raise UsageError(f"The file {path} ({name}) cannot be read: {error.strerror}.") from error


def take_fingerprint(*paths: Path | None) -> tuple[object, ...]:
    """Return what changes when one of the files does, links that lead there included."""
    found: list[object] = []
    for path in paths:
        if path is None:
            continue
        try:
            status = path.stat()
            found.append((str(path.resolve()), status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
        except (OSError, RuntimeError) as error:
            found.append(str(error))
    return tuple(found)
