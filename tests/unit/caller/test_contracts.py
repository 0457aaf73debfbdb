# SPDX-License-Identifier: Apache-2.0
"""Chains of contracts, of any depth."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.caller.contracts import follow
from proxy.caller.holdings import LEFT_OUT

COUNTRIES = ("CN", "JP", "KR")


def test_the_longest_chain_to_a_country_is_told() -> None:
    found = follow({"d": ["t"], "t": ["ly"], "ly": []}, {"d": "CN", "t": "JP", "ly": "JP"}, ())
    assert found["d"].paths == {"JP": ("t", "ly")}
    assert found["ly"].paths == {}


def test_whoever_does_not_say_how_it_goes_on_leaves_the_chain_open_all_the_way_down() -> None:
    found = follow({"d": ["t"], "t": ["ly"], "ly": []}, {"d": "CN", "t": "JP", "ly": "JP"}, {"ly"})
    assert [found[id_].is_open for id_ in ("d", "t", "ly")] == [True, True, True]
    assert not follow({"a": ["b"], "b": [], "c": []}, dict.fromkeys("abc", "JP"), {"c"})["a"].is_open


def test_a_chain_of_a_hundred_thousand_contracts_is_followed_and_told_with_its_ends() -> None:
    ids = [f"e{n}" for n in range(100_000)]
    edges = {id_: [f"e{n - 1}"] if n else [] for n, id_ in enumerate(ids)}
    found = follow(edges, {id_: "JP" if n else "CN" for n, id_ in enumerate(ids)}, ())
    path = found["e99999"].paths["CN"]
    assert (path[0], path[-1], LEFT_OUT in path) == ("e99998", "e0", True)


GRAPHS = st.integers(2, 7).flatmap(
    lambda size: st.tuples(
        *(st.tuples(st.sampled_from(COUNTRIES), st.sets(st.integers(0, size - 1)), st.booleans()) for _ in range(size))
    )
)


@given(GRAPHS)
def test_whatever_the_graph_everybody_who_is_reached_ties(rows: tuple[tuple[str, set[int], bool], ...]) -> None:
    edges = {str(n): [str(other) for other in sorted(others - {n})] for n, (_, others, _) in enumerate(rows)}
    countries = {str(n): country for n, (country, _, _) in enumerate(rows)}
    unsaid = {str(n) for n, (_, _, says) in enumerate(rows) if not says}
    found = follow(edges, countries, unsaid)
    for id_, following in edges.items():
        reached, left = set[str](), list(following)
        while left:
            other = left.pop()
            if other not in reached:
                reached.add(other)
                left += edges[other]
        assert found[id_].paths.keys() == {countries[other] for other in reached}
        assert found[id_].is_open == bool(unsaid & (reached | {id_}))
        for country, path in found[id_].paths.items():
            assert countries[path[-1]] == country
            assert all(after in edges[before] for before, after in zip((id_, *path), path, strict=False))
