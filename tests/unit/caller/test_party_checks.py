# SPDX-License-Identifier: Apache-2.0
"""The law of parties: what it says of those made of tables is what it says of entries (``test_affiliates``)."""

from decimal import Decimal
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.caller.holdings import Holding, exact
from proxy.caller.party_checks import _check_own, _check_shares, _find_dangling, _Plain, check_parties
from proxy.caller.register import Contract, Party, Stake

IDS: Final = frozenset({"a", "b", "c"})
B, C = Party("b", "b", "KR"), Party("c", "c", "CN")


def held(*shares: tuple[str, str]) -> tuple[Stake, ...]:
    return tuple(Stake(exact(owner, share)) for owner, share in shares)


PROBLEMS: Final = {
    "an owner that nobody declared": (Party("a", "a", "JP", owners=held(("x", "10"))), (0, "owners", 0, "id")),
    "a range that is upside down": (
        Party("a", "a", "JP", owners=(Stake(Holding("b", Decimal(20), Decimal(10))),)), (0, "owners", 0, "max"),
    ),
    "a holding that ends before it begins": (
        Party("a", "a", "JP", owners=(Stake(exact("b", 10), 5.0, 5.0),)), (0, "owners", 0, "until"),
    ),
    "one that owns itself": (Party("a", "a", "JP", owners=held(("a", "10"))), (0, "owners")),
    "shares of more than everything": (Party("a", "a", "JP", owners=held(("b", "60"), ("c", "41"))), (0, "owners")),
    "an owner that stands twice": (Party("a", "a", "JP", owners=held(("b", "10"), ("b", "10"))), (0, "owners")),
    "owners that are complete and come to less": (
        Party("a", "a", "JP", owners=held(("b", "60")), complete=True), (0, "owners"),
    ),
    "nobody, and that is complete": (Party("a", "a", "JP", owners=(), complete=True), (0, "owners")),
    "dispersed owners of a list that may go on": (Party("a", "a", "JP", dispersed=Decimal(5)), (0, "dispersed")),
    "a principal that nobody declared": (Party("a", "a", "JP", works_for=(Contract("x"),)), (0, "works_for", 0)),
    "one that works for itself": (Party("a", "a", "JP", works_for=(Contract("a"),)), (0, "works_for")),
    "a contract that ends before it begins": (
        Party("a", "a", "JP", works_for=(Contract("b", 2.0, 1.0),)), (0, "works_for", 0, "until"),
    ),
    "a row that ends before it begins": (Party("a", "a", "JP", since=2.0, until=1.0), (0, "until")),
    "a subcontractor that says nothing of it": (Party("a", "a", "JP", subcontractors=("b",)), (0, "subcontractors", 0)),
}  # fmt: skip


@pytest.mark.parametrize(("party", "path"), PROBLEMS.values(), ids=PROBLEMS)
def test_there_is_one_problem_with(party: Party, path: tuple[str | int, ...]) -> None:
    assert path in [problem.path for problem in check_parties([party, B, C], IDS)]


def test_shares_are_not_added_up_where_something_else_is_wrong() -> None:
    over = Party("a", "a", "JP", owners=held(("b", "60"), ("c", "41")))
    assert list(check_parties([over, B, C], IDS, {0})) == []


def test_states_need_not_be_declared() -> None:
    assert list(check_parties([Party("a", "a", "JP", owners=held(("state:CN", "10")))], {"a"})) == []


parts = st.sampled_from(["1", "25", "40", "50", "60", "100"]).map(Decimal)
holdings = st.builds(
    Holding,
    owner=st.sampled_from(["a", "b", "c", "x", "state:CN"]),
    low=parts,
    high=parts,
    interest=st.sampled_from(["", "", "votingRights"]),
    indirect=st.booleans(),
)
instants = st.sampled_from([-float("inf"), 1.0, 2.0, float("inf")])
parties = st.builds(
    Party,
    id=st.just("a"),
    name=st.just("a"),
    country=st.just("JP"),
    owners=st.none() | st.lists(st.builds(Stake, holdings, instants, instants), max_size=3).map(tuple),
    complete=st.booleans(),
    dispersed=st.none() | parts,
    works_for=st.none()
    | st.lists(st.builds(Contract, st.sampled_from(["a", "b", "x"]), instants, instants), max_size=2).map(tuple),
    since=instants,
    until=instants,
)


@given(parties)
def test_nothing_is_wrong_with_what_is_called_sound_at_first_sight(party: Party) -> None:
    if _Plain(IDS).is_sound(party):
        shares = _check_shares(party) if party.owners is not None else []
        assert [*_find_dangling(party, IDS), *_check_own(party), *shares] == []
