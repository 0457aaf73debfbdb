# SPDX-License-Identifier: Apache-2.0
"""The metrics of a gateway, all in one registry."""

from typing import Final

from prometheus_client import CollectorRegistry

from proxy.telemetry.asking import AskingMetrics
from proxy.telemetry.decisions import DecisionMetrics
from proxy.telemetry.declaring import Declaring
from proxy.telemetry.keeping import KeepingMetrics
from proxy.telemetry.serving import ServingMetrics
from proxy.telemetry.standing import StandingMetrics

PARTS: Final[tuple[type[Declaring], ...]] = (
    DecisionMetrics,
    StandingMetrics,
    AskingMetrics,
    KeepingMetrics,
    ServingMetrics,
)


class Metrics(DecisionMetrics, StandingMetrics, AskingMetrics, KeepingMetrics, ServingMetrics):
    """The metrics of one process.

    Args:
        registry: where they are registered; a fresh one by default, so that tests stand alone.
        key: under which whoever is denied is remembered; the same for all workers of a gateway.
    """

    def __init__(self, registry: CollectorRegistry | None = None, key: bytes = b"") -> None:
        super().__init__(registry or CollectorRegistry(), key)
        for part in PARTS:
            part.declare(self)
