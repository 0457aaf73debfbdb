# SPDX-License-Identifier: Apache-2.0
"""Reads secrets from where they are kept, each time that one is needed: it may be changed while we run.

This module does I/O.
"""

import os
from pathlib import Path
from typing import Final

from proxy.errors import FetchError

MAX_SECRET_BYTES: Final = 4096


def read_secret(reference: str) -> str:
    """Return the secret that a reference names (``model.secret``), as it is now.

    Raises:
        FetchError: it cannot be read.
    """
    kind, _, name = reference.partition(":")
    if kind != "env":
        return read_secret_file(Path(name))
    secret = os.environ.get(name, "")  # noqa: TID251 - a secret's own place, named by the bundle
    if not secret:
        raise FetchError(f"the environment variable {name} is not set")
    return _check(secret)


def read_secret_file(path: Path) -> str:
    """Return the secret that a file holds; the end of its line is no part of it.

    Raises:
        FetchError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            secret = file.read(MAX_SECRET_BYTES + 1).decode().removesuffix("\n").removesuffix("\r")
    except (OSError, ValueError) as error:
        why = (isinstance(error, OSError) and error.strerror) or type(error).__name__
        raise FetchError(f"the secret cannot be read ({why})") from error
    return _check(secret)


def _check(secret: str) -> str:
    if not secret or len(secret) > MAX_SECRET_BYTES:
        raise FetchError("the secret is empty or too long")
    return secret
