# SPDX-License-Identifier: Apache-2.0
from typing import Final

import pytest

from proxy.model.inspection import Beyond, Field, Member
from proxy.model.json_path import EVERY
from proxy.redaction.places import Place, find_unit, locate, unit_steps
from tests.support.filtering import declare, path


def at(root: Place, *steps: str) -> Place | None:
    place: Place | None = root
    for step in steps:
        if place is None:
            return None
        place = place.others if step == "*" else place.names.get(step, place.others)
    return place


LIST: Final = locate(declare(records="$.users[*]", members={"$.page.size": Beyond.NOTHING}))


def test_what_is_declared_stands_where_it_is_declared() -> None:
    users, unit = at(LIST, "users"), at(LIST, "users", "*")
    name, size = at(LIST, "users", "*", "name"), at(LIST, "page", "size")
    assert users is not None
    assert (users.leads_to_records, users.leaf, users.needed, LIST.needed) == (True, None, None, "users")
    assert unit is not None
    assert (unit.is_unit, unit.is_record) == (True, True)
    assert name is not None
    assert isinstance(name.leaf, Field)
    assert size is not None
    assert isinstance(size.leaf, Member)
    assert at(LIST, "debug") is None
    assert at(LIST, "users", "*", "phone") is None


def test_without_a_wildcard_the_document_is_the_unit() -> None:
    root = locate(declare(records="$.user"))
    user = at(root, "user")
    assert user is not None
    assert (root.is_unit, root.is_record, user.is_unit, user.is_record) == (True, False, False, True)


def test_a_unit_is_the_element_that_a_record_stands_in() -> None:
    declared = declare(records="$.edges[*].node", members={"$.edges[*].cursor": "after"})
    root = locate(declared)
    edge, cursor = at(root, "edges", "*"), at(root, "edges", "*", "cursor")
    assert edge is not None
    assert (edge.is_unit, edge.is_record, edge.needed) == (True, False, "node")
    assert cursor is not None
    assert isinstance(cursor.leaf, Member)
    assert find_unit(root, declared.records) is edge


def test_within_a_record_its_fields_alone_are_declared() -> None:
    root = locate(declare(records="$[*]", members={"$[*].secret": Beyond.NOTHING}))
    assert at(root, "*", "secret") is None


def test_a_name_and_a_wildcard_both_lead_on() -> None:
    root = locate(declare({"$.x": "user.x"}, records="$.users.*", members={"$.users.total": Beyond.TOTAL}))
    total = at(root, "users", "total")
    assert total is not None
    assert total.is_unit, "what may be a record is judged as one"
    assert find_unit(root, path("$.users.*")) is not total


@pytest.mark.parametrize(("text", "steps"), [("$", 0), ("$.a.b", 0), ("$[*]", 1), ("$.a[*].b.c[*].d", 5)])
def test_the_way_to_the_units_ends_with_the_last_wildcard(text: str, steps: int) -> None:
    assert unit_steps(path(text)) == steps
    assert not steps or path(text)[steps - 1] is EVERY
