# SPDX-License-Identifier: Apache-2.0
"""A running gateway, an API that checks as docs/assertion.md says, and those who would go round the gateway."""

import asyncio
import os
import shutil
from pathlib import Path
from typing import Any, Final

import aiohttp
import jwt
import pytest
from aiohttp import web

from proxy.assertion.keys import AssertionKey
from proxy.cli import main
from proxy.clock import unix_seconds
from proxy.errors import UsageError
from tests.support.assertion_page import Verifier
from tests.support.assertions import KEY, NEXT, write_assertion_keys
from tests.support.world import POLICIES, World, exchange, headers, run_world, serve_raw, token

PLACE: Final = f"127.0.0.2:{20_000 + os.getpid() % 12_000}"
"""Where this process serves public keys: below the ports that the kernel gives away."""
TARGET: Final = "/v1/jp/users/42?full=1"


class CheckingApi:
    """An API that answers nobody without an assertion; it lives behind a wire, and is asked what it saw."""

    def __init__(self, *, by_request: bool = False) -> None:
        self.verifier = Verifier(f"http://{PLACE}/.well-known/jwks.json")
        self.by_request = by_request
        self.tokens: list[str] = []
        self.claims: list[dict[str, Any]] = []

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        found = request.headers.getall("Sekisho-Assertion", [])
        if len(found) != 1:
            return web.Response(status=401)
        try:
            claims = await asyncio.to_thread(self.check, found[0], request)
        except jwt.PyJWTError:
            return web.Response(status=401)
        self.tokens.append(found[0])
        self.claims.append(claims)
        return web.json_response({})

    def check(self, found: str, request: web.BaseRequest) -> dict[str, Any]:
        if self.by_request:
            return self.verifier.check_request(found, request.method, request.raw_path.encode())
        return self.verifier.check(found)


def policies(folder: Path, mode: str) -> Path:
    """Return a copy of the reference policies, with this mode declared by its API."""
    copy = shutil.copytree(POLICIES, folder / "policies")
    path = next(path for path in copy.rglob("*.yaml") if "\napis:" in path.read_text(encoding="utf-8"))
    text = path.read_text(encoding="utf-8")
    assert text.count("    upstreams:") == 1
    path.write_text(text.replace("    upstreams:", f"    assertion: {mode}\n    upstreams:"), encoding="utf-8")
    return copy


def signing(folder: Path, *more: AssertionKey) -> dict[str, Any]:
    """Return the settings of a gateway that signs and serves its public keys."""
    return {"assertion_key": write_assertion_keys(folder / "assertion.key", *more), "assertion_jwks_listen": PLACE}


async def get(world: World, target: str = TARGET, **more: str) -> int:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{world.url}{target}", headers={**headers(), "Host": "users.internal", **more}) as answer,
    ):
        return answer.status


async def test_an_api_that_checks_answers_through_the_gateway_and_nobody_else(tmp_path: Path) -> None:
    api = CheckingApi()
    async with serve_raw(api.serve) as upstream, run_world(tmp_path, upstream, **signing(tmp_path)) as world:
        assert [await get(world), await get(world, "/v1/jp/users/43")] == [200, 200]
        first, second = api.tokens
        assert first == second, "signed once for a caller and a route"
        claims = api.claims[0]
        assert (claims["aud"], claims["affiliate"], claims["effect"]) == ("users", "ly", "allow")
        assert claims["bundle"] == world.records("bundle")[0]["bundle"]
        assert await asyncio.to_thread(main, ["probe", "--url", f"users={upstream}"]) == 0, "it refuses the canary"
        async with aiohttp.ClientSession() as session:
            for fields in ({}, {"Authorization": f"Bearer {token()}"}, {"Sekisho-Assertion": token()}):
                async with session.get(f"{upstream}{TARGET}", headers=fields) as answer:
                    assert answer.status == 401
        written = [path.read_text("utf-8", "replace") for path in world.ledger.rglob("*") if path.is_file()]
        assert any(claims["bundle"] in text for text in written), "there are records"
        assert not any(first.split(".")[2] in text for text in written), "and no assertion in them"


async def test_a_caller_cannot_write_one(tmp_path: Path) -> None:
    api = CheckingApi()
    async with serve_raw(api.serve) as upstream, run_world(tmp_path, upstream, **signing(tmp_path)) as world:
        assert await get(world, **{"Sekisho-Assertion": "forged"}) == 200
        lines = [f"{name}: {value}" for name, value in {**headers(), "Host": "users.internal"}.items()]
        answer = await exchange(world, f"GET {TARGET} HTTP/1.1", *lines, "sekisho_assertion: a", "SEKISHO-ASSERTION: b")
        assert answer.status == 200


async def test_by_request_it_is_worth_nothing_for_another_one(tmp_path: Path) -> None:
    api = CheckingApi(by_request=True)
    folder = policies(tmp_path, "request")
    async with (
        serve_raw(api.serve) as upstream,
        run_world(tmp_path, upstream, policies=folder, **signing(tmp_path)) as world,
    ):
        assert await get(world) == 200
        assert await get(world) == 200
        assert api.claims[0]["decision"] == world.decisions()[0]["id"]
        assert api.claims[0]["decision"] != api.claims[1]["decision"]
        stolen = {"Sekisho-Assertion": api.tokens[0]}
        async with aiohttp.ClientSession() as session:
            for method, target in (("GET", "/v1/jp/users/43"), ("GET", "/v1/jp/users/42"), ("PUT", TARGET)):
                async with session.request(method, f"{upstream}{target}", headers=stolen) as answer:
                    assert answer.status == 401, "another target, no query, another method"


async def test_a_new_key_is_published_then_signs_without_a_restart(tmp_path: Path) -> None:
    api = CheckingApi()
    async with serve_raw(api.serve) as upstream, run_world(tmp_path, upstream, **signing(tmp_path)) as world:
        assert await get(world) == 200
        to_come = AssertionKey(unix_seconds() + 1000, NEXT.algorithm, bytes.fromhex(NEXT.render().split()[2]))
        write_assertion_keys(tmp_path / "assertion.key", to_come)
        world.poke()
        published: set[str] = set()
        async with aiohttp.ClientSession() as session:
            while published != {KEY.id, NEXT.id}:
                async with session.get(f"http://{PLACE}/.well-known/jwks.json") as answer:
                    published = {key["kid"] for key in (await answer.json(content_type=None))["keys"]}
                await asyncio.sleep(0.005)
        assert await get(world) == 200
        assert jwt.get_unverified_header(api.tokens[-1])["kid"] == KEY.id, "it is only published yet"
        api.verifier = Verifier(f"http://{PLACE}/.well-known/jwks.json")  # what it had of the keys is too old by then
        write_assertion_keys(tmp_path / "assertion.key", NEXT)
        world.poke()

        async def signer() -> str:
            assert await get(world) == 200
            return str(jwt.get_unverified_header(api.tokens[-1])["kid"])

        while await signer() != NEXT.id:
            await asyncio.sleep(0.005)


async def test_a_file_that_became_readable_to_others_is_told_and_the_last_good_keys_sign(tmp_path: Path) -> None:
    api = CheckingApi()
    async with serve_raw(api.serve) as upstream, run_world(tmp_path, upstream, **signing(tmp_path)) as world:
        (tmp_path / "assertion.key").chmod(0o644)
        world.poke()
        doubts: list[str] = []
        async with aiohttp.ClientSession() as session:
            while not doubts:
                async with session.get(f"{world.admin}/readyz") as answer:
                    doubts = (await answer.json())["assertion_doubts"]
                await asyncio.sleep(0.005)
        assert "open to others" in doubts[0]
        assert await get(world) == 200


@pytest.mark.parametrize("mode", ["caller", "request"])
async def test_a_bundle_that_declares_what_nothing_can_sign_is_not_put_in_force(tmp_path: Path, mode: str) -> None:
    with pytest.raises(UsageError, match=f"declares `assertion: {mode}`, and no key is there"):
        async with run_world(tmp_path, "http://127.0.0.1:1", policies=policies(tmp_path, mode)):
            pytest.fail("it runs")
    assert not (tmp_path / "ledger").exists(), "that was found before anything was begun"


async def test_a_reload_to_what_nothing_can_sign_keeps_what_is_in_force(tmp_path: Path) -> None:
    folder = policies(tmp_path, "off")
    path = next(path for path in folder.rglob("*.yaml") if "    assertion: off" in path.read_text(encoding="utf-8"))

    async def serve(_request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({})

    async with serve_raw(serve) as upstream, run_world(tmp_path, upstream, policies=folder) as world:
        path.write_text(path.read_text("utf-8").replace("assertion: off", "assertion: caller"), encoding="utf-8")
        world.poke()
        stale: list[str] = []
        async with aiohttp.ClientSession() as session:
            while not stale:
                async with session.get(f"{world.admin}/readyz") as answer:
                    stale = (await answer.json())["stale"]
                await asyncio.sleep(0.02)
        assert any("declares `assertion: caller`, and no key is there" in why for why in stale)
        assert await get(world) == 200
        assert len(world.records("bundle")) == 1
