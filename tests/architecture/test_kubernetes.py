# SPDX-License-Identifier: Apache-2.0
"""What overlays for Kubernetes say of one another, of the image, of the settings, and of the policy folder."""

import json
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from yarl import URL

from deploy.validation.kubernetes import KUBECTL, find_problems, list_overlays, render, versions
from proxy.bundle.check import load_bundle
from proxy.settings import Settings, parse_endpoint, read_settings
from proxy.version import VERSION
from tests.support.image import UID, read_stages
from tests.support.kubelet import MountedVolume
from tests.support.manifests import (
    MAY_BE_OUTSIDE,
    Document,
    Party,
    Pod,
    kinds,
    list_claims,
    list_references,
    may_speak,
    read_pods,
    read_quantity,
    read_variables,
    selects,
)
from tests.support.world import POLICIES

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason=f"there is no kubectl here ({KUBECTL})")

ROOT: Final = Path(__file__).parents[2]
OVERLAYS: Final = {overlay.name: overlay for overlay in list_overlays()}
README: Final = ROOT / "deploy" / "kubernetes" / "README.md"
PROBES: Final = ("startupProbe", "livenessProbe", "readinessProbe")
CONFIG_MAP_BYTES: Final = 2**20
SIGNING_SECONDS: Final = 15
"""After the drain: to sign the ledger and to tell witnesses."""
WRITTEN: Final = {"SEKISHO_LEDGER", "SEKISHO_REGISTERS_FOLDER"}
READ: Final = {"SEKISHO_POLICIES", "SEKISHO_LEDGER_KEY", "SEKISHO_PSEUDONYM_KEY"}
READ_WHERE_IT_IS_SET: Final = {
    "SEKISHO_TLS_CERTIFICATE", "SEKISHO_TLS_KEY", "SEKISHO_COUNTS_PASSWORD_FILE", "SEKISHO_COUNTS_CA",
}  # fmt: skip


def _documents(overlay: str) -> tuple[Document, ...]:
    return render(OVERLAYS[overlay])


def _gateways() -> list[tuple[str, Pod, Document]]:
    """Return every container that runs a gateway, with its overlay and its pod."""
    if shutil.which("kubectl") is None:
        return []
    return [
        (overlay, pod, container)
        for overlay in OVERLAYS
        for pod in read_pods(_documents(overlay))
        for container in pod.containers
        if container.get("args") == ["run"]
    ]


GATEWAYS: Final = [pytest.param(*each, id=each[0]) for each in _gateways()]


@pytest.fixture(params=list(OVERLAYS))
def overlay(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# Pods


def test_every_overlay_with_an_api_runs_a_gateway() -> None:
    assert [overlay for overlay, _, _ in _gateways()] == sorted(OVERLAYS.keys() - {"canary"})


def test_every_container_is_held_as_pod_security_restricted_asks_and_cannot_write_its_root(overlay: str) -> None:
    for pod in read_pods(_documents(overlay)):
        assert not pod.spec.keys() & {"hostNetwork", "hostPID", "hostIPC"}
        assert pod.spec["automountServiceAccountToken"] is False
        for container in pod.containers:
            security = pod.security(container)
            assert security["runAsNonRoot"] is True
            assert security["runAsUser"] > 0
            assert security["runAsGroup"] > 0
            assert security["readOnlyRootFilesystem"] is True
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert security["seccompProfile"] == {"type": "RuntimeDefault"}
            assert not security.get("privileged")
            assert not any("hostPort" in port for port in container.get("ports", ()))
        for volume in pod.spec.get("volumes", ()):
            (kind,) = volume.keys() - {"name"}
            assert kind in {"projected", "configMap", "secret", "emptyDir", "persistentVolumeClaim"}


def test_no_account_has_a_token_unless_asked_for(overlay: str) -> None:
    for account in kinds(_documents(overlay), "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


def test_every_namespace_enforces_pod_security_restricted(overlay: str) -> None:
    (namespace,) = kinds(_documents(overlay), "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_every_image_has_a_tag_and_ours_is_of_this_version(overlay: str) -> None:
    for pod in read_pods(_documents(overlay)):
        for container in pod.containers:
            name, _, tag = container["image"].partition("@")[0].partition(":")
            assert tag
            assert tag != "latest"
            if name == "sekisho":
                assert tag == VERSION
    assert f"ARG SEKISHO_IMAGE=sekisho:{VERSION}\n" in (
        ROOT / "deploy" / "kubernetes" / "components" / "policies-image" / "Dockerfile"
    ).read_text(encoding="utf-8")


def test_every_container_says_what_it_needs_and_how_much_memory_it_may_take(overlay: str) -> None:
    for pod in read_pods(_documents(overlay)):
        for container in pod.containers:
            resources = container["resources"]
            assert resources["requests"].keys() == {"cpu", "memory"}
            assert resources["limits"].keys() == {"memory"}, "what is throttled is late"
            assert read_quantity(resources["requests"]["memory"]) <= read_quantity(resources["limits"]["memory"])


# The gateway


@pytest.mark.parametrize(("overlay", "pod", "container"), GATEWAYS)
def test_a_gateway_s_variables_are_settings_that_can_be_used(
    overlay: str, pod: Pod, container: Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _read_settings(overlay, pod, container, monkeypatch)
    assert settings.replica == pod.name
    assert settings.workers == 1
    load_bundle(POLICIES, settings.upstream, settings.registers_folder)


def _read_settings(overlay: str, pod: Pod, container: Document, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in read_variables(_documents(overlay), pod, container).items():
        assert re.fullmatch(r"SEKISHO_[A-Z_]+", name)
        monkeypatch.setenv(name, value)
    return read_settings()


@pytest.mark.parametrize(("overlay", "pod", "container"), GATEWAYS)
def test_what_a_gateway_reads_and_writes_is_mounted_where_its_settings_say(
    overlay: str, pod: Pod, container: Document
) -> None:
    variables = read_variables(_documents(overlay), pod, container)
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    read = READ | READ_WHERE_IT_IS_SET & variables.keys()
    for name in read | WRITTEN:
        path = Path(variables[name])
        above = next(str(place) for place in (path, *path.parents) if str(place) in mounts)
        assert mounts[above].get("readOnly", False) is (name in read), name
        volume = pod.volume(mounts[above]["name"])
        if "secret" in volume:
            assert {"key": path.name, "path": path.name} in volume["secret"]["items"]
        if name in WRITTEN:
            assert str(path) != above, "the root of a volume is another user's"
    assert "persistentVolumeClaim" in pod.volume(mounts["/var/lib/sekisho"]["name"]), "it outlives the pod"
    assert not any("subPath" in mount for mount in container["volumeMounts"]), "the kubelet never changes such a file"


@pytest.mark.parametrize(("overlay", "pod", "container"), GATEWAYS)
def test_a_gateway_runs_as_the_image_s_user_and_may_read_its_keys(overlay: str, pod: Pod, container: Document) -> None:
    security = pod.security(container)
    assert (security["runAsUser"], security["runAsGroup"]) == (UID, UID)
    assert f"{UID}:{UID}" in read_stages(ROOT / "Dockerfile")[-1].all("USER")
    assert security["fsGroup"] > 0
    secrets = {volume["name"]: volume["secret"] for volume in pod.spec["volumes"] if "secret" in volume}
    assert "sekisho-keys" in secrets
    assert {secret["defaultMode"] for secret in secrets.values()} == {0o440}


@pytest.mark.parametrize(("overlay", "pod", "container"), GATEWAYS)
def test_services_do_not_become_variables_of_a_gateway(overlay: str, pod: Pod, container: Document) -> None:
    assert pod.spec["enableServiceLinks"] is False, "nothing of other Services belongs into its environment"


@pytest.mark.parametrize(("overlay", "pod", "container"), GATEWAYS)
def test_ports_and_probes_are_those_of_the_settings(
    overlay: str, pod: Pod, container: Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _read_settings(overlay, pod, container, monkeypatch)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert parse_endpoint(settings.listen, "--listen") == ("0.0.0.0", ports["callers"])  # noqa: S104 - of a pod
    assert parse_endpoint(settings.admin, "--admin") == ("0.0.0.0", ports["admin"])  # noqa: S104 - of a pod
    asked = [container[probe]["httpGet"] for probe in PROBES]
    assert asked == [{"path": path, "port": ports["admin"]} for path in ("/livez", "/livez", "/readyz")]


@pytest.mark.parametrize(("overlay", "pod", "container"), GATEWAYS)
def test_callers_ask_at_the_port_of_what_the_gateway_speaks(overlay: str, pod: Pod, container: Document) -> None:
    documents, speaks_tls = (
        _documents(overlay),
        "SEKISHO_TLS_KEY" in read_variables(_documents(overlay), pod, container),
    )
    service = _callers_service(documents)
    assert service["spec"]["selector"].items() <= pod.labels.items()
    name, port = ("https", 443) if speaks_tls else ("http", 80)
    assert service["spec"]["ports"] == [{"name": name, "port": port, "targetPort": 8080}]


@pytest.mark.parametrize(("overlay", "pod", "container"), GATEWAYS)
def test_a_gateway_has_the_time_to_be_left_out_to_drain_and_to_sign(
    overlay: str, pod: Pod, container: Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _read_settings(overlay, pod, container, monkeypatch)
    waits = [each["lifecycle"]["preStop"]["sleep"]["seconds"] for each in pod.spec["containers"]]
    needed = max(waits) + settings.drain_seconds + SIGNING_SECONDS
    assert pod.spec["terminationGracePeriodSeconds"] >= needed


@pytest.mark.parametrize(("overlay", "pod", "container"), GATEWAYS)
def test_what_loads_a_bundle_ends_before_the_container_does(
    overlay: str, pod: Pod, container: Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _read_settings(overlay, pod, container, monkeypatch)
    resources = container["resources"]
    held = read_quantity(resources["requests"]["memory"]) / 2**20
    assert held + settings.reload_megabytes <= read_quantity(resources["limits"]["memory"]) / 2**20


def test_a_sidecar_is_the_gateway_of_the_deployment_but_for_its_place() -> None:
    gateways = {overlay: container for overlay, _, container in _gateways()}
    alone, beside = gateways["gateway"], dict(gateways["sidecar"])
    assert beside.pop("restartPolicy") == "Always"
    differ = {key for key in alone.keys() | beside.keys() if alone.get(key) != beside.get(key)}
    assert differ == {"lifecycle", "securityContext", "envFrom", "resources"}
    assert "lifecycle" not in beside, "the API's container waits for both"
    assert alone["resources"]["limits"] == beside["resources"]["limits"]


@pytest.mark.parametrize(
    ("overlay", "kind", "place"),
    [
        pytest.param("sidecar", "Deployment", "initContainers", id="a sidecar"),
        pytest.param("gateway-block-storage", "StatefulSet", "containers", id="a gateway with a volume of its own"),
    ],
)
def test_tls_and_redis_are_the_same_wherever_the_gateway_is(
    tmp_path: Path, overlay: str, kind: str, place: str
) -> None:
    shown = next((pod, container) for name, pod, container in _gateways() if name == "gateway-tls-redis")
    documents = _render_with(tmp_path, overlay, "tls", "counts-redis")
    assert [problem for each in documents for problem in find_problems(each)] == []
    (workload,) = [
        each for each in kinds(documents, kind) if each["spec"]["template"]["metadata"]["labels"].get("sekisho")
    ]
    (pod,) = [each for each in read_pods(documents) if each.workload == workload["metadata"]["name"]]
    container = pod.find("sekisho")
    assert container in pod.spec[place]
    for volume in ("sekisho-tls", "sekisho-counts"):
        assert pod.volume(volume) == shown[0].volume(volume)
    assert container["volumeMounts"] == shown[1]["volumeMounts"]
    assert container["resources"]["limits"] == shown[1]["resources"]["limits"]
    variables = read_variables(documents, pod, container)
    expected = read_variables(_documents("gateway-tls-redis"), *shown)
    names = [name for name in expected if name.startswith(("SEKISHO_TLS_", "SEKISHO_COUNTS"))]
    assert {name: variables[name] for name in names} == {name: expected[name] for name in names}
    service = _callers_service(documents)
    assert service["spec"]["ports"] == [{"name": "https", "port": 443, "targetPort": 8080}]
    assert may_speak(documents, Party(HERE, pod.labels), REDIS, 6379)


def _callers_service(documents: tuple[Document, ...]) -> Document:
    """Return the Service that callers ask."""
    (found,) = [each for each in kinds(documents, "Service") if each["metadata"]["labels"].get("sekisho") == "callers"]
    return found


def _render_with(folder: Path, overlay: str, *components: str) -> tuple[Document, ...]:
    """Return an overlay with components, named where its own are: before the last one."""
    said = yaml.safe_load((OVERLAYS[overlay] / "kustomization.yaml").read_text(encoding="utf-8"))  # noqa: TID251 - ours
    above = os.path.relpath(OVERLAYS[overlay].parents[1], folder.resolve())
    for key in ("resources", "components"):
        said[key] = [each.replace("../..", above, 1) for each in said[key]]
    said["components"][-1:-1] = [f"{above}/components/{each}" for each in components]
    shutil.copy(OVERLAYS[overlay] / "settings.env", folder)
    (folder / "kustomization.yaml").write_text(json.dumps(said), encoding="utf-8")
    return render(folder)


def test_a_sidecar_starts_before_the_api_and_ends_after_it() -> None:
    (pod,) = read_pods(_documents("sidecar"))
    assert pod.find("sekisho") in pod.spec["initContainers"]
    assert [each["name"] for each in pod.spec["containers"]] == ["users-api"]


@pytest.mark.parametrize(
    ("overlay", "order"),
    [
        pytest.param("gateway-policies-image", ["sekisho-policies", "sekisho"], id="an image is copied first"),
        pytest.param("sidecar-policies-git", ["sekisho-git", "sekisho", "users-api"], id="git is checked out first"),
    ],
)
def test_policies_are_there_before_the_gateway_starts(overlay: str, order: list[str]) -> None:
    pod = next(pod for name, pod, _ in _gateways() if name == overlay)
    assert [container["name"] for container in pod.containers] == order


def test_the_api_beside_its_gateway_is_on_loopback_and_probed_through_it() -> None:
    documents = _documents("sidecar")
    (pod,) = read_pods(documents)
    api = pod.find("users-api")
    variables = read_variables(documents, pod, pod.find("sekisho"))
    assert api["args"][-1] == "127.0.0.1:9000"
    assert set(json.loads(variables["SEKISHO_UPSTREAM"]).values()) == {"http://127.0.0.1:9000"}
    assert json.loads(variables["SEKISHO_UPSTREAM_HEALTH"]).keys() == {"users"}
    admin = parse_endpoint(variables["SEKISHO_ADMIN"], "--admin")[1]
    for probe in ("livenessProbe", "readinessProbe"):
        assert api[probe]["httpGet"] == {"path": "/apis/users/health", "port": admin}
    (service,) = [each for each in kinds(documents, "Service") if each["metadata"]["name"] == "users-api"]
    assert [port["targetPort"] for port in service["spec"]["ports"]] == [8080]


# What the documents say of one another


def test_all_that_a_pod_refers_to_is_there_or_is_told_how_to_be_made(overlay: str) -> None:
    documents = _documents(overlay)
    there = {f"{each['kind']}/{each['metadata']['name']}": each for each in documents}
    there |= {f"PersistentVolumeClaim/{name}": claim for name, claim in list_claims(documents)}
    page = README.read_text(encoding="utf-8")
    for pod in read_pods(documents):
        for name, keys in list_references(pod):
            if name in MAY_BE_OUTSIDE:
                told = re.findall(rf"create {MAY_BE_OUTSIDE[name]} (.*)", page)
                assert any(all(re.search(rf"={re.escape(key)}( |$)", words) for key in keys) for words in told), name
            else:
                assert name in there
                assert set(keys) <= there[name].get("data", {}).keys()


def test_the_pod_in_which_the_ledger_is_read_fits_and_can_read_it_and_do_nothing_else() -> None:
    document = _read_auditor()
    assert list(find_problems(document)) == []
    spec, (container,) = document["spec"], document["spec"]["containers"]
    assert container["image"] == f"sekisho:{VERSION}"
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"] == {
        "runAsNonRoot": True, "runAsUser": UID, "runAsGroup": UID, "seccompProfile": {"type": "RuntimeDefault"},
    }  # fmt: skip
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    (volume,), (mount,) = spec["volumes"], container["volumeMounts"]
    (claim,) = kinds(_documents("gateway"), "PersistentVolumeClaim")
    assert volume["persistentVolumeClaim"] == {"claimName": claim["metadata"]["name"], "readOnly": True}
    assert mount == {"name": volume["name"], "mountPath": "/var/lib/sekisho", "readOnly": True}
    assert "labels" not in document["metadata"], "no network policy opens anything for it"


def _read_auditor(number: int = 0) -> Document:
    """Return the pod that the page shows, or what it says to write in place of parts of it."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    document: Document = yaml.safe_load(blocks[number])  # noqa: TID251 - a page of ours
    return document


def test_where_each_gateway_has_a_volume_the_ledger_is_read_on_the_node_of_its_gateway() -> None:
    auditor, other = _read_auditor(), _read_auditor(1)
    document = {**auditor, "spec": {**auditor["spec"], **other["spec"]}}
    assert list(find_problems(document)) == []
    documents = _documents("gateway-block-storage")
    (gateway,) = [pod for pod in read_pods(documents) if pod.workload == "sekisho"]
    assert document["spec"]["volumes"] == [
        {**gateway.volume("sekisho-ledger"), "name": "ledger"}
        | {"persistentVolumeClaim": {**gateway.volume("sekisho-ledger")["persistentVolumeClaim"], "readOnly": True}}
    ]
    (near,) = document["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert near == {
        "topologyKey": "kubernetes.io/hostname",
        "labelSelector": {"matchLabels": {"statefulset.kubernetes.io/pod-name": gateway.name}},
    }


def test_no_secret_stands_in_a_repository(overlay: str) -> None:
    assert kinds(_documents(overlay), "Secret") == []


def test_every_selector_selects(overlay: str) -> None:
    documents = _documents(overlay)
    pods = read_pods(documents)
    for document in documents:
        spec = document.get("spec", {})
        if document["kind"] in {"Deployment", "StatefulSet"}:
            assert selects(spec["selector"], spec["template"]["metadata"]["labels"])
            for spread in spec["template"]["spec"].get("topologySpreadConstraints", ()):
                assert selects(spread["labelSelector"], spec["template"]["metadata"]["labels"])
        if document["kind"] == "StatefulSet":
            (governing,) = [
                each for each in kinds(documents, "Service") if each["metadata"]["name"] == spec["serviceName"]
            ]
            assert governing["spec"]["clusterIP"] == "None"
            assert selects({"matchLabels": governing["spec"]["selector"]}, spec["template"]["metadata"]["labels"])
        if document["kind"] == "PodDisruptionBudget":
            assert any(selects(spec["selector"], pod.labels) for pod in pods)
        if document["kind"] == "NetworkPolicy":
            assert any(selects(spec["podSelector"], pod.labels) for pod in pods)
        if document["kind"] == "Service":
            chosen = [pod for pod in pods if spec["selector"].items() <= pod.labels.items()]
            assert chosen
            for port in spec["ports"]:
                assert all(port["targetPort"] in pod.ports() for pod in chosen)


def test_a_service_monitor_finds_a_service_and_its_job_is_the_one_that_alerts_ask_for(overlay: str) -> None:
    documents = _documents(overlay)
    (monitor,) = kinds(documents, "ServiceMonitor")
    (service,) = [
        each for each in kinds(documents, "Service") if selects(monitor["spec"]["selector"], each["metadata"]["labels"])
    ]
    ports = {port["name"] for port in service["spec"]["ports"]}
    assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= ports
    job = service["metadata"]["labels"][monitor["spec"]["jobLabel"]]
    assert job == ("sekisho-probe" if overlay == "canary" else "sekisho")
    rules = (ROOT / "deploy" / "prometheus" / "sekisho.rules.yml").read_text(encoding="utf-8")
    assert f'job="{job}"' in rules


@pytest.mark.parametrize(
    ("overlay", "kind", "least"),
    [
        pytest.param("gateway", "Deployment", 2, id="one can be lost"),
        pytest.param("gateway-block-storage", "StatefulSet", 3, id="one can be lost while another is replaced"),
    ],
)
def test_scaling_is_of_the_gateway(overlay: str, kind: str, least: int) -> None:
    (scaler,) = kinds(_documents(overlay), "HorizontalPodAutoscaler")
    assert scaler["spec"]["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": kind, "name": "sekisho"}
    assert scaler["spec"]["minReplicas"] >= least
    assert "replicas" not in _gateway(overlay, kind)["spec"], "each apply would set what the autoscaler set"


def _gateway(overlay: str, kind: str) -> Document:
    (found,) = [each for each in kinds(_documents(overlay), kind) if each["metadata"]["name"] == "sekisho"]
    return found


def test_no_roll_out_of_the_deployment_takes_a_gateway_away() -> None:
    rolling = _gateway("gateway", "Deployment")["spec"]["strategy"]["rollingUpdate"]
    assert rolling == {"maxUnavailable": 0, "maxSurge": 1}


def test_with_block_storage_each_gateway_has_a_volume_that_outlives_it_and_nobody_else_s() -> None:
    (claim,) = [claim["spec"] for _, claim in list_claims(_documents("gateway-block-storage"))]
    (shared,) = [claim["spec"] for _, claim in list_claims(_documents("gateway"))]
    assert shared["accessModes"] == ["ReadWriteMany"]
    assert claim == {**shared, "accessModes": ["ReadWriteOnce"]}
    spec = _gateway("gateway-block-storage", "StatefulSet")["spec"]
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert spec["podManagementPolicy"] == "Parallel", "else a roll-out that is taken back stays stuck"


def test_the_gateway_with_a_volume_of_its_own_is_the_gateway_of_the_deployment_but_for_that() -> None:
    with_own = _gateway("gateway-block-storage", "StatefulSet")["spec"]["template"]
    shared = _gateway("gateway", "Deployment")["spec"]["template"]
    assert with_own["metadata"] == shared["metadata"]
    differ = {key for key in with_own["spec"] | shared["spec"] if with_own["spec"].get(key) != shared["spec"].get(key)}
    assert differ == {"volumes", "topologySpreadConstraints"}
    assert with_own["spec"]["volumes"] == [
        each for each in shared["spec"]["volumes"] if each["name"] != "sekisho-ledger"
    ]
    for spread in with_own["spec"]["topologySpreadConstraints"]:
        assert spread["whenUnsatisfiable"] == "ScheduleAnyway", "a volume holds its pod in its zone"
        assert "matchLabelKeys" not in spread, "none of its pods is labelled as a Deployment's are"


# Who may speak to whom

HERE: Final = "personal-data"
GATEWAY: Final = Party(HERE, {"sekisho": "gateway", "app.kubernetes.io/name": "sekisho"})
API: Final = Party(HERE, {"app.kubernetes.io/name": "users-api"})
BOTH: Final = Party(HERE, {"app.kubernetes.io/name": "users-api", "sekisho": "gateway"})
STRANGER: Final = Party(HERE, {"app.kubernetes.io/name": "something-else"})
CALLER: Final = Party("callers", {"app.kubernetes.io/name": "sekisho-probe"}, {"sekisho-callers": "true"})
NOBODY: Final = Party("elsewhere")
PROMETHEUS: Final = Party("monitoring", {"app.kubernetes.io/name": "prometheus"})
NAMES: Final = Party("kube-system", {"k8s-app": "kube-dns"})
ISSUER: Final = Party("", address="203.0.113.7")
METADATA: Final = Party("", address="169.254.169.254")
NODE: Final = Party("", address="10.0.3.4")
REDIS: Final = Party("redis", {"app.kubernetes.io/name": "redis"})


@pytest.mark.parametrize(
    ("overlay", "source", "target", "port", "may"),
    [
        pytest.param("gateway", CALLER, GATEWAY, 8080, True, id="a caller speaks to the gateway"),
        pytest.param("gateway", CALLER, API, 9000, False, id="no caller speaks to the API"),
        pytest.param("gateway", CALLER, GATEWAY, 9090, False, id="no caller sees probes and metrics"),
        pytest.param("gateway", NOBODY, GATEWAY, 8080, False, id="who is not let in is no caller"),
        pytest.param("gateway", STRANGER, API, 9000, False, id="nor does the API's neighbour speak to it"),
        pytest.param("gateway", STRANGER, GATEWAY, 8080, False, id="nor to the gateway, unless it is let in"),
        pytest.param("gateway", GATEWAY, API, 9000, True, id="the gateway speaks to the API"),
        pytest.param("gateway", GATEWAY, API, 22, False, id="at its port alone"),
        pytest.param("gateway", API, GATEWAY, 8080, False, id="the API calls nobody"),
        pytest.param("gateway", API, ISSUER, 443, False, id="nor the world"),
        pytest.param("gateway", PROMETHEUS, GATEWAY, 9090, True, id="Prometheus scrapes"),
        pytest.param("gateway", PROMETHEUS, GATEWAY, 8080, False, id="and is no caller"),
        pytest.param("gateway", PROMETHEUS, API, 9000, False, id="nor does it speak to the API"),
        pytest.param("gateway", GATEWAY, ISSUER, 443, True, id="the gateway fetches keys of issuers"),
        pytest.param("gateway", GATEWAY, METADATA, 443, False, id="not the cloud's secrets"),
        pytest.param("gateway", GATEWAY, NODE, 443, False, id="nor does it speak to nodes"),
        pytest.param("sidecar", CALLER, BOTH, 8080, True, id="a caller speaks to the sidecar"),
        pytest.param("sidecar", CALLER, BOTH, 9000, False, id="no caller speaks to the API beside it"),
        pytest.param("sidecar", CALLER, BOTH, 9090, False, id="nor to the sidecar's metrics"),
        pytest.param("sidecar", STRANGER, BOTH, 9000, False, id="nor does a neighbour"),
        pytest.param("sidecar", PROMETHEUS, BOTH, 9090, True, id="Prometheus scrapes the sidecar"),
        pytest.param("sidecar", BOTH, ISSUER, 443, True, id="the sidecar fetches keys of issuers"),
    ],
)
def test_network_policies_let_speak_whom_they_should(
    overlay: str,
    source: Party,
    target: Party,
    port: int,
    may: bool,  # noqa: FBT001
) -> None:
    assert may_speak(_documents(overlay), source, target, port) is may


def test_the_way_to_the_redis_is_open_to_gateways_that_count_there_and_to_nobody_else() -> None:
    documents = _documents("gateway-tls-redis")
    pod, container = next((pod, each) for name, pod, each in _gateways() if name == "gateway-tls-redis")
    url = URL(read_variables(documents, pod, container)["SEKISHO_COUNTS"])
    assert url.host == f"{REDIS.labels['app.kubernetes.io/name']}.{REDIS.namespace}.svc"
    assert url.port is not None
    assert may_speak(documents, GATEWAY, REDIS, url.port)
    assert not may_speak(documents, GATEWAY, REDIS, 22)
    assert not may_speak(documents, API, REDIS, url.port)
    assert not may_speak(_documents("gateway"), GATEWAY, REDIS, url.port)


@pytest.mark.parametrize("protocol", ["UDP", "TCP"])
def test_the_gateway_resolves_names(protocol: str) -> None:
    assert may_speak(_documents("gateway"), GATEWAY, NAMES, 53, protocol)


def test_the_pods_of_the_table_are_those_that_are_rendered() -> None:
    assert {
        pod.workload: {key: pod.labels[key] for key in pod.labels.keys() - {"app.kubernetes.io/part-of"}}
        for overlay in ("gateway", "sidecar", "canary")
        for pod in read_pods(_documents(overlay))
    } == {"sekisho": GATEWAY.labels, "users-api": BOTH.labels, "sekisho-canary": CALLER.labels}


def test_the_canary_tries_each_port_on_which_an_api_listens() -> None:
    (canary,) = read_pods(_documents("canary"))
    (container,) = canary.containers
    urls = {arg.rpartition("=")[2] for arg in container["args"] if arg.startswith("--url=")}
    for overlay in ("gateway", "sidecar"):
        listening = {
            each["args"][-1].rpartition(":")[2]
            for pod in read_pods(_documents(overlay))
            for each in pod.containers
            if "sample" in each.get("args", ())
        }
        services = {each["metadata"]["name"] for each in kinds(_documents(overlay), "Service")}
        assert any(
            url == f"http://{service}.{HERE}.svc:{port}" for url in urls for service in services for port in listening
        )


# The policy folder


def _config_map() -> dict[str, str]:
    (found,) = [
        each for each in kinds(_documents("gateway"), "ConfigMap") if each["metadata"]["name"] == "sekisho-policies"
    ]
    data: dict[str, str] = found["data"]
    return data


def _mounted() -> dict[str, bytes]:
    """Return the policy folder as the volume's items make it of the ConfigMap."""
    pod = next(pod for name, pod, _ in _gateways() if name == "gateway")
    source = pod.volume("sekisho-policies")["projected"]["sources"][0]["configMap"]
    data = _config_map()
    return {item["path"]: data[item["key"]].encode() for item in source["items"]}


def test_the_config_map_holds_the_policy_folder_whole_and_is_small_enough() -> None:
    files = {path.relative_to(POLICIES).as_posix(): path.read_bytes() for path in POLICIES.rglob("*.yaml")}
    assert _mounted() == files
    assert len(_config_map()) == len(files)
    assert sum(map(len, files.values())) < CONFIG_MAP_BYTES


def test_the_folder_that_the_kubelet_makes_of_it_loads_as_the_one_that_it_is_made_of(tmp_path: Path) -> None:
    volume = MountedVolume(tmp_path / "volume")
    volume.write(_mounted())
    assert load_bundle(volume.place).policy_digest == load_bundle(POLICIES).policy_digest


def test_the_policies_keep_their_name_and_settings_change_theirs_with_what_they_hold(overlay: str) -> None:
    names = {each["metadata"]["name"] for each in kinds(_documents(overlay), "ConfigMap")}
    for name in names - {"sekisho-policies"}:
        assert re.fullmatch(r"sekisho-(settings|git)-[0-9a-z]{10}", name)


# The check itself


def _deployment(**changes: Any) -> Document:
    found = _gateway("gateway", "Deployment")
    return {**found, "spec": {**found["spec"], **changes}}


def _monitor(**changes: Any) -> Document:
    (found,) = kinds(_documents("gateway"), "ServiceMonitor")
    (endpoint,) = found["spec"]["endpoints"]
    return {**found, "spec": {**found["spec"], "endpoints": [{**endpoint, **changes}]}}


def _rules(expression: str) -> Document:
    group = {"name": "a", "rules": [{"alert": "A", "expr": expression}]}
    return {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule", "spec": {"groups": [group]}}


def _told(document: Document) -> Iterable[str]:
    return [*find_problems(document)]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        pytest.param(lambda: _deployment(replica=2), "'replica' was unexpected", id="a key that Kubernetes lacks"),
        pytest.param(lambda: _deployment(minReadySeconds="5"), "is not of type", id="a value of another type"),
        pytest.param(
            lambda: {**_deployment(), "apiVersion": "apps/v1beta1"},
            f"Kubernetes {versions()[0]} has no apps/v1beta1 Deployment",
            id="a version that is gone",
        ),
        pytest.param(lambda: _monitor(intervall="5s"), "intervall is no key", id="a key that a monitor lacks"),
        pytest.param(lambda: _monitor(interval="5 s"), "promtool check config", id="an interval that is none"),
        pytest.param(
            lambda: _monitor(relabelings=[{"action": "renew"}]), "promtool check config", id="an action that is none"
        ),
        pytest.param(lambda: _rules("sum(("), "promtool check rules", id="a rule that cannot be read"),
        pytest.param(lambda: {**_rules("1"), "kind": "Probe"}, "nobody here knows", id="a kind that is not known"),
    ],
)
def test_what_does_not_fit_its_kind_is_told(make: Any, told: str) -> None:
    assert any(told in problem for problem in _told(make()))


@pytest.mark.parametrize("make", [_deployment, _monitor, lambda: _rules("1")], ids=["Deployment", "Monitor", "Rule"])
def test_of_what_fits_nothing_is_told(make: Any) -> None:
    assert _told(make()) == []
