# SPDX-License-Identifier: Apache-2.0
"""Whether a larger policy makes a request dearer: rules from 10 to 10,000, affiliates from 200 to 100,000.

- One gateway for each size, all at once, and each round is paired with the smallest. The folders are those of
  `bench.rulesets`, with one rule more, under which everybody may read what no rule denies.
- Hundreds of callers of as many affiliates ask in turn, each for another user: what is kept of one caller or of one
  head does not hide what the size costs. All are allowed, in every size, so that all sizes do the same work.
"""

from __future__ import annotations

import json
import socket
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from random import Random  # noqa: TID251 - samples from a seed, no secrets
from typing import TYPE_CHECKING, Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from bench.answers import SMALL_BODY
from bench.callers import READ_BYTES, Callers, render_head, round_of
from bench.contenders.sekisho import DATABASE, command_of, write_keys
from bench.countries import CLIENT_ADDRESS, write_mmdb
from bench.harness import BenchError, Comparison, ProcessMeter, paired
from bench.identity import ISSUER, KEY_ID
from bench.processes import LOOPBACK, Launch, allotted_cores, free_port, running
from bench.races import upstream_running
from bench.rulesets import (
    AUDIENCE,
    NAMED_AFFILIATES,
    OWNERS,
    SEED,
    SEVERITIES,
    Ruleset,
    Written,
    assemble,
    make_rule,
    requests,
)
from proxy.clock import unix_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from bench.identity import Issuer
    from bench.rulesets import Request
    from bench.setting import Setting

RULES: Final = (10, 100, 1_000, 10_000)
AFFILIATES: Final = (NAMED_AFFILIATES, 2_000, 20_000, 100_000)
FEW_RULES: Final = 10
CALLERS: Final = 300
CANDIDATES: Final = 40 * CALLERS
"""Callers that are asked for, at most, until so many are found that no rule denies: of 10,000 rules, one in ten."""
START_SECONDS: Final = 300.0
ANSWER_SECONDS: Final = 20.0
EVERYONE: Final = Written("everyone", "allow", {"action": "read"}, SEVERITIES[-1], OWNERS[0])


@dataclass(frozen=True, slots=True)
class Curve:
    """Hold what a request costs by size."""

    title: str
    sizes: Sequence[int]
    comparison: Comparison
    """CPU microseconds per request; the contenders are the sizes."""


@dataclass(frozen=True, slots=True)
class Login:
    """The issuer of the generated policies."""

    key: ec.EllipticCurvePrivateKey

    def key_set(self) -> str:
        """Return the public key as a JSON Web Key Set."""
        public = jwt.algorithms.ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return json.dumps({"keys": [{**public, "kid": KEY_ID, "alg": "ES256", "use": "sig"}]})

    def token(self, claims: Mapping[str, Any]) -> str:
        """Return the token of one caller."""
        now = int(unix_seconds())
        said = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "iat": now,
            "exp": now + 7200,
            "sub": claims["id"],
            "company": claims["affiliate"],
            "kind": claims["kind"],
            "residence_country": claims["residence"],
            "groups": sorted(claims["groups"].members),
        }
        return jwt.encode(said, self.key, algorithm="ES256", headers={"kid": KEY_ID})

    def head(self, request: Request) -> bytes:
        """Return the bytes of one request, for a user's record."""
        path = f"/v1/get-users/{str(request.subject_country).lower()}/{request.subject_id}"
        credentials = {"Authorization": f"Bearer {self.token(request.claims)}"}
        return render_head(path, {**credentials, "X-Forwarded-For": CLIENT_ADDRESS, "Accept": "application/json"})


@dataclass(frozen=True, slots=True)
class Size:
    """One policy of a curve."""

    number: int
    """What the curve counts: rules, or affiliates."""
    policy: Ruleset
    affiliates: int


@dataclass(frozen=True, slots=True)
class Grown:
    """A gateway with one of them."""

    size: Size
    pid: int
    port: int


def measure(issuer: Issuer, rounds: int, seconds: float, *, steps: int = len(RULES)) -> list[Curve]:
    """Measure both curves.

    Args:
        issuer: of what the API is set up with; the callers here have another.
        rounds: how many pairs.
        seconds: length of a round.
        steps: how many sizes, from the smallest.

    Raises:
        BenchError: If an answer is no success.
    """
    login = Login(ec.generate_private_key(ec.SECP256R1()))
    with upstream_running(issuer) as setting:
        by_rules = [Size(count, rules_of(count, NAMED_AFFILIATES), NAMED_AFFILIATES) for count in RULES[:steps]]
        with grown("rules", setting, login, by_rules) as gateways:
            # Whoever passes ten thousand rules passes the first ten of them, too.
            heads = allowed_heads(gateways[-1], login)
            rules = pair("rules", gateways, [heads] * len(gateways), rounds=rounds, seconds=seconds)
        by_affiliates = [Size(count, rules_of(FEW_RULES, count), count) for count in AFFILIATES[:steps]]
        with grown("affiliates", setting, login, by_affiliates) as gateways:
            each = [allowed_heads(gateway, login) for gateway in gateways]
            return [rules, pair("affiliates", gateways, each, rounds=rounds, seconds=seconds)]


def rules_of(rules: int, affiliates: int) -> Ruleset:
    """Return a policy of so many rules and affiliates, in which everybody may read what no rule denies.

    The rules speak of the same few affiliates whatever the number of affiliates is, and the first rules are the same
    whatever the number of rules is.
    """
    chance = Random(SEED)  # noqa: S311 - a sample
    drawn = [make_rule(chance, number, NAMED_AFFILIATES) for number in range(rules)]
    return assemble([*drawn, EVERYONE], affiliates)


@contextmanager
def grown(title: str, setting: Setting, login: Login, sizes: Sequence[Size]) -> Iterator[list[Grown]]:
    """Run one gateway for each size."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(start(setting.room(f"{title}-{size.number}"), setting, login, size)) for size in sizes
        ]


@contextmanager
def start(room: Path, setting: Setting, login: Login, size: Size) -> Iterator[Grown]:
    """Run one gateway."""
    policies, port = room / "policies", free_port()
    policies.mkdir()
    size.policy.write(policies)
    (policies / "jwks.json").write_text(login.key_set())
    write_keys(room)
    write_mmdb(room / DATABASE)
    command = [*command_of(room, port, free_port(), setting), "--jwks", "login=file:jwks.json"]
    launch = Launch(command, setting.cores.contender, port, room / "output", START_SECONDS)
    with running(launch) as pid:
        yield Grown(size, pid, port)


def allowed_heads(gateway: Grown, login: Login) -> list[bytes]:
    """Return requests of callers whom no rule denies, found by asking.

    Raises:
        BenchError: If too few of many candidates pass.
    """
    found: list[bytes] = []
    for request in requests(CANDIDATES, SEED, gateway.size.affiliates):
        head = login.head(request)
        if is_allowed(gateway.port, head):
            found.append(head)
        if len(found) == CALLERS:
            return found
    raise BenchError(f"only {len(found)} of {CANDIDATES} callers pass {gateway.size.number} rules")


def is_allowed(port: int, head: bytes) -> bool:
    """Ask on a connection of its own."""
    with socket.create_connection((LOOPBACK, port), timeout=ANSWER_SECONDS) as connection:
        connection.sendall(head)
        return connection.recv(READ_BYTES).startswith(b"HTTP/1.1 200 ")


def pair(
    title: str,
    gateways: Sequence[Grown],
    heads: Sequence[Sequence[bytes]],
    *,
    rounds: int,
    seconds: float,
) -> Curve:
    """Pair the sizes by CPU per request."""
    meters = {}
    for gateway, asked in zip(gateways, heads, strict=True):
        callers = Callers(asked, 200, SMALL_BODY, allotted_cores().driver)
        meters[str(gateway.size.number)] = ProcessMeter(gateway.pid, round_of(callers, gateway.port, seconds))
    sizes = [gateway.size.number for gateway in gateways]
    return Curve(title, sizes, paired(meters, str(sizes[0]), rounds))
