# SPDX-License-Identifier: Apache-2.0
"""What is allowed and must be looked at: reads across borders, grants, rules on trial, facts that nobody knows."""

from typing import Final

from deploy.monitoring.alerts.model import Alert, Group, Severity, Team
from deploy.monitoring.promql import events, total, volume

RISES_BY: Final = 3
"""How many times as much as before is a rise: days differ by less."""
MANY_REQUESTS: Final = 100
"""Requests across borders in an hour, below which nobody is told however much they rise."""
MANY_RECORDS: Final = 1000
"""Records, likewise."""
MANY_UNKNOWN: Final = 50
"""Decisions in an hour that lacked a fact, likewise."""

_ACROSS: Final = ("caller_affiliate", "subject_country")
_RISING: Final = (
    "More than at the same hour of yesterday and than at that of the same day last week, where there was a last week: "
    "so neither mornings nor Mondays are a rise. What there was none of rises from nothing. The last line keeps it "
    "silent until gateways have been watched for a day."
)


def _rising(counter: str, floor: int, *by: str) -> str:
    now, *before = (total(volume(counter, "1h", ago=ago), *by) for ago in ("", "1d", "1w"))
    less = "".join(f"unless\n  {now}\n    <= {RISES_BY} * {then}\n" for then in before)
    return f"{now} > {floor}\n{less}and on ()\n  count(sekisho_bundle_since_timestamp_seconds offset 1d)"


GROUP: Final = Group(
    "sekisho-access",
    (
        Alert(
            name="SekishoCrossBorderRequestsRising",
            expr=_rising("sekisho_cross_border_requests_total", MANY_REQUESTS, *_ACROSS),
            why=_RISING,
            hold="5m",
            severity=Severity.WARNING,
            team=Team.SECURITY,
            summary="Callers of {{ $labels.caller_affiliate }} are let have data of users of "
            "{{ $labels.subject_country }} across a border far more often than before",
            description="{{ $value | humanize }} requests in the last hour, more than three times as many as at "
            "this hour yesterday and a week ago. All of them were allowed.",
            runbook="cross-border-rising",
        ),
        Alert(
            name="SekishoCrossBorderRecordsRising",
            expr=_rising("sekisho_cross_border_records_total", MANY_RECORDS, *_ACROSS),
            why="Few requests can carry many records. Then as above.",
            hold="5m",
            severity=Severity.WARNING,
            team=Team.SECURITY,
            summary="Callers of {{ $labels.caller_affiliate }} are let have far more records of users of "
            "{{ $labels.subject_country }} across a border than before",
            description="{{ $value | humanize }} records in the last hour, more than three times as many as at this "
            "hour yesterday and a week ago. All of them were allowed.",
            runbook="cross-border-rising",
        ),
        Alert(
            name="SekishoGrantUsed",
            expr=f"{total(events('sekisho_grants_used_total', '15m'), 'grant', 'rule')} > 0",
            severity=Severity.INFO,
            team=Team.SECURITY,
            summary="The grant {{ $labels.grant }} was used: the rule {{ $labels.rule }} did not hold for its holder",
            description="{{ $value }} times in the last quarter of an hour. Whoever approved it can say whether this "
            "is what it is for; who used it, and whose data it was, stands in the ledger.",
            runbook="grant-used",
        ),
        Alert(
            name="SekishoShadowWouldDeny",
            expr=f"""{total(events("sekisho_shadow_decisions_total", "1h", 'would="deny"'), "rule")} > 0""",
            severity=Severity.INFO,
            team=Team.SECURITY,
            summary="The shadow rule {{ $labels.rule }} would deny what is allowed",
            description="{{ $value }} decisions in the last hour. Nobody was stopped: see whose work it would stop "
            "before the rule is enforced.",
            runbook="shadow-would-deny",
        ),
        Alert(
            name="SekishoUnknownFactsRising",
            expr=_rising("sekisho_unknown_facts_total", MANY_UNKNOWN, "fact"),
            why=_RISING,
            hold="5m",
            severity=Severity.WARNING,
            team=Team.SECURITY,
            summary="Far more decisions than before are made without knowing {{ $labels.fact }}",
            description="{{ $value | humanize }} in the last hour, more than three times as many as at this hour "
            "yesterday and a week ago. Deny rules that ask for it apply, allow rules do not: people may be stopped "
            "who should not be. A register, an issuer or a directory says less than it did.",
            runbook="unknown-facts",
        ),
    ),
)
"""Who may says yes too often, or not by the rules that everybody is under."""
