# SPDX-License-Identifier: Apache-2.0
"""``sekisho sample``: each service as a process of its own, asked by ``sample call``."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

SEKISHO = [sys.executable, "-m", "proxy.cli", "sample"]


@contextlib.contextmanager
def serving(*arguments: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """Start a service on a free port; yields its URL, and stops it in order."""
    command = [*SEKISHO, *arguments, "--listen", "127.0.0.1:0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        told = process.stdout.readline()
        assert told.startswith("serving on "), process.communicate()
        yield told.split()[-1], process
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")


def _run(*arguments: str, trust: Path | None = None) -> "subprocess.CompletedProcess[str]":
    trusted = {} if trust is None else {"SSL_CERT_FILE": str(trust)}
    env = {**os.environ, **trusted}  # noqa: TID251 - a child's
    return subprocess.run([*SEKISHO, *arguments], capture_output=True, text=True, timeout=60, check=False, env=env)


@pytest.mark.parametrize(
    ("verb", "path", "body"),
    [("api", "/v1/status", {"status": "ok"}), ("directory", "/countries/42", {"country": "JP"})],
)
def test_a_service_answers_and_what_it_does_not_know_is_a_refusal(verb: str, path: str, body: object) -> None:
    with serving(verb) as (url, _):
        answer = _run("call", url + path)
        assert answer.returncode == 0
        status, shown = answer.stdout.splitlines()
        assert (status, json.loads(shown)) == ("200", body)
        refused = _run("call", f"{url}/nothing")
        assert (refused.returncode, refused.stdout.splitlines()[0]) == (1, "404")


def test_the_issuer_publishes_keys_and_gives_tokens_over_tls(tmp_path: Path) -> None:
    shown = tmp_path / "shown.pem"
    flags = ("issuer", "--keys", str(tmp_path), "--certificate", str(shown), "--name", "issuer")
    with serving(*flags) as (served, _), serving("api") as (api, _):
        url = served.replace("127.0.0.1", "localhost")
        assert url.startswith("https://")
        published = _run("call", f"{url}/corp/jwks.json", trust=shown)
        assert published.returncode == 0
        assert '"keys"' in published.stdout
        assert _run("call", "--as", "wang", "--issuer", url, f"{api}/v1/status", trust=shown).returncode == 0
        untrusted = _run("call", f"{url}/corp/jwks.json")
        assert (untrusted.returncode, untrusted.stdout.split(": ")[1]) == (1, "ClientConnectorCertificateError.\n")


async def test_the_receiver_prints_what_it_is_told() -> None:
    with serving("receiver") as (url, process):
        alert = {"status": "firing", "labels": {"alertname": "A\x1b[2J"}, "annotations": {"summary": "s"}}
        async with aiohttp.ClientSession() as session:
            await session.post(f"{url}/operators", json={"receiver": "operators", "alerts": [alert]})
        assert process.stdout is not None
        assert process.stdout.readline() == "operators <- firing - A\N{REPLACEMENT CHARACTER}[2J: s {}\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("call", "--as", "wang", "http://127.0.0.1:1/"), "--as NAME and --issuer URL belong together"),
        (("story", "--issuer", "http://x", "--at", "osaka=http://x"), "'osaka' is no network of the story"),
        (("api", "--listen", "9000"), "'9000' is no HOST:PORT"),
        (("directory", "--listen", "192.0.2.1:9000"), "The address 192.0.2.1:9000 cannot be bound"),
        (("issuer", "--keys", "/nonexistent"), "/nonexistent/corp.pem cannot be made"),
    ],
    ids=["half a token", "another network", "no port", "an address of another machine", "no folder"],
)
def test_what_cannot_be_used_is_said_in_a_sentence(arguments: tuple[str, ...], told: str) -> None:
    run = _run(*arguments)
    assert (run.returncode, run.stdout) == (2, "")
    assert told in run.stderr
    assert "Traceback" not in run.stderr


def test_a_story_without_a_gateway_says_so(tmp_path: Path) -> None:
    with serving("issuer", "--keys", str(tmp_path)) as (url, _):
        run = _run("story", "--issuer", url, "--at", "tokyo-vpn=http://127.0.0.1:1")
    assert run.returncode == 2
    assert "no answer from http://127.0.0.1:1/v1/jp/users/42" in run.stderr
