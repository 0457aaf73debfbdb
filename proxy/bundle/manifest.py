# SPDX-License-Identifier: Apache-2.0
"""The manifest, ``bundle.yaml``: what the bundle is, which files it is made of, and what they may hold.

A file that is missing, or that lies in the folder and is not listed, is an error: a lost deny file must not load
as a weaker policy.
"""

from typing import Annotated, ClassVar, Final

from pydantic import Field

from proxy.model.caller import TieKind
from proxy.model.entry import Entry, Id, Instant, Text, choice

MANIFEST: Final = "bundle.yaml"
LANGUAGE: Final = "1"
"""The version of the policy language that this program reads."""

REGISTERS: Final = (
    "issuers", "country_sets", "affiliates", "control_rules", "networks", "trusted_proxies", "apis", "rules", "tests",
)  # fmt: skip
NOT_YET_REGISTERS: Final = frozenset(
    {
        "people",
        "purposes",
        "grants",
        "invariants",
        "include",
        "emergency_denies",
        "revoked",
        "clients",
        "subjects",
    }
)
POLICY_REGISTERS: Final = ("issuers", "country_sets", "control_rules", "trusted_proxies", "apis", "rules")
"""What the policy digest covers, with the manifest's ties."""
FACT_REGISTERS: Final = ("affiliates", "networks")
"""What the registers' digest covers."""

_TIES: Final = tuple(kind.value for kind in TieKind if kind is not TieKind.SUBCONTRACTOR)


class Manifest(Entry):
    """The manifest as it is written."""

    NOT_YET: ClassVar[frozenset[str]] = frozenset({"include", "emergency_denies", "packs"})
    language: Annotated[str, choice(LANGUAGE)]
    bundle: Id
    """The bundle's name."""
    title: Text | None = None
    ties: list[Annotated[str, choice(*_TIES)]] = Field(min_length=1)
    """The kinds of ties that make up ``caller.countries``."""
    mode: Annotated[str, choice("enforce", "observe")] = "enforce"
    observe_until: Instant | None = None
    """When observe mode ends by itself; needed with it."""
    files: dict[str, list[Text]]
    """File name to the registers it may hold."""
