# SPDX-License-Identifier: Apache-2.0
"""A gateway that is killed under load, again and again; what its ledger holds is compared with what was seen of it.

- Nothing is asked of the process: SIGKILL at a moment drawn from a seed, while many requests are under way, or while it
  starts (and so goes on behind what the last kill has left).
- *Seen* is what callers got (each answer names its record) and what the API was asked to change. Each of them must have
  its record, saying the same, and the whole ledger must verify after every start.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random  # noqa: TID251 - moments drawn from a seed, no secrets
from typing import Any, Final

import aiohttp
from aiohttp import web

from bench.harness import BenchError
from bench.identity import AFFILIATE, AUDIENCE, ISSUER, LISTED_AFFILIATE, Issuer
from bench.processes import LOOPBACK, free_port
from proxy.clock import elapsed_seconds, unix_seconds
from proxy.ledger.audit import verify_folder
from proxy.ledger.key_ring_file import make_key_file
from proxy.ledger.note import SigningKey
from proxy.ledger.pseudonym import period_of
from proxy.ledger.segments import list_segments

ROOT: Final = Path(__file__).parents[1]
START_SECONDS: Final = 60.0
WORKERS: Final = 48
"""Requests under way at a time."""
DECISION_ID: Final = "Sekisho-Decision-Id"
KEY: Final = SigningKey.generate("ledger.example/killed")

MANIFEST: Final = """\
language: 1
bundle: kills
ties: [employer, residence, control]
files: {policy.yaml: [issuers, affiliates, country_sets, control_rules, apis, rules]}
"""
POLICY: Final = f"""\
issuers:
  - id: login
    operated_by: {AFFILIATE}
    issuer: {ISSUER}
    audience: ["{AUDIENCE}"]
    jwks: file:jwks.json
    algorithms: [RS256]
    may_assert: {{affiliate: any}}
    attributes: {{affiliate: affiliate, residence: residence_country}}
affiliates:
  - {{id: {AFFILIATE}, country: JP, home: true}}
  - {{id: {LISTED_AFFILIATE}, country: CN, owners: [{{id: {AFFILIATE}, share: 100}}]}}
country_sets: {{listed: [CN]}}
control_rules: [{{id: majority, threshold: 50, default: true}}]
apis:
  - id: users
    upstream: {{url: "http://127.0.0.1:9", hosted_in: JP}}
    routes:
      - id: user
        methods: [GET]
        path: /v1/users/{{user_id}}
        action: read
        subject: {{country: JP, id: "{{user_id}}", authoritative: {{by: users-team, review_by: 2027-06-30}}}}
        fields: {{"$.name": user.name}}
      - id: photo
        methods: [GET]
        path: /v1/users/{{user_id}}/photo
        action: read
        subject: {{country: JP, id: "{{user_id}}", authoritative: {{by: users-team, review_by: 2027-06-30}}}}
        fields: {{"$.name": user.name}}
      - id: phone
        methods: [PUT]
        path: /v1/users/{{user_id}}/phone
        action: update
        subject: {{country: JP, id: "{{user_id}}", authoritative: {{by: users-team, review_by: 2027-06-30}}}}
        fields: {{"$.name": user.name}}
rules:
  - id: no-listed-affiliate
    effect: deny
    when: {{subject.country: JP, caller.countries: {{any: $listed}}}}
  - id: own-staff
    effect: allow
    when: {{caller.affiliate: {AFFILIATE}, subject.country: JP}}
"""


@dataclass(frozen=True, slots=True)
class Answered:
    """What a caller got."""

    decision_id: str
    status: int


@dataclass(slots=True)
class Seen:
    """What was seen of a gateway from outside since its last start."""

    answers: list[Answered] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    """Ids of requests that are no reads and have reached the API."""


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill, and what the ledger said after the next start."""

    when: str
    answers: int
    changes: int
    lines: int
    """Of the whole ledger after it."""
    cut_bytes: int
    """Of an unfinished last line."""
    start_seconds: float
    problems: tuple[str, ...]


class Api:
    """An API that notes which changes it was asked to make."""

    def __init__(self) -> None:
        self.seen = Seen()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer: small, in pieces, or a change."""
        if request.method == "PUT":
            self.seen.changes.append(request.headers[DECISION_ID])
            await request.read()
            return web.Response(status=204)
        if not request.path.endswith("/photo"):
            return web.json_response({"name": "Hanako", "phone": "+81-3-0000-0000"})
        response = web.StreamResponse()
        with contextlib.suppress(ConnectionResetError):  # whoever asked was killed
            await response.prepare(request)
            for _ in range(4):
                await response.write(b"x" * 4096)
                await asyncio.sleep(0)
            await response.write_eof()
        return response


@contextlib.asynccontextmanager
async def serve(api: Api) -> AsyncIterator[str]:
    """Serve the API; yields its URL."""
    runner = web.ServerRunner(web.Server(api.handle), shutdown_timeout=0)
    await runner.setup()
    try:
        await web.TCPSite(runner, LOOPBACK, 0).start()
        yield "http://{}:{}".format(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()


class Killed:
    """A gateway with a folder of its own, to be started and killed.

    Args:
        folder: for all it needs, and its ledger.
        upstream: URL of the API.
        durability: of its ledger.
    """

    def __init__(self, folder: Path, upstream: str, durability: str) -> None:
        self.ledger = folder / "ledger"
        self.issuer = Issuer()
        self._folder = folder
        self._upstream = upstream
        self._durability = durability
        policies = folder / "policies"
        policies.mkdir(parents=True)
        (policies / "bundle.yaml").write_text(MANIFEST)
        (policies / "policy.yaml").write_text(POLICY)
        (policies / "jwks.json").write_text(self.issuer.key_set())
        (folder / "ledger.key").write_text(f"{KEY.render()}\n")
        (folder / "ledger.key").chmod(0o600)
        make_key_file(folder / "pseudonym.key", period_of(unix_seconds()))

    async def spawn(self, port: int) -> asyncio.subprocess.Process:
        """Start the process; it serves some time later."""
        flags = {
            "listen": f"{LOOPBACK}:{port}",
            "admin": f"{LOOPBACK}:0",
            "policies": self._folder / "policies",
            "ledger": self.ledger,
            "ledger-key": self._folder / "ledger.key",
            "ledger-durability": self._durability,
            "pseudonym-key": self._folder / "pseudonym.key",
            "upstream": f"users={self._upstream}",
        }
        settings = {"SEGMENT_MEGABYTES": 1, "CHECKPOINT_LINES": 100, "CHECKPOINT_SECONDS": 0.5}
        with (self._folder / "log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                "env",
                *(f"SEKISHO_LEDGER_{name}={value}" for name, value in settings.items()),
                *(sys.executable, "-m", "proxy.cli", "run"),
                *(part for name, value in flags.items() for part in (f"--{name}", str(value))),
                stdout=log,
                stderr=log,
                cwd=ROOT,
            )

    async def start(self) -> tuple[asyncio.subprocess.Process, str]:
        """Start the process and wait until it serves; return it and its URL.

        Raises:
            BenchError: it ends instead, or takes too long.
        """
        port = free_port()
        process = await self.spawn(port)
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await _accepts(port):
                    if process.returncode is not None:
                        raise BenchError(  # noqa: TRY301
                            f"the gateway ended with {process.returncode}: {self.log()[-2000:]}"
                        )
                    await asyncio.sleep(0.02)
        except BaseException:
            await kill(process)
            raise
        return process, f"http://{LOOPBACK}:{port}"

    def log(self) -> str:
        """Return what it has logged."""
        return (self._folder / "log").read_text(encoding="utf-8", errors="replace")


async def _accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(LOOPBACK, port)
    except OSError:
        return False
    writer.close()
    return True


async def kill(process: asyncio.subprocess.Process) -> None:
    """Kill a process that was started here, and wait until it is gone."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


@contextlib.asynccontextmanager
async def load(url: str, issuer: Issuer, seen: Seen) -> AsyncIterator[None]:
    """Send requests of all kinds in the block, and let them fail behind it."""
    own, others = issuer.token(), issuer.token(affiliate=LISTED_AFFILIATE)
    kinds = [("GET", "", own), ("GET", "/photo", own), ("PUT", "/phone", own), ("GET", "", others)]
    is_over = False

    async def work(session: aiohttp.ClientSession, number: int) -> None:
        method, rest, token = kinds[number % len(kinds)]
        headers = {"Authorization": f"Bearer {token}"}
        while not is_over:
            try:
                async with session.request(method, f"{url}/v1/users/{number}{rest}", headers=headers) as response:
                    seen.answers.append(Answered(response.headers[DECISION_ID], response.status))
                    await response.read()
            except (aiohttp.ClientError, OSError):
                await asyncio.sleep(0)

    timeout = aiohttp.ClientTimeout(total=20)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        workers = [asyncio.ensure_future(work(session, number)) for number in range(WORKERS)]
        try:
            yield
        finally:
            is_over = True
            await asyncio.gather(*workers)


class Books:
    """The ledger as it grows: which decisions it holds.

    Args:
        ledger: its folder.
    """

    def __init__(self, ledger: Path) -> None:
        self._ledger = ledger
        self._read = 0
        self._decisions: dict[str, dict[str, Any]] = {}
        self.cut_bytes = 0
        """Of unfinished last lines, since the last look."""

    def check(self, seen: Seen) -> tuple[int, list[str]]:
        """Return how many lines there are, and whatever does not go together with what was seen."""
        report = verify_folder(self._ledger, [KEY.verifier])
        # Who is killed within the first minute has signed nothing yet, and that is what verify says.
        problems = [str(fault) for fault in report.faults if fault.kind != "unsigned" or report.checkpoints]
        self._take()
        for answer in seen.answers:
            record = self._decisions.get(answer.decision_id)
            if record is None:
                problems.append(f"an answer {answer.status} has no record: {answer.decision_id}")
            elif answer.status < 300 and not record["released"]:
                problems.append(f"the record of an answer {answer.status} says that none left: {record}")
        for decision_id in seen.changes:
            record = self._decisions.get(decision_id)
            if record is None or not record["released"]:
                problems.append(f"a change reached the API without its record: {decision_id}")
        return report.lines, problems

    def _take(self) -> None:
        """Read the lines that are new."""
        self._decisions.clear()
        self.cut_bytes = 0
        segments = list_segments(self._ledger)
        ends = [segment.first for segment in segments[1:]]
        for segment, end in zip(segments, [*ends, sys.maxsize], strict=True):
            if end <= self._read:
                continue
            for line in segment.path.read_bytes().splitlines()[max(0, self._read - segment.first) :]:
                record = json.loads(line)
                self._read = record["n"] + 1
                if record["line"] == "decision":
                    self._decisions.setdefault(record["id"], record)
                elif record["line"] == "recovered":
                    self.cut_bytes += record["cut_bytes"]


async def run(
    folder: Path, durability: str, kills: int, seed: int, *, longest: float = 1.0, at_start: float = 0.0
) -> AsyncGenerator[Kill, None]:
    """Kill a gateway so often; yields each kill.

    Args:
        folder: for all that is needed.
        durability: ``written`` or ``synced``.
        kills: how many.
        seed: of the moments.
        longest: seconds under load before a kill, at most.
        at_start: the share of kills that are followed by one while it starts.

    Raises:
        BenchError: it does not start.
    """
    chance, api = Random(seed), Api()  # noqa: S311 - no secrets
    async with serve(api) as upstream:
        gateway = Killed(folder, upstream, durability)
        books = Books(gateway.ledger)
        process, url = await gateway.start()
        took = 1.0
        try:
            for _ in range(kills):
                seen = api.seen = Seen()
                after = chance.uniform(0.05, longest)
                async with load(url, gateway.issuer, seen):
                    await asyncio.sleep(after)
                    await kill(process)
                when = f"{after * 1000:.0f} ms under load"
                if chance.random() < at_start:
                    after = chance.uniform(0.0, took)
                    process = await gateway.spawn(free_port())
                    await asyncio.sleep(after)
                    await kill(process)
                    when += f", {after * 1000:.0f} ms after its start"
                began = elapsed_seconds()
                process, url = await gateway.start()
                took = elapsed_seconds() - began
                lines, problems = await asyncio.to_thread(books.check, seen)
                counts = len(seen.answers), len(seen.changes)
                yield Kill(when, *counts, lines, books.cut_bytes, took, tuple(problems))
        finally:
            await kill(process)
