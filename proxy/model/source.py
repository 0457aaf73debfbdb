# SPDX-License-Identifier: Apache-2.0
"""A file that a bundle was made of, as it was read."""

import hashlib

import msgspec


class Source(msgspec.Struct, frozen=True):
    """One file of a policy folder."""

    path: str
    """Inside the folder: relative, with slashes, without ``.`` and ``..``."""
    sha256: str
    """Of the bytes that were read, 64 hexadecimal digits."""
    size: int
    """How many bytes that were."""
    data: bytes | None = None
    """The bytes themselves, where the folder need not hold them any more; None: they are in the folder."""

    @classmethod
    def of(cls, path: str, data: bytes) -> "Source":
        """Return a source that carries its bytes."""
        return cls(path, hashlib.sha256(data).hexdigest(), len(data), data)
