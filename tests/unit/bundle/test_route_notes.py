# SPDX-License-Identifier: Apache-2.0
"""What ``check`` tells of routes although it is no problem."""

from pathlib import Path

import pytest

from proxy.bundle.apis import ApiEntry, check_apis, compile_apis
from proxy.bundle.check import load_bundle
from proxy.bundle.route_notes import find_route_notes
from tests.support.api_entries import SEARCH, UPSTREAM, VOUCHED, a_route, compiled
from tests.support.bundle_folder import edited, problems_of, write_bundle

MASK = "{{id: r, effect: mask, when: {{{when}}}, transforms: {{{transforms}}}}}"
WITHOUT_FIELDS = """\
      - id: bare
        methods: [GET]
        path: /v1/bare/{user_id}
        action: export
        subject: {country: JP, id: "{user_id}", authoritative: {by: users-team, review_by: 2027-06-30}}
"""
PHONE = '{"$.name": user.name, "$.contact": user.contact}'


def notes_of(folder: Path, when: str, transforms: str, *edits: tuple[str, str, str]) -> list[str]:
    """Return the notes of a bundle with one mask rule and two routes: `user` has fields, `bare` has none."""
    rule = MASK.format(when=when, transforms=transforms)
    files = edited(
        ("rules.yaml", "rules:\n", f"rules:\n  - {rule}\n"),
        ("apis.yaml", '{"$.name": user.name}\n', f"{PHONE}\n{WITHOUT_FIELDS}"),
        *edits,
    )
    return [note for note in load_bundle(write_bundle(folder, files)).notes if note.startswith("rule r asks")]


REFUSED = "what it applies to is refused there"


@pytest.mark.parametrize(
    ("when", "transforms", "expected"),
    [
        pytest.param("subject.country: JP", "user.name: redact",
                     [f"rule r asks redact of user.name, of which route bare declares no field: {REFUSED}"],
                     id="a route without fields"),
        pytest.param("subject.country: JP", "user: redact",
                     [f"rule r asks redact of user, of which route bare declares no field: {REFUSED}"],
                     id="fields below the category"),
        pytest.param("action: read", "user.name: redact, user.contact.phone_number: mask", [],
                     id="a field at the category, and one above"),
        pytest.param("resource.route: bare", "user.name: mask",
                     [f"rule r asks mask of user.name, of which route bare declares no field: {REFUSED}"],
                     id="a rule of that route"),
        pytest.param("resource.route: user", "user.name: mask", [], id="a rule of another route"),
        pytest.param("action: export, resource.hosted_in: KR", "user.name: mask", [], id="a rule of another place"),
    ],
)  # fmt: skip
def test_a_mask_without_a_place_to_act_is_told(tmp_path: Path, when: str, transforms: str, expected: list[str]) -> None:
    assert notes_of(tmp_path, when, transforms) == expected


def test_of_two_categories_the_one_without_a_place_is_told(tmp_path: Path) -> None:
    another = ("apis.yaml", WITHOUT_FIELDS, f'{WITHOUT_FIELDS}        fields: {{"$.id": user.unique_id}}\n')
    assert notes_of(tmp_path, "always: true", "user.name: redact, user.unique_id: redact", another) == [
        f"rule r asks redact of user.unique_id, of which route user declares no field: {REFUSED}",
        f"rule r asks redact of user.name, of which route bare declares no field: {REFUSED}",
    ]


def test_a_mask_of_what_a_route_does_not_carry_does_not_apply_to_it(tmp_path: Path) -> None:
    another = ("apis.yaml", WITHOUT_FIELDS, f'{WITHOUT_FIELDS}        fields: {{"$.id": user.unique_id}}\n')
    assert notes_of(tmp_path, "always: true", "user.unique_id: redact", another) == []


def test_many_routes_are_counted(tmp_path: Path) -> None:
    more = "".join(WITHOUT_FIELDS.replace("bare", f"bare{number}") for number in range(5))
    another = ("apis.yaml", WITHOUT_FIELDS, more)
    (note,) = notes_of(tmp_path, "always: true", "user.name: redact", another)
    assert "route bare0, route bare1, route bare2 and 2 more declare no field" in note


def test_a_route_of_several_upstreams_whose_subject_only_the_answer_tells() -> None:
    api = {"id": "users", "upstreams": {"JP": UPSTREAM, "default": UPSTREAM}}
    routes = [
        a_route(SEARCH, id="late"),
        a_route({"country": {"answer_header": "X-C"}}, id="later", path="/a"),
        a_route({"country": "{c}", "confirm": "$.c"}, id="claimed", path="/b/{c}"),
        a_route({"id": "{id}", "lookup": "staff"}, id="known", path="/c/{id}"),
    ]
    entry = ApiEntry.model_validate({**api, "routes": routes})
    assert check_apis([entry]) == []
    notes = find_route_notes(compile_apis([entry], {})[1], ())
    assert notes == tuple(
        f"route {id_} is served by the default upstream of users, whoever it is about: "
        "only its answer tells the country"
        for id_ in ("late", "later")
    )


def test_a_search_by_its_body_is_told() -> None:
    route = compiled(a_route(SEARCH, methods=["POST"], reads_only=VOUCHED))
    (note,) = find_route_notes([route], ())
    assert note.startswith("route user is searched by its body, too")
    assert find_route_notes([compiled(a_route(SEARCH))], ()) == ()


def test_a_subject_is_not_looked_for_where_tokens_stand(tmp_path: Path) -> None:
    files = edited(
        ("parties.yaml", "    algorithms: [ES256]\n", "    algorithms: [ES256]\n    token_place: {header: X-Token}\n"),
        ("apis.yaml", 'country: "{country}"', "country: {header: x-token}"),
    )
    (problem,) = problems_of(write_bundle(tmp_path, files))
    assert problem == "apis.yaml:10:20: 'x-token' carries tokens: name another field"
