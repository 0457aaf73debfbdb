# SPDX-License-Identifier: Apache-2.0
"""What is counted and shown of serving: what is under way, connections to APIs, workers."""

from typing import Final

from proxy.telemetry.declaring import Declaring

WORKER_ENDS: Final = ("told", "by-itself", "killed")
"""How a worker may end."""


class ServingMetrics(Declaring):
    """The metrics of serving."""

    title = "Connections, APIs and workers"

    def declare(self) -> None:
        """Declare its metrics."""
        self._declare_load()
        self._declare_upstreams()
        self._declare_workers()

    def _declare_load(self) -> None:
        """Declare what tells how much is under way."""
        self.passages = self._gauge(
            "sekisho_passages_in_progress",
            "Requests under way.",
        )
        self.connections = self._gauge(
            "sekisho_connections",
            "Open connections of callers.",
        )
        self.connections_limit = self._gauge(
            "sekisho_connections_limit",
            "How many connections of callers are taken at once; 0: no limit.",
        )

    def _declare_upstreams(self) -> None:
        """Declare what tells of the connections to APIs."""
        self.upstream_connections = self._gauge(
            "sekisho_upstream_connections",
            "Connections to an API, by state: busy or idle.",
            ["api", "state"],
        )
        self.upstream_waiting = self._gauge(
            "sekisho_upstream_waiting",
            "Requests that wait for a connection to an API.",
            ["api"],
        )
        self.upstream_down = self._gauge(
            "sekisho_upstream_down",
            "1 while an API is taken for down, because connecting to it failed again and again.",
            ["api"],
        )
        self.upstream_connect_failures = self._counter(
            "sekisho_upstream_connect_failures_total",
            "Failures to connect to an API, by cause.",
            ["api", "cause"],
        )
        self.upstream_ejections = self._counter(
            "sekisho_upstream_ejections_total",
            "Times that an API was taken for down.",
            ["api"],
        )

    def _declare_workers(self) -> None:
        """Declare what a supervisor tells of its workers."""
        self.workers_serving = self._gauge(
            "sekisho_workers_serving",
            "Processes that serve callers.",
        )
        self.workers_serving.set(1)
        self.worker_ends = self._counter(
            "sekisho_worker_ends_total",
            "Workers that ended, by how: told, by-itself, killed.",
            ["how"],
        )
        for how in WORKER_ENDS:  # from the beginning, so that the first one is seen as a step
            self.worker_ends.begin(how)
