# SPDX-License-Identifier: Apache-2.0
"""Rehearses rendered pods where there is no cluster: what the kubelet would do with them, done. Needs root.

A pod is a network namespace; its containers are processes with its volumes, users, variables and root file systems.
They are started, probed and stopped in the kubelet's order. All pods are in one network, in which services are names in
``/etc/hosts``. Not rehearsed: scheduling, network policies, limits of memory and CPU, and waiting (``preStop: sleep``).
"""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.support.containers import NSENTER, Container, Image, Mount, ip, network_namespace
from tests.support.kubelet import MountedVolume
from tests.support.manifests import Document, Pod, kinds, read_pods, read_variables, selects

NETWORK: Final = "10.20.46"
"""Of pods and of whoever calls them: in the reference bundle it is an office in Tokyo."""
NODE: Final = f"{NETWORK}.1"
READY_SECONDS: Final = 90
_BRIDGE: Final = "pods"


class Beside(msgspec.Struct, frozen=True):
    """What a cluster has that no overlay brings."""

    files: Mapping[str, Mapping[str, bytes]] = {}
    """By Secret or ConfigMap, such as ``Secret/sekisho-keys``, what it holds."""
    variables: Mapping[str, str] = {}
    """Of gateways, in addition: where this deployment's issuers are, say."""
    mounts: Sequence[Mount] = ()
    """Of gateways, in addition."""
    hosts: str = ""
    """Lines of ``/etc/hosts``."""


class RunningPod:
    """A pod, its volumes, and its containers once they are started."""

    def __init__(self, pod: Pod, address: str, network: str, folder: Path) -> None:
        self.pod = pod
        self.address = address
        self.network = network
        self.folder = folder
        self.volumes: dict[str, Path] = {}
        self.mounted: dict[str, MountedVolume] = {}
        """Those volumes that the kubelet changes."""
        self.containers: dict[str, Container] = {}


class Cluster:
    """One node, and the pods of an overlay on it.

    Args:
        documents: of the overlay.
        folder: where volumes and output go.
        images: by name, without tag.
        beside: what the overlay expects to be there.
    """

    def __init__(
        self, documents: Sequence[Document], folder: Path, images: Mapping[str, Image], beside: Beside
    ) -> None:
        self.documents = documents
        self.pods: dict[str, RunningPod] = {}
        self.others: list[Container] = []
        """Started beside the pods, and stopped with them."""
        self._folder = folder
        self._images = images
        self._beside = beside
        self._stack = contextlib.ExitStack()
        self._prefix = f"kube{os.getpid()}"
        self._addresses = {pod.workload: f"{NETWORK}.{10 + n}" for n, pod in enumerate(read_pods(documents))}

    def __enter__(self) -> "Cluster":
        with self._stack:
            self._node = self._stack.enter_context(network_namespace(f"{self._prefix}-node"))
            ip("link", "add", _BRIDGE, "type", "bridge", inside=self._node)
            ip("addr", "add", f"{NODE}/24", "dev", _BRIDGE, inside=self._node)
            ip("link", "set", _BRIDGE, "up", inside=self._node)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        for running in self.pods.values():
            for container in running.containers.values():
                container.stop()
        for container in self.others:
            container.stop()
        self._stack.close()

    def join(self, name: str, address: str) -> str:
        """Make a network namespace of that address, and return its name."""
        own = self._stack.enter_context(network_namespace(f"{self._prefix}-{name}"))
        outer = f"v{address.rpartition('.')[2]}"
        ip("link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", own, inside=self._node)
        ip("link", "set", outer, "master", _BRIDGE, "up", inside=self._node)
        ip("addr", "add", f"{address}/24", "dev", "eth0", inside=own)
        ip("link", "set", "eth0", "up", inside=own)
        return own

    def hosts(self) -> str:
        """Return what the cluster's name server would say of services, those that lead to one pod here."""
        lines = ["127.0.0.1 localhost", self._beside.hosts]
        lines += [
            f"{self._addresses[pod.workload]} {service['metadata']['name']}"
            for service in kinds(self.documents, "Service")
            for pod in read_pods(self.documents)
            if selects({"matchLabels": service["spec"]["selector"]}, pod.labels)
        ]
        return "".join(f"{line}\n" for line in lines if line)

    def start(self, workload: str) -> RunningPod:
        """Start one pod of a workload, container by container, and wait until each is ready."""
        (pod,) = [each for each in read_pods(self.documents) if each.workload == workload]
        address = self._addresses[workload]
        running = RunningPod(pod, address, self.join(workload, address), self._folder / workload)
        self.pods[workload] = running
        for volume in pod.spec.get("volumes", ()):
            self._make_volume(running, volume)
        for container in pod.spec.get("initContainers", ()):
            self._start_container(running, container)
            if container.get("restartPolicy") == "Always":
                self.wait_for(running, container, "startupProbe")
            else:
                self._wait_for_end(running, container["name"])
        for container in pod.spec["containers"]:
            self._start_container(running, container)
        for container in pod.containers:
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                self.wait_for(running, container, probe)
        return running

    def probe(self, running: RunningPod, container: Document, probe: str) -> bool:
        """Ask as the kubelet does, from the node, the pod's address; one that is not there is answered with yes."""
        if probe not in container:
            return True
        asked = container[probe]["httpGet"]
        seconds = str(container[probe].get("timeoutSeconds", 1))
        url = f"http://{running.address}:{asked['port']}{asked['path']}"
        return self.on_the_node("wget", "-q", "-O", "-", "-t", "1", "-T", seconds, url).returncode == 0

    def wait_for(self, running: RunningPod, container: Document, probe: str, *, expected: bool = True) -> None:
        """Wait until a probe says yes, or no."""
        deadline = time.monotonic() + READY_SECONDS
        process = running.containers[container["name"]]
        while self.probe(running, container, probe) is not expected:
            assert not expected or process.code is None, f"{container['name']} ended: {process.output}"
            assert time.monotonic() < deadline, f"{container['name']}: {probe}: {process.output}"
            time.sleep(0.1)

    def stop(self, running: RunningPod) -> Iterator[tuple[str, int]]:
        """Stop a pod as the kubelet does: containers, then sidecars, the last first; yields each exit code."""
        sidecars = [each for each in running.pod.spec.get("initContainers", ()) if "restartPolicy" in each]
        for container in (*running.pod.spec["containers"], *reversed(sidecars)):
            yield container["name"], running.containers[container["name"]].stop()

    def on_the_node(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run a command where the node is."""
        inside = [NSENTER, f"--net=/run/netns/{self._node}"]
        return subprocess.run([*inside, *command], capture_output=True, text=True, timeout=60, check=False)

    def _make_volume(self, running: RunningPod, volume: Document) -> None:
        name, group = volume["name"], running.pod.spec.get("securityContext", {}).get("fsGroup", 0)
        place = running.folder / "volumes" / name
        running.volumes[name] = place
        if "emptyDir" in volume or "persistentVolumeClaim" in volume:
            place.mkdir(parents=True)
            os.chown(place, 0, group)
            place.chmod(0o2777 if "emptyDir" in volume else 0o2775)
            return
        kind = "secret" if "secret" in volume else "configMap" if "configMap" in volume else "projected"
        mode = volume[kind].get("defaultMode", 0o644)
        running.mounted[name] = MountedVolume(place, mode=mode, group=group)
        running.mounted[name].write(self.read_volume(volume))

    def read_volume(self, volume: Document) -> dict[str, bytes]:
        """Return what a volume of ConfigMaps and Secrets holds, by path."""
        if "projected" not in volume:
            return self._read_source(volume)
        found: dict[str, bytes] = {}
        for source in volume["projected"]["sources"]:
            found |= self._read_source(source)
        return found

    def _read_source(self, source: Document) -> dict[str, bytes]:
        kind, name = ("Secret", "secretName") if "secret" in source else ("ConfigMap", "name")
        said: dict[str, Any] = source["secret" if kind == "Secret" else "configMap"]
        data = self._beside.files.get(f"{kind}/{said[name]}")
        if data is None:
            ours = [each for each in kinds(self.documents, kind) if each["metadata"]["name"] == said[name]]
            if not ours and said.get("optional"):
                return {}
            data = {key: text.encode() for key, text in ours[0]["data"].items()}
        items = said.get("items") or [{"key": key, "path": key} for key in data]
        return {item["path"]: data[item["key"]] for item in items}

    def _start_container(self, running: RunningPod, container: Document) -> None:
        pod, name = running.pod, container["name"]
        security = pod.security(container)
        is_gateway = container.get("args") == ["run"]
        mounts = [
            Mount(running.volumes[each["name"]], each["mountPath"], each.get("readOnly", False))
            for each in sorted(container.get("volumeMounts", ()), key=lambda each: len(Path(each["mountPath"]).parts))
        ]
        variables = read_variables(self.documents, pod, container)
        process = Container(
            self._images[container["image"].partition(":")[0]],
            running.folder / name,
            network=running.network,
            hosts=self.hosts(),
            mounts=[*mounts, *(self._beside.mounts if is_gateway else ())],
            user=f"{security['runAsUser']}:{security['runAsGroup']}",
            work="/",
            env={**variables, **(self._beside.variables if is_gateway else {})},
            read_only=security["readOnlyRootFilesystem"],
            scratch=(),
        )
        process.start(container.get("args", ()), container.get("command"))
        running.containers[name] = process

    def _wait_for_end(self, running: RunningPod, name: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        process = running.containers[name]
        while process.code is None:
            assert time.monotonic() < deadline, f"{name}: {process.output}"
            time.sleep(0.05)
        assert process.code == 0, f"{name}: {process.output}"
