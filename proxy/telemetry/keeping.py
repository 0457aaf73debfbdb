# SPDX-License-Identifier: Apache-2.0
"""What is counted and shown of the ledger: whether it is written, signed, and kept by others."""

from prometheus_client import Counter

from proxy.counting import PlainCounter
from proxy.telemetry.declaring import Declaring


class KeepingMetrics(Declaring):
    """The metrics of the ledger."""

    title = "The ledger"

    def declare(self) -> None:
        """Declare its metrics."""
        self.ledger_lines = PlainCounter("sekisho_ledger_lines_total", "Lines made durable.", self.registry)
        self.ledger_failures = Counter(
            "sekisho_ledger_failures_total",
            "Times that the ledger could not be written, so that nothing left.",
            registry=self.registry,
        )
        self.pseudonym_keys_until = self._gauge(
            "sekisho_pseudonym_keys_until_timestamp_seconds",
            "The first month from now on without a key of its own for pseudonyms: its first instant.",
        )
        self._declare_checkpoints()

    def _declare_checkpoints(self) -> None:
        """Declare what tells whether the ledger is signed, and whether others keep what was."""
        self.ledger_checkpoints = Counter(
            "sekisho_ledger_checkpoints_total", "Checkpoints of the ledger that were signed.", registry=self.registry
        )
        self.ledger_checkpoint_at = self._gauge(
            "sekisho_ledger_checkpoint_timestamp_seconds",
            "When the last checkpoint of the ledger was signed; 0 if none was yet.",
        )
        self.witness_deliveries = self._counter(
            "sekisho_witness_deliveries_total",
            "Attempts to give a checkpoint to a witness, by witness and result.",
            ["witness", "result"],
        )
        self.witness_lag = self._gauge(
            "sekisho_witness_lag_seconds",
            "How long ago a witness fell behind the checkpoints that were signed; 0 while it has them.",
            ["witness"],
        )
