# SPDX-License-Identifier: Apache-2.0
"""Shares that are multiplied, against an oracle in fractions; what all control rules share is in test_control."""

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.caller.control import compute_control
from proxy.caller.holdings import Entity, exact
from proxy.caller.ownership import MAX_OWNERS, Rule


@st.composite
def trees(draw: st.DrawFn) -> dict[str, Entity]:
    """Draw holdings without circles, of which everything is disclosed."""
    entities: dict[str, Entity] = {}
    for n in range(draw(st.integers(2, 7))):
        left, owners = Decimal(100), []
        for owner in draw(st.lists(st.integers(0, n - 1).map(lambda m: f"e{m}"), unique=True, max_size=3)) if n else ():
            share = draw(st.decimals(1, 80, places=2))
            if share <= left:
                left -= share
                owners.append(exact(owner, share))
        country = draw(st.sampled_from(("CN", "JP", "KR")))
        is_home = draw(st.integers(0, 7)) == 0
        entities[f"e{n}"] = Entity(
            country, is_home, tuple(owners), complete=True, dispersed=left if owners else Decimal(0)
        )
    return entities


def share_of(entities: Mapping[str, Entity], country: str, id_: str, *, is_sum: bool) -> Fraction:
    """Return what a country holds of an entity: the definition, word by word."""
    if entities[id_].home:
        return Fraction(0)
    parts = [
        Fraction(each.low) / 100
        * (1 if entities[each.owner].country == country else share_of(entities, country, each.owner, is_sum=is_sum))
        for each in entities[id_].owners
    ]  # fmt: skip
    return sum(parts, Fraction(0)) if is_sum else max(parts, default=Fraction(0))


@settings(max_examples=60)
@given(trees(), st.sampled_from(["product", "max-path"]), st.decimals(1, 100, places=2), st.booleans())
def test_without_circles_it_is_exact(
    entities: dict[str, Entity],
    way: str,
    threshold: Decimal,
    inclusive: bool,  # noqa: FBT001
) -> None:
    found = compute_control(entities, Rule(threshold, inclusive, way))
    for id_ in entities:
        for country in ("CN", "JP", "KR"):
            share = 100 * share_of(entities, country, id_, is_sum=way == "product")
            reaches = share >= Fraction(threshold) if inclusive else share > Fraction(threshold)
            assert (country in found[id_].countries) == reaches
        assert not found[id_].is_open


@pytest.mark.parametrize("way", ["product", "max-path"])
def test_a_share_exactly_at_the_threshold_after_many_levels_of_everything_is_at_it(way: str) -> None:
    entities = {
        "x": Entity("KR", complete=True),
        "e0": Entity("JP", owners=(exact("x", 50),), complete=True, dispersed=Decimal(50)),
    }
    entities |= {f"e{n}": Entity("JP", owners=(exact(f"e{n - 1}", 100),), complete=True) for n in range(1, 100)}
    assert "KR" in compute_control(entities, Rule(Decimal(50), propagation=way))["e99"].countries
    above = compute_control(entities, Rule(Decimal(50), inclusive=False, propagation=way))["e99"]
    assert ("KR" in above.countries, above.is_open) == (False, False)


@pytest.mark.parametrize("way", ["cascade", "product", "max-path"])
def test_more_owners_than_are_told_leave_it_open_who_else_is_one(way: str) -> None:
    entities = {"e0": Entity("KR", complete=True)}
    entities |= {
        f"e{n}": Entity("JP", owners=(exact(f"e{n - 1}", 100),), complete=True) for n in range(1, MAX_OWNERS + 9)
    }
    last = compute_control(entities, Rule(Decimal(50), propagation=way))[f"e{MAX_OWNERS + 8}"]
    assert last.owners_open
    assert len(last.owners) <= MAX_OWNERS + 1
    assert "KR" in last.countries
    assert not last.is_open
