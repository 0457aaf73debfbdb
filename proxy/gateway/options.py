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
    upstream_ca: dict[str, Path] = Field(default_factory=dict)
    """API id to a PEM file of the CAs that its certificate may be signed by, in place of the system's."""
    upstream_certificate: dict[str, Path] = Field(default_factory=dict)
    """API id to a PEM file of the certificate that it is shown, and those between it and its CA."""
    upstream_key: dict[str, Path] = Field(default_factory=dict)
    """API id to a PEM file of that certificate's key, not encrypted."""
    upstream_server_name: dict[str, str] = Field(default_factory=dict)
    """API id to the name that its certificate must have and that it is asked for, in place of its URL's host."""
    upstream_health: dict[str, str] = Field(default_factory=dict)
    """API id to the path at which it tells, without a token, whether it is healthy."""
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
    """How long connecting may take: resolving its name, every address of it, TLS."""
    upstream_first_byte_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 60.0
    """How long the API may take from the end of the request to the end of its answer's head."""
    upstream_idle_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 60.0
    """The longest the API may be silent between parts of its answer, or take nothing of the request."""
    upstream_connections: Annotated[int, Field(gt=0)] = 256
    """The most connections to one API."""
    upstream_queue: Annotated[int, Field(ge=0)] = 1024
    """The most requests to one API that wait for a connection."""
    upstream_queue_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 5.0
    """The longest that one of them waits, also while it is connected."""
    upstream_keep_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 30.0
    """How long a connection is kept that is not used: less than the API keeps it."""
    upstream_lifetime_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 300.0
    """How old a connection may be that is used once more: so an API that moves is found at its new address."""
    upstream_failures: Annotated[int, Field(gt=0)] = 3
    """After how many failures to connect, in a row, an API is taken for down."""
    upstream_down_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 5.0
    """How long it then is, before one connection is tried."""
    client_idle_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 75.0
    """How long a connection without a request is kept open."""
    client_head_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 10.0
    """How long the header of a request may take, from its first byte."""
    client_body_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 30.0
    """How long the next 16 KiB of a request's body, or the rest of it, may take."""
    client_read_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 60.0
    """How long a caller may leave what it is sent, about 100 KiB of it, before it is cut off."""
    max_connections: Annotated[int, Field(ge=0)] = 10_000
    """Callers' connections in all; 0: no limit. The open files that the system allows are a limit of their own."""
    max_connections_per_address: Annotated[int, Field(ge=0)] = 1000
    """Connections from one address that is no trusted proxy's; 0: no limit."""
    max_requests: Annotated[int, Field(ge=0)] = 4096
    """Requests under way in all; what comes on top is answered 503 at once. 0: no limit."""
    max_requests_per_address: Annotated[int, Field(ge=0)] = 128
    """Requests under way from one address that is no trusted proxy's; 429 on top. 0: no limit. It is half of an API's
    connections, so that nobody takes them all by being slow."""
    drain_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 20.0
    """How long requests under way may take to end when the gateway stops."""
