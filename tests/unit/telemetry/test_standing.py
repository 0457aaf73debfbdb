# SPDX-License-Identifier: Apache-2.0
"""What is shown of what is in force."""

from proxy.model.origin import DatabaseInfo
from proxy.telemetry import Metrics
from tests.support.series import series


def test_lessons_3_17_databases_are_shown_with_digest_when_built_and_whether_they_are_believed() -> None:
    metrics = Metrics()
    old = DatabaseInfo("country", "GeoLite2-Country", 100.0, "sha256:a", 200.0)
    new = DatabaseInfo("country", "GeoLite2-Country", 290.0, "sha256:b", 400.0)
    sample = metrics.registry.get_sample_value

    for database, expired in ((old, 1.0), (new, 0.0)):
        metrics.show_geolocation([database], lambda: 300.0)
        assert sample("sekisho_geolocation_expired", {"database": "country"}) == expired
        assert sample("sekisho_geolocation_build_timestamp_seconds", {"database": "country"}) == database.built

    shown = {"database": "country", "type": "GeoLite2-Country"}
    assert sample("sekisho_geolocation_info", {**shown, "digest": "sha256:a"}) is None
    assert sample("sekisho_geolocation_info", {**shown, "digest": "sha256:b"}) == 1.0


def test_rules_in_force_are_listed_in_place_of_those_that_were() -> None:
    metrics = Metrics()
    metrics.rules.show([("jp-no-china", "deny", "enforce"), ("tw-soon", "deny", "shadow")])
    metrics.rules.show([("jp-no-china", "deny", "enforce"), ("staff", "allow", "enforce")])
    listed = {("jp-no-china", "deny", "enforce"): 1, ("staff", "allow", "enforce"): 1}
    assert series(metrics.registry, "sekisho_rule_info") == listed


def test_rules_beyond_what_prometheus_copes_with_are_counted_and_not_listed() -> None:
    metrics = Metrics()
    metrics.rules.show([(f"rule-{number}", "deny", "enforce") for number in range(2003)])
    assert len(series(metrics.registry, "sekisho_rule_info")) == 2000
    assert series(metrics.registry, "sekisho_labels_folded_total")["sekisho_rule_info",] == 3
