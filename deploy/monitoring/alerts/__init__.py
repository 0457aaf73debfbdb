# SPDX-License-Identifier: Apache-2.0
"""What people are told about, when, and who: the one source of alerts.

``model`` says what an alert is; the other modules hold them by subject; ``rule_files`` and ``grafana`` (in the folder
above) write them for whoever evaluates them.
"""

from itertools import chain
from typing import Final

from deploy.monitoring.alerts import access, denials, dependencies, gateways, ledger, policy
from deploy.monitoring.alerts.model import Alert, Group, Recording

GROUPS: Final[tuple[Group, ...]] = (
    denials.GROUP,
    access.GROUP,
    policy.GROUP,
    ledger.GROUP,
    dependencies.GROUP,
    gateways.GROUP,
)
ALERTS: Final = tuple(rule for rule in chain(*(group.rules for group in GROUPS)) if isinstance(rule, Alert))
RECORDINGS: Final = tuple(rule for rule in chain(*(group.rules for group in GROUPS)) if isinstance(rule, Recording))
