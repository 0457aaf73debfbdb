# SPDX-License-Identifier: Apache-2.0
"""Whether gateways serve, and whether traffic goes through them."""

from typing import Final

from deploy.monitoring.alerts.model import Alert, Group, Severity, Team
from deploy.monitoring.promql import events, total, volume, wrap

USUAL: Final = 100
"""Requests in half an hour, below which a silence says nothing."""

_FULL: Final = 'reason=~"overloaded|connections-exceeded|requests-exceeded|upstream-busy"'
_NOW, _YESTERDAY, _LAST_WEEK = (
    total(volume("sekisho_passage_seconds_count", "30m", ago=ago), "job") for ago in ("", "1d", "1w")
)

GROUP: Final = Group(
    "sekisho-gateways",
    (
        Alert(
            name="SekishoDown",
            expr='up{job="sekisho"} == 0 or absent(up{job="sekisho"})',
            why="absent: a target that has gone from the list is silent otherwise, and with it every alert here.",
            hold="1m",
            severity=Severity.CRITICAL,
            team=Team.PLATFORM,
            summary="{{ if $labels.instance }}The gateway {{ $labels.instance }} does not answer Prometheus"
            "{{ else }}Prometheus knows no gateway: the job sekisho has no target{{ end }}",
            description="For a minute or longer. None of the other alerts can be raised for it meanwhile.",
            runbook="down",
        ),
        Alert(
            name="SekishoWorkersEnding",
            expr=f"""sum without (how) {wrap(events("sekisho_worker_ends_total", "15m", 'how!="told"'))} > 0""",
            severity=Severity.WARNING,
            team=Team.PLATFORM,
            summary="Workers of the gateway {{ $labels.instance }} end by themselves",
            description="At least one in 15 minutes. Its requests under way broke off; others serve, and another one "
            "is started.",
            runbook="workers-ending",
        ),
        Alert(
            name="SekishoOverloaded",
            expr=f"{total(events('sekisho_refusals_total', '5m', _FULL), 'job', 'instance', 'reason')} > 10",
            severity=Severity.WARNING,
            team=Team.PLATFORM,
            summary="The gateway {{ $labels.instance }} refuses requests, {{ $labels.reason }}",
            description="{{ $value | humanize }} in five minutes, for want of room and not by the policy. Nothing "
            "else passes by that.",
            runbook="overloaded",
        ),
        Alert(
            name="SekishoConnectionsNearLimit",
            expr="sekisho_connections > 0.8 * sekisho_connections_limit and sekisho_connections_limit > 0",
            hold="2m",
            severity=Severity.WARNING,
            team=Team.PLATFORM,
            summary="The gateway {{ $labels.instance }} has nearly all the connections that it takes",
            description="{{ $value }} connections of callers. Beyond the limit, whoever connects is answered 503.",
            runbook="overloaded",
        ),
        Alert(
            name="SekishoLabelsFolded",
            expr=f"{total(events('sekisho_labels_folded_total', '1h'), 'job', 'instance', 'metric')} > 0",
            severity=Severity.WARNING,
            team=Team.PLATFORM,
            summary="The metric {{ $labels.metric }} of the gateway {{ $labels.instance }} is full",
            description="{{ $value }} events in the last hour were counted as `other`: alerts and dashboards no "
            "longer tell who they were about. The ledger does.",
            runbook="labels-folded",
        ),
        Alert(
            name="SekishoBypass",
            expr="sekisho_probe_reachable == 1",
            severity=Severity.CRITICAL,
            team=Team.SECURITY,
            summary="The API {{ $labels.api }} can be reached without the gateway",
            description="The canary {{ $labels.instance }} got through to it, without a token and without an "
            "assertion. So can whoever is where it is: what they read there is neither decided nor recorded.",
            runbook="bypass",
        ),
        Alert(
            name="SekishoProbeSilent",
            expr="""\
time() - sekisho_probe_timestamp_seconds > 900
or
  up{job="sekisho-probe"} == 0
or (
  count by (job) (last_over_time(sekisho_probe_timestamp_seconds[1d]))
  unless
    count by (job) (sekisho_probe_timestamp_seconds)
  unless on (job)
    up{job="sekisho-probe"}
)""",
            why="A canary that has gone raises nothing by itself: its target stays in the list, or its file stays as "
            "it was. The last part is of one whose target was taken out of the list, or whose file was removed, within "
            "the last day.",
            hold="5m",
            severity=Severity.WARNING,
            team=Team.SECURITY,
            summary="{{ if $labels.instance }}The canary {{ $labels.instance }} is silent{{ else }}The canary is gone: "
            "there was one within the last day{{ end }}",
            description="For minutes it has not tried whether the APIs can be reached without the gateway. Nobody "
            "would be told if they could.",
            runbook="bypass",
        ),
        Alert(
            name="SekishoTrafficStopped",
            expr=f"""\
{_NOW} < 0.1 * {_YESTERDAY}
and
  {_YESTERDAY} >= {USUAL}
unless
  {_LAST_WEEK} < 0.1 * {_YESTERDAY}""",
            why="The same half hour of yesterday was busy, this one is not. Where that of last week was not either, it "
            "is that day of the week. A gateway that is down says nothing here: SekishoDown does.",
            hold="5m",
            severity=Severity.WARNING,
            team=Team.SECURITY,
            summary="Hardly anybody asks the gateways of the job {{ $labels.job }} any more",
            description="{{ $value | humanize }} requests in half an hour, less than a tenth of yesterday's. The "
            "gateways answer. Either nobody wants anything, or whoever does goes another way.",
            runbook="traffic-stopped",
        ),
    ),
)
"""Down, short of room, or passed by."""
