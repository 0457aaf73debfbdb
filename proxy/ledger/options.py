# SPDX-License-Identifier: Apache-2.0
"""Settings of this room."""

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field
from pydantic_settings import NoDecode

from proxy.ledger.parts import check_replica, replica_part


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


def _check_replica(name: str) -> str:
    problem = check_replica(name)
    if problem:
        raise ValueError(problem)
    return name


class LedgerOptions(BaseModel):
    """Where decisions are recorded, how surely, and who vouches for them."""

    ledger: Path = Path("ledger")
    """The folder of the ledger; ``-`` is standard output."""
    ledger_key: Path | None = None
    """The file with the key that signs the ledger, made by `sekisho ledger keygen`."""
    replica: Annotated[str, AfterValidator(_check_replica)] | None = None
    """Which replica of a deployment this is, where several share a key: its ledger is a part of theirs."""
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

    @property
    def ledger_part(self) -> str:
        """The part of the ledger that this gateway writes; empty for the whole."""
        return replica_part(self.replica) if self.replica else ""

    @property
    def ledger_folder(self) -> Path:
        """The folder of this gateway: its ledger lies there, or those of its workers do, and the bundles it had."""
        return self.ledger / self.ledger_part
