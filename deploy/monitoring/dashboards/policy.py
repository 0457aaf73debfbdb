# SPDX-License-Identifier: Apache-2.0
"""Policy life: which version is in force since when, what it decides, and what of it is never asked for."""

from typing import Final

from deploy.monitoring.dashboards.board import Board, Row
from deploy.monitoring.dashboards.panels import (
    AMBER,
    BAR,
    GREEN,
    HERE,
    RANGE,
    RED,
    SOME,
    Query,
    bars,
    count,
    listing,
    states,
    tile,
)

_APPLIED: Final = f"group by (rule) (last_over_time(sekisho_rules_applied_total{{{HERE}}}[{RANGE}]))"

_NOW: Final = Row(
    "Now",
    (
        tile(
            "Observe mode",
            "Whether any gateway only records refusals and lets the requests pass. If so: until when stands beside it.",
            f"max(sekisho_observe_mode{{{HERE}}})",
            words={"0": ("enforcing", GREEN), "1": ("NOTHING IS BLOCKED", RED)},
            runbook="observe-mode",
        ),
        tile(
            "Observe mode ends in",
            "How long it is until the last gateway in observe mode enforces by itself.",
            f"max(sekisho_observe_until_timestamp_seconds{{{HERE}}} > 0) - time()",
            steps=((None, AMBER),),
            unit="s",
            no_value="enforcing",
        ),
        tile(
            "Not in force as it lies there",
            "Gateways whose policy folder was changed and could not be put in force; the last good one is. Why "
            "stands in /readyz and in the log.",
            f"sum(sekisho_bundle_stale{{{HERE}}})",
            runbook="policy-stale",
        ),
        tile(
            "Versions in force",
            "How many different policy folders gateways have in force. More than 1 for longer than a roll-out takes: "
            "some gateway did not get the change.",
            f"count(count by (policy_digest, registers_digest) (sekisho_bundle_info{{{HERE}}}))",
            steps=((None, GREEN), (2, AMBER)),
        ),
        tile(
            "Reviews overdue",
            "Rules and routes whose review_by is past, at the gateway that has most. sekisho check names them; their "
            "owners stand in the bundle.",
            f"max(sekisho_reviews_overdue{{{HERE}}})",
            steps=((None, GREEN), (1, AMBER)),
            runbook="reviews-overdue",
        ),
        tile(
            "Grants active",
            "Grants that hold at this moment, at the gateway that has most: exceptions with an end.",
            f"max(sekisho_grants_active{{{HERE}}})",
            steps=((None, GREEN), (1, AMBER)),
        ),
    ),
)

_VERSIONS: Final = Row(
    "Versions",
    (
        states(
            "Policy in force",
            "A line for each version of the policy folder: where it is coloured, some gateway enforced it. Hold a "
            "change of denials or of allowed requests against it.",
            Query(f"max by (policy_digest) (sekisho_bundle_info{{{HERE}}})", "{{policy_digest}}"),
            {"1": ("in force", GREEN)},
        ),
        listing(
            "In force at each gateway",
            "The two digests that each line of the ledger bears, as sekisho check prints them for a folder, and for "
            "how long they are in force. Gateways of one fleet show the same.",
            Query(
                f"sekisho_bundle_info{{{HERE}}} * on (job, instance) group_left ()"
                f" (time() - sekisho_bundle_since_timestamp_seconds{{{HERE}}})",
                "For",
            ),
            columns={"instance": "Gateway", "policy_digest": "Policy", "registers_digest": "Registers"},
            unit="s",
        ),
        bars(
            "Reloads by result",
            "Attempts to put a changed policy folder in force. After each that is not ok the policy before it stays.",
            Query(count("sekisho_reloads_total", BAR, "result"), "{{result}}"),
        ),
        bars(
            "What enforcement would refuse",
            "Requests that observe mode let through and that will be refused under enforcement, by reason. Whose they "
            "are stands in the ledger: fix the policy or the caller before observe mode ends.",
            Query(count("sekisho_observed_refusals_total", BAR, "status", "reason"), "{{status}} {{reason}}"),
        ),
    ),
)

_RULES: Final = Row(
    "Rules",
    (
        bars(
            "Decisions by effect and rule",
            "What the policy decided, by the determining rule; default is that no rule allowed it.",
            Query(count("sekisho_decisions_total", BAR, "effect", "rule"), "{{rule}}, {{effect}}"),
        ),
        bars(
            "Rules that applied",
            "Decisions in which a rule applied, whether or not it determined them. A rule that begins or ceases after "
            "a bundle change is what the change did.",
            Query(count("sekisho_rules_applied_total", BAR, "rule"), "{{rule}}"),
        ),
        listing(
            "Rules that never applied",
            "Rules in force that no gateway has applied since it started; of gateways that ended within this range "
            "too. In a range of weeks: dead, mistaken, or there for a day that has not come. Ask the owner.",
            Query(f"max by (rule, effect, mode) (sekisho_rule_info{{{HERE}}}) unless on (rule) {_APPLIED}"),
            columns={"rule": "Rule", "effect": "Effect", "mode": "Mode"},
        ),
        bars(
            "What rules in shadow would have changed",
            "Decisions that would have been others if a rule in shadow mode were enforced. None for as long as its "
            "owner wants to be sure: it can be enforced.",
            Query(
                count("sekisho_shadow_decisions_total", BAR, "rule", "effect", "would"),
                "{{rule}}: {{effect}} to {{would}}",
            ),
            runbook="shadow-would-deny",
        ),
        bars(
            "Unknown facts",
            "Decisions in which a fact that a rule asked for was unknown, and what came of it. A rise: a token lacks a "
            "field, a register lacks a company, or a directory is silent.",
            Query(count("sekisho_unknown_facts_total", BAR, "fact", "effect"), "{{fact}} unknown, {{effect}}"),
            runbook="unknown-facts",
        ),
        bars(
            "Grants used, by grant and rule",
            "Decisions in which a grant lifted a rule. Each use is to be reviewed by whoever approved it.",
            Query(count("sekisho_grants_used_total", BAR, "grant", "rule"), "{{grant}} lifts {{rule}}"),
            runbook="grant-used",
        ),
        bars(
            "Records by what became of them",
            "Records of answers that were looked into: kept, masked or dropped, by the determining rule.",
            Query(count("sekisho_records_total", BAR, "what", "rule"), "{{what}}, {{rule}}"),
        ),
        listing(
            "Routes and what they came to",
            "Decisions in this range. A declared route that is not here was not asked for.",
            Query(count("sekisho_decisions_total", RANGE, "route", "effect") + SOME, "Decisions"),
            columns={"route": "Route", "effect": "Effect"},
        ),
    ),
)

BOARD: Final = Board(
    "sekisho-policy",
    "Sekisho: policy life",
    "Which version of the policy is in force since when, what it decides, and what of it is never asked for.",
    (_NOW, _VERSIONS, _RULES),
)
