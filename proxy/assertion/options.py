# SPDX-License-Identifier: Apache-2.0
"""Settings of this room."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field


class AssertionOptions(BaseModel):
    """How APIs are told, signed, what was decided."""

    assertion_key: Path | None = None
    """The file with the keys that sign, made by `sekisho keys new`; shared by workers and replicas."""
    assertion_issuer: Annotated[str, Field(min_length=1, max_length=200)] = "sekisho"
    """What assertions say in ``iss``."""
    assertion_jwks_listen: str | None = None
    """Address and port on which the public keys are served, at ``/.well-known/jwks.json``; None: nowhere."""
