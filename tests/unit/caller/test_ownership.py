# SPDX-License-Identifier: Apache-2.0
"""Ownership is arithmetic: the published cases, an oracle that is too simple to be wrong, and properties."""

from collections.abc import Mapping
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.caller.control import compute_control
from proxy.caller.holdings import Entity, Holding, exact
from proxy.caller.ownership import Controlled, Rule

HALF = Rule(Decimal(50), inclusive=True)
MORE_THAN_HALF = Rule(Decimal(50), inclusive=False)
COUNTRIES = ("CN", "JP", "KR")
STRANGER = "stranger"


def graph(*lines: str) -> dict[str, Entity]:
    """Read lines such as ``a JP home complete x:50``."""
    return dict(_entity(line.split()) for line in lines)


def _entity(words: list[str]) -> tuple[str, Entity]:
    pairs = [word.split(":") for word in words if ":" in word]
    owners = tuple(exact(owner, share) for owner, share in pairs)
    return words[0], Entity(words[1], "home" in words, owners, "complete" in words)


def reached(entities: Mapping[str, Entity], country: str, rule: Rule = HALF) -> set[str]:
    return {id_ for id_, found in compute_control(entities, rule).items() if country in found.countries}


CASCADES = {
    "FAQ 401 example 1: half of a half is covered, shares are not multiplied": (
        ("x KR complete", "a JP complete x:50", "b JP complete a:50"),
        {"a", "b"},
    ),
    "example 2: two covered holders of a quarter each add up": (
        ("x KR complete", "a JP complete x:50", "b JP complete x:50", "c JP complete a:25 b:25"),
        {"a", "b", "c"},
    ),
    "example 3: a direct stake and one through a covered holder add up": (
        ("x KR complete", "a JP complete x:50", "b JP complete x:10 a:40"),
        {"a", "b"},
    ),
    "holders below the threshold pass nothing on, whatever they hold": (
        ("x KR complete", "a JP complete x:25", "b JP complete x:25", "c JP complete a:50 b:50"),
        set[str](),
    ),
    "LINE: NAVER's half of A Holdings covers LY": (
        ("x KR complete", "sb JP complete", "ah JP complete x:50 sb:50", "ly JP complete ah:64.4"),
        {"ah", "ly"},
    ),
    "circular holdings cover nobody by themselves": (
        ("x KR complete", "a JP complete x:30 b:25", "b JP complete a:60"),
        set[str](),
    ),
    "circular holdings that a holder reaches cover each other": (
        ("x KR complete", "a JP complete x:30 c:20 b:25", "b JP complete a:60", "c JP complete x:50"),
        {"a", "b", "c"},
    ),
    "a stake of a millionth below the threshold is below it": (
        ("x KR complete", "a JP complete x:49.999999"),
        set[str](),
    ),
    "two holders of one country add up even if they are strangers to each other": (
        ("x KR complete", "y KR complete", "a JP complete x:25 y:25"),
        {"a"},
    ),
    "thirds add up exactly: 16.7 and 33.3 are 50": (
        ("x KR complete", "y KR complete", "a JP complete x:16.7 y:33.3"),
        {"a"},
    ),
    "a long chain carries to its end": (
        ("x KR complete", *(f"e{n} JP complete {f'e{n - 1}' if n else 'x'}:50" for n in range(200))),
        {f"e{n}" for n in range(200)},
    ),
}


@pytest.mark.parametrize(("lines", "covered"), CASCADES.values(), ids=CASCADES)
def test_a_holder_that_reaches_the_threshold_passes_its_whole_stake_down(
    lines: tuple[str, ...], covered: set[str]
) -> None:
    assert reached(graph(*lines), "KR") == covered


@pytest.mark.parametrize(("lines", "covered"), CASCADES.values(), ids=CASCADES)
def test_the_order_of_entries_changes_nobodys_cover(lines: tuple[str, ...], covered: set[str]) -> None:
    assert reached(graph(*reversed(lines)), "KR") == covered


def test_exactly_half_is_not_more_than_half() -> None:
    entities = graph("x KR complete", "a JP complete x:50", "b JP complete x:50.000001")
    assert reached(entities, "KR", MORE_THAN_HALF) == {"b"}


LINE = ("naver KR complete", "sb JP complete", "a-holdings JP complete naver:50 sb:50")


def test_home_ends_the_walk_for_itself_and_what_it_controls() -> None:
    found = compute_control(
        graph(*LINE, "ly JP home a-holdings:64.4", "plus KR complete ly:100", "shanghai CN complete plus:100"), HALF
    )
    assert found["ly"] == Controlled({}, frozenset(), is_open=False, owners_open=False)
    assert found["shanghai"].countries == {"JP": ("plus", "ly"), "KR": ("plus",)}
    assert found["shanghai"].owners == {"plus", "ly"}


def test_without_home_the_owners_of_the_head_office_own_its_subsidiaries() -> None:
    found = compute_control(graph(*LINE, "ly JP complete a-holdings:64.4", "shanghai CN complete ly:100"), HALF)
    assert found["ly"].countries["KR"] == ("a-holdings", "naver")
    assert found["shanghai"].countries["KR"] == ("ly", "a-holdings", "naver")
    assert found["shanghai"].owners == {"ly", "a-holdings", "naver", "sb"}


def test_a_home_further_up_shields_what_is_below_but_not_its_sister() -> None:
    entities = graph("naver KR complete", "top JP home naver:100", "ly JP complete top:60", "sister JP naver:60")
    assert reached(entities, "KR") == {"sister"}


def test_mutual_holdings_do_not_make_an_entity_its_own_owner() -> None:
    found = compute_control(graph("a JP complete b:60", "b JP complete a:60"), HALF)
    assert found["a"].owners == {"b"}


OPEN = {
    "nobody is disclosed": (("e JP",), True),
    "nobody is disclosed, and nobody is missing": (("e JP complete",), False),
    "the rest is just below the threshold": (("x JP complete", "e JP x:50.000001"), False),
    "the rest is just the threshold": (("x JP complete", "e JP x:50"), True),
    "the rest tips a disclosed minority over": (("x KR complete", "y CN complete", "e JP x:30 y:45"), True),
    "the rest and a minority reach the threshold exactly": (
        ("x KR complete", "y CN complete", "z US complete", "e JP x:30 y:25 z:25"),
        True,
    ),
    "the rest lacks one per cent to tip any minority over": (
        ("x KR complete", "y CN complete", "z US complete", "e JP x:27 y:27 z:24"),
        False,
    ),
    "two minorities of one country tip over with the rest": (
        ("x KR complete", "y KR complete", "z US complete", "w CN complete", "e JP x:20 y:20 z:24 w:24"),
        True,
    ),
    "an open owner with half makes what it holds open": (("o KR", "e JP complete o:50"), True),
    "an open owner with less than half does not": (("o KR", "x JP complete", "e JP complete o:49 x:51"), False),
    "an open owner and the rest together do": (("o KR", "x JP complete", "e JP o:26 x:50"), True),
    "two open owners may belong to the same stranger": (("o KR", "p CN", "e JP complete o:25 p:25"), True),
    "home is closed although nobody is disclosed": (("e JP home",), False),
    "what home holds is closed": (("h JP home", "e JP complete h:100"), False),
    "openness comes down a chain": (("o KR", "a JP complete o:50", "e JP complete a:50"), True),
    "openness comes round a cycle": (("o KR", "a JP complete o:30 e:30", "e JP complete a:60 o:40"), True),
    "a closed cycle stays closed": (("a JP complete e:100", "e JP complete a:100"), False),
}


@pytest.mark.parametrize(("lines", "is_open"), OPEN.values(), ids=OPEN)
def test_what_nobody_disclosed_may_tip_over_the_threshold(lines: tuple[str, ...], is_open: bool) -> None:  # noqa: FBT001
    assert compute_control(graph(*lines), HALF)["e"].is_open is is_open


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, Entity]:
    ids = [f"e{n}" for n in range(draw(st.integers(2, 6)))]
    return {id_: draw(_entities([other for other in ids if other != id_])) for id_ in ids}


@st.composite
def _entities(draw: st.DrawFn, others: list[str]) -> Entity:
    left, owners = 100, list[Holding]()
    for owner in draw(st.lists(st.sampled_from(others), unique=True, max_size=4)):
        share = draw(st.integers(1, 70))
        if share <= left:
            left -= share
            owners.append(exact(owner, share))
    is_home = draw(st.integers(0, 9)) == 0
    return Entity(draw(st.sampled_from(COUNTRIES)), is_home, tuple(owners), draw(st.booleans()))


rules = st.builds(Rule, st.sampled_from([Decimal(25), Decimal(50), Decimal(75)]), st.booleans())


def cover(entities: Mapping[str, Entity], rule: Rule, seeds: set[str]) -> set[str]:
    """Return whom the seeds control: the algorithm of DOMAIN.md 6.1, word by word."""
    carriers, covered = set(seeds), set[str]()
    while True:
        more = {
            id_
            for id_, entity in entities.items()
            if not entity.home
            and rule.reaches(sum((each.low for each in entity.owners if each.owner in carriers), Decimal(0)))
        }
        if more <= covered:
            return covered
        covered |= more
        carriers |= more


@given(graphs(), rules)
def test_countries_and_owners_are_the_least_fixpoint(entities: dict[str, Entity], rule: Rule) -> None:
    found = compute_control(entities, rule)
    for country in COUNTRIES:
        covered = cover(entities, rule, {id_ for id_, entity in entities.items() if entity.country == country})
        assert {id_ for id_, control in found.items() if country in control.countries} == covered
    for owner in entities:
        owned = {id_ for id_, control in found.items() if owner in control.owners}
        assert owned - {owner} == cover(entities, rule, {owner}) - {owner}


def disclose(entities: Mapping[str, Entity]) -> dict[str, Entity]:
    """Give everything that nobody disclosed to one stranger."""
    given_: dict[str, Entity] = {STRANGER: Entity("ZZ", home=False, owners=(), complete=True)}
    for id_, entity in entities.items():
        rest = 100 - sum(each.low for each in entity.owners)
        hidden = (exact(STRANGER, rest),) if rest and not entity.complete else ()
        given_[id_] = Entity(entity.country, entity.home, (*entity.owners, *hidden), complete=True)
    return given_


@given(graphs(), rules)
def test_whoever_a_stranger_of_any_country_could_control_is_open(entities: dict[str, Entity], rule: Rule) -> None:
    found, disclosed = compute_control(entities, rule), disclose(entities)
    for country in ("ZZ", *COUNTRIES):
        seeds = {id_ for id_, entity in entities.items() if entity.country == country}
        for id_ in cover(disclosed, rule, seeds | {STRANGER}):
            assert country in found[id_].countries or found[id_].is_open


@given(graphs(), rules, st.data())
def test_removing_an_owner_never_closes_what_was_controlled_or_open(
    entities: dict[str, Entity], rule: Rule, data: st.DataObject
) -> None:
    edges = [(id_, each.owner) for id_, entity in entities.items() for each in entity.owners]
    if not edges:
        return
    held, gone = data.draw(st.sampled_from(edges))
    entity = entities[held]
    left = tuple(each for each in entity.owners if each.owner != gone)
    after = compute_control({**entities, held: Entity(entity.country, entity.home, left, complete=False)}, rule)
    for id_, before in compute_control(entities, rule).items():
        assert after[id_].is_open or (not before.is_open and before.countries.keys() <= after[id_].countries.keys())


@st.composite
def shuffled(draw: st.DrawFn) -> tuple[dict[str, Entity], dict[str, Entity]]:
    entities = draw(graphs())
    order = draw(st.permutations(list(entities)))
    other = {
        id_: Entity(
            entities[id_].country,
            entities[id_].home,
            tuple(draw(st.permutations(entities[id_].owners))),
            entities[id_].complete,
        )
        for id_ in order
    }
    return entities, other


@given(shuffled(), rules)
def test_the_order_of_entries_and_owners_does_not_matter(
    both: tuple[dict[str, Entity], dict[str, Entity]], rule: Rule
) -> None:
    first, second = (compute_control(entities, rule) for entities in both)
    for id_, found in first.items():
        assert second[id_].countries.keys() == found.countries.keys()
        assert (second[id_].owners, second[id_].is_open) == (found.owners, found.is_open)


def test_the_path_that_is_recorded_does_not_depend_on_the_order_of_entries() -> None:
    lines = ("x KR complete", "y KR complete", "e JP complete x:50 y:50")
    first, second = (compute_control(graph(*order), HALF) for order in (lines, (lines[1], lines[0], lines[2])))
    assert first["e"].countries == second["e"].countries


@given(graphs(), rules)
def test_every_path_is_made_of_holdings_and_ends_in_its_country(entities: dict[str, Entity], rule: Rule) -> None:
    for id_, found in compute_control(entities, rule).items():
        for country, path in found.countries.items():
            for held, owner in zip((id_, *path), path, strict=False):
                assert owner in {each.owner for each in entities[held].owners}
            assert entities[path[-1]].country == country
