# SPDX-License-Identifier: Apache-2.0
"""Settings: each room's options put together, read from ``SEKISHO_…`` in the environment; flags come before it.

Secrets are never values here, only files that hold them: a setting can be printed.
"""

import os
import re
from collections.abc import Collection, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
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
_NO_MAPPING: Final = 'it is no JSON mapping of texts, such as {{"users": "http://127.0.0.1:9000"}}'
_FAULTS: Final[Mapping[str, str]] = {
    "int_parsing": "it is no whole number, such as 4",
    "int_from_float": "it is no whole number, such as 4",
    "int_type": "it is no whole number, such as 4",
    "float_parsing": "it is no number, such as 20 or 0.5, and has no unit",
    "float_type": "it is no number, such as 20 or 0.5, and has no unit",
    "finite_number": "it is no finite number",
    "greater_than_equal": "it is {ge:g} or more",
    "greater_than": "it is more than {gt:g}",
    "less_than_equal": "it is {le:g} or less",
    "literal_error": "it is one of {expected}",
    "enum": "it is one of {expected}",
    "dict_type": _NO_MAPPING,
    "string_type": "it is a text, in quotes where it stands in JSON",
    "extra_forbidden": "it is no setting",
    "value_error": "{error}",
}
"""What is wrong with a value, by the validator's word for it."""


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
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        faults = [f"{_name_setting(fault['loc'], given)}: {_tell_fault(fault)}" for fault in error.errors()]
    except SettingsError as error:
        found = re.search(r'field "(\w+)"', str(error))
        faults = [f"{_name_setting([found[1]], given) if found else 'a variable'}: {_NO_MAPPING.format()}"]
    raise UsageError("These settings cannot be used: " + "; ".join(faults) + ".")


def _name_setting(place: Sequence[object], given: Collection[str]) -> str:
    """Return what a setting is called where its value came from: a flag, or a variable; and which part of it is meant.

    Args:
        place: the setting, and below it the member of a mapping.
        given: the settings that flags say.
    """
    name, *members = map(str, place)
    called = f"--{name.replace('_', '-')}" if name in given else f"{PREFIX}{name.upper()}"
    return " ".join([called, *(f"of {member!r}" for member in members)])


def _tell_fault(fault: ErrorDetails) -> str:
    """Return what is wrong with a value, without the value: somebody may have written a password into it."""
    told = _FAULTS.get(fault["type"])
    return fault["msg"] if told is None else told.format(**fault.get("ctx", {}))


def _refuse_unknown_variables() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    for name, value in os.environ.items():  # noqa: TID251 - this is the place
        setting = name.upper()
        if not setting.startswith(PREFIX) or is_service_link(setting, value):
            continue
        if setting not in known:
            raise UsageError(f"{name} is no setting{nearest(setting, known)}: mend or unset it.")
        if not value:
            raise UsageError(f"{name} is empty: give it a value, or unset it.")


def is_service_link(name: str, value: str) -> bool:
    """Say whether a variable is one that Kubernetes writes into every pod of a namespace with a Service so called.

    A Service ``sekisho`` is ``SEKISHO_SERVICE_HOST``, ``SEKISHO_PORT=tcp://10.0.0.1:80`` and so on: nobody who deploys
    a gateway has set them, and a Service that is made later must not keep the next pod from starting.
    """
    return bool(_SERVICE.fullmatch(name) or (_SERVICE_PORT.fullmatch(name) and _SERVICE_URL.fullmatch(value)))


_SERVICE: Final = re.compile(
    r"[A-Z0-9_]+_(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
_SERVICE_PORT: Final = re.compile(r"[A-Z0-9_]+_PORT")
_SERVICE_URL: Final = re.compile(r"(?:tcp|udp|sctp)://[0-9A-Fa-f.:\[\]]+:[0-9]+")
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
