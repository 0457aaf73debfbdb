# SPDX-License-Identifier: Apache-2.0
"""The operator's listener: three paths, read-only, over a real socket."""

from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.parser import text_string_to_metric_families

from proxy.admin.app import make_admin
from proxy.model.readiness import Readiness
from proxy.telemetry import Metrics

READY = Readiness(
    ready=True,
    bundle="line-2021",
    policy="sha256:p",
    registers="sha256:r",
    mode="observe",
    observe_until="2026-01-01T00:00:00.000Z",
    issuers_without_keys=("naver-sso",),
    geolocation="registry data",
    emergency_denies=("emergency.cut-off",),
    stale=("rules.yaml:1:1: no YAML",),
    geolocation_doubts=("the country database is too old",),
)

Client = TestClient[web.Request, web.Application]


class Gateway:
    """What is asked whether it is ready, and changes its mind."""

    def __init__(self) -> None:
        self.state = READY
        self.metrics = Metrics()


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest_asyncio.fixture
async def client(gateway: Gateway) -> AsyncIterator[Client]:
    async with TestClient(TestServer(make_admin(lambda: gateway.metrics.registry, lambda: gateway.state))) as client:
        yield client


async def test_livez_is_alive_whether_it_is_ready_or_not(client: Client, gateway: Gateway) -> None:
    gateway.state = msgspec.structs.replace(READY, ready=False)
    response = await client.get("/livez")
    assert (response.status, await response.json()) == (200, {"alive": True})


@pytest.mark.parametrize(("ready", "status"), [(True, 200), (False, 503)], ids=["ready", "not ready"])
async def test_readyz_says_all_of_it_and_the_status_says_it_to_machines(
    client: Client, gateway: Gateway, ready: bool, status: int  # noqa: FBT001
) -> None:  # fmt: skip
    gateway.state = msgspec.structs.replace(READY, ready=ready)
    response = await client.get("/readyz")
    assert (response.status, response.content_type) == (status, "application/json")
    assert await response.json() == {
        "ready": ready,
        "bundle": "line-2021",
        "policy": "sha256:p",
        "registers": "sha256:r",
        "mode": "observe",
        "observe_until": "2026-01-01T00:00:00.000Z",
        "issuers_without_keys": ["naver-sso"],
        "geolocation": "registry data",
        "emergency_denies": ["emergency.cut-off"],
        "stale": ["rules.yaml:1:1: no YAML"],
        "geolocation_doubts": ["the country database is too old"],
        "pseudonym_doubts": [],
        "assertion_doubts": [],
    }


async def test_readyz_is_asked_anew_each_time(client: Client, gateway: Gateway) -> None:
    assert (await client.get("/readyz")).status == 200
    gateway.state = msgspec.structs.replace(READY, ready=False)
    assert (await client.get("/readyz")).status == 503


async def test_metrics_are_those_of_the_gateway_in_the_text_format(client: Client, gateway: Gateway) -> None:
    gateway.metrics.refusals.count("403", "rule-denies")
    response = await client.get("/metrics")
    families = {family.name: family for family in text_string_to_metric_families(await response.text())}
    assert response.headers["Content-Type"].startswith("text/plain; version=")
    assert [s.value for s in families["sekisho_refusals"].samples if s.name.endswith("_total")] == [1]
    assert all(name.startswith("sekisho_") for name in families)


@pytest.mark.parametrize("path", ["/", "/livez/", "/metrics/x", "/debug", "/..%2fmetrics"])
async def test_nothing_else_is_served(client: Client, path: str) -> None:
    assert (await client.get(path)).status == 404


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_nothing_can_be_changed(client: Client, method: str, path: str) -> None:
    assert (await client.request(method, path)).status == 405
