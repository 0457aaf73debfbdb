# SPDX-License-Identifier: Apache-2.0
"""Settings of this room."""

from pathlib import Path

from pydantic import BaseModel


class LedgerOptions(BaseModel):
    """Where decisions are recorded."""

    ledger: Path = Path("ledger")
    """The folder of the ledger."""
    pseudonym_key: Path | None = None
    """The file with the key of pseudonyms, made by `sekisho keygen`."""
