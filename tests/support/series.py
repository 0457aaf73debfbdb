# SPDX-License-Identifier: Apache-2.0
"""What a registry shows, as a test compares it."""

from prometheus_client import CollectorRegistry


def series(registry: CollectorRegistry, name: str) -> dict[tuple[str, ...], float]:
    return {
        tuple(sample.labels.values()): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == name
    }
