# SPDX-License-Identifier: Apache-2.0
"""The alerts as Grafana evaluates them by itself, from a file that it reads at its start.

- Each rule asks the query and fires for every sample that comes back, as a rule of Prometheus does: the two
  expressions behind the query are those into which Grafana itself turns such rules.
- What recordings evaluate stands in the query itself, so Prometheus needs no rules for it.
- Templates name no ``$`` variable: of some of them Grafana thinks that the environment says what they are.
"""

import json
import re
from collections.abc import Iterable
from typing import Any, Final, TypeAlias

from grafana_foundation_sdk.builders import alerting as build
from grafana_foundation_sdk.builders import expr as build_expr
from grafana_foundation_sdk.builders import prometheus as build_prometheus
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.alerting import RelativeTimeRange
from grafana_foundation_sdk.models.dashboard import DataSourceRef

from deploy.monitoring.alerts import GROUPS, RECORDINGS
from deploy.monitoring.alerts.model import Alert, Group
from deploy.monitoring.generated import Generated
from deploy.monitoring.promql import wrap
from deploy.monitoring.yaml_text import Spaced, write

PLACE: Final = "deploy/grafana/provisioning/alerting/sekisho.yaml"
FOLDER: Final = "Sekisho"
DATA_SOURCE: Final = "prometheus"
"""The uid of the data source that scrapes the gateways."""
INTERVAL: Final = "20s"
"""How often a group is evaluated: of multiples of ten seconds, which Grafana wants, near to Prometheus' example."""
RESOLUTION: Final = "1m"
"""How often a subquery evaluates what a recording rule would have recorded at every evaluation."""

_Model: TypeAlias = build_prometheus.Dataquery | build_expr.TypeMath | build_expr.TypeThreshold
_EXPRESSIONS: Final = DataSourceRef(type_val="__expr__", uid="__expr__")
_QUERY, _ANY, _FIRES = "query", "prometheus_math", "threshold"
_RANGE: Final = RelativeTimeRange(from_val=600, to=0)
_METRIC: Final = re.compile(r"\bsekisho_\w+")
_SELECTION: Final = r"(?P<matchers>\{[^}]*\})?(?:\[(?P<window>\w+)\])?"
_IN_FILES: Final = ("uid", "title", "condition", "data", "for", "noDataState", "execErrState", "annotations", "labels")
"""What a rule has in a file; folder, organisation and group are those that it stands under."""
_HEADER: Final = f"""\
SPDX-License-Identifier: Apache-2.0
What to be told about, and when, for a Grafana that evaluates alerts itself; it needs no rules in Prometheus. Where \
Prometheus evaluates the same ones, one of the two may tell people: notifications.yaml says how. The data source's uid \
is `{DATA_SOURCE}`.
Made by `make generate` from deploy/monitoring/alerts: change it there."""


def generate() -> Iterable[Generated]:
    """Return the file."""
    document = {"apiVersion": 1, "groups": Spaced([*map(_render_group, GROUPS)])}
    yield Generated(PLACE, write(document, _HEADER))


def inline(expression: str) -> str:
    """Return an expression with what recordings evaluate in place of their names."""
    for recording in reversed(RECORDINGS):  # a later one may name an earlier one
        inner = recording.expr

        def replace(found: re.Match[str], inner: str = inner) -> str:
            matchers, window = found["matchers"], found["window"]
            asked = _METRIC.sub(rf"\g<0>{matchers}", inner) if matchers else inner
            return wrap(asked) + (f"[{window}:{RESOLUTION}]" if window else "")

        expression = re.sub(rf"\b{recording.name}\b{_SELECTION}", replace, expression)
    return expression


def translate(template: str) -> str:
    """Return a template of Prometheus as one of Grafana: the same functions, other names for what they are given."""
    return template.replace("$labels.", ".Labels.").replace("$value", f".Values.{_QUERY}.Value")


def _render_group(group: Group) -> dict[str, Any]:
    rules = [_render_rule(rule) for rule in group.rules if isinstance(rule, Alert)]
    return {"orgId": 1, "name": group.name, "folder": FOLDER, "interval": INTERVAL, "rules": Spaced(rules)}


def _render_rule(alert: Alert) -> dict[str, Any]:
    rule = (
        build.Rule(alert.name)
        .uid(_uid(alert.name))
        .condition(_FIRES)
        .queries([_ask(alert), _is_anything(), _is_above_zero()])
        .no_data_state("OK")
        .exec_err_state("Error")
        .for_val(alert.hold or "0s")
        .annotations({name: translate(text) for name, text in alert.annotations.items()})
        .labels(alert.labels)
        .build()
    )
    plain = json.loads(json.dumps(rule, cls=JSONEncoder))
    return {name: plain[name] for name in _IN_FILES}


def _uid(name: str) -> str:
    return "-".join(re.findall(r"[A-Z][a-z]+", name)).lower()


def _ask(alert: Alert) -> build.Query:
    source = DataSourceRef(type_val="prometheus", uid=DATA_SOURCE)
    return _query(
        _QUERY, DATA_SOURCE, build_prometheus.Dataquery().datasource(source).expr(inline(alert.expr)).instant()
    )


def _is_anything() -> build.Query:
    expression = f"is_number(${_QUERY}) || is_nan(${_QUERY}) || is_inf(${_QUERY})"
    return _query(_ANY, "__expr__", build_expr.TypeMath().datasource(_EXPRESSIONS).expression(expression))


def _is_above_zero() -> build.Query:
    above_zero = build_expr.ExprTypeThresholdConditionsEvaluator().type("gt").params([0])
    condition = build_expr.ExprTypeThresholdConditions().evaluator(above_zero)
    model = build_expr.TypeThreshold().datasource(_EXPRESSIONS).expression(_ANY).conditions([condition])
    return _query(_FIRES, "__expr__", model)


def _query(ref: str, uid: str, model: _Model) -> build.Query:
    return build.Query(ref).datasource_uid(uid).relative_time_range(_RANGE).model(model.ref_id(ref))
