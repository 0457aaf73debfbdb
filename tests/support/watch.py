# SPDX-License-Identifier: Apache-2.0
"""The real Prometheus and Alertmanager, with the shipped examples of their configuration, and somebody to be told."""

import asyncio
import contextlib
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import aiohttp
import msgspec
import yaml
from aiohttp import web

from proxy.clock import elapsed_seconds
from tests.support.world import serve_app, wait_for

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
RULES: Final = DEPLOY / "prometheus" / "sekisho.rules.yml"
PROGRAMS: Final = ("prometheus", "promtool", "prometheus-alertmanager", "amtool")
START_SECONDS: Final = 60
STOP_SECONDS: Final = 10

T = TypeVar("T")


def missing_programs() -> str:
    """Return the sentence that names what is missing, empty if nothing is."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    return (
        f"{', '.join(missing)} cannot be found: as root, apt-get install --no-install-recommends prometheus "
        "prometheus-alertmanager (their services are not needed)."
        if missing
        else ""
    )


def read_example(name: str) -> Any:
    """Read a shipped file of ``deploy/prometheus``."""
    return yaml.safe_load((DEPLOY / "prometheus" / name).read_text(encoding="utf-8"))  # noqa: TID251 - a file of ours


def rules() -> list[dict[str, Any]]:
    """Return every shipped rule."""
    return [rule for group in read_example(RULES.name)["groups"] for rule in group["rules"]]


async def poll(fetch: Callable[[], Awaitable[T]], seconds: float = 60.0) -> T:
    """Ask until the answer is not empty, and return it."""
    async with asyncio.timeout(seconds):
        while not (value := await fetch()):
            await asyncio.sleep(0.05)
    return value


class Delivered(msgspec.Struct, frozen=True):
    """An alert as a receiver got it."""

    at: float
    """Reading of ``elapsed_seconds``."""
    receiver: str
    labels: dict[str, str]
    annotations: dict[str, str]

    @property
    def name(self) -> str:
        return self.labels["alertname"]

    @property
    def who(self) -> tuple[str, str, str]:
        return self.labels["tied_country"], self.labels["caller_affiliate"], self.labels["subject_country"]


class Watch(msgspec.Struct, frozen=True):
    """What a test needs to know of the running watch."""

    prometheus: str
    delivered: list[Delivered]

    async def ask(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer of Prometheus' API; what it does not understand fails the test."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.prometheus}/api/v1/{path}", params=parameters) as response,
        ):
            answer = await response.json()
            assert answer["status"] == "success", f"{parameters}: {answer['error']}"
            return answer["data"]

    async def query(self, expression: str, **parameters: str) -> list[tuple[dict[str, str], float]]:
        """Return labels and value of each sample."""
        data = await self.ask("query", query=expression, **parameters)
        return [(sample["metric"], float(sample["value"][1])) for sample in data["result"]]

    async def is_ready(self) -> bool:
        """Say whether it scrapes the gateway and knows whom to tell."""
        told = (await self.ask("alertmanagers"))["activeAlertmanagers"]
        return bool(told) and any(value == 1 for _, value in await self.query('up{job="sekisho"}'))


@contextlib.asynccontextmanager
async def run_watch(folder: Path, admin: str) -> AsyncIterator[Watch]:
    """Run both programs on the shipped rules and examples: only addresses and intervals are the test's.

    Args:
        folder: where configuration, data and logs go.
        admin: host and port of the gateway's admin listener.
    """
    delivered: list[Delivered] = []
    async with contextlib.AsyncExitStack() as stack:
        webhook = await stack.enter_async_context(_receiving(delivered))
        alertmanager = await stack.enter_async_context(_run_alertmanager(folder, webhook))
        prometheus = await stack.enter_async_context(run_prometheus(folder, {"sekisho": {"": admin}}, alertmanager))
        watch = Watch(prometheus, delivered)
        await poll(watch.is_ready)
        yield watch


@contextlib.asynccontextmanager
async def _receiving(delivered: list[Delivered]) -> AsyncIterator[str]:
    async def take(request: web.Request) -> web.Response:
        message = await request.json()
        delivered.extend(
            Delivered(elapsed_seconds(), message["receiver"], alert["labels"], alert["annotations"])
            for alert in message["alerts"]
            if alert["status"] == "firing"
        )
        return web.Response()

    app = web.Application()
    app.add_routes([web.post("/{receiver}", take)])
    async with serve_app(app) as url:
        yield url


@contextlib.asynccontextmanager
async def _run_alertmanager(folder: Path, webhook: str) -> AsyncIterator[str]:
    config = read_example("alertmanager.yml")
    for receiver in config["receivers"]:
        for each in receiver["webhook_configs"]:
            each["url"] = f"{webhook}/{receiver['name']}"
    config["route"]["group_wait"] = "0s"
    async with _running(
        folder,
        "prometheus-alertmanager",
        f"--config.file={_write(folder / 'alertmanager.yml', config)}",
        f"--storage.path={folder / 'alertmanager'}",
        "--web.listen-address=127.0.0.1:0",
        "--cluster.listen-address=",
    ) as address:
        yield address


@contextlib.asynccontextmanager
async def run_prometheus(
    folder: Path, targets: Mapping[str, Mapping[str, str]], alertmanager: str = ""
) -> AsyncIterator[str]:
    """Run Prometheus on the shipped rules and example; yields its URL.

    Args:
        folder: where configuration, data and log go.
        targets: by job, by the name that is its ``instance`` (empty: its address), host and port of what is scraped.
        alertmanager: host and port of whom to tell; nobody if empty.
    """
    config = read_example("prometheus.yml")
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(RULES)]
    config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [alertmanager] if alertmanager else []
    for job in config["scrape_configs"]:
        job["static_configs"] = [
            {"targets": [address], "labels": {"instance": name} if name else {}}
            for name, address in targets.get(job["job_name"], {}).items()
        ]
    async with _running(
        folder,
        "prometheus",
        f"--config.file={_write(folder / 'prometheus.yml', config)}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        "--web.listen-address=127.0.0.1:0",
    ) as address:
        url = f"http://{address}"
        await poll(lambda: _has_started(url))
        yield url


async def _has_started(prometheus: str) -> bool:
    async with aiohttp.request("GET", f"{prometheus}/-/ready") as response:
        return response.status == 200


def _write(path: Path, config: Mapping[str, Any]) -> Path:
    path.write_text(json.dumps(config, indent=1), encoding="utf-8")  # JSON is YAML
    return path


@contextlib.asynccontextmanager
async def _running(folder: Path, program: str, *arguments: str) -> AsyncIterator[str]:
    """Start a program, yield the address that it says it listens on, and stop it at the end."""
    log = folder / f"{program}.log"
    with log.open("wb") as output:
        process = subprocess.Popen([program, *arguments], stdout=output, stderr=output, cwd=folder)
    try:
        found = await wait_for(lambda: _find_address(log, process), START_SECONDS)
        yield found
    finally:
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _find_address(log: Path, process: subprocess.Popen[bytes]) -> str:
    text = log.read_text(encoding="utf-8", errors="replace")
    assert process.poll() is None, text
    found = re.search(r'msg="Listening on"[^\n]*?\baddress=(127\.0\.0\.1:[1-9]\d*)', text)
    return found[1] if found else ""
