# SPDX-License-Identifier: Apache-2.0
"""Starts the demo's services on free ports of loopback, and plays the story through the gateway."""

import contextlib
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp import web
from yarl import URL

from proxy.bundle.snapshot import Snapshot
from proxy.clock import unix_seconds
from proxy.demo.directory import create_directory
from proxy.demo.issuer import Issuer, make_issuer_app, make_key
from proxy.demo.people import generate_payments, generate_reports, generate_users
from proxy.demo.records import create_database
from proxy.demo.sample_api import create_app
from proxy.demo.story import ISSUERS, STORY, Person, Played, Scene
from proxy.demo.views import VIEWS, Answer, View, Viewed, find_content, find_leaks, read_answer
from proxy.ledger.key_file import write_key_pair
from proxy.ledger.key_ring_file import make_key_file
from proxy.ledger.note import SigningKey
from proxy.ledger.pseudonym import period_of
from proxy.ledger.segments import list_segments
from proxy.settings import read_settings
from proxy.wiring import run_gateway

_PACKAGED: Final = Path(__file__).parent / "policies"
_CHECKOUT: Final = Path(__file__).parents[2] / "policies"
REFERENCE_BUNDLE: Final = _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT
"""The reference bundle: inside the wheel, or beside the package in a checkout."""


class Stage:
    """The demo's services, running.

    Args:
        api: the sample API's URL, past the gateway.
        gateway: the gateway's URL.
        admin: the admin listener's URL.
        ledger: the ledger's folder.
        verifier: the file with the key that verifies it.
        snapshot: the bundle in force.
        issuers: by declared issuer id.
    """

    def __init__(
        self,
        *,
        api: str,
        gateway: str,
        admin: str,
        ledger: Path,
        verifier: Path,
        snapshot: Snapshot,
        issuers: dict[str, Issuer],
        stop: Callable[[], Awaitable[None]],
        stop_directory: Callable[[], Awaitable[None]],
    ) -> None:
        self.api = api
        self.gateway = gateway
        self.admin = admin
        self.ledger = ledger
        self.verifier = verifier
        self.stop = stop
        """Ends the gateway in order; the ledger stays as it leaves it."""
        self.stop_directory = stop_directory
        """Ends the service that tells the countries of users; what it said before is still held."""
        self.snapshot = snapshot
        self.issuers = issuers
        self._other_key = make_key("RS256")

    def token(self, person: Person, kind: str = "good") -> str:
        """Return a token of a person: ``good``, ``expired`` or ``forged``."""
        issuer = self.issuers[person.issuer]
        now = unix_seconds() - (7200 if kind == "expired" else 0)
        return issuer.token(now, key=self._other_key if kind == "forged" else None, **person.claims())

    async def play(self, session: aiohttp.ClientSession, scene: Scene) -> Played:
        """Send one scene's request as the edge proxy would, and find its record."""
        headers = {"X-Forwarded-For": scene.forwarded_for}
        if scene.person is not None:
            headers["Authorization"] = f"Bearer {self.token(scene.person, scene.token)}"
        async with _send(session, self.gateway, scene, headers) as response:
            body = await response.read()
            decision_id = response.headers.get("Sekisho-Decision-Id", "")
            return Played(scene, response.status, self.find_record(decision_id), body)

    async def play_all(self, scenes: Sequence[Scene] = STORY) -> list[Played]:
        """Play the whole story, or some of it."""
        async with aiohttp.ClientSession() as session:
            return [await self.play(session, scene) for scene in scenes]

    async def view_all(self, views: Sequence[View] = VIEWS) -> list[Viewed]:
        """Ask the API and the gateway for the same, and compare."""
        async with aiohttp.ClientSession() as session:
            return [await self._view(session, view) for view in views]

    async def _view(self, session: aiohttp.ClientSession, view: View) -> Viewed:
        async with _send(session, self.api, view.scene, {}) as response:
            before = read_answer(await response.read(), view)
        played = await self.play(session, view.scene)
        after = read_answer(played.body, view) if played.status == HTTPStatus.OK else Answer(())
        lines = [record for record in self.records() if record.get("id") == played.record.get("id")]
        leaks = find_leaks(before, played.body, view.hidden)
        return Viewed(view, played, before, after, tuple(leaks), find_content(lines))

    def records(self) -> list[dict[str, Any]]:
        """Return all lines of the ledger."""
        files = (segment.path.read_text(encoding="utf-8") for segment in list_segments(self.ledger))
        return [json.loads(line) for file in files for line in file.split("\n")[:-1]]

    def find_record(self, decision_id: str) -> dict[str, Any]:
        """Return the decision's line, empty if there is none."""
        found = (r for r in self.records() if r["line"] == "decision" and r["id"] == decision_id)
        return next(found, {})

    async def read_metrics(self) -> list[str]:
        """Return the lines of ``/metrics``."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.admin}/metrics") as response:
            return (await response.text()).splitlines()


@contextlib.asynccontextmanager
async def run_stage(policies: Path = REFERENCE_BUNDLE, **flags: Any) -> AsyncIterator[Stage]:
    """Start the sample API in two places, the directory, the issuers and the gateway; stop them in order at the end.

    Args:
        policies: the policy folder.
        flags: settings of the gateway to change.
    """
    issuers = {name: Issuer(*what) for name, what in ISSUERS.items()}
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sekisho-demo-")))
        users = list(generate_users())
        create_database(folder / "users.sqlite", users, generate_reports(users), generate_payments(users))
        korea, japan = [await _serve(stack, create_app(folder / "users.sqlite")) for _ in range(2)]
        directing = await stack.enter_async_context(contextlib.AsyncExitStack())
        directory = await _serve(directing, create_directory({user.id: user.country for user in users}))
        idp = await _serve(stack, make_issuer_app(issuers))
        key = folder / "pseudonym.key"
        make_key_file(key, period_of(unix_seconds()))
        ledger_key = folder / "ledger.key"
        verifier = write_key_pair(ledger_key, SigningKey.generate("demo.sekisho.example/ledger"))
        settings = read_settings(
            **{
                "policies": policies,
                "listen": "127.0.0.1:0",
                "admin": "127.0.0.1:0",
                "ledger": folder / "ledger",
                "ledger_key": ledger_key,
                "pseudonym_key": key,
                "upstream": {"users": korea, "users/JP": japan},
                "lookup": {"directory": f"{directory}/countries/{{id}}"},
                "jwks": {name: f"{idp}/{name}/jwks.json" for name in issuers},
                **flags,
            }
        )
        serving = await stack.enter_async_context(contextlib.AsyncExitStack())
        running = await serving.enter_async_context(run_gateway(settings))
        yield Stage(
            api=korea,
            gateway=f"http://{running.listen}",
            admin=f"http://{running.admin}",
            ledger=settings.ledger,
            verifier=verifier,
            snapshot=running.in_force(),
            issuers=issuers,
            stop=serving.aclose,
            stop_directory=directing.aclose,
        )


def _send(
    session: aiohttp.ClientSession, base: str, scene: Scene, headers: Mapping[str, str]
) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
    method, _, target = scene.request.partition(" ")
    kind = {} if scene.body is None else {"Content-Type": "application/json"}
    return session.request(method, URL(base + target, encoded=True), headers={**headers, **kind}, data=scene.body)


async def _serve(stack: contextlib.AsyncExitStack, app: web.Application) -> str:
    """Serve an application on a free port and return its URL."""
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    return f"http://{host}:{port}"
