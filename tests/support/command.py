# SPDX-License-Identifier: Apache-2.0
"""``sekisho run`` as a process of its own, on the reference bundle with an issuer of the test's."""

import asyncio
import contextlib
import json
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

from tests.support.keys import write_pseudonym_keys
from tests.support.ledger import read_records, write_ledger_key
from tests.support.watch import poll
from tests.support.world import OFFICE, POLICIES

START_SECONDS: Final = 60
STOP_SECONDS: Final = 30


class Answered(msgspec.Struct, frozen=True):
    """What came of a request: for its caller, and in the ledger."""

    status: int
    record: Mapping[str, Any]

    @property
    def by(self) -> str:
        """The determining rule, or the reason where it did not come to a decision."""
        return str(self.record.get("rule") or self.record["reason"])

    @property
    def outcome(self) -> tuple[int, str]:
        """Answer and cause."""
        return self.status, self.by


class Command(msgspec.Struct, frozen=True):
    """A gateway that runs."""

    url: str
    admin: str
    folder: Path

    async def ask(self, token: str, request: str, address: str = OFFICE) -> Answered:
        """Send one request as the edge proxy would, and find its record."""
        method, _, target = request.partition(" ")
        headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": address}
        async with aiohttp.request(method, self.url + target, headers=headers) as response:
            await response.read()
            decision_id = response.headers["Sekisho-Decision-Id"]
        records = read_records(self.folder / "ledger", "decision")
        return Answered(response.status, next(record for record in records if record["id"] == decision_id))

    async def readiness(self) -> tuple[int, dict[str, Any]]:
        """Return what ``/readyz`` says."""
        async with aiohttp.request("GET", f"{self.admin}/readyz") as response:
            return response.status, await response.json()

    async def key_fetches(self, issuer: str, result: str) -> int:
        """Return how often an issuer's keys were fetched with that result, by the metrics."""
        async with aiohttp.request("GET", f"{self.admin}/metrics") as response:
            lines = (await response.text()).splitlines()
        begin = f'sekisho_key_fetches_total{{issuer="{issuer}",result="{result}"}} '
        return int(sum(float(line.removeprefix(begin)) for line in lines if line.startswith(begin)))


def write_policies(folder: Path, *edits: tuple[str, str, str]) -> Path:
    """Write the reference bundle with edits: in a file, of a text that stands there once."""
    shutil.copytree(POLICIES, folder)
    for name, old, new in edits:
        path = folder / name
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {name}"
        path.write_text(text.replace(old, new), encoding="utf-8")
    return folder


async def start_command(
    folder: Path,
    policies: Path,
    settings: Mapping[str, float],
    *,
    admin: str = "127.0.0.1:0",
    upstream: str,
    jwks: Mapping[str, str],
) -> asyncio.subprocess.Process:
    """Start the gateway.

    Args:
        folder: where what it keeps goes, and its log.
        policies: the policy folder.
        settings: for its environment, by name.
        admin: where probes and metrics shall be.
        upstream: the API's URL.
        jwks: issuer to the URL of its keys, where it is another than in the folder.
    """
    folder.mkdir(exist_ok=True)
    write_pseudonym_keys(folder / "pseudonym.key")
    flags = {
        "policies": policies,
        "listen": "127.0.0.1:0",
        "admin": admin,
        "ledger": folder / "ledger",
        "ledger-key": write_ledger_key(folder / "ledger.key"),
        "pseudonym-key": folder / "pseudonym.key",
    }
    arguments = [part for name, value in flags.items() for part in (f"--{name}", str(value))]
    arguments += [part for place in ("users", "users/JP") for part in ("--upstream", f"{place}={upstream}")]
    arguments += [part for name, place in jwks.items() for part in ("--jwks", f"{name}={place}")]
    variables = [f"SEKISHO_{name.upper()}={value}" for name, value in settings.items()]
    with (folder / "log").open("wb") as log:
        return await asyncio.create_subprocess_exec(
            "env", *variables, sys.executable, "-m", "proxy.cli", "run", *arguments, stdout=log, stderr=log
        )


@contextlib.asynccontextmanager
async def run_command(
    folder: Path, policies: Path, settings: Mapping[str, float], **options: Any
) -> AsyncIterator[Command]:
    """Run the gateway until the end of the block; arguments as of ``start_command``."""
    with reserve_port() as port:
        admin = f"127.0.0.1:{port}"
        process = await start_command(folder, policies, settings, admin=admin, **options)
        try:
            listen = await poll(lambda: _find_address(folder / "log", process), START_SECONDS)
            yield Command(f"http://{listen}", f"http://{admin}", folder)
        finally:
            if process.returncode is None:
                process.terminate()
            code = await asyncio.wait_for(process.wait(), STOP_SECONDS)
    assert code == 0, (folder / "log").read_text(encoding="utf-8")


async def _find_address(log: Path, process: asyncio.subprocess.Process) -> str:
    text = log.read_text(encoding="utf-8")
    assert process.returncode is None, text
    ready = (line for line in map(_read_line, text.split("\n")[:-1]) if line.get("message") == "ready")
    return str(next(ready, {}).get("path", ""))


def _read_line(text: str) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(text)
    return line


@contextlib.contextmanager
def reserve_port() -> Iterator[int]:
    """Keep a port of loopback for a program of ours, whether it listens there or not.

    No other program gets it meanwhile: one that listens on a port where a socket is merely bound must ask for that
    port, and both must have said that they share the address.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield int(holder.getsockname()[1])
