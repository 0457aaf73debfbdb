# SPDX-License-Identifier: Apache-2.0
"""Every metric, declared once, and what is counted of a request.

- Each module declares what belongs together: ``decisions`` (of requests), ``standing`` (what is in force), ``keeping``
  (the ledger), ``asking`` (issuers, directories, shared counts), ``serving`` (connections, APIs, workers), ``probe``
  (the canary). ``metrics`` puts those of a gateway together; ``attempts`` remembers for an hour who was denied what.
- At most three free labels a metric, and their values come from the bundle's declared ids, ISO countries and our
  own enumerations: never from a request.
- Every labelled metric has a hard cap of children; what goes beyond is counted as ``other``, and in
  ``sekisho_labels_folded_total`` (``counting``).
- Detail lives in the ledger; a metric is for alerting and for looking at trends.
"""

from proxy.telemetry.metrics import Metrics
from proxy.telemetry.probe import ProbeMetrics

__all__ = ("Metrics", "ProbeMetrics")
