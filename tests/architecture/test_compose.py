# SPDX-License-Identifier: Apache-2.0
"""What the compose file names exists, fits together, and is as hardened as it says; its services run in tests/e2e."""

import json
import re
from collections import Counter
from ipaddress import IPv4Address, IPv4Network, ip_network
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from deploy.validation.compose import SHAPES, find_unknown
from proxy.cli import _make_parser
from proxy.settings import PREFIX, Settings, parse_endpoint, read_settings
from proxy.version import VERSION
from tests.support.compose import UPSTREAM_IMAGES, read_compose
from tests.support.world import POLICIES

ROOT: Final = Path(__file__).parents[2]
COMPOSE: Final = ROOT / "deploy" / "compose" / "compose.yaml"
GRAFANA: Final = ROOT / "deploy" / "grafana"
PROVISIONING: Final = GRAFANA / "provisioning"
DOCUMENT: Final = read_compose(COMPOSE)
SERVICES: Final[dict[str, dict[str, Any]]] = DOCUMENT["services"]
OURS: Final = {name: service for name, service in SERVICES.items() if "build" in service}
BY_NAME = pytest.mark.parametrize("name", SERVICES)


def _read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))  # noqa: TID251 - a file of ours


def _targets(config: dict[str, Any]) -> dict[str, list[str]]:
    return {
        job["job_name"]: [each for group in job["static_configs"] for each in group["targets"]]
        for job in config["scrape_configs"]
    }


def _owner(name: str) -> str:
    """Return whose network a service is in."""
    return str(SERVICES[name].get("network_mode", name).removeprefix("service:"))


@BY_NAME
def test_every_service_is_hardened(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"].split(":")[0] not in {"0", "root"}
    assert not service.keys() & {"privileged", "cap_add", "pid", "ipc", "devices"}
    assert service.get("network_mode") != "host"
    assert not any("docker.sock" in str(volume) for volume in service.get("volumes", ()))


@BY_NAME
def test_every_image_is_pinned_by_a_tag(name: str) -> None:
    image, _, tag = SERVICES[name]["image"].partition("@")[0].rpartition(":")
    assert tag not in {"", "latest"}
    assert image in {"sekisho", "grafana/grafana", *UPSTREAM_IMAGES}
    if name in OURS:
        assert (image, tag) == ("sekisho", VERSION)


@BY_NAME
def test_every_service_is_asked_for_its_health_or_ends(name: str) -> None:
    service = SERVICES[name]
    if service["healthcheck"].get("disable"):
        assert service["restart"] == "no"
    else:
        assert service["healthcheck"]["test"][0] == "CMD"
        assert service["restart"] == "unless-stopped"


@BY_NAME
def test_what_is_mounted_from_the_checkout_exists_and_is_read_only(name: str) -> None:
    for volume in SERVICES[name].get("volumes", ()):
        if volume["type"] == "bind":
            source = Path(volume["source"])
            assert source.exists()
            assert source.is_relative_to(ROOT)
            assert volume["read_only"] is True


def test_ports_are_published_on_loopback_and_do_not_clash() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}
    assert [port for port, count in Counter(port["published"] for port in ports).items() if count > 1] == []


@pytest.mark.parametrize(
    "name", [name for name in OURS if "entrypoint" not in OURS[name] or not OURS[name]["entrypoint"]]
)
def test_every_command_of_ours_can_be_parsed(name: str) -> None:
    options = _make_parser().parse_args(SERVICES[name].get("command") or ["run"])
    if listen := getattr(options, "listen", None):
        parse_endpoint(listen, "--listen")


@pytest.mark.parametrize("name", OURS)
def test_every_setting_exists_and_can_be_used(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {key: value for key, value in SERVICES[name].get("environment", {}).items() if key.startswith(PREFIX)}
    for key, value in variables.items():
        assert key.removeprefix(PREFIX).lower() in Settings.model_fields
        monkeypatch.setenv(key, value)
    settings = read_settings()
    for url in [*settings.upstream.values(), *settings.lookup.values(), *settings.jwks.values()]:
        host, port = re.fullmatch(r"https?://([a-z-]+):(\d+)(?:/.*)?", str(url)).groups()  # type: ignore[union-attr]
        assert _listens(host) == int(port), url
        assert set(SERVICES[host]["networks"]) & set(SERVICES["gateway"]["networks"])


def _listens(name: str) -> int:
    command = SERVICES[name]["command"]
    return parse_endpoint(command[command.index("--listen") + 1], "--listen")[1]


def test_the_gateway_finds_everything_that_the_bundle_names_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in SERVICES["gateway"]["environment"].items():
        if key.startswith(PREFIX):
            monkeypatch.setenv(key, value)
    settings = read_settings()
    assert settings.jwks.keys() == {issuer["id"] for issuer in _read(POLICIES / "issuers.yaml")["issuers"]}
    assert settings.lookup.keys() == {lookup["id"] for lookup in _read(POLICIES / "lookups.yaml")["lookups"]}
    places = {
        api["id"] if place == "default" else f"{api['id']}/{place}"
        for api in _read(POLICIES / "apis" / "users.yaml")["apis"]
        for place in api["upstreams"]
    }
    assert settings.upstream.keys() == places
    assert (
        SERVICES["probe"]["environment"]["SEKISHO_UPSTREAM"] == SERVICES["gateway"]["environment"]["SEKISHO_UPSTREAM"]
    )


def test_networks_of_callers_are_those_of_the_policies() -> None:
    declared = {
        each["id"]: [ip_network(cidr) for cidr in each["cidr"]]
        for each in _read(POLICIES / "networks.yaml")["networks"]
    }
    networks = {name: _subnet(name) for name in DOCUMENT["networks"] if name in declared}
    assert networks.keys() == declared.keys()
    for name, subnet in networks.items():
        assert subnet is not None
        assert any(subnet.subnet_of(cidr) for cidr in declared[name])
        assert f"gateway.{name}" in SERVICES["gateway"]["networks"][name]["aliases"]
        assert f"{name}=http://gateway.{name}:8080" in SERVICES["caller"]["command"]


def _subnet(name: str) -> Any:
    (config,) = DOCUMENT["networks"][name]["ipam"].get("config") or [{}]
    return ip_network(config["subnet"]) if config else None


def test_no_two_networks_have_the_same_addresses() -> None:
    subnets = [subnet for name in DOCUMENT["networks"] if (subnet := _subnet(name)) is not None]
    assert not any(a.overlaps(b) for number, a in enumerate(subnets) for b in subnets[:number])


def test_the_apis_are_reached_by_the_gateway_alone() -> None:
    apis = {"api-japan", "api-korea", "directory"}
    assert all(list(SERVICES[name]["networks"]) == ["apis"] for name in apis)
    assert {name for name, service in SERVICES.items() if "apis" in service.get("networks", {})} == apis | {"gateway"}
    assert DOCUMENT["networks"]["apis"]["internal"] is True
    assert not any(SERVICES[name].get("ports") for name in apis)


def test_the_admin_listener_is_where_callers_are_not() -> None:
    host, port = parse_endpoint(SERVICES["gateway"]["environment"]["SEKISHO_ADMIN"], "")
    assert port not in {each["target"] for each in SERVICES["gateway"]["ports"]}
    assert SERVICES["gateway"]["networks"]["watch"]["ipv4_address"] == host
    assert IPv4Address(host) in _subnet("watch")
    (config,) = DOCUMENT["networks"]["watch"]["ipam"]["config"]
    assert IPv4Address(host) not in IPv4Network(config["ip_range"]), "another service could be given it"
    assert "watch" not in SERVICES["caller"]["networks"]


def test_prometheus_scrapes_services_of_the_file_as_the_shipped_example_does() -> None:
    ours = _read(COMPOSE.with_name("prometheus.yml"))
    shipped = _read(ROOT / "deploy" / "prometheus" / "prometheus.yml")
    assert _targets(ours) == {"sekisho": ["gateway:9090"], "sekisho-probe": [f"probe:{_listens('probe')}"]}
    assert _targets(ours).keys() == _targets(shipped).keys()
    assert ours["rule_files"] == shipped["rule_files"]
    for each in ("gateway", "probe", "alertmanager"):
        assert "watch" in SERVICES[each]["networks"], each
    assert parse_endpoint(SERVICES["gateway"]["environment"]["SEKISHO_ADMIN"], "")[1] == 9090
    (group,) = ours["alerting"]["alertmanagers"][0]["static_configs"]
    assert group["targets"] == ["alertmanager:9093"]
    assert SERVICES["grafana"]["environment"]["PROMETHEUS_INTERVAL"] == ours["global"]["scrape_interval"]


def test_alertmanager_tells_the_receiver() -> None:
    shipped = _read(ROOT / "deploy" / "prometheus" / "alertmanager.yml")
    urls = [hook["url"] for receiver in shipped["receivers"] for hook in receiver["webhook_configs"]]
    assert _owner("receiver") == "alertmanager"
    assert {url.rpartition("/")[0] for url in urls} == {f"http://127.0.0.1:{_listens('receiver')}"}
    assert {str(port["target"]) for port in SERVICES["alertmanager"]["ports"]} == {"9093", str(_listens("receiver"))}


def test_grafana_finds_what_provisions_it() -> None:
    mounted = {volume["target"]: Path(volume["source"]) for volume in SERVICES["grafana"]["volumes"]}
    for kind in ("datasources", "dashboards", "alerting"):
        assert mounted[f"/etc/grafana/provisioning/{kind}"] == PROVISIONING / kind
    (provider,) = _read(PROVISIONING / "dashboards" / "sekisho.yaml")["providers"]
    assert mounted[provider["options"]["path"]] == GRAFANA / "dashboards"


def test_every_variable_of_the_provisioning_is_set_and_every_one_that_is_set_is_used() -> None:
    files = [
        PROVISIONING / "datasources" / "sekisho.yaml",
        PROVISIONING / "dashboards" / "sekisho.yaml",
        PROVISIONING / "alerting" / "notifications.yaml",
    ]
    named = {name for path in files for name in re.findall(r"(?m)^[^#]*?\$(\w+)", path.read_text(encoding="utf-8"))}
    environment = SERVICES["grafana"]["environment"]
    assert named == {name for name in environment if not name.startswith("GF_")}
    for name in named - {"PROMETHEUS_INTERVAL"}:
        host, port = re.fullmatch(r"http://([a-z]+):(\d+)", environment[name]).groups()  # type: ignore[union-attr]
        assert set(SERVICES[host]["networks"]) & set(SERVICES["grafana"]["networks"])
        assert int(port) in {each["target"] for each in SERVICES[host]["ports"]}


def test_dashboards_and_alerts_ask_for_a_data_source_that_there_is() -> None:
    provided = {
        each["uid"]: each["type"] for each in _read(PROVISIONING / "datasources" / "sekisho.yaml")["datasources"]
    }
    assert provided == {"prometheus": "prometheus", "alertmanager": "alertmanager"}
    for path in (GRAFANA / "dashboards").glob("*.json"):
        (chosen,) = (v for v in json.loads(path.read_text("utf-8"))["templating"]["list"] if v["type"] == "datasource")
        assert (chosen["query"], chosen["current"]["value"]) == ("prometheus", "prometheus")
    asked = re.findall(r"datasourceUid: (\S+)", (PROVISIONING / "alerting" / "sekisho.yaml").read_text("utf-8"))
    assert set(asked) == {"prometheus", "__expr__"}


def test_nobody_is_paged_twice() -> None:
    """Alertmanager tells; Grafana's policies are as Alertmanager's, and each of them is muted, always."""
    document = _read(PROVISIONING / "alerting" / "notifications.yaml")
    (mute,) = document["muteTimes"]
    assert mute["time_intervals"] == [{"weekdays": ["sunday:saturday"]}]
    (root,) = document["policies"]
    assert "mute_time_intervals" not in root, "Grafana does not let its first policy be muted"
    *_, last = root["routes"]
    assert last["object_matchers"] == [["alertname", "=~", ".+"]], "whatever no other policy takes"
    routes = [*root["routes"], *(below for route in root["routes"] for below in route.get("routes", ()))]
    assert all(route["mute_time_intervals"] == [mute["name"]] for route in routes)


def test_grafana_would_tell_whom_alertmanager_tells() -> None:
    shipped = _read(ROOT / "deploy" / "prometheus" / "alertmanager.yml")
    document = _read(PROVISIONING / "alerting" / "notifications.yaml")
    assert {each["name"] for each in document["contactPoints"]} == {each["name"] for each in shipped["receivers"]}
    (theirs,), (ours, _) = shipped["route"]["routes"], document["policies"][0]["routes"]
    for there, here in ((theirs, ours), *zip(theirs["routes"], ours["routes"], strict=True)):
        assert [" ".join(matcher) for matcher in here["object_matchers"]] == there["matchers"]
        for key in ("receiver", "group_by", "group_wait", "group_interval", "repeat_interval"):
            assert key not in there or here[key] == there[key], key
    for point in document["contactPoints"]:
        (receiver,) = point["receivers"]
        (hook,) = next(each for each in shipped["receivers"] if each["name"] == point["name"])["webhook_configs"]
        assert receiver["settings"]["url"].rpartition("/")[2] == hook["url"].rpartition("/")[2]
        assert receiver.get("disableResolveMessage", False) is not hook.get("send_resolved", True)


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ({"datasources": [{"uuid": "prometheus"}]}, ".datasources[0].uuid"),
        ({"policies": [{"routes": [{"mute_timings": []}]}]}, ".policies[0].routes[0].mute_timings"),
        ({"providers": [{"options": {"paths": "/"}}]}, ".providers[0].options.paths"),
        ({"apiversion": 1}, ".apiversion"),
    ],
    ids=["of an entry", "of an entry of an entry", "of a mapping", "of the file"],
)
def test_a_key_that_grafana_passes_over_is_found(content: object, place: str) -> None:
    (problem,) = find_unknown(content, SHAPES, "")
    assert problem.startswith(f"{place}: Grafana knows no such key")
