# SPDX-License-Identifier: Apache-2.0
"""Settings of this room."""

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from pydantic import BaseModel, BeforeValidator, Field
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
    """Where decisions are recorded, how surely, and who vouches for them."""

    ledger: Path = Path("ledger")
    """The folder of the ledger; ``-`` is standard output."""
    ledger_key: Path | None = None
    """The file with the key that signs the ledger, made by `sekisho ledger keygen`."""
    ledger_durability: Literal["written", "synced"] = "written"
    """What a line must be before anything leaves: in the kernel, or on disk."""
    ledger_segment_megabytes: Annotated[int, Field(ge=1, le=4096)] = 64
    ledger_checkpoint_lines: Annotated[int, Field(ge=1)] = 1000
    """Lines after which they are signed."""
    ledger_checkpoint_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 60.0
    """Seconds after which lines are signed."""
    ledger_keep_days: Annotated[int, Field(ge=1)] | None = None
    """Segments are removed after so many days; None keeps all."""
    ledger_witness: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_read_places)] = ()
    """The second places where checkpoints are kept: folders, or URLs that they are sent to."""
    ledger_callers: Literal["pseudonym", "clear"] = "pseudonym"
    """How records name callers: by a keyed hash, or in clear, ``issuer|subject``."""
    pseudonym_key: Path | None = None
    """The file with the keys of pseudonyms, made by `sekisho keygen`."""
