# SPDX-License-Identifier: Apache-2.0
"""What a deployment can set about how a policy folder is watched."""

from typing import Annotated

from pydantic import BaseModel, Field


class LifecycleOptions(BaseModel):
    """Options of hot reload."""

    watch_seconds: Annotated[float, Field(ge=0, le=3600)] = 1.0
    """How often the policy folder is looked at; 0: only when told by SIGHUP."""
    reload_seconds: Annotated[float, Field(gt=0, le=3600)] = 120.0
    """How long loading, checking and testing a changed folder may take."""
    reload_megabytes: Annotated[int, Field(ge=256, le=1_048_576)] = 4096
    """How much memory that may take."""
