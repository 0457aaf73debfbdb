# SPDX-License-Identifier: Apache-2.0
"""Settings: each room's options put together, read from ``SEKISHO_…`` in the environment; flags come before it.

Secrets are never values here, only files that hold them: a setting can be printed.
"""

import os
import re
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from proxy.admin.options import AdminOptions
from proxy.assertion.options import AssertionOptions
from proxy.bundle.options import BundleOptions
from proxy.caller.options import CallerOptions
from proxy.errors import UsageError
from proxy.gateway.options import GatewayOptions
from proxy.ledger.options import LedgerOptions
from proxy.lifecycle.options import LifecycleOptions
from proxy.model.problem import nearest
from proxy.origin.options import OriginOptions
from proxy.redaction.options import RedactionOptions
from proxy.subject.options import SubjectOptions
from proxy.volume.options import VolumeOptions

PREFIX: Final = "SEKISHO_"
_SERVICE_LINK: Final = re.compile(
    r"SEKISHO(?:_[A-Z0-9_]+)?_(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT(?:_[0-9]+_(?:TCP|UDP|SCTP)(?:_[A-Z]+)?)?)"
)
"""What a container is given of each Service of its namespace, here of those whose names begin like ours."""
_EXAMPLE: Final = '{"ID": "https://host.example/path"}'


class Settings(
    GatewayOptions,
    AdminOptions,
    BundleOptions,
    CallerOptions,
    LifecycleOptions,
    OriginOptions,
    LedgerOptions,
    SubjectOptions,
    VolumeOptions,
    AssertionOptions,
    RedactionOptions,
    BaseSettings,
):
    """Everything that a deployment can set."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    policies: Path = Path("policies")
    """The policy folder."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @classmethod
    def settings_customise_sources(  # noqa: D102 - pydantic-settings' own hook
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, _Rest(settings_cls, env_settings, init_settings)


class _Rest(PydanticBaseSettingsSource):
    """The environment without what flags say: pairs of a flag take the place of those, they do not join them."""

    def __init__(
        self, settings_cls: type[BaseSettings], env: PydanticBaseSettingsSource, flags: PydanticBaseSettingsSource
    ) -> None:
        super().__init__(settings_cls)
        self._env = env
        self._flags = flags

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self._env.get_field_value(field, field_name)

    def __call__(self) -> dict[str, Any]:
        flags = self._flags()
        return {name: value for name, value in self._env().items() if name not in flags}


def read_settings(**flags: object) -> Settings:
    """Return the settings: flags that were given, else the environment, else defaults.

    Raises:
        UsageError: a value cannot be used, or a variable is no setting; the sentence names each of them.
    """
    _refuse_unknown_variables()
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise UsageError("These settings cannot be used: " + "; ".join(faults) + ".") from error
    except SettingsError as error:
        found = re.search(r'field "(\w+)"', str(error))
        name = found[1] if found else "a variable"
        raise UsageError(
            f"These settings cannot be used: {name}: it is no JSON mapping, such as {_EXAMPLE}."
        ) from error


def _refuse_unknown_variables() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    for name in os.environ:  # noqa: TID251 - this is the place
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            if _SERVICE_LINK.fullmatch(name):
                raise UsageError(
                    f"{name} is no setting: Kubernetes makes such variables of its Services. Say `enableServiceLinks: "
                    "false` in the pod's spec."
                )
            raise UsageError(f"{name} is no setting{nearest(name.upper(), known)}: mend or unset it.")


_ENDPOINT: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?)\]|([A-Za-z0-9.-]+)):([0-9]{1,5})")
_MAX_PORT: Final = 65535


def parse_endpoint(text: str, flag: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT``.

    Raises:
        UsageError: it is neither that nor ``[IPv6]:PORT``.
    """
    match = _ENDPOINT.fullmatch(text)
    if match is None or int(match[3]) > _MAX_PORT or (match[1] and not _is_ipv6(match[1])):
        raise UsageError(f"{text!r} is no HOST:PORT: write {flag} 127.0.0.1:8080.")
    return match[1] or match[2], int(match[3])


def _is_ipv6(text: str) -> bool:
    try:
        return ip_address(text).version == 6
    except ValueError:
        return False
