# SPDX-License-Identifier: Apache-2.0
"""The manifest, ``bundle.yaml``: what the bundle is, which files it is made of, and what they may hold.

A file that is missing, or that lies in the folder and is not listed, is an error: a lost deny file must not load
as a weaker policy.
"""

from typing import Annotated, Final

from pydantic import Field

from proxy.model.caller import TieKind
from proxy.model.entry import Entry, Id, Instant, Text, choice, scalar, worded

MANIFEST: Final = "bundle.yaml"
PACK_MANIFEST: Final = "pack.yaml"
EMERGENCY_FOLDER: Final = "emergency_denies"
"""Files in it are not listed: they load by themselves."""
LANGUAGE: Final = "1"
"""The version of the policy language that this program reads."""

REGISTERS: Final = (
    "issuers", "certificate_authorities", "revoked", "clients", "people",
    "country_sets", "affiliates", "holdings", "control_rules",
    "networks", "trusted_proxies",
    "lookups",
    "apis", "rules", "invariants", "purposes", "grants",
    "fixtures", "tests",
)  # fmt: skip
PACK_REGISTERS: Final = ("country_sets", "control_rules", "rules", "invariants", "tests")
"""What a pack may hold: nothing that says who is who, what is protected, or who may be let through."""
NOT_YET_REGISTERS: Final = frozenset({"subjects"})
POLICY_REGISTERS: Final = (
    "issuers", "certificate_authorities", "clients",
    "country_sets", "control_rules",
    "trusted_proxies", "apis", "rules", "invariants", "purposes",
)  # fmt: skip
"""What the policy digest covers, with the manifest's ties."""
FACT_REGISTERS: Final = ("affiliates", "holdings", "people", "networks", "grants", "revoked", "lookups")
"""What the registers' digest covers."""
LATER_REGISTERS: Final = frozenset({"lookups"})
"""Registers that a digest speaks of only where they hold something: a bundle from before them keeps its name."""
TABLES: Final = ("people", "affiliates", "holdings", "lookups")
"""Registers whose rows may stand in tables: files ``NAME.csv``, each of one register."""
ONLY_TABLES: Final = frozenset({"holdings"})
"""Registers that stand in tables alone: an entry of ``affiliates`` says itself who its owners are."""
TABLE: Final = ".csv"

_TIES: Final = tuple(kind.value for kind in TieKind if kind is not TieKind.SUBCONTRACTOR)


class Manifest(Entry):
    """The manifest as it is written."""

    language: Annotated[str, choice(LANGUAGE)]
    bundle: Id
    """The bundle's name."""
    title: Text | None = None
    ties: list[Annotated[str, choice(*_TIES)]] = Field(min_length=1)
    """The kinds of ties that make up ``caller.countries``."""
    mode: Annotated[str, choice("enforce", "observe")] = "enforce"
    observe_until: Instant | None = None
    """When observe mode ends by itself; needed with it."""
    files: dict[str, list[Annotated[str, scalar(str, worded(*REGISTERS))]]]
    """File name to the registers it may hold; a table, NAME.csv, holds the rows of one."""
    include: dict[Id, Text] = Field(default_factory=dict)
    """Namespace to the folder of a pack, inside this one."""


class PackManifest(Entry):
    """The manifest of a pack: rules that somebody else wrote, which can only take away."""

    language: Annotated[str, choice(LANGUAGE)]
    pack: Id
    title: Text | None = None
    files: dict[str, list[Annotated[str, scalar(str, worded(*PACK_REGISTERS))]]]
    """File name to the registers it may hold, relative to the pack's folder."""
