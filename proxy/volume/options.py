# SPDX-License-Identifier: Apache-2.0
"""Settings of this room."""

from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, Field

from proxy.model.redis_url import REDIS_URL

MEMORY: Final = "memory"
"""Where counts are kept unless told: in this process."""


def _check_place(text: str) -> str:
    if text != MEMORY and not REDIS_URL.fullmatch(text):
        raise ValueError(  # without the text: somebody may have written a password into it
            "it is neither memory nor redis://HOST:6379/0, rediss://HOST:6379/0 or unix:///PATH; a user may stand "
            "before the host, and its password stands in a file, counts_password_file"
        )
    return text


class VolumeOptions(BaseModel):
    """Where it is counted what callers read."""

    counts: Annotated[str, AfterValidator(_check_place)] = MEMORY
    """``memory``, or the Redis that workers and replicas share: ``redis://``, ``rediss://`` or ``unix://``."""
    counts_password_file: Path | None = None
    """The file with its password."""
    counts_ca: Path | None = None
    """PEM file of the CA of its certificate, with ``rediss://``; None: those of the system."""
    counts_timeout_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.5
    """How long a request waits for it."""
    counts_max_members: Annotated[int, Field(ge=1)] = 250_000
    """How many subjects and requests are held in memory, of all callers together."""
