# SPDX-License-Identifier: Apache-2.0
"""Settings of this room."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field


class GatewayOptions(BaseModel):
    """How requests are taken and passed on."""

    listen: str = "127.0.0.1:8080"
    """Address and port on which callers are served; port 0 takes a free one."""
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    """How many processes serve callers; with more than one, another one starts them and watches over them."""
    upstream: dict[str, str] = Field(default_factory=dict)
    """API id to the URL where this deployment finds it, in place of the bundle's."""
    tls_certificate: Path | None = None
    """PEM file of the listener's own certificate and those between it and its CA; without: plain HTTP."""
    tls_key: Path | None = None
    """PEM file of its key, not encrypted."""
    tls_client: Literal["off", "optional", "required"] = "off"
    """Whether callers are asked for certificates of the bundle's ``certificate_authorities``."""
    client_certificate: Literal["tls", "xfcc"] = "tls"
    """Where a caller's certificate is taken from: its connection, or ``X-Forwarded-Client-Cert`` of a trusted proxy."""
    tell: Literal["reason", "rule"] = "reason"
    """What a refused caller is told: the reason alone, or the rule's id and title as well."""
    max_request_body_bytes: Annotated[int, Field(ge=0)] = 1024 * 1024 * 1024
    upstream_connect_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 5.0
    upstream_idle_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 60.0
    """The longest the API may be silent, before its answer and between parts of it."""
    client_idle_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 75.0
    """How long a connection without a request is kept open."""
    drain_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 20.0
    """How long requests under way may take to end when the gateway stops."""
