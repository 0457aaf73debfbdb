# SPDX-License-Identifier: Apache-2.0
"""The gateway before a certified OpenID provider that rotates its keys and fails.

Needs ``node`` and ``npm`` (Debian's nodejs and npm); run by ``make e2e``, which installs the provider from its lock.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec
import pytest
from aiohttp import web

from proxy.clock import elapsed_seconds
from proxy.demo.issuer import make_issuer_app
from proxy.demo.story import BEIJING, JP_REPORT, JP_USER, OFFICE, SINGAPORE, TOKYO_VPN
from tests.support.command import Answered, Command, reserve_port, run_command, start_command, write_policies
from tests.support.provider import Provider, key_id, missing_provider, read_part
from tests.support.tokens import base64url
from tests.support.watch import poll
from tests.support.world import ISSUERS, serve_app, serve_raw

JP_EXPORT: Final = "GET /v1/jp/export"
CALENDAR: Final = "https://calendar.ly.example"
OPAQUE: Final = "https://opaque.ly.example"
NEVER: Final = 86400
"""Seconds that do not pass in a test."""

ON_DEMAND: Final[Mapping[str, float]] = {
    "jwks_refresh_seconds": NEVER,
    "jwks_minimum_seconds": 0,
    "jwks_stale_seconds": NEVER,
}
"""Keys are fetched when a token names one that is not known, and at no other time."""
IN_THE_BACKGROUND: Final[Mapping[str, float]] = {
    "jwks_refresh_seconds": 0.3,
    "jwks_minimum_seconds": NEVER,
    "jwks_stale_seconds": NEVER,
}
IMPATIENT: Final[Mapping[str, float]] = {**IN_THE_BACKGROUND, "jwks_stale_seconds": 3}

ALLOWED: Final = (200, "ly-staff-read-japan")
FORBIDDEN: Final = (403, "jp-no-china")
KEY_UNKNOWN: Final = (401, "token-key-unknown")
REVOKED: Final = (401, "token-revoked")
UNASKED: Final = (503, "introspection-unavailable")
KEYS_UNAVAILABLE: Final = (503, "keys-unavailable")

CLIENTS: Final = """\
clients:
  - {id: console, issuer: corp, client: console, affiliate: ly}
  - id: nightly-export
    issuer: corp
    client: nightly-export
    affiliate: ly
    autonomous: true
    reason: It exports at night, for no person
    owner: data-team
  - id: shanghai-batch
    issuer: corp
    client: shanghai-batch
    affiliate: shanghai-digital
    autonomous: true
    reason: It fills their own reports
    owner: shanghai-digital
"""

Obtain: TypeAlias = Callable[[Provider], Awaitable[str]]


@pytest.fixture(autouse=True)
def _programs() -> None:
    if missing := missing_provider():
        pytest.fail(missing, pytrace=False)


@pytest.fixture(autouse=True, scope="module")
def _seconds() -> Iterator[None]:
    begun = elapsed_seconds()
    yield
    print(f"\nidentity provider: {elapsed_seconds() - begun:.1f} s")  # noqa: T201 - the suite says how long it takes


class Site(msgspec.Struct, frozen=True):
    """A provider, the policies that trust it, and an API that says who came through."""

    provider: Provider
    policies: Path
    folder: Path
    options: dict[str, Any]
    served: list[str]
    """The targets that reached the API."""

    def run(self, name: str, settings: Mapping[str, float]) -> contextlib.AbstractAsyncContextManager[Command]:
        return run_command(self.folder / name, self.policies, settings, **self.options)


@contextlib.asynccontextmanager
async def run_site(folder: Path, issuer_lines: str = "") -> AsyncIterator[Site]:
    """Run the provider and the API.

    Args:
        folder: where everything goes.
        issuer_lines: what more the policies say of the provider, its URL written as ``{url}``. Where its keys are,
            it says itself (OpenID Connect Discovery 4).
    """
    served: list[str] = []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        served.append(request.path)
        return web.json_response({"id": "42"})

    async with contextlib.AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(serve_raw(answer))
        other = await stack.enter_async_context(serve_app(make_issuer_app(ISSUERS)))
        provider = Provider(folder, stack.enter_context(reserve_port()))
        stack.push_async_callback(provider.stop)
        await provider.start()
        policies = write_policies(
            folder / "policies",
            ("issuers.yaml", "issuer: https://idp.ly.example\n", f"issuer: {provider.url}\n    token_type: at+jwt\n"),
            ("issuers.yaml", "    jwks: https://idp.ly.example/jwks.json\n", issuer_lines.format(url=provider.url)),
            ("issuers.yaml", "client: azp\n", "client: client_id\n"),  # RFC 9068 2.2
            ("bundle.yaml", "  issuers.yaml: [issuers]\n", "  issuers.yaml: [issuers]\n  clients.yaml: [clients]\n"),
        )
        (policies / "clients.yaml").write_text(CLIENTS, encoding="utf-8")
        options = {"upstream": upstream, "jwks": {"naver-sso": f"{other}/naver-sso/jwks.json"}}
        yield Site(provider, policies, folder, options, served)


def as_person(account: str, **options: str) -> Obtain:
    async def obtain(provider: Provider) -> str:
        return (await provider.sign_in(account, **options)).access

    return obtain


def as_service(client: str, *resource: str) -> Obtain:
    return lambda provider: provider.client_credentials(client, *resource)


def id_token(account: str, client: str) -> Obtain:
    async def obtain(provider: Provider) -> str:
        return (await provider.sign_in(account, client=client)).id

    return obtain


DECIDED: Final[dict[str, tuple[Obtain, str, str, tuple[int, str]]]] = {
    "the Tokyo employee reads a Japanese user": (as_person("sato"), JP_USER, OFFICE, ALLOWED),
    "the same, on a trip to Beijing": (as_person("sato"), JP_USER, BEIJING, (403, "jp-not-from-china")),
    "the Shanghai engineer, through the Tokyo VPN": (as_person("wang"), JP_USER, TOKYO_VPN, FORBIDDEN),
    "the subcontractor in Dalian": (as_person("liu"), JP_REPORT, TOKYO_VPN, FORBIDDEN),
    "our own service exports at home": (
        as_service("nightly-export"), JP_EXPORT, OFFICE, (200, "home-exports-japan")),
    "… but not from Singapore": (
        as_service("nightly-export"), JP_EXPORT, SINGAPORE, (403, "jp-export-stays-home")),
    "… and is no employee": (as_service("nightly-export"), JP_USER, OFFICE, (403, "default")),
    "a service behind which anybody may stand": (as_service("ad-hoc-export"), JP_EXPORT, OFFICE, FORBIDDEN),
    "the Shanghai subsidiary's service": (as_service("shanghai-batch"), JP_EXPORT, OFFICE, FORBIDDEN),
}  # fmt: skip


async def test_people_and_services_with_the_provider_s_tokens_are_decided_by_the_rules(tmp_path: Path) -> None:
    async with run_site(tmp_path) as site, site.run("gateway", ON_DEMAND) as gateway:
        for name, (obtain, request, address, expected) in DECIDED.items():
            token = await obtain(site.provider)
            claims = read_part(token, 1)
            answered = await gateway.ask(token, request, address)
            assert answered.outcome == expected, name
            record = answered.record
            assert record["effect"] == ("allow" if answered.status == 200 else "deny"), name
            caller = record["caller"]
            said = claims["affiliate"], claims["employment_type"]
            assert (caller["issuer"], caller["affiliate"], caller["kind"]) == ("corp", *said), name
            assert caller["who"], name
            assert claims["sub"] not in json.dumps(record), f"{name}: the ledger knows people by pseudonyms"
        assert site.served == ["/v1/jp/users/42", "/v1/jp/export"], "what is denied reaches no API"
        assert await gateway.key_fetches("corp", "fetched") == 1, "known keys are not fetched again"


def changed(obtain: Obtain, **claims: str) -> Obtain:
    """Return a token with claims changed behind its signature."""

    async def change(provider: Provider) -> str:
        token = await obtain(provider)
        header, _, signature = token.split(".")
        return f"{header}.{base64url(json.dumps(read_part(token, 1) | claims).encode())}.{signature}"

    return change


def resigned(obtain: Obtain, **members: str) -> Obtain:
    """Return a token whose header is changed."""

    async def change(provider: Provider) -> str:
        token = await obtain(provider)
        _, body, signature = token.split(".")
        return f"{base64url(json.dumps(read_part(token, 0) | members).encode())}.{body}.{signature}"

    return change


REFUSED: Final[dict[str, tuple[Obtain, str]]] = {
    "claims changed behind the signature": (
        changed(as_person("wang"), affiliate="ly", residence_country="JP"), "token-signature-wrong"),
    "another issuer named": (changed(as_person("sato"), iss="http://127.0.0.1:1"), "token-issuer-undeclared"),
    "a key named that the provider does not publish": (resigned(as_person("sato"), kid="none"), "token-key-unknown"),
    "an algorithm that its key is not for": (resigned(as_person("sato"), alg="RS256"), "token-key-unknown"),
    "a person's access token for another API": (as_person("sato", resource=CALENDAR), "token-audience-other"),
    "a service's access token for another API": (as_service("nightly-export", CALENDAR), "token-audience-other"),
    "the ID token of the same sign-in": (id_token("sato", "console"), "token-type-other"),
    "the ID token of a client of the audience's name": (id_token("sato", "pii-gateway"), "token-type-other"),
    "an opaque access token": (as_person("sato", resource=OPAQUE), "token-malformed"),
}  # fmt: skip


async def test_what_is_no_access_token_for_the_gateway_is_refused(tmp_path: Path) -> None:
    async with run_site(tmp_path) as site, site.run("gateway", ON_DEMAND) as gateway:
        for name, (obtain, reason) in REFUSED.items():
            answered = await gateway.ask(await obtain(site.provider), JP_USER)
            assert answered.outcome == (401, reason), name
            assert answered.record["caller"]["who"] == "", f"{name}: nobody is known"
        assert site.served == []
        assert (await gateway.ask(await as_person("sato")(site.provider), JP_USER)).outcome == ALLOWED


async def test_rotated_keys_are_taken_up_and_retired_ones_given_up(tmp_path: Path) -> None:
    async with (
        run_site(tmp_path) as site,
        site.run("on-demand", ON_DEMAND) as on_demand,
        site.run("background", IN_THE_BACKGROUND) as background,
    ):
        provider, sato, wang = site.provider, as_person("sato"), as_person("wang")
        old, unseen = await sato(provider), await sato(provider)
        assert [(await gateway.ask(old, JP_USER)).outcome for gateway in (on_demand, background)] == [ALLOWED] * 2

        await provider.tell("rotate")
        new = await sato(provider)
        assert provider.keys == [key_id(new), key_id(old)]
        assert (await on_demand.ask(new, JP_USER)).outcome == ALLOWED, (
            "the new key is fetched for the first who needs it"
        )
        assert await on_demand.key_fetches("corp", "fetched") == 2
        assert (await on_demand.ask(old, JP_USER)).outcome == ALLOWED
        assert (await on_demand.ask(await wang(provider), JP_USER)).outcome == FORBIDDEN
        assert await on_demand.key_fetches("corp", "fetched") == 2
        await _until(background, new, ALLOWED, meanwhile={KEY_UNKNOWN})
        assert (await background.ask(old, JP_USER)).outcome == ALLOWED

        await provider.tell("retire")
        assert provider.keys == [key_id(new)]
        await _until(background, old, KEY_UNKNOWN, meanwhile={ALLOWED})
        assert (await background.ask(unseen, JP_USER)).outcome == KEY_UNKNOWN
        assert (await background.ask(new, JP_USER)).outcome == ALLOWED
        assert (await on_demand.ask(await resigned(sato, kid="none")(provider), JP_USER)).outcome == KEY_UNKNOWN
        for token in (old, unseen):
            assert (await on_demand.ask(token, JP_USER)).outcome == KEY_UNKNOWN, "also who was known by that key"
        assert (await on_demand.ask(new, JP_USER)).outcome == ALLOWED


async def test_an_outage_of_the_provider_lets_nobody_in_who_was_not(tmp_path: Path) -> None:
    async with (
        run_site(tmp_path) as site,
        site.run("patient", ON_DEMAND) as patient,
        site.run("impatient", IMPATIENT) as impatient,
    ):
        provider, sato, wang = site.provider, as_person("sato"), as_person("wang")
        known, unseen, shanghai = await sato(provider), await sato(provider), await wang(provider)
        assert (await patient.ask(known, JP_USER)).outcome == ALLOWED
        await provider.tell("rotate")
        ahead = await sato(provider)
        await _until(impatient, ahead, ALLOWED, meanwhile={KEY_UNKNOWN, KEYS_UNAVAILABLE})

        await provider.stop()
        for token in (known, unseen):
            assert (await patient.ask(token, JP_USER)).outcome == ALLOWED, "the last good keys serve"
        assert (await patient.ask(shanghai, JP_USER)).outcome == FORBIDDEN
        assert (await patient.ask(ahead, JP_USER)).outcome == KEYS_UNAVAILABLE, "a key that cannot be had opens nothing"
        assert await patient.key_fetches("corp", "failed") == 1
        assert await patient.key_fetches("corp", "fetched") == 1
        await _until(impatient, known, KEYS_UNAVAILABLE, meanwhile={ALLOWED})
        for token in (known, unseen, shanghai, ahead):
            assert (await impatient.ask(token, JP_USER)).outcome == KEYS_UNAVAILABLE, "stale keys open nothing"
        status, readiness = await impatient.readiness()
        assert (status, readiness["issuers_without_keys"]) == (200, ["corp"])

        await provider.start()
        assert (await patient.ask(ahead, JP_USER)).outcome == ALLOWED
        for token in (known, unseen, ahead):
            await _until(impatient, token, ALLOWED, meanwhile={KEYS_UNAVAILABLE})
            assert (await patient.ask(token, JP_USER)).outcome == ALLOWED
        assert (await patient.ask(shanghai, JP_USER)).outcome == FORBIDDEN
        await _until(impatient, shanghai, FORBIDDEN, meanwhile={KEYS_UNAVAILABLE})


async def test_a_provider_that_hangs_holds_up_nobody_whose_key_is_known(tmp_path: Path) -> None:
    settings = {**ON_DEMAND, "jwks_timeout_seconds": 4}
    async with run_site(tmp_path) as site, site.run("gateway", settings) as gateway:
        provider, sato = site.provider, as_person("sato")
        known, unseen = await sato(provider), await sato(provider)
        assert (await gateway.ask(known, JP_USER)).outcome == ALLOWED
        await provider.tell("rotate")
        ahead = await sato(provider)
        with provider.hanging():
            waiting = asyncio.ensure_future(gateway.ask(ahead, JP_USER))
            for token in (known, unseen):
                assert (await gateway.ask(token, JP_USER)).outcome == ALLOWED
            assert not waiting.done()
            assert (await waiting).outcome == KEYS_UNAVAILABLE, "a fetch ends in time, and opens nothing"
        assert (await gateway.ask(ahead, JP_USER)).outcome == ALLOWED


async def test_a_provider_that_comes_back_with_other_keys_ends_its_old_tokens(tmp_path: Path) -> None:
    async with run_site(tmp_path) as site, site.run("gateway", ON_DEMAND) as gateway:
        provider, sato = site.provider, as_person("sato")
        old = await sato(provider)
        assert (await gateway.ask(old, JP_USER)).outcome == ALLOWED
        await provider.stop()
        provider.lose_keys()
        await provider.start()
        assert key_id(old) not in provider.keys
        assert (await gateway.ask(await sato(provider), JP_USER)).outcome == ALLOWED
        assert (await gateway.ask(old, JP_USER)).outcome == KEY_UNKNOWN


INTROSPECTION: Final = """\
    introspection:
      url: {{url}}/token/introspection
      client_id: gateway
      secret: {{{{secret: "file:{secret}"}}}}
      cache: 1s
"""


async def test_a_token_that_is_given_back_ends_and_without_the_provider_s_word_nobody_is_let_in(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("gateway-secret", encoding="ascii")
    async with (
        run_site(tmp_path, INTROSPECTION.format(secret=secret)) as site,
        site.run("gateway", ON_DEMAND) as gateway,
    ):
        provider, sato = site.provider, as_person("sato")
        given_back, kept = await sato(provider), await sato(provider)
        for token in (given_back, kept):
            assert (await gateway.ask(token, JP_USER)).outcome == ALLOWED
        assert (await gateway.ask(await as_person("wang")(provider), JP_USER)).outcome == FORBIDDEN
        await provider.revoke(given_back)
        await _until(gateway, given_back, REVOKED, meanwhile={ALLOWED})
        assert (await gateway.ask(kept, JP_USER)).outcome == ALLOWED
        await provider.stop()
        await _until(gateway, kept, UNASKED, meanwhile={ALLOWED})


async def test_a_gateway_does_not_start_without_the_provider_and_says_what_to_do(tmp_path: Path) -> None:
    async with run_site(tmp_path) as site:
        await site.provider.stop()
        folder = tmp_path / "early"
        process = await start_command(folder, site.policies, ON_DEMAND, **site.options)
        assert await process.wait() == 2
        told = (folder / "log").read_text(encoding="utf-8")
        assert f"The keys of issuer 'corp' cannot be had from {site.provider.url}" in told
        assert "--jwks corp=URL" in told
        assert "Traceback" not in told
        await site.provider.start()
        async with site.run("later", ON_DEMAND) as gateway:
            assert (await gateway.ask(await as_person("sato")(site.provider), JP_USER)).outcome == ALLOWED


async def _until(gateway: Command, token: str, end: tuple[int, str], *, meanwhile: set[tuple[int, str]]) -> None:
    """Ask until an outcome comes; until then others come, and no third."""

    async def ask() -> Answered | None:
        answered = await gateway.ask(token, JP_USER)
        assert answered.outcome in {end, *meanwhile}
        return answered if answered.outcome == end else None

    await poll(ask)
