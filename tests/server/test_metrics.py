# SPDX-License-Identifier: Apache-2.0
"""What a running gateway shows of itself: bounded whatever arrives, naming nothing that a caller wrote, well formed."""

import itertools
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from proxy.clock import unix_seconds
from proxy.counting import MAX_CHILDREN
from proxy.demo.issuer import Issuer
from tests.support.world import ENGINEER, OFFICE, STAFF, World, exchange, run_world, serve_raw, token

MARK: Final = "zqx"
"""Stands in all that a hostile caller writes, and in nothing else."""
COUNT: Final = 60
"""Requests of each kind."""
WORDS: Final = ("v1", "users", "phone", "reports", "status", "export", "law-enforcement")
"""Of declared paths: a shape keeps them."""
REST: Final = 1000
"""Series beside those of shapes, of which the flood makes as many as there may be."""
STRANGER: Final = Issuer("https://idp.zqx.example")


def auth(claims: dict[str, Any], **changes: Any) -> str:
    return f"Authorization: Bearer {token(claims, **changes)}"


def hostile() -> Iterator[tuple[str, ...]]:
    """Return heads of requests, each with something that a caller chose."""
    staff, peer = auth(STAFF), f"X-Forwarded-For: {OFFICE}"
    for number in range(COUNT):
        mine = f"{MARK}{number}"
        yield f"GET /v1/{mine}/{number} HTTP/1.1", "Host: a", staff, peer
        yield f"{mine.upper()} /v1/jp/users/{number} HTTP/1.1", "Host: a", staff, peer
        yield "GET /v1/jp/users/42 HTTP/1.1", f"Host: {mine}.example", staff, peer
        yield f"GET /v1/jp/users/42?{mine}={mine} HTTP/1.1", "Host: a", staff, peer
        yield "GET /v1/jp/users/42 HTTP/1.1", "Host: a", staff, peer, f"Sekisho-Purpose: {mine}", f"X-{mine}: {mine}"
        yield "GET /v1/jp/users/42 HTTP/1.1", "Host: a", auth(STAFF, affiliate=mine), peer
        yield "GET /v1/jp/users/42 HTTP/1.1", "Host: a", auth(STAFF, residence_country="ZQ", groups=[mine]), peer
        yield "GET /v1/jp/users/42 HTTP/1.1", "Host: a", auth(STAFF, iss=f"https://{mine}.example"), peer
        yield "GET /v1/jp/users/42 HTTP/1.1", "Host: a", f"Authorization: {mine} {mine}", peer
        yield "GET /v1/jp/users/42 HTTP/1.1", "Host: a", f"Authorization: Bearer {mine}.{mine}.{mine}", peer
        yield "GET /v1/jp/users/42 HTTP/1.1", "Host: a", staff, f"X-Forwarded-For: {mine}"
        yield f"GET /v1/jp/users/{number} HTTP/1.1", "Host: a", auth(ENGINEER, sub=mine), peer
        yield f"GET /v1/jp/users/{mine} HTTP/1.1", "Host: a", staff, peer
        yield f"GET /v1/jp/users/{number} HTTP/1.1", "Host: a", staff, f"X-Forwarded-For: 203.0.{number}.7"
        yield (
            f"GET /v1/jp/users/{number} HTTP/1.1",
            "Host: a",
            staff,
            peer,
            f"traceparent: {mine}",
            f"tracestate: {mine}=1",
        )
    claims: dict[str, Any] = STAFF
    stranger = f"Authorization: Bearer {STRANGER.token(unix_seconds(), **claims)}"
    yield "GET /v1/jp/users/42 HTTP/1.1", "Host: a", stranger, peer
    letters = "abcdefghijklmnopqrstuvwxyz"
    for one, other in itertools.product(letters[::3], letters):
        yield f"GET /v1/{one}{other}/users/42 HTTP/1.1", "Host: a", staff, peer


async def flood_shapes(url: str, count: int) -> None:
    """Ask for more undeclared shapes than a metric has children."""
    headers = {"Authorization": f"Bearer {token(STAFF)}", "X-Forwarded-For": OFFICE}
    async with aiohttp.ClientSession() as session:
        for words in itertools.islice(itertools.product(WORDS, repeat=5), count):
            async with session.get(f"{url}/{'/'.join(words)}", headers=headers) as response:
                assert response.status == 404


async def scrape(world: World) -> str:
    async with aiohttp.request("GET", f"{world.admin}/metrics") as response:
        return await response.text()


def read(text: str) -> list[Metric]:
    return list(text_string_to_metric_families(text))


async def api(_request: web.BaseRequest) -> web.StreamResponse:
    return web.json_response({"id": "42", "name": "n", "phone": "+81"})


@pytest.mark.timeout(300)
async def test_whatever_callers_write_series_are_bounded_and_none_says_it(tmp_path: Path) -> None:
    async with serve_raw(api) as upstream, run_world(tmp_path, upstream) as world:
        statuses = Counter([(await exchange(world, *lines)).status for lines in hostile()])
        await flood_shapes(world.url, MAX_CHILDREN + 100)
        text = await scrape(world)
    assert {200, 400, 401, 403, 404} <= statuses.keys()
    labels = {value for metric in read(text) for sample in metric.samples for value in sample.labels.values()}
    assert not [value for value in labels if MARK in value.lower() or value == "ZQ"]
    series = Counter(sample.name for metric in read(text) for sample in metric.samples)
    assert series["sekisho_undeclared_requests_total"] == MAX_CHILDREN + 1
    assert max(series.values()) <= MAX_CHILDREN + 1
    shapes = series["sekisho_undeclared_requests_total"] + series["sekisho_undeclared_requests_created"]
    assert sum(series.values()) - shapes <= REST
    folded = {
        s.labels["metric"]: s.value for m in read(text) for s in m.samples if s.name == "sekisho_labels_folded_total"
    }
    assert folded.pop("sekisho_undeclared_requests_total") > 0
    assert folded.pop("sekisho_denied_routes_most") > 0  # one caller tried more shapes than are told apart
    assert set(folded.values()) == {0}
    check_format(text)


def check_format(text: str) -> None:
    """Have Prometheus' own linter read it, where it is installed."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is missing (Debian: apt-get install prometheus)")
    run = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)  # noqa: S607
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


async def test_every_rule_in_force_is_listed_and_what_runs_is_told(tmp_path: Path) -> None:
    async with serve_raw(api) as upstream, run_world(tmp_path, upstream) as world:
        assert (await exchange(world, "GET /v1/jp/users/42 HTTP/1.1", "Host: a", auth(STAFF))).status in {200, 403}
        families = {metric.name: metric for metric in read(await scrape(world))}
    listed = {sample.labels["rule"] for sample in families["sekisho_rule_info"].samples}
    applied = {sample.labels["rule"] for sample in families["sekisho_rules_applied"].samples}
    assert applied
    assert applied <= listed
    (built,) = families["sekisho_build_info"].samples
    assert (built.value, sorted(built.labels)) == (1, ["python", "version"])
