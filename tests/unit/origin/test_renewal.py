# SPDX-License-Identifier: Apache-2.0
import asyncio
import contextlib
import functools
from pathlib import Path

import pytest

from proxy.errors import LedgerError
from proxy.model.ports import Geolocator
from proxy.origin import renewal
from proxy.origin.geoip import make_geolocator
from proxy.origin.options import OriginOptions
from proxy.origin.renewal import Renewal, take_fingerprints
from proxy.telemetry import Metrics
from tests.support.mmdb import write_database
from tests.support.world import wait_for

NOW = 1_800_000_000.0
IP = "198.51.100.1"


class Place:
    """A database of countries, and what is in force of it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "country.mmdb"
        self.write("JP")
        self.options = OriginOptions(geoip=self.path)
        self.metrics = Metrics()
        self.in_force: list[Geolocator] = [make_geolocator(self.options)]
        self.error: LedgerError | None = None
        self.renewal = Renewal(self.options, take_fingerprints(self.options), self.adopt, self.metrics, seconds=0.01)

    def write(self, country: str) -> None:
        write_database(self.path, {"198.51.100.0/24": {"country": {"iso_code": country}}}, kind="GeoLite2-Country")

    def adopt(self, geolocator: Geolocator) -> None:
        if self.error is not None:
            raise self.error
        self.in_force.append(geolocator)

    def countries(self) -> list[object]:
        return [each.locate(IP, NOW).country for each in self.in_force]

    def counted(self, result: str) -> float | None:
        return self.metrics.registry.get_sample_value("sekisho_geolocation_reloads_total", {"result": result})

    def has(self, count: int) -> bool:
        return len(self.in_force) >= count

    @property
    def is_stale(self) -> float | None:
        return self.metrics.registry.get_sample_value("sekisho_geolocation_stale")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(renewal, "SETTLE_SECONDS", 0.001)
    return Place(tmp_path)


async def test_what_has_not_changed_is_not_read_again(place: Place) -> None:
    await place.renewal.look()

    assert place.countries() == ["JP"]
    assert place.counted("loaded") is None


async def test_a_new_database_is_put_in_force_beside_the_old_one(place: Place) -> None:
    place.write("CN")
    await place.renewal.look()
    await place.renewal.look()

    assert place.countries() == ["JP", "CN"], "a request under way keeps the data that it began with"
    assert (place.counted("loaded"), place.is_stale, place.renewal.stale) == (1, 0, ())


async def test_lessons_4_13_a_bad_database_keeps_the_old_one_and_says_so(place: Place) -> None:
    place.path.write_bytes(b"no database")
    await place.renewal.look()
    await place.renewal.look()

    assert place.countries() == ["JP"]
    assert (place.counted("failed"), place.is_stale) == (1, 1)
    assert "cannot be opened" in place.renewal.stale[0]

    place.write("KR")
    await place.renewal.look()
    assert place.countries() == ["JP", "KR"]
    assert (place.is_stale, place.renewal.stale) == (0, ())


async def test_a_database_that_goes_missing_keeps_the_old_one(place: Place) -> None:
    place.path.unlink()
    await place.renewal.look()

    assert place.countries() == ["JP"]
    assert place.is_stale == 1


async def test_what_cannot_be_recorded_is_not_put_in_force(place: Place) -> None:
    place.error = LedgerError("the ledger is full")
    place.write("CN")
    await place.renewal.look()

    assert place.countries() == ["JP"]
    assert place.renewal.stale == ("the ledger is full",)


async def test_the_watch_sees_a_change_by_itself_and_when_told(place: Place) -> None:
    for seconds in (0.01, 0.0):
        watching = Renewal(place.options, take_fingerprints(place.options), place.adopt, place.metrics, seconds=seconds)
        task = asyncio.ensure_future(watching.watch())
        wanted = len(place.in_force) + 1
        place.write("CN")
        if not seconds:
            watching.poke()
        await wait_for(functools.partial(place.has, wanted))
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_the_watch_outlives_whatever_goes_wrong(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []

    async def look() -> None:
        looked.append(1)
        raise RuntimeError("a bug")

    monkeypatch.setattr(place.renewal, "look", look)
    task = asyncio.ensure_future(place.renewal.watch())
    await wait_for(lambda: len(looked) > 2)
    task.cancel()


async def test_without_a_database_there_is_nothing_to_watch() -> None:
    await Renewal(OriginOptions(), "", lambda _: None, Metrics(), seconds=0.01).watch()
