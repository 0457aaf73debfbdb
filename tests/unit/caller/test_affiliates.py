# SPDX-License-Identifier: Apache-2.0
"""What working for an affiliate ties a person to, and what the register may not say."""

from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from proxy.caller.affiliates import (
    AffiliateEntry,
    ControlRuleEntry,
    check_affiliates,
    compute_affiliates,
)
from proxy.caller.register import Affiliation, Register
from proxy.model.caller import TieKind
from proxy.model.facts import FactSet

MAJORITY = {"id": "majority", "threshold": "50", "default": "true"}
ALL_TIES = frozenset(TieKind) - {TieKind.SUBCONTRACTOR}


def holds(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"id": id_, "share": share} for id_, share in pairs]


LY = {"id": "ly", "name": "LY Corporation", "country": "JP", "home": "true"}
PLUS = {"id": "line-plus", "country": "KR", "owners": holds(("ly", "100"))}
SHANGHAI = {"id": "shanghai", "country": "CN", "roles": ["subsidiary"], "owners": holds(("line-plus", "100"))}
TOKYO_BPO = {"id": "tokyo-bpo", "country": "JP", "works_for": ["ly"], "owners_complete": "true"}
DALIAN_BPO = {"id": "dalian-bpo", "country": "CN", "works_for": ["tokyo-bpo"], "owners_complete": "true"}
REGISTER = (LY, PLUS, SHANGHAI, TOKYO_BPO, DALIAN_BPO)


def entries(*raw: dict[str, Any]) -> list[AffiliateEntry]:
    return [AffiliateEntry.model_validate(entry) for entry in raw]


def compute(
    *raw: dict[str, Any],
    rules: Sequence[dict[str, Any]] = (MAJORITY,),
    counted: frozenset[TieKind] = ALL_TIES,
) -> Register:
    return compute_affiliates(entries(*raw), [ControlRuleEntry.model_validate(rule) for rule in rules], counted).current


def ties(affiliation: Affiliation) -> set[tuple[str, str, str]]:
    return {(str(tie.label), tie.country, "<".join(tie.path)) for tie in affiliation.ties}


PROBLEMS = {
    "an owner that nobody declared": ({"owners": holds(("naver", "50"))}, "no affiliate 'naver'"),
    "a principal that nobody declared": ({"works_for": ["lyy"]}, "no affiliate 'lyy'"),
    "shares of more than everything": ({"owners": holds(("ly", "50.000001"), ("x", "50"))}, "more than 100"),
    "an owner written twice": ({"owners": holds(("ly", "20"), ("ly", "30"))}, "stands twice"),
    "an entity that owns itself": ({"owners": holds(("e", "20"))}, "cannot own itself"),
    "owners that are complete and come to less": (
        {"owners": holds(("ly", "40"), ("x", "20")), "owners_complete": "true"},
        "`dispersed: 40`",
    ),
    "an empty list of owners that is complete": ({"owners": [], "owners_complete": "true"}, "`dispersed: 100`"),
    "owners and dispersed that come to less": (
        {"owners": holds(("ly", "40")), "dispersed": "59.9", "owners_complete": "true"},
        "adds up to 99.9 per cent",
    ),
    "owners and dispersed that come to more": (
        {"owners": holds(("ly", "40")), "dispersed": "60.1", "owners_complete": "true"},
        "more than 100",
    ),
    "dispersed owners of a list that may go on": ({"dispersed": "20"}, "`dispersed` goes with `owners_complete: true`"),
    "a subcontractor that nobody declared": ({"subcontractors": ["lyy"]}, "no affiliate 'lyy'"),
    "a subcontractor that does not say so": ({"subcontractors": ["ly"]}, "'ly' does not say that it works for this"),
}


@pytest.mark.parametrize(("wrong", "message"), PROBLEMS.values(), ids=PROBLEMS)
def test_the_register_is_refused_with(wrong: dict[str, Any], message: str) -> None:
    raw = [{"id": "e", "country": "JP", **wrong}, {"id": "ly", "country": "JP"}, {"id": "x", "country": "KR"}]
    problems = check_affiliates(entries(*raw), frozenset({"e", "ly", "x"}))
    assert [message in problem.message and problem.path[0] == 0 for problem in problems] == [True]


def test_an_entity_cannot_work_for_itself() -> None:
    (problem,) = check_affiliates(entries({"id": "e", "country": "JP", "works_for": ["e"]}), frozenset({"e"}))
    assert "cannot work for itself" in problem.message


SOUND = {
    "shares of exactly everything": {"owners": holds(("ly", "66.7"), ("x", "33.3"))},
    "of a list that is complete": {"owners": holds(("ly", "66.7"), ("x", "33.3")), "owners_complete": "true"},
    "with many of whom none matters": {
        "owners": holds(("ly", "60")),
        "dispersed": "40",
        "owners_complete": "true",
    },
    "less than everything, of a list that may go on": {"owners": holds(("ly", "60"))},
    "owners that are not written, and complete": {"owners_complete": "true"},
    "only dispersed": {"dispersed": "100", "owners_complete": "true"},
}


@pytest.mark.parametrize("raw", SOUND.values(), ids=SOUND)
def test_what_is_said_of_owners_is_no_problem(raw: dict[str, Any]) -> None:
    assert check_affiliates(entries({"id": "e", "country": "JP", **raw}), frozenset({"e", "ly", "x"})) == []


def circle(*ids: str) -> list[AffiliateEntry]:
    pairs = zip(ids, (*ids[1:], ids[0]), strict=True)
    return entries(*({"id": id_, "country": "JP", "works_for": [next_]} for id_, next_ in pairs))


def test_a_circle_of_contracts_is_told_once_where_it_comes_first() -> None:
    register = [*entries({"id": "a", "country": "JP", "works_for": ["c"]}), *circle("b", "c", "d"), *circle("x", "y")]
    found = check_affiliates(register, frozenset({"a", "b", "c", "d", "x", "y"}))
    assert [(problem.path, problem.message.partition(": ")[2]) for problem in found] == [
        ((1, "works_for"), "c → d → b → c"),
        ((4, "works_for"), "x → y → x"),
    ]


def test_long_chains_of_contracts_are_checked_without_recursion() -> None:
    chain = [{"id": f"a{i}", "country": "JP", "works_for": [f"a{i + 1}"]} for i in range(10_000)]
    register = entries(*chain, {"id": "a10000", "country": "JP"})
    ids = frozenset(entry.id for entry in register)
    assert check_affiliates(register, ids) == []
    (problem,) = check_affiliates(circle(*(f"a{i}" for i in range(10_000))), ids - {"a10000"})
    assert problem.path == (0, "works_for")


def test_many_roads_to_one_principal_are_no_circle() -> None:
    """A ladder has two to the power of its rungs many paths, and each rung is looked at once."""
    rungs = [{"id": f"r{i}", "country": "JP", "works_for": [f"a{i}", f"b{i}"]} for i in range(30)]
    sides = [{"id": f"{s}{i}", "country": "JP", "works_for": [f"r{i + 1}"]} for i in range(30) for s in "ab"]
    register = entries(*rungs, *sides, {"id": "r30", "country": "JP"})
    assert check_affiliates(register, frozenset(entry.id for entry in register)) == []


def test_a_subcontractor_that_is_missing_in_the_list_is_told() -> None:
    register = entries(
        {"id": "ly", "country": "JP", "subcontractors": ["a"]},
        {"id": "a", "country": "JP", "works_for": ["ly"]},
        {"id": "b", "country": "CN", "works_for": ["ly"]},
    )
    (problem,) = check_affiliates(register, frozenset({"ly", "a", "b"}))
    assert (problem.path, problem.message[:3]) == ((0, "subcontractors"), "'b'")


def test_a_subcontractor_whose_row_cannot_be_read_is_not_told_as_another_mistake() -> None:
    register = entries({"id": "ly", "country": "JP", "subcontractors": ["a"]})
    assert check_affiliates(register, frozenset({"ly", "a"})) == []


def test_to_whom_work_is_handed_on_is_known_only_where_it_is_listed_all_the_way_down() -> None:
    loose = {"id": "a", "country": "JP", "works_for": ["ly"]}
    listed = loose | {"subcontractors": []}
    for row, is_open in ((loose, True), (listed, False)):
        register = compute(LY | {"subcontractors": ["a"]}, row)
        assert ("subcontractor" in register.by_id["ly"].open_ties) is is_open


MISTYPED = {
    "a share of nothing": {"owners": holds(("ly", "0"))},
    "a share above everything": {"owners": holds(("ly", "100.1"))},
    "a negative share": {"owners": holds(("ly", "-50"))},
    "a share in exponents": {"owners": holds(("ly", "5e1"))},
    "a share in full-width digits": {"owners": holds(("ly", "\uff15\uff10"))},
    "a share that is not a number": {"owners": holds(("ly", "NaN"))},
    "a country in lower case": {"country": "jp"},
    "a flag that YAML would guess": {"home": "yes"},
    "a key that nobody knows": {"owner": "ly"},
    "a key that is not there yet": {"valid_until": "2027-01-01"},
}


@pytest.mark.parametrize("wrong", MISTYPED.values(), ids=MISTYPED)
def test_an_entry_does_not_load_with(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        entries({"id": "e", "country": "JP", **wrong})


def test_a_subsidiary_is_tied_to_its_own_country_and_its_owners() -> None:
    shanghai = compute(*REGISTER).by_id["shanghai"]
    assert ties(shanghai) == {
        ("employer", "CN", "shanghai"),
        ("control.majority", "KR", "shanghai<line-plus"),
        ("control.majority", "JP", "shanghai<line-plus<ly"),
    }
    assert shanghai.roles == FactSet(frozenset({"subsidiary"}))
    assert shanghai.control["majority"].owners == FactSet(frozenset({"line-plus", "ly"}))


def test_a_subcontractor_is_tied_to_every_country_up_the_chain_it_works_for() -> None:
    dalian = compute(*REGISTER).by_id["dalian-bpo"]
    assert ties(dalian) == {
        ("employer", "CN", "dalian-bpo"),
        ("principal", "JP", "dalian-bpo<tokyo-bpo<ly"),
    }


def test_an_employer_is_tied_to_those_it_hands_work_to_but_that_does_not_count() -> None:
    tokyo = compute(*REGISTER).by_id["tokyo-bpo"]
    assert ("subcontractor", "CN", "tokyo-bpo<dalian-bpo") in ties(tokyo)
    assert "subcontractor" not in tokyo.counted


def test_shared_accounts_make_subcontractors_count() -> None:
    ly = compute(LY | {"shares_accounts": "true"}, TOKYO_BPO, DALIAN_BPO).by_id["ly"]
    assert "subcontractor" in ly.counted
    assert ("subcontractor", "CN", "ly<tokyo-bpo<dalian-bpo") in ties(ly)


def test_circles_of_work_end() -> None:
    register = compute(
        {"id": "a", "country": "JP", "works_for": ["b"]}, {"id": "b", "country": "CN", "works_for": ["a"]}
    )
    assert ("principal", "CN", "a<b") in ties(register.by_id["a"])


OPEN_TIES = {
    "no owner and no principal is declared": ({}, {"control.majority", "principal", "subcontractor"}),
    "the owners are complete": ({"owners_complete": "true"}, {"principal", "subcontractor"}),
    "it works for nobody, and says so": ({"works_for": []}, {"control.majority", "subcontractor"}),
    "it hands nothing on, and says so": ({"works_for": [], "subcontractors": []}, {"control.majority"}),
    "nothing is left out": ({"works_for": [], "subcontractors": [], "owners_complete": "true"}, set[str]()),
    "its principal leaves open for whom it works": (
        {"works_for": ["loose"], "owners_complete": "true"},
        {"principal", "subcontractor"},
    ),
    "its principal is home": ({"works_for": ["ly"], "owners_complete": "true"}, {"subcontractor"}),
    "it is home": ({"home": "true"}, {"subcontractor"}),
    "most of it is home's": ({"owners": holds(("ly", "51")), "works_for": []}, {"subcontractor"}),
    "most of it is somebody's who is open": (
        {"owners": holds(("loose", "51")), "works_for": []},
        {"control.majority", "subcontractor"},
    ),
}


@pytest.mark.parametrize(("raw", "labels"), OPEN_TIES.values(), ids=OPEN_TIES)
def test_ties_are_open_where(raw: dict[str, Any], labels: set[str]) -> None:
    register = compute({"id": "e", "country": "JP", **raw}, LY, {"id": "loose", "country": "JP"})
    assert set(map(str, register.by_id["e"].open_ties)) == labels


def test_owners_are_open_where_a_stranger_may_be_one_although_the_country_is_certain() -> None:
    """Both owners are Japanese, so Japan controls it; but one of them may hold 70 of 100."""
    japanese = [{"id": id_, "country": "JP", "owners_complete": "true"} for id_ in ("a", "b")]
    e = {"id": "e", "country": "JP", "owners": holds(("a", "30"), ("b", "30"))}
    control = compute(*japanese, e).by_id["e"].control["majority"]
    assert control.countries == FactSet(frozenset({"JP"}))
    assert control.owners == FactSet(frozenset(), is_open=True)


def test_deleting_an_ownership_edge_never_says_for_sure_that_an_owner_is_none() -> None:
    japanese = [{"id": id_, "country": "JP", "owners_complete": "true"} for id_ in ("a", "b")]
    x = {"id": "x", "country": "JP", "owners": holds(("a", "51")), "owners_complete": "true"}
    through = holds(("x", "30"), ("b", "30"))
    before, after = (
        compute(*japanese, x, {"id": "e", "country": "JP", "owners": owners}).by_id["e"].control["majority"].owners
        for owners in (holds(("a", "25")) + through, through)
    )
    assert isinstance(before, FactSet)
    assert "a" in before.members
    assert isinstance(after, FactSet)
    assert "a" in after.members or after.is_open


def test_only_rules_that_are_default_count() -> None:
    watch = {"id": "watch", "threshold": "25"}
    register = compute(*REGISTER, rules=(MAJORITY, watch))
    assert register.counted == {"employer", "site", "residence", "principal", "control.majority"}
    assert "watch" in register.by_id["shanghai"].control


def test_without_control_among_the_counted_kinds_no_rule_counts() -> None:
    assert compute(*REGISTER, counted=frozenset({TieKind.SITE})).counted == {"site"}


def test_an_unknown_affiliate_leaves_every_tie_of_an_affiliate_open() -> None:
    assert set(map(str, compute(*REGISTER).unknown_ties)) == {
        "employer", "principal", "subcontractor", "control.majority",
    }  # fmt: skip


def test_an_unknown_affiliate_may_be_one_that_shares_its_accounts() -> None:
    """Else a caller of ``ly`` is tied to China, and the same caller without its affiliate claim is not."""
    register = compute(LY | {"shares_accounts": "true"}, TOKYO_BPO, DALIAN_BPO, counted=frozenset({TieKind.SITE}))
    assert not register.unknown_ties.isdisjoint(register.counted)


def test_a_threshold_and_comparator_are_taken_as_written() -> None:
    half = {"id": "e", "country": "JP", "owners": holds(("x", "50")), "owners_complete": "true", "dispersed": "50"}
    x = {"id": "x", "country": "KR", "owners_complete": "true"}
    more = {"id": "more", "threshold": "50", "comparator": ">"}
    control = compute(half, x, rules=(MAJORITY, more)).by_id["e"].control
    assert control["majority"].countries == FactSet(frozenset({"KR"}))
    assert control["more"].countries == FactSet(frozenset())
