# SPDX-License-Identifier: Apache-2.0
"""Settings of this room."""

from typing import Annotated

from pydantic import BaseModel, Field


class RedactionOptions(BaseModel):
    """How answers are looked into."""

    inspect_hold_bytes: Annotated[int, Field(ge=0)] = 1024 * 1024
    """Up to here an answer is judged whole before anything of it leaves, so that it can be refused as a whole."""
    inspect_record_bytes: Annotated[int, Field(ge=1024)] = 1024 * 1024
    """The largest record; each answer that is looked into may hold that much in memory."""
    inspect_max_ratio: Annotated[int, Field(ge=1)] = 200
    """How many times its own length a coded answer may expand to, beyond its first MiB."""
