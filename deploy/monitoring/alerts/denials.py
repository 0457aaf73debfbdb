# SPDX-License-Identifier: Apache-2.0
"""Who is denied, and whether anybody still is."""

from typing import Final

from deploy.monitoring.alerts.model import Alert, Group, Recording, Severity, Team
from deploy.monitoring.promql import WHY_EVENTS, events, nest, total, volume

LISTED: Final = ("CN", "HK", "MO")
"""The set ``china`` of the reference bundle."""

BURST: Final = 5
"""More within five minutes are no slip."""
MANY_SUBJECTS: Final = 10
"""People whose data one caller was denied within an hour: beyond a mistyped id or two."""
MANY_SUBJECTS_ANYBODY: Final = 25
"""The same of callers with no tie to a listed country."""
MANY_ROUTES: Final = 5
"""Routes that one caller was denied within an hour: who works is denied on one or two."""
MANY_DROPPED: Final = 100
"""Records dropped from answers within an hour: up to here it is daily work, for a search finds other people, too."""
USUAL: Final = 10
"""Denials in two hours that are no accident, so that none at all is none either."""

_WHO: Final = ("tied_country", "caller_affiliate", "subject_country")
_RECORDED: Final = "Who it was, from where and by which rule it was denied stands in the ledger."

_LISTED: Final = f"""tied_country=~"{"|".join((*LISTED, "other"))}\""""
_WHY_LISTED: Final = """\
The listed countries, here and in SekishoDroppedTiedRecords: the set `china` of the reference bundle. To watch others, \
write your own set's codes (ISO 3166-1 alpha-2) between the bars, and keep `other`: what a gateway counts under once \
the metric is full, and then anybody may be behind it. In the project's folder write them into LISTED of \
deploy/monitoring/alerts/denials.py, then make generate; elsewhere wherever `tied_country=~` stands in this file, \
then promtool check rules."""

_UNTIED: Final = total('sekisho:denials_tied:increase5m{tied_country="unknown"}', "caller_affiliate", "subject_country")
_STOPPED_BY: Final = ("job", "caller_affiliate", "subject_country")
_DENIED_YESTERDAY: Final = total(volume("sekisho_denials_total", "2h", ago="1d"), *_STOPPED_BY)
_DENIED_NOW: Final = total(events("sekisho_denials_total", "2h"), *_STOPPED_BY)
_REQUESTS: Final = "sekisho_passage_seconds_count"

GROUP: Final = Group(
    "sekisho-denials",
    (
        Recording(
            name="sekisho:denials_tied:increase5m",
            expr=events("sekisho_denials_tied_total", "5m"),
            why=WHY_EVENTS,
        ),
        Recording(
            name="sekisho:denials_listed:increase5m",
            expr=total(f"sekisho:denials_tied:increase5m{{{_LISTED}}}", *_WHO),
            why=_WHY_LISTED,
        ),
        Alert(
            name="SekishoDeniedTiedAttempt",
            expr="sekisho:denials_listed:increase5m > 0",
            severity=Severity.WARNING,
            team=Team.SECURITY,
            summary="Denied: a caller of {{ $labels.caller_affiliate }}, tied to {{ $labels.tied_country }}, asked for "
            "data of users of {{ $labels.subject_country }}",
            description="{{ $value }} in the last five minutes. "
            f"{_RECORDED} If SekishoObserveMode fires too, the gateway let it pass.",
            runbook="denied-attempts",
        ),
        Alert(
            name="SekishoDeniedTiedBurst",
            expr=f"sekisho:denials_listed:increase5m > {BURST}",
            severity=Severity.CRITICAL,
            team=Team.SECURITY,
            summary="Denied again and again: callers of {{ $labels.caller_affiliate }}, tied to "
            "{{ $labels.tied_country }}, ask for data of users of {{ $labels.subject_country }}",
            description="{{ $value }} in the last five minutes: no slip, but somebody who tries, or a program. "
            f"{_RECORDED} If SekishoObserveMode fires too, the gateway let it pass.",
            runbook="denied-attempts",
        ),
        Alert(
            name="SekishoDeniedUntied",
            expr=f"{_UNTIED} > {BURST}",
            why="Somebody of whom it is not known where they belong may belong to a listed country: who leaves a claim "
            "out is denied all the same, and must not go unseen. One attempt tells nobody, since what is unknown "
            "most often is a register that lacks somebody.",
            severity=Severity.WARNING,
            team=Team.SECURITY,
            summary="Denied again and again: callers of {{ $labels.caller_affiliate }}, whose ties to countries are "
            "not known, ask for data of users of {{ $labels.subject_country }}",
            description="{{ $value }} in the last five minutes. Either a register lacks them, or they hide for whom "
            f"they work. {_RECORDED} If SekishoObserveMode fires too, the gateway let it pass.",
            runbook="denied-attempts",
        ),
        Alert(
            name="SekishoDeniedManySubjects",
            expr=f"""\
max by (caller_affiliate) (sekisho_denied_subjects_most) >= {MANY_SUBJECTS}
and on (caller_affiliate)
  max_over_time(sekisho:denials_listed:increase5m[1h]) > 0""",
            why="The gauge does not know of ties: the second half says that callers of this affiliate, tied to a "
            "listed country, were denied within the same hour. Of several gateways each knows what it denied: the "
            "greatest is the least it was.",
            severity=Severity.CRITICAL,
            team=Team.SECURITY,
            summary="Denied: one caller of {{ $labels.caller_affiliate }} asked for data of {{ $value }} people",
            description="Within the last hour. Callers of this affiliate tied to a listed country were denied "
            f"meanwhile. Somebody goes through people, or a program does. {_RECORDED}",
            runbook="denied-attempts",
        ),
        Alert(
            name="SekishoDroppedTiedRecords",
            expr=f"{total(events('sekisho_records_denied_tied_total', '1h', _LISTED), *_WHO)} > {MANY_DROPPED}",
            why="Of an answer of which something is left no denial is counted. A search over many drops some in daily "
            "work, so one record is no alert. The listed countries are those of sekisho:denials_listed:increase5m.",
            severity=Severity.WARNING,
            team=Team.SECURITY,
            summary="Dropped from answers: callers of {{ $labels.caller_affiliate }}, tied to "
            "{{ $labels.tied_country }}, search where records of users of {{ $labels.subject_country }} are found",
            description="{{ $value }} records within the last hour. The rest of each answer was given. Who it was, on "
            "which route, and how many records each answer lost stands in the ledger. If SekishoObserveMode fires "
            "too, the gateway let them pass.",
            runbook="dropped-records",
        ),
        Alert(
            name="SekishoProbingRoutes",
            expr=f"max by (caller_affiliate) (sekisho_denied_routes_most) >= {MANY_ROUTES}",
            why="Undeclared paths count by their shapes, so who tries a hundred paths is seen as well as who tries "
            "every route.",
            severity=Severity.WARNING,
            team=Team.SECURITY,
            summary="Probing: one caller of {{ $labels.caller_affiliate }} was denied on {{ $value }} routes",
            description="Within the last hour. Who does its work is denied on one or two: this one looks for what "
            f"opens. {_RECORDED}",
            runbook="probing",
        ),
        Alert(
            name="SekishoProbingSubjects",
            expr=f"max by (caller_affiliate) (sekisho_denied_subjects_most) >= {MANY_SUBJECTS_ANYBODY}",
            severity=Severity.WARNING,
            team=Team.SECURITY,
            summary="Probing: one caller of {{ $labels.caller_affiliate }} was denied data of {{ $value }} people",
            description="Within the last hour, whatever it is tied to: somebody goes through people, or a program "
            f"lacks a permission that it needs. {_RECORDED}",
            runbook="probing",
        ),
        Alert(
            name="SekishoDenialsStopped",
            expr=f"""\
{_DENIED_YESTERDAY} >= {USUAL}
unless
{nest(_DENIED_NOW)} > 0
and on (job)
  {total(volume(_REQUESTS, "2h"), "job")}
    > 0.5 * {total(volume(_REQUESTS, "2h", ago="1d"), "job")}
and on (job)
  2 * 3600 < time() - max by (job) (sekisho_bundle_since_timestamp_seconds) < 86400""",
            why="The same two hours of yesterday are held against the last two: denials were usual then, none now, "
            "at least half as many requests. The policy in force now was put in force before the ones and after the "
            "others; so is it where a gateway was started anew, maybe with other settings.",
            severity=Severity.WARNING,
            team=Team.SECURITY,
            summary="No longer denied since the policy changed: callers of {{ $labels.caller_affiliate }} who ask for "
            "data of users of {{ $labels.subject_country }}",
            description="At this time yesterday about {{ $value | humanize }} in two hours, in the last two hours "
            "none, though requests go on. Either they no longer ask, or the policy that was put in force since "
            "lets them.",
            runbook="denials-stopped",
        ),
    ),
)
"""Those of the security team; they want every gateway scraped under the job ``sekisho``."""
