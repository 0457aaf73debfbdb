# SPDX-License-Identifier: Apache-2.0
"""``sekisho init DIR``: writes a small policy folder that loads, to start from."""

import argparse
from pathlib import Path
from typing import Final

from proxy.errors import UsageError

FILES: Final = {
    "bundle.yaml": """\
# What this bundle is, and every file it is made of.
language: 1
bundle: my-apis
ties: [employer, residence, control]    # the ties to a country that count
files:
  parties.yaml: [issuers, affiliates, country_sets, control_rules, networks, trusted_proxies]
  apis.yaml: [apis]
  rules.yaml: [rules, tests]
""",
    "parties.yaml": """\
# Who may say who a caller is, for whom callers work, and where our networks are.
issuers:
  - id: corp
    operated_by: my-company
    issuer: https://idp.example.com          # the exact `iss` of its tokens
    audience: [pii-gateway]
    jwks: https://idp.example.com/jwks.json
    algorithms: [RS256, ES256]
    may_assert: {affiliate: any}
    attributes:                              # caller attribute <- claim
      affiliate: affiliate
      kind: employment_type                  # employee, contractor or service
      residence: residence_country

affiliates:
  - {id: my-company, country: JP, home: true}
  - {id: my-subsidiary, country: SG, owners: [{id: my-company, share: 100}]}
  - {id: a-contractor, country: CN, roles: [contractor], owners_complete: true, works_for: [my-company]}

country_sets:
  china: [CN, HK, MO]

control_rules:
  - {id: majority, threshold: 50, comparator: ">=", propagation: cascade, default: true}

networks:
  - {id: office, cidr: [10.0.0.0/16], country: JP}

trusted_proxies: [127.0.0.1/32]
""",
    "apis.yaml": """\
# What is protected. What is not declared does not pass.
apis:
  - id: users
    upstream: {url: "http://127.0.0.1:9000", hosted_in: JP}
    routes:
      - id: get-user
        methods: [GET]
        path: /v1/{country}/users/{user_id}
        action: read
        # Who vouches that the API answers only for the country in the path?
        subject: {country: "{country}", id: "{user_id}", authoritative: {by: users-team, review_by: 2027-06-30}}
        fields: {"$.name": user.name, "$.phone": user.contact.phone_number}
""",
    "rules.yaml": """\
# What is denied, what is allowed, and the sentences that must stay true.
rules:
  - id: jp-no-china
    effect: deny
    title: No China-based affiliate or contractor reads Japanese users' records
    when: {subject.country: JP, caller.countries: {any: $china}}
    severity: critical

  - id: our-staff-reads-japan
    effect: allow
    when: {caller.affiliate: my-company, caller.kind: employee, subject.country: JP, action: read}

tests:
  - name: our own employee reads a Japanese user
    given:
      caller: {affiliate: my-company, kind: employee, residence: JP}
      origin: {network: office, country: JP}
      request: GET /v1/jp/users/42
    expect: {effect: allow, rule: our-staff-reads-japan}

  - name: a contractor in China does not
    given: {caller: {affiliate: a-contractor}, origin: {country: JP}, request: GET /v1/jp/users/42}
    expect: {effect: deny, rule: jp-no-china, certainty: matched}
""",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("folder", type=Path, help="the folder to make; it must be empty or missing")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the files, never over others."""
    folder: Path = options.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UsageError(f"{folder} is not empty: name a folder that is, or that does not exist yet.")
        for name, text in FILES.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror}. Name another folder.") from error
    print(f"{folder} holds a small bundle that loads. Next:")
    print(f"  sekisho check {folder}")
    print(f"  sekisho test {folder}")
    return 0
