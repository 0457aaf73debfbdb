# SPDX-License-Identifier: Apache-2.0
"""Callers of a gateway elsewhere."""

from ipaddress import ip_address, ip_network

import aiohttp
import jwt
import pytest
import yaml

from proxy.demo.calls import NETWORKS, Answered, call, fetch_token, list_scenes
from proxy.demo.issuer import Issuer, make_issuer_app
from proxy.demo.story import PEOPLE, STORY
from proxy.errors import FetchError
from tests.support.world import POLICIES, serve_app

CORP = Issuer("https://idp.ly.example")


def test_each_address_is_in_the_network_that_is_named() -> None:
    document = yaml.safe_load((POLICIES / "networks.yaml").read_text(encoding="utf-8"))  # noqa: TID251 - a file of ours
    declared = {entry["id"]: entry["cidr"] for entry in document["networks"]}
    assert set(NETWORKS.values()) == declared.keys()
    for address, name in NETWORKS.items():
        assert any(ip_address(address) in ip_network(cidr) for cidr in declared[name])


def test_scenes_play_where_they_begin_and_nowhere_else() -> None:
    played = list_scenes({"tokyo-vpn": "http://gateway"})
    assert {network for network, _ in played} == {"tokyo-vpn"}
    assert "A Shanghai subsidiary's engineer, through the Tokyo VPN" in {scene.title for _, scene in played}
    everywhere = list_scenes(dict.fromkeys(NETWORKS.values(), "http://gateway"))
    assert {scene.status for _, scene in everywhere} >= {200, 204, 400, 401, 403, 404, 405}
    assert len(everywhere) == sum(s.forwarded_for in NETWORKS and s.token == "good" for s in STORY)


async def test_a_token_is_of_who_is_named_and_of_nobody_else() -> None:
    async with serve_app(make_issuer_app({"corp": CORP}, PEOPLE)) as url, aiohttp.ClientSession() as session:
        token = await fetch_token(session, url, "wang")
        claims = jwt.decode(token, options={"verify_signature": False})
        assert (claims["sub"], claims["affiliate"]) == ("wang", "shanghai-digital")
        with pytest.raises(FetchError, match="knows nobody called 'zhang'"):
            await fetch_token(session, url, "zhang")


async def test_an_issuer_without_people_gives_no_tokens() -> None:
    async with serve_app(make_issuer_app({"corp": CORP})) as url, aiohttp.ClientSession() as session:
        assert (await call(session, f"{url}/tokens/wang")).status == 404


async def test_who_is_not_there_is_named() -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(FetchError, match=r"no answer from http://127\.0\.0\.1:1/x: ClientConnectorError"):
            await call(session, "http://127.0.0.1:1/x")


@pytest.mark.parametrize(
    ("answered", "reason"),
    [
        (Answered(403, b'{"reason": "rule-denies", "rule": "jp-no-china"}', "1"), "jp-no-china"),
        (Answered(401, b'{"reason": "token-missing"}', "1"), "token-missing"),
        (Answered(200, b'{"reason": "x"}', "1"), ""),
        (Answered(502, b"<html>", ""), ""),
        (Answered(404, b"[]", ""), ""),
    ],
    ids=["a rule", "a reason", "no refusal", "not of the gateway", "a list"],
)
def test_the_reason_is_what_the_gateway_tells(answered: Answered, reason: str) -> None:
    assert answered.reason == reason
