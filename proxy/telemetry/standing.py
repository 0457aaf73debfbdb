# SPDX-License-Identifier: Apache-2.0
"""What is counted and shown of what is in force: this program, the policy folder, its rules, geolocation, TLS."""

from collections.abc import Callable, Sequence

from proxy.counting import Listing
from proxy.model.origin import DatabaseInfo
from proxy.telemetry.declaring import Declaring


class StandingMetrics(Declaring):
    """The metrics of what is in force."""

    title = "What is in force"

    def declare(self) -> None:
        """Declare its metrics."""
        self.build = Listing(
            "sekisho_build_info",
            "The version of this program, and of the Python that runs it.",
            ["version", "python"],
            self.registry,
            self._folded,
        )
        self._declare_policy()
        self._declare_geolocation()
        self._declare_tls()

    def _declare_policy(self) -> None:
        self.reloads = self._counter(
            "sekisho_reloads_total",
            "Attempts to put a changed policy folder in force, by result.",
            ["result"],
        )
        self.bundle = self._gauge(
            "sekisho_bundle_info",
            "The policy folder in force, by its two digests.",
            ["policy_digest", "registers_digest"],
        )
        self.rules = Listing(
            "sekisho_rule_info",
            "The rules in force, by what they say and whether they are enforced or only watched (shadow).",
            ["rule", "effect", "mode"],
            self.registry,
            self._folded,
        )
        self.observing = self._gauge(
            "sekisho_observe_mode",
            "1 while nothing is blocked (mode: observe), 0 under enforcement.",
        )
        self.observe_until = self._gauge(
            "sekisho_observe_until_timestamp_seconds",
            "When observe mode ends by itself; 0 under enforcement.",
        )
        self.bundle_since = self._gauge(
            "sekisho_bundle_since_timestamp_seconds",
            "When the policy folder in force was put in force.",
        )
        self.bundle_stale = self._gauge(
            "sekisho_bundle_stale",
            "1 while the policy folder as it lies there could not be put in force, and the last good one is.",
        )
        self.reviews_overdue = self._gauge(
            "sekisho_reviews_overdue",
            "Rules and routes whose review_by is past.",
        )
        self.grants_active = self._gauge(
            "sekisho_grants_active",
            "Grants that hold at this moment.",
        )

    def _declare_geolocation(self) -> None:
        """Declare what tells of the databases that say where addresses are."""
        self.geolocation_reloads = self._counter(
            "sekisho_geolocation_reloads_total",
            "Attempts to put changed geolocation databases in force, by result.",
            ["result"],
        )
        self.geolocation = self._gauge(
            "sekisho_geolocation_info",
            "The geolocation databases in force, by use, type and digest.",
            ["database", "type", "digest"],
        )
        self.geolocation_built = self._gauge(
            "sekisho_geolocation_build_timestamp_seconds",
            "When a geolocation database was built.",
            ["database"],
        )
        self.geolocation_expired = self._gauge(
            "sekisho_geolocation_expired",
            "1 while a geolocation database is too old to be believed, and its answers are unknown.",
            ["database"],
        )
        self.geolocation_stale = self._gauge(
            "sekisho_geolocation_stale",
            "1 while the databases as they lie there could not be put in force, and the last good ones are.",
        )

    def _declare_tls(self) -> None:
        """Declare what tells of the listener's certificate, and of revocation lists."""
        self.tls_reloads = self._counter(
            "sekisho_tls_reloads_total",
            "Attempts to renew the listener's TLS, by result.",
            ["result"],
        )
        self.tls_certificate_expires = self._gauge(
            "sekisho_tls_certificate_expiry_timestamp_seconds",
            "When the listener's own TLS certificate ends; 0 without TLS.",
        )
        self.tls_stale = self._gauge(
            "sekisho_tls_stale",
            "1 while the listener's TLS as it is declared could not be put in use, and the last good one is.",
        )
        self.revocation_lists_until = self._gauge(
            "sekisho_revocation_lists_until_timestamp_seconds",
            "When the first revocation list of an authority over client certificates ends.",
            ["authority"],
        )

    def show_geolocation(self, databases: Sequence[DatabaseInfo], clock: Callable[[], float]) -> None:
        """Say which databases are in force.

        Args:
            databases: all of them.
            clock: reads the wall clock, seconds since 1970.
        """
        gauges = (self.geolocation, self.geolocation_built, self.geolocation_expired)
        for gauge in gauges:
            gauge.clear()
        for each in databases:
            self.geolocation.labels(each.use, each.type, each.digest).set(1)
            self.geolocation_built.labels(each.use).set(each.built)
            self.geolocation_expired.labels(each.use).set_function(_expired(each, clock))


def _expired(database: DatabaseInfo, clock: Callable[[], float]) -> Callable[[], float]:
    return lambda: float(not database.holds(clock()))
