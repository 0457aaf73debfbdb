# SPDX-License-Identifier: Apache-2.0
"""The receiver of alerts over a real socket."""

import json

import pytest
from aiohttp.test_utils import TestClient, TestServer

from proxy.demo.receiver import KEPT, create_receiver

ALERT = {
    "status": "firing",
    "labels": {"alertname": "Denied", "severity": "warning", "caller_affiliate": "shanghai-digital"},
    "annotations": {"summary": "Denied: somebody"},
}
LINE = 'security-team <- firing warning Denied: Denied: somebody {"caller_affiliate": "shanghai-digital"}'


async def test_each_alert_is_told_on_a_line_and_shown_afterwards() -> None:
    told: list[str] = []
    async with TestClient(TestServer(create_receiver(told.append))) as client:
        assert await (await client.get("/")).text() == "Nobody was alerted yet.\n"
        message = {"receiver": "security-team", "alerts": [ALERT, ALERT | {"status": "resolved"}]}
        assert (await client.post("/security-team", json=message)).status == 204
        assert told == [LINE, LINE.replace("firing", "resolved")]
        assert await (await client.get("/")).text() == "".join(f"{line}\n" for line in told)


async def test_only_the_latest_are_kept() -> None:
    async with TestClient(TestServer(create_receiver(lambda _: None))) as client:
        await client.post("/x", json={"receiver": "x", "alerts": [ALERT] * (KEPT + 5)})
        assert len((await (await client.get("/")).text()).splitlines()) == KEPT


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"receiver": "x", "alerts": [{}]}', b'{"receiver": "x", "alerts": [1]}', b"[" * 100_000],
    ids=["nothing", "a list", "no alerts", "an alert without labels", "an alert that is a number", "too deep"],
)
async def test_what_is_no_message_is_refused(body: bytes) -> None:
    told: list[str] = []
    async with TestClient(TestServer(create_receiver(told.append))) as client:
        response = await client.post("/x", data=body)
        assert (response.status, response.content_type) == (400, "application/problem+json")
        assert "webhook" in json.loads(await response.read())["detail"]
    assert told == []
