# SPDX-License-Identifier: Apache-2.0
"""The six published cases under every way to compute, and what holds for all of them whatever the graph."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from proxy.caller.control import compute_control
from proxy.caller.holdings import Entity, Holding
from proxy.caller.ownership import Controlled, Rule, Spread

CASCADE: Final = Rule(Decimal(50))
PRODUCT: Final = Rule(Decimal(50), propagation="product")
MAX_PATH: Final = Rule(Decimal(50), propagation="max-path")
COUNTRIES: Final = ("CN", "JP", "KR")
CHECKED: Final = settings(max_examples=60)


def graph(*lines: str) -> dict[str, Entity]:
    """Read lines such as ``a JP complete x:50 y:10-20 z:30/votingRights``."""
    return dict(_entity(line.split()) for line in lines)


def _entity(words: list[str]) -> tuple[str, Entity]:
    owners = tuple(_holding(word) for word in words if ":" in word)
    return words[0], Entity(words[1], "home" in words, owners, "complete" in words)


def _holding(word: str) -> Holding:
    owner, _, rest = word.partition(":")
    share, _, interest = rest.removesuffix("!").partition("/")
    low, dash, high = share.partition("-")
    return Holding(owner, Decimal(low), Decimal(high if dash else low), interest, "!" in word)


def covered(entities: Mapping[str, Entity], rule: Rule, country: str = "KR") -> set[str]:
    return {id_ for id_, found in compute_control(entities, rule).items() if country in found.countries}


CASES: Final = {
    "FAQ 401 example 1": (("x KR complete", "a JP x:50", "b JP a:50"), {"a", "b"}, {"a"}, {"a"}),
    "FAQ 401 example 2": (
        ("x KR complete", "a JP x:50", "b JP x:50", "c JP a:25 b:25"), {"a", "b", "c"}, {"a", "b"}, {"a", "b"},
    ),
    "FAQ 401 example 3": (("x KR complete", "a JP x:50", "b JP x:10 a:40"), {"a", "b"}, {"a"}, {"a"}),
    "tops below half": (
        ("x KR complete", "a JP x:25", "b JP x:25", "c JP a:50 b:50"), set[str](), set[str](), set[str](),
    ),
    "LINE today": (
        ("naver KR complete", "sb JP complete", "ah JP naver:50 sb:50", "ly JP ah:64"), {"ah", "ly"}, {"ah"}, {"ah"},
    ),
    "circular": (("x KR complete", "a JP x:30 b:25", "b JP a:60"), set[str](), set[str](), set[str]()),
}  # fmt: skip


@pytest.mark.parametrize(("lines", "cascade", "product", "best"), CASES.values(), ids=CASES)
def test_the_published_case(lines: tuple[str, ...], cascade: set[str], product: set[str], best: set[str]) -> None:
    entities = graph(*lines)
    assert [covered(entities, rule) for rule in (CASCADE, PRODUCT, MAX_PATH)] == [cascade, product, best]


MULTIPLIED: Final = {
    "FAQ 401 example 1": ("b", "25"), "FAQ 401 example 2": ("c", "25"), "FAQ 401 example 3": ("b", "30"),
    "tops below half": ("c", "25"), "LINE today": ("ly", "32"),
}  # fmt: skip


@pytest.mark.parametrize(("case", "id_", "share"), [(case, *rest) for case, rest in MULTIPLIED.items()])
def test_the_product_of_the_published_case_is_exact(case: str, id_: str, share: str) -> None:
    entities = {
        each: msgspec.structs.replace(entity, complete=True, dispersed=100 - sum(h.low for h in entity.owners))
        for each, entity in graph(*CASES[case][0]).items()
    }
    at, above = (Rule(Decimal(share), inclusive, "product") for inclusive in (True, False))
    assert id_ in covered(entities, at)
    assert id_ not in covered(entities, above)
    assert not compute_control(entities, above)[id_].is_open


TALLIES: Final = {
    "half of the shares and half of the votes are not the whole": (
        ("x KR complete", "e JP x:50/shareholding x:50/votingRights"), Rule(Decimal(60)), False,
    ),
    "the larger of shares and votes decides": (
        ("x KR complete", "e JP x:20/shareholding x:60/votingRights"), Rule(Decimal(60)), True,
    ),
    "votes do not count where the rule counts shares": (
        ("x KR complete", "e JP x:60/votingRights"), Rule(Decimal(50), interests=("shareholding",)), False,
    ),
    "what names no interest is of both": (("x KR complete", "y KR complete", "e JP x:40 y:20/votingRights"),
        Rule(Decimal(60)), True),
    "the low end of a range decides what is certain": (("x KR complete", "e JP x:50-60"), CASCADE, True),
    "a range below the threshold is not certain": (("x KR complete", "e JP x:49-60"), CASCADE, False),
    "two holders add up": (("x KR complete", "y KR complete", "e JP x:25 y:25"), CASCADE, True),
    "unless the rule says that they do not": (
        ("x KR complete", "y KR complete", "e JP x:25 y:25"), Rule(Decimal(50), aggregate=False), False,
    ),
    "an indirect holding counts": (("x KR complete", "e JP x:50!"), CASCADE, True),
    "countries that are one party add up": (("x KR complete", "y CN complete", "e JP x:25 y:25"),
        Rule(Decimal(50), countries=frozenset({"KR", "CN"})), True),
    "countries that are one party add up when shares are multiplied": (
        ("x KR complete", "y CN complete", "a JP complete x:50 y:50", "e JP a:50"),
        Rule(Decimal(50), propagation="product", countries=frozenset({"KR", "CN"})), True),
    "countries that are none do not": (("x KR complete", "y CN complete", "e JP x:25 y:25"), CASCADE, False),
}  # fmt: skip


@pytest.mark.parametrize(("lines", "rule", "controls"), TALLIES.values(), ids=TALLIES)
def test_what_counts_together(lines: tuple[str, ...], rule: Rule, controls: bool) -> None:  # noqa: FBT001
    assert ("KR" in compute_control(graph(*lines), rule)["e"].countries) is controls


RANGES: Final = {
    "a range that may reach it": (("x KR complete", "y JP complete", "e JP complete x:40-60 y:40-60"), True),
    "a range that cannot, since the others hold the rest": (
        ("x KR complete", "y JP complete", "e JP complete x:10-60 y:60-90"), False,
    ),
    "a range whose end is below": (("x KR complete", "y JP complete", "e JP complete x:10-49 y:51-90"), False),
    "what an indirect holding says leaves the rest undisclosed": (("x KR complete", "e JP x:10!"), True),
}  # fmt: skip


@pytest.mark.parametrize("rule", [CASCADE, PRODUCT, MAX_PATH], ids=lambda rule: rule.propagation)
@pytest.mark.parametrize(("lines", "is_open"), RANGES.values(), ids=RANGES)
def test_a_range_is_possible(lines: tuple[str, ...], is_open: bool, rule: Rule) -> None:  # noqa: FBT001
    assert compute_control(graph(*lines), rule)["e"].is_open is is_open


def test_a_circle_that_belongs_to_nobody_else_is_not_decided_where_shares_are_multiplied() -> None:
    entities = graph("a JP complete e:100", "e JP complete a:100")
    assert [compute_control(entities, rule)["e"].is_open for rule in (CASCADE, PRODUCT, MAX_PATH)] == [
        False, True, True,
    ]  # fmt: skip


def test_a_circle_is_solved_where_shares_are_multiplied() -> None:
    """Of a, x holds 30 and what b holds: a = 0.3 + 0.25 b, b = 0.6 a, so a = 0.3 / 0.85, about 35.3 per cent."""
    entities = {
        id_: msgspec.structs.replace(entity, complete=True, dispersed=100 - sum(h.low for h in entity.owners))
        for id_, entity in graph("x KR complete", "a JP x:30 b:25", "b JP a:60").items()
    }
    for threshold, is_covered in (("35.29", True), ("35.3", False)):
        found = compute_control(entities, Rule(Decimal(threshold), propagation="product"))["a"]
        assert ("KR" in found.countries, found.is_open) == (is_covered, False)


def test_a_long_chain_and_a_large_circle_end() -> None:
    chain = {f"e{n}": Entity("JP", owners=(Holding(f"e{n - 1}", Decimal(60), Decimal(60)),)) for n in range(1, 3000)}
    ring = {**chain, "e0": Entity("KR", owners=(Holding("e2999", Decimal(60), Decimal(60)),))}
    ring["e2999"] = Entity("JP", owners=(Holding("e2998", Decimal(60), Decimal(60)),))
    for rule in (CASCADE, PRODUCT, MAX_PATH):
        assert compute_control({**chain, "e0": Entity("KR", complete=True)}, rule).keys() == {"e0", *chain}
        assert compute_control(ring, rule)["e1"].countries


# Whatever the graph


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, Entity]:
    ids = [f"e{n}" for n in range(draw(st.integers(2, 6)))]
    return {id_: draw(_entities([other for other in ids if other != id_])) for id_ in ids}


@st.composite
def _entities(draw: st.DrawFn, others: list[str]) -> Entity:
    left, owners = 100, []
    for owner in draw(st.lists(st.sampled_from(others), unique=True, max_size=4)):
        low = draw(st.integers(1, 70))
        if low <= left:
            left -= low
            high = min(100, low + draw(st.sampled_from((0, 0, 0, 15))))
            interest = draw(st.sampled_from(("", "", "", "shareholding", "votingRights")))
            owners.append(Holding(owner, Decimal(low), Decimal(high), interest, draw(st.integers(0, 9)) == 0))
    is_home = draw(st.integers(0, 9)) == 0
    return Entity(draw(st.sampled_from(COUNTRIES)), is_home, tuple(owners), draw(st.booleans()))


rules = st.builds(
    Rule,
    st.sampled_from([Decimal(25), Decimal(50), Decimal(75)]),
    st.booleans(),
    st.sampled_from(["cascade", "product", "max-path"]),
    st.just(value=True),
    st.sampled_from([("shareholding", "votingRights"), ("shareholding",)]),
    st.sampled_from([frozenset[str](), frozenset({"CN", "KR"})]),
) | st.builds(Rule, st.sampled_from([Decimal(25), Decimal(50)]), st.booleans(), aggregate=st.just(value=False))


def no_worse(before: Mapping[str, Controlled], after: Mapping[str, Controlled]) -> None:
    """Hold that nothing which was told, or open, is now known not to be so."""
    for id_, was in before.items():
        now = after[id_]
        assert now.is_open or (not was.is_open and was.countries.keys() <= now.countries.keys()), id_
        assert now.owners_open or (not was.owners_open and was.owners <= now.owners), id_


def _edges(entities: Mapping[str, Entity]) -> list[tuple[str, int]]:
    return [(id_, place) for id_, entity in entities.items() for place in range(len(entity.owners))]


@CHECKED
@given(graphs(), rules, st.data())
def test_removing_an_edge_closes_nothing(entities: dict[str, Entity], rule: Rule, data: st.DataObject) -> None:
    edges = _edges(entities)
    assume(edges)
    id_, gone = data.draw(st.sampled_from(edges))
    entity = entities[id_]
    assume(not entity.owners[gone].indirect or not entity.complete)
    left = tuple(each for place, each in enumerate(entity.owners) if place != gone)
    less = msgspec.structs.replace(entity, owners=left, complete=False)
    no_worse(compute_control(entities, rule), compute_control({**entities, id_: less}, rule))


@CHECKED
@given(graphs(), rules, st.data())
def test_a_range_in_the_place_of_an_exact_share_closes_nothing(
    entities: dict[str, Entity], rule: Rule, data: st.DataObject
) -> None:
    edges = _edges(entities)
    assume(edges)
    id_, place = data.draw(st.sampled_from(edges))
    entity = entities[id_]
    if entity.complete:  # a list that does not come to 100 is not believed; a range might make it one that does
        assume(all(Spread(holdings, entity).is_complete for holdings in rule.tallies(entity.owners)))
    owners = list(entity.owners)
    low = Decimal(data.draw(st.integers(0, int(owners[place].low))))
    high = Decimal(data.draw(st.integers(int(owners[place].high), 100)))
    owners[place] = msgspec.structs.replace(owners[place], low=low, high=high)
    wider = msgspec.structs.replace(entity, owners=tuple(owners))
    no_worse(compute_control(entities, rule), compute_control({**entities, id_: wider}, rule))


@CHECKED
@given(graphs(), rules, st.data())
def test_adding_an_edge_removes_no_country(entities: dict[str, Entity], rule: Rule, data: st.DataObject) -> None:
    id_ = data.draw(st.sampled_from(sorted(entities)))
    entity = entities[id_]
    rest = 100 - sum(each.low for each in entity.owners)
    assume(rest >= 1 and len(entities) > len(entity.owners) + 1)
    taken = {each.owner for each in entity.owners} | {id_}
    owner = data.draw(st.sampled_from(sorted(entities.keys() - taken)))
    share = Decimal(data.draw(st.integers(1, int(rest))))
    more = msgspec.structs.replace(entity, owners=(*entity.owners, Holding(owner, share, share)))
    before, after = compute_control(entities, rule), compute_control({**entities, id_: more}, rule)
    for each, found in before.items():
        assert found.countries.keys() <= after[each].countries.keys()
        assert found.owners <= after[each].owners


@CHECKED
@given(graphs(), rules, st.data())
def test_the_order_does_not_matter(entities: dict[str, Entity], rule: Rule, data: st.DataObject) -> None:
    other = {
        id_: msgspec.structs.replace(entities[id_], owners=tuple(data.draw(st.permutations(entities[id_].owners))))
        for id_ in data.draw(st.permutations(sorted(entities)))
    }
    first, second = compute_control(entities, rule), compute_control(other, rule)
    for id_, found in first.items():
        assert second[id_].countries.keys() == found.countries.keys()
        assert (second[id_].owners, second[id_].is_open) == (found.owners, found.is_open)


@CHECKED
@given(graphs(), rules)
def test_every_path_ends_in_its_country(entities: dict[str, Entity], rule: Rule) -> None:
    for id_, found in compute_control(entities, rule).items():
        for country, path in found.countries.items():
            for held, owner in zip((id_, *path), path, strict=False):
                assert owner in {each.owner for each in entities[held].owners}
            assert entities[path[-1]].country == country
