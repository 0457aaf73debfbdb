# SPDX-License-Identifier: Apache-2.0
"""Whether the policy is in force as it was written, and by whom it is still answered for."""

from typing import Final

from deploy.monitoring.alerts.model import Alert, Group, Severity, Team
from deploy.monitoring.promql import events, wrap

GROUP: Final = Group(
    "sekisho-policy",
    (
        Alert(
            name="SekishoObserveMode",
            expr="sekisho_observe_until_timestamp_seconds and sekisho_observe_mode == 1",
            severity=Severity.WARNING,
            team=Team.SECURITY,
            summary="The gateway {{ $labels.instance }} blocks nothing (observe mode)",
            description="Every decision is recorded, none is enforced. It enforces by itself from "
            "{{ $value | humanizeTimestamp }}.",
            runbook="observe-mode",
        ),
        Alert(
            name="SekishoReloadFailed",
            expr=f"""sum without (result) {wrap(events("sekisho_reloads_total", "5m", 'result="failed"'))} > 0""",
            severity=Severity.WARNING,
            team=Team.SECURITY,
            summary="The gateway {{ $labels.instance }} could not put a changed policy folder in force",
            description="{{ $value }} times in the last five minutes. The last good policy is in force. If the folder "
            "stays as it is, SekishoPolicyStale follows.",
            runbook="policy-stale",
        ),
        Alert(
            name="SekishoPolicyStale",
            expr="sekisho_bundle_stale == 1",
            hold="1m",
            severity=Severity.CRITICAL,
            team=Team.SECURITY,
            summary="The gateway {{ $labels.instance }} does not enforce its policy folder as it lies there",
            description="The folder was changed and cannot be put in force; the last good policy is. Why stands in "
            "/readyz and in the log.",
            runbook="policy-stale",
        ),
        Alert(
            name="SekishoReviewsOverdue",
            expr="max by (job) (sekisho_reviews_overdue) > 0",
            hold="1h",
            severity=Severity.WARNING,
            team=Team.SECURITY,
            summary="{{ $value }} rules or routes are past the day on which somebody was to look at them again",
            description="They hold as before, but nobody answers any more for what they say. sekisho check names them.",
            runbook="reviews-overdue",
        ),
    ),
)
"""The security team writes the policy, so it is told."""
