# SPDX-License-Identifier: Apache-2.0
"""A small bundle that loads, edits of it, and what is wrong with a folder."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeAlias

import proxy
from proxy.bundle.check import load_bundle
from proxy.bundle.snapshot import Snapshot
from proxy.errors import BundleError

Load: TypeAlias = Callable[[Mapping[str, str]], Snapshot]
"""Loads a bundle of these files."""
Problems: TypeAlias = Callable[[Mapping[str, str]], list[str]]
"""Tells what is wrong with a bundle of these files."""
REFERENCE: Final = Path(proxy.__file__).parents[1] / "policies"

SMALL: Final[Mapping[str, str]] = {
    "bundle.yaml": """\
language: 1
bundle: small
ties: [employer, residence, control]
files:
  parties.yaml: [issuers, affiliates, country_sets, control_rules, networks, trusted_proxies]
  apis.yaml: [apis]
  rules.yaml: [rules]
  cases.yaml: [tests]
""",
    "parties.yaml": """\
issuers:
  - id: corp
    operated_by: home-co
    issuer: https://idp.example.jp
    audience: [gateway]
    jwks: https://idp.example.jp/jwks.json
    algorithms: [ES256]
    may_assert: {affiliate: any}
    attributes:
      affiliate: affiliate
      kind: kind
      residence: residence
      groups: {claim: groups, absent: empty}
affiliates:
  - id: home-co
    country: JP
    home: true
  - id: branch
    country: KR
    roles: [subsidiary]
    owners: [{id: home-co, share: 100}]
    works_for: [home-co]
country_sets:
  china: [CN, HK]
control_rules:
  - id: majority
    threshold: 50
    default: true
networks:
  - id: office
    cidr: [10.1.0.0/16]
    country: JP
trusted_proxies: [127.0.0.1/32]
""",
    "apis.yaml": """\
apis:
  - id: users
    upstream: {url: "http://127.0.0.1:9000", hosted_in: JP}
    routes:
      - id: user
        methods: [GET]
        path: /v1/{country}/users/{user_id}
        action: read
        subject:
          country: "{country}"
          id: "{user_id}"
          authoritative: {by: users-team, review_by: 2027-06-30}
        parameters: {country: "[a-z]{2}"}
        fields: {"$.name": user.name}
""",
    "rules.yaml": """\
rules:
  - id: no-china
    effect: deny
    when:
      subject.country: JP
      caller.countries: {any: $china}
  - id: staff
    effect: allow
    when:
      caller.affiliate: home-co
      caller.kind: employee
""",
    "cases.yaml": """\
tests:
  - name: our employee reads
    given:
      caller: {affiliate: home-co, kind: employee, residence: JP}
      origin: {country: JP}
      request: GET /v1/jp/users/42
    expect: {effect: allow, rule: staff}
""",
}


def edited(*edits: tuple[str, str, str], files: Mapping[str, str] = SMALL) -> dict[str, str]:
    """Return the files with each ``(file, old, new)`` put in place once; the old text must be there."""
    result = dict(files)
    for file, old, new in edits:
        assert old in result[file], f"{old!r} is not in {file}"
        result[file] = result[file].replace(old, new, 1)
    return result


def write_bundle(folder: Path, files: Mapping[str, str] = SMALL) -> Path:
    """Write the files and return the folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def problems_of(folder: Path) -> list[str]:
    """Return every problem that the loader tells, file names relative to the folder; none if it loads."""
    try:
        load_bundle(folder)
    except BundleError as error:
        return [problem.removeprefix(f"{folder}/") for problem in error.problems]
    return []


def problems_after(folder: Path, *edits: tuple[str, str, str], files: Mapping[str, str] = SMALL) -> list[str]:
    """Return what the loader tells of the small bundle after edits."""
    return problems_of(write_bundle(folder, edited(*edits, files=files)))


def place_of(files: Mapping[str, str], file: str, text: str) -> str:
    """Return ``file:line:column:`` of the only place where a text stands."""
    assert files[file].count(text) == 1, f"{text!r} stands {files[file].count(text)} times in {file}"
    before = files[file][: files[file].index(text)]
    return f"{file}:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}:"


_BY_ALLOW: Final = "  rules/allow.yaml: [rules]\n"


def a_bundle(folder: Path, *, manifest: str = "", **registers: str) -> Snapshot:
    """Load the reference bundle, without its tests, and with more registers."""
    for source in REFERENCE.rglob("*.yaml"):
        target = folder / source.relative_to(REFERENCE)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    text = (folder / "bundle.yaml").read_text(encoding="utf-8").replace("  tests/line-2021.yaml: [tests]\n", "")
    (folder / "tests" / "line-2021.yaml").unlink()
    for register, content in registers.items():
        text = text.replace(_BY_ALLOW, f"{_BY_ALLOW}  more-{register}.yaml: [{register}]\n")
        (folder / f"more-{register}.yaml").write_text(f"{register}:\n{content}", encoding="utf-8")
    if manifest:
        text = text.replace("mode: enforce ", f"{manifest}\n# ")
    (folder / "bundle.yaml").write_text(text, encoding="utf-8")
    return load_bundle(folder)
