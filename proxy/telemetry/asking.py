# SPDX-License-Identifier: Apache-2.0
"""What is counted and shown of asking others: issuers, directories of data subjects, the store of shared counts."""

from typing import Final

from proxy.counting import PlainHistogram
from proxy.telemetry.declaring import Declaring

_LOOKUP_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)


class AskingMetrics(Declaring):
    """The metrics of asking others."""

    title = "Others who are asked"

    def declare(self) -> None:
        """Declare its metrics."""
        self._declare_issuers()
        self._declare_counts()
        self._declare_lookups()

    def _declare_issuers(self) -> None:
        """Declare what tells whether issuers say which tokens are theirs."""
        self.key_fetches = self._counter(
            "sekisho_key_fetches_total",
            "Fetches of issuers' key sets, by issuer and result.",
            ["issuer", "result"],
        )
        self.key_set_fetched = self._gauge(
            "sekisho_key_set_fetched_timestamp_seconds",
            "When an issuer's keys were last fetched.",
            ["issuer"],
        )
        self.key_set_keys = self._gauge(
            "sekisho_key_set_keys",
            "How many keys of an issuer are trusted now.",
            ["issuer"],
        )
        self.introspections = self._counter(
            "sekisho_introspections_total",
            "Questions to issuers whether a token is active, by issuer and answer.",
            ["issuer", "result"],
        )

    def _declare_counts(self) -> None:
        """Declare what tells whether it is known how much callers read."""
        self.counts_asked = self._counter(
            "sekisho_counts_asked_total",
            "Questions to the shared store how much a caller has read, by result.",
            ["result"],
        )
        self.counts_unavailable = self._gauge(
            "sekisho_counts_unavailable",
            "1 while the shared store does not say how much callers read, and who is limited is refused.",
        )
        self.counts_members = self._gauge(
            "sekisho_counts_members",
            "Subjects and requests that are held in memory for counting; SEKISHO_COUNTS_MAX_MEMBERS bounds them.",
        )

    def _declare_lookups(self) -> None:
        """Declare what tells whether directories say whose data it is."""
        self.lookups = self._counter(
            "sekisho_lookups_total",
            "Ids for whose country somebody elsewhere was to be asked, by lookup and result.",
            ["lookup", "result"],
        )
        self.lookup_seconds = PlainHistogram(
            "sekisho_lookup_seconds",
            "Time from a question for countries to its answer, or to its deadline.",
            _LOOKUP_BUCKETS,
            self.registry,
        )
        self.lookup_entries = self._gauge(
            "sekisho_lookup_entries",
            "Answers on ids that are kept.",
            ["lookup"],
        )
        self.lookup_down = self._gauge(
            "sekisho_lookup_down",
            "1 while a lookup is taken for down, and whoever's decision hangs on it is refused.",
            ["lookup"],
        )
