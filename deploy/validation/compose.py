# SPDX-License-Identifier: Apache-2.0
"""The compose file and what it hands to Prometheus and Grafana.

Docker's own program says whether it understands the file. There is no Grafana here: what provisions it is held to the
keys that its documentation names, because a key that it does not know it passes over in silence.
"""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from deploy.validation.checks import Check, run_program
from deploy.validation.prometheus import PACKAGE, read_yaml

DOCKER_COMPOSE: Final = str(Path(sys.executable).with_name("docker-compose"))
Shape: TypeAlias = Mapping[str, Any]
"""Each key that may stand there, with the shape of what stands below it; empty where anything may."""

_ANY: Final[Shape] = {}
_ROUTE: Final[Shape] = {
    "receiver": _ANY, "object_matchers": _ANY, "group_by": _ANY, "group_wait": _ANY, "group_interval": _ANY,
    "repeat_interval": _ANY, "mute_time_intervals": _ANY, "continue": _ANY,
}  # fmt: skip
SHAPES: Final[Mapping[str, Shape]] = {
    "datasources": {
        "name": _ANY, "uid": _ANY, "type": _ANY, "access": _ANY, "url": _ANY, "isDefault": _ANY, "editable": _ANY,
        "jsonData": {
            "httpMethod": _ANY, "timeInterval": _ANY, "manageAlerts": _ANY, "implementation": _ANY,
            "handleGrafanaManagedAlerts": _ANY,
        },
    },
    "providers": {
        "name": _ANY, "orgId": _ANY, "folder": _ANY, "type": _ANY, "disableDeletion": _ANY, "allowUiUpdates": _ANY,
        "options": {"path": _ANY},
    },
    "contactPoints": {
        "orgId": _ANY, "name": _ANY,
        "receivers": {"uid": _ANY, "type": _ANY, "settings": {"url": _ANY}, "disableResolveMessage": _ANY},
    },
    "muteTimes": {"orgId": _ANY, "name": _ANY, "time_intervals": {"weekdays": _ANY}},
    "policies": {
        **_ROUTE, "orgId": _ANY,
        "routes": {**_ROUTE, "routes": _ROUTE},
    },
}  # fmt: skip
"""By the first key of a file; entries of lists have the shape of their list."""


def find_unknown(content: Any, shape: Shape, place: str) -> Iterable[str]:
    """Find keys that Grafana would pass over."""
    if isinstance(content, list):
        for number, each in enumerate(content):
            yield from find_unknown(each, shape, f"{place}[{number}]")
    elif isinstance(content, dict) and shape:
        for key, below in content.items():
            if key not in shape:
                yield f"{place}.{key}: Grafana knows no such key there: mend it, or add it to {Path(__file__).name}"
            else:
                yield from find_unknown(below, shape[key], f"{place}.{key}")


def _find_in_provisioning(paths: Sequence[Path]) -> Iterable[str]:
    for path in paths:
        content = read_yaml(path)
        if content.pop("apiVersion", None) != 1:
            yield f"{path.name}: it does not begin with `apiVersion: 1`"
        for problem in find_unknown(content, SHAPES, ""):
            yield f"{path.name}: {problem}"


def _runs(*command: str) -> Callable[[Sequence[Path]], Iterable[str]]:
    def find(paths: Sequence[Path]) -> Iterable[str]:
        for path in paths:
            code, printed = run_program(*(word.format(path=path) for word in command))
            if code:
                yield f"{path.name}: {printed}"

    return find


CHECKS: Final = (
    Check(
        "docker compose config",
        ("compose/compose.yaml",),
        _runs(DOCKER_COMPOSE, "-f", "{path}", "--profile", "*", "config", "--quiet"),
        (DOCKER_COMPOSE,),
        "make setup",
    ),
    Check(
        "promtool check config, without the files beside it",
        ("compose/prometheus.yml",),
        _runs("promtool", "check", "config", "--syntax-only", "{path}"),
        ("promtool",),
        PACKAGE,
    ),
    Check(
        "Grafana knows every key of what provisions it",
        (
            "grafana/provisioning/datasources/*.yaml",
            "grafana/provisioning/dashboards/*.yaml",
            "grafana/provisioning/alerting/notifications.yaml",
        ),
        _find_in_provisioning,
    ),
)
