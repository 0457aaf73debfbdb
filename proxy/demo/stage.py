# SPDX-License-Identifier: Apache-2.0
"""Starts the demo's services on free ports of loopback, and plays the story through the gateway."""

import contextlib
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
from aiohttp import web
from yarl import URL

from proxy.bundle.snapshot import Snapshot
from proxy.clock import unix_seconds
from proxy.demo.issuer import Issuer, make_issuer_app, make_key
from proxy.demo.people import generate_payments, generate_reports, generate_users
from proxy.demo.records import create_database
from proxy.demo.sample_api import create_app
from proxy.demo.story import STORY, Person, Scene
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


class Played(msgspec.Struct, frozen=True):
    """One scene as it went."""

    scene: Scene
    status: int
    record: Mapping[str, Any]
    """Its line in the ledger."""

    @property
    def by(self) -> str:
        """The determining rule, or the reason where it did not come to a decision."""
        return self.record.get("rule") or str(self.record.get("reason"))

    @property
    def as_expected(self) -> bool:
        """Whether answer and record are the expected ones."""
        return self.status == self.scene.status and self.by == self.scene.by


class Stage:
    """The demo's services, running.

    Args:
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
        gateway: str,
        admin: str,
        ledger: Path,
        verifier: Path,
        snapshot: Snapshot,
        issuers: dict[str, Issuer],
        stop: Callable[[], Awaitable[None]],
    ) -> None:
        self.gateway = gateway
        self.admin = admin
        self.ledger = ledger
        self.verifier = verifier
        self.stop = stop
        """Ends the gateway in order; the ledger stays as it leaves it."""
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
        method, _, target = scene.request.partition(" ")
        headers = {"X-Forwarded-For": scene.forwarded_for}
        if scene.person is not None:
            headers["Authorization"] = f"Bearer {self.token(scene.person, scene.token)}"
        if scene.body is not None:
            headers["Content-Type"] = "application/json"
        url = URL(self.gateway + target, encoded=True)
        async with session.request(method, url, headers=headers, data=scene.body) as response:
            await response.read()
            decision_id = response.headers.get("Sekisho-Decision-Id", "")
            return Played(scene, response.status, self.find_record(decision_id))

    async def play_all(self) -> list[Played]:
        """Play the whole story."""
        async with aiohttp.ClientSession() as session:
            return [await self.play(session, scene) for scene in STORY]

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
    """Start the sample API, the issuers and the gateway; stop them in order at the end.

    Args:
        policies: the policy folder.
        flags: settings of the gateway to change.
    """
    issuers = {"corp": Issuer("https://idp.ly.example", "RS256"), "naver-sso": Issuer("https://sso.naver.example")}
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sekisho-demo-")))
        users = list(generate_users())
        create_database(folder / "users.sqlite", users, generate_reports(users), generate_payments(users))
        api = await _serve(stack, create_app(folder / "users.sqlite"))
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
                "upstream": {"users": api},
                "jwks": {name: f"{idp}/{name}/jwks.json" for name in issuers},
                **flags,
            }
        )
        serving = await stack.enter_async_context(contextlib.AsyncExitStack())
        running = await serving.enter_async_context(run_gateway(settings))
        yield Stage(
            gateway=f"http://{running.listen}",
            admin=f"http://{running.admin}",
            ledger=settings.ledger,
            verifier=verifier,
            snapshot=running.in_force(),
            issuers=issuers,
            stop=serving.aclose,
        )


async def _serve(stack: contextlib.AsyncExitStack, app: web.Application) -> str:
    """Serve an application on a free port and return its URL."""
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    return f"http://{host}:{port}"
