# SPDX-License-Identifier: Apache-2.0
import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from aiohttp import web

from proxy.clock import unix_seconds
from proxy.errors import StoreError, UsageError
from proxy.model.json_path import parse_json_path
from proxy.model.subject import Located, LookupNeeded, Told
from proxy.subject import directory as directory_module
from proxy.subject.asking import Asking
from proxy.subject.directory import HeldDirectory
from proxy.subject.options import SubjectOptions
from proxy.subject.register import Asked, HttpQuestion, Lookup, Prefixes, Table
from proxy.subject.told import FAILED, NOT_FOUND
from proxy.telemetry import Metrics
from tests.support.lookups import JP, TW, an_asked
from tests.support.world import serve_raw, wait_for

SELECT = parse_json_path("$.country")


class Place:
    """A real directory on loopback, which answers one country when it is told to."""

    def __init__(self) -> None:
        self.country = "JP"
        self.asked: list[str] = []
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.url = ""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(request.path)
        country = self.country
        await self.go_on.wait()
        return web.json_response({"country": country})

    def lookup(self, path: str = "", **changes: object) -> Asked:
        how = HttpQuestion(f"{self.url}{path}/{{id}}", SELECT)
        return an_asked(how, **{"id": "crm", "batch": 1, **changes})


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    found = Place()
    async with serve_raw(found.handle) as found.url:
        yield found


@pytest.fixture
async def opened() -> AsyncIterator[list[HeldDirectory]]:
    """Directories that are closed at the end."""
    found: list[HeldDirectory] = []
    yield found
    for directory in found:
        await directory.close()


async def open_(
    opened: list[HeldDirectory], lookups: Mapping[str, Lookup], options: SubjectOptions | None = None
) -> HeldDirectory:
    directory = HeldDirectory(lookups, options or SubjectOptions(), Metrics())
    opened.append(directory)
    return directory


class Broken(dict[str, tuple[str]]):
    def get(self, key: str, default: object = None, /) -> object:  # type: ignore[override]
        raise StoreError("broken")


async def test_what_is_in_memory_is_known_at_once(opened: list[HeldDirectory]) -> None:
    directory = await open_(opened, {"t": Table({"1": ("JP;TW",)}), "p": Prefixes({"81": ("JP",)}, (2,))})
    assert directory.find("t", "1", 0) == Located(Told.FOUND, ("JP", "TW"))
    assert directory.find("t", "2", 0) == NOT_FOUND
    assert directory.find("p", "8190", 0) == JP
    await directory.ask(LookupNeeded("t", ("1", "2")))


async def test_a_table_that_cannot_be_read_tells_nothing(opened: list[HeldDirectory]) -> None:
    directory = await open_(opened, {"t": Table(Broken())})
    assert directory.find("t", "1", 0) == FAILED


class Counting(dict[str, tuple[str]]):
    def __init__(self, rows: dict[str, tuple[str]]) -> None:
        super().__init__(rows)
        self.reads = 0

    def get(self, key: str, default: object = None, /) -> object:  # type: ignore[override]
        self.reads += 1
        return super().get(key)


async def test_rows_that_were_read_are_kept_in_bounded_number(
    opened: list[HeldDirectory], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory_module, "MAX_KNOWN", 2)
    rows = Counting({"1": ("JP",), "2": ("TW",), "3": ("JP",)})
    directory = await open_(opened, {"t": Table(rows)})
    assert [directory.find("t", id_, 0) for id_ in "1212"] == [JP, TW, JP, TW]
    assert rows.reads == 2
    assert [directory.find("t", id_, 0) for id_ in "3xx31"] == [JP, NOT_FOUND, NOT_FOUND, JP, JP]
    assert rows.reads == 6


async def test_a_lookup_that_is_not_in_force_tells_nothing(opened: list[HeldDirectory]) -> None:
    directory = await open_(opened, {})
    await directory.ask(LookupNeeded("crm", ("1",)))
    assert directory.find("crm", "1", 0) == FAILED


async def test_somebody_elsewhere_is_asked(opened: list[HeldDirectory], place: Place) -> None:
    directory = await open_(opened, {"crm": place.lookup()})
    assert directory.find("crm", "1", unix_seconds()) is None
    await directory.ask(LookupNeeded("crm", ("1", "2")))
    assert directory.find("crm", "1", unix_seconds()) == JP
    assert sorted(place.asked) == ["/1", "/2"]


async def test_a_directory_that_is_not_there_is_a_failure_and_no_exception(
    opened: list[HeldDirectory], unused_tcp_port: int
) -> None:
    how = HttpQuestion(f"http://127.0.0.1:{unused_tcp_port}/{{id}}", SELECT)
    directory = await open_(opened, {"crm": an_asked(how, id="crm", batch=1)})
    await directory.ask(LookupNeeded("crm", ("1",)))
    assert directory.find("crm", "1", unix_seconds()) == FAILED


async def test_another_bundle_keeps_what_it_declares_as_before(opened: list[HeldDirectory], place: Place) -> None:
    directory = await open_(opened, {"crm": place.lookup(), "old": place.lookup("/old", id="old")})
    await directory.ask(LookupNeeded("crm", ("1",)))
    await directory.ask(LookupNeeded("old", ("1",)))
    directory.adopt({"crm": place.lookup(), "new": place.lookup("/new", id="new")})
    assert directory.find("crm", "1", unix_seconds()) == JP
    assert directory.find("new", "1", unix_seconds()) is None
    assert directory.find("old", "1", unix_seconds()) == FAILED


@pytest.mark.parametrize("change", ["/elsewhere", "fresh_seconds", "form"])
async def test_what_a_lookup_said_before_it_was_changed_is_forgotten(
    opened: list[HeldDirectory], place: Place, change: str
) -> None:
    directory = await open_(opened, {"crm": place.lookup()})
    await directory.ask(LookupNeeded("crm", ("1",)))
    changed = {
        "/elsewhere": place.lookup("/elsewhere"),
        "fresh_seconds": place.lookup(fresh_seconds=60),
        "form": place.lookup(form="alpha3"),
    }
    directory.adopt({"crm": changed[change]})
    assert directory.find("crm", "1", unix_seconds()) is None


async def test_taken_back_everything_is_as_before(opened: list[HeldDirectory], place: Place) -> None:
    directory = await open_(opened, {"crm": place.lookup()})
    await directory.ask(LookupNeeded("crm", ("1",)))
    undo = directory.adopt({"crm": place.lookup("/elsewhere"), "t": Table({})})
    await asyncio.sleep(0)
    undo()
    assert directory.find("crm", "1", unix_seconds()) == JP
    assert directory.find("t", "1", 0) == FAILED
    await directory.ask(LookupNeeded("crm", ("2",)))
    assert directory.find("crm", "2", unix_seconds()) == JP
    assert "/elsewhere/2" not in place.asked


async def test_what_is_under_way_asks_the_bundle_that_is_put_in_force_meanwhile(
    opened: list[HeldDirectory], place: Place
) -> None:
    directory = await open_(opened, {"crm": place.lookup()})
    place.go_on.clear()
    asking = asyncio.ensure_future(directory.ask(LookupNeeded("crm", ("1",))))
    await wait_for(lambda: place.asked)
    place.country = "TW"
    directory.adopt({"crm": place.lookup("/elsewhere")})
    place.go_on.set()
    await asking
    assert place.asked == ["/1", "/elsewhere/1"]
    assert directory.find("crm", "1", unix_seconds()) == TW


async def test_a_lookup_that_is_gone_closes_its_connections(opened: list[HeldDirectory], place: Place) -> None:
    directory = await open_(opened, {"crm": place.lookup()})
    await directory.ask(LookupNeeded("crm", ("1",)))
    register = directory._registers["crm"]
    assert isinstance(register, Asking)
    directory.adopt({})
    await wait_for(lambda: not directory._retiring)
    assert getattr(register._backend, "_session") is None  # noqa: B009 - it is no part of the protocol


async def test_this_deployment_finds_it_elsewhere(opened: list[HeldDirectory], place: Place) -> None:
    bundle = {"crm": an_asked(HttpQuestion("http://127.0.0.1:9/{id}", SELECT), id="crm", batch=1)}
    directory = await open_(opened, bundle, SubjectOptions(lookup={"crm": f"{place.url}/here/{{id}}"}))
    await directory.ask(LookupNeeded("crm", ("1",)))
    assert place.asked == ["/here/1"]


HTTP = HttpQuestion("http://127.0.0.1:9/{id}", SELECT)
SECRET = HttpQuestion("https://d.internal/{id}", SELECT, token="file:/nowhere/token")


@pytest.mark.parametrize(
    ("options", "how", "words"),
    [
        pytest.param({"lookup": {"crn": "x"}}, HTTP, "did you mean 'crm'", id="no such lookup"),
        pytest.param({"lookup": {"t": "x"}}, HTTP, "bundle itself holds", id="a table elsewhere"),
        pytest.param({"lookup": {"crm": "http://d/"}}, HTTP, "says once where the id stands", id="no place for an id"),
        pytest.param({"lookup": {"crm": "http://d/{ids}"}}, HTTP, "several ids", id="another question"),
        pytest.param({"lookup": {"crm": "http://d/{id}"}}, SECRET, "https", id="a token in clear"),
        pytest.param({}, SECRET, "the secret cannot be read", id="no token"),
        pytest.param({"lookup_ca": {"crm": "/nowhere"}}, HTTP, "SEKISHO_LOOKUP_CA", id="no CA"),
        pytest.param({"lookup_ca": {"x": "/nowhere"}}, HTTP, "SEKISHO_LOOKUP_CA names a lookup 'x'", id="whose CA?"),
    ],
)
async def test_what_is_not_there_stops_the_start_and_the_change(
    options: dict[str, dict[str, str]], how: HttpQuestion, words: str, place: Place, opened: list[HeldDirectory]
) -> None:
    lookups: dict[str, Lookup] = {"crm": an_asked(how, id="crm", batch=1), "t": Table({})}
    with pytest.raises(UsageError, match=words):
        HeldDirectory(lookups, SubjectOptions.model_validate(options), Metrics())
    directory = await open_(opened, {"crm": place.lookup()})
    await directory.ask(LookupNeeded("crm", ("1",)))
    directory._options = SubjectOptions.model_validate(options)
    with pytest.raises(UsageError, match=words):
        directory.adopt(lookups)
    assert directory.find("crm", "1", unix_seconds()) == JP, "nothing has changed"


async def test_a_secret_that_is_gone_stops_a_change(opened: list[HeldDirectory], place: Place, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("s3cret")
    how = HttpQuestion(f"{place.url}/{{id}}", SELECT, token=f"file:{file}")
    lookups = {"crm": an_asked(how, id="crm", batch=1)}
    directory = await open_(opened, lookups)
    file.unlink()
    with pytest.raises(UsageError, match=r"lookup 'crm' cannot be used: the secret cannot be read"):
        directory.adopt(lookups)
