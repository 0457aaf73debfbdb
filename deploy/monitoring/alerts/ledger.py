# SPDX-License-Identifier: Apache-2.0
"""Whether what is decided is recorded, signed and kept by others too."""

from typing import Final

from deploy.monitoring.alerts.model import Alert, Group, Severity, Team
from deploy.monitoring.promql import events, wrap

GROUP: Final = Group(
    "sekisho-ledger",
    (
        Alert(
            name="SekishoLedgerFailing",
            expr=f"{wrap(events('sekisho_ledger_failures_total', '5m'))} > 0",
            severity=Severity.CRITICAL,
            team=Team.PLATFORM,
            summary="The gateway {{ $labels.instance }} cannot write its ledger",
            description="Within the last five minutes. What cannot be recorded is not answered: callers get 503 until "
            "it can.",
            runbook="ledger-failing",
        ),
        Alert(
            name="SekishoLedgerUnsigned",
            expr="time() - sekisho_ledger_checkpoint_timestamp_seconds > 7200",
            why="Signed every minute while lines come, every hour while none do. 0 where none was yet.",
            hold="5m",
            severity=Severity.WARNING,
            team=Team.PLATFORM,
            summary="The gateway {{ $labels.instance }} does not sign its ledger",
            description="No checkpoint for two hours, or none since it started. What it records meanwhile can be "
            "changed unseen.",
            runbook="ledger-unsigned",
        ),
        Alert(
            name="SekishoWitnessFailing",
            expr="sekisho_witness_lag_seconds > 900",
            severity=Severity.WARNING,
            team=Team.PLATFORM,
            summary="The witness {{ $labels.witness }} takes no checkpoints of the gateway {{ $labels.instance }}",
            description="For {{ $value | humanizeDuration }}. If the end of the ledger is cut off, what was recorded "
            "since then is missed by nobody.",
            runbook="witness-failing",
        ),
        Alert(
            name="SekishoWitnessConflict",
            expr=f"""{wrap(events("sekisho_witness_deliveries_total", "15m", 'result="conflict"'))} > 0""",
            severity=Severity.CRITICAL,
            team=Team.SECURITY,
            summary="The witness {{ $labels.witness }} keeps another checkpoint than the gateway "
            "{{ $labels.instance }} signed",
            description="Two ledgers go by one name, or somebody wrote to the witness: one of the two is not what "
            "happened.",
            runbook="witness-failing",
        ),
        Alert(
            name="SekishoPseudonymKeysEnd",
            expr="sekisho_pseudonym_keys_until_timestamp_seconds < time() + 14 * 86400",
            why="Months are added ahead of time: a key of its own that is added late names people anew midway in a "
            "month.",
            severity=Severity.WARNING,
            team=Team.PLATFORM,
            summary="The gateway {{ $labels.instance }} runs out of keys that name people in its ledger",
            description="From {{ $value | humanizeTimestamp }} on, people keep the names of the month before: what "
            "they do can be linked across months, and the key of that month cannot be erased.",
            runbook="pseudonym-keys-end",
        ),
    ),
)
"""What is not recorded does not leave; what is not signed proves nothing."""
