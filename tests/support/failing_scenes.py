# SPDX-License-Identifier: Apache-2.0
"""Scenes in which what a gateway depends on is away, old or broken; and gateways that are no gateways any more."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp import web

from proxy.clock import unix_seconds
from proxy.demo.issuer import Issuer
from tests.support.bundle_folder import edited, write_bundle
from tests.support.certificates import MESH, NOW, SERVER, a_ca, a_leaf, a_list, corp_ca
from tests.support.command import reserve_port, run_command, write_policies
from tests.support.scenes import DAY, Playing, ask, write_countries
from tests.support.small_disk import SmallDisk
from tests.support.watch import poll
from tests.support.world import ISSUERS, POLICIES, STAFF, World, run_world, serve_raw

NOWHERE: Final = "http://127.0.0.1:1"
"""Where nobody listens: a port that only the system could take."""
AWAY: Final = "naver-sso"
"""The issuer that is there when the gateway starts, and not for long."""
DATABASE_AGE: Final = 40 * DAY
DATABASE_MAX_DAYS: Final = 30
UNCONNECTED: Final = 3
"""Failures to connect to an API, after which it is taken for down."""
SOUGHT: Final = 6
"""Data subjects to look up in a directory that is away: it is asked for the first, and no more for all of the rest."""
PLUS: Final = STAFF | {"affiliate": "line-plus", "residence_country": "KR"}
AILING: Final = (
    ("bundle.yaml", "  rules/deny.yaml: [rules]\n", "  rules/deny.yaml: [rules]\n  rules/limit.yaml: [rules]\n"),
)
LIMIT: Final = """\
rules:
  - id: ten-an-hour
    effect: deny
    title: Nobody reads the records of more than ten Koreans an hour
    when: {resource.route: user, subject.country: KR, counts.country_subjects_1h: {gt: 10}}
"""


@contextlib.asynccontextmanager
async def run_ailing(folder: Path, disk: SmallDisk) -> AsyncIterator[Playing]:
    """A gateway all of whose friends are away: API, directory, issuer, store of counts; then its own files break."""
    policies = write_policies(folder / "policies", *AILING)
    (policies / "rules" / "limit.yaml").write_text(LIMIT, encoding="utf-8")
    countries = write_countries(folder, DATABASE_AGE)
    away: set[str] = set()

    async def publish(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=503) if request.path.strip("/") in away else await _publish(request)

    async with serve_raw(_answer) as api, serve_raw(publish) as idp:
        world = run_world(
            folder, api, policies=policies, upstream={"users": NOWHERE, "users/JP": api},
            jwks={name: f"{idp}/{name}" for name in ISSUERS},
            jwks_refresh_seconds=1, jwks_minimum_seconds=0, jwks_stale_seconds=3,
            lookup={"directory": NOWHERE + "/{id}"},
            geoip=countries, geoip_max_age_days=DATABASE_MAX_DAYS, counts="redis://127.0.0.1:1/0",
            ledger=disk.place / "ledger", watch_seconds=0.1, upstream_down_seconds=600, upstream_keep_seconds=600,
        )  # fmt: skip
        async with world as running:

            async def play() -> None:
                away.add(AWAY)
                await _lose_friends(running)
                await _break_files(running, policies, countries)
                disk.fill()
                await poll(lambda: _is_refused(running))

            yield Playing("ailing", running.admin.removeprefix("http://"), play, ledger=running.ledger)


async def _lose_friends(world: World) -> None:
    assert await ask(world, "/v1/jp/users/42", STAFF) == 200, "what needs none of them is served"
    assert await ask(world, "/v1/jp/users/42", STAFF, "198.51.100.7") == 403, "nobody says that this is not China"
    thais = [await ask(world, "/v1/th/users/45", PLUS, "10.82.0.9") for _ in range(UNCONNECTED + 1)]
    assert thais == [502] * len(thais)
    assert await ask(world, "/v1/kr/users/43", PLUS, "10.82.0.9") == 503, "it is not known how much was read"
    ids = [await ask(world, f"/v1/users/by-id/{user}", STAFF) for user in range(10, 10 + SOUGHT)]
    assert ids == [503] * len(ids)
    await poll(lambda: _shows(world, f'sekisho_key_set_keys{{issuer="{AWAY}"}} 0.0'), 30)
    sso = Issuer("https://sso.naver.example").token(unix_seconds(), sub="kim", company="naver")
    assert await ask(world, "/v1/jp/users/42", STAFF, Authorization=f"Bearer {sso}") == 503


async def _break_files(world: World, policies: Path, countries: Path) -> None:
    (policies / "rules" / "deny.yaml").write_text("rules: [", encoding="utf-8")
    countries.write_bytes(b"cut short")
    await poll(lambda: _shows(world, "sekisho_bundle_stale 1.0", "sekisho_geolocation_stale 1.0"), 60)


async def _is_refused(world: World) -> bool:
    """Ask once; the last page of a full disk still has room for a line or two."""
    return await ask(world, "/v1/jp/users/42", STAFF) == 503


async def _shows(world: World, *lines: str) -> bool:
    async with aiohttp.request("GET", f"{world.admin}/metrics") as response:
        shown = (await response.text()).splitlines()
    return all(line in shown for line in lines)


CERTIFICATE_SECONDS: Final = 3 * DAY
LIST_SECONDS: Final = DAY // 2


@contextlib.asynccontextmanager
async def run_sealed(folder: Path) -> AsyncIterator[Playing]:
    """A gateway that speaks TLS: its certificate and a revocation list end soon, and then the certificate breaks."""
    since = unix_seconds() - NOW
    files = edited(
        ("bundle.yaml", "networks, trusted_proxies]", "networks, trusted_proxies, certificate_authorities]"),
        ("parties.yaml", "https://idp.example.jp/jwks.json", "file:corp.json"),
    )
    mesh = {
        "ca.pem": corp_ca().pem,
        "mesh.crl": a_list(corp_ca(), since=since - DAY, until=since + LIST_SECONDS).decode(),
    }
    parties = files["parties.yaml"] + MESH
    keys = {"corp.json": json.dumps(Issuer("https://idp.example.jp").key_set())}
    policies = write_bundle(folder / "policies", {**files, **mesh, **keys, "parties.yaml": parties})
    own = a_leaf(a_ca(), since=since - DAY, until=since + CERTIFICATE_SECONDS, usages=[SERVER], serial=None)
    certificate, key = own.write(folder, "own")
    async with run_world(
        folder, NOWHERE, policies=policies, upstream={}, jwks={}, tls_certificate=certificate, tls_key=key,
        tls_client="optional", watch_seconds=0.1,
    ) as world:  # fmt: skip

        async def play() -> None:
            certificate.write_text("cut short", encoding="ascii")
            await poll(lambda: _shows(world, "sekisho_tls_stale 1.0"), 30)

        yield Playing("sealed", world.admin.removeprefix("http://"), play, ledger=world.ledger)


ACTIVE: Final = 2
UNANSWERED: Final = 3


@contextlib.asynccontextmanager
async def run_asking(folder: Path) -> AsyncIterator[Playing]:
    """A gateway that asks its issuer whether tokens are active, until that one says nothing that it understands."""
    active: list[Any] = [True]

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"active": active[0]})

    secret = folder / "secret"
    secret.write_text("hush-secret", encoding="ascii")
    async with serve_raw(answer) as idp, serve_raw(_answer) as api, serve_raw(_publish) as keys:
        asks = f"url: {idp}/introspect, client_id: gateway, secret: {{secret: file:{secret}}}, cache: 5m"
        says = f"introspection: {{{asks}}}"
        issuer = "    issuer: https://idp.ly.example\n"
        policies = write_policies(folder / "policies", ("issuers.yaml", issuer, f"{issuer}    {says}\n"))
        jwks = {name: f"{keys}/{name}" for name in ISSUERS}
        async with run_world(folder, api, policies=policies, jwks=jwks) as world:

            async def play() -> None:
                each = [STAFF | {"jti": str(at)} for at in range(ACTIVE + UNANSWERED)]
                assert [await ask(world, "/v1/jp/users/42", claims) for claims in each[:ACTIVE]] == [200] * ACTIVE
                active[0] = "perhaps"
                rest = [await ask(world, "/v1/jp/users/42", claims) for claims in each[ACTIVE:]]
                assert rest == [503] * UNANSWERED

            async def go_on() -> None:
                assert await ask(world, "/v1/jp/users/42", STAFF | {"jti": "later"}) == 503

            yield Playing("asking", world.admin.removeprefix("http://"), play, go_on, world.ledger)


WORKERS: Final = 2


@contextlib.asynccontextmanager
async def run_crew(folder: Path) -> AsyncIterator[Playing]:
    """A gateway of two workers, as processes of their own, of which one is killed."""
    async with serve_raw(_answer) as api, serve_raw(_publish) as idp:
        jwks = {name: f"{idp}/{name}" for name in ISSUERS}
        settings = {"workers": WORKERS, "watch_seconds": 0}
        async with run_command(folder, POLICIES, settings, upstream=api, jwks=jwks) as command:

            async def serving() -> list[int]:
                _, told = await command.readiness()
                return [each["pid"] for each in told.get("workers", ())]

            async def play() -> None:
                before = await serving()
                os.kill(before[0], signal.SIGKILL)

                async def replaced() -> bool:
                    now = await serving()
                    return len(now) == WORKERS and before[0] not in now

                await poll(replaced, 60)

            yield Playing("crew", command.admin.removeprefix("http://"), play)


@contextlib.asynccontextmanager
async def run_gone(name: str, job: str = "sekisho") -> AsyncIterator[Playing]:
    """A gateway, or a canary, that is no more."""

    async def play() -> None:
        """It can do nothing."""

    with reserve_port() as port:
        yield Playing(name, f"127.0.0.1:{port}", play, job=job)


@contextlib.asynccontextmanager
async def run_canary(folder: Path) -> AsyncIterator[Playing]:
    """A canary that gets through to one API, and not to another one."""
    async with serve_raw(_answer) as api:
        with reserve_port() as port, (folder / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "proxy.cli", "probe", "--url", f"users={api}", "--url", f"payments={NOWHERE}",
                "--every", "0.5", "--listen", f"127.0.0.1:{port}", stdout=log, stderr=log,
            )  # fmt: skip

            async def play() -> None:
                """It plays by itself."""

            try:
                yield Playing("canary", f"127.0.0.1:{port}", play, job="sekisho-probe")
            finally:
                process.terminate()
                await process.wait()


async def _answer(_request: web.BaseRequest) -> web.StreamResponse:
    return web.json_response({"id": "42", "name": "Taro"})


async def _publish(request: web.BaseRequest) -> web.StreamResponse:
    return web.json_response(ISSUERS[request.path.strip("/")].key_set())
