# SPDX-License-Identifier: Apache-2.0
"""A gateway on real sockets with the reference bundle, an issuer, and an API of the test's own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec
from aiohttp import web

from proxy.clock import unix_seconds
from proxy.demo.issuer import Issuer, make_issuer_app
from proxy.settings import read_settings
from proxy.wiring import run_gateway
from tests.support.keys import write_pseudonym_keys
from tests.support.ledger import read_decisions, read_ends, read_records, write_ledger_key

POLICIES: Final = Path(__file__).parents[2] / "policies"
OFFICE: Final = "10.20.3.7"
ISSUERS: Final = {"corp": Issuer("https://idp.ly.example"), "naver-sso": Issuer("https://sso.naver.example")}
STAFF: Final = {"affiliate": "ly", "employment_type": "employee", "residence_country": "JP"}
"""Claims of an LY employee who may read Japanese users."""
ENGINEER: Final = STAFF | {"affiliate": "shanghai-digital", "residence_country": "CN"}
"""Claims of an engineer in Shanghai, who may not."""
SUPPORT: Final = STAFF | {"groups": ["support"]}
DATA_TEAM: Final = STAFF | {"groups": ["data-team"]}

Handler: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class World(msgspec.Struct, frozen=True):
    """What a test needs to know of the running gateway."""

    host: str
    port: int
    admin: str
    ledger: Path
    """Its folder."""
    poke: Callable[[], None] = lambda: None
    """Tries the policy folder now, as SIGHUP does."""

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def records(self, line: str = "decision") -> list[dict[str, Any]]:
        return read_records(self.ledger, line)

    def decisions(self) -> list[dict[str, Any]]:
        """Return all decisions, with what their lines leave unsaid."""
        return read_decisions(self.ledger)

    def ends(self) -> list[dict[str, Any]]:
        """Return, for each request that has ended, the line that says how."""
        return read_ends(self.ledger)

    async def wait_for_records(self, count: int, line: str = "decision") -> list[dict[str, Any]]:
        await wait_for(lambda: len(self.records(line)) >= count)
        return self.records(line)

    async def wait_for_ends(self, count: int) -> list[dict[str, Any]]:
        await wait_for(lambda: len(self.ends()) >= count)
        return self.ends()


def token(claims: dict[str, Any] | None = None, **changes: Any) -> str:
    return ISSUERS["corp"].token(unix_seconds(), **{**(claims or STAFF), **changes})


def headers(claims: dict[str, Any] | None = None, address: str = OFFICE) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(claims)}", "X-Forwarded-For": address}


async def wait_for(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Poll until the condition holds; its value is returned."""
    async with asyncio.timeout(seconds):
        while not (value := condition()):
            await asyncio.sleep(0.005)
    return value


@contextlib.asynccontextmanager
async def serve_raw(handler: Handler, **options: Any) -> AsyncIterator[str]:
    """Serve one handler for every path, on a free port; yields the URL."""
    async with _serving(web.ServerRunner(web.Server(handler, **options))) as url:
        yield url


@contextlib.asynccontextmanager
async def serve_app(app: web.Application) -> AsyncIterator[str]:
    """Serve an application, on a free port; yields the URL."""
    async with _serving(web.AppRunner(app)) as url:
        yield url


@contextlib.asynccontextmanager
async def _serving(runner: web.BaseRunner) -> AsyncIterator[str]:
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield "http://{}:{}".format(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def run_world(folder: Path, upstream: str, /, **flags: Any) -> AsyncIterator[World]:
    """Run a gateway in front of an API."""
    key = write_pseudonym_keys(folder / "pseudonym.key")
    async with _serving(web.AppRunner(make_issuer_app(ISSUERS))) as idp:
        settings = read_settings(
            **{
                "policies": POLICIES,
                "listen": "127.0.0.1:0",
                "admin": "127.0.0.1:0",
                "ledger": folder / "ledger",
                "ledger_key": write_ledger_key(folder / "ledger.key"),
                "pseudonym_key": key,
                "upstream": {"users": upstream, "users/JP": upstream},
                "jwks": {name: f"{idp}/{name}/jwks.json" for name in ISSUERS},
                **flags,
            }
        )
        async with run_gateway(settings) as running:
            host, _, port = running.listen.rpartition(":")
            yield World(host, int(port), f"http://{running.admin}", settings.ledger, running.reload)


class RawAnswer(msgspec.Struct, frozen=True):
    """An answer as it came over the wire."""

    status: int
    fields: dict[str, str]
    body: bytes


async def exchange(world: World, *lines: str, body: bytes = b"") -> RawAnswer:
    """Send the bytes of one request and read until the gateway closes."""
    reader, writer = await asyncio.open_connection(world.host, world.port)
    try:
        writer.write("".join(f"{line}\r\n" for line in (*lines, "Connection: close", "")).encode("latin-1") + body)
        await writer.drain()
        data = await asyncio.wait_for(reader.read(), 20)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    head, _, rest = data.partition(b"\r\n\r\n")
    status, *fields = head.decode("latin-1").split("\r\n")
    return RawAnswer(
        int(status.split()[1]) if data else 0, {k.lower(): v for k, _, v in (f.partition(": ") for f in fields)}, rest
    )
