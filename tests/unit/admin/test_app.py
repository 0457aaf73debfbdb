# SPDX-License-Identifier: Apache-2.0
"""What operators are told, over a real socket."""

import json
from collections.abc import AsyncIterator, Sequence

import msgspec
import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from proxy.admin.app import make_admin
from proxy.model.readiness import Readiness
from proxy.telemetry import Metrics
from tests.support.admin import Listener, serve_pages

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
DETAIL = {
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
    "tls_doubts": [],
    "stopping": False,
}


class Gateway:
    """What is asked whether it is ready, and changes its mind."""

    def __init__(self) -> None:
        self.state = READY
        self.metrics = Metrics()
        self.apis: dict[str, Sequence[str]] = {"users": ()}

    async def ask_api(self, api: str) -> Sequence[str] | None:
        return self.apis.get(api)


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest_asyncio.fixture
async def listener(gateway: Gateway) -> AsyncIterator[Listener]:
    find = make_admin(lambda: gateway.metrics.registry, lambda: gateway.state, gateway.ask_api)
    async with serve_pages(find) as listener:
        yield listener


async def test_livez_is_alive_whether_it_is_ready_or_not(listener: Listener, gateway: Gateway) -> None:
    gateway.state = msgspec.structs.replace(READY, ready=False)
    told = await listener.ask("/livez")
    assert (told.status, json.loads(told.body)) == (200, {"alive": True})


async def test_readyz_says_all_of_it(listener: Listener) -> None:
    told = await listener.ask("/readyz")
    assert (told.status, told.fields["content-type"]) == (200, "application/json")
    assert json.loads(told.body) == {"ready": True, **DETAIL}


WHY_NOT = {
    "no keys": ({"issuers_without_keys": ["corp"]}, "Nobody's token can be verified: there are no keys of corp."),
    "stopping": ({"stopping": True}, "It is stopping: requests under way end, and no others are taken."),
    "workers": ({"issuers_without_keys": []}, "Workers are missing or not ready: they are listed."),
}


@pytest.mark.parametrize(("changes", "why_not"), WHY_NOT.values(), ids=WHY_NOT.keys())
async def test_who_is_not_ready_says_why_and_all_of_it_still(
    listener: Listener, gateway: Gateway, changes: dict[str, object], why_not: str
) -> None:
    gateway.state = msgspec.structs.replace(READY, ready=False, **changes)
    told = await listener.ask("/readyz")
    assert told.status == 503
    assert told.problem == {
        "type": "urn:sekisho:admin:not-ready", "title": "Not ready", "status": 503, "detail": why_not, "ready": False,
        **DETAIL, **changes,
    }  # fmt: skip


async def test_readyz_is_asked_anew_each_time(listener: Listener, gateway: Gateway) -> None:
    assert (await listener.ask("/readyz")).status == 200
    gateway.state = msgspec.structs.replace(READY, ready=False)
    assert (await listener.ask("/readyz")).status == 503


async def test_metrics_are_those_of_the_gateway_in_the_text_format(listener: Listener, gateway: Gateway) -> None:
    gateway.metrics.refusals.count("403", "rule-denies")
    told = await listener.ask("/metrics")
    families = {family.name: family for family in text_string_to_metric_families(told.body.decode())}
    assert told.fields["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert [s.value for s in families["sekisho_refusals"].samples if s.name.endswith("_total")] == [1]
    assert all(name.startswith("sekisho_") for name in families)


async def test_metrics_that_cannot_be_told_are_a_problem(listener: Listener, gateway: Gateway) -> None:
    def fail() -> float:
        raise ZeroDivisionError

    gateway.metrics.passages.set_function(fail)
    told = await listener.ask("/metrics")
    assert told.problem == {
        "type": "about:blank", "title": "Internal Server Error", "status": 500,
        "detail": "A defect: the gateway's log says where.",
    }  # fmt: skip
    assert (await listener.ask("/livez")).status == 200


async def test_an_api_is_asked_and_what_is_wrong_is_told(listener: Listener, gateway: Gateway) -> None:
    assert json.loads((await listener.ask("/apis/users/health")).body) == {"healthy": True}
    gateway.apis["users"] = ("users: it answers 500", "users/JP: no connection: Connection refused")
    told = await listener.ask("/apis/users/health")
    assert told.status == 503
    assert told.problem == {
        "type": "urn:sekisho:admin:api-unhealthy", "title": "The API is not healthy", "status": 503, "healthy": False,
        "detail": "users: it answers 500; users/JP: no connection: Connection refused",
    }  # fmt: skip


async def test_an_api_that_nobody_knows_is_not_echoed(listener: Listener) -> None:
    told = await listener.ask("/apis/usres/health")
    assert told.status == 404
    assert told.problem["detail"] == "No such API is declared, or SEKISHO_UPSTREAM_HEALTH names no path of it."


@pytest.mark.parametrize(
    "path",
    ["/", "/livez/", "/metrics/x", "/debug", "/..%2fmetrics", "/apis", "/apis/users", "/apis//health",
     "/apis/users/health/", "/apis/users/JP/health", "/apis/users%2fhealth"],
)  # fmt: skip
async def test_nothing_else_is_served(listener: Listener, path: str) -> None:
    told = await listener.ask(path)
    assert (told.status, told.problem["detail"]) == (404, "Nothing is served at this path.")


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/apis/users/health"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_nothing_can_be_changed(listener: Listener, method: str, path: str) -> None:
    told = await listener.ask(path, method)
    assert (told.status, told.fields["allow"], told.problem["title"]) == (405, "GET, HEAD", "Method Not Allowed")
