# SPDX-License-Identifier: Apache-2.0
import os
import pickle
from decimal import Decimal
from pathlib import Path
from typing import Final

import pytest

from proxy.bundle import stored_affiliates
from proxy.bundle.store import Store, find_store, make_store
from proxy.bundle.stored_affiliates import (
    StoredAffiliations,
    StoredIds,
    StoredParties,
    StoredPlaces,
    read_boundaries,
    read_epoch,
    read_notes,
    write_epoch,
    write_rows,
)
from proxy.caller.covered_persons import Law
from proxy.caller.holdings import exact
from proxy.caller.ownership import Rule
from proxy.caller.register import Contract, ControlRule, Party, Stake, compute_epoch
from proxy.model.caller import TieKind

RULES: Final = (
    ControlRule("majority", Rule(Decimal(50)), default=True),
    ControlRule("us", Rule(Decimal(50), countries=frozenset({"CN"})), law=Law(frozenset({"CN"}), frozenset({"US"}))),
)
KINDS: Final = frozenset(TieKind) - {TieKind.SUBCONTRACTOR}


def held(*shares: tuple[str, int]) -> tuple[Stake, ...]:
    return tuple(Stake(exact(owner, share)) for owner, share in shares)


PARTIES: Final = (
    Party("ly", "LY", "JP", home=True, subcontractors=("a0",), shares_accounts=True),
    Party("cn", "国", "CN", owners=held(("state:CN", 100)), complete=True, works_for=()),
    *(
        Party(f"a{number}", f"A {number}", ("JP", "US", "KR")[number % 3],
              roles=frozenset({"subsidiary", "contractor"}),
              owners=held(("cn", 60), ("ly", 30)) if number % 2 else held((f"a{number // 2}", 100)) if number else (),
              works_for=(Contract("ly", until=5.0),) if number == 0 else None)
        for number in range(100)
    ),
)  # fmt: skip


def a_store(folder: Path) -> Store:
    epoch = compute_epoch(PARTIES, RULES, KINDS, 0.0)
    return make_store(folder, {"epoch": 1}, lambda writer: write_epoch(writer, epoch, ("watch this",)))


def test_what_is_stored_is_what_was_computed(tmp_path: Path) -> None:
    computed = compute_epoch(PARTIES, RULES, KINDS, 0.0).register()
    store = a_store(tmp_path / "registers")
    stored = read_epoch(store)
    assert dict(stored.by_id) == dict(computed.by_id)
    assert len(stored.by_id) == len(PARTIES)
    for name in ("unknown_ties", "counted", "laws", "since", "until", "sharing", "not_sharing"):
        assert getattr(stored, name) == getattr(computed, name)
    assert read_notes(store) == ("watch this",)


def test_it_travels_as_the_path_of_its_file(tmp_path: Path) -> None:
    register = read_epoch(a_store(tmp_path / "registers"))
    data = pickle.dumps(register)
    assert b"A 99" not in data
    assert pickle.loads(data).by_id["a99"] == register.by_id["a99"]  # noqa: S301 - our own


NOBODY: Final = {"another id": "b0", "an id before all": "", "half of a pair": "\ud800", "the same in upper case": "A0"}


@pytest.mark.parametrize("id_", NOBODY.values(), ids=NOBODY)
def test_nobody_else_is_there(tmp_path: Path, id_: str) -> None:
    by_id = read_epoch(a_store(tmp_path / "registers")).by_id
    assert by_id.get(id_) is None
    assert id_ not in by_id


def test_a_process_keeps_some_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_affiliates, "MAX_KEPT", 16)
    by_id = read_epoch(a_store(tmp_path / "registers")).by_id
    assert isinstance(by_id, StoredAffiliations)
    found = {id_: by_id[id_] for id_ in by_id}
    assert len(by_id._kept) <= 16
    assert by_id["a1"] == found["a1"]
    assert by_id["a1"] is by_id["a1"]


def test_a_file_that_does_not_hold_all_is_an_error_and_not_nobody(tmp_path: Path) -> None:
    """A KeyError would say that there is no such affiliate."""
    by_id = read_epoch(a_store(tmp_path / "registers")).by_id
    assert isinstance(by_id, StoredAffiliations)
    by_id._pieces = read_epoch(a_store(tmp_path / "registers")).by_id  # type: ignore[assignment]
    with pytest.raises(ValueError, match="does not hold"):
        by_id["a1"]


def rows(folder: Path) -> Store:
    places = [f"entities.csv:{number}" for number in range(2, len(PARTIES) + 2)]
    return make_store(folder, {"rows": 1}, lambda writer: write_rows(writer, PARTIES, places))


def test_rows_come_back_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_affiliates, "CHUNK", 7)
    store = rows(tmp_path / "registers")
    parties = pickle.loads(pickle.dumps(StoredParties(store)))  # noqa: S301 - our own
    assert list(parties) == list(PARTIES)
    assert (len(parties), parties[3], list(parties[1:3])) == (len(PARTIES), PARTIES[3], list(PARTIES[1:3]))
    assert read_boundaries(store) == [5.0]


def test_ids_and_places_are_looked_up(tmp_path: Path) -> None:
    store = rows(tmp_path / "registers")
    ids = pickle.loads(pickle.dumps(StoredIds(store)))  # noqa: S301 - our own
    assert set(ids) == {party.id for party in PARTIES}
    assert ("a7" in ids, "b7" in ids, 7 in ids, len(ids)) == (True, False, False, len(PARTIES))
    places = StoredPlaces({"rules x": "rules.yaml:1"}, store)
    assert places["affiliates ly"] == "entities.csv:2"
    assert places["rules x"] == "rules.yaml:1"
    assert places.get("affiliates nobody") is places.get("rules ly") is None
    assert len(places) == len(PARTIES) + 1


def test_a_file_that_has_vanished_is_none(tmp_path: Path) -> None:
    store = a_store(tmp_path / "registers")
    path = store.path
    assert find_store(tmp_path / "registers", {"epoch": 1}) is not None
    path.chmod(0o600)
    os.truncate(path, 100)
    del store
    assert find_store(tmp_path / "registers", {"epoch": 2}) is None
