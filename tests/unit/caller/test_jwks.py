# SPDX-License-Identifier: Apache-2.0
"""Keys are fetched from where the operator said, whole and in time, or the last good ones stay until they are stale."""

import asyncio
import contextlib
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from proxy.caller.jwks import MAX_DOCUMENT_BYTES, KeyStore
from proxy.caller.options import CallerOptions
from proxy.clock import elapsed_seconds
from proxy.errors import KeySetError
from proxy.telemetry import Metrics
from tests.support.tokens import PARTNER, a_partner, a_provider, an_issuer, jwk
from tests.support.world import wait_for

GOOD = json.dumps({"keys": [jwk(a_provider())]}).encode()
ROTATED = json.dumps({"keys": [jwk(a_provider(PARTNER))]}).encode()
STALE_SECONDS = 100.0


class Place:
    """A real HTTP server on loopback; what it answers is the test's."""

    def __init__(self) -> None:
        self.document = GOOD
        self.answer: Callable[[web.Request], Awaitable[web.StreamResponse]] = self.publish
        self.asked: list[str] = []
        self.was_asked = asyncio.Event()
        self.go_on = asyncio.Event()
        self.url = ""

    async def publish(self, _request: web.Request) -> web.StreamResponse:
        return web.Response(body=self.document)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        self.was_asked.set()
        return await self.answer(request)


@contextlib.asynccontextmanager
async def served() -> AsyncIterator[Place]:
    place = Place()
    app = web.Application()
    app.router.add_get("/{path:.*}", place.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        place.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield place
    finally:
        place.go_on.set()
        await runner.cleanup()


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with served() as place:
        yield place


def a_store(place: str, folder: Path = Path(), **options: Any) -> KeyStore:
    settled = {"jwks_minimum_seconds": 0, "jwks_timeout_seconds": 5, "jwks_stale_seconds": STALE_SECONDS} | options
    return KeyStore([an_issuer(jwks=place)], folder, CallerOptions(**settled), Metrics())


def generation(store: KeyStore, issuer_id: str = "corp") -> str | None:
    keys = store.sets.get(issuer_id)
    return keys.generation if keys else None


async def test_keys_are_fetched(place: Place) -> None:
    store = a_store(f"{place.url}/jwks.json")
    assert generation(store) is None
    await store.fetch_all()
    assert generation(store) is not None
    assert place.asked == ["/jwks.json"]


async def test_keys_that_change_are_another_generation(place: Place) -> None:
    store = a_store(place.url)
    await store.fetch_all()
    before, place.document = generation(store), ROTATED
    await store.refresh("corp")
    assert generation(store) not in {before, None}


async def test_a_deployment_may_name_another_place(place: Place) -> None:
    store = a_store("https://idp.example.jp/jwks.json", jwks={"corp": f"{place.url}/mine"})
    await store.fetch_all()
    assert place.asked == ["/mine"]


async def redirect(request: web.Request) -> web.StreamResponse:
    location = "/elsewhere"
    return web.Response(status=302, headers={"Location": location}) if request.path != location else good()


def good() -> web.Response:
    return web.Response(body=GOOD)


def answering(**options: Any) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(**options)

    return answer


async def chunked_without_end(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    response.enable_chunked_encoding()
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        for _ in range(MAX_DOCUMENT_BYTES // 4096 * 4):
            await response.write(b" " * 4096)
    return response


async def cut_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(len(GOOD) + 1)})
    await response.prepare(request)
    await response.write(GOOD)
    if request.transport is not None:
        request.transport.close()
    return response


def one_key(**changes: Any) -> bytes:
    return json.dumps({"keys": [jwk(a_provider()) | changes]}).encode()


ANSWERS: dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]] = {
    "it leads elsewhere": redirect,
    "404": answering(status=404, body=GOOD),
    "500": answering(status=500, body=GOOD),
    "204": answering(status=204),
    "203, which some proxy has changed": answering(status=203, body=GOOD),
    "nothing": answering(body=b""),
    "a page to sign in": answering(body=b"<html>", content_type="text/html"),
    "no key": answering(body=b'{"keys": []}'),
    "a byte too many": answering(body=GOOD + b" " * (MAX_DOCUMENT_BYTES - len(GOOD) + 1)),
    "chunks without end": chunked_without_end,
    "a bomb": answering(body=gzip.compress(b" " * 2**25), headers={"Content-Encoding": "gzip"}),
    "what is not gzip": answering(body=GOOD, headers={"Content-Encoding": "gzip"}),
    "a byte less than it said": cut_off,
    "keys of odd types": answering(body=b'{"keys": [1, null, []]}'),
    "a key whose alg is a list": answering(body=one_key(alg=["ES256"])),
    "a key whose alg is an object": answering(body=one_key(alg={"a": 1})),
    "nesting without end": answering(body=b"[" * 100_000),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_no_keys_are_had_where_the_answer_is(
    place: Place, answer: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> None:
    place.answer = answer
    store = a_store(place.url)
    with pytest.raises(KeySetError, match="issuer 'corp'"):
        await store.fetch_all()
    assert generation(store) is None
    assert len(place.asked) == 1


FAILURES = {name: answer for name, answer in ANSWERS.items() if name != "no key"}


@pytest.mark.parametrize("answer", FAILURES.values(), ids=FAILURES)
async def test_the_last_good_keys_stay_where_the_answer_is(
    place: Place, answer: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> None:
    store = a_store(place.url)
    await store.fetch_all()
    before, place.answer = generation(store), answer
    await store.refresh("corp")
    assert len(place.asked) == 2
    assert generation(store) == before


async def test_a_provider_that_withdraws_all_its_keys_is_believed(place: Place) -> None:
    """It answers in good order that no key is good: that is no failure, and waiting a day for it is too long."""
    store = a_store(place.url)
    await store.fetch_all()
    place.document = b'{"keys": []}'
    await store.refresh("corp")
    assert generation(store) is None


async def test_the_largest_document_is_taken(place: Place) -> None:
    place.document = GOOD + b" " * (MAX_DOCUMENT_BYTES - len(GOOD))
    store = a_store(place.url)
    await store.fetch_all()
    assert generation(store) is not None


async def never(place: Place, _request: web.Request) -> web.StreamResponse:
    await place.go_on.wait()
    return good()


async def half(place: Place, request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(len(GOOD))})
    await response.prepare(request)
    await response.write(GOOD[:10])
    await place.go_on.wait()
    return response


@pytest.mark.parametrize("slow", [never, half], ids=["never answers", "stops in the middle"])
async def test_a_place_is_not_waited_for_that(
    place: Place, slow: Callable[[Place, web.Request], Awaitable[web.StreamResponse]]
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return await slow(place, request)

    place.answer = answer
    with pytest.raises(KeySetError, match="Timeout"):
        await a_store(place.url, jwks_timeout_seconds=0.1).fetch_all()


async def test_a_place_where_nobody_listens_is_an_error_that_says_what_to_do() -> None:
    async with served() as gone:
        url = gone.url
    with pytest.raises(KeySetError, match="--jwks corp=URL"):
        await a_store(url).fetch_all()


PLACES = ["http://127.0.0.1:99999/", "https://", "http://[::1", "ftp://127.0.0.1/", "keys.json"]


@pytest.mark.parametrize("place", PLACES)
async def test_a_place_that_is_none_is_an_error(place: str) -> None:
    with pytest.raises(KeySetError):
        await a_store("file:x", jwks={"corp": place}).fetch_all()


async def test_a_flood_of_unknown_keys_causes_one_fetch_each_interval(place: Place) -> None:
    store = a_store(place.url, jwks_minimum_seconds=3600)
    await asyncio.gather(*(store.refresh("corp") for _ in range(50)))
    for _ in range(50):
        await store.refresh("corp")
    assert len(place.asked) == 1


async def test_a_fetch_that_failed_is_spaced_too(place: Place) -> None:
    place.answer = answering(status=500)
    store = a_store(place.url, jwks_minimum_seconds=3600)
    for _ in range(10):
        await store.refresh("corp")
    assert len(place.asked) == 1


async def test_a_flood_for_one_issuer_does_not_keep_another_from_its_keys(place: Place) -> None:
    issuers = [an_issuer(jwks=f"{place.url}/corp"), a_partner(jwks=f"{place.url}/partner")]
    store = KeyStore(issuers, Path(), CallerOptions(jwks_minimum_seconds=3600), Metrics())
    for issuer_id in ("corp", "corp", "partner", "partner"):
        await store.refresh(issuer_id)
    assert place.asked == ["/corp", "/partner"]


async def test_whoever_waits_for_a_fetch_does_not_start_another(place: Place) -> None:
    """Else a provider slower than the interval is asked once a request, one after the other."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return await never(place, request)

    place.answer = answer
    store = a_store(place.url, jwks_minimum_seconds=0)
    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(store.refresh("corp"))
        await place.was_asked.wait()
        place.go_on.set()
    assert len(place.asked) == 1


async def test_keys_are_trusted_until_they_are_stale_and_then_there_are_none(place: Place) -> None:
    store = a_store(place.url, jwks_stale_seconds=0.5)
    await store.fetch_all()
    fetched = elapsed_seconds()
    assert generation(store) is not None
    await wait_for(lambda: generation(store) is None)
    assert elapsed_seconds() - fetched > 0.4


async def test_a_failed_fetch_does_not_make_keys_fresher(place: Place) -> None:
    store = a_store(place.url, jwks_stale_seconds=0.1)
    await store.fetch_all()
    place.answer = answering(status=500)
    while generation(store):
        await store.refresh("corp")
    assert store.failed == {"corp"}


async def test_a_fetch_makes_keys_fresh_again(place: Place) -> None:
    store = a_store(place.url, jwks_stale_seconds=0.1)
    await store.fetch_all()
    until = elapsed_seconds() + 0.3
    while (began := elapsed_seconds()) < until:
        await store.refresh("corp")
        assert generation(store) is not None or elapsed_seconds() - began >= 0.1


async def test_the_wall_clock_ages_no_keys(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else whoever sets the clock decides how long a withdrawn key opens, or that nobody gets in."""
    store = a_store(place.url)
    await store.fetch_all()
    monkeypatch.setattr("proxy.caller.jwks.unix_seconds", lambda: 0.0)
    await store.refresh("corp")
    monkeypatch.setattr("proxy.caller.jwks.unix_seconds", lambda: 4e9)
    await store.refresh("corp")
    assert len(place.asked) == 3
    assert generation(store) is not None


async def test_an_outage_is_told_until_it_is_over(place: Place) -> None:
    store = a_store(place.url)
    await store.fetch_all()
    place.answer = answering(status=500)
    await store.refresh("corp")
    assert store.failed == {"corp"}
    place.answer = place.publish
    await store.refresh("corp")
    assert store.failed == set()


async def test_unchanged_keys_stay_the_same_value(place: Place) -> None:
    """Callers that are kept are compared by it."""
    store = a_store(place.url)
    await store.fetch_all()
    before = store.sets["corp"]
    await store.refresh("corp")
    assert store.sets["corp"] is before


async def test_the_number_of_keys_is_told(place: Place) -> None:
    store = a_store(place.url, jwks_stale_seconds=0.5)
    await store.fetch_all()
    gauge = store._metrics.key_set_keys.labels("corp")
    assert gauge._value.get() == 1
    await wait_for(lambda: gauge._value.get() == 0)


async def test_keys_of_an_issuer_that_nobody_declared_are_none(place: Place) -> None:
    store = a_store(place.url)
    await store.fetch_all()
    assert generation(store, "partner") is None


@pytest.mark.parametrize(
    "document",
    [GOOD, b"", b'{"keys": [1]}', one_key(alg=["ES256"]), b"[" * 100_000],
    ids=["good", "empty", "of numbers", "of an alg that is a list", "nested without end"],
)
async def test_one_issuers_document_does_not_stop_the_others_from_being_kept_fresh(
    place: Place, document: bytes
) -> None:
    """Else a provider decides that nobody's withdrawn keys are noticed any more."""
    async with served() as other:
        place.document = document
        issuers = [an_issuer(jwks=place.url), a_partner(jwks=other.url)]
        options = CallerOptions(jwks_refresh_seconds=0.001, jwks_minimum_seconds=0)
        store = KeyStore(issuers, Path(), options, Metrics())
        keeping = asyncio.ensure_future(store.keep_fresh())
        noticed = asyncio.ensure_future(other.was_asked.wait())
        try:
            await asyncio.wait({keeping, noticed}, timeout=10, return_when=asyncio.FIRST_COMPLETED)
            assert noticed.done()
            assert not keeping.done()
        finally:
            keeping.cancel()
            noticed.cancel()
            await asyncio.gather(keeping, noticed, return_exceptions=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a policy folder with keys inside, and other keys beside it."""
    inside = tmp_path / "policies"
    (inside / "keys").mkdir(parents=True)
    (inside / "keys" / "corp.json").write_bytes(GOOD)
    (tmp_path / "outside.json").write_bytes(GOOD)
    (tmp_path / "policies-too").mkdir()
    (tmp_path / "policies-too" / "k.json").write_bytes(GOOD)
    (inside / "large.json").write_bytes(GOOD + b" " * MAX_DOCUMENT_BYTES)
    (inside / "link-inside.json").symlink_to(inside / "keys" / "corp.json")
    (inside / "link-outside.json").symlink_to(tmp_path / "outside.json")
    (inside / "link-relative.json").symlink_to("../outside.json")
    (inside / "folder-outside").symlink_to(tmp_path)
    (inside / "link-dangling.json").symlink_to("nothing.json")
    (inside / "link-circle.json").symlink_to("link-circle.json")
    return inside


@pytest.mark.parametrize("name", ["keys/corp.json", "./keys/../keys/corp.json", "link-inside.json"])
async def test_a_file_inside_the_folder_is_read(folder: Path, name: str) -> None:
    store = a_store(f"file:{name}", folder)
    await store.fetch_all()
    assert generation(store) is not None


async def test_a_folder_that_is_a_link_is_a_folder(folder: Path) -> None:
    link = folder.parent / "current"
    link.symlink_to(folder)
    store = a_store("file:keys/corp.json", link)
    await store.fetch_all()
    assert generation(store) is not None


FILES = {
    "is above the folder": ("../outside.json", "leads out"),
    "is beside it under a name that begins alike": ("../policies-too/k.json", "leads out"),
    "is a link to outside": ("link-outside.json", "leads out"),
    "is a relative link to outside": ("link-relative.json", "leads out"),
    "is behind a linked folder": ("folder-outside/outside.json", "leads out"),
    "is absolute": ("/etc/hostname", "leads out"),
    "is a URL with two slashes": ("//etc/hostname", "leads out"),
    "is missing": ("nothing.json", "No such file"),
    "is a link to nothing": ("link-dangling.json", "No such file"),
    "is a link to itself": ("link-circle.json", "issuer 'corp'"),
    "is the folder": ("", "directory"),
    "is a folder": ("keys", "directory"),
    "is too large": ("large.json", "larger than"),
    "has a zero byte in its name": ("keys/corp.json\0", "issuer 'corp'"),
    "has a name longer than names are": ("x" * 300, "too long"),
}


@pytest.mark.parametrize(("name", "message"), FILES.values(), ids=FILES)
async def test_a_file_is_not_read_that(folder: Path, name: str, message: str) -> None:
    with pytest.raises(KeySetError, match=message):
        await a_store("file:x", folder, jwks={"corp": f"file:{name}"}).fetch_all()


async def test_a_file_that_breaks_leaves_the_last_good_keys(folder: Path) -> None:
    store = a_store("file:keys/corp.json", folder)
    await store.fetch_all()
    before = generation(store)
    (folder / "keys" / "corp.json").write_bytes(GOOD[:-10])
    await store.refresh("corp")
    assert generation(store) == before


class Metadata:
    """What an issuer publishes of itself, on loopback; each path answers what the test says."""

    def __init__(self, place: Place) -> None:
        self.paths: dict[str, Any] = {
            "/.well-known/openid-configuration": {"issuer": place.url, "jwks_uri": f"{place.url}/keys"},
            "/keys": {"keys": [jwk(a_provider())]},
        }
        place.answer = self.handle

    async def handle(self, request: web.Request) -> web.StreamResponse:
        found = self.paths.get(request.path)
        return web.Response(status=404) if found is None else web.json_response(found)


def a_discovering_store(place: Place, **changes: Any) -> KeyStore:
    issuer = an_issuer(**{"issuer": place.url, "jwks": None, **changes})
    return KeyStore([issuer], Path(), CallerOptions(jwks_minimum_seconds=0), Metrics())


async def test_keys_are_found_by_what_an_issuer_says_of_itself(place: Place) -> None:
    Metadata(place)
    store = a_discovering_store(place)
    await store.fetch_all()
    assert generation(store) is not None
    assert place.asked == ["/.well-known/openid-configuration", "/keys"]
    assert store.place("corp") == f"{place.url}/.well-known/openid-configuration"


async def test_keys_are_found_by_rfc_8414_where_there_is_no_openid(place: Place) -> None:
    metadata = Metadata(place)
    metadata.paths["/.well-known/oauth-authorization-server"] = metadata.paths.pop("/.well-known/openid-configuration")
    store = a_discovering_store(place)
    await store.fetch_all()
    assert generation(store) is not None
    assert place.asked[1:] == ["/.well-known/oauth-authorization-server", "/keys"]


async def test_keys_that_moved_are_found_again(place: Place) -> None:
    metadata = Metadata(place)
    store = a_discovering_store(place)
    await store.fetch_all()
    before = generation(store)
    metadata.paths["/.well-known/openid-configuration"]["jwks_uri"] = f"{place.url}/new"
    metadata.paths["/new"] = {"keys": [jwk(a_provider(PARTNER))]}
    await store.refresh("corp")
    assert generation(store) not in {before, None}


async def test_a_deployment_may_name_the_place_of_keys_that_are_discovered(place: Place) -> None:
    issuer = an_issuer(issuer="https://idp.example.jp", jwks=None)
    store = KeyStore([issuer], Path(), CallerOptions(jwks={"corp": f"{place.url}/mine"}), Metrics())
    await store.fetch_all()
    assert place.asked == ["/mine"]


async def test_lessons_row_14_metadata_leads_nowhere_else(place: Place) -> None:
    async with served() as inside:
        metadata = Metadata(place)
        metadata.paths["/.well-known/openid-configuration"]["jwks_uri"] = f"{inside.url}/v1/secrets"
        with pytest.raises(KeySetError, match="jwks_hosts"):
            await a_discovering_store(place).fetch_all()
        assert inside.asked == []
        await a_discovering_store(place, jwks_hosts=[inside.url.removeprefix("http://")]).fetch_all()
        assert inside.asked == ["/v1/secrets"]


WRONG: dict[str, dict[str, Any]] = {
    "is another issuer's": {"issuer": "https://evil.example"},
    "is of no issuer": {"issuer": None},
    "names no place": {"jwks_uri": None},
    "names a file": {"jwks_uri": "file:/etc/hostname"},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
async def test_metadata_finds_no_keys_that(place: Place, wrong: dict[str, Any]) -> None:
    metadata = Metadata(place)
    metadata.paths["/.well-known/openid-configuration"] |= wrong
    with pytest.raises(KeySetError, match="issuer 'corp'"):
        await a_discovering_store(place).fetch_all()
    assert place.asked == ["/.well-known/openid-configuration"]


async def test_metadata_that_goes_wrong_leaves_the_last_good_keys(place: Place) -> None:
    metadata = Metadata(place)
    store = a_discovering_store(place)
    await store.fetch_all()
    before = generation(store)
    metadata.paths["/.well-known/openid-configuration"] = {"issuer": "https://evil.example"}
    await store.refresh("corp")
    assert generation(store) == before
    assert store.failed == {"corp"}


async def test_redirects_of_metadata_are_not_followed(place: Place) -> None:
    async def away(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": "/keys"})

    place.answer = away
    with pytest.raises(KeySetError, match="302"):
        await a_discovering_store(place).fetch_all()
    assert len(place.asked) == 1


async def test_keys_of_other_algorithms_are_another_value_though_the_document_is_the_same(place: Place) -> None:
    store = a_store(place.url)
    await store.fetch_all()
    before = store.sets["corp"]
    undo = await store.adopt([an_issuer(jwks=place.url, algorithms=["ES256"])])
    assert store.sets["corp"] is not before
    undo()
    assert store.sets["corp"] is before


async def test_keys_of_an_issuer_that_is_gone_are_gone(place: Place) -> None:
    store = a_store(place.url)
    await store.fetch_all()
    undo = await store.adopt([a_partner(jwks=place.url)])
    assert generation(store) is None
    undo()
    assert generation(store) is not None


async def test_the_age_of_keys_is_not_told_of_an_issuer_that_is_gone(place: Place) -> None:
    store = a_store(place.url)
    await store.fetch_all()
    undo = await store.adopt([a_partner(jwks=place.url)])
    assert told_of(store) == [{"partner"}, {"partner"}]
    undo()
    assert told_of(store) == [{"corp"}, {"corp"}]


async def test_the_age_of_keys_is_not_told_of_an_issuer_that_never_came_to_be_declared(place: Place) -> None:
    store = a_store(place.url)
    await store.fetch_all()
    with pytest.raises(KeySetError, match="issuer 'gone'"):
        await store.adopt([a_partner(jwks=place.url), an_issuer(id="gone", jwks="http://127.0.0.1:1/")])
    assert told_of(store) == [{"corp"}, {"corp"}]
    assert store.failed == set()


async def test_the_age_of_keys_is_told_on_where_a_change_is_taken_back(place: Place) -> None:
    store = a_store(place.url)
    await store.fetch_all()
    gauge = store._metrics.key_set_fetched
    before = gauge.labels("corp")._value.get()
    (await store.adopt([a_partner(jwks=place.url)]))()
    assert gauge.labels("corp")._value.get() == pytest.approx(before, abs=0.01)


def told_of(store: KeyStore) -> list[set[str]]:
    """Return the issuers of which metrics tell when keys were fetched, and how many there are."""
    gauges = store._metrics.key_set_fetched, store._metrics.key_set_keys
    return [{each.labels["issuer"] for metric in gauge.collect() for each in metric.samples} for gauge in gauges]
