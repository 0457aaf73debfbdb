# SPDX-License-Identifier: Apache-2.0
"""What gateways ask, and what they stand before: issuers, databases, directories, stores, certificates, APIs."""

from typing import Final

from deploy.monitoring.alerts.model import Alert, Group, Severity, Team
from deploy.monitoring.promql import events, total, volume

ANSWERS: Final = 5
"""Answers of one kind refused within a quarter of an hour: more are not one odd record."""
BROKEN: Final = 10
"""Answers that an API breaks off within a quarter of an hour: a restart of it may cost those under way."""
OLD_DAYS: Final = 14
"""Providers of geolocation databases publish weekly or more often: two of them were missed."""

_ISSUER: Final = ("job", "instance", "issuer")
_FAILURES: Final = "sekisho_upstream_failures_total"
_BROKEN: Final = events(_FAILURES, "15m", 'reason="upstream-broken"')
_REFUSED: Final = events(_FAILURES, "15m", 'reason=~"answer-.+"')

GROUP: Final = Group(
    "sekisho-dependencies",
    (
        Alert(
            name="SekishoKeysOld",
            expr="time() - sekisho_key_set_fetched_timestamp_seconds > 3600",
            why="Keys are fetched every 5 minutes, and trusted for 24 hours (jwks_refresh_seconds, "
            "jwks_stale_seconds).",
            severity=Severity.WARNING,
            team=Team.PLATFORM,
            summary="The gateway {{ $labels.instance }} has old keys of the issuer {{ $labels.issuer }}",
            description="Last fetched {{ $value | humanizeDuration }} ago. A key that the issuer has withdrawn since "
            "still opens, a new one does not; after a day without a fetch its callers get 503.",
            runbook="keys-old",
        ),
        Alert(
            name="SekishoKeysGone",
            expr="sekisho_key_set_keys == 0",
            hold="1m",
            severity=Severity.CRITICAL,
            team=Team.PLATFORM,
            summary="The gateway {{ $labels.instance }} trusts no key of the issuer {{ $labels.issuer }}",
            description="The issuer publishes none, or for too long they could not be fetched. All its callers get "
            "503.",
            runbook="keys-old",
        ),
        Alert(
            name="SekishoIntrospectionFailing",
            expr=f"""\
{total(volume("sekisho_introspections_total", "10m", 'result="failed"'), *_ISSUER)}
  / {total(volume("sekisho_introspections_total", "10m"), *_ISSUER)}
  > 0.1""",
            why="increase() does not see a series come to be: one failure that no other follows is not told, an "
            "outage is.",
            severity=Severity.CRITICAL,
            team=Team.PLATFORM,
            summary="The gateway {{ $labels.instance }} cannot ask the issuer {{ $labels.issuer }} whether tokens are "
            "active",
            description="{{ $value | humanizePercentage }} of the questions of the last ten minutes got no answer "
            "that says it. The callers whose tokens they were about got 503.",
            runbook="introspection-failing",
        ),
        Alert(
            name="SekishoGeolocationStale",
            expr="sekisho_geolocation_stale == 1",
            hold="1m",
            severity=Severity.WARNING,
            team=Team.PLATFORM,
            summary="The gateway {{ $labels.instance }} does not use its geolocation databases as they lie there",
            description="A file was changed and cannot be put in force; the last good ones are. Why stands in "
            "/readyz and in the log.",
            runbook="geolocation-stale",
        ),
        Alert(
            name="SekishoGeolocationOld",
            expr=f"""\
time() - sekisho_geolocation_build_timestamp_seconds > {OLD_DAYS} * 86400
unless
  sekisho_geolocation_expired == 1""",
            why="Providers publish weekly or more often. Keep it below --geoip-max-age-days, so that somebody is told "
            "before the database is no longer believed.",
            severity=Severity.WARNING,
            team=Team.PLATFORM,
            summary="The {{ $labels.database }} database of the gateway {{ $labels.instance }} is old",
            description="Built {{ $value | humanizeDuration }} ago: newer ones did not arrive. Where it says somebody "
            "is, they may no longer be.",
            runbook="geolocation-old",
        ),
        Alert(
            name="SekishoGeolocationExpired",
            expr="sekisho_geolocation_expired == 1",
            severity=Severity.CRITICAL,
            team=Team.PLATFORM,
            summary="The {{ $labels.database }} database of the gateway {{ $labels.instance }} is too old to be "
            "believed",
            description="What it would say of an address is unknown, and deny rules that ask for it apply.",
            runbook="geolocation-expired",
        ),
        Alert(
            name="SekishoCertificateEnds",
            expr="0 < sekisho_tls_certificate_expiry_timestamp_seconds < time() + 14 * 86400",
            why="0 where there is no TLS.",
            severity=Severity.WARNING,
            team=Team.PLATFORM,
            summary="The certificate of the gateway {{ $labels.instance }} ends within 14 days",
            description="At {{ $value | humanizeTimestamp }}. From then on callers that verify it cannot connect.",
            runbook="certificate-ends",
        ),
        Alert(
            name="SekishoTlsStale",
            expr="sekisho_tls_stale == 1",
            hold="1m",
            severity=Severity.CRITICAL,
            team=Team.PLATFORM,
            summary="The gateway {{ $labels.instance }} does not use its certificate as it lies there",
            description="The certificate, its key or the authorities over client certificates were changed and "
            "cannot be put in use; the last good ones are. Why stands in the log.",
            runbook="tls-stale",
        ),
        Alert(
            name="SekishoRevocationListEnds",
            expr="sekisho_revocation_lists_until_timestamp_seconds < time() + 86400",
            severity=Severity.WARNING,
            team=Team.PLATFORM,
            summary="A revocation list of the authority {{ $labels.authority }} at the gateway "
            "{{ $labels.instance }} ends within a day",
            description="At {{ $value | humanizeTimestamp }}. From then on services with certificates of this "
            "authority get 503.",
            runbook="revocation-list-ends",
        ),
        Alert(
            name="SekishoCountsUnavailable",
            expr="sekisho_counts_unavailable == 1",
            hold="2m",
            severity=Severity.WARNING,
            team=Team.PLATFORM,
            summary="The gateway {{ $labels.instance }} cannot count how much callers read",
            description="The Redis that SEKISHO_COUNTS names does not answer as it should. Whoever a limit concerns "
            "is refused with 503; all others are served.",
            runbook="counts-unavailable",
        ),
        Alert(
            name="SekishoLookupDown",
            expr="sekisho_lookup_down == 1",
            hold="2m",
            severity=Severity.WARNING,
            team=Team.PLATFORM,
            summary="The lookup {{ $labels.lookup }} does not tell the gateway {{ $labels.instance }} whose data it is",
            description="For two minutes or longer. Whoever's decision hangs on a country that it should tell is "
            "refused with 503; all others are served.",
            runbook="lookup-down",
        ),
        Alert(
            name="SekishoUpstreamDown",
            expr="sekisho_upstream_down == 1",
            hold="1m",
            severity=Severity.CRITICAL,
            team=Team.PLATFORM,
            summary="The gateway {{ $labels.instance }} cannot connect to the API {{ $labels.api }}",
            description="For a minute or longer. Its callers get 502 at once; no request is lost midway, and none is "
            "sent twice.",
            runbook="upstream-down",
        ),
        Alert(
            name="SekishoAnswersBroken",
            expr=f"{total(_BROKEN, 'job', 'instance', 'api')} > {BROKEN}",
            why="Broken before they began to leave, or after: the caller gets 502, or an answer that breaks off.",
            severity=Severity.WARNING,
            team=Team.PLATFORM,
            summary="Answers of the API {{ $labels.api }} break off at the gateway {{ $labels.instance }}",
            description="{{ $value }} in a quarter of an hour. It ends connections before its answers are whole, "
            "or frames them so that nobody can say where they end. No caller took such an answer for a whole one.",
            runbook="answers-broken",
        ),
        Alert(
            name="SekishoAnswersRefused",
            expr=f"{total(_REFUSED, 'api', 'reason')} > {ANSWERS}",
            why="Refused before they began to leave, or cut off after.",
            severity=Severity.WARNING,
            team=Team.PLATFORM,
            summary="Answers of the API {{ $labels.api }} are refused, {{ $labels.reason }}",
            description="{{ $value }} in a quarter of an hour. They are not what their routes declare, so that nobody "
            "can say whose data is in them: the API was changed, or a route is declared wrong. Nothing left.",
            runbook="answers-refused",
        ),
    ),
)
"""Gateways fail closed where one of these fails: somebody is refused who should not be."""
