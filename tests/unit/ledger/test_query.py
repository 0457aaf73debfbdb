# SPDX-License-Identifier: Apache-2.0
"""Which decisions are asked for, and what a line says of each field."""

import json
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.clock import render_instant
from proxy.ledger.entry import encode_body
from proxy.ledger.lines import (
    CallerRecorded,
    ContentRecorded,
    DecisionLine,
    EndLine,
    Line,
    OriginRecorded,
    PersonRecorded,
    RuleRecorded,
    ShadowRecorded,
    SubjectRecorded,
)
from proxy.ledger.query import FIELDS, Filter, count_by, find_words, render_words
from proxy.ledger.search import Search
from proxy.model.counts import TALLIES
from tests.support.ledger_lines import BEGAN, SATO, TOKYO, USER_42, WANG, a_decision, an_allowance, as_row

KIM = "d4" * 16
RICH = a_decision(
    rules=(
        RuleRecorded("jp-no-china", "deny", "matched"),
        RuleRecorded("no-vpn", "deny", "by-unknown", ("origin.asn",)),
    ),
    lifted=(("other", "LE-1"),),
    transforms={"phone": "mask"},
    shadow=ShadowRecorded("allow", changes=True, rules=(RuleRecorded("trial", "allow", "matched"),)),
    caller=CallerRecorded(
        who=WANG,
        affiliate="shanghai-digital",
        countries=("CN",),
        on_behalf_of=PersonRecorded(who=KIM, affiliate="kim-co"),
    ),
    content=ContentRecorded(
        seen=3,
        dropped=1,
        masked=1,
        subjects=2,
        subject_ids=("users:" + "e5" * 16, "users:" + "f6" * 16),
        left={"TW": 2},
        kept_back={"KR": 1},
        rules={"kr-closed": 1, "tw-masked": 1},
    ),
    upstream=206,
    seconds=0.0125,
)


def search(asked: Filter, lines: Iterable[Line], seconds: float = 1.0) -> tuple[list[dict[str, Any]], Search]:
    """Return the rows that are found among lines, so many seconds apart."""
    found = Search(asked, json.loads)
    rows = []
    for n, line in enumerate(lines):
        row = as_row(line, n, BEGAN + n * seconds)
        data = json.dumps(row, separators=(",", ":")).encode()
        rows += list(found.take(row["line"].encode(), row["time"], data, data))
    return rows + list(found.finish()), found


# What is asked for.

MATCHES = [
    pytest.param({}, RICH, id="nothing asked for is everything"),
    pytest.param({"who": {WANG}}, RICH, id="a pseudonym"),
    pytest.param({"who": {WANG[:8]}}, RICH, id="its beginning"),
    pytest.param({"who": {KIM}}, RICH, id="for whom the caller acted"),
    pytest.param({"who": {SATO, WANG}}, RICH, id="either of two"),
    pytest.param({"affiliate": {"shanghai-digital"}}, RICH, id="the caller's affiliate"),
    pytest.param({"affiliate": {"kim-co"}}, RICH, id="the affiliate of whoever it acted for"),
    pytest.param({"country": {"JP"}}, a_decision(), id="one of several countries"),
    pytest.param({"country": {"unknown"}}, a_decision(caller=CallerRecorded()), id="countries that nobody knows"),
    pytest.param({"subject_country": {"JP"}}, RICH, id="whose data"),
    pytest.param(
        {"subject_country": {"unknown"}}, a_decision(subject=SubjectRecorded()), id="a state that is left out"
    ),
    pytest.param({"subject": {USER_42}}, RICH, id="a data subject"),
    pytest.param({"subject": {USER_42[6:]}}, RICH, id="a data subject without the API"),
    pytest.param({"subject": {USER_42[:14]}}, RICH, id="the beginning of a data subject"),
    pytest.param({"subject_country": {"TW"}}, RICH, id="the country of records that left"),
    pytest.param({"subject_country": {"KR"}}, RICH, id="the country of records that were kept back"),
    pytest.param({"subject": {"users:" + "f6" * 16}}, RICH, id="a data subject among others"),
    pytest.param({"subject": {"f6" * 16}}, RICH, id="likewise, without the API"),
    pytest.param({"subject": {"users:" + "f6" * 5}}, RICH, id="likewise, by its beginning"),
    pytest.param({"rule": {"tw-masked"}}, RICH, id="a rule that masked a record"),
    pytest.param({"origin_country": {"CN"}}, RICH, id="from where"),
    pytest.param({"origin_country": {"unknown"}}, a_decision(origin=OriginRecorded()), id="from nobody knows where"),
    pytest.param({"rule": {"jp-no-china"}}, RICH, id="the determining rule"),
    pytest.param({"rule": {"no-vpn"}}, RICH, id="a rule that applied beside it"),
    pytest.param({"rule": {"jp-no-china"}}, a_decision(), id="the determining rule alone"),
    pytest.param({"reason": {"rule-denies"}}, RICH, id="a reason"),
    pytest.param({"reason": {"rule-allows"}}, an_allowance(), id="a reason that an end may say, too"),
    pytest.param({"api": {"users"}, "route": {"user"}, "action": {"read"}}, RICH, id="an API, a route and an action"),
]
MISSES = [
    pytest.param({"who": {SATO}}, id="somebody else"),
    pytest.param({"who": {WANG[1:]}}, id="the end of a pseudonym"),
    pytest.param({"affiliate": {"shanghai"}}, id="the beginning of an affiliate's id"),
    pytest.param({"country": {"JP"}}, id="another country"),
    pytest.param({"subject_country": {"CN"}}, id="the caller's country for the subject's"),
    pytest.param({"origin_country": {"JP"}}, id="the subject's country for the origin's"),
    pytest.param({"rule": {"trial"}}, id="a rule in shadow mode"),
    pytest.param({"rule": {"LE-1"}}, id="a grant"),
    pytest.param({"subject": {"accounts:" + USER_42[6:]}}, id="the same digits in another API"),
    pytest.param({"subject": {"accounts:" + "f6" * 16}}, id="the same digits in a record of another API"),
    pytest.param({"who": {WANG}, "rule": {"other"}}, id="two things of which one holds"),
]
EFFECTS = [
    pytest.param({"deny"}, a_decision(), True, id="a denial is one"),
    pytest.param({"allow"}, a_decision(), False, id="a denial is no allowance"),
    pytest.param({"allow", "deny"}, an_allowance(), True, id="either"),
    pytest.param({"observed"}, a_decision(enforced=False), True, id="a refusal that was only observed"),
    pytest.param({"deny"}, a_decision(enforced=False), True, id="which is a denial, too"),
    pytest.param({"observed"}, a_decision(), False, id="a refusal that was enforced"),
]


@pytest.mark.parametrize(("wanted", "line"), MATCHES)
def test_a_decision_that_is_asked_for_is_found(wanted: dict[str, set[str]], line: DecisionLine) -> None:
    asked = Filter({name: frozenset(values) for name, values in wanted.items()})
    assert asked.matches(as_row(line))
    assert len(search(asked, [line])[0]) == 1, "nor is it dismissed by its bytes"


@pytest.mark.parametrize("wanted", MISSES)
def test_a_decision_that_is_not_asked_for_is_not(wanted: dict[str, set[str]]) -> None:
    asked = Filter({name: frozenset(values) for name, values in wanted.items()})
    assert not asked.matches(as_row(RICH))
    assert search(asked, [RICH])[0] == []


@pytest.mark.parametrize(("effects", "line", "expected"), EFFECTS)
def test_effects(effects: set[str], line: DecisionLine, expected: bool) -> None:  # noqa: FBT001 - a table's column
    assert Filter(effects=frozenset(effects)).matches(as_row(line)) is expected


def test_times_are_from_the_first_instant_up_to_before_the_last() -> None:
    asked = Filter(since=render_instant(BEGAN + 1), until=render_instant(BEGAN + 3))
    rows, found = search(asked, [a_decision()] * 5)
    assert [row["n"] for row in rows] == [1, 2]
    assert found.found == 2


@given(st.text(min_size=1, max_size=8) | st.sampled_from(["unknown", "absent", "not applicable", "jp", "a.b-c", 'a"b']))
def test_bytes_dismiss_no_line_that_says_it(value: str) -> None:
    line = a_decision(
        rule=value, api=value, reason=value, caller=CallerRecorded(who=value, affiliate=value, countries=(value,))
    )
    for name in ("rule", "api", "reason", "who", "affiliate", "country"):
        asked = Filter({name: frozenset({value})})
        data = encode_body(line)
        assert asked.find_needles().are_in(data), name


# Fields.


def test_each_field_is_one_of_the_schema_and_is_left_out_at_the_schemas_default() -> None:
    structs: dict[tuple[str, ...], type[msgspec.Struct]] = {
        (): DecisionLine, ("caller",): CallerRecorded, ("caller", "on_behalf_of"): PersonRecorded,
        ("origin",): OriginRecorded, ("subject",): SubjectRecorded, ("shadow",): ShadowRecorded,
        ("content",): ContentRecorded, ("end",): EndLine,
    }  # fmt: skip
    for name, field in FIELDS.items():
        *path, last = field.path
        if path == ["counts"]:  # of a mapping: by their names
            assert last in TALLIES
            continue
        if last in {"n", "time"}:
            continue
        schema = {each.name: each for each in msgspec.structs.fields(structs[tuple(path)])}[last]
        ours = field.default if field.within is None else field.within
        if name not in {"bytes", "seconds"} and schema.default not in (msgspec.NODEFAULT, None, (), {}):
            assert ours == schema.default, name


def test_every_count_has_its_name() -> None:
    assert [field.path[1] for field in FIELDS.values() if field.path[0] == "counts"] == list(TALLIES)


def test_every_field_of_a_decision_has_its_name() -> None:
    known = {field.path[: len(field.path)] for field in FIELDS.values()}
    for struct, path in ((DecisionLine, ()), (CallerRecorded, ("caller",)), (OriginRecorded, ("origin",))):
        for field in msgspec.structs.fields(struct):
            here = (*path, field.encode_name)
            assert any(each[: len(here)] == here for each in known), here


WORDS = [
    pytest.param("rules", ("jp-no-china", "no-vpn"), id="of rules their ids"),
    pytest.param("lifted", ("other=LE-1",), id="a rule and the grant that lifted it"),
    pytest.param("transforms", ("phone=mask",), id="a category and what was done"),
    pytest.param("shadow_rules", ("trial",), id="of rules in shadow, too"),
    pytest.param("shadow_changes", ("true",), id="a truth"),
    pytest.param("unlisted", ("0",), id="a number that is left out"),
    pytest.param("seconds", ("0.0125",), id="a fraction"),
    pytest.param("network", ("absent",), id="a state that is left out"),
    pytest.param("purpose", ("",), id="a text that is left out"),
    pytest.param("upstream", ("206",), id="a number"),
]
STRANGE = [
    pytest.param(None, ("",), id="null"),
    pytest.param({}, (), id="an empty object"),
    pytest.param([], (), id="an empty list"),
    pytest.param([1, None, True, "x"], ("1", "", "true", "x"), id="a list of anything"),
    pytest.param([["a", "b", "c"], {"x": 1}], ('["a","b","c"]', '{"x":1}'), id="lists and objects in a list"),
    pytest.param({"a": [1], "b": {"c": 2}}, ("a=[1]", 'b={"c":2}'), id="lists and objects in an object"),
    pytest.param(0.0, ("0",), id="nought"),
    pytest.param(1e300, (str(int(1e300)),), id="a huge number"),
]


@pytest.mark.parametrize(("name", "expected"), WORDS)
def test_fields_as_words(name: str, expected: tuple[str, ...]) -> None:
    assert find_words(as_row(RICH), name) == expected


@pytest.mark.parametrize(("value", "expected"), STRANGE)
def test_whatever_stands_in_a_line_becomes_words(value: Any, expected: tuple[str, ...]) -> None:
    assert render_words(value) == expected


def test_rules_that_are_left_out_are_the_determining_one() -> None:
    assert find_words(as_row(a_decision()), "rules") == ("jp-no-china",)
    assert find_words(as_row(a_decision(rule="default")), "rules") == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
TOPS = sorted({field.path[0] for field in FIELDS.values()} | {"new"})


@given(st.dictionaries(st.sampled_from(TOPS), JSON))
def test_a_line_of_a_newer_version_never_breaks_a_reader(row: dict[str, Any]) -> None:
    for name in FIELDS:
        assert all(isinstance(word, str) for word in find_words(row, name))
    asked = Filter({name: frozenset({"x"}) for name in ("who", "country", "rule", "subject")}, frozenset({"deny"}))
    assert asked.matches(row) in {True, False}
    for kind in (b"decision", b"end", b"refusals"):
        found = Search(Filter(), lambda _: dict(row))
        assert list(found.take(b"decision", "t", b"", None)) + list(found.take(kind, "t", b"", None)) is not None
        list(found.finish())


# Counting.


def test_counts_are_sorted_and_members_count_by_themselves() -> None:
    rows = [as_row(line) for line in (a_decision(), a_decision(), an_allowance(), a_decision(caller=CallerRecorded()))]
    assert count_by(rows, "countries") == [("JP", 3), ("CN", 2), ("unknown", 1)]
    assert count_by(rows, "effect") == [("deny", 3), ("allow", 1)]
    assert count_by(rows, "purpose") == [("", 4)]
    assert count_by([as_row(a_decision(rule="default"))], "rules") == [("", 1)]
    assert count_by([as_row(an_allowance(caller=TOKYO))], "who") == [(SATO, 1)]
    assert count_by([], "who") == []
