# SPDX-License-Identifier: Apache-2.0
"""What a request looks up of who asks and from where, beside the cheapest thing that could do it.

- *A kept caller*: ``Callers.resolve`` of a token that it has verified before, beside a dictionary's get of that token.
- *A kept address*: ``Origins.resolve`` of a chain that it has seen, beside a dictionary's get of that chain.
- *A new address*: the look-up of one that it has not, whole, beside ``geoip2``'s own of the same address.

Every batch goes through the same 256 keys, so that both meet the same caches.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, TypeAlias

import geoip2.database

from bench import identity
from bench.harness import MIN_ROUNDS, BenchError, Target, paired, render_json, render_table, timed
from proxy.caller.affiliates import AffiliateEntry, ControlRuleEntry, compute_affiliates
from proxy.caller.clients import Clients
from proxy.caller.issuers import IssuerEntry, compile_issuer
from proxy.caller.keys import KeySet, parse_key_set
from proxy.caller.people import PeopleInMemory
from proxy.caller.resolve import Callers
from proxy.caller.speaking import Registers
from proxy.clock import unix_seconds
from proxy.model.caller import Caller, TieKind
from proxy.origin.geoip import make_geolocator
from proxy.origin.networks import Prefixes
from proxy.origin.options import OriginOptions
from proxy.origin.resolve import Origins
from tests.support.mmdb import write_database

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

KEYS: Final = 256
CALLER_AT_MOST: Final = 4.0
KEPT_AT_MOST: Final = 3.0
NEW_AT_MOST: Final = 2.0
COUNTRIES: Final = ("JP", "KR", "CN", "US", "SG")


class Held:
    """The key sets of one issuer."""

    def __init__(self, keys: KeySet) -> None:
        self.sets = {"corp": keys}
        self.failed: frozenset[str] = frozenset()


def make_callers(tokens: Iterable[str], issuer: identity.Issuer, now: float) -> tuple[Callers, Held]:
    """Return the look-up of callers, who all have been verified, and the keys."""
    entry = IssuerEntry.model_validate(
        {
            "id": "corp",
            "operated_by": "acme",
            "issuer": identity.ISSUER,
            "audience": [identity.AUDIENCE],
            "jwks": "https://login.example.com/jwks.json",
            "algorithms": ["RS256"],
            "may_assert": {"affiliate": "any"},
            "attributes": {"affiliate": "affiliate", "residence": "residence_country"},
        }
    )
    rule = ControlRuleEntry.model_validate({"id": "majority", "threshold": "50", "default": "true"})
    affiliates = compute_affiliates(
        [AffiliateEntry.model_validate({"id": identity.AFFILIATE, "country": "JP"})], [rule], frozenset(TieKind)
    )
    callers = Callers((compile_issuer(entry),), Registers(affiliates, PeopleInMemory({}), Clients({})))
    keys = Held(parse_key_set(issuer.key_set().encode(), frozenset({"RS256"})))
    for token in tokens:
        found = callers.resolve(token, keys, now)
        if not isinstance(found, Caller):
            raise BenchError(f"a token of the benchmark was refused: {found}")
    return callers, keys


Pair: TypeAlias = tuple[Callable[[], None], Callable[[], None]]
"""What is measured, and the anchor."""


def callers_of(issuer: identity.Issuer, now: float) -> Pair:
    """Return the look-up of kept callers, beside a dictionary's get of their tokens."""
    tokens = [issuer.token(sub=f"e-{number:06}") for number in range(KEYS)]
    callers, held = make_callers(tokens, issuer, now)
    resolve, get = callers.resolve, dict.fromkeys(tokens, 1).get

    def ours() -> None:
        for token in tokens:
            resolve(token, held, now)

    def anchor() -> None:
        for token in tokens:
            get(token)

    return ours, anchor


def kept_addresses_of(origins: Origins, addresses: Sequence[str], now: float) -> Pair:
    """Return the look-up of addresses that were seen before, beside a dictionary's get of the same keys."""
    chains = [(address,) for address in addresses]
    resolve, get = origins.resolve, dict.fromkeys(chains, 1).get
    for chain in chains:
        resolve(chain, now)

    def ours() -> None:
        for chain in chains:
            resolve(chain, now)

    def anchor() -> None:
        for chain in chains:
            get(chain)

    return ours, anchor


def new_addresses_of(origins: Origins, reader: geoip2.database.Reader, addresses: Sequence[str], now: float) -> Pair:
    """Return the look-up of addresses that were not seen before, beside the library's own."""

    def ours() -> None:
        for address in addresses:
            origins.locate(ip_address(address), now)

    def anchor() -> None:
        for address in addresses:
            reader.country(address)

    return ours, anchor


def measure(folder: Path, rounds: int) -> dict[str, tuple[float, float, float, float]]:
    """Return by what is looked up the ratio, its tenth and ninetieth percentile, and nanoseconds each."""
    addresses = [f"1.{number}.7.9" for number in range(KEYS)]
    records = {
        f"1.{number}.0.0/16": {"country": {"iso_code": COUNTRIES[number % 5]}, "registered_country": {"iso_code": "JP"}}
        for number in range(KEYS)
    }
    path = write_database(folder / "country.mmdb", records, kind="GeoLite2-Country")
    origins = Origins(Prefixes(()), Prefixes(()), make_geolocator(OriginOptions(geoip=path)))
    now = unix_seconds()
    found = {}
    with geoip2.database.Reader(path) as reader:
        pairs = {
            "a kept caller": callers_of(identity.Issuer(), now),
            "a kept address": kept_addresses_of(origins, addresses, now),
            "a new address": new_addresses_of(origins, reader, addresses, now),
        }
        for what, (ours, anchor) in pairs.items():
            comparison = paired({"ours": timed(ours), "anchor": timed(anchor)}, "anchor", rounds)
            ratio = comparison.ratio("ours")
            found[what] = (ratio.median, ratio.p10, ratio.p90, comparison.cost("ours").median / KEYS)
    return found


def main() -> int:
    """Run the command; 2 when it could not measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.lookups", description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--rounds", type=int, default=2 * MIN_ROUNDS + 1, help="pairs (default: %(default)s)")
    options = parser.parse_args()
    limits = {"a kept caller": CALLER_AT_MOST, "a kept address": KEPT_AT_MOST, "a new address": NEW_AT_MOST}
    try:
        with TemporaryDirectory(prefix="sekisho-bench-") as name:
            found = measure(Path(name), options.rounds)
    except BenchError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    targets = {what.replace(" ", "_"): Target(each[0], limits[what]) for what, each in found.items()}
    rows = [
        [what, f"{ratio:.2f}", f"{low:.2f}-{high:.2f}", f"{limits[what]:g}", f"{cost:.0f}"]
        for what, (ratio, low, high, cost) in found.items()
    ]
    print(render_table(("looked up", "ratio", "p10-p90", "at most", "ns"), rows))
    for what, target in targets.items():
        print(f"{what}: {'met' if target.met else 'MISSED'}")
    if options.json:
        print(render_json({what.replace(" ", "_") + "_ns": each[3] for what, each in found.items()}, targets))
    return 0


if __name__ == "__main__":
    sys.exit(main())
