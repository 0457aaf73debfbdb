# SPDX-License-Identifier: Apache-2.0
"""What dates do to the register, and that an instant nobody computed is one at which nobody is known."""

import math
from decimal import Decimal
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.caller.holdings import exact
from proxy.caller.ownership import Rule
from proxy.caller.register import (
    Affiliates,
    Contract,
    ControlRule,
    Party,
    Stake,
    compute_epoch,
    compute_epochs,
    find_boundaries,
)
from proxy.model.caller import TieKind

RULES: Final = (ControlRule("majority", Rule(Decimal(50)), default=True),)
KINDS: Final = frozenset(TieKind) - {TieKind.SUBCONTRACTOR}
JP: Final = Party("jp", "jp", "JP", complete=True, works_for=())
CN: Final = Party("cn", "cn", "CN", complete=True, works_for=())


def computed(*parties: Party, now: float = 0, times: tuple[float, ...] = ()) -> Affiliates:
    return compute_epochs((JP, CN, *parties), RULES, KINDS, now, times)


def held(owner: str, share: int, since: float = -math.inf, until: float = math.inf) -> Stake:
    return Stake(exact(owner, share), since, until)


def party(**said: Any) -> Party:
    return Party("e", "e", "JP", **said)


def countries(affiliates: Affiliates, at: float, label: str = "control.majority") -> tuple[set[str], bool]:
    affiliation = affiliates.at(at).by_id["e"]
    return {tie.country for tie in affiliation.ties if tie.label == label}, label in affiliation.open_ties


def test_without_dates_there_is_one_epoch_for_ever() -> None:
    affiliates = computed(party(owners=(held("cn", 60),)))
    (only,) = affiliates.epochs
    assert (only.since, only.until) == (-math.inf, math.inf)
    assert (affiliates.renew_at, affiliates.covered_until) == (math.inf, math.inf)
    assert affiliates.at(1e12) is only


def test_a_holding_is_held_from_its_first_instant_until_before_its_last() -> None:
    affiliates = computed(party(owners=(held("jp", 100, until=10), held("cn", 100, since=10)), complete=True), now=9.5)
    assert countries(affiliates, 9.999) == ({"JP"}, False)
    assert countries(affiliates, 10) == ({"CN"}, False)


def test_a_holding_that_has_ended_is_undisclosed_although_the_list_says_that_it_is_complete() -> None:
    affiliates = computed(party(owners=(held("cn", 60, until=10), held("jp", 40)), complete=True), now=5)
    assert countries(affiliates, 5) == ({"CN"}, False)
    assert countries(affiliates, 10) == (set(), True)


@pytest.mark.parametrize("share", [100, 60])
def test_what_an_affiliate_held_that_is_none_any_more_is_undisclosed(share: int) -> None:
    rest = (held("jp", 100 - share),) if share < 100 else ()
    gone = msgspec.structs.replace(CN, until=10)
    affiliates = compute_epochs((JP, gone, party(owners=(held("cn", share), *rest), complete=True)), RULES, KINDS, 5)
    assert countries(affiliates, 5)[0] == {"CN"}
    assert countries(affiliates, 10) == (set(), True)
    assert "cn" not in affiliates.at(10).by_id


def test_a_contract_that_has_ended_ties_no_more_and_one_with_somebody_who_is_gone_is_open() -> None:
    affiliates = computed(party(works_for=(Contract("cn", until=10),)), now=5)
    assert countries(affiliates, 5, "principal") == ({"CN"}, False)
    assert countries(affiliates, 10, "principal") == (set(), False)
    gone = msgspec.structs.replace(CN, until=10)
    affiliates = compute_epochs((JP, gone, party(works_for=(Contract("cn"),))), RULES, KINDS, 5)
    assert countries(affiliates, 10, "principal") == (set(), True)


def test_the_epoch_of_now_the_next_one_and_those_asked_for_are_computed() -> None:
    dated = party(owners=(held("cn", 60, 10, 20), held("jp", 40, 30, 40)))
    affiliates = computed(dated, now=15, times=(35, 12))
    assert [(each.since, each.until) for each in affiliates.epochs] == [(10, 20), (20, 30), (30, 40)]
    assert (affiliates.renew_at, affiliates.covered_until) == (30, 40)
    assert computed(dated, now=15).renew_at == 20


def test_at_a_time_that_is_not_covered_nobody_is_known_until_the_next_that_is() -> None:
    affiliates = computed(party(owners=(held("cn", 60, 10, 20),)), now=-5)
    unknown = affiliates.at(25)
    assert unknown.by_id == {}
    assert (unknown.since, unknown.until) == (20, math.inf)
    assert unknown.unknown_ties >= {"employer", "principal", "control.majority"}
    assert unknown.counted == affiliates.current.counted
    gap = computed(party(owners=(held("cn", 60, 10, 20), held("jp", 1, 30, 40))), now=-5, times=(35,)).at(25)
    assert (gap.by_id, gap.since, gap.until) == ({}, 20, 30)


def test_a_state_owns_by_itself() -> None:
    assert countries(computed(party(owners=(held("state:CN", 60),))), 0)[0] == {"CN"}


def test_minorities_of_a_quarter_and_more_are_watched() -> None:
    watched = computed(party(owners=(held("cn", 25), held("jp", 50)))).current.by_id["e"].watch
    assert [each.owner for each in watched] == ["cn"]


INSTANTS: Final = st.sampled_from([-math.inf, 10.0, 20.0, 30.0, math.inf])


@st.composite
def registers(draw: st.DrawFn) -> list[Party]:
    ids = [f"e{n}" for n in range(draw(st.integers(2, 5)))]
    return [draw(_parties(id_, [each for each in ids if each != id_])) for id_ in ids]


@st.composite
def _parties(draw: st.DrawFn, id_: str, others: list[str]) -> Party:
    picked = draw(st.lists(st.sampled_from(others), unique=True, max_size=2))
    owners = tuple(
        held(each, draw(st.sampled_from((20, 50))), *sorted([draw(INSTANTS), draw(INSTANTS)])) for each in picked
    )
    contracts = tuple(Contract(each, *sorted([draw(INSTANTS), draw(INSTANTS)])) for each in others if each < id_)
    dates = sorted([draw(INSTANTS), draw(INSTANTS)]) if draw(st.integers(0, 3)) == 0 else [-math.inf, math.inf]
    country = draw(st.sampled_from(("CN", "JP")))
    return Party(
        id_, id_, country, owners=owners or None, complete=draw(st.booleans()), works_for=contracts,
        since=dates[0], until=dates[1],
    )  # fmt: skip


@settings(max_examples=60)
@given(registers(), st.sampled_from([5.0, 10.0, 15.0, 29.0, 30.0]), st.lists(st.floats(0, 40), max_size=3))
def test_every_epoch_is_what_is_computed_at_any_of_its_instants(
    parties: list[Party], now: float, times: list[float]
) -> None:
    affiliates = compute_epochs(parties, RULES, KINDS, now, times)
    boundaries = find_boundaries(parties)
    assert affiliates.current.since <= now < affiliates.current.until
    for at in {now, *times, affiliates.covered_until - 1e-3 if math.isfinite(affiliates.covered_until) else now}:
        register = affiliates.at(at)
        assert register == compute_epoch(parties, RULES, KINDS, at).register()
        assert not [each for each in boundaries if register.since < each < register.until]


@settings(max_examples=60)
@given(registers(), st.sampled_from([5.0, 15.0, 25.0]), st.data())
def test_a_holding_that_is_deleted_closes_nothing(parties: list[Party], at: float, data: st.DataObject) -> None:
    edges = [(n, place) for n, each in enumerate(parties) for place in range(len(each.owners or ()))]
    if not edges:
        return
    n, place = data.draw(st.sampled_from(edges))
    owners = tuple(each for other, each in enumerate(parties[n].owners or ()) if other != place)
    less = [*parties]
    less[n] = msgspec.structs.replace(parties[n], owners=owners, complete=False)
    before, after = (compute_epoch(each, RULES, KINDS, at).register().by_id for each in (parties, less))
    for id_, was in before.items():
        tied, still = ({tie.country for tie in each.ties if tie.kind is TieKind.CONTROL} for each in (was, after[id_]))
        assert "control.majority" in after[id_].open_ties or (tied <= still and "control.majority" not in was.open_ties)
