# SPDX-License-Identifier: Apache-2.0
"""A bundle knows every file that it was made of, and nothing else."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Final

import pytest

from proxy.bundle.check import load_bundle
from proxy.bundle.snapshot import Snapshot
from tests.support.bundle_folder import REFERENCE, edited, problems_of, write_bundle
from tests.support.certificates import a_list, corp_ca
from tests.support.world import ISSUERS

EVERYTHING: Final = {
    **edited(
        ("bundle.yaml", "trusted_proxies]", "trusted_proxies, certificate_authorities]"),
        ("bundle.yaml", "files:\n", "include: {law: packs/law}\nfiles:\n  tables/people.csv: [people]\n"),
        ("parties.yaml", "jwks: https://idp.example.jp/jwks.json", "jwks: file:./keys/corp.json"),
        ("parties.yaml", "issuers:\n", """\
certificate_authorities:
  - id: mesh
    operated_by: home-co
    ca: file:certificates/mesh.pem
    crl: [file:certificates/../certificates/mesh.crl]
    identity: spiffe
    trust_domain: corp.example
    may_assert: {affiliate: any}
issuers:
"""),
    ),
    "packs/law/pack.yaml": "language: 1\npack: law\nfiles:\n  law.yaml: [rules]\n",
    "packs/law/law.yaml": "rules:\n  - {id: not-there, effect: deny, when: {subject.country: TW}}\n",
    "tables/people.csv": "issuer,subject,affiliate,kind,site_country,residence,citizenships,from,until\n"
                         "corp,e-1,home-co,employee,JP,JP,JP,,\n",
    "keys/corp.json": json.dumps(ISSUERS["corp"].key_set()),
    "certificates/mesh.pem": corp_ca().pem,
    "certificates/mesh.crl": a_list(corp_ca(), 1).decode(),
    "emergency_denies/now.yaml": "# now\nrules:\n  - {id: cut, effect: deny, when: {caller.affiliate: branch}}\n",
}  # fmt: skip
BESIDE: Final = {
    "README.md": "x", "old.txt": "x", ".hidden.yaml": "x", ".git/HEAD": "ref: refs/heads/main\n",
    ".git/refs/heads/main": "1" * 40, "keys/private.pem": "x",
}  # fmt: skip


def load(folder: Path) -> Snapshot:
    return load_bundle(folder, registers_folder=folder.parent / "registers")


def test_every_file_that_was_read_is_named_with_what_was_in_it(tmp_path: Path) -> None:
    snapshot = load(write_bundle(tmp_path / "p", {**EVERYTHING, **BESIDE}))
    assert {each.path: (each.sha256, each.size) for each in snapshot.sources} == {
        path: (hashlib.sha256(text.encode()).hexdigest(), len(text.encode())) for path, text in EVERYTHING.items()
    }
    assert [each.path for each in snapshot.sources if each.data is not None] == ["emergency_denies/now.yaml"]
    assert snapshot.revision == "1" * 40


def test_its_files_alone_are_the_same_bundle(tmp_path: Path) -> None:
    snapshot = load(write_bundle(tmp_path / "p", {**EVERYTHING, **BESIDE}))
    for source in snapshot.sources:
        target = tmp_path / "copy" / source.path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tmp_path / "p" / source.path, target)
    again = load(tmp_path / "copy")
    assert (again.digest, again.sources, again.revision) == (snapshot.digest, snapshot.sources, "")


def test_the_digest_is_of_both_digests() -> None:
    snapshot = load_bundle(REFERENCE)
    said = f"sekisho bundle 1\n{snapshot.policy_digest}\n{snapshot.registers_digest}\n"
    assert snapshot.digest == hashlib.sha256(said.encode()).hexdigest()


OTHERS: Final = {
    "a rule": ("rules.yaml", "effect: allow", "effect: deny"),
    "a row of a table": ("tables/people.csv", "corp,e-1", "corp,e-2"),
    "a certificate list": ("certificates/mesh.crl", "-----BEGIN", "\n-----BEGIN"),
    "an emergency deny": ("emergency_denies/now.yaml", "branch", "home-co"),
    "an affiliate": ("parties.yaml", "country: KR", "country: TW"),
}


@pytest.mark.parametrize("edit", OTHERS.values(), ids=OTHERS)
def test_another_bundle_has_another_digest(tmp_path: Path, edit: tuple[str, str, str]) -> None:
    files = {name: text for name, text in EVERYTHING.items() if name != "cases.yaml"}
    files["bundle.yaml"] = files["bundle.yaml"].replace("  cases.yaml: [tests]\n", "")
    first = load(write_bundle(tmp_path / "first", files))
    other = load(write_bundle(tmp_path / "other", edited(edit, files=files)))
    assert first.digest != other.digest


def test_without_emergency_denies_there_are_no_files_of_them(tmp_path: Path) -> None:
    snapshot = load(write_bundle(tmp_path / "p", EVERYTHING)).with_urgent({})
    assert snapshot.sources == snapshot.base_sources


ABSOLUTE: Final = {
    "a file of keys": ("parties.yaml", "file:./keys/corp.json", "file:{folder}/keys/corp.json", "there is no file"),
    "a file of registers": ("bundle.yaml", "  rules.yaml:", "  {folder}/rules.yaml:", "leads out of the policy folder"),
}


@pytest.mark.parametrize(("file", "old", "new", "told"), ABSOLUTE.values(), ids=ABSOLUTE)
def test_a_path_from_the_root_is_none_even_where_it_leads_inside(
    tmp_path: Path, file: str, old: str, new: str, told: str
) -> None:
    """A copy of the folder would be made of the other one."""
    files = edited((file, old, new.format(folder=tmp_path)), files=EVERYTHING)
    problems = problems_of(write_bundle(tmp_path, files))
    assert any(told in problem for problem in problems), problems
