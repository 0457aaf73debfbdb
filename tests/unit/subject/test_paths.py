# SPDX-License-Identifier: Apache-2.0
"""Paths into bodies: compiled by a library, followed by us, held to the library here."""

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from jsonpath import JSONPathEnvironment

from proxy.model.decision import Reason
from proxy.subject.paths import MAX_LENGTH, MAX_VALUES, compile_selector

LIBRARY = JSONPathEnvironment(strict=True)

FOUND: dict[str, tuple[str, str, list[Any]]] = {
    "a member": ("$.id", '{"id": "1"}', ["1"]),
    "a member of a member": ("$.user.id", '{"user": {"id": "1"}}', ["1"]),
    "a member in brackets": ("$['user id']", '{"user id": "1"}', ["1"]),
    "an escaped name": (r"$['\u0069d']", '{"id": "1"}', ["1"]),
    "a name of another script": ("$.利用者", '{"利用者": "1"}', ["1"]),
    "every element": ("$.ids[*]", '{"ids": ["1", "2"]}', ["1", "2"]),
    "every element's member": ("$.users[*].id", '{"users": [{"id": "1"}, {"id": "2"}]}', ["1", "2"]),
    "every member's": ("$.users.*.id", '{"users": {"a": {"id": "1"}, "b": {"id": "2"}}}', ["1", "2"]),
    "the first element": ("$.params[0].id", '{"params": [{"id": "1"}, {"id": "2"}]}', ["1"]),
    "the last element": ("$.params[-1]", '{"params": ["1", "2"]}', ["2"]),
    "an element of the document": ("$[1]", '["1", "2"]', ["2"]),
    "a member wherever it stands": ("$..id", '{"id": "1", "a": [{"id": "2"}], "b": {"c": {"id": "3"}}}', list("123")),
    "below a member": ("$.a..id", '{"id": "1", "a": [{"id": "2"}]}', ["2"]),
    "an array as it is": ("$.ids", '{"ids": ["1"]}', [["1"]]),
    "nothing as it is": ("$.id", '{"id": null}', [None]),
    "a name that is alike, elsewhere": ("$.user.id", '{"ID": "2", "user": {"id": "1"}, "a": {"Id": 3}}', ["1"]),
    "a name that is near": ("$.id", '{"id": "1", "ids": "2", "i": "3"}', ["1"]),
}

REFUSED: dict[str, tuple[str, str, Reason]] = {
    "no member": ("$.id", "{}", Reason.SUBJECT_MISSING),
    "an array where an object should be": ("$.user.id", '{"user": [{"id": "1"}]}', Reason.SUBJECT_MISSING),
    "a text where an object should be": ("$.user.id", '{"user": "id"}', Reason.SUBJECT_MISSING),
    "a document that is a text of JSON": ("$.id", '"{\\"id\\": \\"1\\"}"', Reason.SUBJECT_MISSING),
    "a document that is a text": ("$[0]", '"abc"', Reason.SUBJECT_MISSING),
    "a document that is nothing": ("$.id", "null", Reason.SUBJECT_MISSING),
    "no element": ("$.users[*].id", '{"users": []}', Reason.SUBJECT_MISSING),
    "an index behind the last": ("$[2]", '["1", "2"]', Reason.SUBJECT_MISSING),
    "an index before the first": ("$[-3]", '["1", "2"]', Reason.SUBJECT_MISSING),
    "an index of an object": ("$[0]", '{"0": "1"}', Reason.SUBJECT_MISSING),
    "an element of a text": ("$.a[0]", '{"a": "xyz"}', Reason.SUBJECT_MISSING),
    "every element of a text": ("$.a[*]", '{"a": "xyz"}', Reason.SUBJECT_MISSING),
    "one record without it": ("$.users[*].id", '{"users": [{"id": "1"}, {}]}', Reason.SUBJECT_MISSING),
    "one record that is none": ("$.users[*].id", '{"users": [{"id": "1"}, 2]}', Reason.SUBJECT_MISSING),
    "one of the lists empty": ("$[*].ids[*]", '[{"ids": ["1"]}, {"ids": []}]', Reason.SUBJECT_MISSING),
    "nowhere": ("$..id", '{"a": [{"b": 1}]}', Reason.SUBJECT_MISSING),
    "another letter case beside it": ("$.id", '{"id": "1", "ID": "2"}', Reason.SUBJECT_MALFORMED),
    "another letter case in its place": ("$.id", '{"Id": "2"}', Reason.SUBJECT_MALFORMED),
    "another letter case above it": ("$.user.id", '{"user": {"id": "1"}, "User": {}}', Reason.SUBJECT_MALFORMED),
    "in one of the records": ("$[*].id", '[{"id": "1"}, {"id": "2", "iD": "3"}]', Reason.SUBJECT_MALFORMED),
    "anywhere below": ("$..id", '{"id": "1", "a": [{"ID": "2"}]}', Reason.SUBJECT_MALFORMED),
    "another spelling": ("$.userId", '{"userId": "1", "user_id": "2"}', Reason.SUBJECT_MALFORMED),
    "with a hyphen": ("$.user_id", '{"user_id": "1", "user-id": "2"}', Reason.SUBJECT_MALFORMED),
    "a Kelvin sign": ("$.key", '{"key": "1", "\u212aey": "2"}', Reason.SUBJECT_MALFORMED),
    "a long s": ("$.ids", '{"ids": "1", "id\u017f": "2"}', Reason.SUBJECT_MALFORMED),
}

NO_PATHS = {
    "nothing": "",
    "a name": "id",
    "a JSON Pointer": "/user/id",
    "no name behind the dot": "$.user.",
    "an open bracket": "$.user[",
    "a blank in front": " $.id",
    "a blank behind": "$.id ",
    "two paths": "$.id | $.name",
    "names, which are no standard": "$.user.~",
    "a query in brackets, which is no standard": "$[id]",
    "the whole body": "$",
    "a filter": "$.users[?@.kind == 'person'].id",
    "a pattern": "$.users[?match(@.id, '(a*)*b')].id",
    "a slice": "$.ids[0:2]",
    "two names": "$['id', 'name']",
    "every value below": "$..*",
    "an index of everything below": "$..[0]",
    "two descents": "$..user..id",
    "too many steps": "$" + ".a" * 33,
    "too many characters": "$." + "a" * MAX_LENGTH,
    "brackets without end": "$[" * 400,
}


@pytest.mark.parametrize(("path", "document", "values"), FOUND.values(), ids=FOUND)
def test_a_path_leads_to_values(path: str, document: str, values: list[Any]) -> None:
    assert compile_selector(path).find(json.loads(document)) == values


@pytest.mark.parametrize(("path", "document", "reason"), REFUSED.values(), ids=REFUSED)
def test_where_a_path_may_lead_elsewhere_there_is_a_reason(path: str, document: str, reason: Reason) -> None:
    assert compile_selector(path).find(json.loads(document)) is reason


@pytest.mark.parametrize("path", NO_PATHS.values(), ids=NO_PATHS)
def test_what_may_not_find_subjects_is_refused_with_a_sentence(path: str) -> None:
    with pytest.raises(ValueError, match=r"JSONPath|whole body|steps|descends|select every element") as caught:
        compile_selector(path)
    assert "\n" not in str(caught.value)


def test_no_more_values_are_followed_than_may_be() -> None:
    path = compile_selector("$[*].id")
    records = [{"id": "1"}] * MAX_VALUES

    assert path.find(records) == ["1"] * MAX_VALUES
    assert path.find([*records, {"id": "1"}]) is Reason.SUBJECTS_EXCEEDED
    assert compile_selector("$..id").find([*records, {"id": "1"}]) is Reason.SUBJECTS_EXCEEDED


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("$.users[*].id", "$.users[*].country", True),
        ("$.id", "$['country']", True),
        ("$..user.id", "$..user.country", True),
        ("$.users[*].id", "$.country", False),
        ("$.ids[*]", "$.countries[*]", False),
        ("$..id", "$..country", False),
    ],
)
def test_paths_to_members_of_the_same_objects_have_a_stem(one: str, other: str, *, together: bool) -> None:
    stem = compile_selector(one).stem
    assert (stem is not None and stem == compile_selector(other).stem) is together


NAMES = st.sampled_from(["a", "b", "c", "0", "a b"])
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | NAMES,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(NAMES, below, max_size=3),
    max_leaves=20,
)
STEPS = st.sampled_from([".a", ".b", "['0']", "['a b']", "[0]", "[1]", "[-1]", "[*]", ".*", "..a", "..['b']"])


@given(st.lists(STEPS, min_size=1, max_size=4).map("".join), DOCUMENTS)
def test_what_is_found_is_what_the_library_finds(steps: str, document: Any) -> None:
    assume(steps.count("..") < 2)
    found = compile_selector(f"${steps}").find(document)
    expected = [] if isinstance(document, str) else LIBRARY.findall(f"${steps}", document)

    if isinstance(found, Reason):
        assert found is Reason.SUBJECT_MISSING
        assert expected == [] or "*" in steps or ".." in steps
    else:
        assert found == expected


@given(st.text(max_size=20) | st.text(alphabet="$.[]*'a0?@:,", max_size=20))
def test_compiling_finds_a_path_or_says_why_not(text: str) -> None:
    try:
        path = compile_selector(text)
    except ValueError as error:
        assert str(error)  # noqa: PT017 - either is right
    else:
        assert path.steps


@given(STEPS, st.text(max_size=5) | DOCUMENTS)
def test_following_never_raises(step: str, document: Any) -> None:
    found = compile_selector(f"${step}").find(document)
    assert isinstance(found, Reason) or found
