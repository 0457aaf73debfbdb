# SPDX-License-Identifier: Apache-2.0
"""Every label of a metric is one of which it is said where its values come from."""

from prometheus_client.metrics import MetricWrapperBase

from proxy.counting import Counted
from proxy.pipeline.answers import ANSWERS
from proxy.telemetry import Metrics, ProbeMetrics
from proxy.telemetry.labels import LABELS


def test_the_labels_of_all_metrics_are_those_of_the_table() -> None:
    parts = [part for metrics in (Metrics(), ProbeMetrics()) for part in vars(metrics).values()]
    used = {name for part in parts if isinstance(part, Counted) for name in part.labels}
    used |= {name for part in parts if isinstance(part, MetricWrapperBase) for name in part._labelnames}
    assert used == LABELS.keys()
    assert [*LABELS] == sorted(LABELS)


def test_no_label_names_a_person_or_comes_from_a_request() -> None:
    words = {"caller", "principal", "who", "subject", "id", "ip", "address", "path", "target", "query", "host", "token"}
    assert not LABELS.keys() & words


def test_refusals_have_as_many_statuses_as_is_said() -> None:
    assert LABELS["status"].bound == str(len({answer.status for answer in ANSWERS.values()}))
