# SPDX-License-Identifier: Apache-2.0
"""``docs/ledger.md`` is held to the code: its tables, its lists, its examples."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import jsonschema
import pytest
from aiohttp import ClientSession, web

from proxy.ledger.json_schema import make_schema
from proxy.ledger.lines import LINES, NEVER
from proxy.ledger.note import VerifierKey
from proxy.ledger.segments import list_segments
from tests.support.ledger import KEY
from tests.support.ledger_page import fields
from tests.support.world import ENGINEER, headers, run_world, serve_raw

PAGE: Final = (Path(__file__).parents[2] / "docs" / "ledger.md").read_text(encoding="utf-8")
ROWS: Final = re.findall(r"(?m)^\| `([a-z_]+)` \| `([a-z_]+)` \| ([^|]+) \| ([^|]+) \| [^|].* \|$", PAGE)


def _block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


def test_the_page_can_be_read_in_one_sitting() -> None:
    assert PAGE.count("\n") <= 360


def test_every_field_of_every_line_has_its_row_and_no_row_is_of_another() -> None:
    assert sorted(ROWS) == sorted(fields())


def test_every_kind_of_line_is_on_the_page() -> None:
    assert {kind.__struct_config__.tag for kind in LINES} <= {row[0] for row in ROWS} | {"stop"}
    assert "| `stop` | | | | " in PAGE


def test_what_may_never_stand_in_a_line_is_the_codes_list() -> None:
    assert "\n".join(f"- {each}" for each in NEVER) in PAGE


def test_the_examples_are_lines() -> None:
    examples = re.findall(r"```json\n(.*?)\n```", PAGE, re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        jsonschema.validate(json.loads(example), make_schema(), jsonschema.Draft202012Validator)


def test_the_verifier_key_is_one() -> None:
    (text,) = re.findall(r"`(example\.com/foo\+[^`]+)`", PAGE)
    assert VerifierKey.parse(text).name == "example.com/foo"


async def _make_ledger(folder: Path) -> Path:
    async def answer(_request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"id": "42"})

    async with (
        serve_raw(answer) as upstream,
        run_world(folder, upstream, ledger_checkpoint_lines=3) as world,
        ClientSession() as session,
    ):
        for sent in (headers(), headers(ENGINEER), {}) * 4:
            async with session.get(f"{world.url}/v1/jp/users/42", headers=sent) as response:
                await response.read()
    return world.ledger


def _verify(folder: Path, vkey: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _block("python"), str(folder), vkey]
    return subprocess.run(command, capture_output=True, text=True, check=False)


async def test_the_page_verifies_a_ledger_by_hand_and_finds_what_was_done_to_it(tmp_path: Path) -> None:
    ledger = await _make_ledger(tmp_path)
    (segment,) = list_segments(ledger)
    data = segment.path.read_bytes()
    run = await asyncio.to_thread(_verify, ledger, str(KEY.verifier))
    assert (run.returncode, run.stdout) == (0, f"{data.count(10)} lines are as they were written\n"), run.stderr
    lines = data.splitlines(keepends=True)
    at = next(index for index, line in enumerate(lines) if b'"deny"' in line)
    for done, said in (
        (data.replace(b'"deny"', b'"allo"', 1), f"line {at + 1} is not the one that follows"),
        (data.replace(lines[at], b"", 1), f"line {at} is not the one that follows"),
        (data.replace(b" sekisho.example/ledger ", b" sekisho.example/other! ", 1), "is not the one that follows"),
    ):
        segment.path.write_bytes(done)
        assert said in (await asyncio.to_thread(_verify, ledger, str(KEY.verifier))).stderr
    segment.path.write_bytes(data)
    other = VerifierKey.parse("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
    assert "InvalidSignature" in (await asyncio.to_thread(_verify, ledger, str(other))).stderr


@pytest.mark.skipif(shutil.which("sha256sum") is None or shutil.which("od") is None, reason="no coreutils")
async def test_the_pages_shell_lines_print_the_same_hash_twice(tmp_path: Path) -> None:
    (segment,) = list_segments(await _make_ledger(tmp_path))

    def run() -> list[str]:
        env = {"PATH": "/usr/bin:/bin", "SEGMENT": str(segment.path), "LC_ALL": "C"}
        done = subprocess.run(["/bin/sh", "-c", _block("sh")], env=env, capture_output=True, text=True, check=True)
        return done.stdout.split()

    first, second = await asyncio.to_thread(run)
    assert first == second
    assert len(first) == 64
