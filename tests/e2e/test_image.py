# SPDX-License-Identifier: Apache-2.0
import asyncio
import json
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from proxy.demo.issuer import make_issuer_app
from tests.support.command import reserve_port
from tests.support.image import Rehearsal, as_another_user, give_to_user
from tests.support.keys import write_pseudonym_keys
from tests.support.ledger import read_records, write_ledger_key
from tests.support.watch import poll
from tests.support.world import ISSUERS, POLICIES, headers, serve_app, serve_raw


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="sekisho-image-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


async def _answer(_request: web.BaseRequest) -> web.StreamResponse:
    return web.json_response({"id": "42"})


def _run(command: list[str], env: dict[str, str], user: dict[str, int]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, env=env, cwd="/", capture_output=True, check=False, **user)  # type: ignore[call-overload,no-any-return]


@pytest.mark.timeout(400)
async def test_the_image_installs_starts_serves_and_stops_as_another_user(folder: Path) -> None:
    rehearsal = Rehearsal(folder)
    rehearsal.run_build()
    rehearsal.make_place("/var/lib/sekisho", owned=True)
    shutil.copytree(POLICIES, rehearsal.path("/etc/sekisho/policies"))
    secrets = rehearsal.make_place("/run/secrets")
    give_to_user(write_pseudonym_keys(secrets / "sekisho-pseudonym-key"))
    give_to_user(write_ledger_key(secrets / "sekisho-ledger-key"))
    with reserve_port() as port, reserve_port() as admin:
        await _serve_and_stop(rehearsal, f"127.0.0.1:{port}", f"127.0.0.1:{admin}")


async def _serve_and_stop(rehearsal: Rehearsal, listen: str, admin: str) -> None:
    async with serve_app(make_issuer_app(ISSUERS)) as idp, serve_raw(_answer) as upstream:
        env = rehearsal.environment() | {
            "SEKISHO_LISTEN": listen,
            "SEKISHO_ADMIN": admin,
            "SEKISHO_UPSTREAM": json.dumps({"users": upstream, "users/JP": upstream}),
            "SEKISHO_JWKS": json.dumps({name: f"{idp}/{name}/jwks.json" for name in ISSUERS}),
        }
        program = shutil.which(rehearsal.command()[0], path=env["PATH"])
        assert program == rehearsal.path("/opt/sekisho/bin/sekisho")
        user = as_another_user()
        process = subprocess.Popen(rehearsal.command(), executable=program, env=env, cwd="/", **user)  # type: ignore[call-overload]
        try:
            health = [program, *rehearsal.health()[1:]]

            async def is_healthy() -> bool:
                assert process.poll() is None, "the gateway ended"
                return (
                    await asyncio.to_thread(_run, health, env, user)
                ).returncode == 0  # it needs the issuer to start

            await poll(is_healthy, 60)
            async with aiohttp.request("GET", f"http://{listen}/v1/jp/users/42", headers=headers()) as response:
                assert (response.status, await response.json()) == (200, {"id": "42"})
            async with aiohttp.request("GET", f"http://{listen}/v1/jp/users/42") as response:
                assert response.status == 401
            if user:
                for place in (rehearsal.path("/opt/sekisho/x"), f"{rehearsal.folder}/x"):
                    assert _run(["/usr/bin/touch", place], env, user).returncode != 0
            ledger = Path(rehearsal.path("/var/lib/sekisho/ledger"))
            assert [path for path in (ledger, *ledger.rglob("*")) if path.stat().st_mode & 0o077] == []
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert [record["line"] for record in read_records(ledger)][-2:] == ["stop", "checkpoint"]


def test_nothing_else_of_the_machine_is_in_the_image_s_environment(folder: Path) -> None:
    env = Rehearsal(folder).environment()
    assert set(env) >= {
        "PATH", "SEKISHO_POLICIES", "SEKISHO_LEDGER", "SEKISHO_LEDGER_KEY", "SEKISHO_PSEUDONYM_KEY"
    }  # fmt: skip
    assert "HOME" not in env
