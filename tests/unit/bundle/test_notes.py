# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from proxy.bundle.check import load_bundle
from proxy.bundle.notes import find_identity_notes
from proxy.caller.authorities import Authority
from proxy.caller.clients import ClientEntry
from tests.support.bundle_folder import edited, write_bundle


@pytest.mark.parametrize(
    ("rule", "note"),
    [
        pytest.param(
            "{id: r, effect: deny, when: {caller.groups: {any: [banned]}}}",
            "rule r does not deny whoever lacks the claim behind caller.groups",
            id="a deny that is escaped by leaving a claim out",
        ),
        pytest.param(
            "{id: r, effect: deny, when: {caller.site_country: CN}}",
            "rule r may apply to everybody: no issuer maps caller.site_country",
            id="a deny of what nobody tells",
        ),
        pytest.param(
            "{id: r, effect: mask, transforms: {user: redact}, when: {caller.site_country: CN}}",
            "rule r may apply to everybody: no issuer maps caller.site_country",
            id="a mask of what nobody tells",
        ),
        pytest.param(
            "{id: r, effect: allow, when: {caller.site_country: JP}}",
            "rule r can never allow: no issuer maps caller.site_country",
            id="an allowance of what nobody tells",
        ),
    ],
)
def test_what_could_be_taken_for_something_else_is_noted(tmp_path: Path, rule: str, note: str) -> None:
    snapshot = load_bundle(write_bundle(tmp_path, edited(("rules.yaml", "rules:\n", f"rules:\n  - {rule}\n"))))
    assert any(said.startswith(note) for said in snapshot.notes), snapshot.notes


PEOPLE = "people:\n  - {issuer: corp, subject: sato, affiliate: home-co, kind: employee}\n"
CONSOLE = "clients:\n  - {id: console, issuer: corp, client: lc-prod, affiliate: home-co}\n"


def notes_with(folder: Path, register: str, *edits: tuple[str, str, str]) -> tuple[str, ...]:
    listed = [("bundle.yaml", "cases.yaml: [tests]", "cases.yaml: [tests]\n  who.yaml: [people, clients]")]
    return load_bundle(write_bundle(folder, {**edited(*listed, *edits), "who.yaml": register})).notes


SITE = ("rules.yaml", "rules:\n", "rules:\n  - {id: r, effect: deny, when: {caller.site_country: CN}}\n")
ATTRIBUTES = "    attributes:\n"


def test_what_a_register_tells_is_not_called_unknown_for_want_of_a_claim(tmp_path: Path) -> None:
    assert any("caller.site_country" in note for note in notes_with(tmp_path / "a", CONSOLE, SITE))
    assert not any("caller.site_country" in note for note in notes_with(tmp_path / "b", PEOPLE, SITE))


@pytest.mark.parametrize(
    ("register", "lines", "note"),
    [
        pytest.param(
            CONSOLE, f"    people: required\n{ATTRIBUTES}", "requires a register of people", id="required people"
        ),
        pytest.param(
            PEOPLE, f"    clients: required\n{ATTRIBUTES}", "requires its programs to be", id="required programs"
        ),
        pytest.param(
            CONSOLE, f"    token_type: at+jwt\n{ATTRIBUTES}      client: azp\n", "in client_id", id="the other claim"
        ),
    ],
)
def test_an_issuer_of_whom_nobody_can_be_known_is_noted(tmp_path: Path, register: str, lines: str, note: str) -> None:
    other = PEOPLE if register == CONSOLE else CONSOLE
    edit = ("parties.yaml", ATTRIBUTES, lines)
    assert any(note in said for said in notes_with(tmp_path / "a", register, edit))
    mended = ("parties.yaml", ATTRIBUTES, lines.replace("azp", "client_id"))
    assert not any(note in said for said in notes_with(tmp_path / "b", other, mended))


def test_a_service_that_its_authority_cannot_name_is_noted() -> None:
    authority = Authority("mesh", "ly", "spiffe", "corp.example", frozenset({"ly"}), checks_revocation=False, cas=())
    names = ("spiffe://corp.example/a", "spiffe://other.example/a", "spiffe://Corp.example/a", "lc-prod")
    rows = [ClientEntry(id=f"c{n}", issuer="mesh", client=name, affiliate="ly") for n, name in enumerate(names)]
    rows.append(ClientEntry(id="foreign", issuer="mesh", client=names[0], affiliate="naver"))
    told = find_identity_notes([], rows, [authority], has_people=True)
    assert [note.split()[1] for note in told] == ["c1", "c2", "c3", "foreign"]
    assert "may not assert naver" in told[-1]


def test_what_is_to_be_looked_at_again_is_listed_by_its_date(tmp_path: Path) -> None:
    rule = "rules:\n  - {id: r, effect: deny, when: {action: delete}, review_by: 2026-01-31}\n"
    snapshot = load_bundle(write_bundle(tmp_path, edited(("rules.yaml", "rules:\n", rule))))
    assert [review.what for review in snapshot.overdue("2026-02-01")] == ["rule r"]
    assert snapshot.overdue("2026-01-31") == ()


REGISTER = """
  - {id: expired, country: JP, until: 2020-01-01T00:00:00Z}
  - id: a
    country: JP
    owners: [{id: b, share: 30}, {id: home-co, share: 20, until: 2020-01-01T00:00:00Z}]
    works_for: [{id: home-co, until: 2020-01-01T00:00:00Z}]
  - {id: b, country: JP, owners: [{id: a, share: 60}]}
country_sets:
"""


@pytest.mark.parametrize(
    "note",
    [
        "affiliate expired expired at 2020-01-01T00:00:00.000Z: its people are of no affiliate",
        "affiliate a: the holding of home-co expired at 2020-01-01T00:00:00.000Z: it is nobody's who is known",
        "affiliate a: its work for home-co expired at 2020-01-01T00:00:00.000Z",
        "affiliates a and b hold one another in a circle: review what they are worth",
        "affiliate a: b holds 30 per cent: a minority to watch",
    ],
)
def test_what_to_review_among_the_affiliates_is_noted(tmp_path: Path, note: str) -> None:
    snapshot = load_bundle(write_bundle(tmp_path, edited(("parties.yaml", "\ncountry_sets:\n", REGISTER))))
    assert note in snapshot.notes


def test_a_tunnel_is_told(tmp_path: Path) -> None:
    tunnel = ("apis.yaml", '        fields: {"$.name": user.name}', "        upgrade: [websocket]")
    told = "route user opens a tunnel (websocket): what passes in it is neither inspected nor recorded"
    assert told in load_bundle(write_bundle(tmp_path / "a", edited(tunnel))).notes
    assert not any("tunnel" in note for note in load_bundle(write_bundle(tmp_path / "b")).notes)
