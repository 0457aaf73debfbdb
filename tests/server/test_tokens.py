# SPDX-License-Identifier: Apache-2.0
"""Tokens on real sockets: discovered keys that rotate and fail, issuers that are asked, cookies, revocations."""

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from aiohttp import web

from proxy.clock import unix_seconds
from proxy.demo.issuer import Issuer
from proxy.errors import SekishoError
from tests.support.ledger import read_raw
from tests.support.world import OFFICE, STAFF, Handler, World, run_world, serve_raw, wait_for

USER: Final = "/v1/jp/users/42"


class Provider:
    """An identity provider of the test's own: metadata, keys, introspection."""

    def __init__(self) -> None:
        self.url = ""
        self.issuer = Issuer("")
        self.published: list[Any] = []
        self.is_down = False
        self.active: Any = True
        self.asked: list[str] = []

    def begin(self, url: str) -> None:
        self.url = url
        self.rotate("key-1")

    def rotate(self, key_id: str, *, keep: bool = False) -> None:
        self.issuer = Issuer(self.url, key_id=key_id)
        self.published = [*(self.published if keep else []), *self.issuer.key_set()["keys"]]

    def token(self, **claims: Any) -> str:
        return self.issuer.token(unix_seconds(), **{**STAFF, "jti": "t1", **claims})

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(request.path)
        if self.is_down:
            return web.Response(status=503)
        if request.path == "/keys":
            return web.json_response({"keys": self.published})
        if request.path == "/introspect":
            return web.json_response({"active": self.active})
        return web.json_response({"issuer": self.url, "jwks_uri": f"{self.url}/keys"})


async def _api(request: web.BaseRequest) -> web.StreamResponse:
    return web.json_response({"cookie": request.headers.get("Cookie"), "token": "Authorization" in request.headers})


@contextlib.asynccontextmanager
async def a_world(
    folder: Path, provider: Provider, says: str = "", revoked: str = "", api: Handler = _api, **flags: Any
) -> AsyncIterator[tuple[World, Path]]:
    policies = folder / "policies"
    shutil.copytree(Path(__file__).parents[2] / "policies", policies)
    async with serve_raw(provider.handle) as url, serve_raw(api) as upstream:
        provider.begin(url)
        issuers = policies / "issuers.yaml"
        text = issuers.read_text(encoding="utf-8").replace("https://idp.ly.example\n", f"{url}\n{says}", 1)
        issuers.write_text(text.replace("    jwks: https://idp.ly.example/jwks.json\n", "", 1), encoding="utf-8")
        manifest = policies / "bundle.yaml"
        listed = manifest.read_text(encoding="utf-8").replace("[issuers]", "[issuers]\n  revoked.yaml: [revoked]")
        manifest.write_text(listed, encoding="utf-8")
        (policies / "revoked.yaml").write_text(f"revoked: [{revoked}]\n", encoding="utf-8")
        sso = folder / "sso.json"
        sso.write_text(json.dumps(Issuer("https://sso.naver.example").key_set()), encoding="utf-8")
        shutil.copy(sso, policies / "sso.json")
        jwks = {"naver-sso": "file:sso.json"}
        options = {"jwks_minimum_seconds": 0, "jwks_refresh_seconds": 3600, "watch_seconds": 0.05} | flags
        async with run_world(folder, upstream, policies=policies, jwks=jwks, **options) as world:
            yield world, policies


async def ask(world: World, token: str, **fields: str) -> tuple[int, dict[str, Any]]:
    headers = {"X-Forwarded-For": OFFICE, **({"Authorization": f"Bearer {token}"} if token else {}), **fields}
    async with aiohttp.request("GET", world.url + USER, headers=headers) as response:
        return response.status, await response.json(content_type=None)


@pytest.fixture
def provider() -> Provider:
    return Provider()


async def test_discovered_keys_survive_a_rotation_and_an_outage(tmp_path: Path, provider: Provider) -> None:
    async with a_world(tmp_path, provider) as (world, _):
        old = provider.token()
        assert (await ask(world, old))[0] == 200
        provider.rotate("key-2", keep=True)
        assert (await ask(world, provider.token()))[0] == 200, "an unknown key is fetched at once"
        assert (await ask(world, old))[0] == 200, "a key that stays keeps its callers"
        provider.is_down = True
        assert (await ask(world, old))[0] == 200, "an outage ends nobody"
        claims: dict[str, Any] = dict(STAFF)
        stranger = Issuer(provider.url, key_id="key-3").token(unix_seconds(), **claims)
        status, problem = await ask(world, stranger)
        assert (status, problem["reason"]) == (503, "keys-unavailable")
        provider.is_down = False
        status, problem = await ask(world, stranger)
        assert (status, problem["reason"]) == (401, "token-key-unknown")


async def test_a_removed_key_ends_the_callers_it_verified(tmp_path: Path, provider: Provider) -> None:
    async with a_world(tmp_path, provider) as (world, _):
        old = provider.token()
        assert (await ask(world, old))[0] == 200
        provider.rotate("key-2")
        assert (await ask(world, provider.token()))[0] == 200
        status, problem = await ask(world, old)
        assert (status, problem["reason"]) == (401, "token-key-unknown")


class Slow:
    """An API that begins its answer, and ends it when told."""

    def __init__(self) -> None:
        self.more = asyncio.Event()

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first")
        await self.more.wait()
        await response.write(b"last")
        return response


@contextlib.asynccontextmanager
async def under_way(world: World, token: str) -> AsyncIterator[aiohttp.ClientResponse]:
    fields = {"X-Forwarded-For": OFFICE, "Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession() as session, session.get(world.url + USER, headers=fields) as answer:
        assert await answer.content.readexactly(5) == b"first"
        yield answer


async def test_a_removed_key_cuts_what_is_under_way_and_nothing_else(tmp_path: Path, provider: Provider) -> None:
    slow = Slow()
    async with a_world(tmp_path, provider, api=slow) as (world, _):
        old, first = provider.token(), provider.issuer
        provider.rotate("key-2", keep=True)
        async with under_way(world, old) as gone, under_way(world, provider.token()) as stays:
            provider.published = [key for key in provider.published if key["kid"] != first.key_id]
            stranger = Issuer(provider.url, key_id="key-3").token(unix_seconds(), **dict[str, Any](STAFF))
            assert (await ask(world, stranger))[0] == 401, "the keys are fetched"
            with pytest.raises(aiohttp.ClientError):
                await asyncio.wait_for(gone.read(), 20)
            slow.more.set()
            assert await stays.read() == b"last"


async def test_a_token_that_its_issuer_calls_inactive_ends_what_is_under_way(
    tmp_path: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDP_SECRET", "hush-secret")
    slow = Slow()
    async with serve_raw(provider.handle) as place:
        says = SAYS_INTROSPECT.replace("URL", place)
        async with a_world(tmp_path, provider, says, api=slow) as (world, _):
            token = provider.token()
            async with under_way(world, token) as gone:
                provider.active = False
                await wait_for(lambda: provider.asked.count("/introspect") == 1)
                async with asyncio.timeout(20):
                    while provider.asked.count("/introspect") < 2:  # somebody else asks with it, once its answer is old
                        fields = {"X-Forwarded-For": OFFICE, "Authorization": f"Bearer {token}"}
                        async with aiohttp.request("GET", world.url + USER, headers=fields):
                            await asyncio.sleep(0.05)
                with pytest.raises(aiohttp.ClientError):
                    await asyncio.wait_for(gone.read(), 20)
                slow.more.set()


async def test_keys_that_are_stale_are_503(tmp_path: Path, provider: Provider) -> None:
    async with a_world(tmp_path, provider, jwks_stale_seconds=0.5) as (world, _):
        provider.is_down = True
        token = provider.token()
        async with asyncio.timeout(10):
            while (answer := await ask(world, token))[0] == 200:
                await asyncio.sleep(0.02)
        assert (answer[0], answer[1]["reason"]) == (503, "keys-unavailable")
        provider.is_down = False
        assert (await ask(world, token))[0] == 200


SAYS_INTROSPECT = (
    "    introspection: {url: URL/introspect, client_id: gateway, secret: {secret: env:IDP_SECRET}, cache: 1s}\n"
)


async def test_an_issuer_that_is_asked_decides_until_its_answer_is_old(
    tmp_path: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDP_SECRET", "hush-secret")
    async with serve_raw(provider.handle) as place:
        says = SAYS_INTROSPECT.replace("URL", place)
        async with a_world(tmp_path, provider, says) as (world, _):
            token = provider.token()
            answers = await asyncio.gather(*(ask(world, token) for _ in range(5)))
            assert [status for status, _ in answers] == [200] * 5
            assert provider.asked.count("/introspect") == 1
            provider.active = False
            async with asyncio.timeout(10):
                while (answer := await ask(world, token))[0] == 200:
                    await asyncio.sleep(0.02)
            assert (answer[0], answer[1]["reason"]) == (401, "token-revoked")
            provider.active = "true"
            status, problem = await ask(world, provider.token())
            assert (status, problem["reason"]) == (503, "introspection-unavailable")
            async with aiohttp.request("GET", f"{world.admin}/metrics") as response:
                metrics = await response.text()
            assert 'sekisho_introspections_total{issuer="corp",result="inactive"}' in metrics
            assert 'sekisho_key_set_keys{issuer="corp"} 1.0' in metrics
            assert "hush-secret" not in metrics + str(read_raw(world.ledger))


async def test_a_gateway_does_not_start_without_its_secret(tmp_path: Path, provider: Provider) -> None:
    says = SAYS_INTROSPECT.replace("URL", "http://127.0.0.1:1")
    with pytest.raises(SekishoError, match="env:IDP_SECRET"):
        async with a_world(tmp_path, provider, says):
            pass


async def test_a_line_of_the_register_ends_a_token_while_requests_are_served(
    tmp_path: Path, provider: Provider
) -> None:
    async with a_world(tmp_path, provider) as (world, policies):
        token = provider.token()
        assert (await ask(world, token))[0] == 200
        line = "{issuer: corp, jti: t1, reason: leaked, since: 2026-01-01T00:00:00Z}"
        (policies / "revoked.yaml").write_text(f"revoked: [{line}]\n", encoding="utf-8")
        world.poke()
        async with asyncio.timeout(20):
            while (answer := await ask(world, token))[0] == 200:
                await asyncio.sleep(0.05)
        assert (answer[0], answer[1]["reason"]) == (401, "token-revoked")
        assert (await ask(world, provider.token(jti="t2")))[0] == 200


async def test_a_tokens_cookie_does_not_reach_the_api(tmp_path: Path, provider: Provider) -> None:
    async with a_world(tmp_path, provider, "    token_place: {cookie: __Host-id}\n") as (world, _):
        token = provider.token()
        status, seen = await ask(world, "", Cookie=f"theme=dark; __Host-id={token}")
        assert (status, seen) == (200, {"cookie": "theme=dark", "token": False})
        status, problem = await ask(world, token)
        assert (status, problem["reason"]) == (401, "token-misplaced")
        status, problem = await ask(world, token, Cookie=f"__Host-id={token}")
        assert (status, problem["reason"]) == (400, "authorization-ambiguous")
        await wait_for(lambda: len(world.records()) == 3)
        assert token not in str(read_raw(world.ledger))
