# SPDX-License-Identifier: Apache-2.0
"""The alerts as Prometheus reads them: a file of rules, and the custom resource of its operator.

The tests of these rules are written by hand, but for the links to runbooks that they expect.
"""

import re
from collections.abc import Iterable
from typing import Any, Final

from deploy.monitoring.alerts import GROUPS
from deploy.monitoring.alerts.model import Alert, Rule
from deploy.monitoring.generated import ROOT, Generated
from deploy.monitoring.runbooks import link
from deploy.monitoring.yaml_text import Noted, Spaced, write

RULES: Final = "deploy/prometheus/sekisho.rules.yml"
RESOURCE: Final = "deploy/kubernetes/components/monitoring/prometheusrule.yaml"

TESTS: Final = "deploy/prometheus/tests"
_EXPECTED: Final = re.compile(r"(?m)^(?P<before> +runbook_url: )\S+/(?P<page>[a-z-]+)\.md$")

_HEADER: Final = """\
SPDX-License-Identifier: Apache-2.0
What to be told about, and when. Needs Prometheus 2.26 or newer and the scrape job named `sekisho`.
Made by `make generate` from deploy/monitoring/alerts: change it there."""


def generate() -> Iterable[Generated]:
    """Return both files."""
    groups = [{"name": group.name, "rules": Spaced([*map(_render, group.rules)])} for group in GROUPS]
    spec = {"groups": Spaced(groups)}
    yield Generated(RULES, write(spec, _HEADER))
    resource = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "sekisho"},
        "spec": spec,
    }
    yield Generated(RESOURCE, write(resource, _HEADER))


def generate_tests() -> Iterable[Generated]:
    """Return the tests with the links as they are."""
    for path in sorted((ROOT / TESTS).glob("*.test.yml")):
        text = path.read_text(encoding="utf-8")
        yield Generated(f"{TESTS}/{path.name}", _EXPECTED.sub(lambda it: it["before"] + link(it["page"]), text))


def _render(rule: Rule) -> dict[str, Any]:
    expr = Noted(rule.expr, rule.why) if rule.why else rule.expr
    if not isinstance(rule, Alert):
        return {"record": rule.name, "expr": expr}
    hold = {"for": rule.hold} if rule.hold else {}
    return {"alert": rule.name, "expr": expr, **hold, "labels": rule.labels, "annotations": rule.annotations}
