# SPDX-License-Identifier: Apache-2.0
from typing import Any

import pytest

from proxy.policy.country_sets import MAX_NESTED_SETS, resolve_country_sets


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        pytest.param({"a": ["CN"]}, {"a": {"CN"}}, id="one country"),
        pytest.param({"a": ["NO"]}, {"a": {"NO"}}, id="NO is Norway"),
        pytest.param({"a": ["CN", "CN"]}, {"a": {"CN"}}, id="a country twice"),
        pytest.param({"a": ["$b", "JP"], "b": ["CN"]}, {"a": {"CN", "JP"}, "b": {"CN"}}, id="a set in a set"),
        pytest.param({"b": ["$a"], "a": ["CN"]}, {"a": {"CN"}, "b": {"CN"}}, id="in any order"),
    ],
)
def test_country_sets_resolve(entries: dict[str, Any], expected: dict[str, set[str]]) -> None:
    sets, found = resolve_country_sets(entries)
    assert not found
    assert sets == expected


@pytest.mark.parametrize(
    ("entries", "path", "words"),
    [
        pytest.param({"a": []}, ("a",), "at least one", id="an empty list"),
        pytest.param({"a": "CN"}, ("a",), "expected a list", id="a bare country"),
        pytest.param({"a": {"CN": "x"}}, ("a",), "expected a list", id="a mapping"),
        pytest.param({"a": ["CN", "UK"]}, ("a", 1), "GB", id="UK"),
        pytest.param({"a": ["EU"]}, ("a", 0), "country_sets", id="EU"),
        pytest.param({"a": ["China"]}, ("a", 0), "CN", id="a name"),
        pytest.param({"a": ["CHN"]}, ("a", 0), "CN", id="an alpha-3 code"),
        pytest.param({"a": [""]}, ("a", 0), "no ISO 3166-1", id="an empty member"),
        pytest.param({"a": [["CN"]]}, ("a", 0), "expected", id="a list inside"),
        pytest.param({"a": [{"CN": "x"}]}, ("a", 0), "expected", id="a mapping inside"),
        pytest.param({"a": ["$b"], "bb": ["CN"]}, ("a", 0), "'$bb'", id="a misspelt set"),
        pytest.param({"a": ["$a"]}, ("a", 0), "contains itself", id="itself"),
        pytest.param({"a": ["$b"], "b": ["$c"], "c": ["$a"]}, ("c", 0), "contains itself", id="itself, by two others"),
        pytest.param({"$a": ["CN"]}, ("$a",), "", id="a name with a dollar, which nothing can refer to"),
        pytest.param({"": ["CN"]}, ("",), "", id="an empty name"),
        pytest.param({"<<": ["CN"]}, ("<<",), "", id="a merge key as a name"),
    ],
)
def test_a_country_set_that_is_wrong(entries: dict[str, Any], path: tuple[Any, ...], words: str) -> None:
    _, found = resolve_country_sets(entries)
    assert [problem.path for problem in found] == [path]
    assert words in found[0].message


def test_a_long_chain_of_country_sets_ends() -> None:
    entries: dict[str, Any] = {f"s{number}": [f"$s{number + 1}"] for number in range(1000)}
    _, found = resolve_country_sets({**entries, "s1000": ["CN"]})
    assert found
    assert all(f"more than {MAX_NESTED_SETS} deep" in problem.message for problem in found)


def test_sets_may_be_nested_as_deep_as_is_said() -> None:
    entries: dict[str, Any] = {f"s{number}": [f"$s{number + 1}"] for number in range(MAX_NESTED_SETS - 1)}
    sets, found = resolve_country_sets({**entries, f"s{MAX_NESTED_SETS - 1}": ["CN"]})
    assert not found
    assert sets["s0"] == {"CN"}
