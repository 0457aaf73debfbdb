# SPDX-License-Identifier: Apache-2.0
"""Every key, reference and country of ``policies/`` is broken, one at a time: ``check`` names the file and the line."""

import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Final, NamedTuple

import pytest
import yaml

from proxy.bundle.check import load_bundle
from proxy.lifecycle.cases import Cases
from proxy.origin.geoip import RegistryGeolocator
from tests.support.bundle_folder import REFERENCE, edited, problems_of, write_bundle

FILES: Final = {
    str(path.relative_to(REFERENCE)): path.read_text(encoding="utf-8") for path in sorted(REFERENCE.rglob("*.yaml"))
}


class Spot(NamedTuple):
    """A scalar of the bundle."""

    file: str
    path: str
    text: str
    line: int
    column: int
    start: int
    end: int

    @property
    def name(self) -> str:
        return f"{self.file}:{self.line}:{self.column} {self.path}"


def _spot(file: str, path: str, node: yaml.ScalarNode) -> Spot:
    mark = node.start_mark
    return Spot(file, path, node.value, mark.line + 1, mark.column + 1, mark.index, node.end_mark.index)


def _walk(file: str, node: yaml.Node | None, path: str) -> Iterator[tuple[bool, Spot]]:
    """Yield every scalar, and whether it is a key."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield True, _spot(file, f"{path}/{key.value}", key)
            yield from _walk(file, value, f"{path}/{key.value}")
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _walk(file, value, f"{path}/{index}")
    elif isinstance(node, yaml.ScalarNode):
        yield False, _spot(file, path, node)


SPOTS: Final = [
    found for file, text in FILES.items() for found in _walk(file, yaml.compose(text, Loader=yaml.SafeLoader), "")
]
KEYS: Final = [spot for is_key, spot in SPOTS if is_key]

# What is free: no other place says what it must be.
FREE_KEYS: Final = re.compile(
    r"/country_sets/[\w-]+|/include/\w+|.*/(fields|envelope)/[^/]+|/tests/\d+/expect/transforms/[^/]+"
)
FREE_VALUES: Final = re.compile(
    r"""
    /bundle | /pack | .*/title | .*/name | .*/reason | .*/owner | .*/by | .*/references/\d+     # words for people
    | /(rules|issuers|networks|apis|control_rules|affiliates|lookups)/\d+/id | .*/routes/\d+/id # declarations
    | /issuers/\d+/(issuer|jwks|audience/\d+) | /apis/\d+/upstreams/\w+/url            # the world's
    | /lookups/\d+/(url|select) | .*/subject/(country|id|confirm|country/body) | .*/searchable_by/\d+
    | /issuers/\d+/attributes/\w+(/claim)?                                              # claims of tokens
    | .*groups(/any|/none)?(/\d+)?                                                      # the issuer's groups
    | .*/path | .*/parameters/\w+ | .*/fields/[^/]+ | .*/request | .*/roles/\d+          # see below
    """,
    re.VERBOSE,
)
REFERENCES: Final = [spot for is_key, spot in SPOTS if not is_key and not FREE_VALUES.fullmatch(spot.path)]


def broken(*changes: tuple[Spot, str]) -> dict[str, str]:
    """Return the files with other texts in the places of scalars.

    Unless a test is what is broken, one test of each file is enough: the files load five times as fast.
    """
    whole = any(spot.file.startswith("tests/") for spot, _ in changes)
    files = {file: text if whole else _shorten(file, text) for file, text in FILES.items()}
    for spot, new in sorted(changes, key=lambda change: change[0].start, reverse=True):
        text = files[spot.file]
        quote = text[spot.start] if text[spot.start] in "\"'" else ""
        files[spot.file] = f"{text[: spot.start]}{quote}{new}{quote}{text[spot.end :]}"
    return files


def _shorten(file: str, text: str) -> str:
    return "".join(re.split(r"(?m)^(?=  - name: )", text)[:2]) if file.startswith("tests/") else text


def typos(spots: list[Spot]) -> list[list[Spot]]:
    """Return what to break at a time: one thing, but in files of tests one thing in every test."""
    columns: dict[str, list[Spot]] = {}
    for spot in spots:
        columns.setdefault("/".join([spot.file, *spot.path.split("/")[:3]]), []).append(spot)
    of_tests = [column for column in columns.values() if column[0].path.startswith("/tests/")]
    rounds = [[spot for spot in row if spot] for row in zip_longest(*of_tests)]
    return [*rounds, *([spot] for spot in spots if not spot.path.startswith("/tests/"))]


def name(spots: list[Spot]) -> str:
    return spots[0].name if len(spots) == 1 else f"{spots[0].name} and {len(spots) - 1} like it"


def test_there_is_something_to_break() -> None:
    assert len(KEYS) > 300
    assert len(REFERENCES) > 200
    assert not problems_of(REFERENCE)


@pytest.mark.parametrize("spots", typos([spot for spot in KEYS if not FREE_KEYS.fullmatch(spot.path)]), ids=name)
def test_a_key_with_a_typo_is_named_with_its_place(tmp_path: Path, spots: list[Spot]) -> None:
    problems = problems_of(write_bundle(tmp_path, broken(*((spot, f"{spot.text}x") for spot in spots))))
    places = {problem.split(" ")[0] for problem in problems}
    assert not [s for s in spots if f"{s.file}:{s.line}:{s.column}:" not in places], problems


@pytest.mark.parametrize("spots", typos(REFERENCES), ids=name)
def test_a_value_with_a_typo_is_named_with_its_line(tmp_path: Path, spots: list[Spot]) -> None:
    problems = problems_of(write_bundle(tmp_path, broken(*((spot, f"{spot.text}x") for spot in spots))))
    lines = {":".join(problem.split(":")[:2]) for problem in problems}
    assert not [s for s in spots if f"{s.file}:{s.line}" not in lines], problems


ROLES: Final = [spot for _, spot in SPOTS if re.fullmatch(r"/affiliates/\d+/roles/\d+", spot.path)]


@pytest.mark.parametrize("spot", [spot for spot in ROLES if spot.text == "parent"], ids=lambda s: s.name)
def test_a_role_with_a_typo_is_named_with_its_line(tmp_path: Path, spot: Spot) -> None:
    """A parent whose role is misspelt is no parent: the deny rule about parents would not hold for its people."""
    problems = problems_of(write_bundle(tmp_path, broken((spot, "parnt"))))
    assert any(problem.startswith(f"{spot.file}:{spot.line}:") for problem in problems), problems


COUNTRIES: Final = [spot for spot in REFERENCES if re.fullmatch(r"[A-Z]{2}", spot.text)]


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("UK", "GB"),
        ("EU", "country_sets"),
        ("cn", "CN"),
        ("Japan", "JP"),
        ("JPN", "JP (Japan)"),
        ("null", ""),
        ("", ""),
    ],
)
@pytest.mark.parametrize(
    "spot", {re.sub(r"\d+", "N", spot.path): spot for spot in COUNTRIES}.values(), ids=lambda s: s.name
)
def test_a_wrong_country_says_what_was_meant(tmp_path: Path, spot: Spot, wrong: str, meant: str) -> None:
    problems = problems_of(write_bundle(tmp_path, broken((spot, wrong or "''"))))
    line = [problem for problem in problems if problem.startswith(f"{spot.file}:{spot.line}:")]
    assert any(meant in problem.replace(repr(wrong), "") for problem in line), problems


@pytest.mark.parametrize("spot", [spot for spot in KEYS if "/fields/" in spot.path], ids=lambda s: s.name)
def test_a_field_that_is_no_jsonpath_is_named(tmp_path: Path, spot: Spot) -> None:
    problems = problems_of(write_bundle(tmp_path, broken((spot, spot.text.removeprefix("$.")))))
    assert any(problem.startswith(f"{spot.file}:{spot.line}:{spot.column}: ") for problem in problems), problems


def test_requests_with_a_wrong_method_are_named(tmp_path: Path) -> None:
    spots = [spot for is_key, spot in SPOTS if not is_key and spot.path.endswith("/request")]
    problems = problems_of(write_bundle(tmp_path, broken(*((spot, f"X{spot.text}") for spot in spots))))
    assert len(problems) == len(spots)
    assert all(any(p.startswith(f"{s.file}:{s.line}:{s.column}:") for p in problems) for s in spots)


@pytest.mark.parametrize(
    "spot", [spot for is_key, spot in SPOTS if not is_key and "/parameters/" in spot.path], ids=lambda s: s.name
)
def test_a_pattern_that_is_none_is_named(tmp_path: Path, spot: Spot) -> None:
    problems = problems_of(write_bundle(tmp_path, broken((spot, "["))))
    assert any(problem.startswith(f"{spot.file}:{spot.line}:") for problem in problems), problems


@pytest.mark.parametrize("set_", ["china"])
def test_a_country_set_that_is_renamed_is_missed_wherever_it_is_used(tmp_path: Path, set_: str) -> None:
    problems = problems_of(write_bundle(tmp_path, edited(("affiliates.yaml", f"  {set_}:", "  chine:"), files=FILES)))
    used = sum(text.count(f"${set_}") for text in FILES.values())
    assert sum(f"no country set '${set_}' (did you mean '$chine'?)" in problem for problem in problems) == used


@pytest.mark.parametrize("file", FILES)
def test_a_lost_file_is_a_problem(tmp_path: Path, file: str) -> None:
    folder = write_bundle(tmp_path, FILES)
    (folder / file).unlink()
    assert problems_of(folder)


# Digests.


@pytest.mark.parametrize("file", FILES)
def test_comments_do_not_change_a_digest(tmp_path: Path, file: str) -> None:
    text = "# first\n" + FILES[file].replace("\n\n", "\n# between\n\n") + "# last\n"
    _assert_same_digests(write_bundle(tmp_path, {**FILES, file: text}))


def test_the_order_of_files_and_rules_does_not_change_a_digest(tmp_path: Path) -> None:
    files = dict(FILES)
    for file in ("rules/deny.yaml", "rules/allow.yaml"):
        head, *rules = re.split(r"(?m)^(?=  - id: )", FILES[file])
        files[file] = head + "".join(f"{rule.rstrip()}\n" for rule in rules[::-1])
    head, _, listed = FILES["bundle.yaml"].partition("files:\n")
    files["bundle.yaml"] = head + "files:\n" + "".join(sorted(listed.splitlines(keepends=True), reverse=True))
    assert files["bundle.yaml"] != FILES["bundle.yaml"]
    _assert_same_digests(write_bundle(tmp_path, files))


def test_rules_in_another_file_do_not_change_a_digest(tmp_path: Path) -> None:
    files = dict(FILES)
    del files["rules/deny.yaml"]
    files["rules/allow.yaml"] += FILES["rules/deny.yaml"].partition("rules:\n")[2]
    files["bundle.yaml"] = files["bundle.yaml"].replace("  rules/deny.yaml: [rules]\n", "")
    _assert_same_digests(write_bundle(tmp_path, files))


def _assert_same_digests(folder: Path) -> None:
    before, after = load_bundle(REFERENCE), load_bundle(folder)
    assert (after.policy_digest, after.registers_digest) == (before.policy_digest, before.registers_digest)
    assert [rule.id for rule in after.policy.denies] == [rule.id for rule in before.policy.denies]


# The example of DESIGN.md, section 3.

EXAMPLE: Final = {
    "bundle.yaml": """\
language: 1
bundle: design
ties: [employer, residence, control]
files:
  all.yaml: [issuers, country_sets, affiliates, control_rules, networks, trusted_proxies, apis, rules, tests]
""",
    "all.yaml": """\
issuers:                          # whom we trust to say who the caller is, and what they may say
  - id: corp
    operated_by: ly               # who administers this identity provider is itself a fact
    issuer: https://idp.example.jp
    audience: [pii-gateway]
    jwks: https://idp.example.jp/jwks.json        # or file:keys/corp.jwks.json
    algorithms: [RS256, ES256, EdDSA]             # asymmetric only unless spelled out
    may_assert: {affiliate: any}                  # a value outside is Unknown; a parent's IdP says only [naver]
    people: optional              # required: no live row in the people register -> affiliate Unknown
    attributes:                                   # caller attribute <- claim (JMESPath)
      id: sub
      affiliate: affiliate
      kind: employment_type
      residence: residence_country
      groups: {claim: groups, absent: empty}
      client: azp

country_sets:
  china: [CN, HK, MO]

affiliates:                       # entities, who owns them, for whom they work
  - {id: ly, name: LY Corporation, country: JP, home: true}
  - {id: line-plus, country: KR, owners: [{id: ly, share: 100}]}
  - {id: shanghai-digital, country: CN, roles: [subsidiary], owners: [{id: line-plus, share: 100}]}
  - {id: tokyo-bpo, country: JP, roles: [contractor], works_for: [ly], owners_complete: true}
  - {id: dalian-bpo, country: CN, roles: [subcontractor], works_for: [tokyo-bpo]}
control_rules:                    # named ways to compute who controls whom
  - {id: majority, threshold: 50, comparator: ">=", propagation: cascade, default: true}

networks:                         # private addresses have no GeoIP: say where they are
  - {id: tokyo-office, cidr: [10.20.0.0/16], country: JP}
trusted_proxies: [10.1.0.0/24]    # may not overlap a network unless that network says proxies: true

apis:
  - id: users
    hosts: [users.internal]       # required when there is more than one API
    upstream: {url: "http://127.0.0.1:9000", hosted_in: JP}
    routes:
      - id: get-user
        methods: [GET]
        path: /v1/{country}/users/{user_id}
        action: read              # unsafe methods may not call themselves read
        subject: {country: "{country}", id: "{user_id}", authoritative: {by: users-team, review_by: 2027-06-30}}
        fields: {"$.name": user.name, "$.phone": user.contact.phone_number, "$.id": user.unique_id}

rules:
  - id: jp-no-china
    effect: deny
    title: No China-based affiliate or contractor reads Japanese users' records
    when: {subject.country: JP, caller.countries: {any: $china}}
    severity: critical
    references: ["LINE, 2021-03-23"]
  - id: jp-not-from-china
    effect: deny
    title: Nor anyone while in China
    when: {subject.country: JP, origin.country: {any: $china}}
  - id: ly-staff-read
    effect: allow
    when: {caller.affiliate: ly, caller.kind: employee, resource.api: users, action: read}

tests:
  - name: a Shanghai engineer cannot read a Japanese user
    given: {caller: {affiliate: shanghai-digital, kind: employee}, origin: {country: JP}, request: GET /v1/jp/users/42}
    expect: {effect: deny, rule: jp-no-china, certainty: matched}
""",
}
ROUTE: Final = """\
      - id: search-users
        methods: [GET]
        path: /v1/users
        action: read
        subject: {records: "$.users[*]", country: "$.country", id: "$.id"}
        fields: {"$.name": user.name, "$.id": user.unique_id}
        on_denied: drop
        searchable_by: [name]

rules:
"""
MASK: Final = """\
rules:
  - id: jp-contact-masked-abroad
    effect: mask
    liftable: true
    when: {subject.country: JP, origin.country: {none: [JP]}}
    transforms: {user.contact: redact, user.unique_id: pseudonymise}
"""
PURPOSE: Final = """
purposes:
  - {id: law-enforcement, may_claim: {caller.groups: {any: [privacy-team]}}, needs: case}

"""
GRANT: Final = """
grants:                           # dated, scoped, approved exceptions
  - id: LE-2021-003
    lifts: [jp-contact-masked-abroad]
    when: {caller.affiliate: ly, caller.groups: {any: [privacy-team]}, purpose: law-enforcement}
    subjects: ["users:8f1c"]      # keyed hashes, written by `sekisho grant new`
    approved_by: ["corp|alice", "corp|bob"]       # two, neither of them the caller
    from: 2021-11-01T00:00:00+09:00
    until: 2021-11-08T00:00:00+09:00

"""
INVARIANT: Final = """
invariants:                       # what no rule change may ever make possible
  - {id: china-never-reads-japan, never: allow, when: {subject.country: JP, caller.countries: {any: $china}}}

"""
ALL_REGISTERS: Final = ("bundle.yaml", "rules, tests]", "rules, purposes, grants, invariants, tests]")


def with_all(*edits: tuple[str, str]) -> dict[str, str]:
    """Return the example of the design with all of its registers, and edits of it."""
    more = ("all.yaml", "\ntests:", f"{PURPOSE}{GRANT}{INVARIANT}tests:")
    mask = ("all.yaml", "\nrules:\n", f"\n{MASK}")
    return edited(ALL_REGISTERS, mask, more, *(("all.yaml", old, new) for old, new in edits), files=EXAMPLE)


def test_the_example_of_the_design_loads(tmp_path: Path) -> None:
    assert not problems_of(write_bundle(tmp_path, EXAMPLE))


def test_the_example_of_the_design_loads_with_all_of_its_registers(tmp_path: Path) -> None:
    policy = load_bundle(write_bundle(tmp_path, with_all())).policy
    assert [rule.id for rule in policy.denies] == ["china-never-reads-japan", "jp-no-china", "jp-not-from-china"]
    assert [rule.id for rule in policy.masks] == ["jp-contact-masked-abroad"]
    assert [(grant.id, *grant.lifts) for grant in policy.grants] == [("LE-2021-003", "jp-contact-masked-abroad")]
    assert {purpose.id: purpose.needs_case for purpose in policy.purposes.values()} == {"law-enforcement": True}


def test_the_example_of_the_design_passes_its_own_test(tmp_path: Path) -> None:
    snapshot = load_bundle(write_bundle(tmp_path, EXAMPLE))
    (result,) = (Cases(snapshot, RegistryGeolocator()).run(case) for case in snapshot.cases)
    assert result.passed, result.actual


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("    severity: critical\n", "    unless: [{caller.id: x}]\n", id="unless"),
        pytest.param(
            "{subject.country: JP, caller.countries: {any: $china}}\n    severity",
            "{subject.country: JP, expr: 'caller.kind == \"service\"'}\n    severity",
            id="an expression",
        ),
        pytest.param(
            "    severity: critical\n",
            "    effective: {until: 2027-01-01T00:00:00Z}\n    reopens: true\n",
            id="a deny that ends, and is meant to",
        ),
        pytest.param("    severity: critical\n", "    mode: shadow\n", id="a rule in shadow mode"),
        pytest.param(
            "  - id: ly-staff-read\n",
            "  - id: ly-staff-read\n    basis: {kind: contract, reference: C-1, next_check: 2027-01-01T00:00:00Z}\n",
            id="a legal basis",
        ),
        pytest.param(
            "{subject.country: JP, origin.country: {any", "{purpose: law-enforcement, origin.country: {any",
            id="a rule about a purpose",
        ),
        pytest.param(
            "{subject.country: JP, origin.country: {any",
            "{time: {gt: 2027-01-01T00:00:00Z}, origin.country: {any",
            id="a rule about time",
        ),
        pytest.param("origin.country: {any: $china}", "origin.country: {exists: true}", id="exists"),
        pytest.param("caller.kind: employee, resource", "caller.kind: {glob: e*}, resource", id="glob"),
        pytest.param("origin.country: {any: $china}", "origin.ip: {cidr: [10.0.0.0/8]}", id="a block of addresses"),
        pytest.param(
            "request: GET", "purpose: law-enforcement, case: C-1, grant: LE-2021-003, request: GET",
            id="a test with a purpose, a case and a grant",
        ),
        pytest.param("request: GET", "at: 2021-11-02T00:00:00Z, request: GET", id="a test with a date"),
        pytest.param("{subject.country: JP, origin", "{counts.subjects_1h: {gt: 5}, origin", id="counts"),
        pytest.param("request: GET", "counts: {subjects_1h: 5}, request: GET", id="a test with counts"),
        pytest.param("\nrules:\n", f"\n{ROUTE}", id="records of the response"),
    ],
)  # fmt: skip
def test_a_key_of_the_design_loads(tmp_path: Path, old: str, new: str) -> None:
    assert not problems_of(write_bundle(tmp_path, with_all((old, new))))


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        pytest.param("\ntests:", "\nsubjects: []\n\ntests:", "'subjects'", id="a register of subjects"),
        pytest.param("home: true", "home: true, lei: 529900T8BM49AURSDO55", "'lei'", id="an identifier of an entity"),
    ],
)  # fmt: skip
def test_a_later_key_of_the_example_is_not_yet_supported(tmp_path: Path, old: str, new: str, word: str) -> None:
    files = edited(("all.yaml", old, new), files=EXAMPLE)
    problems = problems_of(write_bundle(tmp_path, files))
    assert any("not yet supported" in problem and word in problem for problem in problems), problems
