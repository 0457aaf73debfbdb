# SPDX-License-Identifier: Apache-2.0
"""How a metric is declared: registered once, and bounded where it has labels."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Gauge

from proxy.counting import BoundedCounter, LabelledCounter


class Declaring:
    """Declares metrics in a registry.

    Args:
        registry: where they are registered.
        key: under which people are remembered, where that takes a name.
    """

    title = ""
    """What its metrics are about."""

    def __init__(self, registry: CollectorRegistry, key: bytes = b"") -> None:
        self.registry = registry
        self._key = key
        self._folded = LabelledCounter(
            "sekisho_labels_folded_total",
            "Events that a metric had no room for: counted under other, or let go.",
            ["metric"],
            registry,
        )

    def declare(self) -> None:
        """Declare its metrics."""

    def _counter(self, name: str, documentation: str, labels: Sequence[str]) -> BoundedCounter:
        return BoundedCounter(name, documentation, labels, self.registry, self._folded)

    def _gauge(self, name: str, documentation: str, labels: Sequence[str] = ()) -> Gauge:
        return Gauge(name, documentation, labels, registry=self.registry)
