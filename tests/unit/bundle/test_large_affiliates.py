# SPDX-License-Identifier: Apache-2.0
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.bundle import large_affiliates
from proxy.bundle.check import load_bundle
from proxy.bundle.snapshot import Snapshot
from proxy.bundle.stored_affiliates import StoredAffiliations
from proxy.caller.affiliate_tables import OF_ENTITIES, OF_HOLDINGS
from proxy.errors import BundleError
from proxy.model.facts import FactSet
from proxy.policy.attributes import Domain
from tests.support.bundle_folder import SMALL, edited, write_bundle

LISTED: Final = (
    "bundle.yaml", "files:\n", "files:\n  entities.csv: [affiliates]\n  holdings.csv: [holdings]\n",
)  # fmt: skip
APRIL: Final = "2026-04-01T00:00:00+09:00"
MAY: Final = "2026-05-01T00:00:00+09:00"
IN_APRIL: Final = 1_776_000_000.0


def row(names: tuple[str, ...], **cells: str) -> str:
    assert set(cells) <= {*names, "from_"}
    return ",".join(cells.get(name, cells.get(f"{name}_", "")) for name in names)


def entity(id_: str, country: str = "CN", **cells: str) -> str:
    return row(OF_ENTITIES, id=id_, country=country, **cells)


def holding(owner: str, owned: str, share: str = "", **cells: str) -> str:
    return row(OF_HOLDINGS, owner=owner, owned=owned, share=share, **cells)


ACME: Final = entity("acme", name="Acme", roles="subsidiary", owners_complete="true", works_for="branch")
OF_ACME: Final = holding("branch", "acme", "100")


def files(entities: list[str], holdings: list[str], *edits: tuple[str, str, str]) -> dict[str, str]:
    """Return the small bundle with tables of affiliates beside its entries."""
    return {
        **edited(LISTED, *edits),
        "entities.csv": "\n".join((",".join(OF_ENTITIES), *entities)) + "\n",
        "holdings.csv": "\n".join((",".join(OF_HOLDINGS), *holdings)) + "\n",
    }


Load = Callable[..., Snapshot]
Problems = Callable[[Mapping[str, str]], list[str]]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load_files(found: Mapping[str, str], now: float = IN_APRIL) -> Snapshot:
        return load_bundle(write_bundle(tmp_path / "policies", found), None, tmp_path / "registers", now=now)

    return load_files


@pytest.fixture
def problems(load: Load, tmp_path: Path) -> Problems:
    def tell(found: Mapping[str, str]) -> list[str]:
        with pytest.raises(BundleError) as told:
            load(found)
        return [problem.replace(f"{tmp_path}/policies/", "") for problem in told.value.problems]

    return tell


def test_tables_and_entries_are_one_register(load: Load) -> None:
    snapshot = load(files([ACME], [OF_ACME]))
    by_id = snapshot.affiliates.current.by_id
    assert isinstance(by_id, StoredAffiliations)
    acme = by_id["acme"]
    assert (acme.name, acme.country, acme.roles) == ("Acme", "CN", FactSet(frozenset({"subsidiary"})))
    assert ("control.majority", "JP", ("acme", "branch", "home-co")) in [
        (tie.label, tie.country, tie.path) for tie in acme.ties
    ]
    assert "acme" in snapshot.vocabulary.ids[Domain.AFFILIATES]
    assert snapshot.places["affiliates acme"].endswith("entities.csv:2")
    assert snapshot.places["affiliates branch"].endswith("parties.yaml:18")
    assert {party.id for party in snapshot.parties} == {"acme", "home-co", "branch"}
    assert len(snapshot.parties) == 3


def test_a_holding_of_a_table_may_be_of_an_entry(load: Load) -> None:
    found = files([ACME], [OF_ACME, holding("acme", "home-two", "30")], (
        "parties.yaml", "  - id: branch\n", "  - {id: home-two, country: JP}\n  - id: branch\n",
    ))  # fmt: skip
    (watched,) = load(found).affiliates.current.by_id["home-two"].watch
    assert watched.owner == "acme"


def test_a_bundle_may_have_tables_alone(load: Load) -> None:
    alone = SMALL["parties.yaml"].partition("affiliates:\n")
    rest = "country_sets:" + alone[2].partition("country_sets:")[2]
    found = files([entity("home-co", "JP", home="true"), entity("branch", "KR"), ACME], [OF_ACME])
    snapshot = load({**found, "parties.yaml": alone[0] + rest})
    assert set(snapshot.affiliates.current.by_id) == {"home-co", "branch", "acme"}


PROBLEMS: Final[dict[str, tuple[list[str], list[str], str]]] = {
    "no id": ([entity("")], [], "entities.csv:2:1: id: the cell is empty"),
    "an id that is none": ([entity("Acme")], [], "entities.csv:2:1: id: 'Acme' is no id"),
    "an id twice": ([ACME, ACME], [OF_ACME], "entities.csv:3:1: the id 'acme' stands twice, first in entities.csv:2"),
    "an id of an entry": (
        [entity("branch")], [], "entities.csv:2:1: the id 'branch' stands twice, first in parties.yaml:18",
    ),
    "no country": ([entity("acme", "")], [], "entities.csv:2:7: country: the cell is empty"),
    "a country that is none": ([entity("acme", "China")], [], "entities.csv:2:7: country: 'China' is no ISO"),
    "a flag": ([entity("acme", home="yes")], [], "entities.csv:2:10: home: 'yes' is neither true nor false"),
    "a role": ([entity("acme", roles="boss")], [], "entities.csv:2:11: roles: 'boss' is not one of"),
    "a principal that nobody declared": (
        [entity("acme", works_for="branche")], [],
        "entities.csv:2:14: no affiliate 'branche' (did you mean 'branch'?)",
    ),
    "one that works for itself": ([entity("acme", works_for="acme")], [], "'acme' cannot work for itself"),
    "a circle of contracts": (
        [entity("acme", works_for="b"), entity("b", works_for="acme")], [],
        "entities.csv:2:14: contracts go round in a circle: acme → b → acme",
    ),
    "a subcontractor that says nothing of it": (
        [entity("acme", subcontractors="branch")], [],
        "entities.csv:2:15: 'branch' does not say that it works for this one",
    ),
    "dates that are upside down": (
        [entity("acme", from_=MAY, until=APRIL)], [], "entities.csv:2:43: it ends before it begins",
    ),
    "dispersed owners of a list that may go on": (
        [entity("acme", dispersed="5")], [], "entities.csv:2:13: `dispersed` goes with `owners_complete: true`",
    ),
    "complete owners, and no row": (
        [entity("acme", owners_complete="true")], [], "entities.csv:2:12: the list is complete and adds up to 0 per",
    ),
    "complete owners that come to less": (
        [ACME], [holding("branch", "acme", "60")], "holdings.csv:2:8: the list is complete and adds up to 60 per cent",
    ),
    "shares of more than everything": (
        [entity("acme")], [holding("branch", "acme", "60"), holding("home-co", "acme", "40.000001")],
        "holdings.csv:3:9: the shares add up to 100.000001 per cent, more than 100",
    ),
    "an owner twice": (
        [entity("acme")], [holding("branch", "acme", "6"), holding("branch", "acme", "4")],
        "holdings.csv:3:8: an owner stands twice: add its shares up",
    ),
    "one that owns itself": (
        [entity("acme")], [holding("acme", "acme", "6")], "holdings.csv:2:6: 'acme' cannot own itself",
    ),
    "an owner that nobody declared": (
        [ACME], [holding("brunch", "acme", "100")],
        "holdings.csv:2:1: owner: no affiliate 'brunch' (did you mean 'branch'?)",
    ),
    "an owned one that nobody declared": (
        [entity("acme")], [holding("branch", "acne", "100")],
        "holdings.csv:2:8: owned: no affiliate 'acne' (did you mean 'acme'?)",
    ),
    "a share that is none": (
        [entity("acme")], [holding("branch", "acme", "half")], "holdings.csv:2:14: share: 'half' is no share",
    ),
    "no share": ([entity("acme")], [holding("branch", "acme")], "holdings.csv:2:14: write `share`, or `share_min`"),
    "a range that is upside down": (
        [entity("acme")], [holding("branch", "acme", share_min="20", share_max="10")],
        "holdings.csv:2:18: it is less than `min`, 20",
    ),
    "a holding whose dates are upside down": (
        [entity("acme")], [OF_ACME, holding("home-co", "acme", "5", from_=MAY, until=APRIL)],
        "holdings.csv:3:46: it ends before it begins",
    ),
    "owners of an entry that says they are all there": (
        [ACME, entity("x")], [OF_ACME, holding("acme", "y", "5")], "holdings.csv:3:6: the owners of 'y' stand in",
    ),
    "owners of an entry that says itself who they are": (
        [ACME], [OF_ACME, holding("acme", "branch", "5")],
        "holdings.csv:3:6: the owners of 'branch' stand in parties.yaml:18",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("entities", "holdings", "words"), PROBLEMS.values(), ids=PROBLEMS)
def test_a_register_is_refused_with(problems: Problems, entities: list[str], holdings: list[str], words: str) -> None:
    holdings = holdings or [holding("state:JP", "home-three", "5")]
    entities = [*entities, entity("home-three", "JP")]
    complete = "parties.yaml", "  - id: branch\n", "  - {id: y, country: JP, owners_complete: true}\n  - id: branch\n"
    told = problems(files(entities, holdings, *([complete] if "of 'y'" in words else [])))
    assert [words in problem for problem in told] == [True], told


SHAPES: Final = {
    "a holdings register in YAML": (
        edited(("parties.yaml", "affiliates:\n", "holdings: []\naffiliates:\n")), "holdings stand in tables",
    ),
    "a YAML file listed for holdings": (
        edited(("bundle.yaml", "trusted_proxies]", "trusted_proxies, holdings]")), "holdings stand in tables",
    ),
    "a table of both": (
        {**edited(("bundle.yaml", "files:\n", "files:\n  e.csv: [affiliates, holdings]\n")), "e.csv": "id\n"},
        "a table holds the rows of one register",
    ),
    "a table without a column": (
        {**files([ACME], [OF_ACME]), "entities.csv": "id,country\nacme,CN\n"}, "the column 'name' is missing",
    ),
    "a table that is empty": ({**files([ACME], [OF_ACME]), "holdings.csv": ""}, "begins with no header"),
    "a table that is missing": (
        {name: text for name, text in files([ACME], [OF_ACME]).items() if name != "holdings.csv"},
        "is listed here and missing",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("found", "words"), SHAPES.values(), ids=SHAPES)
def test_it_does_not_load_with(problems: Problems, found: Mapping[str, str], words: str) -> None:
    assert any(words in problem for problem in problems(found))


def test_what_cannot_be_read_is_not_told_as_many_mistakes(problems: Problems) -> None:
    found = {**files([ACME], [OF_ACME]), "entities.csv": "id,country\nacme,CN\n"}
    assert all("is missing" in problem for problem in problems(found))


def test_where_a_holding_was_found_may_be_told(load: Load) -> None:
    header = ",".join((*OF_HOLDINGS, "source", "retrieved_at"))
    found = {**files([ACME], []), "holdings.csv": f'{header}\n{OF_ACME},"a report, page 7",2026-04-01\n'}
    assert load(found).affiliates.current.by_id["acme"].control["majority"].owners == FactSet(
        frozenset({"branch", "home-co"})
    )


def test_the_second_start_finds_the_files_and_reads_no_table(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    found = files([ACME], [OF_ACME])
    first = load(found)
    monkeypatch.delattr(large_affiliates, "_Reading")
    monkeypatch.delattr(large_affiliates, "compute_epoch")
    second = load(found)
    assert dict(second.affiliates.current.by_id) == dict(first.affiliates.current.by_id)
    assert (second.notes, second.registers_digest) == (first.notes, first.registers_digest)


CHANGES: Final[dict[str, tuple[str, str, str]]] = {
    "a holding": ("holdings.csv", "branch,acme,,100", "home-co,acme,,100"),
    "an entity": ("entities.csv", "Acme,CN", "Acme,HK"),
    "a control rule": ("parties.yaml", "threshold: 50", "threshold: 100\n    comparator: '>'"),
    "the ties that count": ("bundle.yaml", "[employer, residence, control]", "[employer, control]"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_another_register_is_computed_after_a_change_of(load: Load, change: tuple[str, str, str]) -> None:
    found = files([ACME], [OF_ACME])
    before = dict(load(found).affiliates.current.by_id)
    assert before != dict(load(edited(change, files=found)).affiliates.current.by_id)


def test_the_next_epoch_is_there_before_it_begins(load: Load) -> None:
    found = files([entity("acme")], [holding("branch", "acme", "60", until=MAY)])
    affiliates = load(found).affiliates
    now, then = (affiliates.at(at).by_id["acme"].control["majority"] for at in (IN_APRIL, IN_APRIL + 86400 * 30))
    assert now.owners == FactSet(frozenset({"branch", "home-co"}))
    assert then.owners == FactSet(frozenset(), is_open=True)
    later = load(found, now=IN_APRIL + 86400 * 30)
    assert later.affiliates.current.by_id["acme"].control["majority"] == then
    assert any("the holding of branch expired" in note for note in later.notes)


entities_drawn = st.lists(
    st.fixed_dictionaries(
        {"country": st.sampled_from(["JP", "CN", "KR"])},
        optional={
            "home": st.just("true"),
            "roles": st.lists(st.sampled_from(["subsidiary", "contractor"]), min_size=1, unique=True),
            "works_for": st.sets(st.integers(0, 5), max_size=2),
            "shares_accounts": st.just("true"),
            "until": st.sampled_from([APRIL, MAY]),
        },
    ),
    min_size=1,
    max_size=6,
)
holdings_drawn = st.dictionaries(
    st.tuples(st.integers(-1, 5), st.integers(0, 5)),
    st.fixed_dictionaries(
        {},
        optional={
            "share": st.sampled_from(["10", "25", "30"]),
            "interest": st.sampled_from(["votingRights", "shareholding"]),
            "indirect": st.just("true"),
            "until": st.just(MAY),
        },
    ),
    max_size=8,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=entities_drawn, held=holdings_drawn)
def test_the_same_register_means_the_same_in_yaml_and_in_tables(
    tmp_path: Path, drawn: list[dict[str, Any]], held: dict[tuple[int, int], dict[str, str]]
) -> None:
    entries: list[dict[str, Any]] = []
    entities: list[str] = []
    holdings: list[str] = []
    for number, given_ in enumerate(drawn):
        principals = [f"e{each}" for each in sorted(given_.get("works_for", ())) if each < number]
        owners: list[dict[str, str]] = []
        for (owner, owned), said in held.items():
            if owned != number or owner >= len(drawn) or owner == number:
                continue
            cells = {"share_max": "20"} if "share" not in said else {}
            holdings.append(holding("state:CN" if owner < 0 else f"e{owner}", f"e{number}", **said, **cells))
            shares = {} if "share" in said else {"max": "20"}
            owners.append({("state" if owner < 0 else "id"): "CN" if owner < 0 else f"e{owner}"} | said | shares)
        same: dict[str, str] = {
            key: given_[key] for key in ("country", "home", "shares_accounts", "until") if key in given_
        }
        lists: dict[str, list[str]] = {"roles": given_.get("roles", [])}
        if "works_for" in given_:
            lists["works_for"] = principals
        entries.append({"id": f"e{number}", **same, **lists, "owners": owners})
        texts: dict[str, str] = {"roles": ";".join(lists["roles"])}
        texts |= {"works_for": ";".join(principals) or "-"} if "works_for" in given_ else {}
        entities.append(entity(f"e{number}", **same, **texts))
    if not holdings:
        return
    folder = tmp_path / "same"
    in_tables = files(entities, holdings)
    written = SMALL["parties.yaml"].replace(
        "affiliates:\n", "affiliates:\n" + "".join(f"  - {json.dumps(entry)}\n" for entry in entries)
    )
    in_yaml = {**SMALL, "parties.yaml": written}
    snapshots: list[Snapshot | None] = []
    for found in (in_yaml, in_tables):
        for path in folder.glob("*.csv"):
            path.unlink()
        try:
            snapshots.append(load_bundle(write_bundle(folder, found), None, tmp_path / "registers", now=IN_APRIL))
        except BundleError:
            snapshots.append(None)
    one, other = snapshots
    assert (one is None) == (other is None)
    if one is not None and other is not None:
        assert [dict(each.by_id) for each in one.affiliates.epochs] == [
            dict(each.by_id) for each in other.affiliates.epochs
        ]
        assert one.notes == other.notes
