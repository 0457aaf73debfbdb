# SPDX-License-Identifier: Apache-2.0
"""The certified OpenID provider in a process of its own, with its clients and the browsers of its people."""

import asyncio
import contextlib
import hashlib
import json
import re
import secrets
import shutil
import signal
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
from yarl import URL

from tests.support.tokens import base64url

FOLDER: Final = Path(__file__).parents[1] / "e2e" / "provider"
PROGRAM: Final = FOLDER / "provider.mjs"
USERS: Final = "https://users.ly.example"
"""The resource whose tokens are for the gateway."""
CALLBACK: Final = "http://127.0.0.1/callback"
PATIENCE_SECONDS: Final = 30
MAX_STEPS: Final = 12
"""Redirects and forms of one sign-in: two forms, and some redirects around each."""


class Tokens(msgspec.Struct, frozen=True):
    """What a token endpoint gave."""

    access: str
    id: str = ""


def missing_provider() -> str:
    """Return the sentence that names what is missing, empty if nothing is."""
    if shutil.which("node") is None:
        return "node cannot be found: as root, apt-get install --no-install-recommends nodejs npm."
    if not (FOLDER / "node_modules" / "oidc-provider").is_dir():
        return "The provider is not installed: `make e2e` does it."
    return ""


def read_part(token: str, index: int) -> dict[str, Any]:
    """Return the header (0) or the claims (1) of a JWT."""
    part = token.split(".")[index]
    read: dict[str, Any] = json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return read


def key_id(token: str) -> str:
    """Return which key a token says it was signed with."""
    return str(read_part(token, 0)["kid"])


class Provider:
    """The provider: down until it is started, and after it is stopped.

    Args:
        folder: where its private keys stay while it is down, and its log.
        port: where it listens whenever it is up.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self._port = port
        self._keys_file = folder / "provider-keys.json"
        self._process: asyncio.subprocess.Process | None = None
        self.url = f"http://127.0.0.1:{port}"
        """Its issuer identifier, the same whether it is up or down."""
        self.keys: list[str] = []
        """The ids of the keys that it publishes; the first one signs."""

    async def start(self) -> None:
        """Start it, with the keys that it had if it was up before."""
        with (self._folder / "provider.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                "node", PROGRAM, str(self._port), self._keys_file,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log,
            )  # fmt: skip
        self.keys = await self._hear("keys")
        assert await self._hear("listening") == self.url

    @contextlib.contextmanager
    def hanging(self) -> Iterator[None]:
        """Have it take connections and answer none."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    async def stop(self) -> None:
        """End it at once, as a machine that fails does."""
        process, self._process = self._process, None
        if process is not None:
            if process.returncode is None:
                process.kill()
            await process.wait()

    def lose_keys(self) -> None:
        """Have it make other keys when it is started next."""
        self._keys_file.unlink()

    async def tell(self, command: str) -> None:
        """Have it ``rotate`` or ``retire`` its keys."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n".encode())
        self.keys = await self._hear("keys")

    async def _hear(self, name: str) -> Any:
        assert self._process is not None
        assert self._process.stdout is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            line = await self._process.stdout.readline()
        assert line, (self._folder / "provider.log").read_text(encoding="utf-8")
        return json.loads(line)[name]

    async def client_credentials(self, client: str, resource: str = USERS) -> str:
        """Return an access token that a service gets for itself (RFC 6749 4.4)."""
        form = {"grant_type": "client_credentials", "scope": "users", "resource": resource}
        headers = {"Authorization": aiohttp.encode_basic_auth(client, f"{client}-secret")}
        async with aiohttp.request("POST", f"{self.url}/token", data=form, headers=headers) as response:
            answer = await response.json()
            assert response.status == 200, answer
            return str(answer["access_token"])

    async def introspect(self, token: str, client: str = "gateway") -> dict[str, Any]:
        """Return what it says of a token (RFC 7662)."""
        headers = {"Authorization": aiohttp.encode_basic_auth(client, f"{client}-secret")}
        url = f"{self.url}/token/introspection"
        async with aiohttp.request("POST", url, data={"token": token}, headers=headers) as response:
            answer: dict[str, Any] = await response.json()
            assert response.status == 200, answer
            return answer

    async def revoke(self, token: str, client: str = "console") -> None:
        """Have a person's client give a token back (RFC 7009)."""
        form = {"token": token, "client_id": client}
        async with aiohttp.request("POST", f"{self.url}/token/revocation", data=form) as response:
            assert response.status == 200, await response.text()

    async def sign_in(self, account: str, *, client: str = "console", resource: str = USERS) -> Tokens:
        """Return the tokens of a person who signs in and consents: authorization code with PKCE (RFC 7636)."""
        verifier, state = secrets.token_urlsafe(32), secrets.token_urlsafe(16)
        parameters = {
            "client_id": client,
            "redirect_uri": CALLBACK,
            "response_type": "code",
            "scope": "openid users",
            "resource": resource,
            "state": state,
            "code_challenge": base64url(hashlib.sha256(verifier.encode()).digest()),
            "code_challenge_method": "S256",
        }
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
            back = await _browse(browser, URL(f"{self.url}/auth").with_query(parameters), account)
        assert (back.query["state"], back.query["iss"]) == (state, self.url)
        form = {
            "grant_type": "authorization_code",
            "code": back.query["code"],
            "redirect_uri": CALLBACK,
            "client_id": client,
            "code_verifier": verifier,
        }
        async with aiohttp.request("POST", f"{self.url}/token", data=form) as response:
            answer = await response.json()
            assert response.status == 200, answer
            return Tokens(answer["access_token"], answer["id_token"])


async def _browse(browser: aiohttp.ClientSession, url: URL, account: str) -> URL:
    """Follow redirects and fill in forms until the provider sends the browser back to the client."""
    form: dict[str, str] | None = None
    for _ in range(MAX_STEPS):
        async with browser.request("POST" if form else "GET", url, data=form, allow_redirects=False) as response:
            page = await response.text()
            assert response.status in {200, 302, 303}, page
            if response.status == 200:
                found = re.search(r'name="prompt" value="(login|consent)"', page)
                assert found, page
                form = {"prompt": found[1], "login": account, "password": "any"}
                continue
            url, form = url.join(URL(response.headers["Location"])), None
        if str(url).startswith(CALLBACK):
            return url
    raise AssertionError(f"the sign-in does not end: {url}")
