# SPDX-License-Identifier: Apache-2.0
"""What the canary shows, a process of its own."""

from prometheus_client import CollectorRegistry, Gauge


class ProbeMetrics:
    """The metrics of the canary, a process of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._reachable = Gauge(
            "sekisho_probe_reachable",
            "1 while an API can be reached without the gateway, from where the canary is.",
            ["api"],
            registry=self.registry,
        )
        self.probed_at = Gauge(
            "sekisho_probe_timestamp_seconds",
            "When the canary last tried all APIs.",
            registry=self.registry,
        )

    def show(self, api: str, *, is_reachable: bool) -> None:
        """Show what came of trying an API."""
        self._reachable.labels(api).set(is_reachable)
