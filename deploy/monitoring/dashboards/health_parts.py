# SPDX-License-Identifier: Apache-2.0
"""The rows of the health dashboard on what gateways depend on: APIs, directories, ledger, keys, databases, TLS."""

from typing import Final

from deploy.monitoring.dashboards.board import Row
from deploy.monitoring.dashboards.panels import (
    AMBER,
    BAR,
    GREEN,
    HERE,
    RED,
    Query,
    bars,
    count,
    lines,
    listing,
    states,
    tile,
)

_DAY: Final = 86400
_DOWN: Final = {"0": ("answers", GREEN), "1": ("down", RED)}

APIS: Final = Row(
    "APIs and directories",
    (
        states(
            "APIs",
            "A line for each API and place: red while some gateway takes it for down, because connecting to it failed "
            "again and again.",
            Query(f"max by (api) (sekisho_upstream_down{{{HERE}}})", "{{api}}"),
            _DOWN,
            width=8,
            runbook="upstream-down",
        ),
        lines(
            "Connections to APIs",
            "In use, kept, and how many requests wait for one. If some wait all the time: the API is slow, or "
            "SEKISHO_UPSTREAM_CONNECTIONS is too few.",
            Query(f"sum by (api, state) (sekisho_upstream_connections{{{HERE}}})", "{{api}}, {{state}}"),
            Query(f"sum by (api) (sekisho_upstream_waiting{{{HERE}}})", "{{api}}, waiting"),
            width=8,
        ),
        bars(
            "Failures to connect to APIs",
            "By cause. An API is taken for down after several in a row.",
            Query(count("sekisho_upstream_connect_failures_total", BAR, "api", "cause"), "{{api}}, {{cause}}"),
            Query(count("sekisho_upstream_ejections_total", BAR, "api"), "{{api}}, taken for down"),
            width=8,
        ),
        bars(
            "Requests that fail at their API",
            "Refused, or cut off after their answer had begun to leave: the API is away, breaks off, or answers what "
            "its routes do not declare. docs/refusals.md says what each reason means and who mends it.",
            Query(count("sekisho_upstream_failures_total", BAR, "api", "reason"), "{{api}}, {{reason}}"),
            width=24,
            runbook="answers-refused",
        ),
        states(
            "Lookups",
            "A line for each directory that tells whose data it is: red while some gateway takes it for down.",
            Query(f"max by (lookup) (sekisho_lookup_down{{{HERE}}})", "{{lookup}}"),
            _DOWN,
            width=8,
            runbook="lookup-down",
        ),
        bars(
            "Lookups by result",
            "Ids for whose country a directory was asked. failed: no answer, or none that makes sense; skipped: not "
            "asked, because it is taken for down. What is kept is not asked for again.",
            Query(count("sekisho_lookups_total", BAR, "lookup", "result"), "{{lookup}}, {{result}}"),
            width=8,
        ),
        lines(
            "Time of lookups",
            "From a question for countries to its answer, or to its deadline; and how many answers are kept is beside "
            "it.",
            Query(
                "histogram_quantile(0.99, sum by (le)"
                f" (rate(sekisho_lookup_seconds_bucket{{{HERE}}}[$__rate_interval])))",
                "p99",
            ),
            unit="s",
            width=4,
        ),
        lines(
            "Answers of directories that are kept",
            "Held in memory, at each gateway, until they are too old to be used.",
            Query(f"sum by (instance, lookup) (sekisho_lookup_entries{{{HERE}}})", "{{instance}}, {{lookup}}"),
            width=4,
        ),
        bars(
            "Questions to the shared store of counts",
            "How much a caller has read is asked of a store that gateways share, by result. A bundle without limits "
            "asks nothing.",
            Query(count("sekisho_counts_asked_total", BAR, "result"), "{{result}}"),
            width=8,
        ),
        states(
            "The shared store of counts",
            "A line for each gateway: red while the store does not say how much callers read, and who is limited gets "
            "503.",
            Query(f"sekisho_counts_unavailable{{{HERE}}}", "{{instance}}"),
            _DOWN,
            width=8,
            runbook="counts-unavailable",
        ),
        lines(
            "Held for counting",
            "Subjects and requests that are held in memory for counting. SEKISHO_COUNTS_MAX_MEMBERS bounds them.",
            Query(f"sekisho_counts_members{{{HERE}}}", "{{instance}}"),
            width=8,
        ),
    ),
)

LEDGER: Final = Row(
    "Ledger",
    (
        tile(
            "Not signed for",
            "How long ago the last checkpoint was signed, at the gateway where that is longest: a minute while "
            "requests come, an hour while none do. What was recorded since then can be changed unseen.",
            f"max(time() - (sekisho_ledger_checkpoint_timestamp_seconds{{{HERE}}} > 0))",
            steps=((None, GREEN), (3900, AMBER), (7200, RED)),
            unit="s",
            no_value="not yet",
            width=6,
            runbook="ledger-unsigned",
        ),
        tile(
            "Witness behind",
            "How long the witness that is furthest behind has not had the newest checkpoint. What was recorded "
            "since then is missed by nobody if the end of the ledger is cut off.",
            f"max(sekisho_witness_lag_seconds{{{HERE}}})",
            steps=((None, GREEN), (300, AMBER), (900, RED)),
            unit="s",
            no_value="no witness",
            width=6,
            runbook="witness-failing",
        ),
        tile(
            "Keys that name people end in",
            "For how long there are keys of their own for each month's pseudonyms. Add months ahead of time.",
            f"min(sekisho_pseudonym_keys_until_timestamp_seconds{{{HERE}}}) - time()",
            steps=((None, RED), (14 * _DAY, GREEN)),
            unit="s",
            width=6,
            runbook="pseudonym-keys-end",
        ),
        tile(
            "Checkpoints signed",
            "In this range, over all gateways.",
            count("sekisho_ledger_checkpoints_total", "$__range"),
            steps=((None, GREEN),),
            width=6,
        ),
        bars(
            "Lines of the ledger",
            "Lines that were made durable, at each gateway; checkpoints are counted above. None while requests go on: "
            "see the panel Ledger cannot be written.",
            Query(count("sekisho_ledger_lines_total", BAR, "instance"), "{{instance}}"),
            runbook="ledger-failing",
        ),
        bars(
            "Checkpoints given to witnesses",
            "By result. conflict: a witness keeps another checkpoint than the gateway signed, and one of the two is "
            "not what happened.",
            Query(count("sekisho_witness_deliveries_total", BAR, "witness", "result"), "{{witness}}, {{result}}"),
            runbook="witness-failing",
        ),
    ),
)

TRUST: Final = Row(
    "Keys, databases, certificates",
    (
        lines(
            "Age of issuers' keys",
            "How long ago the keys of each issuer were fetched, at the gateway that is furthest behind. A key that the "
            "issuer has withdrawn since still opens; after a day its callers get 503.",
            Query(f"max by (issuer) (time() - sekisho_key_set_fetched_timestamp_seconds{{{HERE}}})", "{{issuer}}"),
            unit="s",
            steps=((None, GREEN), (3600, RED)),
            width=8,
            runbook="keys-old",
        ),
        lines(
            "Keys that are trusted",
            "Of each issuer, at the gateway that has fewest. 0: all its callers get 503.",
            Query(f"min by (issuer) (sekisho_key_set_keys{{{HERE}}})", "{{issuer}}"),
            width=8,
            runbook="keys-old",
        ),
        bars(
            "Questions to issuers",
            "Fetches of key sets, and questions whether a token is active, by result.",
            Query(count("sekisho_key_fetches_total", BAR, "issuer", "result"), "{{issuer}}, {{result}}"),
            Query(count("sekisho_introspections_total", BAR, "issuer", "result"), "{{issuer}}, active? {{result}}"),
            width=8,
            runbook="introspection-failing",
        ),
        lines(
            "Age of geolocation databases",
            "Since they were built, at the gateway that has the oldest. Too old is not believed: what it would say is "
            "unknown, and deny rules that ask for it apply.",
            Query(
                f"time() - min by (database) (sekisho_geolocation_build_timestamp_seconds{{{HERE}}})", "{{database}}"
            ),
            unit="s",
            width=8,
            runbook="geolocation-old",
        ),
        states(
            "Geolocation databases",
            "A line for each: red while some gateway holds it for too old to be believed.",
            Query(f"max by (database) (sekisho_geolocation_expired{{{HERE}}})", "{{database}}"),
            {"0": ("believed", GREEN), "1": ("too old", RED)},
            width=8,
            runbook="geolocation-expired",
        ),
        bars(
            "Databases and TLS renewed",
            "Attempts to put changed geolocation databases and the listener's TLS in use, by result.",
            Query(count("sekisho_geolocation_reloads_total", BAR, "result"), "geolocation, {{result}}"),
            Query(count("sekisho_tls_reloads_total", BAR, "result"), "TLS, {{result}}"),
            width=8,
        ),
        tile(
            "Certificate ends in",
            "The gateway's own certificate, of the one that ends first. From then on callers that verify it cannot "
            "connect.",
            f"min(sekisho_tls_certificate_expiry_timestamp_seconds{{{HERE}}} > 0) - time()",
            steps=((None, RED), (14 * _DAY, GREEN)),
            unit="s",
            no_value="no TLS",
            width=6,
            runbook="certificate-ends",
        ),
        tile(
            "Revocation list ends in",
            "Of the authorities over client certificates, the list that ends first. From then on services with "
            "certificates of that authority get 503.",
            f"min(sekisho_revocation_lists_until_timestamp_seconds{{{HERE}}}) - time()",
            steps=((None, RED), (_DAY, GREEN)),
            unit="s",
            no_value="no list",
            width=6,
            runbook="revocation-list-ends",
        ),
        listing(
            "What is not in force as it lies there",
            "By gateway: 1 where the policy folder, the geolocation databases or TLS were changed and could not be "
            "put in force. Why stands in /readyz and in the log.",
            Query(f"max by (instance) (sekisho_bundle_stale{{{HERE}}})", "Policy"),
            Query(f"max by (instance) (sekisho_geolocation_stale{{{HERE}}})", "Geolocation"),
            Query(f"max by (instance) (sekisho_tls_stale{{{HERE}}})", "TLS"),
            columns={"instance": "Gateway"},
        ),
    ),
)
