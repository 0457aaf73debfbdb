# SPDX-License-Identifier: Apache-2.0
"""What Kubernetes would make of rendered documents: pods, their containers and variables, and who may speak to whom."""

import re
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import Any, Final, TypeAlias

import msgspec

Document: TypeAlias = dict[str, Any]

MAY_BE_OUTSIDE: Final = {
    "Secret/sekisho-keys": "secret generic sekisho-keys",
    "Secret/sekisho-git": "secret generic sekisho-git",
    "Secret/sekisho-tls": "secret tls sekisho-tls",
    "Secret/sekisho-counts": "secret generic sekisho-counts",
    "ConfigMap/sekisho-emergency-denies": "configmap sekisho-emergency-denies",
}
"""What is made by hand, and by which ``kubectl create`` of deploy/kubernetes/README.md: secrets stand in no repository,
nor do emergencies."""


class Pod(msgspec.Struct, frozen=True):
    """A workload's pod, as its template says, and of a StatefulSet with the claims that are its own."""

    workload: str
    name: str
    """Of one such pod."""
    labels: Mapping[str, str]
    spec: Document

    @property
    def containers(self) -> list[Document]:
        """In the order in which they start."""
        return [*self.spec.get("initContainers", ()), *self.spec["containers"]]

    def find(self, name: str) -> Document:
        """Return the container of a name."""
        found: Document = next(each for each in self.containers if each["name"] == name)
        return found

    def security(self, container: Document) -> Document:
        """Return what holds for a container: its own word comes before its pod's."""
        return {**self.spec.get("securityContext", {}), **container.get("securityContext", {})}

    def volume(self, name: str) -> Document:
        """Return the volume of a name."""
        found: Document = next(each for each in self.spec["volumes"] if each["name"] == name)
        return found

    def ports(self) -> set[int]:
        """Return the ports that its containers declare."""
        return {port["containerPort"] for each in self.containers for port in each.get("ports", ())}


def kinds(documents: Sequence[Document], kind: str) -> list[Document]:
    """Return the documents of a kind."""
    return [document for document in documents if document["kind"] == kind]


def read_pods(documents: Sequence[Document]) -> list[Pod]:
    """Return a pod of each workload: of a Deployment one of some name, of a StatefulSet the first."""
    return [_read_pod(document) for document in documents if document["kind"] in {"Deployment", "StatefulSet"}]


def _read_pod(document: Document) -> Pod:
    workload, template = document["metadata"]["name"], document["spec"]["template"]
    name = f"{workload}-0" if document["kind"] == "StatefulSet" else f"{workload}-7d4b9c6f5-x2x7k"
    own = [
        {"name": claim["metadata"]["name"], "persistentVolumeClaim": {"claimName": made}}
        for made, claim in _list_own_claims(document)
    ]
    spec = {**template["spec"], "volumes": [*template["spec"].get("volumes", ()), *own]}
    return Pod(workload, name, template["metadata"]["labels"], spec)


def _list_own_claims(document: Document) -> Iterator[tuple[str, Document]]:
    """Return what a workload makes claims by for its first pod, by the name that each gets."""
    for claim in document["spec"].get("volumeClaimTemplates", ()):
        yield f"{claim['metadata']['name']}-{document['metadata']['name']}-0", claim


def list_claims(documents: Sequence[Document]) -> Iterator[tuple[str, Document]]:
    """Return claims on volumes, by name: those that are documents, and those made for the pods of read_pods."""
    for claim in kinds(documents, "PersistentVolumeClaim"):
        yield claim["metadata"]["name"], claim
    for document in kinds(documents, "StatefulSet"):
        yield from _list_own_claims(document)


def read_variables(documents: Sequence[Document], pod: Pod, container: Document) -> dict[str, str]:
    """Return the variables that a container starts with, those of its image aside."""
    maps = {each["metadata"]["name"]: each.get("data", {}) for each in kinds(documents, "ConfigMap")}
    found: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        found |= maps[source["configMapRef"]["name"]]
    for each in container.get("env", ()):
        field = each.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
        assert field in {None, "metadata.name"}, field
        found[each["name"]] = each["value"] if field is None else pod.name
    return found


def list_references(pod: Pod) -> Iterator[tuple[str, Sequence[str]]]:
    """Return what a pod needs to be there: kind and name, and of it which keys."""
    yield f"ServiceAccount/{pod.spec['serviceAccountName']}", ()
    for container in pod.containers:
        for source in container.get("envFrom", ()):
            yield f"ConfigMap/{source['configMapRef']['name']}", ()
    for volume in pod.spec.get("volumes", ()):
        for source in (volume, *volume.get("projected", {}).get("sources", ())):
            for kind, name in (("configMap", "name"), ("secret", "secretName"), ("persistentVolumeClaim", "claimName")):
                if kind in source:
                    keys = [item["key"] for item in source[kind].get("items", ())]
                    yield f"{kind[0].upper()}{kind[1:]}/{source[kind][name]}", keys


def selects(selector: Document | None, labels: Mapping[str, str]) -> bool:
    """Whether a label selector is met; one that asks nothing is met by all."""
    assert selector is None or selector.keys() <= {"matchLabels"}, selector
    return all(labels.get(name) == value for name, value in (selector or {}).get("matchLabels", {}).items())


class Party(msgspec.Struct, frozen=True):
    """Who speaks, or is spoken to: a pod, by the labels of its namespace and its own; else an address."""

    namespace: str
    labels: Mapping[str, str] = {}
    namespace_labels: Mapping[str, str] = {}
    address: str = ""

    def matches(self, peer: Document, home: str) -> bool:
        """Whether a peer of a policy of a namespace means it."""
        if "ipBlock" in peer:
            return bool(self.address) and not any(_in_block(self.address, each) for each in peer["ipBlock"]["except"])
        if self.address:
            return False
        if "namespaceSelector" not in peer:
            return self.namespace == home and selects(peer["podSelector"], self.labels)
        everywhere = {"kubernetes.io/metadata.name": self.namespace, **self.namespace_labels}
        return selects(peer["namespaceSelector"], everywhere) and selects(peer.get("podSelector"), self.labels)


def _in_block(address: str, block: str) -> bool:
    return ip_address(address) in ip_network(block)


def may_speak(documents: Sequence[Document], source: Party, target: Party, port: int, protocol: str = "TCP") -> bool:
    """Whether network policies let a connection begin: egress of whoever begins, ingress of whoever is asked."""
    asked = (protocol, port)
    return _passes(documents, source, target, asked, "Egress") and _passes(documents, target, source, asked, "Ingress")


def _passes(documents: Sequence[Document], one: Party, other: Party, asked: tuple[str, int], direction: str) -> bool:
    """Whether one side lets it: where no policy is about it everything may."""
    policies = [
        each["spec"]
        for each in kinds(documents, "NetworkPolicy")
        if direction in each["spec"]["policyTypes"]
        and each["metadata"]["namespace"] == one.namespace
        and not one.address
        and selects(each["spec"]["podSelector"], one.labels)
    ]
    if not policies:
        return True
    side = "to" if direction == "Egress" else "from"
    return any(
        any(other.matches(peer, one.namespace) for peer in rule[side])
        and any((each["protocol"], each["port"]) == asked for each in rule["ports"])
        for policy in policies
        for rule in policy.get(direction.lower(), ())
    )


_UNITS: Final = {"": 1.0, "m": 0.001, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30}


def read_quantity(text: str) -> float:
    """Return what an amount such as ``768Mi`` or ``250m`` comes to."""
    match = re.fullmatch(r"([0-9]+)(m|[KMG]i)?", str(text))
    assert match is not None, text
    return float(match[1]) * _UNITS[match[2] or ""]
