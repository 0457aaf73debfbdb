# SPDX-License-Identifier: Apache-2.0
"""A changed key ring is taken up whole or not at all, and whatever is not as it should be is told."""

import asyncio
import contextlib
import logging
from pathlib import Path

import pytest

from proxy.clock import parse_instant
from proxy.errors import LedgerError, UsageError
from proxy.ledger.key_ring_watch import HeldKeyRing
from proxy.ledger.lines import KeysLine
from proxy.ledger.pseudonym import KeyRing, begin_of
from proxy.telemetry import Metrics
from tests.support.keys import write_pseudonym_keys
from tests.support.world import wait_for

NOW = parse_instant("2026-11-22T06:00:00+00:00")
RING = KeyRing(b"s" * 32, {"2026-10": b"o" * 32, "2026-11": b"n" * 32})
LONGER = RING.extend("2026-12", 1, lambda _: b"d" * 32)


class Place:
    """A key ring in a file, and what was recorded of it."""

    def __init__(self, path: Path, ring: KeyRing = RING, now: float = NOW, seconds: float = 0.001) -> None:
        self.path = write_pseudonym_keys(path, ring)
        self.now = now
        self.metrics = Metrics()
        self.held = HeldKeyRing(path, self.metrics, seconds=seconds, clock=lambda: self.now)
        self.adopted: list[tuple[KeyRing, KeysLine]] = []
        self.error: LedgerError | None = None

    def adopt(self) -> None:
        if self.error is not None:
            raise self.error
        self.adopted.append((self.held.ring, self.held.line()))

    async def look(self) -> None:
        await self.held.look(self.adopt)

    @property
    def until(self) -> float | None:
        return self.metrics.registry.get_sample_value("sekisho_pseudonym_keys_until_timestamp_seconds")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "keys")


async def test_what_has_not_changed_is_not_taken_up(place: Place) -> None:
    await place.look()
    await place.look()
    assert (place.adopted, place.held.ring, place.held.find_doubts()) == ([], RING, ())
    assert place.held.line() == KeysLine(pseudonyms="2026-11")


async def test_months_that_were_added_are_in_use_and_the_metric_says_until_when(place: Place) -> None:
    assert place.until == begin_of("2026-12")
    write_pseudonym_keys(place.path, LONGER)
    await place.look()
    assert place.adopted == [(LONGER, KeysLine(pseudonyms="2026-11"))]
    assert place.until == begin_of("2027-01")
    place.now = begin_of("2026-12")
    assert place.held.line() == KeysLine(pseudonyms="2026-12")
    place.now = begin_of("2027-02")
    assert place.until == begin_of("2027-02"), "no month from now on has a key"


async def test_a_change_before_the_first_look_is_seen(tmp_path: Path) -> None:
    place = Place(tmp_path / "keys")
    write_pseudonym_keys(place.path, LONGER)
    await place.look()
    assert place.held.ring == LONGER


async def test_an_erased_key_leaves_the_memory(place: Place) -> None:
    write_pseudonym_keys(place.path, RING.without("2026-10"))
    await place.look()
    assert place.held.ring.periods == ("2026-11",)


async def test_comments_and_order_are_no_change(place: Place) -> None:
    place.path.write_text("# ours\n" + "\n".join(reversed(RING.render().splitlines())), encoding="ascii")
    await place.look()
    assert place.adopted == []


BAD = {
    "no file": (None, "cannot be read"),
    "a half-written line": (RING.render()[:-10], "line 5: the key of 2026-11 is not 64"),
    "nothing": ("", "it is empty"),
    "months to come alone": (KeyRing(b"s" * 32, {"2026-12": b"d" * 32}).render(), "first month is 2026-12"),
}


@pytest.mark.parametrize(("text", "told"), BAD.values(), ids=BAD.keys())
async def test_a_bad_file_leaves_the_ring_as_it_was_and_is_told_once(
    place: Place, text: str | None, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    if text is None:
        place.path.unlink()
    else:
        place.path.write_text(text, encoding="ascii")
    with caplog.at_level(logging.INFO, "sekisho.ledger"):
        for _ in range(3):
            await place.look()
    assert (place.adopted, place.held.ring) == ([], RING)
    (doubt,) = place.held.find_doubts()
    assert told in doubt
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    write_pseudonym_keys(place.path, LONGER)
    await place.look()
    assert (place.held.ring, place.held.find_doubts()) == (LONGER, ())


async def test_a_bad_file_that_is_put_back_is_no_doubt_any_more(place: Place) -> None:
    await place.look()
    place.path.write_text("", encoding="ascii")
    await place.look()
    assert place.held.find_doubts()
    write_pseudonym_keys(place.path, RING)
    await place.look()
    assert (place.held.find_doubts(), place.adopted) == ((), [])


async def test_what_the_ledger_cannot_record_is_tried_again(place: Place) -> None:
    place.error = LedgerError("The ledger cannot be written.")
    write_pseudonym_keys(place.path, LONGER)
    await place.look()
    assert place.held.ring == RING, "nobody is named by a key that the ledger does not name"
    assert place.held.find_doubts() == ("The ledger cannot be written.",)
    place.error = None
    await place.look()
    assert (place.held.ring, place.held.find_doubts()) == (LONGER, ())


async def test_a_month_without_a_key_is_told_and_people_keep_their_names(place: Place) -> None:
    place.now = begin_of("2026-12")
    assert place.held.line() == KeysLine(pseudonyms="2026-11")
    (doubt,) = place.held.find_doubts()
    assert doubt.startswith("the key of 2026-11 still names people in 2026-12: add months with `sekisho keygen")


@pytest.mark.parametrize("seconds", [0.001, 0])
async def test_it_is_watched_or_looked_at_when_told(tmp_path: Path, seconds: float) -> None:
    place = Place(tmp_path / "keys", seconds=seconds)
    watching = asyncio.ensure_future(place.held.watch(place.adopt))
    write_pseudonym_keys(place.path, LONGER)
    if not seconds:
        place.held.poke()
    await wait_for(lambda: bool(place.adopted))
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    assert place.held.ring == LONGER


@pytest.mark.parametrize(
    ("ring", "told"), [(None, "cannot be read"), (KeyRing(b"s" * 32, {"2026-12": b"d" * 32}), "first month is 2026-12")]
)
def test_what_names_nobody_now_does_not_start(tmp_path: Path, ring: KeyRing | None, told: str) -> None:
    if ring is not None:
        write_pseudonym_keys(tmp_path / "keys", ring)
    with pytest.raises(UsageError, match=told):
        HeldKeyRing(tmp_path / "keys", Metrics(), seconds=0, clock=lambda: NOW)
    with pytest.raises(UsageError, match="is not set"):
        HeldKeyRing(None, Metrics(), seconds=0, clock=lambda: NOW)
