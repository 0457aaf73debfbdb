# SPDX-License-Identifier: Apache-2.0
"""The Node code of docs/assertion.md checks what the gateway signs. Node must be there: Debian's nodejs is."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from proxy.assertion.assertions import Assertions
from proxy.assertion.keys import ALGORITHMS, AssertionKey, AssertionKeys
from proxy.pipeline.steps import Forward
from tests.support.assertion_page import code_of
from tests.support.passages import NOW, a_checkpoint, a_head, a_passage, read_lines, reference_bundle

CALL = """
const { token, api, jwks, now } = JSON.parse(require('node:fs').readFileSync(0));
try { console.log(JSON.stringify(checkAssertion(token, api, jwks, now))); }
catch (error) { console.log(JSON.stringify({ refused: error.message })); }
"""


def check(folder: Path, **given: Any) -> dict[str, Any]:
    node = shutil.which("node")
    assert node is not None, "Node is missing: apt-get install --no-install-recommends nodejs"
    script = folder / "check.js"
    script.write_text(code_of("js") + CALL, encoding="utf-8")
    run = subprocess.run([node, script], input=json.dumps(given), capture_output=True, text=True, check=True)
    said: dict[str, Any] = json.loads(run.stdout)
    return said


@pytest.fixture(params=ALGORITHMS)
def given(request: pytest.FixtureRequest) -> dict[str, Any]:
    keys = AssertionKeys([AssertionKey.generate(1.0, request.param)])
    snapshot = reference_bundle()
    step = a_passage(a_checkpoint(snapshot, Assertions(keys, "sekisho", snapshot.digest))).begin(a_head())
    assert isinstance(step, Forward)
    token = dict(read_lines(step.fields))["Sekisho-Assertion"]
    return {"token": token, "api": "users", "jwks": json.loads(keys.publish()), "now": NOW + 1}


def test_what_the_gateway_signed_is_believed(given: dict[str, Any], tmp_path: Path) -> None:
    said = check(tmp_path, **given)
    assert (said["aud"], said["affiliate"], said["effect"]) == ("users", "ly", "allow")


def test_anything_else_is_not(given: dict[str, Any], tmp_path: Path) -> None:
    head, body, signature = given["token"].split(".")
    other = AssertionKeys([AssertionKey.generate(1.0, algorithm) for algorithm in ALGORITHMS[:1]])
    (known,) = given["jwks"]["keys"]
    same_name = [{**key, "kid": known["kid"], "alg": known["alg"]} for key in json.loads(other.publish())["keys"]]
    wrong: dict[str, dict[str, Any]] = {
        "a changed body": {"token": f"{head}.{msgspec.json.encode({}).hex()}.{signature}"},
        "a changed signature": {"token": f"{head}.{body}.{signature[:-8]}AAAAAAAA"},
        "no signature": {"token": f"{head}.{body}."},
        "another API": {"api": "talks"},
        "too late": {"now": NOW + 120},
        "too early": {"now": NOW - 120},
        "no key": {"jwks": {"keys": []}},
        "another key": {"jwks": json.loads(other.publish())},
        "another key of that name": {"jwks": {"keys": same_name}},
    }
    for what, changes in wrong.items():
        try:
            said = check(tmp_path, **{**given, **changes})
        except subprocess.CalledProcessError as error:
            pytest.fail(f"{what}: {error.stderr}")
        assert said.keys() == {"refused"}, what
