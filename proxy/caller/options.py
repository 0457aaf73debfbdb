# SPDX-License-Identifier: Apache-2.0
"""Settings of this room."""

from typing import Annotated

from pydantic import BaseModel, Field


class CallerOptions(BaseModel):
    """How issuers' keys are kept."""

    jwks: dict[str, str] = Field(default_factory=dict)
    """Issuer id to the URL or ``file:PATH`` where this deployment finds its keys, in place of the bundle's."""
    jwks_refresh_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 300.0
    """How often key sets are fetched anew."""
    jwks_minimum_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 10.0
    """The least time between two fetches of one issuer's keys, however many unknown key ids arrive."""
    jwks_stale_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 86400.0
    """How long keys are trusted after the last fetch that succeeded."""
    jwks_timeout_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 5.0
    introspection_timeout_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 5.0
    """How long an issuer is waited for that is asked whether a token is active."""
