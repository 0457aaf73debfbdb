# SPDX-License-Identifier: Apache-2.0
import asyncio
import gzip
import json
import resource
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from proxy.errors import LedgerError
from proxy.gateway import releasing, settling
from proxy.ledger.lines import EndLine
from proxy.ledger.opening import LOOK_SECONDS
from proxy.ledger.writer import LedgerWriter
from tests.support.world import (
    ENGINEER,
    POLICIES,
    STAFF,
    SUPPORT,
    World,
    exchange,
    headers,
    run_world,
    serve_raw,
    token,
    wait_for,
)

USER = "/v1/jp/users/42"


class RecordingApi:
    """An API that remembers what reached it and answers what it is told."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answer: dict[str, Any] = {"body": b'{"id": "42"}', "headers": {"Content-Type": "application/json"}}

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.content.read()
        self.seen.append((request.method, request.raw_path, dict(request.headers), body))
        return web.Response(**self.answer)


@pytest.fixture
def api() -> RecordingApi:
    return RecordingApi()


@pytest.fixture
async def world(tmp_path: Path, api: RecordingApi) -> AsyncIterator[World]:
    async with serve_raw(api.handle, auto_decompress=False) as url, run_world(tmp_path, url) as world:
        yield world


async def test_an_allowed_answer_comes_through_whole(world: World, api: RecordingApi) -> None:
    async with aiohttp.request("GET", world.url + USER, headers=headers()) as response:
        assert (response.status, await response.read()) == (200, b'{"id": "42"}')
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["Server"] == "sekisho"
    ((method, target, fields, _),) = api.seen
    assert (method, target) == ("GET", USER)
    assert fields["X-Forwarded-For"] == "10.20.3.7"
    assert "Authorization" not in fields
    (end,) = await world.wait_for_ends(1)
    assert (end["complete"], end["bytes"], end["status"]) == (True, 12, 200)


async def test_a_denied_request_never_reaches_the_api(world: World, api: RecordingApi) -> None:
    async with aiohttp.request("GET", world.url + USER, headers=headers(ENGINEER)) as response:
        assert response.status == 403
        assert response.content_type == "application/problem+json"
        problem = await response.json(content_type=None)
    assert (problem["reason"], problem["type"]) == ("rule-denies", "urn:sekisho:reason:rule-denies")
    assert "jp-no-china" not in json.dumps(problem)
    assert api.seen == []
    (record,) = world.records()
    assert (record["id"], record["rule"]) == (problem["decision_id"], "jp-no-china")


async def test_a_caller_without_a_token_is_told_how_to_ask(world: World) -> None:
    async with aiohttp.request("GET", world.url + USER) as response:
        assert response.status == 401
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="sekisho"'


async def test_a_body_goes_out_as_it_came(world: World, api: RecordingApi) -> None:
    api.answer = {"status": 204}
    body = gzip.compress(b'{"phone": "090-0123-4567"}')
    fields = headers(SUPPORT) | {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    async with aiohttp.request("PUT", f"{world.url}{USER}/phone", headers=fields, data=body) as response:
        assert response.status == 204
    ((method, _, seen, received),) = api.seen
    assert (method, received, seen["Content-Encoding"], seen["Content-Length"]) == ("PUT", body, "gzip", str(len(body)))


async def test_an_encoded_answer_is_not_decoded(world: World, api: RecordingApi) -> None:
    body = gzip.compress(b"{}")
    api.answer = {"body": body, "headers": {"Content-Encoding": "gzip"}}
    answer = await exchange(
        world, f"GET {USER} HTTP/1.1", "Host: a", f"Authorization: Bearer {token()}", "X-Forwarded-For: 10.20.3.7"
    )
    assert answer.fields["content-encoding"] == "gzip"
    assert body in answer.body


async def test_a_redirect_is_passed_on_and_not_followed(world: World, api: RecordingApi) -> None:
    api.answer = {"status": 302, "headers": {"Location": "/v1/jp/users/43"}}
    async with aiohttp.request("GET", world.url + USER, headers=headers(), allow_redirects=False) as response:
        assert response.status == 302
    assert len(api.seen) == 1


async def test_a_body_beyond_the_limit_is_refused(tmp_path: Path, api: RecordingApi) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b"x" * 1024

    async with serve_raw(api.handle) as url, run_world(tmp_path, url, max_request_body_bytes=4096) as world:
        for data in (b"x" * 5000, endless()):
            target = f"{world.url}{USER}/phone"
            async with aiohttp.request("PUT", target, headers=headers(SUPPORT), data=data) as response:
                assert response.status == 413
        ends = world.ends()
        assert [record["id"] for record in world.records()] == [end["id"] for end in ends]
        assert [end["reason"] for end in ends] == ["request-too-large"] * 2
    assert api.seen == []


async def test_each_pipelined_request_is_judged_by_its_own_token(world: World, api: RecordingApi) -> None:
    first = f"GET {USER} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.20.3.7\r\nAuthorization: Bearer {token()}\r\n\r\n"
    answer = await exchange(
        world,
        first + f"GET {USER} HTTP/1.1",
        "Host: a",
        "X-Forwarded-For: 10.20.3.7",
        f"Authorization: Bearer {token(ENGINEER)}",
    )
    assert answer.status == 200
    assert b"HTTP/1.1 403" in answer.body
    assert len(api.seen) == 1


MALFORMED = {
    "both Content-Length and Transfer-Encoding": ("Content-Length: 3", "Transfer-Encoding: chunked"),
    "two lengths": ("Content-Length: 3", "Content-Length: 4"),
    "a length that is no number": ("Content-Length: +3",),
    "a space before the colon": ("X-A : 1",),
    "a folded line": ("X-A: 1", " 2"),
    "no name": (": 1",),
}


@pytest.mark.parametrize("lines", MALFORMED.values(), ids=MALFORMED.keys())
async def test_bytes_that_are_no_request_are_refused_and_recorded(
    world: World, api: RecordingApi, lines: tuple[str, ...]
) -> None:
    secret = token()
    answer = await exchange(
        world, f"PUT {USER}/phone HTTP/1.1", "Host: a", f"Authorization: Bearer {secret}", *lines, body=b"{}x"
    )
    assert answer.status == 400
    assert answer.fields["content-type"] == "application/problem+json"
    problem = json.loads(answer.body)
    assert secret not in answer.body.decode()
    assert api.seen == []
    record = world.records()[0]
    assert record["id"] == problem["decision_id"]
    assert (record["effect"], record["status"]) == ("deny", 400)


async def test_a_body_whose_framing_breaks_midway_is_cut_at_once(world: World, api: RecordingApi) -> None:
    reader, writer = await asyncio.open_connection(world.host, world.port)
    head = f"PUT {USER}/phone HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.20.3.7\r\nTransfer-Encoding: chunked\r\n"
    writer.write(f"{head}Authorization: Bearer {token(SUPPORT)}\r\n\r\n2\r\n{{}}\r\n".encode())
    await world.wait_for_records(1, "decision")
    writer.write(b"no chunk\r\n")
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert answer == b"" or b" 2" not in answer.split(b"\r\n")[0]
    assert api.seen == []
    (end,) = await world.wait_for_ends(1)
    assert end["complete"] is False


async def test_a_ledger_that_fails_once_still_gets_the_decision(world: World, api: RecordingApi) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with aiohttp.request("GET", world.url + USER, headers=headers()):
        pass
    await world.wait_for_ends(1)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (max(each.stat().st_size for each in world.ledger.glob("*.jsonl")) + 10, hard)
    )
    try:
        async with aiohttp.request("GET", world.url + USER, headers=headers()) as response:
            assert response.status == 503
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    async with aiohttp.request("GET", world.url + USER, headers=headers()) as response:
        assert response.status == 200
    await world.wait_for_ends(2)
    decided = {record["id"] for record in world.records()}
    assert {end["id"] for end in world.ends()} <= decided


async def test_a_client_that_waits_for_100_gets_it_only_if_it_may(world: World, api: RecordingApi) -> None:
    api.answer = {"status": 204}
    for claims, first in ((SUPPORT, 100), (STAFF, 403)):
        answer = await exchange(
            world,
            f"PUT {USER}/phone HTTP/1.1",
            "Host: a",
            f"Authorization: Bearer {token(claims)}",
            "X-Forwarded-For: 10.20.3.7",
            "Expect: 100-continue",
            "Content-Length: 2",
            body=b"{}",
        )
        assert answer.status == first
    assert len(api.seen) == 1


async def test_while_the_ledger_cannot_be_written_nothing_leaves(world: World, api: RecordingApi) -> None:
    folder = world.ledger
    folder.rename(folder.with_name("aside"))
    folder.write_text("in the way", encoding="ascii")
    await asyncio.sleep(2 * LOOK_SECONDS)
    async with aiohttp.request("GET", world.url + USER, headers=headers()) as response:
        problem = await response.json(content_type=None)
        assert (response.status, problem["reason"]) == (503, "ledger-unavailable")
    async with aiohttp.request("PUT", f"{world.url}{USER}/phone", headers=headers(SUPPORT), data=b"{}") as response:
        assert response.status == 503
    assert [method for method, *_ in api.seen] == ["GET"], "an update is not forwarded before it is recorded"
    folder.unlink()
    async with aiohttp.request("GET", world.url + USER, headers=headers()) as response:
        assert response.status == 503, "no other folder is made in its place"
    folder.with_name("aside").rename(folder)
    async with aiohttp.request("GET", world.url + USER, headers=headers()) as response:
        assert response.status == 200
    assert len(world.records()) == 1


async def test_an_update_that_the_api_made_is_never_recorded_as_kept_back(
    world: World, api: RecordingApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, is_full = LedgerWriter.append, True

    def refuse(writer: LedgerWriter, lines: Sequence[Any]) -> None:
        nonlocal is_full
        if is_full and any(isinstance(line, EndLine) for line in lines):
            is_full = False
            raise LedgerError("no space left on device")
        append(writer, lines)

    monkeypatch.setattr(LedgerWriter, "append", refuse)
    async with aiohttp.request("PUT", f"{world.url}{USER}/phone", headers=headers(SUPPORT), data=b"{}") as response:
        assert response.status == 503
    assert len(api.seen) == 1
    (end,) = await world.wait_for_ends(1)
    (decision,) = world.records()
    assert (decision["released"], end["complete"], end["reason"]) == (True, False, "ledger-unavailable")


async def test_a_disk_that_hangs_holds_nobody_up_for_ever(
    tmp_path: Path, api: RecordingApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, sync = threading.Event(), LedgerWriter.sync

    def hang(writer: LedgerWriter) -> None:
        assert go_on.wait(60)
        sync(writer)

    go_on.set()
    monkeypatch.setattr(LedgerWriter, "sync", hang)
    async with serve_raw(api.handle) as url, run_world(tmp_path, url, ledger_durability="synced") as world:
        go_on.clear()
        try:
            with monkeypatch.context() as patch:
                patch.setattr(settling, "DISK_SECONDS", 0.2)  # a disk that works may take longer
                for method, path in (("GET", USER), ("PUT", f"{USER}/phone")):
                    async with aiohttp.request(method, world.url + path, headers=headers(SUPPORT)) as response:
                        assert response.status == 503
        finally:
            go_on.set()
        assert [method for method, *_ in api.seen] == ["GET"], "an update waits for the disk"
        ends = await world.wait_for_ends(2)
        assert [(end["complete"], end["reason"]) for end in ends] == 2 * [(False, "ledger-unavailable")]
        async with aiohttp.request("GET", world.url + USER, headers=headers(SUPPORT)) as response:
            assert response.status == 200


async def test_a_defect_of_the_gateway_is_503_and_recorded(
    world: World, api: RecordingApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object, **_options: object) -> None:
        raise RuntimeError("a defect")

    with monkeypatch.context() as patch:
        patch.setattr(releasing, "ResponseHead", fail)
        async with aiohttp.request("GET", world.url + USER, headers=headers()) as response:
            problem = await response.json(content_type=None)
            assert (response.status, problem["reason"]) == (503, "decision-failed")
    (record,) = world.records()
    assert (record["id"], record["released"]) == (problem["decision_id"], False)


async def test_observe_mode_is_loud(tmp_path: Path, api: RecordingApi) -> None:
    policies = tmp_path / "policies"
    _copy_observing(policies, "2999-01-01T00:00:00Z")
    async with serve_raw(api.handle) as url, run_world(tmp_path, url, policies=policies) as world:
        async with aiohttp.request("GET", world.url + USER, headers=headers(ENGINEER)) as response:
            assert (response.status, response.headers["Sekisho-Mode"]) == (200, "observe")
        async with aiohttp.request("GET", f"{world.admin}/readyz") as response:
            state = await response.json()
            assert (state["mode"], state["observe_until"]) == ("observe", "2999-01-01T00:00:00.000Z")
        async with aiohttp.request("GET", f"{world.admin}/metrics") as response:
            text = await response.text()
        assert "sekisho_observe_mode 1.0" in text
        assert 'sekisho_observed_refusals_total{reason="rule-denies",status="403"} 1.0' in text
        (record,) = world.records()
        assert (record["effect"], record["enforced"], record["rule"]) == ("deny", False, "jp-no-china")


def _copy_observing(folder: Path, until: str) -> None:
    for source in POLICIES.rglob("*.yaml"):
        target = folder / source.relative_to(POLICIES)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    manifest = folder / "bundle.yaml"
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(text.replace("mode: enforce", f"mode: observe\nobserve_until: {until}\n#", 1), encoding="utf-8")


async def test_the_admin_listener_tells_and_takes_nothing(world: World) -> None:
    async with aiohttp.request("GET", world.url + USER, headers=headers(ENGINEER)):
        pass
    async with aiohttp.request("GET", f"{world.admin}/livez") as response:
        assert response.status == 200
    async with aiohttp.request("GET", f"{world.admin}/readyz") as response:
        state = await response.json()
        assert (state["ready"], state["mode"], state["issuers_without_keys"]) == (True, "enforce", [])
    async with aiohttp.request("GET", f"{world.admin}/metrics") as response:
        text = await response.text()
    for expected in (
        'sekisho_decisions_total{effect="deny",route="user",rule="jp-no-china"} 1.0',
        'sekisho_denials_total{caller_affiliate="shanghai-digital",origin_country="JP",subject_country="JP"} 1.0',
        'sekisho_denials_tied_total{caller_affiliate="shanghai-digital",subject_country="JP",tied_country="CN"} 1.0',
        'sekisho_refusals_total{reason="rule-denies",status="403"} 1.0',
        'sekisho_bundle_info{policy_digest="sha256:',
    ):
        assert expected in text
    async with aiohttp.request("POST", f"{world.admin}/metrics") as response:
        assert response.status == 405


async def test_the_end_of_every_answer_is_recorded(world: World) -> None:
    for _ in range(3):
        async with aiohttp.request("GET", world.url + USER, headers=headers()) as response:
            await response.read()
    ends = await world.wait_for_ends(3)
    assert {end["id"] for end in ends} == {record["id"] for record in world.records()}
    await wait_for(lambda: all(end["seconds"] > 0 for end in ends))
