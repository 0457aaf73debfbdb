# SPDX-License-Identifier: Apache-2.0
"""Settings of this room."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
from pydantic import BaseModel, BeforeValidator
from pydantic_settings import NoDecode


def _read_places(raw: Any) -> Any:
    """Read one place as it is, or several as a JSON list."""
    if not isinstance(raw, str):
        return raw
    if not raw.startswith("["):
        return (raw,) if raw else ()
    try:
        return msgspec.json.decode(raw, type=tuple[str, ...])
    except msgspec.DecodeError as error:
        raise ValueError(
            'it is no JSON list of places, such as ["/mnt/witness", "https://host.example/path"]'
        ) from error


class LedgerOptions(BaseModel):
    """Where decisions are recorded."""

    ledger: Path = Path("ledger")
    """The folder of the ledger."""
    pseudonym_key: Path | None = None
    """The file with the key of pseudonyms, made by `sekisho keygen`."""
    ledger_witness: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_read_places)] = ()
    """The second places where checkpoints are kept: folders, or URLs that they are sent to."""
