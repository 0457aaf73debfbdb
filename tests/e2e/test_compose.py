# SPDX-License-Identifier: Apache-2.0
"""The compose file, rehearsed: its services with its networks, volumes, users and commands, and the story in it."""

import json
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from proxy.demo.calls import NETWORKS, list_scenes
from tests.support.compose import UPSTREAM_IMAGES, Rehearsal
from tests.support.containers import missing_rights, our_image
from tests.support.watch import DEPLOY, missing_programs

COMPOSE: Final = DEPLOY / "compose" / "compose.yaml"
TOLD_SECONDS: Final = 60
FIRST_ALERT: Final = "security-team <- firing warning SekishoDeniedTiedAttempt: Denied: a caller of shanghai-digital"


@pytest.fixture(autouse=True)
def _can_be_rehearsed() -> None:
    if missing := missing_rights() or missing_programs():
        pytest.fail(missing, pytrace=False)


@pytest.fixture
def rehearsal() -> Iterator[Rehearsal]:
    folder = Path(tempfile.mkdtemp(prefix="sekisho-compose-"))
    folder.chmod(0o755)
    with Rehearsal(COMPOSE, folder, {"our": our_image(folder), **UPSTREAM_IMAGES}) as rehearsal:
        yield rehearsal
    shutil.rmtree(folder)


@pytest.mark.timeout(400)
def test_the_story_is_played_and_somebody_is_told(rehearsal: Rehearsal, capsys: pytest.CaptureFixture[str]) -> None:
    rehearsal.up()
    _check_what_callers_reach(rehearsal)

    begun = time.monotonic()
    code, told = rehearsal.run("caller")
    assert code == 0, told
    scenes = len(list_scenes(dict.fromkeys(NETWORKS.values(), "")))
    assert f"{scenes} of {scenes} outcomes are the expected ones." in told
    line = _wait_for_output(rehearsal, "receiver", FIRST_ALERT)
    with capsys.disabled():
        print(f"\n\n{told}\n  after {time.monotonic() - begun:.1f} s the receiver shows:\n    {line}\n")  # noqa: T201 - what a person sees
    assert '"tied_country": "CN"' in line

    _check_what_is_watched(rehearsal)
    _check_the_evidence(rehearsal)
    _check_that_all_of_it_starts_again(rehearsal)


def _check_what_callers_reach(rehearsal: Rehearsal) -> None:
    """Look for ways round the gateway from where callers are; beside each, that it is a way from elsewhere."""
    ways = {name: f"http://{rehearsal.address(name, 'apis')}:9000" for name in ("api-japan", "api-korea")}
    for url in ways.values():
        assert rehearsal.containers["gateway"].run("wget", "-q", "-O", "-", f"{url}/v1/status").returncode == 0
    ways["admin"] = f"http://{rehearsal.address('gateway', 'watch')}:9090"
    assert rehearsal.containers["prometheus"].run("wget", "-q", "-O", "-", f"{ways['admin']}/metrics").returncode == 0
    ways |= {f"{name}-by-name": f"http://{name}:9000" for name in ("api-japan", "api-korea")}
    ways |= {f"admin-from-{name}": f"http://gateway.{name}:9090" for name in NETWORKS.values()}
    flags = [word for name, url in ways.items() for word in ("--url", f"{name}={url}")]
    code, told = rehearsal.run("caller", "probe", "--timeout", "2", *flags)
    assert (code, told) == (0, "".join(f"{name}: unreachable: no connection\n" for name in ways))
    _wait_for_output(rehearsal, "probe", "users: unreachable: no connection")


def _wait_for_output(rehearsal: Rehearsal, name: str, begin: str) -> str:
    """Wait until a service has printed a line that begins so, and return the line."""
    container = rehearsal.containers[name]
    line = re.compile(rf"^{re.escape(begin)}.*\n", re.MULTILINE)
    deadline = time.monotonic() + TOLD_SECONDS
    while not (found := line.search(container.output)):
        assert time.monotonic() < deadline, container.output
        time.sleep(0.2)
    return found[0].strip()


def _check_what_is_watched(rehearsal: Rehearsal) -> None:
    """Look until every target was: each is scraped for the first time at a moment of its own."""
    deadline = time.monotonic() + TOLD_SECONDS
    while True:
        asked = rehearsal.containers["prometheus"].run("wget", "-q", "-O", "-", "http://127.0.0.1:9090/api/v1/targets")
        targets = json.loads(asked.stdout)["data"]["activeTargets"]
        seen = {each["labels"]["job"]: each["health"] for each in targets}
        if seen == {"sekisho": "up", "sekisho-probe": "up"}:
            return
        assert time.monotonic() < deadline, seen
        time.sleep(0.2)


def _check_the_evidence(rehearsal: Rehearsal) -> None:
    """The ledger is whole, and a call from the host is recorded as one from the Tokyo office."""
    url = f"http://{rehearsal.address('gateway', 'tokyo-office')}:8080/v1/jp/users/42"
    answer = rehearsal.on_the_host("wget", "-q", "-S", "-O", "-", url)
    found = re.search(r"401 Unauthorized.*Sekisho-Decision-Id: (\S+)", answer.stderr, re.DOTALL)
    assert found is not None, answer.stderr
    gateway = rehearsal.containers["gateway"]
    ledger = "/var/lib/sekisho/ledger"
    shown = gateway.run("sekisho", "ledger", "show", ledger, found[1])
    assert "10.20.46.1" in shown.stdout
    assert "tokyo-office" in shown.stdout


def _check_that_all_of_it_starts_again(rehearsal: Rehearsal) -> None:
    """What is kept in volumes is taken up: keys, certificate, ledger."""
    assert rehearsal.containers["gateway"].stop() == 0
    rehearsal.containers["issuer"].stop()
    for name in ("keys", "issuer", "gateway"):
        rehearsal.start(name)
        rehearsal.wait(name)
    code, told = rehearsal.run("caller")
    assert code == 0, told
    assert rehearsal.containers["gateway"].stop() == 0
    key = ("--key", "/run/secrets/sekisho-ledger-key.pub")
    code, told = rehearsal.run("gateway", "ledger", "verify", "/var/lib/sekisho/ledger", *key)
    assert code == 0, told
    assert "good: ledger compose.sekisho.example/ledger" in told
