# SPDX-License-Identifier: Apache-2.0
"""``sekisho grant new DIR``: writes a grant, with the pseudonyms of whose data it is for."""

import argparse
import contextlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from proxy.bundle.check import load_bundle
from proxy.bundle.gather import Registers
from proxy.bundle.read import parse_document
from proxy.bundle.snapshot import Snapshot
from proxy.clock import unix_seconds
from proxy.errors import BundleError, UsageError
from proxy.ledger.key_ring_file import read_key_ring
from proxy.model.entry import parse_instant
from proxy.model.problem import nearest


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    new = verbs.add_parser("new", help="write a grant", description="Write a grant into the policy folder.")
    add = new.add_argument
    add("policies", type=Path, help="the policy folder")
    add("--id", required=True, help="the number of the case or ticket, such as LE-2021-003")
    add("--lifts", required=True, action="append", metavar="RULE", help="a rule that says `liftable: true`")
    add("--when", required=True, metavar="YAML", help="for whom: '{caller.affiliate: ly, purpose: law-enforcement}'")
    add("--subject", required=True, action="append", metavar="API:ID", help="whose data; written as a keyed pseudonym")
    add("--approved-by", required=True, action="append", metavar="'ISSUER|SUBJECT'", help="two different people")
    add("--from", dest="from_", required=True, metavar="INSTANT", help="such as 2021-11-01T00:00:00+09:00")
    add("--until", required=True, metavar="INSTANT", help="when it ends; the instant itself is outside")
    add("--reason", help="a sentence for whoever reads it later")
    add("--pseudonym-key", type=Path, metavar="FILE", help="the key of pseudonyms of the gateways that will honour it")
    new.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the grant, and leave the folder as it was if it does not load with it."""
    load_bundle_without_grants_file(options.policies)
    entry = _entry(options)
    _refuse_ended(options.until)
    file = _file_of_grants(options.policies)
    before = file.read_bytes() if file.exists() else None
    _write(file, _with(None if before is None else before.decode(), entry, file).encode())
    try:
        snapshot = load_bundle(options.policies)
        _check_apis(options.subject, snapshot)
    except BaseException:
        if before is None:
            file.unlink()
        else:
            _write(file, before)
        raise
    grant = next(grant for grant in snapshot.policy.grants if grant.id == options.id)
    lifted = ", ".join(sorted(grant.lifts))
    subjects = "1 subject" if len(grant.subjects) == 1 else f"{len(grant.subjects)} subjects"
    print(f"{file} holds the grant {grant.id}: it lifts {lifted} for {subjects}")
    print(f"  from {options.from_} until {options.until}, for nobody of {', '.join(sorted(grant.approved_by))}")
    print("  a gateway that watches this folder puts it in force; its use is counted in sekisho_grants_used_total")
    return 0


def _refuse_ended(until: str) -> None:
    """Refuse a grant that would do nothing; what is no instant is told by the loader."""
    with contextlib.suppress(ValueError):
        if parse_instant(until).timestamp() <= unix_seconds():
            raise UsageError(f"--until {until} is past: the grant would do nothing.")


def _check_apis(subjects: Sequence[str], snapshot: Snapshot) -> None:
    """Refuse a subject of an API that is none: a grant for it would lift nothing, and nobody would know why."""
    declared = {api.id for api in snapshot.catalog.apis}
    for subject in subjects:
        api = subject.partition(":")[0]
        if api not in declared:
            raise UsageError(f"{subject!r} names no API of the bundle{nearest(api, declared)}.")


def load_bundle_without_grants_file(folder: Path) -> None:
    """Refuse early where the folder does not load for another reason than a file of grants that is yet to be made."""
    try:
        load_bundle(folder)
    except BundleError as error:
        file = _file_of_grants(folder)
        missing = f"{file.name} is listed here and missing"
        if file.exists() or not all(missing in problem for problem in error.problems):
            raise


def _entry(options: argparse.Namespace) -> dict[str, Any]:
    """Return the grant as it is written."""
    names = read_key_ring(options.pseudonym_key).subjects
    subjects = []
    for subject in options.subject:
        api, colon, subject_id = subject.partition(":")
        if not colon or not api or not subject_id:
            raise UsageError(f"{subject!r} is not of the form API:ID, such as users:42.")
        subjects.append(names.of_subject(api, subject_id))
    document, problems = parse_document(options.when.encode(), "--when")
    if document is None or not isinstance(document.value, dict):
        told = f": {problems[0].message}" if problems else ""
        raise UsageError(f"--when is no YAML mapping such as '{{caller.affiliate: ly}}'{told}.")
    entry = {
        "id": options.id,
        "lifts": options.lifts,
        "when": document.value,
        "subjects": subjects,
        "approved_by": options.approved_by,
        "from": options.from_,
        "until": options.until,
        "reason": options.reason,
    }
    return {key: value for key, value in entry.items() if value is not None}


def _file_of_grants(folder: Path) -> Path:
    manifest = Registers(folder).gather()
    files = [] if manifest is None else [file for file, registers in manifest.files.items() if "grants" in registers]
    if not files:
        raise UsageError(f"{folder}/bundle.yaml lists no file for grants: add `grants.yaml: [grants]` under `files`.")
    return folder / files[0]


def _with(before: str | None, entry: Mapping[str, Any], file: Path) -> str:
    """Return the file's text with the grant at its end: nothing that stands there is written anew."""
    lines = yaml.safe_dump([dict(entry)], sort_keys=False, allow_unicode=True, width=1000).splitlines()
    added = "".join(f"  {line}\n" for line in lines)
    if before is None or not before.strip():
        return f"# Dated, approved exceptions. `sekisho grant new` writes them.\ngrants:\n{added}"
    if before.rstrip().endswith("grants: []"):
        return before.rstrip().removesuffix(" []") + f"\n{added}"
    document, problems = parse_document(before.encode(), str(file))
    if document is None:
        raise BundleError([str(problem) for problem in problems])
    if not isinstance(document.value, dict) or list(document.value)[-1:] != ["grants"]:
        raise UsageError(f"In {file} the register `grants` does not stand last: move it, or list a file of its own.")
    return before.rstrip("\n") + "\n" + added


def _write(file: Path, data: bytes) -> None:
    """Replace the file whole or not at all."""
    name = ""
    try:
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=".grant-")
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
        Path(name).chmod(file.stat().st_mode & 0o777 if file.exists() else 0o644)
        Path(name).replace(file.resolve())
    except OSError as error:
        if name:
            Path(name).unlink(missing_ok=True)
        raise UsageError(f"{file} cannot be written: {error.strerror}.") from error
