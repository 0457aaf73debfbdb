# SPDX-License-Identifier: Apache-2.0
"""Overlays for Kubernetes: rendered by kubectl, and every document before the schemas of every version we speak of.

- Of what the Prometheus operator defines there are no schemas here: its rules go to promtool, and of a ServiceMonitor
  each key must be one that we know, and its relabelling is read by promtool.
- What a cluster would say (admission, quotas, a network plugin) is not asked: there is none here.
- What the documents have to do with each other and with the gateway is tested: tests/architecture/test_kubernetes.py.
"""

import functools
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeAlias

import kubernetes_validate
import yaml
from kubernetes_validate.utils import all_versions

from deploy.validation.checks import DEPLOY, Check, run_program

Document: TypeAlias = dict[str, Any]

FOLDER: Final = DEPLOY / "kubernetes"
OLDEST: Final = (1, 30)
"""The first version that has everything on: sidecars since 1.29, the action `sleep` of preStop since 1.30."""
KUBECTL: Final = "kubectl: https://kubernetes.io/docs/tasks/tools/, it is in no package of Debian's"
_OPERATED: Final = "monitoring.coreos.com/v1"
_MONITOR: Final[dict[str, frozenset[str]]] = {
    "spec": frozenset({"jobLabel", "selector", "namespaceSelector", "endpoints"}),
    "endpoint": frozenset({"port", "path", "scheme", "interval", "scrapeTimeout", "relabelings"}),
    "relabeling": frozenset({"sourceLabels", "separator", "targetLabel", "regex", "replacement", "action"}),
}
"""What we know of a ServiceMonitor; a key that is none of these is a misspelling until it stands here."""
_HADOLINT: Final = str(Path(sys.executable).with_name("hadolint"))


class RenderError(Exception):
    """kubectl does not render an overlay; its words say why."""


def list_overlays() -> list[Path]:
    """Return the folders that are applied."""
    return sorted(path.parent for path in (FOLDER / "overlays").glob("*/kustomization.yaml"))


@functools.cache
def render(overlay: Path) -> tuple[Document, ...]:
    """Return the documents of an overlay, as ``kubectl apply -k`` would send them.

    Raises:
        RenderError: kubectl cannot.
    """
    code, told = run_program("kubectl", "kustomize", str(overlay))
    if code != 0:
        raise RenderError(told)
    return tuple(yaml.safe_load_all(told))


def versions() -> list[str]:
    """Return the versions of Kubernetes whose schemas are at hand, from the oldest that will do."""
    return [each for each in all_versions() if tuple(int(part) for part in each.split(".")[:2]) >= OLDEST]


def _find_in_overlays(_paths: Sequence[Path]) -> Iterable[str]:
    seen: set[str] = set()
    for overlay in list_overlays():
        try:
            documents = render(overlay)
        except RenderError as error:
            yield f"{overlay.relative_to(DEPLOY)}: kubectl does not render it: {error}"
            continue
        for document in documents:
            key = json.dumps(document, sort_keys=True)
            if key not in seen:
                seen.add(key)
                name = f"{document['kind']}/{document['metadata']['name']}"
                for problem in find_problems(document):
                    yield f"{overlay.relative_to(DEPLOY)}: {name}: {problem}"


def find_problems(document: Document) -> Iterable[str]:
    """Say what of one document does not fit its kind."""
    if document["apiVersion"] == _OPERATED:
        yield from _find_in_operated(document)
        return
    for version in versions():
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            yield f"Kubernetes {version} has no {document['apiVersion']} {document['kind']}"
        except kubernetes_validate.ValidationError as error:
            yield f"{'.'.join(map(str, error.path))}: {error.message} (Kubernetes {version})"
            return


def _find_in_operated(document: Document) -> Iterable[str]:
    if document["kind"] == "PrometheusRule":
        yield from _ask_promtool(document["spec"], "check", "rules")
    elif document["kind"] == "ServiceMonitor":
        spec = document["spec"]
        yield from _find_unknown(spec, "spec")
        for endpoint in spec["endpoints"]:
            yield from _find_unknown(endpoint, "endpoint")
            for relabeling in endpoint.get("relabelings", ()):
                yield from _find_unknown(relabeling, "relabeling")
        yield from _ask_promtool(_as_configuration(spec), "check", "config", "--syntax-only")
    else:
        yield "of this kind nobody here knows what it may hold: add it to deploy/validation/kubernetes.py"


def _find_unknown(value: Document, what: str) -> Iterator[str]:
    for key in sorted(value.keys() - _MONITOR[what]):
        yield f"{key} is no key of a ServiceMonitor's {what} that we know"


def _as_configuration(spec: Document) -> Document:
    """Return what the operator makes of it for Prometheus, as far as we use it."""
    return {
        "scrape_configs": [
            {
                "job_name": f"endpoint-{number}",
                "metrics_path": endpoint.get("path", "/metrics"),
                "scrape_interval": endpoint["interval"],
                "scrape_timeout": endpoint.get("scrapeTimeout", endpoint["interval"]),
                "relabel_configs": [
                    {re.sub("[A-Z]", lambda found: f"_{found[0].lower()}", key): value for key, value in each.items()}
                    for each in endpoint.get("relabelings", ())
                ],
            }
            for number, endpoint in enumerate(spec["endpoints"])
        ]
    }


def _ask_promtool(content: Document, *command: str) -> Iterator[str]:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "content.yaml"
        file.write_text(json.dumps(content), encoding="utf-8")
        code, told = run_program("promtool", *command, str(file))
    if code != 0:
        yield f"promtool {' '.join(command)}: {told}"


def _find_not_used(paths: Sequence[Path]) -> Iterable[str]:
    used: set[Path] = set()
    waiting = list_overlays()
    while waiting:
        folder = waiting.pop()
        file = folder / "kustomization.yaml"
        if file not in used and file.is_file():
            used.add(file)
            for name in _list_named(yaml.safe_load(file.read_text(encoding="utf-8"))):  # noqa: TID251 - a file of ours
                path = (folder / name).resolve()
                used.add(path)
                waiting.append(path)
    for path in paths:
        if path.resolve() not in used:
            yield f"{path.relative_to(DEPLOY)}: no overlay uses it: name it in a kustomization.yaml, or remove it"


def _list_named(kustomization: Document) -> Iterator[str]:
    yield from kustomization.get("resources", ())
    yield from kustomization.get("components", ())
    yield from (patch["path"] for patch in kustomization.get("patches", ()) if "path" in patch)
    for generator in kustomization.get("configMapGenerator", ()):
        yield from generator.get("envs", ())


def _find_in_images(paths: Sequence[Path]) -> Iterable[str]:
    for path in paths:
        code, told = run_program(_HADOLINT, str(path))
        if code != 0:
            yield told


_MANIFESTS: Final = ("kubernetes/**/*.yaml", "kubernetes/**/settings.env")
CHECKS: Final = (
    Check(
        f"kubectl kustomize, kubernetes-validate {OLDEST[0]}.{OLDEST[1]} and later, promtool",
        _MANIFESTS,
        _find_in_overlays,
        ("kubectl", "promtool"),
        f"{KUBECTL}; promtool: Debian's prometheus",
    ),
    Check("an overlay uses it", _MANIFESTS, _find_not_used),
    Check("hadolint", ("kubernetes/**/Dockerfile",), _find_in_images, (_HADOLINT,), "make setup"),
)
