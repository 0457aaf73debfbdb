# SPDX-License-Identifier: Apache-2.0
"""The file with the key that signs a ledger. This module does I/O."""

from pathlib import Path

from proxy.errors import UsageError
from proxy.ledger.note import NoteError, SigningKey


def read_signing_key(path: Path | None) -> SigningKey:
    """Read the key that signs a ledger.

    Raises:
        UsageError: there is none, or it is none.
    """
    mend = "Make one with `sekisho ledger keygen FILE --name NAME` and name it with --ledger-key FILE."
    if path is None:
        raise UsageError(f"The key of the ledger is not set: nobody could tell whether records were changed. {mend}")
    try:
        return SigningKey.parse(path.read_text(encoding="ascii").strip())
    except OSError as error:
        raise UsageError(f"The key of the ledger {path} cannot be read: {error.strerror}. {mend}") from error
    except (NoteError, UnicodeDecodeError) as error:
        raise UsageError(f"The key of the ledger {path} is none: {error}. {mend}") from error
