# SPDX-License-Identifier: Apache-2.0
"""Settings: each room's options put together, read from ``SEKISHO_…`` in the environment; flags come before it.

Secrets are never values here, only files that hold them: a setting can be printed.
"""

from pathlib import Path
from typing import Literal

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from proxy.admin.options import AdminOptions
from proxy.caller.options import CallerOptions
from proxy.errors import UsageError
from proxy.gateway.options import GatewayOptions
from proxy.ledger.options import LedgerOptions
from proxy.origin.options import OriginOptions


class Settings(GatewayOptions, AdminOptions, CallerOptions, OriginOptions, LedgerOptions, BaseSettings):
    """Everything that a deployment can set."""

    model_config = SettingsConfigDict(env_prefix="SEKISHO_", extra="forbid", frozen=True)

    policies: Path = Path("policies")
    """The policy folder."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"


def read_settings(**flags: object) -> Settings:
    """Return the settings: flags that were given, else the environment, else defaults.

    Raises:
        UsageError: a value cannot be used; the sentence names each setting.
    """
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise UsageError("These settings cannot be used: " + "; ".join(faults) + ".") from error


def parse_endpoint(text: str, flag: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT``.

    Raises:
        UsageError: it is neither that nor ``[IPv6]:PORT``.
    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    if not colon or not host or not port.isdigit() or int(port) > 65535 or (":" in host) != text.startswith("["):
        raise UsageError(f"{text!r} is no HOST:PORT: write {flag} 127.0.0.1:8080.")
    return host, int(port)
