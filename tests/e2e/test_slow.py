# SPDX-License-Identifier: Apache-2.0
"""slowhttptest against a gateway: slow heads, slow bodies, slow readers and ranges; others are served meanwhile.

Needs Debian's ``slowhttptest``; run by ``make e2e``, not by ``make test``.
"""

import asyncio
import contextlib
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, TypeAlias

import aiohttp
import pytest
from aiohttp import web

from proxy.clock import elapsed_seconds
from proxy.demo.issuer import make_issuer_app
from tests.support.command import Command, run_command, write_policies
from tests.support.world import ISSUERS, SUPPORT, serve_app, serve_raw, token, wait_for

PROGRAM: Final = "slowhttptest"
BIG: Final = bytes(512 * 1024)
"""An answer that the buffers of a socket with a small window do not hold."""
RANGES_SECONDS: Final = 2.0
"""What thousands of ranges cost the API: without it they are answered before anybody could count who asks."""
FIELD_BYTES: Final = 32 * 1024
"""The longest field that the API reads: the ranges arrive in it."""
HONEST: Final = ("127.0.0.2", 0)
"""From where others ask; the attack comes from 127.0.0.1."""
ANSWER_SECONDS: Final = 10.0
"""The longest that they may wait, on a busy machine."""
ATTACKERS: Final = 150
LIMIT: Final = 100
SLACK: Final = 10
"""Connections beyond the limit of one address: what others need, and what the kernel still tells of after their end."""
ATTACK_SECONDS: Final = 12
SETTINGS: Final = {
    "client_head_seconds": 2, "client_body_seconds": 2, "client_read_seconds": 2, "client_idle_seconds": 2,
    "max_connections": LIMIT + SLACK, "max_connections_per_address": LIMIT, "max_requests_per_address": LIMIT,
}  # fmt: skip
"""Small, so that the attack meets its deadlines several times over.

What one address is refused takes no room in all: others get in while it tries.
"""

LASTING_SECONDS: Final = 0.5
"""A connection that is still there after so long is one that was not refused; those of an attack last 2 seconds."""
WATCH_SECONDS: Final = 0.1

ESTABLISHED: Final = {"01"}
HELD: Final = {"01", "04", "05", "08"}
"""States of a socket that something is still kept for: established, or closing with something left to send."""
Connection: TypeAlias = tuple[str, str]
"""Its end at the attack, and which socket of the gateway's it is: none ("0") while nobody has accepted it."""
COOKIE: Final = "id"
EDITS: Final = (
    # slowhttptest sends cookies, and no other field of ours; it comes from loopback itself, which is no proxy then.
    (
        "issuers.yaml",
        "    algorithms: [RS256, ES256, EdDSA]",
        f"    algorithms: [ES256]\n    token_place: {{cookie: {COOKIE}}}",
    ),
    ("networks.yaml", "    cidr: [10.20.0.0/16]", "    cidr: [127.0.0.0/8]"),
    ("networks.yaml", 'trusted_proxies: [127.0.0.1/32, "::1/128"]', "trusted_proxies: [10.255.0.1/32]"),
)

ATTACKS: Final = {
    "slow heads": ("-H", "/v1/jp/users/42"),
    "slow bodies": ("-B", "-t", "PUT", "-s", "100000", "-x", "8", "/v1/jp/users/42/phone"),
    "slow readers": ("-X", "-w", "64", "-y", "128", "-z", "8", "-n", "1", "-k", "3", "/v1/jp/users/1"),
    "ranges": ("-R", "-a", "5", "-b", "2000", "-t", "GET", "/v1/jp/users/42"),
}
"""Its options, and the path."""


@pytest.fixture(autouse=True)
def _program() -> None:
    if shutil.which(PROGRAM) is None:
        pytest.fail(f"{PROGRAM} is missing: as root, apt-get install --no-install-recommends {PROGRAM}.", pytrace=False)


async def _answer(request: web.BaseRequest) -> web.StreamResponse:
    with contextlib.suppress(ConnectionError):  # the gateway has cut an upload off
        await request.read()
    if "Range" in request.headers:
        await asyncio.sleep(RANGES_SECONDS)
    return web.Response(body=BIG if request.path.endswith("/1") else b"{}")


@contextlib.asynccontextmanager
async def _run(folder: Path) -> AsyncIterator[Command]:
    async with serve_app(make_issuer_app(ISSUERS)) as keys, serve_raw(_answer, max_field_size=FIELD_BYTES) as upstream:
        policies = write_policies(folder / "policies", *EDITS)
        jwks = {name: f"{keys}/{name}/jwks.json" for name in ISSUERS}
        async with run_command(folder / "gateway", policies, SETTINGS, upstream=upstream, jwks=jwks) as command:
            yield command


async def _attack(command: Command, *options: str) -> str:
    """Run slowhttptest to its end and return what it says."""
    *flags, path = options
    process = await asyncio.create_subprocess_exec(
        PROGRAM, "-c", str(ATTACKERS), "-r", str(ATTACKERS), "-l", str(ATTACK_SECONDS), "-i", "1", "-p", "5",
        "-j", f"{COOKIE}={token(SUPPORT)}", *flags, "-u", command.url + path,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await asyncio.wait_for(process.communicate(), 3 * ATTACK_SECONDS)
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", output.decode())


async def _ask(command: Command, until: asyncio.Event) -> list[tuple[int, float]]:
    """Ask as somebody else, over a new connection each time; returns statuses and how long each took."""
    heard = []
    while not until.is_set():
        began = elapsed_seconds()
        connector = aiohttp.TCPConnector(local_addr=HONEST)
        async with (
            aiohttp.ClientSession(connector=connector, cookies={COOKIE: token(SUPPORT)}) as session,
            session.get(f"{command.url}/v1/jp/users/42") as response,
        ):
            await response.read()
        heard.append((response.status, elapsed_seconds() - began))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(until.wait(), 0.05)
    return heard


def _find(command: Command, states: set[str]) -> set[Connection]:
    """Return the attack's connections that are in these states at the gateway's end, as the kernel tells them."""
    port, attacker = f":{int(command.url.rpartition(':')[2]):04X}", "0100007F:"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    return {
        (row[2], row[9]) for row in rows if row[1].endswith(port) and row[2].startswith(attacker) and row[3] in states
    }


async def _watch(command: Command, until: asyncio.Event) -> list[tuple[float, set[Connection]]]:
    """Return, sample by sample, when it was taken and which connections the attack had."""
    samples = []
    while not until.is_set():
        samples.append((elapsed_seconds(), _find(command, ESTABLISHED)))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(until.wait(), WATCH_SECONDS)
    return samples


def _count_lasting(samples: list[tuple[float, set[Connection]]]) -> int:
    """Return the most connections that the gateway had at once and kept: whom it refuses, it has for a moment."""
    most = 0
    for at, (began, found) in enumerate(samples):
        later = next((each for when, each in samples[at:] if when >= began + LASTING_SECONDS), set())
        most = max(most, sum(socket != "0" for _, socket in found & later))
    return most


@pytest.mark.timeout(120)
@pytest.mark.parametrize("options", ATTACKS.values(), ids=ATTACKS.keys())
async def test_others_are_served_and_the_attack_is_ended(tmp_path: Path, options: tuple[str, ...]) -> None:
    async with _run(tmp_path) as command:
        over = asyncio.Event()
        asking, watching = asyncio.ensure_future(_ask(command, over)), asyncio.ensure_future(_watch(command, over))
        try:
            said = await _attack(command, *options)
        finally:
            over.set()
            heard, samples = await asking, await watching
        slowest = max(seconds for _, seconds in heard)
        lasting = _count_lasting(samples)
        print(f"{lasting} connections at most; others waited {slowest:.1f} seconds at most")  # noqa: T201 - its report
        assert {status for status, _ in heard} == {200}
        assert slowest < ANSWER_SECONDS
        assert 0 < lasting <= LIMIT + SLACK, "the limit for one address"
        assert "No open connections left" in said or not samples[-1][1], f"it held connections to its end: {said}"
        await wait_for(lambda: not _find(command, HELD))
