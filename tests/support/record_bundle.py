# SPDX-License-Identifier: Apache-2.0
"""A small bundle with routes whose subjects the request, a register or the records of the answer tell."""

import json
from pathlib import Path
from typing import Any, Final

from proxy.bundle.cases import CaseEntry
from proxy.bundle.check import load_bundle
from proxy.bundle.snapshot import Snapshot
from proxy.lifecycle.cases import CaseResult, Cases
from proxy.origin.geoip import RegistryGeolocator
from tests.support.bundle_folder import SMALL, edited, write_bundle

_FIELDS: Final = (
    'fields: {"$.name": user.name, "$.phone": {category: user.contact.phone, keep: 4}, "$.id": user.unique_id}'
)
_RECORDS: Final = 'subject: {records: "$.users[*]", country: "$.country", id: "$.id"}'
_ROUTES: Final = f"""
      - id: search
        methods: [GET]
        path: /v1/users
        action: read
        {_RECORDS}
        {_FIELDS}
        envelope: {{"$.total": total, "$.page": keep, "$.next": {{cursor: after}}}}
        searchable_by: [name, after]
      - id: strict
        methods: [GET]
        path: /v1/strict
        action: read
        {_RECORDS}
        {_FIELDS}
        on_denied: refuse
      - id: lines
        methods: [GET]
        path: /v1/lines
        action: export
        subject: {{records: "$", country: "$.country", id: "$.id"}}
        answers: ndjson
        {_FIELDS}
        searchable_by: []
      - id: events
        methods: [GET]
        path: /v1/events
        action: read
        subject: {{records: "$[*]", country: "$.country", id: "$.id"}}
        answers: events
        {_FIELDS}
        searchable_by: []
      - id: by-register
        methods: [GET]
        path: /v1/registered
        action: read
        subject: {{records: "$[*]", id: "$.id", lookup: prefixes}}
        {_FIELDS}
        searchable_by: []
      - id: by-directory
        methods: [GET]
        path: /v1/directed
        action: read
        subject: {{records: "$[*]", id: "$.id", lookup: directory}}
        {_FIELDS}
        searchable_by: []
      - id: several
        methods: [GET]
        path: /v1/several
        action: read
        subject: {{id: {{query: ids, split: ","}}, lookup: prefixes}}
        {_FIELDS}
      - id: claimed
        methods: [GET]
        path: /v1/claimed
        action: read
        subject: {{country: {{query: country}}, id: {{query: id}}, confirm: "$.country"}}
        {_FIELDS}
      - id: written
        methods: [POST]
        path: /v1/written
        action: create
        subject:
          country: {{body: "$.country"}}
          id: {{header: X-Subject}}
          authoritative: {{by: a, review_by: 2027-06-30}}
        {_FIELDS}
"""
_RULES: Final = """
  - id: kr-masked
    effect: mask
    when: {subject.country: KR}
    transforms: {user.contact: mask, user.unique_id: pseudonymise}
"""
_LOOKUPS: Final = """
lookups:
- {id: prefixes, kind: prefixes, prefixes: {"81": JP, "82": KR, "886": TW}}
- {id: directory, kind: http, url: "http://127.0.0.1:9/users/{id}", select: "$.country", fresh: 10m}
"""
FILES: Final = edited(
    ("bundle.yaml", "apis.yaml: [apis]", "apis.yaml: [apis, lookups]"),
) | {
    "apis.yaml": SMALL["apis.yaml"].rstrip() + _ROUTES + _LOOKUPS,
    "rules.yaml": SMALL["rules.yaml"].rstrip() + _RULES,
}  # fmt: skip
FROM_CHINA: Final = {"affiliate": "home-co", "kind": "employee", "residence": "CN"}
FROM_JAPAN: Final = FROM_CHINA | {"residence": "JP"}
STRANGER: Final = {"affiliate": "branch", "kind": "employee", "residence": "KR"}

SATO: Final = {"id": "811", "country": "JP", "name": "Sato", "phone": "0312345678"}
KIM: Final = {"id": "822", "country": "KR", "name": "Kim", "phone": "0298765432"}
LIN: Final = {"id": "8863", "country": "TW", "name": "Lin", "phone": "0223334444"}


def load_records(folder: Path) -> Snapshot:
    """Return the bundle, written to a folder."""
    return load_bundle(write_bundle(folder, FILES))


def a_case(given: dict[str, Any], **expect: Any) -> CaseEntry:
    """Return a case; the caller is one of ours who lives in China, unless told otherwise."""
    given = {"caller": FROM_CHINA, "origin": {"country": "JP"}, **given}
    if isinstance(given.get("answer"), dict | list):
        given["answer"] = json.dumps(given["answer"])
    if "records" in expect:  # a schema's scalars are texts
        expect["records"] = {key: str(value) for key, value in expect["records"].items()}
    return CaseEntry.model_validate({"name": "a", "given": given, "expect": {"effect": "by-record", **expect}})


def run_case(snapshot: Snapshot, given: dict[str, Any], **expect: Any) -> CaseResult:
    """Run a case."""
    return Cases(snapshot, RegistryGeolocator()).run(a_case(given, **expect))
