# SPDX-License-Identifier: Apache-2.0
"""Names of people in a ledger that a gateway writes: by which key, in which month, and who it was."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.cli import main
from proxy.clock import unix_seconds
from proxy.ledger.key_ring_file import read_key_ring
from proxy.ledger.pseudonym import KeyRing, period_of
from tests.server.test_reload import Place, a_place, metric, readiness, status
from tests.support.keys import write_pseudonym_keys
from tests.support.ledger import read_raw
from tests.support.world import STAFF, wait_for

ALICE = {**STAFF, "sub": "alice"}
KEYS = (bytes([number]) * 32 for number in range(1, 250))


def this_month() -> str:
    return period_of(unix_seconds())


def a_ring(*periods: str) -> KeyRing:
    return KeyRing(next(KEYS), {period: next(KEYS) for period in periods})


def names(place: Place) -> Iterator[tuple[str, str]]:
    for record in place.records():
        yield record["caller"]["who"], record["subject"]["id"]


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with a_place(tmp_path) as place:
        yield place


def key_file(place: Place) -> Path:
    return place.ledger.parent / "pseudonym.key"


async def test_a_changed_ring_names_people_from_then_on_and_both_names_are_found(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    month, before = this_month(), read_key_ring(key_file(place))
    assert [record["pseudonyms"] for record in place.records("keys")] == [month]
    assert await status(place, ALICE) == 200
    after = a_ring("2020-01", month)
    write_pseudonym_keys(key_file(place), after)
    place.poke()
    await wait_for(lambda: len(place.records("keys")) == 2)
    assert await status(place, ALICE) == 200
    expected = [
        (ring.names[month].of_caller("corp|alice"), ring.names[month].of_subject("users", "42"))
        for ring in (before, after)
    ]
    assert list(names(place)) == expected
    found = _resolve(place, capsys, "corp|alice", "users:42", "corp|bob")
    assert [(each["candidate"], each["as"], each["decisions"]) for each in found["found"]] == [
        ("corp|alice", "caller", 1), ("users:42", "data subject", 1),
    ]  # fmt: skip
    assert found["not_found"] == ["corp|bob"]


async def test_a_month_without_a_key_is_told_and_nobody_is_refused(place: Place) -> None:
    write_pseudonym_keys(key_file(place), a_ring("2020-01"))
    place.poke()
    await wait_for(lambda: place.records("keys")[-1]["pseudonyms"] == "2020-01")
    assert await status(place, ALICE) == 200
    assert await metric(place, "sekisho_pseudonym_keys_until_timestamp_seconds") <= unix_seconds()
    (doubt,) = (await readiness(place))["pseudonym_doubts"]
    assert "the key of 2020-01 still names people" in doubt

    assert main(["keygen", str(key_file(place)), "--extend"]) == 0
    place.poke()
    await wait_for(lambda: place.records("keys")[-1]["pseudonyms"] == this_month())
    assert (await readiness(place))["pseudonym_doubts"] == []
    assert await metric(place, "sekisho_pseudonym_keys_until_timestamp_seconds") > unix_seconds()


async def test_a_broken_ring_leaves_the_one_in_use_and_is_told(place: Place) -> None:
    ring = read_key_ring(key_file(place))
    key_file(place).write_text("ab" * 32, encoding="ascii")
    place.poke()
    await wait_for_doubt(place)
    assert await status(place, ALICE) == 200
    (named,) = names(place)
    assert named[0] == ring.at(unix_seconds()).of_caller("corp|alice")


async def wait_for_doubt(place: Place) -> None:
    for _ in range(1000):
        doubts = (await readiness(place))["pseudonym_doubts"]
        if doubts:
            assert "line 1" in doubts[0]
            assert "abab" not in doubts[0]
            return
    raise AssertionError("nothing was told")


async def test_an_erased_key_takes_names_and_leaves_every_byte_of_the_ledger(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    old = a_ring("2020-01")
    write_pseudonym_keys(key_file(place), old)
    place.poke()
    await wait_for(lambda: place.records("keys")[-1]["pseudonyms"] == "2020-01")
    assert await status(place, ALICE) == 200
    assert main(["keygen", str(key_file(place)), "--extend"]) == 0
    place.poke()
    await wait_for(lambda: place.records("keys")[-1]["pseudonyms"] == this_month())
    assert await status(place, ALICE) == 200
    before = read_raw(place.ledger)
    assert _resolve(place, capsys, "corp|alice")["found"][0]["decisions"] == 2

    assert main(["ledger", "forget", str(key_file(place)), "2020-01", "--yes"]) == 0
    capsys.readouterr()
    left = _resolve(place, capsys, "corp|alice")
    assert left["found"][0]["decisions"] == 1
    assert left["without_key"] == {"2020-01": 1}
    assert read_raw(place.ledger)[: len(before)] == before


async def test_callers_are_recorded_in_clear_where_that_is_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with a_place(tmp_path, ledger_callers="clear") as place:
        assert await status(place, ALICE) == 200
        ((who, whose),) = names(place)
        assert who == "corp|alice"
        assert whose == read_key_ring(key_file(place)).at(unix_seconds()).of_subject("users", "42")
        (found,) = _resolve(place, capsys, "corp|alice")["found"]
        assert found["periods"] == {"clear": 1}
        assert main(["ledger", "query", str(place.ledger), "--who", "corp|alice", "--format", "json",
                     "--pseudonym-key", str(key_file(place))]) == 0  # fmt: skip
        assert json.loads(capsys.readouterr().out)["caller"]["who"] == "corp|alice"
        assert main(["ledger", "query", str(place.ledger), "--who", "corp|al", "--format", "json",
                     "--pseudonym-key", str(key_file(place))]) == 0  # fmt: skip
        assert not capsys.readouterr().out, "half a name in clear is nobody's"


def _resolve(place: Place, capsys: pytest.CaptureFixture[str], *candidates: str) -> dict[str, Any]:
    flags = ["--pseudonym-key", str(key_file(place)), "--json"]
    assert main(["ledger", "resolve", str(place.ledger), *candidates, *flags]) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return told
