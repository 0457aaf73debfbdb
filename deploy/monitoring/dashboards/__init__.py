# SPDX-License-Identifier: Apache-2.0
"""The dashboards, as code: what Grafana shows of gateways, one file a dashboard.

Every query is run against a real Prometheus that scraped real gateways, and must return what they did
(``tests/e2e/test_dashboards.py``). What is counted over time is counted by ``promql.count_events``: an attempt that
was the first of its kind is on the dashboard, and nothing else so important may be missed by it.
"""

from collections.abc import Iterable
from typing import Final

from deploy.monitoring.dashboards import cross_border, denied, health, policy
from deploy.monitoring.dashboards.board import Board, generate
from deploy.monitoring.generated import Generated

BOARDS: Final[tuple[Board, ...]] = (denied.BOARD, cross_border.BOARD, health.BOARD, policy.BOARD)


def generate_all() -> Iterable[Generated]:
    """Return the file of each dashboard."""
    return map(generate, BOARDS)
