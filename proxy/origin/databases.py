# SPDX-License-Identifier: Apache-2.0
"""Opens MaxMind-format databases. This module does I/O; looking up is from mapped memory.

The file is copied first, into one that has no name, and the copy is mapped: whoever writes over the file in place,
or cuts it short, changes nothing of what is mapped, where a map of the file itself would end the process (SIGBUS). The
copy is what the digest is of, and what is checked before it is used. It takes room in the folder of temporary files
(``TMPDIR``), and of memory only what is looked at.

Databases are opened through geoip2; a look-up is that of maxminddb, which geoip2 is made of: making geoip2's model of
a record takes longer than finding the record, and fails on records that a careful reader can still tell something from.
"""

import hashlib
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any, BinaryIO, Final

import geoip2.database
import geoip2.errors
import maxminddb

from proxy.clock import render_date, unix_seconds
from proxy.errors import UsageError
from proxy.model.origin import DatabaseInfo

DAY_SECONDS: Final = 86_400.0
TYPES: Final[Mapping[str, tuple[str, ...]]] = {
    "country": ("Country", "City", "Enterprise"),
    "asn": ("ASN", "ISP", "Enterprise"),
    "anonymous": ("Anonymous",),
}
"""By use, what the name of a database's type has in it, in the order in which it is looked for."""
FLAGS: Final[Mapping[str, str]] = {
    "country": "--geoip",
    "asn": "--geoip-asn",
    "anonymous": "--geoip-anonymous",
}
_WANTED: Final = {
    "country": "a country database",
    "asn": "a database of autonomous systems",
    "anonymous": "a database of anonymous networks",
}
SAMPLES: Final = 512
"""Addresses that are looked up before a database is used, spread over all there are."""
_CHUNK_BYTES: Final = 1024 * 1024
_BROKEN: Final = (
    OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, OverflowError, DeprecationWarning,
)  # fmt: skip
"""What a reader raises on a database that is none: its own error is a ``RuntimeError``, and it warns of numbers that
are too large for where it puts them, which is an error where warnings are."""
_NO_DATABASE: Final = "it is no MaxMind-format database, is broken, or was changed while it was read"


class Database:
    """One database, open.

    Args:
        use: ``country``, ``asn`` or ``anonymous``.
        path: the ``.mmdb`` file.
        max_age_days: how old it may be by its build date; None: as old as it likes.

    Raises:
        UsageError: the file is missing, unreadable, changes while it is read, or is no such database.
    """

    def __init__(self, use: str, path: Path, max_age_days: int | None = None) -> None:
        try:
            digest, self._reader, kind, built = _open(path)
            self._check_samples()
        except _BROKEN as error:
            fault = error.strerror if isinstance(error, OSError) and error.strerror else _NO_DATABASE
            raise UsageError(
                f"The GeoIP database {path} cannot be opened: {fault}. Name a MaxMind-format database with "
                f"{FLAGS[use]}, or leave it out{_WITHOUT[use]}."
            ) from error
        if not any(name in kind for name in TYPES[use]):
            raise UsageError(f"The GeoIP database {path} is a {kind!r}: {_WANTED[use]} is needed for {FLAGS[use]}.")
        if max_age_days is not None and built > unix_seconds() + DAY_SECONDS:
            raise UsageError(
                f"The GeoIP database {path} says it was built on {render_date(built)}: how old it is cannot be "
                f"told, and --geoip-max-age-days asks for that. Mend the clock, or name another database with "
                f"{FLAGS[use]}."
            )
        until = math.inf if max_age_days is None else built + max_age_days * DAY_SECONDS
        self.info = DatabaseInfo(use, kind, built, digest, until)

    def get(self, ip: str) -> Any:
        """Return the record of an address, None if there is none.

        Raises:
            LookupError: it cannot be told whether there is one: the database is damaged, or not of such addresses.
        """
        try:
            return self._reader.get(ip)
        except _BROKEN as error:
            raise LookupError(type(error).__name__) from error

    def _check_samples(self) -> None:
        is_ipv6 = self._reader.metadata().ip_version == 6
        for number in range(SAMPLES):
            self._reader.get(IPv4Address(number * (2**32 // SAMPLES) + 0x0101))
            if is_ipv6:
                self._reader.get(IPv6Address((0x2000 + number * 16) * 2**112 + 1))


_WITHOUT: Final = {
    "country": " to use the built-in registry data",
    "asn": ", and autonomous systems are unknown",
    "anonymous": ", and anonymous networks are unknown",
}


def _open(path: Path) -> tuple[str, maxminddb.Reader, str, float]:
    """Copy a file, open the copy, and return digest, reader, type and build date."""
    with path.open("rb") as source, tempfile.NamedTemporaryFile(prefix="sekisho-", suffix=".mmdb") as copy:
        before = _shape(source)
        digest = hashlib.sha256()
        for chunk in _chunks(source):
            digest.update(chunk)
            copy.write(chunk)
        copy.flush()
        if _shape(source) != before:
            raise ValueError("it changed while it was read")
        with geoip2.database.Reader(copy.name) as model:
            metadata = model.metadata()
            kind, built = str(metadata.database_type), float(metadata.build_epoch)
        return f"sha256:{digest.hexdigest()}", maxminddb.open_database(copy.name), kind, built


def _shape(file: BinaryIO) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK_BYTES):
        yield chunk


def take_fingerprint(path: Path) -> str:
    """Return what changes when the file does: that it is replaced, written over, or cannot be read."""
    try:
        status = path.stat()
    except OSError as error:
        return f"error {error.errno}"
    return f"{status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
