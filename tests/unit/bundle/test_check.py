# SPDX-License-Identifier: Apache-2.0
import textwrap
from pathlib import Path
from typing import Final

import pytest

from proxy.bundle.cases import CaseEntry
from proxy.bundle.check import load_bundle, load_case
from proxy.caller.parties import assemble_caller
from proxy.errors import BundleError, UsageError
from proxy.model.decision import Effect
from proxy.model.facts import ABSENT
from proxy.model.origin import Origin
from proxy.model.subject import Subject
from proxy.policy.attributes import Facts
from proxy.policy.evaluate import decide
from tests.support.bundle_folder import SMALL, edited, place_of, problems_after, problems_of, write_bundle
from tests.support.certificates import a_ca, a_list, corp_ca

P, R, A, B, C = "parties.yaml", "rules.yaml", "apis.yaml", "bundle.yaml", "cases.yaml"


def test_a_small_bundle_loads(tmp_path: Path) -> None:
    snapshot = load_bundle(write_bundle(tmp_path))
    assert snapshot.name == "small"
    assert [rule.id for rule in snapshot.policy.denies] == ["no-china"]
    assert [rule.id for rule in snapshot.policy.allows] == ["staff"]
    assert isinstance(snapshot.cases[0], CaseEntry)
    assert snapshot.vocabulary.country_sets == {"china": frozenset({"CN", "HK"})}


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        pytest.param(P, "operated_by: home-co", "operated_by: home", "'home-co'", id="who operates an issuer"),
        pytest.param(P, "id: home-co, share", "id: home-c, share", "'home-co'", id="an owner"),
        pytest.param(P, "works_for: [home-co]", "works_for: [brnch]", "'branch'", id="a principal"),
        pytest.param(P, "share: 100", "share: 100.5", "no share", id="a share over all"),
        pytest.param(P, "country: KR", "country: Korea", "no ISO", id="a country by name"),
        pytest.param(P, "[CN, HK]", "[CN, UK]", "GB", id="a country of a set"),
        pytest.param(P, "[CN, HK]", "[CN, $chna]", "'$china'", id="a set in a set"),
        pytest.param(P, "[CN, HK]", "[CN, [HK]]", "", id="a list in a set"),
        pytest.param(P, "[127.0.0.1/32]", "[0.0.0.0/0]", "trusts", id="a proxy that is everybody"),
        pytest.param(P, "[127.0.0.1/32]", "[10.1.2.0/24]", "'office'", id="a proxy among clients"),
        pytest.param(P, "[127.0.0.1/32]", "[[127.0.0.1/32]]", "block", id="a list of lists of proxies"),
        pytest.param(P, "      kind: kind", "      knd: kind", "'kind'", id="a caller attribute"),
        pytest.param(P, "{affiliate: any}", "{affiliat: any}", "'affiliate'", id="an attribute to assert"),
        pytest.param(P, "{affiliate: any}", "{affiliate: [hom-co]}", "'home-co'", id="an affiliate to assert"),
        pytest.param(P, "{affiliate: any}", "{affiliate: any, residence: [UK]}", "GB", id="a country to assert"),
        pytest.param(P, "{affiliate: any}", "{affiliate: any, kind: [boss]}", "employee", id="a kind to assert"),
        pytest.param(P, "{affiliate: any}", "{affiliate: any, citizenships: [Japan]}", "JP", id="countries to assert"),
        pytest.param(P, "https://idp.example.jp/jwks.json", "file:keys.json", "", id="a key file that is not there"),
        pytest.param(P, "https://idp.example.jp/jwks.json", "file:../keys.json", "", id="a key file outside"),
        pytest.param(P, "https://idp.example.jp/jwks.json", "https:///jwks.json", "", id="a key place without a host"),
        pytest.param(R, "subject.country: JP", "subject.country: UK", "GB", id="a country of a rule"),
        pytest.param(R, "$china", "$chn", "'$china'", id="a set of a rule"),
        pytest.param(R, "caller.affiliate: home-co", "caller.affiliate: homeco", "'home-co'", id="an affiliate"),
    ],
)
def test_a_reference_that_leads_nowhere_names_its_line(
    tmp_path: Path, file: str, old: str, new: str, words: str
) -> None:
    files = edited((file, old, new))
    line = place_of(files, file, new).rsplit(":", 2)[0]
    problems = problems_of(write_bundle(tmp_path, files))
    assert any(problem.startswith(f"{line}:") and words in problem for problem in problems), problems


def test_the_member_of_a_list_is_found_on_its_own_line(tmp_path: Path) -> None:
    block = "may_assert:\n      affiliate:\n        - home-co\n        - branc"
    files = edited((P, "may_assert: {affiliate: any}", block))
    problems = problems_of(write_bundle(tmp_path, files))
    assert [problem.split(" ")[0] for problem in problems] == [place_of(files, P, "branc\n")]


ONE = (R, "effect: deny", "effect: deny\n    titel: x")


@pytest.mark.parametrize(
    ("edits", "places"),
    [
        pytest.param(
            [(P, "country: KR", "country: UK"), (R, "$china", "$chin"), (A, "hosted_in: JP", "hosted_in: JA")],
            ["apis.yaml:3:", "parties.yaml:19:", "rules.yaml:6:"],
            id="in three files",
        ),
        pytest.param(
            [ONE, (R, "subject.country: JP", "subject.country: UK")],
            ["rules.yaml:4:", "rules.yaml:6:"],
            id="a wrong key and a wrong country in one rule",
        ),
        pytest.param(
            [(A, "action: read", "action: read\n        ownr: x"), (A, 'id: "{user_id}"', 'id: "{usr_id}"')],
            ["apis.yaml:9:", "apis.yaml:12:"],
            id="a wrong key and a wrong parameter in one route",
        ),
        pytest.param(
            [(P, "country: KR", "contry: KR"), (P, "works_for: [home-co]", "works_for: [nobody]")],
            ["parties.yaml:18:", "parties.yaml:19:", "parties.yaml:22:"],
            id="a wrong key and a wrong principal in one affiliate",
        ),
        pytest.param(
            [(C, "residence: JP}", "residence: UK}"), (C, "{effect: allow,", "{effect: allow, efect: x,")],
            ["cases.yaml:4:", "cases.yaml:7:"],
            id="a wrong key and a wrong country in one test",
        ),
        pytest.param(
            [(B, "bundle: small", "bundle: small\ntitel: x"), (R, "$china", "$chin")],
            ["bundle.yaml:3:", "rules.yaml:6:"],
            id="in the manifest and in a file",
        ),
        pytest.param(
            [(A, "path: /v1", "path: v1"), (A, '"{user_id}"', '"{usr_id}"')],
            ["apis.yaml:11:", "apis.yaml:7:"],
            id="a wrong path and a wrong parameter",
        ),
    ],
)
def test_every_problem_is_told_at_once(tmp_path: Path, edits: list[tuple[str, str, str]], places: list[str]) -> None:
    problems = problems_after(tmp_path, *edits)
    missing = [place for place in places if not any(problem.startswith(place) for problem in problems)]
    assert not missing, problems


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param((P, "country_sets:", "\tcountry_sets:"), id="a file that is no YAML"),
        pytest.param((P, "affiliates:", "afiliates:"), id="a register misspelt"),
        pytest.param((A, "        action: read", "        acton: read\n        action: read"), id="a key of a route"),
        pytest.param((P, "    roles: [subsidiary]", "    rols: [subsidiary]"), id="a key of an affiliate"),
    ],
)
def test_one_mistake_is_not_told_as_many(tmp_path: Path, edit: tuple[str, str, str]) -> None:
    """What stands in a part that could not be read is not known to be missing."""
    when = "{resource.data: {any: [user]}, caller.affiliate_roles: {any: [subsidiary]}}"
    extra = f"  - id: more\n    effect: deny\n    when: {when}\n"
    files = {**SMALL, R: SMALL[R] + extra}
    assert not problems_of(write_bundle(tmp_path / "sound", files))
    problems = problems_after(tmp_path / "edited", edit, files=files)
    assert problems
    others = [problem for problem in problems if not problem.startswith(edit[0])]
    assert not others


def test_an_id_stands_once_over_all_files(tmp_path: Path) -> None:
    files = edited((B, "  rules.yaml: [rules]", "  rules.yaml: [rules]\n  a.yaml: [rules]"))
    files["a.yaml"] = SMALL[R].partition("  - id: staff")[0]
    (problem,) = problems_of(write_bundle(tmp_path, files))
    assert "the id 'no-china' stands twice, first in" in problem
    assert problem.startswith(("rules.yaml:2:9:", "a.yaml:2:9:"))


def test_a_country_set_stands_once_over_all_files(tmp_path: Path) -> None:
    files = edited((B, "  rules.yaml: [rules]", "  rules.yaml: [rules]\n  a.yaml: [country_sets]"))
    files["a.yaml"] = "country_sets:\n  china: [CN]\n"
    (problem,) = problems_of(write_bundle(tmp_path, files))
    assert "'china' stands twice" in problem
    assert problem.startswith(("a.yaml:2:3:", "parties.yaml:24:3:"))


@pytest.mark.parametrize("name", ["china-and-more", "c", "china2"])
def test_the_name_of_a_country_set_is_an_id(tmp_path: Path, name: str) -> None:
    assert not problems_after(tmp_path, (P, "china: [CN, HK]", f"{name}: [CN]"), (R, "$china", f"${name}"))


@pytest.mark.parametrize("name", ["$china", '""', "<<", "China", "a b"])
def test_the_name_of_a_country_set_that_is_no_id_is_a_problem(tmp_path: Path, name: str) -> None:
    files = edited((P, "china: [CN, HK]", f"china: [CN, HK]\n  {name}: [CN]"))
    problems = problems_of(write_bundle(tmp_path, files))
    assert any(problem.startswith(f"{P}:25:3:") for problem in problems), problems


def test_a_file_may_hold_nothing_but_not_the_wrong_thing(tmp_path: Path) -> None:
    problems = problems_of(write_bundle(tmp_path, {**SMALL, C: "[]\n"}))
    assert problems == ["cases.yaml:1:1: expected a mapping with: tests"]


@pytest.mark.parametrize("shape", ["x", "[x]", "{x: y}", "[[x]]", "[{x: y}]", "''"])
@pytest.mark.parametrize(
    "register",
    ["issuers", "affiliates", "country_sets", "control_rules", "networks", "trusted_proxies", "apis", "rules", "tests"],
)
def test_a_register_of_the_wrong_shape_is_a_problem_in_its_file(tmp_path: Path, register: str, shape: str) -> None:
    file = next(file for file, text in SMALL.items() if f"\n{register}:" in f"\n{text}")
    files = edited((B, f"  {file}:", f"  wrong.yaml: [{register}]\n  {file}:"))
    files["wrong.yaml"] = f"{register}: {shape}\n"
    problems = problems_of(write_bundle(tmp_path, files))
    assert any(problem.startswith("wrong.yaml:1:") for problem in problems), problems


# Digests.


@pytest.mark.parametrize(
    ("edits", "changes"),
    [
        pytest.param([(R, "rules:", "# why\nrules:   # here")], set(), id="comments"),
        pytest.param([(R, "subject.country: JP", 'subject.country: "JP"')], set(), id="quotes"),
        pytest.param([(R, "{any: $china}", "\n        any: $china")], set(), id="layout"),
        pytest.param([(C, "users/42", "users/43")], set(), id="tests"),
        pytest.param([(R, "caller.kind: employee", "caller.kind: contractor")], {"policy"}, id="a rule"),
        pytest.param([(P, "[CN, HK]", "[CN]")], {"policy"}, id="a country set"),
        pytest.param([(B, "[employer, residence, control]", "[employer, control]")], {"policy"}, id="ties"),
        pytest.param(
            [(B, "[employer, residence, control]", "[control, residence, employer]")], set(), id="their order"
        ),
        pytest.param([(P, "threshold: 50", "threshold: 51")], {"policy"}, id="a control rule"),
        pytest.param([(P, "[127.0.0.1/32]", "[127.0.0.2/32]")], {"policy"}, id="a proxy"),
        *(
            pytest.param([("apis.yaml", "        fields:", f"        {said}\n        fields:")], {"policy"}, id=said)
            for said in (
                "answers: ndjson",
                "on_denied: refuse",
                "undeclared: refuse",
                "searchable_by: []",
                "answer_headers: [X-Version]",
            )
        ),
        pytest.param(
            [("apis.yaml", "{by: users-team, review_by: 2027-06-30}", "{by: u, review_by: 2027-06-30}")],
            {"policy"},
            id="who vouches",
        ),
        pytest.param(
            [("apis.yaml", "upstream: {", "upstreams: {default: {"), ("apis.yaml", "JP}", "JP}}")],
            {"policy"},
            id="where it is served",
        ),
        pytest.param([(P, "share: 100", "share: 99")], {"registers"}, id="a share"),
        pytest.param([(P, "[10.1.0.0/16]", "[10.2.0.0/16]")], {"registers"}, id="a network"),
    ],
)
def test_digests_change_with_what_they_cover(
    tmp_path: Path, edits: list[tuple[str, str, str]], changes: set[str]
) -> None:
    before = load_bundle(write_bundle(tmp_path / "a"))
    after = load_bundle(write_bundle(tmp_path / "b", edited(*edits)))
    assert (before.policy_digest != after.policy_digest) is ("policy" in changes)
    assert (before.registers_digest != after.registers_digest) is ("registers" in changes)


# Where a bundle that loads is weaker than it reads.


def test_no_missing_claim_lifts_a_tie(tmp_path: Path) -> None:
    """DESIGN.md 3: deleting a claim never turns a deny into an allow.

    ``absent: empty`` makes a missing residence *known to be none*, so an employee in China who leaves the claim out
    is tied to Japan alone. Either such a mapping does not load, or its caller is still denied.
    """
    files = edited((P, "residence: residence", "residence: {claim: residence, absent: empty}"))
    folder = write_bundle(tmp_path, files)
    try:
        snapshot = load_bundle(folder)
    except BundleError:
        return
    facts = {"affiliate": "home-co", "kind": "employee"}
    effects = []
    for residence in ("CN", ABSENT):
        caller = assemble_caller(None, {**facts, "residence": residence}, snapshot.affiliates.current, principal="")
        resource = snapshot.resources["user"]["JP"]
        given = Facts(caller, Origin(country="JP"), Subject(country="JP", id="42"), resource, "read")
        effects.append(decide(snapshot.policy, given).effect)
    assert effects == [Effect.DENY, Effect.DENY]


def test_a_deny_rule_that_a_missing_claim_escapes_is_noted(tmp_path: Path) -> None:
    """``absent: empty`` lets whoever lacks the claim past ``any`` of a deny rule: ``check`` says so."""
    rule = "  - id: banned\n    effect: deny\n    when: {caller.groups: {any: [banned]}}\n"
    snapshot = load_bundle(write_bundle(tmp_path, {**SMALL, R: SMALL[R] + rule}))
    assert any("banned" in note and "groups" in note for note in snapshot.notes), snapshot.notes


@pytest.mark.parametrize("control", ["", "control_rules: []\n"], ids=["no control rules", "an empty list of them"])
def test_a_lost_control_rule_is_a_problem(tmp_path: Path, control: str) -> None:
    lost = "control_rules:\n  - id: majority\n    threshold: 50\n    default: true\n"
    assert problems_after(tmp_path, (P, lost, control))


def test_a_route_without_personal_data_is_listed(tmp_path: Path) -> None:
    route = textwrap.indent(
        "- {id: up, methods: [GET], path: /up, action: read, subject: none, reason: says it is up, owner: ops}\n",
        "      ",
    )
    snapshot = load_bundle(write_bundle(tmp_path, {**SMALL, A: SMALL[A] + route}))
    assert any("up" in note and "says it is up" in note and "ops" in note for note in snapshot.notes)


# Where this deployment finds its APIs.


def test_an_upstream_of_this_deployment_changes_no_digest(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path)
    there, here = load_bundle(folder), load_bundle(folder, {"users": "http://127.0.0.1:1234"})
    assert here.catalog.apis[0].upstream.url == "http://127.0.0.1:1234"
    assert (here.policy_digest, here.registers_digest) == (there.policy_digest, there.registers_digest)


@pytest.mark.parametrize(
    ("upstreams", "words"),
    [
        ({"user": "http://x"}, "did you mean 'users'"),
        ({"users": "x"}, "no URL"),
        ({"users": "http://x/y"}, "more than"),
    ],
)
def test_an_upstream_that_is_none(tmp_path: Path, upstreams: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        load_bundle(write_bundle(tmp_path), upstreams)


# Grants, purposes, invariants, fixtures.

MORE: Final = {
    **SMALL,
    "bundle.yaml": SMALL["bundle.yaml"].replace("[rules]", "[rules, invariants, purposes, grants, fixtures]"),
    "rules.yaml": SMALL["rules.yaml"].replace(
        "effect: deny", "effect: deny\n    liftable: true\n    review_by: 2026-01-31"
    )
    + """\
invariants:
  - {id: never-there, never: allow, when: {origin.country: RU}}
purposes:
  - {id: audit, may_claim: {caller.groups: {any: [auditors]}}, needs: case}
grants:
  - id: LE-1
    lifts: [no-china]
    when: {caller.affiliate: home-co, purpose: audit}
    subjects: ["users:8f1c"]
    approved_by: ["corp|alice", "corp|bob"]
    from: 2026-01-01T00:00:00Z
    until: 2026-02-01T00:00:00Z
fixtures:
  - {id: us, caller: {affiliate: home-co, kind: employee, residence: JP}, origin: {country: JP}}
""",
    "cases.yaml": """\
tests:
  - name: an auditor reads
    given:
      base: us
      caller: {groups: [auditors]}
      request: GET /v1/jp/users/42
      at: 2026-01-15T00:00:00Z
      purpose: audit
      case: C-1
      grant: LE-1
    expect: {effect: allow, rule: staff, transforms: {}}
""",
}


def test_a_bundle_with_every_register_loads(tmp_path: Path) -> None:
    snapshot = load_bundle(write_bundle(tmp_path, MORE))
    (case,) = snapshot.cases
    assert case.given.base is None
    assert case.given.caller == {"affiliate": "home-co", "kind": "employee", "residence": "JP", "groups": ["auditors"]}
    assert case.given.origin is not None
    assert case.given.origin.country == "JP"
    assert [(rule.id, rule.is_invariant) for rule in snapshot.policy.denies] == [
        ("never-there", True),
        ("no-china", False),
    ]
    places = {what: place.removeprefix(f"{tmp_path}/") for what, place in snapshot.places.items()}
    assert places["grants LE-1"] == "rules.yaml:19"
    assert places["invariants never-there"] == "rules.yaml:15"


def test_what_should_have_been_looked_at_is_overdue_from_the_next_day(tmp_path: Path) -> None:
    snapshot = load_bundle(write_bundle(tmp_path, MORE))
    assert [(review.by, review.what) for review in snapshot.reviews] == [
        ("2027-06-30", "route user"),
        ("2026-01-31", "rule no-china"),
    ]
    assert snapshot.overdue("2026-01-31") == ()
    assert [review.what for review in snapshot.overdue("2026-02-01")] == ["rule no-china"]
    assert [review.what for review in snapshot.overdue("2027-07-01")] == ["rule no-china", "route user"]


def test_whoever_vouches_that_a_post_only_reads_looks_at_it_again(tmp_path: Path) -> None:
    vouched = "methods: [GET, POST]\n        reads_only: {by: users-team, review_by: 2027-01-31}"
    snapshot = load_bundle(write_bundle(tmp_path, edited(("apis.yaml", "methods: [GET]", vouched))))
    what = "route user: that its POST reads only"
    assert [(review.by, review.what) for review in snapshot.reviews] == [
        ("2027-06-30", "route user"), ("2027-01-31", what)
    ]  # fmt: skip
    assert [review.what for review in snapshot.overdue("2027-02-01")] == [what]


def test_nobody_looks_again_at_what_the_answer_tells(tmp_path: Path) -> None:
    edits = [
        ("apis.yaml", "          authoritative: {by: users-team, review_by: 2027-06-30}\n", ""),
        ("apis.yaml", 'country: "{country}"', "country: $.country"),
    ]
    assert load_bundle(write_bundle(tmp_path, edited(*edits))).reviews == ()


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        pytest.param(R, "lifts: [no-china]", "lifts: [no-chin]", "did you mean 'no-china'?", id="a rule to lift"),
        pytest.param(R, "lifts: [no-china]", "lifts: [staff]", "does not say `liftable: true`", id="an allow rule"),
        pytest.param(R, "lifts: [no-china]", "lifts: [never-there]", "no rule", id="an invariant to lift"),
        pytest.param(R, "lifts: [no-china]", "lifts: []", "at least one", id="nothing to lift"),
        pytest.param(R, "corp|bob", "corp|alice", "approves once", id="one who approves twice"),
        pytest.param(R, "corp|bob", "crop|bob", "no person of a declared issuer", id="an approver of nobody's"),
        pytest.param(R, "corp|bob", "bob", "no person of a declared issuer", id="an approver without an issuer"),
        pytest.param(R, ', "corp|bob"', "", "at least", id="one approver"),
        pytest.param(R, "until: 2026-02", "until: 2025-02", "does not come after", id="an end before the beginning"),
        pytest.param(R, "    until: 2026-02-01T00:00:00Z\n", "", "`until` is missing", id="no end"),
        pytest.param(R, "T00:00:00Z\n    until", "T00:00:00\n    until", "offset", id="an instant without an offset"),
        pytest.param(R, '["users:8f1c"]', "[]", "at least one", id="nobody's data"),
        pytest.param(R, "purpose: audit}", "purpose: audti}", "'audit'", id="a purpose"),
        pytest.param(R, "{caller.affiliate: home-co, purpose: audit}", "{}", "empty `when`", id="a grant for all"),
        pytest.param(R, "id: LE-1", "id: any", "word of ours", id="a grant named any"),
        pytest.param(R, "needs: case", "needs: cases", "not one of", id="what a purpose needs"),
        pytest.param(R, "{caller.groups: {any: [auditors]}}", "{purpose: audit}", "cannot depend", id="a purpose of itself"),  # noqa: E501
        pytest.param(R, "never: allow", "never: deny", "not one of: allow", id="what is never"),
        pytest.param(R, "id: never-there", "id: no-china", "is a rule's, too", id="an invariant named as a rule"),
        pytest.param(R, "never: allow", "never: allow, mode: shadow", "unknown key 'mode'", id="an invariant that watches"),  # noqa: E501
        pytest.param(R, "origin.country: RU", "origin.country: UK", "GB", id="a country of an invariant"),
        pytest.param(R, "{id: us,", "{id: US,", "no id", id="a fixture in capitals"),
        pytest.param(R, "residence: JP}", "residence: UK}", "GB", id="a country of a fixture"),
        pytest.param(C, "base: us", "base: uss", "no fixture 'uss'", id="a fixture"),
        pytest.param(C, "purpose: audit", "purpose: audits", "did you mean 'audit'?", id="a purpose of a test"),
        pytest.param(C, "grant: LE-1", "grant: LE-2", "did you mean 'LE-1'?", id="a grant of a test"),
        pytest.param(C, "at: 2026-01-15T00:00:00Z", "at: 2026-01-15", "offset", id="a date for an instant"),
        pytest.param(C, "transforms: {}", "transforms: {user: hide}", "not one of", id="a transform"),
        pytest.param(C, "transforms: {}", "transforms: []", "mapping", id="a list of transforms"),
    ],
)  # fmt: skip
def test_a_register_that_is_wrong_names_file_line_and_column(
    tmp_path: Path, file: str, old: str, new: str, words: str
) -> None:
    problems = problems_after(tmp_path, (file, old, new), files=MORE)
    assert any(problem.startswith(f"{file}:") and words in problem for problem in problems), problems


@pytest.mark.parametrize("again", ["corp|alice ", "corp| alice"])
def test_who_approves_twice_with_a_space_approves_once(tmp_path: Path, again: str) -> None:
    assert problems_after(tmp_path, (R, "corp|bob", again), files=MORE)


def test_rules_of_a_file_that_is_no_yaml_are_not_told_as_missing_in_tests(tmp_path: Path) -> None:
    problems = problems_after(tmp_path, (R, "rules:", "\trules:"))
    assert not [problem for problem in problems if not problem.startswith(R)]


def test_other_keys_are_another_version(tmp_path: Path) -> None:
    edit = (P, "https://idp.example.jp/jwks.json", "file:keys.json")
    digests = set()
    for index, keys in enumerate(("{}", '{"keys": []}')):
        snapshot = load_bundle(write_bundle(tmp_path / str(index), {**edited(edit), "keys.json": keys}))
        digests.add((snapshot.policy_digest, snapshot.registers_digest))
    assert len(digests) == 2


def test_a_case_by_itself_is_read_with_fixtures(tmp_path: Path) -> None:
    snapshot = load_bundle(write_bundle(tmp_path, MORE))
    case = load_case(b"given: {base: us, request: GET /v1/jp/users/1}", "case", snapshot)
    assert case.given.caller["affiliate"] == "home-co"


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b"", "case:1:1: the file is empty"),
        (b"[]", "case:1:1: expected a mapping"),
        (b"given: {}", "case:1:8: `request` is missing"),
        (b"given: {request: GET /x}\nx: y", "case:2:1: unknown key 'x'"),
        (b"given: {request: GET /x, base: you}", "case:1:32: no fixture 'you'"),
        (b"given:\n  request: GET /x\n  caller: {afiliate: x}", "case:3:12: no caller attribute"),
    ],
    ids=["nothing", "a list", "no request", "a key", "a fixture", "an attribute"],
)
def test_a_case_by_itself_that_is_wrong(tmp_path: Path, data: bytes, place: str) -> None:
    snapshot = load_bundle(write_bundle(tmp_path, MORE))
    with pytest.raises(BundleError) as caught:
        load_case(data, "case", snapshot)
    assert any(problem.startswith(place) for problem in caught.value.problems), caught.value.problems


# Authorities over client certificates, whose files lie in the folder.

MESH = """\
certificate_authorities:
  - id: mesh
    operated_by: home-co
    ca: file:certificates/mesh.pem
    crl: [file:certificates/mesh.crl]
    identity: spiffe
    trust_domain: corp.example
    may_assert: {affiliate: any}
"""
CA_FILES = {"certificates/mesh.pem": corp_ca().pem, "certificates/mesh.crl": a_list(corp_ca(), 1).decode()}
WITH_MESH = {
    **edited(
        ("bundle.yaml", "trusted_proxies]", "trusted_proxies, certificate_authorities]"),
        (P, "issuers:\n", f"{MESH}issuers:\n"),
    ),
    **CA_FILES,
}


def test_an_authority_is_loaded_with_its_files_and_its_services_can_be_asked_for(tmp_path: Path) -> None:
    rule = ("rules.yaml", "caller.affiliate: home-co", "caller.issuer: mesh")
    case = (
        "cases.yaml",
        "caller: {affiliate: home-co, kind: employee, residence: JP}",
        "caller: {issuer: mesh, id: x}",
    )
    expect = ("cases.yaml", "expect: {effect: allow, rule: staff}", "expect: {effect: deny, rule: no-china}")
    snapshot = load_bundle(write_bundle(tmp_path, edited(rule, case, expect, files=WITH_MESH)))
    (authority,) = snapshot.authorities
    assert (authority.id, authority.cas[0].lists[0].serials) == ("mesh", (1,))
    assert snapshot.places["certificate_authorities mesh"].endswith(f"{P}:2")


def test_a_wrong_item_of_an_issuers_list_does_not_hide_what_else_is_wrong(tmp_path: Path) -> None:
    wrong = [
        ("parties.yaml", "[ES256]", "[HS256, ES25]\n    token_type: at-jwt"),
        ("parties.yaml", "kind: kind", "kind: a || b"),
        ("parties.yaml", "operated_by: home-co", "operated_by: hom-co"),
    ]
    told = "\n".join(problems_after(tmp_path, *wrong))
    assert all(each in told for each in ("'HS256' is not one of", "'ES25' is not one of", "no affiliate 'hom-co'")), (
        told
    )


def test_a_default_that_is_misspelt_is_told_once(tmp_path: Path) -> None:
    (problem,) = problems_after(tmp_path, ("parties.yaml", "default: true", "default: yes"))
    assert "'yes' is neither true nor false" in problem


def test_another_ca_is_another_policy_and_another_revocation_list_other_facts(tmp_path: Path) -> None:
    renewed = a_ca(key=corp_ca().key).pem  # it is another certificate of the same key: the list is still its own
    variants = [{}, {"certificates/mesh.pem": renewed}, {"certificates/mesh.crl": a_list(corp_ca(), 1, 2).decode()}]
    found = [load_bundle(write_bundle(tmp_path / str(n), {**WITH_MESH, **each})) for n, each in enumerate(variants)]
    first, other_ca, other_list = [(each.policy_digest, each.registers_digest) for each in found]
    assert (first[0] == other_ca[0], first[1] == other_ca[1]) == (False, True)
    assert (first[0] == other_list[0], first[1] == other_list[1]) == (True, False)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("mesh.pem", "none.pem", "there is no file 'certificates/none.pem' inside the policy folder"),
        ("mesh.pem", "mehs.pem", "inside the policy folder (did you mean 'certificates/mesh.pem'?)"),
        ("ca: file:certificates/mesh.pem", "ca: certificates/mesh.pem", "write file:certificates/mesh.pem"),
        ("certificates/mesh.pem", "../mesh.pem", "there is no file '../mesh.pem' inside the policy folder"),
        ("certificates/mesh.pem", "/etc/hostname", "there is no file '/etc/hostname' inside"),
        ("mesh.crl", "none.crl", "there is no file 'certificates/none.crl' inside the policy folder"),
        ("file:certificates/mesh.crl", "file:certificates/mesh.pem", "is no revocation list"),
        ("ca: file:certificates/mesh.pem", "ca: file:certificates/mesh.crl", "holds no PEM certificates"),
        ("id: mesh", "id: corp", "the id 'corp' is an issuer's, too"),
        ("operated_by: home-co", "operated_by: home", "no affiliate 'home'"),
        ("    trust_domain: corp.example\n", "", "needs `trust_domain`"),
        ("may_assert: {affiliate: any}", "may_assert: {affiliate: [nobody]}", "no affiliate 'nobody'"),
        ("identity: spiffe", "identity: email", "is not one of: spiffe, dns, uri"),
    ],
)
def test_an_authority_that_is_wrong_is_told_with_its_place(tmp_path: Path, old: str, new: str, words: str) -> None:
    problems = problems_after(tmp_path, (P, old, new), files=WITH_MESH)
    assert any(problem.startswith(f"{P}:") and words in problem for problem in problems), problems


def test_a_link_that_leads_out_of_the_folder_is_no_file_of_it(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "policies", WITH_MESH)
    (tmp_path / "ca.pem").write_text(corp_ca().pem, encoding="ascii")
    (folder / "certificates" / "mesh.pem").unlink()
    (folder / "certificates" / "mesh.pem").symlink_to(tmp_path / "ca.pem")
    assert any("there is no file" in problem for problem in problems_of(folder))
