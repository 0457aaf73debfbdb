# SPDX-License-Identifier: Apache-2.0
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from proxy.demo.story import STORY
from tests.support.ledger import read_records
from tests.support.world import wait_for

SEKISHO = [sys.executable, "-m", "proxy.cli"]
VIEWED = "LINE Taiwan's operator looks for 林: Chen of line-taiwan, GET /v1/users?name=%E6%9E%97&limit=6"


def test_the_demo_plays_the_story_as_expected() -> None:
    run = subprocess.run([*SEKISHO, "demo"], capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"All {len(STORY)} outcomes are the expected ones" in run.stdout
    assert "NOT AS EXPECTED" not in run.stdout
    for shown in (
        "jp-no-china",
        "Shanghai LINE Digital",
        "owned by line-plus ← ly",
        "sekisho_denials_total{",
        "good: ledger demo.sekisho.example/ledger",
        "the ledger says: 6 seen, 3 dropped; kept back 3 of JP",
        "3,000 seen, 1,500 dropped; kept back 500 of TW, 500 of US, 500 of JP",
        "6 seen, 3 dropped, 3 masked; kept back 3 of TW; default; jp-masked-for-line-plus",
        "6 seen, 2 masked; jp-payments-stay-in-japan",
        "DENY 503    lookup-unavailable",
        "is line 6 of the ledger",
        "jsonl:7 (n 6): this line was changed",
        "--stay",
    ):
        assert shown in run.stdout
    assert run.stderr == ""
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8").splitlines()
    printed = {line.rstrip() for line in run.stdout.splitlines()}
    views = readme[readme.index(VIEWED) : readme.index('facets: {"country": {"JP": 44, "TW": 11}}') + 1]
    excerpt = [line for line in readme if line.startswith(("│", "All "))] + [
        line for line in views if "next:" not in line
    ]
    assert [line for line in excerpt if line not in printed] == [], "the README shows what the demo does not print"


def test_the_demo_fails_when_an_outcome_is_another(tmp_path: Path) -> None:
    policies = Path(__file__).parents[2] / "policies"
    for source in policies.rglob("*.yaml"):
        target = tmp_path / source.relative_to(policies)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source.read_text(encoding="utf-8").replace("[CN, HK, MO]", "[CN, MO]"), encoding="utf-8")
    (tmp_path / "tests" / "line-2021.yaml").write_text("tests: []\n", encoding="utf-8")  # they would forbid it
    command = [*SEKISHO, "demo", "--policies", str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 1
    assert "Not as expected: 8" in run.stdout


@pytest.fixture
def staying(tmp_path: Path) -> Iterator[Path]:
    output = tmp_path / "output"
    with output.open("wb") as stdout:
        process = subprocess.Popen([*SEKISHO, "demo", "--stay"], stdout=stdout, stderr=stdout, env=_unbuffered())
    yield output
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


def _unbuffered() -> dict[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": "1"}  # noqa: TID251 - a child's environment


async def test_the_curl_lines_of_stay_do_what_they_say(staying: Path) -> None:
    await wait_for(lambda: "Running until Ctrl-C" in staying.read_text(encoding="utf-8"), 30)
    text = staying.read_text(encoding="utf-8")
    commands = re.findall(r"curl -i -H 'Authorization: (\S+ \S+)' -H 'X-Forwarded-For: (\S+)' '(\S+)'", text)
    ledger = re.search(r"ledger show (\S+) DECISION_ID", text)
    assert len(commands) == 3
    assert ledger is not None
    for (token, address, url), status in zip(commands, (200, 403, 200), strict=True):
        fields = {"Authorization": token, "X-Forwarded-For": address}
        async with aiohttp.request("GET", url, headers=fields) as response:
            assert response.status == status
            decision_id = response.headers["Sekisho-Decision-Id"]
            if status == 403:
                assert response.content_type == "application/problem+json"
                assert (await response.json(content_type=None))["decision_id"] == decision_id
        assert decision_id in {record.get("id") for record in read_records(Path(ledger[1]))}
