# SPDX-License-Identifier: Apache-2.0
"""Sekisho itself, as an operator starts it: the command line, a policy folder, a ledger on disk, everything on.

Its folder says what HAProxy and Envoy are configured to do, and what no other contender can be told: whose data it
is, who owns the caller's affiliate; and that the decision is signed for the API, and in the ledger before the answer
leaves.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from bench.countries import LISTED_COUNTRY, write_mmdb
from bench.identity import AFFILIATE, AUDIENCE, ISSUER, LISTED_AFFILIATE
from bench.processes import LOOPBACK, Launch, free_port, running
from bench.setting import DUTIES_OF_ALL, Contender, Duty
from proxy.assertion.key_file import make_key_file
from proxy.assertion.keys import EDDSA, AssertionKey
from proxy.clock import unix_seconds
from proxy.ledger.key_file import write_key_pair
from proxy.ledger.key_ring_file import make_key_file as make_key_ring
from proxy.ledger.note import SigningKey
from proxy.ledger.pseudonym import period_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from bench.certificate import Certificate
    from bench.setting import Setting

DATABASE: Final = "countries.mmdb"
ASSERTION_KEY: Final = "assertion.key"
TOLD: Final[Mapping[str, object]] = {"CLIENT_IDLE_SECONDS": 600}
"""What every contender is told as well: how long a connection without a request is kept."""

MANIFEST: Final = """\
language: 1
bundle: bench
ties: [employer, residence, control]
files: {policy.yaml: [issuers, affiliates, country_sets, control_rules, trusted_proxies, apis, rules]}
"""

ROUTES: Final = "".join(
    f"""\
      - id: {name}
        methods: [{method}]
        path: /v1/users/{{user_id}}{behind}
        action: {action}
        subject: {{country: JP, id: "{{user_id}}", authoritative: {{by: users-team, review_by: 2027-06-30}}}}
        fields: {{"$.name": user.name, "$.phone": user.contact.phone_number, "$.email": user.contact.email}}
"""
    for name, method, behind, action in (
        ("user", "GET", "", "read"),
        ("history", "GET", "/history", "read"),
        ("archive", "GET", "/archive", "read"),
        ("add-note", "POST", "/notes", "update"),
    )
)

POLICY: Final = f"""\
issuers:
  - id: login
    operated_by: {AFFILIATE}
    issuer: {ISSUER}
    audience: ["{AUDIENCE}"]
    jwks: file:jwks.json
    algorithms: [RS256]
    may_assert: {{affiliate: any}}
    attributes: {{affiliate: affiliate, residence: residence_country}}
affiliates:
  - {{id: {AFFILIATE}, country: JP, home: true}}
  - {{id: {LISTED_AFFILIATE}, country: {LISTED_COUNTRY}, owners: [{{id: {AFFILIATE}, share: 100}}]}}
country_sets: {{listed: [{LISTED_COUNTRY}]}}
control_rules: [{{id: majority, threshold: 50, default: true}}]
trusted_proxies: [127.0.0.1/32]
apis:
  - id: users
    upstream: {{url: "http://127.0.0.1:9", hosted_in: JP}}
    routes:
{ROUTES}rules:
  - id: no-listed-affiliate
    effect: deny
    when: {{subject.country: JP, caller.countries: {{any: $listed}}}}
  - id: not-from-listed-country
    effect: deny
    when: {{subject.country: JP, origin.country: {{any: $listed}}}}
  - id: own-staff
    effect: allow
    when: {{caller.affiliate: {AFFILIATE}, subject.country: JP, action: {{any: [read, update]}}}}
"""


def write_inputs(room: Path, setting: Setting) -> None:
    """Write the policy folder and everything else that the gateway is given."""
    write_policies(room, setting)
    write_keys(room)
    write_mmdb(room / DATABASE)


def write_policies(room: Path, setting: Setting) -> None:
    """Write the policy folder."""
    policies = room / "policies"
    policies.mkdir()
    (policies / "bundle.yaml").write_text(MANIFEST)
    (policies / "policy.yaml").write_text(POLICY)
    (policies / "jwks.json").write_text(setting.issuer.key_set())


def write_keys(room: Path) -> None:
    """Write the keys of pseudonyms, of the ledger and of assertions."""
    write_key_pair(room / "ledger.key", SigningKey.generate("sekisho.example/bench"))
    make_key_ring(room / "pseudonym.key", period_of(unix_seconds()))
    make_key_file(room / ASSERTION_KEY, AssertionKey.generate(unix_seconds(), EDDSA))


def command_of(
    room: Path, port: int, admin_port: int, setting: Setting, told: Mapping[str, object] = TOLD
) -> list[str]:
    """Return the command line, with settings that have no flag, by their names without `SEKISHO_`.

    Without a country database in the room the gateway takes the registries' data that it brings along.
    """
    database = room / DATABASE
    return [
        *("env", *(f"SEKISHO_{name}={value}" for name, value in told.items())),
        f"SEKISHO_ASSERTION_KEY={room / ASSERTION_KEY}",
        *(sys.executable, "-m", "proxy.cli", "run"),
        *("--listen", f"{LOOPBACK}:{port}", "--admin", f"{LOOPBACK}:{admin_port}"),
        *("--policies", str(room / "policies"), "--ledger", str(room / "ledger")),
        *("--ledger-key", str(room / "ledger.key")),
        *("--pseudonym-key", str(room / "pseudonym.key")),
        *(("--geoip", str(database)) if database.exists() else ()),
        *("--upstream", f"users=http://{LOOPBACK}:{setting.upstream_port}"),
        *tls_of(setting.certificate),
    ]


def tls_of(certificate: Certificate | None) -> list[str]:
    """Return what the listener is told of TLS."""
    if certificate is None:
        return []
    return ["--tls-certificate", str(certificate.chain), "--tls-key", str(certificate.key)]


@contextmanager
def start_sekisho(setting: Setting) -> Iterator[Contender]:
    """Run the gateway with this very Python."""
    room, port = setting.room("sekisho"), free_port()
    write_inputs(room, setting)
    command = command_of(room, port, free_port(), setting)
    duties = DUTIES_OF_ALL | {Duty.RECORD, Duty.ASSERT}
    with running(Launch(command, setting.cores.contender, port, room / "output")) as pid:
        ledger, keys = room / "ledger", room / ASSERTION_KEY
        yield Contender("Sekisho", pid, port, duties, record=ledger, assertion_keys=keys)
