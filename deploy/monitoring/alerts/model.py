# SPDX-License-Identifier: Apache-2.0
"""What an alert is, whatever evaluates it."""

import enum
from typing import TypeAlias

import msgspec

from deploy.monitoring.runbooks import link


class Severity(enum.StrEnum):
    """How soon somebody must look."""

    CRITICAL = "critical"
    """At once, at night too."""
    WARNING = "warning"
    """Today."""
    INFO = "info"
    """When there is time: it may be as it should be."""


class Team(enum.StrEnum):
    """Who is told."""

    SECURITY = "security"
    """Whoever answers for what may be read from where."""
    PLATFORM = "platform"
    """Whoever keeps gateways running."""


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody is told about, and when."""

    name: str
    expr: str
    """PromQL; each sample that it returns is one alert. It names recordings by their names."""
    summary: str
    """A sentence in which stands what a person must know: who, whose, which gateway."""
    description: str
    runbook: str
    """The page's name in ``docs/runbooks``."""
    severity: Severity
    team: Team
    hold: str = ""
    """For how long it must be so before anybody is told; empty: not at all."""
    why: str = ""
    """What who reads the expression should know."""

    @property
    def labels(self) -> dict[str, str]:
        """What it is routed by, beside the labels of its samples."""
        return {"severity": self.severity.value, "team": self.team.value}

    @property
    def annotations(self) -> dict[str, str]:
        """What a person reads, as templates of Prometheus."""
        return {
            "summary": self.summary,
            "description": self.description,
            "runbook_url": link(self.runbook),
        }


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """What is evaluated once and asked for by name."""

    name: str
    expr: str
    why: str = ""


Rule: TypeAlias = Alert | Recording


class Group(msgspec.Struct, frozen=True):
    """Rules on one subject, evaluated one after the other."""

    name: str
    rules: tuple[Rule, ...]
