# SPDX-License-Identifier: Apache-2.0
"""The metrics of a gateway, all in one registry."""

from prometheus_client import CollectorRegistry

from proxy.telemetry.asking import AskingMetrics
from proxy.telemetry.attempts import Attempts
from proxy.telemetry.decisions import DecisionMetrics
from proxy.telemetry.keeping import KeepingMetrics
from proxy.telemetry.serving import ServingMetrics
from proxy.telemetry.standing import StandingMetrics


class Metrics(DecisionMetrics, StandingMetrics, AskingMetrics, KeepingMetrics, ServingMetrics):
    """The metrics of one process.

    Args:
        registry: where they are registered; a fresh one by default, so that tests stand alone.
        key: under which whoever is denied is remembered; the same for all workers of a gateway.
    """

    def __init__(self, registry: CollectorRegistry | None = None, key: bytes = b"") -> None:
        super().__init__(registry or CollectorRegistry())
        self._declare_decisions(Attempts(key, self._count_forgotten))
        self._declare_standing()
        self._declare_asking()
        self._declare_keeping()
        self._declare_serving()

    def _count_forgotten(self) -> None:
        self._folded.count("sekisho_denied_routes_most")
