# SPDX-License-Identifier: Apache-2.0
"""Rehearses a compose file where no container engine runs: what it says is read by Docker's own program, and done.

Networks are bridges in a network namespace that stands for the host, volumes are folders. What is published to the
host is not forwarded from its loopback: there a test calls as Docker's proxy would, from the bridge's address.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.support.containers import NSENTER, Container, Image, Mount, ip, network_namespace

FREE: Final = IPv4Network("10.213.0.0/16")
"""Where networks are that say nothing of their addresses."""
HEALTH_SECONDS: Final = 120
NO_IMAGE: Final = ("grafana/grafana",)
"""Of these there is no program on this machine: what uses one is left out."""
_NOBODY: Final = 65534
UPSTREAM_IMAGES: Final[Mapping[str, Image]] = {
    "prom/prometheus": Image(("prometheus",), owned={"/prometheus": _NOBODY}),
    "prom/alertmanager": Image(("prometheus-alertmanager",), owned={"/alertmanager": _NOBODY}),
}
"""Debian's programs in the place of the images'."""


def find_docker_compose() -> str:
    """Return where Docker's program is."""
    return str(Path(sys.executable).with_name("docker-compose"))


def read_compose(path: Path) -> dict[str, Any]:
    """Return a compose file as Docker understands it, with all profiles."""
    run = subprocess.run(
        [find_docker_compose(), "-f", str(path), "--profile", "*", "config", "--format", "json"],
        capture_output=True, text=True, timeout=60, check=False, env={"PATH": os.defpath, "HOME": "/"},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    document: dict[str, Any] = json.loads(run.stdout)
    return document


class Network(msgspec.Struct):
    """A network of the file."""

    bridge: str
    subnet: IPv4Network
    internal: bool
    free: Iterator[IPv4Address]
    addresses: dict[str, IPv4Address]
    """By service."""
    aliases: dict[str, tuple[str, ...]]


class Rehearsal:
    """The services of a compose file, as processes of this machine.

    Args:
        path: the file.
        folder: where volumes and output go.
        images: by name, without tag; ``our`` is that of services that are built.
    """

    def __init__(self, path: Path, folder: Path, images: Mapping[str, Image]) -> None:
        self.document = read_compose(path)
        self.services: dict[str, dict[str, Any]] = self.document["services"]
        self.containers: dict[str, Container] = {}
        self._folder = folder
        self._images = images
        self._stack = contextlib.ExitStack()
        self._prefix = f"sekisho{os.getpid()}"
        self._started = 0

    def __enter__(self) -> "Rehearsal":
        with self._stack:
            self._host = self._stack.enter_context(network_namespace(f"{self._prefix}-host"))
            self.on_the_host("sysctl", "-qw", "net.ipv4.ip_forward=0").check_returncode()
            self._networks = dict(self._make_networks())
            for service in self._owners():
                self._join(service)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        for name in reversed(self.containers):
            self.containers[name].stop()
        self._stack.close()

    def up(self) -> None:
        """Start every service without a profile, each once what it depends on is as it wants it, and wait for all."""
        wanted = [name for name, service in self.services.items() if self._is_played(service)]
        for name in wanted:
            self._start_with_dependencies(name)
        for name in wanted:
            self.wait(name)

    def start(self, name: str, command: Sequence[str] = ()) -> Container:
        """Start a service, or start it again."""
        service = self.services[name]
        image = self._image(service)
        self._started += 1
        container = Container(
            image,
            self._folder / f"{self._started}-{name}",
            network=f"{self._prefix}-{self._owner(name)}",
            hosts=self._hosts(self._owner(name)),
            mounts=[self._mount(each) for each in service.get("volumes", ())],
            user=service["user"],
            work=service.get("working_dir", "/"),
            env=service.get("environment", {}),
            read_only=service.get("read_only", False),
            scratch=service.get("tmpfs", ()),
        )
        container.start(command or service.get("command") or (), service.get("entrypoint"))
        self.containers[name] = container
        return container

    def wait(self, name: str) -> None:
        """Wait until a service is healthy; one that has no health check has ended well, or runs."""
        container, deadline = self.containers[name], time.monotonic() + HEALTH_SECONDS
        test = self.services[name].get("healthcheck", {}).get("test", ())
        if not test or test == ["NONE"]:
            if self.services[name].get("restart") == "no":
                while container.code is None and time.monotonic() < deadline:
                    time.sleep(0.05)
                assert container.code == 0, f"{name}: {container.output}"
            return
        while container.run(*test[1:]).returncode:
            assert container.code is None, f"{name} ended: {container.output}"
            assert time.monotonic() < deadline, f"{name} is not healthy: {container.output}"
            time.sleep(0.2)

    def run(self, name: str, *command: str) -> tuple[int, str]:
        """Run a service to its end, as ``docker compose run`` does; return its exit code and what it printed."""
        container = self.start(name, command)
        deadline = time.monotonic() + HEALTH_SECONDS
        while (code := container.code) is None:
            assert time.monotonic() < deadline, container.output
            time.sleep(0.05)
        return code, container.output

    def address(self, name: str, network: str) -> str:
        """Return a service's address in a network."""
        return str(self._networks[network].addresses[self._owner(name)])

    def on_the_host(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run a command where the host is."""
        inside = [NSENTER, f"--net=/run/netns/{self._host}"]
        return subprocess.run([*inside, *command], capture_output=True, text=True, timeout=60, check=False)

    def _is_played(self, service: Mapping[str, Any]) -> bool:
        return not service.get("profiles") and _name_of(service["image"]) not in NO_IMAGE

    def _start_with_dependencies(self, name: str) -> None:
        if name in self.containers:
            return
        for other in self.services[name].get("depends_on", {}):
            self._start_with_dependencies(other)
            self.wait(other)
        self.start(name)

    def _image(self, service: Mapping[str, Any]) -> Image:
        return self._images["our" if "build" in service else _name_of(service["image"])]

    def _owner(self, name: str) -> str:
        """Return whose network a service is in: its own, or another service's."""
        mode = self.services[name].get("network_mode", "")
        return mode.removeprefix("service:") if mode.startswith("service:") else name

    def _owners(self) -> list[str]:
        return [name for name in self.services if self._owner(name) == name]

    def _make_networks(self) -> Iterator[tuple[str, Network]]:
        spare = FREE.subnets(new_prefix=24)
        for number, (name, network) in enumerate(self.document["networks"].items()):
            (config,) = network["ipam"].get("config") or [{}]
            subnet = IPv4Network(config["subnet"]) if "subnet" in config else next(spare)
            bridge = f"br{number}"
            ip("link", "add", bridge, "type", "bridge", inside=self._host)
            ip("addr", "add", f"{subnet[1]}/{subnet.prefixlen}", "dev", bridge, inside=self._host)
            ip("link", "set", bridge, "up", inside=self._host)
            free = IPv4Network(config.get("ip_range", subnet)).hosts()
            free = iter([address for address in free if address != subnet[1]])  # which is the bridge's
            yield name, Network(bridge, subnet, network.get("internal", False), free, {}, {})

    def _join(self, name: str) -> None:
        """Make a service's network namespace, and put it into its networks."""
        own = self._stack.enter_context(network_namespace(f"{self._prefix}-{name}"))
        joined: Mapping[str, Any] = self.services[name].get("networks") or {}
        for number, (each, options) in enumerate(joined.items()):
            network = self._networks[each]
            given = (options or {}).get("ipv4_address")
            address = IPv4Address(given) if given else next(network.free)
            outer, inner = f"v{len(network.addresses)}-{network.bridge}", f"eth{number}"
            ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", own, inside=self._host)
            ip("link", "set", outer, "master", network.bridge, "up", inside=self._host)
            ip("addr", "add", f"{address}/{network.subnet.prefixlen}", "dev", inner, inside=own)
            ip("link", "set", inner, "up", inside=own)
            if not network.internal:
                ip("route", "replace", "default", "via", str(network.subnet[1]), inside=own)
            network.addresses[name] = address
            network.aliases[name] = (name, *(options or {}).get("aliases", ()))

    def _hosts(self, name: str) -> str:
        """Return what Docker's name server would say to a service."""
        lines = ["127.0.0.1 localhost"]
        for network in self._networks.values():
            if name in network.addresses:
                lines += [f"{network.addresses[each]} {' '.join(network.aliases[each])}" for each in network.addresses]
        return "".join(f"{line}\n" for line in lines)

    def _mount(self, volume: Mapping[str, Any]) -> Mount:
        read_only, target = volume.get("read_only", False), volume["target"]
        if volume["type"] == "bind":
            return Mount(Path(volume["source"]), target, read_only)
        folder = self._folder / "volumes" / volume["source"]
        if not folder.exists():
            folder.mkdir(parents=True)
            if owner := self._find_owner(volume["source"]):
                os.chown(folder, owner, owner)
                folder.chmod(0o700)
        return Mount(folder, target, read_only)

    def _find_owner(self, source: str) -> int:
        """Return whose a new volume is: the folder's on which it is mounted in an image that has one; else root's."""
        for service in self.services.values():
            for volume in service.get("volumes", ()):
                if volume["source"] == source and not volume.get("volume", {}).get("nocopy"):
                    return self._image(service).owned.get(volume["target"], 0)
        return 0


def _name_of(image: str) -> str:
    return image.partition("@")[0].rpartition(":")[0]
