# SPDX-License-Identifier: Apache-2.0
"""What Prometheus, its operator and Alertmanager read, before Prometheus' and Alertmanager's own tools."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import yaml

from deploy.validation.checks import DEPLOY, Check, run_program

RULES: Final = DEPLOY / "prometheus" / "sekisho.rules.yml"
TESTS: Final = DEPLOY / "prometheus" / "tests"
PACKAGE: Final = "Debian: prometheus"
TOLD_PACKAGE: Final = "Debian: prometheus-alertmanager"


def read_yaml(path: Path) -> Any:
    """Return what a file of ours holds."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))  # noqa: TID251 - a file of ours


def find_in_rules(path: Path, content: dict[str, Any]) -> Iterable[str]:
    """Have promtool read rules that stand in another file.

    Args:
        path: that file.
        content: the groups.
    """
    with TemporaryDirectory() as folder:
        file = Path(folder) / "rules.yml"
        file.write_text(yaml.safe_dump(content), encoding="utf-8")
        code, printed = run_program("promtool", "check", "rules", str(file))
    if code:
        yield f"{path.name}: {printed}"


def _accepts(*command: str) -> Any:
    def find(paths: Sequence[Path]) -> Iterable[str]:
        for path in paths:
            code, printed = run_program(*command, str(path))
            if code:
                yield f"{path.name}: {printed}"

    return find


def _find_in_resources(paths: Sequence[Path]) -> Iterable[str]:
    for path in paths:
        spec = read_yaml(path)["spec"]
        yield from find_in_rules(path, spec)
        if spec != read_yaml(RULES):
            yield f"{path.name}: its rules are not those of {RULES.name}: make generate"


def find_untested(alerts: Iterable[str], tests: Iterable[dict[str, Any]]) -> Iterable[str]:
    """Find alerts that no test expects to fire, or none not to."""
    outcomes: dict[str, set[bool]] = {name: set() for name in alerts}
    for case in (case for each in tests for test in each["tests"] for case in test.get("alert_rule_test", ())):
        outcomes[case["alertname"]].add(bool(case["exp_alerts"]))
    for name, seen in outcomes.items():
        for outcome in {True, False} - seen:
            yield f"{TESTS.name}: no test expects {name} {'to fire' if outcome else 'not to fire'}: add one"


def read_alerts() -> list[str]:
    """Return the names of the alerts that are shipped."""
    return [rule["alert"] for group in read_yaml(RULES)["groups"] for rule in group["rules"] if "alert" in rule]


def _find_untested(paths: Sequence[Path]) -> Iterable[str]:
    return find_untested(read_alerts(), map(read_yaml, paths))


CHECKS: Final = (
    Check(
        "promtool check rules",
        ("prometheus/*.rules.yml",),
        _accepts("promtool", "check", "rules"),
        ("promtool",),
        PACKAGE,
    ),
    Check(
        "promtool test rules",
        ("prometheus/tests/*.test.yml",),
        _accepts("promtool", "test", "rules"),
        ("promtool",),
        PACKAGE,
    ),
    Check("each alert is tested firing and not firing", ("prometheus/tests/*.test.yml",), _find_untested),
    Check(
        "promtool check config",
        ("prometheus/prometheus.yml",),
        _accepts("promtool", "check", "config"),
        ("promtool",),
        PACKAGE,
    ),
    Check(
        "amtool check-config",
        ("prometheus/alertmanager.yml",),
        _accepts("amtool", "check-config"),
        ("amtool",),
        TOLD_PACKAGE,
    ),
    Check(
        "promtool check rules of the operator's resource",
        ("kubernetes/**/prometheusrule.yaml",),
        _find_in_resources,
        ("promtool",),
        PACKAGE,
    ),
)
