# SPDX-License-Identifier: Apache-2.0
"""Metrics that cost a request next to nothing: plain numbers, made into samples when asked for.

- The client library's own take a lock and check their labels at each step, which costs more than deciding a request.
  These are counted by one thread, and rendered by whoever scrapes.
- What they show is what the library's would: the same names, labels, buckets and ``_created`` instants.
- A labelled metric has a hard cap of children; what goes beyond is counted as ``other``, and as a folding.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from proxy.clock import unix_seconds

MAX_CHILDREN: Final = 2000
"""Children of one metric: Prometheus copes with thousands of series a target, not with millions."""
OTHER: Final = "other"


class Counted(Collector):
    """What is counted under one name.

    Args:
        name: of the metric; of a counter without the ending ``_total``.
        documentation: what is counted.
        kind: ``counter``, ``gauge`` or ``histogram``.
        labels: their names.
        registry: shows it.
    """

    def __init__(
        self, name: str, documentation: str, kind: str, labels: Sequence[str], registry: CollectorRegistry
    ) -> None:
        self.name = name
        self.documentation = documentation
        self.kind = kind
        self.labels = tuple(labels)
        registry.register(self)

    def describe(self) -> Iterable[Metric]:
        """Return the metric without samples: so the registry knows its names."""
        yield Metric(self.name, self.documentation, self.kind)

    def collect(self) -> Iterable[Metric]:
        """Return the metric as it stands, as the registry asks for it."""
        metric = Metric(self.name, self.documentation, self.kind)
        self._add_samples(metric)
        yield metric

    def _add_samples(self, metric: Metric) -> None:
        raise NotImplementedError


class PlainCounter(Counted):
    """A counter without labels.

    Args:
        name: ends in ``_total``.
        documentation: what is counted.
        registry: shows it.
    """

    def __init__(self, name: str, documentation: str, registry: CollectorRegistry) -> None:
        self._value = 0
        super().__init__(name.removesuffix("_total"), documentation, "counter", (), registry)

    def inc(self, amount: int = 1) -> None:
        """Count."""
        self._value += amount

    def _add_samples(self, metric: Metric) -> None:
        metric.add_sample(f"{self.name}_total", {}, self._value)


class LabelledCounter(Counted):
    """A counter with labels, of which each set of values is a child.

    Args:
        name: ends in ``_total``.
        documentation: what is counted.
        labels: their names.
        registry: shows it.
    """

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        registry: CollectorRegistry,
    ) -> None:
        self._counts: dict[tuple[str, ...], int] = {}
        self._created: dict[tuple[str, ...], float] = {}
        super().__init__(name.removesuffix("_total"), documentation, "counter", labels, registry)

    def count(self, *values: str, amount: int = 1) -> None:
        """Add to the child of these label values.

        Args:
            values: as many as there are labels.
            amount: how much.

        Raises:
            ValueError: they are not as many as there are labels.
        """
        try:
            self._counts[values] += amount
        except KeyError:
            self._counts[self.begin(*values)] += amount

    def begin(self, *values: str) -> tuple[str, ...]:
        """Begin the child of these label values at zero, if it has not begun; return the child to count.

        Raises:
            ValueError: they are not as many as there are labels.
        """
        if len(values) != len(self.labels):
            raise ValueError(f"{self.name} has the labels {self.labels}, not {len(values)} of them")
        if values not in self._counts:
            self._counts[values], self._created[values] = 0, unix_seconds()
        return values

    def _add_samples(self, metric: Metric) -> None:
        for values, count in [*self._counts.items()]:
            labels = dict(zip(self.labels, map(str, values), strict=True))
            metric.add_sample(f"{self.name}_total", labels, count)
            metric.add_sample(f"{self.name}_created", labels, self._created[values])


class BoundedCounter(LabelledCounter):
    """A labelled counter whose number of children cannot grow without end.

    Args:
        name: ends in ``_total``.
        documentation: what is counted.
        labels: their names.
        registry: shows it.
        folded: counts, by the names of metrics, what was counted as ``other`` for want of room.
        limit: children, beside ``other``.
    """

    def __init__(  # noqa: PLR0917 - the first four are every labelled counter's
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        registry: CollectorRegistry,
        folded: LabelledCounter,
        limit: int = MAX_CHILDREN,
    ) -> None:
        super().__init__(name, documentation, labels, registry)
        self._full_name, self._folded, self._limit = name, folded, limit
        self._other = (OTHER,) * len(self.labels)
        folded.begin(name)

    def count(self, *values: str, amount: int = 1) -> None:
        """Add to the child of these label values, or to ``other`` where there is no room for it.

        Raises:
            ValueError: they are not as many as there are labels.
        """
        try:
            self._counts[values] += amount
        except KeyError:
            child = self.begin(*values)
            self._counts[child] += amount
            if child != values:
                self._folded.count(self._full_name, amount=amount)

    def begin(self, *values: str) -> tuple[str, ...]:
        """Begin a child, or ``other`` where there is no room for it."""
        is_new = values not in self._counts and values != self._other and len(values) == len(self.labels)
        if is_new and len(self._counts) - (self._other in self._counts) >= self._limit:
            return super().begin(*self._other)
        return super().begin(*values)


class Listing(Counted):
    """A gauge that is 1 for each set of label values that is in force: what there is, to be joined with what happens.

    Args:
        name: ends in ``_info``.
        documentation: what is listed.
        labels: their names.
        registry: shows it.
        folded: counts, by the names of metrics, what is not listed for want of room.
        limit: children.
    """

    def __init__(  # noqa: PLR0917 - as above
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        registry: CollectorRegistry,
        folded: LabelledCounter,
        limit: int = MAX_CHILDREN,
    ) -> None:
        self._children: tuple[tuple[str, ...], ...] = ()
        self._folded, self._limit = folded, limit
        folded.begin(name)
        super().__init__(name, documentation, "gauge", labels, registry)

    def show(self, children: Sequence[tuple[str, ...]]) -> None:
        """List these, in place of any others."""
        self._children = tuple(children[: self._limit])
        if len(children) > self._limit:
            self._folded.count(self.name, amount=len(children) - self._limit)

    def _add_samples(self, metric: Metric) -> None:
        for values in self._children:
            metric.add_sample(self.name, dict(zip(self.labels, values, strict=True)), 1)


class Found(Counted):
    """A gauge whose children are found when they are asked for.

    Args:
        name: of the gauge.
        documentation: what it measures.
        labels: their names.
        registry: shows it.
        find: returns the value of each set of label values.
        limit: children that are shown, the largest.
    """

    def __init__(  # noqa: PLR0917 - as above
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        registry: CollectorRegistry,
        find: Callable[[], Mapping[tuple[str, ...], float]],
        limit: int = MAX_CHILDREN,
    ) -> None:
        self._find, self._limit = find, limit
        super().__init__(name, documentation, "gauge", labels, registry)

    def _add_samples(self, metric: Metric) -> None:
        largest = sorted(self._find().items(), key=lambda each: (-each[1], each[0]))[: self._limit]
        for values, value in largest:
            metric.add_sample(self.name, dict(zip(self.labels, values, strict=True)), value)


class PlainHistogram(Counted):
    """A histogram without labels.

    Args:
        name: ends in a unit.
        documentation: what is observed.
        bounds: the upper bounds of its buckets, rising; above the last is one more.
        registry: shows it.
    """

    def __init__(
        self,
        name: str,
        documentation: str,
        bounds: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        self.bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._created = unix_seconds()
        super().__init__(name, documentation, "histogram", (), registry)

    def observe(self, value: float) -> None:
        """Count a value in its bucket: the first whose upper bound it does not pass."""
        self._counts[bisect_left(self.bounds, value)] += 1
        self._sum += value

    def _add_samples(self, metric: Metric) -> None:
        sums = [*accumulate(self._counts)]
        for bound, count in zip((*self.bounds, float("inf")), sums, strict=True):
            metric.add_sample(f"{self.name}_bucket", {"le": _show(bound)}, count)
        metric.add_sample(f"{self.name}_count", {}, sums[-1])
        metric.add_sample(f"{self.name}_sum", {}, self._sum)
        metric.add_sample(f"{self.name}_created", {}, self._created)


def _show(bound: float) -> str:
    return str(floatToGoString(bound))  # type: ignore[no-untyped-call]
