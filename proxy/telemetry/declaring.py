# SPDX-License-Identifier: Apache-2.0
"""How a metric is declared: registered once, and bounded where it has labels."""

from collections.abc import Callable, Iterable, Sequence

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from proxy.counting import BoundedCounter, LabelledCounter


class _Settling(Collector):
    """Shows nothing, and has what was put off counted before others show it: it is registered first.

    Args:
        settle: does so.
    """

    def __init__(self, settle: Callable[[], None]) -> None:
        self._settle = settle

    def describe(self) -> Iterable[Metric]:
        """Return no metric."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Return no metric."""
        self._settle()
        return ()


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
        registry.register(_Settling(self.settle))
        self._folded = LabelledCounter(
            "sekisho_labels_folded_total",
            "Events that a metric had no room for: counted under other, or let go.",
            ["metric"],
            registry,
        )

    def declare(self) -> None:
        """Declare its metrics."""

    def settle(self) -> None:
        """Count what was put off until somebody asks: nothing, unless a part of them says so."""

    def _counter(self, name: str, documentation: str, labels: Sequence[str]) -> BoundedCounter:
        return BoundedCounter(name, documentation, labels, self.registry, self._folded)

    def _gauge(self, name: str, documentation: str, labels: Sequence[str] = ()) -> Gauge:
        return Gauge(name, documentation, labels, registry=self.registry)
