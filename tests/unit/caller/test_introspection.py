# SPDX-License-Identifier: Apache-2.0
"""An issuer is asked about a token where the policy says, once, and is believed only if it answers as it should."""

import asyncio
import contextlib
import gzip
import json
import logging
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from proxy.caller import introspection
from proxy.caller.introspection import MAX_ANSWER_BYTES, Introspector
from proxy.caller.issuers import Issuer
from proxy.caller.options import CallerOptions
from proxy.caller.resolve import IntrospectionNeeded
from proxy.clock import unix_seconds
from proxy.errors import UsageError
from proxy.secret import MAX_SECRET_BYTES
from proxy.telemetry import Metrics
from tests.support.tokens import a_partner, an_issuer
from tests.support.world import serve_raw

NEED = IntrospectionNeeded("corp", "digest", "raw.token.value")


class Place:
    """A real introspection endpoint on loopback; what it answers is the test's."""

    def __init__(self) -> None:
        self.answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]] = saying(active=True)
        self.asked: list[dict[str, str]] = []
        self.was_asked = asyncio.Event()
        self.go_on = asyncio.Event()
        self.url = ""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = (await request.read()).decode()
        self.asked.append({"path": request.path, "body": body, **{k.lower(): v for k, v in request.headers.items()}})
        self.was_asked.set()
        return await self.answer(request)


def saying(**answer: Any) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    return answering(body=json.dumps(answer).encode(), content_type="application/json")


def answering(**options: Any) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    async def answer(_request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(**options)

    return answer


@pytest.fixture
async def place(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    monkeypatch.setenv("IDP_SECRET", "s e:cret+\u6771")
    place = Place()
    async with serve_raw(place.handle) as place.url:
        yield place
        place.go_on.set()


def asked_at(url: str, **changes: Any) -> Issuer:
    asking = {"url": f"{url}/introspect", "client_id": "pii gateway", "secret": {"secret": "env:IDP_SECRET"}}
    return an_issuer(introspection=asking | changes)


@contextlib.asynccontextmanager
async def an_introspector(*issuers: Issuer, **options: Any) -> AsyncIterator[Introspector]:
    introspector = Introspector(issuers, CallerOptions(**options), Metrics())
    try:
        yield introspector
    finally:
        await introspector.close()


def counted(introspector: Introspector, result: str) -> float:
    return float(
        introspector._metrics.registry.get_sample_value(
            "sekisho_introspections_total", {"issuer": "corp", "result": result}
        )
        or 0
    )


async def test_an_issuer_is_asked_as_rfc_7662_says(place: Place) -> None:
    async with an_introspector(asked_at(place.url, cache="10s")) as introspector:
        before = unix_seconds()
        await introspector.refresh(NEED)
        answer = introspector.find("corp", "digest")
        assert answer is not None
        assert answer.is_active
        assert before + 10 <= answer.until <= unix_seconds() + 10
        assert counted(introspector, "active") == 1
    (asked,) = place.asked
    assert asked["path"] == "/introspect"
    assert asked["body"] == "token=raw.token.value&token_type_hint=access_token"
    assert asked["accept"] == "application/json"
    scheme, _, credentials = asked["authorization"].partition(" ")
    assert scheme == "Basic"
    assert b64decode(credentials).decode() == "pii+gateway:s+e%3Acret%2B%E6%9D%B1"  # RFC 6749 2.3.1


async def test_an_inactive_token_is_known_as_such(place: Place) -> None:
    place.answer = saying(active=False)
    async with an_introspector(asked_at(place.url)) as introspector:
        await introspector.refresh(NEED)
        answer = introspector.find("corp", "digest")
        assert answer is not None
        assert not answer.is_active
        assert counted(introspector, "inactive") == 1


async def redirect(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(status=307, headers={"Location": "/elsewhere"}) if request.path == "/introspect" else GOOD()


def GOOD() -> web.Response:  # noqa: N802
    return web.json_response({"active": True})


ACTIVE = b'{"active": true}'
NO_ANSWERS: dict[str, Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]] = {
    "it leads elsewhere": redirect,
    "401: it does not know us": answering(status=401, body=ACTIVE, content_type="application/json"),
    "500": answering(status=500, body=ACTIVE, content_type="application/json"),
    "201": answering(status=201, body=ACTIVE, content_type="application/json"),
    "204": answering(status=204),
    "nothing": answering(body=b"", content_type="application/json"),
    "a page": answering(body=b"<html>", content_type="text/html"),
    "JSON that says it is a page": answering(body=ACTIVE, content_type="text/html"),
    "a signed answer": answering(body=ACTIVE, content_type="application/token-introspection+jwt"),
    "active as a text": saying(active="true"),
    "active as a number": saying(active=1),
    "active null": saying(active=None),
    "without active": saying(sub="alice"),
    "active twice": answering(body=b'{"active": false, "active": true}', content_type="application/json"),
    "a byte too many": answering(
        body=ACTIVE + b" " * (MAX_ANSWER_BYTES - len(ACTIVE) + 1), content_type="application/json"
    ),
    "a bomb": answering(body=gzip.compress(b" " * 2**22), headers={"Content-Encoding": "gzip"}),
    "a list": answering(body=b"[true]", content_type="application/json"),
}


@pytest.mark.parametrize("answer", NO_ANSWERS.values(), ids=NO_ANSWERS)
async def test_nothing_is_known_where_the_answer_is(
    place: Place, answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
) -> None:
    place.answer = answer
    async with an_introspector(asked_at(place.url)) as introspector:
        await introspector.refresh(NEED)
        assert introspector.find("corp", "digest") is None
        assert counted(introspector, "failed") == 1
    assert len(place.asked) == 1


async def test_a_failure_does_not_undo_what_is_known(place: Place) -> None:
    place.answer = saying(active=False)
    async with an_introspector(asked_at(place.url)) as introspector:
        await introspector.refresh(NEED)
        place.answer = answering(status=500)
        await introspector.refresh(NEED)
        answer = introspector.find("corp", "digest")
        assert answer is not None
        assert not answer.is_active


async def test_nobody_is_waited_for_for_ever(place: Place) -> None:
    async def never(_request: web.BaseRequest) -> web.StreamResponse:
        await place.go_on.wait()
        return GOOD()

    place.answer = never
    async with an_introspector(asked_at(place.url), introspection_timeout_seconds=0.05) as introspector:
        await introspector.refresh(NEED)
        assert introspector.find("corp", "digest") is None


async def test_a_place_where_nobody_listens_says_nothing(place: Place) -> None:
    async with an_introspector(asked_at("http://127.0.0.1:1")) as introspector:
        await introspector.refresh(NEED)
        assert introspector.find("corp", "digest") is None


async def test_requests_with_one_token_wait_for_one_question(place: Place) -> None:
    async def slowly(_request: web.BaseRequest) -> web.StreamResponse:
        await place.go_on.wait()
        return GOOD()

    place.answer = slowly
    other = IntrospectionNeeded("corp", "other digest", "other.raw.token")
    async with an_introspector(asked_at(place.url)) as introspector, asyncio.TaskGroup() as group:
        for need in [NEED] * 5 + [other] * 2:
            group.create_task(introspector.refresh(need))
        await place.was_asked.wait()
        while len(place.asked) < 2:
            await asyncio.sleep(0.001)
        place.go_on.set()
    assert sorted(asked["body"].partition("&")[0] for asked in place.asked) == [
        "token=other.raw.token", "token=raw.token.value",
    ]  # fmt: skip


async def test_a_caller_that_leaves_ends_no_question(place: Place) -> None:
    async def slowly(_request: web.BaseRequest) -> web.StreamResponse:
        await place.go_on.wait()
        return GOOD()

    place.answer = slowly
    async with an_introspector(asked_at(place.url)) as introspector:
        leaving = asyncio.ensure_future(introspector.refresh(NEED))
        staying = asyncio.ensure_future(introspector.refresh(NEED))
        await place.was_asked.wait()
        leaving.cancel()
        place.go_on.set()
        await staying
        assert introspector.find("corp", "digest") is not None


async def test_answers_are_bounded_in_number_and_the_oldest_go_first(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(introspection, "MAX_KEPT", 8)
    async with an_introspector(asked_at(place.url)) as introspector:
        for number in range(9):
            await introspector.refresh(IntrospectionNeeded("corp", str(number), "t"))
        assert introspector.find("corp", "0") is None
        assert introspector.find("corp", "8") is not None
        assert len(introspector._answers) == 8


async def test_neither_token_nor_secret_is_kept_or_logged(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with an_introspector(asked_at(place.url)) as introspector:
        await introspector.refresh(NEED)
        place.answer = answering(status=500, body=b"raw.token.value")
        await introspector.refresh(NEED)
        assert NEED.raw_token not in repr(introspector._answers) + repr(introspector._under_way)
    logged = "".join(f"{record.getMessage()}{record.__dict__}" for record in caplog.records)
    assert "it answered 500" in logged
    assert NEED.raw_token not in logged
    assert "cret" not in logged


async def test_a_secret_in_a_file_is_read_as_it_is_now(place: Place, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    async with an_introspector(asked_at(place.url, secret={"secret": f"file:{secret}"})) as introspector:
        for value in ("one", "two"):
            secret.write_text(f"{value}\n", encoding="utf-8")
            await introspector.refresh(NEED)
    sent = [b64decode(asked["authorization"].partition(" ")[2]).decode() for asked in place.asked]
    assert sent == ["pii+gateway:one", "pii+gateway:two"]


SECRETS: dict[str, bytes | None] = {
    "is missing": None, "is empty": b"", "is a line break": b"\n", "is no UTF-8": b"\xff",
    "is too long": b"x" * (MAX_SECRET_BYTES + 1),
}  # fmt: skip


@pytest.mark.parametrize("content", SECRETS.values(), ids=SECRETS)
async def test_nobody_is_asked_without_a_secret_that(place: Place, tmp_path: Path, content: bytes | None) -> None:
    secret = tmp_path / "secret"
    if content is not None:
        secret.write_bytes(content)
    issuer = asked_at(place.url, secret={"secret": f"file:{secret}"})
    async with an_introspector(issuer) as introspector:
        with pytest.raises(UsageError, match="issuer 'corp'"):
            introspector.check_secrets()
        await introspector.refresh(NEED)
        assert introspector.find("corp", "digest") is None
    assert place.asked == []


async def test_a_secret_that_the_environment_has_not_is_an_error_at_the_start(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with an_introspector(asked_at(place.url)) as introspector:
        introspector.check_secrets()
        monkeypatch.delenv("IDP_SECRET")
        with pytest.raises(UsageError, match=r"env:IDP_SECRET .*: the environment variable IDP_SECRET is not set"):
            introspector.check_secrets()


async def test_an_issuer_that_is_not_to_be_asked_is_not(place: Place) -> None:
    async with an_introspector(an_issuer()) as introspector:
        await introspector.refresh(NEED)
        await introspector.refresh(IntrospectionNeeded("nobody", "digest", "t"))
    assert place.asked == []


async def test_another_bundle_takes_over_what_still_holds(place: Place) -> None:
    partner = a_partner(
        introspection={"url": f"{place.url}/partner", "client_id": "c", "secret": {"secret": "env:IDP_SECRET"}}
    )
    async with an_introspector(asked_at(place.url), partner) as introspector:
        for issuer_id in ("corp", "partner"):
            await introspector.refresh(IntrospectionNeeded(issuer_id, "digest", "t"))
        undo = introspector.adopt([asked_at(f"{place.url}/v2"), partner])
        assert introspector.find("corp", "digest") is None, "another place may say otherwise"
        assert introspector.find("partner", "digest") is not None
        await introspector.refresh(NEED)
        assert place.asked[-1]["path"] == "/v2/introspect"
        undo()
        assert introspector.find("corp", "digest") is not None
        introspector.adopt([an_issuer()])
        assert introspector.find("partner", "digest") is None


async def test_a_bundle_without_its_secret_is_not_taken_over(place: Place) -> None:
    async with an_introspector(asked_at(place.url)) as introspector:
        await introspector.refresh(NEED)
        with pytest.raises(UsageError):
            introspector.adopt([asked_at(place.url, secret={"secret": "env:NOT_THERE"})])
        assert introspector.find("corp", "digest") is not None


async def test_an_answer_of_a_bundle_that_is_gone_is_not_kept(place: Place) -> None:
    async def slowly(_request: web.BaseRequest) -> web.StreamResponse:
        await place.go_on.wait()
        return GOOD()

    place.answer = slowly
    async with an_introspector(asked_at(place.url)) as introspector:
        waiting = asyncio.ensure_future(introspector.refresh(NEED))
        await place.was_asked.wait()
        introspector.adopt([asked_at(f"{place.url}/v2")])
        place.go_on.set()
        await waiting
        assert introspector.find("corp", "digest") is None
