# SPDX-License-Identifier: Apache-2.0
"""Gateways that live through what panels and alerts are about, each in a scene of its own.

A scene starts its gateway, says where its metrics are, and plays. What came of it stands in its ledger, and in what the
script says here: expectations are drawn from these two, on another way than the metrics.
"""

import asyncio
import contextlib
import itertools
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
from aiohttp import web

from deploy.monitoring.alerts.dependencies import BROKEN
from proxy.clock import unix_seconds
from proxy.counting import MAX_CHILDREN
from proxy.demo.stage import Stage, run_stage
from proxy.demo.story import BEIJING, SATO, SHANGHAI, TOKYO_VPN, Person, Scene
from proxy.ledger.pseudonym import KeyRing
from proxy.ledger.tree_head import TreeHead, sign_tree_head
from proxy.ledger.witness_place import encode_origin
from tests.support.command import write_policies
from tests.support.keys import KEY as PSEUDONYM_KEY
from tests.support.keys import SUBJECTS_KEY, write_pseudonym_keys
from tests.support.ledger import KEY, read_records
from tests.support.mmdb import write_database
from tests.support.watch import poll
from tests.support.world import ENGINEER, OFFICE, STAFF, World, headers, run_world, serve_raw, wait_for

DAY: Final = 86400
PROBED: Final = 27
"""Data subjects whom one caller tries, one after the other: more than anybody would by mistake."""
SUBJECTS: Final = tuple(str(6 * at) for at in range(1, PROBED + 1))
"""Their ids; every sixth is a Japanese user's."""
DOORS: Final = (
    "GET /v1/jp/reports/42",
    "GET /v1/jp/export",
    "GET /v1/law-enforcement/jp/users/42",
    "GET /v1/users/by-id/42",
    "GET /v1/jp/payments/42",
    "GET /v1/jp/friends/42",
    "GET /v2/users",
)
"""Routes that one caller tries, two of them that nobody declared."""
COMMUTER: Final = Person("Goto", "goto", "ly", residence="HK", groups=("audit",))
"""Who may read payments, but those of Japanese users as little as anybody who lives there."""
PAGES: Final = 8
"""Lists of payments that this one asks for: each loses some records, together more than daily work does."""
GRANT: Final = "LE-2026-7"
GRANTED: Final = "48"
"""Whose data the grant is about."""


async def _do_nothing() -> None:
    """For who has nothing more to play."""


class Playing(msgspec.Struct, frozen=True):
    """A scene whose gateway runs."""

    name: str
    """By which Prometheus knows the gateway."""
    admin: str
    """Host and port of its metrics; nobody listens there where the scene is that it is down."""
    play: Callable[[], Awaitable[None]]
    go_on: Callable[[], Awaitable[None]] = _do_nothing
    """What it plays once all that was played before is seen."""
    ledger: Path | None = None
    job: str = "sekisho"

    def records(self, line: str = "decision") -> list[dict[str, Any]]:
        """Return the lines of its ledger."""
        return [] if self.ledger is None else read_records(self.ledger, line)

    def count_lines(self) -> int:
        """Return how many lines its ledger has of what happened; its own seals and covers are none of them."""
        lines = [] if self.ledger is None else read_records(self.ledger)
        return sum(line["line"] not in {"segment", "checkpoint"} for line in lines)


RULE_FILES: Final = tuple(f"policies/rules/{name}.yaml" for name in ("allow", "deny", "mask", "trial"))
"""Of the lively gateway, below its folder."""
LIVELY: Final = (
    (
        "bundle.yaml",
        "  rules/deny.yaml: [rules]\n",
        "  rules/deny.yaml: [rules]\n  rules/trial.yaml: [rules]\n  grants.yaml: [grants]\n",
    ),
    ("rules/deny.yaml", "  - id: jp-not-from-china\n", "  - id: jp-not-from-china\n    liftable: true\n"),
    ("rules/allow.yaml", "  - id: status-is-public\n", "  - id: status-is-public\n    review_by: 2024-01-31\n"),
)
TRIAL: Final = """\
rules:
  - id: reports-in-the-office
    effect: deny
    mode: shadow
    title: Reports are read in the Tokyo office alone
    when: {resource.route: report, origin.network: {none: [tokyo-office]}}
  - id: a-thousand-a-day
    effect: deny
    title: Nobody reads a thousand users a day
    when: {resource.route: user, subject.country: JP, counts.subjects_24h: {gt: 1000}}
"""


@contextlib.asynccontextmanager
async def run_lively(folder: Path) -> AsyncIterator[Playing]:
    """The demo's whole story, a grant that is used, who tries doors, who loses records, and a reload that succeeds."""
    policies = write_policies(folder / "policies", *LIVELY)
    (policies / "rules" / "trial.yaml").write_text(TRIAL, encoding="utf-8")
    (policies / "grants.yaml").write_text("grants: []\n", encoding="utf-8")
    key = write_pseudonym_keys(folder / "pseudonym.key")
    _grant(policies, key)
    settings = {"pseudonym_key": key, "ledger_checkpoint_seconds": 1, "watch_seconds": 0.1}
    async with run_stage(policies, **settings) as stage:

        async def play() -> None:
            assert all(played.as_expected for played in await stage.play_all())
            assert all(viewed.as_expected for viewed in await stage.view_all())
            trip = f"GET /v1/jp/users/{GRANTED}"
            (played,) = await stage.play_all([Scene("A trip", SATO, BEIJING, trip, 200, "ly-staff-read-japan")])
            assert played.as_expected, played
            targets = [f"GET /v1/jp/users/{user}" for user in SUBJECTS]
            tries = [Scene("Doors", SHANGHAI, TOKYO_VPN, target, 403, "") for target in (*targets, *DOORS)]
            assert {played.status for played in await stage.play_all(tries)} == {403, 404}
            page = Scene("A page", COMMUTER, OFFICE, "GET /v1/payments?limit=100", 200, "auditors-read-payments")
            assert all(played.as_expected for played in await stage.play_all([page] * PAGES))
            await _reload(stage, policies)

        yield Playing("lively", stage.admin.removeprefix("http://"), play, ledger=stage.ledger)


def _grant(policies: Path, key: Path) -> None:
    begin, end = (datetime.fromtimestamp(unix_seconds() + seconds, UTC).isoformat() for seconds in (-60, DAY))
    run = subprocess.run(
        [
            sys.executable, "-m", "proxy.cli", "grant", "new", str(policies), "--id", GRANT,
            "--lifts", "jp-not-from-china", "--when", "{caller.affiliate: ly}", "--subject", f"users:{GRANTED}",
            "--approved-by", "corp|alice", "--approved-by", "corp|bob", "--from", begin, "--until", end,
            "--pseudonym-key", str(key),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr


async def _reload(stage: Stage, policies: Path) -> None:
    before = len(_bundles(stage.ledger))
    path = policies / "rules" / "allow.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("is no secret", "is no secret at all"), encoding="utf-8")
    await wait_for(lambda: len(_bundles(stage.ledger)) == before + 1, 60)


def _bundles(ledger: Path) -> list[dict[str, Any]]:
    return read_records(ledger, "bundle")


OLD: Final = 20 * DAY
"""Age of a geolocation database that somebody should renew."""
OBSERVED: Final = 3
"""Requests that observe mode lets through."""


@contextlib.asynccontextmanager
async def run_observing(folder: Path) -> AsyncIterator[Playing]:
    """A gateway in observe mode, whose witness keeps something else than it signs, and whose keys have run out."""
    until = datetime.fromtimestamp(unix_seconds() + DAY, UTC).isoformat()
    manifest = f"mode: observe\nobserve_until: {until}\n# "
    policies = write_policies(folder / "policies", ("bundle.yaml", "mode: enforce ", manifest))
    witness = folder / "witness"
    witness.mkdir()
    ring = write_pseudonym_keys(folder / "old.key", KeyRing(SUBJECTS_KEY, {"2020-01": PSEUDONYM_KEY}))
    countries = write_countries(folder, OLD)
    settings = {
        "ledger_witness": [str(witness)],
        "ledger_checkpoint_seconds": 1,
        "pseudonym_key": ring,
        "geoip": countries,
    }
    async with (
        serve_raw(_answer) as api,
        run_world(folder, api, policies=policies, **settings) as world,
    ):

        async def play() -> None:
            _keep_others(witness)
            assert [await ask(world, "/v1/jp/users/42", ENGINEER) for _ in range(OBSERVED)] == [200] * OBSERVED

        yield Playing("observing", world.admin.removeprefix("http://"), play, ledger=world.ledger)


def write_countries(folder: Path, age: int) -> Path:
    """Write a geolocation database that was built that many seconds ago."""
    path, known = folder / "countries.mmdb", {"198.51.100.0/24": {"country": {"iso_code": "JP"}}}
    return write_database(path, known, kind="GeoIP2-Country", built=int(unix_seconds()) - age)


def _keep_others(witness: Path) -> None:
    """Have a witness hold a checkpoint of every size to come, of another ledger that goes by the same name."""
    place = witness / encode_origin(KEY.name)
    place.mkdir(exist_ok=True)
    for size in range(1, 200):
        path = place / f"{size:020}.checkpoint"
        if not path.exists():
            path.write_text(sign_tree_head(KEY, TreeHead(KEY.name, size, bytes(32))), encoding="utf-8")


SEATS: Final = 6
"""Connections that the crowded gateway takes."""
TURNED_AWAY: Final = 12
FOLDED: Final = 28
"""Requests to undeclared targets, beyond as many as a metric tells apart."""
_WORDS: Final = (
    "v1", "users", "reports", "law-enforcement", "export", "by-id", "search", "phone", "payments", "feed", "status",
    "friends",
)  # fmt: skip
"""Words that routes declare, and one that none does: their shapes are told apart."""
MISSHAPEN: Final = 7
"""Answers of its API that are not what their route declares."""
CUT: Final = BROKEN + 1
"""Answers of its API that break off: more than a restart of it costs."""


@contextlib.asynccontextmanager
async def run_crowded(folder: Path) -> AsyncIterator[Playing]:
    """A gateway with few seats, before an API that answers what it did not declare, or only half of it."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/v1/users":
            return web.Response(body=b"<html>", content_type="text/html")
        response = web.StreamResponse(headers={"Content-Length": "100", "Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(b'{"id":')
        assert request.transport is not None
        request.transport.close()
        return response

    seated: list[asyncio.StreamWriter] = []
    settings = {"max_connections": SEATS, "client_idle_seconds": DAY}  # who holds a seat says nothing, and keeps it
    async with serve_raw(handle) as api, run_world(folder, api, **settings) as world:

        async def play() -> None:
            for _ in range(MISSHAPEN):
                assert await ask(world, "/v1/users?limit=2", STAFF) == 502
            for _ in range(CUT):
                with contextlib.suppress(aiohttp.ClientError):
                    await ask(world, "/v1/jp/users/42", STAFF)
            await _flood(world)
            await poll(lambda: _is_left(world))
            held = [await asyncio.open_connection(world.host, world.port) for _ in range(SEATS)]
            for _ in range(TURNED_AWAY):
                assert await ask(world, "/v1/jp/users/42", STAFF) == 503
            seated.extend(writer for _, writer in held)

        try:
            yield Playing("crowded", world.admin.removeprefix("http://"), play, ledger=world.ledger)
        finally:
            for writer in seated:
                writer.close()


async def _flood(world: World) -> None:
    """Ask for more shapes of undeclared targets than a metric has room for, each once."""
    shapes = [f"/v9/{'/'.join(words)}" for words in itertools.product(_WORDS, repeat=3)]
    targets = [(method, shape) for method in ("GET", "DELETE") for shape in shapes][: MAX_CHILDREN + FOLDED]
    fields = headers(STAFF)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=SEATS - 1)) as session:

        async def send(method: str, target: str) -> int:
            async with session.request(method, world.url + target, headers=fields) as response:
                return response.status

        assert {*await asyncio.gather(*(send(*target) for target in targets))} == {404}


async def _is_left(world: World) -> bool:
    """Say whether the gateway knows that every caller has hung up."""
    async with aiohttp.request("GET", f"{world.admin}/metrics") as response:
        return "\nsekisho_connections 0.0\n" in await response.text()


async def ask(world: World, target: str, claims: dict[str, Any], address: str = OFFICE, **changes: Any) -> int:
    """Ask a gateway, on a connection of its own, and return the status."""
    fields = {**headers(claims, address), **changes}
    async with aiohttp.request("GET", world.url + target, headers=fields) as response:
        await response.read()
        return response.status


async def _answer(_request: web.BaseRequest) -> web.StreamResponse:
    return web.json_response({"id": "42", "name": "Taro"})
